"""What each view shows, how it is drawn for a generator, and that what is drawn comes back."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.assets import asset_path
from ostec.core.types import EYES, MOUTH_CORNERS, Provenance, Topology, ViewFrame
from ostec.load.topology import read_topology
from ostec.project.studio import FRONT, TURNED, View, ViewStudio, views_of, waves_of
from ostec.render.uv import UvLayout, bake_layout, view_surface
from tests.toy import toy_face, toy_texture, toy_topology

MEAN_SHAPE = ViewFrame(own_shape=False, ffhq_crop=False)
FFHQ = ViewFrame(own_shape=True, ffhq_crop=True)
RESOLUTION, TEXELS = 128, 128
VIEWS = {view.name: view for view in views_of("hard")}
CHIN = 152
"""FaceMesh id of the lowest landmark."""
CHIN_FRONT, CHIN_SIDES = 199, (148, 377)
"""FaceMesh ids on the chin's front, which faces the viewer, and on its underside, beside the lowest landmark."""


@pytest.fixture(scope="module")
def topology() -> Topology:
    """The one that ships."""
    return read_topology(asset_path("topology/facemesh.npz"))


def layouts(topology: Topology) -> Callable[[int], UvLayout]:
    baked: dict[int, UvLayout] = {}
    return lambda size: baked.setdefault(size, bake_layout(topology, size))


@pytest.fixture(scope="module")
def layout_at(topology) -> Callable[[int], UvLayout]:
    return layouts(topology)


@pytest.fixture(scope="module")
def studio(topology, layout_at) -> ViewStudio:
    return ViewStudio(topology, toy_face(topology), MEAN_SHAPE, RESOLUTION, layout_at)


@pytest.fixture(scope="module")
def vertices(topology) -> torch.Tensor:
    return torch.from_numpy((topology.operator @ topology.mean_landmarks).astype(np.float32))


def full(value: float = 1.0, size: int = TEXELS) -> np.ndarray:
    return np.full((size, size), value, np.float32)


def test_views_are_oste_cs_in_its_order():
    table = [
        ("front", (0, 0), 2.0, Provenance.FRONT),
        ("bottom", (30, 0), 1.3, Provenance.BOTTOM),
        ("bottom_left", (15, 30), 1.0, Provenance.BOTTOM_LEFT),
        ("bottom_right", (15, -30), 1.0, Provenance.BOTTOM_RIGHT),
        ("left", (-5, 40), 1.0, Provenance.LEFT),
        ("right", (-5, -40), 1.0, Provenance.RIGHT),
    ]
    assert [(v.name, v.pose_deg, v.weight, v.provenance) for v in views_of("hard")] == table
    assert views_of("soft") == views_of("hard")[1:]
    assert FRONT not in views_of("soft")


def test_other_modes_are_refused():
    with pytest.raises(ValueError, match="expected soft or hard, got 'auto'"):
        views_of("auto")


@pytest.fixture(scope="module")
def seen(topology, layout_at, studio, vertices) -> dict:
    """How each view sees the mean shape."""
    return {
        name: view_surface(vertices, studio.camera(view.pose_deg, RESOLUTION), layout_at(TEXELS))
        for name, view in VIEWS.items()
    }


def test_the_bottom_view_sees_the_underside_of_the_chin(topology, layout_at, studio, vertices, seen):
    height = layout_at(TEXELS).attribute(vertices)[..., 1]
    below = layout_at(TEXELS).inside & (height < topology.mean_landmarks[CHIN_FRONT, 1] - 6)
    underside = below & (seen["front"].cosine < 0.6)
    assert underside.sum() > 100
    gain = seen["bottom"].cosine - seen["front"].cosine
    # The jaw's corners, which face sideways, gain little.
    assert (gain[underside] > 0).float().mean() > 0.9
    assert float(gain[underside].mean()) > 0.15
    assert seen["bottom"].visible[underside].float().mean() > 0.98
    middle = underside & (layout_at(TEXELS).attribute(vertices)[..., 0].abs() < 25)
    assert float(seen["bottom"].cosine[middle].min()) > 0.6


