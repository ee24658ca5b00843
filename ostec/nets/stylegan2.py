"""StyleGAN2 (Karras et al., Analyzing and improving the image quality of StyleGAN, CVPR 2020): mapping, synthesis.

Architecture and parameter names are those of the published networks (skip generator, residual discriminator), so that
their checkpoints load. Modulated convolutions scale the input, convolve with shared weights and rescale the output,
which equals the paper's per-sample weights (its equations 1 and 3) and is faster on every device.
"""

from dataclasses import dataclass
from math import log2, sqrt
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ostec.nets.ops import LRELU_GAIN, downsample2d, filter_planes, leaky_relu, lowpass_filter, upsample2d

NoiseMode = Literal["const", "random", "none"]


@dataclass(frozen=True)
class GeneratorShape:
    """What a generator's checkpoint is built for."""

    resolution: int
    """Side of the picture in pixels, a power of two from 8."""
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 32768
    """A layer of resolution r has channel_base / r channels ..."""
    channel_max: int = 512
    """... but at most this many."""

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"expected a resolution that is a power of two from 8, got {self.resolution}")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to the picture's."""
        return tuple(2**k for k in range(2, int(log2(self.resolution)) + 1))

    def channels(self, resolution: int) -> int:
        """Width of the layers at one resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def num_ws(self) -> int:
        """Rows of W+."""
        return 2 * len(self.resolutions)


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate; weights are stored unscaled."""

    def __init__(
        self, inputs: int, outputs: int, activation: bool = False, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias_init)))
        self.activation = activation
        self.weight_gain = lr_multiplier / sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, inputs] -> [B, outputs]."""
        y = functional.linear(x, self.weight * self.weight_gain)
        bias = self.bias * self.bias_gain
        return leaky_relu(y, bias) if self.activation else y + bias


class MappingNetwork(nn.Module):
    """Z to W, with the running mean of W that truncation pulls towards."""

    w_avg: torch.Tensor

    def __init__(self, shape: GeneratorShape, w_avg_beta: float = 0.995) -> None:
        super().__init__()
        self.num_layers, self.num_ws, self.w_avg_beta = shape.mapping_layers, shape.num_ws, w_avg_beta
        for k in range(shape.mapping_layers):
            inputs = shape.z_dim if k == 0 else shape.w_dim
            self.add_module(f"fc{k}", FullyConnected(inputs, shape.w_dim, activation=True, lr_multiplier=0.01))
        self.register_buffer("w_avg", torch.zeros(shape.w_dim))

    def forward(
        self, z: torch.Tensor, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> torch.Tensor:
        """Latents [B, Z] to W+ [B, num_ws, W] with equal rows; psi below 1 pulls the first ``cutoff`` to the mean."""
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for k in range(self.num_layers):
            x = self.get_submodule(f"fc{k}")(x)
        if self.training:
            self.w_avg.copy_(x.detach().mean(0).lerp(self.w_avg, self.w_avg_beta))
        ws = x[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            rows = slice(0, self.num_ws if truncation_cutoff is None else truncation_cutoff)
            ws[:, rows] = self.w_avg.lerp(ws[:, rows], truncation_psi)
        return ws


def modulated_conv(
    x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, up_kernel: torch.Tensor | None, demodulate: bool = True
) -> torch.Tensor:
    """Convolution whose weights are scaled per input channel by ``styles`` and normalised per output channel.

    Args:
        x: [B, I, H, W].
        weight: [O, I, k, k].
        styles: [B, I].
        up_kernel: filter to upsample with by two, or None to keep the size.
        demodulate: whether outputs are brought back to unit variance (equation 3).

    Returns:
        [B, O, H, W], or twice that size.
    """
    x = x * styles[:, :, None, None]
    if up_kernel is None:
        x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    else:
        x = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        x = filter_planes(x, up_kernel, (1, 1), 4.0)
    if demodulate:
        power = styles.square() @ weight.square().sum((2, 3)).T
        x = x * (power + 1e-8).rsqrt()[:, :, None, None]
    return x


def _clamped(x: torch.Tensor, limit: float | None) -> torch.Tensor:
    return x if limit is None else x.clamp(-limit, limit)


class SynthesisLayer(nn.Module):
    """Modulated 3 x 3 convolution, noise, bias, leaky ReLU."""

    noise_const: torch.Tensor
    resample_filter: torch.Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, up: bool) -> None:
        super().__init__()
        self.resolution, self.up = resolution, up
        self.clamp: float | None = None
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", lowpass_filter())

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: NoiseMode) -> torch.Tensor:
        """[B, inputs, h, h] and w [B, W] -> [B, outputs, resolution, resolution]."""
        x = modulated_conv(x, self.weight, self.affine(w), self.resample_filter if self.up else None)
        if noise == "const":
            x = x + self.noise_const * self.noise_strength
        elif noise == "random":
            drawn = torch.randn(len(x), 1, self.resolution, self.resolution, device=x.device)
            x = x + drawn * self.noise_strength
        return _clamped(leaky_relu(x, self.bias), self.clamp)


class ToRgb(nn.Module):
    """Modulated 1 x 1 convolution to colours, not demodulated."""

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.weight_gain = 1 / sqrt(inputs)
        self.clamp: float | None = None

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """[B, inputs, h, h] -> [B, 3, h, h]."""
        y = modulated_conv(x, self.weight, self.affine(w) * self.weight_gain, None, demodulate=False)
        return _clamped(y + self.bias[:, None, None], self.clamp)


class SynthesisBlock(nn.Module):
    """The layers of one resolution; adds its colours to the upsampled picture so far."""

    resample_filter: torch.Tensor

    def __init__(self, shape: GeneratorShape, resolution: int) -> None:
        super().__init__()
        outputs = shape.channels(resolution)
        self.first = resolution == 4
        if self.first:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        else:
            self.conv0 = SynthesisLayer(shape.channels(resolution // 2), outputs, shape.w_dim, resolution, up=True)
        self.conv1 = SynthesisLayer(outputs, outputs, shape.w_dim, resolution, up=False)
        self.torgb = ToRgb(outputs, shape.w_dim)
        self.register_buffer("resample_filter", lowpass_filter())

    @property
    def num_conv(self) -> int:
        """Convolutions, each with a row of W+."""
        return 1 if self.first else 2

    def forward(
        self, x: torch.Tensor | None, image: torch.Tensor | None, ws: torch.Tensor, noise: NoiseMode
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and picture of half the size (None at 4 px) and rows [B, num_conv + 1, W] to the next."""
        if self.first:
            x = self.const[None].expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        else:
            assert x is not None
            x = self.conv0(x, ws[:, 0], noise)
        x = self.conv1(x, ws[:, self.num_conv - 1], noise)
        colour = self.torgb(x, ws[:, self.num_conv])
        return x, colour if image is None else upsample2d(image, self.resample_filter) + colour


