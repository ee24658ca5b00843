"""What workers may use, of this machine or a cluster; nothing here needs Ray."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ostec.core.errors import BackendError

logger = logging.getLogger(__name__)

_WORKER_BYTES = 2 << 30
"""Memory of a worker with its networks, about: measured 1.1 GB for the ones that ship, on a CPU."""
_CONNECT_S = 10.0
"""For the first answer of a cluster."""


@dataclass(frozen=True)
class Resources:
    """What the workers may use."""

    workers: int = 0
    """0: as many as the machine, or cluster, has room for."""
    threads: int = 1
    """CPU threads of a worker."""
    gpus_per_worker: float = -1.0
    """-1: one GPU where there is any."""
    address: str = ""
    """Of a running cluster, or ``auto``; empty starts Ray on this machine, for this build alone."""
    time_limit_s: float = 0.0
    """Seconds a photo after which a worker that has not answered is ended; 0: never."""


def count_workers(resources: Resources, total: Mapping[str, float]) -> int:
    """How many workers there are to be.

    Args:
        resources: what was asked for; the GPUs of a worker are known.
        total: what Ray has: ``CPU``, ``GPU``, and ``memory`` in bytes.

    Raises:
        BackendError: there is no room for a single one, so that it would wait for ever.
    """
    gpus, cpus = total.get("GPU", 0.0), total.get("CPU", 0.0)
    if resources.gpus_per_worker > gpus:
        raise BackendError(f"A worker shall have {resources.gpus_per_worker:g} GPUs, and Ray finds {gpus:g}.")
    if resources.threads > cpus:
        raise BackendError(f"A worker shall have {resources.threads} threads, and Ray finds {cpus:g} CPUs.")
    room = int(total.get("memory", 0) // _WORKER_BYTES) if not resources.address else sys.maxsize
    if resources.workers > max(room, 1):
        logger.warning("There is memory for %d workers of the %d that were asked for.", max(room, 1), resources.workers)
    if resources.workers:
        return min(resources.workers, max(room, 1))
    if resources.gpus_per_worker > 0:
        return int(gpus / resources.gpus_per_worker)
    return max(1, min(int(cpus // resources.threads), room))


def require_listening(address: str) -> None:
    """See that somebody listens, because Ray tries for many minutes.

    Raises:
        BackendError: nobody does, or it is no address.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise BackendError(f"--address is HOST:PORT of a Ray cluster, or auto; found {address}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BackendError(f"There is no Ray cluster at {address} ({reason}).") from error


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Ray puts handlers of its own in the place of ours, below Python too, which would end the build without a word."""
    put = signal.signal
    signal.signal = lambda number, _: signal.getsignal(number)  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = put
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.getsignal(number))
