"""Independent jobs, several at a time, each kept when done: a run that was stopped goes on where it was."""

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from ostec.core.device import threads
from ostec.core.errors import BackendError, OstecError
from ostec.core.plain import read_json
from ostec.io.files import make_folder, remove_leftovers, write_atomic

_PACKAGE = Path(__file__).resolve().parents[1]
_NOT_BEHIND_FIGURES = ("app", "dataset", "train")
"""Packages that no figure comes out of."""
PARTS = "parts"
JOB_THREADS = 1
"""PyTorch threads of a job. Always the same, so that the figures do not depend on how many run side by side."""
_KILLED = (
    "A process was ended from outside, as the system does for lack of memory; what is done is kept, "
    "and fewer --workers need less."
)

Outcome = dict[str, Any]
"""Plain values for JSON; of a job that failed, ``{"error": sentence}``."""
Task = Callable[[str], Outcome]
"""Does the job of a key; pickled once per process. Raises OstecError where the job cannot be done."""
OnDone = Callable[[str, Outcome, bool], None]
"""Called with a job's key, its outcome, and whether it was found done already."""


@dataclass(frozen=True)
class Jobs:
    """A list of jobs and where their outcomes are kept."""

    keys: Sequence[str]
    """Names of the jobs; good as file names."""
    folder: Path
    """The evaluation's folder; outcomes lie in ``parts`` below it."""
    digest: str
    """Of all that decides the outcomes: those of another digest are done again."""

    def path(self, key: str) -> Path:
        """File of a job's outcome."""
        return self.folder / PARTS / f"{key}.json"

    def found(self, key: str) -> Outcome | None:
        """The outcome of a job that was done before; None where a picture that its rows name has gone."""
        try:
            stored = read_json(self.path(key))
            if stored["digest"] != self.digest or not isinstance(stored["outcome"], dict):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        rows = stored["outcome"].get("rows", ())
        whole = all((self.folder / name).is_file() for row in rows for name in row["pictures"].values())
        return stored["outcome"] if whole else None


def digest_of(*values: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def program_digest(package: Path = _PACKAGE) -> str:
    """SHA-256 of the program's own files that a figure can come out of."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in _NOT_BEHIND_FIGURES:
            digest.update(name.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def workers_here() -> int:
    """Processes that fit this machine: one per core that may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Jobs, task: Task, workers: int, on_done: OnDone) -> dict[str, Outcome]:
    """Do what is not done yet, ``workers`` at a time; 1 stays in this process.

    A job that failed is not kept, so that the next run tries again. Any exception but OstecError ends the run.

    Returns key -> outcome, in the order of ``jobs.keys``; new ones as they are read back, so that they equal the old.
    Raises OutputError; BackendError where a process was killed; KeyboardInterrupt after the processes have ended.
    """
    remove_leftovers(make_folder(jobs.folder / PARTS))
    outcomes = {key: before for key in jobs.keys if (before := jobs.found(key)) is not None}
    waiting = [key for key in jobs.keys if key not in outcomes]
    for key, before in outcomes.items():
        on_done(key, before, True)

    def done(key: str, outcome: Outcome) -> None:
        if "error" not in outcome:
            text = json.dumps({"digest": jobs.digest, "outcome": outcome}, sort_keys=True)
            write_atomic(jobs.path(key), text.encode())
            outcome = json.loads(text)["outcome"]
        outcomes[key] = outcome
        on_done(key, outcome, False)

    workers = min(workers, len(waiting))
    if workers > 1:
        _run_in_pool(waiting, task, workers, done)
    else:
        with threads(JOB_THREADS):
            for key in waiting:
                done(key, _outcome(task, key))
    return {key: outcomes[key] for key in jobs.keys}


def _run_in_pool(keys: Sequence[str], task: Task, workers: int, done: Callable[[str, Outcome], None]) -> None:
    # Forked processes would share PyTorch's thread pool with their parent.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (task,))
    try:
        running = {pool.submit(_call, key): key for key in keys}
        for future in as_completed(running):
            done(running[future], future.result())
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            with contextlib.suppress(OSError):
                process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise BackendError(_KILLED) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_task: Task | None = None
"""The task of this process, where it is one of a pool."""


def _begin(task: Task) -> None:
    global _task  # a pool hands things to its processes in no other way
    _task = task
    torch.set_num_threads(JOB_THREADS)
    # Ctrl-C reaches the whole group; the parent ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(key: str) -> Outcome:
    assert _task is not None
    return _outcome(_task, key)


def _outcome(task: Task, key: str) -> Outcome:
    try:
        return task(key)
    except OstecError as error:
        return {"error": str(error)}
