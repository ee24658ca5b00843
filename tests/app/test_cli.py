"""Words on the command line -> a command with its options, or one sentence and exit code 2."""

import dataclasses
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from ostec import __version__
from ostec.app import cli
from ostec.app.parse import parse
from ostec.app.photos.commands import BatchOptions, Complete, RunOstec
from ostec.core.errors import UsageError
from ostec.pipeline.settings import CompleteSettings
from ostec.project.settings import Level, ProjectionSettings
from tests.app.conftest import Refuses


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The commands that were about to run."""
    commands: list[Any] = []
    for kind in (Complete, RunOstec):
        monkeypatch.setattr(kind, "run", lambda self: commands.append(self) or 0)
    return commands


def test_defaults_of_complete(parsed: list[Any]) -> None:
    assert cli.main(["complete", "a.jpg", "--save-dir", "out"]) == 0
    assert parsed == [Complete(("a.jpg",), "out", CompleteSettings(), BatchOptions())]
    assert type(parsed[0]) is Complete
    assert type(parsed[0].settings) is CompleteSettings


def test_defaults_of_the_papers_command(parsed: list[Any]) -> None:
    assert cli.main_ostec(["--source_dir", "in", "--save_dir", "out"]) == 0
    settings = CompleteSettings(mode="hard", iterations=200, iterations_frontalize=300, face_model="none")
    assert parsed == [RunOstec("in", "out", False, settings, BatchOptions())]


@pytest.mark.parametrize(
    "words",
    [
        ["-f", "-i", "7", "-m", "soft", "-q", "--uv-size", "512"],
        ["-fq", "-i7", "-m=soft", "--uv_size=512"],
        ["--frontalize", "--iterations", "7", "--mode", "soft", "--quiet", "--uv_size", "512"],
    ],
)
def test_long_short_dashed_and_underscored_options_are_the_same(parsed: list[Any], words: list[str]) -> None:
    assert cli.main(["complete", "a_b-c.jpg", "--save_dir", "x_y", *words]) == 0
    settings = CompleteSettings(mode="soft", iterations=7, frontalize=True, uv_size=512)
    assert parsed == [Complete(("a_b-c.jpg",), "x_y", settings, BatchOptions(quiet=True))]


def test_papers_flags(parsed: list[Any]) -> None:
    words = "--source_dir in --save_dir out -f -p -i 100 -m auto --iterations_frontalize 50"
    assert cli.main_ostec(words.split()) == 0
    settings = CompleteSettings(
        mode="auto", iterations=100, frontalize=True, iterations_frontalize=50, face_model="none"
    )
    assert parsed == [RunOstec("in", "out", True, settings, BatchOptions())]


def test_every_option_of_complete_arrives(parsed: list[Any]) -> None:
    words = "--device cpu --faces all --generator g.pkl --prior none --uv-size 4096 --project.ms-ssim 3 --turntable"
    assert cli.main(["complete", "--save-dir", "o", *words.split(), "--dry-run", "-v", "--overwrite", "-i1", "a"]) == 0
    settings = CompleteSettings(
        iterations=1,
        faces="all",
        generator="g.pkl",
        prior="none",
        uv_size=4096,
        project=ProjectionSettings(ms_ssim=3.0),
        turntable=True,
    )
    batch = BatchOptions(device="cpu", overwrite=True, dry_run=True, verbose=True)
    assert parsed == [Complete(("a",), "o", settings, batch)]


def test_names_with_leading_dashes_follow_two_dashes(parsed: list[Any]) -> None:
    assert cli.main(["complete", "--save-dir", "o", "--", "-a_b.jpg", "--c_d.jpg", "é\udcff [x].jpg"]) == 0
    assert parsed[0].source == ("-a_b.jpg", "--c_d.jpg", "é\udcff [x].jpg")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["comlete"], "There is no command 'comlete' (did you mean complete? See ostec help)."),
        (["dataset", "buil"], "There is no command 'dataset buil' (did you mean dataset build? See ostec help)."),
        (["sculpt"], "There is no command 'sculpt'; there is complete, fuse, fit, frontalize, invert"),
        (["complete", "a.jpg"], "--save-dir DIR must be given (see ostec complete --help)."),
        (["complete", "--save-dir", "o"], "Name at least one photo, folder or glob to complete."),
        (["complete", "a", "--save-dir", ""], "--save-dir is empty."),
        (["complete", "a", "--save-dir", "o", "-m", "sft"], "--mode must be one of auto, soft, hard, got 'sft' (see"),
        (["complete", "a", "--save-dir", "o", "--uv-size", "255"], "--uv-size must be 256 to 4096, got 255 (see"),
        (["complete", "a", "--save-dir", "o", "--uv-size", "4097"], "--uv-size must be 256 to 4096, got 4097 (see"),
        (["complete", "a", "--save-dir", "o", "-i", "-1"], "--iterations must be 0 or more, got -1"),
        (["complete", "a", "--save-dir", "o", "-i", "0", "--prior", "none"], "nothing that could fill unseen texels"),
        (["complete", "a", "--save-dir", "o", "-i", "x"], "--iterations: invalid literal for int()"),
        (
            ["complete", "a", "--save-dir", "o", "--iteration", "3"],
            "options: --iteration, 3 (did you mean --iterations",
        ),
        (["complete", "a", "--save-dir", "o", "-q", "-v"], "--quiet and --verbose exclude each other."),
        (["complete", "a", "--save-dir", "o", "--generator", "no.pkl"], "generator's file no.pkl does not exist."),
        (["complete", "a", "--save-dir", "o", "--generator", ""], "The generator's file  does not exist."),
        (["complete", "a", "--save-dir", "o", "--prior", "no.safetensors"], "file no.safetensors does not exist."),
        (["complete", "no.jpg", "--save-dir", "o"], "There is no file or folder no.jpg."),
        (["complete", "no*.jpg", "--save-dir", "o"], "There is no file or folder no*.jpg."),
    ],
)
@pytest.mark.usefixtures("ostec")
def test_wrong_use_is_one_sentence(tmp_path: Path, refuses: Refuses, words: list[str], sentence: str) -> None:
    refuses(sentence, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["complete", "a"], ["invert", "a"], ["generate", "--seeds", "0"]])
@pytest.mark.usefixtures("ostec")
def test_a_folder_in_place_of_a_file_is_called_one(tmp_path: Path, refuses: Refuses, words: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    refuses("The generator's file folder is a folder, not a file.", *words, "--save-dir", "o", "--generator", "folder")


@pytest.mark.parametrize("command", [*cli.COMMANDS.values(), cli._RUN_OSTEC], ids=lambda command: command.name)
def test_every_command_refuses_to_be_quiet_and_verbose(command: cli.Command) -> None:
    """Before it looks at anything else."""
    kind: Any = command.load()
    hints, both = get_type_hints(kind), {"quiet": True, "verbose": True}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    # Neither default is there.
    values: dict[str, Any] = {name: "x" for name, field in fields.items() if field.default is field.default_factory}
    groups = {name: hints[name] for name in fields if hasattr(hints[name], "verbose")}
    values |= {name: group(**both) for name, group in groups.items()} or both
    if values.keys() - fields.keys():
        pytest.skip("it has no such options")
    with pytest.raises(UsageError, match=r"^--quiet and --verbose exclude each other\.$"):
        kind(**values).run()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_sentences_do_not_depend_on_how_the_parser_draws_its_boxes(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"}
    for words, sentence in (
        (["--save-dir", "o", "--iteration", "3"], "Unrecognized options: --iteration, 3 (did you mean --iterations"),
        ([], "--save-dir DIR must be given (see ostec complete --help)."),
        (["--save-dir", "o", "--uv-size", "1"], "--uv-size must be 256 to 4096, got 1 (see ostec complete --help)."),
    ):
        command = [sys.executable, "-m", "ostec.app.cli", "complete", "a", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.stderr.startswith(f"ostec: error: {sentence}"), done.stderr


def test_a_photo_alone_is_completed_beside_itself(ostec: Any, photos: Any) -> None:
    photos({"a b.jpg": "ok"})
    said = ostec("in/a b.jpg")
    assert (said.code, said.err) == (0, "ostec: The results go into in/a b_ostec.\n")
    assert Path("in/a b_ostec/a b.png").is_file()
    assert ostec("in/a b.jpg", "-q").err == ""
    assert ostec("in/a b.jpg", "-q", "-o", "out").code == 0
    assert Path("out/a b.json").is_file()


def test_commands_are_listed_with_those_to_begin_with(ostec: Any) -> None:
    listed = ostec("help")
    assert listed.code == 0
    assert listed.out.index("complete ") < listed.out.index("models list ") < listed.out.index("invert ")
    for key in cli.COMMANDS:
        assert f"  {' '.join(key)} " in listed.out
    alone = ostec()
    assert (alone.code, alone.out, alone.err) == (0, listed.out, "")
    assert "complete " not in ostec("help", "models").out
    assert ostec("help", "complete").out == ostec("complete", "--help").out


@pytest.mark.parametrize("key", list(cli.COMMANDS), ids=" ".join)
def test_examples_in_the_help_can_be_typed(key: tuple[str, ...]) -> None:
    command = cli.COMMANDS[key]
    assert 2 <= len(command.examples) <= 3
    for example in command.examples:
        assert type(parse(command.load(), "ostec", shlex.split(example))) is command.load()


def test_the_help_fits_eighty_columns(ostec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = ostec("complete", "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    assert "  project: learning-rate, " in shown
    assert "--project.ms-ssim FLOAT" not in shown
    assert "--project.ms-ssim FLOAT" in ostec("complete", "--help-all").out
    assert "ostec complete photo.jpg -o results" in shown


def test_help_texts_flow_at_the_width_of_the_terminal(ostec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line breaks of the docstrings are not kept."""
    monkeypatch.setenv("COLUMNS", "400")
    shown = ostec("complete", "--help").out
    assert "projects views of it into a StyleGAN2, diffusion draws detail over the prior's; auto is" in shown


