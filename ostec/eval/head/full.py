"""A full head held against the textured head that its input shows, beside the default mesh of the same completion.

Both are drawn at the other poses as the default mesh is, and judged on the pixels that both cover:
``_both_own`` on the geometry fitted to the input, ``_both`` on that fitted to the true picture. What only the full head
covers of jaw and forehead is ``_beyond_own``. Each has its ``coverage``, the share of a region's pixels that it covers,
and its ``surface``, the true head's area in cm² behind these pixels, for two regions of the true head in the picture:

* **jaw**: below the lower lip, above the plane through the chin and both corners of the jaw, lowered by
  ``BELOW_JAW_MM`` to take in its underside, and before the ears;
* **forehead**: skin above the brows and before the ears, at most as high above them as the base of the nose is below
  them (the canon of the face's thirds, which puts the hairline there).

Lip, chin, corners of the jaw, ears, brows and nose are FaceMesh's landmarks, put onto the true head.
Skin is told from hair by its colour in the true picture. Regions are taken without their outermost pixels, for the
outline of two fits never quite agrees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from ostec.core.types import BoolArray, FloatArray, TexturedFace, Topology
from ostec.eval.head.scores import Target
from ostec.eval.head.truth import UvTruth, camera_of
from ostec.eval.report.drawing import BACKGROUND, SEEN_COSINE, DrawnMesh, HeadView, draw_surface
from ostec.eval.report.record import OSTEC
from ostec.eval.scores import psnr, ssim
from ostec.heads import parts as full
from ostec.heads.maker import HeadMaker
from ostec.render.geometry import Camera

BELOW_JAW_MM = 10.0
LIP, CHIN, NOSE_BASE = 17, 152, 2
"""FaceMesh ids: lower edge of the lower lip, lowest point of the chin, where nose and upper lip meet."""
JAW_CORNERS, EARS, BROWS = (172, 397), (234, 454), (105, 334)
"""FaceMesh ids on both sides: corners of the jaw, cheeks just before the ears, tops of the brows."""
SKIN_DISTANCE = 0.3
"""Distance in RGB from the face's median colour up to which a pixel of the unlit head is skin."""
RIM_PX = 2
"""Pixels that a region loses at its border."""


@dataclass(frozen=True)
class HeadRegions:
    """Where jaw and forehead of one head are, in its canonical frame; lengths in millimetres."""

    lip: float
    """Height of the lower lip's lower edge."""
    jaw: FloatArray
    """[4]: (n, d) with n . p > d above the lowered plane of the jaw."""
    ears: float
    """z of the plane just before the ears."""
    brows: float
    """Height of the tops of the brows."""
    hairline: float
    """Height of the forehead's upper end."""
    skin: FloatArray
    """[3] median colour."""

    def of(self, view: HeadView) -> dict[str, BoolArray]:
        """The regions [H, W] in a picture of the head, whose unlit version it must hold."""
        point = view.position.numpy()
        x_y_z = np.moveaxis(point, -1, 0)
        front = view.hit.numpy() & (x_y_z[2] > self.ears)
        skin = np.linalg.norm(view.images["unlit"] - self.skin, axis=-1) < SKIN_DISTANCE
        found = {
            "jaw": front & (x_y_z[1] < self.lip) & (point @ self.jaw[:3] > self.jaw[3]),
            "forehead": front & skin & (x_y_z[1] > self.brows) & (x_y_z[1] < self.hairline),
        }
        return {name: np.asarray(ndimage.binary_erosion(mask, iterations=RIM_PX)) for name, mask in found.items()}


def find_regions(truth: UvTruth, topology: Topology) -> HeadRegions:
    """The regions of the head whose truth this is, by the landmarks of the layout."""
    rows, columns = np.nonzero(truth.valid)
    texels = (np.stack([columns, len(truth.valid) - 1 - rows], axis=1) + 0.5) / len(truth.valid)

    def at(*ids: int) -> FloatArray:
        """[N, 3]: the points of the head at the texels with a truth that are nearest to landmarks."""
        nearest = cKDTree(texels).query(topology.uv[list(ids)])[1]
        return np.asarray(truth.position[rows[nearest], columns[nearest]], np.float32)

    (left, right), (chin,) = at(*JAW_CORNERS), at(CHIN)
    normal = np.cross(right - left, chin - left)
    normal = normal / np.linalg.norm(normal) * (1 if normal[1] > 0 else -1)
    brows, nose = float(at(*BROWS)[:, 1].mean()), float(at(NOSE_BASE)[0, 1])
    return HeadRegions(
        lip=float(at(LIP)[0, 1]),
        jaw=np.append(normal, normal @ chin - BELOW_JAW_MM).astype(np.float32),
        ears=float(at(*EARS)[:, 2].mean()),
        brows=brows,
        hairline=2 * brows - nose,
        skin=np.median(truth.textures["unlit"][truth.skin], axis=0).astype(np.float32),
    )


