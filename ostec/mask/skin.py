"""Skin and unoccluded, without parsing weights: a colour model of the face itself, in the UV layout.

In UV every face is in the same place, so what is surely skin (cheeks, nose, forehead between the brows) is known before
looking. Its colour is modelled per photo: log intensity by second-order spherical harmonics of the normals
(Ramamoorthi and Hanrahan 2001: shading of a convex Lambertian surface), log chroma by a constant. What surrounds the
face (hair, cap, background, collar) is modelled by a mixture of Gaussians over the colours just outside the mesh,
less those that are skin: neck and ears. Near the chart's rim a texel that looks like the surroundings, or like
neither, loses its trust (fringe, hair over temples, caps, background at the silhouette); in the middle of the face
colour alone never takes it away, for a beard, a highlight or a cast shadow is face.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from scipy.spatial import ConvexHull

from ostec.core.types import Array, BoolArray, FloatArray, LayoutGuide, Topology, UvObservation
from ostec.mask.settings import MaskSettings
from ostec.mask.spectacles import RimGuide, spectacles
from ostec.render.geometry import in_polygon
from ostec.render.harmonics import harmonics

_FLOOR = 0.03
"""Added before the logarithm, so that black does not dominate."""
_LEAST_SPREAD = np.array([0.12, 0.04, 0.04])
"""Smallest deviation of a group of surrounding colours, in the log colours of :func:`log_colour`."""
_LOG_VOLUME = 2.5
"""Volume of the log colours that occur at all: three nats of light, 0.9 of each tint."""


@dataclass(frozen=True)
class MaskGuide(LayoutGuide):
    """What the layout knows of where skin, hair and spectacles may be."""

    core: BoolArray
    """[S, S] surely skin where visible."""
    hairline: FloatArray
    """[S, S] in [0, 1]: 1 near the top of the forehead."""
    beard: BoolArray
    """[S, S] below the nose, where dark is face."""
    rims: RimGuide
    """Where spectacles lie."""
    parts: dict[str, BoolArray]
    """[S, S] each: forehead, eyes, nose, cheeks, mouth, chin; together the chart but for its rim."""


@dataclass(frozen=True)
class FaceMask:
    """What of a photo is face."""

    mask: FloatArray
    """[S, S] in [0, 1]: how far each texel is unoccluded face."""
    spectacles: FloatArray
    """[S, S] in [0, 1]: where rims of spectacles were found; all zero if there are none."""


def mask_guide(topology: Topology, inside: BoolArray) -> MaskGuide:
    """Prepare the regions of a layout whose chart is ``inside`` [S, S]."""
    size = len(inside)
    rim = (ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] / size).astype(np.float32)
    v = np.broadcast_to(1 - (np.arange(size)[:, None] + 0.5) / size, inside.shape)
    features = np.zeros(inside.shape, bool)
    for name in ("eye_left", "eye_right", "brow_left", "brow_right", "lips"):
        features |= polygon_mask(topology.regions[name], size)
    features = ndimage.binary_dilation(features, iterations=max(1, round(size * 3 / 128)))
    core = (rim > 0.13) & ~features & (v < 0.80)
    hairline = np.clip((v - 0.78) / 0.1, 0, 1).astype(np.float32)
    eyes = polygon_mask(topology.regions["eye_left"], size) | polygon_mask(topology.regions["eye_right"], size)
    brows = polygon_mask(topology.regions["brow_left"], size) | polygon_mask(topology.regions["brow_right"], size)
    level = float(v[eyes].mean())
    u = np.broadcast_to((np.arange(size) + 0.5) / size, inside.shape)
    band = inside & (v > level - 0.17) & (v < level + 0.11)
    return MaskGuide(
        inside=inside,
        rim=rim,
        core=core,
        hairline=hairline,
        beard=inside & (v < 0.47),
        rims=RimGuide(
            band=band,
            bridge=band & (np.abs(u - 0.5) < 0.055) & (v > level - 0.05) & (v < level + 0.05),
            eyes=ndimage.binary_dilation(eyes, iterations=max(1, round(size * 2 / 128))),
            brows=brows,
            centres=np.stack([topology.regions[name].mean(0) for name in ("eye_left", "eye_right")]).astype(np.float64),
        ),
        parts=_parts(topology, inside & (rim > 0.04), u, v),
        features=inside & features,
        eyes=np.clip(ndimage.gaussian_filter(eyes.astype(np.float32), size / 128) * 2, 0, 1),
    )


def _parts(topology: Topology, inside: BoolArray, u: Array, v: Array) -> dict[str, BoolArray]:
    """What people call the parts of a face; each texel belongs to the first that holds it."""
    brows = float(topology.regions["brow_left"][:, 1].min())
    eyes = topology.regions["eye_left"], topology.regions["eye_right"]
    lips = topology.regions["lips"]
    middle = np.abs(u - 0.5)
    reach = max(1, round(len(inside) * 3 / 128))
    places = {
        "eyes": ndimage.binary_dilation(np.logical_or(*(polygon_mask(eye, len(inside)) for eye in eyes)), None, reach),
        "mouth": ndimage.binary_dilation(polygon_mask(lips, len(inside)), iterations=reach),
        "forehead": v > brows,
        "nose": (middle < 0.11) & (v > lips[:, 1].max()),
        "chin": (v < lips[:, 1].min()) & (middle < 0.25),
        "cheeks": inside,
    }
    parts, left = {}, inside
    for name, place in places.items():
        parts[name], left = left & place, left & ~place
    return parts


def polygon_mask(polygon: FloatArray, size: int) -> BoolArray:
    """Texels [S, S] whose centre lies in a polygon [K, 2] given in UV (even-odd rule)."""
    u = (np.arange(size) + 0.5) / size
    x, y = np.broadcast_to(u, (size, size)), np.broadcast_to(1 - u[:, None], (size, size))
    return in_polygon(x, y, polygon)


def surround_colours(image: FloatArray, pixels: FloatArray, up: FloatArray) -> FloatArray:
    """Colours just outside the mesh: hair, cap, background, ears, collar; the neck below the chin is left out.

    Args:
        image: [H, W, 3] in [0, 1].
        pixels: [V, 2] where the mesh's vertices lie in the photo.
        up: [2] direction of the face's up in the photo.

    Returns:
        [N, 3]; N is 0 where the mesh fills the photo.
    """
    hull = pixels[ConvexHull(pixels).vertices]
    middle = hull.mean(0)
    steps = np.linspace(0, 1, 24, endpoint=False)[:, None, None]
    outline = (hull + steps * (np.roll(hull, -1, axis=0) - hull)).reshape(-1, 2) - middle
    height = outline @ (up / np.linalg.norm(up)) / np.linalg.norm(outline, axis=1)
    outline = outline[height > -0.75]
    points = np.concatenate([middle + outline * reach for reach in (1.06, 1.1, 1.15, 1.2, 1.27)])
    rows, columns = np.floor(points[:, 1]).astype(int), np.floor(points[:, 0]).astype(int)
    within = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    return image[rows[within], columns[within]]


def face_mask(
    seen: UvObservation, guide: MaskGuide, surround: FloatArray, settings: MaskSettings | None = None
) -> FaceMask:
    """How far each texel is unoccluded face.

    Args:
        seen: the photo in the layout, S x S texels.
        guide: the layout's regions at the same size.
        surround: [N, 3] colours outside the face, from :func:`surround_colours`.
        settings: the defaults if None.

    Returns:
        The mask; 1 inside the chart where nothing was seen, and everywhere if too little of the sure skin was
        seen to know its colour.

    Raises:
        ValueError: sizes differ.
    """
    settings = settings or MaskSettings()
    if seen.size != len(guide.inside):
        raise ValueError(f"expected {len(guide.inside)} texels, got {seen.size}")
    weight = np.where(seen.visible, np.clip(seen.cosine, 0, 1), 0).astype(np.float32)
    seed = np.where(guide.core & (weight > 0.3), weight, 0.0)
    if np.count_nonzero(seed) < 0.01 * guide.inside.size / 3:
        return FaceMask(guide.inside.astype(np.float32), np.zeros(guide.inside.shape, np.float32))
    model = _skin_model(seen, seed, guide)
    odds = settings.evidence + model.likelihood - _other_likelihood(seen.colour, surround, model, settings)
    odds = np.clip(odds, settings.doubt, -settings.doubt)
    border = np.clip(1 - guide.rim / settings.rim, 0, 1)
    odds += settings.interior * (1 - border) - settings.forehead * guide.hairline
    odds += settings.middle * ((guide.rim > 0.2) | guide.features) + 4 * guide.beard * (1 - border)
    odds = np.where(weight > 0, np.clip(odds, -8, 8), 0)
    # Normalised over what was seen, so that the unseen has no say.
    sigma = settings.smooth * seen.size
    share = ndimage.gaussian_filter((weight > 0).astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(odds, sigma) / np.maximum(share, 1e-3)
    # Where face and background mix in one pixel the colour is between both: step back from whatever was taken out.
    reach = max(3, round(settings.retreat * seen.size) | 1)
    smooth = ndimage.minimum_filter(np.where(weight > 0, smooth, np.inf), reach)
    mask = 1 / (1 + np.exp(-1.5 * np.clip(smooth, -20, 20)))
    rims = spectacles(log_colour(seen.colour), model.distance * (weight > 0), guide.rims, settings.spectacles)
    mask = np.where(guide.inside, np.where(weight > 0, mask, 1) * (1 - rims), 0)
    return FaceMask(mask.astype(np.float32), rims)


@dataclass(frozen=True)
class _SkinModel:
    """The face's own skin in log colour: (light, log red - light, log blue - light)."""

    likelihood: FloatArray
    """[S, S] log density of every texel's colour under the skin predicted there."""
    distance: FloatArray
    """[S, S] squared Mahalanobis distance behind that density."""
    mean: FloatArray
    """[3] of the sure skin."""
    spread: FloatArray
    """[3]."""


