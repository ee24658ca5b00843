"""Ground truth from a textured head: its renders at any pose, and its texture in the project's UV layout.

The head (``*.obj`` files of one folder, each with the texture that its ``mtllib`` names, as PNG) is drawn unlit, with
parallel rays, in front of grey. Its true texture in the UV layout is found in three steps:

1. Every view of a grid goes through detector, dense landmarks and fit as a photo does, which says which texel lies
   where in the picture; the picture's map of true positions turns that into a point of the head per texel and view.
2. The points of all views are averaged, weighted by a power of the cosine of the view angle, and put back onto the
   head.
3. The colours are read where that point is in each view, with the same weights from the true normals. All views show
   the same point of the same head, so the average does not blur.

Lengths are those of the canonical frame of ``ostec/core/types.py``: the outer eye corners are 90 mm apart.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ostec.core.assets import asset_path, verified_path
from ostec.core.errors import FaceError
from ostec.core.types import (
    EYE_CORNER_DISTANCE_MM,
    EYE_CORNERS,
    ORIGIN_SETBACK_MM,
    BoolArray,
    FittedFace,
    FloatArray,
    IntArray,
)
from ostec.detect.faces import detect_faces, largest
from ostec.detect.landmarks import detect_landmarks
from ostec.fit.dense import fit_dense
from ostec.io.images import read_image
from ostec.io.topology import read_topology
from ostec.io.weights import load_strict, read_mtcnn, read_safetensors
from ostec.nets.facemesh import FaceMesh
from ostec.nets.mtcnn import Mtcnn, convert_keras_arrays
from ostec.render.geometry import Camera, camera_from_matrix, orthographic_camera, rotation_from_pose, vertex_normals
from ostec.render.rasterize import interpolate, rasterize, sample_texture
from ostec.render.uv import bake_layout, sample_image, view_surface

SIDE = 600
"""Side of a render in pixels."""
FACE_HEIGHT = 350.0
"""Height in pixels of the box around the landmarks of the frontal render."""
BACKGROUND = 0.5
OVERSAMPLE = 2
GRID_YAWS_DEG = (-60, -40, -20, 0, 20, 40, 60)
GRID_PITCHES_DEG = (-20, 0, 20)
POSE_TOLERANCE_DEG = 20.0
"""A view whose fitted yaw is further off than this is left out of the truth: its landmarks are wrong."""
COSINE_POWER = 6.0
SEEN_COSINE = 0.2
"""A point of the head counts as seen above this cosine of the true view angle, if nothing is in front of it."""
SEEN_TOLERANCE_MM = 2.0
SNAP_MM = 6.0
"""An averaged point this far from the head is not trusted: inside a nostril, or landmarks that disagree."""
MOUTH_MARGIN = 0.012
"""Texels this near to the opening of the mouth, in UV, have no truth: views of a closed mouth disagree about them."""
UV_SIZE = 512


@dataclass(frozen=True)
class Head:
    """A textured head; V counts corners with a UV of their own."""

    vertices: torch.Tensor
    """[V, 3], y up, looking along +z."""
    normals: torch.Tensor
    """[V, 3] unit, smooth."""
    uv: torch.Tensor
    """[V, 2] in the atlas, v up."""
    triangles: torch.Tensor
    """[F, 3] int32."""
    atlas: torch.Tensor
    """[H, W, 3] in [0, 1]: the parts' textures side by side."""

    def moved(self, origin: torch.Tensor, scale: float) -> "Head":
        """The head with ``origin`` [3] at zero, ``scale`` times as large."""
        return Head((self.vertices - origin) * scale, self.normals, self.uv, self.triangles, self.atlas)


@dataclass(frozen=True)
class HeadView:
    """A render of the head and what is true at each of its pixels."""

    camera: Camera
    image: FloatArray
    """[H, W, 3] in [0, 1]."""
    position: torch.Tensor
    """[H, W, 3] of the surface at the pixel's centre; zero where the head is not."""
    normal: torch.Tensor
    """[H, W, 3] unit."""
    hit: torch.Tensor
    """[H, W] bool."""

    @property
    def towards(self) -> torch.Tensor:
        """[H, W] height of the surface towards the viewer; -inf where the head is not."""
        return torch.where(self.hit, self.position @ self.camera.rotation[2], -torch.inf)


@dataclass(frozen=True)
class UvTruth:
    """What is true of each texel of the project's layout. S is the layout's side."""

    texture: FloatArray
    """[S, S, 3] in [0, 1]; as the views' fits show it where not valid, and the nearest colour outside the chart."""
    position: FloatArray
    """[S, S, 3] on the head; meaningless where not valid."""
    normal: FloatArray
    """[S, S, 3] unit; meaningless where not valid."""
    valid: BoolArray
    """[S, S]: inside the chart but not between the lips, shown by some view, and found on the head."""
    skin: BoolArray
    """[S, S]: valid and away from eyes and mouth."""


