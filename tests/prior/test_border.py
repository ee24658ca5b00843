"""Bare skin near the chart's border: patches go, shade and features stay."""

import numpy as np
import pytest
from scipy import ndimage

from ostec.prior.border import bare_skin
from ostec.prior.settings import SkinSettings

SIZE = 64
SKIN = np.array([0.75, 0.55, 0.45])
HAIR = np.array([0.25, 0.22, 0.2])

Y, X = np.mgrid[:SIZE, :SIZE]
INSIDE = (X - 31.5) ** 2 + (Y - 31.5) ** 2 < 31**2
RIM = (ndimage.distance_transform_edt(np.pad(INSIDE, 1))[1:-1, 1:-1] / SIZE)[INSIDE]
NO_FEATURES = np.zeros_like(INSIDE)
PATCH = ((X < 8) & (np.abs(Y - 32) < 6))[INSIDE]
EVERYWHERE = np.ones(INSIDE.sum(), np.float32)
NOWHERE = 0 * EVERYWHERE


def flat(colour: np.ndarray = SKIN) -> np.ndarray:
    return np.tile(colour, (INSIDE.sum(), 1)).astype(np.float32)


def with_patch() -> np.ndarray:
    texture = flat()
    texture[PATCH] = HAIR
    return texture


def test_a_patch_of_hair_in_the_model_becomes_skin():
    made = bare_skin(with_patch(), flat(), NOWHERE, INSIDE, NO_FEATURES)
    before, after = (np.abs(np.log(t[PATCH] / SKIN)).mean() for t in (with_patch(), made.texture))
    assert before > 0.8
    assert after < 0.17, "the limit of light and chroma, and a third of the patch is near the free part"
    assert not made.hair.any(), "the photo showed nothing"


def test_the_middle_stays_as_it_is():
    random = np.random.default_rng(0)
    texture = (flat() * random.uniform(0.7, 1.2, (len(RIM), 1))).astype(np.float32)
    made = bare_skin(texture, flat(), NOWHERE, INSIDE, NO_FEATURES)
    free = SkinSettings().rim[1] <= RIM
    np.testing.assert_allclose(made.texture[free], texture[free], atol=1e-5)
    assert np.abs(made.texture - texture)[RIM < 0.1].mean() > 0.02


def test_plain_skin_is_left_alone():
    made = bare_skin(flat(), flat(), EVERYWHERE, INSIDE, NO_FEATURES)
    np.testing.assert_allclose(made.texture, flat(), atol=1e-4)
    assert not made.hair.any()


def test_a_side_in_the_shade_stays_in_the_shade():
    shade = np.clip((X[INSIDE] - 12) / 40, 0.3, 1)[:, None]
    texture = (flat() * shade).astype(np.float32)
    made = bare_skin(texture, texture, NOWHERE, INSIDE, NO_FEATURES)
    dark = (X[INSIDE] < 8) & (np.abs(Y[INSIDE] - 32) < 10)
    assert made.texture[dark].mean() == pytest.approx(texture[dark].mean(), rel=0.15)


def test_features_at_the_border_stay():
    features = NO_FEATURES.copy()
    features.flat[np.flatnonzero(INSIDE)[PATCH]] = True
    made = bare_skin(with_patch(), flat(), NOWHERE, INSIDE, features)
    np.testing.assert_allclose(made.texture[PATCH], with_patch()[PATCH], atol=0.02)


def test_hair_in_the_photo_is_found_where_it_is():
    made = bare_skin(flat(), with_patch(), EVERYWHERE, INSIDE, NO_FEATURES)
    core = PATCH & (X[INSIDE] < 5)
    assert made.hair[core].min() > 0.9
    assert made.hair[~PATCH & (X[INSIDE] > 12)].max() == 0


@pytest.mark.parametrize(
    ("colour", "what"),
    [(SKIN * 0.85, "shade"), (np.minimum(SKIN * 1.3 + 0.05, 1), "highlight"), (SKIN * [1.03, 0.97, 1.0], "blush")],
)
def test_what_is_no_hair_stays(colour, what):
    photo = flat()
    photo[PATCH] = colour
    assert bare_skin(flat(), photo, EVERYWHERE, INSIDE, NO_FEATURES).hair.max() == 0, what


def test_a_tint_is_hair_though_it_is_not_darker():
    photo = flat()
    photo[PATCH] = SKIN.mean()
    assert bare_skin(flat(), photo, EVERYWHERE, INSIDE, NO_FEATURES).hair[PATCH].max() > 0.5


def test_a_freckle_is_no_hair():
    photo = flat()
    photo[(X[INSIDE] == 4) & (Y[INSIDE] == 32)] = SKIN * 0.6
    assert bare_skin(flat(), photo, EVERYWHERE, INSIDE, NO_FEATURES).hair.max() < 0.2


def test_hair_that_is_not_trusted_is_not_looked_at():
    trust = np.where(PATCH, 0, 1).astype(np.float32)
    made = bare_skin(flat(), with_patch(), trust, INSIDE, NO_FEATURES)
    assert not made.hair.any()
    np.testing.assert_allclose(made.texture, flat(), atol=1e-4)
