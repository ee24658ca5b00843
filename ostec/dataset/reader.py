"""The bytes of a photo, wherever they are."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.core.errors import ImageError
from ostec.core.text import shown
from ostec.dataset.records import Place

MAX_PHOTO_BYTES = 512 << 20
"""A larger file is refused before it is read."""
MAX_GROUP_BYTES = 8 << 30
"""A row group of a Parquet file whose image column is larger, unpacked, is refused."""
_BATCH_ROWS = 16


@dataclass
class _Cursor:
    """A row group that is being read from its beginning: rows are asked for in rising order."""

    path: str
    group: int
    column: str
    cells: Iterator[bytes | None]
    next_row: int = 0


class PhotoReader:
    """Reads photos; keeps the Parquet file open that it read last."""

    def __init__(self) -> None:
        self._cursor: _Cursor | None = None

    def __call__(self, place: Place) -> bytes:
        """The bytes at a place.

        Raises:
            ImageError: they cannot be read, are no longer there or too many. The sentence names the file without its
                folders: it goes into the manifest.
        """
        if place.column:
            return self._read_cell(place)
        path, name = Path(place.path), shown(Path(place.path).name)
        try:
            with path.open("rb") as stream:
                if place.offset >= 0:
                    stream.seek(place.offset)
                length = place.size if place.offset >= 0 else path.stat().st_size
                if not 0 <= length <= MAX_PHOTO_BYTES:
                    raise ImageError(f"{name} is larger than {MAX_PHOTO_BYTES >> 20} MB.")
                data = stream.read(length) if place.offset >= 0 else stream.read(MAX_PHOTO_BYTES)
        except OSError as error:
            raise ImageError(f"{name} cannot be read ({error.strerror or error}).") from error
        if place.offset >= 0 and len(data) < place.size:
            raise ImageError(f"{name} ends in the middle of a photo.")
        return data

    def _read_cell(self, place: Place) -> bytes:
        cursor = self._cursor
        here = (place.path, place.group, place.column)
        if cursor is None or (cursor.path, cursor.group, cursor.column) != here or cursor.next_row > place.row:
            cursor = _Cursor(*here, read_cells(Path(place.path), place.group, place.column))
            self._cursor = cursor
        data: bytes | None = None
        while cursor.next_row <= place.row:
            data = next(cursor.cells, None)
            cursor.next_row += 1
        if data is None:
            name = shown(Path(place.path).name)
            raise ImageError(f"Row {place.row} of group {place.group} of {name} holds no picture.")
        return data


def read_cells(path: Path, group: int, column: str) -> Iterator[Any]:
    """The cells of a column of a row group, a few in memory at a time; None where one is empty.

    Args:
        path: of the file.
        group: the row group.
        column: its pictures, or their paths; a field of a struct comes after a dot.

    Raises:
        ImageError: the file cannot be read or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            claimed = sum(
                chunk.total_uncompressed_size
                for chunk in map(file.metadata.row_group(group).column, range(file.metadata.num_columns))
                if chunk.path_in_schema == column
            )
            if claimed > MAX_GROUP_BYTES:
                raise ImageError(f"{shown(path.name)} claims {claimed} bytes of pictures in row group {group}.")
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False):
                cells: Any = batch.column(0)
                if pa.types.is_struct(cells.type):
                    cells = cells.flatten()[0]
                for cell in cells:
                    yield cell.as_py()
    except (OSError, pa.ArrowException) as error:
        raise ImageError(f"{shown(path.name)} cannot be read ({reason_of(error, path)}).") from error


def reason_of(error: Exception, path: Path) -> str:
    """The first line of what Arrow says about a file, without the folders in which it lies."""
    number = getattr(error, "errno", None)
    lines = [os.strerror(number)] if number else str(error).splitlines()
    return (lines or [type(error).__name__])[0].replace(str(path), path.name).rstrip(".")
