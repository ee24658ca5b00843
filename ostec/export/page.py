"""``NAME.html``, ``index.html`` and the turntable: results to look at in any browser, without a network."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ostec.core.types import FloatArray, Provenance, TexturedFace
from ostec.export.mesh import PROVENANCE_COLOURS, provenance_palette, viewer_html
from ostec.export.record import Failure, read_failures, read_records
from ostec.io.files import write_atomic
from ostec.io.images import encode_gif, encode_jpeg, encode_png, resize_image

_VIEWER_TEXTURE = 1024
_PICTURE_SIDE = 560  # twice what the grid shows, for dense screens
_JPEG_QUALITY = 88
_RECORD_MARK = "</div>\n<!-- record -->\n"
"""Ends the pictures; what follows can be written again from the record alone."""

_CSS = """
:root { color-scheme: light dark; --text: #1c1d1f; --muted: #63666b; --page: #f4f4f2; --card: #fff; --line: #dedfdc;
  --accent: #1f6f5c; --warn: #8a5300; --warn-page: #fff3dc; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e6; --muted: #9fa3a8; --page: #17181a; --card: #222427;
  --line: #36393d; --accent: #6fc7b0; --warn: #f0c070; --warn-page: #3a2f1c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 28px 24px 56px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 36px 0 12px; font-size: 17px; }
p { margin: 4px 0; } a { color: var(--accent); }
.muted { color: var(--muted); }
.facts { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 14px 0 20px; }
.facts b { display: block; font-weight: 500; font-size: 12px; color: var(--muted); }
.warnings { margin: 0 0 20px; padding: 10px 16px 10px 34px; border-radius: 8px; color: var(--warn);
  background: var(--warn-page); }
.hero { display: grid; align-items: start; grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr); gap: 20px; }
@media (max-width: 800px) { .hero { grid-template-columns: minmax(0, 1fr); } }
.hero iframe { width: 100%; aspect-ratio: 1; border: 1px solid var(--line); border-radius: 10px; }
.grid { display: grid; margin-top: 12px; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 16px; }
figure { margin: 0; padding: 10px; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
figure img { display: block; width: 100%; border-radius: 5px; }
figcaption { padding: 8px 2px 0; font-size: 13px; color: var(--muted); overflow-wrap: anywhere; }
.grid figure img { aspect-ratio: 1; object-fit: contain; }
a.tile { color: inherit; text-decoration: none; }
a.tile:hover figure, a.tile:focus-visible figure { border-color: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 6px; border-radius: 3px; }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; font-size: 14px; }
th, td { padding: 6px 12px; border-top: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
tr:first-child > * { border-top: 0; }
th { width: 240px; font-weight: 500; color: var(--muted); }
td { font-variant-numeric: tabular-nums; }
details { margin-top: 12px; } summary { cursor: pointer; }
"""

_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
{body}"""
_END = "\n</body>\n</html>\n"


def write_page(directory: Path, name: str, result: TexturedFace, record: Mapping[str, Any]) -> Path:
    """Write ``NAME.html``: the face in 3D to turn, pictures of every stage, and the record; one file, no network.

    Args:
        directory: the results' folder.
        name: the result's name.
        result: the face.
        record: what ``NAME.json`` holds.

    Raises:
        OutputError: it cannot be written.
    """
    texture = result.completed.colour
    embedded = _at_most(texture, _VIEWER_TEXTURE)
    viewer = html.escape(viewer_html(result, embedded), quote=True)
    body = [
        f"<h1>{html.escape(name)}</h1>",
        _facts(record),
        _warnings(record),
        '<div class="hero"><div>',
        f'<iframe title="The face in 3D" srcdoc="{viewer}"></iframe>',
        '<p class="muted">Drag to turn, wheel to zoom, right button to move (needs WebGL).</p></div>',
        _figure(f"UV texture, {texture.shape[1]} x {texture.shape[0]}", _jpeg(embedded)),
        "</div>",
        "<h2>How it came about</h2>",
        f'<div class="grid">{_stages(result)}{_frontal(result.frontal)}{_RECORD_MARK}{_record(record)}',
    ]
    path = directory / f"{name}.html"
    write_atomic(path, _document(f"{name} - ostec", body))
    return path


def update_page(directory: Path, name: str, frontal: FloatArray | None, record: Mapping[str, Any]) -> None:
    """Add the frontal portrait, if there is one, to ``NAME.html``, and write what it says of the record again.

    The other pictures stay as they are. A page that is missing, or that somebody has changed, is left alone.

    Raises:
        OutputError: it cannot be written.
    """
    path = directory / f"{name}.html"
    try:
        pictures, mark, _ = path.read_bytes().decode().partition(_RECORD_MARK)
    except (OSError, UnicodeDecodeError):
        return
    if mark:
        write_atomic(path, f"{pictures}{_frontal(frontal)}{mark}{_record(record)}{_END}".encode("utf-8", "replace"))


def write_index(directory: Path) -> Path:
    """Write ``index.html`` from the ``NAME.json`` files and ``failures.jsonl`` of a folder.

    Raises:
        OutputError: it cannot be written.
    """
    records = read_records(directory)
    failures = read_failures(directory)
    count = f"{len(records)} {'face' if len(records) == 1 else 'faces'}"
    if failures:
        count += f", {len(failures)} that could not be done"
    body = ["<h1>Completed faces</h1>", f'<p class="muted">{count}</p>', '<div class="grid">']
    body += [_tile(name, record) for name, record in records.items()]
    body += ["</div>", _failures(failures)]
    path = directory / "index.html"
    write_atomic(path, _document("Completed faces - ostec", body))
    return path


def write_turntable(directory: Path, name: str, frames: Sequence[FloatArray] | FloatArray, fps: float = 15.0) -> Path:
    """Write ``NAME_turntable.gif``, an endless animation.

    Args:
        directory: the results' folder.
        name: the result's name.
        frames: [N, H, W, 3] in [0, 1].
        fps: frames per second; GIF counts in hundredths of a second, and browsers show at most 50.

    Raises:
        ValueError: there is no frame.
        OutputError: it cannot be written.
    """
    data = encode_gif(frames, fps)
    path = directory / f"{name}_turntable.gif"
    write_atomic(path, data)
    return path


def _document(title: str, body: Iterable[str]) -> bytes:
    text = _DOCUMENT.format(title=html.escape(title), css=_CSS, body="\n".join(part for part in body if part)) + _END
    return text.encode("utf-8", "replace")  # a file name may hold bytes that are no text


def _link(name: str) -> str:
    """Return a file's name as a relative URL; bytes that are no text keep their value."""
    return "./" + quote(name.encode("utf-8", "surrogateescape"))


def _at_most(image: FloatArray, side: int) -> FloatArray:
    """Shrink a picture until neither side is longer than ``side``."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    return resize_image(image, max(1, round(width * factor)), max(1, round(height * factor)))


def _jpeg(image: FloatArray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, _JPEG_QUALITY)).decode("ascii")


def _figure(title: str, source: str, more: str = "") -> str:
    title = html.escape(title)
    return f'<figure><img src="{source}" alt="{title}"><figcaption>{title}{more}</figcaption></figure>'


def _facts(record: Mapping[str, Any]) -> str:
    facts: list[tuple[str, Any]] = [("Photo", record.get("source"))]
    pose = record.get("pose_deg")
    if isinstance(pose, Sequence) and len(pose) == 3:
        facts.append(("Pitch, yaw, roll", "  ".join(f"{angle:+.0f}\N{DEGREE SIGN}" for angle in pose)))
    mode = record.get("mode")
    if mode and record.get("mode_reason"):
        mode = f"{mode}: {record['mode_reason']}"
    facts.append(("Mode", mode))
    shown = [f"<p><b>{label}</b>{html.escape(str(value))}</p>" for label, value in facts if value]
    return f'<div class="facts">{"".join(shown)}</div>'


def _warnings(record: Mapping[str, Any]) -> str:
    warnings = record.get("warnings") or []
    if not warnings:
        return ""
    return f'<ul class="warnings">{"".join(f"<li>{html.escape(str(text))}</li>" for text in warnings)}</ul>'


def _stages(result: TexturedFace) -> str:
    figures = [_figure(title, _jpeg(_at_most(image, _PICTURE_SIDE))) for title, image in result.stages.items()]
    figures.append(_provenance(result))
    return "".join(figures)


def _frontal(picture: FloatArray | None) -> str:
    return "" if picture is None else _figure("Frontal portrait", _jpeg(_at_most(picture, _PICTURE_SIDE)))


def _provenance(result: TexturedFace) -> str:
    """Where each texel came from, with a legend of the sources that occur."""
    indices = result.completed.provenance
    step = max(1, -(-max(indices.shape) // _PICTURE_SIDE))
    colours = provenance_palette()[indices[::step, ::step]].astype(np.float32) / np.float32(255)
    picture = "data:image/png;base64," + base64.b64encode(encode_png(colours)).decode("ascii")
    entries = []
    for value in np.unique(indices).tolist():
        source = Provenance(value)
        red, green, blue = PROVENANCE_COLOURS[source]
        label = source.name.lower().replace("_", "-")
        entries.append(f'<span><i style="background: rgb({red} {green} {blue})"></i>{label}</span>')
    return _figure("Where the texels came from", picture, f'<div class="legend">{"".join(entries)}</div>')


def _files(record: Mapping[str, Any]) -> str:
    names = [str(name) for name in record.get("files") or [] if not str(name).endswith(".html")]
    if not names:
        return ""
    links = " &middot; ".join(f'<a href="{_link(name)}">{html.escape(name)}</a>' for name in names)
    return f"<h2>Files</h2><p>{links}</p>"


def _record(record: Mapping[str, Any]) -> str:
    """The files, then plain values; what has parts of its own follows in tables that open."""
    plain = {k: v for k, v in record.items() if not isinstance(v, Mapping) and k not in ("files", "kind")}
    nested = {key: value for key, value in record.items() if isinstance(value, Mapping) and value}
    parts = [_files(record), "<h2>Record</h2>", _table(plain)]
    for key, value in sorted(nested.items()):
        opened = " open" if key == "settings" else ""
        parts.append(f"<details{opened}><summary>{_label(key)}</summary>{_table(value)}</details>")
    return "".join(parts)


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"<tr><th>{_label(key)}</th><td>{_value(value)}</td></tr>" for key, value in sorted(values.items())]
    return f"<table>{''.join(rows)}</table>"


def _label(key: str) -> str:
    return html.escape(str(key).replace("_", " "))


def _value(value: Any) -> str:
    if value is None:
        return '<span class="muted">none</span>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return _table(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(item, int | float) for item in value):
            return ", ".join(_value(item) for item in value) or '<span class="muted">none</span>'
        return "<br>".join(_value(item) for item in value) if value else '<span class="muted">none</span>'
    return html.escape(str(value))


def _tile(name: str, record: Mapping[str, Any]) -> str:
    files = record.get("files") or []
    portrait = f"{name}_frontal.png"
    picture = portrait if portrait in files else f"{name}.png"
    label = html.escape(name)
    note = str(record.get("mode") or "")
    warnings = len(record.get("warnings") or [])
    if warnings:
        note += f", {warnings} {'warning' if warnings == 1 else 'warnings'}"
    return (
        f'<a class="tile" href="{_link(name + ".html")}"><figure>'
        f'<img src="{_link(picture)}" alt="{label}" loading="lazy">'
        f"<figcaption><strong>{label}</strong><br>{html.escape(note)}</figcaption></figure></a>"
    )


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    rows = [
        f"<tr><th>{html.escape(failure.file)}</th><td>{html.escape(failure.stage)}</td>"
        f"<td>{html.escape(failure.reason)}</td></tr>"
        for failure in failures
    ]
    return f"<h2>Could not be done</h2><table>{''.join(rows)}</table>"
