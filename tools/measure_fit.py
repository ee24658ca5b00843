"""Measure ``ostec fit`` on a textured head: its shape in millimetres, its texture in dB; see docs/fit.md.

The head is drawn at some yaws and fitted. Shape: mean and root mean square distance of the fitted face from the head's
surface after a similarity, of the landmarks' own mesh, of stage 1 and of stage 3. Texture: PSNR of the albedo against
the head's own texture after one gain per channel, over skin that the picture shows and over the rest, beside that of
``ostec complete -i 0 --materials gltf``::

    python tools/measure_fit.py head.obj --texture head.png --light mild --out measured
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ostec.core.types import Array, BoolArray, FloatArray
from ostec.eval.head.albedo import AlbedoTruth
from ostec.eval.head.full import SKIN_DISTANCE
from ostec.eval.head.mesh import PartFiles, load_head
from ostec.eval.head.truth import CACHE, UV_SIZE, FaceReader, Studio, UvTruth, cached_uv_truth, set_up
from ostec.fit.dense import weighted_similarity
from ostec.fit.settings import RgbFitSettings
from ostec.io.files import make_folder
from ostec.io.images import write_png
from ostec.pipeline import Completer
from ostec.pipeline.fitting import FaceFitter, FittedResult
from ostec.pipeline.settings import CompleteSettings, FitSettings
from ostec.render.surface import closest_points

TURNS = 5
"""Of the similarity and the closest points."""
EVERY = 7
"""Of the texels, which are many."""


def shape_error(vertices: FloatArray, reader: FaceReader, studio: Studio, truth: UvTruth) -> dict[str, float]:
    """Distance of a face's mesh from the head's surface, in millimetres."""
    head, triangles = studio.head.vertices.numpy().astype(np.float64), studio.head.triangles.numpy()
    points = reader.layout.attribute(torch.from_numpy(vertices)).numpy()[truth.valid][::EVERY].astype(np.float64)
    target = truth.position[truth.valid][::EVERY].astype(np.float64)
    distance: Array = np.zeros(len(points))
    for _ in range(TURNS + 1):
        scale, rotation, offset = weighted_similarity(points, target, np.ones(len(points)))
        points = scale * points @ rotation.T + offset
        near = closest_points(head, triangles, points)
        target = (head[near.vertices] * near.weights[..., None]).sum(1)
        distance = near.distance
    return {"mean_mm": round(float(distance.mean()), 3), "rms_mm": round(float(np.sqrt((distance**2).mean())), 3)}


def texture_db(made: FloatArray | None, truth: UvTruth, bare: BoolArray, unseen: BoolArray) -> dict[str, float]:
    """PSNR of an albedo over skin that was seen, and over the rest where there is enough of it."""
    parts = {"seen": truth.skin & bare & ~unseen, "unseen": truth.skin & bare & unseen}
    assert made is not None
    own = truth.textures["unlit"]
    figures = {name: AlbedoTruth(own, part).figures(made) for name, part in parts.items() if part.sum() > EVERY**2}
    return {name: round(value["psnr_albedo"], 2) for name, value in figures.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Measure, write pictures and print one line per picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("mesh", type=Path, help="the head's OBJ")
    options.add_argument("--texture", type=Path, required=True)
    options.add_argument("--yaws", type=int, nargs="+", default=[0, 25, -45])
    options.add_argument("--light", default="mild", help="unlit, mild, hard, or lampsN")
    options.add_argument("--steps", type=int, default=RgbFitSettings.steps)
    options.add_argument("--published", action="store_true")
    options.add_argument("--out", type=Path, required=True)
    asked = options.parse_args(words)
    torch.set_num_threads(1)
    settings = FitSettings(uv_size=UV_SIZE, published=asked.published, rgb=RgbFitSettings(steps=asked.steps))
    fitter = FaceFitter.from_pretrained(settings, "cpu")
    completer = Completer.from_pretrained(CompleteSettings(uv_size=UV_SIZE, iterations=0, materials="gltf"), "cpu")
    reader, parts = FaceReader(fitter.models), (PartFiles(asked.mesh, asked.texture),)
    studio = set_up(load_head(parts), reader)
    folder = make_folder(asked.out)
    truth = cached_uv_truth(studio, reader, parts, folder / CACHE)
    own = truth.textures["unlit"]
    bare = np.linalg.norm(own - np.median(own[truth.skin], axis=0), axis=-1) < SKIN_DISTANCE
    for yaw in asked.yaws:
        view = studio.shoot(0, yaw, (asked.light,))
        image, unseen = view.images[asked.light], truth.unseen(view)
        completed, fitted = completer(image), fitter(image)
        assert isinstance(fitted, FittedResult)
        first, _, last = fitted.fit_stages
        shapes = {"landmarks": completed.vertices, "stage1": first.meshes["exp"], "stage3": last.meshes["exp"]}
        row = {
            "light": asked.light,
            "yaw": yaw,
            "shape": {name: shape_error(v, reader, studio, truth) for name, v in shapes.items()},
            "fit": texture_db(fitted.albedo, truth, bare, unseen),
            "complete": texture_db(completed.albedo, truth, bare, unseen),
            "losses": fitted.record["fit"]["losses"],
        }
        print(json.dumps(row), flush=True)
        for stage in fitted.fit_stages:
            write_png(folder / f"{asked.light}_{yaw}_stage{stage.number}.png", stage.picture)


if __name__ == "__main__":
    main()
