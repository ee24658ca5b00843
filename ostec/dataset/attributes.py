"""Attributes of photos, such as age, gender or who it is: from a table, or from what the sources bring themselves.

An attribute is a name and a text, a number, true or false. What is unknown (null, NaN, an empty cell) is none. Nothing
is taken unless it was asked for: such data can be personal. A row belongs to the photo whose source or id it gives.
"""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ostec.core.assets import sha256_of
from ostec.core.errors import UsageError
from ostec.core.plain import open_plain, read_plain
from ostec.core.text import shown
from ostec.io.parquet import claimed_bytes, opened, read_rows

Scalar = str | int | float | bool
Attributes = Mapping[str, Scalar]
Beside = bytes | Mapping[str, Any]
"""What a source brings of one photo besides the picture: the first bytes of its JSON file, or values."""

OF_SOURCES = "sources"  # stands for what lies beside the photos, in the place of a table's path
NAMING = ("source", "file_name", "filename", "file", "path", "id")
"""Columns that can name the photo, in order of preference."""
MAX_NAMES = 256  # attributes of a photo
MAX_TEXT = 1000  # characters of a name or value
MAX_PHOTO_BYTES = 16 << 10  # of a photo's attributes as JSON: a row group of the manifest has thousands in memory
MAX_BESIDE_BYTES = 1 << 20  # of the JSON beside a photo
MAX_TABLE_BYTES = 256 << 20  # of a table's file, and of what a Parquet file unpacks to
MAX_JSON_TABLE_BYTES = 64 << 20  # of a JSON table, which is in memory as a whole, 20 times as large
MAX_ROWS = 5_000_000
MAX_VALUES = 20_000_000  # of a Parquet table: equal values take next to no bytes in it
_OWN_KIND = "ostec"  # begins the ``kind`` of this program's records, which are no attributes
_MOST_KINDS = 1000
_TOLD_KINDS = 5
_FEW_VALUES = 10
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_TRUTH = {"true": True, "false": False}


def as_scalar(text: str) -> Scalar | None:
    """A cell of a table without types: numbers as they are usually written, true and false; None for an empty one.

    ``007`` stays a text, and so does what would be infinite.
    """
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return _TRUTH.get(text.lower(), text)


def clean(values: Mapping[Any, Any], left_out: "Counter[str]") -> dict[str, Scalar]:
    """What of a photo's values, by name, can be attributes; ``left_out`` counts the rest by name and reason.

    Raises ValueError if they are too many.
    """
    found: dict[str, Scalar] = {}
    for name, value in values.items():
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        if reason := _unfit(name, value):
            kind = f"{shown(str(name)[:40])} ({reason})"
            if kind in left_out or len(left_out) < _MOST_KINDS:
                left_out[kind] += 1
        else:
            found[name] = value
    if len(found) > MAX_NAMES:
        raise ValueError(f"expected {MAX_NAMES} attributes at most, found {len(found)}")
    size = len(json.dumps(found))
    if size > MAX_PHOTO_BYTES:
        raise ValueError(f"expected {MAX_PHOTO_BYTES} bytes of attributes at most, found {size}")
    return found


def _unfit(name: Any, value: Any) -> str:
    """Why something is no attribute; empty if it is one."""
    if not isinstance(name, str) or not name:
        return "without a name"
    if not isinstance(value, str | int | float):
        return "neither text nor number"
    if len(name) > MAX_TEXT or (isinstance(value, str) and len(value) > MAX_TEXT):
        return f"longer than {MAX_TEXT} characters"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "beyond 64 bits"
    return "infinite" if isinstance(value, float) and math.isinf(value) else ""


