"""The whole application of ``ostec app``, asked without a browser."""

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostec.app.web.guard import Guard
from ostec.app.web.live import Live
from ostec.app.web.server import add_results
from ostec.app.web.sessions import Result, Session, Sessions
from ostec.io.images import encode_png
from ostec.io.video import Frame

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json
from ostec.app.web import server
from tests.app.test_app_page import get
from tests.app.web_fake import FakeLoaded

server.Loaded = FakeLoaded
with server.open_desk(True, "cpu") as desk:
    guard = server.application(desk)
    paths = ("/", "/config", "/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/call/complete")
    found = {path: get(guard, path) for path in paths}
print(json.dumps({path: (status, headers, body.decode()) for path, (status, headers, body) in found.items()}))
"""


@pytest.fixture(scope="module")
def pages() -> dict[str, Any]:
    """What the whole application answers to some paths; Gradio leaves loops and sockets open, so in another process."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("needs Gradio (pip install 'ostec[app]')")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Guard, Session, Result]]:
    """The routes to results, a page of somebody, and a result of it."""
    fastapi = pytest.importorskip("fastapi", reason="needs Gradio (pip install 'ostec[app]')")
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    sessions = Sessions()
    add_results(app, sessions)
    page = sessions.of("a")

    def fill(folder: Path) -> None:
        for name in ("a b.html", "a.png", "a.glb", "<b>.json"):
            (folder / name).write_bytes(name.encode())

    yield Guard(app, local=True), page, page.make("<i>", fill)
    sessions.close()


def get(guard: Guard, path: str, query: str = "", picture: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []
    waiting = [{"type": "http.request", "body": picture or b"", "more_body": False}]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET" if picture is None else "POST",
        "scheme": "http",
        "path": urllib.parse.unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"127.0.0.1:7860")],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 7860),
    }

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()  # whoever asked stays until it has its answer
        return waiting.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def test_page_is_served_and_names_nothing_elsewhere(pages: dict[str, Any]) -> None:
    status, headers, text = pages["/"]
    assert status == 200
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert "Everything stays on this machine" in text
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', text)
    assert [address for address in loaded if "127.0.0.1" not in address] == []


def test_nobody_can_call_it_but_the_page(pages: dict[str, Any]) -> None:
    config = json.loads(pages["/config"][2])
    assert len(config["dependencies"]) > 10
    public = [one for one in config["dependencies"] if one["api_visibility"] != "private"]
    assert [one["targets"][0][1] for one in public] in ([], ["unload"])
    assert not config.get("analytics_enabled")
    assert {path: answer[0] for path, answer in pages.items() if "gradio_api" in path} == dict.fromkeys(
        ("/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/call/complete"), 404
    )


def test_camera_is_served_while_it_is_recorded(served: tuple[Guard, Session, Result]) -> None:
    guard, page, _ = served
    address = f"/live/{page.token}"
    assert get(guard, address, picture=b"x")[0] == 404
    page.live = Live()
    frames = page.live.frames(lambda _: None)
    taken: list[Frame] = []
    thread = threading.Thread(target=lambda: taken.extend(frames))
    thread.start()
    picture = encode_png(np.full((4, 6, 3), 0.5, np.float32))
    assert [get(guard, address, picture=one)[0] for one in (b"no picture", picture)] == [204, 204]
    page.live.show(b"drawn")
    assert get(guard, address, picture=picture)[2] == b"drawn"
    assert get(guard, "/live/wrong", picture=picture)[0] == 404
    assert get(guard, address)[0] == 405
    assert get(guard, address, picture=b"")[0] == 205  # the camera is gone
    assert get(guard, address, picture=picture)[0] == 205
    thread.join(10)
    assert [(frame.index, frame.image.shape) for frame in taken] == [(0, (4, 6, 3)), (1, (4, 6, 3))]


def test_results_are_served_to_whoever_knows_their_address(served: tuple[Guard, Session, Result]) -> None:
    guard, _, found = served
    status, headers, body = get(guard, f"/{found.place('a b.html')}")
    assert (status, body) == (200, b"a b.html")
    assert headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "private, no-store"
    assert get(guard, f"/{found.place('a.glb')}")[1]["content-disposition"].startswith("attachment")
    assert get(guard, f"/{found.place('<b>.json')}")[0] == 200
    status, headers, body = get(guard, f"/archives/{found.address.split('/')[1]}/1")
    assert (status, body[:2]) == (200, b"PK")


@pytest.mark.parametrize(
    "path",
    [
        "/results/wrong/1/a.png",
        "/results/TOKEN/2/a.png",
        "/results/TOKEN/1/../1/a.png",
        "/results/TOKEN/1/%2e%2e/1/a.png",
        "/results/TOKEN/1/%2Fetc%2Fpasswd",
        "/results/TOKEN/1/..%5C..%5Cetc",
        "/results/TOKEN/../uploads/examples/astronaut.png",
        "/results/TOKEN/1/a.png%00.html",
        "/results/TOKEN/previews/../1/a.png",
        "/archives/TOKEN/2",
        "/archives/TOKEN/..",
        "/archives/wrong/1",
    ],
)
def test_nothing_else_is_served(served: tuple[Guard, Session, Result], path: str) -> None:
    assert get(served[0], path.replace("TOKEN", served[1].token))[0] == 404
