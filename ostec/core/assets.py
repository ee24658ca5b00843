"""Files of the program (models, topology, manifests of third-party models) -> verified paths.

In a checkout these folders lie beside the package, in an installed wheel below ``ostec/_data``; no other module knows.
"""

import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = ("models", "topology", "external")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ManifestFile:
    """One file that a manifest vouches for."""

    name: str
    """Path below ``models/``, or below the folder of the manifest's package; with forward slashes."""
    sha256: str
    """64 hexadecimal digits, lower case."""
    size: int
    """Bytes."""
    url: str = ""
    """Where it can be downloaded; empty where it ships."""


@dataclass(frozen=True)
class Manifest:
    """A third-party model: what it is for, where it comes from, and its files (``external/NAME.toml``)."""

    name: str
    purpose: str
    homepage: str
    paper: str
    licence: str
    files: tuple[ManifestFile, ...]
    package: str = ""
    """Name of the installed Python package that brings the files; empty where they lie in ``models/``."""

    def file(self, name: str) -> ManifestFile:
        """Return the entry called ``name``.

        Raises:
            AssetError: the manifest has no such file.
        """
        for entry in self.files:
            if entry.name == name:
                return entry
        raise AssetError(f"external/{self.name}.toml lists no file {name}.")


def _asset_root() -> Path:
    """Return the folder that holds ``models/``, ``topology/`` and ``external/``."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent


def asset_path(name: str) -> Path:
    """Locate a file or folder of the program.

    Args:
        name: path with forward slashes that starts with ``models/``, ``topology/`` or ``external/``.

    Raises:
        ValueError: the path points elsewhere.
        AssetError: it is missing.
    """
    parts = name.split("/")
    if parts[0] not in _FOLDERS or ".." in parts:
        raise ValueError(f"expected a path below {', '.join(_FOLDERS)}, got {name!r}")
    path = _asset_root().joinpath(*parts)
    if not path.exists():
        raise AssetError(f"{name} is missing from this installation (looked for {path}); please install ostec again.")
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits.

    Raises:
        AssetError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def check_file(path: Path, size: int, sha256: str) -> Path:
    """Return ``path`` if it holds exactly the expected bytes.

    Raises:
        AssetError: it is missing, or its size or SHA-256 is another.
    """
    if not path.is_file():
        raise AssetError(f"{path} is missing.")
    actual_size = path.stat().st_size
    if actual_size != size:
        raise AssetError(f"{path} is damaged ({actual_size} bytes, expected {size}).")
    actual = sha256_of(path)
    if actual != sha256:
        raise AssetError(f"{path} is damaged (sha256 {actual}, expected {sha256}).")
    return path


def load_manifest(name: str) -> Manifest:
    """Read ``external/NAME.toml``.

    Raises:
        AssetError: there is no such manifest, or it lacks a field or has one of the wrong kind.
    """
    path = asset_path(f"external/{name}.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        files = tuple(_file_entry(entry) for entry in table["files"])
        manifest = Manifest(
            name=_text(table, "name"),
            purpose=_text(table, "purpose"),
            homepage=_text(table, "homepage"),
            paper=_text(table, "paper"),
            licence=_text(table, "licence"),
            files=files,
            package=str(table.get("package", "")),
        )
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise AssetError(f"{path} is no valid manifest ({error}).") from error
    if manifest.name != name:
        raise AssetError(f"{path} is no valid manifest (it names itself {manifest.name!r}).")
    return manifest


def verified_path(name: str, file: str) -> Path:
    """Locate one file of a manifest and check its size and SHA-256 before anybody reads it.

    Args:
        name: the manifest's name.
        file: the file's name in that manifest.

    Raises:
        AssetError: the manifest or the file is missing, or the file is damaged.
    """
    manifest = load_manifest(name)
    entry = manifest.file(file)
    root = _package_folder(manifest) if manifest.package else _asset_root() / "models"
    return check_file(root.joinpath(*entry.name.split("/")), entry.size, entry.sha256)


def _package_folder(manifest: Manifest) -> Path:
    """Locate an installed package without importing it (its imports may need what is not installed)."""
    spec = importlib.util.find_spec(manifest.package)
    if spec is None or not spec.submodule_search_locations:
        raise AssetError(
            f"The Python package {manifest.package}, which brings {manifest.name}, is not installed; "
            f"please run: pip install {manifest.package}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _text(table: dict[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value


def _file_entry(table: dict[str, Any]) -> ManifestFile:
    entry = ManifestFile(_text(table, "name"), _text(table, "sha256"), int(table["size"]), str(table.get("url", "")))
    if not _SHA256.fullmatch(entry.sha256):
        raise ValueError(f"sha256 of {entry.name} is not 64 hexadecimal digits")
    if entry.name.startswith("/") or ".." in entry.name.split("/"):
        raise ValueError(f"{entry.name} leaves its folder")
    return entry
