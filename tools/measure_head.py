"""Measure completions of a face texture against a head whose whole texture is known.

    python tools/measure_head.py HEAD_DIR --out DIR [--json FILE]
        [--method all | completer | prior | median | mirror | inpaint | oracle | truth ...]

``HEAD_DIR`` holds one head: OBJ files, and the PNG textures that their ``mtllib`` lines name. The head is drawn unlit
at the input yaws, each picture is completed, and the result is compared with the truth of ``headtruth.py`` twice:

* **Texels**: the completion against the true texture in the same UV layout, over the texels that the input could not
  see and over all that have a truth.
* **Pictures**: at other poses of the head. The completion is drawn on the mesh that is fitted to the true picture, with
  that fit's camera: since both pictures then have the same landmarks, this is the completed face warped piecewise
  affinely onto the truth, and geometry hides no error of the texture. ``own`` is the PSNR without the warp: the
  completion's own mesh at the fitted pose of the true picture. Compared where the mesh covers the true head.

*Seen* is a matter of the true mesh alone: no surface in front of the point, and the cosine of the true view angle above
0.2. SSIM is Wang et al.'s (2004) over an 11-tap Gaussian window (sigma 1.5) of the texels or pixels that count,
averaged over the three channels. Sharpness is the gradient energy (Sobel, of the grey picture) over that of the true
texture at the same texels, or drawn on the same mesh; 1 is right and less is blurred. ``skin`` is the PSNR without eyes
and mouth, for a shift of a pixel in the eyes alone makes most of the squared error. All is compared at 512 texels.

Cheap methods to beat, on the same mesh and the same texels of the photo (cosine of the fitted mesh above 0.4): the
median colour of the seen; mirroring, median where neither side was seen; ``cv2.inpaint`` (Telea) at 256 texels.
``oracle`` is the photo's texels completed by the true texture, ``truth`` the true texture itself: about what the
figures of the pictures can reach, for the landmarks of two poses never quite agree.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from headbaselines import BASELINES, Baseline, CompleteFn, Completion
from headtruth import (
    OVERSAMPLE,
    SIDE,
    FaceReader,
    HeadView,
    Studio,
    UvTruth,
    cached_uv_truth,
    camera_of,
    load_head,
    seen_by,
    set_up,
)
from scipy import ndimage
from torch.nn import functional

from ostec.core.settings import CompleteSettings
from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.io.images import resize_image, write_png
from ostec.pipeline import Completer
from ostec.render.geometry import Camera
from ostec.render.rasterize import interpolate, rasterize, sample_texture
from ostec.render.uv import UvLayout

INPUT_YAWS_DEG = (0, 25, -45)
PAIRS_DEG = ((0, 0), (0, 40), (0, -40), (25, 0), (25, -40), (-45, 0), (-45, 40), (-45, -40))
"""(input yaw, target yaw) of the picture figures."""
NOT_IN_MEAN = ((-45, -40),)
"""Nearly the input's own view: listed, but left out of the mean."""
LEAST_SHARE = 0.02
"""A mean over unseen parts leaves out pictures in which they are a smaller share of the face."""
METHODS = (*BASELINES, "oracle", "truth")
COMPLETERS = ("completer", "prior")
"""The completer with its generator, and with the prior alone."""
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class DrawnMesh:
    """A mesh of the layout in front of a camera, ready to be drawn with any texture."""

    uv: torch.Tensor
    """[1, H, W, 2] at the oversampled size."""
    hit: torch.Tensor
    """[1, H, W, 1] of the same: 1 where the mesh is."""

    @property
    def covered(self) -> BoolArray:
        """[SIDE, SIDE]: the mesh fills the pixel."""
        return np.asarray(_pool(self.hit)[..., 0] > 0.999)

    def draw(self, texture: FloatArray) -> FloatArray:
        """Draw a texture [S, S, C]: [SIDE, SIDE, C], black around the mesh."""
        return _pool(sample_texture(torch.from_numpy(texture)[None], self.uv) * self.hit)


@dataclass(frozen=True)
class Target:
    """A true picture at another pose, with the mesh fitted to it."""

    view: HeadView
    camera: Camera
    """Of the fit."""
    mesh: DrawnMesh
    """The fitted mesh."""
    face: BoolArray
    """[SIDE, SIDE]: the fitted mesh covers the pixel, and the true head does."""
    skin: BoolArray
    """The same without eyes and mouth."""
    reference: FloatArray
    """[SIDE, SIDE, 3]: the true texture drawn on the fitted mesh."""


