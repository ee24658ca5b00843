"""Named parts with materials -> OBJ, MTL and GLB; a full head -> ``NAME_head.glb``, ``NAME_head.obj`` and its files.

Writers raise OutputError where a file cannot be written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ostec.core.record import safe_name
from ostec.export.gltf import head_glb
from ostec.heads.parts import Head, HeadPart
from ostec.io.files import write_atomic
from ostec.io.images import encode_png

ENDING = "_head"
"""What follows NAME in the names of a head's files."""


def write_head(
    directory: Path,
    name: str,
    head: Head,
    ending: str = ENDING,
    pictures: Mapping[str, str] | None = None,
    maps: Mapping[str, bytes] | None = None,
) -> list[Path]:
    """Write ``NAME_head.glb``, ``NAME_head.obj``, ``NAME_head.mtl`` and ``NAME_head_PART.png`` for textured parts.

    Where the head shares the face's texture, its face shows ``NAME.png``, or without light ``NAME_albedo.png``, which
    somebody else writes.

    Args:
        ending: in place of ``_head``.
        pictures: stem of its picture for each textured part, if other than NAME_head_PART; parts may share one.
        maps: of the face, for :func:`head_glb`, where the head shares its texture.

    Returns the files written, copies as of :func:`write_parts` among them.
    """
    stem = f"{name}{ending}"
    textured = {part.name: part.texture for part in head.parts if part.texture is not None}
    stems = {part: f"{stem}_{part}" for part in textured} if pictures is None else dict(pictures)
    face = f"{name}_albedo" if head.unlit else name
    shared = {face} if head.shares_texture and pictures is None else set()
    stems |= {"face": face} if shared else {}
    encoded: dict[str, bytes] = {}
    for part, texture in textured.items():
        if stems[part] not in encoded:
            encoded[stems[part]] = encode_png(texture)
    written = []
    for picture, content in encoded.items():
        if picture in shared:
            continue
        written.append(directory / f"{picture}.png")
        write_atomic(written[-1], content)
    about = f"{head.model}: {head.licence}"
    written += write_parts(directory, stem, head.parts, {part: f"{stems[part]}.png" for part in textured}, about)
    written.append(directory / f"{stem}.glb")
    write_atomic(
        written[-1], head_glb(name, head, {part: encoded[stems[part]] for part in textured}, maps if shared else None)
    )
    return written


def write_parts(
    directory: Path, stem: str, parts: Sequence[HeadPart], pictures: Mapping[str, str], about: str = ""
) -> list[Path]:
    """Write ``STEM.obj`` and ``STEM.mtl``; millimetres, normals, v up.

    Where a file that they refer to has a name that readers would misunderstand, they name a copy of it
    (:func:`safe_name`).

    Args:
        stem: of the files' names.
        pictures: name of a part -> name of its texture's file, which is there.
        about: a line of comment.

    Returns:
        The files written, copies last.
    """
    obj, mtl = directory / f"{stem}.obj", directory / f"{stem}.mtl"
    safe = {name: safe_name(name) for name in (mtl.name, *pictures.values())}
    material = "".join(_material(part, safe.get(pictures.get(part.name, ""))) for part in parts)
    write_atomic(mtl, material.encode("utf-8", "surrogateescape"))  # a name that is no text keeps its bytes
    write_atomic(obj, _obj_text(parts, safe[mtl.name], about).encode("utf-8", "surrogateescape"))
    copies = [name for name, other in safe.items() if other != name]
    for name in copies:
        write_atomic(directory / safe[name], (directory / name).read_bytes())
    return [obj, mtl, *(directory / safe[name] for name in copies)]


def _material(part: HeadPart, picture: str | None) -> str:
    red, green, blue = part.colour
    shine = 1 - part.roughness
    return (
        f"newmtl {part.name}\n"
        "Ka 0.0 0.0 0.0\n"
        f"Kd {red:.4f} {green:.4f} {blue:.4f}\n"
        f"Ks {0.5 * shine:.4f} {0.5 * shine:.4f} {0.5 * shine:.4f}\n"
        f"Ns {10 + 190 * shine:.1f}\n"
        "d 1.0\n"
        f"illum {2 if shine > 0 else 1}\n" + (f"map_Kd {picture}\n" if picture is not None else "") + "\n"
    )


def _obj_text(parts: Sequence[HeadPart], library: str, about: str) -> str:
    pieces = ["# ostec: canonical frame, millimetres, y up, z towards the viewer\n"]
    pieces += [f"# {about}\n"] if about else []
    pieces.append(f"mtllib {library}\n")
    first, first_uv = 1, 1
    for part in parts:
        # Where the layout has seams the model's vertices stay whole.
        ids = np.arange(len(part.vertices)) if part.ids is None else part.ids
        _, once, vertex = np.unique(ids, return_index=True, return_inverse=True)
        pieces += [
            f"o {part.name}\n",
            _vertices(part, once),
            _lines("vt %.7f %.7f\n", part.uv),
            _lines("vn %.4f %.4f %.4f\n", part.normals[once]),
            f"usemtl {part.name}\n",
            "s 1\n",
            _faces(part, vertex + first, first_uv),
        ]
        first, first_uv = first + len(once), first_uv + len(part.uv)
    return "".join(pieces)


def _vertices(part: HeadPart, once: npt.NDArray[np.integer]) -> str:
    """Their lines. Colours behind the coordinates are no part of the format; MeshLab and Blender know them."""
    if part.vertex_colours is None:
        return _lines("v %.5f %.5f %.5f\n", part.vertices[once])
    return _lines("v %.5f %.5f %.5f %.4f %.4f %.4f\n", np.hstack([part.vertices, part.vertex_colours])[once])


def _faces(part: HeadPart, vertex: npt.NDArray[np.integer], first_uv: int) -> str:
    """The polygons' lines; ``vertex`` [V] are their vertices' numbers in the file."""
    count = len(part.triangles)
    polygon = np.arange(count) if part.polygons is None else part.polygons
    starts = np.flatnonzero(np.diff(polygon, prepend=-1))
    shown = np.zeros((count, 3), bool)  # all corners of a polygon's first triangle, and the last one of the others
    shown[starts] = shown[:, 2] = True
    corners = part.triangles[shown]
    numbers = [vertex[corners], corners + first_uv, vertex[corners]] if len(part.uv) else [vertex[corners]] * 2
    corner = " %d/%d/%d" if len(part.uv) else " %d//%d"
    pattern = "".join("f" + corner * (sides + 2) + "\n" for sides in np.diff(starts, append=count).tolist())
    return pattern % tuple(np.stack(numbers, axis=1).ravel().tolist())


def _lines(pattern: str, rows: np.ndarray) -> str:
    """One line of ``pattern`` for each row."""
    # Adding zero turns -0.0 into 0.0, so that equal geometry gives equal text.
    return (pattern * len(rows)) % tuple((rows + 0).ravel().tolist())
