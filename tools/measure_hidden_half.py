"""Hide one half of held-out portraits and measure what fills it: the prior alone, and the views of the generator.

    python tools/measure_hidden_half.py PORTRAITS --exclude PHOTOS --count 32 --iterations 50

Portraits that are held out of the training (``ostec.train.portraits.is_held_out``) go through the same stages as a
photo; then everything right of the layout's middle line is taken away (left, for every second portrait) and the
texture is completed. Scored are the hidden texels that the portrait showed well and that lie more than 4 % of the
layout's width from the middle line: PSNR per portrait, and the gradient energy over the true one (1 is right, less is
blurred).
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ostec.core.progress import PhotoRun
from ostec.core.settings import CompleteSettings
from ostec.core.types import BoolArray, FittedFace, FloatArray, UvObservation
from ostec.detect.landmarks import LandmarkSettings, detect_landmarks_batch, whole_image
from ostec.fit.dense import fit_dense
from ostec.io.images import IMAGE_SUFFIXES, read_image
from ostec.pipeline import Models, load_models
from ostec.pipeline.texture import TextureMaker
from ostec.prior.linear import prior_weight
from ostec.train.portraits import is_held_out

MIDDLE_UV = 0.04
LEAST_WEIGHT = 0.5
SIZE = 256


@dataclass(frozen=True)
class Hidden:
    """A portrait of which one half is hidden."""

    image: FloatArray
    face: FittedFace
    seen: UvObservation
    """Without the hidden half."""
    truth: FloatArray
    """[S, S, 3]."""
    scored: BoolArray
    """[S, S]."""


def hide(image: FloatArray, models: Models, maker: TextureMaker, right: bool) -> Hidden | None:
    """Unwrap a portrait and take away the half of the layout on the image's right (or left); None without a face."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    region = whole_image(image.shape[1], image.shape[0])
    landmarks = detect_landmarks_batch(pixels, [region], models.facemesh, LandmarkSettings(looks=1))[0]
    if landmarks.confidence < LEAST_WEIGHT:
        return None
    face = fit_dense(landmarks, models.topology)
    seen = maker.mask(image, face, maker.unwrap(image, face)).seen
    u = (np.arange(seen.size) + 0.5) / seen.size - 0.5
    hidden = np.broadcast_to((u > 0) == right, seen.visible.shape)
    weight = prior_weight(seen.cosine, seen.visible, seen.margin_mm) * seen.mask
    scored = hidden & (weight > LEAST_WEIGHT) & (np.abs(u) > MIDDLE_UV)
    shown = replace(seen, visible=seen.visible & ~hidden, mask=seen.mask * ~hidden)
    return Hidden(image, face, shown, seen.colour, scored)


def psnr(found: FloatArray, hidden: Hidden) -> float:
    """Over the scored texels, in dB."""
    return float(-10 * np.log10(np.mean((found - hidden.truth)[hidden.scored].astype(np.float64) ** 2)))


def sharpness(found: FloatArray, hidden: Hidden) -> float:
    """Gradient energy of the grey texture over the true one's."""
    inner = cv2.erode(hidden.scored.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0

    def energy(texture: FloatArray) -> float:
        grey = texture @ np.array([0.299, 0.587, 0.114], np.float32)
        dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        return float((dx * dx + dy * dy)[inner].sum())

    return energy(found) / energy(hidden.truth)


def measure(paths: list[Path], settings: CompleteSettings) -> dict[str, dict[str, float]]:
    """Method -> mean figures over the portraits."""
    device = torch.device("cpu")
    models = load_models(device, settings)
    maker = TextureMaker(models, settings, device)
    alone = TextureMaker(replace(models, generator=None), replace(settings, generator="none"), device)
    rows: dict[str, list[tuple[float, float]]] = {"prior": [], "generator": []}
    for number, path in enumerate(paths):
        hidden = hide(read_image(path), models, maker, right=number % 2 == 0)
        if hidden is None or hidden.scored.sum() < LEAST_WEIGHT * SIZE:
            continue
        fill = maker.fill(hidden.image, hidden.face, hidden.seen)
        for name, by in (("prior", alone), ("generator", maker)):
            made = by.complete(hidden.seen, fill, hidden.face, "soft", PhotoRun(None)).completed.texture
            rows[name].append((psnr(made, hidden), sharpness(made, hidden)))
        print(path.stem, *(f"{name} {row[-1][0]:.2f} dB {row[-1][1]:.2f}" for name, row in rows.items()), flush=True)
    means = {name: np.mean(row, axis=0) for name, row in rows.items()}
    return {
        name: {"psnr": round(float(m[0]), 2), "sharpness": round(float(m[1]), 3), "portraits": len(rows[name])}
        for name, m in means.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path, help="folder of aligned portraits")
    parser.add_argument("--exclude", type=Path, help="folder of photos whose people are held out as well")
    parser.add_argument("--count", type=int, default=32, help="portraits at most, evenly chosen")
    parser.add_argument("--iterations", type=int, default=50, help="of each view")
    given = parser.parse_args()
    excluded = frozenset(p.stem for p in given.exclude.iterdir()) if given.exclude else frozenset()
    held = [
        p
        for p in sorted(given.portraits.iterdir())
        if p.suffix.lower() in IMAGE_SUFFIXES and is_held_out(p.stem, excluded)
    ]
    chosen = [held[round(k)] for k in np.linspace(0, len(held) - 1, min(given.count, len(held)))]
    settings = CompleteSettings(iterations=given.iterations, mode="soft", uv_size=SIZE)
    print(json.dumps(measure(chosen, settings), indent=2))


if __name__ == "__main__":
    main()