class SynthesisNetwork(nn.Module):
    """W+ to a picture."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.shape = shape
        for resolution in shape.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(shape, resolution))

    def forward(self, ws: torch.Tensor, noise: NoiseMode = "const", resolution: int | None = None) -> torch.Tensor:
        """Draw.

        Args:
            ws: [B, num_ws, W].
            noise: the network's stored noise, fresh noise, or none.
            resolution: stop at this level of the pyramid; default: the full size.

        Returns:
            [B, 3, R, R], about [-1, 1].
        """
        wanted = resolution or self.shape.resolution
        if ws.ndim != 3 or ws.shape[1:] != (self.shape.num_ws, self.shape.w_dim):
            raise ValueError(f"expected W+ [B, {self.shape.num_ws}, {self.shape.w_dim}], got {tuple(ws.shape)}")
        if wanted not in self.shape.resolutions:
            raise ValueError(f"expected a resolution of {self.shape.resolutions}, got {wanted}")
        x: torch.Tensor | None = None
        image: torch.Tensor | None = None
        row = 0
        for level in self.shape.resolutions:
            block = self.get_submodule(f"b{level}")
            assert isinstance(block, SynthesisBlock)
            x, image = block(x, image, ws[:, row : row + block.num_conv + 1], noise)
            row += block.num_conv
            if level == wanted:
                break
        assert image is not None
        return image


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, shape: GeneratorShape, conv_clamp: float | None = None) -> None:
        """``conv_clamp``: the largest magnitude that leaves a layer; networks trained in half floats have one."""
        super().__init__()
        self.shape, self.conv_clamp = shape, conv_clamp
        self.mapping = MappingNetwork(shape)
        self.synthesis = SynthesisNetwork(shape)
        for layer in self.synthesis.modules():
            if isinstance(layer, SynthesisLayer | ToRgb):
                layer.clamp = conv_clamp
        self.to(memory_format=torch.channels_last)

    def forward(self, z: torch.Tensor, truncation_psi: float = 1.0, noise: NoiseMode = "const") -> torch.Tensor:
        """Latents [B, Z] to pictures [B, 3, R, R], about [-1, 1]."""
        return self.synthesis(self.mapping(z, truncation_psi), noise)


class ConvLayer(nn.Module):
    """Convolution with equalised learning rate, optionally halving the size, leaky ReLU unless ``linear``."""

    resample_filter: torch.Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, linear: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1 / sqrt(inputs * kernel**2)
        self.down, self.kernel = down, kernel
        self.clamp: float | None = None
        self.register_buffer("resample_filter", lowpass_filter())

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        """[B, inputs, H, W] -> [B, outputs, H, W] or half that size."""
        weight = self.weight * self.weight_gain
        if self.down and self.kernel == 1:
            x = functional.conv2d(downsample2d(x, self.resample_filter), weight)
        elif self.down:
            x = functional.conv2d(filter_planes(x, self.resample_filter, (2, 2)), weight, stride=2)
        else:
            x = functional.conv2d(x, weight, padding=self.kernel // 2)
        if self.bias is None:
            return x * gain
        return _clamped(leaky_relu(x, self.bias, LRELU_GAIN * gain), self.clamp and self.clamp * gain)


class DiscriminatorBlock(nn.Module):
    """Residual block of one resolution."""

    def __init__(self, shape: GeneratorShape, resolution: int, image_channels: int) -> None:
        super().__init__()
        width, outputs = shape.channels(resolution), shape.channels(resolution // 2)
        if resolution == shape.resolution:
            self.fromrgb = ConvLayer(image_channels, width, 1)
        self.conv0 = ConvLayer(width, width, 3)
        self.conv1 = ConvLayer(width, outputs, 3, down=True)
        self.skip = ConvLayer(width, outputs, 1, down=True, linear=True)
        # Published checkpoints store the filter here as well.
        self.register_buffer("resample_filter", lowpass_filter())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features, or the picture in the first block, to features of half the size."""
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        y = self.skip(x, sqrt(0.5))
        return y + self.conv1(self.conv0(x), sqrt(0.5))


