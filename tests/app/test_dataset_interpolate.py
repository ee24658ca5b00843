"""``ostec dataset interpolate`` from the command line; the portraits are drawn, their completion is a toy's."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.app.dataset import interpolate as dataset_interpolate
from ostec.dataset import TextureDataset
from ostec.dataset.build import Dataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.records import Face, Finished, Group, Made, Photo
from ostec.dataset.verify import verify
from ostec.dataset.worker import Worker
from ostec.io.images import decode_image
from ostec.load.generators import read_generator
from ostec.pipeline.generation import Latents, draw_picture
from tests.dataset import toy_faces
from tests.dataset.toy import write_photos

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (12, 256)  # of the generator that ships
WORDS = {f"{n}.jpg": f"photo {n} yaw={[-30, 30][n % 2]}" for n in range(6)}


def small_latents(words: str) -> dict[str, np.ndarray]:
    seed = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")
    return {"front": np.random.default_rng(seed).normal(0, 0.1, SHAPE).astype(np.float32)}


class PortraitMaker:
    """Takes pictures alone."""

    def __call__(self, photos: Sequence[Photo]) -> list[Made]:
        return [self._make(photo) for photo in photos]

    def _make(self, photo: Photo) -> Made:
        mean = float(decode_image(photo.data, photo.source).mean())
        return Made([Face({"pose_deg": [0, 0, 0], "mode": "soft"}, {"uv.png": photo.data})], {"total": mean})


class Loop:
    def __init__(self, folder: Path) -> None:
        self._store = Dataset.open(folder).store

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        yield from itertools.chain.from_iterable(map(Worker(self._store, PortraitMaker()), groups))


@pytest.fixture
def ds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ostec.dataset.executors.RayExecutor", lambda job, _: Loop(job.folder))
    monkeypatch.setattr(toy_faces, "latents_of", small_latents)
    monkeypatch.setattr("ostec.app.dataset.interpolate._PER_FILE", 3)
    return toy_faces.build_faces(tmp_path / "ds", write_photos(tmp_path / "in", WORDS), licence="CC BY 4.0")


def interpolate(ds: Path, out: Path, count: int, *words: str) -> int:
    return main(
        ["dataset", "interpolate", str(ds), "--out", str(out), "--count", str(count), "--device", "cpu", *words]
    )


def content(out: Path) -> dict[str, bytes]:
    files = [*sorted((out / "mixed").iterdir()), *sorted((out / "shards").iterdir()), out / "manifest.parquet"]
    return {path.name: path.read_bytes() for path in files}


def test_new_faces_are_portraits_between_two_of_a_class(
    ds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interpolate(ds, tmp_path / "out", 5) == 0
    said = capsys.readouterr()
    assert "Classes by yaw_deg, brightness (there are no attributes Gender, Age, Beard): 2 with 6 faces" in said.err
    assert "Planned: 5 new photos, 5 with attributes." in said.err
    assert "pairs of faces to mix" not in said.err  # there are six
    assert said.out.splitlines()[-1] == "5 photos done with 5 faces, 0 failed."
    assert verify(tmp_path / "out", repair=False).problems == []
    rows = list(read_manifest(tmp_path / "out/manifest.parquet"))
    assert [row["source"].split("/")[1] for row in rows] == [f"{number:06d}.png" for number in range(5)]
    parents = {row["key"]: row for row in read_manifest(ds / "manifest.parquet")}
    network = read_generator(ROOT / "models/generator.safetensors").model.generator
    for row, sample in zip(rows, TextureDataset(tmp_path / "out"), strict=True):
        mix = json.loads(row["attributes"])
        one, other = parents[mix["mixed_one"]], parents[mix["mixed_other"]]
        assert one["yaw_deg"] == other["yaw_deg"]
        w = mix["mixed_share"] * small_latents(WORDS[one["source"]])["front"]
        w = w + (1 - mix["mixed_share"]) * small_latents(WORDS[other["source"]])["front"]
        expected = draw_picture(network, Latents("w", w[None].astype(np.float32), (0,)), 0, 1.0, "const")
        found = sample["texture"].permute(1, 2, 0).numpy() * 255
        assert np.abs(found - expected).max() < 1.5, row["source"]
    card = (tmp_path / "out/README.md").read_text()
    assert "interpolated from CC BY 4.0" in card
    assert "Made by `ostec dataset interpolate`" in card
    assert main(["dataset", "filter", str(tmp_path / "out"), "--out", str(tmp_path / "part"), "--max-yaw", "1"]) == 0
    card = (tmp_path / "part/README.md").read_text()
    assert "A part of a dataset, as `selection.json` says: 5 faces were kept, 0 left out;" in card
    assert "Made by `ostec dataset interpolate`" in card


def test_new_faces_have_the_attributes_of_their_class(ds: Path, tmp_path: Path) -> None:
    words = {f"{n}.jpg": f'photo {n} attributes={{"Gender": "{"fm"[n % 2]}", "Age": {20 + n}}}' for n in range(12)}
    source = toy_faces.build_faces(tmp_path / "own", write_photos(tmp_path / "photos", words), licence="")
    assert interpolate(source, tmp_path / "out", 4, "--quiet") == 0
    parents = {row["key"]: json.loads(row["attributes"]) for row in read_manifest(source / "manifest.parquet")}
    for row in read_manifest(tmp_path / "out/manifest.parquet"):
        own = json.loads(row["attributes"])
        one, other, share = parents[own["mixed_one"]], parents[own["mixed_other"]], own["mixed_share"]
        assert own["Gender"] == one["Gender"] == other["Gender"]
        assert own["Age"] == pytest.approx(share * one["Age"] + (1 - share) * other["Age"], abs=1e-4)
    assert "interpolated from photos without a licence given" in (tmp_path / "out/README.md").read_text()


def test_a_source_with_other_classes_is_another_one_and_a_renamed_one_is_not(
    ds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interpolate(ds, tmp_path / "out", 1, "--quiet") == 0
    ds.rename(tmp_path / "renamed")
    capsys.readouterr()
    assert interpolate(tmp_path / "renamed", tmp_path / "out", 7, "--quiet") == 0
    assert "There are only 6 pairs of faces to mix; new faces will resemble each other." in capsys.readouterr().err
    filtered = tmp_path / "filtered"
    assert main(["dataset", "filter", str(tmp_path / "renamed"), "--out", str(filtered), "--where", "yaw_deg>0"]) == 0
    capsys.readouterr()
    assert interpolate(filtered, tmp_path / "out", 2, "--quiet") == 2
    assert "was begun with another classes" in capsys.readouterr().err


def test_a_greater_count_adds_faces_and_the_same_command_changes_nothing(
    ds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interpolate(ds, tmp_path / "out", 2, "--quiet") == 0
    before = content(tmp_path / "out")
    assert interpolate(ds, tmp_path / "out", 2, "--quiet") == 0
    assert content(tmp_path / "out") == before
    drawn = []
    draw = dataset_interpolate._Artist.__call__
    monkeypatch.setattr(dataset_interpolate._Artist, "__call__", lambda self, mix: drawn.append(mix) or draw(self, mix))
    assert interpolate(ds, tmp_path / "out", 4, "--quiet") == 0
    assert [mix.index for mix in drawn] == [2, 3]  # the others stay as they are
    assert interpolate(ds, tmp_path / "whole", 4, "--quiet") == 0
    keys = TextureDataset(tmp_path / "out").keys
    assert keys == TextureDataset(tmp_path / "whole").keys
    assert {path.name: path.read_bytes() for path in (tmp_path / "out/mixed").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole/mixed").iterdir()
    }


def test_wrong_use_is_refused_before_anything_is_written(
    ds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, sentence in (
        (("--by", "person"), "has person; attributes: none."),
        (("--device", "cuda", "--by", "key"), "has no two photos in the same class of key"),
    ):
        assert interpolate(ds, tmp_path / "out", 2, *words) == 2
        assert sentence in capsys.readouterr().err
    assert interpolate(ds, tmp_path / "out", 0) == 2
    assert interpolate(ds, ds, 2) == 2
    assert not (tmp_path / "out").exists()
    assert interpolate(ds, tmp_path / "out", 1, "--quiet") == 0
    capsys.readouterr()
    assert interpolate(ds, tmp_path / "out", 1, "--mix-seed", "4") == 2
    assert "was begun with another seed; please choose another --out." in capsys.readouterr().err