def test_the_bottom_view_brings_the_chin_up_towards_the_middle(topology, studio):
    chin = torch.from_numpy(topology.mean_landmarks[[CHIN, CHIN_FRONT, *CHIN_SIDES]])
    front, bottom = (studio.camera(VIEWS[name].pose_deg, RESOLUTION).project(chin)[0] for name in ("front", "bottom"))
    middle = RESOLUTION / 2
    assert ((bottom[:, 1] - middle).abs() < (front[:, 1] - middle).abs() - 10).all()
    # The underside is in the picture below the chin's front, and takes more of it than from the front.
    under_front, under_bottom = (p[2:, 1].mean() - p[1, 1] for p in (front, bottom))
    assert under_bottom > under_front > 0


@pytest.mark.parametrize(("name", "sign"), [("left", -1), ("bottom_left", -1), ("right", 1), ("bottom_right", 1)])
def test_side_views_reveal_the_side_that_they_are_named_after(layout_at, vertices, seen, name, sign):
    """Left is the image's left, where x is negative."""
    x = layout_at(TEXELS).attribute(vertices)[..., 0] * sign
    revealed, hidden = (layout_at(TEXELS).inside & m for m in (x > 40, x < -40))
    assert float((seen[name].cosine - seen["front"].cosine)[revealed].mean()) > 0.2
    assert float((seen[name].cosine - seen["front"].cosine)[hidden].mean()) < -0.2
    assert seen[name].visible[revealed].float().mean() > 0.99
    assert seen[name].visible[hidden].float().mean() < 0.6


def test_opposite_views_are_mirror_images(studio, topology):
    texture = toy_texture(TEXELS)
    symmetric = (texture + texture[:, ::-1]) / 2
    left, right = (studio.draw(symmetric, full(), VIEWS[name]).image for name in ("left", "right"))
    assert float((left - right.flip(-1)).abs().mean()) < 1e-3


def test_the_mean_shape_fits_into_every_picture(studio):
    for view in views_of("hard"):
        drawn = studio.draw(toy_texture(TEXELS), full(), view)
        rim = torch.cat([drawn.guessed, drawn.trust, drawn.image], dim=1)
        for edge in (rim[..., 0, :], rim[..., -1, :], rim[..., 0], rim[..., -1]):
            assert (edge[:, 2:] == 0).all()  # the ground's grey


@pytest.mark.parametrize("frame", [MEAN_SHAPE, FFHQ], ids=["fixed", "ffhq"])
@pytest.mark.parametrize("name", ["front", "bottom", "left"])
def test_what_is_drawn_comes_back_where_it_is_seen_well(topology, layout_at, frame, name):
    studio = ViewStudio(topology, toy_face(topology), frame, RESOLUTION, layout_at)
    texture = toy_texture(TEXELS)
    drawn = studio.draw(texture, full(), VIEWS[name])
    read = studio.read(drawn.image[0], VIEWS[name], TEXELS)
    well = read.visible & (read.cosine > 0.4) & (read.margin_mm > 4)
    assert well.mean() > 0.3
    error = (read.colour - texture)[well]
    assert -10 * np.log10(np.square(error).mean()) > 40
    assert np.abs(error.mean(0)).max() < 0.003  # no shift of colour
    assert not read.colour[~read.visible].any()
    assert (read.provenance, read.weight) == (VIEWS[name].provenance, VIEWS[name].weight)
    for plane, dtype in ((read.colour, np.float32), (read.cosine, np.float32), (read.visible, bool)):
        assert plane.shape[:2] == (TEXELS, TEXELS)
        assert plane.dtype == dtype


def test_reading_is_not_off_by_half_a_pixel(topology, layout_at):
    """A texel's colour is that of the picture at the point where the camera sees it, pixel centres at + 0.5."""
    studio = ViewStudio(topology, toy_face(topology), MEAN_SHAPE, 32, layout_at)
    centre = (torch.arange(32) + 0.5) / 32 * 1.8 - 0.9
    ramp = torch.stack([centre.expand(32, 32), centre[:, None].expand(32, 32), torch.zeros(32, 32)])
    read = studio.read(ramp, VIEWS["left"], TEXELS)
    points = layout_at(TEXELS).attribute(torch.from_numpy(toy_face(topology).vertices))
    pixel = studio.camera(VIEWS["left"].pose_deg, 32).project(points)[0].numpy()
    inner = read.visible & ((pixel > 2) & (pixel < 30)).all(-1)
    wanted = (pixel / 32 * 1.8 - 0.9) / 2 + 0.5
    # A pixel's step is 0.028, and PyTorch's cubic kernel does not keep straight lines exactly.
    np.testing.assert_allclose(read.colour[inner][:, :2], wanted[inner], atol=2e-3)