def test_settings_come_from_a_file_and_the_command_counts_more(parsed: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'iterations = 5\nfrontalize = true\nfaces = "all"\n[project]\nms_ssim = 7\n[[project.levels]]\nshare = 0.1\n'
    )
    assert cli.main(["complete", "a", "-o", "out", "--config", str(file), "-i", "9"]) == 0
    levels = (Level(4, 0.1), Level(2, 0.3))
    settings = CompleteSettings(
        iterations=9, frontalize=True, faces="all", project=ProjectionSettings(ms_ssim=7.0, levels=levels)
    )
    assert parsed[0].settings == settings


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = 1" + "0" * 5000, "is no TOML file"),
        ("a = " + "[" * 100_000, "is no TOML file (it is nested too deeply)"),
        ("a =", "is no TOML file"),
        ("colour = 3", "Unrecognized options: --colour, 3"),
        (None, "does not exist."),
    ],
)
def test_a_wrong_file_of_settings_is_refused(tmp_path: Path, refuses: Refuses, text: str | None, sentence: str) -> None:
    file = tmp_path / "settings.toml"
    if text is not None:
        file.write_text(text)
    refuses(sentence, "complete", "a", "-o", "out", "--config", file)


def test_python_m_ostec_is_ostec() -> None:
    done = subprocess.run([sys.executable, "-m", "ostec", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ostec {__version__}\n"


def test_paper_command_wants_a_folder(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "ok"})
    said = ostec("--source_dir", "in/a.jpg", "--save_dir", "out", paper=True)
    assert (said.code, said.err) == (2, "ostec: error: --source_dir must be a folder, and 'in/a.jpg' is none.\n")
    assert "--source-dir DIR and --save-dir DIR must be given" in ostec(paper=True).err


def test_version_and_help(ostec: Any) -> None:
    assert ostec("--version").out == f"ostec {__version__}\n"
    said = ostec("--help")
    assert said.code == 0
    assert "complete" in said.out
    said = ostec("complete", "--help")
    assert said.code == 0
    for option in (
        "-o DIR, --save-dir DIR",
        "-f, --frontalize",
        "-i INT",
        "--uv-size 256..4096",
        "--dry-run",
        "SOURCE...",
    ):
        assert option in said.out


def test_family_without_its_command_names_them(ostec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = cli.Command("ostec.app.photos.commands", "Complete", "fit something")
    monkeypatch.setattr(cli, "COMMANDS", {("train", "prior"): command, ("train", "gan"): command})
    said = ostec("train")
    assert (said.code, said.err) == (
        2, "ostec: error: There is no command 'train'; there is train prior, train gan (see ostec help).\n"
    )  # fmt: skip
    assert "train gan    fit something" in ostec("train", "--help").out
    assert ostec("train", "prior", "--help").out.startswith("usage: ostec train prior ")


def test_every_command_that_is_there_is_a_frozen_dataclass_with_run() -> None:
    for command in cli.COMMANDS.values():
        kind = command.load()
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert callable(kind.run)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UsageError("No."), 2, "No."),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (ZeroDivisionError("x"), 2, "Unexpected ZeroDivisionError: x (-v shows where)."),
    ],
)
def test_no_traceback_reaches_users(
    ostec: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, sentence: str
) -> None:
    def fail(self: Complete) -> int:
        raise error

    monkeypatch.setattr(Complete, "run", fail)
    said = ostec("complete", "a", "--save-dir", "o")
    assert said.code == code
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_help_and_wrong_use_load_nothing_heavy() -> None:
    code = (
        "import sys, time\n"
        "from ostec.app.cli import main\n"
        "assert main(['--help']) == 0 and main(['complete', '--help']) == 0 and main(['complete', 'a']) == 2\n"
        "heavy = {'torch', 'numpy', 'PIL', 'cv2', 'scipy', 'rich.console'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(time.process_time())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 3  # 0.8 s of the processor
