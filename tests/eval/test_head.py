"""One input judged end to end: what is planted in the completion comes out in the figures."""

import json
import math
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.errors import FaceError, UsageError
from ostec.core.types import BoolArray, CompletedTexture, FloatArray, TexturedFace
from ostec.eval.head import run as head
from ostec.eval.head import truth
from ostec.eval.head.full import FullHeadJudge, find_regions
from ostec.eval.head.run import MOST_ROWS, HeadSettings, HeadTask, Pair, head_study, shown_inputs
from ostec.eval.head.truth import UV_SIZE
from ostec.eval.jobs import Jobs, run_jobs
from ostec.eval.report.pictures import cell_of, sheet
from ostec.eval.report.record import Evaluation, Row, table
from ostec.eval.scores import LEAST_SHARE
from ostec.eval.study import load
from ostec.io.images import read_image
from ostec.pipeline.settings import CompleteSettings
from tests.eval.planted import SameMesh, write_planted

pytestmark = pytest.mark.slow

ALONE = CompleteSettings(mode="soft", iterations=0, face_model="none")
SETTINGS = HeadSettings(lights=("hard",), pairs=(Pair(25, 0), Pair(25, -40)), baselines=True, completion=ALONE)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> HeadTask:
    folder = tmp_path_factory.mktemp("head")
    task = HeadTask((write_planted(folder / "mesh"),), SETTINGS, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "GRID_YAWS_DEG", (-40, 0, 40))
        patch.setattr(truth, "GRID_PITCHES_DEG", (0,))
        head_study(task)
    return task


