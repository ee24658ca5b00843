"""Which photos a build is given: in folders, files, patterns, lists, tar archives and Parquet files."""

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ostec.core.errors import ImageError, UsageError
from ostec.core.text import shown
from ostec.dataset.archives import in_tar, packed_with
from ostec.dataset.attributes import Beside, parquet_rows, scalar_columns
from ostec.dataset.candidates import Candidate, LeaveOut, Search, label_of
from ostec.dataset.reader import MAX_GROUP_BYTES, read_cells, reason_of
from ostec.dataset.records import Place
from ostec.io.photos import expand, is_photo, walk_photos

logger = logging.getLogger(__name__)

LIST_SUFFIX, TAR_SUFFIX, PARQUET_SUFFIX = ".txt", ".tar", ".parquet"
_PACKED_SUFFIXES = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "data", "content")
"""Names of a Parquet file's column of pictures, in order of preference; a sole column of bytes is taken whatever its
name."""
_MAX_LINE = 1 << 16


def find_candidates(
    sources: Sequence[str], leave_out: LeaveOut, output: Path, beside: bool = False
) -> Iterator[Candidate]:
    """What the sources hold, in their order; files that several of them name come more than once.

    Args:
        sources: as on the command line.
        leave_out: of files in folders.
        output: the dataset's folder, which is never searched.
        beside: take what the sources bring besides the pictures: NAME.json beside a file or in an archive, the other
            columns of a Parquet file.

    Raises:
        UsageError: a source does not exist or cannot be read.
    """
    check_sources(sources)
    search = Search(leave_out, output, beside)
    for source in sources:
        yield from _in_source(source, search)


def empty_sources(sources: Iterable[str], leave_out: LeaveOut, output: Path) -> list[str]:
    """Those without anything that is taken for a photo; a source is read up to the first one.

    Args:
        sources: as on the command line.
        leave_out: of files in folders.
        output: the dataset's folder.

    Raises:
        UsageError: a source does not exist or cannot be read.
    """
    search = Search(leave_out, output, beside=False, quiet=True)
    return [source for source in sources if next(_in_source(source, search), None) is None]


def _in_source(source: str, search: Search) -> Iterator[Candidate]:
    for path in expand(source):
        base = path if path == Path(source) and path.is_dir() else path.parent
        named = path == Path(source)
        if path.suffix.lower() == LIST_SUFFIX and path.is_file() and named:
            yield from _in_list(path, search)
        else:
            yield from _in_path(path, base, named, search)


def check_sources(sources: Sequence[str]) -> None:
    """See that all sources are there, before anything is done.

    Raises:
        UsageError: one does not exist, cannot be read or is compressed.
    """
    for source in sources:
        found = expand(source)
        packed = source.lower().endswith(_PACKED_SUFFIXES) and not Path(source).is_dir()
        if packed or any(packed_with(path) for path in found if path.suffix.lower() == TAR_SUFFIX and path.is_file()):
            raise UsageError(f"{shown(source)} is compressed; please unpack it, or make it a plain .tar.")


def _in_path(path: Path, base: Path, named: bool, search: Search) -> Iterator[Candidate]:
    """The photos of a file or folder; ``named``: it was, so that it is taken whatever it looks like."""
    if path.is_dir():
        yield from _in_folder(path, base, search)
    elif path.suffix.lower() == TAR_SUFFIX:
        yield from in_tar(path, search)
    elif path.suffix.lower() == PARQUET_SUFFIX:
        yield from _in_parquet(path, search)
    elif named or is_photo(path):
        yield search.photo(path, base)


def _in_folder(folder: Path, base: Path, search: Search) -> Iterator[Candidate]:
    inside = os.path.realpath(search.output)
    before, results, ours = None, frozenset[str](), False
    for path in walk_photos(folder):
        if path.parent != before:
            before, results = path.parent, frozenset(search.leave_out(path.parent))
            real = os.path.realpath(path.parent)
            ours = real == inside or real.startswith(inside + os.sep)
        if not ours and path.name not in results:
            yield search.photo(path, base)


