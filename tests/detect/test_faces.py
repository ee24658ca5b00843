"""Face detection against the package ``mtcnn`` itself, and what it does where there is little or nothing to see."""

import hashlib
import json
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.types import FaceBox
from ostec.detect.faces import crop_and_resize, detect_faces, largest, resize_area, suppress
from ostec.detect.settings import DetectSettings
from ostec.io.images import read_image
from ostec.io.weights import read_mtcnn
from ostec.nets.mtcnn import Mtcnn

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = json.loads((ROOT / "tests" / "data" / "mtcnn_reference.json").read_text())  # tools/make_mtcnn_reference.py
EXAMPLES = ("astronaut.png", "grace_hopper.jpg")
OTHERS = sorted(set(REFERENCE["photos"]) - set(EXAMPLES))


@pytest.fixture(scope="module")
def networks() -> Mtcnn:
    return Mtcnn.from_keras(read_mtcnn())


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    return read_image(ROOT / "examples" / "grace_hopper.jpg")


def shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    rows, columns = (round(side * factor) for side in image.shape[:2])
    return resize_area(torch.from_numpy(image), rows, columns).numpy()


def assert_as_the_package(path: Path, networks: Mtcnn) -> None:
    reference = REFERENCE["photos"][path.name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == reference["sha256"]
    image = read_image(path)
    faces = sorted(detect_faces(image, networks), key=lambda face: -face.confidence)
    assert len(faces) == len(reference["faces"])
    edge = np.array([image.shape[1], image.shape[0]] * 2) - 1
    for face, expected in zip(faces, reference["faces"], strict=True):
        np.testing.assert_allclose(face.box, expected["box"], atol=0.05)
        np.testing.assert_allclose(face.points, expected["points"], atol=0.05)
        assert face.confidence == pytest.approx(expected["confidence"], abs=1e-4)
        x0, y0, x1, y1 = np.clip(face.box, 0, edge)
        np.testing.assert_allclose([x0, y0, x1 - x0, y1 - y0], expected["default_box"], atol=0.6)  # rounded there


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_give_the_packages_own_boxes_and_points(name: str, networks: Mtcnn) -> None:
    assert_as_the_package(ROOT / "examples" / name, networks)


@pytest.mark.parametrize("name", OTHERS)
def test_photos_give_the_packages_own_boxes_and_points(name: str, networks: Mtcnn) -> None:
    path = ROOT.parent / "shared" / "data" / "photos" / name
    if not path.exists():
        pytest.skip(f"{path} is not there: these portraits lie beside the project, not in it")
    assert_as_the_package(path, networks)


@pytest.mark.gpu
def test_cuda_gives_the_same_faces(networks: Mtcnn, hopper: np.ndarray) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    (expected,) = detect_faces(hopper, networks)
    (face,) = detect_faces(hopper, Mtcnn.from_keras(read_mtcnn()).to("cuda"))
    np.testing.assert_allclose(face.box, expected.box, atol=1)
    np.testing.assert_allclose(face.points, expected.points, atol=1)


def test_points_come_left_to_right_as_seen_in_the_image(networks: Mtcnn, hopper: np.ndarray) -> None:
    (face,) = detect_faces(hopper, networks)
    eye, other_eye, nose, mouth, other_mouth = face.points
    assert eye[0] < nose[0] < other_eye[0]
    assert mouth[0] < nose[0] < other_mouth[0]
    assert max(eye[1], other_eye[1]) < nose[1] < min(mouth[1], other_mouth[1])


def test_result_is_a_record_of_single_precision(networks: Mtcnn, hopper: np.ndarray) -> None:
    (face,) = detect_faces(hopper, networks)
    assert (face.box.dtype, face.box.shape) == (np.float32, (4,))
    assert (face.points.dtype, face.points.shape) == (np.float32, (5, 2))
    assert type(face.confidence) is float
    assert 0.8 < face.confidence <= 1


def test_same_photo_twice_gives_the_same_bits(networks: Mtcnn, hopper: np.ndarray) -> None:
    (first,), (second,) = detect_faces(hopper, networks), detect_faces(hopper, networks)
    np.testing.assert_array_equal(first.box, second.box)
    np.testing.assert_array_equal(first.points, second.points)
    assert first.confidence == second.confidence


def test_photo_is_not_changed(networks: Mtcnn, hopper: np.ndarray) -> None:
    before = hopper.copy()
    detect_faces(hopper, networks)
    np.testing.assert_array_equal(hopper, before)


def test_all_faces_of_a_group_are_found_largest_first(networks: Mtcnn, hopper: np.ndarray) -> None:
    group = np.full((600, 1200, 3), 0.5, np.float32)
    expected = []
    for column, factor in ((0, 0.5), (300, 0.9), (800, 0.7)):
        one = shrunk(hopper, factor)
        group[: one.shape[0], column : column + one.shape[1]] = one
        (alone,) = detect_faces(one, networks)
        expected.append(alone.box + np.array([column, 0, column, 0]))
    faces = detect_faces(group, networks)
    assert len(faces) == 3
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)
    for face, index in zip(faces, (1, 2, 0), strict=True):
        assert np.abs(face.box - expected[index]).max() < 0.12 * face.side


