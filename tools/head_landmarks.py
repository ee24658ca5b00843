"""Make the landmarks that the head model's widths are learned from: FaceMesh on folders of aligned portraits.

Each portrait's landmarks are fitted to the mean face (:func:`ostec.fit.dense.fit_dense`) and kept in the canonical
frame, in millimetres. Portraits that are held out elsewhere (:func:`ostec.train.portraits.is_held_out`) are left out
here, with the other portraits of the same people. The file is written after every batch, and what it holds already is
not done again.

Usage: python tools/head_landmarks.py PORTRAITS PORTRAITS_HD --exclude PHOTOS --out landmarks.npz
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ostec.core.assets import asset_path
from ostec.core.errors import FaceError
from ostec.core.types import FloatArray
from ostec.detect.landmarks import detect_landmarks_batch, whole_image
from ostec.fit.dense import fit_dense
from ostec.io.files import write_atomic
from ostec.io.images import read_image
from ostec.load.networks import load_facemesh
from ostec.load.topology import read_topology
from ostec.train.portraits import is_held_out, picture_paths, twins_of_held_out

BATCH = 16
LEAST_CONFIDENCE = 0.5


def trained_on(folders: Sequence[Path], excluded: frozenset[str]) -> list[Path]:
    """The portraits that are not held out, in an order of chance."""
    paths = [path for folder in folders for path in picture_paths(folder)]
    twins = twins_of_held_out(folders, excluded)
    kept = [path for path in paths if not is_held_out(path.stem, excluded) and path.stem not in twins]
    return [kept[k] for k in np.random.default_rng(0).permutation(len(kept))]


def main() -> int:
    """Run the collection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="images/ and landmarks.npz of aligned portraits")
    parser.add_argument("--exclude", type=Path, required=True, help="photos whose people are left out")
    parser.add_argument("--out", type=Path, required=True, help="file to write, and to go on with")
    parser.add_argument("--most", type=int, default=100000, help="end after so many portraits")
    options = parser.parse_args()
    excluded = frozenset(path.stem for path in options.exclude.iterdir())
    paths = trained_on(options.folders, excluded)[: options.most]
    topology, network = read_topology(asset_path("topology/facemesh.npz")), load_facemesh(torch.device("cpu"))
    done: dict[str, tuple[FloatArray, float]] = {}
    if options.out.is_file():
        with np.load(options.out, allow_pickle=False) as old:
            done = {str(n): (p, float(y)) for n, p, y in zip(old["names"], old["points"], old["yaw_deg"], strict=True)}
    left = [path for path in paths if path.stem not in done]
    for start in range(0, len(left), BATCH):
        some = left[start : start + BATCH]
        images = [read_image(path) for path in some]
        for size in {image.shape[:2] for image in images}:
            same = [k for k, image in enumerate(images) if image.shape[:2] == size]
            pixels = torch.from_numpy(np.stack([images[k] for k in same])).permute(0, 3, 1, 2)
            found = detect_landmarks_batch(pixels, [whole_image(size[1], size[0])] * len(same), network)
            for k, landmarks in zip(same, found, strict=True):
                try:
                    face = fit_dense(landmarks, topology)
                except FaceError:
                    continue
                if landmarks.confidence >= LEAST_CONFIDENCE:
                    done[some[k].stem] = face.vertices[: len(landmarks.points)], face.pose_deg[1]
        names = sorted(done)
        arrays = {
            "names": np.array(names),
            "points": np.stack([done[n][0] for n in names]).astype(np.float32),
            "yaw_deg": np.array([done[n][1] for n in names], np.float32),
        }
        write_atomic(options.out, lambda stream, arrays=arrays: np.savez(stream, **arrays))  # type: ignore[misc]
        print(f"{len(done)} of {len(paths)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
