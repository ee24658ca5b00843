"""Train ``models/covers.safetensors``: which texels of a face in the UV layout are covered, by anything.

    python tools/train_covers.py collect --portraits DIR ... --exclude PHOTOS --out texels.npz
    python tools/train_covers.py plant texels.npz ... --out planted_0.npz [--seed 0] [--count N]
    python tools/train_covers.py train planted_0.npz ... --work DIR [--steps N]
    python tools/train_covers.py check texels.npz ... --weights DIR/covers.safetensors

Portraits show bare faces, but for glasses and hair near the border. On their unwrapped texels covers of every kind are
drawn (``plant``), so that the truth is known; what a photo itself already hides has no say in the loss.
"""

import argparse
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch.nn import functional

from cover_planting import PATCH, Planter
from ostec.core.assets import asset_path
from ostec.core.types import FaceLandmarks, FloatArray
from ostec.fit.dense import fit_dense
from ostec.io.images import read_image
from ostec.load.topology import read_topology
from ostec.mask.skin import face_mask, mask_guide, surround_colours
from ostec.nets.covers import SIZE, CoverNetwork
from ostec.render.crops import five_points
from ostec.render.unwrap import Unwrapper, resize_map
from ostec.train.portraits import is_held_out, twins_of_held_out

log = logging.getLogger("train_covers")
LEAST_SIDE = 120
"""Smaller portraits are blurred more than their size says."""


def collect(folders: list[Path], excluded: frozenset[str], out: Path) -> None:
    """Unwrap every portrait whose landmarks are stored, and cut out what surrounds its face."""
    topology = read_topology(asset_path("topology/facemesh.npz"))
    unwrapper = Unwrapper(topology)
    guide = mask_guide(topology, unwrapper.layout(2 * SIZE).inside.numpy())
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("colour", "visible", "mask", "hair", "cloth", "held")}
    names, twins = [], twins_of_held_out(folders, excluded)
    for folder in folders:
        facts = np.load(folder / "landmarks.npz", allow_pickle=False)
        for name, points, side in zip(facts["names"], facts["landmarks"], facts["native_side"], strict=True):
            if side < LEAST_SIDE:
                continue
            path = next((folder / "images").glob(f"{Path(str(name)).stem}.*"))
            image = read_image(path)
            face = fit_dense(FaceLandmarks(points[:468].astype(np.float32), 1.0), topology)
            large, seen = unwrapper.unwrap(image, face, 2 * SIZE), unwrapper.unwrap(image, face, SIZE)
            pixels = (face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]).astype(np.float32)
            surround = surround_colours(image, pixels, face.camera_matrix[:2, 1].astype(np.float32))
            mask = resize_map(face_mask(large, guide, surround).mask, SIZE)
            eyes = five_points(face.landmarks)[:2, :2]
            middle, across = eyes.mean(0), eyes[1] - eyes[0]
            up = np.array([across[1], -across[0]])
            rows["colour"].append(np.round(seen.colour * 255).astype(np.uint8))
            rows["visible"].append(seen.visible)
            rows["mask"].append(np.round(mask * 255).astype(np.uint8))
            rows["hair"].append(_piece(image, middle + 1.45 * up, across * 0.8, up * 0.35))
            rows["cloth"].append(_piece(image, middle - 2.6 * up, across * 0.8, up * 0.8))
            rows["held"].append(np.array(is_held_out(path.stem, excluded) or path.stem in twins))
            names.append(path.stem)
            if len(names) % 100 == 0:
                log.info("%d portraits", len(names))
    stacks: dict[str, Any] = {name: np.stack(values) for name, values in rows.items()}
    np.savez(out, names=np.array(names), **stacks)


def _piece(image: FloatArray, middle: np.ndarray, right: np.ndarray, up: np.ndarray) -> np.ndarray:
    """A parallelogram of a picture as [PATCH, PATCH, 3] bytes."""
    t = (np.arange(PATCH) + 0.5) / PATCH * 2 - 1
    at = middle + t[None, :, None] * right - t[:, None, None] * up
    x, y = (np.clip(at[..., k] - 0.5, 0, image.shape[1 - k] - 1) for k in (0, 1))
    found = [ndimage.map_coordinates(image[..., c], [y, x], order=1, mode="nearest") for c in range(3)]
    return np.round(np.stack(found, -1) * 255).astype(np.uint8)


def read(sources: list[Path]) -> dict[str, np.ndarray]:
    """What ``collect`` wrote, of several files."""
    parts = [dict(np.load(source, allow_pickle=False)) for source in sources]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def plant(data: dict[str, np.ndarray], out: Path, seed: int, count: int) -> None:
    """Write ``count`` planted faces as bytes."""
    planter = Planter(data, np.flatnonzero(~data["held"]), np.random.default_rng(seed))
    parts = zip(*(planter.sample() for _ in range(count)), strict=True)
    names = ("colour", "visible", "truth", "weight")
    stacks: dict[str, Any] = {
        name: np.stack([np.round(one * 255).astype(np.uint8) for one in part])
        for name, part in zip(names, parts, strict=True)
    }
    np.savez(out, **stacks)