class DiscriminatorEpilogue(nn.Module):
    """Minibatch deviation, one convolution, two linear layers."""

    def __init__(self, width: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.conv = ConvLayer(width + 1, width, 3)
        self.fc = FullyConnected(width * 16, width, activation=True)
        self.out = FullyConnected(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, width, 4, 4] -> [B, 1]."""
        batch, _, height, width = x.shape
        size = min(self.group, batch)
        if batch % size:
            raise ValueError(f"expected a batch that is a multiple of {size}, got {batch}")
        grouped = x.reshape(size, -1, *x.shape[1:])
        spread = ((grouped - grouped.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
        plane = spread.repeat(size)[:, None, None, None].expand(-1, 1, height, width)
        x = self.conv(torch.cat([x, plane], dim=1))
        return self.out(self.fc(x.contiguous().flatten(1)))


class Discriminator(nn.Module):
    """How real a picture looks; also a source of features."""

    def __init__(
        self, shape: GeneratorShape, image_channels: int = 3, group: int = 4, conv_clamp: float | None = None
    ) -> None:
        """``group``: pictures whose deviation is taken together; ``conv_clamp`` as in :class:`Generator`."""
        super().__init__()
        self.shape, self.conv_clamp = shape, conv_clamp
        self.levels = tuple(reversed(shape.resolutions[1:]))
        for resolution in self.levels:
            self.add_module(f"b{resolution}", DiscriminatorBlock(shape, resolution, image_channels))
        self.b4 = DiscriminatorEpilogue(shape.channels(4), group)
        for layer in self.modules():
            if isinstance(layer, ConvLayer):
                layer.clamp = conv_clamp
        self.to(memory_format=torch.channels_last)

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of the blocks, finest first: [B, C, R/2, R/2], [B, C, R/4, R/4] ... down to 4 x 4."""
        found = []
        x = image
        for resolution in self.levels:
            x = self.get_submodule(f"b{resolution}")(x)
            found.append(x)
        return found

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Pictures [B, C, R, R] to logits [B, 1]; larger is more real."""
        return self.b4(self.features(image)[-1])
