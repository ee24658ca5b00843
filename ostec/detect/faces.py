"""Faces in a photo: the MTCNN cascade from pyramid to boxes and five points.

Zhang, Zhang, Li, Qiao: Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks (IEEE SPL
2016). Every step is that of the PyPI package ``mtcnn`` 1.0.0, its unusual ones included, so that boxes and points are
the package's own: windows are 11 px wide rather than 12, a window is suppressed by any better one even if that one is
suppressed itself, and pictures are sampled outside their border as mid-grey.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ostec.core.types import DoubleArray, FaceBox, FloatArray, IntArray
from ostec.detect.settings import CELL, DetectSettings
from ostec.nets.mtcnn import Mtcnn, ONet, RNet

IndexArray = npt.NDArray[np.int64]

_BAND_ROWS = 64
"""Rows resized at a time: keeps what lies between in the cache, and small where the photo is huge."""
_WINDOWS_AT_A_TIME = 512
_PAIRS_AT_A_TIME = 1 << 18


def detect_faces(image: FloatArray, networks: Mtcnn, settings: DetectSettings | None = None) -> list[FaceBox]:
    """Find all faces of a photo.

    Boxes are not clipped to the photo. Their coordinates are the package's own; it leaves open, within half a pixel,
    where in a pixel they lie.

    Args:
        image: [H, W, 3] float32 RGB in [0, 1], of any size.
        networks: the detector; runs on the device that holds it.
        settings: see there.

    Returns:
        The faces by descending area; empty if there are none. Equal input gives equal output.

    Raises:
        ValueError: ``image`` has another shape or type.
    """
    settings = DetectSettings() if settings is None else settings
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32 or image.size == 0:
        raise ValueError(f"image must be [H, W, 3] float32, got {list(image.shape)} {image.dtype}")
    with torch.inference_mode():
        pixels, zoom = _prepare(image, settings.max_side, networks.device)
        windows = _propose(pixels, networks, settings)
        windows = _refine(pixels, windows, networks, settings)
        found = _output(pixels, windows, networks, settings)
    faces = [
        FaceBox(
            box=(row[:4] * np.tile(zoom, 2)).astype(np.float32),
            confidence=float(row[4]),
            points=(row[5:].reshape(2, 5).T * zoom).astype(np.float32),
        )
        for row in found
    ]
    return sorted(faces, key=lambda face: -face.area)


def largest(faces: Sequence[FaceBox]) -> FaceBox | None:
    """The face whose box has the largest area; None if there is no face."""
    return max(faces, key=lambda face: face.area, default=None)


def _prepare(image: FloatArray, max_side: int, device: torch.device) -> tuple[Tensor, DoubleArray]:
    """The networks' [H', W', 3] in [-1, 1] on their device, and what brings its (x, y) back to the photo's."""
    height, width = image.shape[:2]
    shrink = min(1.0, max_side / max(height, width))
    rows, columns = (max(1, round(side * shrink)) for side in (height, width))
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"]))  # torch takes no others
    if shrink < 1:
        pixels = resize_area(pixels, rows, columns)
    return (pixels.to(device) * 255 - 127.5) / 128, np.array([width / columns, height / rows])


def resize_area(image: Tensor, rows: int, columns: int) -> Tensor:
    """Resize as ``tf.image.resize`` with method AREA does: every new pixel is the mean of the area that it covers.

    Args:
        image: [H, W, C].
        rows: new height.
        columns: new width.

    Returns:
        [rows, columns, C].
    """
    row_ids, row_weights = _area_taps(image.shape[0], rows)
    column_ids, column_weights = _area_taps(image.shape[1], columns)
    result = image.new_empty(rows, columns, image.shape[2])
    for start in range(0, rows, _BAND_ROWS):
        band = slice(start, start + _BAND_ROWS)
        reduced = _weighted_sum(image, 0, row_ids[band], row_weights[band])
        result[band] = _weighted_sum(reduced, 1, column_ids, column_weights)
    return result


def _area_taps(old: int, new: int) -> tuple[IntArray, FloatArray]:
    """Which old pixels a new pixel covers, [new, T], and with what share of its area."""
    step = old / new
    start = np.arange(new)[:, None] * step
    ids = np.floor(start).astype(np.int32) + np.arange(math.ceil(step) + 1, dtype=np.int32)
    shares = np.minimum(ids + 1, start + step) - np.maximum(ids, start)
    return np.minimum(ids, old - 1), (np.maximum(shares, 0) / step).astype(np.float32)


def _weighted_sum(image: Tensor, axis: int, ids: IntArray, weights: FloatArray) -> Tensor:
    index = torch.from_numpy(ids).to(image.device)
    factors = torch.from_numpy(weights).to(image.device).unsqueeze(1 - axis)  # [new, 1, T] or [1, new, T]
    total = image.index_select(axis, index[:, 0]).mul_(factors[..., :1])
    for tap in range(1, ids.shape[1]):
        total.addcmul_(image.index_select(axis, index[:, tap]), factors[..., tap : tap + 1])
    return total


def _propose(pixels: Tensor, networks: Mtcnn, settings: DetectSettings) -> DoubleArray:
    """P-Net over the pyramid: square windows [N, 5] of x0, y0, x1, y1 and probability."""
    height, width = pixels.shape[:2]
    found = [np.empty((0, 5))]
    for scale in _pyramid(min(height, width), settings):
        rows, columns = int(height * scale), int(width * scale)
        if min(rows, columns) < CELL:
            break  # only where min_face_size is large for the photo
        level = resize_area(pixels, rows, columns).permute(2, 0, 1)[None]  # [1, 3, rows, columns]
        offsets, face = networks.pnet(level)
        keep = face[0] > settings.thresholds[0]
        confidence = face[0][keep].cpu().numpy().astype(np.float64)
        regression = offsets[0][:, keep].T.cpu().numpy().astype(np.float64)
        corner = 2.0 * keep.nonzero().flip(1).cpu().numpy()  # x, y
        box = np.concatenate([corner + 1, corner + CELL], axis=1) + regression * (CELL - 1)
        windows = np.column_stack([box / scale, confidence])
        found.append(suppress(windows, settings.nms[0], "union"))
    windows = np.concatenate(found)
    return _squared(suppress(windows, settings.nms[1], "union"))


def _pyramid(short_side: int, settings: DetectSettings) -> DoubleArray:
    """The scales of the levels, from the finest."""
    levels = round(-(math.log(short_side / CELL) / math.log(settings.scale_factor) + 1))
    return CELL / settings.min_face_size * np.power(settings.scale_factor, np.arange(levels, dtype=np.float64))


def _refine(pixels: Tensor, windows: DoubleArray, networks: Mtcnn, settings: DetectSettings) -> DoubleArray:
    """R-Net: the windows that it keeps, moved and squared."""
    said = [networks.rnet(crops) for crops in _crops(pixels, windows, RNet.side)]
    boxes = _moved(windows, _joined([part.offsets for part in said]))
    windows = np.column_stack([boxes, _joined([part.face for part in said])])
    return _squared(suppress(windows[windows[:, 4] > settings.thresholds[1]], settings.nms[2], "union"))


def _output(pixels: Tensor, windows: DoubleArray, networks: Mtcnn, settings: DetectSettings) -> DoubleArray:
    """O-Net: boxes, probabilities and points [N, 15], the points as five x and then five y."""
    said = [networks.onet(crops) for crops in _crops(pixels, windows, ONet.side)]
    side = np.repeat(windows[:, 2:4] - windows[:, :2] + 1, 5, axis=1)
    points = side * _joined([part.points for part in said]) + np.repeat(windows[:, :2], 5, axis=1) - 1
    boxes = _moved(windows, _joined([part.offsets for part in said]))
    windows = np.column_stack([boxes, _joined([part.face for part in said]), points])
    return suppress(windows[windows[:, 4] > settings.thresholds[2]], settings.nms[3], "smaller")


def _crops(pixels: Tensor, windows: DoubleArray, side: int) -> Iterator[Tensor]:
    """The windows' contents, [B, 3, side, side] at a time; one empty batch where there is no window."""
    for start in range(0, max(1, len(windows)), _WINDOWS_AT_A_TIME):
        yield crop_and_resize(pixels, windows[start : start + _WINDOWS_AT_A_TIME, :4], side)