class Labels:
    """Gives the photos of a plan their attributes, and counts what fits nowhere."""

    def __init__(self, asked: str) -> None:
        """What ``--attributes`` asks for: a table's path, or ``sources``. Raises UsageError as :func:`read_table`."""
        self.left_out: Counter[str] = Counter()
        self._table: dict[str, str] | None = None
        self._used: set[str] = set()
        self._counts = Counter[str]()
        self.origin = asked
        """For the record: ``sources``, or the table's name and SHA-256."""
        if asked != OF_SOURCES:
            self._table = read_table(Path(asked), self.left_out)
            self.origin = f"{shown(Path(asked).name)}, SHA-256 {sha256_of(Path(asked))}"

    def of(self, source: str, photo_id: str, beside: Beside | None, new: bool) -> Attributes:
        """The attributes of a photo, by its name in the dataset or its id; ``beside``: what the source brings.

        One that is not ``new`` is of an earlier build: it is not counted, and only uses up its row.
        """
        found: Attributes = {}
        what = "without"
        if self._table is not None:
            name = next((name for name in (source, photo_id) if name in self._table), "")
            if name:
                self._used.add(name)
                found, what = json.loads(self._table[name]), "has"
        elif beside is not None:
            try:
                values = _parsed(beside) if isinstance(beside, bytes) else beside
                found = clean(values, self.left_out) if new and values is not None else {}
                what = "has" if found else "none" if values is not None else "without"
            except (ValueError, RecursionError):
                what = "unreadable"
        self._counts[what] += new
        return found

    def remark(self) -> str:
        """What came of it, as sentences; empty if each photo has its attributes and nothing was left out."""
        counts, table = self._counts, self._table
        if not (counts["without"] or counts["unreadable"] or self.left_out):
            return ""
        whats = {"without": "come without" if table is None else "have no row"}
        whats |= {"unreadable": "have some that cannot be read"}
        parts = [f"{counts['has']} photos have them"]
        parts += [f"{counts[what]} {told}" for what, told in whats.items() if counts[what]]
        if table and (unused := len(table) - len(self._used)):
            parts.append(f"{unused} of {len(table)} rows fit no photo")
        kinds = [kind for kind, _ in self.left_out.most_common(_TOLD_KINDS)]
        more = len(self.left_out) - len(kinds)
        left_out = f" No attributes: {', '.join(kinds)}{f' and {more} others' if more else ''}." if kinds else ""
        return f"Attributes: {'; '.join(parts)}.{left_out}"

    @property
    def count(self) -> int:
        """Photos that have attributes."""
        return self._counts["has"]


def _parsed(data: bytes) -> Mapping[str, Any] | None:
    """What the JSON beside a photo says; None where it is a record of this program. Raises ValueError."""
    values = json.loads(data) if len(data) <= MAX_BESIDE_BYTES else None
    if not isinstance(values, dict):
        raise ValueError("expected a JSON object that is not too long")
    return None if str(values.get("kind", "")).startswith(_OWN_KIND) else values


def beside_file(photo: Path) -> bytes | None:
    """The first bytes of the file NAME.json beside a photo; None where there is none."""
    try:
        with open_plain(photo.with_suffix(".json")) as stream:
            return stream.read(MAX_BESIDE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def read_table(path: Path, left_out: "Counter[str]") -> dict[str, str]:
    """Read a table of attributes, one row a photo.

    ``.csv``: with a line of names. ``.json``: an object of objects, by the photo's name, or a list of objects.
    ``.jsonl``: an object a line. ``.parquet``. Where rows are not named, one of :data:`NAMING` names the photo.
    ``left_out`` counts what is no attribute.

    Returns source or id -> attributes as JSON, which takes the least memory. Raises UsageError if the table is missing,
    too large, damaged, none, or contradicts itself.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{shown(path)} is no table of attributes: expected {', '.join(_READERS)}.")
    table: dict[str, str] = {}
    try:
        with open_plain(path):
            size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise UsageError(f"{shown(path)} has {size} bytes; a table of attributes may have {MAX_TABLE_BYTES}.")
        for row in reader(path):
            name, values = _named(row)
            text = dumped(clean(values, left_out))
            if table.setdefault(name, text) != text:
                raise ValueError(f"it says two things of {shown(name)}")
            if len(table) > MAX_ROWS:
                raise ValueError(f"it has more than {MAX_ROWS} rows")
        if not table:
            raise ValueError("it has no row")
    except OSError as error:
        kind = "" if error.errno else " as a table of attributes"
        raise UsageError(f"{shown(path)} cannot be read{kind} ({error.strerror or error}).") from error
    except (ValueError, RecursionError, csv.Error) as error:  # Arrow's are ValueErrors or OSErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{shown(path)} cannot be read as a table of attributes ({reason}).") from error
    return table


def _named(row: Any) -> tuple[str, dict[Any, Any]]:
    """What names the photo of a row, and the other values. Raises ValueError if nothing does."""
    if not isinstance(row, dict):
        raise ValueError("expected an object a row")
    lower = {str(name).lower(): name for name in reversed(row)}
    column = next((lower[name] for name in NAMING if name in lower), None)
    if column is None:
        found = ", ".join(shown(str(name)[:40]) for name in list(row)[:10])
        raise ValueError(f"expected a column that names the photo ({', '.join(NAMING)}), found {found or 'none'}")
    name = row[column]
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        raise ValueError("it names no photo")
    return str(name), {other: value for other, value in row.items() if other != column}


class _Lines:
    """The lines of a table's text. Raises ValueError where those of one row have too many characters."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self.row = 0
        """Characters of the row that is read; whoever reads begins again with 0."""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_BESIDE_BYTES)
        self.row += len(line)
        if self.row >= MAX_BESIDE_BYTES:
            raise ValueError(f"a row has more than {MAX_BESIDE_BYTES} characters")
        if not line:
            raise StopIteration
        return line


