"""Compare the texture of three views with FFHQ-UV's own result for the same views.

Their example (csbhr/FFHQ-UV, examples/dataset_examples: edit/NAME and unwrap_texture/NAME) and a head with their UV
layout are yours to bring. Their map and its masks are put on that head, drawn from all sides and brought into the
layout of this program; where both methods took the views, the difference is reported in dB::

    python tools/compare_extraction.py --example dataset_examples --name 01223 --head mesh_head.obj --out compared
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ostec.core.types import Provenance, kinds_of
from ostec.eval.head.mesh import PartFiles, load_head
from ostec.eval.head.truth import GRID_PITCHES_DEG, GRID_YAWS_DEG, FaceReader, gathered_colours, set_up, uv_truth
from ostec.io.files import make_folder
from ostec.io.images import write_png
from ostec.pipeline.normalise import Normaliser
from ostec.pipeline.settings import CompleteSettings

SIZE = 512
TAKEN = 0.9
"""Least value of their mask of a view."""


def main(words: Sequence[str] | None = None) -> None:
    """Compare and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--example", type=Path, required=True)
    options.add_argument("--name", default="01223")
    options.add_argument("--head", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    asked = options.parse_args(words)
    torch.set_num_threads(1)
    maker = Normaliser.with_edits(CompleteSettings(face_model="none", iterations=1, uv_size=SIZE), "cpu", "default")
    reader = FaceReader(maker.models, SIZE)
    their = asked.example / "unwrap_texture" / asked.name / f"{asked.name}_final"
    studio = set_up(load_head([PartFiles(asked.head, Path(f"{their}_uv.png"))]), reader)
    truth = uv_truth(studio, reader)
    masked = replace(
        load_head([PartFiles(asked.head, Path(f"{their}_remap_masks.png"))]), vertices=studio.head.vertices
    )
    views = [
        replace(studio, head=masked).shoot(pitch, yaw, ("unlit",))
        for pitch in GRID_PITCHES_DEG
        for yaw in GRID_YAWS_DEG
    ]
    masks, _ = gathered_colours(torch.from_numpy(truth.position), torch.from_numpy(truth.normal), views)
    photos = [asked.example / "edit" / asked.name / f"{asked.name}_{view}.png" for view in ("front", "left", "right")]
    made = maker.fuse(photos, None, photos[0])
    both = truth.valid & (masks["unlit"].numpy().max(-1) > TAKEN) & (kinds_of(made.provenance) == Provenance.PHOTO)
    error = float(np.square(made.texture - truth.textures["unlit"])[both].mean())
    print(f"{-10 * np.log10(error):.2f} dB where both took the views, {100 * both.mean():.0f} % of the square")
    write_png(make_folder(asked.out) / "compared.png", np.hstack([truth.textures["unlit"], made.texture]))


if __name__ == "__main__":
    main()
