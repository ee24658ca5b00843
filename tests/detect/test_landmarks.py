"""The whole chain from photo to dense landmarks, against MediaPipe's own."""

import hashlib

import numpy as np
import pytest
import torch

from ostec.core.assets import verified_path
from ostec.core.types import FaceBox
from ostec.detect.faces import detect_faces, largest
from ostec.detect.landmarks import (
    crop_around_landmarks,
    detect_landmarks,
    detect_landmarks_batch,
    detect_landmarks_in,
    landmarks_in_crops,
    whole_image,
)
from ostec.detect.settings import LandmarkSettings
from ostec.io.images import read_image
from ostec.io.weights import load_strict, read_mtcnn, read_safetensors
from ostec.nets.facemesh import FaceMesh
from ostec.nets.mtcnn import Mtcnn
from ostec.render.crops import Crop

REFERENCE = "tests/data/facemesh_photos.npz"  # made by tools/make_facemesh_reference.py photos
EXAMPLES = ("astronaut.png", "grace_hopper.jpg")


@pytest.fixture(scope="module")
def network():
    network = FaceMesh()
    load_strict(network, read_safetensors(verified_path("facemesh", "facemesh.safetensors")), "facemesh")
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def detector():
    return Mtcnn.from_keras(read_mtcnn())


@pytest.fixture(scope="module")
def reference(request):
    with np.load(request.config.rootpath / REFERENCE) as file:
        data = dict(file)
    return {
        str(name): {"sha256": str(data["sha256"][i]), **{k: data[k][i] * data["step"] for k in ("static", "tracked")}}
        for i, name in enumerate(data["names"])
    }


@pytest.fixture(scope="module")
def example(request):
    return lambda name: read_image(request.config.rootpath / "examples" / name)


@pytest.fixture(scope="module")
def astronaut(example):
    return example("astronaut.png")


@pytest.fixture(scope="module")
def astronaut_roi(reference):
    return crop_around_landmarks(reference["astronaut.png"]["tracked"])


def deviation(points, expected):
    """Distance of each point in the image, in per cent of the outer-eye distance."""
    distance = np.linalg.norm(points[:, :2] - expected[:, :2], axis=1)
    return 100 * distance / np.linalg.norm(expected[263, :2] - expected[33, :2])


def depth_deviation(points, expected):
    depth = points[:, 2] - expected[:, 2]
    return 100 * np.abs(depth).mean() / np.linalg.norm(expected[263, :2] - expected[33, :2])


def detect(path, detector, network, sha256):
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, f"{path} is not the photo of {REFERENCE}"
    image = read_image(path)
    return detect_landmarks(image, largest(detect_faces(image, detector)), network)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_have_mediapipes_landmarks(request, name, reference, detector, network):
    expected = reference[name]
    found = detect(request.config.rootpath / "examples" / name, detector, network, expected["sha256"])
    assert found.points.shape == (468, 3)
    assert found.points.dtype == np.float32
    assert found.confidence > 0.99
    assert deviation(found.points, expected["tracked"]).mean() < 1.5
    assert deviation(found.points, expected["static"]).mean() < 1.5
    assert depth_deviation(found.points, expected["tracked"]) < 2.5


def test_photos_have_mediapipes_landmarks(request, reference, detector, network):
    """Every photo against MediaPipe's second look; against its first, which its own second misses by 1.1 % on average
    and 2.0 % at most, the mean over the photos."""
    folder = request.config.rootpath.parent / "shared" / "data" / "photos"
    if not folder.is_dir():
        pytest.skip(f"the photos are not there ({folder})")
    static = []
    for name in sorted(reference.keys() - set(EXAMPLES)):
        expected = reference[name]
        found = detect(folder / name, detector, network, expected["sha256"])
        tracked = deviation(found.points, expected["tracked"])
        assert tracked.mean() < 1.5, name
        assert tracked.max() < 7, name
        assert depth_deviation(found.points, expected["tracked"]) < 3, name
        static.append(deviation(found.points, expected["static"]).mean())
    assert len(static) == 24
    assert np.mean(static) < 1.5
    # MediaPipe's two modes differ from each other by up to 1.75 on these photos.
    assert np.max(static) < 1.75


