"""From results to transfers of them: checks, what is done, the run over the results."""

import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.app.console import Display, say, shown
from ostec.app.photos.results import ALL_KINDS, is_whole, listed_files, pending, read_record, remove_files
from ostec.app.photos.runner import Outcome, Terminated, is_lost, reason_of, tell_end, terminate_like_interrupt
from ostec.app.photos.transfer import Transfer
from ostec.core.errors import OstecError, OutputError, UsageError
from ostec.core.settings import MAX_UV_SIZE, MIN_UV_SIZE
from ostec.export.record import TRANSFER, append_run, read_records, write_record
from ostec.export.transfer import files_of, write_transfer
from ostec.io.files import make_folder, remove_leftovers

if TYPE_CHECKING:
    from ostec.pipeline.transfer import SavedResult, TextureTransfer

logger = logging.getLogger(__name__)


def transfer_results(asked: Transfer) -> int:
    """Transfer all results that ``asked`` names.

    Returns:
        The exit code: 0 all done or skipped, 1 some failed, 130 Ctrl-C, 143 SIGTERM.

    Raises:
        OstecError: nothing could start: wrong use, no result, the model is missing.
    """
    found = find_results(asked.results)
    if asked.out == "":
        raise UsageError("--out is empty.")
    if asked.size is not None and not MIN_UV_SIZE <= asked.size <= MAX_UV_SIZE:
        raise UsageError(f"--size must be {MIN_UV_SIZE} to {MAX_UV_SIZE}, got {asked.size}.")
    if asked.out is not None:
        _need_different_names(found)
    from ostec.pipeline.transfer import TextureTransfer  # torch and the model: not before there is work for them

    with terminate_like_interrupt():
        return TransferRun(asked, TextureTransfer.from_files(asked.to)).run(found)


def find_results(asked: Sequence[str]) -> list[Path]:
    """The records NAME.json of all results that are named, each once.

    Raises:
        UsageError: nothing was named, something does not exist or is no result, or a folder has none.
    """
    if not asked:
        raise UsageError("Name at least one result to transfer: NAME.json, NAME.npz or a folder.")
    found: dict[Path, Path] = {}
    for given in asked:
        path = Path(given)
        record = path.with_suffix(".json")
        if path.is_dir():
            records = [path / f"{name}.json" for name in read_records(path)]
            if not records:
                raise UsageError(f"The folder {shown(path)} has no result of ostec complete.")
        elif path.suffix not in (".json", ".npz") or not path.is_file():
            lack = "is neither NAME.json nor NAME.npz nor a folder" if path.exists() else "does not exist"
            raise UsageError(f"The result {shown(path)} {lack}.")
        elif read_record(record) is None:
            raise UsageError(f"{shown(record)} is no record of ostec complete, so {shown(path)} is no result.")
        else:
            records = [record]
        for record in records:
            found.setdefault(record.resolve(), record)
    return list(found.values())


def _need_different_names(found: Sequence[Path]) -> None:
    names: dict[str, Path] = {}
    for record in found:
        other = names.setdefault(record.stem.casefold(), record)
        if other is not record:
            raise UsageError(f"{shown(other)} and {shown(record)} have the same name, so --out cannot hold both.")


@dataclass(frozen=True)
class _Taken:
    """What lay in a folder before the run."""

    files: set[str]
    """Names that records list."""
    unfinished: set[str]
    """Names that a killed run has left."""


