"""Named parts with materials -> OBJ, MTL and GLB; a full head -> ``NAME_head.glb``, ``NAME_head.obj`` and its files.

Writers raise OutputError where a file cannot be written.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ostec.heads.parts import Head, HeadPart
from ostec.io.files import write_atomic
from ostec.io.images import encode_png

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

METRES_PER_MILLIMETRE = 0.001
ENDING = "_head"
"""What follows NAME in the names of a head's files."""
_UNSAFE = re.compile(r"[\s\\#]|^-")
"""In the name of a file, what readers of OBJ and MTL take for its end, a folder, a comment or an option."""


@dataclass(frozen=True)
class EncodedPicture:
    """A picture that trimesh embeds as it is, instead of encoding it once more: it asks for just these two."""

    data: bytes
    format: str
    """``PNG`` or ``JPEG``."""

    def save(self, stream: BinaryIO, format: str) -> None:  # noqa: A002 - the name by which trimesh passes it
        """Write the picture as it is."""
        if format.upper() != self.format:
            raise ValueError(f"expected to be embedded as {self.format}, got {format}")
        stream.write(self.data)


def write_head(
    directory: Path, name: str, head: Head, ending: str = ENDING, pictures: Mapping[str, str] | None = None
) -> list[Path]:
    """Write ``NAME_head.glb``, ``NAME_head.obj``, ``NAME_head.mtl`` and ``NAME_head_PART.png`` for textured parts.

    Args:
        ending: in place of ``_head``.
        pictures: stem of its picture for each textured part, if other than NAME_head_PART; parts may share one.

    Returns the files written, copies as of :func:`write_parts` among them.
    """
    stem = f"{name}{ending}"
    textured = {part.name: part.texture for part in head.parts if part.texture is not None}
    stems = {part: f"{stem}_{part}" for part in textured} if pictures is None else dict(pictures)
    encoded: dict[str, bytes] = {}
    for part, texture in textured.items():
        if stems[part] not in encoded:
            encoded[stems[part]] = encode_png(texture)
    written = []
    for picture, content in encoded.items():
        written.append(directory / f"{picture}.png")
        write_atomic(written[-1], content)
    about = f"{head.model}: {head.licence}"
    written += write_parts(directory, stem, head.parts, {part: f"{stems[part]}.png" for part in textured}, about)
    of_part = {part: EncodedPicture(encoded[stems[part]], "PNG") for part in textured}
    materials = [pbr_material(part, of_part.get(part.name)) for part in head.parts]
    scene = scene_of(head.parts, materials, METRES_PER_MILLIMETRE, {"model": head.model, "licence": head.licence})
    written.append(directory / f"{stem}.glb")
    write_atomic(written[-1], scene.export(file_type="glb", include_normals=True))
    return written


def safe_name(file: str) -> str:
    """The name of a file as OBJ and MTL can refer to it: its own, or where that has blanks and the like, a copy's.

    The digits at the copy's end keep it apart from the files of other photos.
    """
    if not _UNSAFE.search(file):
        return file
    stem, _, ending = file.rpartition(".")
    digits = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{_UNSAFE.sub('_', stem)}_{digits}.{ending}"


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
    first = 1
    for part in parts:
        corners = part.triangles.astype(np.int64) + first
        with_uv, without = ("f %d/%d/%d %d/%d/%d %d/%d/%d\n", 3), ("f %d//%d %d//%d %d//%d\n", 2)
        pattern, times = with_uv if len(part.uv) else without
        pieces += [
            f"o {part.name}\n",
            _vertices(part),
            _lines("vt %.7f %.7f\n", part.uv),
            _lines("vn %.4f %.4f %.4f\n", part.normals),
            f"usemtl {part.name}\n",
            "s 1\n",
            _lines(pattern, np.repeat(corners, times, axis=1)),
        ]
        first += len(part.vertices)
    return "".join(pieces)


def _vertices(part: HeadPart) -> str:
    """Their lines. Colours behind the coordinates are no part of the format; MeshLab and Blender know them."""
    if part.vertex_colours is None:
        return _lines("v %.5f %.5f %.5f\n", part.vertices)
    return _lines("v %.5f %.5f %.5f %.4f %.4f %.4f\n", np.hstack([part.vertices, part.vertex_colours]))


def _lines(pattern: str, rows: np.ndarray) -> str:
    """One line of ``pattern`` for each row."""
    # Adding zero turns -0.0 into 0.0, so that equal geometry gives equal text.
    return (pattern * len(rows)) % tuple((rows + 0).ravel().tolist())


def pbr_material(part: HeadPart, picture: "EncodedPicture | PilImage | None") -> Any:
    """A part's material as glTF has it."""
    from trimesh.visual.material import PBRMaterial

    return PBRMaterial(
        name=part.name,
        baseColorFactor=[*(round(255 * linear(value)) for value in part.colour), 255],
        baseColorTexture=picture,
        metallicFactor=0.0,
        roughnessFactor=part.roughness,
    )


def scene_of(
    parts: Sequence[HeadPart], materials: Sequence[Any], scale: float, metadata: Mapping[str, str] | None = None
) -> Any:
    """One mesh and one node for each part, the nodes ``scale`` times as large; a GLB counts in metres."""
    import trimesh

    scene = trimesh.Scene(metadata=metadata)
    for part, material in zip(parts, materials, strict=True):
        mesh = trimesh.Trimesh(
            vertices=part.vertices,
            faces=part.triangles,
            vertex_normals=part.normals,
            visual=_visual(part, material),
            process=False,
        )
        transform = np.diag([scale, scale, scale, 1.0])
        scene.add_geometry(mesh, node_name=part.name, geom_name=part.name, transform=transform)
    return scene


def _visual(part: HeadPart, material: Any) -> Any:
    """What trimesh writes of a part's looks: its texture's place, or glTF's colours of vertices, which are linear."""
    import trimesh

    visual = trimesh.visual.TextureVisuals(uv=part.uv if len(part.uv) else None, material=material)
    if part.vertex_colours is not None:
        light = np.rint(255 * np.vectorize(linear)(part.vertex_colours)).astype(np.uint8)
        visual.vertex_attributes["color"] = np.hstack([light, np.full((len(light), 1), 255, np.uint8)])
    return visual


def linear(value: float) -> float:
    """An sRGB value as linear light, both in [0, 1] (IEC 61966-2-1): glTF's factors are linear."""
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
