"""What portraits say of the head model: how wide its identities are, and what they cannot say.

The head is fitted to the landmarks of portraits. The covariance of the coefficients, of mirror-symmetric components and
of the others apart, gives new components with the widths that people have; what is left at the landmarks, with its
mirror image, gives corrections, spread over the skin as smoothly as the landmarks allow.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import DoubleArray, FloatArray, Topology
from ostec.fit.morphable import HeadFitter
from ostec.fit.settings import MorphableFitSettings
from ostec.heads.mouth import close_lips
from ostec.load.morphable.head import Layout, StoredHead, model_of

CORRECTIONS = 40
MOST_YAW_DEG = 20.0
WIDER, NOISE_MM = 1.5, 3.0
"""Fitted with components so much wider and landmarks so sure, for the widths are what is sought."""
SHRUNK = 0.15
"""Share of the widths as drawn in those that are learned."""
SMOOTH_FOLLOW = 30.0
"""How strongly corrections follow landmarks; less than a fit's residual, for they are to be smooth."""


def learned(
    stored: StoredHead, layout: Layout, found: Correspondence, topology: Topology, landmarks: Path
) -> StoredHead:
    """The model with learned widths and corrections; ``landmarks`` is a file of ``tools/head_landmarks.py``."""
    with np.load(landmarks, allow_pickle=False) as archive:
        points = archive["points"][np.abs(archive["yaw_deg"]) < MOST_YAW_DEG]
    model = model_of(stored, layout, "")
    values, left = fitted(model, found, points)
    print(f"{len(points)} portraits; {np.linalg.norm(left, axis=2).mean():.2f} mm left at the landmarks")
    mean, basis, parity = _wider(stored, values)
    shift, corrections, signs = _corrections(stored, layout, model, found, left, topology)
    moved = stored.joint_weights.T @ (mean + shift - stored.mean) / stored.joint_weights.sum(0)[:, None]
    return replace(
        stored,
        mean=mean + shift,
        joint_places=(stored.joint_places + moved).astype(np.float32),
        identity=np.concatenate([basis, corrections], axis=2),
        parity=np.concatenate([parity, signs]).astype(np.int8),
    )


def fitted(model: MorphableModel, found: Correspondence, points: FloatArray) -> tuple[DoubleArray, DoubleArray]:
    """Coefficients [P, K] of portraits, and what is left at their landmarks, [P, N, 3] in the model's frame."""
    settings = MorphableFitSettings(noise_mm=NOISE_MM)
    fitter = HeadFitter(replace(model, identity=model.identity * np.float32(WIDER)), found, settings)
    values, left = [], []
    for one in points:
        closed = close_lips(one)
        head = fitter.fit(closed)
        values.append(head.identity * WIDER)
        left.append((closed - found.points(head.modelled)) @ head.rotation / head.scale)
    return np.array(values, float), np.array(left)


def _wider(stored: StoredHead, values: DoubleArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, components and their parity with the coefficients' own centre and covariance."""
    mean, pieces, parities, sizes = stored.mean.astype(float), [], [], []
    for parity in (1, -1):
        own = np.flatnonzero(stored.parity == parity)
        basis = stored.identity[:, :, own].astype(float)
        if parity > 0:  # a face and its mirror image are as likely
            mean = mean + basis @ values[:, own].mean(0)
            covariance = np.cov(values[:, own].T)
        else:
            covariance = values[:, own].T @ values[:, own] / len(values)
        covariance = (1 - SHRUNK) * covariance + SHRUNK * np.eye(len(own))
        widths, axes = np.linalg.eigh(covariance)
        pieces.append(basis @ (axes * np.sqrt(widths)))
        parities.append(np.full(len(own), parity))
        sizes.append((pieces[-1] ** 2).sum((0, 1)))
    order = np.argsort(-np.concatenate(sizes))
    basis = np.concatenate(pieces, axis=2)[:, :, order]
    return mean.astype(np.float32), basis.astype(np.float32), np.concatenate(parities)[order]


def _corrections(
    stored: StoredHead,
    layout: Layout,
    model: MorphableModel,
    found: Correspondence,
    left: DoubleArray,
    topology: Topology,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shift of the mean [C, 3], corrections [C, 3, R] per standard deviation, and their parity."""
    field = HeadFitter(model, found, MorphableFitSettings(residual_follow=SMOOTH_FOLLOW))
    coarse = _nearest_rows(layout, len(stored.mean))
    flip = np.array([-1.0, 1.0, 1.0])
    pieces: list[tuple[float, DoubleArray, int]] = []
    shift = np.zeros_like(stored.mean, dtype=float)
    for parity in (1, -1):
        part = (left + parity * left[:, topology.mirror_landmarks] * flip) / 2
        if parity > 0:
            shift = field.spread(part.mean(0))[coarse]
            part = part - part.mean(0)
        _, sizes, rows = np.linalg.svd(part.reshape(len(part), -1), full_matrices=False)
        for size, row in zip(sizes[:CORRECTIONS], rows, strict=False):
            deviation = float(size) / np.sqrt(len(part))
            pieces.append((deviation, deviation * row.reshape(-1, 3), parity))
    pieces = sorted(pieces, key=lambda piece: -piece[0])[:CORRECTIONS]
    spread = [(field.spread(points)[coarse], parity) for _, points, parity in pieces]
    mirrored = [(values + parity * values[stored.mirror] * flip) / 2 for values, parity in spread]
    shift = (shift + shift[stored.mirror] * flip) / 2
    signs = np.array([parity for _, parity in spread])
    return shift.astype(np.float32), np.stack(mirrored, axis=2).astype(np.float32), signs


def _nearest_rows(layout: Layout, count: int) -> np.ndarray:
    """[C]: the fine vertex that each coarse one weighs most in."""
    columns = layout.operator.tocsc()
    return np.array(
        [
            columns.indices[s:e][np.argmax(columns.data[s:e])]
            for s, e in zip(columns.indptr[:-1], columns.indptr[1:], strict=True)
        ]
    )[:count]
