"""Complete by the diffusion model: detail that the prior cannot know, drawn over its most probable texture."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ostec.complete.canvas import UvCanvas, chosen_mode
from ostec.complete.completer import OnProgress, unwatched
from ostec.complete.prior import filled
from ostec.complete.settings import DiffusionSettings
from ostec.core.types import Completion, Evidence, FloatArray
from ostec.nets.denoiser import TextureCondition, TextureDenoiser, sample_residual
from ostec.prior.linear import PriorFill


@dataclass(frozen=True)
class DiffusionCompleter:
    """Fills by the prior and what a :class:`TextureDenoiser` draws over it; in mode hard the texture is all theirs.

    Raises:
        ValueError: the canvas has no prior, or one of another size than the network.
    """

    canvas: UvCanvas
    network: TextureDenoiser
    mode: str = "auto"
    """auto, soft or hard."""
    samples: int = 0
    """Completions to be drawn beside the first."""
    seed: int = 0
    """Of what is drawn."""
    settings: DiffusionSettings = field(default_factory=DiffusionSettings)

    def __post_init__(self) -> None:
        size = self.network.shape.size
        if self.canvas.prior is None or self.canvas.prior.size != size:
            raise ValueError(f"expected a canvas with a prior of {size} texels")

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        """Complete the texture of each face; see :class:`ostec.complete.completer.TextureCompleter`."""
        return [self._complete(one, on_progress) for one in evidence]

    def _complete(self, evidence: Evidence, on_progress: OnProgress) -> Completion:
        canvas = self.canvas
        mode, reason = chosen_mode(self.mode, evidence.face.pose_deg[1], canvas.blend_settings.profile_deg, 0)
        on_progress("prior", 0.0)
        fill = canvas.fill(evidence)
        assert fill is not None
        drawn = self.draw(evidence, fill)
        on_progress("stitch", 0.0)
        return filled(canvas, evidence, fill, drawn[0], drawn[1:], mode, reason)

    def draw(self, evidence: Evidence, fill: PriorFill) -> FloatArray:
        """[1 + N, s, s, 3] in [0, 1]: the completion with little noise, which is the most probable, and N samples."""
        guess, seen = (_planes(x) for x in (fill.texture, evidence.coarse.colour))
        given = TextureCondition(guess, seen, torch.from_numpy(fill.trust)[None, None])
        device = self.network.scale.device
        given = TextureCondition(*(plane.to(device) for plane in vars(given).values()))
        times = np.linspace(0, 1, self.settings.steps + 1).tolist()
        made = []
        for number in range(1 + self.samples):
            power = 1.0 if number else self.settings.calm
            noise = np.random.default_rng((self.seed, number)).standard_normal(guess.shape, np.float32) * power
            residual = sample_residual(self.network, given, torch.from_numpy(noise).to(device), times)
            made.append((given.guess + residual)[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy())
        return np.stack(made)


def _planes(image: FloatArray) -> torch.Tensor:
    """[S, S, 3] as [1, 3, S, S]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
