"""What surrounds the networks that read coefficients from a photo: their crops, cameras and light, as published.

Deep3DFaceRecon (util/preprocess.py, models/bfm.py), which FFHQ-UV shares, and FaceVerse 4
(faceversev4/FaceVerse_networks.py, FaceVerseModel_torch.py). Both work in decimetres. The former's camera axes are ours
(y up, z towards the viewer), the latter's a camera's (y down, z away). Points in pictures are in this program's pixels,
which count from corners.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.morphable import ModelShape, MorphableModel
from ostec.core.types import DoubleArray, FloatArray
from ostec.nets.regressor import DEEP3D, Regressor
from ostec.render.crops import five_points
from ostec.render.geometry import harmonics as basis

_MM_PER_DECIMETRE = 100.0
_CROP_FACTOR = 102.0
_FIVE_POINTS = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""[5, 3] decimetres: eyes, nose tip and mouth's corners, from the 68 of Deep3DFaceRecon's similarity_Lm3D_all.mat."""
_SH = np.array([np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8)]) * np.array(
    [1 / np.sqrt(4 * np.pi), np.sqrt(3 / (4 * np.pi)), 3 * np.sqrt(5 / (12 * np.pi))]
)
"""Of the bands 0, 1 and 2: the cosine's weight times the basis function's."""
_SH_OF_BANDS = _SH[[0, 1, 1, 1, 2, 2, 2, 2, 2]] * [1, 1, 1, 1, 1, 1, 1, 1 / 2, 1 / (2 * np.sqrt(3))]
"""Of the functions of :func:`ostec.render.geometry.harmonics`, in their order."""
AMBIENT = 0.8
"""Added to the first coefficient of each colour."""


@dataclass(frozen=True)
class RegressorCamera:
    """A pinhole camera on the z axis that looks at the origin."""

    focal: float
    """Pixels."""
    size: int
    """Side of the picture in pixels; the principal point is its middle."""
    distance: float
    """Decimetres from the origin."""
    upright: bool
    """The axes before it are ours; or else y points down and z away from the viewer."""

    @property
    def signs(self) -> DoubleArray:
        """[3]: our axes times this are its own."""
        return np.ones(3) if self.upright else np.array((1.0, -1.0, -1.0))


DEEP3D_CAMERA = RegressorCamera(focal=1015.0, size=224, distance=10.0, upright=True)
FACEVERSE_CAMERA = RegressorCamera(focal=1000.0, size=256, distance=10.0, upright=False)


def deep3d_crop(points: FloatArray, width: int, height: int) -> DoubleArray:
    """Where Deep3DFaceRecon cuts its 224 pixels from a photo (``align_img``).

    Args:
        points: [5, 2] photo pixels, in the order of ``FaceBox.points``.
        width: the photo's, in pixels.
        height: the photo's, in pixels.

    Returns:
        [2, 3]: photo pixels (x, y, 1) to crop pixels.
    """
    size = DEEP3D_CAMERA.size
    seen = np.stack([points[:, 0] - 0.5, height - 0.5 - points[:, 1]], axis=1).astype(np.float64)  # y up, from centres
    known = np.column_stack([_FIVE_POINTS, np.ones(5)])
    solved = np.linalg.lstsq(known, seen, rcond=None)[0]  # [4, 2]: rows of a scaled rotation, then the shift
    scale = _CROP_FACTOR / (np.linalg.norm(solved[:3], axis=0).mean())
    across, down = int(width * scale), int(height * scale)
    left = int(across / 2 - size / 2 + (solved[3, 0] - width / 2) * scale)
    up = int(down / 2 - size / 2 + (height / 2 - solved[3, 1]) * scale)
    return np.array([[across / width, 0, -left], [0, down / height, -up]], dtype=np.float64)


def faceverse_crop(landmarks: FloatArray) -> DoubleArray:
    """Where FaceVerse cuts its 256 pixels from a photo (``crop_img``).

    From the centre of the landmarks' box 0.65 of its longer side to the left and right, 0.7 up, 0.6 down.

    Args:
        landmarks: [N, 2] photo pixels.

    Returns:
        [2, 3]: photo pixels (x, y, 1) to crop pixels.

    Raises:
        ValueError: the landmarks' box is smaller than a pixel.
    """
    low, high = landmarks.min(axis=0).astype(np.float64), landmarks.max(axis=0).astype(np.float64)
    length, (x, y) = int((high - low).max()), (low + high) / 2
    if length < 1:
        raise ValueError(f"expected landmarks apart from each other, got a box of {(high - low).tolist()} pixels")
    left, right = int(x - length * 0.65), int(x + length * 0.65)
    top, bottom = int(y - length * 0.7), int(y + length * 0.6)
    across, down = (FACEVERSE_CAMERA.size / side for side in (right - left, bottom - top))
    return np.array([[across, 0, -left * across], [0, down, -top * down]], dtype=np.float64)


def read_shape(network: Regressor, photo: FloatArray, landmarks: FloatArray) -> ModelShape:
    """What a published network reads of a face's shape.

    Args:
        network: Deep3DFaceRecon's or FaceVerse's.
        photo: [H, W, 3] in [0, 1].
        landmarks: [468, >= 2] FaceMesh's, photo pixels.
    """
    if network.layout is DEEP3D:
        crop = deep3d_crop(five_points(landmarks).astype(np.float32), photo.shape[1], photo.shape[0])
    else:
        crop = faceverse_crop(landmarks[:, :2])
    device = next(network.parameters()).device
    with torch.no_grad():
        found = network(cut_out(photo, crop, network.layout.size).to(device))
    return ModelShape(found.identity[0].cpu().numpy(), found.expression[0].cpu().numpy())


