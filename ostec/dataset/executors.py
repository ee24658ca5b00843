"""Workers on Ray, on this machine or a cluster; the only module that knows Ray.

Each worker is an actor that loads its networks once and is given a few photos at a time, never more than two portions,
so that what waits does not grow with the list. What a worker makes it stages itself: nothing large passes through Ray,
and what is staged stays when worker, Ray or driver die. A photo that was not staged when its worker died is given to
another one, as :mod:`ostec.dataset.recovery` decides.
"""

import contextlib
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ostec.core.errors import BackendError, OstecError, OutputError
from ostec.dataset.cluster import Resources, count_workers, handlers_kept, require_listening
from ostec.dataset.queue import PhotoQueue
from ostec.dataset.records import Finished, Group, MakeMaker
from ostec.dataset.recovery import Recovery
from ostec.dataset.store import Store
from ostec.dataset.weights import WeightsPin
from ostec.dataset.worker import Worker
from ostec.io.files import make_short_temp

logger = logging.getLogger(__name__)

_MAX_LOSSES = 4
"""Times that workers may die while they load, or Ray may die, without any photo done in between."""
_CALLS_AHEAD = 2
_LOAD_S = 1800.0
"""That a worker may take to begin, whatever the limit for a photo."""
_TICK_S = 1.0
_OBJECT_STORE_BYTES = 80 << 20
"""Ray's shared memory: next to nothing passes through it."""
_TEMP_PREFIX = "ostec-ray-"
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_prestart_worker_first_driver": "0",  # they would all load what only actors need
}


@dataclass(frozen=True)
class Job:
    """What the workers of a build have in common."""

    folder: Path
    """Of the dataset, absolute; on a cluster every node sees it."""
    shard_size: int
    make: MakeMaker
    copy_failed: bool = False


class RayWorker:
    """What runs in an actor's process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._work: Worker | None = None

    def load(self) -> "_Loaded":
        """Load the networks."""
        job = self._job
        if not (job.folder / "config.json").is_file():
            return _Loaded(f"A worker does not see the dataset's folder {job.folder}; on a cluster every node must.")
        try:
            maker = job.make()
        except OstecError as error:
            return _Loaded(str(error))
        self._work = Worker(Store(job.folder, job.shard_size), maker, job.copy_failed)
        return _Loaded("", dict(maker.weights), platform.node())

    def work(self, groups: list[Group]) -> tuple[list[Finished], str]:
        """Do some groups of photos; also the sentence that ends the build, empty if all is well."""
        if self._work is None:
            raise ValueError("expected load() before work()")
        finished: list[Finished] = []
        try:
            for group in groups:
                for result in self._work(group):
                    finished.append(result)
        except OutputError as error:
            return finished, str(error)
        return finished, ""


@dataclass(frozen=True)
class _Loaded:
    """A worker's answer to :meth:`RayWorker.load`."""

    sentence: str
    """Ends the build; empty if all is well."""
    weights: dict[str, str] = field(default_factory=dict)
    node: str = ""


@dataclass(eq=False)
class _Actor:
    handle: Any
    loaded: bool = False
    calls: int = 0
    since: float = 0.0
    """When it began with its present call."""
    hung: bool = False


class _ClusterLost(Exception):
    """Ray itself has died."""