def _in_csv(path: Path) -> Iterator[dict[str, Any]]:
    with io.TextIOWrapper(open_plain(path), encoding="utf-8-sig", newline="") as stream:
        text = _Lines(stream)
        lines = csv.DictReader(text, strict=True)
        names = lines.fieldnames or []
        if len(set(names)) < len(names):
            raise ValueError("two columns have the same name")
        naming = {name for name in names if name.lower() in NAMING}
        for row in lines:
            text.row = 0
            if None in row or None in row.values():
                raise ValueError(f"line {lines.line_num}: expected {len(names)} cells")
            yield {name: cell if name in naming else as_scalar(cell) for name, cell in row.items()}


def _in_json(path: Path) -> Iterator[Any]:
    values = json.loads(read_plain(path, MAX_JSON_TABLE_BYTES))
    if not isinstance(values, dict | list):
        raise ValueError("expected an object of objects")
    for name, row in values.items() if isinstance(values, dict) else ():
        if not isinstance(row, dict):
            raise ValueError(f"expected an object of {shown(name)[:40]}")
        row[NAMING[0]] = name
    yield from values.values() if isinstance(values, dict) else values


def _in_lines(path: Path) -> Iterator[Any]:
    with io.TextIOWrapper(open_plain(path), encoding="utf-8-sig") as stream:
        lines = _Lines(stream)
        for line in lines:
            lines.row = 0
            if line.strip():
                yield json.loads(line)


def _in_parquet(path: Path) -> Iterator[dict[str, Any]]:
    with opened(path) as file:
        names, columns = file.schema_arrow.names, scalar_columns(file.schema_arrow)
        claimed = sum(claimed_bytes(file, group) for group in range(file.metadata.num_row_groups))
        if claimed > MAX_TABLE_BYTES or file.metadata.num_rows * len(columns) > MAX_VALUES:
            raise ValueError(f"expected {MAX_TABLE_BYTES} bytes and {MAX_VALUES} values at most")
    other = {name: () for name in names if name not in columns}  # left out, and told of
    yield from ({**row, **other} for row in read_rows(path, columns, MAX_TABLE_BYTES))


_READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    ".csv": _in_csv,
    ".json": _in_json,
    ".jsonl": _in_lines,
    ".parquet": _in_parquet,
}


def scalar_columns(schema: Any) -> list[str]:
    """The columns of a Parquet file's schema whose cells are texts, numbers, true or false."""
    import pyarrow as pa

    def fits(kind: Any) -> bool:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        tests = ("boolean", "integer", "floating", "string", "large_string", "null")
        return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)

    return [name for name in schema.names if fits(schema.field(name).type)]


def are_few(values: int, known: int) -> bool:
    """Whether so many different values, of so many faces, are classes in their own right: few that come again."""
    return values <= min(_FEW_VALUES, known / 2)


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_text(value: object) -> str:
    """A value as one writes it: a text as it is, others as in JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def dumped(attributes: Attributes) -> str:
    """As the manifest's column has them."""
    return json.dumps(dict(attributes), sort_keys=True)


def loaded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a row of the manifest."""
    values: dict[str, Any] = json.loads(row.get("attributes") or "{}")
    return values
