"""Attributes: which photo a row belongs to, what is taken for a value, and that a build keeps them."""

import json
import random
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ostec.core.errors import UsageError
from ostec.dataset import attributes as attributes_module
from ostec.dataset.attributes import Labels, as_scalar, clean, read_table
from ostec.dataset.build import Dataset
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.plan import DatasetConfig
from ostec.dataset.verify import verify
from ostec.io.shards import read_member, read_members
from tests.dataset.test_sources import make_tar
from tests.dataset.toy import Loop, content, finish, plan, write_photos


def test_a_row_belongs_to_the_photo_whose_source_or_id_it_gives(tmp_path: Path) -> None:
    photo_id = "0123456789abcdef"
    (tmp_path / "t.json").write_text(json.dumps({"x/a.jpg": {"n": 1}, photo_id: {"n": 2}, "b.jpg": {"n": 3}}))
    labels = Labels(str(tmp_path / "t.json"))
    assert labels.of("x/a.jpg", photo_id, None, True) == {"n": 1}  # its source says more than its bytes
    assert labels.of("y/a.jpg", photo_id, None, True) == {"n": 2}
    for source in ("a.jpg", "x/a", "y/x/a.jpg", "/x/a.jpg", "x/a.png", ""):
        assert labels.of(source, "", None, True) == {}
    assert labels.of("b.jpg", "", None, False) == {"n": 3}  # of an earlier build
    assert labels.remark() == "Attributes: 2 photos have them; 6 have no row."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("", None), ("0", 0), ("-12", -12), ("1.50", 1.5), ("1e3", 1000.0), ("true", True), ("False", False)],
        *[("007", "007"), ("1e999", "1e999"), ("nan", "nan"), ("1_000", "1_000"), ("\u0663", "\u0663"), (" 3", " 3")],
    ],
)
def test_cells_are_read_as_they_are_usually_written(text: str, value: object) -> None:
    assert as_scalar(text) == value
    assert type(as_scalar(text)) is type(value)


def test_only_texts_and_numbers_are_attributes() -> None:
    left_out: Counter[str] = Counter()
    values = {"a": 1, "b": None, "c": float("nan"), "d": "", "e": [1], "f": float("inf"), "g": 2**70, "h": "x" * 1001}
    assert clean({**values, "i": False, 7: 1}, left_out) == {"a": 1, "i": False}
    assert list(left_out) == [
        "e (neither text nor number)",
        "f (infinite)",
        "g (beyond 64 bits)",
        "h (longer than 1000 characters)",
        "7 (without a name)",
    ]
    with pytest.raises(ValueError, match="expected 256 attributes at most, found 257"):
        clean({str(n): n for n in range(257)}, left_out)
    with pytest.raises(ValueError, match="expected 16384 bytes of attributes at most"):
        clean({str(n): "x" * 900 for n in range(20)}, left_out)


ROWS = [
    {"file_name": "a.jpg", "Age": 30, "Gender": "female", "glasses": True},
    {"file_name": "x/b.jpg", "Age": 4.5, "Gender": None, "glasses": None},
]


def write_table(path: Path) -> Path:
    if path.suffix == ".csv":
        path.write_text("\ufefffile_name,Age,Gender,glasses\na.jpg,30,female,true\n\nx/b.jpg,4.5,,\n", "utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps({row["file_name"]: {k: row[k] for k in list(row)[1:]} for row in ROWS}))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
        pq.write_table(pa.table({**columns, "box": [[1], [2]]}), path, row_group_size=1)
    return path


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_kind_of_table_says_the_same(tmp_path: Path, ending: str) -> None:
    left_out: Counter[str] = Counter()
    table = read_table(write_table(tmp_path / f"t{ending}"), left_out)
    assert {name: json.loads(text) for name, text in table.items()} == {
        "a.jpg": {"Age": 30, "Gender": "female", "glasses": True},
        "x/b.jpg": {"Age": 4.5},
    }
    assert list(left_out) == (["box (neither text nor number)"] if ending == ".parquet" else [])


def test_a_list_of_objects_is_a_table_and_the_first_naming_column_counts(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"id": 3, "File": "a.jpg", "Age": 1}] * 2))
    assert read_table(path, Counter()) == {"a.jpg": '{"Age": 1, "id": 3}'}


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "name,Age\na,3\n", r"expected a column that names the photo .* found name, Age"),
        ("t.csv", "file,Age\na,3\nb\n", "line 3: expected 2 cells"),
        ("t.csv", "file,Age,Age\na,3,4\n", "two columns have the same name"),
        ("t.csv", "file,Age\na,3\na,4\n", "it says two things of a"),
        ("t.csv", b"file,Age\n\xff,3\n", "can't decode byte"),
        ("t.csv", "", "it has no row"),
        ("t.json", '{"a": 3}', "expected an object of a"),
        ("t.json", "3", "expected an object of objects"),
        ("t.json", '["a"]', "expected an object a row"),
        ("t.json", "[" * 100_000, "cannot be read as a table of attributes"),
        ("t.jsonl", '{"file": null}\n', "it names no photo"),
        ("t.parquet", "no", "cannot be read as a table of attributes"),
        ("t.txt", "a", "is no table of attributes: expected .csv, .json, .jsonl, .parquet"),
    ],
)
def test_what_is_no_table_has_a_sentence(tmp_path: Path, name: str, text: str | bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=sentence):
        read_table(tmp_path / name, Counter())


