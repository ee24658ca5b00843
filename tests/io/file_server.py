"""A server of one file on this machine that misbehaves as it is told, for tests of downloads."""

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does; tests change it between requests."""

    content: bytes
    cut_after: int | None = None
    """Bytes of a body after which the connection is closed."""
    cuts: int = 10**6
    """How many times."""
    status: int = 200
    """Other than 200: the only answer."""
    failures: int = 10**6
    """How many times, before the file is given after all."""
    redirect: str = ""
    ranges: bool = True
    """Whether a Range is honoured."""
    if_range: bool = True
    """Whether If-Range is honoured, as it must be."""
    etag: bool = True
    length: int | None = None
    """Content-Length that is told; the true one if None."""
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    pause_seconds: float = 0.0
    """Between blocks of 16 kB."""
    dripping: str = ""
    """``head`` or ``chunk``: what is sent a byte at a time, ten a second, for ten seconds."""
    held: threading.Event | None = None
    """The body waits for it after the first block."""
    requests: list[dict[str, str]] = field(default_factory=list)
    """Headers of each request, names in lower case, with ``path``."""

    @property
    def tag(self) -> str:
        return '"' + hashlib.sha256(self.content).hexdigest()[:16] + '"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        b = self.behaviour
        b.requests.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        self.close_connection = True
        if b.dripping == "head":
            self._drip(b"HTTP/1.1 200 " + b"O" * 100)
            return
        if b.redirect:
            self._head(302, {"Location": b.redirect, "Content-Length": str(b.length or 0)})
            return
        if b.status != 200 and b.failures > 0:
            b.failures -= 1
            self._head(b.status, {"Content-Length": "0", **b.headers})
            return
        start = self._start()
        if start is None:
            self._head(416, {"Content-Range": f"bytes */{len(b.content)}", "Content-Length": "0"})
            return
        body = b.content[start:]
        headers = {"ETag": b.tag} if b.etag else {}
        if b.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(body) if b.length is None else b.length)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(b.content) - 1}/{len(b.content)}"
        self._head(206 if start else 200, headers | b.headers)
        if b.dripping == "chunk":
            self._drip(b"0" * 100)
        else:
            self._body(body)

    def _drip(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.1)

    def _start(self) -> int | None:
        """First byte that is sent; None where the Range begins beyond the end."""
        b = self.behaviour
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or not b.ranges:
            return 0
        if b.if_range and self.headers.get("If-Range", b.tag) != b.tag:
            return 0
        start = int(asked[1])
        return start if start < len(b.content) else None

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, body: bytes) -> None:
        b = self.behaviour
        if b.cut_after is not None and b.cuts > 0:
            b.cuts -= 1
            body = body[: b.cut_after]
            ended = False
        else:
            ended = True
        try:
            for i in range(0, len(body), 1 << 14):
                block = body[i : i + (1 << 14)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if b.chunked else block)
                self.wfile.flush()
                time.sleep(b.pause_seconds)
                if b.held is not None:
                    b.held.wait(10)
            if b.chunked and ended:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has gone
            return


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The address of the file, ``http://127.0.0.1:PORT/file.bin``, while it is served."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/file.bin"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
