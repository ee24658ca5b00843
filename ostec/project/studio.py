"""Which views are projected, how they are drawn for a generator, and how its pictures come back to UV."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import (
    EYES,
    MOUTH_CORNERS,
    VIEW_POSES_DEG,
    FittedFace,
    FloatArray,
    GeneratedView,
    Provenance,
    Topology,
    ViewFrame,
)
from ostec.project.invert import ProjectionTarget
from ostec.render.geometry import Camera, centred_camera, portrait_camera
from ostec.render.uv import UvLayout, render_textured, view_surface

_OVERSAMPLE = 4


@dataclass(frozen=True)
class View:
    """A pose at which the face is projected."""

    pose_deg: tuple[float, float]
    """Pitch, yaw."""
    provenance: Provenance
    weight: float
    """Of the view where several see a texel."""

    @property
    def name(self) -> str:
        """As in file names: ``bottom_left``."""
        return self.provenance.name.lower()


FRONT = View(VIEW_POSES_DEG[Provenance.FRONT], Provenance.FRONT, 2.0)
TURNED = (
    View(VIEW_POSES_DEG[Provenance.BOTTOM], Provenance.BOTTOM, 1.3),
    View(VIEW_POSES_DEG[Provenance.BOTTOM_LEFT], Provenance.BOTTOM_LEFT, 1.0),
    View(VIEW_POSES_DEG[Provenance.BOTTOM_RIGHT], Provenance.BOTTOM_RIGHT, 1.0),
    View(VIEW_POSES_DEG[Provenance.LEFT], Provenance.LEFT, 1.0),
    View(VIEW_POSES_DEG[Provenance.RIGHT], Provenance.RIGHT, 1.0),
)
"""OSTeC's views in its order, named after the side of the image that they reveal."""


TURNED_WAVES = (TURNED[:1], TURNED[1:3], TURNED[3:])
"""The turned views in groups that are projected at once: mirror images of each other."""


def waves_of(mode: str, schedule: str) -> tuple[tuple[View, ...], ...]:
    """The views of a mode in groups; those of one group do not see each other.

    Raises:
        ValueError: the mode is neither soft nor hard, or the schedule neither progressive nor waves.
    """
    if schedule not in ("progressive", "waves"):
        raise ValueError(f"expected progressive or waves, got {schedule!r}")
    views = views_of(mode)
    if schedule == "progressive":
        return tuple((view,) for view in views)
    return (*((view,) for view in views if view not in TURNED), *TURNED_WAVES)


def views_of(mode: str) -> tuple[View, ...]:
    """The views of a mode, in order: soft keeps the photo's front, hard draws it as well."""
    if mode not in ("soft", "hard"):
        raise ValueError(f"expected soft or hard, got {mode!r}")
    return TURNED if mode == "soft" else (FRONT, *TURNED)


class ViewStudio:
    """Draws one face for a generator as its training faces were drawn, and reads the generator's pictures back."""

    def __init__(
        self,
        topology: Topology,
        face: FittedFace,
        frame: ViewFrame,
        resolution: int,
        layout_at: Callable[[int], UvLayout],
        device: torch.device | str = "cpu",
    ) -> None:
        """Set up.

        Args:
            topology: of the face.
            face: whose views are drawn.
            frame: of the generator.
            resolution: side of the generator's pictures.
            layout_at: gives the topology's chart baked at a number of texels, on ``device``.
            device: where to draw.
        """
        self.frame, self.resolution, self.layout_at = frame, resolution, layout_at
        self.device = torch.device(device)
        mean = topology.operator @ topology.mean_landmarks
        self._vertices = torch.as_tensor((face.vertices if frame.own_shape else mean).astype(np.float32), device=device)
        points = face.vertices[: len(face.landmarks)] if frame.own_shape else topology.mean_landmarks
        self._points = torch.as_tensor(points.astype(np.float32), device=device)
        self._eyes = np.stack([points[list(pair)].mean(0) for pair in EYES]).astype(np.float64)
        self._mouth = points[list(MOUTH_CORNERS)].mean(0).astype(np.float64)

    def camera(self, pose_deg: tuple[float, float], size: int) -> Camera:
        """The camera of a view, for a picture of ``size`` pixels."""
        if self.frame.ffhq_crop:
            return portrait_camera(self._eyes, self._mouth, pose_deg, size, self.device)
        return centred_camera(pose_deg, self.frame.centre_mm, self.frame.span_mm, size, self.device)

    def landmarks(self, view: View) -> FloatArray:
        """Where the face's dense landmarks lie in a view's picture: [468, 2] pixels."""
        pixels, _ = self.camera(view.pose_deg, self.resolution).project(self._points)
        return pixels.cpu().numpy()

    def draw(self, texture: FloatArray, trust: FloatArray, view: View) -> ProjectionTarget:
        """Render the texture so far.

        Args:
            texture: [S, S, 3] in [0, 1], without holes.
            trust: [S, S] in [0, 1]: seen by the photo or owned by an earlier view.
            view: the pose.

        Returns:
            A batch of one. The ground is trusted where the generator's training faces stood on plain ground.
        """
        planes = np.dstack([texture, trust]).astype(np.float32)
        size = self.resolution
        drawn = render_textured(
            self._vertices,
            self.layout_at(len(texture)),
            torch.as_tensor(planes, device=self.device),
            self.camera(view.pose_deg, size),
            (size, size),
            _OVERSAMPLE,
        )
        rest = 1 - drawn.coverage[..., None]
        image = (drawn.colour[..., :3] + rest * self.frame.ground) * 2 - 1
        plain = rest if not self.frame.ffhq_crop else torch.zeros_like(rest)
        trusted = drawn.colour[..., 3:] + plain
        guessed = drawn.coverage[..., None] - drawn.colour[..., 3:]
        image, trusted, guessed = (x.permute(2, 0, 1)[None].contiguous() for x in (image, trusted, guessed))
        return ProjectionTarget(image, trusted.clamp(0, 1), guessed.clamp(0, 1))

    def read(self, picture: torch.Tensor, view: View, size: int) -> GeneratedView:
        """Bring a picture [3, R, R] in [-1, 1] to ``size`` texels, by cubic interpolation."""
        camera = self.camera(view.pose_deg, self.resolution)
        seen = view_surface(self._vertices, camera, self.layout_at(size), fold_mm=math.inf)
        grid = seen.pixel / self.resolution * 2 - 1
        colour = functional.grid_sample(
            picture[None] / 2 + 0.5, grid[None], mode="bicubic", padding_mode="border", align_corners=False
        )[0].permute(1, 2, 0)
        within = (grid.abs() <= 1).all(-1)
        visible = seen.visible & within
        return GeneratedView(
            provenance=view.provenance,
            weight=view.weight,
            colour=(colour.clamp(0, 1) * visible[..., None]).cpu().numpy(),
            cosine=seen.cosine.cpu().numpy(),
            visible=visible.cpu().numpy(),
            margin_mm=seen.margin_mm.cpu().numpy(),
        )
