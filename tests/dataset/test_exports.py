"""Exports hold the faces of the dataset, where the other programs look for them."""

import importlib.util
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.errors import AssetError, UsageError
from ostec.dataset import TextureDataset
from ostec.dataset.arrow import ROWS_PER_FILE
from ostec.dataset.exports import Exported, Format, export, file_name
from ostec.dataset.finished import FinishedDataset
from ostec.io.images import decode_image, read_image
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import SIDE, build_faces, latents_of, texture_of

WORDS = {
    "00.jpg": 'first attributes={"Age": 31.0, "Gender": 0, "Beard": 0.1}',
    "01.jpg": "second faces=2",
    "02.jpg": "noface",
    "03.jpg": "third nolatents",
    "04.jpg": "noface too",
    "05.jpg": "noface again",
    "06.jpg": "fourth",
}
needs_datasets = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed")


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    return build_faces(folder / "ds", write_photos(folder / "in", WORDS), shard_size=2)


def exported(ds: Path, out: Path, form: Format, members: tuple[str, ...] = ()) -> Exported:
    out.mkdir()
    return export(FinishedDataset(ds), out, form, members)


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_ffhq_uv_has_its_folders_numbers_and_fields(ds: Path, tmp_path: Path) -> None:
    result = exported(ds, tmp_path / "out", "ffhq-uv")
    assert result.faces == 5
    names = files(tmp_path / "out")
    assert [n for n in names if n.startswith("uv-maps")] == [f"uv-maps/00000{k}.png" for k in range(5)]
    latents = [n for n in names if n.startswith("face-latents")]
    assert len(latents) == 12
    assert latents[0] == "face-latents/000/000000/000000_front_latent.pt"
    assert {name.split("/")[2] for name in latents} == {"000000", "000001", "000002", "000004"}
    read = torch.load(tmp_path / "out/face-latents/000/000004/000004_left_latent.pt", weights_only=True)
    assert list(read) == ["latent"]
    np.testing.assert_array_equal(read["latent"].numpy(), latents_of(WORDS["06.jpg"])["left"][None])
    meta = json.loads((tmp_path / "out/meta-info.json").read_text())
    assert meta["000000"] == {"Age": 31.0, "Beard": 0.1, "Gender": 0, "Index-in-FFHQ": None}
    assert meta["000004"] == {"Age": None, "Beard": None, "Gender": None, "Index-in-FFHQ": None}
    image = read_image(tmp_path / "out/uv-maps/000002.png")
    np.testing.assert_allclose(image, texture_of(WORDS["01.jpg"], 1), atol=0.5 / 255 + 1e-6)
    lines = [json.loads(line) for line in (tmp_path / "out/sources.jsonl").read_text().splitlines()]
    assert [(line["number"], line["source"]) for line in lines][3:] == [("000003", "03.jpg"), ("000004", "06.jpg")]


def test_what_ffhq_uv_has_and_the_dataset_has_not_is_said(ds: Path, tmp_path: Path) -> None:
    remarks = exported(ds, tmp_path / "out", "ffhq-uv").remarks
    assert "1 of 5 faces have no latents of their front view: it was not projected." in remarks
    assert any("Latents are [1, 6, 8] of this dataset's generator" in remark for remark in remarks)
    assert not any("no attributes" in remark for remark in remarks)


def test_folder_has_the_names_of_complete(ds: Path, tmp_path: Path) -> None:
    assert exported(ds, tmp_path / "out", "folder").faces == 5
    keys = TextureDataset(ds).keys
    endings = (".json", ".npz", ".png", "_provenance.png")
    assert files(tmp_path / "out") == sorted(key + ending for key in keys for ending in endings)
    record = json.loads((tmp_path / "out" / f"{keys[1]}.json").read_text())
    assert (record["key"], record["source"]) == (keys[1], "01.jpg")


def test_member_names_become_those_of_complete() -> None:
    assert [file_name("k_1", ending) for ending in ("uv.png", "frontal.png", "head.glb", "views.left.png")] == [
        "k_1.png",
        "k_1_frontal.png",
        "k_1_head.glb",
        "k_1_views/left.png",
    ]


@pytest.mark.parametrize("members", [(), ("uv.png", "json")])
def test_webdataset_shards_have_no_gaps_and_whole_samples(ds: Path, tmp_path: Path, members: tuple[str, ...]) -> None:
    exported(ds, tmp_path / "out", "webdataset", members)
    assert files(tmp_path / "out") == ["000000.tar", "000001.tar", "000002.tar"]  # the third shard has no face
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((tmp_path / "out").iterdir()):
        with tarfile.open(path) as archive:
            for member in archive:
                key, _, ending = member.name.partition(".")
                found.setdefault(key, {})[ending] = archive.extractfile(member).read()  # type: ignore[union-attr]
    assert list(found) == TextureDataset(ds).keys
    wanted = set(members) or {"mesh.npz", "provenance.png", "uv.png", "json"}
    assert all(set(sample) == wanted for sample in found.values())
    first = decode_image(next(iter(found.values()))["uv.png"], "x")
    np.testing.assert_allclose(first, texture_of(WORDS["00.jpg"]), atol=0.5 / 255 + 1e-6)


def test_parquet_files_hold_every_face_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("ostec.dataset.arrow.ROWS_PER_FILE", 4)
    monkeypatch.setattr("ostec.dataset.arrow._ROWS_PER_GROUP", 2)
    words = {f"{k}.jpg": f"photo {k}" for k in range(9)}
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "in", words))
    exported(ds, tmp_path / "out", "parquet")
    names = [f"data/train-0000{k}-of-00003.parquet" for k in range(3)]
    assert files(tmp_path / "out") == names
    tables = [pq.read_table(tmp_path / "out" / name) for name in names]
    assert [len(table) for table in tables] == [4, 4, 1]
    assert [key for table in tables for key in table["key"].to_pylist()] == TextureDataset(ds).keys
    assert ROWS_PER_FILE == 250


@needs_datasets
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["parquet", "datasets"])
def test_hugging_face_datasets_loads_pictures_and_values(
    ds: Path, tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    exported(ds, tmp_path / "out", form)
    if form == "parquet":
        loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    else:
        loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert len(loaded) == 5
    sample = loaded[2]
    assert (sample["source"], sample["face"], sample["faces"]) == ("01.jpg", 2, 2)
    assert sample["occluders"] == []
    assert sample["image"].size == (SIDE, SIDE)
    np.testing.assert_allclose(
        np.asarray(sample["image"], np.float32) / 255, texture_of(WORDS["01.jpg"], 1), atol=0.5 / 255 + 1e-6
    )
    assert sample["frontal"] is None
    assert json.loads(sample["record"])["key"] == sample["key"]


def test_damage_is_found_before_it_is_exported(ds: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ds, tmp_path / "ds")
    shard = tmp_path / "ds/shards/00001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    with pytest.raises(AssetError, match=r"00001\.tar is damaged; please run: ostec dataset verify"):
        exported(tmp_path / "ds", tmp_path / "out", "folder")
    shutil.rmtree(tmp_path / "ds/state")
    with pytest.raises(AssetError, match=r"00001\.tar is damaged"):
        exported(tmp_path / "ds", tmp_path / "again", "webdataset")


def test_nothing_to_export_is_a_sentence(ds: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no face to export with those members"):
        exported(ds, tmp_path / "out", "webdataset", ("frontal.png",))
