"""Which photo of a plan has which attributes: rows of a table are matched with photos by name."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.assets import sha256_of
from ostec.core.errors import UsageError
from ostec.core.text import shown
from ostec.dataset.attributes import (
    OF_SOURCES,
    Attributes,
    Beside,
    LeftOut,
    Scalar,
    as_scalar,
    clean,
    inner_name,
    parquet_rows,
    scalar_columns,
)
from ostec.dataset.records import ID_DIGITS

NAMING = ("source", "file_name", "filename", "file", "path", "id")
"""Columns that can name the photo, in order of preference."""
MAX_TABLE_BYTES = 256 << 20
"""Of a table's file, and of what a Parquet file unpacks to."""
MAX_VALUES = 20_000_000
"""Of a table, which is in memory while photos are planned."""
_NONE, _SEVERAL = -1, -2
_NAMED_ROWS = Iterator[tuple[str, Mapping[Any, Any]]]


@dataclass(frozen=True, slots=True)
class _Row:
    parents: tuple[str, ...]
    """Folders of the path that names the photo."""
    names: tuple[str, ...]
    values: tuple[Scalar, ...]


class Table:
    """Rows of attributes, found by the photo's name.

    A row's path and a photo's belong together if one ends with the other, and the row may leave out the suffix; of
    several such rows, the one that has most in common. A row may also give the photo's id, or the whole SHA-256.
    """

    def __init__(self) -> None:
        self.left_out = LeftOut()
        self._rows: list[_Row] = []
        self._by_name: dict[str, tuple[int, ...]] = {}
        self._same: dict[Any, Any] = {}
        self._values = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, name: str, values: Mapping[Any, Any]) -> None:
        """One row more.

        Raises:
            ValueError: it names no photo, contradicts an earlier one, or there are too many values.
        """
        *parents, last = inner_name(name).split("/")
        if not last:
            raise ValueError("it names no photo")
        found = clean(values, self.left_out)
        row = _Row(self._once(tuple(parents)), self._once(tuple(found)), tuple(map(self._once, found.values())))
        for before in self._by_name.get(last, ()):
            if self._rows[before].parents == row.parents:
                if self.attributes(before) != found:
                    raise ValueError(f"it says other things of {shown(name)} than a row before it")
                return
        self._values += len(found)
        if self._values > MAX_VALUES:
            raise ValueError(f"expected {MAX_VALUES} values at most")
        self._by_name[last] = (*self._by_name.get(last, ()), len(self._rows))
        self._rows.append(row)

    def _once(self, value: Any) -> Any:
        """A text or tuple of texts, shared with the other rows that have it."""
        return self._same.setdefault(value, value) if isinstance(value, str | tuple) else value

    def attributes(self, row: int) -> dict[str, Scalar]:
        """What a row says."""
        found = self._rows[row]
        return dict(zip(found.names, found.values, strict=True))

    def find(self, source: str, sha256: str) -> int:
        """The row of a photo; -1 if there is none, -2 if several fit equally well."""
        path = PurePosixPath(source)
        for name in dict.fromkeys((path.name, path.stem)):
            row = self._fitting(name, path.parts[:-1])
            if row != _NONE:
                return row
        for name in (sha256[:ID_DIGITS], sha256) if sha256 else ():
            for row in self._by_name.get(name, ()):
                if not self._rows[row].parents:
                    return row
        return _NONE

    def _fitting(self, name: str, parents: tuple[str, ...]) -> int:
        best: dict[int, tuple[int, int]] = {}
        for number in self._by_name.get(name, ()):
            theirs = self._rows[number].parents
            common = min(len(theirs), len(parents))
            if theirs[len(theirs) - common :] == parents[len(parents) - common :]:
                best[number] = (common, -len(theirs))
        top = max(best.values(), default=None)
        found = [number for number, score in best.items() if score == top]
        return _NONE if not found else found[0] if len(found) == 1 else _SEVERAL


class Labels:
    """Gives the photos of a plan their attributes, and counts what fits nowhere.

    A row that fits different pictures decides about none: it is taken back from those that had it.
    """

    def __init__(self, table: Table | None = None, origin: str = OF_SOURCES) -> None:
        """Without a table, the attributes are what lies beside the photos; ``origin`` names it for the record."""
        self.origin = origin
        self._table = table
        self._left_out = LeftOut() if table is None else table.left_out
        self._users: dict[int, tuple[int, list[int]]] = {}
        """Row -> the picture's id, as a number, and the items that have the row."""
        self._shared: set[int] = set()
        """Rows that fit different pictures."""
        self.taken_back: set[int] = set()
        """Items that have no attributes after all."""
        self._counts = dict.fromkeys(("has", "without", "several", "unreadable"), 0)

    def of(self, source: str, sha256: str, code: int, item: int | None, beside: Beside | None) -> Attributes:
        """The attributes of a photo.

        Args:
            source: its name in the dataset.
            sha256: of its bytes; empty where they could not be read.
            code: its id, as a number.
            item: its place in the plan; None for a photo of an earlier build, which only uses up its row.
            beside: what the source brings.
        """
        if self._table is not None:
            found = self._row(self._table, source, sha256, code, item)
        else:
            found = {} if item is None else self._beside(beside)
        if item is not None:
            self._counts["has"] += bool(found)
        return found

    def _beside(self, beside: Beside | None) -> Attributes:
        if beside is None:
            self._counts["without"] += 1
            return {}
        try:
            if not beside.error:
                return clean(beside.values, self._left_out)
        except ValueError:
            pass
        self._counts["unreadable"] += 1
        return {}

    def _row(self, table: Table, source: str, sha256: str, code: int, item: int | None) -> Attributes:
        row = table.find(source, sha256)
        if row >= 0:
            picture, items = self._users.setdefault(row, (code, []))
            if picture != code and row not in self._shared:
                self._shared.add(row)
                self.taken_back.update(items)
                self._counts["has"] -= len(items)
                self._counts["several"] += len(items)
            if row not in self._shared:
                items += [] if item is None else [item]
                return table.attributes(row)
        if item is not None:
            self._counts["without" if row == _NONE else "several"] += 1
        return {}

    def told(self) -> str:
        """What came of it, as sentences."""
        counts = self._counts
        parts = [f"{counts['has']} photos have them"]
        if self._table is None:
            parts += [f"{counts['without']} come without"] if counts["without"] else []
            parts += [f"{counts['unreadable']} have some that cannot be read"] if counts["unreadable"] else []
        else:
            unused = len(self._table) - len(self._users)
            parts += [f"{counts['without']} have no row"] if counts["without"] else []
            several = "fit a row that fits other photos too, or several rows (paths would tell them apart)"
            parts += [f"{counts['several']} {several}"] if counts["several"] else []
            parts += [f"{unused} of {len(self._table)} rows fit no photo"] if unused else []
        left_out = self._left_out.told()
        return f"Attributes: {'; '.join(parts)}.{f' {left_out}' if left_out else ''}"

    @property
    def count(self) -> int:
        """Photos that have attributes."""
        return self._counts["has"]

    @property
    def complete(self) -> bool:
        """Whether each photo has its attributes, and nothing was left out."""
        counts = self._counts
        return not (counts["without"] or counts["several"] or counts["unreadable"] or self._left_out.told())


