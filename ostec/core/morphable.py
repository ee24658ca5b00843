"""Morphable models of heads: one record for all of them, whatever file they came from.

The shape of a head is ``mean + identity @ a + expression @ b``, its colours ``albedo_mean + albedo @ c``. Axes, winding
and UV origin are those of :mod:`ostec.core.types`; left and right are the image's; the unit stays the model's own.
"""

from dataclasses import dataclass, field

import numpy as np

from ostec.core.types import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class Joints:
    """The J joints of a head of V vertices, each after the one that it hangs on, and what follows them."""

    names: tuple[str, ...]
    """``Neck``, ``Head``, ``Jaw``, ``LeftEye``, ``RightEye`` (the head's left), as tools for avatars spell them."""
    places: FloatArray
    """[J, 3] model units, of the mean head; no joint is turned."""
    parents: IntArray
    """[J]: the joint that each one hangs on; -1 for the first."""
    weights: FloatArray
    """[V, J]: how much each vertex follows each joint; rows sum to one."""


@dataclass(frozen=True)
class MorphableModel:
    """A morphable model of V vertices, F triangles and T texture coordinates, as its reader found it."""

    name: str
    """That of ``--face-model``: ``ict``, ``flame``, ..."""
    licence: str
    """Short; shown when the model is first used."""
    mm_per_unit: float
    """Length of the model's unit."""
    mean: FloatArray
    """[V, 3] model units; x to the image's right, y up, z towards the viewer."""
    identity: FloatArray
    """[V, 3, K]: offsets per standard deviation of each coefficient."""
    expression: FloatArray
    """[V, 3, E]: offsets per unit of each coefficient."""
    expression_range: tuple[float, float]
    """What an expression's coefficient may be: (0, 1) for blend shapes, (-3, 3) for components."""
    triangles: IntArray
    """[F, 3], 0-based, counter-clockwise seen from outside."""
    landmarks: dict[str, IntArray]
    """Vertex ids by name of the set: ``ibug68``, ``mediapipe478``, ..."""
    parts: dict[str, IntArray]
    """Triangle ids by name: ``face``, ``head``, ``eye_left`` (on the image's left), ``teeth_upper``, ... A part may lie
    within another (``iris_left`` in ``eye_left``)."""
    sha256: str
    """Of the source files' content; 64 hexadecimal digits."""
    expression_names: tuple[str, ...] = ()
    """E names, ARKit's where they are its blend shapes (``_L`` or ``Left``); empty where they are components."""
    unseen: tuple[str, ...] = ()
    """Those of the expressions that landmarks do not show (where the eyes look, the tongue): zero in every fit."""
    uv: FloatArray = field(default_factory=lambda: np.empty((0, 2), np.float32))
    """[T, 2], v up; [0, 2] where the model has none. Parts may lie in tiles of their own, u above 1."""
    triangles_uv: IntArray = field(default_factory=lambda: np.empty((0, 3), np.int32))
    """[F, 3] into ``uv``; [0, 3] where there are none."""
    face_layout: str = ""
    """Name of the topology whose layout the part ``face`` has: a finished texture is its texture as it is."""
    albedo_mean: FloatArray | None = None
    """[V, 3] RGB in [0, 1] as stored (sRGB), or None."""
    albedo: FloatArray | None = None
    """[V, 3, A]: colours per standard deviation of each coefficient, or None."""
    notes: tuple[str, ...] = ()
    """What was missing or had to be assumed, one sentence each."""
    hollow_eyes: bool = False
    """The eyes are holes in the skin that no part fills."""
    joints: Joints | None = None
    """The model's own; where it has none, :mod:`ostec.heads.rig` finds some."""
    polygons: IntArray | None = None
    """[F]: the polygon that each triangle is of; those of one follow each other as a fan round its first corner."""

    def shape(self, identity: FloatArray, expression: FloatArray) -> FloatArray:
        """The head [V, 3], in model units, of the first coefficients of each kind; the others are zero.

        Identities [K'] are in standard deviations. Raises ValueError if there are more coefficients than the model has.
        """
        changed = self.mean + _offsets(self.identity, identity, "identity")
        return changed + _offsets(self.expression, expression, "expression")

    def colours(self, albedo: FloatArray) -> FloatArray:
        """The colours [V, 3] RGB, mostly in [0, 1], not clipped, of the first coefficients [A'] (standard deviations).

        Raises ValueError if the model has no colours, or fewer coefficients.
        """
        if self.albedo_mean is None or self.albedo is None:
            raise ValueError(f"{self.name} has no colours")
        return self.albedo_mean + _offsets(self.albedo, albedo, "albedo")


@dataclass(frozen=True)
class LandmarkResponse:
    """How a landmark network's N points answer to ARKit's 52 expressions and to the pose, learnt from drawn heads.

    The landmarks in the head's own frame, less those at rest, are J e + B f + noise of covariance S, where e are the
    expressions and f features of the pose. What a fit needs of that are J' inv(S), J' inv(S) J and J' inv(S) B.
    """

    project: DoubleArray
    """[52, 3 N]: J' inv(S), per millimetre."""
    gram: DoubleArray
    """[52, 52]: J' inv(S) J."""
    pose: DoubleArray
    """[52, F]: J' inv(S) B."""
    correction: DoubleArray
    """[3, F]: what is to be added to the pose found (pitch, yaw, roll in degrees)."""


@dataclass(frozen=True)
class ModelShape:
    """Coefficients of a morphable model for one face."""

    identity: FloatArray
    """[K] standard deviations."""
    expression: FloatArray
    """[E]."""


def _offsets(basis: FloatArray, coefficients: FloatArray, what: str) -> FloatArray:
    values = np.asarray(coefficients, dtype=np.float32)
    if values.ndim != 1 or len(values) > basis.shape[2]:
        raise ValueError(f"expected up to {basis.shape[2]} {what} coefficients, got the shape {values.shape}")
    offsets: FloatArray = basis[:, :, : len(values)] @ values
    return offsets
