"""A full head -> ``NAME_head.glb``, and ``NAME_head.obj`` with its MTL and textures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import OutputError
from ostec.export.mesh import EncodedPicture, text_lines
from ostec.heads.parts import Head, HeadPart
from ostec.io.files import write_atomic
from ostec.io.images import encode_png

METRES_PER_MILLIMETRE = 0.001
ENDING = "_head"
"""What follows NAME in the names of a head's files."""


def write_head(
    directory: Path, name: str, head: Head, ending: str = ENDING, pictures: Mapping[str, str] | None = None
) -> list[Path]:
    """Write ``NAME_head.glb``, ``NAME_head.obj``, ``NAME_head.mtl`` and ``NAME_head_PART.png`` for textured parts.

    Args:
        directory: an existing folder.
        name: NAME.
        head: what to write.
        ending: in place of ``_head``.
        pictures: stem of its picture for each textured part, if other than NAME_head_PART; parts may share one.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written, or ``name`` holds a line break, which OBJ cannot express.
    """
    if "\n" in name or "\r" in name:
        raise OutputError(f"{name!r} holds a line break, which an OBJ file cannot express; please rename the photo.")
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
    glb, obj, mtl = (directory / f"{stem}{suffix}" for suffix in (".glb", ".obj", ".mtl"))
    materials = "".join(_material(part, stems.get(part.name)) for part in head.parts)
    write_atomic(mtl, materials.encode("utf-8", "surrogateescape"))
    write_atomic(obj, _obj_text(head, stem).encode("utf-8", "surrogateescape"))
    of_part = {part: encoded[stems[part]] for part in textured}
    write_atomic(glb, _scene(head, of_part).export(file_type="glb", include_normals=True))
    return [*written, obj, mtl, glb]


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
        f"illum {2 if shine > 0 else 1}\n" + (f"map_Kd {picture}.png\n" if picture is not None else "") + "\n"
    )


def _obj_text(head: Head, stem: str) -> str:
    pieces = [
        "# ostec: canonical frame, millimetres, y up, z towards the viewer\n",
        f"# {head.model}: {head.licence}\n",
        f"mtllib {stem}.mtl\n",
    ]
    first = 1
    for part in head.parts:
        corners = part.triangles.astype(np.int64) + first
        with_uv, without = ("f %d/%d/%d %d/%d/%d %d/%d/%d\n", 3), ("f %d//%d %d//%d %d//%d\n", 2)
        pattern, times = with_uv if len(part.uv) else without
        pieces += [
            f"o {part.name}\n",
            _vertices(part),
            text_lines("vt %.7f %.7f\n", part.uv),
            text_lines("vn %.4f %.4f %.4f\n", part.normals),
            f"usemtl {part.name}\n",
            "s 1\n",
            text_lines(pattern, np.repeat(corners, times, axis=1)),
        ]
        first += len(part.vertices)
    return "".join(pieces)


def _vertices(part: HeadPart) -> str:
    """Their lines. Colours behind the coordinates are no part of the format; MeshLab and Blender know them."""
    if part.vertex_colours is None:
        return text_lines("v %.5f %.5f %.5f\n", part.vertices)
    return text_lines("v %.5f %.5f %.5f %.4f %.4f %.4f\n", np.hstack([part.vertices, part.vertex_colours]))


def _scene(head: Head, pictures: dict[str, bytes]) -> Any:
    """One mesh and one node for each part; a scale on the nodes makes millimetres glTF's metres."""
    import trimesh
    from trimesh.visual.material import PBRMaterial

    scene = trimesh.Scene(metadata={"model": head.model, "licence": head.licence})
    for part in head.parts:
        picture = pictures.get(part.name)
        material = PBRMaterial(
            name=part.name,
            baseColorFactor=[*(round(255 * linear(value)) for value in part.colour), 255],
            baseColorTexture=EncodedPicture(picture, "PNG") if picture is not None else None,
            metallicFactor=0.0,
            roughnessFactor=part.roughness,
        )
        mesh = trimesh.Trimesh(
            vertices=part.vertices,
            faces=part.triangles,
            vertex_normals=part.normals,
            visual=_visual(part, material),
            process=False,
        )
        scale = np.diag([*[METRES_PER_MILLIMETRE] * 3, 1.0])
        scene.add_geometry(mesh, node_name=part.name, geom_name=part.name, transform=scale)
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