def log_colour(colour: FloatArray) -> FloatArray:
    """RGB [..., 3] to (light, red, blue) in logs [..., 3]; a change of exposure moves the first alone."""
    log = np.log(colour + _FLOOR)
    light = log.mean(-1)
    return np.stack([light, log[..., 0] - light, log[..., 2] - light], axis=-1)


def _skin_model(seen: UvObservation, seed: FloatArray, guide: MaskGuide) -> _SkinModel:
    """Shading by spherical harmonics and a constant tint, fitted robustly to the seed texels."""
    log = log_colour(seen.colour)
    functions = harmonics(seen.normal)
    known = seed > 0
    weight = seed
    ridge = np.diag([1e-3, 0.3, 0.3, 0.3, 1, 1, 1, 1, 1]) * seed.sum() * 0.02
    rows, light = functions[known], log[..., 0]
    for _ in range(8):
        w = weight[known][:, None]
        shading = np.linalg.solve(rows.T @ (rows * w) + ridge, rows.T @ (light[known][:, None] * w))[:, 0]
        tint = np.median(log[weight > 0.1 * weight.max()], axis=0)[1:]
        error = np.dstack([light - functions @ shading, log[..., 1:] - tint])
        # Deviation from the median absolute deviation; a floor for photos without any texture.
        spread = 1.48 * np.median(np.abs(error[known]), axis=0) + np.array([0.02, 0.015, 0.015])
        weight = seed / (1 + ((error / (2 * spread)) ** 2).sum(-1)) ** 2
    spread = np.clip(spread, [0.08, 0.03, 0.03], [0.25, 0.10, 0.10])
    # Away from the seeds the extrapolated shading is less sure.
    near = np.clip(1.5 * ndimage.gaussian_filter(guide.core.astype(np.float32), seen.size * 6 / 128), 0, 1)
    wide = spread * (1 + np.array([1.5, 0.8, 0.8]) * (1 - near[..., None]))
    distance = ((error / wide) ** 2).sum(-1)
    likelihood = -0.5 * distance - np.log(wide).sum(-1) - 1.5 * np.log(2 * np.pi)
    mean = np.average(log[known], axis=0, weights=weight[known])
    deviation = np.sqrt(np.average((log[known] - mean) ** 2, axis=0, weights=weight[known]))
    return _SkinModel(likelihood, distance, mean, np.maximum(deviation, spread))


