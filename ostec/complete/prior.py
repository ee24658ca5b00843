"""Complete by the prior alone: what the pictures do not show is the most probable face that agrees with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ostec.complete.canvas import UvCanvas, chosen_mode
from ostec.complete.completer import OnProgress, unwatched
from ostec.core.types import CompletedTexture, Completion, Evidence, FloatArray
from ostec.prior.linear import PriorFill
from ostec.stitch.merge import merge_views


@dataclass(frozen=True)
class PriorCompleter:
    """Fills by the prior; no view is projected. In mode hard the texture is the model's, seen texels too.

    Raises:
        ValueError: the canvas has no prior.
    """

    canvas: UvCanvas
    mode: str = "auto"
    """auto, soft or hard."""
    samples: int = 0
    """Draws of the prior's posterior to be completed beside its most probable texture."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        if self.canvas.prior is None:
            raise ValueError("expected a canvas with a prior, got none")

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        """Complete the texture of each face; see :class:`ostec.complete.completer.TextureCompleter`."""
        return [self._complete(one, on_progress) for one in evidence]

    def _complete(self, evidence: Evidence, on_progress: OnProgress) -> Completion:
        canvas = self.canvas
        mode, reason = chosen_mode(self.mode, evidence.face.pose_deg[1], canvas.blend_settings.profile_deg, 0)
        on_progress("prior", 0.0)
        fill = canvas.fill(evidence)
        assert fill is not None
        draws = canvas.samples(evidence, fill, self.samples, self.seed) if self.samples else ()
        on_progress("stitch", 0.0)
        best = fill.texture if mode == "soft" else fill.model
        return filled(canvas, evidence, fill, best, draws, mode, reason)


def filled(
    canvas: UvCanvas,
    evidence: Evidence,
    fill: PriorFill,
    best: FloatArray,
    draws: Sequence[FloatArray] | FloatArray,
    mode: str,
    reason: str,
) -> Completion:
    """Lay what is believed of the pictures over a fill, and over others that are as plausible.

    Args:
        canvas: the layout.
        evidence: of the face.
        fill: what the prior says.
        best: [s, s, 3] at the prior's size, what the texture is filled with.
        draws: [s, s, 3] each, the same of the samples.
        mode: soft or hard.
        reason: why.
    """
    weight = canvas.weight(evidence, fill)

    def joined(texture: FloatArray) -> CompletedTexture:
        base = canvas.prior_texture(texture, evidence.seen.size)
        return canvas.join(evidence, weight, merge_views(base, (), evidence.seen.inside), mode)

    samples = [np.round(joined(draw).colour * 255).astype(np.uint8) for draw in draws]
    return Completion(
        joined(best),
        weight >= 0.5,
        mode,
        reason,
        prior=fill.model,
        occluded=canvas.is_occluded(fill),
        samples=np.stack(samples) if samples else None,
    )
