"""Hands in a photo: palms near the face, the landmarks of each hand, and where the hands cover the picture.

The way of MediaPipe Hands (Zhang et al. 2020, arXiv:2006.10214): palms are rigid and easily found, so a detector looks
for them; from wrist and knuckles follows a square turned so that the fingers point up, in which the second network
finds 21 landmarks and says once more whether there is a hand. Both must be sure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch.nn import functional

from ostec.core.types import Array, DoubleArray, FloatArray
from ostec.mask.settings import HandSettings
from ostec.nets.hands import HAND_SIZE, PALM_SIZE, HandLandmarker, HandNetworks, PalmOutput
from ostec.render.crops import Crop, warp

_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
"""Landmarks of each finger from the palm to the tip, the thumb first."""
_PALM = (0, 1, 2, 5, 9, 13, 17)
_WRIST, _MIDDLE_KNUCKLE, _INDEX_KNUCKLE, _RING_KNUCKLE, _LITTLE_KNUCKLE = 0, 9, 5, 13, 17
_PALM_WRIST, _PALM_MIDDLE_KNUCKLE = 0, 2
"""Of the palm detector's seven points."""
_RIGID = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Landmarks that the next look's region is laid around: the fingers' ends would make it jump."""

_GRID = 192
"""Cells along the longer side of a hand when it is drawn."""


@dataclass(frozen=True)
class Hand:
    """A hand in a photo."""

    points: FloatArray
    """[21, 3] in photo pixels; z in the same unit, away from the viewer, zero at the wrist."""
    palm_confidence: float
    """The palm detector's, 0 to 1."""
    confidence: float
    """The landmark network's, 0 to 1."""

    @property
    def palm_width(self) -> float:
        """Photo pixels across the knuckles, also of a palm that is seen edge-on."""
        across = np.linalg.norm(self.points[_INDEX_KNUCKLE] - self.points[_LITTLE_KNUCKLE])
        along = np.linalg.norm(self.points[_MIDDLE_KNUCKLE] - self.points[_WRIST])
        # A palm is 0.7 to 0.8 as wide as it is long from wrist to knuckles; a little less, for lengths are noisy.
        return float(max(across, 0.6 * along))


@dataclass(frozen=True)
class Palms:
    """Palms in a photo."""

    boxes: DoubleArray
    """[N, 4]: x0, y0, x1, y1 in photo pixels."""
    points: DoubleArray
    """[N, 7, 2] in photo pixels: wrist, knuckles of index, middle, ring and little finger, two joints of the thumb."""
    scores: DoubleArray
    """[N] in [0, 1]."""


@torch.no_grad()
def detect_hands(
    image: FloatArray, face: Array, networks: HandNetworks, settings: HandSettings | None = None
) -> list[Hand]:
    """Find the hands near a face.

    Args:
        image: [H, W, 3] RGB in [0, 1].
        face: [N, >= 2] points of the face in photo pixels, such as its landmarks.
        networks: built networks with their weights.
        settings: the defaults if None.

    Returns:
        Hands of which both networks are sure, the surest first.

    Raises:
        ValueError: the image is not [H, W, 3] float32.
    """
    settings = settings or HandSettings()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32 or image.size == 0:
        raise ValueError(f"expected an image [H, W, 3] float32, got {list(image.shape)} {image.dtype}")
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    palms = _detect_palms(pixels, _regions(image, face, settings), networks, settings)
    crops = [_crop_around_palm(box, points, settings) for box, points in zip(palms.boxes, palms.points, strict=True)]
    if not crops:
        return []
    for last in [False] * settings.refinements + [True]:
        points, confidence = _landmarks_in(pixels, crops, networks.hand)
        if not last:
            crops = [_crop_around_hand(p, settings) for p in points]
    found = [
        Hand(p.astype(np.float32), float(palm), float(c))
        for p, palm, c in zip(points, palms.scores, confidence, strict=True)
        if c >= settings.confidence
    ]
    side = float(np.ptp(face[:, :2], axis=0).max())
    found = [hand for hand in found if settings.sizes[0] <= hand.palm_width / side <= settings.sizes[1]]
    return _without_doubles(sorted(found, key=lambda hand: -hand.confidence))


def _regions(image: FloatArray, face: Array, settings: HandSettings) -> list[Crop]:
    """The whole photo and the squares round the face."""
    height, width = image.shape[:2]
    low, high = face[:, :2].min(axis=0).astype(np.float64), face[:, :2].max(axis=0).astype(np.float64)
    x, y = (low + high) / 2
    side = float((high - low).max())
    near = [Crop((float(x), float(y)), region * side, 0.0, PALM_SIZE) for region in settings.regions]
    return [Crop((width / 2, height / 2), float(max(width, height)), 0.0, PALM_SIZE), *near]


