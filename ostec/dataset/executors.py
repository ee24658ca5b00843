"""Workers on Ray, on this machine or a cluster; the only module that knows Ray.

Each worker is an actor that loads its networks once and is given about half a second's photos at a time. It stages what
it makes itself: nothing large passes through Ray, and what is staged stays when worker, driver or Ray die. A worker
that dies is replaced, and what it had not staged is done again; photos that go on ending workers count as failed.
"""

import contextlib
import logging
import os
import platform
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, BackendError, OstecError
from ostec.dataset.records import Finished, Group, MakeMaker
from ostec.dataset.store import Store
from ostec.dataset.worker import WeightsPin, Worker, failure
from ostec.io.files import make_short_temp

logger = logging.getLogger(__name__)

MAX_DEATHS = 4
"""Of workers: at a group before its photos are done one by one, at a photo alone before it fails, and while they load
before the build stops."""
_PORTION_S = 0.5  # work in one call, about: less wastes time on calls, more is lost when a worker dies
_MAX_PORTION = 32
_LEARNING = 0.1  # weight of the last photo in the mean time of one
_LOAD_S = 1800.0  # that a worker may take to load, whatever the limit for a photo
_TICK_S = 1.0
_CONNECT_S = 10.0  # for the first answer of a cluster
_WORKER_BYTES = 2 << 30  # of a worker with its networks, about: measured 1.1 GB for the ones that ship, on a CPU
_OBJECT_STORE_BYTES = 80 << 20  # Ray's shared memory: next to nothing passes through it
_FIRST_WITH_TOKENS = (2, 52)
_TEMP_PREFIX = "ostecray-"


@dataclass(frozen=True)
class Resources:
    """What the workers may use."""

    workers: int = 0  # 0: as many as the machine, or cluster, has room for
    threads: int = 1  # of a worker, on the CPU
    gpus_per_worker: float = -1.0  # -1: one GPU where there is any
    address: str = ""  # of a running cluster, or ``auto``; empty starts Ray on this machine, for this build alone
    time_limit_s: float = 0.0  # seconds a photo after which a worker that has not answered is ended; 0: never


@dataclass(frozen=True)
class Job:
    """What the workers of a build have in common."""

    folder: Path  # of the dataset, absolute; on a cluster every node sees it
    shard_size: int
    make: MakeMaker
    copy_failed: bool = False


class RayWorker:
    """What runs in an actor's process; its errors reach the driver as they are."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @cached_property
    def _worker(self) -> Worker:
        job = self._job
        if not (job.folder / "config.json").is_file():
            raise BackendError(
                f"A worker does not see the dataset's folder {job.folder}; on a cluster every node must."
            )
        return Worker(Store(job.folder, job.shard_size), job.make(), job.copy_failed)

    def load(self) -> tuple[dict[str, str], str]:
        """Load the networks; returns the SHA-256 of their files by name, and the machine's name."""
        return dict(self._worker.weights), platform.node()

    def work(self, groups: list[Group]) -> list[Finished]:
        """Do some groups of photos."""
        return [finished for group in groups for finished in self._worker(group)]