def test_face_of_thirty_pixels_is_found(networks: Mtcnn, hopper: np.ndarray) -> None:
    (full,) = detect_faces(hopper, networks)
    factor = 30 / full.side
    faces = detect_faces(shrunk(hopper, factor), networks)
    assert len(faces) == 1
    np.testing.assert_allclose(faces[0].box, full.box * factor, atol=4)


def test_smallest_face_is_a_setting(networks: Mtcnn, hopper: np.ndarray) -> None:
    picture = np.full((300, 300, 3), 0.5, np.float32)
    small = shrunk(hopper, 0.2)  # the face is 44 px high
    picture[: small.shape[0], : small.shape[1]] = small
    assert len(detect_faces(picture, networks, DetectSettings(min_face_size=30))) == 1
    assert detect_faces(picture, networks, DetectSettings(min_face_size=100)) == []


def test_face_over_the_border_has_a_box_over_the_border(networks: Mtcnn, hopper: np.ndarray) -> None:
    cut = np.ascontiguousarray(hopper[130:])  # through the forehead
    face = largest(detect_faces(cut, networks))
    assert face is not None
    assert face.box[1] < 0


def test_longer_photo_is_shrunk_and_its_face_is_where_it_was(networks: Mtcnn, hopper: np.ndarray) -> None:
    huge = hopper.repeat(4, axis=0).repeat(5, axis=1)  # [2400, 2560, 3]
    (expected,) = detect_faces(hopper, networks)
    face = largest(detect_faces(huge, networks))
    assert face is not None
    np.testing.assert_allclose(face.points, expected.points * [5, 4], atol=0.04 * face.side)
    np.testing.assert_allclose(face.box, expected.box * [5, 4, 5, 4], atol=0.12 * face.side)


def test_photo_up_to_the_limit_is_not_shrunk(networks: Mtcnn, hopper: np.ndarray) -> None:
    (expected,) = detect_faces(hopper, networks, DetectSettings(max_side=100_000))
    (face,) = detect_faces(hopper, networks, DetectSettings(max_side=600))
    np.testing.assert_array_equal(face.box, expected.box)
    (other,) = detect_faces(hopper, networks, DetectSettings(max_side=599))
    assert not np.array_equal(other.box, expected.box)


@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 300), (300, 5), (11, 11), (12, 12), (19, 40), (24, 24), (60, 20), (1, 9000), (200, 300)]
)
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_nothing_to_see_gives_no_face(networks: Mtcnn, shape: tuple[int, int], grey: float) -> None:
    assert detect_faces(np.full((*shape, 3), grey, np.float32), networks) == []


def test_noise_gives_no_face(networks: Mtcnn) -> None:
    noise = np.random.default_rng(0).random((300, 400, 3), dtype=np.float32)
    assert detect_faces(noise, networks) == []