def _detect_palms(
    pixels: torch.Tensor, regions: Sequence[Crop], networks: HandNetworks, settings: HandSettings
) -> Palms:
    device = next(networks.parameters()).device
    pictures = warp(pixels.expand(len(regions), -1, -1, -1), regions, border="zero")
    output = networks.palm(pictures.to(device))
    found = [decode_palms(output, k, region) for k, region in enumerate(regions)]
    boxes, points, scores = (
        np.concatenate([getattr(f, name) for f in found]) for name in ("boxes", "points", "scores")
    )
    sure = scores >= settings.palm_confidence
    return merge_palms(Palms(boxes[sure], points[sure], scores[sure]), settings)


def decode_palms(output: PalmOutput, index: int, region: Crop) -> Palms:
    """All anchors' palms in one of the pictures, in photo pixels.

    Args:
        output: the palm detector's.
        index: which picture of the batch.
        region: where that picture was cut out, its axes along the photo's.
    """
    values = output.values[index].cpu().numpy().astype(np.float64)
    scores = torch.sigmoid(output.logits[index].double()).cpu().numpy()
    anchors = _anchors()
    centre, size = values[:, None, :2] + anchors[:, None], values[:, None, 2:4]
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)  # [2016, 2, 2]
    points = values[:, 4:].reshape(len(values), -1, 2) + anchors[:, None]
    boxes = np.asarray(region.points_to_photo(corners), np.float64).reshape(-1, 4)
    return Palms(boxes, np.asarray(region.points_to_photo(points), np.float64), scores)


