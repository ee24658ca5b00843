"""Which photos a build is given: in folders, files, patterns, lists, tar archives and Parquet files."""

import logging
import os
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.errors import ImageError, UsageError
from ostec.core.text import shown
from ostec.dataset.reader import read_cells
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


def find_candidates(sources: Sequence[str], leave_out: LeaveOut, output: Path) -> Iterator[Candidate]:
    """What the sources hold, in their order; files that several of them name come more than once.

    Args:
        sources: as on the command line.
        leave_out: of files in folders.
        output: the dataset's folder, which is never searched.

    Raises:
        UsageError: a source does not exist or cannot be read.
    """
    check_sources(sources)
    for source in sources:
        for path in expand(source):
            base = path if path == Path(source) and path.is_dir() else path.parent
            named = path == Path(source)
            if path.suffix.lower() == LIST_SUFFIX and path.is_file() and named:
                yield from _in_list(path, leave_out, output)
            else:
                yield from _in_path(path, base, named, leave_out, output)


def check_sources(sources: Sequence[str]) -> None:
    """See that all sources are there, before anything is done.

    Raises:
        UsageError: one does not exist, cannot be read or is compressed.
    """
    for source in sources:
        expand(source)
        if source.lower().endswith(_PACKED_SUFFIXES) and not Path(source).is_dir():
            raise UsageError(f"{shown(source)} is compressed; please unpack it, or make it a plain .tar.")


def _in_path(path: Path, base: Path, named: bool, leave_out: LeaveOut, output: Path) -> Iterator[Candidate]:
    """The photos of a file or folder; ``named``: it was, so that it is taken whatever it looks like."""
    if path.is_dir():
        yield from _in_folder(path, base, leave_out, output)
    elif path.suffix.lower() == TAR_SUFFIX:
        yield from _in_tar(path)
    elif path.suffix.lower() == PARQUET_SUFFIX:
        yield from _in_parquet(path)
    elif named or is_photo(path):
        yield Candidate(_label(path, base), Place(str(path.absolute())))


def _in_folder(folder: Path, base: Path, leave_out: LeaveOut, output: Path) -> Iterator[Candidate]:
    inside = os.path.realpath(output)
    before, results, ours = None, frozenset[str](), False
    for path in walk_photos(folder):
        if path.parent != before:
            before, results = path.parent, frozenset(leave_out(path.parent))
            real = os.path.realpath(path.parent)
            ours = real == inside or real.startswith(inside + os.sep)
        if not ours and path.name not in results:
            yield Candidate(_label(path, base), Place(str(path.absolute())))


def _in_list(path: Path, leave_out: LeaveOut, output: Path) -> Iterator[Candidate]:
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
                yield from _in_path(match, base, match == target, leave_out, output)


def _in_tar(path: Path) -> Iterator[Candidate]:
    """The pictures in a tar file, without unpacking anything."""
    place = str(path.absolute())
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            end = 0
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if not member.isreg() or member.issparse() or not _is_picture(member.name):
                    continue
                label = f"{shown(path.name)}/{_inner(member.name)}"
                whole = member.offset_data + member.size <= size
                error = "" if whole else f"{shown(path)} ends in the middle of it."
                yield Candidate(label, Place(place, offset=member.offset_data, size=member.size), error=error)
        with path.open("rb") as stream:
            stream.seek(end)
            if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
                yield _damaged(path, f"is damaged from byte {end} on")
    except (OSError, tarfile.TarError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        yield _damaged(path, f"cannot be read as a tar file ({reason})")


def _damaged(path: Path, what: str) -> Candidate:
    """An archive that fails as if it were a photo, so that the manifest tells of it."""
    sentence = f"{shown(path)} {what}."
    logger.warning("%s", sentence)
    return Candidate(shown(path.name), Place(str(path.absolute())), error=sentence)


def _is_picture(name: str) -> bool:
    inner = PurePosixPath(name)
    return inner.suffix.lower() in IMAGE_SUFFIXES and not inner.name.startswith(".")


def _in_parquet(path: Path) -> Iterator[Candidate]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = str(path.absolute())
    try:
        with pq.ParquetFile(path) as file:
            column = image_column(file.schema_arrow)
            groups = file.metadata.num_row_groups
        number = 0
        for group in range(groups):
            for row, data in enumerate(read_cells(path, group, column)):
                error = "" if data else "The row holds no picture."
                where = Place(place, group=group, row=row, column=column)
                yield Candidate(f"{shown(path.name)}/{number}", where, data, error)
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
    return _inner(inner.as_posix())


def _inner(name: str) -> str:
    """A name as one may print it, that leads nowhere else."""
    return shown("/".join(part for part in PurePosixPath(name).parts if part not in ("/", "..", "//")))