class PlainJudges:
    """Mean absolute difference, and the cosine of all values: figures of networks are tested where those are."""

    def perceptual(self, image: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
        return float(np.abs(image - truth)[mask].mean()) if mask.any() else math.nan

    def identity(self, texture: FloatArray, truth: FloatArray, weight: FloatArray) -> float:
        a, b = (x[weight > 0].ravel().astype(np.float64) for x in (texture, truth))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@dataclass
class Planting:
    """Completes a picture with a texture that is known, on the mesh that is fitted to it."""

    task: HeadTask
    texture: FloatArray

    def __call__(self, image: FloatArray) -> Any:
        face = self.task.bench.reader.fit(image)
        completed = CompletedTexture({"colour": self.texture}, np.ones((UV_SIZE, UV_SIZE), np.uint8))
        return type("Completed", (), {"textured": TexturedFace(face, self.task.bench.reader.topology, completed)})


def rows_with(
    task: HeadTask,
    texture: FloatArray,
    baselines: bool = False,
    full: FullHeadJudge | None = None,
    pairs: tuple[Pair, ...] = SETTINGS.pairs[1:],
) -> dict[tuple[str, str], Row]:
    """Rows by what was compared and method, where the completion is ``texture``."""
    own = HeadTask(task.parts, replace(task.settings, baselines=baselines, pairs=pairs), task.folder)
    bench = task.bench
    loaded = replace(bench.loaded, completer=Planting(task, texture), judges=PlainJudges())
    own.__dict__["bench"] = replace(bench, loaded=loaded, full=full)
    rows = [Row(**row) for row in own("hard_pitch0_yaw25")["rows"]]
    return {(row.item.rsplit("/", 1)[1], row.method): row for row in rows}


@pytest.fixture(scope="module")
def right(task: HeadTask) -> dict[tuple[str, str], Row]:
    """Rows of the true texture."""
    return rows_with(task, task.bench.truth.textures["hard"], pairs=SETTINGS.pairs)


def test_the_true_texture_scores_perfectly_in_texels(task: HeadTask, right: dict[tuple[str, str], Row]) -> None:
    rows = right
    assert task.bench.full is None  # of a completion without a face model
    assert set(rows) == {("uv", "ostec"), ("to0", "ostec"), ("to-40", "ostec")}
    figures = rows["uv", "ostec"].figures
    assert figures["psnr_texels"] == figures["psnr_texels_unseen"] == math.inf
    for name in ("ssim_texels", "ssim_texels_unseen", "sharpness_texels", "sharpness_texels_unseen", "identity"):
        assert figures[name] == pytest.approx(1, abs=1e-3)
    drawn = rows["to-40", "ostec"].figures
    for part in ("face", "seen", "unseen"):
        assert drawn[f"sharpness_{part}"] == pytest.approx(1)
        assert drawn[f"sharpness_{part}_own"] == pytest.approx(1)
        assert drawn[f"psnr_{part}"] > 24  # landmarks of two poses never quite agree
    assert drawn["psnr_face"] > drawn["psnr_face_own"]  # what the warp is for


def test_an_offset_scores_as_its_logarithm(task: HeadTask) -> None:
    true = task.bench.truth.textures["hard"]
    figures = rows_with(task, true + np.float32(0.05))["uv", "ostec"].figures
    for part in ("texels", "texels_unseen"):
        assert figures[f"psnr_{part}"] == pytest.approx(-20 * math.log10(0.05), abs=1e-3)
        assert figures[f"sharpness_{part}"] == pytest.approx(1, abs=1e-3)


def test_what_is_wrong_on_the_hidden_side_alone_is_an_error_of_the_unseen(
    task: HeadTask, right: dict[tuple[str, str], Row]
) -> None:
    bench = task.bench
    true, valid = bench.truth.textures["hard"], bench.truth.valid
    unseen = bench.truth.unseen(bench.studio.shoot(0, 25))
    wrong = np.where(unseen[..., None], true + np.float32(0.1), true)
    rows = rows_with(task, wrong)
    figures = rows["uv", "ostec"].figures
    share = unseen.sum() / valid.sum()
    assert rows["uv", "ostec"].labels["share_unseen"] == pytest.approx(share, abs=1e-4)
    assert figures["psnr_texels_unseen"] == pytest.approx(20, abs=1e-3)
    assert figures["psnr_texels"] == pytest.approx(20 - 10 * math.log10(share), abs=1e-3)
    drawn, best = rows["to-40", "ostec"].figures, right["to-40", "ostec"].figures
    assert drawn["psnr_unseen"] < best["psnr_unseen"] - 3
    assert drawn["psnr_seen"] > best["psnr_seen"] - 1


def test_methods_labels_and_pictures_of_the_rows(task: HeadTask) -> None:
    rows = rows_with(task, task.bench.truth.textures["unlit"], baselines=True)
    methods = {"ostec", "prior", "median", "mirror", "inpaint", "truth"}
    assert set(rows) == {(what, method) for what in ("uv", "to-40") for method in methods}
    row = rows["to-40", "median"]
    assert row.item == "hard/pitch0/yaw25/to-40"
    assert {k: row.labels[k] for k in ("light", "pitch", "yaw", "target")} == {
        "light": "hard",
        "pitch": 0,
        "yaw": 25,
        "target": -40,
    }
    assert LEAST_SHARE < row.labels["share_unseen"] < 0.7
    for found in rows.values():
        for path in found.pictures.values():
            assert read_image(task.folder / path).shape[0] in (UV_SIZE, 600)
    # Unlit colours under a hard light are wrong, the light's own are not.
    assert rows["uv", "truth"].figures["psnr_texels"] == math.inf
    assert rows["uv", "ostec"].figures["psnr_texels"] < 20
    assert rows["to-40", "prior"].figures["psnr_face"] > 15


def test_a_full_head_is_a_method_beside_the_default_mesh(task: HeadTask, right: dict[tuple[str, str], Row]) -> None:
    bench = task.bench
    judge = FullHeadJudge(SameMesh(), find_regions(bench.truth, bench.reader.topology))  # type: ignore[arg-type]
    rows = rows_with(task, bench.truth.textures["hard"], full=judge, pairs=SETTINGS.pairs)
    assert set(rows) - set(right) == {("to0", "ostec toy"), ("to-40", "ostec toy")}
    assert rows["uv", "ostec"] == right["uv", "ostec"]
    for item in ("to0", "to-40"):
        mine, head = rows[item, "ostec"], rows[item, "ostec toy"]
        assert mine.figures.items() >= right[item, "ostec"].figures.items()
        assert mine.figures["psnr_both"] == pytest.approx(mine.figures["psnr_face"], abs=1e-6)
        assert mine.figures["psnr_both_own"] == pytest.approx(mine.figures["psnr_face_own"], abs=1e-6)
        for name in ("psnr_both", "psnr_both_own", "coverage_jaw_own", "surface_forehead_own"):
            assert head.figures[name] == pytest.approx(mine.figures[name], rel=1e-3)
        assert 0.5 < mine.figures["coverage_jaw_own"] <= 1
        assert head.labels == mine.labels
        assert read_image(task.folder / head.pictures["made"]).shape == (600, 600, 3)
    means = table(Evaluation("head", {}, {}, tuple(rows.values())))
    assert "ostec toy" in means
    assert "forehead" in means


def test_an_input_without_a_face_is_a_failure_with_its_share(task: HeadTask) -> None:
    def blind(image: FloatArray) -> Any:
        raise FaceError("No face was found in the photo.")

    own = HeadTask(task.parts, replace(task.settings, lights=("unlit", "hard")), task.folder)
    own.__dict__["bench"] = replace(task.bench, loaded=replace(task.bench.loaded, completer=blind))
    jobs = Jobs(tuple(own.settings.inputs), task.folder / "blind", "d")
    outcomes = run_jobs(jobs, own, 1, lambda *_: None)
    outcomes["hard_pitch0_yaw25"] = {"rows": []}
    evaluation = head_study(own).evaluation(outcomes)
    assert evaluation.failures == (
        {"item": "unlit/pitch0/yaw25/*", "method": "", "reason": "No face was found in the photo."},
    )
    assert evaluation.models["inputs that failed"] == "1 of 2 (50 %)"
    json.dumps(evaluation.settings, allow_nan=False)


def test_a_target_without_a_face_is_refused(task: HeadTask) -> None:
    own = HeadTask(task.parts, replace(task.settings, pairs=(Pair(0, 90),)), task.folder)
    plain, calls = truth.FaceReader.fit, []

    def fit(self: truth.FaceReader, image: FloatArray) -> Any:
        calls.append(image)
        if len(calls) > 1:  # the first is the frontal picture that scales the head
            raise FaceError("No face was found.")
        return plain(self, image)

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "cached_uv_truth", lambda *_: task.bench.truth)
        patch.setattr(truth.FaceReader, "fit", fit)
        with pytest.raises(UsageError, match="At yaw 90 no face"):
            head_study(own)
    assert torch.get_num_threads() == threads


