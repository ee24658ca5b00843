"""What lies before the face, whatever it is: masks, scarves, phones, hair, dark glasses, bars and mosaics, paint.

A colour says little of a cover: it may be any, skin's too. In the UV layout every face lies in the same place, so a
small network (:mod:`ostec.nets.covers`), trained on bare portraits on which covers of all kinds were drawn, sees what
is missing there. A feature of which half is covered counts as covered: half an eye or half a mouth is no use.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray, UvObservation
from ostec.mask.settings import CoverSettings
from ostec.mask.skin import MaskGuide, log_colour
from ostec.nets.covers import SIZE, CoverNetwork
from ostec.render.unwrap import resize_map

_FLOOR = 0.03
"""Added to the light before the logarithm, so that black does not dominate."""
_FEATURES = ("eyes", "mouth")
"""Parts that count as covered as a whole, each eye by itself."""


@dataclass(frozen=True)
class Cover:
    """What of the face is covered."""

    free: FloatArray | None = None
    """[S, S] in [0, 1]: 0 where the face is covered; None if nothing covers it."""
    parts: tuple[str, ...] = ()
    """Which parts of the face are."""
    share: float = 0.0
    """Of the face that the photo shows, away from the layout's border, where there is hair."""


def find_cover(
    seen: UvObservation,
    guide: MaskGuide,
    network: CoverNetwork | None,
    settings: CoverSettings | None = None,
    known: BoolArray | None = None,
) -> Cover:
    """Where something covers the face.

    Args:
        seen: the photo in the layout, at twice the network's size or another multiple.
        guide: the layout's regions at the same size.
        network: built with its weights; None where there is none.
        settings: the defaults if None.
        known: [S, S] texels of which it is known that they are covered.
    """
    settings = settings or CoverSettings()
    large = np.zeros(seen.inside.shape, bool) if known is None else known & seen.visible
    shown = resize_map(seen.visible.astype(np.float32), SIZE)
    colour = np.asarray(resize_map(seen.colour, SIZE) / np.maximum(shown, 1e-3)[..., None], np.float32)
    if network is not None:
        large = large | _unlike(colour, shown > 0.5, seen.size, network, settings)
    if _blind(colour, shown > 0.5, guide, settings):
        large = large | (guide.parts["eyes"] & seen.visible)
    if not large.any():
        return Cover()
    large = large | _continued(seen, guide, large, settings)
    looked = seen.visible & guide.inside
    inner = looked & (guide.rim > settings.border)
    parts = []
    for name, part in guide.parts.items():
        label, count = ndimage.label(part) if name in _FEATURES else (part, 1)
        for piece in (label == k + 1 for k in range(count)):
            shown_there = piece & looked
            if not shown_there.any() or large[shown_there].mean() <= settings.part:
                continue
            parts.append(name)
            if name in _FEATURES:
                large |= piece
    share = float(large[inner].mean()) if inner.any() else 0.0
    if not parts and share < settings.told:
        return Cover()
    reach = max(1, round(settings.margin * seen.size))
    grown = ndimage.binary_dilation(large, iterations=reach)
    return Cover((~grown).astype(np.float32), tuple(dict.fromkeys(parts)), share)


def _unlike(
    colour: FloatArray, shown: BoolArray, size: int, network: CoverNetwork, settings: CoverSettings
) -> BoolArray:
    """Texels [S, S] that the network takes for covered, from the photo at its own size."""
    device = next(network.parameters()).device
    planes = torch.from_numpy(np.ascontiguousarray((colour * shown[..., None]).transpose(2, 0, 1)))[None].to(device)
    visible = torch.from_numpy(shown.astype(np.float32))[None, None].to(device)
    with torch.no_grad():
        odds = network(planes, visible)[0, 0].cpu().numpy()
    return np.asarray(resize_map(_regions(odds, shown, settings).astype(np.float32), size) > 0.5)


def _continued(seen: UvObservation, guide: MaskGuide, large: BoolArray, settings: CoverSettings) -> BoolArray:
    """Texels [S, S] that a cover runs on into, by the colours of both.

    The network takes a microphone before the upper lip for a moustache, and the light check of a scarf at its edge for
    skin.
    """
    log, apart = log_colour(seen.colour) / np.array(settings.alike), settings.reach * seen.size
    covered, skin = large & seen.visible, guide.core & seen.visible & ~large
    if not covered.any() or not skin.any():
        return np.zeros_like(large)
    near = ndimage.distance_transform_edt(~covered) < apart
    of_cover, of_skin = (_unlikeness(log, where, count) for where, count in ((covered, settings.shades), (skin, 1)))
    like = covered | (seen.visible & (guide.beard | near) & (of_cover < 1) & (of_skin > 1.5))
    margin = max(1, round(settings.margin * seen.size))
    # Between open lips nothing is seen: a cover goes on behind that.
    open_to = ndimage.binary_dilation(like, iterations=margin) | (guide.parts["mouth"] & ~seen.visible)
    label, _ = ndimage.label(open_to)
    return like & np.isin(label, np.unique(label[covered]))


def _unlikeness(log: FloatArray, where: BoolArray, shades: int) -> FloatArray:
    """How far each of [S, S, 3] is from the nearest of a region's shades, as its largest difference."""
    values = log[where]
    groups = np.array_split(values[np.argsort(values[:, 0], kind="stable")], min(shades, len(values)))
    return np.min([np.abs(log - np.median(group, axis=0)).max(-1) for group in groups], axis=0)


def _blind(colour: FloatArray, shown: BoolArray, guide: MaskGuide, settings: CoverSettings) -> bool:
    """Whether both eyes are in the photo and neither can be seen: light does not run white, iris, white across it."""
    light = np.log(colour.mean(axis=-1) + _FLOOR)
    for u, v in guide.rims.centres:
        row, column = int((1 - v) * SIZE), int(u * SIZE)
        at = slice(row - 2, row + 1), slice(column - 8, column + 9)
        line = ndimage.gaussian_filter1d(light[at].mean(axis=0), 0.7)
        white = min(line[1:8].max(), line[8:-1].max()) - line[4:-4].min()
        if shown[at].mean() < 0.9 or white >= settings.white or np.ptp(line) >= settings.lid:
            return False
    return True


def _regions(odds: FloatArray, shown: BoolArray, settings: CoverSettings) -> BoolArray:
    """The regions [s, s] that are large and sure enough."""
    likely = (odds > 0) & shown
    label, count = ndimage.label(likely)
    size, sure = (np.bincount(label[where], minlength=count + 1) for where in (likely, likely & (odds > settings.sure)))
    kept = (size >= settings.least * label.size) & (sure >= 0.5 * size)
    kept[0] = False  # what is not likely at all
    return np.asarray(kept[label])
