"""A command line with the fake completer, in this process."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ostec.app.cli import main, main_ostec
from ostec.export.record import read_record
from tests.app import fake


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Run = Callable[..., Said]
Refuses = Callable[..., None]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before
    logging.captureWarnings(False)
    for name in ("ostec", "ostec.app", "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the completer was asked for since the last call."""
    log = tmp_path / "calls.log"
    monkeypatch.setenv("OSTEC_FAKE_CALLS", str(log))

    def read() -> list[str]:
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return read


@pytest.fixture
def ostec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: Callable[[], list[str]]
) -> Run:
    """``ostec WORDS...`` (or ``run_ostec.py``) in an empty folder."""
    monkeypatch.setitem(sys.modules, "ostec.pipeline", fake.pipeline())
    monkeypatch.chdir(tmp_path)

    def run(*words: object, paper: bool = False) -> Said:
        code = (main_ostec if paper else main)([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Refuses:
    """Assert that ``ostec WORDS...`` is refused, as wrong use is, with one line that has the sentence in it."""

    def check(sentence: str, *words: object) -> None:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, "")
        assert captured.err.startswith("ostec: error: ")
        assert captured.err.count("\n") == 1
        assert sentence in captured.err

    return check


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Write photos by name (``photos("in/a.jpg", b="noface")``) and return their folder."""

    def write(words: dict[str, str]) -> Path:
        for name, text in words.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "in"

    return write


def assert_whole(folder: Path, names: set[str]) -> None:
    """Each result has all its files, and nothing else lies about."""
    expected = {"index.html", "run.jsonl", "failures.jsonl"}
    for name in names:
        record = read_record(folder / f"{name}.json")
        assert record is not None
        expected |= set(record["files"])
    assert {p.name for p in folder.iterdir()} == expected
