"""Files of the program are found, and damaged ones refused before they are read."""

import hashlib
import importlib
import json
import sys
from pathlib import Path

import pytest

from ostec.core import assets
from ostec.core.errors import AssetError, UsageError

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


@pytest.mark.parametrize("field", ["paper", "name", "files"])
def test_a_missing_field_of_a_manifest_is_named(checkout: Path, field: str) -> None:
    path = checkout / "external/toy.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(field, f"{field}_", 1), encoding="utf-8")
    with pytest.raises(AssetError, match=rf"toy\.toml is no valid manifest \(the field {field} is missing\)\.$"):
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
    names = assets.manifest_names()
    assert len(names) > 15
    for name in names:
        manifest = assets.load_manifest(name)
        assert manifest.files, name
        assert manifest.licence, name
        assert len({entry.name for entry in manifest.files}) == len(manifest.files), name
        for entry in manifest.files:
            assert all(address.startswith("https://") for address in entry.addresses), entry
            assert manifest.ships or entry.addresses or entry.page, f"nobody can get {entry.name}"
            assert not entry.addresses or (entry.sha256 and entry.size), f"{entry.name} has addresses and no checksum"
            assert not any("drive.google.com" in address for address in entry.addresses), entry
            assert not manifest.ships or entry.sha256, entry


def test_names_of_fetched_files_are_told_apart() -> None:
    """Also by their names without folders, under which they are found as well."""
    names = [
        entry.basename
        for manifest in map(assets.load_manifest, assets.manifest_names())
        if not manifest.ships
        for entry in manifest.files
    ]
    assert len(set(names)) == len(names)


def test_loaders_that_the_manifests_name_exist() -> None:
    loaders = {assets.load_manifest(name).loader for name in assets.manifest_names()} - {""}
    assert len(loaders) > 3
    for loader in loaders:
        module, _, function = loader.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function)), loader


TO_FETCH = """
name = "toy"
purpose = "testing"
homepage = "https://example.org"
paper = ""
licence = "MIT"

[[files]]
name = "toy/weights.bin"
url = "https://example.org/weights.bin"
"""


