"""The architecture against the paper's equations, and the layout of the published checkpoints."""

import math

import pytest
import torch
from torch.nn import functional

from ostec.nets.ops import lowpass_filter, upsample2d
from ostec.nets.stylegan2 import (
    Discriminator,
    DiscriminatorEpilogue,
    FullyConnected,
    Generator,
    GeneratorShape,
    MappingNetwork,
    SynthesisBlock,
    SynthesisLayer,
    modulated_conv,
)

SHAPE = GeneratorShape(16, z_dim=6, w_dim=5, mapping_layers=2, channel_base=64, channel_max=8)
PUBLISHED = GeneratorShape(1024)
"""Config-f, as the faces of 1024 px were trained."""


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(SHAPE).eval()


def block_of(generator: Generator, resolution: int) -> SynthesisBlock:
    block = generator.synthesis.get_submodule(f"b{resolution}")
    assert isinstance(block, SynthesisBlock)
    return block


def latents(count: int = 3) -> torch.Tensor:
    return torch.randn(count, SHAPE.num_ws, SHAPE.w_dim, generator=torch.Generator().manual_seed(1))


def explicit_conv(
    x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, up: bool, demodulate: bool
) -> torch.Tensor:
    """Equations 1 and 3 as they stand: weights of its own for every sample, in one grouped convolution."""
    batch, inputs, height, width = x.shape
    own = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        own = own / (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    padding = weight.shape[-1] // 2
    if up:  # zeros between the pixels, then a convolution in the strict sense: the kernel is flipped
        spread = x.new_zeros(batch, inputs, 2 * height - 1, 2 * width - 1)
        spread[:, :, ::2, ::2] = x
        x, own, padding = spread, own.flip(3, 4), weight.shape[-1] - 1
    flat = x.reshape(1, -1, *x.shape[2:])
    y = functional.conv2d(flat, own.reshape(-1, *own.shape[2:]), padding=padding, groups=batch)
    y = y.reshape(batch, -1, *y.shape[2:])
    if up:
        kernel = lowpass_filter().to(y) * 4
        planes = functional.pad(y, (1, 1, 1, 1)).reshape(-1, 1, y.shape[2] + 2, y.shape[3] + 2)
        y = functional.conv2d(planes, kernel[None, None]).reshape(batch, -1, 2 * height, 2 * width)
    return y


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("side", [3, 1])
def test_modulated_convolution_is_the_papers(side: int, up: bool, demodulate: bool) -> None:
    if up and side == 1:
        pytest.skip("the networks upsample with 3 x 3 kernels alone")
    random = torch.Generator().manual_seed(2)
    x, weight, styles = (
        torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()
        for shape in ((3, 4, 5, 7), (2, 4, side, side), (3, 4))
    )
    found = modulated_conv(x, weight, styles, lowpass_filter().double() if up else None, demodulate)
    expected = explicit_conv(x, weight, styles, up, demodulate)
    torch.testing.assert_close(found, expected)
    pull = torch.randn(*expected.shape, generator=random, dtype=torch.float64)
    slopes = [torch.autograd.grad((y * pull).sum(), (x, weight, styles)) for y in (found, expected)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b)


def test_linear_layer_by_hand() -> None:
    layer = FullyConnected(4, 1, activation=True, lr_multiplier=0.01, bias_init=0.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[100.0, 200.0, 0.0, -100.0]]))
        layer.bias.fill_(50.0)
    # Weights times 0.01 / sqrt(4): 0.5, 1, 0, -0.5; bias times 0.01: 0.5. Of (1, 2, 9, 4): 0.5 + 2 - 2 + 0.5 = 1.
    torch.testing.assert_close(layer(torch.tensor([[1.0, 2.0, 9.0, 4.0]])), torch.tensor([[2**0.5]]))
    # Of (1, 2, 9, 10): -2, so a fifth of it.
    torch.testing.assert_close(layer(torch.tensor([[1.0, 2.0, 9.0, 10.0]])), torch.tensor([[-0.4 * 2**0.5]]))


def test_mapping_gives_equal_rows_and_knows_only_the_direction_of_z(generator: Generator) -> None:
    z = torch.randn(2, SHAPE.z_dim)
    ws = generator.mapping(z)
    assert ws.shape == (2, SHAPE.num_ws, SHAPE.w_dim)
    assert torch.equal(ws, ws[:, :1].expand_as(ws))
    torch.testing.assert_close(generator.mapping(7 * z), ws)


def test_truncation_pulls_the_first_rows_to_the_mean(generator: Generator) -> None:
    z = torch.randn(2, SHAPE.z_dim)
    mean = torch.arange(1.0, SHAPE.w_dim + 1)
    generator.mapping.w_avg.copy_(mean)
    ws = generator.mapping(z)
    torch.testing.assert_close(generator.mapping(z, truncation_psi=0.0), mean.expand_as(ws))
    torch.testing.assert_close(generator.mapping(z, truncation_psi=0.5), (ws + mean) / 2)
    cut = generator.mapping(z, truncation_psi=0.0, truncation_cutoff=2)
    torch.testing.assert_close(cut[:, :2], mean.expand(2, 2, -1))
    assert torch.equal(cut[:, 2:], ws[:, 2:])
    torch.testing.assert_close(generator(z, 0.0), generator.synthesis(mean.expand_as(ws)))


