"""Workers on Ray do what a loop does, whatever dies; most is tested without starting Ray."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ostec.core.errors import BackendError, OutputError
from ostec.dataset.build import Dataset
from ostec.dataset.executors import (
    MAX_DEATHS,
    Job,
    PhotoQueue,
    RayExecutor,
    RayWorker,
    Resources,
    _ray,
    count_workers,
    require_listening,
)
from ostec.dataset.manifest import read_manifest
from ostec.dataset.plan import DatasetConfig
from ostec.dataset.records import Finished, Group, Item, Place
from ostec.dataset.store import Store
from tests.dataset.toy import ToyMaker, build, content, many_photos, missing_networks, plan, write_photos

ROOT = Path(__file__).resolve().parents[2]
TOTAL = {"CPU": 8.0, "GPU": 2.0, "memory": 11 << 30}


def group(*numbers: int, left: tuple[int, ...] | None = None) -> Group:
    items = tuple(Item(n, f"{n:016x}", "", f"{n}.jpg", Place("")) for n in numbers)
    return Group(items, frozenset(numbers if left is None else left))


def groups(count: int, batch: int = 1) -> list[Group]:
    return [group(*range(n, min(n + batch, count))) for n in range(0, count, batch)]


def numbers(portion: list[Group]) -> list[int]:
    return [item.number for group in portion for item in group.items]


def ended(steps: Generator[Finished, None, list[Group]]) -> tuple[list[Finished], list[Group]]:
    """What a generator yields, and what it returns."""
    found: list[Any] = []

    def run() -> Generator[Any, None, None]:
        found.append((yield from steps))

    return list(run()), found[0]


def planned(out: Path, photos: Path, make: Any = ToyMaker) -> tuple[Dataset, Job]:
    dataset = Dataset.create(out, DatasetConfig(shard_size=8))
    plan(dataset, photos)
    return dataset, Job(out, 8, make)


def on_ray(
    out: Path, photos: Path, maker: str = "ToyMaker", batch: int = 1, limit: float = 0.0
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.dataset.ray_build", str(out), str(photos), maker, str(batch), str(limit)]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=ROOT, env=os.environ | path, capture_output=True, text=True, check=False)


def test_portions_grow_while_photos_are_quick_and_groups_are_not_taken_apart() -> None:
    queue = PhotoQueue(groups(200))
    assert numbers(queue.take()) == [0]
    for _ in range(60):
        queue.learn(0.05)
    assert len(queue.take()) == 10
    for _ in range(60):
        queue.learn(20.0)
    assert len(queue.take()) == 1
    queue = PhotoQueue(groups(200, batch=4))
    assert numbers(queue.take()) == [0, 1, 2, 3]
    for _ in range(60):
        queue.learn(0.05)
    assert len(numbers(queue.take())) == 12  # ten were wanted


def test_the_plan_is_read_as_it_is_needed_and_photos_of_dead_workers_come_first() -> None:
    taken: list[Group] = []
    queue = PhotoQueue(group for group in groups(9) if not taken.append(group))  # type: ignore[func-returns-value]
    assert (queue.ready(4), len(taken)) == (4, 4)
    assert (queue.ready(2), len(taken)) == (2, 4)
    first, second = queue.take(), queue.take()
    queue.put_back([*first, *second])
    assert [numbers(queue.take()) for _ in range(9)] == [[n] for n in range(9)]
    assert (queue.ready(50), queue.take()) == (0, [])


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


def test_workers_that_do_not_fit_are_not_started(caplog: pytest.LogCaptureFixture) -> None:
    assert count_workers(Resources(workers=50, gpus_per_worker=0.0), TOTAL) == 5
    assert count_workers(Resources(workers=2, gpus_per_worker=0.0), {"CPU": 8.0, "memory": 1 << 30}) == 1
    assert caplog.messages == [
        "There is memory for 5 workers of the 50 that were asked for.",
        "There is memory for 1 workers of the 2 that were asked for.",
    ]
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
    for address in ("host", "host:", ":6379", "host:port", "127.0.0.1:99999"):
        with pytest.raises(BackendError, match=address):
            require_listening(address)


def test_a_worker_stops_at_a_full_disk(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "fine", "b.jpg": "full", "c.jpg": "not reached"})
    dataset, job = planned(tmp_path / "ds", photos)
    worker = RayWorker(job)
    assert worker.load()[0] == ToyMaker().weights
    with pytest.raises(OutputError, match=r"x\.png cannot be written \(No space left on device\)\."):
        worker.work([Group((item,), frozenset({item.number})) for item in dataset.plan])
    assert dataset.count().done == 1


def test_a_worker_tells_why_it_cannot_load(tmp_path: Path) -> None:
    _, job = planned(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": ""}), missing_networks)
    with pytest.raises(BackendError, match="The networks are not on this machine"):
        RayWorker(job).load()
    with pytest.raises(BackendError, match="elsewhere; on a cluster every node must"):
        RayWorker(Job(tmp_path / "elsewhere", 8, ToyMaker)).load()


def test_nothing_to_do_does_not_start_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": ""}), shard_size=8)
    monkeypatch.setattr("ostec.dataset.executors._ray", None)
    dataset, job = planned(tmp_path / "ds", tmp_path / "in")
    assert dataset.run(RayExecutor(job, Resources()), lambda *_: None).done == 1


def test_a_group_that_ends_workers_is_taken_apart_and_then_the_photo_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path, 8)
    store.make()
    executor, whole = RayExecutor(Job(tmp_path, 8, ToyMaker), Resources()), group(0, 1, 2, left=(1, 2))
    for _ in range(MAX_DEATHS - 1):
        assert ended(executor._blame(whole, 0.0)) == ([], [whole])
    with caplog.at_level(logging.WARNING):
        assert ended(executor._blame(whole, 0.0)) == ([], [group(1), group(2)])
    assert caplog.messages == ["4 workers were lost at the same 3 photos, which are done one by one."]
    for limit, number, reason in (
        (0.0, 2, "The worker died 4 times on this photo: too little memory, or a defect."),
        (30.0, 7, "The photo was not done after 30 seconds, in 4 attempts."),
    ):
        for _ in range(MAX_DEATHS - 1):
            assert ended(executor._blame(group(number), limit)) == ([], [group(number)])
        assert ended(executor._blame(group(number), limit)) == ([Finished(number, "failed")], [])
        outcome, _ = store.read_staged(number)
        assert (outcome.status, outcome.stage, outcome.reason) == ("failed", "work", reason)


@pytest.mark.slow
def test_ray_returns_what_a_loop_returns(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 60)
    (photos / "020.jpg").write_text("die")
    words = {"020.jpg": "noface"}  # the loop cannot die; the rows below leave this photo out
    build(tmp_path / "loop", write_photos(tmp_path / "same", {p.name: p.read_text() for p in photos.iterdir()} | words))
    run = on_ray(tmp_path / "ray", photos)
    assert run.returncode == 0, run.stderr
    assert set(run.stderr.splitlines()) == {"A worker has died and is replaced."}
    rows = {name: list(read_manifest(tmp_path / name / "manifest.parquet")) for name in ("loop", "ray")}
    assert [r for r in rows["loop"] if r["item"] != 20] == [r for r in rows["ray"] if r["item"] != 20]
    assert {n: d for n, d in content(tmp_path / "loop").items() if n.endswith(".tar")} == {
        n: d for n, d in content(tmp_path / "ray").items() if n.endswith(".tar")
    }
    (row,) = (r for r in rows["ray"] if r["item"] == 20)
    assert (row["status"], row["stage"]) == ("failed", "work")
    assert row["reason"].startswith(f"The worker died {MAX_DEATHS} times on this photo")


@pytest.mark.slow
def test_whoever_has_no_token_is_refused_at_every_address_of_the_machine() -> None:
    program = """
