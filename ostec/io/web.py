"""One request for a file: who may be asked, which redirects are followed, and what an answer means.

The only module that knows ``requests``.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urljoin, urlsplit

LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
_REDIRECTS = 10
_TRY_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
_LONGEST_WAIT_SECONDS = 30.0
_REASONS = {
    "ConnectTimeout": "did not answer in time",
    "ReadTimeout": "fell silent",
    "ReadTimeoutError": "fell silent",
    "ProxyError": "cannot be reached through the proxy",
    "ConnectionError": "cannot be reached",
}
"""Exception of requests or urllib3 -> what it means; every other one says that the transfer broke off."""


@dataclass(frozen=True)
class Patience:
    """How long a server may take, and which may be asked."""

    connect_seconds: float = 15.0
    """Until it answers."""
    silence_seconds: float = 60.0
    """Between two pieces."""
    allow_http: bool = False
    """Ask hosts that are not this machine without TLS, too."""


class Failed(Exception):
    """This address does not give the file; the text says why."""


class NoSuchPart(Failed):
    """The file ends before the part that was asked for."""


class Interrupted(Exception):
    """This address broke off; another attempt may go on."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds
        """How long the server asks to be left alone, at most half a minute."""


@dataclass(frozen=True)
class Answer:
    """The head of an answer whose body can be read."""

    response: Any
    """Of requests; its body has not been read."""
    partial: bool
    """Whether it begins where the request's Range did, not at the start of the file."""
    length: int | None
    """Bytes that follow; None where the server does not say."""
    validator: str
    """What If-Range may hold: a strong ETag, or else the date of the last change; empty where there is neither."""

    def blocks(self, size: int) -> Iterator[bytes]:
        """The body as it arrives, in pieces of at most ``size`` bytes: a slow server's are not waited for."""
        while block := self.response.raw.read1(size, decode_content=False):
            yield block

    def begins_at(self, offset: int) -> bool:
        """Whether a partial answer begins at this byte of the file."""
        return str(self.response.headers.get("content-range", "")).startswith(f"bytes {offset}-")


@contextlib.contextmanager
def asked(address: str, headers: Mapping[str, str], patience: Patience) -> Iterator[Answer]:
    """Ask for a file, following redirects; no step may be less safe than the one before.

    No credentials are sent. This machine is asked directly, others as the environment's proxies say.

    Raises:
        Failed: the address does not have the file, or must not be asked.
        Interrupted: it may have it, but did not give it, or not to the end; also while the body is read.
    """
    import requests
    from urllib3.exceptions import HTTPError

    try:
        with _answered(address, headers, patience) as response:
            yield _judged(response)
    except requests.exceptions.SSLError as error:
        raise Failed("cannot prove by TLS who it is") from error
    except requests.exceptions.InvalidURL as error:
        raise Failed("is no valid address") from error
    except (requests.RequestException, HTTPError) as error:
        raise Interrupted(_REASONS.get(type(error).__name__, "broke off")) from error


@contextlib.contextmanager
def _answered(address: str, headers: Mapping[str, str], patience: Patience) -> Iterator[Any]:
    import requests

    for _ in range(_REDIRECTS + 1):
        _require_safe(address, patience)
        with requests.Session() as session:
            session.auth = lambda request: request  # no credentials, not those of a .netrc either
            session.trust_env = urlsplit(address).hostname not in LOCAL_HOSTS
            every = {"Accept-Encoding": "identity", "User-Agent": "ostec", **headers}
            request = session.prepare_request(requests.Request("GET", address, headers=every))
            environment = session.merge_environment_settings(request.url, {}, True, None, None)
            timeout = (patience.connect_seconds, patience.silence_seconds)
            # Session.send would read the whole body of a redirect into memory.
            with session.get_adapter(request.url).send(request, timeout=timeout, **environment) as response:
                if not response.is_redirect:
                    yield response
                    return
                address = _next_address(address, response.headers["location"])
    raise Failed(f"redirects more than {_REDIRECTS} times")


def _next_address(address: str, location: str) -> str:
    try:
        target = urljoin(address, location)
        if urlsplit(address).scheme == "https" != urlsplit(target).scheme:
            raise Failed("redirects from https to an address without encryption")
    except ValueError as error:
        raise Failed("redirects to something that is no address") from error
    return target


def _require_safe(address: str, patience: Patience) -> None:
    try:
        scheme, host = urlsplit(address).scheme, urlsplit(address).hostname
    except ValueError:
        scheme, host = "", None
    if scheme not in ("http", "https") or not host:
        raise Failed(f"{address} is no address of the web")
    if scheme == "http" and host not in LOCAL_HOSTS and not patience.allow_http:
        raise Failed(f"{address} is not encrypted (https), which --allow-http would permit")


def _judged(response: Any) -> Answer:
    """Look at an answer before its body is read. Raises Failed or Interrupted where it brings no file."""
    status, headers = response.status_code, response.headers
    named = f"answered {status} {responses.get(status, '')}".rstrip()
    if status in _TRY_AGAIN:
        wait = headers.get("retry-after", "")
        seconds = min(float(wait), _LONGEST_WAIT_SECONDS) if wait.isascii() and wait.isdigit() else 0.0
        raise Interrupted(named, seconds)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise NoSuchPart(named)
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise Failed(named)
    if headers.get("content-type", "").lower().startswith("text/html"):
        raise Failed("answered with a web page instead of the file")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Failed(f"sends the file encoded as {headers['content-encoding']}")
    length, tag = headers.get("content-length", ""), headers.get("etag", "")
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    if not (length.isascii() and length.isdigit()) and not chunked:
        raise Failed("does not say where the file ends")
    return Answer(
        response=response,
        partial=status == HTTPStatus.PARTIAL_CONTENT,
        length=None if chunked else int(length),
        validator=tag if tag.startswith('"') else headers.get("last-modified", ""),
    )
