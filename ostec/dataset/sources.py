"""Which photos a build is given: in folders, files, patterns, lists, tar archives and Parquet files; and their bytes.

Sources may be somebody else's: nothing is unpacked, no name in an archive becomes a path, and sizes are checked before
anything is read.
"""

import glob
import io
import itertools
import logging
import os
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.errors import ImageError, UsageError
from ostec.core.plain import open_plain
from ostec.core.text import shown
from ostec.dataset.attributes import MAX_BESIDE_BYTES, Beside, beside_file, scalar_columns
from ostec.dataset.records import TEXTURE, Place
from ostec.io.images import IMAGE_SUFFIXES
from ostec.io.parquet import claimed_bytes, opened, reason_of
from ostec.io.photos import expand, is_photo, walk_photos

logger = logging.getLogger(__name__)

LeaveOut = Callable[[Path], Collection[str]]  # folder -> names of the files in it that are no sources

MAX_PHOTO_BYTES = 512 << 20  # a larger file is refused before it is read
MAX_GROUP_BYTES = 8 << 30  # a row group of a Parquet file that is larger, unpacked, is refused
LIST_SUFFIX, TAR_SUFFIX, PARQUET_SUFFIX = ".txt", ".tar", ".parquet"
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "data", "content")
"""Names of a Parquet file's column of pictures, the preferred first; a sole column of bytes is taken by any name."""
_PACKED_SUFFIXES = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
_RANKS = [f"{stem}{ending}" for stem in ("", "image.", "img.") for ending in ("jpg", "jpeg", "png", "webp")]
"""Of a sample ``x`` of an archive, the picture is the first of ``x.jpg``, ``x.jpeg``, ..., ``x.image.jpg``, ..."""
_MAX_HEADER = 4 << 20  # of a member of a tar file, with its long names
_MAX_LINE = 1 << 16
_BATCH_ROWS = 1  # what a file holds once can be the picture of each row


@dataclass(frozen=True)
class Candidate:
    """Something that may be a photo."""

    source: str
    place: Place
    data: bytes | None = None  # its bytes, where finding it meant reading it
    error: str = ""  # why it cannot be read, where that is known
    beside: Beside | None = None  # what the source brings besides the picture, if that was asked for


def check_sources(sources: Sequence[str]) -> None:
    """See that all sources are there, before anything is done. Raises UsageError."""
    for source in sources:
        expand(source)
        if source.lower().endswith(_PACKED_SUFFIXES) and not Path(source).is_dir():
            raise UsageError(f"{shown(source)} is compressed; please unpack it, or make it a plain .tar.")