def _other_likelihood(colour: FloatArray, surround: FloatArray, skin: _SkinModel, settings: MaskSettings) -> FloatArray:
    """Log density [S, S] of every colour under what is not skin: anything at all, or what surrounds the face."""
    anything = np.full(colour.shape[:2], -np.log(_LOG_VOLUME), np.float32)
    log = log_colour(surround)
    log = log[(((log - skin.mean) / skin.spread) ** 2).sum(-1) > settings.skin_like]
    if len(log) < 20 * settings.components:
        return anything
    # k-means from evenly spaced quantiles of light: a start that is the same on every run.
    scaled = log / _LEAST_SPREAD
    order = np.argsort(scaled[:, 0], kind="stable")
    start = scaled[order[((np.arange(settings.components) + 0.5) / settings.components * len(order)).astype(int)]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster is left out below
        _, label = kmeans2(scaled, start, iter=15, minit="matrix")
    groups = [log[label == k] for k in range(settings.components) if np.count_nonzero(label == k) >= 10]
    texels = log_colour(colour)
    density = np.zeros(colour.shape[:2])
    for group in groups:
        spread = np.maximum(group.std(0), _LEAST_SPREAD)
        distance = (((texels - group.mean(0)) / spread) ** 2).sum(-1)
        density += len(group) / len(log) * np.exp(-0.5 * distance) / (np.prod(spread) * (2 * np.pi) ** 1.5)
    share = min(1.0, len(log) / max(1, len(surround)) * 2)
    return np.logaddexp(anything, np.log(np.maximum(share * density, 1e-12)))
