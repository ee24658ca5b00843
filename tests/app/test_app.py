"""``ostec app`` without a browser: jobs, whose files are whose, and what the server refuses."""

import asyncio
import base64
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostec.app.web import html, live, work
from ostec.app.web.guard import UPLOAD, Guard
from ostec.app.web.jobs import Cancelled, Job, Worker
from ostec.app.web.live import Live
from ostec.app.web.page import command_of, settings_of
from ostec.app.web.sessions import Session, Sessions
from ostec.core.errors import FaceError, UsageError
from ostec.io.images import encode_png
from ostec.pipeline.settings import CompleteSettings
from tests.app.conftest import Refuses
from tests.app.web_fake import FakeLoaded

PRIOR = CompleteSettings(completer="prior", iterations=60)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("ostec.io.files._MAX_TEMP_BYTES", 1000)
    sessions = Sessions()
    assert sessions.root.is_relative_to(tmp_path)
    yield sessions
    sessions.close()


def uploaded(sessions: Sessions, name: str, content: bytes = b"x") -> str:
    """What the page sends of a file that was dropped."""
    folder = sessions.uploads / str(len(list(sessions.uploads.iterdir())))
    folder.mkdir()
    (folder / name).write_bytes(content)
    return json.dumps([{"path": str(folder / name), "name": name}])


# --- jobs ---


def test_jobs_are_done_one_by_one_in_their_order(worker: Worker) -> None:
    done: list[int] = []
    begin = threading.Event()

    def work_of(number: int) -> Callable[[Job], int]:
        def carry_out(job: Job) -> int:
            begin.wait(10)
            done.append(number)
            return number

        return carry_out

    jobs = [worker.submit(work_of(number)) for number in range(4)]
    while not jobs[0].running:
        time.sleep(0.01)
    assert [worker.ahead(job) for job in jobs] == [0, 1, 2, 3]
    jobs[1].cancel()
    assert worker.ahead(jobs[3]) == 2
    begin.set()
    assert all(job.ended.wait(10) for job in jobs)
    assert (done, [job.result for job in jobs]) == ([0, 2, 3], [0, None, 2, 3])


def test_job_is_stopped_within_two_seconds_wherever_it_is(worker: Worker) -> None:
    """Though it says nothing of its progress, and cleans up after itself."""
    cleaned: list[str] = []

    def carry_out(job: Job) -> None:
        try:
            while True:
                np.linalg.svd(np.ones((50, 50)))
        except Exception:  # noqa: BLE001 - what handles errors is not to take it for one
            cleaned.append("error")
        finally:
            cleaned.append("end")

    job = worker.submit(carry_out)
    while not job.running:
        time.sleep(0.01)
    begin = time.monotonic()
    job.cancel()
    assert job.ended.wait(2)
    assert time.monotonic() - begin < 2
    assert (cleaned, job.error, job.result, job.cancelled) == (["end"], "", None, True)
    assert worker.submit(lambda _: 7).ended.wait(10)


def test_what_is_to_be_whole_is_finished_before_a_job_stops(worker: Worker) -> None:
    inside, written = threading.Event(), []

    def carry_out(job: Job) -> None:
        with job.whole():
            inside.set()
            for _ in range(200):
                time.sleep(0.001)
            written.append(199)
        job.progress("export", 0.5)
        written.append(-1)

    job = worker.submit(carry_out)
    assert inside.wait(10)
    job.cancel()
    assert job.ended.wait(10)
    assert written == [199]


def test_failure_is_a_sentence_and_costs_the_next_job_nothing(worker: Worker) -> None:
    def fail(error: Exception) -> Callable[[Job], None]:
        def carry_out(job: Job) -> None:
            raise error

        return carry_out

    errors = [worker.submit(fail(error)) for error in (FaceError("No face was found."), KeyError("nose"))]
    assert all(job.ended.wait(10) for job in errors)
    assert [job.error for job in errors] == ["No face was found.", "Unexpected KeyError: 'nose'"]
    job = worker.submit(lambda job: job.progress("read", 0.5) or 1)
    assert job.ended.wait(10)
    assert (job.result, job.fraction) == (1, 0.5)


