"""Heads planted in their own landmarks are found again, within ranges and priors; the rest follows smoothly."""

import time
from dataclasses import replace

import numpy as np
import pytest

from ostec.core.errors import AssetError, FaceError
from ostec.core.morphable import MorphableModel
from ostec.core.types import FloatArray
from ostec.fit.dense import weighted_similarity
from ostec.fit.morphable import HeadFitter, skin_triangles
from ostec.load.correspondence import correspondence_of
from ostec.load.morphable.read import read_morphable
from ostec.render.geometry import rotation_from_pose
from tests.toy_head import EYES, MM_PER_UNIT, toy_correspondence, toy_head_model

MODEL = toy_head_model()
FITTER = HeadFitter(MODEL, toy_correspondence(MODEL))
IDENTITY = np.float32([1.0, -0.8, 0.5, 1.2, -0.7])
EXPRESSION = np.float32([0.4, 0.0])


def planted(model: MorphableModel, identity: FloatArray, expression: FloatArray) -> FloatArray:
    """[V, 3] a head in millimetres, a little turned, moved and of another size."""
    turned = model.shape(identity, expression) @ rotation_from_pose(4, -3, 2).T
    return (1.07 * MM_PER_UNIT * turned + [3, -5, 8]).astype(np.float32)


def test_planted_head_is_found() -> None:
    head = planted(MODEL, IDENTITY, EXPRESSION)
    found = FITTER.fit(head[:468])
    np.testing.assert_allclose(found.expression, EXPRESSION, atol=0.1)
    np.testing.assert_allclose(found.identity[3:], IDENTITY[3:], atol=0.15)  # the others trade with the size
    assert np.linalg.norm(found.vertices - head, axis=1).mean() < 0.5
    assert found.error_mm < 0.3
    placed = found.scale * MODEL.shape(found.identity, found.expression) @ found.rotation.T + found.offset
    np.testing.assert_allclose(found.modelled, placed, atol=1e-3)


def test_expressions_stay_in_their_range() -> None:
    for wanted in ([-2.0, 0.5], [0.5, 3.0]):
        head = planted(MODEL, 0 * IDENTITY, np.float32(wanted))
        found = FITTER.fit(head[:468]).expression
        assert found.min() >= -1e-6
        assert found.max() <= 1 + 1e-6


def test_expressions_at_their_limits_are_those_of_the_whole_bounded_problem() -> None:
    """The optimum under bounds: at a limit the gradient points out of the range, elsewhere it vanishes."""
    head = planted(MODEL, IDENTITY, np.float32([1.8, 0.4]))
    settings = replace(FITTER.settings, iterations=1)
    fitter = HeadFitter(MODEL, toy_correspondence(MODEL), settings)
    found = fitter.fit(head[:468])
    mean = MODEL.mean[:468].astype(np.float64)
    scale, rotation, offset = weighted_similarity(mean, head[:468].astype(np.float64), np.ones(468))
    noise = settings.noise_mm * np.array([1, 1, settings.depth_noise])
    basis = np.concatenate([MODEL.identity, MODEL.expression], axis=2)[:468].astype(np.float64)
    columns = scale * np.einsum("ij,njk->nik", rotation, basis) / noise[:, None]
    values = np.concatenate([found.identity, found.expression]).astype(np.float64)
    left = columns @ values - (head[:468] - scale * mean @ rotation.T - offset) / noise
    prior = np.r_[np.ones(5), np.full(2, settings.expression_deviation**-2)]
    cost = np.r_[np.zeros(5), np.full(2, settings.expression_sparsity)]
    gradient = np.einsum("nik,ni->k", columns, left) + prior * values + cost
    size = np.abs(np.einsum("nik,ni->k", columns, (head[:468] - scale * mean @ rotation.T - offset) / noise)).max()
    assert found.expression[0] == pytest.approx(1)
    assert gradient[5] < 0
    np.testing.assert_allclose(np.delete(gradient, 5), 0, atol=1e-4 * size)


def test_mesh_without_bases_is_placed_and_drawn_onto_the_landmarks() -> None:
    none = np.zeros((len(MODEL.mean), 3, 0), np.float32)
    bare = replace(MODEL, identity=none, expression=none, expression_names=())
    found = HeadFitter(bare, toy_correspondence(bare)).fit(planted(MODEL, 0 * IDENTITY, 0 * EXPRESSION)[:468])
    assert (len(found.identity), len(found.expression)) == (0, 0)
    assert found.error_mm < 0.01
    assert found.scale == pytest.approx(1.07 * MM_PER_UNIT, rel=1e-4)


def test_head_is_the_models_mean_where_the_landmarks_are() -> None:
    found = FITTER.fit(MM_PER_UNIT * MODEL.mean[:468])
    assert np.abs(found.identity).max() < 1e-3
    np.testing.assert_allclose(found.vertices, MM_PER_UNIT * MODEL.mean, atol=0.05)


def test_lost_landmarks_do_not_pull_the_head() -> None:
    head = planted(MODEL, IDENTITY, EXPRESSION)
    seen = head[:468].copy()
    seen[::25] += [0, 40, 0]
    found = FITTER.fit(seen)
    kept = np.setdiff1d(np.arange(468), np.arange(0, 468, 25))
    assert np.linalg.norm(found.modelled[kept] - head[kept], axis=1).mean() < 1.5