import os, socket, subprocess, sys
from ostec.dataset.executors import Resources, _ray
asking = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)"
with _ray(Resources(workers=1)):
    import ray
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    stranger = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    wrong = {**stranger, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    for at in (host, "127.0.0.2"):
        for env in (stranger, wrong, None):
            words = [sys.executable, "-c", asking, f"{at}:{port}"]
            run = subprocess.run(words, env=env, capture_output=True, text=True)
            print(run.returncode == 0, "AuthenticationError" in run.stderr)
    print(oct(os.stat(os.environ["RAY_TMPDIR"]).st_mode & 0o777))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    environment["RAY_raylet_start_wait_time_s"] = "300"  # on a busy machine
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    refused, let_in = "False True", "True False"
    assert run.stdout.splitlines() == [refused, refused, let_in] * 2 + ["0o700"], run.stderr


def test_a_ray_without_tokens_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", "2.51.1")
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was started"))
    with (
        pytest.raises(BackendError, match=r"Ray 2\.51\.1 would take work from whoever reaches this machine"),
        _ray(Resources()),
    ):
        pass


@pytest.mark.slow
def test_photos_that_end_or_hold_up_workers_are_found_among_those_of_their_group(tmp_path: Path) -> None:
    words = {f"{n:02d}.jpg": f"photo {n}" for n in range(16)} | {"01.jpg": "die", "09.jpg": "hang"}
    run = on_ray(tmp_path / "ds", write_photos(tmp_path / "in", words), batch=3, limit=2.0)
    assert run.returncode == 0, run.stderr
    said = run.stderr.splitlines()
    assert said.count("4 workers were lost at the same 3 photos, which are done one by one.") == 2
    assert said.count("A worker has died and is replaced.") == 4 * MAX_DEATHS
    assert sum(line.endswith("seconds and is ended.") for line in said) == 2 * MAX_DEATHS
    assert len(said) == 2 + 6 * MAX_DEATHS
    rows = {row["source"]: row for row in read_manifest(tmp_path / "ds/manifest.parquet")}
    assert {name for name, row in rows.items() if row["status"] == "done"} == words.keys() - {"01.jpg", "09.jpg"}
    assert rows["01.jpg"]["reason"].startswith(f"The worker died {MAX_DEATHS} times on this photo")
    assert rows["09.jpg"]["reason"] == f"The photo was not done after 2 seconds, in {MAX_DEATHS} attempts."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("maker", "sentence"),
    [
        ("missing_networks", "The networks are not on this machine."),
        ("dying_networks", r"Workers die while they load \(.+\)\."),
        ("defect", r"A worker has failed \(.*KeyError.*\)\."),
    ],
)
def test_workers_that_cannot_load_stop_the_build_with_a_sentence(tmp_path: Path, maker: str, sentence: str) -> None:
    run = on_ray(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": ""}), maker)
    assert run.returncode == 1
    assert re.fullmatch(sentence, run.stdout.splitlines()[-1]), run.stdout + run.stderr
    assert Dataset.open(tmp_path / "ds").count().pending == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_build_keeps_what_is_done(tmp_path: Path, number: int) -> None:
    photos = tmp_path / "in"
    program = f"""
import sys
from fake_photos import LoadFakeMaker, write_photos
from pathlib import Path
write_photos(Path({str(photos)!r}), 500)
import ostec.dataset.worker
ostec.dataset.worker.LoadFaceMaker = lambda *_: LoadFakeMaker(0.2)
from ostec.app.cli import main
sys.exit(main(["dataset", "build", {str(photos)!r}, "--out", {str(tmp_path / "ds")!r}, "--workers", "2"]))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools")}
    words = [sys.executable, "-c", program]
    deadline = time.monotonic() + 300
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(list((tmp_path / "ds/state/staged").glob("*/*"))) < 5 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    assert err.decode().splitlines()[-1].endswith("ostec dataset resume goes on with the rest.")
    assert "to do" in out.decode().splitlines()[-1]
    assert Dataset.open(tmp_path / "ds").count().done >= 4
