"""The data card says what the rows say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from ostec.core.assets import asset_path, load_manifest, sha256_of
from ostec.dataset.card import Form, write_card, write_readme
from ostec.dataset.manifest import schema_of
from ostec.dataset.plan import Build
from ostec.io.shards import TRAILER, pack_members
from tests.dataset.toy import build, write_photos


def test_the_card_counts_photos_faces_and_reasons(tmp_path: Path) -> None:
    words = {"a.jpg": "faces=3 hand", "b.jpg": "noface", "c.jpg": "no noface", "d.jpg": "one", "e.jpg": "one"}
    build(tmp_path / "ds", write_photos(tmp_path / "in", words))
    text = (tmp_path / "ds/README.md").read_text()
    for line in (
        "| faces | 4 |",
        "| photos done | 2 |",
        "| photos that failed | 2 |",
        "| copies of other photos | 1 |",
        "| photos planned | 5 |",
        "| 00000 to 00000 | 4 | CC0 |",
        f"| toy.safetensors | {'00' * 32} | not known here |",
        'license: "cc0-1.0"',
        '  data_files: "shards/*.tar"',
        'datasets.load_dataset("DS", split="train")',
        "| Side of the face, pixels | 4 | 100.5 | 100.5 | 100.5 | 100.5 |",
        "Occluders: hand 3, none 1.",
        "| 2 | detect: No face was found. |",
        "Settings: completer auto, samples 0, seed 0, mode auto,",
    ):
        assert line in text, line


def test_attributes_are_told_with_where_they_are_from(tmp_path: Path) -> None:
    row = {"status": "done", "face": 1, "faces": 1}
    rows = [
        {**row, "attributes": json.dumps({"a|b": "x|y", "Age": n, **({"hat": n > 2} if n else {})})} for n in range(20)
    ]
    builds = [
        Build(0, 1, 10, 0, "CC0", "t.csv, SHA-256 00"),
        Build(1, 1, 10, 0, "CC0"),
        Build(2, 1, 10, 0, "CC0", "sources"),
    ]
    values = {"settings": {}, "threads": 1, "shard_size": 10, "batch": 4}
    write_card(tmp_path / "R.md", table(rows), builds, values)
    text = (tmp_path / "R.md").read_text()
    for line in (
        "From: t.csv, SHA-256 00; what the sources brought. They can be personal data.",
        "| Age | 20 | 0 to 19, mean 9.5 |",
        "| a\\|b | 20 | x\\|y (20) |",
        "| hat | 19 | true (17), false (2) |",
        "Made by `ostec dataset build`, each from one photo.",
    ):
        assert line in text, line
    write_card(tmp_path / "R.md", table([row]), builds, values)
    assert "## Attributes" not in (tmp_path / "R.md").read_text()


def test_a_licence_cannot_break_the_table(tmp_path: Path) -> None:
    text = card(tmp_path, [], [Build(0, 2, 7, 0, "a|b\nc")])
    assert "| 00000 to 00001 | 7 | a\\|b\\nc |" in text


CONFIG = {
    "settings": {"prior": "/home/me/own.safetensors", "frontalize": True},
    "threads": 1,
    "shard_size": 5,
    "batch": 4,
}
FACEMESH = load_manifest("facemesh").file("facemesh.safetensors").sha256
ROW = {"status": "done", "face": 1, "faces": 1, "item": 0}


def table(rows: list[dict[str, Any]]) -> Any:
    return pyarrow.Table.from_pylist(rows, schema=schema_of())


def card(folder: Path, rows: list[dict[str, Any]], builds: Sequence[Build] = (Build(0, 1, 5, 0, "CC0"),)) -> str:
    write_card(folder / "README.md", table(rows), builds, CONFIG)
    return (folder / "README.md").read_text()


def test_failures_are_counted_by_reason_without_names_and_paths(tmp_path: Path) -> None:
    failed = {"status": "failed", "face": 0, "stage": "read", "item": 0}
    reasons = {
        "a.jpg": "a.jpg is no picture.",
        "b c.jpg": "/my photos/in/b c.jpg is no picture.",
        "d.jpg": "C:\\photos\\d.jpg is no picture.",
        "e.jpg": "There is no file or folder '/x y/e.jpg'.",
        "f.jpg": "Neither a/b nor c.",
    }
    text = card(tmp_path, [{**failed, "source": name, "reason": reason} for name, reason in reasons.items()])
    lines = [line for line in text.splitlines() if line.startswith("|") and "read: " in line]
    assert lines == [
        "| 3 | read: PHOTO is no picture. |",
        "| 1 | read: Neither a/b nor c. |",
        "| 1 | read: There is no file or folder 'PHOTO'. |",
    ]


def test_all_versions_of_a_model_are_listed_and_no_path_is(tmp_path: Path) -> None:
    topology = sha256_of(asset_path("topology/facemesh.npz"))
    weights = [
        {"own.safetensors": "11" * 32, "face model ict": "33" * 32, "facemesh.npz": topology},
        {"own.safetensors": "22" * 32, "facemesh.safetensors": FACEMESH, "tri.npz": topology},
    ]
    text = card(tmp_path, [{**ROW, "weights": json.dumps(one)} for one in weights])
    assert f"| own.safetensors | {'11' * 32} | not known here |" in text
    assert f"| own.safetensors | {'22' * 32} | not known here |" in text
    assert f"| facemesh.safetensors | {FACEMESH} | Apache-2.0 |" in text
    assert f"| face model ict | {'33' * 32} | MIT |" in text
    assert f"| facemesh.npz | {topology} | part of ostec |" in text
    assert f"| tri.npz | {topology} | not known here |" in text
    assert "/home" not in text
    assert "Settings: prior own.safetensors (SHA-256 " in text
    assert '  - name: "frontal.png"' in text


def test_what_the_records_say_of_versions_and_of_the_face_model(tmp_path: Path) -> None:
    record = {"versions": {"torch": "2", "ostec": "1"}, "face_model": {"name": "ict", "licence": "MIT"}}
    packed = pack_members([("a_1.uv.png", b"x"), ("a_1.json", json.dumps(record).encode())])
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/00000.tar").write_bytes(packed + TRAILER)
    row = {**ROW, "shard": "00000.tar", "key": "a_1", "offset": 0, "size": len(packed), "weights": '{"x": "00"}'}
    text = card(tmp_path, [row])
    assert "Made with ostec 1, torch 2." in text
    assert "Face model: ict (MIT)." in text
    for other in ("../shards/00000.tar", "00001.tar"):
        assert "Made with" not in card(tmp_path, [{**row, "shard": other}])


@pytest.mark.parametrize(
    ("name", "values", "lines"),
    [
        (
            "selection.json",
            {
                "kind": "ostec dataset filter",
                "limits": [
                    {"figure": "yaw_deg", "low": None, "high": 30.0, "absolute": True},
                    {"figure": "brightness", "low": 0.1, "high": 0.5, "absolute": False},
                ],
                "others": ["no_twins"],
                "where": ["Age>=18"],
                "kept": 1,
                "left_out": 4,
            },
            [
                "A part of a dataset, as `selection.json` says: 1 face was kept, 4 left out; `left_out.jsonl` has",
                "- absolute yaw_deg at most 30.0",
                "- brightness at least 0.1 and at most 0.5",
                "- Age>=18",
                "- no texture that is near-identical to an earlier one",
                "Made by `ostec dataset build`, each from one photo.",
            ],
        ),
        (
            "selection.json",
            {
                "kind": "ostec dataset split",
                "part": "val",
                "shares": {"train": 0.9, "val": 0.1},
                "seed": 3,
                "group": "who",
            },
            [
                "A part of a dataset, as `selection.json` says.",
                "Made by `ostec dataset split`: part val of a split (train 0.9, val 0.1; seed 3; faces that share who",
            ],
        ),
        (
            "interpolation.json",
            {"by": ["Age", "Gender"], "weights": [0.3, 0.7], "generator": {"file": "g", "sha256": "aa"}, "seed": 1},
            [
                "Made by `ostec dataset interpolate`: each face is between two of another dataset. Their latents were",
                "Classes of faces by Age, Gender; share of the first face 0.3 to 0.7; generator g, SHA-256 aa; seed 1.",
            ],
        ),
        ("selection.json", [1], ["A part of a dataset, as `selection.json` says; `left_out.jsonl` has the reasons."]),
        ("interpolation.json", {"by": 1, "weights": "x", "generator": []}, ["Made by `ostec dataset interpolate`: "]),
    ],
)
def test_parts_and_mixtures_say_how_they_were_made(tmp_path: Path, name: str, values: Any, lines: list[str]) -> None:
    (tmp_path / name).write_text(json.dumps(values))
    text = card(tmp_path, [ROW])
    for line in lines:
        assert line in text, line
    (tmp_path / name).unlink()
    for line in lines:
        assert line not in card(tmp_path, [ROW]) or line.startswith("Made by `ostec dataset build`")


def test_what_stands_below_the_card_is_kept(tmp_path: Path) -> None:
    path, mine = tmp_path / "README.md", b"Mine, with \xff and <!-- a comment -->\n"
    path.write_bytes(mine)  # that is no card
    write_readme(path, b"one\n")
    own = path.read_bytes()
    assert own.startswith(b"one\n<!-- ostec: ")
    assert own.endswith(b"kept. -->\n" + mine)
    write_readme(path, b"two\nlines\n")
    assert path.read_bytes() == own.replace(b"one\n", b"two\nlines\n")
    write_readme(path, b"one\n")
    assert path.read_bytes() == own


def test_front_matter_by_hand(tmp_path: Path) -> None:
    def front(name: str, licences: list[str], faces: int = 1) -> list[str]:
        builds = [Build(k, 1, 1, 0, licence) for k, licence in enumerate(licences)]
        rows = [{**ROW, "item": 5 * (k % len(builds))} for k in range(faces)]
        write_card(tmp_path / "F.md", table(rows), builds, CONFIG, Form(tmp_path, name))
        return (tmp_path / "F.md").read_text().partition("\n---\n")[0].splitlines()

    tags = 'tags: ["face", "texture", "uv-map", "ostec"]'
    assert front("", ["CC0", "x"], 1000) == [
        "---",
        'pretty_name: "Face textures"',
        'license: ["cc0-1.0", "other"]',
        'license_name: "x"',
        tags,
        'size_categories: ["1K<n<10K"]',
        "configs:",
        "- config_name: default",
        '  data_files: "shards/*.tar"',
        "dataset_info:",
        "- config_name: default",
        "  features:",
        *('  - name: "uv.png"', "    dtype: image", '  - name: "provenance.png"', "    dtype: image"),
        *('  - name: "frontal.png"', "    dtype: image", '  - name: "__key__"', "    dtype: string"),
    ]
    assert front("folder", ["MIT"], 999)[2:] == ['license: "mit"', tags, 'size_categories: ["n<1K"]']
    assert front("parquet", ["MIT"])[-1] == '  data_files: "data/train-*.parquet"'
    assert "configs:" not in front("", ["MIT"], 0)
