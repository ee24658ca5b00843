"""Spectacles on a face: whether there are any, and the texels that their frame covers.

Nothing but spectacles crosses the nose at the height of the eyes: by that bridge they are known, by its colour or by
the three lines of a frame together. Colour tells the frame from skin; from a brow, which is as dark, it does not. But
each rim is a closed line about the eye, darker or lighter or of another tint than what lies on either side of it, and
it goes on where the brow ends. In polar coordinates about the eye such a line is a function of the angle. The one that
gathers the most evidence is found by dynamic programming (Amini, Weymouth and Jain 1990: Using dynamic programming for
solving variational problems in vision), and what lies under it is taken out whatever its colour, on the brow as well.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ostec.core.types import Array, BoolArray, DoubleArray, FloatArray, IntArray
from ostec.mask.settings import SpectacleSettings

_SPREAD = np.array([0.12, 0.04, 0.04])
"""Deviation of skin's log colours from one texel to its neighbours."""
_STEP = 1 / 256
"""Distance in UV between neighbouring places of a strip."""
_WIDTHS = (2, 3, 4, 6, 8)
"""Distances from a line's middle, in those steps, at which its surroundings are looked at: from wire to horn."""
_MARGIN = max(_WIDTHS)
_MIXED = 0.3
"""Share of a rim's colour in a texel from which it belongs to the rim."""
_ISLAND = 0.002
"""Share of the layout below which what a frame encloses belongs to it."""
_SLOPE = 3
"""Most places by which a line moves from one row of its strip to the next."""
_BRIDGE = (8, 14, 20)
"""Columns on either side of the middle of the nose, and places below and above the eyes' level, where a bridge runs."""


@dataclass(frozen=True)
class RimGuide:
    """What the layout knows of where spectacles lie, at one size S."""

    band: BoolArray
    """[S, S] from brow to upper cheek, from temple to temple."""
    bridge: BoolArray
    """[S, S] the part of that on the nose, which no brow and no lash reaches."""
    eyes: BoolArray
    """[S, S] the eye openings with their lashes: dark, but no rims."""
    brows: BoolArray
    """[S, S]."""
    centres: DoubleArray
    """[2, 2] in UV, the middle of each eye."""


@dataclass(frozen=True)
class Rim:
    """The closed line about one eye that is most like a rim; T directions, P places in each."""

    centre: DoubleArray
    """[2] in UV."""
    colour: DoubleArray
    """[T, P, 3] about the eye, in deviations of skin."""
    first: int
    """Distance of the first place from the centre, in steps."""
    path: IntArray
    """[T] the line's place in each direction."""
    strength: DoubleArray
    """[T] evidence of it."""
    width: DoubleArray
    """[T] distance, in steps, at which its surroundings begin."""
    on_brow: BoolArray
    """[T]."""

    @property
    def certainty(self) -> float:
        """Lower quartile of the evidence where there is no brow."""
        bare = self.strength[~self.on_brow]
        return float(np.quantile(bare, 0.25)) if len(bare) else 0.0


def spectacles(
    colour: FloatArray, distance: FloatArray, guide: RimGuide, settings: SpectacleSettings | None = None
) -> FloatArray:
    """Where spectacles cover the face.

    There are some if every column of the bridge holds a texel that is no skin, or if a line crosses the nose and
    others go round both eyes. Then all that is no skin between brow and upper cheek is taken for them, save eyes and
    brows, and so is what lies under either rim, save the eyes.

    Args:
        colour: [S, S, 3] log light, log red - light, log blue - light.
        distance: [S, S] squared Mahalanobis distance from the predicted skin, zero where nothing was seen.
        guide: the layout's regions at the same size.
        settings: the defaults if None.

    Returns:
        [S, S] in [0, 1]; all zero if there are none.
    """
    settings = settings or SpectacleSettings()
    seen = distance > 0
    rims = [find_rim(colour, seen, centre, guide, settings) for centre in guide.centres]
    if not _is_proven(colour, distance, rims, guide, settings):
        return np.zeros(distance.shape, np.float32)
    found = guide.band & ~guide.brows & (distance > settings.rim_distance)
    for rim in rims:
        found |= rim_texels(rim, len(seen), settings)
    size = len(distance)
    found = ndimage.binary_dilation(found & ~guide.eyes, iterations=max(1, round(size * 3 / 256)))
    # What little the frame encloses, lenses apart, is its shadow or its edge.
    islands, count = ndimage.label(~found)
    small = np.bincount(islands.ravel(), minlength=count + 1) < _ISLAND * size**2
    found |= small[islands]
    soft = ndimage.gaussian_filter((found & ~guide.eyes).astype(np.float32), size / 256)
    return np.where(guide.eyes, 0, np.clip(2 * soft, 0, 1)).astype(np.float32)