def _in_list(path: Path, search: Search) -> Iterator[Candidate]:
    base = path.parent
    with path.open(encoding="utf-8", errors="surrogateescape") as stream:
        while line := stream.readline(_MAX_LINE):
            name = line.rstrip("\r\n")
            if not name.strip() or name.startswith("#"):
                continue
            target = base / name
            label = label_of(target, base)
            try:
                found = expand(str(target), label)
            except UsageError as error:  # one wrong line among many is a photo that fails
                yield Candidate(label, Place(str(target.absolute())), error=str(error))
                continue
            for match in found:
                yield from _in_path(match, base, match == target, search)


def _in_parquet(path: Path, search: Search) -> Iterator[Candidate]:
    """A photo a row: its bytes, or a file that the row names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = str(path.absolute())
    try:
        with pq.ParquetFile(path) as file:
            column = image_column(file.schema_arrow)
            beyond = path_column(file.schema_arrow, column)
            groups = file.metadata.num_row_groups
            others = scalar_columns(file.schema_arrow) if search.beside else ()
        number = 0
        for group in range(groups):
            besides = parquet_rows(path, group, others, MAX_GROUP_BYTES) if others else itertools.repeat(None)
            cells = read_cells(path, group, column)
            names = read_cells(path, group, beyond) if beyond else itertools.repeat(None)
            for row, (data, name, own) in enumerate(zip(cells, names, besides, strict=False)):
                found = Candidate(
                    source=f"{shown(path.name)}/{number}",
                    place=Place(place, group=group, row=row, column=column),
                    data=data,
                    beside=None if own is None else Beside(own),
                )
                yield found if data else _named_in(path, found, name)
                number += 1
    except (OSError, pa.ArrowException, ImageError) as error:
        yield search.damaged(path, f"cannot be read as a Parquet file ({reason_of(error, path)})")


def _named_in(path: Path, found: Candidate, name: str | None) -> Candidate:
    """A row without bytes: the file that it names, if that lies below the Parquet file's folder.

    The table may be somebody else's: it is not to decide what of this machine is read.
    """
    if not name:
        return replace(found, error="The row holds no picture.")
    try:
        folder = path.resolve().parent
        target = (folder / name).resolve()
        inside, there = target.is_relative_to(folder), target.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, impossible, a loop of links
        inside, there = False, False
    if not inside:
        return replace(found, error=f"The row has only a path, which leads out of the folder of {shown(path.name)}.")
    if not there:
        return replace(found, error="The row has only a path, and there is no such file.")
    return replace(found, place=Place(str(target)))


def path_column(schema: Any, column: str) -> str:
    """The field that names a picture's file where its bytes are left out; empty if there is none.

    Args:
        schema: of the Parquet file.
        column: as from :func:`image_column`.
    """
    import pyarrow as pa

    name, dot, _ = column.rpartition(".bytes")
    if not dot or not pa.types.is_struct(kind := schema.field(name).type):
        return ""
    index = kind.get_field_index("path")
    return f"{name}.path" if index >= 0 and pa.types.is_string(kind.field(index).type) else ""


def image_column(schema: Any) -> str:
    """The column of a Parquet file's schema that holds pictures; a field of a struct comes after a dot.

    Raises:
        OSError: there is none, or it is not clear which.
    """
    import pyarrow as pa

    if {"image", "provenance", "record", "key"} <= set(schema.names):
        raise OSError("it holds finished textures, as ostec dataset export writes them")
    found = []
    for name in schema.names:
        kind = schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            found.append((name, f"{name}.bytes"))
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            found.append((name, name))
    preferred = [column for wanted in IMAGE_COLUMNS for name, column in found if name.lower() == wanted]
    if preferred:
        return preferred[0]
    if len(found) != 1:
        raise OSError(f"expected one column of pictures, found {', '.join(name for name, _ in found) or 'none'}")
    return found[0][1]