def labels_of(asked: str) -> Labels:
    """What ``--attributes`` asks for: a table's path, or ``sources``. Raises UsageError as :func:`read_table`."""
    if asked == OF_SOURCES:
        return Labels()
    table = read_table(Path(asked))
    return Labels(table, f"{shown(Path(asked).name)}, SHA-256 {sha256_of(Path(asked))}")


def read_table(path: Path) -> Table:
    """Read a table of attributes, one row a photo.

    ``.csv``: with a line of names. ``.json``: an object of objects, by the photo's name, or a list of objects.
    ``.jsonl``: an object a line. ``.parquet``. Where rows are not named, one of :data:`NAMING` names the photo.

    Raises:
        UsageError: it is missing, too large, damaged, no such table, or contradicts itself.
    """
    readers: dict[str, Callable[[Path], _NAMED_ROWS]] = {
        ".csv": _in_csv,
        ".json": _in_json,
        ".jsonl": _in_lines,
        ".parquet": _in_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{shown(path)} is no table of attributes: expected {', '.join(readers)}.")
    table, number = Table(), 1
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise UsageError(f"{shown(path)} has {size} bytes; a table of attributes may have {MAX_TABLE_BYTES}.")
        for name, values in reader(path):
            table.add(name, values)
            number += 1
    except OSError as error:
        raise UsageError(f"{shown(path)} cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError, csv.Error) as error:  # Arrow's are ValueErrors or OSErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{shown(path)} cannot be read as a table of attributes (row {number}: {reason}).") from error
    return table


def _in_csv(path: Path) -> _NAMED_ROWS:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, strict=True)
        names = next(lines, [])
        if len(set(names)) < len(names):
            raise ValueError("two columns have the same name")
        own = _naming(names)
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(names):
                raise ValueError(f"line {lines.line_num}: expected {len(names)} cells, found {len(cells)}")
            row = dict(zip(names, cells, strict=True))
            yield row.pop(own), {name: as_scalar(cell) for name, cell in row.items()}


def _in_json(path: Path) -> _NAMED_ROWS:
    values = json.loads(path.read_bytes())
    if isinstance(values, list):
        yield from map(_named, values)
        return
    if not isinstance(values, dict):
        raise ValueError("expected an object of objects")
    for name, row in values.items():
        if not isinstance(row, dict):
            raise ValueError(f"expected an object of {shown(name)[:40]}")
        yield name, row


def _in_lines(path: Path) -> _NAMED_ROWS:
    with path.open(encoding="utf-8-sig") as stream:
        for line in stream:
            if line.strip():
                yield _named(json.loads(line))


def _named(values: Any) -> tuple[str, Mapping[Any, Any]]:
    if not isinstance(values, dict):
        raise ValueError("expected an object a row")
    own = _naming(list(values))
    return _name_of(values[own]), {name: value for name, value in values.items() if name != own}


def _in_parquet(path: Path) -> _NAMED_ROWS:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, groups = file.schema_arrow.names, file.metadata.num_row_groups
            columns = scalar_columns(file.schema_arrow)
            claimed = file.metadata.num_rows * len(columns)
        own = _naming(list(columns))
        if claimed > MAX_VALUES:
            raise ValueError(f"expected {MAX_VALUES} values at most, found {claimed}")
        for group in range(groups):
            for row in parquet_rows(path, group, columns, MAX_TABLE_BYTES):
                name = _name_of(row.pop(own))
                # None stands for a cell that is left out, and told of
                yield name, {**row, **{other: () for other in names if other not in columns}}
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _name_of(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError("it names no photo")
    return str(value)


def _naming(names: list[str]) -> str:
    """The column that names the photo. Raises ValueError if there is none."""
    lower = {name.lower(): name for name in reversed(names)}
    for name in NAMING:
        if name in lower:
            return lower[name]
    found = ", ".join(shown(name)[:40] for name in names[:10])
    raise ValueError(f"expected a column that names the photo ({', '.join(NAMING)}), found {found or 'none'}")