def _is_proven(
    colour: FloatArray, distance: FloatArray, rims: list[Rim], guide: RimGuide, settings: SpectacleSettings
) -> bool:
    columns = np.where(guide.bridge, distance, 0).max(0)[guide.bridge.any(0)]
    least = np.quantile(columns, 0.1) if len(columns) else 0.0
    if least >= settings.bridge_distance:
        return True
    certainty = min(rim.certainty for rim in rims)
    across = bridge_evidence(colour, distance > 0, guide, settings)
    if across < settings.crossing or certainty < settings.evidence:
        return False
    return bool(across + 0.5 * certainty >= settings.frame[int(least >= settings.faint_distance)])


def bridge_evidence(colour: FloatArray, seen: BoolArray, guide: RimGuide, settings: SpectacleSettings) -> float:
    """Lower quartile of the evidence along the best line across the nose at the eyes' height.

    Args:
        colour: [S, S, 3] as for :func:`spectacles`.
        seen: [S, S] texels that the photo shows.
        guide: the layout's regions.
        settings: how lines are judged.
    """
    middle = guide.centres.mean(0)
    side, below, above = _BRIDGE
    u, v = np.meshgrid(
        middle[0] + np.arange(-side, side + 1) * _STEP,
        middle[1] + np.arange(-below - _MARGIN, above + _MARGIN) * _STEP,
        indexing="ij",
    )
    evidence, _ = line_evidence(_colours(colour, u, v), _sampled(seen, u, v) > 0.9, settings.contrast)
    path = best_path(evidence, settings.bend)
    return float(np.quantile(evidence[np.arange(len(path)), path], 0.25))


def find_rim(
    colour: FloatArray, seen: BoolArray, centre: DoubleArray, guide: RimGuide, settings: SpectacleSettings
) -> Rim:
    """Follow the closed line about one eye that is most like a rim.

    Args:
        colour: [S, S, 3] as for :func:`spectacles`.
        seen: [S, S] texels that the photo shows.
        centre: [2] the middle of the eye in UV.
        guide: the layout's regions.
        settings: how lines are judged.
    """
    first, last = round(settings.radii[0] / _STEP) - _MARGIN, round(settings.radii[1] / _STEP) + _MARGIN
    radii = np.arange(first, last + 1) * _STEP
    along = np.arange(settings.angles)
    turn = along[:, None] * 2 * np.pi / settings.angles
    u, v = centre[0] + radii * np.cos(turn), centre[1] + radii * np.sin(turn)
    colours = _colours(colour, u, v)
    evidence, width = line_evidence(colours, _sampled(seen, u, v) > 0.9, settings.contrast)
    inner = slice(_MARGIN, -_MARGIN)
    evidence = np.where(_sampled(guide.eyes, u[:, inner], v[:, inner]) < 0.5, evidence, 0)
    # Of lines with the same evidence the longer is likelier: lids and wrinkles lie inside the rim.
    path = closed_path(evidence * np.sqrt(radii[inner] / radii[-1]), settings.bend)
    at = along, path + _MARGIN
    return Rim(
        centre=centre,
        colour=colours,
        first=first,
        path=path + _MARGIN,
        strength=evidence[along, path],
        width=width[along, path],
        on_brow=_sampled(guide.brows, u[at], v[at]) > 0.5,
    )


def rim_texels(rim: Rim, size: int, settings: SpectacleSettings) -> BoolArray:
    """Texels [S, S] of a layout of ``size`` that a rim covers; parts of its line without evidence are left out."""
    span = round(settings.arc * len(rim.path)) | 1
    accepted = ndimage.uniform_filter1d(rim.strength, span, mode="wrap") > settings.evidence
    if rim.on_brow.any() and not rim.on_brow.all():
        elsewhere = np.quantile(rim.strength[~rim.on_brow], 0.75)
        accepted &= ~rim.on_brow | (np.median(rim.strength[rim.on_brow]) < settings.brow_excess * elsewhere)
    width = ndimage.median_filter(rim.width, span, mode="wrap")
    under = (_under(rim.colour, rim.path, width) & accepted[:, None]).astype(np.float32)
    at = (np.arange(size) + 0.5) / size
    du, dv = np.broadcast_arrays(at[None] - rim.centre[0], 1 - at[:, None] - rim.centre[1])
    direction = np.arctan2(dv, du) / (2 * np.pi) % 1 * len(under)
    place = np.hypot(du, dv) / _STEP - rim.first
    around = np.concatenate([under, under[:1]])  # the first direction follows the last
    return np.asarray(ndimage.map_coordinates(around, [direction, place], order=1, mode="constant") > 0.5)