@dataclass(frozen=True)
class Search:
    """How sources are searched.

    With ``beside``, what they bring besides the pictures is taken: NAME.json beside a file or in an archive, the other
    columns of a Parquet file.
    """

    leave_out: LeaveOut  # of files in folders
    output: Path  # the dataset's folder, which is never searched
    beside: bool = False

    def find(self, sources: Sequence[str]) -> Iterator[Candidate]:
        """What the sources hold, in their order; files that several of them name come more than once.

        Raises UsageError if a source does not exist or cannot be read.
        """
        check_sources(sources)
        for source, path in ((name, path) for name in sources for path in expand(name)):
            named = path == Path(source)
            base = path if named and path.is_dir() else path.parent
            if named and path.suffix.lower() == LIST_SUFFIX and path.is_file():
                yield from self._in_list(path)
            else:
                yield from self._in_path(path, base, named)

    def empty(self, sources: Sequence[str]) -> list[str]:
        """The sources without anything that is taken for a photo. Raises UsageError as :meth:`find`."""
        return [source for source in sources if next(self.find([source]), None) is None]

    def _in_path(self, path: Path, base: Path, named: bool) -> Iterator[Candidate]:
        """The photos of a file or folder; ``named``: it was, so that it is taken whatever it looks like."""
        if path.is_dir():
            yield from self._in_folder(path, base)
        elif path.suffix.lower() == TAR_SUFFIX:
            yield from self._in_tar(path)
        elif path.suffix.lower() == PARQUET_SUFFIX:
            yield from self._in_parquet(path)
        elif named or is_photo(path):
            yield self._photo(path, base)

    def _in_folder(self, folder: Path, base: Path) -> Iterator[Candidate]:
        inside = os.path.realpath(self.output)
        for parent, paths in itertools.groupby(walk_photos(folder), lambda path: path.parent):
            real = os.path.realpath(parent)
            if real != inside and not real.startswith(inside + os.sep):
                results = self.leave_out(parent)
                yield from (self._photo(path, base) for path in paths if path.name not in results)

    def _in_list(self, path: Path) -> Iterator[Candidate]:
        base = path.parent
        with io.TextIOWrapper(open_plain(path), encoding="utf-8", errors="surrogateescape") as stream:
            while line := stream.readline(_MAX_LINE):
                name = line.rstrip("\r\n")
                if not name.strip() or name.startswith("#"):
                    continue
                target = base / name
                label = _label(target, base) or shown(path.name)
                try:
                    _check_searched(base, name, label)
                    known = os.path.lexists(target)  # else a pattern, and the folder is none
                    found = expand(str(target) if known else str(Path(glob.escape(str(base))) / name), label)
                except UsageError as error:  # one wrong line among many is a photo that fails
                    yield Candidate(label, Place(str(target.absolute())), error=str(error))
                    continue
                for match in found:
                    yield from self._in_path(match, base, match == target)

    def _photo(self, path: Path, base: Path) -> Candidate:
        beside = beside_file(path) if self.beside else None
        return Candidate(_label(path, base), Place(str(path.absolute())), beside=beside)

    def _damaged(self, path: Path, what: str) -> Candidate:
        """An archive that fails as if it were a photo, so that the manifest tells of it."""
        logger.warning("%s %s.", shown(path), what)
        return Candidate(shown(path.name), Place(str(path.absolute())), error=f"{shown(path.name)} {what}.")

    def _in_tar(self, path: Path) -> Iterator[Candidate]:
        """The photos in a tar file: of a sample with several pictures, the one that is it."""
        left_out = textures = 0
        for _, sample in itertools.groupby(self._members(path), lambda member: member[0]):
            members = list(sample)
            own = next((found for _, _, found in members if isinstance(found, bytes)), None)
            pictures = {ending: found for _, ending, found in members if isinstance(found, Candidate)}
            best = min((e for e in pictures if e in _RANKS), key=_RANKS.index, default=None)
            taken = [c for ending, c in pictures.items() if best in (None, ending)]
            if best is None and TEXTURE in pictures:
                textures, taken = textures + 1, []
            elif best is not None:
                left_out += len(pictures) - 1
            yield from (replace(candidate, beside=own) for candidate in taken)
        parts = [f"{left_out} pictures of samples that have a photo besides"] * bool(left_out)
        parts += [f"{textures} samples that are finished textures"] * bool(textures)
        if parts:
            logger.warning("%s: left out were %s.", shown(path), " and ".join(parts))

    def _members(self, path: Path) -> Iterator[tuple[str, str, Candidate | bytes]]:
        """Key, ending and place of the pictures in a tar file; also the JSON that lies beside one, if asked for."""
        end = -1
        try:
            size = path.stat().st_size
            with open_plain(path), _Archive(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                end = 0
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
                    if member.size < 0 or member.offset < end:  # it would be read for ever
                        raise ValueError(f"the member at byte {member.offset} has an impossible size")
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    name = member.name.rpartition("/")[2]
                    stem, _, ending = name.partition(".")
                    key, ending = member.name.removesuffix(name) + stem, ending.lower()
                    if not member.isreg() or member.issparse() or name.startswith("."):
                        continue
                    if self.beside and ending == "json" and (inner := archive.extractfile(member)):
                        yield key, ending, inner.read(MAX_BESIDE_BYTES + 1)
                    if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                        whole = member.offset_data + member.size <= size
                        error = "" if whole else f"{shown(path.name)} ends in the middle of it."
                        place = Place(str(path.absolute()), offset=member.offset_data, size=member.size)
                        yield key, ending, Candidate(f"{shown(path.name)}/{_inner(member.name)}", place, error=error)
            with open_plain(path) as rest:
                rest.seek(end)
                if rest.read(tarfile.BLOCKSIZE).strip(b"\0"):
                    raise ValueError("garbage")
        except (OSError, tarfile.TarError, ValueError, OverflowError) as error:
            what = f"cannot be read as a tar file ({getattr(error, 'strerror', None) or error})"
            if str(error) == "garbage":
                what = f"is damaged from byte {end} on"
            yield "", "", self._damaged(path, what)

    def _in_parquet(self, path: Path) -> Iterator[Candidate]:
        """A photo a row: its bytes, or a file that the row names."""
        try:
            with opened(path) as file:
                column = image_column(file.schema_arrow)
                name = column.removesuffix(".bytes")
                others = scalar_columns(file.schema_arrow) if self.beside else []
                number = 0
                for group in range(file.metadata.num_row_groups):
                    if (claimed := claimed_bytes(file, group)) > MAX_GROUP_BYTES:
                        raise OSError(f"it claims {claimed} bytes in row group {group}")
                    batches = file.iter_batches(_BATCH_ROWS, [group], [name, *others], use_threads=False)
                    for row, values in enumerate(values for batch in batches for values in batch.to_pylist()):
                        cell = values.pop(name)
                        cell = cell if isinstance(cell, dict) else {"bytes": cell}
                        place = Place(str(path.absolute()), group=group, row=row, column=column)
                        beside = values if self.beside else None
                        found = Candidate(f"{shown(path.name)}/{number}", place, cell.get("bytes"), beside=beside)
                        yield found if found.data else _named_in(path, found, cell.get("path"))
                        number += 1
        except OSError as error:
            yield self._damaged(path, f"cannot be read as a Parquet file ({reason_of(error, path)})")


class _Archive(io.FileIO):
    """A tar file of which nothing large is read at once: a header may claim to go on for as long as the file does."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises ValueError if too much is asked for."""
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise ValueError(f"a header claims {size} bytes")
        return super().read(size) or b""


def _check_searched(base: Path, name: str, label: str) -> None:
    """Raise UsageError if a line of a list in the folder ``base`` would have another folder searched.

    The list may be somebody else's: one line is not to search the whole machine. Single files may lie anywhere.
    """
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), Path(name).parts))
    rest = Path(name).parts[len(fixed) :]
    there = os.path.isdir(base / name)  # noqa: PTH112 - False for names that are impossible
    if not there and (not rest or os.path.lexists(base / name)):
        return
    try:
        real, inside = (os.path.realpath(p) for p in (base / name if there else base.joinpath(*fixed), base))
    except ValueError:  # of an impossible name; that is said where it is looked for
        return
    if ".." in rest or os.path.commonpath([real, inside]) != inside:
        what = "the list's folder; name it as a source of its own"
        raise UsageError(f"{label} would search a folder outside {what}.")


