"""Datasets made by somebody hostile: nothing is written outside the folder asked for, and a sentence says why not."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ostec.core.errors import OstecError
from ostec.dataset.build import Dataset
from ostec.dataset.exports import export
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.selection import write_selection
from ostec.dataset.textures import TextureDataset
from ostec.dataset.verify import verify
from ostec.io.files import whole_folder
from ostec.io.shards import TRAILER, pack_members, read_member, read_members
from tests.dataset.toy import build, many_photos

EVIL: tuple[Any, ...] = (
    *("../../evil", "/tmp/evil", "", "x" * 300, "\x00", "\ud800", "00001.tar", "done", "failed", "5", "٣"),
    *(-1, 0, 2**31, 2**70, 1e308, float("nan"), float("inf"), None, True, [], {}, [[1]], {"a": {"b": 1}}, 512, 1.5),
)
"""What takes the place of values."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    build(folder / "ds", many_photos(folder / "in", 20))
    return folder / "ds"


def places(values: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    keys = values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    for key in keys:
        yield from places(values[key], (*way, key))


def spoiled(values: Any, draw: random.Random) -> Any:
    """The same with another value in one place, or without it."""
    way = draw.choice(list(places(values)))
    evil = draw.choice(EVIL)
    if not way:
        return evil
    inner = values
    for key in way[:-1]:
        inner = inner[key]
    if isinstance(inner, dict) and draw.random() < 0.2:
        del inner[way[-1]]
    else:
        inner[way[-1]] = evil
    return values


def spoil_list(path: Path, draw: random.Random) -> None:
    lines = path.read_text().splitlines()
    number = draw.randrange(len(lines))
    lines[number] = json.dumps(spoiled(json.loads(lines[number]), draw))
    path.write_text("\n".join(lines) + "\n")


def spoil_shard(path: Path, draw: random.Random) -> None:
    files = [(member.name, read_member(path, member)) for member in read_members(path)]
    number = draw.choice([k for k, (name, _) in enumerate(files) if name.endswith(".json")])
    files[number] = (files[number][0], json.dumps(spoiled(json.loads(files[number][1]), draw)).encode())
    if draw.random() < 0.3:
        files.append(draw.choice(files))
    path.write_bytes(pack_members(files) + TRAILER)
    (path.parents[1] / f"state/sealed/{path.stem}.jsonl").unlink()  # so that it is read again from the shard


def into(path: Path, make: Callable[[Path], object]) -> None:
    with whole_folder(path) as part:
        make(part)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("where", ["state/sealed", "state/plan", "shards"])
def test_whatever_is_in_it_ends_with_a_sentence(base: Path, tmp_path: Path, where: str, seed: int) -> None:
    ds, out, draw = tmp_path / "ds", tmp_path / "out", random.Random(f"{where} {seed}")
    shutil.copytree(base, ds)
    path = draw.choice(sorted(path for path in (ds / where).iterdir() if path.suffix in (".jsonl", ".tar")))
    (spoil_shard if path.suffix == ".tar" else spoil_list)(path, draw)
    actions: list[Callable[[], object]] = [
        lambda: Dataset.open(ds).count(),
        lambda: verify(ds, repair=False),
        *(
            lambda form=form: into(out / form, lambda part: export(FinishedDataset(ds), part, form))  # type: ignore[misc]
            for form in ("folder", "webdataset", "parquet", "datasets")
        ),
        lambda: into(out / "chosen", lambda part: write_selection(FinishedDataset(ds), part, {}, {})),
        lambda: [sample["record"] for sample in TextureDataset(ds, ("record",))],  # type: ignore[attr-defined]
        lambda: verify(ds, repair=True),
        lambda: build(ds),
    ]
    out.mkdir()
    ended = 0
    for action in actions:
        try:
            action()
        except OstecError:
            ended += 1
    assert {path.name for path in tmp_path.iterdir()} == {"ds", "out"}
    assert {path.name for path in out.iterdir()} <= {"folder", "webdataset", "parquet", "datasets", "chosen"}
    assert ended < len(actions)


@pytest.mark.parametrize("name", ["uv.png", "../uv.png", "/tmp/evil"])
def test_members_with_other_names_are_not_exported(base: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(base, tmp_path / "ds")
    path = tmp_path / "ds/shards/00000.tar"
    data = bytearray(path.read_bytes())
    data[:100] = name.encode().ljust(100, b"\0")
    path.write_bytes(data)
    assert "is damaged" in verify(tmp_path / "ds", repair=False).problems[0]
    shutil.rmtree(tmp_path / "ds/state")
    sums = tmp_path / "ds/shards/SHA256SUMS"
    digest = hashlib.sha256(data).hexdigest()
    sums.write_text("\n".join([f"{digest}  00000.tar", *sums.read_text().splitlines()[1:]]) + "\n")
    with pytest.raises(OstecError, match=r"00000\.tar is damaged"):
        into(tmp_path / "out", lambda part: export(FinishedDataset(tmp_path / "ds"), part, "folder"))
    assert {path.name for path in tmp_path.iterdir()} == {"ds"}


@pytest.mark.parametrize("column", ["source", "warnings"])
def test_a_manifest_with_one_text_for_all_rows_takes_no_memory(base: Path, tmp_path: Path, column: str) -> None:
    table = pq.read_table(base / "manifest.parquet")
    rows = 8 << 10
    table = pa.concat_tables([table.slice(0, 1)] * rows).combine_chunks()
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * (1 << 18)]))
    cells = text if column == "source" else pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), text)
    path = tmp_path / "manifest.parquet"
    table = table.set_column(table.column_names.index(column), column, cells)
    pq.write_table(table, path, store_schema=False, dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 1 << 20
    before = pa.total_allocated_bytes()
    with pytest.raises(OstecError, match=r"manifest\.parquet has a group of more than 1024 MB of rows"):
        list(read_manifest(path))
    assert pa.total_allocated_bytes() - before < 1 << 24


def test_what_a_selection_takes_along_is_read_as_a_plain_file(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "ds")
    os.mkfifo(tmp_path / "ds/interpolation.json")
    with pytest.raises(OstecError, match=r"interpolation\.json is damaged"):
        into(tmp_path / "out", lambda part: write_selection(FinishedDataset(tmp_path / "ds"), part, {}, {}))