def usual(data: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation [3, SIZE / 2, SIZE / 2] of the colours of what is bare."""
    half = SIZE // 2
    total, squares, count = np.zeros((half, half, 3)), np.zeros((half, half, 3)), np.zeros((half, half, 1))
    for start in range(0, len(data["colour"]), 500):
        part = {name: data[name][start : start + 500, ::2, ::2].astype(np.float64) / 255 for name in data}
        bare = ((part["weight"] > 0.5) & (part["truth"] < 0.02))[..., None]
        total += (part["colour"] * bare).sum(0)
        squares += (part["colour"] ** 2 * bare).sum(0)
        count += bare.sum(0)
    known = count[..., 0] > 200
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 1e-3))
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    spread = [torch.from_numpy(x[nearest[0], nearest[1]]).permute(2, 0, 1).float() for x in (mean, deviation)]
    return spread[0], spread[1]


def train(data: dict[str, np.ndarray], work: Path, steps: int, batch: int = 16) -> None:
    """Train from random weights, or go on where ``work/checkpoint.pt`` ends."""
    torch.manual_seed(0)
    network = CoverNetwork()
    network.mean[:], network.deviation[:] = usual(data)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-3)
    done, path = 0, work / "checkpoint.pt"
    if path.is_file():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["done"]
    rng = np.random.default_rng(done)
    losses: list[float] = []
    network.train()
    while done < steps:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (done + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done / steps))
        rows = np.sort(rng.choice(len(data["colour"]), batch, replace=False))
        colour, visible, truth, weight = (
            torch.from_numpy(data[name][rows].astype(np.float32) / 255)
            for name in ("colour", "visible", "truth", "weight")
        )
        gain = torch.from_numpy(np.exp(rng.normal(0, 0.1, (batch, 1, 1, 1)) + rng.normal(0, 0.05, (batch, 1, 1, 3))))
        colour = (colour * gain.float()).clamp(0, 1).permute(0, 3, 1, 2)
        planes = [colour, visible[:, None], truth[:, None], weight[:, None]]
        if rng.random() < 0.5:
            planes = [plane.flip(3) for plane in planes]
        odds = network(planes[0].contiguous(), planes[1])
        each = functional.binary_cross_entropy_with_logits(odds, planes[2], reduction="none")
        loss = (each * planes[3]).sum() / planes[3].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        done += 1
        if done % 200 == 0 or done == steps:
            log.info("%d steps, loss %.4f", done, np.mean(losses))
            losses = []
            torch.save(
                {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "done": done},
                work / "checkpoint.tmp",
            )
            (work / "checkpoint.tmp").replace(path)
    # Means and variances of the normalisation stay as they are: half floats would lose small ones.
    tensors = {name: t.half() if t.ndim == 4 else t for name, t in network.state_dict().items()}
    save_file({name: t.contiguous() for name, t in tensors.items()}, work / "covers.safetensors")


def check(data: dict[str, np.ndarray], weights: Path, count: int = 60) -> None:
    """Print how well planted covers on held-out portraits are found, by kind, and what is found on bare ones."""
    network = CoverNetwork().eval()
    if weights.suffix == ".pt":
        network.load_state_dict(torch.load(weights, weights_only=True)["network"])
    else:
        network.load_state_dict(load_file(weights))
    planter = Planter(data, np.flatnonzero(data["held"]), np.random.default_rng(1))
    for kind in ("none", *planter.kinds):
        found, missed, false, bare = 0.0, 0.0, 0.0, 0.0
        largest = []
        for _ in range(count):
            sample = planter.sample(() if kind == "none" else (kind,))
            colour, visible, truth, weight = (torch.from_numpy(np.ascontiguousarray(x)).float() for x in sample)
            with torch.no_grad():
                odds = network(colour.permute(2, 0, 1)[None], visible[None, None])[0, 0]
            cover, said = (truth > 0.5) & (weight > 0), (odds > 0) & (visible > 0)
            open_face = (truth < 0.02) & (weight > 0.9)
            found += float((cover & said).sum())
            missed += float((cover & ~said).sum())
            false += float((open_face & said).sum())
            bare += float(open_face.sum())
            largest.append(float((open_face & said).sum()) / SIZE**2)
        print(
            f"{kind:10s} found {100 * found / max(found + missed, 1):6.2f} %  false {100 * false / max(bare, 1):6.3f} %"
            f"  most on one face {100 * max(largest):5.2f} % of the layout"
        )


def main() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("collect")
    one.add_argument("--portraits", type=Path, nargs="+", required=True)
    one.add_argument("--exclude", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one = commands.add_parser("plant")
    one.add_argument("texels", type=Path, nargs="+")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--count", type=int, default=7000)
    one = commands.add_parser("train")
    one.add_argument("planted", type=Path, nargs="+")
    one.add_argument("--work", type=Path, required=True)
    one.add_argument("--steps", type=int, default=8000)
    one = commands.add_parser("check")
    one.add_argument("texels", type=Path, nargs="+")
    one.add_argument("--weights", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "collect":
        excluded = frozenset(path.stem.split("_", 1)[-1] for path in args.exclude.iterdir())
        collect(args.portraits, excluded, args.out)
    elif args.command == "train":
        args.work.mkdir(parents=True, exist_ok=True)
        train(read(args.planted), args.work, args.steps)
    elif args.command == "plant":
        plant(read(args.texels), args.out, args.seed, args.count)
    else:
        check(read(args.texels), args.weights)


if __name__ == "__main__":
    main()
