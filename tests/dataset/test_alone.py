"""While a dataset is built, whoever would write into it is refused, and whoever reads it may."""

import subprocess
import sys
from pathlib import Path

import pytest

from ostec.app.cli import main
from ostec.dataset.build import alone
from ostec.dataset.verify import verify
from tests.dataset.toy import build, content, many_photos, write_photos

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the datasets ``ds``, not finished, and ``other``."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.raises(KeyboardInterrupt):
        build(folder / "ds", many_photos(folder / "in", 30), limit=20)
    build(folder / "other", write_photos(folder / "more", {"a.jpg": "1", "b.jpg": "2"}))
    return folder


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("build more --out ds --shard-size 8 --batch 1", "ds is being built by another process; please wait until"),
        ("build more --out ds --shard-size 9 --batch 1", "ds was begun with shard_size 8"),
        ("resume ds", "ds is being built by another process"),
        ("resume ds --retry-failed", "ds is being built by another process"),
        ("verify ds", "ds is being built by another process"),
        ("verify ds --repair", "ds is being built by another process"),
        ("filter other --out ds --max-yaw 90", "ds is there already and not an empty folder"),
        ("split other --out ds --ignore-twins", "ds is there already and not an empty folder"),
        ("export other --out ds --format folder", "ds is there already and not an empty folder"),
        ("export other --out ds --format webdataset", "ds is there already and not an empty folder"),
        ("export other --out ds --format parquet", "ds is there already and not an empty folder"),
        ("filter other --out begun --max-yaw 90", "begun is there already and not an empty folder"),
        ("build more --out begun", "begun is being built by another process"),
        ("resume begun", "begun holds no dataset"),
    ],
)
def test_nobody_else_writes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "begun").mkdir(exist_ok=True)  # by a build that has not come further yet
    with alone(folder / "ds"), alone(folder / "begun"):
        before = state(folder)
        assert main(["dataset", *words.split()]) == 2
        assert state(folder) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("status ds", "A build is running."),
        ("filter ds --out good --max-yaw 90", "/good, 0 were left out."),
        ("export ds --out files --format folder", "/files."),
    ],
)
def test_whoever_reads_what_is_finished_may(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    monkeypatch.chdir(folder)
    with alone(folder / "ds"):
        before = state(folder / "ds")
        assert main(["dataset", *words.split()]) == 0
        assert state(folder / "ds") == before
    assert says in capsys.readouterr().out


def test_of_builds_that_start_at_once_all_but_one_are_refused(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 20)
    build(tmp_path / "calm", photos)
    program = """
import os, sys, time
from pathlib import Path
import ostec.dataset.manifest
from ostec.core.errors import UsageError
from tests.dataset.toy import build
start = time.time() + 0.3
for number in range(4):
    if not os.fork():
        time.sleep(max(0.0, start - time.time()))
        try:
            build(Path(sys.argv[1]), sys.argv[2])
        except UsageError as error:
            os._exit(2 if "is being built by another process" in str(error) else 3)
        os._exit(0)
print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)))
"""
    for number in range(3):
        out = tmp_path / f"ds{number}"
        words = [sys.executable, "-c", program, str(out), str(photos)]
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        codes = run.stdout.strip()
        assert codes.startswith("[0, "), run.stdout + run.stderr
        assert "3" not in codes
        assert content(out) == content(tmp_path / "calm")
        assert verify(out, repair=False).problems == []