def test_texels_beyond_the_picture_are_not_visible(topology, layout_at):
    narrow = replace(MEAN_SHAPE, span_mm=80.0)
    studio = ViewStudio(topology, toy_face(topology), narrow, 32, layout_at)
    read = studio.read(torch.ones(3, 32, 32), FRONT, TEXELS)
    points = layout_at(TEXELS).attribute(torch.from_numpy(toy_face(topology).vertices)).numpy()
    assert read.visible.any()
    assert (np.abs(points[read.visible] - narrow.centre_mm)[:, :2] <= 40.01).all()
    assert not read.colour[~read.visible].any()


def test_pictures_are_in_the_generators_range(studio):
    checks = np.indices((TEXELS, TEXELS)).sum(0) // 4 % 2
    texture = np.repeat(checks[..., None], 3, axis=-1).astype(np.float32)
    for view in views_of("hard"):
        drawn = studio.draw(texture, texture[..., 0], view)
        assert drawn.image.shape == (1, 3, RESOLUTION, RESOLUTION)
        assert drawn.image.dtype == torch.float32
        assert -1 <= float(drawn.image.min()) < -0.9
        assert 0.9 < float(drawn.image.max()) <= 1
        for mask in (drawn.trust, drawn.guessed):
            assert mask.shape == (1, 1, RESOLUTION, RESOLUTION)
            assert (mask >= 0).all()
            assert (mask <= 1).all()


def test_a_white_picture_is_read_as_white_and_nothing_overshoots(studio):
    picture = torch.ones(3, RESOLUTION, RESOLUTION)
    read = studio.read(picture, FRONT, TEXELS)
    np.testing.assert_allclose(read.colour[read.visible], 1, atol=1e-5)
    picture[:, ::2, ::3] = -1
    colour = studio.read(picture, FRONT, TEXELS).colour
    assert colour.min() >= 0
    assert colour.max() <= 1


@pytest.mark.parametrize("ffhq_crop", [False, True])
def test_ground_is_trusted_only_where_it_was_plain_in_training(topology, layout_at, ffhq_crop):
    frame = ViewFrame(own_shape=False, ffhq_crop=ffhq_crop, ground=0.25)
    studio = ViewStudio(topology, toy_face(topology), frame, RESOLUTION, layout_at)
    drawn = studio.draw(toy_texture(TEXELS), full(0.0), VIEWS["left"])
    corner = np.s_[..., :8, -8:]
    assert (drawn.image[corner] == -0.5).all()
    assert (drawn.trust[corner] == (0 if ffhq_crop else 1)).all()
    assert (drawn.guessed[corner] == 0).all()
    face = np.s_[..., 60:68, 50:58]
    assert (drawn.trust[face] == 0).all()
    assert (drawn.guessed[face] == 1).all()
    whole = drawn.guessed + drawn.trust
    if not ffhq_crop:
        torch.testing.assert_close(whole, torch.ones_like(whole))


