"""``ostec edit``: what is refused, and latents of the generator that ships from the command line to the files."""

import json
from pathlib import Path

import numpy as np
import pytest

from ostec.app import cli
from ostec.app.photos.edit import Edit
from tests.app.conftest import Refuses
from tests.conftest import EXAMPLES


def latents(path: Path) -> Path:
    z = np.random.RandomState(5).randn(1, 122).astype(np.float32)
    np.savez(path, z=z)
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Ask for an edit: --yaw, --pitch"),
        (("--views", "front,behind"), "--views must be of front,left,right,up,down, got 'behind'"),
        (("--generator", "{file}", "--yaw", "0"), "The edits that ship are of the generator that ships"),
        (("--edits", "no.safetensors", "--yaw", "0"), "The file of edits no.safetensors does not exist"),
    ],
)
def test_what_means_nothing_is_refused(refuses: Refuses, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    file = latents(tmp_path / "a.npz")
    refuses(sentence, "edit", file, "-o", tmp_path / "out", *(word.format(file=file) for word in words))
    assert not (tmp_path / "out").exists()


def test_no_source_and_nothing_of_others_is_replaced(refuses: Refuses, tmp_path: Path) -> None:
    photos = dict.fromkeys(("a.png", "a_left.png"), EXAMPLES / "astronaut.png")
    for name, photo in photos.items():
        (tmp_path / name).write_bytes(photo.read_bytes())
    words = ("--yaw", "0", "--views", "left")
    refuses("would replace the source", "edit", tmp_path / "a.png", "-o", tmp_path, "--yaw", "0", "--overwrite")
    both = (tmp_path / "a_left.png", EXAMPLES / "astronaut.png")
    refuses("would replace", "edit", *both, "-o", tmp_path, *words)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"mine")
    refuses("which no earlier run has made", "edit", tmp_path / "a.png", "-o", tmp_path / "out", *words)
    (tmp_path / "out/a.png").unlink()
    (tmp_path / "out/a.json").write_text('{"kind": "ostec complete", "files": []}')
    refuses("a.json is no record of ostec edit", "edit", tmp_path / "a.png", "-o", tmp_path / "out", *words)
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.png"))] == [p.read_bytes() for p in photos.values()]


def test_latents_of_one_name_do_not_share_their_results(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [latents(tmp_path / "a\u202e.npz"), latents(tmp_path / "b/a\u202e.npz")]
    items = Edit(tuple(map(str, files)), str(tmp_path / "out"), yaw=0.0)._items()
    assert [item.name for item in items] == ["a__0000", "a__npz_0000"]


def test_a_latent_is_turned_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = latents(tmp_path / "a.npz"), tmp_path / "out"
    words = ["edit", str(file), "-o", str(folder), "--yaw", "0", "--views", "left"]
    assert cli.main(words) == 0
    record = json.loads((folder / "a_0000.json").read_text())
    assert record["kind"] == "ostec edit"
    assert record["asked"] == {"yaw_deg": 0.0}
    assert abs(record["after"]["yaw_deg"]) < max(3.0, 0.5 * abs(record["before"]["yaw_deg"]))
    assert record["views"]["left"]["yaw_deg"] > 15
    assert {*record["files"], "a_0000.json"} == {path.name for path in folder.iterdir()}
    with np.load(folder / "a_0000.npz") as held:
        assert held["w"].shape == (1, 12, 256)
        assert held["w_left"].shape == (12, 256)
    assert "1 edited, 0 skipped" in capsys.readouterr().out
    assert cli.main(words) == 0
    assert "0 edited, 1 skipped" in capsys.readouterr().out