def read_obj(path: Path) -> tuple[FloatArray, FloatArray, IntArray, str]:
    """Read vertices [V, 3], texture vertices [T, 2], corners [F, 3, 2] (vertex, texture vertex), the library's stem."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    corners: list[list[list[int]]] = []
    stem = path.stem
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            texture.append([float(x) for x in rest[:2]])
        elif kind == "mtllib":
            stem = Path(rest[0]).stem
        elif kind == "f":
            ring = [[int(x) - 1 for x in corner.split("/")[:2]] for corner in rest]
            corners += [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]
    return np.array(vertices, np.float32), np.array(texture, np.float32), np.array(corners, np.int32), stem


def load_head(folder: Path) -> Head:
    """Join every OBJ of ``folder``, each with the PNG whose stem its ``mtllib`` has."""
    parts = [read_obj(path) for path in sorted(folder.glob("*.obj"))]
    if not parts:
        raise FileNotFoundError(f"expected OBJ files in {folder}, found none")
    stems = list(dict.fromkeys(part[3] for part in parts))
    textures = [read_image(folder / f"{stem}.png") for stem in stems]
    height, width = (max(t.shape[axis] for t in textures) for axis in (0, 1))
    atlas = np.zeros((height, width * len(stems), 3), np.float32)
    for k, tile in enumerate(textures):
        atlas[: tile.shape[0], k * width : k * width + tile.shape[1]] = tile
    points, normals, uvs, triangles, start = [], [], [], [], 0
    for vertices, texture, corners, stem in parts:
        rows, columns = textures[stems.index(stem)].shape[:2]
        own, index = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
        smooth = vertex_normals(torch.from_numpy(vertices), torch.from_numpy(corners[..., 0].copy()))
        u = (stems.index(stem) * width + texture[own[:, 1], 0] * columns) / atlas.shape[1]
        v = 1 - (1 - texture[own[:, 1], 1]) * rows / height
        points.append(torch.from_numpy(vertices[own[:, 0]]))
        normals.append(smooth[torch.from_numpy(own[:, 0].astype(np.int64))])
        uvs.append(torch.from_numpy(np.stack([u, v], 1).astype(np.float32)))
        triangles.append(torch.from_numpy((index.reshape(-1, 3) + start).astype(np.int32)))
        start += len(own)
    joined = [torch.cat(x) for x in (points, normals, uvs, triangles)]
    return Head(joined[0], joined[1], joined[2], joined[3], torch.from_numpy(atlas))


def render_head(head: Head, camera: Camera, side: int = SIDE) -> HeadView:
    """Draw the head unlit in ``side`` x ``side`` pixels, antialiased, in front of grey."""
    zoom = torch.diag(torch.tensor([OVERSAMPLE, OVERSAMPLE, 1.0]))
    large = (side * OVERSAMPLE, side * OVERSAMPLE)
    raster = _raster(head, Camera(zoom @ camera.matrix, camera.rotation), large)
    colour = sample_texture(head.atlas[None], interpolate(head.uv[None], raster, head.triangles))
    colour = torch.where(raster[..., 3:] > 0, colour, BACKGROUND)
    image = functional.avg_pool2d(colour.permute(0, 3, 1, 2), OVERSAMPLE)[0].permute(1, 2, 0)
    raster = _raster(head, camera, (side, side))
    position = interpolate(head.vertices[None], raster, head.triangles)[0]
    normal = functional.normalize(interpolate(head.normals[None], raster, head.triangles)[0], dim=-1)
    return HeadView(camera, np.ascontiguousarray(image.numpy()), position, normal, raster[0, ..., 3] > 0)


def _raster(head: Head, camera: Camera, size: tuple[int, int]) -> torch.Tensor:
    return rasterize(camera.clip(head.vertices, size)[None], head.triangles, size).flip(1)


def seen_by(view: HeadView, position: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Whether ``view`` sees points [..., 3] of the head whose unit normals are ``normal`` [..., 3]: bool [...].

    Seen: the cosine of the true view angle is above ``SEEN_COSINE`` and nothing lies in front, by the depth of the true
    mesh.
    """
    pixel, towards = view.camera.project(position)
    cosine = normal @ view.camera.rotation[2]
    nearest = _look_up(view.towards[..., None], pixel, "nearest")[..., 0]
    # Half a pixel away the depth differs by the slope.
    millimetres = 1 / float(view.camera.matrix[0, :3].norm())
    slope = torch.sqrt((1 - cosine**2).clamp(min=0)) / cosine.clamp(min=SEEN_COSINE)
    return (cosine > SEEN_COSINE) & (towards > nearest - SEEN_TOLERANCE_MM - slope * millimetres)


