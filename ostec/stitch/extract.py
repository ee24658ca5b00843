"""One even texture from several views of a face over a template, as FFHQ-UV makes its maps (Bai et al., CVPR 2023).

View by view the template, or what was made so far, takes the view's colours and less of a contrast of its own; the
view's texels are laid over it through an eroded, softened mask. Eyes, mouth and base of the nose then follow the
template's gradients, and a Laplacian pyramid joins all with the template about it. Constants are those of the
published code (DataSet_Step4_UV_Texture), at 1024 texels; other sizes follow in proportion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from ostec.core.types import BoolArray, ByteArray, FloatArray
from ostec.render.colour import LUMA

CONTRAST = 1.5
"""By which the template's deviation is divided when it takes a view's colours."""
LEVELS = 5
"""Of the pyramid."""
_YUV = np.array([LUMA, [-0.14714119, -0.28886916, 0.43601035], [0.61497538, -0.51496512, -0.10001026]], np.float64)
_RGB = np.linalg.inv(_YUV)
_AT = 1024
_ERODE, _ERODE_MOUTH = (3, 5, 9), (3, 5)
"""Sides of the boxes by which a mask is eroded, one after the other: seven texels in all, three at the mouth."""
_WIDE, _MIDDLE, _NARROW = 51, 31, 21
"""Sides of the boxes that soften a mask."""
_DOUBT = 0.8
"""Weight of what a view shows, but not surely."""
_RIM = 2
"""Texels at the border of a repaired window that stay."""
_LEAST = 0.01
"""Share of the layout that two views must share before one takes the other's colours."""
_DARK = 5
"""Side of the box by which dark texels of the nostrils are widened."""


@dataclass(frozen=True)
class FaceView:
    """What one picture shows of the face in the layout."""

    colour: FloatArray
    """[S, S, 3] in [0, 1]."""
    shown: BoolArray
    """[S, S]: bare face that is seen."""
    near: BoolArray
    """[S, S]: where the picture may be used."""
    sure: BoolArray
    """[S, S]: where it is the best there is, within ``near``."""


@dataclass(frozen=True)
class ExtractionRegions:
    """Where the layout needs more than a mean of views; [S, S] each."""

    inside: BoolArray
    """The chart."""
    repaired: tuple[BoolArray, ...]
    """Windows round eyes, base of the nose and mouth, no two of which touch."""
    mouth: BoolArray
    """Where masks are eroded less."""
    nose: BoolArray
    """Base of the nose, where what is dark is a nostril."""
    scalp: BoolArray
    """Where the template stays as it is: hair goes there."""


@dataclass(frozen=True)
class Extraction:
    """The texture that was made."""

    texture: FloatArray
    """[S, S, 3] in [0, 1]."""
    filled: BoolArray
    """[S, S]: what the views gave."""
    source: ByteArray
    """[S, S]: number from 1 of the view that gave a texel, 0 for the template."""

    def valid_area(self, inside: BoolArray) -> float:
        """Share of the chart that the views gave."""
        return float(self.filled[inside].mean())


def extract(views: Sequence[FaceView], template: FloatArray, regions: ExtractionRegions) -> Extraction:
    """Join views over a template [S, S, 3].

    Args:
        views: those that count least first, whose colours follow the last one's; published is left, right, front.
        template: of an even, neutral, bare face.
        regions: of the layout.

    Raises:
        ValueError: there is no view, or none shows anything.
    """
    if not any(view.shown.any() for view in views):
        raise ValueError(f"expected views that show the face, got {len(views)} without any texel")
    texture, filled = template, np.zeros(regions.inside.shape, bool)
    source = np.zeros(regions.inside.shape, np.uint8)
    for number, view in enumerate(views, start=1):
        if not view.shown.any():
            continue
        colour = _in_one_tone(view, views[-1])
        below = match_yuv(texture, colour, view.shown)
        core = eroded(view.shown & view.near, regions.mouth)
        weight = softened(core, view.sure, view.shown)
        texture = below + (colour - below) * weight[..., None]
        filled |= core & regions.inside
        source = np.where(weight >= 0.5, number, source).astype(np.uint8)
    if not filled.any():
        raise ValueError("expected views that show the face, got none with a texel inside its own border")
    texture = _repaired(texture, template, filled, regions)
    outer = match_yuv(template, texture, filled)
    whole = softened(filled | _any(regions.repaired), filled, np.ones_like(filled))
    joined = pyramid_blend(texture, outer, whole)
    scalp = _box(eroded_by(regions.scalp, (11,)).astype(np.float32), 15)[..., None]
    texture = np.clip(joined + (outer - joined) * scalp, 0, 1).astype(np.float32)
    return Extraction(texture, filled, np.where(filled, source, 0).astype(np.uint8))


def _in_one_tone(view: FaceView, reference: FaceView) -> FloatArray:
    """A view's colours as the reference's where both show the face well; published views come from one latent."""
    both = view.shown & view.near & reference.shown & reference.near
    if view is reference or both.mean() < _LEAST:
        return view.colour
    return match_yuv(view.colour, reference.colour, both, contrast=1)


