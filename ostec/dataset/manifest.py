"""The rows of a dataset under one schema of Arrow: ``manifest.parquet``, ``timings.parquet``, and their check.

A row may be somebody else's: nothing is done with one that :func:`check_table` refuses.
"""

import functools
import itertools
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ostec.core.errors import AssetError
from ostec.dataset.attributes import dumped
from ostec.io.files import write_atomic
from ostec.io.parquet import claimed_bytes, opened, reason_of, text_bytes

_MEASURED = ("brightness", "contrast", "sharpness")
FIGURES = (
    *("pitch_deg", "yaw_deg", "roll_deg", "face_size_px", "confidence", "fit_residual_percent", "photo_share"),
    *_MEASURED,
)
"""Columns that are measured."""
COLUMNS = {
    "id": "string",
    "face": "int32",
    "item": "int64",
    **dict.fromkeys(("status", "stage", "reason", "source", "sha256", "shard", "key"), "string"),
    "offset": "int64",
    "size": "int64",
    "faces": "int32",
    **dict.fromkeys(FIGURES, "float32"),
    "mode": "string",
    "occluders": "list",
    "warnings": "list",
    "attributes": "string",
    "weights": "string",
}
"""Column -> type; ``list`` is a list of strings."""
TIMING_COLUMNS = {"id": "string", "item": "int64", "stage": "string", "seconds": "float64"}
GROUP_ROWS = 8192  # rows of a row group: what is in memory at a time, and part of the file's bytes
_MAX_GROUP_BYTES = 1 << 30
_LARGEST = 1e6  # no figure of a face comes near it; bars are drawn from the least to the greatest
_WHOLE = tuple(name for name, kind in COLUMNS.items() if kind.startswith("int"))

Row = dict[str, Any]


def schema_of(columns: Mapping[str, str] = COLUMNS) -> Any:
    """The schema of Arrow for those columns."""
    import pyarrow as pa

    return pa.schema([pa.field(n, pa.list_(pa.string()) if kind == "list" else kind) for n, kind in columns.items()])


def row_of(record: Mapping[str, Any]) -> Row:
    """A face's row from its record (``KEY.json``), without where it is in the shard; what is unknown is left out."""
    box, figures = record.get("face_box"), record.get("figures") or {}
    row = {
        **{name: record[name] for name in ("id", "face", "faces", "key", "source")},
        "sha256": record["source_sha256"],
        **dict(zip(FIGURES[:3], record.get("pose_deg") or (), strict=False)),
        "face_size_px": max(box[2] - box[0], box[3] - box[1]) if box else None,
        "confidence": record.get("face_confidence"),
        "fit_residual_percent": record.get("fit_residual_percent"),
        "photo_share": (record.get("texel_shares") or {}).get("photo", 0.0) if "texel_shares" in record else None,
        **{name: figures.get(name) for name in _MEASURED},
        "mode": record.get("mode"),
        "occluders": list(record.get("occluders") or ()),
        "warnings": list(record.get("warnings") or ()),
        "attributes": dumped(record.get("attributes") or {}),
        "weights": json.dumps(record.get("weights") or {}, sort_keys=True),
    }
    return known_of(row)


def known_of(row: Mapping[str, Any]) -> Row:
    """A row without what is not known."""
    return {name: value for name, value in row.items() if value is not None}


