"""``ostec models``: what is said, what is fetched, and how it ends."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ostec.app.web import work
from ostec.app.web.jobs import Job
from ostec.core import assets
from ostec.core.inventory import State
from tests.app.conftest import Refuses, Run
from tests.io.file_server import Behaviour, serving

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 800
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HEAD = """
name = "{name}"
purpose = "testing"
homepage = "https://example.org"
paper = ""
licence = "Toy licence (long); longer"
{more}
"""


def entry(name: str, **fields: object) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, **fields}.items()]
    return "\n".join(("[[files]]", *lines, ""))


Add = Callable[..., None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Add a manifest to a program that has no others; the user's folder and cache are empty."""
    for folder in ("program/ostec", "program/external", "program/models", "program/topology"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "program/ostec")
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path / "own"))
    monkeypatch.setattr(assets, "cache_folder", lambda: tmp_path / "cache")

    def write(name: str, *entries: str, **more: object) -> None:
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in more.items())
        text = HEAD.format(name=name, more=lines) + "".join(entries)
        (tmp_path / f"program/external/{name}.toml").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def served() -> Iterator[tuple[Behaviour, str]]:
    with ExitStack() as stack:
        behaviour = Behaviour(CONTENT)
        yield behaviour, stack.enter_context(serving(behaviour))


@pytest.fixture
def toy(add: Add, served: tuple[Behaviour, str]) -> Behaviour:
    """A model of one file that is served, with a published checksum."""
    behaviour, address = served
    add(
        "toy",
        entry("toy/weights.bin", sha256=SHA256, size=len(CONTENT), url=address, page="https://example.org/page"),
        commercial_use=False,
        source="a test",
        input="bytes",
    )
    return behaviour


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_fetched_model_is_listed_shown_verified_and_located(ostec: Run, toy: Behaviour, tmp_path: Path) -> None:
    place = tmp_path / "own/toy/weights.bin"
    said = ostec("models", "fetch", "toy")
    assert (said.code, said.out) == (0, f"Fetched {place} (204.8 kB)\n")
    assert "ostec: toy: Toy licence (long); longer, no commercial use.\n" in said.err
    assert place.read_bytes() == CONTENT
    assert sorted(path.name for path in place.parent.iterdir()) == ["weights.bin"]
    assert ostec("models", "list").out == "toy  present  204.8 kB  Toy licence, no commercial use\n"
    assert ostec("models", "verify").out == "toy/weights.bin is good\n"
    assert ostec("models", "verify", "toy").code == 0
    assert ostec("models", "path", "toy").out == f"{place}\n"
    assert ostec("models", "path", "toy", "weights.bin").out == f"{place}\n"
    again = ostec("models", "fetch", "toy")
    assert (again.code, again.out) == (0, f"toy/weights.bin is there: {place}\n")
    assert len(toy.requests) == 1


def test_show_tells_all_that_the_manifest_says(ostec: Run, toy: Behaviour, tmp_path: Path) -> None:
    said = ostec("models", "show", "toy")
    assert said.code == 0
    for words in (
        "name:           toy",
        "state:          missing",
        "licence:        Toy licence (long); longer",
        "commercial use: not permitted",
        "redistribution: see the licence",
        "read by:        nothing in this version",
        "toy/weights.bin: missing, 204.8 kB",
        f"sha256  {SHA256}",
        "from    http://127.0.0.1:",
        "page    https://example.org/page",
        f"goes to {tmp_path / 'own/toy/weights.bin'}",
    ):
        assert words in said.out
    place = put(tmp_path / "cache/weights.bin")
    assert f"at      {place}" in ostec("models", "show", "toy").out
    assert toy.requests == []


def test_listing_a_whole_collection_is_sorted_and_aligned(ostec: Run, add: Add, toy: Behaviour, tmp_path: Path) -> None:
    add("anatomy", entry("anatomy/a.bin", page="https://example.org"), sign_up="https://example.org")
    add("hands", entry("hands/h.bin", page="https://example.org"))
    put(tmp_path / "program/models/own.bin")
    add("own", entry("own.bin", sha256=SHA256, size=len(CONTENT)))
    put(tmp_path / "own/toy/weights.bin", CONTENT[:-1])
    said = ostec("models", "list")
    assert said.out == (
        "anatomy  gated    unknown size  Toy licence\n"
        "hands    by hand  unknown size  Toy licence\n"
        "own      present      204.8 kB  Toy licence\n"
        "toy      damaged      204.8 kB  Toy licence, no commercial use\n"
    )
    assert f"weights.bin is damaged ({len(CONTENT) - 1} bytes, expected {len(CONTENT)})" in said.err


