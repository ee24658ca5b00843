"""One head for several pictures: a shared identity, and for each picture its own expression and pose.

Landmark networks see x and y and guess the depth, the more so the further a face is turned. Expectation maximisation
with the depth as missing data: in each round a landmark's depth is mostly what the shared head says, the similarity of
each picture and the coefficients follow from that in closed form. What the model cannot say of the person is one
displacement per landmark, by what all pictures show across their views.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import lsq_linear

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import BoolArray, DoubleArray, FittedFace, FloatArray, Topology
from ostec.fit.dense import weighted_similarity
from ostec.fit.settings import JointFitSettings
from ostec.fit.symmetry import FACING
from ostec.render.geometry import smoothstep, vertex_normals

_TO_CAMERA = np.array([1.0, -1.0, -1.0])
"""Photo frame to camera axes, and back."""


@dataclass(frozen=True)
class JointFit:
    """What several pictures of one person have in common."""

    depths: tuple[FloatArray, ...]
    """[N] pixels, away from the viewer, per picture: the landmarks' depth as the shared head has it."""
    identity: FloatArray
    """[K] in standard deviations."""
    errors_mm: tuple[float, ...]
    """Per picture: how far its landmarks lie from the shared head, across the view."""


@dataclass
class _Picture:
    """One picture on its way; P landmarks in units of the model after ``placed`` is undone."""

    seen: DoubleArray
    """[N, 3] camera axes, pixels."""
    trust: DoubleArray
    """[N]."""
    expression: DoubleArray
    """[E]."""
    scale: float = 1.0
    rotation: DoubleArray | None = None
    offset: DoubleArray | None = None

    def place(self, points: DoubleArray) -> DoubleArray:
        """[N, 3] model units to camera axes."""
        assert self.rotation is not None
        assert self.offset is not None
        return np.asarray(self.scale * points @ self.rotation.T + self.offset)

    def lift(self, points: DoubleArray, depth: float) -> DoubleArray:
        """The landmarks in camera axes, their depth that of the shared head but for the share ``depth``."""
        if self.rotation is None:
            return self.seen
        lifted = self.seen.copy()
        head = self.place(points)[:, 2]
        own = self.seen[:, 2] - np.average(self.seen[:, 2] - head, weights=self.trust)
        lifted[:, 2] = head + depth * (own - head)
        return lifted