@pytest.fixture
def fetched(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that does not ship and whose checksum is unknown; the user's folder and cache, empty."""
    (checkout / "external/toy.toml").write_text(TO_FETCH, encoding="utf-8")
    monkeypatch.setenv("OSTEC_MODELS", str(checkout / "own"))
    monkeypatch.setattr(assets, "cache_folder", lambda: checkout / "cache")
    return checkout


def put(path: Path, content: bytes = b"abc") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_model_is_looked_for_in_the_users_folder_then_in_the_cache(fetched: Path) -> None:
    assert assets.models_folders() == [fetched / "own", fetched / "cache"]
    assert assets.find_model("toy", "toy/weights.bin") is None
    places = ["own/toy/weights.bin", "own/weights.bin", "cache/toy/weights.bin", "cache/weights.bin"]
    for place in reversed(places):  # each comes before those that are there already
        path = put(fetched / place)
        assert assets.find_model("toy", "toy/weights.bin") == path
    assert assets.find_model("toy", "weights.bin") == fetched / places[0]
    with pytest.raises(AssetError, match=r"lists no file other\.bin"):
        assets.find_model("toy", "other.bin")


def test_files_beside_the_program_are_no_fetched_models(fetched: Path) -> None:
    assert (fetched / "models/toy/weights.bin").is_file()
    assert assets.find_model("toy", "toy/weights.bin") is None


def test_shipped_files_are_found_where_they_ship(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEC_MODELS", str(checkout / "own"))
    put(checkout / "own/toy/weights.bin", b"other")
    assert assets.find_model("toy", "toy/weights.bin") == checkout / "models/toy/weights.bin"


def test_fetched_files_go_to_the_first_folder(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = assets.load_manifest("toy").files[0]
    assert assets.place_of(entry) == fetched / "own/toy/weights.bin"
    monkeypatch.setenv("OSTEC_MODELS", "")
    assert assets.place_of(entry) == fetched / "cache/toy/weights.bin"
    monkeypatch.setattr(assets, "cache_folder", lambda: None)
    with pytest.raises(
        UsageError, match=r"no home folder to keep models in; name one with --models-dir or OSTEC_MODELS"
    ):
        assets.place_of(entry)


def test_model_that_was_not_fetched_is_named_with_the_command(fetched: Path) -> None:
    with pytest.raises(AssetError, match=r"^weights\.bin is not on this machine; please run: ostec models fetch toy$"):
        assets.verified_path("toy", "toy/weights.bin")


def test_pin_stands_in_for_a_checksum_that_nobody_published(fetched: Path) -> None:
    path = put(fetched / "own/toy/weights.bin")
    assert assets.verified_path("toy", "toy/weights.bin") == path
    assert assets.read_pin(path) is None
    sha256 = hashlib.sha256(b"abc").hexdigest()
    assets.pin_of(path).write_text(json.dumps({"size": 3, "sha256": sha256}), encoding="utf-8")
    assert assets.read_pin(path) == assets.Pin(3, sha256)
    assert assets.verified_path("toy", "toy/weights.bin") == path
    for content, reason in ((b"abd", "sha256 a52d"), (b"ab", "2 bytes, expected 3")):
        path.write_bytes(content)
        with pytest.raises(AssetError, match=rf"weights\.bin is damaged \({reason}"):
            assets.verified_path("toy", "toy/weights.bin")


@pytest.mark.parametrize(
    "pin", ["", "[]", '{"size": 3}', '{"size": 3, "sha256": "abc"}', '{"size": "x", "sha256": ""}']
)
def test_damaged_pin_is_refused(fetched: Path, pin: str) -> None:
    path = put(fetched / "own/toy/weights.bin")
    assets.pin_of(path).write_text(pin, encoding="utf-8")
    with pytest.raises(AssetError, match=r"weights\.bin\.pin\.json is no pin of a SHA-256; remove it if weights\.bin"):
        assets.verified_path("toy", "toy/weights.bin")


def test_published_checksum_overrules_a_pin(fetched: Path) -> None:
    path = put(fetched / "own/toy/weights.bin")
    other = hashlib.sha256(b"abd").hexdigest()
    assets.pin_of(path).write_text(json.dumps({"size": 3, "sha256": other}), encoding="utf-8")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    (fetched / "external/toy.toml").write_text(f'{TO_FETCH}sha256 = "{sha256}"\n', encoding="utf-8")
    assert assets.verified_path("toy", "toy/weights.bin") == path


def test_option_sets_the_folder_for_the_process(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fetched)
    assets.use_models_folder("mine")
    assert assets.models_folders()[0] == fetched / "mine"
    (fetched / "file").write_bytes(b"")
    for name, reason in (("", "must name a folder"), ("file", "is a file, not a folder")):
        with pytest.raises(UsageError, match=reason):
            assets.use_models_folder(name)


def test_the_variable_must_not_name_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"OSTEC_MODELS names .*file, a file, not a folder"):
        assets.models_folders()


@pytest.mark.parametrize(
    ("platform", "variable", "value", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "/var/c", "/var/c/ostec/models"),
        ("linux", "XDG_CACHE_HOME", "relative", "/home/me/.cache/ostec/models"),
        ("linux", "XDG_CACHE_HOME", "", "/home/me/.cache/ostec/models"),
        ("darwin", "XDG_CACHE_HOME", "/var/c", "/home/me/Library/Caches/ostec/models"),
        ("win32", "LOCALAPPDATA", "/data", "/data/ostec/models"),
        ("win32", "LOCALAPPDATA", "", "/home/me/AppData/Local/ostec/models"),
    ],
)
def test_cache_is_where_each_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert assets.cache_folder() == Path(expected)


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("OSTEC_MODELS", "")
    monkeypatch.setattr(Path, "home", homeless)
    assert assets.cache_folder() is None
    assert assets.models_folders() == []
