"""tools/refresh_manifest.py brings checksums up to date and leaves the rest alone."""

import hashlib
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from ostec.core import assets
from ostec.core.errors import AssetError

TOOLS = Path(__file__).resolve().parents[1] / "tools"
MANIFEST = """# A comment stays.
name = "toy"
purpose = "testing"
homepage = "size = 1"
paper = ""
licence = "MIT"

[[files]]
name = "a.bin"
sha256 = "{zeros}"
size = 0

[[files]]
name = "b/c.bin"
sha256 = "{zeros}"
size = 0 # bytes
"""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("refresh_manifest")


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("ostec", "external", "models/b", "topology"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models/a.bin").write_bytes(b"abc")
    (tmp_path / "models/b/c.bin").write_bytes(b"")
    path = tmp_path / "external/toy.toml"
    path.write_text(MANIFEST.format(zeros="0" * 64), encoding="utf-8")
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "ostec")
    return path


def test_sizes_and_sums_become_those_of_the_files_and_nothing_else_changes(tool: ModuleType, manifest: Path) -> None:
    before = manifest.read_text(encoding="utf-8").splitlines()
    lines = tool.refresh("toy")
    after = manifest.read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    sums = [hashlib.sha256(content).hexdigest() for content in (b"abc", b"")]
    assert changed == [f'sha256 = "{sums[0]}"', "size = 3", f'sha256 = "{sums[1]}"']
    assert lines == [f"a.bin: 3 bytes, sha256 {sums[0]}", f"b/c.bin: 0 bytes, sha256 {sums[1]}"]
    assert assets.verified_path("toy", "a.bin").read_bytes() == b"abc"


def test_files_from_elsewhere_stay_pinned(tool: ModuleType, manifest: Path) -> None:
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('licence = "MIT"', 'licence = "MIT"\npackage = "json"'), encoding="utf-8")
    with pytest.raises(AssetError, match="pinned"):
        tool.refresh("toy")


def test_missing_file_is_named(tool: ModuleType, manifest: Path) -> None:
    (manifest.parents[1] / "models/a.bin").unlink()
    with pytest.raises(AssetError, match=r"models/a\.bin is missing"):
        tool.refresh("toy")


def test_entry_without_a_size_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="got 1 and 0"):
        tool.refreshed('[[files]]\nname = "a"\nsha256 = "0"\n', {"a": ("1", 1)})
