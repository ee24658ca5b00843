"""Which photos a build is given: in folders, files, patterns, lists, tar archives and Parquet files."""

import itertools
import logging
import os
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.errors import ImageError, UsageError
from ostec.core.text import shown
from ostec.dataset.attributes import (
    MAX_BESIDE_BYTES,
    Beside,
    beside_file,
    inner_name,
    parquet_rows,
    read_beside,
    scalar_columns,
)
from ostec.dataset.reader import MAX_GROUP_BYTES, read_cells
from ostec.dataset.records import Place
from ostec.io.images import IMAGE_SUFFIXES
from ostec.io.photos import expand, is_photo, walk_photos

logger = logging.getLogger(__name__)

LIST_SUFFIX, TAR_SUFFIX, PARQUET_SUFFIX = ".txt", ".tar", ".parquet"
_PACKED_SUFFIXES = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "data", "content")
"""Names of a Parquet file's column of pictures, in order of preference; a sole column of bytes is taken whatever its
name."""
_MAX_LINE = 1 << 16

LeaveOut = Callable[[Path], Collection[str]]
"""Folder -> names of the files in it that are no sources."""


@dataclass(frozen=True)
class Candidate:
    """Something that may be a photo."""

    source: str
    place: Place
    data: bytes | None = None
    """Its bytes, where finding it meant reading it."""
    error: str = ""
    """Why it cannot be read, where that is known."""
    beside: Beside | None = None
    """What the source brings of it besides the picture, if that was asked for."""


@dataclass(frozen=True)
class _Search:
    """How sources are searched."""

    leave_out: LeaveOut
    output: Path
    """The dataset's folder, which is never searched."""
    beside: bool
    """Take what lies beside the pictures."""

    def photo(self, path: Path, base: Path) -> Candidate:
        """A file."""
        beside = beside_file(path) if self.beside else None
        return Candidate(_label(path, base), Place(str(path.absolute())), beside=beside)


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
    search = _Search(leave_out, output, beside)
    for source in sources:
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
        expand(source)
        if source.lower().endswith(_PACKED_SUFFIXES) and not Path(source).is_dir():
            raise UsageError(f"{shown(source)} is compressed; please unpack it, or make it a plain .tar.")


def _in_path(path: Path, base: Path, named: bool, search: _Search) -> Iterator[Candidate]:
    """The photos of a file or folder; ``named``: it was, so that it is taken whatever it looks like."""
    if path.is_dir():
        yield from _in_folder(path, base, search)
    elif path.suffix.lower() == TAR_SUFFIX:
        yield from _in_tar(path, search.beside)
    elif path.suffix.lower() == PARQUET_SUFFIX:
        yield from _in_parquet(path, search.beside)
    elif named or is_photo(path):
        yield search.photo(path, base)


def _in_folder(folder: Path, base: Path, search: _Search) -> Iterator[Candidate]:
    inside = os.path.realpath(search.output)
    before, results, ours = None, frozenset[str](), False
    for path in walk_photos(folder):
        if path.parent != before:
            before, results = path.parent, frozenset(search.leave_out(path.parent))
            real = os.path.realpath(path.parent)
            ours = real == inside or real.startswith(inside + os.sep)
        if not ours and path.name not in results:
            yield search.photo(path, base)


def _in_list(path: Path, search: _Search) -> Iterator[Candidate]:
    base = path.parent
    with path.open(encoding="utf-8", errors="surrogateescape") as stream:
        while line := stream.readline(_MAX_LINE):
            name = line.rstrip("\r\n")
            if not name.strip() or name.startswith("#"):
                continue
            target = base / name
            try:
                found = expand(str(target))
            except UsageError as error:  # one wrong line among many is a photo that fails
                yield Candidate(_label(target, base), Place(str(target.absolute())), error=str(error))
                continue
            for match in found:
                yield from _in_path(match, base, match == target, search)


def _in_tar(path: Path, beside: bool) -> Iterator[Candidate]:
    """The pictures in a tar file, without unpacking anything."""
    found = _in_archive(path, beside)
    if not beside:
        yield from (candidate for _, candidate in found if isinstance(candidate, Candidate))
        return
    for _, sample in itertools.groupby(found, lambda entry: entry[0]):
        entries = [entry for _, entry in sample]
        own = next((entry for entry in entries if isinstance(entry, Beside)), None)
        yield from (replace(entry, beside=own) for entry in entries if isinstance(entry, Candidate))


def _in_archive(path: Path, beside: bool) -> Iterator[tuple[str, Candidate | Beside]]:
    """The pictures in a tar file, and what lies beside them; each with what the members of its sample share.

    That is the path up to the first dot of the name.
    """
    place = str(path.absolute())
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            end = 0
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if not member.isreg() or member.issparse():
                    continue
                _, dot, ending = member.name.rpartition("/")[2].partition(".")
                key = member.name.removesuffix(dot + ending)
                if beside and ending.lower() == "json":
                    values = _beside(archive, member)
                    yield from [(key, values)] if values else []
                if not _is_picture(member.name):
                    continue
                label = f"{shown(path.name)}/{inner_name(member.name)}"
                whole = member.offset_data + member.size <= size
                error = "" if whole else f"{shown(path)} ends in the middle of it."
                yield key, Candidate(label, Place(place, offset=member.offset_data, size=member.size), error=error)
        with path.open("rb") as stream:
            stream.seek(end)
            if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
                yield "", _damaged(path, f"is damaged from byte {end} on")
    except (OSError, tarfile.TarError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        yield "", _damaged(path, f"cannot be read as a tar file ({reason})")


def _beside(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Beside | None:
    stream = archive.extractfile(member)
    return read_beside(stream.read(MAX_BESIDE_BYTES + 1)) if stream else None


def _damaged(path: Path, what: str) -> Candidate:
    """An archive that fails as if it were a photo, so that the manifest tells of it."""
    sentence = f"{shown(path)} {what}."
    logger.warning("%s", sentence)
    return Candidate(shown(path.name), Place(str(path.absolute())), error=sentence)


def _is_picture(name: str) -> bool:
    inner = PurePosixPath(name)
    return inner.suffix.lower() in IMAGE_SUFFIXES and not inner.name.startswith(".")


def _in_parquet(path: Path, beside: bool) -> Iterator[Candidate]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = str(path.absolute())
    try:
        with pq.ParquetFile(path) as file:
            column = image_column(file.schema_arrow)
            groups = file.metadata.num_row_groups
            others = scalar_columns(file.schema_arrow) if beside else ()
        number = 0
        for group in range(groups):
            besides = parquet_rows(path, group, others, MAX_GROUP_BYTES) if others else itertools.repeat(None)
            cells = read_cells(path, group, column)
            for row, (data, own) in enumerate(zip(cells, besides, strict=False)):
                error = "" if data else "The row holds no picture."
                where = Place(place, group=group, row=row, column=column)
                yield Candidate(
                    f"{shown(path.name)}/{number}", where, data, error, None if own is None else Beside(own)
                )
                number += 1
    except (OSError, pa.ArrowException, ImageError) as error:
        yield _damaged(path, f"cannot be read as a Parquet file ({str(error).splitlines()[0]})")


def image_column(schema: Any) -> str:
    """The column of a Parquet file's schema that holds pictures; a field of a struct comes after a dot.

    Raises:
        OSError: there is none, or it is not clear which.
    """
    import pyarrow as pa

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


def _label(path: Path, base: Path) -> str:
    try:
        inner = path.relative_to(base)
    except ValueError:
        inner = Path(path.name)
    return inner_name(inner.as_posix())
