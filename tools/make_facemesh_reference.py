"""Make what the tests of FaceMesh compare with: outputs of TFLite and of MediaPipe. Two runs, two environments.

    # In a venv with `pip install tensorflow numpy pillow`:
    python tools/make_facemesh_reference.py network mediapipe-0.10.21-....whl tests/data/facemesh_network.npz

    # In a venv with `pip install mediapipe==0.10.21` (Python <= 3.12):
    python tools/make_facemesh_reference.py photos tests/data/facemesh_photos.npz \
        examples/*.png examples/*.jpg ../shared/data/photos/*.jpg

``network``: 192-pixel crops of the two example photos and one of smooth noise, with what the TFLite interpreter makes
of ``face_landmark.tflite``. ``photos``: the landmarks of MediaPipe's FaceMesh solution (``refine_landmarks=False``), in
photo pixels, rounded to 1/32:

* ``static``: ``static_image_mode=True``; the region follows MediaPipe's own face detector.
* ``tracked``: ``static_image_mode=False``, the photo shown twice; the region follows the landmarks of the first time.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

MEMBER = "mediapipe/modules/face_landmark/face_landmark.tflite"
SIZE = 192
STEP = 1 / 32
REGIONS = {"astronaut.png": (152, 48, 288, 184), "grace_hopper.jpg": (125, 40, 395, 310)}
"""Crops of the example photos: x0, y0, x1, y1."""

Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Read the command line and make one of the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    network = commands.add_parser("network")
    network.add_argument("wheel", type=Path)
    network.add_argument("target", type=Path)
    photos = commands.add_parser("photos")
    photos.add_argument("target", type=Path)
    photos.add_argument("photos", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "network":
        make_network(arguments.wheel, arguments.target)
    else:
        make_photos(arguments.photos, arguments.target)


def make_network(wheel: Path, target: Path) -> None:
    """Run the TFLite interpreter on three crops; write crops, points [N, 468, 3] and logits [N]."""
    import tensorflow as tf

    with zipfile.ZipFile(wheel) as archive:
        interpreter = tf.lite.Interpreter(model_content=archive.read(MEMBER), num_threads=1)
    interpreter.allocate_tensors()
    outputs = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    crops = np.stack([*example_crops(), smooth_noise()])
    points, logits = [], []
    for crop in crops:
        interpreter.set_tensor(0, crop[None].astype(np.float32) / 255)
        interpreter.invoke()
        points.append(interpreter.get_tensor(outputs["conv2d_21"]).reshape(-1, 3))
        logits.append(interpreter.get_tensor(outputs["conv2d_31"]).item())
    np.savez_compressed(target, crops=crops, points=np.stack(points), logits=np.array(logits, np.float32))


def example_crops() -> list[Pixels]:
    """Return [192, 192, 3] around the faces of the example photos."""
    examples = Path(__file__).resolve().parents[1] / "examples"
    crops = []
    for name, region in REGIONS.items():
        with Image.open(examples / name) as photo:
            crops.append(np.asarray(photo.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=region)))
    return crops


def smooth_noise() -> Pixels:
    """Return [192, 192, 3] of coloured blobs: no face, every channel and border busy."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def make_photos(photos: list[Path], target: Path) -> None:
    """Run MediaPipe on each photo; write file names, hashes and landmarks [N, 468, 3] in steps of 1/32 pixel."""
    hashes, static, tracked = [], [], []
    for path in photos:
        with Image.open(path) as photo:
            pixels = np.asarray(photo.convert("RGB"))
        hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
        static.append(mediapipe_landmarks(pixels, static=True))
        tracked.append(mediapipe_landmarks(pixels, static=False))
        print(path.name)
    names = np.array([path.name for path in photos])
    np.savez_compressed(target, names=names, sha256=np.array(hashes), step=STEP, static=static, tracked=tracked)


def mediapipe_landmarks(pixels: Pixels, static: bool) -> npt.NDArray[np.int16]:
    """Return the landmarks [468, 3] of the largest face in steps of 1/32 pixel."""
    import mediapipe

    height, width = pixels.shape[:2]
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=static, refine_landmarks=False) as face_mesh:
        for _ in range(1 if static else 2):
            faces = face_mesh.process(pixels).multi_face_landmarks
    points = np.array([[p.x, p.y, p.z] for p in faces[0].landmark]) * [width, height, width]
    return np.round(points / STEP).astype(np.int16)


if __name__ == "__main__":
    main()