def _anchors() -> DoubleArray:
    """Middles of the cells [2016, 2] in pixels of 192, in the order of the network's output."""
    cells = []
    for stride, count in ((8, 2), (16, 6)):
        middle = (np.arange(PALM_SIZE // stride) + 0.5) * stride
        y, x = np.meshgrid(middle, middle, indexing="ij")
        cells.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(cells)


def merge_palms(palms: Palms, settings: HandSettings) -> Palms:
    """Palms whose boxes overlap become one, their mean weighted by score, the surest first."""
    order = np.argsort(-palms.scores, kind="stable")
    boxes: list[DoubleArray] = []
    points: list[DoubleArray] = []
    scores: list[float] = []
    while len(order) and len(boxes) < settings.most:
        same = _shares(palms.boxes[order[0]], palms.boxes[order]) > settings.overlap
        same[0] = True
        group = order[same]
        weight = palms.scores[group] / palms.scores[group].sum()
        boxes.append(np.tensordot(weight, palms.boxes[group], 1))
        points.append(np.tensordot(weight, palms.points[group], 1))
        scores.append(palms.scores[order[0]])
        order = order[~same]
    return Palms(np.reshape(boxes, (-1, 4)), np.reshape(points, (-1, 7, 2)), np.array(scores))


def _shares(box: DoubleArray, boxes: DoubleArray) -> DoubleArray:
    """Intersection over union [N] of a box [4] with others [N, 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    own = np.clip(box[2:] - box[:2], 0, None).prod()
    return np.asarray(both / np.maximum(area + own - both, 1e-9))


def _crop_around_palm(box: DoubleArray, points: DoubleArray, settings: HandSettings) -> Crop:
    """The square of a hand whose palm was found."""
    up = points[_PALM_MIDDLE_KNUCKLE] - points[_PALM_WRIST]
    side = float((box[2:] - box[:2]).max())
    return _upright_crop((box[:2] + box[2:]) / 2, up, side, settings.palm_shift, settings.palm_expand)


def _crop_around_hand(points: Array, settings: HandSettings) -> Crop:
    """The square of a hand whose landmarks [21, 3] are known."""
    flat = points[:, :2].astype(np.float64)
    up = (flat[_MIDDLE_KNUCKLE] + (flat[_INDEX_KNUCKLE] + flat[_RING_KNUCKLE]) / 2) / 2 - flat[_WRIST]
    angle = math.atan2(up[0], -up[1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])  # hand to photo
    along = flat[list(_RIGID)] @ turn
    low, high = along.min(axis=0), along.max(axis=0)
    return _upright_crop(turn @ ((low + high) / 2), up, float((high - low).max()), settings.shift, settings.expand)


def _upright_crop(centre: DoubleArray, up: DoubleArray, side: float, shift: float, expand: float) -> Crop:
    """Square whose upward direction is ``up`` [2], moved that way by ``shift`` sides and grown by ``expand``."""
    angle = math.atan2(up[0], -up[1])
    moved = centre + shift * side * np.array([math.sin(angle), -math.cos(angle)])
    return Crop((float(moved[0]), float(moved[1])), max(expand * side, 1.0), angle, HAND_SIZE)


def _landmarks_in(pixels: torch.Tensor, crops: Sequence[Crop], network: HandLandmarker) -> tuple[list[Array], Array]:
    """Landmarks [21, 3] in photo pixels of each crop's hand, and the confidences [N]."""
    device = next(network.parameters()).device
    output = network(warp(pixels.expand(len(crops), -1, -1, -1), crops, border="zero").to(device))
    points = output.points.cpu().numpy().astype(np.float64)
    placed = [crop.points_to_photo(p) for crop, p in zip(crops, points, strict=True)]
    return placed, output.confidence.double().cpu().numpy()


def _without_doubles(hands: Sequence[Hand]) -> list[Hand]:
    """The first of hands whose landmarks lie in the same place."""
    kept: list[Hand] = []
    for hand in hands:
        apart = (np.linalg.norm(hand.points[:, :2] - k.points[:, :2], axis=1).mean() / k.palm_width for k in kept)
        if all(distance > 0.5 for distance in apart):
            kept.append(hand)
    return kept


def hand_mask(size: tuple[int, int], hands: Sequence[Hand], settings: HandSettings | None = None) -> FloatArray:
    """How far each pixel shows a hand or the beginning of its arm.

    Args:
        size: height and width of the photo.
        hands: in its pixels.
        settings: the defaults if None.

    Returns:
        [H, W] in [0, 1], soft over one pixel at the outline.
    """
    settings = settings or HandSettings()
    mask = np.zeros(size, np.float32)
    for hand in hands:
        _draw(mask, hand, settings)
    return mask


def _draw(mask: FloatArray, hand: Hand, settings: HandSettings) -> None:
    """Add one hand to a mask [H, W] in place: bars round the fingers' bones and the arm, and the palm, all widened."""
    width = hand.palm_width
    ends = np.vstack([hand.points[:, :2], _elbow(hand, settings)])
    reach = (0.5 + settings.margin) * width + 1
    limit = np.array(mask.shape[::-1])
    low = np.clip(np.floor(ends.min(axis=0) - reach), 0, limit).astype(int)
    high = np.clip(np.ceil(ends.max(axis=0) + reach), 0, limit).astype(int)
    if (high <= low).any():
        return
    # The depth is drawn on a grid of some hundred cells a side: between them it is nearly linear.
    step = max(1, int((high - low).max()) // _GRID)
    columns, rows = -(-(high - low) // step)
    y, x = (np.mgrid[:rows, :columns] + 0.5) * step + low[::-1, None, None]
    depth = torch.from_numpy(_depth(x, y, hand, settings))[None, None]
    fine = functional.interpolate(depth, scale_factor=float(step), mode="bilinear", align_corners=False)[0, 0].numpy()
    part = mask[low[1] : high[1], low[0] : high[0]]
    np.maximum(part, np.clip(fine[: part.shape[0], : part.shape[1]] + 0.5, 0, 1), out=part)


def _elbow(hand: Hand, settings: HandSettings) -> DoubleArray:
    """Where the drawn part of the arm ends, [2]."""
    flat = hand.points[:, :2].astype(np.float64)
    down = flat[_WRIST] - flat[_MIDDLE_KNUCKLE]
    return np.asarray(flat[_WRIST] + settings.arm * hand.palm_width * down / max(float(np.linalg.norm(down)), 1e-6))


def _depth(x: DoubleArray, y: DoubleArray, hand: Hand, settings: HandSettings) -> DoubleArray:
    """Distance inside the drawn outline in pixels, negative outside, for pixels at x, y."""
    width = hand.palm_width
    flat = hand.points[:, :2].astype(np.float64)
    root, tip = settings.finger * width, 0.8 * settings.finger * width
    depth = np.full(x.shape, -np.inf)
    for finger in _FINGERS:
        radii = np.linspace(root, tip, len(finger))
        for a, b, r0, r1 in zip(finger, finger[1:], radii, radii[1:], strict=False):
            np.maximum(depth, _capsule(x, y, flat[a], flat[b], r0, r1), out=depth)
    elbow = _elbow(hand, settings)
    np.maximum(depth, _capsule(x, y, flat[_WRIST], elbow, 0.38 * width, 0.38 * width), out=depth)
    down = flat[_WRIST] - flat[_MIDDLE_KNUCKLE]
    across = settings.heel * width * np.array([-down[1], down[0]]) / max(float(np.linalg.norm(down)), 1e-6)
    corners = [flat[list(_PALM)], flat[_WRIST] + across, flat[_WRIST] - across]
    hull = ConvexHull(np.vstack(corners), qhull_options="QJ")  # joggled: a palm seen edge-on is a line
    outside = np.max([a * x + b * y + c for a, b, c in hull.equations], axis=0)
    return np.asarray(np.maximum(depth, root - outside) + settings.margin * width)


def _capsule(x: DoubleArray, y: DoubleArray, start: DoubleArray, end: DoubleArray, r0: float, r1: float) -> DoubleArray:
    """Distance inside a capsule whose radius goes from ``r0`` to ``r1``, negative outside, for pixels at x, y."""
    along = end - start
    t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(float(along @ along), 1e-9), 0, 1)
    distance = np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1])
    return np.asarray(r0 + t * (r1 - r0) - distance)
