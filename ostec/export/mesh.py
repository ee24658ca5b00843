"""A textured face -> OBJ with MTL, GLB, NPZ, UV texture and provenance map.

Writers raise OutputError where a file cannot be written.
"""

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ostec.core.errors import AssetError, OutputError
from ostec.core.types import (
    ByteArray,
    DoubleArray,
    FittedFace,
    FloatArray,
    IntArray,
    Provenance,
    TexturedFace,
    Topology,
)
from ostec.export.gltf import METRES_PER_MILLIMETRE
from ostec.export.head import write_parts
from ostec.heads.parts import HeadPart
from ostec.io.arrays import read_npz as read_arrays
from ostec.io.files import write_atomic
from ostec.io.images import as_pil, encode_png, write_palette_png

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

PROVENANCE_COLOURS: dict[Provenance, tuple[int, int, int]] = {
    Provenance.OUTSIDE: (0, 0, 0),
    Provenance.PHOTO: (76, 175, 80),
    Provenance.MIRRORED: (255, 202, 40),
    Provenance.PRIOR: (66, 133, 244),
    Provenance.FRONT: (236, 64, 122),
    Provenance.BOTTOM: (126, 87, 194),
    Provenance.BOTTOM_LEFT: (0, 172, 193),
    Provenance.BOTTOM_RIGHT: (255, 112, 67),
    Provenance.LEFT: (171, 71, 188),
    Provenance.RIGHT: (141, 110, 99),
    Provenance.PADDING: (97, 97, 97),
}
"""8-bit RGB by which ``NAME_provenance.png`` shows where a texel came from."""


@dataclass(frozen=True)
class SavedFace:
    """What ``NAME.npz`` holds."""

    vertices: FloatArray
    """[V, 3] canonical frame, millimetres."""
    triangles: IntArray
    """[F, 3], counter-clockwise from outside."""
    uv: FloatArray
    """[T, 2], v up."""
    triangles_uv: IntArray
    """[F, 3]: the same triangles in ``uv``."""
    landmarks: FloatArray
    """[468, 3] photo frame."""
    camera_matrix: DoubleArray
    """[3, 4]: canonical millimetres to photo pixels."""
    pose_deg: DoubleArray
    """[3]: pitch, yaw, roll."""
    latents: dict[str, FloatArray]
    """View name -> W+ [num_ws, W]; stored as ``w_VIEW``."""
    identity: FloatArray | None = None
    """[K] what a face recogniser says of the photo's face; not stored where there was no generator."""


def provenance_palette(highest: int = Provenance.PADDING) -> ByteArray:
    """Return the palette of ``NAME_provenance.png`` up to index ``highest``: row i is the colour of ``Provenance(i)``.

    Beyond ``PADDING`` come the second and further photos of the person, in hues that stay apart.
    """
    further = [
        [round(255 * v) for v in colorsys.hsv_to_rgb(0.36 + n * 0.618 % 1, 0.45, 0.95)]
        for n in range(1, highest - Provenance.PADDING + 1)
    ]
    return np.array([*(PROVENANCE_COLOURS[p] for p in sorted(Provenance)), *further], np.uint8)


def provenance_name(value: int) -> str:
    """What the page calls an index of the palette."""
    if value > Provenance.PADDING:
        return f"photo {value - Provenance.PADDING + 1}"
    return Provenance(value).name.lower().replace("_", "-")


def write_texture(directory: Path, name: str, result: TexturedFace) -> list[Path]:
    """Write ``NAME.png`` and ``NAME_provenance.png``, and ``NAME_frontal.png`` if there is a frontal portrait."""
    texture, provenance = directory / f"{name}.png", directory / f"{name}_provenance.png"
    write_atomic(texture, encode_png(result.completed.colour))
    origins = result.completed.provenance
    write_palette_png(provenance, origins, provenance_palette(int(origins.max(initial=0))))
    if result.frontal is None:
        return [texture, provenance]
    frontal = directory / f"{name}_frontal.png"
    write_atomic(frontal, encode_png(result.frontal))
    return [texture, provenance, frontal]


def write_obj(directory: Path, name: str, face: FittedFace, topology: Topology) -> list[Path]:
    """Write ``NAME.obj`` and ``NAME.mtl``, which show ``NAME.png`` on the face; millimetres, normals, v up.

    ``NAME.png`` must be there: of a name that readers would misunderstand, copies are named inside the files.
    """
    return write_parts(directory, name, [face_part(face, topology)], {"face": f"{name}.png"})


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


