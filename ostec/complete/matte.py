"""Person and background of a photo apart: the person's outline and own colours, the background without the person."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from ostec.complete.turn import pulled
from ostec.core.types import Array, FloatArray, PhotoAround
from ostec.render.geometry import smoothstep

SPECK, REACH = 25, 15
"""Width in pixels of what is no part of the person if it stands alone, and how far it may stand out from what is."""
EDGE, SMOOTH = 10, 1e-4
"""Radius in pixels of the guided filter, and the variance of brightness below which it takes a place for flat."""
TRIM = (0.08, 0.92)
"""Shares of the person below which there is none, and above which there is nothing else."""
CLEAN = 4
"""How far from the person the background is believed, pixels."""
MIRRORED = (40.0, 80.0)
"""How far below the person's outline the background beside it is mirrored, and where it has become smooth."""


def refined_matte(photo: PhotoAround) -> FloatArray:
    """[S, S] in [0, 1]: the person's share of each pixel; its outline follows the photo's edges, specks are gone."""
    import cv2

    person = photo.person
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SPECK, SPECK))
    person = np.minimum(person, cv2.dilate(cv2.morphologyEx(person, cv2.MORPH_OPEN, disc), np.ones((REACH, REACH))))
    count, parts = cv2.connectedComponents((person > 0.5).astype(np.uint8))
    sizes = np.bincount(parts.ravel(), minlength=max(count, 2))
    main = (parts == 1 + sizes[1:].argmax()).astype(np.float32)
    person = person * cv2.dilate(main, np.ones((7, 7)))
    unsure = cv2.GaussianBlur(((person > 0.02) & (person < 0.98)).astype(np.float32), (0, 0), 6)
    followed = person + (_guided(photo.colour.mean(-1), person) - person) * np.clip(3 * unsure, 0, 1)
    return np.clip((followed - TRIM[0]) / (TRIM[1] - TRIM[0]), 0, 1).astype(np.float32)


def _guided(guide: FloatArray, values: FloatArray) -> Array:
    """The guided filter of He et al. (Guided Image Filtering, 2013), eqs. 5 and 6, of [H, W] by brightness [H, W]."""
    import cv2

    def mean(of: Array) -> Array:
        return cv2.blur(of, (2 * EDGE + 1, 2 * EDGE + 1))

    middle = mean(guide)
    a = (mean(guide * values) - middle * mean(values)) / (mean(guide * guide) - middle**2 + SMOOTH)
    b = mean(values) - a * middle
    return mean(a) * guide + mean(b)


def background(photo: PhotoAround, matte: FloatArray) -> FloatArray:
    """[S, S, 3]: the photo without the person: mirrored at the outline, smooth farther in and outside the photo."""
    import cv2

    known = ((matte < 0.02) & (photo.within > 0.999)).astype(np.float32)
    known = cv2.erode(known, np.ones((2 * CLEAN + 1, 2 * CLEAN + 1)))
    if not known.any():
        return photo.colour
    plain = pulled(photo.colour, known)
    side, half = len(matte), (len(matte) + 1) // 2
    away, nearest = distance_transform_edt(known[::2, ::2] < 0.5, return_indices=True)
    here = np.stack(np.meshgrid(np.arange(half), np.arange(half), indexing="ij"), axis=-1).astype(np.float32)
    across = 2 * (np.moveaxis(nearest, 0, -1).astype(np.float32) - here)
    across = cv2.resize(here + cv2.GaussianBlur(across, (0, 0), 5), (side, side)) * 2 + 0.5
    found = cv2.remap(
        np.dstack([photo.colour * known[..., None], known]), across[..., 1], across[..., 0], cv2.INTER_LINEAR
    )
    near = 1 - smoothstep(cv2.resize(2 * away.astype(np.float32), (side, side)), *MIRRORED)
    share = np.where(known > 0.5, 0, smoothstep(found[..., 3], 0.9, 1.0) * near).astype(np.float32)
    share = cv2.GaussianBlur(share, (0, 0), 3) * (found[..., 3] > 0.9)
    mirrored = found[..., :3] / np.maximum(found[..., 3:], 0.5)
    filled = plain + (mirrored - plain) * share[..., None]
    return np.where(known[..., None] > 0.5, photo.colour, filled).astype(np.float32)


def person_colours(photo: PhotoAround, matte: FloatArray, plate: FloatArray) -> FloatArray:
    """[S, S, 3]: the person's own colours, without the background ``plate`` that shines through, carried outwards.

    A pixel is matte times the person's colour and the rest of the background's.
    """
    share = np.maximum(matte, 0.4)[..., None]
    own = np.clip((photo.colour - (1 - share) * plate) / share, 0, 1)
    return pulled(own, (smoothstep(matte, 0.4, 0.9) * (photo.within > 0.999)).astype(np.float32))


def continued(matte: FloatArray, photo: PhotoAround) -> FloatArray:
    """[S, S] in [0, 1]: the person's share, beyond the photo's border that of the nearest pixel in it."""
    import cv2

    outside = photo.within[::2, ::2] < 0.999
    if not outside.any() or outside.all():
        return matte
    rows, columns = distance_transform_edt(outside, return_distances=False, return_indices=True)
    far = cv2.resize(matte[::2, ::2][rows, columns], matte.shape[::-1])
    return np.where(photo.within > 0.999, matte, far).astype(np.float32)
