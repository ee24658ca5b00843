"""Damaged requests for ``ostec app``: the server must answer each, stay alive, and touch nothing but its own folder.

    python -m tests.fuzz.web [--minutes 10] [--seed 0]

Uploads with odd names and damaged pictures, odd values for every handler of the page, odd addresses of results and
recordings, and broken HTTP. An answer of 500 or above that says more than that, one that has another file's text, a
file outside the server's folder, and a server that has ended are findings. The last line counts requests and answers.
"""

import argparse
import collections
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ostec.io.images import encode_png
from tests.fuzz.fuzz import mutated

ROOT = Path(__file__).resolve().parents[2]
MARK = "ostecfuzz"
"""Begins the names of all that is sent: what lies elsewhere is found by it."""
_NAMES = (
    *(
        "a.png",
        "../../x.png",
        "..\\..\\x.png",
        "/tmp/x.png",
        "%2e%2e%2fx.png",
        "x\x00.png",
        "<script>alert(1)</script>",
    ),
    *("a" * 300 + ".png", "con.png", ".", "..", "", "x.png/", "\u202egnp.x", "x.svg", "x\r\nSet-Cookie: a=b"),
)
_VALUES = (None, True, -1, 1e308, "", "x" * 5000, [], {}, [[]], {"path": "/etc/passwd"}, "/etc/passwd", "~/.ssh")
_PLACES = (
    "results/TOKEN/1/a",
    "archives/TOKEN/1",
    "live/TOKEN",
    "gradio_api/file=/etc/passwd",
    "gradio_api/stream/a/1",
)
_SECRET = b"root:x:0:0"
PICTURE = encode_png(np.full((24, 32, 3), 0.5, np.float32))


class Asker:
    """Sends requests to a server and counts what comes back."""

    def __init__(self, address: str, draw: random.Random) -> None:
        self.place = re.sub(r"^http://|/$", "", address)
        self.draw, self.answers, self.findings = draw, collections.Counter[str](), list[str]()
        self.uploaded: list[str] = []

    def ask(self, kind: str, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """One request; its answer's body."""
        connection = http.client.HTTPConnection(self.place, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            said = answer.read()
        except (http.client.HTTPException, ConnectionError, ValueError) as error:
            self.answers[f"{kind} {type(error).__name__}"] += 1
            return b""
        finally:
            connection.close()
        self.answers[f"{kind} {answer.status}"] += 1
        bare = answer.status == 500 and said in (b"", b"Internal Server Error")  # Gradio's, to a call of nothing
        if (answer.status >= 500 and not bare) or _SECRET in said:
            self.findings.append(f"{kind} {method} {path[:200]} {answer.status} {body[:300]!r} {said[:200]!r}")
        return said

    def upload(self) -> None:
        """A file with an odd name, damaged perhaps."""
        name = f"{self.draw.choice(('', '', '../' * 3, '/tmp/'))}{MARK}{self.draw.choice(_NAMES)}"
        data = (
            PICTURE if self.draw.random() < 0.3 else mutated(PICTURE, [PICTURE, b"GIF89a", b"\xff\xd8\xff"], self.draw)
        )
        lines = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        form = lines.encode("utf-8", "replace") + b"Content-Type: image/png\r\n\r\n" + data + b"\r\n--b--\r\n"
        if self.draw.random() < 0.3:
            form = mutated(form, [form], self.draw)
        kind = "multipart/form-data; boundary=b" if self.draw.random() < 0.95 else "multipart/form-data; boundary="
        said = self.ask("upload", "POST", "/gradio_api/upload", form, content_type=kind)
        if said.startswith(b"["):  # else a refusal
            self.uploaded += json.loads(said)

    def call(self, counts: list[int]) -> None:
        """A handler of the page, with odd values."""
        which = self.draw.randrange(len(counts))
        path = self.draw.choice(self.uploaded[-50:] or ["/etc/passwd"])
        odd = (*_VALUES, json.dumps([{"path": path, "name": "<b>"}] * self.draw.choice((1, 2))))
        call = {
            "data": [
                self.draw.choice(odd) for _ in range(max(0, counts[which] + self.draw.choice((0, 0, 0, 0, -1, 1))))
            ],
            "fn_index": which if self.draw.random() < 0.95 else self.draw.choice((-1, 10**9, "x")),
            "session_hash": f"{MARK}{self.draw.randrange(20)}",
        }
        body = json.dumps(call).encode()
        body = mutated(body, [body], self.draw) if self.draw.random() < 0.2 else body
        self.ask("call", "POST", "/gradio_api/queue/join", body, content_type="application/json")

    def fetch(self) -> None:
        """An address that is none."""
        path = mutated(self.draw.choice(_PLACES).encode(), [b"../", b"%2e%2e/", b"\x00"], self.draw).decode("latin-1")
        self.ask("fetch", self.draw.choice(("GET", "POST", "HEAD")), "/" + quote(path, "/%.=?"), b"x")

    def shout(self) -> None:
        """Broken HTTP."""
        said = mutated(
            f"GET / HTTP/1.1\r\nHost: {self.place}\r\nConnection: close\r\n\r\n".encode(), [b"\r\n"], self.draw
        )
        host, _, port = self.place.partition(":")
        with socket.create_connection((host, int(port)), 10) as line:
            line.settimeout(2)
            line.sendall(said)
            try:
                got = line.recv(4096)
            except OSError:
                got = b""
        self.answers[f"http {got[9:12].decode('latin-1') or 'nothing'}"] += 1


def strays(folder: Path) -> list[str]:
    """Files with our mark that are not in the server's own folder."""
    found = [path for top in (Path("/tmp"), ROOT, Path.home()) for path in top.glob(f"*{MARK}*")]
    return [str(path) for path in (*found, *folder.glob(f"*{MARK}*"))]


def main() -> int:
    """Return 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzzed-") as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder, "PYTHONWARNINGS": "ignore"}
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.app.web_fake"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        address = re.search(r"http://\S+/", server.stdout.readline() if server.stdout else "")
        if address is None:
            raise SystemExit("The server did not begin.")
        asker = Asker(address[0], random.Random(given.seed))
        counts = [len(one["inputs"]) for one in json.loads(asker.ask("config", "GET", "/config"))["dependencies"]]
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end and server.poll() is None:
            asker.draw.choice((asker.upload, lambda: asker.call(counts), asker.fetch, asker.shout))()
        alive = server.poll() is None and asker.ask("health", "GET", "/health") == b"ok"
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text()) if alive else None
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        asker.findings += [f"a file elsewhere: {path}" for path in strays(Path(folder))]
        asker.findings += [f"left: {path}" for path in Path(folder).rglob("ostec-app-*")]
        asker.findings += [] if alive and code == 0 else [f"the server has ended ({code})"]
    sys.stdout.write("\n".join([*asker.findings[:20], json.dumps(dict(sorted(asker.answers.items())))]) + "\n")
    total, memory = sum(asker.answers.values()), int(peak[1]) >> 10 if peak else 0
    sys.stdout.write(f"{total} requests, {len(asker.findings)} findings, {memory} MiB at most\n")
    return 1 if asker.findings else 0


if __name__ == "__main__":
    sys.exit(main())
