"""Make the picture of the gallery: kinds of difficulty, planted into the example photos, and what becomes of them.

    python tools/make_gallery.py [--out docs/gallery.jpg]

Four pictures for each kind: the photo, the texture, the face at yaw 0 and 40 degrees; for a photo that is refused, the
photo alone. Prints the sentences of refusals and warnings.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from make_figure import EXAMPLES, GAP, QUALITY, ROOT, square_round_face, view
from ostec.core.errors import OstecError, OstecWarning
from ostec.core.types import FloatArray
from ostec.export.pictures import FaceRenderer
from ostec.io.files import write_atomic
from ostec.io.images import encode_jpeg, read_image, resize_image
from ostec.pipeline import Completer
from ostec.pipeline.settings import CompleteSettings

SIDE = 132
"""Of each picture in pixels."""
ACROSS = 2
"""Kinds in a row."""
TITLE = 20
"""Height of a kind's name in pixels."""
MAX_BYTES = 400_000
EYES, MOUTH, CHEEK = (33, 133, 362, 263), (61, 291, 13, 14), 425
"""Landmarks of FaceMesh."""
Change = Callable[[FloatArray, FloatArray], FloatArray]
"""A photo [H, W, 3] and its landmarks [468, 2] to a harder photo."""


def scaled(share: float, back: bool = False) -> Change:
    """A smaller photo; enlarged again, it is blurred instead."""

    def change(image: FloatArray, _: FloatArray) -> FloatArray:
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC) if back else small

    return change


def turned(angle_deg: float) -> Change:
    """Rotated in the picture's plane about the face."""

    def change(image: FloatArray, points: FloatArray) -> FloatArray:
        middle = tuple(points.mean(0).tolist())
        matrix = cv2.getRotationMatrix2D(middle, angle_deg, 1.0)
        return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)

    return change


def covered(around: tuple[int, ...], grow: tuple[float, float], colour: tuple[float, float, float]) -> Change:
    """An ellipse over some landmarks, ``grow`` times as wide and high as they are wide."""

    def change(image: FloatArray, points: FloatArray) -> FloatArray:
        part = points[list(around)]
        width = float(np.ptp(part[:, 0]))
        size = (round(width * grow[0] / 2), round(width * grow[1] / 2))
        middle = tuple(np.round(part.mean(0)).astype(int).tolist())
        return cv2.ellipse(image.copy(), middle, size, 0, 0, 360, colour, -1, cv2.LINE_AA)

    return change


def cut(top: bool) -> Change:
    """The picture's border runs through the forehead, or through the chin."""

    def change(image: FloatArray, points: FloatArray) -> FloatArray:
        low, high = points[:, 1].min(), points[:, 1].max()
        at = round(float(0.2 * high + 0.8 * low if top else 0.85 * high + 0.15 * low))
        return np.ascontiguousarray(image[at:] if top else image[:at])

    return change


def lit(image: FloatArray, points: FloatArray) -> FloatArray:
    """Hard light from one side."""
    across = (np.arange(image.shape[1]) - points[:, 0].mean()) / np.ptp(points[:, 0])
    return image * (0.12 + 0.88 / (1 + np.exp(14 * across)))[None, :, None].astype(np.float32)


