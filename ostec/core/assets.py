"""Files of the program (models, topology, manifests of third-party models) -> verified paths.

In a checkout these folders lie beside the package, in an installed wheel below ``ostec/_data``; no other module knows.
Models that do not ship are looked for in the user's folder of models (``$OSTEC_MODELS``), then in the cache folder.
"""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ostec.core.errors import AssetError, UsageError
from ostec.core.manifests import MANIFEST_ERRORS, Manifest, ManifestFile, parse_manifest, require_sha256
from ostec.core.plain import open_plain, read_json

_PACKAGE = Path(__file__).resolve().parents[1]
GENERATOR_LOADER = "ostec.load.generators.read_generator"
"""``loader`` of the manifests of published generators."""
_FOLDERS = ("models", "topology", "external")
MODELS_VARIABLE = "OSTEC_MODELS"
"""Environment variable that names the user's folder of models."""
PIN_ENDING = ".pin.json"


@dataclass(frozen=True)
class Pin:
    """What a file was when it was first fetched, where nobody had published it; ``FILE.pin.json`` beside it."""

    size: int
    """Bytes."""
    sha256: str
    """64 hexadecimal digits, lower case."""
    url: str = ""
    """Where it came from; empty where it was put there by hand."""


def _asset_root() -> Path:
    """Return the folder that holds ``models/``, ``topology/`` and ``external/``."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent


def asset_path(name: str) -> Path:
    """Locate a file or folder of the program by its path, with slashes, below ``models``, ``topology`` or ``external``.

    Raises ValueError if the path points elsewhere, AssetError if nothing is there.
    """
    parts = name.split("/")
    if parts[0] not in _FOLDERS or ".." in parts:
        raise ValueError(f"expected a path below {', '.join(_FOLDERS)}, got {name!r}")
    path = _asset_root().joinpath(*parts)
    if not path.exists():
        raise AssetError(f"{name} is missing from this installation (looked for {path}); please install ostec again.")
    return path


def example_photos() -> list[Path]:
    """The photos in the public domain that come with the program; none where somebody took them out."""
    folder = _asset_root() / "examples"
    return sorted(path for path in folder.glob("*") if path.suffix in (".jpg", ".png"))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits. Raises AssetError if the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_plain(path) as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def sha256_of_all(digests: Iterable[str]) -> str:
    """One SHA-256 for several files, whatever their order and however often each is named; a single one's own."""
    unique = sorted({*digests} - {""})
    return unique[0] if len(unique) == 1 else hashlib.sha256("".join(unique).encode()).hexdigest()


def check_file(path: Path, size: int, sha256: str) -> Path:
    """Return ``path`` if it holds exactly the expected bytes; a size of 0 and an empty SHA-256 are unknown.

    Raises AssetError if it is missing, or its size or SHA-256 is another.
    """
    if not path.is_file():
        raise AssetError(f"{path} is missing.")
    actual_size = path.stat().st_size
    if size and actual_size != size:
        raise AssetError(f"{path} is damaged ({actual_size} bytes, expected {size}).")
    actual = sha256_of(path) if sha256 else ""
    if actual != sha256:
        raise AssetError(f"{path} is damaged (sha256 {actual}, expected {sha256}).")
    return path


def manifest_names() -> list[str]:
    """The names of all manifests, sorted."""
    return sorted(path.stem for path in asset_path("external").glob("*.toml"))


def load_manifest(name: str) -> Manifest:
    """Read ``external/NAME.toml``.

    Raises AssetError if there is no such manifest, or it lacks a field or has one of the wrong kind.
    """
    path = asset_path(f"external/{name}.toml")
    try:
        manifest = parse_manifest(path.read_text(encoding="utf-8"))
    except (OSError, *MANIFEST_ERRORS) as error:
        raise AssetError(f"{path} is no valid manifest ({error}).") from error
    if manifest.name != name:
        raise AssetError(f"{path} is no valid manifest (it names itself {manifest.name!r}).")
    return manifest


def face_models() -> tuple[str, ...]:
    """The names of the morphable models that ``--face-model`` takes: those of the manifests that name one, sorted.

    Raises AssetError if a manifest is damaged.
    """
    named = (load_manifest(name).face_model for name in manifest_names())
    return tuple(sorted(name for name in named if name))


def generator_names() -> tuple[str, ...]:
    """The names of the published generators that ``--generator`` takes, sorted.

    Raises AssetError if a manifest is damaged.
    """
    return tuple(name for name in manifest_names() if load_manifest(name).loader == GENERATOR_LOADER)


