"""Attributes of photos, such as age, gender or who it is: from a table, or from what lies beside the photos.

An attribute is a name and a text, a number, true or false. What is unknown (null, NaN, an empty cell) is none. Nothing
is taken unless it was asked for: such data can be personal.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.text import shown

Scalar = str | int | float | bool
Attributes = Mapping[str, Scalar]

OF_SOURCES = "sources"
"""Stands for what lies beside the photos, in the place of a table's path."""
MAX_NAMES = 256
"""Attributes of a photo."""
MAX_TEXT = 1000
"""Characters of a name or value."""
MAX_PHOTO_BYTES = 16 << 10
"""Of a photo's attributes as JSON: a row group of the manifest has thousands of them in memory."""
MAX_BESIDE_BYTES = 1 << 20
"""Of the JSON beside a photo."""
_OWN_KIND = "ostec"
"""What lies beside a photo and begins its ``kind`` so is a record of this program, and no attributes."""
_MOST_KINDS = 1000
_TOLD_KINDS = 5
_FEW_VALUES = 10
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Beside:
    """What a source brings of one photo."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """As they were found."""
    error: str = ""
    """Why they cannot be read."""


class LeftOut:
    """What could be no attribute, and why, counted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: object, reason: str) -> None:
        """One value more."""
        kind = f"{shown(str(name)[:MAX_TEXT])[:40]} ({reason})"
        if kind in self._counts or len(self._counts) < _MOST_KINDS:
            self._counts[kind] += 1

    def told(self) -> str:
        """A sentence; empty where nothing was left out."""
        if not self._counts:
            return ""
        kinds = [kind for kind, _ in self._counts.most_common(_TOLD_KINDS)]
        more = len(self._counts) - len(kinds)
        return f"No attributes: {', '.join(kinds)}{f' and {more} others' if more else ''}."


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


def clean(values: Mapping[Any, Any], left_out: LeftOut) -> dict[str, Scalar]:
    """What of a photo's values can be attributes.

    Args:
        values: by name.
        left_out: takes what is neither text nor number, infinite or too long.

    Raises:
        ValueError: they are too many.
    """
    found: dict[str, Scalar] = {}
    for name, value in values.items():
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        reason = _unfit(name, value)
        if reason:
            left_out.add(name, reason)
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


def read_beside(data: bytes) -> Beside | None:
    """What the JSON beside a photo says; None where it is a record of this program.

    Args:
        data: the file's first bytes, one more than :data:`MAX_BESIDE_BYTES` where there are so many.
    """
    if len(data) > MAX_BESIDE_BYTES:
        return Beside(error=f"has more than {MAX_BESIDE_BYTES} bytes")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return Beside(error="is no JSON")
    if not isinstance(values, dict):
        return Beside(error="holds no object")
    return None if str(values.get("kind", "")).startswith(_OWN_KIND) else Beside(values)


def beside_file(photo: Path) -> Beside | None:
    """What the file NAME.json beside a photo says; None where there is none."""
    path = photo.with_suffix(".json")
    try:
        with path.open("rb") as stream:
            return read_beside(stream.read(MAX_BESIDE_BYTES + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        return Beside(error=f"cannot be read ({error.strerror or error})")


def scalar_columns(schema: Any) -> tuple[str, ...]:
    """The columns of a Parquet file's schema whose cells are texts, numbers, true or false."""
    import pyarrow as pa

    def fits(kind: Any) -> bool:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        tests = ("boolean", "integer", "floating", "string", "large_string", "null")
        return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)

    return tuple(name for name in schema.names if fits(schema.field(name).type))


def parquet_rows(path: Path, group: int, columns: tuple[str, ...], limit: int) -> Iterator[dict[str, Any]]:
    """The cells of those columns, a row of a row group at a time.

    Args:
        path: of the file.
        group: the row group.
        columns: their names.
        limit: bytes that they may claim, unpacked.

    Raises:
        OSError: they claim more.
        pyarrow.ArrowException: the file is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about = file.metadata.row_group(group)
        chunks = [about.column(number) for number in range(about.num_columns)]
        claimed = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
        if claimed > limit:
            raise OSError(f"its columns of attributes claim {claimed} bytes in row group {group}")
        for batch in file.iter_batches(1024, row_groups=[group], columns=list(columns), use_threads=False):
            yield from batch.to_pylist()


def inner_name(name: str) -> str:
    """A path as one may print it, that leads nowhere else: neither absolute nor upwards."""
    return shown("/".join(part for part in PurePosixPath(name).parts if part not in ("/", "..", "//")))


class Spread:
    """How one attribute is distributed, in little memory."""

    def __init__(self) -> None:
        self.known = 0
        """Faces that have it."""
        self._values: Counter[Scalar] = Counter()
        self._others = 0
        self._low, self._high, self._sum, self._numbers = math.inf, -math.inf, 0.0, 0

    def add(self, value: Scalar) -> None:
        """One face more."""
        self.known += 1
        if is_number(value):
            self._low, self._high = min(self._low, float(value)), max(self._high, float(value))
            self._sum, self._numbers = self._sum + float(value), self._numbers + 1
        if value in self._values or len(self._values) < _MOST_KINDS:
            self._values[value] += 1
        else:
            self._others += 1

    def told(self) -> str:
        """A few values with how many faces have them, the range of numbers, or how many values there are."""
        if are_few(len(self._values), self.known):
            ordered = sorted(self._values.items(), key=lambda entry: (-entry[1], as_text(entry[0])))
            return ", ".join(f"{shown(as_text(value))} ({count})" for value, count in ordered)
        if self._numbers == self.known:
            return f"{self._low:g} to {self._high:g}, mean {self._sum / self.known:.4g}"
        return f"{'more than ' if self._others else ''}{len(self._values)} different values"


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
