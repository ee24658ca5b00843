"""A full head -> ``NAME_head.glb``, and ``NAME_head.obj`` with its MTL and textures."""

from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import OutputError
from ostec.core.head import Head, HeadPart
from ostec.export.mesh import EncodedPicture, text_lines
from ostec.io.files import write_atomic
from ostec.io.images import encode_png

METRES_PER_MILLIMETRE = 0.001
ENDING = "_head"
"""What follows NAME in the names of a head's files."""


def write_head(directory: Path, name: str, head: Head) -> list[Path]:
    """Write ``NAME_head.glb``, ``NAME_head.obj``, ``NAME_head.mtl`` and ``NAME_head_PART.png`` for textured parts.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written, or ``name`` holds a line break, which OBJ cannot express.
    """
    if "\n" in name or "\r" in name:
        raise OutputError(f"{name!r} holds a line break, which an OBJ file cannot express; please rename the photo.")
    stem = f"{name}{ENDING}"
    pictures = {part.name: encode_png(part.texture) for part in head.parts if part.texture is not None}
    written = []
    for part, content in pictures.items():
        written.append(directory / f"{stem}_{part}.png")
        write_atomic(written[-1], content)
    glb, obj, mtl = (directory / f"{stem}{ending}" for ending in (".glb", ".obj", ".mtl"))
    write_atomic(mtl, "".join(_material(part, stem) for part in head.parts).encode("utf-8", "surrogateescape"))
    write_atomic(obj, _obj_text(head, stem).encode("utf-8", "surrogateescape"))
    write_atomic(glb, _scene(head, pictures).export(file_type="glb", include_normals=True))
    return [*written, obj, mtl, glb]


def _material(part: HeadPart, stem: str) -> str:
    red, green, blue = part.colour
    shine = 1 - part.roughness
    return (
        f"newmtl {part.name}\n"
        "Ka 0.0 0.0 0.0\n"
        f"Kd {red:.4f} {green:.4f} {blue:.4f}\n"
        f"Ks {0.5 * shine:.4f} {0.5 * shine:.4f} {0.5 * shine:.4f}\n"
        f"Ns {10 + 190 * shine:.1f}\n"
        "d 1.0\n"
        f"illum {2 if shine > 0 else 1}\n"
        + (f"map_Kd {stem}_{part.name}.png\n" if part.texture is not None else "")
        + "\n"
    )


def _obj_text(head: Head, stem: str) -> str:
    pieces = [
        "# ostec: canonical frame, millimetres, y up, z towards the viewer\n",
        f"# {head.model}: {head.licence}\n",
        f"mtllib {stem}.mtl\n",
    ]
    first = 1
    for part in head.parts:
        corners = np.repeat(part.triangles.astype(np.int64) + first, 3, axis=1)
        pieces += [
            f"o {part.name}\n",
            text_lines("v %.5f %.5f %.5f\n", part.vertices),
            text_lines("vt %.7f %.7f\n", part.uv),
            text_lines("vn %.4f %.4f %.4f\n", part.normals),
            f"usemtl {part.name}\n",
            "s 1\n",
            text_lines("f %d/%d/%d %d/%d/%d %d/%d/%d\n", corners),
        ]
        first += len(part.vertices)
    return "".join(pieces)


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
            visual=trimesh.visual.TextureVisuals(uv=part.uv, material=material),
            process=False,
        )
        scale = np.diag([*[METRES_PER_MILLIMETRE] * 3, 1.0])
        scene.add_geometry(mesh, node_name=part.name, geom_name=part.name, transform=scale)
    return scene


def linear(value: float) -> float:
    """An sRGB value as linear light, both in [0, 1] (IEC 61966-2-1): glTF's factors are linear."""
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