def test_trust_is_drawn_where_the_texture_is_trusted(studio):
    """Trust painted as a colour arrives where it is drawn as trust."""
    trust = full(0.0)
    trust[:, : TEXELS // 2] = 1
    trust[90:] *= 0.5
    texture = np.repeat(trust[..., None], 3, axis=-1)
    for name in ("front", "bottom", "right"):
        drawn = studio.draw(texture, trust, VIEWS[name])
        covered = (drawn.trust + drawn.guessed)[0, 0] > 0.999
        ground = 1 - drawn.trust - drawn.guessed
        assert float(ground.abs().max()) < 1e-5
        everything = studio.draw(texture, full(), VIEWS[name])
        face = (everything.guessed[0, 0] == 0) & (studio.draw(texture, full(0.0), VIEWS[name]).trust[0, 0] < 1e-6)
        assert (face & covered).sum() > 3000
        painted = drawn.image[0, 0] / 2 + 0.5
        torch.testing.assert_close(drawn.trust[0, 0][face], painted[face], atol=1e-5, rtol=0)
        torch.testing.assert_close(drawn.guessed[0, 0][face], 1 - painted[face], atol=1e-5, rtol=0)
        assert (everything.trust[0, 0] > 1 - 1e-5).all()
    back = studio.read(studio.draw(texture, trust, FRONT).trust[0].expand(3, -1, -1) * 2 - 1, FRONT, TEXELS)
    well = back.visible & (back.margin_mm > 4) & (back.cosine > 0.4)
    assert np.abs(back.colour[..., 0] - trust)[well].mean() < 0.03


def covered_width(studio: ViewStudio) -> float:
    """Widest row of the face in the front view, pixels."""
    drawn = studio.draw(toy_texture(TEXELS), full(), FRONT)
    return float(drawn.trust.sum(-1).max())


def test_generators_of_natural_photos_get_the_faces_own_shape(topology, layout_at):
    face = toy_face(topology)
    wide = replace(face, vertices=face.vertices * np.float32([1.2, 1, 1]))
    kept = replace(wide, vertices=wide.vertices.copy())
    landmarks = topology.mean_landmarks.copy()
    # FaceMesh's eyes give the frame its size: only the cheeks are widened there.
    for pair in EYES:
        kept.vertices[list(pair)] = landmarks[list(pair)]
    widths = [covered_width(ViewStudio(topology, f, FFHQ, RESOLUTION, layout_at)) for f in (face, kept)]
    assert widths[1] > 1.12 * widths[0]
    pictures = [
        ViewStudio(topology, f, MEAN_SHAPE, RESOLUTION, layout_at).draw(toy_texture(TEXELS), full(), FRONT).image
        for f in (face, kept)
    ]
    assert torch.equal(*pictures)


def test_ffhq_places_eyes_and_mouth(topology, layout_at):
    """Half the side is twice the eyes' distance or 1.8 times that from eyes to mouth, whatever the face's size."""
    face = toy_face(topology)
    for size in (0.8, 1.25):
        scaled = replace(face, vertices=(face.vertices * size).astype(np.float32))
        studio = ViewStudio(topology, scaled, FFHQ, RESOLUTION, layout_at)
        points = torch.from_numpy(scaled.vertices)
        pixel = studio.camera((0.0, 0.0), RESOLUTION).project(points)[0].numpy()
        eyes = np.stack([pixel[list(pair)].mean(0) for pair in EYES])
        mouth, between = pixel[list(MOUTH_CORNERS)].mean(0), eyes.mean(0)
        np.testing.assert_allclose(between + 0.1 * (mouth - between), RESOLUTION / 2, atol=0.01)
        across, down = np.linalg.norm(eyes[1] - eyes[0]), np.linalg.norm(mouth - between)
        # The distance from eyes to mouth is measured in depth as well.
        assert max(2 * across, 1.8 * down) <= RESOLUTION / 2 + 0.01
        assert max(2 * across, 1.8 * down) > 0.95 * RESOLUTION / 2


def test_the_camera_of_a_larger_picture_sees_the_same(studio):
    points = torch.from_numpy(toy_topology().mean_landmarks)
    small, large = (studio.camera((15.0, 30.0), size).project(points)[0] for size in (RESOLUTION, 4 * RESOLUTION))
    torch.testing.assert_close(4 * small, large, atol=1e-3, rtol=1e-5)


def test_views_have_names_for_files():
    assert [View((0.0, 0.0), v.provenance, 1.0).name for v in TURNED][1] == "bottom_left"


def test_waves_by_hand():
    names = [[view.name for view in wave] for wave in waves_of("hard", "waves")]
    assert names == [["front"], ["bottom"], ["bottom_left", "bottom_right"], ["left", "right"]]
    assert waves_of("soft", "waves") == waves_of("hard", "waves")[1:]
    assert waves_of("hard", "progressive") == tuple((view,) for view in views_of("hard"))
    with pytest.raises(ValueError, match="expected progressive or waves, got 'at once'"):
        waves_of("soft", "at once")
