"""The file ``README.md`` of a data card: what tools read of it, and what its reader has written into it."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostec.dataset.licences import hub_licence
from ostec.io.files import open_plain, write_atomic

logger = logging.getLogger(__name__)

NAME = "README.md"
ASIDE = "README.new.md"
"""Where the card goes if somebody has changed the one that is there."""
_TAGS = ("face", "texture", "uv-map", "ostec")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGEST = "1M<n<10M"
_MAX_BYTES = 16 << 20
_END = "<!-- ostec {digest}: up to here the card is written anew by each build; what follows is kept. -->\n"
_ENDS = re.compile(rb"^<!-- ostec ([0-9a-f]{64}):[^\r\n]*-->\r?\n?", re.MULTILINE)


@dataclass(frozen=True)
class Loading:
    """How ``datasets.load_dataset`` finds the faces in a folder."""

    files: str
    """Pattern; empty if it cannot read them."""
    features: Sequence[tuple[str, str]] = ()
    """Columns and their types. Without them it guesses from the first faces, and stops at the first one that differs;
    with them it leaves out the others."""


def front_matter(title: str, faces: int, licences: Iterable[str], loading: Loading) -> str:
    """The YAML block at the top, for the Hugging Face hub and its ``datasets``.

    Args:
        title: of the dataset.
        faces: how many.
        licences: of the photos, as they were given.
        loading: how they are loaded.
    """
    licence = hub_licence(licences)
    size = next((name for most, name in _SIZES if faces < most), _LARGEST)
    lines = ["---", f"pretty_name: {json.dumps(title, ensure_ascii=False)}"]
    if len(licence.ids) == 1:
        lines.append(f"license: {json.dumps(licence.ids[0])}")
    else:
        lines.append(f"license: {json.dumps(licence.ids)}")
    lines += [f"license_name: {json.dumps(licence.name, ensure_ascii=False)}"] if licence.name else []
    lines += [f"tags: {json.dumps(_TAGS)}", f"size_categories: {json.dumps([size])}"]
    if loading.files and faces:
        lines += ["configs:", "- config_name: default", f"  data_files: {json.dumps(loading.files)}"]
        if loading.features:
            lines += ["dataset_info:", "- config_name: default", "  features:"]
            lines += [f"  - name: {json.dumps(name)}\n    dtype: {kind}" for name, kind in loading.features]
    return "\n".join([*lines, "---", ""])


def write_readme(path: Path, text: str) -> None:
    """Write a card; what stands below it stays, and a card that was changed is not replaced.

    Raises:
        OutputError: it cannot be written.
    """
    content = text.encode("utf-8", "backslashreplace")
    below = b""
    before = _read(path)
    if before is not None:
        end = next(iter(_ENDS.finditer(before)), None)
        if end is None or hashlib.sha256(before[: end.start()]).hexdigest().encode() != end[1]:
            write_atomic(path.with_name(ASIDE), _ended(content))
            logger.warning(
                "%s was changed by hand and stays as it is; the new card is in %s, where text below the last comment "
                "is kept.",
                path,
                ASIDE,
            )
            return
        below = before[end.end() :]
    write_atomic(path, _ended(content) + below)


def _ended(content: bytes) -> bytes:
    return content + _END.format(digest=hashlib.sha256(content).hexdigest()).encode("ascii")


def _read(path: Path) -> bytes | None:
    """What is there; None if nothing is that could be kept."""
    try:
        with open_plain(path) as stream:
            return stream.read(_MAX_BYTES)
    except OSError:
        return None
