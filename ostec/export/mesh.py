"""A textured face -> OBJ with MTL, GLB, NPZ, UV texture and provenance map."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ostec.core.errors import OutputError
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
from ostec.io.files import write_atomic
from ostec.io.images import as_pil, encode_jpeg, encode_png, write_palette_png
from ostec.render.geometry import vertex_normals

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

_METRES_PER_MILLIMETRE = 0.001
_VIEWER_QUALITY = 90
_VIEWER_FOV_DEG = (30.0, 30.0)  # a portrait lens: a wide one would swell the nose


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
    """[512] ArcFace's embedding of the photo's face; not stored where there was no ArcFace."""


def provenance_palette() -> ByteArray:
    """Return the palette [11, 3] of ``NAME_provenance.png``: row i is the colour of ``Provenance(i)``."""
    return np.array([PROVENANCE_COLOURS[p] for p in sorted(Provenance)], np.uint8)


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


def write_texture(directory: Path, name: str, result: TexturedFace) -> list[Path]:
    """Write ``NAME.png`` and ``NAME_provenance.png``, and ``NAME_frontal.png`` if there is a frontal portrait.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written.
    """
    texture, provenance = directory / f"{name}.png", directory / f"{name}_provenance.png"
    write_atomic(texture, encode_png(result.completed.colour))
    write_palette_png(provenance, result.completed.provenance, provenance_palette())
    if result.frontal is None:
        return [texture, provenance]
    frontal = directory / f"{name}_frontal.png"
    write_atomic(frontal, encode_png(result.frontal))
    return [texture, provenance, frontal]


def write_obj(directory: Path, name: str, face: FittedFace, topology: Topology) -> list[Path]:
    """Write ``NAME.obj`` and ``NAME.mtl``, which show ``NAME.png`` on the face; millimetres, normals, v up.

    Returns:
        The two files.

    Raises:
        OutputError: a file cannot be written, or ``name`` holds a line break, which the format cannot express.
    """
    if "\n" in name or "\r" in name:
        raise OutputError(f"{name!r} holds a line break, which an OBJ file cannot express; please rename the photo.")
    normals = vertex_normals(torch.as_tensor(face.vertices), torch.as_tensor(topology.triangles)).numpy()
    corners = np.repeat(topology.triangles.astype(np.int64) + 1, 3, axis=1)  # vertex, UV and normal share the number
    text = "".join(
        (
            "# ostec: canonical frame, millimetres, y up, z towards the viewer\n",
            f"mtllib {name}.mtl\n",
            "o face\n",
            text_lines("v %.5f %.5f %.5f\n", face.vertices),
            text_lines("vt %.7f %.7f\n", topology.uv),
            text_lines("vn %.4f %.4f %.4f\n", normals),
            "usemtl face\n",
            "s 1\n",
            text_lines("f %d/%d/%d %d/%d/%d %d/%d/%d\n", corners),
        )
    )
    material = (
        "newmtl face\n"
        "Ka 0.0 0.0 0.0\n"
        "Kd 1.0 1.0 1.0\n"
        "Ks 0.0 0.0 0.0\n"
        "d 1.0\n"
        "illum 1\n"  # diffuse without highlights: the texture carries the photo's own
        f"map_Kd {name}.png\n"
    )
    obj, mtl = directory / f"{name}.obj", directory / f"{name}.mtl"
    write_atomic(mtl, material.encode("utf-8", "surrogateescape"))  # a name that is no text keeps its bytes
    write_atomic(obj, text.encode("utf-8", "surrogateescape"))
    return [obj, mtl]


def text_lines(pattern: str, rows: np.ndarray) -> str:
    """One line of ``pattern`` for each row."""
    # Adding zero turns -0.0 into 0.0, so that equal geometry gives equal text.
    return (pattern * len(rows)) % tuple((rows + 0).ravel().tolist())


def write_glb(directory: Path, name: str, result: TexturedFace) -> Path:
    """Write ``NAME.glb``: mesh and PNG texture in one file, as a rough, non-metallic material.

    The vertices are in millimetres as in the other files; a scale of 0.001 on the node makes them glTF's metres.

    Raises:
        OutputError: it cannot be written.
    """
    from trimesh.visual.material import PBRMaterial

    material = PBRMaterial(
        name="face",
        baseColorFactor=[255, 255, 255, 255],
        baseColorTexture=EncodedPicture(encode_png(result.completed.colour), "PNG"),
        metallicFactor=0.0,
        roughnessFactor=1.0,
    )
    scene = _scene(result, material, _METRES_PER_MILLIMETRE)
    path = directory / f"{name}.glb"
    write_atomic(path, scene.export(file_type="glb", include_normals=True))
    return path


def viewer_html(result: TexturedFace, texture: FloatArray) -> str:
    """Return an HTML document that shows the face in 3D to turn with the mouse, without any network.

    Its end tags, which HTML lets one omit, are left out, so that a script can follow.

    Args:
        result: the face.
        texture: [S, S, 3] in [0, 1], the texture at the size to embed (as JPEG).
    """
    from trimesh.scene import Camera
    from trimesh.viewer.notebook import scene_to_html
    from trimesh.visual.material import PBRMaterial

    # The viewer's one lamp would shade the face. Light of its own on black metal, which reflects nothing, shows the
    # texture as it is.
    material = PBRMaterial(
        name="face",
        baseColorFactor=[0, 0, 0, 255],
        emissiveTexture=EncodedPicture(encode_jpeg(texture, _VIEWER_QUALITY), "JPEG"),
        emissiveFactor=[1.0, 1.0, 1.0],
        metallicFactor=1.0,
        roughnessFactor=1.0,
    )
    scene = _scene(result, material, 1.0)
    scene.camera = Camera(name="camera", fov=_VIEWER_FOV_DEG)  # an unnamed one would be called at random
    scene.set_camera(fov=_VIEWER_FOV_DEG)
    return str(scene_to_html(scene)).rpartition("</body>")[0]


def textured_mesh(result: TexturedFace, material: Any = None) -> Any:
    """The face as a ``trimesh.Trimesh`` in millimetres, with its texture.

    Args:
        result: the face.
        material: one of trimesh's; rough and non-metallic, with the texture as a PIL image, if None.
    """
    import trimesh

    if material is None:
        material = trimesh.visual.material.PBRMaterial(
            name="face", baseColorTexture=as_pil(result.completed.colour), metallicFactor=0.0, roughnessFactor=1.0
        )
    vertices, triangles = result.face.vertices, result.topology.triangles
    return trimesh.Trimesh(
        vertices=vertices,
        faces=triangles,
        vertex_normals=vertex_normals(torch.as_tensor(vertices), torch.as_tensor(triangles)).numpy(),
        visual=trimesh.visual.TextureVisuals(uv=result.topology.uv, material=material),
        process=False,
    )


def _scene(result: TexturedFace, material: Any, scale: float) -> Any:
    import trimesh

    scene = trimesh.Scene()
    mesh = textured_mesh(result, material)
    scene.add_geometry(mesh, node_name="face", geom_name="face", transform=np.diag([scale, scale, scale, 1.0]))
    return scene


def write_npz(directory: Path, name: str, result: TexturedFace) -> Path:
    """Write ``NAME.npz`` with the fields of :class:`SavedFace`; equal results give equal bytes.

    Raises:
        OutputError: it cannot be written.
    """
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
    """Read ``NAME.npz`` back.

    Raises:
        OutputError: the file is missing, damaged or lacks a field.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            fields = {key: arrays[key] for key in arrays.files}
        latents = {key[2:]: fields.pop(key) for key in sorted(fields) if key.startswith("w_")}
        return SavedFace(**fields, latents=latents)
    except Exception as error:  # zip and NumPy raise many kinds for damaged files
        raise OutputError(f"{path} cannot be read back ({error}); please make it again with --overwrite.") from error