def test_progress_of_a_cancelled_job_raises() -> None:
    job = Job(lambda _: None)
    job.progress("read", 0.5)
    job.progress("read", 0.2)
    assert job.fraction == 0.5
    job.cancel()
    with pytest.raises(Cancelled):
        job.progress("read", 0.6)


# --- a camera ---


def test_only_the_latest_picture_of_a_camera_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes them is never behind; who sends them waits until his is taken up."""
    monkeypatch.setattr(live, "HURRY_S", 0.05)
    recording = Live()
    pictures = [encode_png(np.full((2, 2, 3), k / 10, np.float32)) for k in range(3)]
    assert [recording.push(picture) for picture in pictures] == [b"", b"", b""]
    frames = recording.frames(lambda _: None)
    assert next(frames).image[0, 0, 0] == 51
    recording.show(b"drawn")
    assert recording.push(pictures[0]) == b"drawn"
    recording.end()
    assert recording.push(pictures[0]) is None
    assert [*frames] == []


def test_camera_ends_when_no_picture_comes_or_it_has_lasted_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SILENCE_S", 0.1)
    monkeypatch.setattr(live, "HURRY_S", 0.05)
    recording, told = Live(), list[float]()
    recording.push(encode_png(np.zeros((2, 2, 3), np.float32)))
    frames = recording.frames(told.append)
    next(frames)
    time.sleep(0.3)  # what is done with a picture is no silence
    recording.push(encode_png(np.zeros((2, 2, 3), np.float32)))
    assert next(frames).time_s > 0.3
    assert [*frames] == []
    assert recording.push(b"x") is None
    assert told == sorted(told)
    monkeypatch.setattr(live, "LONGEST_S", 0.0)
    recording = Live()
    recording.push(encode_png(np.zeros((2, 2, 3), np.float32)))
    assert len([*recording.frames(lambda _: None)]) == 1


# --- whose files are whose ---


def test_what_is_dropped_replaces_what_was_there(sessions: Sessions) -> None:
    page = sessions.of("a")
    (one,) = sessions.take(page, "photo", uploaded(sessions, "one.jpg", b"1"))
    (two,) = sessions.take(page, "photo", uploaded(sessions, "two.jpg", b"2"))
    assert not one.exists()
    assert (two.name, two.read_bytes()) == ("two.jpg", b"2")
    assert sessions.take(page, "photo", "[]") == []
    assert not two.exists()


def test_equal_names_stay_apart(sessions: Sessions) -> None:
    listed = [json.loads(uploaded(sessions, "a.jpg", bytes([k])))[0] for k in range(3)]
    found = sessions.take(sessions.of("a"), "photo", json.dumps(listed))
    assert [path.read_bytes() for path in found] == [b"\0", b"\1", b"\2"]


def test_endings_are_as_names_neither_long_nor_turned(sessions: Sessions) -> None:
    names = [f"a.{'x' * 240}\u202e", f"a.{'x' * 241}", "\u00e4" * 100 + "." + "y" * 50, "b.\u202egpj"]
    listed = [json.loads(uploaded(sessions, name, b"1"))[0] for name in names]
    found = sessions.take(sessions.of("a"), "photo", json.dumps(listed))
    assert len({path.name for path in found}) == len(names)
    assert all("\u202e" not in path.name for path in found)


@pytest.mark.parametrize(
    "value",
    [
        '[{"path": "/etc/passwd"}]',
        '[{"path": "UPLOADS/../../etc/passwd"}]',
        '[{"path": "UPLOADS/link"}]',
        '[{"path": "UPLOADS"}]',
        '[{"path": "UPLOADS/a\\u0000b"}]',
        '[{"path": "' + "x" * 5000 + '"}]',
        "no list",
        '{"a": 1}',
        "[1]",
        "[" * 100_000,
        json.dumps([{"path": "x"}] * 3000),
    ],
)
def test_files_that_were_not_uploaded_are_refused(sessions: Sessions, value: str) -> None:
    (sessions.uploads / "link").symlink_to("/etc/passwd")
    page = sessions.of("a")
    with pytest.raises(UsageError):
        sessions.take(page, "photo", value.replace("UPLOADS", str(sessions.uploads)))
    assert page.photos.get("photo", []) == []


def test_list_of_files_is_text(sessions: Sessions) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        sessions.take(sessions.of("a"), "photo", 1e308)  # type: ignore[arg-type]


def test_results_are_whole_or_not_there_and_of_one_page_alone(sessions: Sessions) -> None:
    mine, other = sessions.of("mine"), sessions.of("other")

    def broken(folder: Path) -> None:
        (folder / "half.png").write_bytes(b"half")
        raise Cancelled

    with pytest.raises(Cancelled):
        mine.make("half", broken)
    assert (mine.results, [*mine.folder.iterdir()]) == ({}, [])
    found = mine.make("face", lambda folder: (folder / "face.png").write_bytes(b"face"))
    number = str(found.number)
    place = mine.find(number, "face.png")
    assert place is not None
    assert place.read_bytes() == b"face"
    for name in ("../face.png", "/etc/passwd", ".", "", f"../{number}/face.png", "face.png/../face.png"):
        assert mine.find(number, name) is None, name
    for wrong in ("0", "-1", "previews", "x", "\u0661"):
        assert mine.find(wrong, "face.png") is None, wrong
    assert other.find(number, "face.png") is None
    assert sessions.by_token(mine.token) is mine
    assert sessions.by_token("") is None
    with zipfile.ZipFile(found.archive()) as archive:
        assert archive.namelist() == ["face.png"]


def test_nothing_is_left_of_a_page_that_was_closed(sessions: Sessions, worker: Worker) -> None:
    page = sessions.of("a")
    page.make("face", lambda folder: (folder / "face.png").write_bytes(b"face"))
    sessions.take(page, "photo", uploaded(sessions, "wait.jpg", b"wait"))
    paths = page.photos["photo"]
    job = worker.submit(lambda job: work.complete(FakeLoaded(), page, paths, PRIOR, 1, job))
    page.jobs["photo"] = job
    while not job.running:
        time.sleep(0.01)
    sessions.drop("a")
    assert job.ended.wait(5)
    assert not page.folder.exists()
    assert sessions.by_token(page.token) is None
    sessions.close()
    assert not sessions.root.exists()


def test_photos_become_a_result_with_all_its_files(sessions: Sessions) -> None:
    page = sessions.of("a")
    paths = sessions.take(page, "photo", uploaded(sessions, "anna.jpg", b"hello"))
    found = work.complete(FakeLoaded(), page, paths, PRIOR, 2, Job(lambda _: None))
    assert set(found.files()) == {"anna.html", "anna.json", "anna.npz", "anna.png", "index.html"}
    assert work.faces_of(page) == {1: found}
    shown = html.result(found, "ostec complete anna.jpg")
    assert f'<iframe src="results/{page.token}/1/anna.html"' in shown
    assert f'href="archives/{page.token}/1"' in shown


# --- what is shown ---


def test_names_and_sentences_are_shown_as_text() -> None:
    evil = '<img src=x onerror="alert(1)">'
    job = Job(lambda _: None)
    job.say(evil)
    job.what = job.stage = evil
    job.tiles = [f"results/{evil}"]
    looked = work.Looked(evil, evil, ((1.0, 2.0, 3.0, 4.0),), evil)
    for shown in (html.said(evil, True, job), html.progress(job, 0), html.photos([looked])):
        assert "<img src=x" not in shown
        assert "&lt;img src=x" in shown


def test_time_left_follows_from_what_is_done() -> None:
    job = Job(lambda _: None)
    assert job.seconds_left is None
    job._begun = time.monotonic() - 30
    job.progress("project", 0.25)
    assert job.seconds_left == pytest.approx(90, abs=1)
    assert "about 2 min left" in html.progress(job, 0)
    assert "2 before you in the queue" in html.progress(job, 2)


def test_command_gives_the_same_settings() -> None:
    settings = settings_of("soft", "generator", 40, True, True)
    assert settings == CompleteSettings(
        mode="soft", completer="generator", iterations=40, frontalize=True, materials="gltf"
    )
    command = command_of([Path("/x/my photo.jpg")], settings)
    assert command == (
        "ostec complete 'my photo.jpg' -o results --completer generator -i 40 --mode soft --frontalize --materials gltf"
    )
    several = command_of([Path("a.jpg"), Path("b.jpg")], settings_of("auto", "prior", 60, False, False))
    assert several == "ostec fuse a.jpg b.jpg --name a -o results --completer prior"
    with pytest.raises(ValueError, match="mode must be one of"):
        settings_of("evil", "prior", 60, False, False)
    with pytest.raises(ValueError, match="Iterations must be"):
        settings_of("auto", "prior", 1e9, False, False)


# --- what the server refuses ---


def asked(guard: Guard, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to one request."""
    sent: list[Any] = []
    pairs = {"host": "127.0.0.1:7860", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
    }
    pieces = [body[k : k + 65536] for k in range(0, len(body), 65536)] or [b""]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    """Behind the guard: reads what comes, and lets every other site read the answer."""
    while (await receive())["more_body"]:
        pass
    headers = [(b"content-type", b"text/plain"), (b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"fine"})


