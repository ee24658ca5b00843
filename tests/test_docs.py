"""The documentation agrees with the program: its Python runs, its tables are current, its pages are all listed."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(?sm)^(<!-- not executed: .+? -->\n)?```python\n(.*?)^```")
"""A block of Python, and the mark of one that needs files of the user."""


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Each block's mark, empty where it is executed, and its text."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.stem)
def test_python_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page in order, as in a notebook."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes((ROOT / "examples/grace_hopper.jpg").read_bytes())
    (tmp_path / "other.png").write_bytes((ROOT / "examples/astronaut.png").read_bytes())
    names: dict[str, object] = {}
    text = page.read_text(encoding="utf-8")
    for mark, block in blocks_of(page):
        before = text[: text.index(block)].count("\n")
        code = compile("\n" * before + block, str(page), "exec")  # so that a failure names the page's line
        if not mark:
            exec(code, names)


def test_most_blocks_are_executed() -> None:
    marks = [mark for page in PAGES for mark, _ in blocks_of(page)]
    assert marks.count("") >= 10
    assert len(marks) - marks.count("") <= 3


def test_tables_of_settings_are_current() -> None:
    tables = importlib.import_module("make_tables")
    assert tables.PAGE.read_text(encoding="utf-8") == tables.page(), "run python tools/make_tables.py"


def test_every_settings_class_of_the_method_has_its_table() -> None:
    tables = importlib.import_module("make_tables")
    shown = {path.rpartition(".")[2] for paths in tables.CLASSES.values() for path in paths}
    folders = ("detect", "fit", "mask", "prior", "project", "stitch", "complete", "heads", "train")
    modules = [path for folder in folders for path in (ROOT / "ostec" / folder).glob("*.py")]
    written = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    assert set(re.findall(r"(?m)^class (\w+Settings)\b", written)) <= shown


def test_every_constant_that_a_page_names_exists() -> None:
    """``ViewSettings.own`` and its like."""
    table = (ROOT / "docs/settings.md").read_text("utf-8")
    for page in PAGES:
        for kind, field in re.findall(r"`(\w+Settings)\.(\w+)`", page.read_text("utf-8")):
            section = table.partition(f"### {kind}\n")[2].partition("\n### ")[0]
            assert f"| `{field}` |" in section, f"{page.name}: {kind}.{field}"


def test_index_and_site_list_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    site = (ROOT / "docs/mkdocs/mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        assert re.search(rf"(?m)^\s+- {page.name}$", site), f"{page.name} is not in the navigation"
        assert page.name == "index.md" or f"]({page.name})" in index, f"{page.name} is not in the index"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
