"""Figures of a track against a script."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.eval.track.clip import FPS, STILL, Script, script
from ostec.eval.track.run import frames_scored, score
from ostec.export.track import TrackRow
from ostec.heads.rig import ARKIT
from ostec.render.geometry import rotation_from_pose

UNSEEN = frozenset(name for name in ARKIT if name.startswith(("eyeLook", "tongue")))


def perfect(plan: Script) -> list[TrackRow]:
    return [
        TrackRow(
            k,
            k / FPS,
            not plan.covered[k],
            1.0,
            np.asarray(rotation_from_pose(*plan.pose_deg[k])),
            np.zeros(3),
            plan.expression[k].astype(np.float32),
            np.stack([plan.gaze_deg[k]] * 2),
        )
        for k in range(len(plan.pose_deg))
    ]


def test_a_script_stays_within_what_heads_do() -> None:
    plan = script()
    assert plan.expression.min() >= 0
    assert plan.expression.max() <= 1
    assert np.abs(plan.pose_deg).max() == pytest.approx(35, abs=0.5)
    for motion in (plan.pose_deg, plan.expression, plan.gaze_deg):
        assert not motion[:STILL].any()
    assert np.abs(np.diff(plan.pose_deg, axis=0)).max() < 4
    assert plan.covered.any()
    assert not plan.covered[:STILL].any()


def test_what_was_drawn_scores_perfectly() -> None:
    plan = script()
    figures = score(perfect(plan), plan, UNSEEN)
    assert figures.pop("blinks") == 1
    assert all(value == pytest.approx(0, abs=1e-4) for value in figures.values()), figures


def test_each_error_counts_in_its_figure() -> None:
    plan = script()
    turned = np.asarray(rotation_from_pose(0, 2, 0))
    rows = [replace(row, rotation=row.rotation @ turned) for row in perfect(plan)]
    assert score(rows, plan, UNSEEN)["pose_error"] == pytest.approx(2, abs=1e-3)
    rows = [replace(row, eyes_deg=row.eyes_deg + np.array([3, 4])) for row in perfect(plan)]
    assert score(rows, plan, UNSEEN)["gaze_error"] == pytest.approx(5, abs=1e-6)
    rows = [replace(row, expression=row.expression * 0) for row in perfect(plan)]
    found = score(rows, plan, UNSEEN)
    assert found["blinks"] == 0
    assert found["expression_active"] > 0.3
    first = int(np.flatnonzero(frames_scored(plan))[0])
    rows = [replace(row, seen=row.index != first and row.seen) for row in perfect(plan)]
    assert score(rows, plan, UNSEEN)["lost"] == pytest.approx(1 / frames_scored(plan).sum())


def test_a_track_of_another_length_is_refused() -> None:
    plan = script()
    with pytest.raises(ValueError, match=f"expected {len(plan.pose_deg)} rows, got 1"):
        score(perfect(plan)[:1], plan, UNSEEN)
