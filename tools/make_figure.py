"""Make the picture of the README: each example photo, its UV texture and three views of the textured face.

    python tools/make_figure.py [--out docs/result.jpg] [PHOTO ...]
    python tools/make_figure.py --stages --out docs/stages.jpg examples/astronaut.png

One row for each photo: the photo, the texture, the face at yaw -40, 0 and 40 degrees; or the first photo's stages, as
its page has them.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from ostec.core.types import FloatArray, TexturedFace
from ostec.export.pictures import FaceRenderer
from ostec.io.files import write_atomic
from ostec.io.images import encode_jpeg, read_image, resize_image
from ostec.pipeline import Completer
from ostec.pipeline.settings import CompleteSettings

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = (ROOT / "examples/astronaut.png", ROOT / "examples/grace_hopper.jpg")
YAWS_DEG = (-40.0, 0.0, 40.0)
CELL = 280
"""Side of each picture in pixels."""
GAP = 6
TITLE = 20
"""Height of a stage's title."""
STAGES_WIDTH = 4 * (CELL + GAP)
QUALITY = 88
MAX_BYTES = 400_000
FRAME = (0.23, 0.14, 0.72)
"""Top, left and side of what is shown of a view, which leaves room for hair that the mesh does not have."""
AROUND = 1.9
"""Side of the photo's crop over the height of the face."""


def square_round_face(image: FloatArray, landmarks: FloatArray) -> FloatArray:
    """Cut the square [side, side, 3] round the landmarks [468, 3] out of a photo; it stays inside the photo."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    height, width = image.shape[:2]
    side = min(height, width, round(AROUND * float((high - low).max())))
    left, top = np.round((low + high) / 2 - side / 2).astype(int).clip(0, [width - side, height - side]).tolist()
    return image[top : top + side, left : left + side]


def view(result: TexturedFace, renderer: FaceRenderer, yaw_deg: float) -> FloatArray:
    """Picture of the textured face, a little larger than a cell."""
    picture = renderer.portrait(result.face, result.completed.colour, (0.0, yaw_deg), 2 * CELL)
    top, left, side = (round(share * 2 * CELL) for share in FRAME)
    return picture[top : top + side, left : left + side]


def row(photo: Path, completer: Completer, renderer: FaceRenderer) -> FloatArray:
    """Pictures [CELL, W, 3] of one photo, side by side on white."""
    result = completer(photo).textured
    pictures = [square_round_face(read_image(photo), result.face.landmarks), result.completed.colour]
    pictures += [view(result, renderer, yaw_deg) for yaw_deg in YAWS_DEG]
    gap = np.ones((CELL, GAP, 3), np.float32)
    cells = [resize_image(np.ascontiguousarray(picture), CELL, CELL) for picture in pictures]
    return np.hstack([part for cell in cells for part in (gap, cell)][1:])


def stages(photo: Path, completer: Completer) -> list[FloatArray]:
    """The stages of one photo under their titles, in rows [TITLE + CELL, W, 3]."""
    result = completer(photo).textured
    pictures = {"Photo": square_round_face(read_image(photo), result.face.landmarks), **result.stages}
    pictures["Texture: photo and fill joined"] = result.completed.colour
    cells = []
    for name, picture in pictures.items():
        share = CELL / picture.shape[0]
        drawn = resize_image(np.ascontiguousarray(picture), round(picture.shape[1] * share), CELL)
        titled = np.full((TITLE, drawn.shape[1], 3), 255, np.uint8)
        short = name.replace("render, untrusted darkened; ", "drawn, then ")
        cv2.putText(titled, short, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
        cells.append(np.vstack([titled.astype(np.float32) / 255, drawn]))
    rows: list[list[FloatArray]] = [[]]
    for cell in cells:
        if sum(one.shape[1] + GAP for one in (*rows[-1], cell)) > STAGES_WIDTH:
            rows.append([])
        rows[-1] += [cell, np.ones((TITLE + CELL, GAP, 3), np.float32)]
    found = []
    for one in rows:
        whole = np.hstack(one)
        found.append(np.pad(whole, ((0, 0), (0, STAGES_WIDTH - whole.shape[1]), (0, 0)), constant_values=1))
    return found


def main() -> None:
    """Complete the photos and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="default: the two in examples/")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/result.jpg", help="JPEG to write (docs/result.jpg)")
    parser.add_argument("--stages", action="store_true", help="the first photo's stages instead")
    arguments = parser.parse_args()
    completer = Completer.from_pretrained(CompleteSettings(iterations=40 if arguments.stages else 100), device="cpu")
    renderer = FaceRenderer(completer.models.topology)
    photos = arguments.photos or EXAMPLES
    rows = stages(photos[0], completer) if arguments.stages else [row(photo, completer, renderer) for photo in photos]
    gap = np.ones((GAP, rows[0].shape[1], 3), np.float32)
    data = encode_jpeg(np.vstack([part for one in rows for part in (gap, one)][1:]), QUALITY)
    if len(data) > MAX_BYTES:
        raise SystemExit(f"{len(data)} bytes are more than {MAX_BYTES}; nothing was written.")
    write_atomic(arguments.out, data)
    print(f"{arguments.out}: {len(data)} bytes")


if __name__ == "__main__":
    main()
