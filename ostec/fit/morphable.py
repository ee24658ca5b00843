"""A morphable head to dense landmarks: coefficients under priors, a similarity, a smooth residual that fades out.

1. Robust least squares for identity, expression and similarity in turn (Cauchy weights; expressions in their range).
2. What the model cannot say is carried over as displacements of the skin, as smooth as the landmarks allow (a screened
   biharmonic field, Botsch and Sorkine, On linear variational surface deformation methods, 2008), which ends beyond
   the face. Eyes, teeth and gums move along, each piece as a whole.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.optimize import lsq_linear
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ostec.core.correspondence import Correspondence
from ostec.core.errors import FaceError
from ostec.core.morphable import ModelShape, MorphableModel
from ostec.core.types import DoubleArray, FloatArray, IntArray
from ostec.fit.dense import weighted_similarity
from ostec.fit.settings import MorphableFitSettings
from ostec.render.surface import cotangent_laplacian

SKIN = ("face", "head", "mouth_socket", "eye_socket_left", "eye_socket_right")
"""Parts that make up a model's one surface of skin; a model that has none of them is skin altogether."""
JAWS = ("gums", "teeth", "teeth_upper", "teeth_lower")
"""Parts that move together with what the model cannot say."""


@dataclass(frozen=True)
class FittedHead:
    """A morphable model's head in the canonical frame."""

    vertices: FloatArray
    """[V, 3] canonical millimetres: coefficients and residual."""
    modelled: FloatArray
    """[V, 3] canonical millimetres: coefficients alone."""
    identity: FloatArray
    """[K] in standard deviations."""
    expression: FloatArray
    """[E] within the model's range."""
    scale: float
    """Canonical millimetres per model unit."""
    rotation: DoubleArray
    """[3, 3]: model to canonical axes."""
    offset: DoubleArray
    """[3] canonical millimetres."""
    error_mm: float
    """Mean distance of the landmarks from ``modelled``, weighted by their trust."""


@dataclass(frozen=True)
class LandmarkModel:
    """The N landmarks of a fitted head and how they move with its coefficients, in canonical millimetres."""

    points: DoubleArray
    """[N, 3] of the coefficients alone."""
    identity: DoubleArray
    """[N, 3, K] per standard deviation."""
    expression: DoubleArray
    """[N, 3, E] per unit; zero where landmarks do not show it."""


@dataclass(frozen=True)
class _Solved:
    """What the turns of a fit lead to."""

    values: DoubleArray
    """[K + E]."""
    scale: float
    rotation: DoubleArray
    offset: DoubleArray
    error: DoubleArray
    """[N] millimetres."""
    weight: DoubleArray
    """[N]."""


