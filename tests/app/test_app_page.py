"""The whole application of ``ostec app``, asked without a browser."""

import asyncio
import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostec.app.web.guard import Guard
from ostec.app.web.sessions import Result, Session
from tests.app.web_fake import FakeLoaded

pytestmark = pytest.mark.filterwarnings("ignore")  # of Gradio and what it brings


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guard, Session, Result]]:
    """The application, a page of somebody, and a result of it."""
    pytest.importorskip("gradio", reason="needs Gradio (pip install 'ostec[app]')")
    from ostec.app.web import server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Loaded", FakeLoaded)
        with server.open_desk(True, "cpu") as desk:
            page = desk.sessions.of("a")

            def fill(folder: Path) -> None:
                for name in ("a b.html", "a.png", "a.glb", "<b>.json"):
                    (folder / name).write_bytes(name.encode())

            yield server.application(desk), page, page.make("<i>", fill)


def get(guard: Guard, path: str, query: str = "") -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
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
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def test_page_is_served_and_names_nothing_elsewhere(served: tuple[Guard, Session, Result]) -> None:
    status, headers, body = get(served[0], "/")
    assert status == 200
    assert "connect-src 'self'" in headers["content-security-policy"]
    text = body.decode()
    assert re.search(r"Everything stays on this machine", text)
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', text)
    assert [address for address in loaded if "127.0.0.1" not in address] == []


def test_nobody_can_call_it_but_the_page(served: tuple[Guard, Session, Result]) -> None:
    config = json.loads(get(served[0], "/config")[2])
    assert config["dependencies"]
    assert all(one["api_visibility"] == "private" for one in config["dependencies"] if one["targets"][0][1] != "unload")
    assert not config.get("analytics_enabled")
    for path in ("/gradio_api/info", "/gradio_api/file=/etc/passwd", "/gradio_api/call/complete"):
        assert get(served[0], path)[0] == 404


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
