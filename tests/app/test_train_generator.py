"""``ostec train generator`` from portraits to a file that can be read, interrupted and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.app.cli import main
from ostec.app.photos.runner import Terminated
from ostec.app.train import generator as train_generator
from ostec.app.train import journal
from ostec.core.assets import asset_path
from ostec.io.weights import encode_safetensors, read_safetensors
from ostec.load.topology import read_topology
from ostec.nets.checkpoint import generator_from_tensors
from ostec.render.uv import bake_layout
from ostec.train.settings import GeneratorTrainSettings
from tests.toy import toy_prior
from tests.train.test_portraits import CROPS, portrait

SETTINGS = {
    "images": 20,
    "batch": 4,
    "resolution": 32,
    "grow": 8,
    "latent": 6,
    "channel-base": 128,
    "channel-max": 8,
    "adversarial-from": 12,
    "patch": 16,
    "poses": 3,
    "device": "cpu",
}
OPTIONS = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with portraits, photos of those to be held out, a small prior, and a work folder, prepared once."""
    root = tmp_path_factory.mktemp("world")
    topology = read_topology(asset_path("topology/facemesh.npz"))
    inside = bake_layout(topology, 32).inside.numpy()
    prior = toy_prior(inside, 3, 1e-3)
    tensors = {"inside": torch.from_numpy(inside.astype(np.uint8)), "mean": prior.mean}
    tensors |= {"basis": prior.basis.half(), "noise": prior.noise}
    (root / "prior.safetensors").write_bytes(encode_safetensors(tensors))
    (root / "prior.json").write_text(json.dumps({"topology_sha256": topology.sha256}), encoding="utf-8")
    (root / "portraits").mkdir()
    number = 10
    for name in CROPS:
        for shift, brightness in (((0, 0), 1.0), ((3, -2), 0.85)):
            number += 1
            portrait(name, shift, brightness).save(root / f"portraits/us_{number}.png")
    (root / "photos").mkdir()
    portrait("astronaut.png").save(root / "photos/12.jpg")
    assert main(words(root, "first")) == 0
    return root


def words(root: Path, name: str, *more: object) -> list[str]:
    given = ["--portraits", root / "portraits", "--exclude", root / "photos", "--prior", root / "prior.safetensors"]
    given += ["--out", root / f"{name}.safetensors", "--work", root / name, *OPTIONS, *more]
    return ["train", "generator", *map(str, given)]


@pytest.fixture
def prepared(world: Path) -> Callable[[str], Path]:
    """A work folder with the textures, but without a checkpoint."""

    def make(name: str) -> Path:
        shutil.rmtree(world / name, ignore_errors=True)
        (world / name).mkdir()
        for file in ("texels.npz", "textures.npz"):
            shutil.copy(world / "first" / file, world / name)
        return world / name

    return make


def test_result_is_a_generator_with_its_card(world: Path) -> None:
    card = json.loads((world / "first.json").read_text("utf-8"))
    model = generator_from_tensors(read_safetensors(world / "first.safetensors"), card, "first.safetensors")
    assert model.generator.shape.resolution == 32
    assert model.discriminator is not None
    assert (model.frame.own_shape, model.frame.ffhq_crop) == (False, False)
    picture = model.generator.synthesis(model.latent_mean[None])
    assert picture.shape == (1, 3, 32, 32)
    assert torch.isfinite(picture).all()
    assert (model.latent_deviation >= 0).all()
    assert card["kind"] == "ostec"
    assert (card["portraits_trained"], card["portraits_held_out"], card["images_seen"]) == (3, 1, 20)
    assert card["topology_sha256"] == read_topology(asset_path("topology/facemesh.npz")).sha256
    assert len(card["prior_sha256"]) == 64
    assert card["settings"]["grow"] == [8]
    figures = card["held_out_figures_db"]
    assert set(figures) == {f"hidden_view_{name}" for name in ("generator", "prior", "mean_face")}
    assert all(np.isfinite(value) for value in figures.values())
    assert sorted(p.name for p in (world / "first").iterdir()) == ["checkpoint.pt", "texels.npz", "textures.npz"]


