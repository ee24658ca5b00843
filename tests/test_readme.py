"""What the README and the pages in docs/ say of commands, files and links is what the program does."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import bench_pipeline
from ostec.app.cli import COMMANDS, main, main_ostec
from ostec.app.photos.results import MATERIAL_ENDINGS, RESULT_ENDINGS, RUN_FILES, SAMPLE_ENDINGS, VIEWS_ENDING
from ostec.core.types import Provenance
from ostec.pipeline.settings import CompleteSettings
from ostec.project.studio import TURNED

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = sorted(
    path
    for folder in (".", "docs", "models", "topology", "external", "examples")
    for path in (ROOT / folder).glob("*.md")
)
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


def section(page: str, heading: str) -> str:
    """A page's text below a heading, up to the next of the same level."""
    level = heading.split(" ", 1)[0]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text)
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[2:]]


def options_of(text: str) -> set[str]:
    return {option.replace("_", "-") for option in OPTION.findall(text)}


def left_column(lines: list[str]) -> set[str]:
    return options_of("\n".join(line for line in lines if re.match(r"[│|]? *-", line)))


@pytest.fixture
def offered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Command -> the options in the left column of its help."""
    monkeypatch.setenv("COLUMNS", "160")
    found = {}
    for command, call, words in (
        *((f"ostec {' '.join(words)}", main, words) for words in COMMANDS),
        ("python run_ostec.py", main_ostec, ()),
    ):
        assert call([*words, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        found[command] = left_column(lines) | {"--help-all"}
    for script in sorted((ROOT / "tools").glob("*.py")):
        text = script.read_text(encoding="utf-8")
        found[f"python tools/{script.name}"] = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', text))
    with pytest.raises(SystemExit):
        bench_pipeline.main(["--help"])
    found["python tools/bench_pipeline.py"] = left_column(capsys.readouterr().out.splitlines())
    return found


def test_option_table_has_every_option_and_no_other(offered: dict[str, set[str]]) -> None:
    named = options_of("\n".join(cells[0] for cells in rows(section("cli.md", "## Complete"))))
    assert named == offered["ostec complete"] - {"-h", "--help", "--help-all"}


def test_defaults_in_the_option_table_are_those_of_the_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    main(["complete", "--help"])
    text = capsys.readouterr().out
    for option, default, _ in rows(section("cli.md", "## Complete"))[1:]:
        name = OPTION.findall(option)[-1]
        entry = re.search(rf"{name}\b.*?(?=\n\W{{1,4}}[a-z]|\n\W*\n|\Z)", text, re.DOTALL)
        assert entry, f"the help has no {name}"
        said = re.search(r"\(default: (\S+)\)", entry[0])
        assert default.strip("`") == (said[1] if said else "off"), name


def test_settings_of_stages_in_the_texts_are_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    for command in ("complete", "fit"):
        main([command, "--help-all"])
    offered = set(re.findall(r"--[a-z]+\.[a-z.-]+", capsys.readouterr().out))
    named = {name for path in TEXTS for name in re.findall(r"--[a-z]+\.[a-z-]+(?=[ `])", path.read_text("utf-8"))}
    assert named
    assert named <= offered


def test_commands_in_the_texts_have_the_options_that_they_are_given(offered: dict[str, set[str]]) -> None:
    checked = 0
    for path in TEXTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            for command, options in offered.items():
                call = re.search(rf"{re.escape(command)}( [^`#]*)?", line)
                if call and call[1]:
                    assert options_of(call[1]) <= options, f"{path.name}: {line}"
                    checked += 1
    assert checked > 5


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_text_links_exists(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        if anchor:
            text = linked.read_text(encoding="utf-8")
            headings = re.findall(r"(?m)^#+ (.+)$", text)
            named = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
            objects = tuple(re.findall(r"(?m)^::: ([\w.]+)$", text))  # whose members `make docs` checks
            assert anchor in named or anchor.startswith(objects or ("::",)), target


def test_files_that_the_texts_name_exist() -> None:
    named = {
        (path, name)
        for path in TEXTS
        for name in re.findall(
            r"`((?:ostec|tools|tests|models|topology|docs)/[\w/.-]+\.\w+)`", path.read_text(encoding="utf-8")
        )
    }
    assert len(named) > 10
    assert not sorted(f"{path.name}: {name}" for path, name in named if not (ROOT / name).exists())


def test_picture_of_a_result_is_small() -> None:
    assert 10_000 < (ROOT / "docs/result.jpg").stat().st_size < 400_000


def test_output_table_names_every_file_of_a_result_and_no_other() -> None:
    named = {name for cells in rows(section("results.md", "## Files")) for name in re.findall(r"`([^`]+)`", cells[0])}
    endings = {ending for ending in RESULT_ENDINGS if "_sample_" not in ending} | {"_sample_1.png"}
    assert named == {f"NAME{ending}" for ending in endings} | set(RUN_FILES) | {f"NAME{VIEWS_ENDING}/"}


def test_origins_are_numbered_as_in_the_palette() -> None:
    cell = next(cells[1] for cells in rows(section("results.md", "## Files")) if "provenance" in cells[0])
    said = dict(re.findall(r"(\d+) ([a-z-]+)(?=,|$)", cell))
    assert said == {str(int(origin)): origin.name.lower().replace("_", "-") for origin in Provenance}


def test_python_snippet_runs_and_writes_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"(?s)```python\n(.*?)```", README)
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 3
    (tmp_path / "photo.jpg").write_bytes((ROOT / "examples/grace_hopper.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    few = CompleteSettings(iterations=1, uv_size=256)  # for speed; the defaults are run by hand and by `make slow`
    monkeypatch.setattr("ostec.pipeline.completer.CompleteSettings", lambda: few)
    monkeypatch.setattr("ostec.complete.generator.waves_of", lambda *_: [(view,) for view in TURNED[:1]])
    exec(compile(snippet, "README.md", "exec"), {})
    text = section("results.md", "## Arrays")
    written = {path.name for path in (tmp_path / "results").iterdir()}
    optional = (
        "_frontal.png",
        "_turntable.webp",
        "_head_face.png",
        "_head_mouth.png",
        *MATERIAL_ENDINGS,
        *SAMPLE_ENDINGS,
    )
    assert written == {f"photo{e}" for e in RESULT_ENDINGS if e not in optional}
    with np.load(tmp_path / "results/photo.npz") as arrays:
        assert {f"`{name}`" for name in arrays.files} <= set(re.findall(r"`\w+`", text))
    record = json.loads((tmp_path / "results/photo.json").read_text(encoding="utf-8"))
    assert sorted(record["files"]) == sorted(written)
    assert record["warnings"] == []


MAY_BE_LEFT_OUT = {"package", "loader", "sign_up", "base_url", "face_model"}


def test_manifests_have_the_same_fields() -> None:
    wanted = {"name", "purpose", "homepage", "paper", "licence", "source", "format", "input"}
    manifests = sorted((ROOT / "external").glob("*.toml"))
    assert manifests
    for path in manifests:
        head = path.read_text(encoding="utf-8").partition("[[files]]")[0].partition("files = [")[0]
        assert set(re.findall(r'(?m)^(\w+) = ".+"$', head)) - MAY_BE_LEFT_OUT == wanted, path.name
