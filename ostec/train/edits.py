"""Editing directions of a generator from its own samples: draw, measure, regress."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.errors import FaceError, OstecError
from ostec.core.types import DoubleArray, FloatArray
from ostec.nets.stylegan2 import Generator
from ostec.pipeline.editing import AttributeReader
from ostec.project.edit import ATTRIBUTES, LatentEdits, fit_edits

LEAST_SAMPLES = 50
"""Of faces that could be measured."""


@dataclass(frozen=True)
class MeasuredSamples:
    """N latents of a generator and what their pictures show."""

    latents: FloatArray
    """[N, W]."""
    attributes: DoubleArray
    """[N, A]."""
    dropped: int
    """Pictures without a face."""


def measure_samples(
    generator: Generator, reader: AttributeReader, count: int, seed: int, on_sample: Callable[[int], None]
) -> MeasuredSamples:
    """Draw ``count`` latents by seed and measure their pictures.

    Raises:
        OstecError: too few show a face.
    """
    latents, attributes = [], []
    for number in range(count):
        z = np.random.RandomState(seed + number).randn(1, generator.shape.z_dim).astype(np.float32)
        with torch.no_grad():
            ws = generator.mapping(torch.from_numpy(z))
            picture = generator.synthesis(ws)[0]
        try:
            measured = reader.read((picture.permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy())
        except FaceError:
            continue
        latents.append(ws[0, 0].numpy())
        attributes.append(measured)
        on_sample(number + 1)
    if len(latents) < LEAST_SAMPLES:
        raise OstecError(
            f"Only {len(latents)} of {count} pictures of the generator show a face; no edit can be fitted."
        )
    return MeasuredSamples(np.stack(latents), np.stack(attributes), count - len(latents))


def fit_and_judge(samples: MeasuredSamples) -> tuple[LatentEdits, dict[str, float]]:
    """The edits of all samples, and how much of each attribute's variance W tells on the last fifth of them."""
    edits = fit_edits(samples.latents, samples.attributes)
    held = len(samples.latents) // 5
    told = _explained(samples.latents, samples.attributes, held)
    return edits, dict(zip(ATTRIBUTES, told, strict=True))


def _explained(latents: FloatArray, attributes: DoubleArray, held: int) -> list[float]:
    """Coefficients of determination of the linear regression of the attributes on W, on the last ``held`` samples."""
    known, new = slice(0, -held), slice(-held, None)
    mean, centre = latents[known].mean(0), attributes[known].mean(0)
    x, y = latents[known] - mean, attributes[known] - centre
    hold = 0.02 * float((x**2).sum(0).mean()) * np.eye(x.shape[1])
    weights = np.linalg.solve(x.T @ x + hold, x.T @ y)
    error = attributes[new] - centre - (latents[new] - mean) @ weights
    spread = attributes[new] - attributes[new].mean(0)
    return [round(float(v), 3) for v in 1 - (error**2).sum(0) / np.maximum((spread**2).sum(0), 1e-9)]
