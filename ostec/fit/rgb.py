"""RGB fitting: texture, shape, expression, pose and light of one face together, by differentiable rendering.

The joint stage of FFHQ-UV's fitting (Bai et al., FFHQ-UV, CVPR 2023, section 4.2), with its losses, weights and steps;
the camera here is scaled-orthographic, and light is computed linearly. Gradients arise inside triangles, by barycentric
coordinates; the silhouette, which jumps from one pixel to the next, gives none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from ostec.core.morphable import ModelShape
from ostec.core.types import DoubleArray, FloatArray, IntArray
from ostec.fit.settings import RgbFitSettings
from ostec.render.colour import srgb_tensor
from ostec.render.geometry import Camera, vertex_normals
from ostec.render.harmonics import harmonics_tensor
from ostec.render.rasterize import interpolate, rasterize, sample_texture

IBUG68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
"""FaceMesh ids of the 68 landmarks of iBUG."""
_HEAVY = (28, 29, 30, *range(60, 68))
"""Those on the bridge of the nose and on the inner lips, which weigh 20 times as much as the others."""
PUBLISHED_SIDE = 224
"""Pixels across FFHQ-UV's crop, in which landmarks are compared."""
_UNIT = 101.5
"""Pixels of that crop that a unit of translation is: focal length over distance."""


class TextureDecoder(Protocol):
    """Makes an evenly lit texture of a few numbers."""

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Latent -> [1, S, S, 3] linear RGB; differentiable."""

    def unlikely(self, latent: torch.Tensor) -> torch.Tensor:
        """How far the latent is from what faces have: a number to be kept low; differentiable."""

    def plain(self, latent: FloatArray) -> FloatArray:
        """The latent without what is one face's own but its tone."""

    def texture(self, latent: FloatArray) -> FloatArray:
        """Latent -> [S, S, 3] sRGB in [0, 1]."""


@dataclass(frozen=True)
class LinearFace:
    """The face's mesh of V vertices, F triangles as a morphable model moves it, in the canonical frame."""

    base: FloatArray
    """[V, 3] millimetres, of the coefficients ``at``."""
    at: ModelShape
    identity: FloatArray
    """[V, 3, K] millimetres per standard deviation."""
    expression: FloatArray
    """[V, 3, E] millimetres per unit."""
    triangles: IntArray
    """[F, 3]."""
    uv: FloatArray
    """[V, 2] in the decoder's layout, v up."""
    shadow: FloatArray
    """[V]: factor of the light where the face is in its own shadow."""

    def vertices(self, shape: ModelShape) -> FloatArray:
        """[V, 3] of other coefficients."""
        moved = self.base + self.identity @ (shape.identity - self.at.identity)
        return np.asarray(moved + self.expression @ (shape.expression - self.at.expression), np.float32)


@dataclass(frozen=True)
class FaceState:
    """What is fitted."""

    identity: FloatArray
    """[K] standard deviations."""
    expression: FloatArray
    """[E] within the model's range."""
    rotation: DoubleArray
    """[3, 3] canonical to camera axes."""
    scale: float
    """Pixels per millimetre."""
    centre: DoubleArray
    """[2]: pixel of the canonical origin."""
    harmonics: FloatArray
    """[9, 3] of the scattered light, in the canonical frame."""
    latent: FloatArray
    """Of the decoder."""

    @property
    def shape(self) -> ModelShape:
        """The coefficients."""
        return ModelShape(self.identity, self.expression)


@dataclass(frozen=True)
class FaceTarget:
    """What the face is fitted to; R is the side of the picture."""

    picture: FloatArray
    """[R, R, 3] in [0, 1]."""
    weight: FloatArray
    """[R, R] in [0, 1]: where the picture shows bare face."""
    landmarks: FloatArray
    """[468, 2] pixels."""
    identity: Callable[[torch.Tensor], torch.Tensor] | None = None
    """Pictures [1, 3, R, R] in [-1, 1] -> [1]: 1 - cosine to who the picture shows; None without a recogniser."""


@dataclass(frozen=True)
class RgbFit:
    """What the joint fit found."""

    state: FaceState
    losses: dict[str, tuple[float, ...]]
    """Weighted terms and their ``total``, one value a step."""


@dataclass(frozen=True)
class DrawnFace:
    """A render of R x R pixels."""

    picture: torch.Tensor
    """[R, R, 3] sRGB."""
    hit: torch.Tensor
    """[R, R, 1] bool."""
    points: torch.Tensor
    """[V, 2] pixels."""


