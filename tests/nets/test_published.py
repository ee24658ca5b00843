"""Names and layouts of published networks; that the pictures agree is tests/pipeline/test_generators.py's."""

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.ops import lowpass_filter
from ostec.nets.published import (
    build_discriminator,
    build_generator,
    discriminator_from_rosinality,
    generator_from_rosinality,
    generator_from_tensorflow,
    generator_shape,
    without_filters,
)
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape


def tensors_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("resample_filter")}


@pytest.mark.parametrize(
    "shape",
    [
        GeneratorShape(8, 3, 4, 1, 1024, 7),
        GeneratorShape(64, 5, 6, 2, 1024, 16),
        GeneratorShape(64, 5, 6, 8, 1024, 256),
        GeneratorShape(256, 5, 6, 2, 512, 9),
    ],
)
def test_shape_comes_from_the_tensors(shape: GeneratorShape) -> None:
    with torch.device("meta"):
        found = generator_shape(tensors_of(Generator(shape)), "a file")
    assert found.resolution == shape.resolution
    assert (found.z_dim, found.w_dim, found.mapping_layers) == (shape.z_dim, shape.w_dim, shape.mapping_layers)
    assert [found.channels(k) for k in shape.resolutions] == [shape.channels(k) for k in shape.resolutions]


def test_published_ffhq_has_the_shape_of_config_f() -> None:
    with torch.device("meta"):
        found = generator_shape(tensors_of(Generator(GeneratorShape(1024))), "a file")
    assert found == GeneratorShape(1024, 512, 512, 8, 32768, 512)


def test_a_kernel_of_tensorflow_by_hand() -> None:
    """Height, width, input, output become output, input, height, width; upsampling kernels are turned round."""
    kernel = torch.arange(3.0 * 3 * 2 * 5).reshape(3, 3, 2, 5)
    names = ("synthesis/8x8/Conv1/weight", "synthesis/8x8/Conv0_up/weight")
    found = generator_from_tensorflow(dict.fromkeys(names, kernel), "a file")
    assert found["synthesis.b8.conv1.weight"][4, 1, 0, 2] == kernel[0, 2, 1, 4]
    assert found["synthesis.b8.conv0.weight"][4, 1, 0, 2] == kernel[2, 0, 1, 4]
    bias = generator_from_tensorflow({"synthesis/4x4/ToRGB/mod_bias": torch.tensor([0.5, -1.0])}, "a file")
    assert bias["synthesis.b4.torgb.affine.bias"].tolist() == [1.5, 0.0]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("synthesis/noise0", "b4.conv1"),
        ("synthesis/noise1", "b8.conv0"),
        ("synthesis/noise2", "b8.conv1"),
        ("synthesis/noise16", "b1024.conv1"),
    ],
)
def test_noise_of_tensorflow_belongs_to_its_layer(name: str, ours: str) -> None:
    found = generator_from_tensorflow({name: torch.zeros(1, 1, 4, 4)}, "a file")
    assert list(found) == [f"synthesis.{ours}.noise_const"]


@pytest.mark.parametrize(
    ("name", "shape", "ours"),
    [
        ("convs.0.conv.weight", (1, 5, 4, 3, 3), "synthesis.b8.conv0.weight"),
        ("convs.15.noise.weight", (1,), "synthesis.b1024.conv1.noise_strength"),
        ("to_rgb1.bias", (1, 3, 1, 1), "synthesis.b4.torgb.bias"),
        ("to_rgbs.7.conv.modulation.bias", (4,), "synthesis.b1024.torgb.affine.bias"),
        ("style.8.weight", (4, 4), "mapping.fc7.weight"),
        ("noises.noise_16", (1, 1, 4, 4), "synthesis.b1024.conv1.noise_const"),
    ],
)
def test_names_of_rosinality(name: str, shape: tuple[int, ...], ours: str) -> None:
    assert list(generator_from_rosinality({name: torch.zeros(shape)}, "a file")) == [ours]