def table_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a table that has passed :func:`check_table`; what a row lacks is null. Raises ValueError."""
    import pyarrow as pa

    for row, name in itertools.product(rows, _WHOLE):
        if not isinstance(row.get(name), int | None):  # Arrow would cut 1.5 to 1
            raise ValueError(f"{name} is {str(row[name])[:50]!r}")
    try:
        table = pa.Table.from_pylist(list(rows), schema=schema_of())
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise ValueError(str(error).partition("\n")[0][:200]) from error
    check_table(table)
    return table


def check_table(table: Any) -> None:
    """See that each row has what its status asks for, and no name that leads away.

    Raises ValueError, with the column and the value, if one has not.
    """
    import pyarrow.compute as pc

    of = pc.field
    always = {
        "status": of("status").isin(["done", "failed", "skipped"]),
        "id": pc.match_substring_regex(of("id"), "^[0-9a-f]{1,64}$"),
        "face": of("face") >= 0,
        "item": of("item") >= 0,
        "source": of("source").is_valid(),
        **{name: of(name).is_null() | (pc.abs(of(name)) <= _LARGEST) for name in FIGURES},
    }
    of_faces = {
        "face": of("face") >= 1,
        "faces": of("faces").is_valid(),
        "shard": pc.match_substring_regex(of("shard"), r"^[0-9]{5,18}\.tar$"),
        "key": of("key") == pc.binary_join_element_wise(of("id"), of("face").cast("string"), "_"),
        "offset": of("offset") >= 0,
        "size": of("size") >= 0,
    }
    for rows, rules in ((table, always), (table.filter(of("status") == "done"), of_faces)):
        if rows.filter(functools.reduce(operator.and_, rules.values())).num_rows == rows.num_rows:
            continue
        for name, rule in rules.items():
            if len(wrong := rows.filter(~pc.coalesce(rule, pc.scalar(False)))[name]):
                raise ValueError(f"{name} is {str(wrong[0].as_py())[:50]!r}")
    for name in ("attributes", "weights"):
        if not all(map(_is_object, pc.unique(table[name].drop_null()).to_pylist())):
            raise ValueError(f"{name} is no JSON object")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write the manifest: equal rows give equal bytes. Raises OutputError, and what ``rows`` raises."""
    _write(path, COLUMNS, rows)


def write_timings(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the seconds by photo and stage. Raises OutputError, and what ``lines`` raises."""
    rows = (
        {"id": line["id"], "item": line["item"], "stage": stage, "seconds": seconds}
        for line in lines
        for stage, seconds in line["seconds"].items()
    )
    _write(path, TIMING_COLUMNS, rows)


def _write(path: Path, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, left = schema_of(columns), iter(rows)

    def write(stream: BinaryIO) -> None:
        with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            while group := list(itertools.islice(left, GROUP_ROWS)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=GROUP_ROWS)

    write_atomic(path, write)


def read_tables(path: Path) -> Iterator[Any]:
    """The tables of a manifest's row groups, in their columns' types, one in memory at a time.

    Raises AssetError if the file is missing, damaged, too large or lacks a column.
    """
    try:
        with opened(path, COLUMNS) as file:
            if missing := set(COLUMNS) - set(file.schema_arrow.names):
                raise AssetError(f"{path} is not of a dataset (it has no column {min(missing)}).")
            for group in range(file.metadata.num_row_groups):
                table = None
                if claimed_bytes(file, group) <= _MAX_GROUP_BYTES:
                    table = file.read_row_group(group, columns=list(COLUMNS)).select(list(COLUMNS))
                if table is None or text_bytes(table) > _MAX_GROUP_BYTES:
                    raise AssetError(f"{path} has a group of more than {_MAX_GROUP_BYTES >> 20} MB of rows.")
                yield table.cast(schema_of())
    except FileNotFoundError as error:
        raise AssetError(f"{path} is missing.") from error
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({reason_of(error, path)}).") from error


def join_tables(tables: Iterable[Any]) -> Any:
    """One table of several; the weights, the same long text in each row, are kept once."""
    import pyarrow as pa

    where = list(COLUMNS).index("weights")
    encoded = [table.set_column(where, "weights", table["weights"].dictionary_encode()) for table in tables]
    return pa.concat_tables(encoded).unify_dictionaries() if encoded else schema_of().empty_table()


def read_manifest(path: Path) -> Iterator[Row]:
    """The manifest's rows. Raises AssetError as :func:`read_tables` does."""
    return (row for table in read_tables(path) for row in table.to_pylist())