def test_only_this_machines_own_pages_are_answered() -> None:
    guard = Guard(reads_all, local=True)
    assert asked(guard, "/")[0] == 200
    assert asked(guard, "/", host="localhost:7860", origin="http://localhost:7860")[0] == 200
    assert asked(guard, "/", host="evil.example:7860")[0] == 421
    assert asked(guard, "/", origin="http://evil.example")[0] == 403
    assert asked(guard, "/", origin="null")[0] == 403
    assert asked(guard, "/results/token/1/a.png", origin="null")[0] == 200  # a picture of a result's page
    assert asked(guard, "/", origin="http://[::1")[0] == 403
    assert asked(guard, "/", origin="http://127.0.0.1:8080")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://example.com/",
        "/gradio_api/proxy=https://example.com/",
        "/gradio_api/run/predict",
        "/gradio_api/info",
        "/gradio_api/vibe-edit",
        "/gradio_api/deep_link",
        "/monitoring",
        "/assets/" + "a" * 256,
        "/runs",
        "/docs",
        "/login",
    ],
)
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    assert asked(Guard(reads_all, local=True), path)[0] == 404


def test_sizes_are_limited_whatever_is_declared() -> None:
    guard = Guard(reads_all, local=True)
    assert asked(guard, UPLOAD, content_length=str(200 << 20))[0] == 200
    assert asked(guard, UPLOAD, content_length=str(201 << 20))[0] == 413
    assert asked(guard, UPLOAD, content_length="-1")[0] == 413
    assert asked(guard, "/gradio_api/queue/join", content_length=str(3 << 20))[0] == 413
    assert asked(guard, "/gradio_api/queue/join", bytes(3 << 20))[0] == 413
    assert asked(guard, "/gradio_api/queue/join", bytes(1 << 20))[0] == 200


