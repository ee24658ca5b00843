"""``ostec models list|show|fetch|verify|path``: the models that users add, where they are and how they get there."""

import difflib
import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ostec.app.console import Display, begin, say
from ostec.app.options import Flag, Flat, Quiet, Verbose, option
from ostec.core.assets import (
    Pin,
    load_manifest,
    manifest_names,
    models_folders,
    pin_of,
    place_of,
    read_pin,
    sha256_of,
    use_models_folder,
    verified_path,
)
from ostec.core.errors import AssetError, DownloadError, OstecError, UsageError
from ostec.core.inventory import FileStatus, State, inspect_model
from ostec.core.manifests import Manifest, ManifestFile
from ostec.io.download import DownloadSettings, Progress, Wanted, download, write_pin
from ostec.io.web import Patience

logger = logging.getLogger(__name__)

_LINE_SECONDS = 10.0
"""Between two lines about a download where no bar is drawn."""
_SHOWN = (
    *("name", "purpose", "state", "homepage", "paper", "licence", "commercial_use", "redistribution"),
    *("sign_up", "package", "source", "format", "loader", "input"),
)
_LABELS = {"loader": "read by"}


@dataclass(frozen=True)
class ModelsOptions:
    """Where models are, and how much is said."""

    models_dir: Annotated[str | None, option(metavar="DIR")] = None
    """Where models are looked for first and fetched to; without it $OSTEC_MODELS, then the user's cache folder."""
    quiet: Quiet = False
    """Say nothing but what was asked for, warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def begin(self) -> None:
        """Set up logging and the folder. Raises UsageError for options that mean nothing."""
        begin(self.quiet, self.verbose)
        if self.models_dir is not None:
            use_models_folder(self.models_dir)


@dataclass(frozen=True)
class ModelsList:
    """List the models, whether each is on this machine, its size and its licence.

    States: present; unpinned: there, with a checksum that nobody published or pinned; partly: some files are there;
    missing: can be fetched; by hand: needs a browser; gated: needs a registration; damaged: a size is wrong. Checksums
    are compared by ostec models verify.
    """

    common: Flat[ModelsOptions] = field(default_factory=ModelsOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.common.begin()
        found = [inspect_model(load_manifest(name)) for name in manifest_names()]
        rows = [(one.manifest.name, one.state.value, sized(one.size), _terms(one.manifest)) for one in found]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        for row in rows:
            say(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}")
        for one in found:
            for file in one.files:
                if file.reason:
                    logger.warning("%s", file.reason)
        folders = models_folders()
        if folders:
            logger.info("Fetched models go to %s; ostec models show NAME tells more.", folders[0])
        return 0


@dataclass(frozen=True)
class ModelsShow:
    """Show all that is known of a model: purpose, licence, what it expects, its files and where they are."""

    model: Annotated[str, Positional, option(metavar="NAME")]
    """Name, as ostec models list shows it."""
    common: Flat[ModelsOptions] = field(default_factory=ModelsOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.common.begin()
        status = inspect_model(named(self.model))
        manifest = status.manifest
        told = {
            "state": status.state.value,
            "commercial_use": _answer(manifest.commercial_use),
            "redistribution": _answer(manifest.redistribution),
            "loader": manifest.loader or "nothing in this version",
        }
        for name in _SHOWN:
            if value := told.get(name) or getattr(manifest, name):
                say(f"{_LABELS.get(name, name.replace('_', ' ')) + ':':<16}{value}")
        say("files:" + ("          one of them is enough, the first is preferred" if manifest.any_of else ""))
        for file in status.files:
            _show_file(manifest, file)
        return 0


@dataclass(frozen=True)
class ModelsFetch:
    """Download models: to --models-dir, $OSTEC_MODELS or the user's cache folder, the first that is named.

    An interrupted download is gone on with by the same command. Sizes and SHA-256 are checked; where nobody published a
    checksum, that of the first download is pinned beside the file. Of alternatives the first is fetched, unless one is
    named as NAME:FILE.
    """

    models: Annotated[tuple[str, ...], Positional, option(metavar="NAME[:FILE]...", help_behavior_hint="(required)")]
    """Names, as ostec models list shows them; NAME:FILE for one file."""
    all_files: Flag = False
    """Of alternatives fetch all that have an address."""
    allow_http: Flag = False
    """Follow redirects to addresses without encryption, too; what arrives is checked all the same."""
    dry_run: Flag = False
    """Say what would be fetched, from where and to where; nothing is downloaded or written."""
    common: Flat[ModelsOptions] = field(default_factory=ModelsOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.common.begin()
        if not self.models:
            raise UsageError("NAME[:FILE]... must be given (see ostec models list).")
        chosen = [pair for model in dict.fromkeys(self.models) for pair in to_fetch(model, self.all_files)]
        jobs, code = [], 0
        for manifest, file in chosen:
            if file.path is not None and file.state is not State.DAMAGED:
                try:
                    unknown = file.state is State.UNPINNED and not self.dry_run
                    pinned = f", pinned: {_pin(manifest, file.path)}" if unknown else ""
                    self._say(f"{file.entry.name} is there: {file.path}{pinned}")
                except AssetError as error:
                    logger.warning("%s", error)
                    code = 1
            elif not file.entry.addresses:
                logger.warning("%s", _by_hand(manifest, file))
                code = 1
            elif self.dry_run:
                size, place = sized(file.entry.size), place_of(file.entry)
                say(f"{file.entry.name} ({size}) would come from {file.entry.addresses[0]} and go to {place}")
            else:
                jobs.append((manifest, file.entry))
        for manifest in {job.name: job for job, _ in jobs}.values():
            logger.info("%s: %s.", manifest.name, _terms(manifest, full=True))
        return max(code, self._fetch_all(jobs)) if jobs else code

    def _fetch_all(self, jobs: list[tuple[Manifest, ManifestFile]]) -> int:
        from ostec.app.photos.runner import terminate_like_interrupt  # which loads much

        with Display(len(jobs), len(jobs), self.common.quiet, "files") as display, terminate_like_interrupt():
            failed = 0
            for manifest, entry in jobs:
                display.begin(entry.name)
                try:
                    teller = _Teller(display, entry.name, sys.stderr.isatty())
                    self._say(f"Fetched {fetch_file(manifest, entry, teller, self.allow_http)}")
                except OstecError as error:
                    logger.warning("%s", error)
                    failed += 1
                display.end(entry.name, None)
        return int(failed > 0)

    def _say(self, text: str) -> None:
        if not self.common.quiet:
            say(text)


@dataclass(frozen=True)
class ModelsVerify:
    """Compare the SHA-256 of all models that are there, or of those that are named. Exit code 1: something is damaged.

    A file of unknown checksum is opened and, if it is what it should be, pinned: from then on it must stay as it is.
    """

    models: Annotated[tuple[str, ...], Positional, option(metavar="[NAME...]", help_behavior_hint="")] = ()
    """Names, as ostec models list shows them; without any, all that are there."""
    common: Flat[ModelsOptions] = field(default_factory=ModelsOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.common.begin()
        manifests = [named(name) for name in dict.fromkeys(self.models)]
        code = 0
        for manifest in manifests or [load_manifest(name) for name in manifest_names()]:
            status = inspect_model(manifest, thoroughly=True)
            for file in status.files:
                if file.state is State.DAMAGED:
                    logger.warning("%s", file.reason)
                    code = 1
                elif file.path is not None:
                    try:
                        unknown = file.state is State.UNPINNED
                        say(f"{file.entry.name} is {'pinned: ' + _pin(manifest, file.path) if unknown else 'good'}")
                    except AssetError as error:
                        logger.warning("%s", error)
                        code = 1
            if self.models and not status.usable:
                logger.warning("%s is not, or not wholly, on this machine.", manifest.name)
                code = 1
        return code


@dataclass(frozen=True)
class ModelsPath:
    """Print where the files of a model are, one path in each line; nothing is checked."""

    model: Annotated[str, Positional, option(metavar="NAME")]
    """Name, as ostec models list shows it."""
    model_file: Annotated[str | None, Positional, option(metavar="[FILE]")] = None
    """One of its files; without it all, or of alternatives the one that is used."""
    common: Flat[ModelsOptions] = field(default_factory=ModelsOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.common.begin()
        manifest = named(self.model)
        status = inspect_model(manifest)
        if self.model_file is not None:
            wanted = [_entry(manifest, self.model_file)]
        else:
            wanted = [file.entry for file in status.needed]
        files = [file for file in status.files if file.entry in wanted]
        for file in files:
            if file.path is None:
                how = f"ostec models show {manifest.name} says how it gets there"
                raise AssetError(f"{file.entry.name} is not on this machine ({how}).")
        for file in files:
            say(str(file.path))
        return 0


def named(model: str) -> Manifest:
    """The manifest of a model that a user has named. Raises UsageError if there is no such model."""
    names = manifest_names()
    if model not in names:
        similar = difflib.get_close_matches(model, names, 2)
        hint = f"did you mean {' or '.join(similar)}?" if similar else f"there is {', '.join(names)}."
        raise UsageError(f"There is no model {model!r}; {hint}")
    return load_manifest(model)


def sized(size: int) -> str:
    """Bytes as one reads them, in decimal units."""
    if not size:
        return "unknown size"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _entry(manifest: Manifest, file: str) -> ManifestFile:
    try:
        return manifest.file(file)
    except AssetError as error:
        names = ", ".join(entry.name for entry in manifest.files[:8])
        raise UsageError(f"{manifest.name} has no file {file!r}; it has {names}.") from error


def to_fetch(model: str, all_files: bool = False) -> list[tuple[Manifest, FileStatus]]:
    """The files that ``NAME`` or ``NAME:FILE`` means, and their manifest. Raises UsageError: there is no such."""
    name, _, file = model.partition(":")
    manifest = named(name)
    every = inspect_model(manifest, thoroughly=True).files
    if file:
        files = [one for one in every if one.entry == _entry(manifest, file)]
    elif manifest.any_of and not all_files:
        files = [one for one in every if one.state in (State.PRESENT, State.UNPINNED)][:1] or list(every[:1])
    else:
        files = [one for one in every if one.entry.addresses or not manifest.any_of] or list(every)
    return [(manifest, one) for one in files]


def fetch_file(manifest: Manifest, entry: ManifestFile, progress: Progress, allow_http: bool = False) -> str:
    """Download one file; returns what is said of it."""
    place = place_of(entry)
    settings = DownloadSettings(patience=Patience(allow_http=allow_http))
    try:
        got = download(Wanted(place, entry.addresses, entry.size, entry.sha256), settings, progress)
    except DownloadError as error:
        hint = f" It can also be downloaded by hand, see ostec models show {manifest.name}." if entry.page else ""
        raise DownloadError(f"{error}{hint}") from error
    pinned = f"; its SHA-256, which nobody published, is pinned in {pin_of(place).name}" if got.pinned else ""
    return f"{got.path} ({sized(got.size)}){pinned}"


class _Teller:
    """Tells of the bytes of one file: to the bar, or as a line now and then where there is none."""

    def __init__(self, display: Display, name: str, has_bar: bool) -> None:
        self._display, self._name, self._has_bar = display, name, has_bar
        self._start = self._told = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        self._display.stage(sized(done), done / total if total else 0.0)
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if self._has_bar or now - self._told < _LINE_SECONDS or done == self._first:
            return
        self._told = now
        left = (total - done) * (now - self._start) / (done - self._first)
        end = f" of {sized(total)}, about {left:.0f} s left" if total else ""
        logger.info("%s: %s%s", self._name, sized(done), end)


def _by_hand(manifest: Manifest, file: FileStatus) -> str:
    """What a person has to do for a file without an address, with the exact folder."""
    entry = file.entry
    if manifest.ships:
        try:
            return f"{entry.name} is there: {verified_path(manifest.name, entry.name)}."
        except AssetError as error:
            return str(error)
    page = entry.page or manifest.sign_up or manifest.homepage
    sign_up = "" if not manifest.sign_up else f" after a sign-up at {manifest.sign_up}"
    where = f"download it from {page}{' after a sign-up there' if page == manifest.sign_up else sign_up}"
    damage = f"{file.reason} " if file.reason else ""
    return f"{damage}{entry.name} needs a browser: {where} and put it here: {place_of(entry)}"


def _pin(manifest: Manifest, path: Path) -> str:
    """Pin a file as it is; returns its SHA-256. Raises AssetError: it is not what the manifest says."""
    from ostec.load.networks import try_to_open  # which loads much

    try_to_open(manifest, path)
    pin = Pin(path.stat().st_size, sha256_of(path))
    write_pin(path, pin)
    return f"nobody published its SHA-256, which from now on must be {pin.sha256}"


def _terms(manifest: Manifest, full: bool = False) -> str:
    """The licence, and what matters most of it."""
    licence = manifest.licence if full else manifest.short_licence
    return licence + (", no commercial use" if manifest.commercial_use is False else "")


def _answer(permitted: bool | None) -> str:
    return {True: "permitted", False: "not permitted", None: "see the licence"}[permitted]


def _show_file(manifest: Manifest, file: FileStatus) -> None:
    entry, sha256 = file.entry, file.entry.sha256
    if not sha256:
        pin = read_pin(file.path) if file.path is not None and file.state.value != "damaged" else None
        sha256 = f"{pin.sha256} (pinned)" if pin else "not published; the first fetch pins it"
    say(f"  {entry.name}: {file.state.value}, {sized(entry.size)}")
    say(f"    sha256  {sha256}")
    for address in entry.addresses:
        say(f"    from    {address}")
    if entry.page:
        say(f"    page    {entry.page}")
    if file.path is not None:
        say(f"    at      {file.path}")
    elif not manifest.ships:
        say(f"    goes to {place_of(entry)}")
    if file.reason:
        logger.warning("%s", file.reason)
