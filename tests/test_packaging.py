"""What is installed runs anywhere, with its files inside, and its requirements are written down once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ostec import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
ASSET_FOLDERS = ("models", "topology", "external")
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def requirements() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        dependencies: list[str] = tomllib.load(stream)["project"]["dependencies"]
    return dependencies


def test_environment_repeats_the_requirements() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    section = text.partition("- pip:\n")[2]
    assert sorted(re.findall(r"^ +- (.+)$", section, re.MULTILINE)) == sorted(requirements())
    assert "not run with conda" in text


def test_requirements_are_lower_bounds_alone() -> None:
    for requirement in requirements():
        assert re.fullmatch(r'[A-Za-z0-9_-]+>=[0-9.]+(; python_version < "3\.\d+")?', requirement), requirement


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An otherwise empty folder into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-c", BUILD, str(folder)]
    wheel = subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    target = folder / "target"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*install, "--disable-pip-version-check", "--target", target, folder / wheel], check=True)
    return target


def run_installed(installed: Path, *arguments: str) -> str:
    """Run Python from the root folder with the installed package before all others."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(ROOT.anchor),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_installed_command_runs_from_the_root_folder(installed: Path) -> None:
    origin = run_installed(installed, "-c", "import ostec.app.cli; print(ostec.app.cli.__file__)")
    assert Path(origin.strip()).is_relative_to(installed)
    assert "complete" in run_installed(installed, "-m", "ostec.app.cli", "--help")


def test_installed_package_finds_its_files_inside_itself(installed: Path) -> None:
    program = """
from ostec.core.assets import asset_path, load_manifest
for folder in ("models", "topology", "external"):
    print(asset_path(folder))
for path in asset_path("external").glob("*.toml"):
    load_manifest(path.stem)
"""
    expected = [str(installed / "ostec/_data" / folder) for folder in ASSET_FOLDERS]
    assert run_installed(installed, "-c", program).splitlines() == expected


@pytest.mark.parametrize("folder", ASSET_FOLDERS)
def test_wheel_holds_every_file_unchanged(installed: Path, folder: str) -> None:
    sources = [path for path in (ROOT / folder).rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert sources, f"{folder}/ is empty"
    for source in sources:
        copy = installed / "ostec/_data" / source.relative_to(ROOT)
        assert copy.read_bytes() == source.read_bytes(), source


def test_installed_package_renders_its_pages(installed: Path) -> None:
    program = """
import tempfile
from pathlib import Path
from ostec.export.page import write_index
print(write_index(Path(tempfile.mkdtemp())).read_text())
"""
    assert "0 faces" in run_installed(installed, "-c", program)
    templates = {path.name for path in (ROOT / "ostec/export/templates").iterdir()}
    assert {path.name for path in (installed / "ostec/export/templates").iterdir()} == templates


def test_wheel_carries_licence_version_and_command(installed: Path) -> None:
    (information,) = installed.glob("ostec-*.dist-info")
    metadata = (information / "METADATA").read_text(encoding="utf-8")
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    assert list(information.rglob("LICENSE"))
    assert "ostec = ostec.app.cli:main" in (information / "entry_points.txt").read_text(encoding="utf-8")
    assert not list(installed.glob("tests*"))