def test_blocks_of_rosinalitys_discriminator_run_downwards() -> None:
    names = ("convs.0.0.weight", "convs.1.conv1.0.weight", "convs.3.skip.1.weight", "final_linear.1.bias")
    found = discriminator_from_rosinality(dict.fromkeys(names, torch.zeros(1)), "a file")
    assert list(found) == ["b32.fromrgb.weight", "b32.conv0.weight", "b8.skip.weight", "b4.out.bias"]


def test_filters_are_checked_and_left_out() -> None:
    kernel = lowpass_filter()
    kept = without_filters({"a.resample_filter": kernel, "b.kernel": kernel * 4, "weight": kernel}, "a file")
    assert list(kept) == ["weight"]
    for other in (torch.ones(4, 4), torch.zeros(4, 4), torch.ones(3, 3)):
        with pytest.raises(
            WeightsError, match=r"^a file cannot be used: expected filters \[1, 3, 3, 1\], found another"
        ):
            without_filters({"b.kernel": other}, "a file")


def test_networks_come_back_from_their_own_tensors() -> None:
    shape = GeneratorShape(16, 6, 5, 2, 64, 8)
    torch.manual_seed(0)
    made, judge = Generator(shape).eval(), Discriminator(shape, conv_clamp=0.5).eval()
    found = build_generator(tensors_of(made), "a file")
    z = torch.randn(2, 6)
    assert torch.equal(found(z), made(z))
    again = build_discriminator(tensors_of(judge), "a file", conv_clamp=0.5)
    assert torch.equal(again(made(z)), judge(made(z)))


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("mapping.embed.weight", torch.zeros(1), "expected a generator of one class, found mapping.embed.weight"),
        (
            "synthesis.b64.conv1.weight",
            torch.zeros(1, 1, 3, 3),
            "expected widths that halve beyond a limit, found 8 at 4",
        ),
        ("synthesis.b24.conv1.weight", torch.zeros(1, 1, 3, 3), "found layers of 4, 8, 16, 24 px"),
        (
            "synthesis.b16.skip.weight",
            torch.zeros(1, 1, 1, 1),
            "a StyleGAN2 of 16 px: synthesis.b16.skip.weight unknown",
        ),
        (
            "synthesis.b16.torgb.weight",
            torch.zeros(1, 4, 1, 1),
            r"torgb.weight is \(1, 4, 1, 1\), expected \(3, 4, 1, 1\)",
        ),
        (
            "synthesis.b8.conv1.bias",
            torch.full((8,), torch.inf),
            "b8.conv1.bias holds something that is no finite number",
        ),
        ("mapping.fc0.weight", torch.zeros(()), "expected a StyleGAN2 with mapping.fc0 and synthesis.b4, found"),
    ],
)
def test_tensors_of_something_else(name: str, tensor: torch.Tensor, sentence: str) -> None:
    tensors = tensors_of(Generator(GeneratorShape(16, 6, 5, 2, 64, 8)))
    with pytest.raises(WeightsError, match=rf"^a file (cannot be used|does not fit).*{sentence}"):
        build_generator({**tensors, name: tensor}, "a file")


def test_no_tensors_at_all() -> None:
    with pytest.raises(WeightsError, match="found no tensors"):
        build_generator({}, "a file")
    with pytest.raises(WeightsError, match="found layers of no px"):
        build_discriminator({}, "a file")


def test_a_clamp_bounds_what_leaves_a_layer() -> None:
    torch.manual_seed(0)
    shape = GeneratorShape(8, 6, 5, 1, 64, 8)
    free, bound = (Generator(shape, clamp).requires_grad_(False) for clamp in (None, 0.1))
    bound.load_state_dict(free.state_dict())
    z = torch.randn(1, 6)
    features = bound.synthesis.get_submodule("b8.conv1")(torch.randn(1, 8, 8, 8), torch.randn(1, 5), "none")
    assert features.abs().max().item() == pytest.approx(0.1)
    assert free(z).abs().max() > 1
    assert bound(z).abs().max() <= 0.2 + 1e-6  # two levels of colours, the coarser one filtered by what sums to one
