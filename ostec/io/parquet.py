"""Parquet files of others: opened as plain files only, and whatever is wrong with one is an OSError.

Of what the footer claims only the row groups' sizes are asked for: what Arrow throws while it looks for a column's
(``RowGroupMetaData.column``) is caught by nobody and ends the process.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ostec.core.plain import open_plain

_BATCH_ROWS = 1024


@contextlib.contextmanager
def opened(path: Path, texts_once: Collection[str] = ()) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``; the texts in the columns ``texts_once`` come as dictionaries.

    Raises OSError, also for what turns out to be damaged while it is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_plain(path) as stream:
            schema = pq.ParquetFile(stream).schema if texts_once else ()
            leaves = [leaf for leaf in schema if leaf.path.split(".")[0] in texts_once]
            once = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
            with pq.ParquetFile(stream, read_dictionary=once) as file:
                yield file
    except UnicodeDecodeError as error:
        raise OSError("it holds text that is no UTF-8") from error
    except pa.ArrowException as error:
        raise OSError(reason_of(error, path)) from error


def claimed_bytes(file: Any, group: int) -> int:
    """What a row group claims to take in memory."""
    return int(file.metadata.row_group(group).total_byte_size)


def read_rows(path: Path, columns: Sequence[str], limit: int) -> Iterator[dict[str, Any]]:
    """The rows of a table's columns, of which none may be nested.

    Raises OSError as :func:`opened`, ValueError where the texts of all rows have more than ``limit`` bytes.
    """
    import pyarrow as pa

    with opened(path) as file:
        texts = [name for name in columns if _is_text(file.schema_arrow.field(name).type)]
    with opened(path, texts) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns), use_threads=False):
            table = pa.table(batch)
            limit -= text_bytes(table)
            if limit < 0:
                raise ValueError("its rows have too much text")
            yield from table.to_pylist()


def text_bytes(table: Any) -> int:
    """What the texts of a table that come as dictionaries take row by row: a file can have one text for every row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = 0
    for column in table.columns:
        while pa.types.is_list(column.type):
            column = pc.list_flatten(column)
        if pa.types.is_dictionary(column.type) and _is_text(column.type):
            for part in column.chunks:
                found += pc.sum(pc.take(pc.binary_length(part.dictionary), part.indices)).as_py() or 0
    return found


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def reason_of(error: Exception, path: Path) -> str:
    """The first line of what Arrow says about a file, without the folders in which it lies."""
    number = getattr(error, "errno", None)
    lines = [getattr(error, "strerror", None) or os.strerror(number)] if number else str(error).splitlines()
    return (lines or [type(error).__name__])[0].replace(str(path), path.name).rstrip(".")
