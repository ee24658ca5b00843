"""Hands: planted ones are found where they were drawn, bare faces have none, and the mask covers what was drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.assets import verified_path
from ostec.detect.faces import detect_faces, largest
from ostec.detect.landmarks import detect_landmarks
from ostec.io.images import read_image
from ostec.io.weights import load_strict, read_mtcnn, read_safetensors
from ostec.mask.hands import Hand, Palms, decode_palms, detect_hands, hand_mask, merge_palms
from ostec.mask.settings import HandSettings
from ostec.nets.facemesh import FaceMesh
from ostec.nets.hands import HandNetworks, PalmOutput
from ostec.nets.mtcnn import Mtcnn
from ostec.render.crops import Crop
from tests.mask.drawn_hand import draw_hand, hand_points

EXAMPLES = ("astronaut.png", "grace_hopper.jpg")
SKIN = (0.9, 0.68, 0.56)


@pytest.fixture(scope="module")
def networks():
    networks = HandNetworks()
    load_strict(networks, read_safetensors(verified_path("hands", "hands.safetensors")), "hands")
    return networks.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def examples(request):
    """Name -> photo and landmarks of its face [468, 3]."""
    detector, mesh = Mtcnn.from_keras(read_mtcnn()), FaceMesh()
    load_strict(mesh, read_safetensors(verified_path("facemesh", "facemesh.safetensors")), "facemesh")
    found = {}
    for name in EXAMPLES:
        image = read_image(request.config.rootpath / "examples" / name)
        found[name] = image, detect_landmarks(image, largest(detect_faces(image, detector)), mesh.eval()).points
    return found


def with_hand(example, right, down, turn_deg, size=0.35):
    """The photo with a hand drawn beside the nose, in heights of the face; and the hand's landmarks [21, 2]."""
    image, face = example
    height = np.ptp(face[:, 1])
    centre = (face[4, 0] + right * height, face[4, 1] + down * height)
    points = hand_points(centre, size * height, turn_deg)
    return draw_hand(image, points, SKIN), points


def flat_hand(centre=(100.0, 100.0), size=40.0, turn_deg=0.0):
    points = hand_points(centre, size, turn_deg)
    return Hand(np.pad(points, ((0, 0), (0, 1))).astype(np.float32), 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "right", "down", "turn_deg"),
    [
        ("astronaut.png", 0.35, 0.75, 0),
        ("astronaut.png", 0.0, 0.45, -60),
        ("grace_hopper.jpg", 0.45, 0.4, -20),
        ("grace_hopper.jpg", -0.3, 0.6, 30),
    ],
)
def test_landmarks_of_a_hand_before_the_face_are_where_it_was_drawn(networks, examples, name, right, down, turn_deg):
    photo, points = with_hand(examples[name], right, down, turn_deg)
    face = examples[name][1]
    (hand,) = detect_hands(photo, face, networks)
    assert np.abs(hand.points[:, :2] - points).mean() < 0.015 * np.ptp(face[:, 1])
    assert hand.confidence > 0.95
    assert hand.palm_confidence > 0.8


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_bare_face_has_no_hands(networks, examples, name):
    assert detect_hands(*examples[name], networks) == []


def test_two_hands_are_found_the_surest_first(networks, examples):
    left, _ = with_hand(examples["astronaut.png"], -0.75, 0.5, 20)
    both, _ = with_hand((left, examples["astronaut.png"][1]), 0.75, 0.5, -20)
    hands = detect_hands(both, examples["astronaut.png"][1], networks)
    assert len(hands) == 2
    assert hands[0].confidence >= hands[1].confidence
    assert abs(hands[0].points[9, 0] - hands[1].points[9, 0]) > np.ptp(examples["astronaut.png"][1][:, 1])


@pytest.mark.parametrize("change", [{"palm_confidence": 0.999}, {"confidence": 0.999}, {"sizes": (0.5, 0.9)}])
def test_both_networks_must_be_sure_and_the_size_plausible(networks, examples, change):
    photo, _ = with_hand(examples["astronaut.png"], 0.35, 0.75, 0)
    assert detect_hands(photo, examples["astronaut.png"][1], networks, replace(HandSettings(), **change)) == []


def test_other_images_are_refused(networks):
    for wrong in (np.zeros((4, 4), np.float32), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.float32)):
        with pytest.raises(ValueError, match=r"expected an image \[H, W, 3\] float32"):
            detect_hands(wrong, np.ones((468, 3), np.float32), networks)