def test_skin_follows_the_landmarks_and_what_is_behind_stays() -> None:
    head = MM_PER_UNIT * MODEL.mean
    middle = int(np.argmin(np.linalg.norm(head[:468] - [45, 30, 80], axis=1)))
    bump = 6 * np.exp(-(np.linalg.norm(head[:468] - head[middle], axis=1) ** 2) / 600)
    seen = (head[:468] + bump[:, None] * [0, 0, 1]).astype(np.float32)
    found = FITTER.fit(seen)
    moved = found.vertices - found.modelled
    before = np.linalg.norm(found.modelled[:468] - seen, axis=1)
    after = np.linalg.norm(found.vertices[:468] - seen, axis=1)
    assert before[middle] > 2
    assert after[middle] < 0.6 * before[middle]  # a landmark that is far off is not believed fully
    back = np.unique(MODEL.triangles[MODEL.parts["head"]])
    far = back[head[back, 2] < head[back, 2].min() + 25]
    assert np.linalg.norm(moved[far], axis=1).max() < 0.15 * np.linalg.norm(moved, axis=1).max()
    for name in EYES:  # in one piece
        eye = moved[np.unique(MODEL.triangles[MODEL.parts[name]])]
        np.testing.assert_allclose(eye, eye[:1].repeat(len(eye), 0), atol=1e-3)


def test_landmarks_that_are_no_numbers_are_refused() -> None:
    seen = (MM_PER_UNIT * MODEL.mean[:468]).copy()
    seen[3, 1] = np.nan
    with pytest.raises(FaceError, match=r"^The landmarks of the face are degenerate, so no head can be fitted\.$"):
        FITTER.fit(seen)
    with pytest.raises(ValueError, match=r"expected landmarks \(468, 3\), got \(5, 3\)"):
        FITTER.fit(seen[:5])


def test_correspondence_of_another_mesh_is_refused() -> None:
    other = replace(toy_correspondence(MODEL), vertex_count=9)
    with pytest.raises(ValueError, match=f"expected a correspondence for {len(MODEL.mean)} vertices, got one for 9"):
        HeadFitter(MODEL, other)


def test_model_without_parts_is_skin_altogether() -> None:
    assert len(skin_triangles(replace(MODEL, parts={}))) == len(MODEL.triangles)
    assert len(skin_triangles(MODEL)) == len(MODEL.parts["face"]) + len(MODEL.parts["head"])


def test_random_heads_of_ict_are_found_to_a_millimetre_and_a_half() -> None:
    try:
        model = read_morphable("ict")
    except AssetError as error:
        pytest.skip(str(error))
    correspondence = correspondence_of(model)
    fitter = HeadFitter(model, correspondence)
    rng = np.random.default_rng(0)
    face = np.unique(model.triangles[model.parts.get("face_narrow", model.parts["face"])])
    errors, seconds = [], []
    for _ in range(4):
        identity = rng.normal(size=model.identity.shape[2]).astype(np.float32)
        faces = model.expression.shape[2]
        expression = np.where(rng.random(faces) < 0.15, rng.random(faces), 0).astype(np.float32)
        head = planted(model, identity, expression)
        seen = correspondence.points(head) + rng.normal(0, 1, (468, 3))
        start = time.perf_counter()
        found = fitter.fit(seen.astype(np.float32)).vertices
        seconds.append(time.perf_counter() - start)
        scale, rotation, offset = weighted_similarity(
            found[face].astype(np.float64), head[face].astype(np.float64), np.ones(len(face))
        )
        errors.append(np.linalg.norm(scale * found[face] @ rotation.T + offset - head[face], axis=1).mean())
    assert np.mean(errors) < 1.2
    assert max(errors) < 1.5
    assert min(seconds) < 2


def test_few_expressions_say_what_one_can() -> None:
    """An expression costs its size: what another one says as well is left to that one."""
    twice = np.concatenate([MODEL.expression, MODEL.expression[:, :, :1] * np.float32(0.4)], axis=2)
    model = replace(MODEL, expression=twice, expression_names=(*MODEL.expression_names, "weak"))
    head = planted(MODEL, 0 * IDENTITY, np.float32([0.5, 0]))
    free = HeadFitter(model, toy_correspondence(model), replace(FITTER.settings, expression_sparsity=0.0))
    sparse = HeadFitter(model, toy_correspondence(model), replace(FITTER.settings, expression_sparsity=5.0))
    both, one = (fitter.fit(head[:468]).expression for fitter in (free, sparse))
    assert both[2] > 0.01
    assert one[2] < 0.5 * both[2]


def test_expressions_that_landmarks_do_not_show_stay_at_zero() -> None:
    model = replace(MODEL, unseen=MODEL.expression_names[:1])
    found = HeadFitter(model, toy_correspondence(model)).fit(planted(MODEL, 0 * IDENTITY, np.float32([0, 0.8]))[:468])
    assert found.expression[0] == 0
    assert found.expression[1] > 0.2
