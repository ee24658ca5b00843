"""Workers on Ray do what a loop does, whatever dies; most is tested without starting Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ostec.dataset.build import Dataset
from ostec.dataset.cluster import Resources
from ostec.dataset.config import DatasetConfig
from ostec.dataset.executors import Job, RayExecutor, RayWorker
from ostec.dataset.manifest import read_manifest
from ostec.dataset.queue import PhotoQueue
from ostec.dataset.records import Group, Item, Place
from ostec.dataset.recovery import MAX_CRASHES
from tests.dataset.toy import ToyMaker, build, content, many_photos, missing_networks, write_photos

ROOT = Path(__file__).resolve().parents[2]


def groups(count: int, batch: int = 1) -> list[Group]:
    items = [Item(n, f"{n:016x}", "", f"{n}.jpg", Place("")) for n in range(count)]
    parts = [tuple(items[n : n + batch]) for n in range(0, count, batch)]
    return [Group(part, frozenset(item.number for item in part)) for part in parts]


def numbers(portion: list[Group]) -> list[int]:
    return [item.number for group in portion for item in group.items]


def planned(out: Path, photos: Path, make=ToyMaker) -> tuple[Dataset, Job]:
    dataset = Dataset.create(out, DatasetConfig(shard_size=8))
    dataset.note_sources([str(photos)], "CC0")
    dataset.plan_noted(lambda _: (), lambda _: None)
    return dataset, Job(out, 8, make)


def alone(dataset: Dataset) -> list[Group]:
    return [Group((item,), frozenset({item.number})) for item in dataset.plan]


def on_ray(
    out: Path, photos: Path, maker: str = "ToyMaker", batch: int = 1, limit: float = 0.0
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.dataset.ray_build", str(out), str(photos), maker, str(batch), str(limit)]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=ROOT, env=os.environ | path, capture_output=True, text=True, check=False)


def test_portions_grow_while_photos_are_quick() -> None:
    queue = PhotoQueue(groups(200))
    assert numbers(queue.take()) == [0]
    for _ in range(60):
        queue.learn(0.05)
    assert len(queue.take()) == 10
    assert not queue.is_slow
    for _ in range(60):
        queue.learn(20.0)
    assert len(queue.take()) == 1
    assert queue.is_slow


def test_groups_are_not_taken_apart() -> None:
    queue = PhotoQueue(groups(200, batch=4))
    assert numbers(queue.take()) == [0, 1, 2, 3]
    for _ in range(60):
        queue.learn(0.05)
    assert len(numbers(queue.take())) == 12  # ten were wanted


def test_groups_are_counted_no_further_than_is_asked() -> None:
    taken = []
    queue = PhotoQueue(group for group in groups(9) if not taken.append(group))
    assert (queue.ready(4), len(taken)) == (4, 4)
    assert (queue.ready(2), len(taken)) == (2, 4)
    assert [numbers(queue.take()) for _ in range(5)] == [[0], [1], [2], [3], [4]]
    assert queue.ready(50) == 4


def test_photos_of_dead_workers_come_first_and_none_is_lost() -> None:
    queue = PhotoQueue(iter(groups(4)))
    first, second = queue.take(), queue.take()
    queue.put_back([*first, *second])
    assert not queue.is_empty()
    assert [numbers(queue.take()) for _ in range(4)] == [[0], [1], [2], [3]]
    assert queue.is_empty()
    assert queue.take() == []


def test_a_worker_stops_at_a_full_disk_and_tells_what_it_did(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "fine", "b.jpg": "full", "c.jpg": "not reached"})
    dataset, job = planned(tmp_path / "ds", photos)
    worker = RayWorker(job)
    assert worker.load().sentence == ""
    finished, sentence = worker.work(alone(dataset))
    assert [(f.item, f.status, f.faces) for f in finished] == [(0, "done", 1)]
    assert sentence == "x.png cannot be written (No space left on device)."


def test_a_worker_tells_why_it_cannot_load(tmp_path: Path) -> None:
    dataset, job = planned(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": ""}), missing_networks)
    assert RayWorker(job).load().sentence == "The networks are not on this machine."
    elsewhere = RayWorker(Job(tmp_path / "elsewhere", 8, ToyMaker))
    assert elsewhere.load().sentence.endswith("elsewhere; on a cluster every node must.")
    with pytest.raises(ValueError, match="before work"):
        elsewhere.work(alone(dataset))


def test_nothing_to_do_does_not_start_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": ""}), shard_size=8)
    monkeypatch.setattr("ostec.dataset.executors._ray", None)
    dataset, job = planned(tmp_path / "ds", tmp_path / "in")
    assert dataset.run(RayExecutor(job, Resources()), lambda *_: None).done == 1


@pytest.mark.slow
def test_ray_returns_what_a_loop_returns(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 60)
    (photos / "020.jpg").write_text("die")
    words = {"020.jpg": "noface"}  # the loop cannot die; the rows below leave this photo out
    build(tmp_path / "loop", write_photos(tmp_path / "same", {p.name: p.read_text() for p in photos.iterdir()} | words))
    run = on_ray(tmp_path / "ray", photos)
    assert (run.returncode, run.stdout) == (0, "")
    assert set(run.stderr.splitlines()) == {"A worker has died and is replaced."}
    rows = {name: list(read_manifest(tmp_path / name / "manifest.parquet")) for name in ("loop", "ray")}
    assert [r for r in rows["loop"] if r["item"] != 20] == [r for r in rows["ray"] if r["item"] != 20]
    assert {n: d for n, d in content(tmp_path / "loop").items() if n.endswith(".tar")} == {
        n: d for n, d in content(tmp_path / "ray").items() if n.endswith(".tar")
    }
    (row,) = (r for r in rows["ray"] if r["item"] == 20)
    assert (row["status"], row["stage"]) == ("failed", "work")
    assert row["reason"].startswith(f"The worker died {MAX_CRASHES} times on this photo")


@pytest.mark.slow
def test_photos_that_end_or_hold_up_workers_are_found_among_those_of_their_group(tmp_path: Path) -> None:
    words = {f"{n:02d}.jpg": f"photo {n}" for n in range(16)} | {"01.jpg": "die", "09.jpg": "hang"}
    run = on_ray(tmp_path / "ds", write_photos(tmp_path / "in", words), batch=3, limit=2.0)
    assert (run.returncode, run.stdout) == (0, "")
    said = run.stderr.splitlines()
    assert said.count("4 workers were lost at the same 3 photos, which are done one by one.") == 2
    assert said.count("A worker has died and is replaced.") == 4 * MAX_CRASHES
    assert sum(line.endswith("seconds and is ended.") for line in said) == 2 * MAX_CRASHES
    assert len(said) == 2 + 6 * MAX_CRASHES
    rows = {row["source"]: row for row in read_manifest(tmp_path / "ds/manifest.parquet")}
    assert {name for name, row in rows.items() if row["status"] == "done"} == words.keys() - {"01.jpg", "09.jpg"}
    assert rows["01.jpg"]["reason"].startswith(f"The worker died {MAX_CRASHES} times on this photo")
    assert rows["09.jpg"]["reason"] == f"The photo was not done after 2 seconds, in {MAX_CRASHES} attempts."


@pytest.mark.slow
def test_networks_that_are_missing_stop_the_build_with_a_sentence(tmp_path: Path) -> None:
    run = on_ray(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": ""}), "missing_networks")
    assert (run.returncode, run.stdout) == (1, "The networks are not on this machine.\n")
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
import ostec.dataset.loading
ostec.dataset.loading.LoadFaceMaker = lambda *_: LoadFakeMaker(0.2)
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