def test_tables_that_are_too_large_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"t\.csv cannot be read \(No such file"):
        read_table(tmp_path / "t.csv", Counter())
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"file": ["x" * 9_000_000]}), path, compression="zstd")
    monkeypatch.setattr(attributes_module, "MAX_TABLE_BYTES", path.stat().st_size)
    with pytest.raises(UsageError, match="bytes and 20000000 values at most"):
        read_table(path, Counter())
    monkeypatch.setattr(attributes_module, "MAX_TABLE_BYTES", 10)
    with pytest.raises(UsageError, match=r"t\.csv has \d+ bytes; a table of attributes may have 10\."):
        read_table(write_table(tmp_path / "t.csv"), Counter())
    monkeypatch.undo()
    monkeypatch.setattr(attributes_module, "MAX_VALUES", 3)
    with pytest.raises(UsageError, match="and 3 values at most"):
        read_table(write_table(path), Counter())
    monkeypatch.setattr(attributes_module, "MAX_ROWS", 1)
    with pytest.raises(UsageError, match="it has more than 1 rows"):
        read_table(write_table(tmp_path / "t.csv"), Counter())
    monkeypatch.setattr(attributes_module, "MAX_JSON_TABLE_BYTES", 10)
    with pytest.raises(UsageError, match=r"t\.json cannot be read \(it has \d+ bytes, more than 10\)"):
        read_table(write_table(tmp_path / "t.json"), Counter())