def verified_path(name: str, file: str) -> Path:
    """Locate one file of a manifest and check its size and SHA-256 before anybody reads it.

    Of a file whose SHA-256 is not published and was not pinned either, nothing can be checked. Raises AssetError if the
    manifest or the file is missing, or the file is damaged.
    """
    manifest = load_manifest(name)
    entry = manifest.file(file)
    if manifest.ships:
        path: Path | None = _shipped(manifest, entry)
    else:
        path = find_model(name, file)
    if path is None:
        raise AssetError(f"{entry.basename} is not on this machine; please run: ostec models fetch {name}")
    expected = expected_file(entry, path)
    return check_file(path, expected.size, expected.sha256)


def models_folders() -> list[Path]:
    """Where models that do not ship are looked for: ``$OSTEC_MODELS``, if set, then the cache folder.

    Raises UsageError if ``$OSTEC_MODELS`` names a file.
    """
    own = os.environ.get(MODELS_VARIABLE, "")
    folders = [Path(own).expanduser()] if own else []
    if own and folders[0].is_file():
        raise UsageError(f"{MODELS_VARIABLE} names {own}, a file, not a folder.")
    cache = cache_folder()
    return folders + ([cache] if cache is not None else [])


def use_models_folder(folder: str) -> None:
    """Let this process take a folder for ``$OSTEC_MODELS``, as the option ``--models-dir`` does.

    Raises UsageError if the name is empty, or a file's.
    """
    if not folder:
        raise UsageError("--models-dir must name a folder.")
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise UsageError(f"--models-dir {folder} is a file, not a folder.")
    os.environ[MODELS_VARIABLE] = str(path.absolute())


def cache_folder() -> Path | None:
    """The folder that models are fetched to unless the user names one; None where there is no home folder.

    ``ostec/models`` in ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux, in ``~/Library/Caches`` on macOS, in
    ``%LOCALAPPDATA%`` on Windows.
    """
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    if sys.platform != "darwin" and named and Path(named).is_absolute():
        return Path(named) / "ostec" / "models"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    below = {"darwin": "Library/Caches", "win32": "AppData/Local"}.get(sys.platform, ".cache")
    return home / below / "ostec" / "models"


def find_model(name: str, file: str) -> Path | None:
    """Locate one file of a manifest, unchecked: the first of what is there, or None.

    In each of :func:`models_folders` it is looked for under its name in the manifest, directly in the folder, and then
    in the manifest's folders. Files that ship are looked for where they ship. Raises AssetError if there is no such
    manifest, or it lists no such file.
    """
    manifest = load_manifest(name)
    entry = manifest.file(file)
    if manifest.ships:
        try:
            places = [_shipped(manifest, entry)]
        except AssetError:  # its package is not installed
            return None
    else:
        names = (entry.name, entry.basename, *(f"{folder}/{entry.basename}" for folder in manifest.folders))
        places = [folder / name for folder in models_folders() for name in names]
    return next((place for place in places if place.is_file()), None)


def place_of(entry: ManifestFile) -> Path:
    """Where a file that is fetched goes: the first of :func:`models_folders`, under its name in the manifest.

    Raises UsageError if there is no home folder, and none was named.
    """
    folders = models_folders()
    if not folders:
        raise UsageError(f"There is no home folder to keep models in; name one with --models-dir or {MODELS_VARIABLE}.")
    return folders[0].joinpath(*entry.name.split("/"))


def pin_of(path: Path) -> Path:
    """The pin that belongs to a file, whether it exists or not."""
    return path.with_name(path.name + PIN_ENDING)


def read_pin(path: Path) -> Pin | None:
    """Read what is pinned of a file; None where nothing is. Raises AssetError if the pin is damaged."""
    beside = pin_of(path)
    try:
        table = read_json(beside)
        pin = Pin(int(table["size"]), str(table["sha256"]), str(table.get("url", "")))
        require_sha256(pin.sha256, path.name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AssetError(f"{beside} cannot be read ({error}).") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AssetError(f"{beside} is no pin of a SHA-256; remove it if {path.name} is to be trusted anew.") from error
    return pin


def expected_file(entry: ManifestFile, path: Path) -> ManifestFile:
    """The entry with the size and SHA-256 that a file must have: the manifest's own, or else those of the file's pin.

    Raises AssetError if the pin is damaged.
    """
    if entry.sha256:
        return entry
    pin = read_pin(path)
    return replace(entry, size=pin.size, sha256=pin.sha256) if pin else entry


def _shipped(manifest: Manifest, entry: ManifestFile) -> Path:
    root = _package_folder(manifest) if manifest.package else _asset_root() / "models"
    return root.joinpath(*entry.name.split("/"))


def _package_folder(manifest: Manifest) -> Path:
    """Locate an installed package without importing it (its imports may need what is not installed)."""
    spec = importlib.util.find_spec(manifest.package)
    if spec is None or not spec.submodule_search_locations:
        raise AssetError(
            f"The Python package {manifest.package}, which brings {manifest.name}, is not installed; "
            f"please run: pip install {manifest.package}"
        )
    return Path(next(iter(spec.submodule_search_locations)))