def _label(path: Path, base: Path) -> str:
    """What a dataset calls a file: its path below the source."""
    return _inner((path.relative_to(base) if path.is_relative_to(base) else Path(path.name)).as_posix())


def _inner(name: str) -> str:
    """A path as one may print it, that leads nowhere else: neither absolute nor upwards."""
    return shown("/".join(part for part in PurePosixPath(name).parts if part not in ("/", "..", "//")))


def _named_in(path: Path, found: Candidate, name: Any) -> Candidate:
    """A row without bytes: the file that it names, if that lies below the Parquet file's folder.

    The table may be somebody else's: it is not to decide what of this machine is read.
    """
    if not name or not isinstance(name, str):
        return replace(found, data=None, error="The row holds no picture.")
    try:
        folder = path.resolve().parent
        target = (folder / name).resolve()
        inside, there = target.is_relative_to(folder), target.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, impossible, a loop of links
        inside, there = False, False
    if inside and there:
        return replace(found, place=Place(str(target)))
    what = "and there is no such file" if inside else f"which leads out of the folder of {shown(path.name)}"
    return replace(found, error=f"The row has only a path, {what}.")


def image_column(schema: Any) -> str:
    """The column of a Parquet file's schema that holds pictures; a field of a struct comes after a dot.

    Raises OSError if there is none, or it is not clear which.
    """
    import pyarrow as pa

    if {"image", "provenance", "record", "key"} <= set(schema.names):
        raise OSError("it holds finished textures, as ostec dataset export writes them")
    found = {}
    for name in schema.names:
        kind = schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            found[name] = f"{name}.bytes"
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            found[name] = name
    lower = {name.lower(): name for name in reversed(found)}
    preferred = next((found[lower[name]] for name in IMAGE_COLUMNS if name in lower), None)
    if preferred is None and len(found) != 1:
        raise OSError(f"expected one column of pictures, found {', '.join(found) or 'none'}")
    return preferred or next(iter(found.values()))


class PhotoReader:
    """Reads photos; keeps the Parquet file open that it read last, whose rows are asked for in rising order."""

    def __init__(self) -> None:
        self._group = ("", -1, "")
        self._next = 0
        self._cells: Iterator[bytes | None] = iter(())

    def __call__(self, place: Place) -> bytes:
        """The bytes at a place.

        Raises ImageError if they cannot be read, are no longer there or too many; the sentence, which goes into the
        manifest, names the file without its folders.
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
        data = next(itertools.islice(self._cells, place.row - self._next, None), None)
        self._next = place.row + 1
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