def _joined(parts: list[Tensor]) -> DoubleArray:
    return torch.cat(parts).cpu().numpy().astype(np.float64)


def _moved(windows: DoubleArray, offsets: DoubleArray) -> DoubleArray:
    """The boxes [N, 4] after the offsets, which count in sides; the package adds a pixel to the side here."""
    side = windows[:, 2:4] - windows[:, :2] + 1
    return windows[:, :4] + offsets * np.tile(side, 2)


def _squared(windows: DoubleArray) -> DoubleArray:
    """Every box made square around its centre, with the longer of its sides."""
    side = windows[:, 2:4] - windows[:, :2]
    longest = side.max(axis=1, keepdims=True)
    corner = windows[:, :2] + (side - longest) * 0.5
    return np.concatenate([corner, corner + longest, windows[:, 4:]], axis=1)


def crop_and_resize(image: Tensor, boxes: DoubleArray, side: int) -> Tensor:
    """Sample squares out of a picture as ``tf.image.crop_and_resize`` does: bilinear, corners on pixel centres.

    Args:
        image: [H, W, C].
        boxes: [N, 4] of x0, y0, x1, y1, where 0 and W (or H) are the *centres* of the first and last pixels.
        side: of the result.

    Returns:
        [N, C, side, side]; zero outside the picture.
    """
    height, width = image.shape[:2]
    along = np.linspace(0, 1, side)
    x = (boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * along) * ((width - 1) / width)
    y = (boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * along) * ((height - 1) / height)
    left, right, across, in_x = _between(x, width, image.device)
    top, bottom, down, in_y = _between(y, height, image.device)
    rows = image.flatten(0, 1)

    def at(row: Tensor, column: Tensor) -> Tensor:
        return rows[row[:, :, None] * width + column[:, None, :]]  # [N, side, side, C]

    across, down = across[:, None, :, None], down[:, :, None, None]
    upper = torch.lerp(at(top, left), at(top, right), across)
    lower = torch.lerp(at(bottom, left), at(bottom, right), across)
    inside = (in_y[:, :, None] & in_x[:, None, :])[..., None]
    return (torch.lerp(upper, lower, down) * inside).permute(0, 3, 1, 2)


