"""A generated view's colours brought to those of the texture so far, by what both show."""

import numpy as np

from ostec.core.types import FloatArray
from ostec.stitch.blend import low_pass
from ostec.stitch.settings import ColourSettings


def match_colour(
    generated: FloatArray, reference: FloatArray, overlap: FloatArray, settings: ColourSettings | None = None
) -> FloatArray:
    """Match mean and deviation on the overlap (OSTeC), then carry what still differs there into the rest.

    Args:
        generated: [S, S, 3].
        reference: [S, S, 3].
        overlap: [S, S] in [0, 1]: trusted in the reference and well seen in the generated view.
        settings: the defaults if None.

    Returns:
        [S, S, 3], not clipped.
    """
    settings = settings or ColourSettings()
    total = float(overlap.sum())
    if total < settings.least * overlap.size:
        return generated.astype(np.float32)
    share = overlap[..., None] / total
    ours, theirs = (x * share for x in (generated, reference))
    mean, wanted = ours.sum((0, 1)), theirs.sum((0, 1))
    spread, desired = (
        np.sqrt((((x - m) ** 2) * share).sum((0, 1)) + 1e-8) for x, m in ((generated, mean), (reference, wanted))
    )
    matched = (generated - mean) * np.clip(desired / spread, *settings.contrast) + wanted
    difference = low_pass(reference - matched, overlap, settings.reach * len(overlap))
    near = low_pass(overlap[..., None], np.ones_like(overlap), settings.reach * len(overlap))
    return (matched + difference * (near / (near + settings.fade))).astype(np.float32)
