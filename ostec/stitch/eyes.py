"""A hidden eye from the other one: mirrored, and its iris moved to where both look.

A linear model of texture draws an eye as the mean of all that it might be, a grey smudge. The other eye of the same
person is the better guess, but mirrored as it is, it squints: both irises turn the same way, a mirror image turns the
other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray
from ostec.render.colour import LUMA
from ostec.stitch.blend import low_pass
from ostec.stitch.settings import EyeSettings


@dataclass(frozen=True)
class _Opening:
    """An eye opening in the layout: the slice that holds it, and half its width in texels."""

    place: tuple[slice, slice]
    half_width: float


@dataclass(frozen=True)
class MirroredEyes:
    """What :func:`mirror_eyes` makes of photo and fill."""

    photo: FloatArray
    """[S, S, 3]: passes into the mirrored eye towards the border of what is believed of a half-hidden one."""
    fill: FloatArray
    """[S, S, 3]: holds the mirrored eye."""
    taken: BoolArray
    """[S, S]: texels that come mostly from the other eye, where the photo does not give them."""


def mirror_eyes(
    photo: FloatArray,
    trust: FloatArray,
    fill: FloatArray,
    eyes: FloatArray,
    neutral: Callable[[], FloatArray],
    settings: EyeSettings | None = None,
) -> MirroredEyes:
    """Draw an eye that was not seen as the mirror image of the other one that was, looking the same way.

    Args:
        photo: [S, S, 3] in [0, 1].
        trust: [S, S] in [0, 1]: belief in the photo's texels, zero where it shows none.
        fill: [S, S, 3]: gives the mean colour about the eye.
        eyes: [S, S] in [0, 1]: both openings, softly.
        neutral: gives a face [S, S, 3] that looks straight ahead, from whose irises a gaze is measured.
        settings: the defaults if None.
    """
    settings = settings or EyeSettings()
    size = len(eyes)
    taken = np.zeros(eyes.shape, bool)
    made, shown = fill, photo
    for hidden, seen in _pairs(eyes):
        open_here = eyes[hidden.place] > 0.5
        if trust[seen.place][eyes[seen.place] > 0.5].mean() < settings.seen:
            continue
        if trust[hidden.place][open_here].mean() >= settings.seen:
            continue
        turned = _gaze(photo, eyes, seen) - _gaze(neutral(), eyes, seen)
        eye = _moved(np.ascontiguousarray(photo[:, ::-1]), hidden, settings.turn * turned, settings.most_turned)
        share = eyes * _window(eyes.shape, hidden)
        mirrored_trust = np.ascontiguousarray(trust[:, ::-1])
        sigma = settings.colour * size
        about = np.clip(ndimage.gaussian_filter(share, sigma) * 4, 0, 1) * mirrored_trust
        gain = low_pass(fill, about, sigma) / np.maximum(low_pass(eye, about, sigma), 0.02)
        eye = np.clip(eye * np.clip(gain, *settings.gain), 0, 1)
        share = share * np.clip(mirrored_trust * 2, 0, 1)
        made = made + (eye - made) * share[..., None]
        depth = ndimage.distance_transform_edt(trust >= 0.5) / (settings.joint * hidden.half_width)
        shown = shown + (eye - shown) * (share * np.clip(1 - depth, 0, 1))[..., None]
        taken |= share > 0.5
    return MirroredEyes(shown.astype(np.float32), made.astype(np.float32), taken)


def _pairs(eyes: FloatArray) -> list[tuple[_Opening, _Opening]]:
    """(hidden, seen) for the eye in each half of the layout."""
    half = eyes.shape[1] // 2
    found = []
    for columns in (slice(0, half), slice(half, None)):
        rows = np.flatnonzero((eyes[:, columns] > 0.5).any(1))
        across = np.flatnonzero((eyes[:, columns] > 0.5).any(0)) + (columns.start or 0)
        if len(rows) == 0:
            return []
        place = slice(rows[0], rows[-1] + 1), slice(across[0], across[-1] + 1)
        found.append(_Opening(place, (across[-1] + 1 - across[0]) / 2))
    return [(found[0], found[1]), (found[1], found[0])]


def _window(shape: tuple[int, ...], opening: _Opening) -> FloatArray:
    """[S, S]: 1 in the half of the layout that holds the opening, else 0."""
    window = np.zeros(shape, np.float32)
    left = opening.place[1].stop <= shape[1] // 2
    window[:, : shape[1] // 2] = left
    window[:, shape[1] // 2 :] = not left
    return window


def _gaze(texture: FloatArray, eyes: FloatArray, opening: _Opening) -> float:
    """How far the dark of an eye lies to the right of the opening's middle, in half widths of the opening."""
    rows, columns = opening.place
    luma = texture[opening.place] @ LUMA
    weight = eyes[opening.place] > 0.5
    # Iris and pupil are the darkest third; the lids' shadows above and below run along the whole opening.
    height = rows.stop - rows.start
    middle = np.zeros(luma.shape, bool)
    middle[height // 4 : height - height // 4] = True
    luma, weight = ndimage.gaussian_filter(luma, opening.half_width / 12), weight & middle
    dark = np.clip(np.quantile(luma[weight], 0.4) - luma, 0, None) * weight
    if dark.sum() <= 0:
        return 0.0
    x = np.arange(columns.stop - columns.start) + 0.5 - opening.half_width
    return float((dark * x).sum() / dark.sum() / opening.half_width)


def _moved(texture: FloatArray, opening: _Opening, turn: float, most: float) -> FloatArray:
    """The texture with the iris of an opening moved to the right by ``turn`` half widths, corners and lids kept."""
    rows, columns = opening.place
    shift = float(np.clip(turn, -most, most)) * opening.half_width
    y, x = np.mgrid[: texture.shape[0], : texture.shape[1]].astype(np.float32)
    across = (x + 0.5 - (columns.start + columns.stop) / 2) / opening.half_width
    down = (y + 0.5 - (rows.start + rows.stop) / 2) / ((rows.stop - rows.start) / 2)
    bump = np.clip(1 - across**2, 0, 1) * np.clip(1.5 - np.abs(down) * 0.75, 0, 1)
    import cv2

    return np.asarray(cv2.remap(texture, (x - shift * bump).astype(np.float32), y, cv2.INTER_CUBIC), np.float32)
