"""``manifest.parquet`` and ``timings.parquet``: the rows of all shards, in the order of the plan."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ostec.core.errors import AssetError
from ostec.dataset.attributes import dumped
from ostec.dataset.reader import reason_of
from ostec.io.files import write_atomic

COLUMNS = {
    "id": "string",
    "face": "int32",
    "item": "int64",
    "status": "string",
    "stage": "string",
    "reason": "string",
    "source": "string",
    "sha256": "string",
    "shard": "string",
    "key": "string",
    "offset": "int64",
    "size": "int64",
    "faces": "int32",
    "pitch_deg": "float32",
    "yaw_deg": "float32",
    "roll_deg": "float32",
    "face_size_px": "float32",
    "confidence": "float32",
    "fit_residual_percent": "float32",
    "photo_share": "float32",
    "brightness": "float32",
    "contrast": "float32",
    "sharpness": "float32",
    "mode": "string",
    "occluders": "list",
    "warnings": "list",
    "attributes": "string",
    "weights": "string",
}
"""Column -> type; ``list`` is a list of strings."""
TIMING_COLUMNS = {"id": "string", "item": "int64", "stage": "string", "seconds": "float64"}
GROUP_ROWS = 8192
"""Rows of a row group: what is in memory at a time, and part of the file's bytes."""

Row = dict[str, Any]


def row_of(record: Mapping[str, Any]) -> Row:
    """A face's row from its record (``KEY.json``), without where it is in the shard; what is unknown is left out."""
    pose = record.get("pose_deg") or (None, None, None)
    box = record.get("face_box")
    figures = record.get("figures") or {}
    row = {
        "id": record["id"],
        "face": record["face"],
        "faces": record["faces"],
        "key": record["key"],
        "source": record["source"],
        "sha256": record["source_sha256"],
        "pitch_deg": pose[0],
        "yaw_deg": pose[1],
        "roll_deg": pose[2],
        "face_size_px": max(box[2] - box[0], box[3] - box[1]) if box else None,
        "confidence": record.get("face_confidence"),
        "fit_residual_percent": record.get("fit_residual_percent"),
        "photo_share": (record.get("texel_shares") or {}).get("photo", 0.0) if "texel_shares" in record else None,
        **{name: figures.get(name) for name in ("brightness", "contrast", "sharpness")},
        "mode": record.get("mode"),
        "occluders": list(record.get("occluders") or ()),
        "warnings": list(record.get("warnings") or ()),
        "attributes": dumped(record.get("attributes") or {}),
        "weights": json.dumps(record.get("weights") or {}, sort_keys=True),
    }
    return {name: value for name, value in row.items() if value is not None}


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write the manifest: equal rows give equal bytes. Raises OutputError, and what ``rows`` raises."""
    write_atomic(path, _writer(COLUMNS, rows))


def write_timings(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the seconds by photo and stage. Raises OutputError, and what ``lines`` raises."""
    rows = (
        {"id": line["id"], "item": line["item"], "stage": stage, "seconds": seconds}
        for line in lines
        for stage, seconds in line["seconds"].items()
    )
    write_atomic(path, _writer(TIMING_COLUMNS, rows))


def read_manifest(path: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The manifest's rows, a row group in memory at a time.

    Args:
        path: of ``manifest.parquet``.
        columns: all if None.

    Raises:
        AssetError: it is missing, damaged or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = set(columns or COLUMNS) - set(file.schema_arrow.names)
            if missing:
                raise AssetError(f"{path} is not of a dataset (it has no column {min(missing)}).")
            for group in range(file.metadata.num_row_groups):
                yield from file.read_row_group(group, columns=columns).to_pylist()
    except FileNotFoundError as error:
        raise AssetError(f"{path} is missing.") from error
    except (OSError, pa.ArrowException) as error:
        raise AssetError(f"{path} cannot be read ({reason_of(error, path)}).") from error


def read_timings(path: Path) -> Iterator[dict[str, Any]]:
    """The seconds as :func:`write_timings` was given them: ``item``, ``id`` and ``seconds`` by stage.

    Raises:
        AssetError: the file is missing or damaged.
    """
    rows = read_manifest(path, list(TIMING_COLUMNS))
    for (item, name), own in itertools.groupby(rows, lambda row: (row["item"], row["id"])):
        yield {"item": item, "id": name, "seconds": {row["stage"]: row["seconds"] for row in own}}


def as_stored(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows as :func:`read_manifest` returns them: with every column, and numbers in the precision of theirs."""
    for group in _groups(rows):
        yield from _table(COLUMNS, group).to_pylist()


def _writer(columns: Mapping[str, str], rows: Iterable[Row]) -> Callable[[BinaryIO], None]:
    import pyarrow.parquet as pq

    def write(stream: BinaryIO) -> None:
        with pq.ParquetWriter(stream, _table(columns, []).schema, compression="zstd") as writer:
            for group in _groups(rows):
                writer.write_table(_table(columns, group), row_group_size=GROUP_ROWS)

    return write


def _table(columns: Mapping[str, str], rows: list[Row]) -> Any:
    """Rows as a table of Arrow; what a row lacks is null."""
    import pyarrow as pa

    kinds = {name: pa.list_(pa.string()) if kind == "list" else getattr(pa, kind)() for name, kind in columns.items()}
    schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()])
    return pa.table({name: [row.get(name) for row in rows] for name in columns}, schema=schema)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group
