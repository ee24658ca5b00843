"""From results to transfers of them: checks, and what the run does with a result."""

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.app.console import shown
from ostec.app.photos.options import RunOptions
from ostec.app.photos.results import is_whole, listed_files, pending, read_record, remove_files
from ostec.app.photos.runner import Action, Run, Step, seconds_since, terminate_like_interrupt
from ostec.app.photos.sources import Photo
from ostec.core.errors import UsageError
from ostec.core.record import RESULT_KINDS, TRANSFER
from ostec.core.settings import MAX_UV_SIZE, MIN_UV_SIZE
from ostec.export.layout import files_of, write_transfer
from ostec.export.record import append_run, read_records, write_record
from ostec.io.files import make_folder, remove_leftovers
from ostec.io.locks import only_one

if TYPE_CHECKING:
    from ostec.pipeline.transfer import SavedResult, TextureTransfer

logger = logging.getLogger(__name__)


def transfer_results(results: Sequence[str], to: str, out: str | None, size: int | None, options: RunOptions) -> int:
    """Transfer all results that are named to the model ``to``; return the exit code.

    It is 0 if all are done or skipped, 1 if some failed, 130 after Ctrl-C, 143 after SIGTERM. Raises OstecError where
    nothing could start.
    """
    found = find_results(results)
    if out == "":
        raise UsageError("--out is empty.")
    if size is not None and not MIN_UV_SIZE <= size <= MAX_UV_SIZE:
        raise UsageError(f"--size must be {MIN_UV_SIZE} to {MAX_UV_SIZE}, got {size}.")
    if out is not None:
        need_different_names(found, "--out")
    from ostec.pipeline.transfer import TextureTransfer  # torch and the model: not before there is work for them

    items = [Finished(record, f"{record.stem}_{to}") for record in found]
    with terminate_like_interrupt():
        run = TransferRun(None if out is None else Path(out), TextureTransfer.from_files(to), size, options)
        return run.describe(items) if options.dry_run else run.run(items)


def find_results(asked: Sequence[str]) -> list[Path]:
    """The records NAME.json of all results that are named, each once. Raises UsageError for what has or is none."""
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


def need_different_names(found: Sequence[Path], option: str) -> None:
    """Raise UsageError where results of several folders would share a file in the folder of ``option``."""
    names: dict[str, Path] = {}
    for record in found:
        other = names.setdefault(record.stem.casefold(), record)
        if other is not record:
            raise UsageError(f"{shown(other)} and {shown(record)} have the same name, so {option} cannot hold both.")


class Finished(Photo):
    """The NAME.json of a result, and the name of its transfer."""

    @property
    def label(self) -> str:
        """NAME."""
        return self.path.stem


class TransferRun(Run[Finished]):
    """Brings results into another model's layout."""

    noun = "results"

    def __init__(self, out: Path | None, transfer: "TextureTransfer", size: int | None, options: RunOptions) -> None:
        super().__init__(out or Path(), options)
        self._out, self._transfer, self._size = out, transfer, size
        self._taken: dict[Path, tuple[set[str], set[str]]] = {}
        """By folder, what lay there before the run: files that records list, and those that a killed run has left."""

    def load(self) -> None:
        """The model is there."""
        if not self._transfer.maker.has_layout:
            logger.info("The model has no UV layout, so its vertices get the colours.")

    def plan(self, item: Finished) -> Step[Finished]:
        """Reading a result takes a while: nothing is decided before its turn, but for ``--dry-run``."""
        return self.decide(item) if self.options.dry_run else Step(item, Action.MAKE)

    def claim(self, item: Finished, wait: bool) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from a result, in the folder of its transfer."""
        return only_one(make_folder(self._folder(item)) / f"{item.name}.json", wait)

    def decide(self, item: Finished) -> Step[Finished]:
        """What is to be done with a result. Raises AssetError: it cannot be read."""
        from ostec.pipeline.transfer import read_result

        self._begun = time.perf_counter()
        self._result = result = read_result(item.path, self._transfer.topology)
        folder = self._folder(item)
        older = read_record(folder / f"{item.name}.json", (TRANSFER,))
        if older is None or self.options.overwrite or not is_whole(folder, older):
            return Step(item, Action.MAKE)
        if older.get("result") != result.hashes:
            return Step(item, Action.MAKE, reason="the result has changed since")
        same = older.get("made_with") == self._transfer.digest and older.get("size") in (self._side(result), None)
        differs = "" if same else "settings, or another version of the model,"
        return Step(item, Action.SKIP, (item.name,), differs=differs)

    def make(self, steps: Sequence[Step[Finished]]) -> Sequence[Any]:  # noqa: ARG002 - it is the one just read
        """Transfer the result that was decided about last."""
        self.stage = "transfer"
        return [self._transfer(self._result, self._side(self._result))]

    def save(self, step: Step[Finished], made: Any) -> str:
        """Write the files of one result."""
        folder, stem, size = self._folder(step.item), step.item.name, self._side(self._result)
        self.folder = folder
        files = [*files_of(stem, made.sheets, tuple(made.known)), f"{stem}.json"]
        older = read_record(folder / f"{stem}.json", (TRANSFER,))
        ours = set(older["files"]) if older is not None else set()
        self._need_room(folder, files, ours)
        with pending(folder, stem, [stem, *(name.removesuffix(".png") for name in files if name.endswith(".png"))]):
            remove_files(folder, (f"{stem}.json", *sorted(ours - set(files))))
            write_transfer(folder, stem, made.head, made.sheets, made.known)
            write_record(folder, stem, self._transfer.record(self._result, made, files), TRANSFER)
        cache = "read from the cache" if self._transfer.cached.get(size) else "computed"
        seconds = round(time.perf_counter() - self._begun, 3)
        append_run(folder, {"transfer": stem, "correspondence": cache, "total_s": seconds})
        return seconds_since(self._begun) + ("" if self.outcome.done else f", correspondence {cache}")

    def where(self) -> str:
        """The folder."""
        return f"the transfers are {'beside the results' if self._out is None else f'in {shown(self._out)}'}"

    def _folder(self, item: Finished) -> Path:
        return self._out or item.path.parent

    def _side(self, result: "SavedResult") -> int:
        return self._size or len(result.texture)

    def _need_room(self, folder: Path, files: Sequence[str], ours: set[str]) -> None:
        """Raise where the folder cannot be written to, or a file that no transfer made is in the way."""
        if folder not in self._taken:
            remove_leftovers(make_folder(folder))
            records = (read_record(path, RESULT_KINDS) for path in folder.glob("*.json"))
            listed = {name for record in records if record is not None for name in record["files"]}
            self._taken[folder] = listed, listed_files(folder) - listed
        taken, unfinished = self._taken[folder]
        for name in (name for name in files if name not in ours):
            if name in taken:
                raise UsageError(f"{folder / name} belongs to another result; choose another --out.")
            if (folder / name).exists() and name not in unfinished and not self.options.overwrite:
                raise UsageError(f"{folder / name} is in the way, which no transfer has made; --overwrite replaces it.")