def test_page_fetches_a_model_and_says_where_it_is(toy: Behaviour, tmp_path: Path) -> None:
    job = Job(lambda _: None)
    assert work.fetch_model("toy", job).startswith(str(tmp_path / "own"))
    assert (job.stage, job.fraction, job.what) == ("fetch", 1.0, "toy/weights.bin")
    assert work.fetch_model("toy", job) == "toy is there."


def test_damage_is_found_by_verify_and_mended_by_fetch(ostec: Run, toy: Behaviour, tmp_path: Path) -> None:
    place = put(tmp_path / "own/toy/weights.bin", CONTENT[:-1] + b"x")
    assert ostec("models", "list").out.startswith("toy  present")
    said = ostec("models", "verify")
    assert (said.code, said.out) == (1, "")
    assert f"{place} is damaged (sha256 " in said.err
    assert ostec("models", "fetch", "toy").code == 0
    assert place.read_bytes() == CONTENT
    assert ostec("models", "verify").code == 0


def test_named_models_that_are_not_there_fail_verification(ostec: Run, toy: Behaviour) -> None:
    assert ostec("models", "verify").code == 0
    said = ostec("models", "verify", "toy")
    assert said.code == 1
    assert "toy is not, or not wholly, on this machine" in said.err


def test_unpublished_checksum_is_pinned_and_told(
    ostec: Run, add: Add, served: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, address = served
    add("toy", entry("toy/weights.bin", url=address))
    said = ostec("models", "fetch", "toy")
    assert "its SHA-256, which nobody published, is pinned in weights.bin.pin.json" in said.out
    assert f"sha256  {SHA256} (pinned)" in ostec("models", "show", "toy").out
    place = tmp_path / "own/toy/weights.bin"
    place.unlink()
    behaviour.content = bytes(len(CONTENT))
    refused = ostec("models", "fetch", "toy")
    assert refused.code == 1
    assert "gave other bytes than expected" in refused.err
    assert not place.exists()


def test_file_put_by_hand_is_pinned_by_verify(ostec: Run, add: Add, tmp_path: Path) -> None:
    add("toy", entry("toy/weights.bin", page="https://example.org/page"))
    place = put(tmp_path / "own/weights.bin")
    assert ostec("models", "list").out.startswith("toy  unpinned")
    assert f"which from now on must be {SHA256}" in ostec("models", "verify").out
    assert ostec("models", "list").out.startswith("toy  present")
    assert ostec("models", "verify").out == "toy/weights.bin is good\n"
    put(place, CONTENT + b"x")
    assert ostec("models", "verify").code == 1


@pytest.mark.parametrize("word", ["verify", "fetch"])
@pytest.mark.parametrize(
    ("name", "more", "content"),
    [
        ("weights.bin", {}, b"\n<!DOCTYPE html><title>Sign in</title>"),
        ("weights.pth", {}, b"<html>Quota exceeded</html>"),
        ("weights.pkl", {"loader": assets.GENERATOR_LOADER}, CONTENT),
        ("model.mat", {}, CONTENT),
        ("mesh.obj", {}, CONTENT),
        ("modes.npz", {}, CONTENT),
        ("model.npy", {}, CONTENT),
    ],
)
def test_only_what_can_be_opened_is_pinned(
    ostec: Run, add: Add, tmp_path: Path, name: str, more: dict[str, str], content: bytes, word: str
) -> None:
    add("toy", entry(f"toy/{name}", page="https://example.org/page"), **more)
    place = put(tmp_path / "own/toy" / name, content)
    said = ostec("models", word, "toy")
    assert (said.code, said.out) == (1, "")
    assert str(place) in said.err
    assert not assets.pin_of(place).exists()


def test_files_that_are_enough_and_further_folders(ostec: Run, add: Add, tmp_path: Path) -> None:
    names = ("toy/a.bin", "toy/b.bin", "toy/c.bin")
    add(
        "toy",
        *(entry(n, page="https://example.org") for n in names),
        folders=["theirs"],
        enough=[names[0], "toy/x.bin"],
    )
    first = put(tmp_path / "own/theirs/a.bin")
    assert ostec("models", "list").out.startswith("toy  partly")
    archive = put(tmp_path / "own/x.bin")
    assert ostec("models", "list").out == "toy  unpinned  409.6 kB  Toy licence\n"
    assert ostec("models", "path", "toy").out == f"{first}\n{archive}\n"
    assert ostec("models", "verify", "toy").code == 0
    assert ostec("models", "list").out.startswith("toy  present")
    put(archive, CONTENT[:-1])
    assert ostec("models", "list").out.startswith("toy  damaged")
    archive.unlink()
    assert ostec("models", "verify", "toy").code == 1


def test_file_put_by_hand_is_pinned_by_fetch(ostec: Run, add: Add, tmp_path: Path) -> None:
    add("toy", entry("toy/weights.bin", page="https://example.org/page"))
    place = put(tmp_path / "own/toy/weights.bin")
    assert ostec("models", "fetch", "toy", "--dry-run").out == f"toy/weights.bin is there: {place}\n"
    assert not assets.pin_of(place).exists()
    assert f"which from now on must be {SHA256}" in ostec("models", "fetch", "toy").out
    assert ostec("models", "fetch", "toy").out == f"toy/weights.bin is there: {place}\n"


def test_what_needs_a_browser_is_told_with_page_and_folder(ostec: Run, add: Add, tmp_path: Path) -> None:
    add("hand", entry("hand/h.bin", page="https://drive.example.org/h"))
    add("gated", entry("gated/g.bin", page="https://example.org/files"), sign_up="https://example.org/register")
    said = ostec("models", "fetch", "hand", "gated")
    assert (said.code, said.out) == (1, "")
    assert (
        f"hand/h.bin needs a browser: download it from https://drive.example.org/h and put it here: "
        f"{tmp_path / 'own/hand/h.bin'}\n"
    ) in said.err
    assert "from https://example.org/files after a sign-up at https://example.org/register and put it" in said.err
    add("same", entry("same/s.bin", page="https://example.org/register"), sign_up="https://example.org/register")
    said = ostec("models", "fetch", "same")
    assert "download it from https://example.org/register after a sign-up there and put it here: " in said.err


def test_one_alternative_is_fetched_unless_others_are_named(
    ostec: Run, add: Add, served: tuple[Behaviour, str], tmp_path: Path
) -> None:
    _, address = served
    known = {"sha256": SHA256, "size": len(CONTENT), "url": address}
    by_hand = entry("toy/d.bin", page="https://example.org")
    served_ones = [entry(f"toy/{letter}.bin", **known) for letter in "abc"]
    add("toy", *served_ones, by_hand, any_of=True)
    folder = tmp_path / "own/toy"
    assert ostec("models", "fetch", "toy:b.bin").code == 0
    assert {path.name for path in folder.iterdir()} == {"b.bin"}
    assert ostec("models", "fetch", "toy").out == f"toy/b.bin is there: {folder / 'b.bin'}\n"
    assert ostec("models", "path", "toy").out == f"{folder / 'b.bin'}\n"
    (folder / "b.bin").unlink()
    assert ostec("models", "fetch", "toy").code == 0
    assert {path.name for path in folder.iterdir()} == {"a.bin"}
    assert ostec("models", "fetch", "toy", "--all-files").code == 0
    assert {path.name for path in folder.iterdir()} == {"a.bin", "b.bin", "c.bin"}


def test_dry_run_touches_neither_network_nor_disk(ostec: Run, toy: Behaviour, tmp_path: Path) -> None:
    said = ostec("models", "fetch", "toy", "--dry-run")
    assert said.code == 0
    assert said.out.startswith("toy/weights.bin (204.8 kB) would come from http://127.0.0.1:")
    assert said.out.endswith(f"/file.bin and go to {tmp_path / 'own/toy/weights.bin'}\n")
    assert toy.requests == []
    assert not (tmp_path / "own").exists()


def test_only_fetch_touches_the_network(ostec: Run, toy: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*words: object, **more: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("ostec.io.download.asked", called)
    for words in (("list",), ("show", "toy"), ("verify",), ("verify", "toy"), ("path", "toy")):
        ostec("models", *words)
    assert toy.requests == []
    assert "the network was touched" in ostec("models", "fetch", "toy").err


def test_option_names_the_folder(ostec: Run, toy: Behaviour, tmp_path: Path) -> None:
    assert ostec("models", "fetch", "toy", "--models-dir", tmp_path / "mine").code == 0
    assert (tmp_path / "mine/toy/weights.bin").read_bytes() == CONTENT
    assert not (tmp_path / "own").exists()
    for word in ("list", "verify"):
        said = ostec("models", word, "--models-dir", tmp_path / "mine")
        assert (said.code, "present" in said.out or "good" in said.out) == (0, True)


def test_one_failure_does_not_stop_the_others(
    ostec: Run, add: Add, toy: Behaviour, served: tuple[Behaviour, str], tmp_path: Path
) -> None:
    add("anyone", entry("anyone/a.bin", sha256="0" * 64, size=3, url=served[1], page="https://example.org/a"))
    said = ostec("models", "fetch", "anyone", "toy")
    assert said.code == 1
    assert f"a.bin could not be fetched: 127.0.0.1 offers {len(CONTENT)} bytes" in said.err
    assert "It can also be downloaded by hand, see ostec models show anyone." in said.err
    assert (tmp_path / "own/toy/weights.bin").is_file()


def test_shipped_models_need_no_fetching(ostec: Run, add: Add, tmp_path: Path) -> None:
    place = put(tmp_path / "program/models/own.bin")
    add("own", entry("own.bin", sha256=SHA256, size=len(CONTENT)))
    assert ostec("models", "fetch", "own").out == f"own.bin is there: {place}\n"
    put(place, b"damaged")
    said = ostec("models", "fetch", "own")
    assert said.code == 1
    assert "own.bin is damaged (7 bytes, expected" in said.err
    add("pack", entry("p.bin", sha256=SHA256, size=3), package="no_such_package")
    assert ostec("models", "list").out.splitlines()[1].startswith("pack  missing")
    assert "pip install no_such_package" in ostec("models", "fetch", "pack").err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("show", "tyo"), "There is no model 'tyo'; did you mean toy?"),
        (("show", "xxxxxx"), "There is no model 'xxxxxx'; there is toy."),
        (("fetch", "toy:b.bin"), "toy has no file 'b.bin'; it has toy/weights.bin."),
        (("fetch",), "NAME[:FILE]... must be given"),
        (("show",), "NAME must be given"),
        (("path", "toy"), "toy/weights.bin is not on this machine (ostec models show toy says how it gets there)."),
        (("path", "toy", "b.bin"), "toy has no file 'b.bin'"),
        (("list", "--models-dir", ""), "--models-dir must name a folder."),
        ((), "There is no command 'models'; there is models list, models show, models fetch"),
    ],
)
@pytest.mark.usefixtures("ostec", "toy")
def test_wrong_use_is_one_sentence(refuses: Refuses, words: tuple[str, ...], reason: str) -> None:
    refuses(reason, "models", *words)


