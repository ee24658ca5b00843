"""Portraits to masked texels, and ``ostec train prior`` from end to end."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ostec.app.cli import main
from ostec.core.assets import asset_path, verified_path
from ostec.core.errors import UsageError
from ostec.core.types import Topology
from ostec.io.weights import load_strict, read_safetensors
from ostec.load.topology import read_topology
from ostec.nets.facemesh import FaceMesh
from ostec.pipeline import Completer, load_prior
from ostec.pipeline.settings import CompleteSettings
from ostec.train.portraits import PortraitTexels, collect_texels, is_held_out

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CROPS = {"astronaut.png": (133, 25, 313, 205), "grace_hopper.jpg": (75, 60, 435, 420)}
"""Squares about the faces as in aligned portraits."""
SIZE = 64


def portrait(name: str, shift: tuple[int, int] = (0, 0), brightness: float = 1.0) -> Image.Image:
    """A crop of 144 px of an example photo."""
    left, top, right, bottom = CROPS[name]
    box = (left + shift[0], top + shift[1], right + shift[0], bottom + shift[1])
    crop = Image.open(EXAMPLES / name).convert("RGB").resize((144, 144), Image.Resampling.LANCZOS, box)
    return crop.point(lambda value: min(255, round(value * brightness)))


@pytest.fixture(scope="module")
def network() -> FaceMesh:
    network = FaceMesh()
    load_strict(network, read_safetensors(verified_path("facemesh", "facemesh.safetensors")), "facemesh")
    return network.eval()


@pytest.fixture(scope="module")
def topology() -> Topology:
    return read_topology(asset_path("topology/facemesh.npz"))


@pytest.fixture(scope="module")
def texels(network: FaceMesh, topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> PortraitTexels:
    folder = tmp_path_factory.mktemp("portraits")
    for name in CROPS:
        portrait(name).save(folder / f"{Path(name).stem}.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (144, 144, 3), np.uint8)).save(folder / "noise.png")
    (folder / "broken.jpg").write_text("This is no picture.", encoding="utf-8")
    (folder / "landmarks.npz").write_bytes(b"not read")
    return collect_texels((folder,), frozenset(), network, topology, SIZE)


@pytest.mark.parametrize(
    ("stem", "excluded", "held_out"),
    [
        # CRC-32 of "123456789" is 0xCBF43926 = 3421780262 (the check value of its definition): 2 modulo 20.
        ("123456789", frozenset(), False),
        # CRC-32 of "" is 0.
        ("", frozenset(), True),
        # CRC-32 of "a" is 0xE8B7BE43 = 3904355907: 7 modulo 20.
        ("a", frozenset(), False),
        ("us_a", frozenset({"a"}), True),
        ("us_a", frozenset({"us_a"}), False),
        ("us_a_b", frozenset({"a_b"}), True),
        ("us_a_b", frozenset({"b"}), False),
    ],
)
def test_who_is_held_out(stem: str, excluded: frozenset[str], held_out: bool) -> None:
    assert is_held_out(stem, excluded) is held_out


def test_one_in_twenty_is_held_out() -> None:
    assert np.mean([is_held_out(f"us_{number:06d}") for number in range(4000)]) == pytest.approx(0.05, abs=0.01)


def test_texels_of_two_photos(texels: PortraitTexels) -> None:
    assert texels.names == ("astronaut", "grace_hopper")
    count = int(texels.inside.sum())
    assert texels.inside.shape == (SIZE, SIZE)
    assert 0.5 < texels.inside.mean() < 1
    assert (texels.colour.shape, texels.colour.dtype) == ((2, count, 3), np.uint8)
    assert (texels.weight.shape, texels.weight.dtype) == ((2, count), np.float16)
    assert (texels.held_out.shape, texels.held_out.dtype) == ((2,), np.bool_)
    assert 0 <= texels.weight.min() <= texels.weight.max() <= 1
    assert ((texels.weight > 0.5).mean(axis=1) > 0.25).all()
    assert ((texels.weight == 0).mean(axis=1) > 0.03).all()


def test_trusted_texels_are_skin(texels: PortraitTexels) -> None:
    for colour, weight in zip(texels.colour, texels.weight, strict=True):
        red, green, blue = np.median(colour[weight > 0.8], axis=0)
        assert 120 < red < 250
        assert red > green > blue


def test_broken_pictures_and_such_without_a_face_are_left_out(
    network: FaceMesh, topology: Topology, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    portrait("astronaut.png").save(tmp_path / "us_1.png")
    (tmp_path / "us_2.jpg").write_text("This is no picture.", encoding="utf-8")
    Image.new("RGB", (144, 144), "grey").save(tmp_path / "us_3.png")
    calls: list[tuple[int, int]] = []
    with caplog.at_level(logging.WARNING):
        data = collect_texels(
            (tmp_path,), frozenset({"1"}), network, topology, 32, lambda done, total: calls.append((done, total))
        )
    assert data.names == ("us_1",)
    assert data.held_out.tolist() == [True]
    assert calls == [(3, 3)]
    assert "us_2.jpg" in caplog.text
    assert "us_3.png shows no face." in caplog.text


def test_folders_say_what_their_portraits_hold(network: FaceMesh, topology: Topology, tmp_path: Path) -> None:
    plain, rich = tmp_path / "plain", tmp_path / "rich"
    for name in ("us_1", "us_2", "usw_3"):
        save(plain / f"{name}.png")
    for name in ("a_7", "a_8", "a_9"):
        save(rich / f"images/{name}.png")
    names, others = np.array(["a_7", "a_8", "a_10"]), np.array(["us_2,usw_3", "us_1", ""])
    np.savez(rich / "landmarks.npz", names=names, native_side=np.array([300.0, 90.5, 1.0]), old_names=others)
    data = collect_texels((plain, rich), frozenset({"7"}), network, topology, 16)
    assert data.names == ("us_1", "us_2", "usw_3", "a_7", "a_8", "a_9")
    assert data.native_side.tolist() == [np.inf, np.inf, np.inf, 300.0, 90.5, np.inf]
    assert data.held_out.tolist() == [False, True, True, True, False, False], "7 is held out in both folders"


def test_weights_of_a_large_layout_are_those_of_the_run_time_mask(
    network: FaceMesh, topology: Topology, tmp_path: Path
) -> None:
    save(tmp_path / "us_1.png")
    planes = []
    for size in (256, 512):
        data = collect_texels((tmp_path,), frozenset(), network, topology, size)
        planes.append(np.zeros((size, size), np.float32))
        planes[-1][data.inside] = data.weight[0]
    pooled = planes[1].reshape(256, 2, 256, 2).mean((1, 3))
    inner = ndimage.binary_erosion(planes[0] > 0, iterations=3)
    assert np.abs(pooled - planes[0])[inner].mean() < 0.003


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    portrait("astronaut.png").save(path)


def test_folder_without_portraits(network: FaceMesh, topology: Topology, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no portraits"):
        collect_texels((tmp_path,), frozenset(), network, topology, 32)


@pytest.mark.slow
def test_train_prior_writes_a_file_that_completes_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, out = tmp_path / "portraits", tmp_path / "mine.safetensors"
    folder.mkdir()
    number = 10
    for name in CROPS:
        for shift, brightness in (((0, 0), 1.0), ((3, -2), 0.85), ((-2, 3), 1.1)):
            number += 1
            portrait(name, shift, brightness).save(folder / f"us_{number}.png")
    (tmp_path / "photos").mkdir()
    portrait("astronaut.png").save(tmp_path / "photos/11.jpg")
    words = ["train", "prior", "--portraits", folder, "--out", out, "--exclude", tmp_path / "photos"]
    words += ["--components", 3, "--iterations", 2, "--size", 32, "--device", "cpu", "--quiet"]
    assert main([str(word) for word in words]) == 0
    topology = read_topology(asset_path("topology/facemesh.npz"))
    prior = load_prior(out, topology, torch.device("cpu"))
    assert (prior.size, prior.basis.shape[-1]) == (32, 3)
    card = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert (card["portraits_trained"], card["portraits_held_out"]) == (5, 1)
    assert card["settings"]["components"] == 3
    assert card["topology_sha256"] == topology.sha256
    assert all(np.isfinite(value) for value in card["held_out_figures_db"].values())
    settings = CompleteSettings(iterations=0, uv_size=256, prior=str(out))
    face = Completer.from_pretrained(settings, "cpu")(EXAMPLES / "astronaut.png")
    assert np.isfinite(face.textured.completed.colour).all()
    assert "mine.safetensors" in face.record["weights"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--portraits", "nowhere"], "nowhere is no folder"),
        ([], "--portraits"),
    ],
)
def test_wrong_use_of_train_prior(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["train", "prior", "--out", str(tmp_path / "a.safetensors"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()
