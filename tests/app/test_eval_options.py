"""Options of the ``ostec eval`` commands: how they are shown, and what is said where they are missing."""

import re
import subprocess
import sys

import pytest

from ostec.app import cli

EVAL = [key for key in cli.COMMANDS if key[0] == "eval"]


def _help(key: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """A command's help in one line, without the boxes."""
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([*key, "--help"]) == 0
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


@pytest.mark.parametrize("key", list(cli.COMMANDS), ids=" ".join)
def test_every_placeholder_says_what_is_meant(
    key: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _help(key, monkeypatch, capsys)
    for type_of_python in ("None", "STR", "PATH", "FLOAT [", "INT [", "False"):
        assert type_of_python not in said.replace("--learning-rate FLOAT", "")
    assert "(default: )" not in said


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("head", "MESH.obj The head's OBJ"),
        ("head", "--texture FILE Its texture. (required)"),
        ("head", "--part MESH.obj... Further"),
        ("head", "--part-texture FILE... Their"),
        ("head", "--pairs INPUT:TARGET... INPUT:TARGET yaws"),
        ("head", "--yaws DEGREES... Yaws"),
        ("head", "--lights {unlit,mild,hard}...|N Lights"),
        ("views", "PHOTO... Two photos or more"),
        ("views", "--truth PHOTO A true frontal photo"),
        ("views", "they are recorded, and a fit"),  # a string of several lines runs on
        ("holdout", "DIR Folder of photos"),
        ("holdout", "--exclude DIR With --held-out"),
        ("holdout", "-m {soft,hard}, --mode {soft,hard}"),
        ("textures", "--mask FILE A picture"),
        ("compare", "RUN_A The run before"),
        ("compare", "--method NAME Compare"),
        ("compare", "--tolerance FIGURE=NUMBER... How much worse"),
        *((command, "--out DIR Folder") for command in ("head", "views", "holdout", "textures", "compare")),
        *((command, "--workers INT Processes") for command in ("head", "views", "holdout", "textures")),
    ],
)
def test_help_reads_well(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown in _help(("eval", command), monkeypatch, capsys)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("compare", "RUN_A and RUN_B must be given (see ostec eval compare --help)."),
        ("compare a", "RUN_B must be given (see ostec eval compare --help)."),
        ("holdout --out o", "DIR must be given (see ostec eval holdout --help)."),
        ("textures --out o --bogus x", "Unrecognized options: --bogus (see ostec eval textures --help)."),
        ("head m.obj --out o", "--texture FILE must be given (see ostec eval head --help)."),
        ("head m.obj --texture", "--texture needs a value (see ostec eval head --help)."),
        (
            "head m.obj --texture t --out o --yaws 3.5",
            "--yaws: Could not find valid parse for arguments: ['3.5'] (see ostec eval head --help).",
        ),
        ("compare a b c", "Unrecognized options: c (see ostec eval compare --help)."),
        ("compare a b --tolerances 3", "Unrecognized options: --tolerances, 3 (did you mean --tolerance? See"),
    ],
)
def test_what_is_missing_is_named(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"ostec: error: {sentence}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ostec.app.cli import main\n"
        f"for key in {EVAL}: assert main([*key, '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'cv2', 'scipy', 'rich.console'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