class RayExecutor:
    """Runs workers on Ray, as :class:`ostec.dataset.records.Executor`."""

    def __init__(self, job: Job, resources: Resources) -> None:
        self._job = job
        self._resources = resources
        self._actors: list[_Actor] = []
        self._calls: dict[Any, tuple[_Actor, list[Group]]] = {}
        self._recovery = Recovery(Store(job.folder, job.shard_size))
        self._pin = WeightsPin(Store(job.folder, job.shard_size))
        self._losses = 0

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        """Take groups as there is room for them, and yield a :class:`Finished` for each photo left, in any order.

        Raises:
            OutputError: outcomes cannot be staged.
            AssetError: a worker has loaded other weights than those of the dataset.
            BackendError: Ray is not installed, cannot be started or goes on dying, or workers do, or cannot load.
        """
        queue = PhotoQueue(groups)
        if queue.is_empty():
            return  # Ray need not be started
        while True:
            try:
                with _ray(self._resources):
                    yield from self._serve(queue)
                    return
            except _ClusterLost as error:
                logger.warning("Ray does not run (%s) and is started again.", error)
                self._lose(f"Ray does not run ({error})")
                lost = [group for _, portion in self._calls.values() for group in portion]
                self._calls.clear()
                queue.put_back((yield from self._recovery.staged(lost)))

    def _serve(self, queue: PhotoQueue) -> Iterator[Finished]:
        """Until nothing is left. Raises _ClusterLost."""
        import ray

        total = ray.cluster_resources()
        if self._resources.gpus_per_worker < 0:
            self._resources = replace(self._resources, gpus_per_worker=1.0 if total.get("GPU", 0) else 0.0)
        count = queue.ready(count_workers(self._resources, total))  # none that would find nothing to do
        self._actors = [self._spawn() for _ in range(count)]
        checked = time.monotonic()
        while True:
            self._fill(queue)
            if not any(portion for _, portion in self._calls.values()) and queue.is_empty():
                return
            try:
                ready, _ = ray.wait(list(self._calls), timeout=_TICK_S)
            except Exception as error:
                raise _ClusterLost(_first_line(error)) from error
            if time.monotonic() - checked > _TICK_S:  # workers go on for a while without Ray's control service
                _require_alive()
                self._end_hung()
                checked = time.monotonic()
            for call in ready:
                yield from self._end(call, queue)

    def _end(self, call: Any, queue: PhotoQueue) -> Iterator[Finished]:
        """A call has been answered, or its worker has died. Raises _ClusterLost."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        if call not in self._calls:
            return  # of a worker that has died
        actor, _ = self._calls[call]
        try:
            answer = ray.get(call)
        except RayActorError as error:
            _require_alive()
            yield from self._replace(actor, queue, error)
            return
        except RayTaskError as error:
            raise BackendError(f"A worker has failed ({str(error).strip().splitlines()[-1]}).") from error
        except Exception as error:
            raise _ClusterLost(_first_line(error)) from error
        del self._calls[call]
        actor.calls, actor.since = actor.calls - 1, time.monotonic()
        yield from self._take_answer(actor, answer, queue)

    def _take_answer(self, actor: _Actor, answer: Any, queue: PhotoQueue) -> Iterator[Finished]:
        if isinstance(answer, _Loaded):
            if answer.sentence:
                raise BackendError(answer.sentence)
            self._pin.require(answer.weights, answer.node if self._resources.address else "")
            actor.loaded = True
            return
        finished, sentence = answer
        for result in finished:
            self._losses = 0
            queue.learn(result.seconds)
            yield result
        if sentence:
            raise OutputError(sentence)

    def _fill(self, queue: PhotoQueue) -> None:
        """Give every worker that is loaded up to two portions, or one that takes long, the idle ones first."""
        for calls in range(1 if queue.is_slow else _CALLS_AHEAD):
            for actor in self._actors:
                if actor.loaded and actor.calls <= calls and (portion := queue.take()):
                    self._call(actor, actor.handle.work.remote(portion), portion)

    def _call(self, actor: _Actor, call: Any, portion: list[Group]) -> None:
        if actor.calls == 0:
            actor.since = time.monotonic()
        self._calls[call] = (actor, portion)
        actor.calls += 1

    def _spawn(self) -> _Actor:
        import ray

        resources = self._resources
        remote = ray.remote(RayWorker).options(
            num_cpus=resources.threads, num_gpus=resources.gpus_per_worker, max_restarts=0, max_task_retries=0
        )
        actor = _Actor(remote.remote(self._job))
        self._call(actor, actor.handle.load.remote(), [])
        return actor

    def _end_hung(self) -> None:
        """End the workers that take too long; what they were at is done as if they had died."""
        import ray

        limit = self._resources.time_limit_s
        for actor, portion in {id(actor): (actor, p) for actor, p in reversed(self._calls.values())}.values():
            most = limit * sum(len(group.items) for group in portion) or max(limit, _LOAD_S)
            if limit > 0 and not actor.hung and time.monotonic() - actor.since > most:
                actor.hung = True
                logger.warning("A worker has not answered for %g seconds and is ended.", most)
                ray.kill(actor.handle)

    def _replace(self, actor: _Actor, queue: PhotoQueue, error: Exception) -> Iterator[Finished]:
        """A worker has died; another one takes its place."""
        logger.warning("A worker has died and is replaced.")
        logger.debug("%s", error)
        if not actor.loaded:
            cause = str(error).strip().splitlines()[-1:] or ["no reason given"]
            self._lose(f"Workers die while they load ({cause[0].strip()})")
        own = [call for call, (other, _) in self._calls.items() if other is actor]
        lost = [group for call in own for group in self._calls.pop(call)[1]]
        self._actors.remove(actor)
        self._actors.append(self._spawn())
        left = yield from self._recovery.staged(lost)
        if left:  # calls are worked off in order: it was lost with the first of them
            left[:1] = yield from self._recovery.blame(left[0], self._resources.time_limit_s if actor.hung else 0.0)
        queue.put_back(left)

    def _lose(self, what: str) -> None:
        self._losses += 1
        if self._losses >= _MAX_LOSSES:
            raise BackendError(f"{what}; the build stops, and ostec dataset resume goes on with it.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _require_alive() -> None:
    """Raises _ClusterLost if a part of the Ray that this process has started is dead."""
    import ray

    node = getattr(ray._private.worker, "_global_node", None)
    if not ray.is_initialized():
        raise _ClusterLost("the connection is lost")
    if node is None:
        return
    dead = node.dead_processes()
    if dead:
        raise _ClusterLost(f"its {dead[0][0]} is gone")


@contextlib.contextmanager
def _ray(resources: Resources) -> Iterator[None]:
    """Ray, connected; started for this build unless there is an address.

    Raises:
        BackendError: it is not installed, or cannot be started or reached.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise BackendError(
            "Datasets are built with Ray, which is not installed; please run: pip install ray"
        ) from error
    if resources.address:
        require_listening(resources.address)
    temp = None if resources.address else make_short_temp(_TEMP_PREFIX)
    where: dict[str, Any] = {"address": resources.address}
    if temp is not None:
        cpus = max(max(resources.workers, 1) * resources.threads, os.cpu_count() or 1)
        where = {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(temp),
        }
    try:
        try:
            with handlers_kept():
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except Exception as error:
            if not resources.address:  # a machine that is very busy takes longer than Ray waits
                raise _ClusterLost(_first_line(error)) from error
            raise BackendError(f"There is no Ray cluster at {resources.address} ({_first_line(error)}).") from error
        _hush()
        yield
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()
        if temp is not None:
            shutil.rmtree(temp, ignore_errors=True)


def _hush() -> None:
    """Keep what Ray prints of dying workers and nodes off the console: the build says it in its own words."""
    import ray

    if hasattr(ray._private.worker, "print_to_stdstream"):

        def note(data: Any, ignore_prefix: bool = False) -> None:  # noqa: ARG001 - the signature is given
            logger.debug("Ray says: %s", data)

        ray._private.worker.print_to_stdstream = note