def match_yuv(given: FloatArray, wanted: FloatArray, where: BoolArray, contrast: float = CONTRAST) -> FloatArray:
    """A picture with another one's means and deviations of Y, U and V over a mask [S, S]; the deviations over contrast.

    Both [S, S, 3] in [0, 1]; so is the result.
    """
    ours, theirs = given.astype(np.float64) @ _YUV.T, wanted[where].astype(np.float64) @ _YUV.T
    mean, spread = ours[where].mean(0), np.maximum(ours[where].std(0), 1e-6)
    made = (ours - mean) / spread / contrast * theirs.std(0) + theirs.mean(0)
    return np.clip(made @ _RGB.T, 0, 1).astype(np.float32)


def eroded(shown: BoolArray, mouth: BoolArray) -> BoolArray:
    """A mask without its border: seven texels of 1024, three round the mouth."""
    return np.where(mouth, eroded_by(shown, _ERODE_MOUTH), eroded_by(shown, _ERODE))


def eroded_by(mask: BoolArray, boxes: Sequence[int]) -> BoolArray:
    """A mask eroded by boxes of so many texels of 1024, one after the other."""
    for box in boxes:
        mask = ndimage.minimum_filter(mask, _odd(box, len(mask)), mode="constant", cval=0)
    return mask


def softened(core: BoolArray, sure: BoolArray, shown: BoolArray) -> FloatArray:
    """Weights [S, S] in [0, 1]: 1 where a view is sure, less where it only shows something, 0 where it does not."""
    weight = _box(core.astype(np.float32), _WIDE) * np.float32(_DOUBT)
    weight = _box(np.where(core & sure, np.float32(1), weight), _MIDDLE)
    return _box(weight * core, _NARROW) * shown


def pyramid_blend(inner: FloatArray, outer: FloatArray, weight: FloatArray, levels: int = LEVELS) -> FloatArray:
    """Join two pictures [S, S, 3] by a mask [S, S], each band over its own width (Burt and Adelson 1983)."""
    import cv2

    share = weight[..., None].astype(np.float32)
    ours, theirs = inner.astype(np.float32), outer.astype(np.float32)
    bands: list[FloatArray] = []
    for _ in range(levels):
        size = ours.shape[1::-1]
        lower = [cv2.pyrDown(x) for x in (ours, theirs, share[..., 0])]
        fine = [x - cv2.pyrUp(low, dstsize=size) for x, low in zip((ours, theirs), lower[:2], strict=True)]
        bands.append(fine[1] + (fine[0] - fine[1]) * share)
        ours, theirs, share = lower[0], lower[1], lower[2][..., None]
    made = theirs + (ours - theirs) * share
    for band in reversed(bands):
        made = cv2.pyrUp(made, dstsize=band.shape[1::-1]) + band
    return np.asarray(made, np.float32)


def poisson(texture: FloatArray, guide: FloatArray, unknown: BoolArray) -> FloatArray:
    """The texture with another picture's gradients in ``unknown`` [S, S], its own colours at the border (Perez 2003).

    Raises:
        ValueError: everything is unknown.
    """
    if unknown.all():
        raise ValueError("expected a border that is known, got none")
    rows, columns = np.nonzero(unknown)
    number = np.full(unknown.shape, -1)
    number[unknown] = np.arange(len(rows))
    degree, right = np.zeros(len(rows)), np.zeros((len(rows), 3))
    parts = []
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        y, x = rows + down, columns + across
        there = (y >= 0) & (x >= 0) & (y < len(unknown)) & (x < unknown.shape[1])
        here = np.flatnonzero(there)
        y, x = y[there], x[there]
        degree[here] += 1
        right[here] += guide[rows[here], columns[here]] - guide[y, x]
        free = unknown[y, x]
        right[here[~free]] += texture[y[~free], x[~free]]
        parts.append((here[free], number[y[free], x[free]]))
    i, j = (np.concatenate(one) for one in zip(*parts, strict=True))
    matrix = sparse.coo_matrix((-np.ones(len(i)), (i, j)), (len(rows), len(rows))) + sparse.diags(degree)
    made = texture.copy()
    made[unknown] = splu(matrix.tocsc()).solve(right)
    return np.clip(made, 0, 1).astype(np.float32)


def _repaired(texture: FloatArray, template: FloatArray, filled: BoolArray, regions: ExtractionRegions) -> FloatArray:
    """Eyes, mouth and nostrils with the template's gradients where no view is to be trusted."""
    luma = texture @ LUMA
    dark = (luma < luma[filled].mean()) & regions.nose
    dark = ndimage.maximum_filter(dark, _odd(_DARK, len(dark))) & regions.nose
    unknown = ~filled | dark
    for window in regions.repaired:
        inner = ndimage.binary_erosion(window, iterations=_RIM)
        if (inner & unknown).any():
            texture = poisson(texture, template, inner & unknown)
    return texture


def _any(masks: Sequence[BoolArray]) -> BoolArray:
    return np.logical_or.reduce(masks)


def _odd(texels: int, size: int) -> int:
    return round(texels * size / _AT) | 1


def _box(values: FloatArray, texels: int) -> FloatArray:
    import cv2

    side = _odd(texels, len(values))
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE), np.float32)