def _look_up(image: torch.Tensor, pixel: torch.Tensor, mode: str) -> torch.Tensor:
    """Values [..., C] of ``image`` [H, W, C] at pixels [..., 2]."""
    size = torch.tensor([image.shape[1], image.shape[0]], dtype=pixel.dtype)
    grid = (pixel / size * 2 - 1).reshape(1, -1, 1, 2)
    planes = image.permute(2, 0, 1)[None]
    found = functional.grid_sample(planes, grid, mode=mode, padding_mode="border", align_corners=False)
    return found[0, :, :, 0].T.reshape(*pixel.shape[:-1], -1)


class FaceReader:
    """The way of a photo as far as the fit, with what ships: detector, dense landmarks, mesh; and the UV layout."""

    def __init__(self, size: int = UV_SIZE) -> None:
        """Load the networks and bake the layout at ``size`` x ``size`` texels."""
        self.topology = read_topology(asset_path("topology/facemesh.npz"))
        self.layout = bake_layout(self.topology, size)
        self._facemesh = FaceMesh().eval()
        tensors = read_safetensors(verified_path("facemesh", "facemesh.safetensors"))
        load_strict(self._facemesh, {k: v.float() for k, v in tensors.items()}, "facemesh.safetensors")
        self._mtcnn = Mtcnn().eval()
        for stage, arrays in read_mtcnn().items():
            getattr(self._mtcnn, stage).load_state_dict(convert_keras_arrays(stage, arrays))

    def fit(self, image: FloatArray) -> FittedFace:
        """Fit the mesh to the largest face of [H, W, 3]. Raises FaceError where there is none."""
        face = largest(detect_faces(image, self._mtcnn))
        if face is None:
            raise FaceError("No face was found.")
        return fit_dense(detect_landmarks(image, face, self._facemesh), self.topology)


def camera_of(face: FittedFace) -> Camera:
    """The camera of a fit."""
    return camera_from_matrix(face.camera_matrix, face.rotation)


@dataclass(frozen=True)
class Studio:
    """A head in millimetres and the frame of its pictures."""

    head: Head
    scale: float
    """Pixels per millimetre."""
    centre: tuple[float, float]
    """Pixel of the head's origin."""

    def shoot(self, pitch_deg: float, yaw_deg: float) -> HeadView:
        """Draw the head at a pose."""
        camera = orthographic_camera(rotation_from_pose(pitch_deg, yaw_deg), self.scale, self.centre)
        return render_head(self.head, camera)


def set_up(head: Head, reader: FaceReader) -> Studio:
    """Bring a head of any unit into the canonical frame, by the landmarks of its frontal render, and frame its face."""
    low, high = head.vertices.amin(0), head.vertices.amax(0)
    scale = 0.9 * SIDE / float((high - low).max())
    middle = ((low + high) / 2 * scale).tolist()
    camera = orthographic_camera(np.eye(3), scale, (SIDE / 2 - middle[0], SIDE / 2 + middle[1]))
    view = render_head(head, camera)
    landmarks = torch.from_numpy(reader.fit(view.image).landmarks)
    corners = _look_up(view.position, landmarks[list(EYE_CORNERS), :2], "bilinear")
    unit = EYE_CORNER_DISTANCE_MM / float((corners[0] - corners[1]).norm())
    origin = corners.mean(0) - torch.tensor([0, 0, ORIGIN_SETBACK_MM / unit])
    box = landmarks[:, :2].amin(0), landmarks[:, :2].amax(0)
    zoom = FACE_HEIGHT / float(box[1][1] - box[0][1])
    offset = (camera.project(origin)[0] - (box[0] + box[1]) / 2) * zoom + SIDE / 2
    return Studio(head.moved(origin, unit), scale * zoom / unit, (float(offset[0]), float(offset[1])))


@dataclass(frozen=True)
class _Unwrapped:
    """A view of the grid, with the point of the head that it puts each texel on."""

    view: HeadView
    colour: torch.Tensor
    position: torch.Tensor
    weight: torch.Tensor


def _unwrap(view: HeadView, face: FittedFace, reader: FaceReader) -> _Unwrapped:
    surface = view_surface(torch.from_numpy(face.vertices), camera_of(face), reader.layout)
    inside = ((surface.pixel >= 0) & (surface.pixel <= SIDE)).all(-1)
    hit = _look_up(view.hit[..., None].float(), surface.pixel, "bilinear")[..., 0] > 0.999
    weight = surface.cosine.clamp(min=0) ** COSINE_POWER * (surface.visible & hit & inside)
    colour, _ = sample_image(torch.from_numpy(view.image), surface.pixel, reader.layout.inside)
    return _Unwrapped(view, colour, _look_up(view.position, surface.pixel, "bilinear"), weight)


