"""The published projector in plain PyTorch, written independently of this program's networks and projection.

The method is that of StyleGAN2 (Karras et al. 2020, appendix D) in the variant and with the constants of
NVlabs/stylegan2-ada-pytorch (``projector.py``): one w for all layers and the noise maps are optimised together, at the
network's full size, with per-sample weights in grouped convolutions (the paper's equations 1 and 3). From this program
it takes a network's tensors by name and nothing else, so that no error, and no shortcut, can be shared.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bench.judge import distance, judged_size

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ReferenceSettings:
    """The published constants."""

    learning_rate: float = 0.1
    ramp_up: float = 0.05
    """Share of the steps in which the learning rate rises."""
    ramp_down: float = 0.25
    """Share of the steps, at the end, in which it falls on a cosine."""
    explore: float = 0.05
    """Noise on w at the start, in deviations of W."""
    explore_until: float = 0.75
    """Share of the steps after which there is none."""
    noise_weight: float = 1e5
    """Weight of the noise maps' correlation with themselves."""
    samples: int = 10_000
    """Mapped z from which mean and deviation of W are taken."""
    samples_seed: int = 123


@dataclass(frozen=True)
class Statistics:
    """Of W."""

    mean: torch.Tensor
    """[1, W]."""
    deviation: float
    """Root of the mean squared distance from the mean."""


@dataclass(frozen=True)
class Referenced:
    """What was found."""

    w: torch.Tensor
    """[1, W] after the last step."""
    noises: Tensors
    """Noise maps [R, R] after the last step, by the layer's name."""
    distances: list[float]
    """Of the picture before each step, without the noise maps' term."""


