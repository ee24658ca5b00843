"""Shards of a dataset: tar files in WebDataset's layout whose bytes follow from their content alone.

Every member has the same owner (0, 0), time (0) and mode (0644), a name ``KEY.ENDING`` and the type of a plain file, in
the oldest of the POSIX formats (ustar). The reader takes nothing else: it makes each header anew from the name and the
size that it states and compares the bytes, so that no name can lead out of a folder and no size beyond the file.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ostec.core.errors import AssetError
from ostec.core.plain import open_plain
from ostec.io.files import write_atomic

BLOCK = 512
TRAILER = bytes(2 * BLOCK)
"""The end of every tar file."""
MAX_MEMBER_BYTES = 1 << 30
"""A reader takes a member into memory as a whole; the format's eleven octal digits would allow eight times that."""
_NAME = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)+")
_MAX_NAME = 100
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class ShardMember:
    """Where one file lies in a shard."""

    name: str
    """``KEY.ENDING``."""
    offset: int
    """Of the first byte of its content, from the beginning of the shard."""
    size: int
    """Bytes of its content."""

    @property
    def key(self) -> str:
        """What the members of one sample share: the name up to the first dot."""
        return self.name.partition(".")[0]

    @property
    def ending(self) -> str:
        """The rest of the name, without that dot."""
        return self.name.partition(".")[2]

    @property
    def header(self) -> int:
        """Where its header begins."""
        return self.offset - BLOCK

    @property
    def end(self) -> int:
        """Where the next header, or the end of the shard, begins."""
        return self.offset + _padded(self.size)


def pack_members(files: Iterable[tuple[str, bytes]]) -> bytes:
    """The part of a shard that holds some files, by name and content, in that order.

    Raises ValueError if a name is none of ``KEY.ENDING`` of letters, digits, ``_`` and ``-``, or too long, or a file is
    too large for the format.
    """
    parts = []
    for name, data in files:
        parts += [_header(name, len(data)), data, bytes(_padded(len(data)) - len(data))]
    return b"".join(parts)


def write_shard(path: Path, parts: Iterable[tuple[Path, int, int]], digests: Sequence[str] = ()) -> str:
    """Write a shard from stretches of files that hold what :func:`pack_members` returned; returns its SHA-256.

    Args:
        parts: file, first byte, number of bytes.
        digests: of the parts, SHA-256, to compare them with; none if empty.

    Raises OutputError if it cannot be written, or a part not read, DamagedPart if a part is not what its digest says.
    """
    digest = hashlib.sha256()

    def write(stream: BinaryIO) -> None:
        for number, (file, start, length) in enumerate(parts):
            own = hashlib.sha256()
            try:
                for block in read_blocks(file, start, length):
                    digest.update(block)
                    own.update(block if digests else b"")
                    stream.write(block)
            except EndsEarly as error:
                if not digests:
                    raise
                raise DamagedPart(file) from error
            if digests and own.hexdigest() != digests[number]:
                raise DamagedPart(file)
        digest.update(TRAILER)
        stream.write(TRAILER)

    write_atomic(path, write, synced=True)  # what it was made from is removed next
    return digest.hexdigest()


class DamagedPart(AssetError):
    """A file that was to become a part of a shard is not what was written."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} is damaged (its bytes are not those that were written).")
        self.file = file


class EndsEarly(OSError):
    """A file is shorter than expected."""


def read_blocks(file: Path, start: int, length: int) -> Iterator[bytes]:
    """A stretch of a file, in blocks of a megabyte.

    Raises EndsEarly if it is shorter than that, OSError if it cannot be read.
    """
    with open_plain(file) as stream:
        stream.seek(start)
        while length > 0:
            block = stream.read(min(length, _COPY_BYTES))
            if not block:
                raise EndsEarly(f"{file.name} ends too early")
            length -= len(block)
            yield block


def read_members(path: Path, start: int = 0, stop: int | None = None) -> Iterator[ShardMember]:
    """The members of a shard, in order, between the bytes ``start`` and ``stop``; None: its end, which must be there.

    Raises AssetError if the file cannot be read, is damaged, or is no shard that :func:`write_shard` has written.
    """
    try:
        with open_plain(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            offset, end = start, size - len(TRAILER)
            while offset < (end if stop is None else stop):
                stream.seek(offset)
                member = _parse(stream.read(BLOCK), offset)
                if member is None or member.end > (end if stop is None else min(stop, end)):
                    raise AssetError(f"{path} is damaged (expected a member at byte {offset}, found none).")
                yield member
                offset = member.end
            if stop is not None:
                return
            stream.seek(max(0, size - len(TRAILER)))
            if stream.read() != TRAILER:
                raise AssetError(f"{path} is damaged (its end is missing).")
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error


def read_member(path: Path, member: ShardMember) -> bytes:
    """The content of one member. Raises AssetError if the file cannot be read or ends too early."""
    try:
        return b"".join(read_blocks(path, member.offset, member.size))
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _header(name: str, size: int) -> bytes:
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ValueError(f"expected a name KEY.ENDING of at most {_MAX_NAME} plain characters, got {name!r}")
    if not 0 <= size <= MAX_MEMBER_BYTES:
        raise ValueError(f"expected a member of at most {MAX_MEMBER_BYTES} bytes, got {size}")
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def _parse(header: bytes, offset: int) -> ShardMember | None:
    """The member whose header this is; None if this program would write another one."""
    try:
        name = header[:_MAX_NAME].rstrip(b"\0").decode("ascii")
        size = int(header[124:135], 8)
        return ShardMember(name, offset + BLOCK, size) if _header(name, size) == header else None
    except ValueError:
        return None
