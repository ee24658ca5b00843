"""``ostec generate`` and ``ostec models convert``, from the command line to the files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ostec.app import cli
from ostec.core.assets import sha256_of
from ostec.load.generators import OWN, TENSORFLOW, read_generator
from tests.app.conftest import Refuses
from tests.load.generator_files import content_of, reference, write_case

REFERENCE = reference()
CASES = REFERENCE["cases"]


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(CASES["tensorflow_64"], tmp_path_factory.mktemp("published") / "net.pkl")


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def generate(folder: Path, *words: object) -> int:
    return cli.main(["generate", "--save-dir", str(folder), "--device", "cpu", *map(str, words)])


def test_pictures_of_seeds_are_those_of_the_original(pickled: Path, tmp_path: Path) -> None:
    assert generate(tmp_path, "--generator", pickled, "--seeds", "7,3") == 0
    expected = np.floor(np.clip(127.5 * REFERENCE["tensorflow_64.z"] + 128, 0, 255)).transpose(1, 2, 0)
    found = picture(tmp_path / "0000.png")[::2, ::2].astype(int)
    assert np.abs(found - expected).max() <= 1
    record = json.loads((tmp_path / "generate.json").read_text())
    assert record["files"] == ["0000.png", "0001.png"]
    assert (record["seeds"], record["psi"], record["noise"], record["resolution"]) == ([7, 3], 0.7, "const", 64)
    assert record["generator"] == {"file": "net.pkl", "sha256": sha256_of(pickled)}
    assert record["layout"] == TENSORFLOW


@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_pictures_of_w_are_those_of_the_original(pickled: Path, tmp_path: Path, ending: str) -> None:
    w = np.random.RandomState(8).randn(1, 10, 20)
    if ending == "npz":
        np.savez(tmp_path / "w.npz", w=w)
    else:
        torch.save({"latent": torch.from_numpy(w)}, tmp_path / "w.pt")
    out = tmp_path / "out"
    assert generate(out, "--generator", pickled, "--latents", tmp_path / f"w.{ending}", "--psi", 0.1) == 0
    expected = np.floor(np.clip(127.5 * REFERENCE["tensorflow_64.w"] + 128, 0, 255)).transpose(1, 2, 0)
    assert np.abs(picture(out / "0000.png")[::2, ::2].astype(int) - expected).max() <= 1
    assert json.loads((out / "generate.json").read_text())["psi"] is None


def test_views_of_a_completed_face_are_drawn_and_named(pickled: Path, tmp_path: Path) -> None:
    w = np.random.RandomState(8).randn(10, 20).astype(np.float32)
    np.savez(tmp_path / "face.npz", vertices=np.zeros((9, 3)), w_left=-w, w_front=w)
    np.savez(tmp_path / "w.npz", w=np.stack([w, -w]))
    for name in ("face", "w"):
        assert generate(tmp_path / name, "--generator", pickled, "--latents", tmp_path / f"{name}.npz") == 0
    for file in ("0000.png", "0001.png"):
        assert (tmp_path / "face" / file).read_bytes() == (tmp_path / "w" / file).read_bytes()
    record = json.loads((tmp_path / "face/generate.json").read_text())
    assert record["latents"]["views"] == ["front", "left"]


def test_the_generator_that_ships_draws(tmp_path: Path) -> None:
    assert generate(tmp_path, "--seeds", 1) == 0
    assert picture(tmp_path / "0000.png").shape == (128, 128, 3)
    assert json.loads((tmp_path / "generate.json").read_text())["layout"] == OWN


def test_what_is_done_is_skipped_and_what_is_missing_added(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--generator", pickled, "--seeds", "0-2")
    assert generate(tmp_path, *words) == 0
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "0001.png").unlink()
    capsys.readouterr()
    assert generate(tmp_path, *words) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 drawn, 2 skipped, in ")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents
    assert generate(tmp_path, *words, "--dry-run") == 0
    assert capsys.readouterr().out.startswith("0 of 3 pictures would be drawn")


def test_more_seeds_of_the_same_request_are_added(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--generator", pickled, "--noise", "random")
    folder, at_once = tmp_path / "out", tmp_path / "at_once"
    assert generate(folder, *words, "--seeds", "0-2") == 0
    pictures = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.png")}
    capsys.readouterr()
    assert generate(folder, *words, "--seeds", "0-3,9", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("2 of 5 pictures would be drawn")
    assert generate(folder, *words, "--seeds", "0-3,9") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 drawn, 3 skipped, in ")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pictures} == pictures
    assert generate(at_once, *words, "--seeds", "0-3,9") == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in at_once.iterdir()}


@pytest.mark.parametrize("seeds", ["1-3", "0-1", "0,2,1,3", "0-1,3"])
def test_other_seeds_are_another_request(
    pickled: Path, tmp_path: Path, seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path, "--generator", pickled, "--seeds", "0-2") == 0
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert generate(tmp_path, "--generator", pickled, "--seeds", seeds) == 2
    assert "holds pictures of another request; --overwrite replaces them" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_a_foreign_picture_in_the_way_of_more_seeds_is_kept(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path, "--generator", pickled, "--seeds", "0-1") == 0
    (tmp_path / "0002.png").write_bytes(b"mine")
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert generate(tmp_path, "--generator", pickled, "--seeds", "0-2") == 2
    assert "0002.png is in the way; --overwrite replaces it" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_another_request_does_not_mix_with_what_is_there(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path, "--generator", pickled, "--seeds", "0") == 0
    before = (tmp_path / "0000.png").read_bytes()
    other = ("--generator", pickled, "--seeds", "0", "--psi", "1")
    assert generate(tmp_path, *other) == 2
    assert "holds pictures of another request; --overwrite replaces them" in capsys.readouterr().err
    assert (tmp_path / "0000.png").read_bytes() == before
    assert generate(tmp_path, *other, "--overwrite") == 0
    assert (tmp_path / "0000.png").read_bytes() != before


def test_overwriting_leaves_no_picture_of_another_request(pickled: Path, tmp_path: Path) -> None:
    """Nor one that a run which goes on after an interruption would take for its own."""
    words = ("--generator", pickled)
    assert generate(tmp_path, *words, "--seeds", "0-2") == 0
    (tmp_path / "mine.png").write_bytes(b"mine")
    assert generate(tmp_path, *words, "--seeds", "7", "--overwrite") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.png", "generate.json", "mine.png"]
    seventh = (tmp_path / "0000.png").read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostec.pipeline.generation.draw_picture", interrupted)
        assert generate(tmp_path, *words, "--seeds", "0-1", "--overwrite") == 130
    assert generate(tmp_path, *words, "--seeds", "0-1") == 0
    assert (tmp_path / "0000.png").read_bytes() != seventh


def test_a_foreign_picture_is_not_replaced(pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0000.png").write_bytes(b"mine")
    assert generate(tmp_path, "--generator", pickled, "--seeds", "0") == 2
    assert "0000.png is in the way; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "0000.png").read_bytes() == b"mine"


def test_a_dry_run_writes_nothing(pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(tmp_path / "out", "--generator", pickled, "--seeds", "0-9", "--dry-run") == 0
    assert "10 of 10 pictures would be drawn into" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Give either --seeds or --latents."),
        (["--seeds", "0", "--latents", "a.npz"], "Give either --seeds or --latents."),
        (["--seeds", "x"], "--seeds must be numbers"),
        (["--seeds", "0", "--generator", "none"], "--generator must be default or a file"),
        (["--seeds", "0", "--generator", "no.pkl"], "The generator's file no.pkl does not exist."),
        (["--latents", "no.npz"], "The file of latents no.npz does not exist."),
        (["--seeds", "0", "--generator", "."], "The generator's file . is a folder, not a file."),
        (["--seeds", "0", "--psi", "nan"], "--psi must be a number"),
    ],
)
def test_wrong_use_is_a_sentence(tmp_path: Path, refuses: Refuses, words: list[str], sentence: str) -> None:
    refuses(sentence, "generate", "--save-dir", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_damaged_generator_leaves_nothing(pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.pkl").write_bytes(pickled.read_bytes()[:-1000])
    assert generate(tmp_path / "out", "--generator", tmp_path / "net.pkl", "--seeds", "0") == 2
    assert "net.pkl cannot be used: expected a pickle" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ostec models convert


def convert(*words: object) -> int:
    return cli.main(["models", "convert", *map(str, words)])


@pytest.mark.parametrize("name", ["ada_256", "tensorflow_64", "rosinality_64"])
def test_a_converted_generator_draws_the_same(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_case(CASES[name], tmp_path / "net.pkl")
    target = tmp_path / "made" / "net.safetensors"
    assert convert(source, target) == 0
    assert (
        f"{CASES[name]['resolution']} px, {CASES[name]['num_ws']} latents of 20, with disc" in capsys.readouterr().out
    )
    first, second = read_generator(source), read_generator(target)
    w = torch.from_numpy(np.random.RandomState(8).randn(1, CASES[name]["num_ws"], 20).astype(np.float32))
    pictures = [read.model.generator.synthesis(w) for read in (first, second)]
    assert torch.equal(*pictures)
    assert first.model.discriminator is not None
    assert second.model.discriminator is not None
    assert torch.equal(*(read.model.discriminator(pictures[0]) for read in (first, second)))
    assert torch.equal(first.model.latent_deviation, second.model.latent_deviation)
    assert second.layout == first.layout
    assert second.model.frame == first.model.frame
    assert second.card["source"] == {"file": "net.pkl", "sha256": sha256_of(source)}
    assert {tensor.dtype for tensor in load_file(target).values()} == {torch.float32}


def test_what_a_file_lacked_is_kept_in_the_card(tmp_path: Path) -> None:
    content: dict[str, Any] = content_of(CASES["rosinality_64"])
    torch.save({"g_ema": content["g_ema"]}, tmp_path / "a.pt")
    assert convert(tmp_path / "a.pt", tmp_path / "a.safetensors") == 0
    read = read_generator(tmp_path / "a.safetensors")
    assert read.model.discriminator is None
    assert len(read.model.notes) == 1
    assert "no mean latent" in read.model.notes[0]


def test_conversion_does_not_replace_or_take_other_endings(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.safetensors"
    for words, sentence in (
        ((pickled, tmp_path / "net.pt"), "must end in .safetensors"),
        ((tmp_path / "none.pkl", target), "none.pkl does not exist"),
    ):
        assert convert(*words) == 2
        assert sentence in capsys.readouterr().err
    target.write_bytes(b"mine")
    assert convert(pickled, target) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert convert(target, target) == 2
    assert convert(pickled, target, "--overwrite", "-q") == 0
    assert capsys.readouterr().out == ""
    assert read_generator(target).model.generator.shape.resolution == 64


def test_claims_in_a_safetensors_header_cost_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [10 << 30], "data_offsets": [0, 40 << 30]}}).encode()
    path = tmp_path / "big.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    path.with_suffix(".json").write_text('{"kind": "ostec"}')
    assert convert(path, tmp_path / "out.safetensors") == 2
    assert "big.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()
