"""Make what the tests of the hands' networks compare with: outputs of TFLite.

    # In a venv with `pip install ai-edge-litert numpy pillow`:
    PYTHONPATH=. python tools/make_hands_reference.py mediapipe-0.10.21-....whl tests/data/hands_network.npz

Two pictures for each network, with what the TFLite interpreter makes of them: an example photo with a hand drawn over
it (``tests/detect/drawn_hand.py``) and smooth noise. Of the palm detector's numbers per anchor every seventh anchor's
are kept.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found,import-untyped,unused-ignore]
from PIL import Image

from tests.mask.drawn_hand import draw_hand, hand_points

PALM = "mediapipe/modules/palm_detection/palm_detection_full.tflite"
HAND = "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite"
STEP = 7
SKIN = (0.9, 0.68, 0.56)

Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Read the command line, run both networks, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    photo = photo_with_hand()
    pictures = np.stack([cut(photo, (92, 0, 412, 320), 192), smooth_noise(192)])
    crops = np.stack([cut(photo, (195, 78, 335, 218), 224), smooth_noise(224)])
    with zipfile.ZipFile(arguments.wheel) as wheel:
        palms = run(wheel.read(PALM), pictures)
        hands = run(wheel.read(HAND), crops)
    np.savez_compressed(
        arguments.target,
        pictures=pictures,
        values=palms["Identity"][:, ::STEP],
        logits=palms["Identity_1"][..., 0],
        step=STEP,
        crops=crops,
        points=hands["Identity"].reshape(-1, 21, 3),
        confidence=hands["Identity_1"][:, 0],
    )


def run(model: bytes, pictures: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    """Return every output [N, ...] of a TFLite file by name."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    results: dict[str, list[npt.NDArray[np.float32]]] = {}
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None].astype(np.float32) / 255)
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            results.setdefault(detail["name"], []).append(interpreter.get_tensor(detail["index"])[0])
    return {name: np.stack(values) for name, values in results.items()}


def photo_with_hand() -> Pixels:
    """Return the astronaut [512, 512, 3] with a hand drawn on her cheek."""
    path = Path(__file__).resolve().parents[1] / "examples" / "astronaut.png"
    with Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB"), np.float32) / 255
    drawn = draw_hand(pixels, hand_points((265.0, 170.0), 42.0), SKIN)
    return np.round(drawn * 255).astype(np.uint8)


def cut(photo: Pixels, region: tuple[int, int, int, int], side: int) -> Pixels:
    """Return a region of a photo at another size."""
    return np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR, box=region))


def smooth_noise(side: int) -> Pixels:
    """Return coloured blobs [side, side, 3]: no hand, every channel and border busy."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
