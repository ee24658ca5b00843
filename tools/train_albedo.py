"""Fit ``models/albedo.safetensors``: the log albedo of faces by place, from portraits whose light nobody knows.

    python tools/train_covers.py collect --portraits DIR ... --exclude PHOTOS --out texels.npz
    python tools/train_albedo.py texels.npz ... --out albedo.safetensors [--every 3] [--components 40]

By turns: each portrait's light is fitted with the albedo model so far (``ostec.light.estimate``) and divided out; the
model, mean and principal components, is fitted to what is left. It begins with skin of one colour everywhere.
Faces are made symmetric, so that no light from one side can hide in the model. The transfer is the mean face's.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ostec.core.assets import asset_path
from ostec.core.types import Topology
from ostec.light.estimate import AlbedoModel, fit_light
from ostec.light.remove import FLOOR
from ostec.light.settings import LightSettings
from ostec.light.transfer import light_transfer
from ostec.load.topology import read_topology
from ostec.mask.skin import mask_guide
from ostec.render.colour import to_linear
from ostec.render.geometry import vertex_normals
from ostec.render.uv import bake_layout
from ostec.train.prior import PriorTrainSettings, fit_prior

log = logging.getLogger("train_albedo")
SIZE = 64
COMPONENTS = (6, 16)
"""Of the first rounds, in which the light is not known well."""
ROUNDS = 5
LEAST_NOISE = 1e-3
SEEN_SHARE = 0.4
"""Portraits that show less of the chart are left out."""


def read_texels(paths: list[Path], inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log of linear light [N, T, 3] and weight [N, T] at SIZE texels of the portraits that are not held out."""
    logs, weights = [], []
    for path in paths:
        arrays = np.load(path, allow_pickle=False)
        step = arrays["colour"].shape[1] // SIZE
        for k in np.flatnonzero(~arrays["held"]):
            weight = arrays["visible"][k] * arrays["mask"][k].astype(np.float32) / 255
            light = to_linear(arrays["colour"][k].astype(np.float32) / 255) * weight[..., None]
            total = weight.reshape(SIZE, step, SIZE, step).sum((1, 3))
            mean = light.reshape(SIZE, step, SIZE, step, 3).sum((1, 3)) / np.maximum(total, 1e-6)[..., None]
            logs.append(np.log(mean + FLOOR)[inside])
            weights.append(total[inside] / step**2)
    return np.stack(logs).astype(np.float32), np.stack(weights).astype(np.float32)


def fit(logs: np.ndarray, weights: np.ndarray, topology: Topology, components: int) -> AlbedoModel:
    """The model after all rounds."""
    layout = bake_layout(topology, SIZE)
    inside = layout.inside.numpy()
    vertices = np.asarray(topology.operator @ topology.mean_landmarks, np.float32)
    normals = vertex_normals(torch.from_numpy(vertices), layout.triangles)
    facing = layout.attribute(normals)[..., 2].numpy()[inside]
    weights = weights * np.clip((facing - 0.15) / 0.35, 0, 1)
    shown = weights.sum(1) > SEEN_SHARE * inside.sum()
    logs, weights = logs[shown], weights[shown]
    passed = layout.attribute(torch.from_numpy(light_transfer(vertices, topology.triangles).scattered)).numpy()[inside]
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(inside.sum())
    mirror = index[:, ::-1][inside]
    core = mask_guide(topology, inside).core[inside]
    skin = core + 0.02
    count = len(skin)
    noise = np.where(core, 0.03, 0.5).astype(np.float32)
    model = AlbedoModel(inside, np.zeros((count, 3), np.float32), np.zeros((count, 3, 1), np.float32), noise)
    for number in range(ROUNDS):
        bare, trust = _without_light(logs, weights, passed, model, skin)
        both = trust + trust[:, mirror]
        share = bare * trust[..., None]
        even = (share + share[:, mirror]) / np.maximum(both, 1e-6)[..., None]
        k = min(components, COMPONENTS[number] if number < len(COMPONENTS) else components)
        settings = PriorTrainSettings(
            components=k,
            size=SIZE,
            iterations=6,
            trusting_iterations=9,
            least_portraits=min(60, len(logs) / 20),
        )
        found = fit_prior(torch.from_numpy(even), torch.from_numpy(both / 2), inside, settings)
        mean, basis = found.mean.numpy(), found.basis.numpy()
        mean, basis = (mean + mean[mirror]) / 2, (basis + basis[mirror]) / 2
        mean = mean - np.average(mean, axis=0, weights=weights.sum(0) * skin)
        model = AlbedoModel(inside, mean, basis, np.maximum(found.noise.numpy(), LEAST_NOISE))
        model = replace(model, noise=_noise(bare, trust, model, mirror))
        log.info("Round %d: deviation of a texel %.3f.", number + 1, float(np.sqrt(np.median(model.noise))))
    return model


def _without_light(
    logs: np.ndarray, weights: np.ndarray, passed: np.ndarray, model: AlbedoModel, skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log albedo [N, T, 3] less the skin's level, and how far each texel is believed, [N, T]."""
    settings = replace(LightSettings(), coloured=False, turns=3, even=3e-3, least=0.03)
    everywhere = np.c_[passed, np.ones(len(passed))]
    bare, trust = np.empty_like(logs), np.empty_like(weights)
    for k, (seen, weight) in enumerate(zip(logs, weights, strict=True)):
        light = fit_light(seen, weight, passed, model, settings)
        left = seen - np.log(np.maximum(everywhere @ light.lamps, settings.least))
        trust[k] = light.weight
        bare[k] = left - np.average(left - model.mean, axis=0, weights=light.weight * skin)
    return bare, trust


def _noise(bare: np.ndarray, trust: np.ndarray, model: AlbedoModel, mirror: np.ndarray) -> np.ndarray:
    """[T]: what the model leaves of every fourth portrait."""
    total, squares = np.zeros(len(mirror)), np.zeros(len(mirror))
    for seen, weight in zip(bare[::4], trust[::4], strict=True):
        level = np.average(seen - model.mean, axis=0, weights=weight)
        z = model.posterior(seen - level, weight, LightSettings().tau)
        error = seen - model.mean - model.basis @ z
        squares += weight * ((error - np.average(error, axis=0, weights=weight)) ** 2).mean(1)
        total += weight
    noise = np.maximum(squares / np.maximum(total, 5), LEAST_NOISE)
    return np.asarray((noise + noise[mirror]) / 2, np.float32)


def main() -> None:
    """Carry out the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texels", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every Nth portrait alone")
    parser.add_argument("--components", type=int, default=40)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    topology = read_topology(asset_path("topology/facemesh.npz"))
    logs, weights = read_texels(asked.texels, bake_layout(topology, SIZE).inside.numpy())
    model = fit(logs[:: asked.every], weights[:: asked.every], topology, asked.components)
    tensors = {
        "inside": torch.from_numpy(model.inside.astype(np.uint8)),
        "mean": torch.from_numpy(model.mean),
        "basis": torch.from_numpy(model.basis).half().contiguous(),
        "noise": torch.from_numpy(model.noise),
    }
    save_file(tensors, asked.out)


if __name__ == "__main__":
    main()