class _Free(torch.nn.Module):
    """The free numbers, each in the unit in which its rate is published."""

    def __init__(self, start: FaceState, high: float) -> None:
        super().__init__()
        self.start, self.high = start, high
        self.identity = torch.nn.Parameter(torch.tensor(start.identity))
        self.expression = torch.nn.Parameter(torch.tensor(start.expression) / high)
        self.turn = torch.nn.Parameter(torch.zeros(3))
        self.move = torch.nn.Parameter(torch.zeros(3))
        self.harmonics = torch.nn.Parameter(torch.tensor(start.harmonics))
        self.latent = torch.nn.Parameter(torch.tensor(start.latent))

    def camera(self, side: int) -> Camera:
        """The camera of a picture of ``side`` pixels."""
        rotation = torch.linalg.matrix_exp(_skew(self.turn)) @ torch.tensor(self.start.rotation, dtype=torch.float32)
        scale = self.start.scale * torch.exp(self.move[2] / 10)
        centre = torch.tensor(self.start.centre, dtype=torch.float32) + self.move[:2] * (_UNIT * side / PUBLISHED_SIDE)
        last = torch.tensor([[0.0, 0, 0, 1]])
        across = torch.stack([rotation[0], -rotation[1]]) * scale
        return Camera(torch.cat([torch.cat([across, centre[:, None]], dim=1), last]), rotation)

    def state(self, side: int) -> FaceState:
        """As a record."""
        with torch.no_grad():
            camera = self.camera(side)
            return FaceState(
                self.identity.numpy().copy(),
                (self.expression * self.high).numpy(),
                camera.rotation.double().numpy(),
                float(camera.matrix[0, :3].norm()),
                camera.matrix[:2, 3].double().numpy(),
                self.harmonics.numpy().copy(),
                self.latent.numpy().copy(),
            )


