"""UV-IDM's flow for one photo (scripts/visualize.py of its release): what is seen in UV, sampling, colours.

``--published`` repeats what look like slips: the photo is read half a pixel beside the projection, and the ear on the
image's left stays. The parsing sees the photo resized by nearest neighbours and without ImageNet's mean and deviation
in either case, for the network was trained on what comes of that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import Array, FloatArray
from ostec.fit.regress import cut_out, deep3d_crop
from ostec.load.uv_idm import UvIdmLayout, UvIdmModels
from ostec.nets.parsing import SIZE as PARSED_SIZE
from ostec.nets.parsing import BiSeNet, FacePart
from ostec.nets.uv_idm import LATENT, SIZE
from ostec.pipeline.settings import UvIdmSettings
from ostec.render.crops import five_points
from ostec.render.harmonics import from_published, scattered_light

_FOCAL, _CENTRE, _DISTANCE, _CROP = 1015.0, 112.0, 10.0, 224
"""Of Deep3DFaceRecon's camera, in pixels of its crop and decimetres."""
_FACING = 0.1
"""Least cosine of a vertex that is seen."""
_TAKEN_OUT = (
    FacePart.BACKGROUND,
    FacePart.GLASSES,
    FacePart.EAR_LEFT,
    FacePart.EAR_RIGHT,
    FacePart.EAR_RING,
    FacePart.CLOTH,
    FacePart.HAIR,
    FacePart.HAT,
)
_YUV = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FittedModel:
    """The Basel Face Model of V vertices as Deep3DFaceRecon's network reads it from a photo."""

    vertices: FloatArray
    """[V, 3] decimetres, without the pose."""
    pixels: FloatArray
    """[V, 2] where they are in the photo."""
    normals: FloatArray
    """[V, 3] unit, without the pose."""
    facing: FloatArray
    """[V]: cosine of the angle between normal and the viewer's direction."""
    colours: FloatArray
    """[V, 3] in [0, 1]: the model's, lit as in the photo on the front and without light elsewhere."""


@dataclass(frozen=True)
class UvIdmResult:
    """What comes of one photo; textures are [256, 256, 3] in [0, 1]."""

    condition: FloatArray
    """What the photo shows; black where nothing is seen."""
    texture: FloatArray
    """As the networks draw it."""
    matched: FloatArray
    """With the colours of the model's own texture in the photo's light."""
    fitted: FittedModel


class UvIdmMaker:
    """Photos to textures in the Basel Face Model's layout."""

    def __init__(self, models: UvIdmModels, settings: UvIdmSettings) -> None:
        """Take what was loaded."""
        self.models, self.settings = models, settings
        self._random = torch.Generator().manual_seed(settings.seed)

    def __call__(
        self, photo: FloatArray, landmarks: FloatArray, on_step: Callable[[int], None] = lambda _: None
    ) -> UvIdmResult:
        """Make the texture of a face.

        Args:
            photo: [H, W, 3] in [0, 1].
            landmarks: [468, >= 2] FaceMesh's, photo pixels.
            on_step: called with the number of steps done.
        """
        settings, layout = self.settings, self.models.layout
        fitted = fit_model(self.models, photo, landmarks)
        parsed = parse_face(self.models.parsing, photo, settings.published)
        condition = condition_of(layout, fitted, photo, parsed, settings.published)
        if not settings.seed_once:
            self._random.manual_seed(settings.seed)
        device = self.models.network.scale_factor.device
        planes = torch.from_numpy(condition * 2 - 1).permute(2, 0, 1)[None].to(device)

        def draw() -> torch.Tensor:
            return torch.randn((1, *LATENT), generator=self._random).to(device)

        made = self.models.network.sample(planes, draw, settings.ddim_steps, settings.ddim_eta, on_step)
        texture = made[0].permute(1, 2, 0).cpu().numpy()
        return UvIdmResult(condition, texture, match_colours(layout, texture, fitted.colours), fitted)


@torch.no_grad()
def fit_model(models: UvIdmModels, photo: FloatArray, landmarks: FloatArray) -> FittedModel:
    """What Deep3DFaceRecon's network reads from a photo [H, W, 3], as the model's vertices."""
    layout = models.layout
    crop = deep3d_crop(five_points(landmarks).astype(np.float32), photo.shape[1], photo.shape[0])
    device = next(models.regressor.parameters()).device
    found = models.regressor.read(cut_out(photo, crop, _CROP).to(device))
    code = {name: values[0].cpu().numpy().astype(np.float64) for name, values in found.items()}
    vertices = layout.mean + layout.identity @ code["identity"] + layout.expression @ code["expression"]
    turn = _rotation(code["angles"])
    placed = vertices @ turn + code["translation"]
    depth = _DISTANCE - placed[:, 2:]
    seen = placed[:, :2] * _FOCAL / depth + _CENTRE  # of pixels' centres, y up
    in_crop = np.column_stack([seen[:, 0] + 0.5, _CROP - 0.5 - seen[:, 1]])
    pixels = (in_crop - crop[:, 2]) / np.array([crop[0, 0], crop[1, 1]])
    normals = _normals(layout, vertices)
    turned = normals @ turn
    colours = layout.colour + layout.colours @ code["albedo"]
    light = np.clip(scattered_light(from_published(code["light"], channels_first=True), turned), 0, None)
    colours[layout.front] *= light[layout.front]
    return FittedModel(
        vertices.astype(np.float32),
        pixels.astype(np.float32),
        normals.astype(np.float32),
        turned[:, 2].astype(np.float32),
        np.clip(colours / 255, 0, 1).astype(np.float32),
    )


