"""Files from the network: resumed, bounded, checked, and in place whole or not at all.

Bytes are collected in ``FILE.part`` beside the file, which is renamed once size and SHA-256 are right.
``FILE.part.json`` says where they came from, so that a later call goes on with the same bytes only (HTTP Range with
If-Range, RFC 9110). Nothing that is received is interpreted.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from ostec.core.assets import Pin, pin_of, read_pin, sha256_of
from ostec.core.errors import DownloadError
from ostec.core.plain import read_json
from ostec.io.files import make_folder, write_atomic
from ostec.io.locks import Busy, only_one
from ostec.io.web import Answer, Failed, Interrupted, NoSuchPart, Patience, asked

logger = logging.getLogger(__name__)

_BLOCK = 1 << 16
_ROOM_LEFT = 64 << 20
"""Bytes of the disk that a download leaves free."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes that are expected, 0 where unknown."""


@dataclass(frozen=True)
class Wanted:
    """A file, and the addresses that should have it."""

    path: Path
    """Where it goes; the folder is made."""
    addresses: tuple[str, ...]
    """Of the same bytes, tried in turn."""
    size: int = 0
    """Bytes; 0 where unknown."""
    sha256: str = ""
    """64 hexadecimal digits; where empty, what is pinned counts, and the first fetch pins."""


@dataclass(frozen=True)
class DownloadSettings:
    """How patient a download is, and how much it takes."""

    patience: Patience = field(default_factory=Patience)
    attempts: int = 4
    """Of an address, in a row and without progress."""
    pause_seconds: float = 1.0
    """Before the second attempt; it doubles."""
    progress_bytes: int = 1 << 20
    """After so many an address has proved itself, and its failures are forgotten."""
    limit_seconds: float = 4 * 3600.0
    """Of one address; the largest file takes 84 kB a second then. What arrived is kept for the next call."""
    size_limit: int = 16 << 30
    """Bytes of a file whose size is unknown; the largest that is known has 1.2 GB."""


@dataclass(frozen=True)
class Fetched:
    """What has become of a file."""

    path: Path
    size: int
    """Bytes."""
    sha256: str
    address: str
    """Where it came from; empty where it was there already."""
    pinned: bool
    """Whether its SHA-256 was unknown before and is pinned from now on."""


@dataclass
class _Part:
    """The bytes so far, and where they came from."""

    path: Path
    deadline: float = 0.0
    """Time, of the monotonic clock, after which the address that is asked is given up."""

    def __post_init__(self) -> None:
        self._note = self.path.with_name(f"{self.path.name}.json")
        try:
            origin = read_json(self._note)
        except (OSError, ValueError):
            origin = {}
        self.origin: dict[str, Any] = origin if isinstance(origin, dict) else {}

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, address: str) -> str:
        """What the address said to recognise these bytes by; empty where they are another's or it said nothing."""
        return str(self.origin.get("validator", "")) if self.origin.get("url") == address else ""

    def remember(self, address: str, validator: str) -> None:
        self.origin = {"url": address, "validator": validator}
        write_atomic(self._note, json.dumps(self.origin).encode())

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.origin = {}


def download(wanted: Wanted, settings: DownloadSettings | None = None, progress: Progress | None = None) -> Fetched:
    """Fetch a file unless it is there and right.

    What was received stays in ``FILE.part`` when the process is interrupted or the addresses fail, and the next call
    goes on with it. Raises DownloadError if no address gave the expected bytes, the disk has no room, or another
    process is at the same file, AssetError if its pin cannot be read, OutputError if the folder cannot be written to.
    """
    make_folder(wanted.path.parent)
    try:
        with only_one(wanted.path):
            pin = None if wanted.sha256 else read_pin(wanted.path)
            known = replace(wanted, size=pin.size, sha256=pin.sha256) if pin else wanted
            return _as_it_is(known) or _fetch(known, settings or DownloadSettings(), progress)
    except Busy as error:
        raise DownloadError(f"{wanted.path} is being fetched by another process.") from error


def write_pin(path: Path, pin: Pin) -> None:
    """Pin what a file is from now on, in ``FILE.pin.json`` beside it. Raises OutputError."""
    text = json.dumps(asdict(pin), indent=2)
    write_atomic(pin_of(path), f"{text}\n".encode())


def _as_it_is(known: Wanted) -> Fetched | None:
    """The file if it is there and right; one of which nothing is known is pinned."""
    if not known.path.is_file():
        return None
    size = known.path.stat().st_size
    if known.size not in (0, size):
        return None
    sha256 = sha256_of(known.path)
    if known.sha256 not in ("", sha256):
        return None
    if not known.sha256:
        write_pin(known.path, Pin(size, sha256))
    return Fetched(known.path, size, sha256, "", pinned=not known.sha256)


