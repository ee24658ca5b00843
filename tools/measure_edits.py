"""Measure ``ostec edit`` on faces that a generator draws: pose, smile, light, and whether it is the same person.

Latents by seeds that were not in the fit are edited to yaw 0, pitch 0, a neutral face and even light::

    python tools/measure_edits.py --edits models/edits.safetensors --count 100 --out measured
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import FaceError
from ostec.core.types import FloatArray
from ostec.detect.landmarks import detect_landmarks_in, whole_image
from ostec.io.files import make_folder
from ostec.io.images import write_png
from ostec.io.weights import read_safetensors
from ostec.load.generators import read_generator
from ostec.load.networks import asset_file, load_facemesh, load_recogniser
from ostec.nets.dlib_face import FaceRecogniser
from ostec.nets.facemesh import FaceMesh
from ostec.pipeline.editing import EVEN, NEUTRAL, EditedFace, LatentEditor
from ostec.pipeline.models import load_attribute_reader
from ostec.project.edit import edits_from_tensors
from ostec.project.identity import identity_crop
from ostec.render.crops import warp

FIRST_SEED = 1_000_000
"""Of the faces that are measured: none that edits were fitted to."""
SHOWN = 8
ASKED = {"yaw_deg": 0.0, "pitch_deg": 0.0, **NEUTRAL, **EVEN}


def identity(picture: FloatArray, facemesh: FaceMesh, network: FaceRecogniser) -> FloatArray:
    """[K] of unit length: who a picture shows."""
    height, width = picture.shape[:2]
    points = detect_landmarks_in(picture, whole_image(width, height), facemesh).points
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None] * 2 - 1
    with torch.no_grad():
        return network.embed(warp(planes, [identity_crop(points, network)]))[0].numpy()


def summary(faces: Sequence[EditedFace], same: FloatArray, others: FloatArray) -> dict[str, float]:
    """Figures over all faces."""
    before, after = (
        {name: np.array([getattr(f, when)[name] for f in faces]) for name in faces[0].after}
        for when in ("before", "after")
    )
    smiling = before["smile"] > np.median(before["smile"])
    uneven = before["unevenness"] > np.median(before["unevenness"])
    return {
        "faces": len(faces),
        "yaw_within_3_deg": float(np.mean(np.abs(after["yaw_deg"]) < 3)),
        "pitch_within_3_deg": float(np.mean(np.abs(after["pitch_deg"]) < 3)),
        "yaw_before": float(np.abs(before["yaw_deg"]).mean()),
        "yaw_after": float(np.abs(after["yaw_deg"]).mean()),
        "smile_before": float(before["smile"].mean()),
        "smile_after": float(after["smile"].mean()),
        "smile_halved_of_smiling": float(np.mean(after["smile"][smiling] <= before["smile"][smiling] / 2)),
        "unevenness_before": float(before["unevenness"].mean()),
        "unevenness_after": float(after["unevenness"].mean()),
        "unevenness_halved_of_uneven": float(np.mean(after["unevenness"][uneven] <= before["unevenness"][uneven] / 2)),
        "identity_cosine": float(same.mean()),
        "identity_above_0.8": float(np.mean(same > 0.8)),
        "identity_cosine_of_other_faces": float(others.mean()),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--generator", default="default")
    options.add_argument("--edits", type=Path, required=True)
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--rounds", type=int, default=LatentEditor.rounds)
    options.add_argument("--no-identity", action="store_true", help="leave out the steps that bring the person back")
    options.add_argument("--out", type=Path, required=True)
    asked = options.parse_args(words)
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    generator = read_generator(asset_file("generator", asked.generator)).model.generator
    edits = edits_from_tensors(read_safetensors(asked.edits), generator.shape.w_dim, str(asked.edits))
    facemesh, network = load_facemesh(cpu), load_recogniser(cpu).network
    keeper = None if asked.no_identity else network
    editor = LatentEditor(generator, edits, load_attribute_reader(cpu), asked.rounds, keeper)
    faces: list[EditedFace] = []
    codes: list[list[FloatArray]] = []
    pairs: list[FloatArray] = []
    for number in range(asked.count):
        z = np.random.RandomState(FIRST_SEED + number).randn(1, generator.shape.z_dim).astype(np.float32)
        with torch.no_grad():
            latent = generator.mapping(torch.from_numpy(z))[0].numpy()
        picture = editor.draw(latent)
        try:
            face = editor.edit(latent, ASKED)
        except FaceError:
            continue
        faces.append(face)
        codes.append([identity(p, facemesh, network) for p in (picture, face.picture)])
        if len(pairs) < SHOWN:
            pairs.append(np.concatenate([picture, face.picture]))
    found = np.array(codes)
    same = (found[:, 0] * found[:, 1]).sum(1)
    others = (found[:, 0] * np.roll(found[:, 1], 1, axis=0)).sum(1)
    figures = summary(faces, same, others)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=1))
    write_png(make_folder(asked.out) / "edits.png", np.concatenate(pairs, axis=1))


if __name__ == "__main__":
    main()