def test_password_is_asked_for_everywhere_but_for_health() -> None:
    guard = Guard(reads_all, local=False, password="a long pass:word")

    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    status, headers, _ = asked(guard, "/", host="192.0.2.1")
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="ostec"')
    assert asked(guard, "/health", host="192.0.2.1")[0] == 200
    assert asked(guard, "/", host="192.0.2.1", authorization=basic("a long pass:word"))[0] == 200
    begin = time.monotonic()
    for wrong in (basic("a long pass"), "Basic ???"):
        assert asked(guard, "/", host="192.0.2.1", authorization=wrong)[0] == 401
    assert time.monotonic() - begin >= 2


def test_browsers_are_told_to_stay_on_this_server() -> None:
    _, headers, body = asked(Guard(reads_all, local=True), "/")
    assert body == b"fine"
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_other_machines_need_a_password(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTEC_APP_PASSWORD", raising=False)
    refuses("lets other machines in", "app", "--host", "0.0.0.0")
    monkeypatch.setenv("OSTEC_APP_PASSWORD", "short")
    refuses("at least 8 characters", "app", "--host", "192.0.2.1")
    refuses("--port must be 0 to 65535", "app", "--port", "70000")


def test_app_says_what_it_lacks(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    refuses("pip install 'ostec[app]'", "app")


def test_session_is_made_once_for_each_page(sessions: Sessions) -> None:
    found: list[Session] = []
    threads = [threading.Thread(target=lambda: found.append(sessions.of("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.token for one in found}) == 1
    assert sessions.of("b").token != found[0].token
