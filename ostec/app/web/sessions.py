"""Whose photos and results are where: a folder for each open page, all in one temporary folder that goes at the end."""

import contextlib
import json
import logging
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ostec.app.photos.sources import assign_names, clean_name
from ostec.app.web.jobs import Job
from ostec.app.web.live import Live
from ostec.core.errors import OutputError, UsageError
from ostec.core.text import shown
from ostec.io.files import make_folder, make_short_temp, part_of

logger = logging.getLogger(__name__)

MOST_FILES = 2000
"""Files that a page holds at once."""
MOST_BYTES = 4 << 30
"""Of the files that a page holds at once."""
UPLOADS_KEPT_S = 900.0
"""How long an upload that nobody took up stays."""
_MOST_OF_ENDING = 16
"""Characters of a file's ending, with its dot; what kind it is its content says."""
MOST_CHARACTERS = 1 << 20
"""Of the list of files that a page sends."""


@dataclass(frozen=True)
class Result:
    """A folder of finished files that its owner may see."""

    number: int
    folder: Path
    title: str
    address: str
    """Where its files are, below the page's root, with a slash at the end."""

    def place(self, name: str) -> str:
        """Address of one of its files, below the page's root."""
        return self.address + quote(name)

    def files(self) -> dict[str, Path]:
        """Every file by its path below the folder, with slashes."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())
        return {path.relative_to(self.folder).as_posix(): path for path in found}

    def archive(self) -> Path:
        """A ZIP of the files, made when it is first asked for; beside the folder. Raises OutputError."""
        path = self.folder.with_suffix(".zip")
        if path.exists():
            return path
        part = part_of(path.parent)
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # pictures and meshes are compressed
                for name, file in self.files().items():
                    archive.write(file, name)
            part.replace(path)
        except OSError as error:
            raise OutputError(f"The ZIP cannot be written ({error.strerror or error}).") from error
        finally:
            part.unlink(missing_ok=True)
        return path


@dataclass
class Session:
    """One open page: what it holds, and what is being done for it."""

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Part of the addresses of its results; nobody else can guess it."""
    photos: dict[str, list[Path]] = field(default_factory=dict)
    """What was dropped, by the tab it was dropped on."""
    results: dict[int, Result] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    """The last job of each tab."""
    live: Live | None = None
    """The recording of its camera."""
    closed: bool = False
    _count: int = 0

    def make(self, title: str, fill: Callable[[Path], object]) -> Result:
        """A result of the files that ``fill`` writes into the folder it is given; none where that fails."""
        self._count += 1
        number, folder = self._count, self.folder / str(self._count)
        part = make_folder(self.folder / f".{number}.part")
        try:
            fill(part)
            part.rename(folder)
            self.results[number] = Result(number, folder, title, f"results/{self.token}/{number}/")
            return self.results[number]
        except OSError as error:
            raise OutputError(f"The results cannot be kept ({error.strerror or error}).") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
            if self.closed:
                shutil.rmtree(self.folder, ignore_errors=True)

    def preview(self, name: str) -> tuple[Path, str]:
        """Where a small picture of what was dropped goes, and its address."""
        return make_folder(self.folder / "previews") / name, f"results/{self.token}/previews/{name}"

    def find(self, number: str, name: str) -> Path | None:
        """A file by what its address says; None where there is none, or it is none of this page's."""
        if number == "previews":
            known = {path.name: path for path in (self.folder / "previews").glob("*")}
            return known.get(name)
        result = self.results.get(int(number)) if number.isascii() and number.isdecimal() else None
        return None if result is None else result.files().get(name)


class Sessions:
    """All open pages."""

    def __init__(self) -> None:
        """Make the temporary folder. Raises OutputError: it cannot be made."""
        self.root = make_short_temp("ostec-app-")
        self.uploads = make_folder(self.root / "uploads")
        """Where Gradio puts what arrives."""
        self._all: dict[str, Session] = {}
        self._lock = threading.Lock()

    def of(self, key: str | None) -> Session:
        """The page that Gradio knows by a name."""
        name = key or ""
        with self._lock:
            if name not in self._all:
                self._all[name] = Session(make_folder(self.root / f"s{secrets.token_hex(8)}"))
            return self._all[name]

    def by_token(self, token: str) -> Session | None:
        """The page whose results have this address."""
        with self._lock:
            every = list(self._all.values())
        return next((one for one in every if secrets.compare_digest(one.token.encode(), token.encode())), None)

    def take(self, session: Session, tab: str, value: str | None) -> list[Path]:
        """Keep what a page says was dropped on a tab, in place of what was there before.

        Args:
            session: the page.
            tab: name of the tab.
            value: JSON of a list of objects whose ``path`` is that of an upload.

        Returns:
            The files, with names of their own.

        Raises:
            UsageError: that is no such list, or there are too many.
        """
        sources = self._uploaded(value)
        folder = session.folder / f"in-{tab}"
        shutil.rmtree(folder, ignore_errors=True)
        session.photos[tab] = []
        if sources:
            kept = make_folder(folder)
            for item, source in zip(assign_names(sources, [""]), sources, strict=True):
                place = kept / f"{clean_name(item.name)}{clean_name(source.suffix.lower())[:_MOST_OF_ENDING]}"
                shutil.copyfile(source, place)
                session.photos[tab].append(place)
        self._sweep()
        return session.photos[tab]

    def _uploaded(self, value: str | None) -> list[Path]:
        if not isinstance(value, str | None):
            raise UsageError("The list of files cannot be read; please drop them again.")
        if value and len(value) > MOST_CHARACTERS:
            raise UsageError(f"More than {MOST_FILES} files at once are too many.")
        try:
            listed = json.loads(value or "[]")
            paths = [Path(str(one["path"])) for one in listed]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UsageError("The list of files cannot be read; please drop them again.") from error
        if len(paths) > MOST_FILES:
            raise UsageError(f"{len(paths)} files are more than {MOST_FILES} at once.")
        total = 0
        for path in paths:
            try:
                real = path.resolve()
                ours = real.is_relative_to(self.uploads.resolve()) and real.is_file()
                total += real.stat().st_size if ours else 0
            except (OSError, ValueError):  # a name with a zero in it, or longer than names can be
                ours = False
            if not ours:
                raise UsageError(f"{shown(path.name)[:80]} is not here any more; please drop it again.")
        if total > MOST_BYTES:
            raise UsageError(f"The files have more than {MOST_BYTES >> 30} GB together.")
        return paths

    def _sweep(self) -> None:
        """Remove uploads that were taken up, or forgotten, long ago."""
        limit = time.time() - UPLOADS_KEPT_S
        for path in self.uploads.glob("*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < limit and path.name != "examples":
                    shutil.rmtree(path, ignore_errors=True)

    def drop(self, key: str | None) -> None:
        """A page was closed: its jobs end, its files go."""
        with self._lock:
            session = self._all.pop(key or "", None)
        if session is not None:
            session.closed = True
            for job in session.jobs.values():
                job.cancel()
            shutil.rmtree(session.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        for key in list(self._all):
            self.drop(key)
        shutil.rmtree(self.root, ignore_errors=True)
