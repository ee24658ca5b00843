"""One texture from the photo's texels and a fill: weights, feathering, mirrored detail, padding."""

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, ByteArray, CompletedTexture, FloatArray, Provenance, UvObservation
from ostec.stitch.grain import skin_grain
from ostec.stitch.settings import BlendSettings


def photo_weight(seen: UvObservation, yaw_deg: float, settings: BlendSettings | None = None) -> FloatArray:
    """How much each texel of the photo is believed, before feathering.

    Args:
        seen: the photo in the layout.
        yaw_deg: of the photo's face.
        settings: the defaults if None.

    Returns:
        [S, S] in [0, 1].
    """
    settings = settings or BlendSettings()
    rim = settings.trust_profile if abs(yaw_deg) > settings.profile_deg else settings.trust
    inner = np.clip((seen.margin_mm - settings.silhouette_mm) / (settings.interior_mm - settings.silhouette_mm), 0, 1)
    threshold = rim + (settings.trust_interior - rim) * inner
    angle = np.clip((seen.cosine - threshold) / 0.1 + 0.5, 0, 1)
    outline = np.clip(seen.margin_mm / settings.silhouette_mm - 0.5, 0, 1)
    return (seen.visible * angle * outline * seen.mask).astype(np.float32)


def feathered(weight: FloatArray, inside: BoolArray, sigma: float) -> FloatArray:
    """Ramp [S, S] that is zero wherever ``weight`` is, and rises to it over about two ``sigma`` texels.

    Nothing that was not believed gets any weight: the joint is moved inwards, never outwards. The chart's own border is
    no joint: only weights inside it count.
    """
    held = np.where(inside, weight, 1.0).astype(np.float32)
    # A believed texel's distance from the nearest one that is not; SciPy's is undefined if there is none.
    believed = held >= 0.5
    distance = np.full(held.shape, np.inf) if believed.all() else ndimage.distance_transform_edt(believed)
    ramp = np.clip(distance / max(2.5 * sigma, 1e-6), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return (np.where(inside, ramp * np.clip(2 * held - 1, 0, 1), 0)).astype(np.float32)


def low_pass(image: FloatArray, weight: FloatArray, sigma: float) -> FloatArray:
    """Gaussian mean of ``image`` [S, S, C] over texels with ``weight`` [S, S]; zero where none is near."""
    import cv2

    stack = np.dstack([image * weight[..., None], weight]).astype(np.float32)
    blurred = cv2.GaussianBlur(stack, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred[..., :-1] / np.maximum(blurred[..., -1:], 1e-4)


def slanted_recoloured(
    photo: FloatArray,
    weight: FloatArray,
    cosine: FloatArray,
    fill: FloatArray,
    settings: BlendSettings | None = None,
) -> FloatArray:
    """The photo with the fill's colours, but its own detail, where it sees the face at a slant: [S, S, 3].

    Args:
        photo: [S, S, 3] in [0, 1].
        weight: [S, S] from :func:`photo_weight`.
        cosine: [S, S] of the photo's view angle.
        fill: [S, S, 3] in [0, 1].
        settings: the defaults if None.
    """
    settings = settings or BlendSettings()
    low, high = settings.own_colour
    slant = 1 - np.clip((cosine - low) / (high - low), 0, 1)
    change = low_pass(fill - photo, weight, settings.detail * len(weight))
    return np.clip(photo + (slant * (weight > 0))[..., None] * change, 0, 1).astype(np.float32)


def mirrored_detail(photo: FloatArray, weight: FloatArray, smooth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The photo's fine detail brought over from the other half of the face.

    Args:
        photo: [S, S, 3].
        weight: [S, S] belief in the photo's texels.
        smooth: [S, S, 3] what a low-pass leaves of it.

    Returns:
        Detail [S, S, 3], zero mean and already times the weight, and that weight of the mirrored texel [S, S].
    """
    detail = (photo - smooth) * weight[..., None]
    return np.ascontiguousarray(detail[:, ::-1]), np.ascontiguousarray(weight[:, ::-1])


def stitch(
    photo: FloatArray,
    weight: FloatArray,
    fill: FloatArray,
    inside: BoolArray,
    settings: BlendSettings | None = None,
    mirror: FloatArray | None = None,
    given: ByteArray | None = None,
    skin: FloatArray | None = None,
) -> CompletedTexture:
    """Join photo and fill, give the fill the detail of the other half where that was seen, and pad.

    Args:
        photo: [S, S, 3] in [0, 1].
        weight: [S, S] from :func:`photo_weight`.
        fill: [S, S, 3] the colour of what the photo does not give; it meets the photo's colour at the joint.
        inside: [S, S] the chart, mirror-symmetric.
        settings: the defaults if None.
        mirror: [S, S] in [0, 1], how far a texel's detail may be the other half's instead of the fill's; None if none.
        given: [S, S] where the fill came from, a :class:`Provenance` each; the prior if None.
        skin: [S, S] in [0, 1] bare skin, which keeps its grain where nothing was seen; None adds none.
    """
    settings = settings or BlendSettings()
    size = len(inside)
    alpha = feathered(weight, inside, settings.feather * size)
    provenance = np.where(alpha >= 0.5, Provenance.PHOTO, Provenance.PRIOR if given is None else given)
    if mirror is not None:
        sigma = settings.detail * size
        smooth = low_pass(photo, alpha, sigma)
        detail, trust = mirrored_detail(photo, alpha, smooth)
        trust = trust * mirror
        detail = np.clip(detail, -settings.detail_limit, settings.detail_limit) * mirror[..., None]
        # Both details at once would draw every edge twice, for the halves never fit quite.
        own = fill - low_pass(fill, inside.astype(np.float32), sigma)
        fill = fill + detail - own * trust[..., None]
        if skin is not None:
            missing = (1 - alpha) * (1 - trust) * skin * inside
            share = (photo - smooth) / np.maximum(smooth.mean(-1, keepdims=True), 0.05)
            grain = skin_grain(share, (alpha > 0.95) & (skin > 0.95), missing > 0.01, settings.grain)
            fill = fill + grain * fill.mean(-1, keepdims=True) * missing[..., None]
        provenance = np.where((alpha < 0.5) & (trust >= 0.5), Provenance.MIRRORED, provenance)
    texture = np.clip(fill + (photo - fill) * alpha[..., None], 0, 1).astype(np.float32)
    return pad(texture, np.where(inside, provenance, Provenance.OUTSIDE).astype(np.uint8), inside, settings.padding)


def spread(photo: FloatArray, weight: FloatArray) -> FloatArray:
    """The photo's believed texels and, elsewhere, the colour of the nearest of them, smoothed: [S, S, 3].

    Args:
        photo: [S, S, 3].
        weight: [S, S] belief in the photo's texels.
    """
    known = weight >= 0.5
    if not known.any():
        return np.full_like(photo, photo.mean())
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    whole = photo[nearest[0], nearest[1]]
    smooth = low_pass(whole, np.ones_like(weight), 0.04 * len(weight))
    return np.where(known[..., None], photo, smooth).astype(np.float32)


def pad(texture: FloatArray, provenance: ByteArray, inside: BoolArray, width: float) -> CompletedTexture:
    """Repeat the chart's border outwards by ``width`` (UV), its mean colour beyond, so that filters never see black."""
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    padded = texture[nearest[0], nearest[1]]
    far = np.clip(distance / (width * len(inside)) - 1, 0, 1)[..., None].astype(np.float32)
    mean = texture[inside].mean(0)
    padding = (distance > 0) & (distance <= width * len(inside))
    return CompletedTexture(
        {"colour": (padded + (mean - padded) * far).astype(np.float32)},
        np.where(padding, Provenance.PADDING, provenance).astype(np.uint8),
    )