def _fetch(known: Wanted, settings: DownloadSettings, progress: Progress | None) -> Fetched:
    part = _Part(known.path.with_name(f"{known.path.name}.part"))
    reasons = []
    for address in known.addresses:
        part.deadline = time.monotonic() + settings.limit_seconds
        try:
            sha256 = _from_address(address, part, known, settings, progress)
            size = part.size
            if not known.sha256:  # before the file appears: one without a pin would be anybody's
                write_pin(known.path, Pin(size, sha256, address))
            part.path.replace(known.path)
            part.drop()
        except Failed as failure:
            reasons.append(f"{urlsplit(address).hostname or address} {failure}")
            logger.info("%s: %s", known.path.name, reasons[-1])
        except OSError as error:
            raise DownloadError(f"{part.path} cannot be written ({error.strerror or error}).") from error
        else:
            return Fetched(known.path, size, sha256, address, pinned=not known.sha256)
    raise DownloadError(f"{known.path.name} could not be fetched: {'; '.join(reasons) or 'it has no address'}.")


def _from_address(
    address: str, part: _Part, known: Wanted, settings: DownloadSettings, progress: Progress | None
) -> str:
    """Fill the part from one address, in as many attempts as it takes; returns its SHA-256. Raises Failed."""
    failures, second_chances, furthest, pieced = 0, 2, part.size, part.size > 0
    while True:
        try:
            if not (known.sha256 and known.size == part.size):
                _until(part.deadline, lambda: _receive(address, part, known, settings, progress))
            actual = sha256_of(part.path)
            if known.sha256 in ("", actual):
                return actual
            part.drop()
            if not pieced or not second_chances:
                raise Failed(f"gave other bytes than expected (SHA-256 {actual}, expected {known.sha256})")
            second_chances, pieced = second_chances - 1, False
            logger.info("%s: what was resumed does not fit; it is fetched from the start.", known.path.name)
        except Interrupted as interruption:
            pieced = part.size > 0
            failures = 1 if part.size - furthest >= settings.progress_bytes else failures + 1
            furthest = max(furthest, part.size)
            if failures >= settings.attempts:
                raise Failed(str(interruption)) from interruption
            time.sleep(max(settings.pause_seconds * 2 ** (failures - 1), interruption.wait_seconds))


def _until(deadline: float, call: Callable[[], None]) -> None:
    """Call; at the deadline it is left behind: within one read a server may send a byte a minute. Raises Failed."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        done.result(max(0.0, deadline - time.monotonic()))
    except FutureTimeout as error:
        raise Failed("takes longer than is waited for") from error


def _receive(address: str, part: _Part, known: Wanted, settings: DownloadSettings, progress: Progress | None) -> None:
    """One request: append to the part what the server has beyond it, or start over."""
    deadline, validator = part.deadline, part.validator(address)
    if not (known.sha256 or validator) or (known.size and part.size > known.size):
        part.drop()  # nothing would prove that these are the same bytes
    headers = {}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with asked(address, headers, settings.patience) as answer:
            if time.monotonic() > deadline:  # left behind: the part is another's
                raise Failed("takes longer than is waited for")
            if answer.partial and not (answer.begins_at(part.size) and validator in ("", answer.validator)):
                part.drop()
                raise Interrupted("sent another part than asked for")
            total = _total(answer, part, known, settings)
            if not answer.partial:
                part.drop()
                part.remember(address, answer.validator)
            _append(answer, part, total, settings.size_limit, progress)
    except NoSuchPart as failure:  # what is here is no beginning of what the server has now
        part.drop()
        raise Interrupted(str(failure)) from failure
    if part.size < total:
        raise Interrupted(f"broke off after {part.size} of {total} bytes")


def _total(answer: Answer, part: _Part, known: Wanted, settings: DownloadSettings) -> int:
    """Size of the whole file, 0 where unknown.

    Raises Failed if it is another than expected, or beyond the limit, DownloadError if the disk has no room for it.
    """
    offset = part.size if answer.partial else 0
    offered = offset + answer.length if answer.length is not None else known.size
    if known.size not in (0, offered):
        raise Failed(f"offers {offered} bytes, expected {known.size}")
    if offered > settings.size_limit:
        raise Failed(f"offers {offered} bytes, more than the limit of {settings.size_limit}")
    free = shutil.disk_usage(part.path.parent).free + part.size - offset
    if offered - offset + _ROOM_LEFT > free:
        raise DownloadError(
            f"{known.path.name} needs {offered - offset} bytes more in {part.path.parent}, whose disk has {free} free."
        )
    return offered


def _append(answer: Answer, part: _Part, total: int, limit: int, progress: Progress | None) -> None:
    most, deadline = total or limit, part.deadline
    with part.path.open("ab") as stream:
        done = stream.tell()
        for block in answer.blocks(_BLOCK):
            done += len(block)
            if done > most:
                break
            if time.monotonic() > deadline and done != total:
                raise Failed("takes longer than is waited for")
            stream.write(block)
            if progress is not None:
                progress(done, total)
    if done > most:
        part.drop()
        raise Failed(f"sends more than the {'expected' if total else 'permitted'} {most} bytes")
