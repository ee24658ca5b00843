"""Make ``tests/data/mtcnn_reference.json``: what the package ``mtcnn`` itself finds, to compare our networks with.

The package needs TensorFlow, which this project does without, so the script runs in an environment of its own::

    python -m venv /tmp/reference
    /tmp/reference/bin/pip install mtcnn==1.0.0 tensorflow pillow
    /tmp/reference/bin/python tools/make_mtcnn_reference.py examples/*.png examples/*.jpg ../shared/data/photos/*.jpg

Every photo is decoded by Pillow and given to the package as [H, W, 3] uint8. Stored for each, under its file name: the
file's SHA-256, and of each face the box (x0, y0, x1, y1) before it is clipped to the photo, the box (x, y, width,
height) as the package returns it by default, its confidence and its five points. ``resize_area`` and
``crop_and_resize`` hold what TensorFlow's two functions make of :func:`probe`.

Among windows of equal probability the package prefers the one that NumPy's default sort puts last, which varies with
the processor and moves a box of some photos by ten pixels. Here it is made to sort stably, so that the file is the
same wherever it is made.
"""

import argparse
import functools
import hashlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from mtcnn import MTCNN
from PIL import Image

OUTPUT = Path(__file__).resolve().parents[1] / "tests" / "data" / "mtcnn_reference.json"
SIZES = ((4, 3), (6, 13), (1, 1), (9, 17))
BOXES = ((1.3, 0.4, 6.9, 5.7), (-2.5, 1.0, 4.0, 12.2), (0.0, 0.0, 13.0, 9.0))


def probe() -> np.ndarray[Any, Any]:
    """[9, 13, 2] float32, no two values alike."""
    return np.sin(np.arange(9 * 13 * 2, dtype=np.float32) ** 2 / 7).reshape(9, 13, 2)


def describe(path: Path, detector: Any) -> dict[str, Any]:
    """What the package says of one photo, by descending confidence as it orders them."""
    image = np.asarray(Image.open(path).convert("RGB"))
    rows = detector.detect_faces(image, fit_to_image=False, box_format="xyxy", output_type="numpy")
    clipped = detector.detect_faces(image)
    faces = [
        {
            "box": np.round(row[1:5], 3).tolist(),
            "default_box": [int(value) for value in default["box"]],
            "confidence": round(float(row[5]), 6),
            "points": np.round(row[6:16].reshape(2, 5).T, 3).tolist(),
        }
        for row, default in zip(rows, clipped, strict=True)
    ]
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "faces": faces}


def describe_operations() -> dict[str, Any]:
    """TensorFlow's two ways of resizing on the probe; boxes are in pixels, as the package hands them over."""
    image = probe()
    height, width = image.shape[:2]
    boxes = np.array(BOXES)[:, [1, 0, 3, 2]] / [height, width, height, width]
    resized = [tf.image.resize(image, size, method=tf.image.ResizeMethod.AREA).numpy() for size in SIZES]
    crops = tf.image.crop_and_resize(image[None], boxes, np.zeros(len(BOXES), int), (5, 5)).numpy()
    return {
        "resize_area": [
            {"size": size, "values": np.round(values, 6).tolist()} for size, values in zip(SIZES, resized, strict=True)
        ],
        "crop_and_resize": [
            {"box": box, "values": np.round(values, 6).tolist()} for box, values in zip(BOXES, crops, strict=True)
        ],
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Make tests/data/mtcnn_reference.json.")
    parser.add_argument("photos", nargs="+", type=Path)
    photos = parser.parse_args().photos
    detector = MTCNN()
    with mock.patch.object(np, "argsort", functools.partial(np.argsort, kind="stable")):
        described = {path.name: describe(path, detector) for path in photos}
    reference = {
        "made_by": "tools/make_mtcnn_reference.py",
        "tensorflow": tf.__version__,
        "photos": described,
        **describe_operations(),
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(reference, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