class HeadFitter:
    """Fits one model to landmarks; holds what is computed once."""

    def __init__(
        self, model: MorphableModel, correspondence: Correspondence, settings: MorphableFitSettings | None = None
    ) -> None:
        """Prepare the bases at the landmarks and the field of the residual.

        Raises:
            ValueError: the correspondence was made for a mesh of another number of vertices.
        """
        if correspondence.vertex_count != len(model.mean):
            raise ValueError(
                f"expected a correspondence for {len(model.mean)} vertices, got one for {correspondence.vertex_count}"
            )
        self.model, self.correspondence = model, correspondence
        self.settings = settings or MorphableFitSettings()
        self._mean = correspondence.points(model.mean)  # [N, 3]
        seen = [name not in model.unseen for name in model.expression_names] or 1.0
        self._basis = np.concatenate(  # [N, 3, K + E]
            [correspondence.points(model.identity), correspondence.points(model.expression) * seen], axis=2
        )
        self._residual = _ResidualField(model, correspondence, self.settings)

    def fit(self, landmarks: FloatArray, shape: ModelShape | None = None) -> FittedHead:
        """Fit the model.

        Args:
            landmarks: [N, 3] canonical millimetres.
            shape: coefficients that somebody else found, a network for one; only the pose and the residual are fitted.

        Raises:
            FaceError: the landmarks are not finite.
            ValueError: the model has another number of coefficients than ``shape``.
        """
        target, placed = np.asarray(landmarks, np.float64), self._solve(landmarks, shape)
        values, scale, rotation, offset = placed.values, placed.scale, placed.rotation, placed.offset
        trust, error, weight = self.correspondence.trust.astype(np.float64), placed.error, placed.weight
        count = self.model.identity.shape[2]
        identity, expression = values[:count].astype(np.float32), values[count:].astype(np.float32)
        modelled = scale * self.model.shape(identity, expression).astype(np.float64) @ rotation.T + offset
        left = (target - self.correspondence.points(modelled)) * (weight / np.maximum(trust, 1e-9))[:, None]
        vertices = modelled + self.spread(left)
        return FittedHead(
            vertices=vertices.astype(np.float32),
            modelled=modelled.astype(np.float32),
            identity=identity,
            expression=expression,
            scale=scale,
            rotation=rotation,
            offset=offset,
            error_mm=float((trust * error).sum() / trust.sum()),
        )

    def coefficients(self, landmarks: FloatArray) -> ModelShape:
        """The coefficients alone that :meth:`fit` finds, which cost a fraction. Raises FaceError as that."""
        values, count = self._solve(landmarks, None).values.astype(np.float32), self.model.identity.shape[2]
        return ModelShape(values[:count], values[count:])

    def _solve(self, landmarks: FloatArray, shape: ModelShape | None) -> _Solved:
        """Similarity, coefficients and weights in turns."""
        target = np.asarray(landmarks, np.float64)
        if target.shape != self._mean.shape:
            raise ValueError(f"expected landmarks {self._mean.shape}, got {target.shape}")
        if not np.isfinite(target).all():
            raise FaceError("The landmarks of the face are degenerate, so no head can be fitted.")
        trust = self.correspondence.trust.astype(np.float64)
        weight = trust
        values = np.zeros(self._basis.shape[2]) if shape is None else self._values(shape)
        for _ in range(self.settings.iterations):
            points = self._mean + self._basis @ values
            scale, rotation, offset = weighted_similarity(points, target, weight)
            if shape is None:
                values = self._coefficients(scale, rotation, offset, target, weight)
            error = np.linalg.norm(self._placed(values, scale, rotation, offset) - target, axis=1)
            weight = trust / (1 + (error / self.settings.robust_mm) ** 2)
        return _Solved(values, scale, rotation, offset, error, weight)

    def landmark_model(self, fitted: FittedHead) -> LandmarkModel:
        """The landmarks of a fitted head as a linear model."""
        values = np.concatenate([fitted.identity, fitted.expression]).astype(np.float64)
        points = self._placed(values, fitted.scale, fitted.rotation, fitted.offset)
        basis = fitted.scale * np.einsum("ij,njk->nik", fitted.rotation, self._basis)
        count = len(fitted.identity)
        return LandmarkModel(points, basis[..., :count], basis[..., count:])

    def spread(self, displacements: DoubleArray) -> DoubleArray:
        """Displacements of the landmarks [N, 3] in millimetres as those of all vertices, [V, 3]: smooth, fading out."""
        return self._residual.spread(displacements)

    def _values(self, shape: ModelShape) -> DoubleArray:
        wanted = self.model.identity.shape[2], self.model.expression.shape[2]
        given = len(shape.identity), len(shape.expression)
        if given != wanted:
            raise ValueError(f"expected {wanted} coefficients for {self.model.name}, got {given}")
        return np.concatenate([shape.identity, shape.expression]).astype(np.float64)

    def _placed(self, values: DoubleArray, scale: float, rotation: DoubleArray, offset: DoubleArray) -> DoubleArray:
        return np.asarray(scale * (self._mean + self._basis @ values) @ rotation.T + offset)

    def _coefficients(
        self, scale: float, rotation: DoubleArray, offset: DoubleArray, target: DoubleArray, weight: DoubleArray
    ) -> DoubleArray:
        """Identity and expression [K + E]: the most probable under the priors, expressions within their range."""
        settings, model = self.settings, self.model
        if not self._basis.shape[2]:  # a mesh without bases
            return np.zeros(0)
        axes = np.sqrt(weight)[:, None] / (settings.noise_mm * np.array([1, 1, settings.depth_noise]))  # [N, 3]
        basis = scale * np.einsum("ij,njk->nik", rotation, self._basis) * axes[..., None]
        right = (target - self._placed(np.zeros(basis.shape[2]), scale, rotation, offset)) * axes
        low, high = model.expression_range
        shapes, faces = model.identity.shape[2], model.expression.shape[2]
        prior = np.concatenate([np.ones(shapes), np.full(faces, 1 / (settings.expression_deviation * high))])
        flat = basis.reshape(-1, basis.shape[2])
        # With the identity eliminated (block Cholesky) only the expressions are left to the bounded solver.
        factor = np.linalg.cholesky(flat.T @ flat + np.diag(prior**2))
        cost = np.zeros(shapes + faces)
        if low == 0:  # then a coefficient is its own size
            cost[shapes:] = settings.expression_sparsity / high
        moved = solve_triangular(factor, flat.T @ right.ravel() - cost, lower=True)
        found = np.zeros(faces)
        if faces:
            found = lsq_linear(factor[shapes:, shapes:].T, moved[shapes:], (low, high), method="bvls", tol=1e-6).x
        left = moved[:shapes] - factor[shapes:, :shapes].T @ found
        return np.concatenate([solve_triangular(factor[:shapes, :shapes], left, trans="T", lower=True), found])