class PlainNetwork:
    """Mapping and synthesis of a StyleGAN2 from its tensors by their published names; float32, contiguous."""

    def __init__(self, tensors: Tensors, clamp: float | None = None) -> None:
        """``tensors``: a network's state; ``clamp``: the largest magnitude that leaves a layer."""
        self._tensors = {name: x.detach().contiguous().clone() for name, x in tensors.items()}
        self._clamp = clamp
        levels = {int(name.split(".")[1][1:]) for name in tensors if name.startswith("synthesis.b")}
        self.levels = sorted(levels)
        """Resolutions, 4 first."""
        self.noises = {
            name.removeprefix("synthesis.").removesuffix(".noise_const"): x
            for name, x in self._tensors.items()
            if name.endswith(".noise_const")
        }
        """The stored noise maps by layer, such as ``b8.conv0``."""

    def map(self, z: torch.Tensor) -> torch.Tensor:
        """Latents [B, Z] to w [B, W]."""
        x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
        k = 0
        while (name := f"mapping.fc{k}") + ".weight" in self._tensors:
            weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
            x = x @ (weight * (0.01 / math.sqrt(weight.shape[1]))).T + bias * 0.01
            x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
            k += 1
        return x

    def draw(self, ws: torch.Tensor, noises: Tensors | None = None) -> torch.Tensor:
        """Rows [B, num_ws, W] to pictures [B, 3, R, R], with the stored noise maps unless others are given."""
        noises = self.noises if noises is None else noises
        x = self._tensors["synthesis.b4.const"].expand(len(ws), -1, -1, -1)
        picture: torch.Tensor | None = None
        row = 0
        for level in self.levels:
            for layer in (f"b{level}.conv0", f"b{level}.conv1"):
                if layer in noises:
                    x = self._layer(x, ws[:, row], layer, noises[layer])
                    row += 1
            colour = self._colour(x, ws[:, row], f"b{level}.torgb")  # the next level begins with the same row
            picture = colour if picture is None else _fir(_spread(picture), (2, 1), 4.0) + colour
        assert picture is not None
        return picture

    def _styles(self, w: torch.Tensor, layer: str) -> torch.Tensor:
        weight = self._tensors[f"synthesis.{layer}.affine.weight"]
        return torch.addmm(self._tensors[f"synthesis.{layer}.affine.bias"], w, weight.T / math.sqrt(weight.shape[1]))

    def _layer(self, x: torch.Tensor, w: torch.Tensor, layer: str, noise: torch.Tensor) -> torch.Tensor:
        weight = self._tensors[f"synthesis.{layer}.weight"]
        own = weight[None] * self._styles(w, layer)[:, None, :, None, None]  # [B, O, I, 3, 3]
        own = own * (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = _grouped(x, own, up=layer.endswith("conv0"))
        x = x + noise * self._tensors[f"synthesis.{layer}.noise_strength"]
        x = x + self._tensors[f"synthesis.{layer}.bias"][:, None, None]
        return self._limited(functional.leaky_relu(x, 0.2) * math.sqrt(2))

    def _colour(self, x: torch.Tensor, w: torch.Tensor, layer: str) -> torch.Tensor:
        weight = self._tensors[f"synthesis.{layer}.weight"]
        styles = self._styles(w, layer) / math.sqrt(weight.shape[1])
        y = _grouped(x, weight[None] * styles[:, None, :, None, None], up=False)
        return self._limited(y + self._tensors[f"synthesis.{layer}.bias"][:, None, None])

    def _limited(self, x: torch.Tensor) -> torch.Tensor:
        return x if self._clamp is None else x.clamp(-self._clamp, self._clamp)


def _grouped(x: torch.Tensor, weights: torch.Tensor, up: bool) -> torch.Tensor:
    """Convolve sample b of x [B, I, h, w] with ``weights[b]`` [O, I, k, k]; twice as large with ``up``."""
    batch, outputs, inputs, kernel, _ = weights.shape
    flat = x.reshape(1, batch * inputs, *x.shape[2:])
    if up:
        turned = weights.transpose(1, 2).reshape(batch * inputs, outputs, kernel, kernel)
        y = functional.conv_transpose2d(flat, turned, stride=2, groups=batch)
        y = _fir(y, (1, 1), 4.0)
    else:
        same = weights.reshape(batch * outputs, inputs, kernel, kernel)
        y = functional.conv2d(flat, same, padding=kernel // 2, groups=batch)
    return y.reshape(batch, outputs, *y.shape[2:])


def _fir(x: torch.Tensor, padding: tuple[int, int], gain: float) -> torch.Tensor:
    """Filter every channel of x [B, C, h, w] with (1, 3, 3, 1) squared, of sum ``gain``, after padding with zeros."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    kernel = (gain * torch.outer(row, row)).repeat(x.shape[1], 1, 1, 1)
    before, after = padding
    return functional.conv2d(functional.pad(x, (before, after, before, after)), kernel, groups=x.shape[1])


def _spread(x: torch.Tensor) -> torch.Tensor:
    """Zeros after every pixel: [B, C, h, w] to [B, C, 2h, 2w]."""
    batch, channels, height, width = x.shape
    x = functional.pad(x.reshape(batch, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    return x.reshape(batch, channels, 2 * height, 2 * width)


@torch.no_grad()
def statistics(network: PlainNetwork, settings: ReferenceSettings, z_dim: int, device: torch.device) -> Statistics:
    """Mean and deviation of W over mapped z of NumPy's RandomState."""
    z = np.random.RandomState(settings.samples_seed).randn(settings.samples, z_dim)
    found = network.map(torch.from_numpy(z).to(device, torch.float32))
    mean = found.mean(0, keepdim=True)
    return Statistics(mean, float((found - mean).square().sum(1).mean().sqrt()))


def rate_at(done: float, settings: ReferenceSettings) -> float:
    """Learning rate after a share ``done`` of the steps."""
    fall = min(1.0, (1 - done) / settings.ramp_down)
    return settings.learning_rate * (0.5 - 0.5 * math.cos(math.pi * fall)) * min(1.0, done / settings.ramp_up)


def exploration_at(done: float, settings: ReferenceSettings) -> float:
    """Noise on w after a share ``done`` of the steps, in deviations of W."""
    return settings.explore * max(0.0, 1 - done / settings.explore_until) ** 2


def noise_correlation(noises: Tensors) -> torch.Tensor:
    """How much noise maps [R, R] resemble themselves one pixel on: squared means, over all sizes down to 8 px."""
    total = torch.zeros((), device=next(iter(noises.values())).device)
    for noise in noises.values():
        level = noise[None, None]
        while True:
            for axis in (2, 3):
                total = total + (level * level.roll(1, axis)).mean().square()
            if level.shape[-1] <= 8:
                break
            level = functional.avg_pool2d(level, 2)
    return total


def project_reference(
    network: PlainNetwork,
    target: torch.Tensor,
    features: Callable[[torch.Tensor], list[torch.Tensor]],
    steps: int,
    seed: int = 0,
    settings: ReferenceSettings | None = None,
    observe: Callable[[int], None] | None = None,
) -> Referenced:
    """Project one picture.

    Args:
        network: whose tensors are on the target's device.
        target: [1, 3, R, R] in [-1, 1], of the network's size.
        features: of pictures of 256 px or less.
        steps: at least 1.
        seed: of the noise maps and of the noise on w.
        settings: the published ones if None.
        observe: called with -1 when the preparations are done, and with its number from 0 after each step.

    Raises:
        ValueError: the target is not one picture of the network's size, or ``steps`` is less than 1.
    """
    side, settings = network.levels[-1], settings or ReferenceSettings()
    if target.shape != (1, 3, side, side) or steps < 1:
        raise ValueError(
            f"expected a target {[1, 3, side, side]} and 1 step or more, got {list(target.shape)}, {steps}"
        )
    random = torch.Generator(target.device).manual_seed(seed)
    z_dim = network._tensors["mapping.fc0.weight"].shape[1]
    space = statistics(network, settings, z_dim, target.device)
    with torch.no_grad():
        wanted = features(judged_size(target))
    w = space.mean.clone().requires_grad_(True)
    noises = {name: _drawn(x.shape, random).requires_grad_(True) for name, x in network.noises.items()}
    rows = 1 + len(noises)
    optimiser = torch.optim.Adam([w, *noises.values()], lr=settings.learning_rate, betas=(0.9, 0.999))
    seen = []
    if observe is not None:
        observe(-1)
    for step in range(steps):
        done = step / steps
        optimiser.param_groups[0]["lr"] = rate_at(done, settings)
        moved = w + _drawn(w.shape, random) * (space.deviation * exploration_at(done, settings))
        picture = network.draw(moved[:, None].expand(-1, rows, -1), noises)
        apart = distance(features(judged_size(picture)), wanted).sum()
        loss = apart + settings.noise_weight * noise_correlation(noises)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        seen.append(apart.detach())
        with torch.no_grad():
            for noise in noises.values():
                noise -= noise.mean()
                noise *= noise.square().mean().rsqrt()
        if observe is not None:
            observe(step)
    return Referenced(w.detach(), {k: x.detach() for k, x in noises.items()}, [float(x) for x in seen])


def _drawn(shape: torch.Size, random: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=random, device=random.device)