def test_mean_latent_is_tracked_in_training_alone() -> None:
    mapping = MappingNetwork(SHAPE, w_avg_beta=0.9)
    z = torch.randn(5, SHAPE.z_dim)
    w = mapping.eval()(z)[:, 0]
    assert torch.equal(mapping.w_avg, torch.zeros(SHAPE.w_dim))
    mapping.train()(z)
    torch.testing.assert_close(mapping.w_avg, 0.1 * w.mean(0).detach())


@pytest.mark.parametrize("resolution", [4, 8, 16])
def test_lower_level_is_the_full_runs_picture_before_the_next_block(generator: Generator, resolution: int) -> None:
    pictures: dict[int, torch.Tensor] = {}
    for level in SHAPE.resolutions:
        block_of(generator, level).register_forward_hook(
            lambda _block, _inputs, outputs, level=level: pictures.__setitem__(level, outputs[1])
        )
    generator.synthesis(latents())
    full = pictures[resolution]
    pictures.clear()
    assert torch.equal(generator.synthesis(latents(), resolution=resolution), full)
    assert max(pictures) == resolution, "nothing beyond is computed"
    assert full.shape == (3, 3, resolution, resolution)


def test_each_row_of_latents_reaches_its_own_layers(generator: Generator) -> None:
    # 4 px reads row 0 for its convolution and 1 for its colours; 8 px reads 1, 2 and 3; 16 px reads 3, 4 and 5.
    last = {4: 1, 8: 3, 16: 5}
    base = latents(1)
    for row in range(SHAPE.num_ws):
        moved = base.clone()
        moved[:, row] += 1
        for resolution in SHAPE.resolutions:
            same = torch.equal(
                generator.synthesis(base, resolution=resolution), generator.synthesis(moved, resolution=resolution)
            )
            assert same == (row > last[resolution])


def test_picture_so_far_is_upsampled_and_added(generator: Generator) -> None:
    with torch.no_grad():
        block_of(generator, 16).torgb.weight.zero_()
        block_of(generator, 16).torgb.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    small = generator.synthesis(latents(), resolution=8)
    expected = upsample2d(small, lowpass_filter()) + torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    torch.testing.assert_close(generator.synthesis(latents()), expected)


def test_noise_modes(generator: Generator) -> None:
    ws = latents()
    silent = generator.synthesis(ws, "none")
    assert torch.equal(generator.synthesis(ws, "random"), silent), "its strength begins at nothing"
    for module in generator.modules():
        if isinstance(module, SynthesisLayer):
            torch.nn.init.constant_(module.noise_strength, 0.3)
    assert torch.equal(generator.synthesis(ws, "none"), silent)
    stored = generator.synthesis(ws)
    assert torch.equal(generator.synthesis(ws, "const"), stored)
    assert not torch.allclose(stored, silent)
    torch.manual_seed(5)
    one, other = generator.synthesis(ws, "random"), generator.synthesis(ws, "random")
    assert not torch.allclose(one, other)
    torch.manual_seed(5)
    assert torch.equal(generator.synthesis(ws, "random"), one)


