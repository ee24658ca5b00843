"""``NAME.html``, ``index.html`` and the turntable: results to look at in any browser, without a network.

Writers raise OutputError where a file cannot be written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.plain import read_plain
from ostec.core.settings import flat
from ostec.core.types import FloatArray, TexturedFace
from ostec.export.mesh import provenance_name, provenance_palette, viewer_html
from ostec.export.record import read_failures, read_records
from ostec.export.templates import data_url, render
from ostec.io.animation import encode_webp
from ostec.io.files import write_atomic
from ostec.io.images import at_most, encode_jpeg, encode_png

_VIEWER_TEXTURE = 1024
_PICTURE_SIDE = 560  # twice what the grid shows, for dense screens
_JPEG_QUALITY = 88
_MAX_PAGE_BYTES = 256 << 20
_RECORD_MARK = b"</div>\n<!-- record -->\n"
"""Ends the pictures; what follows can be written again from the record alone."""


def write_page(directory: Path, name: str, result: TexturedFace, record: Mapping[str, Any]) -> Path:
    """Write ``NAME.html``: the face in 3D to turn, pictures of every stage, and the record; one file, no network."""
    texture, provenance = result.completed.colour, result.completed.provenance
    embedded = at_most(texture, _VIEWER_TEXTURE)
    step = max(1, -(-max(provenance.shape) // _PICTURE_SIDE))
    palette = provenance_palette(int(provenance.max()))
    colours = palette[provenance[::step, ::step]].astype(np.float32) / np.float32(255)
    page = render(
        "face.html.j2",
        title=name,
        viewer=viewer_html(result, embedded),
        texture=_jpeg(f"UV texture, {texture.shape[1]} x {texture.shape[0]}", embedded),
        stages=[_jpeg(title, at_most(image, _PICTURE_SIDE)) for title, image in result.stages.items()],
        provenance={"title": "Where the texels came from", "source": data_url("png", encode_png(colours))},
        sources=[(provenance_name(value), palette[value].tolist()) for value in np.unique(provenance).tolist()],
        **_of_record(result.frontal, record),
    )
    path = directory / f"{name}.html"
    write_atomic(path, page)
    return path


def update_page(directory: Path, name: str, frontal: FloatArray | None, record: Mapping[str, Any]) -> None:
    """Add the frontal portrait, if there is one, to ``NAME.html``, and write what it says of the record again.

    The other pictures stay as they are. A page that is missing, or that somebody has changed, is left alone.
    """
    path = directory / f"{name}.html"
    try:
        pictures, mark, _ = read_plain(path, _MAX_PAGE_BYTES).partition(_RECORD_MARK)
    except OSError:
        return
    if mark:
        write_atomic(path, pictures + render("record.html.j2", **_of_record(frontal, record)))


def write_index(directory: Path) -> Path:
    """Write ``index.html`` from the ``NAME.json`` files and ``failures.jsonl`` of a folder."""
    tiles = [
        {
            "name": name,
            "picture": f"{name}_frontal.png" if f"{name}_frontal.png" in record.get("files", ()) else f"{name}.png",
            "mode": record.get("mode") or "",
            "warnings": record.get("warnings") or [],
        }
        for name, record in read_records(directory).items()
    ]
    path = directory / "index.html"
    write_atomic(path, render("index.html.j2", title="Completed faces", tiles=tiles, failures=read_failures(directory)))
    return path


def write_turntable(directory: Path, name: str, frames: Sequence[FloatArray] | FloatArray, fps: float = 15.0) -> Path:
    """Write ``NAME_turntable.webp``, an endless animation of [N, H, W, 3] in [0, 1]. Raises ValueError for no frame."""
    path = directory / f"{name}_turntable.webp"
    write_atomic(path, encode_webp(frames, fps))
    return path


def _jpeg(title: str, image: FloatArray) -> dict[str, str]:
    """A picture as the templates show it."""
    return {"title": title, "source": data_url("jpeg", encode_jpeg(image, _JPEG_QUALITY))}


def _of_record(frontal: FloatArray | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of the record: files, plain values, and in tables that open what has parts of its own."""
    nested = {
        key: flat(value) if key == "settings" else value for key, value in record.items() if isinstance(value, Mapping)
    }
    return {
        "record": record,
        "frontal": None if frontal is None else _jpeg("Frontal portrait", at_most(frontal, _PICTURE_SIDE)),
        "files": [name for name in record.get("files") or [] if not str(name).endswith(".html")],
        "plain": {k: v for k, v in record.items() if k not in nested and k not in ("files", "kind")},
        "nested": {key: value for key, value in nested.items() if value},
    }
