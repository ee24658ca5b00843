"""Hair: where it grows, what of a photo is taken for it, and that a bare scalp stays bare."""

import numpy as np
import pytest

from ostec.core.types import FloatArray, PhotoAround
from ostec.heads.around import SeenHead, holes, seen_head
from ostec.heads.eyes import sphere
from ostec.heads.hair import ear_of, painted, scalp_of, strands, usual_hair

SIZE, ZOOM, RADIUS = 768, 2.0, 90.0
BALL = sphere()
POINTS = BALL.points * RADIUS
SCALP = scalp_of(POINTS.astype(np.float32), np.empty((0, 3), np.float32))
COLLAR = -60.0
SKIN, BLACK = (0.75, 0.55, 0.45), (0.06, 0.05, 0.05)


def _seen(
    hair: tuple[float, float, float], contrast: float, collar: tuple[float, float, float] = SKIN, tint: float = 0.0
) -> SeenHead:
    """A ball for a head in front of green: ``hair``, skin below, reddened by ``tint`` at one side, then a collar."""
    camera = np.array([[ZOOM, 0, 0, SIZE / 2], [0, -ZOOM, 0, SIZE / 2]])
    x, y = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2)
    noise = np.exp(contrast * np.random.default_rng(0).normal(size=(SIZE, SIZE, 1)))
    picture = np.where((y < -50 * ZOOM)[..., None], np.clip(np.array(hair) * noise, 0, 1), SKIN)
    picture = picture * np.exp(tint * np.where(x > 0, 1, -1)[..., None] * [1, 0, -1])
    picture = np.where((y > -COLLAR * ZOOM)[..., None], collar, picture)
    person = np.hypot(x, y) < (RADIUS + 7) * ZOOM
    photo = PhotoAround(
        np.where(person[..., None], picture, (0, 0.8, 0)).astype(np.float32),
        person.astype(np.float32),
        camera,
        np.ones((SIZE, SIZE), np.float32),
    )
    face = (POINTS[:, 2] > 0.5 * RADIUS) & (POINTS[:, 1] < 40) & (POINTS[:, 1] > COLLAR)
    return seen_head(photo, POINTS, BALL.triangles, np.arange(len(POINTS), dtype=np.int32), SCALP, face)


def test_scalp_is_symmetric_and_leaves_face_ears_and_throat_free() -> None:
    places: FloatArray = np.array(
        [[0, 110, -20], [0, 20, -120], [0, 30, 80], [60, -10, 40], [85, -10, -35], [-85, -10, -35], [0, -110, 40]],
        np.float32,
    )
    scalp = scalp_of(places, np.empty((0, 3), np.float32))
    assert (scalp[:2] > 0.95).all()
    assert (scalp[2:] < 0.05).all()
    np.testing.assert_allclose(scalp, scalp_of(places * [-1, 1, 1], np.empty((0, 3), np.float32)))
    assert (ear_of(places)[4:6] > 0.9).all()


def test_dark_hair_is_seen_in_its_colour_and_stands_in_for_what_is_hidden() -> None:
    seen = _seen(BLACK, 0.4)
    assert seen.hair_colour is not None
    np.testing.assert_allclose(seen.hair_colour, BLACK, atol=0.03)
    assert seen.share[0] == 1
    usual = usual_hair(seen, SCALP, POINTS.astype(np.float32))
    back = (POINTS[:, 2] < -60) & (SCALP > 0.95)
    assert (usual[back] > 0.9).all()
    assert (seen.weight[POINTS[:, 2] < -30] == 0).all()


def test_bare_patch_with_hair_all_round_is_a_hole_but_not_one_that_reaches_the_brow() -> None:
    ids = np.arange(400).reshape(20, 20)
    corners = np.stack([ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(np.int32)
    scalp, hair, seen = np.ones((20, 20), np.float32), np.ones((20, 20)), np.ones((20, 20))
    scalp[15:] = hair[15:] = 0  # the brow
    hair[5:8, 3:6] = 0.2
    hair[5:, 12] = 0.2
    hair[1, 12:15] = seen[1, 12:15] = 0  # what is not seen is left to what people have
    found = holes(hair.ravel(), scalp.ravel(), seen.ravel(), triangles, ids.ravel().astype(np.int32)).reshape(20, 20)
    wanted = np.zeros((20, 20), bool)
    wanted[5:8, 3:6] = True
    np.testing.assert_array_equal(found, wanted)


def test_bare_scalp_and_its_shine_are_no_hair() -> None:
    assert _seen(SKIN, 0.0).hair_colour is None
    assert _seen((0.95, 0.9, 0.88), 0.01).hair_colour is None


@pytest.mark.parametrize("tint", [0.0, 0.15])
def test_a_collar_gives_the_neck_no_colour_beside_it_either(tint: float) -> None:
    """Even where a face lit in two colours varies more than the collar differs from it."""
    seen = _seen(SKIN, 0.0, collar=(0.55, 0.55, 0.62), tint=tint)
    neck = (seen.weight > 0.5) & (POINTS[:, 2] < 0.5 * RADIUS) & (POINTS[:, 1] < -30) & (SCALP < 0.01)
    above = POINTS[:, 1] - COLLAR
    assert (neck & (above < 0)).any()
    assert (neck & (above > 22)).any()
    assert seen.skin[neck & (above < 0)].max() < 0.2
    assert seen.skin[neck & (abs(above) < 4)].max() < 0.9
    assert seen.skin[neck & (above > 22)].min() > 0.5


def test_hair_covers_where_it_is_and_nothing_else() -> None:
    skin, hair = np.full((8, 8, 3), 0.7), np.zeros((8, 8), np.float32)
    hair[:, 4:] = 1
    made = painted(skin, hair, np.full((8, 8, 3), 0.1, np.float32), np.zeros((8, 8), np.float32), 0.2)
    np.testing.assert_allclose(made[:, :4], 0.7)
    np.testing.assert_allclose(made[:, 4:], 0.1, atol=1e-6)


def test_strands_have_deviation_one_and_are_the_same_each_time() -> None:
    inside = np.ones((64, 64), bool)
    points = np.random.default_rng(1).normal(size=(64, 64, 3)).astype(np.float32) * 60
    made = strands(points, inside)
    assert abs(float(made.std()) - 1) < 0.05
    np.testing.assert_array_equal(made, strands(points, inside))