def test_finished_training_is_written_again(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (world / "first.safetensors").read_bytes(), (world / "first.json").read_bytes()
    assert main(words(world, "first")) == 0
    assert (world / "first.safetensors").read_bytes() == before[0]
    assert (world / "first.json").read_bytes() == before[1]
    said = capsys.readouterr().err
    assert "Going on after 20 pictures." in said
    assert "Reading the portraits" not in said
    assert "Making the training textures" not in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_goes_on_to_the_same_result(
    world: Path, prepared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    work = prepared("stopped")
    spoken = journal.Journal.__call__

    def interrupt(self: Any, state: Any, losses: dict[str, float]) -> None:
        if state.images == 12:
            signal.raise_signal(number)
        spoken(self, state, losses)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "__call__", interrupt)
        assert main(words(world, "stopped")) == code
    assert torch.load(work / "checkpoint.pt", weights_only=True)["images"] == 12
    assert not (world / "stopped.safetensors").exists()
    assert main(words(world, "stopped")) == 0
    assert (world / "stopped.safetensors").read_bytes() == (world / "first.safetensors").read_bytes()
    (world / "stopped.safetensors").unlink()


def test_changed_settings_are_named(
    world: Path, prepared: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    work = prepared("changed")
    shutil.copy(world / "first/checkpoint.pt", work)
    assert main(words(world, "changed", "--images", 24, "--learning-rate", "1e-3")) == 0
    said = capsys.readouterr().err
    assert "Going on after 20 pictures." in said
    assert "Other than before: learning_rate, images." in said
    assert "Making" not in said
    assert json.loads((world / "changed.json").read_text("utf-8"))["images_seen"] == 24


@pytest.mark.slow
def test_other_portraits_are_read_anew(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("portraits", "photos", "first"):
        shutil.copytree(world / name, tmp_path / name)
    for name in ("prior.safetensors", "prior.json"):
        shutil.copy(world / name, tmp_path)
    portrait("grace_hopper.jpg", (1, 1), 0.7).save(tmp_path / "portraits/us_11.png")
    assert main(words(tmp_path, "first")) == 0
    said = capsys.readouterr().err
    assert "Reading the portraits: texels.npz was made with other portraits." in said
    assert "Making the training textures: textures.npz was made with other portraits." in said


def test_discriminator_that_makes_the_file_too_large_is_left_out(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_generator, "_FILE_LIMIT", 100)
    out = world / "small.safetensors"
    assert main([*words(world, "first"), "--out", str(out)]) == 0
    assert "The discriminator is left out" in capsys.readouterr().err
    card = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert generator_from_tensors(read_safetensors(out), card, "small").discriminator is None


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--portraits", "nowhere"], "nowhere is no folder."),
        (["--exclude", "nowhere"], "nowhere is no folder."),
        (["--portraits", "{root}/first"], "holds no portraits."),
        (["--out", "{root}/a.bin"], "--out must end in .safetensors, got"),
        (["--prior", "nowhere.safetensors"], "nowhere.json, which belongs to nowhere.safetensors, cannot be read."),
        (["--patch", "12"], "--patch must be a power of two from 8, got 12 (see ostec train generator --help)."),
        (["--channel-max", "0"], "--channel-max must be 1 or more, got 0 (see ostec train generator --help)."),
        (["--batch", "3"], "--batch must give a multiple of 4 patches, not 6 (see ostec train generator --help)."),
        (["--latent", "7"], "checkpoint.pt was trained with latent 6, not 7"),
        (["--images", "many"], "--images"),
        (["--device", "cuda"], "no CUDA device was found."),
    ],
)
def test_wrong_use_is_one_sentence(
    world: Path,
    more: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = (world / "first.safetensors").read_bytes()
    assert main([*words(world, "first"), *(word.format(root=world) for word in more), "-q"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("ostec: error: ")
    assert said.count("\n") == 1
    assert (world / "first.safetensors").read_bytes() == before


def test_options_that_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "generator"]) == 2
    assert "--portraits" in capsys.readouterr().err


def test_second_interruption_ends_at_once() -> None:
    with journal.finish_step_first() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert [type(error) for error in stop] == [KeyboardInterrupt]
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_checkpoint_is_written_every_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    saved: list[float] = []

    def save(self: Any, _state: Any) -> None:
        saved.append(now[0])
        self._saved = now[0]

    monkeypatch.setattr(journal.Journal, "save", save)
    keeper = journal.Journal(tmp_path / "checkpoint.pt", GeneratorTrainSettings(), 0, [])
    state = type("State", (), {"images": 12})()
    for now[0] in range(0, 2000, 50):
        keeper(state, {"reconstruction": 1.0})
    assert saved == [650, 1300, 1950]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from ostec.app.cli import main\n"
        "assert main(['train', 'generator', '--help']) == 0\n"
        "assert not {'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