def _rotation(angles: Array) -> Array:
    """(Rz Ry Rx) transposed, of radians about x, y and z: rows are turned by it from the right."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray((z @ y @ x).T)


def _normals(layout: UvIdmLayout, vertices: Array) -> Array:
    """[V, 3]: sums of the triangles' unit normals, outwards: those of the front face the viewer on the whole."""
    a, b, c = (vertices[layout.triangles[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, layout.triangles[:, k], flat)
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return total if total[layout.front, 2].sum() >= 0 else -total


@torch.no_grad()
def parse_face(network: BiSeNet, photo: FloatArray, published: bool) -> FloatArray:
    """[H, W]: 1 where a photo [H, W, 3] shows the face; neck, ears where they slip, and all else of the head stay."""
    device = next(network.parameters()).device
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None].to(device)
    small = functional.interpolate(planes, size=(PARSED_SIZE, PARSED_SIZE), mode="nearest")
    mean, deviation = (small.new_tensor(x)[:, None, None] for x in (_MEAN, _DEVIATION))
    scores = network(small * deviation + mean)  # the network's own normalisation cancels
    part = functional.interpolate(scores, size=photo.shape[:2], mode="nearest").argmax(1)[0].cpu().numpy()
    out = [kind for kind in _TAKEN_OUT if not (published and kind is FacePart.EAR_RIGHT)]
    return (~np.isin(part, out)).astype(np.float32)


def condition_of(
    layout: UvIdmLayout, fitted: FittedModel, photo: FloatArray, parsed: FloatArray, published: bool
) -> FloatArray:
    """[256, 256, 3] in [0, 1]: what a photo [H, W, 3] shows in UV, black where nothing is seen."""
    height, width = parsed.shape
    low, high = (0.5, 0.5), (width - 0.5, height - 0.5)
    place = np.clip(_at_texels(layout, np.clip(fitted.pixels, low, high)), low, high)
    if published:
        place = place - 0.5
        grid = place / np.array([width // 2, height // 2]) - 1
    else:
        grid = 2 * place / np.array([width, height]) - 1
    planes = torch.from_numpy(np.dstack([photo, parsed])).permute(2, 0, 1)[None].float()
    sampled = functional.grid_sample(planes, torch.from_numpy(grid[None].astype(np.float32)), align_corners=False)
    read = sampled[0].permute(1, 2, 0).clamp(0, 1).numpy()
    facing = _at_texels(layout, (fitted.facing[:, None] > _FACING).astype(np.float32)) > 0.5
    seen = facing & layout.inside[..., None]
    return np.asarray(read[..., :3] * read[..., 3:] * seen, np.float32)


def _at_texels(layout: UvIdmLayout, values: FloatArray) -> FloatArray:
    """Values of vertices [V, C] at texels [256, 256, C]."""
    return np.asarray((values[layout.corners] * layout.shares[..., None]).sum(2), np.float32)


def match_colours(layout: UvIdmLayout, texture: FloatArray, colours: FloatArray) -> FloatArray:
    """A texture [256, 256, 3] with the mean and deviation of vertices' colours [V, 3], by channel of YUV.

    Both are taken where all corners of a texel are of the front; the release has a mask for that in its repository.
    """
    of_front = np.zeros(len(layout.mean), bool)
    of_front[layout.front] = True
    where = of_front[layout.corners].all(-1) & layout.inside
    wanted = _at_texels(layout, colours)[where] @ _YUV.T
    yuv = texture.astype(np.float64) @ _YUV.T
    given = yuv[where]
    scale = wanted.std(0) / np.maximum(given.std(0), 1e-6)
    matched = ((yuv - given.mean(0)) * scale + wanted.mean(0)) @ np.linalg.inv(_YUV).T
    return np.clip(matched, 0, 1).astype(np.float32)


def front_colours(layout: UvIdmLayout, texture: FloatArray) -> FloatArray:
    """Colours [F, 3] of the front's vertices, read from a texture [256, 256, 3] as the release does."""
    place = layout.front_uv * (SIZE - 1)
    grid = np.column_stack([place[:, 0], SIZE - 1 - place[:, 1]]) / (SIZE - 1) * 2 - 1
    planes = torch.from_numpy(texture).permute(2, 0, 1)[None]
    read = functional.grid_sample(planes, torch.from_numpy(grid[None, None].astype(np.float32)), align_corners=True)
    return np.asarray(read[0, :, 0].T.numpy(), np.float32)
