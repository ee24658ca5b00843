"""Latents are read or drawn, checked, and become pictures that depend on nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.errors import UsageError, WeightsError
from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.pipeline.generation import (
    Latents,
    check_latents,
    draw_picture,
    parse_seeds,
    read_latents,
    seeded_latents,
)

SHAPE = GeneratorShape(16, z_dim=6, w_dim=5, mapping_layers=2, channel_base=64, channel_max=8)


@pytest.fixture(scope="module")
def network() -> Generator:
    torch.manual_seed(0)
    made = Generator(SHAPE).eval().requires_grad_(False)
    for name, tensor in made.named_parameters():
        if name.endswith("noise_strength"):
            tensor.fill_(0.3)
    made.mapping.w_avg.normal_()
    return made


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("3, 1,8 - 9", (3, 1, 8, 9)), ("5-5", (5,))]
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-2-3", "4294967296", "1,,2"])
def test_what_names_no_seeds(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds must be numbers up to 4294967295 and ranges such as 0-9, got"):
        parse_seeds(text)


def test_too_many_seeds() -> None:
    with pytest.raises(UsageError, match="100000 pictures at most"):
        parse_seeds("0-4000000000")


def test_z_of_a_seed_is_that_of_nvidias_program() -> None:
    drawn = seeded_latents((3, 0), 6)
    np.testing.assert_array_equal(drawn.values[0], np.random.RandomState(3).randn(1, 6)[0].astype(np.float32))
    assert drawn.noise_seeds == (3, 0)


def test_picture_is_the_floor_of_the_networks(network: Generator) -> None:
    z = seeded_latents((5,), 6)
    expected = network(torch.from_numpy(z.values), truncation_psi=0.7)[0].permute(1, 2, 0).numpy()
    picture = draw_picture(network, z, 0, 0.7, "const")
    np.testing.assert_array_equal(picture, np.floor(np.clip(127.5 * expected + 128, 0, 255)))
    assert len(np.unique(picture)) > 50


def test_psi_applies_to_z_alone(network: Generator) -> None:
    z, w = seeded_latents((5,), 6), Latents("w", np.random.RandomState(0).randn(1, 6, 5).astype(np.float32), (0,))
    for latents, changes in ((z, True), (w, False)):
        pictures = [draw_picture(network, latents, 0, psi, "none") for psi in (0.2, 1.0)]
        assert (pictures[0] != pictures[1]).any() == changes


def test_a_picture_does_not_depend_on_those_beside_it(network: Generator) -> None:
    together = seeded_latents((4, 5, 6), 6)
    for noise in ("const", "random", "none"):
        alone = draw_picture(network, seeded_latents((6,), 6), 0, 0.7, noise)
        before = torch.random.get_rng_state()
        np.testing.assert_array_equal(alone, draw_picture(network, together, 2, 0.7, noise))
        assert torch.equal(before, torch.random.get_rng_state())


def test_random_noise_is_that_of_the_seed(network: Generator) -> None:
    w = np.repeat(np.random.RandomState(0).randn(1, 6, 5).astype(np.float32), 2, axis=0)
    latents = Latents("w", w, (0, 1))
    first, second = (draw_picture(network, latents, k, 1.0, "random") for k in (0, 1))
    assert (first != second).any()
    np.testing.assert_array_equal(*(draw_picture(network, latents, k, 1.0, "none") for k in (0, 1)))


W = np.random.RandomState(1).randn(2, 6, 5)


@pytest.mark.parametrize(
    ("content", "space", "values"),
    [
        ({"w": W}, "w", W),
        ({"w": W[0], "pose_deg": np.zeros(3)}, "w", W[:1]),
        ({"z": W[0]}, "z", W[0]),
        ({"w_left": W[1], "vertices": np.zeros((9, 3)), "w_bottom": W[0]}, "w", W),
    ],
)
def test_archives_of_latents(tmp_path: Path, content: dict[str, Any], space: str, values: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", **content)
    read = read_latents(tmp_path / "a.npz")
    assert read.space == space
    np.testing.assert_array_equal(read.values, values.astype(np.float32))
    assert read.noise_seeds == tuple(range(len(values)))
    assert read.views == (("bottom", "left") if "w_left" in content else ())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"latent": w, "attribute": torch.zeros(1, 17, 1, 1)}])
def test_latents_as_ffhq_uv_publishes_them(tmp_path: Path, wrap: Any, zipped: bool) -> None:
    path = tmp_path / "01223_front_latent.pt"
    torch.save(wrap(torch.from_numpy(W)), path, _use_new_zipfile_serialization=zipped)
    np.testing.assert_array_equal(read_latents(path).values, W.astype(np.float32))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"a": W}, "expected either z or w, found neither"),
        ({"z": W[0], "w": W}, "expected either z or w, found z and w"),
        ({"w_a": W[0], "w_b": W[0, 0]}, r"expected w_VIEW \[num_ws, W\], found \[5\] and \[6, 5\]"),
        ({"w_a": W[0, 0]}, r"expected w_VIEW \[num_ws, W\], found \[5\]"),
        ({"z": W}, r"expected z \[N, Z\], found z \[2, 6, 5\]"),
        ({"w": W[0, 0]}, r"expected w \[N, num_ws, W\], found w \[5\]"),
        ({"w": np.full((1, 6, 5), np.nan)}, "w holds something that is no finite number"),
    ],
)
def test_archives_without_latents(tmp_path: Path, content: dict[str, Any], sentence: str) -> None:
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(WeightsError, match=rf"a\.npz cannot be used: .*{sentence}\.$"):
        read_latents(tmp_path / "a.npz")


def test_latents_of_another_generator_are_refused() -> None:
    check_latents(Latents("w", W.astype(np.float32), (0, 1)), SHAPE, "a.npz", "g.pkl")
    wrong = Latents("w", np.zeros((1, 18, 512), np.float32), (0,))
    with pytest.raises(WeightsError, match=r"^a\.npz does not fit g\.pkl: expected w \[6, 5\], found \[18, 512\]\.$"):
        check_latents(wrong, SHAPE, "a.npz", "g.pkl")
    with pytest.raises(WeightsError, match=r"expected z \[6\], found \[5\]"):
        check_latents(Latents("z", np.zeros((1, 5), np.float32), (0,)), SHAPE, "a.npz", "g.pkl")
