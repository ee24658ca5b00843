"""What every request passes first: who may ask, for what, how much they may send, and what browsers may do with it."""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_UPLOAD_BYTES = 200 << 20
"""Of one file."""
_MAX_BODY_BYTES = 2 << 20
"""Of any other request."""
_MAX_NAME_BYTES = 255
"""Of a file: systems refuse longer ones."""
_FORM_BYTES = 64 << 10
"""What a form adds to the file in it."""
UPLOAD = "/gradio_api/upload"
HEALTH = "/health"
RESULTS = "/results/"
_EXACT = frozenset(("/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", HEALTH, UPLOAD))
_BELOW = (
    *("/assets/", "/static/", RESULTS, "/archives/", "/live/"),
    *("/gradio_api/queue/", "/gradio_api/heartbeat/", "/gradio_api/startup-events", "/gradio_api/theme.css"),
)
"""All that the page asks for. Gradio has more, such as a proxy, an API and a history, and none of that is reached."""
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Browsers refuse whatever would leave this server. Gradio's templates need eval."""
RESULT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self'; connect-src data: blob:; "
    "frame-ancestors 'self'"
)
"""The same for a result, which cannot even ask this server: it is of no origin."""
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_WRONG_PASSWORD_S = 1.0
"""How long an answer to a wrong password takes."""


class _TooLarge(Exception):
    """A body that is longer than it may be."""


@dataclass(frozen=True)
class Guard:
    """Wraps the application."""

    app: AsgiApp
    local: bool
    """Whether the server is for this machine alone; then only its own names are answered."""
    password: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        refused = await self._refusal(scope)
        if refused is not None:
            await _answer(send, *refused)
            return
        begun = False

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _with_policy(message["headers"])
            await send(message)

        try:
            await self.app(scope, _limited(receive, _most(scope["path"])), sent)
        except _TooLarge:
            if not begun:
                await _answer(send, 413, "That is more than 200 MB.")

    async def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, path = headers.get("host", ""), scope["path"]
        if self.local and not _is_local_name(host):
            return 421, "This server is for this machine alone."
        origin = headers.get("origin")
        of_result = origin == "null" and path.startswith(RESULTS)  # a result's page, which has no origin
        if origin is not None and not of_result and _place(origin) != host:
            return 403, "Another site's pages may not ask this server."
        if self.password and path != HEALTH and not _knows(headers.get("authorization", ""), self.password):
            if "authorization" in headers:
                await asyncio.sleep(_WRONG_PASSWORD_S)
            return 401, "Please give the password."
        longest = max(map(len, path.encode("utf-8", "replace").split(b"/")))
        if longest > _MAX_NAME_BYTES or (path not in _EXACT and not path.startswith(_BELOW)):
            return 404, "There is nothing here."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _most(path):
            return 413, "That is more than 200 MB."
        return None


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_local_name(host: str) -> bool:
    """Whether a Host header names this machine: another site's name for 127.0.0.1 is refused."""
    try:
        return urlsplit(f"//{host}").hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def _knows(header: str, password: str) -> bool:
    """Whether a header of HTTP's Basic authentication has the password; the user's name does not matter."""
    kind, _, encoded = header.partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return kind.lower() == "basic" and secrets.compare_digest(given, password.encode())


def _most(path: str) -> int:
    return MAX_UPLOAD_BYTES + _FORM_BYTES if path == UPLOAD else _MAX_BODY_BYTES


def _limited(receive: Receive, most: int) -> Receive:
    """What arrives, up to so many bytes, whatever its header says. Raises _TooLarge."""
    count = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most:
            raise _TooLarge
        return message

    return limited


def _with_policy(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with what browsers are to know; a page that has a policy of its own keeps it."""
    kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")]
    there = {name.lower().decode("latin-1") for name, _ in kept}
    added = {"content-security-policy": _PAGE_POLICY, **_HEADERS}
    return kept + [(name.encode(), value.encode()) for name, value in added.items() if name not in there]


async def _answer(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="ostec"'))
    await send({"type": "http.response.start", "status": status, "headers": _with_policy(headers)})
    await send({"type": "http.response.body", "body": sentence.encode()})