class _ResidualField:
    """Displacements of all vertices from displacements of the landmarks."""

    def __init__(self, model: MorphableModel, correspondence: Correspondence, settings: MorphableFitSettings) -> None:
        self._limit = settings.residual_limit_mm
        count = len(model.mean)
        points = model.mean.astype(np.float64) * model.mm_per_unit
        triangles = skin_triangles(model)
        self._skin = np.unique(triangles)
        number = np.full(count, -1)
        number[self._skin] = np.arange(len(self._skin))
        stiffness, area = cotangent_laplacian(points[self._skin], number[triangles])
        rows = number[correspondence.vertices]
        trust = np.where((rows >= 0).all(1), correspondence.trust, 0).astype(np.float64)
        pick = sparse.csr_matrix(
            (
                (correspondence.weights * (trust[:, None] > 0)).ravel(),
                (np.repeat(np.arange(len(rows)), 3), np.maximum(rows, 0).ravel()),
            ),
            shape=(len(rows), len(self._skin)),
        )
        inverse = sparse.diags(1 / area)
        reach = settings.residual_reach_mm
        smooth = reach**4 * stiffness @ inverse @ stiffness + sparse.diags(area)
        share = reach**2 / 10  # the area that a landmark speaks for
        self._right = pick.T @ sparse.diags(trust * settings.residual_follow * share)
        # Positive definite: without pivots the factor is a tenth as expensive.
        self._solve = splu(
            (smooth + self._right @ pick).tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        self._followers = _followers(model, points, self._skin)

    def spread(self, displacements: DoubleArray) -> DoubleArray:
        """[N, 3] at the landmarks -> [V, 3]."""
        length = np.linalg.norm(displacements, axis=1, keepdims=True)
        limited = displacements * (self._limit / np.maximum(length, self._limit))
        on_skin = self._solve.solve(self._right @ limited)
        return np.asarray(self._followers @ on_skin)


def skin_triangles(model: MorphableModel) -> IntArray:
    """[F', 3]: the triangles of a model's skin."""
    ids = [model.parts[name] for name in SKIN if name in model.parts]
    return model.triangles[np.unique(np.concatenate(ids))] if ids else model.triangles


def _followers(model: MorphableModel, points: DoubleArray, skin: IntArray) -> sparse.csr_matrix:
    """[V, S]: how each vertex moves with the skin's: itself, or as its piece of the mesh, by the skin next to it.

    Teeth and gums are one piece.
    """
    count = len(points)
    edges = model.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    jaws = [model.triangles[model.parts[name]].ravel() for name in JAWS if name in model.parts]
    if jaws:
        members = np.unique(np.concatenate(jaws))
        edges = np.concatenate([edges, np.stack([members[:-1], members[1:]], axis=1)])
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    pieces, label = connected_components(graph, directed=False)
    nearest = cKDTree(points[skin]).query(points)[1]
    rest = np.setdiff1d(np.arange(count), skin)
    near = sparse.csr_matrix((np.ones(len(rest)), (label[rest], nearest[rest])), shape=(pieces, len(skin)))
    size = np.bincount(label[rest], minlength=pieces)
    mean = sparse.diags(1 / np.maximum(size, 1)) @ near
    member = sparse.csr_matrix((np.ones(len(rest)), (rest, label[rest])), shape=(count, pieces))
    own = sparse.csr_matrix((np.ones(len(skin)), (skin, np.arange(len(skin)))), shape=(count, len(skin)))
    return (own + member @ mean).tocsr()
