"""Photos in tar archives: nothing is unpacked, and none of the names in them becomes a path."""

import io
import itertools
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ostec.core.text import shown
from ostec.dataset.attributes import MAX_BESIDE_BYTES, Beside, inner_name, read_beside
from ostec.dataset.candidates import Candidate, Search
from ostec.dataset.members import TEXTURE
from ostec.dataset.records import Place
from ostec.io.images import IMAGE_SUFFIXES

_PHOTO_ENDINGS = ("jpg", "jpeg", "png", "webp")
_OTHER_ENDINGS = tuple(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES if suffix[1:] not in _PHOTO_ENDINGS))
_PHOTO_STEMS = ("", "image", "img")
"""Of a sample ``x``, the picture is the first of ``x.jpg``, ``x.jpeg``, ..., ``x.image.jpg``, ..."""
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_MAX_HEADER = 4 << 20
"""Of a member of a tar file, with its long names."""


class _Archive(io.FileIO):
    """A tar file of which nothing large is read at once: a header may claim to go on for as long as the file does."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises ValueError if too much is asked for."""
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise ValueError(f"a header claims {size} bytes")
        return super().read(size) or b""


def in_tar(path: Path, search: Search) -> Iterator[Candidate]:
    """The photos in a tar file, without unpacking anything: of a sample with several pictures, the one that is it."""
    left_out, textures = 0, 0
    for _, sample in itertools.groupby(_in_archive(path, search), lambda member: member.key):
        members = list(sample)
        own = next((member.found for member in members if isinstance(member.found, Beside)), None)
        pictures = [member for member in members if isinstance(member.found, Candidate)]
        chosen = _photos_of(pictures)
        textures += int(bool(pictures) and not chosen)
        left_out += len(pictures) - len(chosen) if chosen else 0
        yield from (replace(c, beside=own) for member in chosen if isinstance(c := member.found, Candidate))
    parts = [f"{left_out} pictures of samples that have a photo besides"] if left_out else []
    parts += [f"{textures} samples that are finished textures"] if textures else []
    if parts:
        search.warn(f"{shown(path)}: left out were {' and '.join(parts)}.")


def _photos_of(pictures: "list[_Member]") -> "list[_Member]":
    """What of a sample's pictures is taken for a photo: the best of :data:`_PHOTO_ENDINGS`, else all of them."""
    ranked = [(rank, member) for member in pictures if (rank := _rank(member.ending)) is not None]
    if ranked:
        best = min(ranked, key=lambda entry: entry[0])[1]
        return [member for member in pictures if member is best or not member.ending]
    return [] if any(member.ending == TEXTURE for member in pictures) else pictures


def _rank(ending: str) -> int | None:
    """Where an ending stands among those of photos, the first being preferred; None if it is none of them."""
    stem, _, kind = ending.rpartition(".")
    kinds = (*_PHOTO_ENDINGS, *_OTHER_ENDINGS)
    if kind not in kinds or stem not in _PHOTO_STEMS:
        return None
    return len(kinds) * _PHOTO_STEMS.index(stem) + kinds.index(kind)


@dataclass(frozen=True)
class _Member:
    """A picture in a tar file, or what lies beside one."""

    key: str
    """What the members of its sample share: the path up to the first dot of the name."""
    ending: str
    """The rest of the name without that dot, in lower case; empty for what stands for the whole archive."""
    found: Candidate | Beside


def _in_archive(path: Path, search: Search) -> Iterator[_Member]:
    """The pictures in a tar file and, if asked for, what lies beside them."""
    place = str(path.absolute())
    try:
        size = path.stat().st_size
        with _Archive(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            end = 0
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
                if member.size < 0 or member.offset < end:  # it would be read for ever
                    raise ValueError(f"the member at byte {member.offset} has an impossible size")
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if not member.isreg() or member.issparse():
                    continue
                _, dot, ending = member.name.rpartition("/")[2].partition(".")
                key = member.name.removesuffix(dot + ending)
                ending = ending.lower()
                if search.beside and ending == "json":
                    values = _beside(archive, member)
                    yield from [_Member(key, ending, values)] if values else []
                if not _is_picture(member.name):
                    continue
                label = f"{shown(path.name)}/{inner_name(member.name)}"
                whole = member.offset_data + member.size <= size
                error = "" if whole else f"{shown(path.name)} ends in the middle of it."
                where = Place(place, offset=member.offset_data, size=member.size)
                yield _Member(key, ending, Candidate(label, where, error=error))
        with path.open("rb") as rest:
            rest.seek(end)
            if rest.read(tarfile.BLOCKSIZE).strip(b"\0"):
                yield _Member("", "", search.damaged(path, f"is damaged from byte {end} on"))
    except (OSError, tarfile.TarError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        packed = packed_with(path)
        what = f"is compressed with {packed}" if packed else f"cannot be read as a tar file ({reason})"
        yield _Member("", "", search.damaged(path, what))


def packed_with(path: Path) -> str:
    """What a file is compressed with; empty if it is not, or cannot be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(max(map(len, _MAGIC)))
    except OSError:
        return ""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def _beside(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Beside | None:
    stream = archive.extractfile(member)
    return read_beside(stream.read(MAX_BESIDE_BYTES + 1)) if stream else None


def _is_picture(name: str) -> bool:
    inner = PurePosixPath(name)
    return inner.suffix.lower() in IMAGE_SUFFIXES and not inner.name.startswith(".")