@dataclass(frozen=True)
class HeadTruth:
    """All that completions of one head are compared with."""

    reader: FaceReader
    uv: UvTruth
    inputs: dict[int, HeadView]
    """Input yaw -> what the method is shown."""
    unseen: dict[int, BoolArray]
    """Input yaw -> [S, S] texels with a truth that the input could not see."""
    targets: dict[int, Target]
    """Target yaw -> what is compared."""


@dataclass
class Scores:
    """Figures of one method, and the pictures behind them."""

    figures: dict[str, Any]
    """``uv``: one row per input, ``image``: one row per pair, ``mean``: the average of either; ``seconds``."""
    textures: dict[int, FloatArray] = field(default_factory=dict)
    """Input yaw -> [512, 512, 3]."""
    renders: dict[tuple[int, int], FloatArray] = field(default_factory=dict)
    """(input yaw, target yaw) -> [SIDE, SIDE, 3]."""


def psnr(image: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
    """Peak signal to noise in dB over ``mask`` [H, W] of two pictures [H, W, C] in [0, 1]; NaN for an empty mask."""
    if not mask.any():
        return math.nan
    error = float(np.mean((image[mask].astype(np.float64) - truth[mask]) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(image: FloatArray, truth: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Structural similarity over ``mask`` [H, W], whose windows take in ``valid`` [H, W] alone; NaN if empty."""
    if not mask.any():
        return math.nan
    weight = valid.astype(np.float32)[..., None]
    norm = np.maximum(_window(weight), 1e-6)
    x, y = image * weight, truth * weight
    mx, my = _window(x) / norm, _window(y) / norm
    xx, yy, xy = (_window(a) / norm - b for a, b in ((x * x, mx * mx), (y * y, my * my), (x * y, mx * my)))
    index = (2 * mx * my + _SSIM_C1) * (2 * xy + _SSIM_C2) / ((mx**2 + my**2 + _SSIM_C1) * (xx + yy + _SSIM_C2))
    return float(index[mask].mean())


def _window(image: FloatArray) -> FloatArray:
    blurred = cv2.GaussianBlur(image, (11, 11), 1.5, borderType=cv2.BORDER_CONSTANT)
    return blurred.reshape(*blurred.shape[:2], -1)


def sharpness(image: FloatArray, truth: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Gradient energy over that of ``truth``, over ``mask`` less what is within 2 px of the rim of ``valid``."""
    inner = mask & ndimage.binary_erosion(valid, iterations=2)
    energy = [float(_gradient_energy(x)[inner].sum()) for x in (image, truth)]
    return energy[0] / energy[1] if energy[1] > 0 else math.nan


def _gradient_energy(image: FloatArray) -> FloatArray:
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return dx * dx + dy * dy


def load_truth(folder: Path, cache: Path) -> HeadTruth:
    """Read and draw the head of ``folder``; the slow part, its texture in the layout, is kept in ``cache`` (.npz)."""
    reader = FaceReader()
    studio = set_up(load_head(folder), reader)
    sources = sorted([*folder.glob("*.obj"), *folder.glob("*.png")])
    uv = cached_uv_truth(studio, reader, sources, cache)
    inputs = {yaw: studio.shoot(0, yaw) for yaw in INPUT_YAWS_DEG}
    position, normal = torch.from_numpy(uv.position), torch.from_numpy(uv.normal)
    unseen = {yaw: uv.valid & ~seen_by(view, position, normal).numpy() for yaw, view in inputs.items()}
    yaws = sorted({target for _, target in PAIRS_DEG})
    return HeadTruth(reader, uv, inputs, unseen, {yaw: _target(studio, reader, uv, yaw) for yaw in yaws})


def _target(studio: Studio, reader: FaceReader, truth: UvTruth, yaw_deg: int) -> Target:
    view = studio.shoot(0, yaw_deg)
    fit = reader.fit(view.image)
    mesh = draw_mesh(torch.from_numpy(fit.vertices), camera_of(fit), reader.layout)
    face = mesh.covered & view.hit.numpy()
    skin = face & (mesh.draw(truth.skin[..., None].astype(np.float32))[..., 0] > 0.999)
    return Target(view, camera_of(fit), mesh, face, skin, mesh.draw(truth.texture))


def draw_mesh(vertices: torch.Tensor, camera: Camera, layout: UvLayout) -> DrawnMesh:
    """Put a mesh [V, 3] of the layout in front of a camera of SIDE x SIDE pixels."""
    size = (SIDE * OVERSAMPLE, SIDE * OVERSAMPLE)
    zoom = torch.diag(torch.tensor([OVERSAMPLE, OVERSAMPLE, 1.0]))
    clip = Camera(zoom @ camera.matrix, camera.rotation).clip(vertices, size)
    raster = rasterize(clip[None], layout.triangles, size).flip(1)
    return DrawnMesh(interpolate(layout.uv[None], raster, layout.triangles), (raster[..., 3:] > 0).float())


def _pool(image: torch.Tensor) -> FloatArray:
    pooled: FloatArray = functional.avg_pool2d(image.permute(0, 3, 1, 2), OVERSAMPLE)[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pooled)


def evaluate(complete: CompleteFn, truth: HeadTruth) -> Scores:
    """Complete the head's picture at every input yaw and compare; the module says what the figures mean."""
    start = time.perf_counter()
    completions = {yaw: complete(view.image) for yaw, view in truth.inputs.items()}
    seconds = (time.perf_counter() - start) / len(completions)
    size = truth.reader.layout.size
    scores = Scores({"uv": [], "image": [], "mean": {}, "seconds": seconds})
    for yaw, completion in completions.items():
        texture = completion.texture
        if texture.shape[:2] != (size, size):
            texture = resize_image(texture, size, size)
        scores.textures[yaw] = texture
        scores.figures["uv"].append(_uv_row(yaw, texture, truth))
    for yaw, target in PAIRS_DEG:
        render = truth.targets[target].mesh.draw(scores.textures[yaw])
        scores.renders[yaw, target] = render
        row = {"input": yaw, "target": target, **_image_row(render, truth.targets[target], truth.inputs[yaw])}
        row["own"] = _own_psnr(scores.textures[yaw], completions[yaw].face, truth, truth.targets[target])
        scores.figures["image"].append(row)
    scores.figures["mean"] = {
        "uv": _mean(scores.figures["uv"]),
        "image": _mean([r for r in scores.figures["image"] if (r["input"], r["target"]) not in NOT_IN_MEAN]),
    }
    return scores


def _uv_row(yaw: int, texture: FloatArray, truth: HeadTruth) -> dict[str, Any]:
    valid, unseen = truth.uv.valid, truth.unseen[yaw]
    return {
        "input": yaw,
        "share": float(unseen.sum() / valid.sum()),
        "psnr_unseen": psnr(texture, truth.uv.texture, unseen),
        "ssim_unseen": ssim(texture, truth.uv.texture, unseen, valid),
        "sharp_unseen": sharpness(texture, truth.uv.texture, unseen, valid),
        "skin_unseen": psnr(texture, truth.uv.texture, unseen & truth.uv.skin),
        "psnr": psnr(texture, truth.uv.texture, valid),
        "ssim": ssim(texture, truth.uv.texture, valid, valid),
        "sharp": sharpness(texture, truth.uv.texture, valid, valid),
        "skin": psnr(texture, truth.uv.texture, valid & truth.uv.skin),
    }


def _image_row(render: FloatArray, target: Target, shown: HeadView) -> dict[str, Any]:
    face, true = target.face, target.view.image
    unseen = face & ~seen_by(shown, target.view.position, target.view.normal).numpy()
    return {
        "share": float(unseen.sum() / face.sum()),
        "psnr_unseen": psnr(render, true, unseen),
        "ssim_unseen": ssim(render, true, unseen, face),
        "sharp_unseen": sharpness(render, target.reference, unseen, face),
        "skin_unseen": psnr(render, true, unseen & target.skin),
        "psnr": psnr(render, true, face),
        "ssim": ssim(render, true, face, face),
        "sharp": sharpness(render, target.reference, face, face),
        "skin": psnr(render, true, target.skin),
    }


def _own_psnr(texture: FloatArray, face: FittedFace, truth: HeadTruth, target: Target) -> float:
    """Without the warp: the completed mesh itself, at the target's fitted pose and scale."""
    mesh = draw_mesh(torch.from_numpy(face.vertices), target.camera, truth.reader.layout)
    return psnr(mesh.draw(texture), target.view.image, mesh.covered & target.view.hit.numpy())


def _mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name in rows[0] if name not in ("input", "target")]
    counted = {n: [r for r in rows if not n.endswith("_unseen") or r["share"] >= LEAST_SHARE] for n in names}
    return {n: float(np.mean([r[n] for r in counted[n]])) for n in names}


def method_named(name: str, truth: HeadTruth, iterations: int) -> CompleteFn:
    """What ``--method`` names; ``iterations`` are those of each projected view."""
    if name == "truth":
        return lambda image: Completion(truth.uv.texture, truth.reader.fit(image))
    if name == "oracle":
        return Baseline("oracle", truth.reader, truth.uv.texture)
    if name not in COMPLETERS:
        return Baseline(name, truth.reader)
    steps = iterations if name == "completer" else 0
    completer = Completer.from_pretrained(CompleteSettings(iterations=steps, mode="soft"))

    def run(image: FloatArray) -> Completion:
        textured = completer(image).textured
        return Completion(textured.completed.texture, textured.face)

    return run


def table(results: dict[str, Scores]) -> str:
    """All figures as text; PSNR in dB."""
    lines = []
    for kind, title in (("uv", "texels"), ("image", "pictures")):
        names = [name for name in next(iter(results.values())).figures["mean"][kind] if name != "share"]
        lines.append(f"{title:30} {'share':>7} " + " ".join(f"{name:>12}" for name in names))
        for method, scores in results.items():
            rows = [*scores.figures[kind], scores.figures["mean"][kind]]
            lines += [_line(method if k == 0 else "", row, names) for k, row in enumerate(rows)]
        lines.append("")
    lines += [f"{name}: {scores.figures['seconds']:.2f} s a picture" for name, scores in results.items()]
    return "\n".join(lines)


def _line(method: str, row: dict[str, Any], names: list[str]) -> str:
    where = "mean" if "input" not in row else f"from {row['input']}"
    if "target" in row:
        where += f" to {row['target']}" + (" *" if (row["input"], row["target"]) in NOT_IN_MEAN else "")
    cells = [f"{row[name]:12.3f}" if name.startswith(("ssim", "sharp")) else f"{row[name]:12.2f}" for name in names]
    return f"{method:12} {where:17} {100 * row['share']:6.1f}% " + " ".join(cells)


def sheet(scores: Scores, truth: HeadTruth, side: int = 300) -> FloatArray:
    """One row per input: input, completed UV, true UV, what is unseen of it, then render over truth for each target."""
    rows = []
    for yaw, view in truth.inputs.items():
        hidden = np.where(truth.unseen[yaw][..., None], truth.uv.texture, truth.uv.texture * 0.25)
        inside = truth.reader.layout.inside.numpy()[..., None]
        cells = [view.image, scores.textures[yaw] * inside, truth.uv.texture * inside, hidden * inside]
        row = [resize_image(np.asarray(cell, np.float32), side, side) for cell in cells]
        for start, target in PAIRS_DEG:
            if start == yaw:
                true = truth.targets[target].view.image
                alone = np.where(truth.targets[target].face[..., None], scores.renders[start, target], true)
                row += [resize_image(np.asarray(cell, np.float32), side, side) for cell in (alone, true)]
        rows.append(np.concatenate(row, axis=1))
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows])


def main() -> int:
    """Read the arguments, measure, and write table, JSON and pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("head", type=Path, metavar="HEAD_DIR")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures and of the cached truth")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--method", nargs="+", default=["all"], choices=["all", *COMPLETERS, *METHODS])
    parser.add_argument("--iterations", type=int, default=200, help="of each projected view, for completer")
    parser.add_argument(
        "--threads", type=int, default=1, help="of PyTorch; one is fastest where others use the machine"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    truth = load_truth(arguments.head, arguments.out / "truth.npz")
    names = [*COMPLETERS, *METHODS] if "all" in arguments.method else arguments.method
    results = {}
    for name in names:
        results[name] = evaluate(method_named(name, truth, arguments.iterations), truth)
        write_png(arguments.out / f"sheet_{name}.png", sheet(results[name], truth))
    print(table(results))
    if arguments.json:
        figures = {name: scores.figures for name, scores in results.items()}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