def repeated(value: str | bytes, rows: int) -> pa.Array:
    """A column that has one value once for all rows, as a file of a few kilobytes can."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def test_a_text_that_is_in_the_file_once_for_all_rows_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {"file": [f"{n}.jpg" for n in range(1000)], "text": repeated("x" * (1 << 20), 1000)}
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False, dictionary_pagesize_limit=1 << 30)
    before = pa.total_allocated_bytes()
    with pytest.raises(UsageError, match=r"t\.parquet cannot be read .*its rows have too much text"):
        read_table(path, Counter())
    assert pa.total_allocated_bytes() - before < 1 << 24
    short = {**columns, "text": repeated("x", 1000), "who": repeated("é", 1000)}
    pq.write_table(pa.table(short), path, dictionary_pagesize_limit=1 << 30)
    assert read_table(path, Counter())["7.jpg"] == '{"text": "x", "who": "\\u00e9"}'


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_row_without_end_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('file,"a"\n"' + "x\n" * 1_000_000 if name == "t.csv" else "[" + "1," * 1_000_000)
    with pytest.raises(UsageError, match=r"cannot be read as a table of attributes \((a row has|field larger)"):
        read_table(tmp_path / name, Counter())
    text = 'file,"a"\n' + ',"\n"' * 1_000_000
    (tmp_path / "wide.csv").write_text(text)
    with pytest.raises(UsageError, match=r"\(a row has more than 1048576 characters"):
        read_table(tmp_path / "wide.csv", Counter())


# Builds


def label(out: Path, photos: Path | str, attributes: Path | str, limit: int = 10**9) -> Dataset:
    dataset = Dataset.create(out, DatasetConfig(shard_size=2))
    with dataset.locked():
        plan(dataset, photos, attributes=str(attributes))
        finish(dataset, Loop(dataset, None, limit))
    return dataset


def told_of(out: Path) -> dict[str, dict]:
    return {row["source"]: json.loads(row["attributes"] or "{}") for row in read_manifest(out / "manifest.parquet")}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    words = {"a.jpg": "one faces=2", "b.jpg": "noface", "c.jpg": "one faces=2", "d.jpg": "four", "x/e.jpg": "five"}
    return write_photos(tmp_path / "in", words)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("file,Age,who\na.jpg,30,Ada\nb.jpg,31,Bea\nc.jpg,30,Ada\nx/e.jpg,7,\nz.jpg,9,\n")
    return tmp_path / "t.csv"


EXPECTED = {
    "a.jpg": {"Age": 30, "who": "Ada"},
    "b.jpg": {"Age": 31, "who": "Bea"},
    "c.jpg": {"Age": 30, "who": "Ada"},
    "d.jpg": {},
    "x/e.jpg": {"Age": 7},
}


def test_a_build_gives_faces_failures_and_copies_their_attributes(
    tmp_path: Path, photos: Path, table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label(tmp_path / "ds", photos, table)
    assert told_of(tmp_path / "ds") == EXPECTED
    rows = list(read_manifest(tmp_path / "ds/manifest.parquet"))
    assert [row["attributes"] for row in rows[:2]] == ['{"Age": 30, "who": "Ada"}'] * 2  # both faces
    path = tmp_path / "ds/shards/00000.tar"
    records = [json.loads(read_member(path, m)) for m in read_members(path) if m.ending == "json"]
    assert [record["attributes"] for record in records] == [EXPECTED["a.jpg"]] * 2
    assert caplog.messages == ["Attributes: 4 photos have them; 1 have no row; 1 of 5 rows fit no photo."]
    card = (tmp_path / "ds/README.md").read_text()
    assert "From: t.csv, SHA-256 " in card
    assert "| Age | 3 | 7 to 30, mean 22.33 |" in card
    assert "| who | 2 | Ada (2) |" in card
    assert verify(tmp_path / "ds", repair=False).problems == []


def test_photos_that_cannot_be_read_keep_their_attributes(tmp_path: Path, photos: Path, table: Path) -> None:
    (photos / "list.txt").write_text("a.jpg\nz.jpg\n")
    label(tmp_path / "ds", photos / "list.txt", table)
    assert told_of(tmp_path / "ds") == {"a.jpg": {"Age": 30, "who": "Ada"}, "z.jpg": {"Age": 9}}
    assert verify(tmp_path / "ds", repair=False).problems == []


def test_attributes_outlive_interruptions_and_the_loss_of_the_manifest(
    tmp_path: Path, photos: Path, table: Path
) -> None:
    label(tmp_path / "calm", photos, table)
    with pytest.raises(KeyboardInterrupt):
        label(tmp_path / "ds", photos, table, limit=1)
    table.unlink()  # what is planned needs it no more
    dataset = Dataset.open(tmp_path / "ds")
    assert plan(dataset) is None
    finish(dataset, Loop(dataset, random.Random(1)))
    assert content(tmp_path / "ds") == content(tmp_path / "calm")
    before = content(tmp_path / "ds")
    (tmp_path / "ds/manifest.parquet").unlink()
    verify(tmp_path / "ds", repair=True)
    assert content(tmp_path / "ds") == before
    assert [item.attributes for item in Dataset.open(tmp_path / "ds").plan] == list(EXPECTED.values())


def test_attributes_are_those_of_the_build_that_planned_the_photo(tmp_path: Path, photos: Path, table: Path) -> None:
    label(tmp_path / "ds", photos, table)
    before = content(tmp_path / "ds")
    write_photos(photos, {"n.jpg": "new"})
    (tmp_path / "u.json").write_text(json.dumps({"a.jpg": {"Age": 99}, "n.jpg": {"Age": 1}}))
    label(tmp_path / "ds", photos, tmp_path / "u.json")
    assert told_of(tmp_path / "ds") == {**EXPECTED, "n.jpg": {"Age": 1}}
    assert all(before[name] == content(tmp_path / "ds")[name] for name in before if "000" in name)


def test_a_table_that_is_gone_before_it_was_planned_is_told(tmp_path: Path, photos: Path, table: Path) -> None:
    dataset = Dataset.create(tmp_path / "ds", DatasetConfig())
    dataset.note_sources([str(photos)], "CC0", str(tmp_path / "t.csv"))
    table.write_text("")
    with pytest.raises(UsageError, match="it has no row"):
        plan(dataset)
    assert not dataset.has_noted_sources


def test_what_lies_beside_photos_in_a_folder_is_taken_on_request_alone(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributes_module, "MAX_BESIDE_BYTES", 60)
    for name, text in {
        "a.json": '{"Age": 30, "box": [1, 2]}',
        "b.json": '{"kind": "ostec complete", "seed": 3}',
        "c.json": "{",
        "d.json": json.dumps({"caption": "x" * 100}),
        "x/e.json": '{"Age": 7, "who": "Eva"}',
    }.items():
        (photos / name).write_text(text)
    label(tmp_path / "plain", photos, "")
    assert set(map(str, told_of(tmp_path / "plain").values())) == {"{}"}
    assert caplog.messages == []
    label(tmp_path / "ds", photos, "sources")
    assert {name: own for name, own in told_of(tmp_path / "ds").items() if own} == {
        "a.jpg": {"Age": 30},
        "x/e.jpg": {"Age": 7, "who": "Eva"},
    }
    told = "Attributes: 2 photos have them; 1 come without; 2 have some that cannot be read."
    assert caplog.messages == [f"{told} No attributes: box (neither text nor number)."]
    assert "From: what the sources brought." in (tmp_path / "ds/README.md").read_text()


def test_what_lies_beside_photos_in_an_archive_belongs_to_its_sample(tmp_path: Path) -> None:
    members = {
        "s/1.jpg": b"one",
        "s/1.json": b'{"n": 1}',
        "s/2.json": b'{"n": 2}',
        "s/2.left.png": b"two",
        "s/2.right.png": b"deux",
        "s/3.jpg": b"three",
        "1.jpg": b"other folder",
        "4.json": b'{"n": 4}',
    }
    path = make_tar(tmp_path / "p.tar", members)
    label(tmp_path / "ds", path, "sources")
    assert told_of(tmp_path / "ds") == {
        "p.tar/s/1.jpg": {"n": 1},
        "p.tar/s/2.left.png": {"n": 2},
        "p.tar/s/2.right.png": {"n": 2},
        "p.tar/s/3.jpg": {},
        "p.tar/1.jpg": {},
    }
    cut = tmp_path / "cut.tar"
    cut.write_bytes(path.read_bytes()[:2600])  # in the header of s/2.json
    label(tmp_path / "half", cut, "sources")
    assert list(told_of(tmp_path / "half").items()) == [("cut.tar/s/1.jpg", {"n": 1}), ("cut.tar", {})]


def test_the_other_columns_of_a_parquet_file_are_attributes(tmp_path: Path) -> None:
    cells = [{"bytes": f"photo {n}".encode(), "path": "secret"} for n in range(5)]
    columns = {"image": cells, "Age": [1, 2, None, 4, 5], "who": list("abcde"), "box": [[1]] * 5}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", row_group_size=2)
    label(tmp_path / "ds", tmp_path / "p.parquet", "sources")
    told = told_of(tmp_path / "ds")
    assert told["p.parquet/1"] == {"Age": 2, "who": "b"}
    assert told["p.parquet/2"] == {"who": "c"}
    assert told["p.parquet/4"] == {"Age": 5, "who": "e"}
    label(tmp_path / "plain", tmp_path / "p.parquet", "")
    assert told_of(tmp_path / "plain")["p.parquet/1"] == {}


def test_attributes_are_read_with_the_finished_faces(tmp_path: Path, photos: Path, table: Path) -> None:
    label(tmp_path / "ds", photos, table)
    faces = list(FinishedDataset(tmp_path / "ds").faces())
    assert [json.loads(row["attributes"]).get("Age") for row in faces] == [30, 30, None, 7]


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_one_file_name_in_three_hundred_thousand_folders_takes_seconds(tmp_path: Path, ending: str) -> None:
    names = [f"{number}/photo.jpg" for number in range(300_000)]
    path = tmp_path / f"t{ending}"
    if ending == ".csv":
        path.write_text("file,age\n" + "".join(f"{name},{number}\n" for number, name in enumerate(names)))
    else:
        path.write_text("".join(json.dumps({"file": name, "age": n}) + "\n" for n, name in enumerate(names)))
    start = time.process_time()
    labels = Labels(str(path))
    assert [labels.of(name, "", None, new=True) for name in names][-1] == {"age": 299_999}
    assert time.process_time() - start < 20  # 7 where nothing else runs
