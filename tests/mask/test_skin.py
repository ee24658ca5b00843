"""Planted occluders on the mean face: what is hair or background is taken out, what is face stays."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ostec.core.assets import asset_path
from ostec.core.types import UvObservation
from ostec.load.topology import read_topology
from ostec.mask.skin import (
    FaceMask,
    MaskGuide,
    face_mask,
    mask_guide,
    polygon_mask,
    surround_colours,
)
from ostec.render.geometry import rotation_from_pose, vertex_normals
from ostec.render.uv import bake_layout

SIZE = 256
SKIN = np.float32([0.78, 0.56, 0.46])
HAIR = np.float32([0.10, 0.07, 0.05])
SKY = np.float32([0.25, 0.45, 0.85])


class Scene:
    """The mean face, shaded from the upper right, seen at a yaw."""

    def __init__(self, yaw_deg: float = 0.0, skin: np.ndarray = SKIN) -> None:
        topology = read_topology(asset_path("topology/facemesh.npz"))
        layout = bake_layout(topology, SIZE)
        mean = torch.from_numpy((topology.operator @ topology.mean_landmarks).astype(np.float32))
        normal = layout.attribute(vertex_normals(mean, layout.triangles))
        normal = torch.nn.functional.normalize(normal, dim=-1).numpy() @ rotation_from_pose(0, yaw_deg).T
        self.normal = normal.astype(np.float32)
        self.inside = layout.inside.numpy()
        self.topology = topology
        self.guide: MaskGuide = mask_guide(topology, self.inside)
        self.weight = np.where(self.inside, np.clip(self.normal[..., 2], 0, 1), 0).astype(np.float32)
        light = 0.35 + 0.65 * np.clip(self.normal @ np.float32([0.4, 0.3, 0.866]), 0, 1)
        noise = np.random.default_rng(0).normal(0, 0.015, (SIZE, SIZE, 1))
        self.colour = np.clip(skin * light[..., None] + noise, 0, 1).astype(np.float32)
        self.u = np.broadcast_to((np.arange(SIZE) + 0.5) / SIZE, (SIZE, SIZE))
        self.v = 1 - self.u.T

    def paint(self, where: np.ndarray, colour: np.ndarray) -> np.ndarray:
        self.colour[where & self.inside] = colour
        return where & self.inside & (self.weight > 0.1)

    def seen(self) -> UvObservation:
        return UvObservation(
            colour=self.colour,
            cosine=self.weight,
            visible=self.weight > 0,
            mask=self.inside.astype(np.float32),
            margin_mm=self.guide.rim * 200,
            normal=self.normal,
            inside=self.inside,
        )

    def mask(self, surround: np.ndarray | None = None) -> np.ndarray:
        """Hair above and sky beside the head, unless other colours are given."""
        if surround is None:
            surround = np.repeat([HAIR, SKY], 300, axis=0)
            surround = surround + np.random.default_rng(1).normal(0, 0.02, surround.shape).astype(np.float32)
        return self.found(surround).mask

    def found(self, surround: np.ndarray) -> FaceMask:
        return face_mask(self.seen(), self.guide, np.clip(surround, 0, 1))

    def away_from(self, where: np.ndarray) -> np.ndarray:
        """Texels well seen and at least 5 % of the texture away from ``where``."""
        return self.inside & (self.weight > 0.3) & ~ndimage.binary_dilation(where, iterations=SIZE // 20)


@pytest.mark.parametrize("yaw_deg", [0.0, 25.0])
@pytest.mark.parametrize("skin", [SKIN, SKIN * 0.45], ids=["light", "dark"])
def test_a_bare_face_is_kept_whole(yaw_deg, skin):
    scene = Scene(yaw_deg, skin)
    mask = scene.mask()
    assert mask.shape == (SIZE, SIZE)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert not mask[~scene.inside].any()
    well = scene.inside & (scene.weight > 0.3)
    assert (mask[well] > 0.5).mean() > 0.97


NOTHING = np.zeros((0, 3), np.float32)
"""The mesh fills the photo: no colour of the surroundings is known."""


@pytest.mark.parametrize("surround", [None, NOTHING], ids=["surround", "no surround"])
def test_a_dark_fringe_is_taken_out_and_the_face_below_stays(surround):
    scene = Scene()
    fringe = scene.paint(scene.v > 0.88, HAIR)
    mask = scene.mask(surround)
    assert mask[fringe].mean() < 0.1
    assert (mask[scene.away_from(fringe)] > 0.5).mean() > 0.97


@pytest.mark.parametrize("surround", [None, NOTHING], ids=["surround", "no surround"])
@pytest.mark.parametrize("side", [0, 1])
def test_background_at_the_side_is_taken_out(side, surround):
    scene = Scene()
    distance = scene.u if side == 0 else 1 - scene.u
    strip = scene.paint(distance < 0.12, SKY)
    mask = scene.mask(surround)
    assert strip.sum() > 300
    assert mask[strip].mean() < 0.1
    assert (mask[scene.away_from(strip)] > 0.5).mean() > 0.97


def test_a_highlight_on_the_nose_is_kept():
    scene = Scene()
    nose = scene.topology.uv[4]
    spot = scene.paint(np.hypot(scene.u - nose[0], scene.v - nose[1]) < 0.03, np.float32([1, 0.98, 0.95]))
    assert (scene.mask()[spot] > 0.5).all()


def test_a_dark_beard_is_kept():
    scene = Scene()
    lips = scene.topology.regions["lips"].mean(0)
    beard = (np.abs(scene.u - lips[0]) < 0.15) & (scene.v < lips[1]) & (scene.guide.rim > 0.12)
    beard = scene.paint(beard, HAIR)
    mask = scene.mask()
    assert beard.sum() > 500
    assert (mask[beard] > 0.5).mean() > 0.9
    assert (mask[scene.away_from(beard)] > 0.5).mean() > 0.97


def test_dark_eyes_and_red_lips_are_kept():
    scene = Scene()
    regions = scene.topology.regions
    eyes = scene.paint(polygon_mask(regions["eye_left"], SIZE) | polygon_mask(regions["eye_right"], SIZE), HAIR)
    lips = scene.paint(polygon_mask(regions["lips"], SIZE), np.float32([0.7, 0.15, 0.2]))
    mask = scene.mask()
    assert (mask[eyes] > 0.5).mean() > 0.95
    assert (mask[lips] > 0.5).mean() > 0.95


def test_what_was_not_seen_has_no_say_and_is_not_masked():
    scene = Scene(yaw_deg=25.0)
    unseen = scene.inside & (scene.u < 0.35)
    scene.weight[unseen] = 0
    plain = scene.mask()
    scene.colour[unseen] = np.float32([0, 1, 0])
    np.testing.assert_array_equal(scene.mask(), plain)
    assert (plain[unseen] == 1).all()


def test_too_little_skin_seen_to_know_its_colour_masks_nothing():
    scene = Scene()
    scene.weight[:] = 0
    np.testing.assert_array_equal(scene.mask(), scene.inside.astype(np.float32))
    scene.weight[(scene.u < 0.15) & scene.inside] = 0.8  # a strip of the rim, none of it surely skin
    scene.paint(scene.u < 0.15, SKY)
    np.testing.assert_array_equal(scene.mask(), scene.inside.astype(np.float32))


def test_skin_in_the_surroundings_takes_no_skin_out():
    # Neck and ears lie just outside the mesh and look like the face.
    scene = Scene()
    noise = np.random.default_rng(2).uniform(0.6, 1.0, (600, 1)).astype(np.float32)
    mask = scene.mask(SKIN * noise)
    well = scene.inside & (scene.weight > 0.3)
    assert (mask[well] > 0.5).mean() > 0.97


def test_arguments_are_not_changed():
    scene = Scene()
    before = scene.colour.copy(), scene.normal.copy(), scene.weight.copy()
    scene.mask()
    for array, kept in zip((scene.colour, scene.normal, scene.weight), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_other_sizes_are_refused():
    scene = Scene()
    small = mask_guide(scene.topology, scene.inside[::2, ::2])
    with pytest.raises(ValueError, match="expected 128 texels, got 256"):
        face_mask(scene.seen(), small, NOTHING)


def outlined(up: tuple[float, float]) -> np.ndarray:
    """What surrounds a circle of radius 50 in a photo whose quarters differ in colour; the circle itself is white."""
    y, x = np.mgrid[:200, :200] + 0.5 - 100
    photo = np.zeros((200, 200, 3), np.float32)
    photo[..., 0] = x > np.abs(y)
    photo[..., 1] = -x > np.abs(y)
    photo[..., 2] = -y > np.abs(x)  # above
    photo[np.hypot(x, y) < 50] = 1
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = 100 + 50 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return surround_colours(photo, np.concatenate([circle, circle * 0.5 + 50]), np.array(up))


def test_the_surroundings_are_outside_the_mesh_and_not_below_the_chin():
    colours = outlined((0.0, -1.0))
    assert colours.shape[1] == 3
    assert not (colours == 1).all(axis=1).any(), "nothing of the face"
    share = [np.mean((colours == colour).all(axis=1)) for colour in np.eye(3, dtype=np.float32)]
    assert min(share) > 0.2, "both sides and the top"
    assert np.mean(~colours.any(axis=1)) < 0.1, "hardly anything from below"
    upside_down = outlined((0.0, 1.0))
    assert np.mean(~upside_down.any(axis=1)) > 0.2


def test_a_mesh_that_fills_the_photo_has_no_surroundings():
    corners = np.array([[-20.0, -20.0], [60.0, -20.0], [60.0, 60.0], [-20.0, 60.0], [20.0, 20.0]])
    assert surround_colours(np.ones((40, 40, 3), np.float32), corners, np.array([0.0, -1.0])).shape == (0, 3)


def test_guide_knows_where_things_are():
    scene = Scene()
    guide = scene.guide
    assert np.array_equal(guide.inside, scene.inside)
    assert not (guide.core & ~guide.inside).any()
    eyes = polygon_mask(scene.topology.regions["eye_left"], SIZE) | polygon_mask(scene.topology.regions["lips"], SIZE)
    assert not (guide.core & eyes).any(), "eyes and lips are not surely skin"
    cheek = scene.topology.uv[50]
    assert guide.core[int((1 - cheek[1]) * SIZE), int(cheek[0] * SIZE)]
    assert np.array_equal(guide.core, guide.core[:, ::-1])
    assert guide.rim[~guide.inside].max() == 0
    assert guide.rim.max() < 0.5


def test_polygon_by_hand():
    # A triangle with corners (0, 0), (1, 0), (0, 1) in UV: texels below the falling diagonal; rows run from v = 1.
    triangle = np.float32([[0, 0], [1, 0], [0, 1]])
    found = polygon_mask(triangle * 1.01, 4)
    expected = np.tril(np.ones((4, 4), bool))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(polygon_mask(triangle[::-1] * 1.01, 4), expected, err_msg="either winding")


def test_polygon_that_is_not_convex():
    arrow = np.float32([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.5, 0.3]])
    found = polygon_mask(arrow, 100)
    assert not found[49, 50]  # above the notch
    assert found[79, 50]
    assert found[49, 80]


RIM = np.float32([0.08, 0.06, 0.06])


def draw_spectacles(
    scene: Scene, bridge: bool = True, radius: float = 0.11, width: float = 0.012, colour: np.ndarray = RIM
) -> np.ndarray:
    """Two round rims, the bridge between them and the arms to the temples; returns what was painted."""
    rims = np.zeros((SIZE, SIZE), bool)
    for name in ("eye_left", "eye_right"):
        u, v = scene.topology.regions[name].mean(0)
        distance = np.hypot(scene.u - u, (scene.v - v) * 1.2)
        rims |= np.abs(distance - radius) < width
        arm = np.abs(scene.v - v - 0.02) < width
        outer = scene.u < u - radius if u < 0.5 else scene.u > u + radius
        rims |= arm & outer & (np.abs(scene.u - 0.5) < 0.45)
    if bridge:
        rims |= (np.abs(scene.v - v - 0.02) < 1.25 * width) & (np.abs(scene.u - 0.5) < 0.1)
    rims &= ~scene.guide.rims.eyes
    return scene.paint(rims, colour)


def draw_brows(scene: Scene) -> np.ndarray:
    """Dark brows where the layout has them."""
    return scene.paint(scene.guide.rims.brows, HAIR)


@pytest.mark.parametrize("skin", [SKIN, SKIN * 0.45], ids=["light", "dark"])
def test_rims_of_spectacles_are_taken_out_and_the_eyes_stay(skin):
    scene = Scene(skin=skin)
    rims = draw_spectacles(scene)
    found = scene.found(NOTHING)
    assert found.spectacles.any()
    assert found.mask[rims].mean() < 0.05
    assert found.mask[scene.guide.rims.eyes].min() > 0.9
    assert (found.mask[scene.away_from(rims)] > 0.5).mean() > 0.95


@pytest.mark.parametrize("width", [0.006, 0.015], ids=["wire", "horn"])
@pytest.mark.parametrize("radius", [0.10, 0.115, 0.13], ids=["below the brow", "on the brow", "above it"])
def test_upper_rims_are_taken_out_where_they_lie_on_dark_brows(radius, width):
    scene = Scene()
    draw_brows(scene)
    rims = draw_spectacles(scene, radius=radius, width=width)
    found = scene.found(NOTHING)
    assert (found.mask[rims] < 0.5).mean() > 0.97
    on_brow = rims & scene.guide.rims.brows
    assert not on_brow.any() or (found.mask[on_brow] < 0.5).mean() > 0.97


def test_brows_above_rims_that_leave_them_free_stay():
    scene = Scene()
    brows = scene.paint(scene.guide.rims.brows, SKIN * 0.6)
    rims = draw_spectacles(scene, radius=0.085, width=0.012)
    free = brows & ~ndimage.binary_dilation(rims, iterations=10)
    assert free.sum() > 300
    assert (scene.found(NOTHING).mask[free] > 0.5).mean() > 0.97


def test_dark_rings_that_do_not_cross_the_nose_are_no_spectacles():
    scene = Scene()
    draw_spectacles(scene, bridge=False)
    assert not scene.found(NOTHING).spectacles.any()


@pytest.mark.parametrize("brows", [False, True])
def test_a_bare_face_has_no_spectacles(brows):
    scene = Scene()
    if brows:
        draw_brows(scene)
    found = scene.found(NOTHING)
    assert not found.spectacles.any()
    assert (found.mask[scene.guide.rims.brows] > 0.5).all()
