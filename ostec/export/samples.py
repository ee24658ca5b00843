"""Several completions of one face: their textures, a map of where they differ, and a page to compare them."""

from pathlib import Path

import numpy as np

from ostec.core.types import ByteArray, FloatArray, TexturedFace
from ostec.export.pictures import FaceRenderer
from ostec.export.templates import render
from ostec.export.viewer import jpeg_url
from ostec.io.files import write_atomic
from ostec.io.images import at_most, write_png

WHITE = 0.2
"""Standard deviation of a texel's colour that NAME_uncertainty.png shows as white."""
_SIDE = 384
_YAWS_DEG = (-40.0, 0.0, 40.0)


def write_samples(directory: Path, name: str, result: TexturedFace, samples: ByteArray) -> list[Path]:
    """Write ``NAME_sample_1.png`` and so on, ``NAME_uncertainty.png`` and ``NAME_samples.html``.

    Args:
        directory: of the result.
        name: of the result.
        result: the face with its completion.
        samples: [N, S, S, 3] other completions.

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    for number, sample in enumerate(samples, 1):
        written.append(directory / f"{name}_sample_{number}.png")
        write_png(written[-1], sample.astype(np.float32) / 255)
    spread = uncertainty(samples)
    shown = np.repeat(np.clip(spread / WHITE, 0, 1)[..., None], 3, axis=2)
    written.append(directory / f"{name}_uncertainty.png")
    write_png(written[-1], shown)
    written.append(directory / f"{name}_samples.html")
    write_atomic(written[-1], _page(name, result, samples, shown))
    return written


def uncertainty(samples: ByteArray) -> FloatArray:
    """Standard deviation [S, S] of samples [N, S, S, 3], in colours from 0 to 1: root of the channels' mean square."""
    total = np.zeros(samples.shape[1:], np.float32)
    mean = samples.mean(0, dtype=np.float32)
    for sample in samples:
        total += (sample - mean) ** 2
    return np.asarray(np.sqrt(total.mean(-1) / (len(samples) - 1)) / 255, np.float32)


def _page(name: str, result: TexturedFace, samples: ByteArray, spread: FloatArray) -> bytes:
    renderer = FaceRenderer(result.topology)
    textures = [result.completed.colour, *(sample.astype(np.float32) / 255 for sample in samples)]
    rows = []
    for number, texture in enumerate(textures):
        views = [renderer.portrait(result.face, texture, (0.0, yaw), _SIDE) for yaw in _YAWS_DEG]
        title = f"{name}_sample_{number}.png" if number else f"{name}.png"
        flat = at_most(texture, _SIDE)
        rows.append(
            [{"title": title, "source": jpeg_url(flat)}, *({"title": "", "source": jpeg_url(v)} for v in views)]
        )
    page = {"title": "Where they differ", "source": jpeg_url(at_most(spread, _SIDE))}
    return render("samples.html.j2", title=f"{name}: completions", rows=rows, spread=page, white=WHITE)
