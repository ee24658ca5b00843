"""The server: Gradio's page, the results of each page, and nothing else."""

import asyncio
import contextlib
import logging
import mimetypes
import os
import shutil
import socket
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ostec.app.console import say
from ostec.app.photos.runner import terminate_like_interrupt
from ostec.app.web.desk import Desk
from ostec.app.web.guard import HEALTH, MAX_UPLOAD_BYTES, RESULT_POLICY, Guard
from ostec.app.web.jobs import Worker
from ostec.app.web.sessions import Sessions
from ostec.app.web.work import Loaded
from ostec.core.assets import example_photos
from ostec.core.errors import OutputError, UsageError
from ostec.core.settings import Device

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

_INLINE = frozenset((".html", ".png", ".jpg", ".webp", ".webm", ".json", ".jsonl", ".csv", ".txt"))
"""Endings of what browsers show; all else they save."""
_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_SHARE": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "OTEL_SDK_DISABLED": "true",
}
"""Set before Gradio is imported: it asks nobody outside and keeps no history, whatever the user's own variables say."""


@dataclass(frozen=True)
class Address:
    """Where the server listens."""

    host: str
    port: int
    local: bool
    """Whether only this machine can reach it."""


@contextlib.contextmanager
def open_desk(local: bool, device: Device) -> Iterator[Desk]:
    """Begin: temporary folder, worker, and the networks in the background; all is gone afterwards."""
    sessions = Sessions()
    os.environ.update(_ENVIRONMENT, GRADIO_TEMP_DIR=str(sessions.uploads))
    worker = Worker()
    try:
        (sessions.uploads / "examples").mkdir()
        examples = tuple(
            Path(shutil.copy(path, sessions.uploads / "examples" / path.name)) for path in example_photos()
        )
        loaded = Loaded(device)
        worker.submit(lambda _: loaded.any())
        yield Desk(sessions, worker, loaded, local, examples)
    finally:
        worker.close()
        sessions.close()


def application(desk: Desk, password: str = "") -> Guard:
    """The whole application, as ASGI servers run it."""
    import fastapi

    from ostec.app.web.page import mount

    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_results(app, desk.sessions)
    return Guard(mount(app, desk, MAX_UPLOAD_BYTES), desk.local, password)


def add_results(app: "FastAPI", sessions: Sessions) -> None:
    """Routes to the files of a page's results, whose address only that page knows."""
    from fastapi import Request
    from fastapi.responses import FileResponse, PlainTextResponse, Response

    nothing = PlainTextResponse("There is nothing here.", 404)

    def health() -> Response:
        return PlainTextResponse("ok")

    def result(token: str, number: str, name: str) -> Response:
        session = sessions.by_token(token)
        path = session.find(number, name) if session is not None else None
        if path is None:
            return nothing
        ending = path.suffix.lower()
        kind = mimetypes.guess_type(path.name)[0] if ending in _INLINE else None
        shown = "inline" if ending in _INLINE else "attachment"
        headers = {"cache-control": "private, no-store", "content-security-policy": RESULT_POLICY}
        headers["cross-origin-resource-policy"] = "cross-origin"  # a result's page has no origin, and its pictures do
        media = kind or "application/octet-stream"
        return FileResponse(path, 200, headers, media, filename=path.name, content_disposition_type=shown)

    async def live(token: str, request: Request) -> Response:
        session = sessions.by_token(token)
        recording = None if session is None else session.live
        if recording is None:
            return nothing
        picture = await request.body()
        if not picture:  # the camera is gone
            recording.end()
        drawn = await asyncio.to_thread(recording.push, picture)
        if drawn is None:
            return Response(status_code=205)  # the recording has ended; browsers note 410 as an error
        return Response(drawn, media_type="image/jpeg") if drawn else Response(status_code=204)

    def archive(token: str, number: str) -> Response:
        session = sessions.by_token(token)
        found = None if session is None or not number.isdecimal() else session.results.get(int(number))
        if found is None:
            return nothing
        try:
            path = found.archive()
        except OutputError as error:
            return PlainTextResponse(str(error), 507)
        return FileResponse(path, 200, {"cache-control": "private, no-store"}, filename=f"{found.title}.zip")

    app.add_api_route(HEALTH, health, methods=["GET"])
    app.add_api_route("/results/{token}/{number}/{name:path}", result, methods=["GET", "HEAD"])
    app.add_api_route("/live/{token}", live, methods=["POST"])
    app.add_api_route("/archives/{token}/{number}", archive, methods=["GET"])


def serve(address: Address, password: str, device: Device, browser: bool, quiet: bool) -> int:
    """Run until Ctrl-C or SIGTERM; returns the exit code. Raises UsageError where the address cannot be had."""
    import uvicorn

    with _listening(address) as listener, open_desk(address.local, device) as desk:
        port = listener.getsockname()[1]
        host = f"[{address.host}]" if ":" in address.host else address.host
        url = f"http://{host}:{port}/"
        config = uvicorn.Config(
            application(desk, password),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            limit_concurrency=200,
        )
        server = uvicorn.Server(config)
        _when_ready(server, url, browser, quiet)
        # Uvicorn raises a signal again when it has ended: that is how this command ends, too.
        with contextlib.suppress(KeyboardInterrupt), terminate_like_interrupt():
            server.run(sockets=[listener])
    return 0


@contextlib.contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
        except OSError as error:
            reason = error.strerror or error
            where = f"{address.host}:{address.port}"
            raise UsageError(f"{where} cannot be listened at ({reason}); --port 0 takes a free port.") from error
        yield listener


def _when_ready(server: "uvicorn.Server", url: str, browser: bool, quiet: bool) -> None:
    """Say where the page is, and open it, once it answers."""

    def wait() -> None:
        while not server.started and not server.should_exit:
            threading.Event().wait(0.05)
        if server.should_exit:
            return
        if not quiet:
            say(f"Open {url} in a browser; Ctrl-C ends it and deletes what was dropped.")
        if browser:
            webbrowser.open(url)

    threading.Thread(target=wait, daemon=True).start()