def beside(image: FloatArray, _: FloatArray) -> FloatArray:
    """The same person twice, the other one smaller and mirrored."""
    other = cv2.resize(image[:, ::-1], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    canvas = np.ones((image.shape[0], image.shape[1] + other.shape[1], 3), np.float32)
    canvas[:, : image.shape[1]], canvas[: other.shape[0], image.shape[1] :] = image, other
    return canvas


def noisy(image: FloatArray, _: FloatArray) -> FloatArray:
    """Noise as of a dark room."""
    return image + np.random.default_rng(0).normal(0, 0.12, image.shape).astype(np.float32)


ASTRONAUT, HOPPER = EXAMPLES
KINDS: tuple[tuple[str, Path, Change], ...] = (
    ("teeth, hair over the brow", ASTRONAUT, lambda image, _: image),
    ("cap and thin glasses", HOPPER, lambda image, _: image),
    ("small: face of 48 pixels", ASTRONAUT, scaled(0.42)),
    ("blurred", ASTRONAUT, scaled(0.2, back=True)),
    ("noise", ASTRONAUT, noisy),
    ("no colour", ASTRONAUT, lambda image, _: np.repeat(image.mean(2, keepdims=True), 3, 2)),
    ("hard light from one side", ASTRONAUT, lit),
    ("coloured lamp", HOPPER, lambda image, _: image * np.array([1.0, 0.62, 0.5], np.float32)),
    ("dark", HOPPER, lambda image, _: image * np.float32(0.25)),
    ("tilted by 40 degrees", ASTRONAUT, turned(40)),
    ("upside down", ASTRONAUT, turned(180)),
    ("stretched", ASTRONAUT, lambda image, _: cv2.resize(image, None, fx=1.6, fy=1.0)),
    ("chin cut off", ASTRONAUT, cut(top=False)),
    ("forehead cut off", ASTRONAUT, cut(top=True)),
    ("dark band over the eyes", ASTRONAUT, covered(EYES, (1.35, 0.5), (0.05, 0.05, 0.06))),
    ("mask over mouth and nose", ASTRONAUT, covered((*MOUTH, 1), (2.3, 1.9), (0.75, 0.85, 0.9))),
    ("something before a cheek", ASTRONAUT, covered((CHEEK, 280, 352), (3.0, 2.6), (0.1, 0.35, 0.15))),
    ("two people: the larger face", ASTRONAUT, beside),
)


def cell(picture: FloatArray) -> FloatArray:
    """A picture in a square [SIDE, SIDE, 3], on white."""
    share = SIDE / max(picture.shape[:2])
    height, width = (max(1, round(side * share)) for side in picture.shape[:2])
    square = np.ones((SIDE, SIDE, 3), np.float32)
    square[:height, :width] = resize_image(np.ascontiguousarray(picture, np.float32), width, height)
    return square


def strip(name: str, image: FloatArray, where: FloatArray, completer: Completer, renderer: FaceRenderer) -> FloatArray:
    """The four pictures of a kind [TITLE + SIDE, W, 3] under its name; ``where`` the face was before the change."""
    cells = np.ones((SIDE, 4 * SIDE, 3), np.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OstecWarning)  # they are printed below
            made = completer(image)
        result = made.textured
        shown = [square_round_face(image, result.face.landmarks), result.completed.colour]
        shown += [view(result, renderer, yaw_deg) for yaw_deg in (0.0, 40.0)]
        said = " ".join(made.warnings)
    except OstecError as error:
        shown, said, name = [square_round_face(image, where)], str(error), f"{name}: refused"
    cells[:, : SIDE * len(shown)] = np.hstack([cell(picture) for picture in shown])
    title = np.full((TITLE, 4 * SIDE, 3), 255, np.uint8)
    cv2.putText(title, name, (2, TITLE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    print(f"{name}. {said}")
    return np.vstack([title.astype(np.float32) / 255, cells])


def main() -> None:
    """Complete the photos and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/gallery.jpg", help="JPEG to write (docs/gallery.jpg)")
    arguments = parser.parse_args()
    completer = Completer.from_pretrained(CompleteSettings(completer="prior"), device="cpu")
    renderer = FaceRenderer(completer.models.topology)
    points = {path: completer(path).textured.face.landmarks[:, :2] for path in EXAMPLES}
    strips = []
    for name, path, change in KINDS:
        image = np.ascontiguousarray(change(read_image(path), points[path]).clip(0, 1), np.float32)
        strips.append(strip(name, image, points[path], completer, renderer))
    gap = np.ones((strips[0].shape[0], 4 * GAP, 3), np.float32)
    rows = [np.hstack([strips[k], gap, strips[k + 1]]) for k in range(0, len(strips), ACROSS)]
    data = encode_jpeg(np.vstack(rows), QUALITY)
    if len(data) > MAX_BYTES:
        raise SystemExit(f"{len(data)} bytes are more than {MAX_BYTES}; nothing was written.")
    write_atomic(arguments.out, data)
    print(f"{arguments.out}: {len(data)} bytes")


if __name__ == "__main__":
    main()
