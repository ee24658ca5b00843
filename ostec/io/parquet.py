"""Parquet files of others: opened as plain files only, and whatever is wrong with one is an OSError.

Of what the footer claims only the row groups' sizes are asked for: what Arrow throws while it looks for a column's
(``RowGroupMetaData.column``) is caught by nobody and ends the process.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostec.core.plain import open_plain


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``. Raises OSError, also for what turns out to be damaged while it is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_plain(path) as stream, pq.ParquetFile(stream) as file:
            yield file
    except UnicodeDecodeError as error:
        raise OSError("it holds text that is no UTF-8") from error
    except pa.ArrowException as error:
        raise OSError(reason_of(error, path)) from error


def claimed_bytes(file: Any, group: int) -> int:
    """What a row group claims to take in memory."""
    return int(file.metadata.row_group(group).total_byte_size)


def reason_of(error: Exception, path: Path) -> str:
    """The first line of what Arrow says about a file, without the folders in which it lies."""
    number = getattr(error, "errno", None)
    lines = [getattr(error, "strerror", None) or os.strerror(number)] if number else str(error).splitlines()
    return (lines or [type(error).__name__])[0].replace(str(path), path.name).rstrip(".")
