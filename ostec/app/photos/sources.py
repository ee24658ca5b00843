"""Which files a run takes for photos, and what their results are called.

NAME is a photo's stem. Where two sources would share a file of their results, the later one (sorted by path) gets
``stem_ext``, then ``stem_2``, ``stem_3``, ...; letters of another case and composed umlauts count as the same, because
some file systems think so. With every face of a photo asked for, a face's results are called ``NAME_face1``,
``NAME_face2``, ..., also where only one face is found: the names follow from the sources alone.
"""

import itertools
import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostec.app.console import shown
from ostec.app.photos.results import INVERSION_ENDINGS, RESULT_ENDINGS, RUN_FILES, listed_files
from ostec.core.assets import sha256_of
from ostec.core.errors import UsageError
from ostec.core.settings import Faces
from ostec.io.photos import expand, is_photo, walk_photos

logger = logging.getLogger(__name__)

_MAX_NAME_BYTES = 180
"""File systems allow 255; the rest is for ``_face12``, the endings and the names of unfinished files."""
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Photo:
    """One source of a run."""

    path: Path
    name: str
    """Stem of its results."""

    @property
    def label(self) -> str:
        """The file's name, fit for a terminal."""
        return shown(self.path.name)

    @property
    def sha256(self) -> str:
        """That a result's record names it by. Raises AssetError: it cannot be read."""
        return sha256_of(self.path)


def find_photos(sources: Sequence[str], recursive: bool = True) -> list[Path]:
    """Find photos in files, folders and globs: each file once, sorted by where it really is.

    Files that are named are taken whatever they hold; in folders those that end like a picture or are one, hidden
    ones apart. Results of earlier runs are left out. A name with ``*``, ``?`` or ``[`` in it that exists is that file,
    not a pattern. Raises UsageError: a source is none or cannot be read, or no photo is found.
    """
    photos: dict[Path, Path] = {}  # where a file is -> its path as it was given
    results: dict[Path, set[str]] = {}
    left_out = 0
    for path in (p for source in sources for p in _photos_or_folders(source)):
        for file in walk_photos(path, recursive) if path.is_dir() else [path]:
            folder = Path(os.path.realpath(file.parent))
            if folder not in results:
                results[folder] = listed_files(folder)
            if file.name in results[folder]:
                left_out += 1
            else:
                photos.setdefault(folder / file.name, file)
    if not photos:
        where = ", ".join(shown(s) for s in sources)
        also = " (results of earlier runs do not count)" if left_out else ""
        raise UsageError(f"No photo was found in {where}{also}." if where else "No source was named.")
    if left_out:
        logger.info("Left out as results of earlier runs: %d.", left_out)
    return [photos[place] for place in sorted(photos, key=os.fspath)]


def _photos_or_folders(source: str) -> list[Path]:
    found = expand(source)
    return found if found == [Path(source)] else [p for p in found if p.is_dir() or is_photo(p)]


def assign_names(photos: Sequence[Path], endings: Sequence[str] = RESULT_ENDINGS) -> list[Photo]:
    """Name each photo's results, NAME + ``endings``; ``photos`` are sorted, and earlier ones choose first."""
    taken = {comparable(name) for name in RUN_FILES}
    named, last = [], dict[str, int]()  # of each stem, the last number that was tried
    for path in photos:
        for name in _candidates(path, last):
            outputs = {comparable(name + ending) for ending in endings}
            if taken.isdisjoint(outputs):
                break
        taken |= outputs
        named.append(Photo(path, name))
    return named


def _candidates(path: Path, last: dict[str, int]) -> Iterator[str]:
    stem = clean_name(path.stem)
    yield stem
    if path.suffix[1:]:
        yield clean_name(f"{stem}_{path.suffix[1:]}")
    for number in itertools.count(last.get(stem, 2)):
        last[stem] = number
        yield f"{stem}_{number}"


def clean_name(stem: str) -> str:
    """A stem that can be written into any file and with any ending: valid Unicode, no controls, not too long.

    Marks that turn the writing direction go too: a name would be read as another.
    """
    name = "".join("_" if unicodedata.category(c) in ("Cc", "Cs") or c in _TURNING else c for c in stem)
    return name.encode("utf-8")[:_MAX_NAME_BYTES].decode("utf-8", "ignore")


def comparable(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def refuse_replacing(
    photos: Sequence[Photo], save_dir: Path, faces: Faces, overwrite: bool, endings: Sequence[str] = RESULT_ENDINGS
) -> None:
    """Raise UsageError if a result would replace a source or, unless ``overwrite``, a picture that no run has made."""
    if not save_dir.is_dir():
        return
    outputs = {comparable(photo.name + ending): photo for photo in photos for ending in endings}
    identities = {_identity(photo.path): photo.path for photo in photos}
    identities.pop(None, None)
    files = sorted(save_dir.iterdir())  # before the list of results: another process may be adding to both
    known = listed_files(save_dir)
    for path in files:
        name = comparable(path.name)
        photo = outputs.get(_without_face(name) if faces == "all" else name)
        if photo is None:
            continue
        source = identities.get(_identity(path))
        if source is not None:
            what = f"the source {shown(source)}; choose another --save-dir."
            raise UsageError(f"The results of {photo.label} would replace {what}")
        ours = path.name in known or _has_companions(save_dir, path.name)
        if name.endswith(".png") and not (ours or overwrite):
            way_out = "choose another --save-dir, or allow it with --overwrite."
            what = f"{shown(path)}, which no earlier run has made; {way_out}"
            raise UsageError(f"The results of {photo.label} would replace {what}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # of a name with a zero in it
        return None
    return status.st_dev, status.st_ino


def _has_companions(save_dir: Path, file: str) -> bool:
    """Whether a picture lies beside other files of a result, as where somebody deleted NAME.json to have it redone."""
    stems = [file[: -len(ending)] for ending in {*RESULT_ENDINGS, *INVERSION_ENDINGS} if file.endswith(ending)]
    return any((save_dir / f"{stem}.npz").exists() or (save_dir / f"{stem}.obj").exists() for stem in stems)


def _without_face(name: str) -> str:
    endings = "|".join(re.escape(ending) for ending in RESULT_ENDINGS)
    return re.sub(rf"_face[1-9]\d*(?=(?:{endings})\Z)", "", name)