class PhotoQueue:
    """Groups of photos to be done, those of dead workers first, in portions that take about equally long."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = iter(groups)
        self._back: deque[Group] = deque()
        self._mean_s = _PORTION_S  # the first portions are of one group

    def take(self) -> list[Group]:
        """As many as take half a second, one at least; none if there are none left."""
        size = min(max(round(_PORTION_S / max(self._mean_s, 1e-6)), 1), _MAX_PORTION)
        portion: list[Group] = []
        while sum(len(group.items) for group in portion) < size and self.ready(1):
            portion.append(self._back.popleft())
        return portion

    def ready(self, most: int) -> int:
        """How many groups there are to do, counted up to ``most``."""
        while len(self._back) < most and (group := next(self._groups, None)) is not None:
            self._back.append(group)
        return min(len(self._back), most)

    def put_back(self, groups: Iterable[Group]) -> None:
        """For the next worker."""
        self._back.extendleft(reversed(list(groups)))

    def learn(self, seconds: float) -> None:
        """A photo took that long."""
        self._mean_s += _LEARNING * (seconds - self._mean_s)


@dataclass(eq=False)
class _Call:
    """What a worker is at; without groups it loads."""

    actor: Any
    groups: list[Group]
    since: float
    hung: bool = False


class RayExecutor:
    """Runs workers on Ray, as :class:`ostec.dataset.records.Executor`."""

    def __init__(self, job: Job, resources: Resources) -> None:
        self._job = job
        self._resources = resources
        self._store = Store(job.folder, job.shard_size)
        self._pin = WeightsPin(self._store)
        self._calls = dict[Any, _Call]()
        self._deaths = Counter[tuple[int, ...]]()  # by the photos of the group; those of nothing while workers load

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        """Take groups as there is room for them, and yield a :class:`Finished` for each photo left, in any order.

        Raises OutputError if outcomes cannot be staged, AssetError if a worker has loaded other weights than those of
        the dataset, BackendError if Ray is not installed, cannot be started or dies, or workers cannot load.
        """
        queue = PhotoQueue(groups)
        if queue.ready(1):  # else Ray need not be started
            with _ray(self._resources):
                yield from self._serve(queue)

    def _serve(self, queue: PhotoQueue) -> Iterator[Finished]:
        import ray

        total = ray.cluster_resources()
        if self._resources.gpus_per_worker < 0:
            self._resources = replace(self._resources, gpus_per_worker=1.0 if total.get("GPU", 0) else 0.0)
        for _ in range(queue.ready(count_workers(self._resources, total))):  # none that would find nothing to do
            self._spawn()
        while self._calls:
            ready, _ = ray.wait(list(self._calls), timeout=_TICK_S)
            self._end_hung()
            for answer in ready:
                yield from self._take(self._calls.pop(answer), answer, queue)

    def _take(self, call: _Call, answer: Any, queue: PhotoQueue) -> Iterator[Finished]:
        """A call has been answered, or its worker has died."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            found = ray.get(answer)
        except RayTaskError as error:
            if isinstance(error.cause, OstecError):
                raise error.cause from error
            raise BackendError(f"A worker has failed ({_last_line(error)}).") from error
        except RayError as error:
            yield from self._replace(call, queue, error)
            return
        if call.groups:
            self._deaths.pop((), None)
            for finished in found:
                queue.learn(finished.seconds)
        else:
            (weights, node), found = found, []
            self._pin.require(weights, node if self._resources.address else "")
        if portion := queue.take():  # first, so that the worker need not wait until what it has done is sealed
            self._call(call.actor, call.actor.work.remote(portion), portion)
        yield from found

    def _call(self, actor: Any, answer: Any, groups: list[Group]) -> None:
        self._calls[answer] = _Call(actor, groups, time.monotonic())

    def _spawn(self) -> None:
        import ray

        resources = self._resources
        remote = ray.remote(RayWorker).options(
            num_cpus=resources.threads, num_gpus=resources.gpus_per_worker, max_restarts=0, max_task_retries=0
        )
        actor = remote.remote(self._job)
        self._call(actor, actor.load.remote(), [])

    def _end_hung(self) -> None:
        """End the workers that take too long; what they were at is done as if they had died."""
        import ray

        limit = self._resources.time_limit_s
        for call in self._calls.values():
            most = limit * sum(len(group.items) for group in call.groups) or max(limit, _LOAD_S)
            if limit > 0 and not call.hung and time.monotonic() - call.since > most:
                call.hung = True
                logger.warning("A worker has not answered for %g seconds and is ended.", most)
                ray.kill(call.actor)

    def _replace(self, call: _Call, queue: PhotoQueue, error: Exception) -> Iterator[Finished]:
        """A worker has died: what it has staged is done, the rest is for the one that takes its place."""
        import ray

        if not any(node["Alive"] for node in ray.nodes()):  # a worker would wait for its place for ever
            raise BackendError("Ray has died; ostec dataset resume goes on with the build.")
        logger.warning("A worker has died and is replaced.")
        left = []
        for group in call.groups:
            done = [finished for number in sorted(group.left) if (finished := self._staged(number))]
            yield from done
            if (rest := group.without(finished.item for finished in done)).left:
                left.append(rest)
        if left:  # groups are worked off in order
            left[:1] = yield from self._blame(left[0], self._resources.time_limit_s if call.hung else 0.0)
        elif not call.groups:
            self._deaths[()] += 1
            if self._deaths[()] >= MAX_DEATHS:
                raise BackendError(f"Workers die while they load ({_last_line(error)}).")
        queue.put_back(left)
        if queue.ready(1):
            self._spawn()

    def _staged(self, number: int) -> Finished | None:
        try:
            outcome, _ = self._store.read_staged(number)
        except AssetError:
            return None
        return Finished(number, outcome.status, len(outcome.faces))

    def _blame(self, group: Group, limit_s: float) -> Generator[Finished, None, list[Group]]:
        """A worker was lost with a group, ended after ``limit_s`` a photo unless 0; returns what is left to do."""
        who = tuple(item.number for item in group.items)
        self._deaths[who] += 1
        deaths = self._deaths[who]
        if deaths < MAX_DEATHS:
            return [group]
        if len(who) > 1:
            logger.warning("%d workers were lost at the same %d photos, which are done one by one.", deaths, len(who))
            return group.singles()
        why = f"The worker died {deaths} times on this photo: too little memory, or a defect."
        if limit_s:
            why = f"The photo was not done after {limit_s:g} seconds, in {deaths} attempts."
        self._store.stage(failure(group.items[0], "work", why))
        yield Finished(who[0], "failed")
        return []


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")


