"""Exports hold the faces of the dataset, where the other programs look for them."""

import hashlib
import importlib.util
import json
import re
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from ostec.core.errors import AssetError, UsageError
from ostec.dataset import TextureDataset
from ostec.dataset.exports import Exported, Format, export
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.records import Face, Photo, face_key
from ostec.dataset.worker import _face
from ostec.export.head import write_head
from ostec.io.files import whole_folder
from ostec.io.images import decode_image, read_image, write_png
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import SIDE, FacesMaker, build_faces, latents_of, texture_of
from tests.export.test_head import HEAD

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


def face_with_head(self: FacesMaker, record: dict[str, Any], photo: Photo, words: str, number: int) -> Face:
    """A head's files as the maker of a real build puts them into a shard."""

    def save_data(folder: Path, name: str) -> list[Path]:
        write_png(folder / f"{name}.png", texture_of(words))
        return [folder / f"{name}.png", *write_head(folder, name, HEAD)]

    identity = hashlib.sha256(photo.data).hexdigest()[:16]
    made: Any = SimpleNamespace(save_data=save_data, record=record)
    return _face(made, face_key(identity, number + 1), photo.scratch / str(number))


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_ffhq_uv_has_its_folders_numbers_and_fields(ds: Path, tmp_path: Path) -> None:
    result = exported(ds, tmp_path / "out", "ffhq-uv")
    assert result.faces == 5
    names = files(tmp_path / "out")
    assert [n for n in names if n.startswith("uv-maps")] == [f"uv-maps/00000{k}.png" for k in range(5)]
    latents = [n for n in names if n.startswith("face-latents")]
    assert len(latents) == 12  # 03.jpg has none
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
    told = [remark for remark in remarks if "face-latents" in remark]
    assert len(told) == 1
    assert told[0].startswith("1 of 5 faces have no folder in face-latents, where FFHQ-UV's scripts expect front, left")
    assert told[0].endswith("not projected or not kept: front 1, left 1, right 1.")
    assert any("Latents are [1, 6, 8] of this dataset's generator" in remark for remark in remarks)
    assert not any("no attributes" in remark for remark in remarks)


def test_folder_has_the_names_of_complete(ds: Path, tmp_path: Path) -> None:
    assert exported(ds, tmp_path / "out", "folder").faces == 5
    keys = TextureDataset(ds).keys
    endings = (".json", ".npz", ".png", "_provenance.png")
    assert files(tmp_path / "out") == sorted(["README.md", *(key + ending for key in keys for ending in endings)])
    record = json.loads((tmp_path / "out" / f"{keys[2]}.json").read_text())
    assert (record["key"], record["source"], record["licence"]) == (keys[2], "01.jpg", "CC0")
    assert record["kind"] == "ostec result"
    assert record["files"] == [keys[2] + ending for ending in endings]
    assert record["faces"] == {"count": 2, "index": 2}


def test_latents_of_two_views_get_no_folder(tmp_path: Path) -> None:
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": "left and right, soft nofrontal"}))
    result = exported(ds, tmp_path / "out", "ffhq-uv")
    assert (result.faces, files(tmp_path / "out/face-latents")) == (1, [])
    assert any(remark.endswith("not projected or not kept: front 1.") for remark in result.remarks)
    assert not any("Latents are" in remark for remark in result.remarks)


