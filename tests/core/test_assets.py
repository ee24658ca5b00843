"""Files of the program are found, and damaged ones refused before they are read."""

import hashlib
from pathlib import Path

import pytest

from ostec.core import assets
from ostec.core.errors import AssetError

MANIFEST = """
name = "toy"
purpose = "testing"
homepage = "https://example.org"
paper = ""
licence = "MIT"

[[files]]
name = "toy/weights.bin"
sha256 = "{sha256}"
size = 3
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one model of three bytes."""
    for folder in ("ostec", "external", "models/toy", "topology"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models/toy/weights.bin").write_bytes(b"abc")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    (tmp_path / "external/toy.toml").write_text(MANIFEST.format(sha256=sha256), encoding="utf-8")
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "ostec")
    return tmp_path


def test_file_is_found_beside_the_package_in_a_checkout(checkout: Path) -> None:
    assert assets.asset_path("models/toy/weights.bin") == checkout / "models/toy/weights.bin"


def test_file_is_found_inside_the_package_when_installed(checkout: Path) -> None:
    inside = checkout / "ostec/_data/topology/a.npz"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"")
    assert assets.asset_path("topology/a.npz") == inside


def test_missing_file_is_one_sentence_that_names_it(checkout: Path) -> None:
    with pytest.raises(AssetError, match=r"^topology/none\.npz is missing .*install ostec again\.$"):
        assets.asset_path("topology/none.npz")


@pytest.mark.parametrize("name", ["ostec/core/types.py", "models/../LICENSE", "/etc/passwd", ""])
def test_path_outside_the_asset_folders_is_the_callers_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="expected a path below models"):
        assets.asset_path(name)


def test_sha256_is_that_of_the_standard(checkout: Path) -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert assets.sha256_of(checkout / "models/toy/weights.bin") == expected


def test_manifest_holds_what_its_file_says(checkout: Path) -> None:
    manifest = assets.load_manifest("toy")
    assert (manifest.name, manifest.purpose, manifest.licence, manifest.package) == ("toy", "testing", "MIT", "")
    assert manifest.files[0].size == 3
    assert manifest.file("toy/weights.bin") is manifest.files[0]
    with pytest.raises(AssetError, match=r"external/toy.toml lists no file other.bin."):
        manifest.file("other.bin")


def test_verified_path_returns_the_undamaged_file(checkout: Path) -> None:
    assert assets.verified_path("toy", "toy/weights.bin") == checkout / "models/toy/weights.bin"


@pytest.mark.parametrize(("content", "reason"), [(b"abd", r"damaged \(sha256 a52d"), (b"ab", r"damaged \(2 bytes")])
def test_damaged_file_is_refused(checkout: Path, content: bytes, reason: str) -> None:
    (checkout / "models/toy/weights.bin").write_bytes(content)
    with pytest.raises(AssetError, match=reason):
        assets.verified_path("toy", "toy/weights.bin")


def test_missing_weights_are_named(checkout: Path) -> None:
    (checkout / "models/toy/weights.bin").unlink()
    with pytest.raises(AssetError, match=r"weights\.bin is missing\.$"):
        assets.verified_path("toy", "toy/weights.bin")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('licence = "MIT"', ""),
        ('licence = "MIT"', "licence = 3"),
        ("size = 3", 'size = "three"'),
        ('name = "toy/weights.bin"', 'name = "../weights.bin"'),
        ('sha256 = "ba', 'sha256 = "xx'),
        ("[[files]]", "[[files"),
        ('name = "toy"', 'name = "other"'),
    ],
)
def test_malformed_manifest_is_refused(checkout: Path, old: str, new: str) -> None:
    path = checkout / "external/toy.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(AssetError, match=r"toy\.toml is no valid manifest"):
        assets.load_manifest("toy")


def test_files_of_an_installed_package_are_found_without_importing_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = checkout / "site/unimportable"
    (package / "toy").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    (package / "toy/weights.bin").write_bytes(b"abc")
    manifest = checkout / "external/toy.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('paper = ""', 'paper = ""\npackage = "unimportable"'), encoding="utf-8")

    with pytest.raises(AssetError, match="pip install unimportable"):
        assets.verified_path("toy", "toy/weights.bin")
    monkeypatch.syspath_prepend(checkout / "site")
    assert assets.verified_path("toy", "toy/weights.bin") == package / "toy/weights.bin"


def test_every_shipped_manifest_is_valid() -> None:
    for path in sorted(assets.asset_path("external").glob("*.toml")):
        manifest = assets.load_manifest(path.stem)
        assert manifest.files, path
        assert manifest.licence, path