def count_workers(resources: Resources, total: Mapping[str, float]) -> int:
    """How many workers there are to be, of what Ray has: ``CPU``, ``GPU``, and ``memory`` in bytes.

    Raises BackendError if there is no room for a single one, which would wait for ever.
    """
    gpus, cpus = total.get("GPU", 0.0), total.get("CPU", 0.0)
    if resources.gpus_per_worker > gpus:
        raise BackendError(f"A worker shall have {resources.gpus_per_worker:g} GPUs, and Ray finds {gpus:g}.")
    if resources.threads > cpus:
        raise BackendError(f"A worker shall have {resources.threads} threads, and Ray finds {cpus:g} CPUs.")
    room = sys.maxsize if resources.address else max(int(total.get("memory", 0) // _WORKER_BYTES), 1)
    if resources.workers > room:
        logger.warning("There is memory for %d workers of the %d that were asked for.", room, resources.workers)
    if resources.workers:
        return min(resources.workers, room)
    if resources.gpus_per_worker > 0:
        return int(gpus / resources.gpus_per_worker)
    return max(1, min(int(cpus // resources.threads), room))


def require_listening(address: str) -> None:
    """See that somebody listens, because Ray tries for many minutes. Raises BackendError."""
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdecimal()):
        raise BackendError(f"--address is HOST:PORT of a Ray cluster, or auto; found {address}.")
    try:
        if address != "auto":
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BackendError(f"There is no Ray cluster at {address} ({reason}).") from error


@contextlib.contextmanager
def _ray(resources: Resources) -> Iterator[None]:
    """Ray, connected; started for this build, for whoever has its token, unless there is an address.

    Raises BackendError if it is not installed, or cannot be started or reached.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 leaves next to nothing where others compute too
    temp: Path | None = None
    where: dict[str, Any] = {"address": resources.address}
    if resources.address:
        require_listening(resources.address)
    else:
        temp = make_short_temp(_TEMP_PREFIX)  # for its owner alone, which Ray's own folder in it is not
        os.environ["RAY_TMPDIR"] = str(temp)
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        cpus = max(max(resources.workers, 1) * resources.threads, os.cpu_count() or 1)
        where = {"address": "local", "num_cpus": cpus, "object_store_memory": _OBJECT_STORE_BYTES}
        where["include_dashboard"] = False
    try:
        try:
            import ray
        except ImportError as error:
            raise BackendError("Datasets are built with Ray; please run: pip install ray") from error
        if temp is not None and tuple(map(int, ray.__version__.split(".")[:2])) < _FIRST_WITH_TOKENS:
            here = f"Ray {ray.__version__} would take work from whoever reaches this machine"
            raise BackendError(f"{here}; please run: pip install --upgrade ray")
        try:
            with _handlers_kept():
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except Exception as error:
            here = f"There is no Ray cluster at {resources.address}" if resources.address else "Ray cannot be started"
            raise BackendError(f"{here} ({_last_line(error)}).") from error
        yield
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        if temp is not None:
            shutil.rmtree(temp, ignore_errors=True)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray puts handlers of its own in the place of those that end a build with its work kept."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