def test_pyramid_ends_where_a_level_is_smaller_than_the_window(networks: Mtcnn) -> None:
    assert detect_faces(np.full((100, 200, 3), 0.5, np.float32), networks, DetectSettings(min_face_size=150)) == []


def test_view_of_a_photo_gives_the_same_as_its_copy(networks: Mtcnn, hopper: np.ndarray) -> None:
    flipped = hopper[:, ::-1]  # negative strides
    flipped.setflags(write=False)
    (first,), (second,) = detect_faces(flipped, networks), detect_faces(flipped.copy(), networks)
    np.testing.assert_array_equal(first.box, second.box)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20), np.float32),
        np.zeros((20, 20, 4), np.float32),
        np.zeros((20, 20, 3), np.uint8),
        np.zeros((0, 20, 3), np.float32),
    ],
)
def test_other_arrays_are_the_callers_mistake(networks: Mtcnn, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"image must be \[H, W, 3\] float32, got \["):
        detect_faces(image, networks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_face_size": 0},
        {"min_face_size": float("nan")},
        {"scale_factor": 1.0},
        {"max_side": 5},
        {"nms": (0.5, 0.0, 0.7, 0.7)},
        {"thresholds": (0.6, 0.7, 1.1)},
    ],
)
def test_settings_out_of_range_are_the_callers_mistake(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        DetectSettings(**wrong)


def test_largest_goes_by_area() -> None:
    boxes = [np.array(box, np.float32) for box in ((0, 0, 10, 2), (5, 5, 10, 11), (1, 1, 4, 4))]
    faces = [FaceBox(box, 0.9, np.zeros((5, 2), np.float32)) for box in boxes]
    assert largest(faces) is faces[1]
    assert largest([]) is None


def test_ordinary_photo_takes_less_than_half_a_second_of_one_core(networks: Mtcnn, hopper: np.ndarray) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # where others compute too, waiting threads count as busy
    try:
        detect_faces(hopper, networks)
        start = time.process_time()
        detect_faces(hopper, networks)
        assert time.process_time() - start < 0.5  # 0.08 on a 2024 server core
    finally:
        torch.set_num_threads(threads)


def probe() -> np.ndarray:
    """The picture of tools/make_mtcnn_reference.py."""
    return np.sin(np.arange(9 * 13 * 2, dtype=np.float32) ** 2 / 7).reshape(9, 13, 2)


@pytest.mark.parametrize("case", REFERENCE["resize_area"], ids=lambda case: str(case["size"]))
def test_area_resizing_is_tensorflows(case: dict[str, list[float]]) -> None:
    resized = resize_area(torch.from_numpy(probe()), *case["size"])
    np.testing.assert_allclose(resized, case["values"], atol=2e-6)


@pytest.mark.parametrize("case", REFERENCE["crop_and_resize"], ids=lambda case: str(case["box"]))
def test_crops_are_tensorflows(case: dict[str, list[float]]) -> None:
    crop = crop_and_resize(torch.from_numpy(probe()), np.array([case["box"]]), 5)[0]
    np.testing.assert_allclose(crop.permute(1, 2, 0), case["values"], atol=2e-6)


def test_area_resizing_weighs_by_the_share_of_each_pixel() -> None:
    image = torch.tensor([[0.0, 3.0, 9.0], [6.0, 0.0, 0.0]])[..., None]
    resized = resize_area(image, 1, 2)[..., 0]
    # Each half of the width is one pixel and half of the middle one.
    np.testing.assert_allclose(resized, [[(0 + 6 + 0.5 * 3) / 3, (9 + 0.5 * 3) / 3]], rtol=1e-6)


def test_area_resizing_keeps_the_mean_of_a_photo(hopper: np.ndarray) -> None:
    for size in ((37, 411), (600, 512), (1, 1), (130, 2)):
        resized = resize_area(torch.from_numpy(hopper), *size)
        expected = hopper.mean((0, 1), dtype=np.float64)
        np.testing.assert_allclose(resized.double().mean((0, 1)), expected, atol=1e-6)


def test_area_resizing_of_a_huge_photo_takes_little_memory_beside_it(hopper: np.ndarray) -> None:
    resource = pytest.importorskip("resource")
    huge = torch.zeros(6000, 5000, 3)  # 360 MB

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    before = peak()
    resize_area(huge, 1600, 1333)
    assert peak() - before < 120 << 20


def test_crop_outside_the_picture_is_zero() -> None:
    image = torch.ones(10, 10, 1)
    crop = crop_and_resize(image, np.array([[-10.0, -10.0, 30.0, 10.0]]), 5)[0, 0]
    inside = torch.zeros(5, 5)
    inside[2:, 1:2] = 1  # columns -9, 0, 9, 18, 27 and rows -9, -4.5, 0, 4.5, 9: one more column touches the border
    inside[2:, 2] = 1
    np.testing.assert_array_equal(crop, inside)


def test_no_box_gives_no_crop() -> None:
    assert crop_and_resize(torch.ones(10, 10, 3), np.empty((0, 4)), 24).shape == (0, 3, 24, 24)


def test_overlapping_windows_leave_the_most_probable() -> None:
    windows = np.array(
        [
            [0, 0, 10, 10, 0.8],
            [0, 2, 10, 12, 0.9],  # shares 80 of 120 with the first
            [20, 0, 30, 10, 0.7],
            [22, 3, 26, 7, 0.95],  # inside the third: 16 of 100
        ]
    )
    np.testing.assert_array_equal(suppress(windows, 0.66, "union")[:, 4], [0.95, 0.9, 0.7])
    np.testing.assert_array_equal(suppress(windows, 0.67, "union")[:, 4], [0.95, 0.9, 0.8, 0.7])
    np.testing.assert_array_equal(suppress(windows, 0.7, "smaller")[:, 4], [0.95, 0.9])


def test_suppressed_window_suppresses_nevertheless() -> None:
    windows = np.array([[0, 0, 10, 10, 0.9], [0, 3, 10, 13, 0.8], [0, 6, 10, 16, 0.7]])
    np.testing.assert_array_equal(suppress(windows, 0.5, "union")[:, 4], [0.9])


def test_last_of_equally_probable_windows_wins() -> None:
    windows = np.array([[0, 0, 10, 10, 1.0], [1, 0, 11, 10, 1.0]])
    np.testing.assert_array_equal(suppress(windows, 0.5, "union"), windows[1:])


@pytest.mark.parametrize("measure", ["union", "smaller"])
def test_suppression_by_near_pairs_is_that_by_all_pairs(measure: str) -> None:
    rng = np.random.default_rng(5)
    corner, side = rng.uniform(0, 200, (3000, 2)), rng.gamma(2, 12, (3000, 1)) * rng.uniform(0.7, 1.4, (3000, 2))
    windows = np.column_stack([corner, corner + side, rng.permutation(3000) / 3000])
    windows[:30, 2] = windows[:30, 0] - 3  # turned inside out, as wild offsets can leave them
    ordered = windows[np.argsort(-windows[:, 4])]
    low, high, area = ordered[:, :2], ordered[:, 2:4], (ordered[:, 2:4] - ordered[:, :2]).prod(axis=1)
    shared = np.maximum(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0).prod(axis=2)
    whole = area[:, None] + area - shared if measure == "union" else np.minimum(area[:, None], area)
    for threshold in (0.2, 0.5, 0.7, 1.0):
        gone = np.triu(shared / whole > threshold, k=1).any(axis=0)
        np.testing.assert_array_equal(suppress(windows, threshold, measure), ordered[~gone])


def test_suppression_of_a_crowd_takes_little_memory() -> None:
    rng = np.random.default_rng(6)
    corner = rng.uniform(0, 1600, (20000, 2))
    windows = np.column_stack([corner, corner + 20, rng.random(20000)])
    tracemalloc.start()
    try:
        suppress(windows, 0.5, "union")
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_no_window_is_left_of_none() -> None:
    assert suppress(np.empty((0, 5)), 0.5, "smaller").shape == (0, 5)
