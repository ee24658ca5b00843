"""Complete by the prior alone: what the pictures do not show is the most probable face that agrees with them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ostec.complete.canvas import UvCanvas, chosen_mode
from ostec.complete.completer import OnProgress, unwatched
from ostec.core.types import Completion, Evidence
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

    def __post_init__(self) -> None:
        if self.canvas.prior is None:
            raise ValueError("expected a canvas with a prior, got none")

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        """Complete the texture of each face; see :class:`ostec.complete.completer.TextureCompleter`."""
        return [self._complete(one, on_progress) for one in evidence]

    def _complete(self, evidence: Evidence, on_progress: OnProgress) -> Completion:
        canvas, size = self.canvas, evidence.seen.size
        mode, reason = chosen_mode(self.mode, evidence.face.pose_deg[1], canvas.blend_settings.profile_deg, 0)
        on_progress("prior", 0.0)
        fill = canvas.fill(evidence)
        assert fill is not None
        on_progress("stitch", 0.0)
        weight = canvas.weight(evidence, fill)
        base = canvas.prior_texture(fill.texture if mode == "soft" else fill.model, size)
        made = canvas.join(evidence, weight, merge_views(base, (), evidence.seen.inside), mode)
        return Completion(made, weight >= 0.5, mode, reason, (), fill.model, canvas.is_occluded(fill))