def test_a_task_is_pickled_without_what_it_loaded(task: HeadTask) -> None:
    assert len(pickle.dumps(task)) < len(pickle.dumps(task.settings)) + 2000
    assert pickle.loads(pickle.dumps(task)) == task


def test_the_digest_knows_what_decides_the_figures(task: HeadTask) -> None:
    def digest(**changes: Any) -> str:
        own = HeadTask(task.parts, replace(task.settings, **changes), task.folder)
        own.__dict__["bench"] = task.bench
        return head_study(own).jobs().digest

    assert digest(lights=("mild",)) == digest()  # another list of jobs, the same outcomes
    others = [digest(baselines=False), digest(pairs=(Pair(0, 0),)), digest(completion=replace(ALONE, iterations=1))]
    assert len({digest(), *others}) == 4


def test_settings_list_inputs_and_targets() -> None:
    grid = HeadSettings(yaws=(-45, 0), pitches=(0, 20), lights=("mild",), targets=(40, 0))
    assert list(grid.inputs) == [
        "mild_pitch0_yaw-45",
        "mild_pitch0_yaw0",
        "mild_pitch20_yaw-45",
        "mild_pitch20_yaw0",
    ]
    assert grid.targets_of(-45) == (40, 0)
    assert grid.all_targets == (0, 40)
    assert len(HeadSettings().inputs) == 63
    assert list(SETTINGS.inputs) == ["hard_pitch0_yaw25"]
    assert SETTINGS.targets_of(25) == (0, -40)
    assert SETTINGS.all_targets == (-40, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"yaws": ()}, "yaws must have a value"),
        ({"pitches": (0, 0)}, "pitches must not have a value twice"),
        ({"lights": ("dim",)}, "lights must be of unlit, mild, hard, got 'dim'"),
        ({"yaws": (0, 91)}, "yaws must be -90 to 90 degrees, got 91"),
        ({"pairs": (Pair(0, -100),)}, "pairs must be"),
        ({"pairs": (Pair(0, 0),), "targets": (0,)}, "pairs take the place"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        HeadSettings(**changes)


def test_the_sheet_shows_few_inputs_and_says_what_is_not_there(
    tmp_path: Path, task: HeadTask, right: dict[tuple[str, str], Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = HeadSettings()
    assert [(p.light, p.pitch_deg) for p in shown_inputs(grid)] == [("unlit", 0)] * 7
    few = replace(grid, yaws=(0, 25), lights=("hard", "mild"))
    assert [(p.light, p.pitch_deg, p.yaw_deg) for p in shown_inputs(few)][:3] == [
        ("hard", -20, 0),
        ("hard", -20, 25),
        ("hard", 0, 0),
    ]
    assert len(shown_inputs(replace(grid, yaws=tuple(range(-20, 20)), pitches=(-20, 20)))) == MOST_ROWS
    made = sheet(head_study(task).sheet(Evaluation("head", {}, {}, ())), 240)
    monkeypatch.setattr(head, "cell_of", lambda _, *others: cell_of(tmp_path, *others))
    empty = sheet(head_study(task).sheet(Evaluation("head", {}, {}, ())), 240)
    assert made.shape == empty.shape
    assert made.shape[1] > 7.5 * made.shape[0]  # a row of eight
    assert (made < 0.9).mean() > 4 * (empty < 0.9).mean() > 0  # labels alone


def test_the_completion_is_the_one_that_was_asked_for(task: HeadTask) -> None:
    assert load(ALONE).completer.settings == ALONE
    assert task.bench.loaded.completer is load(ALONE).completer
    assert task.bench.prior is not None
    assert task.bench.prior.settings.iterations == 0