def test_heads_find_their_materials_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names in the OBJ and MTL files are those of the members, and in a folder those of the files."""
    import trimesh

    monkeypatch.setattr(FacesMaker, "_face", face_with_head)
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": "two faces=2"}))
    exported(ds, tmp_path / "out", "folder")
    source = FinishedDataset(ds)
    (tmp_path / "members").mkdir()
    for row in source.faces():
        for ending, data in source.read(row).items():
            (tmp_path / "members" / f"{row['key']}.{ending}").write_bytes(data)
    for key in TextureDataset(ds).keys:
        for path in (tmp_path / "out" / f"{key}_head.obj", tmp_path / "members" / f"{key}.head.obj"):
            parts = trimesh.load(path, split_object=True, group_material=False).geometry.values()
            materials = {part.visual.material.name: part.visual.material for part in parts}
            assert set(materials) == {"face", "teeth_upper"}
            picture = np.asarray(materials["face"].image.convert("RGB"))
            np.testing.assert_array_equal(picture[2, 3], (255, 51, 102))


@pytest.mark.parametrize("members", [(), ("uv.png", "json")])
def test_webdataset_shards_have_no_gaps_and_whole_samples(ds: Path, tmp_path: Path, members: tuple[str, ...]) -> None:
    exported(ds, tmp_path / "out", "webdataset", members)
    tars = ["000000.tar", "000001.tar", "000002.tar"]  # the third shard has no face
    assert files(tmp_path / "out") == [*tars, "README.md"]
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
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

    monkeypatch.setattr("ostec.dataset.exports._GROUPS_PER_FILE", 2)
    monkeypatch.setattr("ostec.dataset.exports._ROWS_PER_GROUP", 2)
    words = {f"{k}.jpg": f"photo {k}" for k in range(9)}
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "in", words))
    exported(ds, tmp_path / "out", "parquet")
    names = [f"data/train-0000{k}-of-00003.parquet" for k in range(3)]
    assert files(tmp_path / "out") == ["README.md", *names]
    tables = [pq.read_table(tmp_path / "out" / name) for name in names]
    assert [len(table) for table in tables] == [4, 4, 1]
    assert [key for table in tables for key in table["key"].to_pylist()] == TextureDataset(ds).keys


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
    assert sample["licence"] == "CC0"
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


@needs_datasets
@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_shards_whose_faces_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the card's columns it stops at the first face that has other latents than the first five."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    words = {f"{k}.jpg": f"photo {k}" + " nolatents warn=dark" * (k > 5) for k in range(8)}
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "in", words))
    exported(ds, tmp_path / "out", "webdataset")
    exported(ds, tmp_path / "few", "webdataset", ("json", "provenance.png"))
    for folder, columns in (
        (ds, ["uv.png", "provenance.png", "__key__"]),
        (tmp_path / "out", ["uv.png", "provenance.png", "__key__"]),
        (tmp_path / "few", ["provenance.png", "__key__"]),
    ):
        loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert list(loaded.features) == columns
        assert [f"{sample['__key__']}" for sample in loaded] == TextureDataset(ds).keys
        assert loaded[7]["provenance.png"].size == (SIDE, SIDE)


def test_every_export_has_a_card_with_its_licences(tmp_path: Path) -> None:
    build_faces(tmp_path / "ds", write_photos(tmp_path / "a", {"a.jpg": "one", "b.jpg": "two"}), licence="CC BY 4.0")
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "b", {"c.jpg": "three"}), licence="my own")
    for form in get_args(Format):
        exported(ds, tmp_path / form, form)
        text = (tmp_path / form / "README.md").read_text()
        assert 'license: ["cc-by-4.0", "other"]\nlicense_name: "my own"' in text
        assert "| 2 | CC BY 4.0 |\n| 1 | my own |" in text
        assert "An export of a dataset of ostec, " in text
        assert "| faces | 3 |" in text
    information = json.loads((tmp_path / "datasets/dataset_info.json").read_text())
    assert information["license"] == "CC BY 4.0; my own"
    lines = (tmp_path / "ffhq-uv/sources.jsonl").read_text().splitlines()
    assert [json.loads(line)["licence"] for line in lines] == ["CC BY 4.0", "CC BY 4.0", "my own"]


@pytest.mark.parametrize(
    ("form", "members", "sentence"),
    [
        ("webdataset", ("frontal.png",), "has the member frontal.png."),
        ("folder", ("uv.png", "uv.pgn"), "has the member uv.pgn."),
        (
            "ffhq-uv",
            ("nonsense",),
            "--format ffhq-uv takes what its layout has; --members nonsense does not go with it",
        ),
        ("parquet", ("mesh.npz",), "has columns for uv.png, provenance.png, frontal.png, json, not for mesh.npz"),
        ("datasets", ("uv.png", "x"), "has columns for uv.png, provenance.png, frontal.png, json, not for x"),
    ],
)
def test_members_that_cannot_be_taken_are_said(
    ds: Path, tmp_path: Path, form: Format, members: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)), whole_folder(tmp_path / "out") as part:
        export(FinishedDataset(ds), part, form, members)
    assert files(tmp_path) == []


def test_members_of_a_folder_say_what_they_are_too_few_for(ds: Path, tmp_path: Path) -> None:
    assert exported(ds, tmp_path / "a", "folder", ("uv.png",)).remarks == [
        "Without json, nothing tells the programs here which files are whose."
    ]
    assert exported(ds, tmp_path / "b", "folder", ("json", "uv.png")).remarks == [
        "ostec transfer needs uv.png and mesh.npz too."
    ]
    assert exported(ds, tmp_path / "c", "folder", ("json", "uv.png", "mesh.npz")).remarks == []
