"""Write the size and SHA-256 of a model's files into its manifest, after the files were made anew.

    python tools/refresh_manifest.py prior

The files that ``external/NAME.toml`` lists are read from ``models/``; nothing else in the manifest changes. Manifests
of files that come with a Python package, or are downloaded, are refused: what they name is pinned and is not to follow
whatever is installed.
"""

import argparse
import re

from ostec.core.assets import asset_path, load_manifest, sha256_of
from ostec.core.errors import AssetError
from ostec.io.files import write_atomic


def refreshed(text: str, files: dict[str, tuple[str, int]]) -> str:
    """Return a manifest's text with other checksums.

    Args:
        text: of the manifest.
        files: name of each file -> (SHA-256, size).

    Raises:
        ValueError: an entry of the manifest lacks a line, or is not in ``files``.
    """
    head, *entries = re.split(r"(?m)^(?=\[\[files\]\])", text)
    for i, entry in enumerate(entries):
        name = re.search(r'(?m)^name = "([^"]+)"', entry)
        if name is None or name[1] not in files:
            raise ValueError(f"expected an entry with one of the names {', '.join(files)}, got {entry!r}")
        digest, size = files[name[1]]
        entry, digests = re.subn(r'(?m)^sha256 = "[^"]*"', f'sha256 = "{digest}"', entry)
        entries[i], sizes = re.subn(r"(?m)^size = \d+", f"size = {size}", entry)
        if (digests, sizes) != (1, 1):
            raise ValueError(f"expected one line sha256 and one line size for {name[1]}, got {digests} and {sizes}")
    return "".join((head, *entries))


def refresh(name: str) -> list[str]:
    """Rewrite ``external/NAME.toml``; returns one line for each file.

    Raises:
        AssetError: there is no such manifest or file, or its files are not the project's own.
    """
    manifest = load_manifest(name)
    if manifest.package or any(entry.url for entry in manifest.files):
        raise AssetError(f"The files of {name} are pinned: they come from elsewhere.")
    paths = {entry.name: asset_path(f"models/{entry.name}") for entry in manifest.files}
    files = {entry: (sha256_of(path), path.stat().st_size) for entry, path in paths.items()}
    path = asset_path(f"external/{name}.toml")
    write_atomic(path, refreshed(path.read_text(encoding="utf-8"), files).encode("utf-8"))
    return [f"{entry}: {size} bytes, sha256 {digest}" for entry, (digest, size) in files.items()]


def main() -> None:
    """Refresh the manifests that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="manifest: external/NAME.toml")
    for name in parser.parse_args().names:
        try:
            print("\n".join(refresh(name)))
        except (AssetError, ValueError) as error:
            raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