def test_long_download_is_told_of_where_there_is_no_bar(
    ostec: Run, toy: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostec.app.models.models._LINE_SECONDS", 0.0)
    toy.pause_seconds = 0.01
    said = ostec("models", "fetch", "toy")
    assert re.search(r"(?m)^ostec: toy/weights\.bin: 131\.1 kB of 204\.8 kB, about 0 s left$", said.err)


def test_the_guide_has_every_model_and_state() -> None:
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")

    def first_column(heading: str) -> set[str]:
        section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        return set(re.findall(r"(?m)^\| `([^`]+)` \|", section))

    fetched = {name for name in assets.manifest_names() if not assets.load_manifest(name).ships}
    assert first_column("The models") == fetched
    assert first_column("States") == {state.value for state in State}


def test_quiet_fetch_says_nothing(ostec: Run, toy: Behaviour) -> None:
    said = ostec("models", "fetch", "toy", "-q")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_interrupted_fetch_goes_on_with_the_same_command(toy: Behaviour, tmp_path: Path) -> None:
    """In a process of its own: Ctrl-C, then the same words again."""
    toy.pause_seconds = 0.1
    program = (
        "import sys; from pathlib import Path; from ostec.core import assets; from ostec.app.cli import main\n"
        "assets._PACKAGE = Path(sys.argv[1]); sys.exit(main(['models', 'fetch', 'toy']))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "program/ostec")]
    part = tmp_path / "own/toy/weights.bin.part"
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        deadline = time.monotonic() + 60
        while not part.exists() or part.stat().st_size == 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted; nothing is half-written, and the same command goes on." in said
    assert {path.name for path in part.parent.iterdir()} == {part.name, f"{part.name}.json"}
    toy.pause_seconds = 0.0
    done = part.stat().st_size
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert 0 < done < len(CONTENT)
    assert toy.requests[-1]["range"] == f"bytes={done}-"
    assert (tmp_path / "own/toy/weights.bin").read_bytes() == CONTENT
    assert {path.name for path in part.parent.iterdir()} == {"weights.bin"}
