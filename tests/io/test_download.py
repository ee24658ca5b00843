"""Downloads end with exactly the expected bytes or with a sentence, whatever the server does."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ostec.core.assets import Pin, pin_of, read_pin
from ostec.core.errors import AssetError, DownloadError, OutputError
from ostec.io import download as module
from ostec.io import web
from ostec.io.download import DownloadSettings, Fetched, Wanted, download
from ostec.io.web import Patience
from tests.io.file_server import Behaviour, serving

CONTENT = random.Random(5).randbytes(300_000)
OTHER = random.Random(6).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
QUICK = DownloadSettings(Patience(2.0, 0.5), attempts=3, pause_seconds=0.0, progress_bytes=100_000)


@pytest.fixture(autouse=True)
def broken_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies are for other machines: these, behind which nobody is, must not matter."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


Serve = Callable[..., tuple[Behaviour, str]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a file until the test ends: ``behaviour, address = serve(cut_after=1000)``."""
    with ExitStack() as stack:

        def start(content: bytes = CONTENT, **how: object) -> tuple[Behaviour, str]:
            behaviour = Behaviour(content, **how)  # type: ignore[arg-type]
            return behaviour, stack.enter_context(serving(behaviour))

        yield start


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache/toy/file.bin"


def wanted(target: Path, *addresses: str) -> Wanted:
    return Wanted(target, addresses, SIZE, SHA256)


def unpublished(target: Path, *addresses: str) -> Wanted:
    return Wanted(target, addresses)


def left(target: Path) -> set[str]:
    """What lies about beside the file."""
    return {path.name for path in target.parent.iterdir()} - {target.name}


def get(what: Wanted, settings: DownloadSettings = QUICK) -> Fetched:
    return download(what, settings)