def test_palms_are_decoded_from_their_anchors_into_the_photo():
    values = torch.zeros(1, 2016, 18)
    logits = torch.full((1, 2016), -9.0)
    # Cell row 2, column 3 of the coarse grid, its fifth anchor: middle (3.5 * 16, 2.5 * 16) = (56, 40).
    index = 2 * 24 * 24 + 6 * (2 * 12 + 3) + 4
    values[0, index, :6] = torch.tensor([4.0, -2.0, 30.0, 20.0, 10.0, 0.0])
    logits[0, index] = 0.0
    palms = decode_palms(PalmOutput(values, logits), 0, Crop((96.0, 192.0), 384.0, 0.0, 192))
    # The photo's scale is 2 and the square begins at (-96, 0).
    np.testing.assert_allclose(palms.boxes[index], [-96 + 2 * 45, 2 * 28, -96 + 2 * 75, 2 * 48])
    np.testing.assert_allclose(palms.points[index, 0], [-96 + 2 * 66, 2 * 40])
    assert palms.scores[index] == pytest.approx(0.5)
    assert palms.scores.argmax() == index
    assert decode_palms(PalmOutput(values, logits), 0, Crop((96.0, 96.0), 192.0, 0.0, 192)).points[3, 1, 0] == 12.0


def test_overlapping_palms_become_their_mean_by_score_and_others_stay():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [2, 0, 12, 10.0]])
    palms = Palms(boxes, np.repeat(boxes[:, None, :2], 7, axis=1), np.array([0.9, 0.7, 0.3]))
    merged = merge_palms(palms, HandSettings())
    np.testing.assert_allclose(merged.boxes, [[0.5, 0, 10.5, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(merged.points[:, 6], [[0.5, 0], [50, 50]])
    np.testing.assert_allclose(merged.scores, [0.9, 0.7])
    assert len(merge_palms(palms, HandSettings(most=1)).scores) == 1
    assert merge_palms(Palms(boxes[:0], np.zeros((0, 7, 2)), np.zeros(0)), HandSettings()).boxes.shape == (0, 4)


def test_mask_covers_the_drawn_hand_and_little_else():
    hand = flat_hand(turn_deg=40)
    black = np.zeros((200, 200, 3), np.float32)
    drawn = draw_hand(black, hand.points[:, :2].astype(np.float64), (1.0, 1.0, 1.0)).max(axis=2) > 0
    forearm = np.linalg.norm(np.indices(drawn.shape)[::-1] + 0.5 - hand.points[0, :2, None, None], axis=0) > 60
    down = hand.points[0, :2] - hand.points[9, :2]
    behind = np.tensordot(down, np.indices(drawn.shape)[::-1] + 0.5, 1) > down @ hand.points[0, :2]
    mask = hand_mask((200, 200), [hand])
    assert mask.shape == (200, 200)
    assert mask.dtype == np.float32
    assert (mask[drawn & ~behind] > 0.99).mean() > 0.99
    assert (mask[~drawn & ~behind] > 0.5).sum() < 0.5 * (drawn & ~behind).sum()
    assert mask[behind & forearm].max() == 0


def test_mask_is_in_the_photo_frame_and_grows_by_the_margin():
    hand = flat_hand()
    mask = hand_mask((200, 300), [hand])
    tip, settings = hand.points[12, :2], HandSettings()
    outline = tip[1] - (0.8 * settings.finger + settings.margin) * hand.palm_width
    column = mask[:, int(tip[0])]
    assert column[int(outline) + 2] == 1
    assert column[int(outline) - 2] == 0
    wider = hand_mask((200, 300), [hand], HandSettings(margin=settings.margin + 0.1))
    assert wider[int(outline) - 2, int(tip[0])] == 1
    assert (wider >= mask).all()


def test_mask_of_several_hands_is_their_union_and_of_none_empty():
    one, other = flat_hand(), flat_hand((210.0, 90.0), 30.0, 70.0)
    both = hand_mask((200, 300), [one, other])
    np.testing.assert_array_equal(both, np.maximum(hand_mask((200, 300), [one]), hand_mask((200, 300), [other])))
    assert not hand_mask((20, 30), []).any()


def test_a_palm_seen_edge_on_keeps_its_width():
    edge = replace(flat_hand(), points=flat_hand().points * np.array([0, 1, 1], np.float32))
    along = np.linalg.norm(edge.points[9] - edge.points[0])
    assert edge.palm_width == pytest.approx(0.6 * along)
    assert hand_mask((200, 200), [edge]).any()


def test_a_large_hand_is_drawn_as_the_small_one_enlarged():
    small = flat_hand()
    large = replace(small, points=small.points * np.float32(24))
    coarse = hand_mask((200, 200), [small])
    fine = hand_mask((4800, 4800), [large])
    shrunk = fine.reshape(200, 24, 200, 24).mean(axis=(1, 3))
    # At the outline one is soft over a pixel, the other the mean over a pixel's area.
    assert np.abs(shrunk - coarse)[(coarse == 0) | (coarse == 1)].mean() < 1e-3
    assert np.abs(shrunk - coarse)[(coarse > 0) & (coarse < 1)].mean() < 0.15


def test_a_hand_outside_the_photo_leaves_the_mask_empty_and_one_half_outside_fills_the_rest():
    hand = flat_hand()
    whole = hand_mask((200, 200), [hand])
    np.testing.assert_allclose(hand_mask((90, 100), [hand]), whole[:90, :100], atol=1e-5)
    assert not hand_mask((200, 200), [flat_hand((-300.0, 100.0))]).any()