class TransferRun:
    """One run; call :meth:`run` once."""

    def __init__(self, asked: Transfer, transfer: "TextureTransfer") -> None:
        self._asked, self._transfer = asked, transfer
        self._outcome = Outcome()
        self._taken: dict[Path, _Taken] = {}

    def run(self, found: Sequence[Path]) -> int:
        """Transfer the results of these records; returns the exit code."""
        asked, outcome = self._asked, self._outcome
        if not self._transfer.maker.has_layout:
            logger.info("The model %s has no UV layout, so its vertices get the colours.", asked.to)
        handled = 0
        with Display(len(found), len(found), asked.quiet, "results") as display:
            try:
                for record in found:
                    self._carry_out(record, display)
                    handled += 1
                    if outcome.stopped:
                        break
            except KeyboardInterrupt as interrupt:
                outcome.signal = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        outcome.untried = len(found) - handled
        tell_end(outcome, "settings, or another version of the model,")
        if not asked.quiet:
            untried = f", {outcome.untried} not tried" if outcome.untried else ""
            where = f"in {shown(asked.out)}" if asked.out is not None else "beside the results"
            counts = f"{outcome.done} done, {outcome.skipped} skipped, {outcome.failed} failed{untried}"
            say(f"{counts}; the transfers are {where}.")
        return outcome.exit_code

    def _carry_out(self, record: Path, display: Display) -> None:
        folder = Path(self._asked.out) if self._asked.out is not None else record.parent
        said = None
        display.begin(record.stem)
        try:
            said = self._do(record, folder)
        except Exception as error:
            self._outcome.failed += 1
            logger.error("%s failed: %s", shown(record), reason_of(error).replace("\n", " "))
            if not isinstance(error, OstecError):
                logger.debug("Where it failed:", exc_info=error)
            if isinstance(error, OutputError) and is_lost(error, folder):
                self._outcome.stopped = str(error)
        display.end(record.stem, said)

    def _do(self, record: Path, folder: Path) -> str | None:
        """Do one result; returns what there is to say about it."""
        from ostec.pipeline.transfer import read_result

        started = time.perf_counter()
        stem = f"{record.stem}_{self._asked.to}"
        result = read_result(record, self._transfer.topology)
        size = self._asked.size or len(result.texture)
        older = read_record(folder / f"{stem}.json", (TRANSFER,))
        if older is not None and not self._asked.overwrite and is_whole(folder, older):
            if older.get("result") == result.hashes:
                same = older.get("made_with") == self._transfer.digest and older.get("size") in (size, None)
                self._outcome.skipped += 1
                self._outcome.other_settings += not same
                logger.debug("%s is done.", stem)
                return None
            logger.info("%s is done again: the result has changed since.", stem)
        self._save(result, folder, stem, size, older)
        seconds = time.perf_counter() - started
        cache = "read from the cache" if self._transfer.cached.get(size) else "computed"
        append_run(folder, {"transfer": stem, "correspondence": cache, "total_s": round(seconds, 3)})
        self._outcome.done += 1
        return f"done in {seconds:.1f} s" + (f", correspondence {cache}" if self._outcome.done == 1 else "")

    def _save(self, result: "SavedResult", folder: Path, stem: str, size: int, older: Mapping[str, Any] | None) -> None:
        """Make and write the files of one result."""
        made = self._transfer(result, size)
        files = [*files_of(stem, made.sheets, tuple(made.known)), f"{stem}.json"]
        ours = {str(name) for name in older["files"]} if older is not None else set()
        self._need_room(folder, files, ours)
        with pending(folder, stem, [stem, *(name.removesuffix(".png") for name in files if name.endswith(".png"))]):
            # An older record must not vouch for a mixture of old and new files, should the run be killed here.
            remove_files(folder, (f"{stem}.json", *sorted(ours - set(files))))
            write_transfer(folder, stem, made.head, made.sheets, made.known)
            write_record(folder, stem, self._transfer.record(result, made, files), TRANSFER)

    def _need_room(self, folder: Path, files: Sequence[str], ours: set[str]) -> None:
        """Raise OutputError where the folder cannot be written to, or a file that no transfer made is in the way."""
        if folder not in self._taken:
            remove_leftovers(make_folder(folder))
            records = (read_record(path, ALL_KINDS) for path in folder.glob("*.json"))
            listed = {str(name) for record in records if record is not None for name in record["files"]}
            self._taken[folder] = _Taken(listed, listed_files(folder) - listed)
        taken = self._taken[folder]
        for name in (name for name in files if name not in ours):
            if name in taken.files:
                raise OutputError(f"{folder / name} belongs to another result; choose another --out.")
            if (folder / name).exists() and name not in taken.unfinished and not self._asked.overwrite:
                raise OutputError(
                    f"{folder / name} is in the way, which no transfer has made; --overwrite replaces it."
                )