def cut_out(photo: FloatArray, crop: DoubleArray, size: int) -> torch.Tensor:
    """Cut a crop [2, 3] that neither turns nor shears out of a photo [H, W, 3]: [1, 3, size, size] in [0, 1].

    By bicubic interpolation with low-pass, as Pillow resizes; black where it leaves the photo.
    """
    (across, _, left), (_, down, top) = crop
    x, y = round(-left / across), round(-top / down)
    width, height = max(1, round(size / across)), max(1, round(size / down))
    whole = torch.from_numpy(photo).permute(2, 0, 1)[None]
    padding = (max(0, -x), max(0, x + width - photo.shape[1]), max(0, -y), max(0, y + height - photo.shape[0]))
    padded = functional.pad(whole, padding)
    part = padded[..., max(0, y) : max(0, y) + height, max(0, x) : max(0, x) + width]
    return functional.interpolate(part, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)


def euler_matrix(angles: DoubleArray) -> DoubleArray:
    """R = Rz Ry Rx, [3, 3], of angles about x, y and z in radians, [3]; p' = R p."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: DoubleArray = rz @ ry @ rx
    return turned


def project_model(
    camera: RegressorCamera, vertices: FloatArray, mm_per_unit: float, angles: DoubleArray, translation: DoubleArray
) -> DoubleArray:
    """Draw a model's vertices where the network says that they are.

    Deep3DFaceRecon's own figures of landmarks, ``223 - y``, count from pixels' centres; here, as in its rendering, the
    principal point is the crop's middle.

    Args:
        camera: of the network.
        vertices: [V, 3] in the model's unit and our axes.
        mm_per_unit: that unit.
        angles: [3] radians, as the network gives them.
        translation: [3] decimetres, as the network gives them.

    Returns:
        [V, 3]: x and y in the crop's pixels (y down), and the distance from the camera in decimetres.
    """
    posed = to_published(camera, vertices, mm_per_unit) @ euler_matrix(angles).T + translation
    depth = camera.distance - posed[:, 2] if camera.upright else camera.distance + posed[:, 2]
    flat = camera.focal * posed[:, :2] / depth[:, None]
    rows = -flat[:, 1] if camera.upright else flat[:, 1]
    return np.stack([flat[:, 0] + camera.size / 2, rows + camera.size / 2, depth], axis=1)


def to_published(camera: RegressorCamera, vertices: FloatArray, mm_per_unit: float) -> DoubleArray:
    """A model's vertices [V, 3] in decimetres and in the axes before the camera."""
    return vertices.astype(np.float64) * (mm_per_unit / _MM_PER_DECIMETRE) * camera.signs


def harmonics(normals: DoubleArray) -> DoubleArray:
    """The nine functions of light, [V, 9]: 1, -y, z, -x, xy, -yz, 3z^2 - 1, -xz, x^2 - y^2, each with its weight.

    Args:
        normals: [V, 3] of unit length, in the posed axes before the camera.
    """
    one, x, y, z, xy, xz, yz, xx_yy, zz = (_SH_OF_BANDS * basis(normals)).T
    return np.stack([one, -y, z, -x, xy, -yz, zz, -xz, xx_yy], axis=1)


def shade(albedo: FloatArray, normals: DoubleArray, light: DoubleArray) -> DoubleArray:
    """Colours [V, 3] of vertices under a network's light, not clipped.

    Args:
        albedo: [V, 3] in [0, 1].
        normals: [V, 3] of unit length, in the posed axes before the camera.
        light: [9, 3] of ``Coefficients.light``.
    """
    ambient = np.zeros((9, 3))
    ambient[0] = AMBIENT
    return albedo * (harmonics(normals) @ (light + ambient))


def turn_eyes(model: MorphableModel, vertices: FloatArray, identity: FloatArray, eyes: DoubleArray) -> FloatArray:
    """Turn FaceVerse's eyeballs about their centres.

    Args:
        model: FaceVerse, in our axes.
        vertices: [V, 3] of that model.
        identity: [K] its coefficients, for the centres are those of the face without expression.
        eyes: [4] radians: the head's left eye about x and y, then its right eye, in the network's axes.

    Returns:
        [V, 3].

    Raises:
        ValueError: the model has no such parts.
    """
    if not {"eye_left", "eye_right"} <= model.parts.keys():
        raise ValueError(f"{model.name} has no eyeballs of their own")
    neutral, turned = model.shape(identity, np.zeros(0, np.float32)), vertices.copy()
    for part, (about_x, about_y) in (("eye_right", eyes[:2]), ("eye_left", eyes[2:])):  # the head's left is our right
        ids = np.unique(model.triangles[model.parts[part]])
        centre = neutral[ids].mean(axis=0)
        rotation = euler_matrix(np.array((about_x, -about_y, 0.0)))  # y and z change their signs between the axes
        turned[ids] = (vertices[ids] - centre) @ rotation.T + centre
    return turned