def test_file_arrives_whole_and_nothing_lies_about(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    told: list[tuple[int, int]] = []
    fetched = download(wanted(target, address), QUICK, lambda done, total: told.append((done, total)))
    assert fetched == Fetched(target, SIZE, SHA256, address, pinned=False)
    assert target.read_bytes() == CONTENT
    assert left(target) == set()
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (SIZE, SIZE)
    assert behaviour.requests[0]["accept-encoding"] == "identity"


def test_file_that_is_there_is_not_asked_for_again(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    get(wanted(target, address))
    assert get(wanted(target, address)) == Fetched(target, SIZE, SHA256, "", pinned=False)
    assert len(behaviour.requests) == 1


@pytest.mark.parametrize("damage", [CONTENT[:-1], bytes(SIZE), CONTENT + b"x"])
def test_damaged_file_is_replaced(serve: Serve, target: Path, damage: bytes) -> None:
    _, address = serve()
    target.parent.mkdir(parents=True)
    target.write_bytes(damage)
    assert get(wanted(target, address)).address == address
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("chunked", [False, True])
def test_connections_that_are_cut_are_gone_on_with(serve: Serve, target: Path, chunked: bool) -> None:
    behaviour, address = serve(cut_after=130_000, cuts=2, chunked=chunked)
    get(wanted(target, address))
    assert target.read_bytes() == CONTENT
    ranges = [request.get("range") for request in behaviour.requests]
    assert ranges == [None, "bytes=130000-", "bytes=260000-"]
    assert [request.get("if-range") for request in behaviour.requests[1:]] == [behaviour.tag] * 2


def test_address_that_always_breaks_off_is_given_up(serve: Serve, target: Path) -> None:
    behaviour, address = serve(cut_after=10_000)
    with pytest.raises(
        DownloadError,
        match=r"^file\.bin could not be fetched: 127\.0\.0\.1 broke off( after 30000 of 300000 bytes)?\.$",
    ):
        get(wanted(target, address))
    assert len(behaviour.requests) == QUICK.attempts
    assert left(target) == {"file.bin.part", "file.bin.part.json"}
    assert not target.exists()


def test_next_call_goes_on_where_the_last_one_stopped(serve: Serve, target: Path) -> None:
    behaviour, address = serve(cut_after=50_000)
    with pytest.raises(DownloadError):
        get(wanted(target, address))
    behaviour.cut_after = None
    get(wanted(target, address))
    assert behaviour.requests[-1]["range"] == "bytes=150000-"
    assert target.read_bytes() == CONTENT
    assert left(target) == set()


def test_interruption_leaves_a_part_that_the_next_call_goes_on_with(serve: Serve, target: Path) -> None:
    behaviour, address = serve()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(unpublished(target, address), QUICK, interrupt)
    done = (target.parent / "file.bin.part").stat().st_size
    assert 0 < done < SIZE
    assert left(target) == {"file.bin.part", "file.bin.part.json"}
    get(unpublished(target, address))
    assert behaviour.requests[-1]["range"] == f"bytes={done}-"
    assert target.read_bytes() == CONTENT


def test_killed_process_leaves_a_part_and_no_lock(serve: Serve, target: Path) -> None:
    held = threading.Event()
    behaviour, address = serve(held=held)
    program = (
        "import sys; from pathlib import Path; from ostec.io.download import Wanted, download\n"
        "download(Wanted(Path(sys.argv[1]), (sys.argv[2],)), None, lambda *_: (print('some', flush=True)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(target), address], stdout=subprocess.PIPE, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        held_open = threading.Timer(30, process.kill)
        held_open.start()
        while not (target.parent / "file.bin.part").exists():
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(DownloadError, match=r"file\.bin is being fetched by another process\.$"):
            get(unpublished(target, address))
        process.kill()
        held_open.cancel()
    held.set()
    behaviour.held = None
    get(unpublished(target, address))
    assert target.read_bytes() == CONTENT
    assert left(target) == {"file.bin.pin.json"}


def test_server_that_ignores_ranges_gives_the_whole_file(serve: Serve, target: Path) -> None:
    behaviour, address = serve(cut_after=130_000, cuts=1, ranges=False)
    get(wanted(target, address))
    assert behaviour.requests[-1]["range"] == "bytes=130000-"
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("published", [True, False])
def test_file_that_changed_in_between_is_fetched_from_the_start(serve: Serve, target: Path, published: bool) -> None:
    behaviour, address = serve(OTHER, cut_after=50_000)
    what = wanted(target, address) if published else unpublished(target, address)
    with pytest.raises(DownloadError):
        get(what)
    behaviour.content, behaviour.cut_after = CONTENT, None
    get(what)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("published", [True, False])
def test_server_that_ignores_if_range_too_cannot_mix_two_files(serve: Serve, target: Path, published: bool) -> None:
    behaviour, address = serve(OTHER, cut_after=50_000, if_range=False)
    what = wanted(target, address) if published else unpublished(target, address)
    with pytest.raises(DownloadError):
        get(what)
    behaviour.content, behaviour.cut_after = CONTENT, None
    get(what)
    assert target.read_bytes() == CONTENT


def test_without_etag_and_checksum_nothing_is_resumed(serve: Serve, target: Path) -> None:
    behaviour, address = serve(cut_after=250_000, cuts=1, etag=False)
    get(unpublished(target, address))
    assert "range" not in behaviour.requests[-1]
    assert target.read_bytes() == CONTENT


def test_part_without_a_note_is_worth_something_only_with_a_checksum(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    part = target.parent / "file.bin.part"
    for what in (wanted(target, address), unpublished(target.with_name("other.bin"), address)):
        part = what.path.with_name(f"{what.path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(CONTENT[:1000])
        get(what)
        assert what.path.read_bytes() == CONTENT
    assert [request.get("range") for request in behaviour.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize("part", [OTHER[:1000], OTHER, OTHER + b"x", b""])
def test_wrong_part_does_no_harm(serve: Serve, target: Path, part: bytes) -> None:
    _, address = serve()
    target.parent.mkdir(parents=True)
    (target.parent / "file.bin.part").write_bytes(part)
    (target.parent / "file.bin.part.json").write_text("[nonsense", encoding="utf-8")
    get(wanted(target, address))
    assert target.read_bytes() == CONTENT


def test_whole_part_needs_no_request(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    target.parent.mkdir(parents=True)
    (target.parent / "file.bin.part").write_bytes(CONTENT)
    get(wanted(target, address))
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == []


def test_wrong_bytes_are_refused(serve: Serve, target: Path) -> None:
    _, address = serve(OTHER)
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(
        DownloadError, match=rf"127\.0\.0\.1 gave other bytes than expected \(SHA-256 {found}, expected {SHA256}\)\.$"
    ):
        get(wanted(target, address))
    assert left(target) == set()
    assert not target.exists()


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_wrong_length_is_refused_before_anything_is_read(serve: Serve, target: Path, size: int) -> None:
    _, address = serve(bytes(size))
    with pytest.raises(DownloadError, match=rf"offers {size} bytes, expected {SIZE}\.$"):
        get(wanted(target, address))
    assert left(target) == set()


@pytest.mark.parametrize("published", [True, False])
def test_server_that_sends_too_much_is_cut_off(serve: Serve, target: Path, published: bool) -> None:
    _, address = serve(CONTENT + bytes(3_000_000), chunked=True)
    what, kind = (wanted(target, address), "expected") if published else (unpublished(target, address), "permitted")
    with pytest.raises(DownloadError, match=rf"sends more than the {kind} {SIZE} bytes\.$"):
        get(what, replace(QUICK, size_limit=SIZE))
    assert left(target) == set()


def test_length_beyond_the_limit_is_refused(serve: Serve, target: Path) -> None:
    _, address = serve(length=10**12)
    with pytest.raises(DownloadError, match=r"offers 1000000000000 bytes, more than the limit of 17179869184\.$"):
        get(unpublished(target, address))


def test_answer_that_ends_early_without_saying_so_is_not_taken(serve: Serve, target: Path) -> None:
    _, address = serve(CONTENT[:-5], chunked=True)
    with pytest.raises(DownloadError, match=r"broke off after 299995 of 300000 bytes"):
        get(wanted(target, address))
    assert not target.exists()


def test_answer_without_an_end_is_refused(serve: Serve, target: Path) -> None:
    """Neither a length nor chunks: a connection that is cut would look like the end."""
    _, address = serve(headers={"Content-Length": "unknown"})
    with pytest.raises(DownloadError, match=r"(does not say where the file ends|broke off)\.$"):
        get(unpublished(target, address))
    assert not target.exists()


@pytest.mark.parametrize(("status", "phrase"), [(404, "Not Found"), (403, "Forbidden"), (410, "Gone"), (599, "")])
def test_refusal_is_told_and_not_repeated(serve: Serve, target: Path, status: int, phrase: str) -> None:
    behaviour, address = serve(status=status)
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1 answered {status} ?{phrase}\.$"):
        get(wanted(target, address))
    assert len(behaviour.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_asked_again(serve: Serve, target: Path, status: int) -> None:
    behaviour, address = serve(status=status, failures=2, headers={"Retry-After": "0"})
    get(wanted(target, address))
    assert len(behaviour.requests) == 3


def test_web_page_in_place_of_the_file_is_refused(serve: Serve, target: Path) -> None:
    _, address = serve(b"<html>Sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(DownloadError, match=r"answered with a web page instead of the file\.$"):
        get(unpublished(target, address))


def test_body_that_is_encoded_is_refused(serve: Serve, target: Path) -> None:
    _, address = serve(headers={"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match=r"sends the file encoded as gzip\.$"):
        get(unpublished(target, address))


def test_silent_server_is_given_up(serve: Serve, target: Path) -> None:
    _, address = serve(held=threading.Event())
    with pytest.raises(DownloadError, match=r"(fell silent|broke off)\.$"):
        get(wanted(target, address), replace(QUICK, patience=Patience(2.0, 0.2), attempts=2))


def test_slow_server_is_waited_for(serve: Serve, target: Path) -> None:
    _, address = serve(pause_seconds=0.02)
    get(wanted(target, address))
    assert target.read_bytes() == CONTENT


def test_server_that_trickles_for_ever_is_given_up_and_what_came_is_kept(serve: Serve, target: Path) -> None:
    behaviour, address = serve(pause_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 takes longer than is waited for\.$"):
        get(wanted(target, address), replace(QUICK, limit_seconds=0.4))
    assert time.monotonic() - started < 1.0  # not first when a whole block has come together
    assert len(behaviour.requests) == 1
    behaviour.pause_seconds = 0.0
    get(wanted(target, address))
    assert behaviour.requests[-1]["range"].startswith("bytes=")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("part", ["head", "chunk"])
def test_server_that_sends_a_byte_now_and_then_is_given_up(serve: Serve, target: Path, part: str) -> None:
    behaviour, address = serve(dripping=part, chunked=True)
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 takes longer than is waited for\.$"):
        get(wanted(target, address), replace(QUICK, limit_seconds=0.5))
    assert time.monotonic() - started < 3
    behaviour.dripping = ""
    get(wanted(target, address))
    assert target.read_bytes() == CONTENT


def test_mirrors_are_tried_in_turn(serve: Serve, target: Path) -> None:
    _, gone = serve(status=404)
    _, wrong = serve(OTHER)
    broken, part = serve(cut_after=20_000)
    whole, address = serve()
    fetched = get(wanted(target, "http://127.0.0.1:9/nobody", gone, wrong, part, address))
    assert fetched.address == address
    assert target.read_bytes() == CONTENT
    assert len(broken.requests) == QUICK.attempts
    assert whole.requests[0]["range"] == "bytes=60000-"
    assert "if-range" not in whole.requests[0]


def test_all_mirrors_are_named_when_all_fail(serve: Serve, target: Path) -> None:
    _, gone = serve(status=404)
    _, wrong = serve(bytes(7))
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 answered 404 Not Found; 127\.0\.0\.1 offers 7 bytes"):
        get(wanted(target, gone, wrong))
    with pytest.raises(DownloadError, match=r"^file\.bin could not be fetched: it has no address\.$"):
        get(wanted(target))


def test_unpublished_checksum_is_pinned_at_the_first_fetch(serve: Serve, target: Path) -> None:
    _, address = serve()
    fetched = get(unpublished(target, address))
    assert fetched.pinned
    assert read_pin(target) == Pin(SIZE, SHA256, address)
    assert json.loads(pin_of(target).read_text())["sha256"] == SHA256
    assert not get(unpublished(target, address)).pinned


def test_pinned_file_that_comes_back_as_another_is_refused(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    get(unpublished(target, address))
    target.unlink()
    behaviour.content = OTHER
    with pytest.raises(DownloadError, match=rf"other bytes than expected \(SHA-256 [0-9a-f]+, expected {SHA256}\)\.$"):
        get(unpublished(target, address))
    behaviour.content = CONTENT
    assert get(unpublished(target, address)).address == address


def test_file_that_was_put_there_by_hand_is_pinned(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    target.parent.mkdir(parents=True)
    target.write_bytes(OTHER)
    assert get(unpublished(target, address)).pinned
    assert read_pin(target) == Pin(len(OTHER), hashlib.sha256(OTHER).hexdigest())
    assert behaviour.requests == []


def test_damaged_pin_is_named(serve: Serve, target: Path) -> None:
    _, address = serve()
    target.parent.mkdir(parents=True)
    pin_of(target).write_text('{"size": 3}', encoding="utf-8")
    with pytest.raises(AssetError, match=r"file\.bin\.pin\.json is no pin of a SHA-256; remove it if"):
        get(unpublished(target, address))


def test_redirects_are_followed(serve: Serve, target: Path) -> None:
    _, address = serve()
    _, second = serve(redirect=address)
    behaviour, first = serve(redirect=second)
    assert get(wanted(target, first)).address == first
    assert target.read_bytes() == CONTENT
    assert len(behaviour.requests) == 1


def test_body_of_a_redirect_is_not_read(serve: Serve, target: Path) -> None:
    _, address = serve()
    _, first = serve(redirect=address, length=10**12)
    get(wanted(target, first), replace(QUICK, attempts=1))
    assert target.read_bytes() == CONTENT


def test_redirect_in_a_circle_ends(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    behaviour.redirect = address
    with pytest.raises(DownloadError, match=r"redirects more than 10 times\.$"):
        get(wanted(target, address))
    assert len(behaviour.requests) == 11


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (
            "http://example.org/file.bin",
            r"http://example\.org/file\.bin is not encrypted \(https\), which --allow-http",
        ),
        ("file:///etc/passwd", r"file:///etc/passwd is no address of the web"),
        ("ftp://example.org/file.bin", "is no address of the web"),
        ("http://[", "redirects to something that is no address"),
    ],
)
def test_redirect_to_what_must_not_be_asked_is_refused(serve: Serve, target: Path, location: str, reason: str) -> None:
    _, address = serve(redirect=location)
    with pytest.raises(DownloadError, match=reason):
        get(wanted(target, address))


def test_encryption_is_never_given_up_on_the_way() -> None:
    assert web._next_address("https://example.org/a", "/b") == "https://example.org/b"
    assert web._next_address("http://localhost/a", "https://example.org/b") == "https://example.org/b"
    with pytest.raises(web.Failed, match="redirects from https to an address without encryption"):
        web._next_address("https://example.org/a", "http://example.org/a")


def test_server_that_cannot_prove_who_it_is_is_refused(serve: Serve, target: Path) -> None:
    behaviour, address = serve()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot prove by TLS who it is\.$"):
        get(wanted(target, address.replace("http://", "https://")))
    assert behaviour.requests == []


def test_address_without_encryption_is_refused_unless_it_is_permitted(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match="not encrypted"):
        get(wanted(target, "http://example.org/file.bin"))
    permitted = replace(QUICK, patience=Patience(1.0, 1.0, allow_http=True), attempts=1)
    with pytest.raises(DownloadError, match=r"example\.org cannot be reached through the proxy\.$"):
        get(wanted(target, "http://example.org/file.bin"), permitted)


def test_credentials_are_not_sent(serve: Serve, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    behaviour, address = serve()
    get(wanted(target, address))
    assert not {"authorization", "cookie"} & behaviour.requests[0].keys()


def test_full_disk_is_told_before_anything_is_read(serve: Serve, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, module._ROOM_LEFT + SIZE - 1))
    _, address = serve()
    _, second = serve()
    with pytest.raises(
        DownloadError, match=rf"^file\.bin needs {SIZE} bytes more in .*toy, whose disk has \d+ free\.$"
    ):
        get(wanted(target, address, second))
    assert left(target) == set()


def test_folder_that_is_a_file_is_named(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(OutputError, match="cache"):
        get(wanted(tmp_path / "cache/file.bin", "http://127.0.0.1:9/"))


def test_two_fetches_at_once_do_not_mix(serve: Serve, target: Path) -> None:
    held = threading.Event()
    behaviour, address = serve(held=held)
    outcomes: list[Fetched] = []
    patient = replace(QUICK, patience=Patience(2.0, 10.0))
    first = threading.Thread(target=lambda: outcomes.append(download(wanted(target, address), patient)))
    first.start()
    while not behaviour.requests:
        time.sleep(0.01)
    with pytest.raises(DownloadError, match=r"file\.bin is being fetched by another process\.$"):
        get(wanted(target, address))
    held.set()
    first.join()
    assert outcomes == [Fetched(target, SIZE, SHA256, address, pinned=False)]
    assert target.read_bytes() == CONTENT
    assert left(target) == set()
    assert get(wanted(target, address)).address == ""
