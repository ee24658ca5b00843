"""What a data card tells of the models behind its faces."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.assets import asset_path, load_manifest, manifest_names, sha256_of
from ostec.core.errors import AssetError
from ostec.dataset.manifest import Row
from ostec.dataset.members import RECORD
from ostec.io.shards import read_member, read_members

_MAX_RECORD_BYTES = 16 << 20
_UNKNOWN, _OWN = "not known here", "part of ostec"


def licence_of() -> Callable[[str, str], str]:
    """Gives the licence of a file of a model, by its name and SHA-256, from the manifests in ``external/``.

    A file whose bytes no manifest knows, such as weights that somebody trained, has none that is known.

    Raises:
        AssetError: a manifest is damaged.
    """
    by_digest, by_name = {}, {}
    for manifest in map(load_manifest, manifest_names()):
        limit = ", no commercial use" if manifest.commercial_use is False else ""
        if manifest.face_model:
            by_name[f"face model {manifest.face_model}"] = manifest.short_licence + limit
        for entry in manifest.files:
            if entry.sha256:
                by_digest[entry.sha256] = manifest.short_licence + limit
            else:  # nobody has published its checksum
                by_name[entry.basename] = manifest.short_licence + limit

    def licence(name: str, digest: str) -> str:
        plain = PurePosixPath(name).name
        found = by_digest.get(digest) or by_name.get(plain)
        own = asset_path("topology") / plain
        return found or (_OWN if own.is_file() and sha256_of(own) == digest else _UNKNOWN)

    return licence


def record_in(shards: Path, row: Row) -> Mapping[str, Any]:
    """A face's record (``KEY.json``) from its shard; empty if it is not there or cannot be read."""
    name, key = str(row.get("shard")), row.get("key")
    start, size = row.get("offset"), row.get("size")
    if "/" in name or "\\" in name or start is None or size is None:
        return {}
    try:
        for member in read_members(shards / name, int(start), int(start) + int(size)):
            if member.key == key and member.ending == RECORD and member.size <= _MAX_RECORD_BYTES:
                found = json.loads(read_member(shards / name, member))
                return found if isinstance(found, dict) else {}
    except (AssetError, OSError, ValueError, RecursionError):
        pass
    return {}