def line_evidence(strip: DoubleArray, known: BoolArray, contrast: float) -> tuple[DoubleArray, DoubleArray]:
    """How far each place differs from both of its sides, in the same direction of colour space.

    An edge, which differs from one side alone, has none.

    Args:
        strip: [T, R + 2 M, 3] colours in deviations of skin, each row across the line; M is the largest of the widths.
        known: [T, R + 2 M] where they are known.
        contrast: that counts as 1.

    Returns:
        Evidence [T, R] (the root of the contrast, so that neither a faint nor a black part decides alone), and the
        least width at which nearly all of it is reached [T, R].
    """
    radii = strip.shape[1] - 2 * _MARGIN
    middle = strip[:, _MARGIN : _MARGIN + radii]
    found = []
    for w in _WIDTHS:
        inner, outer = slice(_MARGIN - w, _MARGIN - w + radii), slice(_MARGIN + w, _MARGIN + w + radii)
        a, b = middle - strip[:, inner], middle - strip[:, outer]
        longer = np.maximum(np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1))
        both = np.clip((a * b).sum(-1), 0, None) / np.maximum(longer, 1e-6)
        found.append(both * (known[:, _MARGIN : _MARGIN + radii] & known[:, inner] & known[:, outer]))
    stack = np.stack(found)
    best = stack.max(0)
    width = np.asarray(_WIDTHS, np.float64)[(stack >= 0.85 * best).argmax(0)]
    return np.sqrt(best / contrast), width


def best_path(reward: DoubleArray, bend: float) -> IntArray:
    """The column of each row that gathers the most reward.

    Args:
        reward: [T, R].
        bend: what a step by one column costs; at most three are made between neighbouring rows.

    Returns:
        [T].
    """
    rows, columns = reward.shape
    steps = np.arange(-_SLOPE, _SLOPE + 1)
    total = reward[0]
    came = np.zeros((rows, columns), np.int32)
    for t in range(1, rows):
        padded = np.pad(total, _SLOPE, constant_values=-np.inf)
        reached = np.lib.stride_tricks.sliding_window_view(padded, len(steps)) - bend * np.abs(steps)  # [R, steps]
        best = reached.argmax(1)
        total = reached[np.arange(columns), best] + reward[t]
        came[t] = np.arange(columns) + steps[best]
    path = np.zeros(rows, np.int32)
    path[-1] = total.argmax()
    for t in range(rows - 1, 0, -1):
        path[t - 1] = came[t, path[t]]
    return path


def closed_path(reward: DoubleArray, bend: float) -> IntArray:
    """As :func:`best_path` for rows on a circle: gone round three times, so that the ends of the middle one meet."""
    rows = len(reward)
    return best_path(np.concatenate([reward] * 3), bend)[rows : 2 * rows]


def _under(colour: DoubleArray, path: IntArray, width: DoubleArray) -> BoolArray:
    """Where [T, P] the colour is nearer to the line's than to what lies ``width`` [T] away on the same side of it."""
    rows = np.arange(len(path))
    line = colour[rows, path][:, None]
    offset = np.arange(colour.shape[1]) - path[:, None]
    found = np.abs(offset) <= 1
    for sign in (-1, 1):
        side = colour[rows, path + sign * width.astype(int)][:, None]
        way = line - side
        share = ((colour - side) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-6)
        found |= (share > _MIXED) & (offset * sign > 0) & (offset * sign <= width[:, None])
    return found


def _colours(colour: FloatArray, u: DoubleArray, v: DoubleArray) -> DoubleArray:
    """Log colours [S, S, 3] at UV, in deviations of skin."""
    return np.stack([_sampled(colour[..., k], u, v) for k in range(3)], axis=-1) / _SPREAD


def _sampled(image: Array | BoolArray, u: DoubleArray, v: DoubleArray) -> DoubleArray:
    """Read [S, S] at UV, bilinearly."""
    size, values = len(image), image.astype(np.float64)
    return np.asarray(ndimage.map_coordinates(values, [(1 - v) * size - 0.5, u * size - 0.5], order=1, mode="nearest"))