def test_stored_noise_enters_before_the_activation() -> None:
    layer = SynthesisLayer(2, 3, 4, 8, up=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.noise_strength.fill_(2.0)
        layer.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
        drawn = layer(torch.randn(2, 2, 8, 8), torch.randn(2, 4), "const")
    before = 2 * layer.noise_const[None] + layer.bias.detach()[:, None, None]
    expected = torch.where(before > 0, before, 0.2 * before) * 2**0.5
    torch.testing.assert_close(drawn, expected.expand(2, -1, -1, -1))


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
"""Channels of the published network, as its paper's table says."""


def test_published_generator_has_its_number_of_parameters() -> None:
    count = 8 * linear(512, 512) + 512 * 16  # mapping, the constant
    previous = 512
    for resolution, width in WIDTHS.items():
        for inputs in [width] if resolution == 4 else [previous, width]:
            count += inputs * width * 9 + linear(512, inputs) + width + 1  # kernel, style, bias, noise
        count += 3 * width + linear(512, width) + 3  # colours
        previous = width
    assert count == 30_370_060
    with torch.device("meta"):
        generator = Generator(PUBLISHED)
    assert sum(p.numel() for p in generator.parameters()) == count
    assert PUBLISHED.num_ws == 18
    assert {r: PUBLISHED.channels(r) for r in PUBLISHED.resolutions} == WIDTHS


def test_published_discriminator_has_its_number_of_parameters() -> None:
    count = 3 * 32 + 32 + 513 * 512 * 9 + 512 + linear(512 * 16, 512) + linear(512, 1)
    for resolution in (1024, 512, 256, 128, 64, 32, 16, 8):
        width, half = WIDTHS[resolution], WIDTHS[resolution // 2]
        count += width * width * 9 + width + width * half * 9 + half + width * half
    assert count == 29_012_513
    with torch.device("meta"):
        discriminator = Discriminator(PUBLISHED)
    assert sum(p.numel() for p in discriminator.parameters()) == count


def test_names_are_those_of_the_published_checkpoints() -> None:
    with torch.device("meta"):
        generator, discriminator = Generator(PUBLISHED), Discriminator(PUBLISHED)
    expected = {"mapping.w_avg", "synthesis.b4.const"}
    expected |= {f"mapping.fc{k}.{name}" for k in range(8) for name in ("weight", "bias")}
    for r in WIDTHS:
        expected |= {f"synthesis.b{r}.resample_filter"}
        expected |= {f"synthesis.b{r}.torgb.{n}" for n in ("weight", "bias", "affine.weight", "affine.bias")}
        for conv in ("conv1",) if r == 4 else ("conv0", "conv1"):
            names = ("weight", "bias", "noise_strength", "noise_const", "resample_filter", "affine.weight")
            expected |= {f"synthesis.b{r}.{conv}.{n}" for n in (*names, "affine.bias")}
    assert set(generator.state_dict()) == expected
    expected = {f"b4.{n}.{kind}" for n in ("fc", "out") for kind in ("weight", "bias")}
    # The layer of 4 px has a filter too, although it never resamples.
    expected |= {"b4.conv.weight", "b4.conv.bias", "b4.conv.resample_filter"}
    expected |= {f"b1024.fromrgb.{n}" for n in ("weight", "bias", "resample_filter")}
    for r in list(WIDTHS)[1:]:
        expected |= {f"b{r}.resample_filter", f"b{r}.skip.weight", f"b{r}.skip.resample_filter"}
        expected |= {f"b{r}.conv{k}.{n}" for k in (0, 1) for n in ("weight", "bias", "resample_filter")}
    assert set(discriminator.state_dict()) == expected


def test_minibatch_deviation_by_hand() -> None:
    epilogue = DiscriminatorEpilogue(2, group=2)
    seen: list[torch.Tensor] = []
    epilogue.conv.register_forward_pre_hook(lambda _conv, inputs: seen.append(inputs[0]))
    x = torch.zeros(4, 2, 4, 4)
    x[:, 0] = torch.tensor([1.0, 5.0, 4.0, 5.0])[:, None, None]
    x[:, 1] = torch.tensor([0.0, 2.0, 0.0, 8.0])[:, None, None]
    epilogue(x)
    # The first and third are a group: deviations 1.5 and 0, mean 0.75; the others: 0 and 3, mean 1.5.
    expected = torch.tensor([0.75, 1.5, 0.75, 1.5])[:, None, None].expand(4, 4, 4)
    torch.testing.assert_close(seen[0][:, 2], expected, atol=1e-3, rtol=0)
    assert torch.equal(seen[0][:, :2], x)


def test_discriminator_gives_logits_features_and_gradients() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(SHAPE, image_channels=4)
    image = torch.randn(4, 4, 16, 16, requires_grad=True)
    said = discriminator(image)
    assert said.shape == (4, 1)
    said.sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    assert (image.grad.abs().sum((1, 2, 3)) > 0).all()
    assert [f.shape[1:] for f in discriminator.features(image)] == [(8, 8, 8), (8, 4, 4)]


def test_discriminators_block_is_residual_with_unit_variance() -> None:
    torch.manual_seed(0)
    block = Discriminator(SHAPE).get_submodule("b8")
    x = torch.randn(64, 8, 8, 8)
    y = block(x)
    assert y.shape == (64, 8, 4, 4)
    skip = block.skip(x)  # type: ignore[operator]
    deep = block.conv1(block.conv0(x))  # type: ignore[operator]
    torch.testing.assert_close(y, (skip + deep) / math.sqrt(2))


@pytest.mark.parametrize("resolution", [0, 4, 48, 100])
def test_impossible_resolution(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"power of two from 8, got {resolution}"):
        GeneratorShape(resolution)


def test_wrong_arguments_are_named(generator: Generator) -> None:
    with pytest.raises(ValueError, match=r"expected W\+ \[B, 6, 5\], got \(2, 5\)"):
        generator.synthesis(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"expected W\+ \[B, 6, 5\], got \(2, 7, 5\)"):
        generator.synthesis(torch.zeros(2, 7, 5))
    with pytest.raises(ValueError, match=r"expected a resolution of \(4, 8, 16\), got 32"):
        generator.synthesis(latents(), resolution=32)
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        Discriminator(SHAPE)(torch.zeros(6, 3, 16, 16))
