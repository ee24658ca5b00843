"""Faces as tables with pictures inside, as Hugging Face ``datasets`` stores them: Parquet, or Arrow on disk.

``datasets`` itself is not needed to write them. Its types are in the schema's metadata (``huggingface``), and a picture
is a struct of ``bytes`` and ``path``.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ostec.dataset.manifest import COLUMNS, Row
from ostec.dataset.members import PORTRAIT, PROVENANCE, RECORD, TEXTURE
from ostec.io.files import make_folder, write_atomic

ROWS_PER_FILE = 250
_ROWS_PER_GROUP = 50
"""What a reader has in memory at a time."""
_PICTURES = {"image": TEXTURE, "provenance": PROVENANCE, "frontal": PORTRAIT}
"""Column -> ending of the member."""
MEMBERS = (*_PICTURES.values(), RECORD)
"""Endings of the members that have a column."""
_LEFT_OUT = ("item", "status", "stage", "reason", "shard", "offset", "size")
"""Columns of the manifest that are about the shards."""
_VALUES = {**{name: kind for name, kind in COLUMNS.items() if name not in _LEFT_OUT}, "licence": "string"}

Found = Iterator[tuple[Row, dict[str, bytes]]]
"""Faces with those of their members that are exported, by ending."""


def write_parquet(faces: Found, out: Path) -> None:
    """``data/train-00000-of-00042.parquet``, ...: ``load_dataset(FOLDER)`` reads them.

    Raises:
        OutputError: something cannot be written.
    """
    import pyarrow.parquet as pq

    folder = make_folder(out / "data")
    names = []
    for number, batches in enumerate(_files(faces)):

        def write(stream: BinaryIO, batches: Iterator[Any] = batches) -> None:
            with pq.ParquetWriter(stream, _schema(), compression="none") as writer:
                for batch in batches:
                    writer.write_table(batch, row_group_size=_ROWS_PER_GROUP)

        names.append(folder / f"{number:05d}.parquet")
        write_atomic(names[-1], write)
    for number, path in enumerate(names):
        path.rename(folder / f"train-{number:05d}-of-{len(names):05d}.parquet")


def write_arrow(faces: Found, out: Path, licence: str) -> None:
    """``data-00000-of-00042.arrow``, ... with ``state.json``: ``load_from_disk(FOLDER)`` reads them.

    Args:
        faces: what is written.
        out: an empty folder.
        licence: of the photos, for ``dataset_info.json``; empty where none was given.

    Raises:
        OutputError: something cannot be written.
    """
    import pyarrow as pa

    names, digest = [], hashlib.sha256()
    for number, batches in enumerate(_files(faces)):

        def write(stream: BinaryIO, batches: Iterator[Any] = batches) -> None:
            with pa.ipc.new_stream(stream, _schema()) as writer:
                for batch in batches:
                    digest.update("".join(batch["key"].to_pylist()).encode("ascii"))
                    writer.write_table(batch)

        names.append(out / f"{number:05d}.arrow")
        write_atomic(names[-1], write)
    files = [f"data-{number:05d}-of-{len(names):05d}.arrow" for number in range(len(names))]
    for path, name in zip(names, files, strict=True):
        path.rename(out / name)
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": digest.hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    information = {
        "citation": "",
        "description": "Face textures, exported by ostec dataset export; README.md tells more.",
        "features": _features(),
        "homepage": "",
        "license": licence,
    }
    for name, values in (("state.json", state), ("dataset_info.json", information)):
        write_atomic(out / name, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode("ascii"))


def _files(faces: Found) -> Iterator[Iterator[Any]]:
    """Tables of a few rows each, in files of many; a file must be read to its end before the next one."""
    last: list[tuple[Row, dict[str, bytes]]] = []

    def tables() -> Iterator[Any]:
        for _ in range(ROWS_PER_FILE // _ROWS_PER_GROUP):
            if not last:
                return
            yield _table(last)
            last[:] = _some(faces)

    last[:] = _some(faces)
    while last:
        yield tables()


def _some(faces: Found) -> list[tuple[Row, dict[str, bytes]]]:
    return list(itertools.islice(faces, _ROWS_PER_GROUP))


def _table(faces: list[tuple[Row, dict[str, bytes]]]) -> Any:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        column: [
            {"bytes": found[ending], "path": f"{row['key']}.{ending}"} if ending in found else None
            for row, found in faces
        ]
        for column, ending in _PICTURES.items()
    }
    columns["record"] = [found[RECORD].decode("utf-8") if RECORD in found else None for _, found in faces]
    columns |= {name: [row.get(name) for row, _ in faces] for name in _VALUES}
    return pa.table(columns, schema=_schema())


def _schema() -> Any:
    import pyarrow as pa

    picture = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    fields = [pa.field(name, picture) for name in _PICTURES]
    fields.append(pa.field("record", pa.string()))
    for name, kind in _VALUES.items():
        fields.append(pa.field(name, pa.list_(pa.string()) if kind == "list" else getattr(pa, kind)()))
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": _features()}})})


def _features() -> dict[str, Any]:
    """The columns in the words of ``datasets``."""
    features: dict[str, Any] = {name: {"_type": "Image"} for name in _PICTURES}
    features["record"] = {"dtype": "string", "_type": "Value"}
    for name, kind in _VALUES.items():
        value = {"dtype": "string" if kind == "list" else kind, "_type": "Value"}
        features[name] = [value] if kind == "list" else value
    return features
