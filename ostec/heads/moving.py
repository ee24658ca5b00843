"""A rigged head in motion: its shape for given expressions and turned joints, and pictures of it."""

from collections.abc import Mapping

import numpy as np
import torch

from ostec.core.types import Array, DoubleArray, FloatArray
from ostec.heads.parts import Head
from ostec.render.geometry import Camera
from ostec.render.rasterize import rasterize, sample_texture


class MovingHead:
    """One head; holds what is computed once. Parts that are not the model's are left out."""

    def __init__(self, head: Head) -> None:
        """Prepare. Raises ValueError for a head without a rig."""
        if head.rig is None:
            raise ValueError("expected a head with a rig")
        self.rig = head.rig
        self.triangles = np.concatenate([part.ids[part.triangles] for part in head.parts if part.ids is not None])
        """[F, 3] of the model's vertices."""
        self._offsets = np.ascontiguousarray(head.rig.offsets.reshape(-1, len(head.rig.targets)))
        self._parts = [part for part in head.parts if part.ids is not None]
        ids, triangles, uv, start = [], [], [], 0
        for part in self._parts:
            ids.append(part.ids)
            triangles.append(part.triangles + start)
            uv.append(part.uv if len(part.uv) else np.zeros((len(part.vertices), 2), np.float32))
            start += len(part.vertices)
        self._ids = np.concatenate([one for one in ids if one is not None])
        self._triangles = torch.from_numpy(np.concatenate(triangles).astype(np.int32))
        self._uv = torch.from_numpy(np.concatenate(uv).astype(np.float32))
        counts = [len(part.triangles) for part in self._parts]
        self._of = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        self._pictures = [None if p.texture is None else torch.from_numpy(p.texture)[None] for p in self._parts]
        self._colours = torch.tensor([part.colour for part in self._parts])

    def shape(self, values: FloatArray, turns: Mapping[str, DoubleArray] | None = None) -> FloatArray:
        """The model's vertices [V, 3], canonical millimetres.

        Args:
            values: [K] of the rig's expressions.
            turns: rotation [3, 3] of joints by name, each about its own place; what hangs on one follows it.
        """
        rig = self.rig
        points: FloatArray = rig.neutral + (self._offsets @ values.astype(np.float32)).reshape(-1, 3)
        if not turns:
            return points
        joints = rig.joints
        matrices: list[tuple[DoubleArray, DoubleArray]] = []
        moved = np.zeros_like(points)
        for k, name in enumerate(joints.names):
            turn = np.asarray(turns.get(name, np.eye(3)))
            about = joints.places[k] - turn @ joints.places[k]
            if joints.parents[k] >= 0:
                outer, shift = matrices[joints.parents[k]]
                turn, about = outer @ turn, outer @ about + shift
            matrices.append((turn, about))
            rows = np.flatnonzero(joints.weights[:, k])
            moved[rows] += joints.weights[rows, k, None] * (points[rows] @ turn.T + about).astype(np.float32)
        return moved

    def draw(self, points: FloatArray, camera: Camera, size: tuple[int, int]) -> tuple[FloatArray, Array]:
        """Draw the head unlit.

        Args:
            points: [V, 3] of :meth:`shape`.
            camera: that sees it, in pixels of the picture.
            size: height and width.

        Returns:
            Picture [H, W, 3] in [0, 1], black where the head is not, and [H, W] where it is.
        """
        clip = camera.clip(torch.from_numpy(points[self._ids]), size)
        raster = rasterize(clip[None], self._triangles, size)[0].flip(0)
        hit = raster[..., 3] > 0
        chosen = raster[hit]
        triangle = chosen[:, 3].long() - 1
        weights = torch.stack([chosen[:, 0], chosen[:, 1], 1 - chosen[:, 0] - chosen[:, 1]], dim=1)[..., None]
        uv = (self._uv[self._triangles[triangle].long()] * weights).sum(1)
        of = self._of[triangle]
        colours = self._colours[of]
        for k, picture in enumerate(self._pictures):
            if picture is not None:
                rows = (of == k).nonzero()[:, 0]
                if len(rows):
                    colours[rows] *= sample_texture(picture, uv[rows][None, None])[0, 0]
        image = torch.zeros(*size, 3)
        image[hit] = colours
        return image.numpy(), hit.numpy()