@dataclass(frozen=True)
class DrawnHead:
    """A full head in front of a camera."""

    picture: FloatArray
    """[H, W, 3], before grey."""
    covered: BoolArray
    """[H, W]: the head fills the pixel."""


def draw_full_head(head: full.Head, camera: Camera) -> DrawnHead:
    """Draw all parts of a head with their textures or colours, unlit."""
    textures = [part.texture for part in head.parts if part.texture is not None]
    width, height = sum(t.shape[1] for t in textures), max((len(t) for t in textures), default=1)
    atlas = np.zeros((height, max(width, 1), 3), np.float32)
    points, triangles, values = [], [], []
    start = first = 0
    for part in head.parts:
        uv = np.zeros((len(part.vertices), 2))
        colour = np.broadcast_to(part.colour, (len(part.vertices), 3))
        if part.texture is not None:
            rows, columns = part.texture.shape[:2]
            atlas[:rows, start : start + columns] = part.texture
            # Half a texel within its tile, lest its neighbour shows.
            x = np.clip(part.uv[:, 0] * columns, 0.5, columns - 0.5) + start
            y = np.clip((1 - part.uv[:, 1]) * rows, 0.5, rows - 0.5)
            uv, start = np.stack([x / width, 1 - y / height], axis=1), start + columns
        elif part.vertex_colours is not None:
            colour = colour * part.vertex_colours
        values.append(np.c_[uv, colour, np.full(len(uv), part.texture is not None)])
        points.append(part.vertices)
        triangles.append(part.triangles + first)
        first += len(part.vertices)
    drawn = draw_surface(
        torch.from_numpy(np.concatenate(points)),
        torch.from_numpy(np.concatenate(triangles).astype(np.int32)),
        torch.from_numpy(np.concatenate(values).astype(np.float32)),
        camera,
    )
    plain, textured = drawn.values[..., 2:5], drawn.values[..., 5:]
    shown = drawn.pooled(drawn.colours(torch.from_numpy(atlas)) * textured + plain * (1 - textured))
    return DrawnHead((shown + BACKGROUND * (1 - drawn.share)).astype(np.float32), drawn.covered)


@dataclass(frozen=True)
class Judged:
    """One completion at one target: default mesh and full head."""

    figures: Mapping[str, dict[str, float]]
    """Method -> figures."""
    picture: FloatArray
    """[H, W, 3]: the full head."""


class FullHeadJudge:
    """Makes full heads of completions and compares them with the true one."""

    def __init__(self, maker: HeadMaker, regions: HeadRegions) -> None:
        self.maker, self.regions = maker, regions
        self.method = f"{OSTEC} {maker.model.name}"
        """How the full head's rows are called."""

    def judge(self, made: TexturedFace, head: full.Head, target: Target, own: DrawnMesh, light: str) -> Judged:
        """Judge a completion and the head made of it; ``own`` is the completion's default mesh at the target."""
        view, texture, camera = target.view, made.completed.colour, camera_of(target.fit)
        true = view.images[light]
        there = draw_full_head(head, camera)
        warped = draw_full_head(self.maker(replace(made, face=target.fit)), camera)
        figures: dict[str, dict[str, float]] = {OSTEC: {}, self.method: {}}
        for ending, mesh, other in (("both", target.mesh, warped), ("both_own", own, there)):
            both = target.face(mesh) & other.covered
            figures[OSTEC] |= _alike(mesh.draw(texture), true, both, ending)
            figures[self.method] |= _alike(other.picture, true, both, ending)
        masks = self.regions.of(view)
        beyond = np.logical_or.reduce(list(masks.values())) & there.covered & ~own.covered
        figures[self.method] |= _alike(there.picture, true, beyond, "beyond_own")
        area = pixel_area(view)
        for method, covered in ((OSTEC, own.covered), (self.method, there.covered)):
            for name, mask in masks.items():
                share = float(covered[mask].mean()) if mask.any() else float("nan")
                figures[method][f"coverage_{name}_own"] = share
                figures[method][f"surface_{name}_own"] = float(area[covered & mask].sum())
        return Judged(figures, there.picture)


def _alike(picture: FloatArray, true: FloatArray, mask: BoolArray, ending: str) -> dict[str, float]:
    return {f"psnr_{ending}": psnr(picture, true, mask), f"ssim_{ending}": ssim(picture, true, mask, mask)}


def pixel_area(view: HeadView) -> FloatArray:
    """[H, W]: area in cm² of the surface behind each pixel, at most that at a cosine of ``SEEN_COSINE``."""
    cosine = (view.normal @ view.camera.rotation[2]).clamp(min=SEEN_COSINE).numpy()
    return np.asarray(view.millimetres**2 / 100 / cosine, np.float32)
