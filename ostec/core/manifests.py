"""What a manifest (``external/NAME.toml``) says of a model: purpose, licence, files and how to come by them."""

import re
import sys
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ostec.core.errors import AssetError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)*")
MANIFEST_ERRORS = (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, ValueError)
"""What :func:`parse_manifest` raises."""


@dataclass(frozen=True)
class ManifestFile:
    """One file that a manifest vouches for."""

    name: str
    """Path below a folder of models, ``models/``, or the folder of the manifest's package; with forward slashes."""
    sha256: str = ""
    """64 hexadecimal digits, lower case; empty where nobody published it: the first fetch pins it."""
    size: int = 0
    """Bytes; 0 where unknown."""
    url: str = ""
    """Where it can be downloaded; empty where it ships or needs a browser."""
    mirrors: tuple[str, ...] = ()
    """Further addresses of the same bytes, tried in turn."""
    page: str = ""
    """Page that leads to it in a browser, where it has no direct address (Google Drive, OneDrive, after a log-in)."""

    @property
    def basename(self) -> str:
        """The name without folders."""
        return PurePosixPath(self.name).name

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every direct address, the preferred one first."""
        return (*((self.url,) if self.url else ()), *self.mirrors)


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
    """Name of the installed Python package that brings the files; empty where they lie in a folder."""
    source: str = ""
    """How the files were made or found, and where sizes and checksums were read."""
    format: str = ""
    """What the files hold."""
    loader: str = ""
    """Dotted name of what reads them; empty where this version reads none."""
    input: str = ""
    """What the network expects."""
    sign_up: str = ""
    """Page where one registers and accepts the terms first; empty where nobody has to."""
    commercial_use: bool | None = None
    """Whether the terms of the files permit it; None where they do not say."""
    redistribution: bool | None = None
    """Whether the files may be passed on; None where the terms do not say."""
    any_of: bool = False
    """The files are alternatives, the preferred one first: one of them is enough."""
    face_model: str = ""
    """Name by which ``--face-model`` knows the morphable model; empty where it is none."""

    folders: tuple[str, ...] = ()
    """Folders below one of models in which files are looked for as well: those of the published archive."""
    enough: tuple[ManifestFile, ...] = ()
    """Files that are enough in place of all."""

    def file(self, name: str) -> ManifestFile:
        """Return the entry called ``name``, or the only one whose name without folders it is.

        Raises AssetError if the manifest has no such file.
        """
        entries = dict.fromkeys((*self.files, *self.enough))
        found = [entry for entry in entries if entry.name == name]
        found = found or [entry for entry in entries if entry.basename == name]
        if len(found) != 1:
            raise AssetError(f"external/{self.name}.toml lists no file {name}.")
        return found[0]

    @property
    def ships(self) -> bool:
        """Whether the files come with this program, or with a package that it requires."""
        reachable = self.sign_up or any(entry.addresses or entry.page for entry in self.files)
        return bool(self.package) or not reachable

    @property
    def short_licence(self) -> str:
        """The licence's name without remarks."""
        return re.split(r" \(|[;,:]", self.licence, maxsplit=1)[0]


def parse_manifest(text: str) -> Manifest:
    """Read the text of a manifest. Raises one of ``MANIFEST_ERRORS``, which names the field that is wrong."""
    table = tomllib.loads(text)
    base = _text(table, "base_url", "")
    texts: dict[str, Any] = {key: _text(table, key) for key in ("name", "purpose", "homepage", "paper", "licence")}
    optional = ("package", "source", "format", "loader", "input", "sign_up", "face_model")
    files = {entry.name: entry for entry in (_file_entry(entry, base) for entry in _tables(table, "files"))}
    return Manifest(
        **texts,
        **{key: _text(table, key, "") for key in optional},
        files=tuple(files.values()),
        folders=_texts(table, "folders"),
        enough=tuple(files.get(name) or _file_entry({"name": name}, "") for name in _texts(table, "enough")),
        commercial_use=_truth(table, "commercial_use"),
        redistribution=_truth(table, "redistribution"),
        any_of=bool(_truth(table, "any_of")),
    )


def require_sha256(text: str, name: str) -> None:
    """Raise ValueError unless ``text`` is a SHA-256 as it is written here; ``name`` is the file's, for the message."""
    if not _SHA256.fullmatch(text):
        raise ValueError(f"sha256 of {name} is not 64 hexadecimal digits")


def _text(table: dict[str, Any], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if value is None:
        raise ValueError(f"the field {key} is missing")
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value


def _texts(table: dict[str, Any], key: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key} is no list of texts")
    return tuple(values)


def _tables(table: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = table.get(key)
    if value is None:
        raise ValueError(f"the field {key} is missing")
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise TypeError(f"{key} is no list of tables")
    return value


def _truth(table: dict[str, Any], key: str) -> bool | None:
    value = table.get(key)
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{key} is neither true nor false")
    return value


def _file_entry(table: dict[str, Any], base: str) -> ManifestFile:
    if "name" not in table:
        raise ValueError("the field name of a file is missing")
    name, sha256, size = _text(table, "name"), _text(table, "sha256", ""), table.get("size", 0)
    url = _text(table, "url", base and base + PurePosixPath(name).name)
    mirrors = table.get("mirrors", [])
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no path below a folder")
    if sha256:
        require_sha256(sha256, name)
    if type(size) is not int or size < 0:
        raise TypeError(f"size of {name} is no number of bytes")
    if not isinstance(mirrors, list):
        raise TypeError(f"mirrors of {name} is no list")
    for address in (*mirrors, *((url,) if url else ())):
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise ValueError(f"{address!r} of {name} is no address")
    return ManifestFile(name, sha256, size, url, tuple(mirrors), _text(table, "page", ""))