def write_glb(directory: Path, name: str, result: TexturedFace) -> Path:
    """Write ``NAME.glb``: mesh and PNG texture in one file, as a rough, non-metallic material.

    The vertices are in millimetres as in the other files; a scale of 0.001 on the node makes them glTF's metres.
    """
    scene = _scene(result, _rough(EncodedPicture(encode_png(result.completed.colour), "PNG")), METRES_PER_MILLIMETRE)
    path = directory / f"{name}.glb"
    write_atomic(path, scene.export(file_type="glb", include_normals=True))
    return path


def _rough(picture: "EncodedPicture | PilImage") -> dict[str, Any]:
    """The material's looks under its texture."""
    return {"baseColorFactor": [255] * 4, "baseColorTexture": picture, "metallicFactor": 0.0, "roughnessFactor": 1.0}


def _scene(result: TexturedFace, looks: dict[str, Any], scale: float = 1.0) -> Any:
    """The face as a ``trimesh.Scene`` of one node, ``scale`` times as large; ``looks`` are its material's."""
    import trimesh
    from trimesh.visual.material import PBRMaterial

    part = face_part(result.face, result.topology)
    visual = trimesh.visual.TextureVisuals(uv=part.uv, material=PBRMaterial(name="face", **looks))
    mesh = trimesh.Trimesh(part.vertices, part.triangles, vertex_normals=part.normals, visual=visual, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(mesh, node_name="face", geom_name="face", transform=np.diag([scale, scale, scale, 1.0]))
    return scene


def face_part(face: FittedFace, topology: Topology, texture: FloatArray | None = None) -> HeadPart:
    """The face alone as a head's part; ``texture`` [S, S, 3]."""
    import torch  # pages need neither, and a run that finds everything done no PyTorch

    from ostec.render.geometry import vertex_normals

    normals = vertex_normals(torch.as_tensor(face.vertices), torch.as_tensor(topology.triangles)).numpy()
    shape = ("face", face.vertices, normals, topology.triangles, topology.uv)
    return HeadPart(*shape, colour=(1.0, 1.0, 1.0), texture=texture)


def textured_mesh(result: TexturedFace) -> Any:
    """The face as a ``trimesh.Trimesh`` in millimetres: rough, non-metallic, its texture a PIL image."""
    (mesh,) = _scene(result, _rough(as_pil(result.completed.colour))).geometry.values()
    return mesh


def write_npz(directory: Path, name: str, result: TexturedFace) -> Path:
    """Write ``NAME.npz`` with the fields of :class:`SavedFace`; equal results give equal bytes."""
    face, topology = result.face, result.topology
    arrays = {
        "vertices": face.vertices.astype(np.float32),
        "triangles": topology.triangles.astype(np.int32),
        "uv": topology.uv.astype(np.float32),
        "triangles_uv": topology.triangles.astype(np.int32),
        "landmarks": face.landmarks.astype(np.float32),
        "camera_matrix": face.camera_matrix.astype(np.float64),
        "pose_deg": np.array(face.pose_deg, np.float64),
    }
    arrays |= {f"w_{view}": latent.astype(np.float32) for view, latent in result.latents.items()}
    if result.identity is not None:
        arrays["identity"] = result.identity.astype(np.float32)
    path = directory / f"{name}.npz"
    write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
    return path


def read_npz(path: Path) -> SavedFace:
    """Read ``NAME.npz`` back. Raises OutputError if the file is missing, damaged or lacks a field."""
    try:
        fields = read_arrays(path)
        latents = {key[2:]: fields.pop(key) for key in sorted(fields) if key.startswith("w_")}
        return _checked(SavedFace(**fields, latents=latents))
    except (AssetError, TypeError, ValueError) as error:
        reason = error.__cause__ or error
        raise OutputError(f"{path} cannot be read back ({reason}); please make it again with --overwrite.") from error


def _checked(face: SavedFace) -> SavedFace:
    """The face, which may be somebody else's. Raises ValueError unless its arrays are those of one."""
    vertices, corners = len(face.vertices), len(face.uv)
    shapes = {
        "vertices": (vertices, 3),
        "triangles": (len(face.triangles), 3),
        "uv": (corners, 2),
        "triangles_uv": (len(face.triangles), 3),
        "landmarks": (468, 3),
        "camera_matrix": (3, 4),
        "pose_deg": (3,),
    }
    for name, shape in shapes.items():
        values = getattr(face, name)
        if values.shape != shape or not np.isfinite(values).all():
            raise ValueError(f"{name} is no array of {list(shape)} finite numbers")
    for ids, count in ((face.triangles, vertices), (face.triangles_uv, corners)):
        if ids.dtype.kind != "i" or (ids.size and not 0 <= ids.min() <= ids.max() < count):
            raise ValueError("it has triangles of vertices that are not there")
    return face
