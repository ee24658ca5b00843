"""What reaches the terminal, and what a terminal gets instead of lines."""

import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ostec.app.console import Display, set_up_logging

ROOT = Path(__file__).parents[2]


def _log_all() -> None:
    for name in ("ostec.app.photos.batch", "ostec.fit", "other"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(level, "%s %s.", name, logging.getLevelName(level).lower())


@pytest.mark.parametrize(
    ("quiet", "verbose", "shown"),
    [
        (True, False, {"app": "we", "fit": "we", "other": "we"}),
        (False, False, {"app": "iwe", "fit": "we", "other": "we"}),
        (False, True, {"app": "diwe", "fit": "diwe", "other": "we"}),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], quiet: bool, verbose: bool, shown: dict[str, str]) -> None:
    set_up_logging(quiet, verbose)
    _log_all()
    lines = capsys.readouterr().err.splitlines()
    names = {"app": "ostec.app.photos.batch", "fit": "ostec.fit", "other": "other"}
    texts = {
        "d": "ostec: debug: {} debug.",
        "i": "ostec: {} info.",
        "w": "ostec: warning: {} warning.",
        "e": "ostec: error: {} error.",
    }
    assert lines == [texts[level].format(names[key]) for key, levels in shown.items() for level in levels]


def test_messages_are_plain_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    long = "[red]not markup[/red] :smile: " + "a long line " * 30 + "\x1b[2J\udce9"
    logging.getLogger("ostec").warning("%s", long)
    text = capsys.readouterr().err
    assert text == f"ostec: warning: {long[:-5]}\\x1b[2J\\udce9\n"


def test_warnings_come_once_errors_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    for _ in range(3):
        logging.getLogger("ostec").warning("Careful.")
        logging.getLogger("ostec").error("Wrong.")
    err = capsys.readouterr().err
    assert (err.count("Careful."), err.count("Wrong.")) == (1, 3)
    set_up_logging()  # a second command in the same process starts afresh, and does not double what is said
    logging.getLogger("ostec").warning("Careful.")
    assert capsys.readouterr().err == "ostec: warning: Careful.\n"


def test_warnings_for_developers_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        set_up_logging()
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_lines_count_every_photo(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(total=3, to_do=2) as display:
        display.end("a.jpg", None)
        display.begin("b.jpg")
        display.stage("detect", 0.5)
        display.end("b.jpg", "done in 1.0 s")
        display.begin("[c].jpg")
        display.end("[c].jpg", "done in 2.0 s")
    captured = capsys.readouterr()
    assert captured.out == "2/3 b.jpg done in 1.0 s\n3/3 [c].jpg done in 2.0 s\n"
    assert captured.err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix thing")
def test_a_terminal_gets_a_bar_with_stage_and_time_left(tmp_path: Path) -> None:
    code = (
        "import time\nfrom ostec.app.console import Display, set_up_logging\n"
        "import logging\n"
        "set_up_logging()\n"
        "with Display(3, 2) as display:\n"
        "    for name in ('[a].jpg', 'b.jpg'):\n"
        "        display.begin(name)\n"
        "        for stage in ('detect', 'stitch'):\n"
        "            display.stage(stage, 0.5)\n"
        "            time.sleep(0.5)\n"
        "        logging.getLogger('ostec').warning('Careful with %s.', name)\n"
        "        display.end(name, 'done')\n"
    )
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=60, check=False
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed and everything read
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert done.returncode == 0
    for expected in ("1/3 [a].jpg", "2/3 b.jpg", "2 photos", "50%", "detect", "stitch", "0:00:0"):
        assert expected in text
    assert "ostec: warning: Careful with [a].jpg." in text
    # Standard output goes elsewhere, so it gets its lines all the same.
    assert done.stdout == b"1/3 [a].jpg done\n2/3 b.jpg done\n"
