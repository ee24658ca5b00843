"""The bytes of a photo, wherever they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostec.core.errors import ImageError
from ostec.core.plain import open_plain
from ostec.core.text import shown
from ostec.dataset.records import Place
from ostec.io.parquet import claimed_bytes, opened, reason_of

MAX_PHOTO_BYTES = 512 << 20
"""A larger file is refused before it is read."""
MAX_GROUP_BYTES = 8 << 30
"""A row group of a Parquet file that is larger, unpacked, is refused."""
_BATCH_ROWS = 16


class PhotoReader:
    """Reads photos; keeps the Parquet file open that it read last, whose rows are asked for in rising order."""

    def __init__(self) -> None:
        self._group = ("", -1, "")
        self._next = 0
        self._cells: Iterator[bytes | None] = iter(())

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
            with open_plain(path) as stream:
                stream.seek(max(place.offset, 0))
                length = place.size if place.offset >= 0 else path.stat().st_size
                if not 0 <= length <= MAX_PHOTO_BYTES:
                    raise ImageError(f"{name} is larger than {MAX_PHOTO_BYTES >> 20} MB.")
                data = stream.read(length if place.offset >= 0 else MAX_PHOTO_BYTES)
        except OSError as error:
            raise ImageError(f"{name} cannot be read ({error.strerror or error}).") from error
        if len(data) < place.size:
            raise ImageError(f"{name} ends in the middle of a photo.")
        return data

    def _read_cell(self, place: Place) -> bytes:
        group = (place.path, place.group, place.column)
        if self._group != group or self._next > place.row:
            self._group, self._next, self._cells = group, 0, read_cells(Path(place.path), place.group, place.column)
        data: bytes | None = None
        while self._next <= place.row:
            data, self._next = next(self._cells, None), self._next + 1
        if data is None:
            name = shown(Path(place.path).name)
            raise ImageError(f"Row {place.row} of group {place.group} of {name} holds no picture.")
        return data


def read_cells(path: Path, group: int, column: str) -> Iterator[Any]:
    """The cells of a column of a row group, a few in memory at a time; None where one is empty. Raises ImageError."""
    import pyarrow as pa

    try:
        with opened(path) as file:
            if (claimed := claimed_bytes(file, group)) > MAX_GROUP_BYTES:
                raise ImageError(f"{shown(path.name)} claims {claimed} bytes of pictures in row group {group}.")
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False):
                if not batch.num_columns:
                    raise ImageError(f"{shown(path.name)} has no column {shown(column)}.")
                cells: Any = batch.column(0)
                yield from (cells.flatten()[0] if pa.types.is_struct(cells.type) else cells).to_pylist()
    except OSError as error:
        raise ImageError(f"{shown(path.name)} cannot be read ({reason_of(error, path)}).") from error