def test_eyes_mouth_and_depth_follow_the_conventions(astronaut, astronaut_roi, network):
    points = detect_landmarks_in(astronaut, astronaut_roi, network).points
    nose, chin, forehead, left, right = points[[1, 152, 10, 33, 263]]
    assert left[0] < nose[0] < right[0]
    assert forehead[1] < nose[1] < chin[1]
    assert nose[2] < min(left[2], right[2])  # nearer to the viewer


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_landmarks_turn_with_the_photo(degrees, astronaut, astronaut_roi, network):
    upright = detect_landmarks_in(astronaut, astronaut_roi, network).points
    turns = degrees // 90
    image = np.rot90(astronaut, turns)  # counter-clockwise; negative strides too
    side = astronaut.shape[0]
    x, y = astronaut_roi.center
    for _ in range(turns):
        x, y = y, side - x
    roi = Crop((x, y), astronaut_roi.side, astronaut_roi.angle - turns * np.pi / 2, astronaut_roi.size)
    points = detect_landmarks_in(image, roi, network).points
    for _ in range(turns):
        points = np.stack([side - points[:, 1], points[:, 0], points[:, 2]], axis=1)
    assert deviation(points, upright).max() < 0.2


def test_landmarks_grow_with_the_photo(astronaut, astronaut_roi, network):
    small = detect_landmarks_in(astronaut, astronaut_roi, network).points
    image = astronaut.repeat(3, axis=0).repeat(3, axis=1)
    x, y = astronaut_roi.center
    roi = Crop((3 * x, 3 * y), 3 * astronaut_roi.side, astronaut_roi.angle, astronaut_roi.size)
    points = detect_landmarks_in(image, roi, network).points / 3
    assert deviation(points, small).mean() < 0.5
    assert depth_deviation(points, small) < 0.5


def test_a_face_over_the_border_is_found(astronaut, astronaut_roi, network):
    whole = detect_landmarks_in(astronaut, astronaut_roi, network).points
    left = int(whole[:, 0].min()) + 5
    x, y = astronaut_roi.center
    roi = Crop((x - left, y), astronaut_roi.side, astronaut_roi.angle, astronaut_roi.size)
    found = detect_landmarks_in(astronaut[:, left:], roi, network)
    assert found.confidence > 0.9
    assert np.median(deviation(found.points + np.array([left, 0, 0]), whole)) < 3


def test_no_face_has_low_confidence(network):
    image = np.random.default_rng(0).random((300, 200, 3)).astype(np.float32)
    assert detect_landmarks_in(image, whole_image(200, 300), network).confidence < 0.01
    assert detect_landmarks_in(np.zeros((50, 50, 3), np.float32), whole_image(50, 50), network).confidence < 0.5


def test_refining_settles(astronaut, astronaut_roi, network):
    x, y = astronaut_roi.center
    off = Crop((x + 5, y - 8), astronaut_roi.side * 1.15, astronaut_roi.angle + 0.1, astronaut_roi.size)

    def look(refinements):
        return detect_landmarks_in(astronaut, off, network, LandmarkSettings(refinements=refinements)).points

    settled = look(6)
    assert deviation(look(1), settled).mean() < deviation(look(0), settled).mean()
    assert deviation(look(2), settled).mean() < 1


def test_batch_gives_what_single_images_give(example, network):
    images = [example(name)[:500, :500] for name in EXAMPLES]
    rois = [whole_image(500, 500), Crop((260.0, 170.0), 270.0, 0.0, 192)]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    batch = detect_landmarks_batch(pixels, rois, network)
    for image, roi, together in zip(images, rois, batch, strict=True):
        alone = detect_landmarks_in(image, roi, network)
        np.testing.assert_allclose(together.points, alone.points, atol=0.01)
        assert together.confidence == pytest.approx(alone.confidence, abs=1e-4)


def test_landmarks_in_crops_pass_gradients_to_the_image(astronaut, astronaut_roi, network):
    pixels = torch.from_numpy(astronaut).permute(2, 0, 1)[None].requires_grad_(True)
    found = landmarks_in_crops(pixels, [astronaut_roi], network)
    found.points[0, 1].sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
    x, y = (int(v) for v in astronaut_roi.center)
    assert pixels.grad[0, :, y - 20 : y + 20, x - 20 : x + 20].abs().sum() > 0
    once = detect_landmarks_in(astronaut, astronaut_roi, network, LandmarkSettings(refinements=0, looks=1))
    np.testing.assert_allclose(found.points[0].detach().numpy(), once.points, atol=1e-3)


def test_read_only_images_are_taken(astronaut, astronaut_roi, network):
    image = astronaut.copy()
    image.flags.writeable = False
    expected = detect_landmarks_in(astronaut, astronaut_roi, network)
    np.testing.assert_array_equal(detect_landmarks_in(image, astronaut_roi, network).points, expected.points)


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.float32), np.zeros((8, 8, 4), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 3))],
)
def test_other_images_are_refused(image, network):
    with pytest.raises(ValueError, match="expected an image"):
        detect_landmarks_in(image, whole_image(8, 8), network)


def test_an_empty_box_is_refused(astronaut, network):
    face = FaceBox(np.array([5, 5, 5, 5], np.float32), 0.9, np.zeros((5, 2), np.float32))
    with pytest.raises(ValueError, match="positive side"):
        detect_landmarks(astronaut, face, network)