class RgbFitter:
    """Fits one face; what depends on neither step nor start is computed once."""

    def __init__(
        self,
        face: LinearFace,
        target: FaceTarget,
        decoder: TextureDecoder,
        expression_range: tuple[float, float],
        settings: RgbFitSettings | None = None,
        nearest: bool = False,
    ) -> None:
        """Prepare the fit of a face to a target; ``nearest``: look texels up as FFHQ-UV does, without interpolation."""
        self.face, self.target, self.decoder = face, target, decoder
        self.settings, self.nearest = settings or RgbFitSettings(), nearest
        self._low, self._high = expression_range
        self._unit = self.settings.expression_deviation * self._high
        self._side = len(target.picture)
        self._picture, self._weight = torch.tensor(target.picture), torch.tensor(target.weight)[..., None]
        self._uv, self._shadow = torch.tensor(face.uv), torch.tensor(face.shadow)[:, None]
        self._base, self._triangles = torch.tensor(face.base), torch.tensor(face.triangles)
        self._identity, self._expression = torch.tensor(face.identity), torch.tensor(face.expression)
        self._marks = torch.tensor(target.landmarks[list(IBUG68)], dtype=torch.float32)
        heavy = torch.ones(len(IBUG68))
        heavy[list(_HEAVY)] = self.settings.heavy_landmarks
        self._heavy = heavy / len(heavy)
        self._said = torch.zeros(())

    def fit(self, start: FaceState, on_step: Callable[[float], None] = lambda _: None) -> RgbFit:
        """Fit from a start; ``on_step`` is told the share of the steps that are done."""
        settings = self.settings
        free = _Free(start, self._unit)
        slow = settings.rate * settings.slow
        groups = [
            {"params": [free.identity, free.expression], "lr": settings.rate},
            {"params": [free.turn, free.move, free.harmonics], "lr": slow},
            {"params": [free.latent], "lr": settings.rate * settings.texture_rate},
        ]
        adam = torch.optim.Adam(groups, betas=(0.9, 0.999))
        ramp = torch.optim.lr_scheduler.LambdaLR(adam, self._ramp)
        history: dict[str, list[float]] = {}
        for step in range(settings.steps):
            terms = self._terms(free, step)
            total = torch.stack(list(terms.values())).sum()
            for name, value in (*terms.items(), ("total", total)):
                history.setdefault(name, []).append(float(value.detach()))
            adam.zero_grad()
            total.backward()
            adam.step()
            ramp.step()
            with torch.no_grad():
                free.expression.clamp_(self._low / self._unit, self._high / self._unit)
            on_step((step + 1) / settings.steps)
        return RgbFit(free.state(self._side), {name: tuple(values) for name, values in history.items()})

    def draw(self, state: FaceState) -> DrawnFace:
        """The render of a state."""
        with torch.no_grad():
            return self._draw(_Free(state, self._unit))

    def errors(self, state: FaceState, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of another latent, in which they are differentiable: colours and identity, 0 without a recogniser."""
        free = _Free(state, self._unit).requires_grad_(False)
        drawn = self._draw(free, latent)
        weight = self._weight * drawn.hit
        colour = ((drawn.picture - self._picture).abs() * weight).sum() / weight.sum().clamp(min=1.0)
        if self.target.identity is None:
            return colour, torch.zeros(())
        return colour, self.target.identity(self._pasted(drawn)).sum()

    def _ramp(self, step: int) -> float:
        """Constant, then down to zero by half a cosine over the last part of the steps."""
        rest = self.settings.falling
        share = (step / self.settings.steps - (1 - rest)) / rest
        return 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))

    def _draw(self, free: _Free, latent: torch.Tensor | None = None) -> DrawnFace:
        at = self.face.at
        vertices = self._base + self._identity @ (free.identity - torch.tensor(at.identity))
        vertices = vertices + self._expression @ (free.expression * self._unit - torch.tensor(at.expression))
        camera, size = free.camera(self._side), (self._side, self._side)
        raster = rasterize(camera.clip(vertices, size)[None], self._triangles, size).flip(1)
        light = harmonics_tensor(vertex_normals(vertices, self._triangles)) @ free.harmonics * self._shadow
        drawn = interpolate(torch.cat([self._uv, light], dim=1)[None], raster, self._triangles)
        uv = drawn[..., :2]
        texture = self.decoder.decode(free.latent if latent is None else latent)
        albedo = _nearest(texture, uv) if self.nearest else sample_texture(texture, uv)
        picture = srgb_tensor(albedo * drawn[..., 2:].clamp(min=self.settings.least_light))[0]
        return DrawnFace(picture, raster[0, ..., 3:] > 0, camera.project(vertices)[0])

    def _terms(self, free: _Free, step: int) -> dict[str, torch.Tensor]:
        """Weighted losses."""
        settings, drawn = self.settings, self._draw(free)
        weight = self._weight * drawn.hit
        error = (drawn.picture - self._picture).abs().sum(-1, keepdim=True)
        away = (drawn.points[list(IBUG68)] - self._marks) * (PUBLISHED_SIDE / self._side)
        tint = free.harmonics - free.harmonics.mean(1, keepdim=True)
        terms = {
            "colour": settings.colour * (error * weight).sum() / weight.sum().clamp(min=1.0),
            "landmarks": settings.landmarks * (self._heavy * (away**2).sum(1)).sum(),
            "shape": settings.shape * (free.identity**2).sum(),
            "expression": settings.expression * (free.expression**2).sum(),
            "texture": settings.texture * self.decoder.unlikely(free.latent),
            "grey_light": settings.grey_light * (tint**2).mean(),
        }
        if self.target.identity is not None and settings.identity > 0:
            terms["identity"] = self._identity_term(drawn, step)
        return terms

    def _pasted(self, drawn: DrawnFace) -> torch.Tensor:
        """The render on the picture, [1, 3, R, R] in [-1, 1]."""
        return torch.where(drawn.hit, drawn.picture, self._picture).permute(2, 0, 1)[None] * 2 - 1

    def _identity_term(self, drawn: DrawnFace, step: int) -> torch.Tensor:
        """Its value counts once, its gradient as often as it is left out."""
        every = self.settings.identity_every
        if step % every == 0:
            assert self.target.identity is not None
            value = self.settings.identity * self.target.identity(self._pasted(drawn)).sum()
            self._said = value.detach()
            return value + (every - 1) * (value - self._said)
        return self._said


def _nearest(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """The texel [1, H, W, 3] at each place; no gradient reaches the place."""
    grid = torch.stack([uv[..., 0] * 2 - 1, 1 - uv[..., 1] * 2], dim=-1).detach()
    found = functional.grid_sample(texture.permute(0, 3, 1, 2), grid, mode="nearest", align_corners=False)
    return found.permute(0, 2, 3, 1)


def _skew(turn: torch.Tensor) -> torch.Tensor:
    x, y, z = turn.unbind()
    none = torch.zeros_like(x)
    return torch.stack([none, -z, y, z, none, -x, -y, x, none]).reshape(3, 3)
