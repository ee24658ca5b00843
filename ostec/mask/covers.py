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
from ostec.mask.skin import MaskGuide
from ostec.nets.covers import SIZE, CoverNetwork
from ostec.render.unwrap import resize_map

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
    seen: UvObservation, guide: MaskGuide, network: CoverNetwork, settings: CoverSettings | None = None
) -> Cover:
    """Where something covers the face.

    Args:
        seen: the photo in the layout, at twice the network's size or another multiple.
        guide: the layout's regions at the same size.
        network: built with its weights.
        settings: the defaults if None.
    """
    settings = settings or CoverSettings()
    device = next(network.parameters()).device
    shown = resize_map(seen.visible.astype(np.float32), SIZE)
    colour = resize_map(seen.colour, SIZE) / np.maximum(shown, 1e-3)[..., None]
    shown = (shown > 0.5).astype(np.float32)
    planes = torch.from_numpy(np.ascontiguousarray((colour * shown[..., None]).transpose(2, 0, 1)))[None].to(device)
    with torch.no_grad():
        odds = network(planes, torch.from_numpy(shown)[None, None].to(device))[0, 0].cpu().numpy()
    covered = _regions(odds, shown > 0, settings)
    if not covered.any():
        return Cover()
    large = resize_map(covered.astype(np.float32), seen.size) > 0.5
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


def _regions(odds: FloatArray, shown: BoolArray, settings: CoverSettings) -> BoolArray:
    """The regions [s, s] that are large and sure enough."""
    likely = (odds > 0) & shown
    label, count = ndimage.label(likely)
    size, sure = (np.bincount(label[where], minlength=count + 1) for where in (likely, likely & (odds > settings.sure)))
    kept = (size >= settings.least * label.size) & (sure >= 0.5 * size)
    kept[0] = False  # what is not likely at all
    return np.asarray(kept[label])
