"""``NAME.html``, ``index.html`` and the turntable: results to look at in any browser, without a network.

Writers raise OutputError where a file cannot be written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ostec.core.plain import read_plain
from ostec.core.settings import flat
from ostec.core.types import FloatArray, TexturedFace
from ostec.export.record import read_failures, read_records
from ostec.export.templates import render
from ostec.export.viewer import PICTURE_SIDE, TEXTURE_SIDE, jpeg_url, viewer_values
from ostec.heads.parts import Head
from ostec.io.animation import encode_webp
from ostec.io.files import write_atomic
from ostec.io.images import at_most

THUMBNAIL = "_thumbnail.webp"
_MAX_PAGE_BYTES = 256 << 20
_RECORD_MARK = b"</div>\n<!-- record -->\n"
"""Ends the pictures; what follows can be written again from the record alone."""


def write_page(
    directory: Path,
    name: str,
    result: TexturedFace,
    record: Mapping[str, Any],
    head: Head | None = None,
    photo: FloatArray | None = None,
) -> Path:
    """Write ``NAME.html``: the head in 3D to turn and move, pictures of every stage, and the record; no network.

    Args:
        head: made with the face; without one the page shows the face alone.
        photo: [H, W, 3] in [0, 1], to be compared with.
    """
    texture = result.completed.colour
    viewer = viewer_values(result, head, photo)
    title = f"UV texture, {texture.shape[1]} x {texture.shape[0]}"
    layout = {"title": title, "source": viewer["pictures"].get("face"), "shows": "face"}
    if head is not None and not head.shares_texture:
        layout = _jpeg(title, texture, TEXTURE_SIDE)
    origins = {"title": "Where the texels came from", "source": viewer["pictures"]["origins"], "shows": "origins"}
    page = render(
        "face.html.j2",
        title=name,
        viewer=viewer,
        elsewhere=[picture["shows"] for picture in (layout, origins) if "shows" in picture],
        texture=layout,
        stages=[_jpeg(title, image) for title, image in result.stages.items()],
        provenance=origins,
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
            "picture": next(
                (name + ending for ending in (THUMBNAIL, "_frontal.png") if name + ending in record.get("files", ())),
                f"{name}.png",  # of an earlier version
            ),
            "mode": record.get("mode") or "",
            "warnings": record.get("warnings") or [],
        }
        for name, record in read_records(directory).items()
    ]
    path = directory / "index.html"
    write_atomic(path, render("index.html.j2", title="Completed faces", tiles=tiles, failures=read_failures(directory)))
    return path


def write_thumbnail(directory: Path, name: str, picture: FloatArray) -> Path:
    """Write ``NAME_thumbnail.webp``, which ``index.html`` shows, from a picture [H, W, 3] in [0, 1]."""
    path = directory / f"{name}{THUMBNAIL}"
    write_atomic(path, encode_webp([picture], 1.0))
    return path


def write_turntable(directory: Path, name: str, frames: Sequence[FloatArray] | FloatArray, fps: float = 15.0) -> Path:
    """Write ``NAME_turntable.webp``, an endless animation of [N, H, W, 3] in [0, 1]. Raises ValueError for no frame."""
    path = directory / f"{name}_turntable.webp"
    write_atomic(path, encode_webp(frames, fps))
    return path


def _jpeg(title: str, image: FloatArray, side: int = PICTURE_SIDE) -> dict[str, str]:
    """A picture as the templates show it."""
    return {"title": title, "source": jpeg_url(at_most(image, side))}


def _of_record(frontal: FloatArray | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of the record: files, plain values, and in tables that open what has parts of its own."""
    nested = {
        key: flat(value) if key == "settings" else value for key, value in record.items() if isinstance(value, Mapping)
    }
    return {
        "record": record,
        "frontal": None if frontal is None else _jpeg("Frontal portrait", frontal),
        "files": [name for name in record.get("files") or [] if not str(name).endswith(".html")],
        "plain": {k: v for k, v in record.items() if k not in nested and k not in ("files", "kind")},
        "nested": {key: value for key, value in nested.items() if value},
    }
