"""How much of a person a frontal portrait keeps: the cosine of a face recogniser to a true frontal picture.

Compares, at each yaw, three pictures with a frontal one of the same person: the turned picture as it is, the finished
head cut out on grey, and the frontal portrait. Turned pictures are drawn from a textured head (``--head``), from heads
completed of frontal photos, whose truth is the photo itself (``--photos``), or are photos (``--pairs``).

    python tools/eval_frontal.py --head head.obj --texture head.png --part eyes.obj --part-texture eyes.png
    python tools/eval_frontal.py --photos a.jpg b.jpg --yaws -45 -30 30 45 -o pictures
    python tools/eval_frontal.py --pairs turned.jpg frontal.jpg other_turned.jpg other_frontal.jpg
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.progress import PhotoRun
from ostec.core.types import FloatArray
from ostec.eval.head.mesh import PartFiles, load_head
from ostec.eval.head.truth import FaceReader, set_up
from ostec.export.pictures import FaceRenderer, camera_of_portrait, canonical_landmarks
from ostec.export.surfaces import surfaces_of
from ostec.io.images import read_image, write_png
from ostec.load.networks import load_recogniser
from ostec.pipeline.completer import Completer
from ostec.pipeline.observe import find_face
from ostec.pipeline.result import CompletedFace
from ostec.project.identity import identity_crop
from ostec.render.crops import warp

METHODS = ("turned", "cut-out", "portrait")


@dataclass(frozen=True)
class Case:
    """A turned picture and a true frontal one of the same person."""

    name: str
    yaw_deg: float | None
    """As drawn; None: as fitted."""
    turned: FloatArray
    truth: FloatArray


class Judge:
    """Completes turned pictures and compares what comes out with the truth."""

    def __init__(self, folder: Path | None) -> None:
        self.completer = Completer.from_pretrained(iterations=0, uv_size=512, frontalize=True)
        self.network = load_recogniser(torch.device("cpu")).network
        self.renderer, self.folder = FaceRenderer(self.completer.models.topology), folder

    def code(self, picture: FloatArray, landmarks: FloatArray) -> torch.Tensor:
        """Who a picture [H, W, 3] shows whose landmarks [468, >= 2] are known: [K]."""
        planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
        with torch.no_grad():
            return self.network.embed(warp(planes, [identity_crop(landmarks, self.network)]) * 2 - 1)[0]

    def code_of_photo(self, photo: FloatArray) -> torch.Tensor:
        """The same of a photo, whose landmarks are found."""
        boxes = self.completer.observer.detect(photo)
        face = find_face(photo, boxes[0], self.completer.models, PhotoRun(None)).face
        return self.code(photo, face.landmarks)

    def __call__(self, case: Case) -> tuple[float, dict[str, float]]:
        """The yaw, and the cosine of each method."""
        done: CompletedFace = self.completer(case.turned)
        face, head = done.textured.face, done.head
        assert head is not None
        assert done.frontal is not None
        cut_out = self.renderer.portrait(face, done.texture, head=surfaces_of(head))
        points = camera_of_portrait(face).project(torch.as_tensor(canonical_landmarks(face)))[0].numpy()
        truth = self.code_of_photo(case.truth)
        codes = {
            "turned": self.code(case.turned, face.landmarks),
            "cut-out": self.code(cut_out, points),
            "portrait": self.code(done.frontal, points),
        }
        if self.folder is not None:
            write_png(self.folder / f"{case.name}_turned.png", case.turned)
            write_png(self.folder / f"{case.name}_portrait.png", done.frontal)
        yaw = done.pose_deg[1] if case.yaw_deg is None else case.yaw_deg
        return yaw, {method: float(code @ truth) for method, code in codes.items()}


def cases_of_head(judge: Judge, parts: list[PartFiles], yaws: list[float]) -> list[Case]:
    """A textured head drawn at yaws, on grey."""
    studio = set_up(load_head(parts), FaceReader(judge.completer.models))
    truth = studio.shoot(0, 0).images["unlit"]
    return [Case(f"head_{yaw:+.0f}", yaw, studio.shoot(0, yaw).images["unlit"], truth) for yaw in yaws]


def cases_of_photo(judge: Judge, path: Path, yaws: list[float]) -> list[Case]:
    """The head completed of a frontal photo, drawn at yaws on grey; the truth is the photo."""
    photo = read_image(path)
    done = judge.completer(photo)
    assert done.head is not None
    head, face = surfaces_of(done.head), done.textured.face
    return [
        Case(
            f"{path.stem}_{yaw:+.0f}", yaw, judge.renderer.portrait(face, done.texture, (0, yaw), 600, head, 0.6), photo
        )
        for yaw in yaws
    ]


def main() -> None:
    """Print a line for each picture, and the means by yaw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", type=Path)
    parser.add_argument("--texture", type=Path)
    parser.add_argument("--part", type=Path, nargs="*", default=[])
    parser.add_argument("--part-texture", type=Path)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--pairs", type=Path, nargs="*", default=[], help="TURNED FRONTAL TURNED FRONTAL ...")
    parser.add_argument("--yaws", type=float, nargs="*", default=[-45.0, -30.0, -15.0, 15.0, 30.0, 45.0])
    parser.add_argument("-o", "--save-dir", type=Path, help="folder, which is there, for the pictures")
    asked = parser.parse_args()
    judge = Judge(asked.save_dir)
    cases = []
    if asked.head is not None:
        parts = [PartFiles(asked.head, asked.texture), *(PartFiles(p, asked.part_texture) for p in asked.part)]
        cases += cases_of_head(judge, parts, asked.yaws)
    for path in asked.photos:
        cases += cases_of_photo(judge, path, asked.yaws)
    for turned, frontal in zip(asked.pairs[::2], asked.pairs[1::2], strict=True):
        cases.append(Case(turned.stem, None, read_image(turned), read_image(frontal)))
    found = defaultdict(list)
    print(f"{'picture':24} {'yaw':>6}  " + "  ".join(f"{method:>9}" for method in METHODS))
    for case in cases:
        yaw, cosines = judge(case)
        found[round(abs(yaw) / 15) * 15].append([cosines[method] for method in METHODS])
        print(f"{case.name:24} {yaw:6.0f}  " + "  ".join(f"{cosines[m]:9.3f}" for m in METHODS), flush=True)
    for yaw, rows in sorted(found.items()):
        means = "  ".join(f"{value:9.3f}" for value in np.mean(rows, axis=0))
        print(f"{f'mean of {len(rows)}, yaw about {yaw}':31}  {means}")


if __name__ == "__main__":
    main()