def _between(position: DoubleArray, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pixels on either side of each position, the share of the second, and whether the position is inside."""
    inside = (position >= 0) & (position <= length - 1)
    position = np.clip(position, 0, length - 1)
    first = np.floor(position)
    values = (first.astype(np.int64), np.ceil(position).astype(np.int64), (position - first).astype(np.float32), inside)
    first_id, second_id, share, valid = (torch.from_numpy(value).to(device) for value in values)
    return first_id, second_id, share, valid


def suppress(windows: DoubleArray, threshold: float, measure: Literal["union", "smaller"]) -> DoubleArray:
    """Keep the windows that no more probable window overlaps by more than ``threshold``.

    Unlike in the usual greedy suppression a window counts even if it is suppressed itself.

    Args:
        windows: [N, 5 or more] of x0, y0, x1, y1, probability.
        threshold: largest overlap allowed, above 0.
        measure: overlap as a share of the windows' union or of the smaller window.

    Returns:
        [M, 5 or more] by descending probability.
    """
    # P-Net saturates: equal probabilities are common, and the last of them wins, as in the package where NumPy's
    # default sort is stable (it is not on every processor, so the package's own choice varies with the machine).
    windows = windows[np.argsort(windows[:, 4], kind="stable")[::-1]]
    low, high = windows[:, :2], windows[:, 2:4]
    side = high - low
    area = side.prod(axis=1)
    # Of windows that share more than t of their union, sides differ by 1 / t at most and centres by 1 - t of the longer
    # side; of those that share more than t of the smaller one, nothing better is known than that they touch.
    union = measure == "union"
    reach = side * (1 / threshold - 1) if union else (side + side.max(axis=0, initial=0)) / 2
    keep = np.ones(len(windows), dtype=np.bool_)
    for better, worse in _close_pairs((low + high) / 2, reach):
        sides = np.minimum(high[better], high[worse]) - np.maximum(low[better], low[worse])
        shared = np.maximum(sides, 0).prod(axis=1)
        whole = area[better] + area[worse] - shared if union else np.minimum(area[better], area[worse])
        keep[worse[(shared > 0) & (shared > threshold * whole)]] = False
    return windows[keep]


def _close_pairs(centre: DoubleArray, reach: DoubleArray) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Pairs (i, j), i < j, of points [N, 2] no further apart than j's reach [N, 2], in x and in y; some at a time.

    All pairs of a crowd's thousand million would take a minute; most lie far apart, and sorting by x shows which.
    """
    reach = reach * (1 + 1e-9)  # rounding must lose no pair
    order = np.argsort(centre[:, 0], kind="stable")
    x = centre[order, 0]
    begin = np.searchsorted(x, centre[:, 0] - reach[:, 0], side="left")
    count = np.maximum(np.searchsorted(x, centre[:, 0] + reach[:, 0], side="right") - begin, 0)
    total = np.concatenate([[0], np.cumsum(count)])
    start = 0
    while start < len(centre):
        stop = max(start + 1, int(np.searchsorted(total, total[start] + _PAIRS_AT_A_TIME, side="right")) - 1)
        rows = np.arange(start, stop)
        second = np.repeat(rows, count[rows])
        first = order[np.arange(len(second)) + np.repeat(begin[rows] - (total[rows] - total[start]), count[rows])]
        close = (first < second) & (np.abs(centre[first, 1] - centre[second, 1]) <= reach[second, 1])
        yield first[close], second[close]
        start = stop
