"""What workers may use, and whether somebody listens at an address."""

import logging
import signal
import socket
import time

import pytest

from ostec.core.errors import BackendError
from ostec.dataset.cluster import Resources, count_workers, handlers_kept, require_listening

TOTAL = {"CPU": 8.0, "GPU": 2.0, "memory": 11 << 30}


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        (Resources(threads=2, gpus_per_worker=0.0), 4),
        (Resources(threads=1, gpus_per_worker=0.0), 5),  # memory for five
        (Resources(threads=1, gpus_per_worker=0.0, address="host:1"), 8),
        (Resources(threads=1, gpus_per_worker=0.5), 4),
        (Resources(workers=3, threads=8, gpus_per_worker=1.0), 3),
        (Resources(workers=50, gpus_per_worker=0.0, address="host:1"), 50),
    ],
)
def test_as_many_workers_as_there_is_room_for(
    resources: Resources, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert count_workers(resources, TOTAL) == count
    assert not caplog.records


def test_more_workers_than_fit_into_memory_are_not_started(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert count_workers(Resources(workers=50, gpus_per_worker=0.0), TOTAL) == 5
        assert count_workers(Resources(workers=2, gpus_per_worker=0.0), {"CPU": 8.0, "memory": 1 << 30}) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "There is memory for 5 workers of the 50 that were asked for.",
        "There is memory for 1 workers of the 2 that were asked for.",
    ]


def test_a_worker_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(BackendError, match="shall have 1 GPUs, and Ray finds 0"):
        count_workers(Resources(gpus_per_worker=1.0), {"CPU": 8.0})
    with pytest.raises(BackendError, match="shall have 9 threads, and Ray finds 8 CPUs"):
        count_workers(Resources(threads=9, gpus_per_worker=0.0), {"CPU": 8.0})


def test_nobody_waits_for_a_cluster_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        require_listening(f"127.0.0.1:{port}")
    start = time.monotonic()
    with pytest.raises(BackendError, match=rf"There is no Ray cluster at 127\.0\.0\.1:{port} \(Connection refused\)\."):
        require_listening(f"127.0.0.1:{port}")
    assert time.monotonic() - start < 5
    require_listening("auto")


@pytest.mark.parametrize("address", ["host", "host:", ":6379", "host:port", "127.0.0.1:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BackendError, match=address):
        require_listening(address)


def test_handlers_of_signals_stay() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handlers_kept():
        assert signal.signal(signal.SIGTERM, signal.SIG_IGN) == before
        assert signal.getsignal(signal.SIGTERM) == before
    try:
        assert signal.signal(signal.SIGTERM, signal.SIG_IGN) == before
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