class JointFitter:
    """Fits one model's identity to the landmarks of several pictures."""

    def __init__(
        self, model: MorphableModel, correspondence: Correspondence, settings: JointFitSettings | None = None
    ) -> None:
        """Take what of the model the landmarks show."""
        self.settings = settings or JointFitSettings()
        self._trust = correspondence.trust.astype(np.float64)
        self._mean = correspondence.points(model.mean) * model.mm_per_unit
        self._identity = correspondence.points(model.identity) * model.mm_per_unit
        self._expression = correspondence.points(model.expression) * model.mm_per_unit
        self._shown: BoolArray = np.array([name not in model.unseen for name in model.expression_names], bool)
        self._range = model.expression_range

    def fit(self, faces: Sequence[FittedFace], topology: Topology) -> JointFit:
        """The shared head; it does not depend on the order of the pictures but for the last digits.

        Args:
            faces: one per picture.
            topology: of their meshes.
        """
        pictures = [
            _Picture(
                face.landmarks.astype(np.float64) * _TO_CAMERA,
                self._trust * _facing(face, topology),
                np.zeros(self._expression.shape[2]),
            )
            for face in faces
        ]
        identity, moved = np.zeros(self._identity.shape[2]), np.zeros_like(self._mean)
        for _ in range(self.settings.iterations):
            identity = self._round(pictures, identity)
        moved = self._displacements(pictures, identity)
        depths, errors = [], []
        for one in pictures:
            points = self._shape(identity, one.expression) + moved
            depths.append((-one.place(points)[:, 2]).astype(np.float32))
            apart = np.linalg.norm((one.place(points - moved) - one.seen)[:, :2], axis=1) / one.scale
            errors.append(float(np.average(apart, weights=one.trust)))
        return JointFit(tuple(depths), identity.astype(np.float32), tuple(errors))

    def _shape(self, identity: DoubleArray, expression: DoubleArray) -> DoubleArray:
        return np.asarray(self._mean + self._identity @ identity + self._expression @ expression)

    def _round(self, pictures: Sequence[_Picture], identity: DoubleArray) -> DoubleArray:
        """Pose and expression of each picture, then the identity [K] of all."""
        settings, count = self.settings, len(identity)
        normal, right = np.eye(count), np.zeros(count)
        for one in pictures:
            points = self._shape(identity, one.expression)
            target, weight = one.lift(points, settings.depth_share), one.trust
            if one.rotation is not None:
                apart = np.linalg.norm((one.place(points) - one.seen)[:, :2], axis=1) / one.scale
                weight = weight / (1 + (apart / settings.robust_mm) ** 2)
            one.scale, one.rotation, one.offset = weighted_similarity(points, target, weight)
            wanted = (target - one.offset) @ one.rotation / one.scale - self._mean  # [N, 3] model axes
            precision = weight / settings.noise_mm**2
            one.expression = self._expressions(wanted - self._identity @ identity, precision)
            basis = self._identity * precision[:, None, None]
            normal += np.einsum("nik,nil->kl", basis, self._identity, optimize=True)
            right += np.einsum("nik,ni->k", basis, wanted - self._expression @ one.expression)
        return np.asarray(np.linalg.solve(normal, right))

    def _expressions(self, wanted: DoubleArray, precision: DoubleArray) -> DoubleArray:
        """[E] within the model's range, the most probable for displacements [N, 3]."""
        settings, (low, high) = self.settings, self._range
        found = np.zeros(self._expression.shape[2])
        basis = self._expression[..., self._shown] if len(self._shown) else self._expression
        if not basis.shape[2]:
            return found
        rows = (basis * np.sqrt(precision)[:, None, None]).reshape(-1, basis.shape[2])
        values = (wanted * np.sqrt(precision)[:, None]).ravel()
        factor = np.linalg.cholesky(rows.T @ rows + np.eye(rows.shape[1]) / (settings.expression_deviation * high) ** 2)
        cost = settings.expression_sparsity / high if low == 0 else 0.0
        moved = np.linalg.solve(factor, rows.T @ values - cost)
        solved = lsq_linear(factor.T, moved, (low, high), method="bvls", tol=1e-4).x
        found[self._shown if len(self._shown) else slice(None)] = solved
        return found

    def _displacements(self, pictures: Sequence[_Picture], identity: DoubleArray) -> DoubleArray:
        """[N, 3] in millimetres: what all pictures show of each landmark beyond the model, across their views."""
        count = len(self._mean)
        normal = np.broadcast_to(np.eye(3) * self.settings.displacement_prior, (count, 3, 3)).copy()
        right = np.zeros((count, 3))
        across = np.diag([1.0, 1.0, 0.0])
        for one in pictures:
            assert one.rotation is not None
            left = (one.seen - one.place(self._shape(identity, one.expression))) / one.scale
            weight = one.trust / (1 + (np.linalg.norm(left[:, :2], axis=1) / self.settings.robust_mm) ** 2)
            turned = one.rotation.T @ across
            normal += weight[:, None, None] * (turned @ one.rotation)
            right += weight[:, None] * (left @ turned.T)
        return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0])


def _facing(face: FittedFace, topology: Topology) -> DoubleArray:
    """[N]: how surely a landmark is seen rather than guessed; little is left where it is turned away."""
    normals = vertex_normals(torch.as_tensor(face.vertices), torch.as_tensor(topology.triangles)).numpy()
    towards = (normals[: len(face.landmarks)] @ face.rotation.T)[:, 2]
    return np.asarray(0.02 + 0.98 * smoothstep(towards, *FACING), np.float64)