def uv_truth(studio: Studio, reader: FaceReader) -> UvTruth:
    """The head's texture, positions and normals in the project's layout; see the module."""
    found = []
    for pitch in GRID_PITCHES_DEG:
        for yaw in GRID_YAWS_DEG:
            view = studio.shoot(pitch, yaw)
            try:
                face = reader.fit(view.image)
            except FaceError:
                print(f"  truth: no face at pitch {pitch}, yaw {yaw}: view left out")
                continue
            if abs(face.pose_deg[1] - yaw) > POSE_TOLERANCE_DEG:
                print(f"  truth: fitted yaw {face.pose_deg[1]:.0f} at pitch {pitch}, yaw {yaw}: view left out")
                continue
            found.append(_unwrap(view, face, reader))
    total = torch.stack([u.weight for u in found]).sum(0)
    position = sum(u.position * u.weight[..., None] for u in found) / total.clamp(min=1e-9)[..., None]
    average = torch.as_tensor(position)
    position, normal = _onto_head(average, [u.view for u in found])
    texture, shown = _gather_colours(position, normal, [u.view for u in found])
    valid = reader.layout.inside & (total > 1e-4) & (shown > 1e-4) & ((position - average).norm(dim=-1) < SNAP_MM)
    valid &= ~torch.from_numpy(_polygon(reader.topology.regions["mouth"], reader.layout.size))
    direct = torch.as_tensor(sum(u.colour * u.weight[..., None] for u in found)) / total.clamp(min=1e-9)[..., None]
    texture = torch.where(valid[..., None], texture, direct)
    empty = (~valid & (total < 1e-4)).numpy()
    nearest = tuple(ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True))
    features = [_polygon(reader.topology.regions[k], reader.layout.size) for k in ("eye_left", "eye_right", "lips")]
    skin = valid.numpy() & ~np.any(features, axis=0)
    return UvTruth(texture.numpy()[nearest], position.numpy(), normal.numpy(), valid.numpy(), skin)


def _polygon(corners: FloatArray, size: int) -> BoolArray:
    """Texels [S, S] of a polygon [K, 2] in UV, and those within ``MOUTH_MARGIN`` of it."""
    pixels = (corners * [1, -1] + [0, 1]) * size
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.round(pixels).astype(np.int32)], 1)
    return ndimage.binary_dilation(canvas > 0, iterations=round(MOUTH_MARGIN * size))


def _onto_head(position: torch.Tensor, views: list[HeadView]) -> tuple[torch.Tensor, torch.Tensor]:
    """Put points near the head onto it, along the rays of the view that faces each most: (position, normal)."""
    best = torch.full(position.shape[:-1], -torch.inf)
    snapped, normal = torch.zeros_like(position), torch.zeros_like(position)
    for view in views:
        pixel, towards = view.camera.project(position)
        there = _look_up(view.normal, pixel, "nearest")
        near = (towards - _look_up(view.towards[..., None], pixel, "nearest")[..., 0]).abs() < 4 * SEEN_TOLERANCE_MM
        score = torch.where(near, there @ view.camera.rotation[2], -1.0)
        better = (score > best)[..., None]
        best = torch.maximum(score, best)
        snapped = torch.where(better, _look_up(view.position, pixel, "bilinear"), snapped)
        normal = torch.where(better, functional.normalize(_look_up(view.normal, pixel, "bilinear"), dim=-1), normal)
    return snapped, normal


def _gather_colours(
    position: torch.Tensor, normal: torch.Tensor, views: list[HeadView]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted colours [S, S, 3] of points of the head in all views that see them, and the sum of weights [S, S]."""
    colour, total = torch.zeros_like(position), torch.zeros(position.shape[:-1])
    everywhere = torch.ones(position.shape[:-1], dtype=torch.bool)
    for view in views:
        weight = (normal @ view.camera.rotation[2]).clamp(min=0) ** COSINE_POWER * seen_by(view, position, normal)
        sampled, _ = sample_image(torch.from_numpy(view.image), view.camera.project(position)[0], everywhere)
        colour += sampled * weight[..., None]
        total += weight
    return colour / total.clamp(min=1e-9)[..., None], total


def cached_uv_truth(studio: Studio, reader: FaceReader, sources: Iterable[Path], cache: Path) -> UvTruth:
    """:func:`uv_truth`, kept in ``cache`` (.npz) while the head's files, topology, FaceMesh and this module last."""
    digest = hashlib.sha256(reader.topology.sha256.encode())
    for path in [*sources, Path(__file__), verified_path("facemesh", "facemesh.safetensors")]:
        digest.update(path.read_bytes())
    key = digest.hexdigest()
    if cache.is_file():
        with np.load(cache) as stored:
            if str(stored["key"]) == key:
                return UvTruth(**{f.name: stored[f.name] for f in fields(UvTruth)})
    truth = uv_truth(studio, reader)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, key=key, **{f.name: getattr(truth, f.name) for f in fields(UvTruth)})
    return truth
