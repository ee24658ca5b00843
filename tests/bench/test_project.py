"""One comparison: what the figures say of each other, what the clock leaves out, and when a search ends."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bench_project
from bench import project
from bench.judge import Judge
from bench.network import random_network
from bench.project import ProjectPlan, Task, compare, conditions, make_task, measure_ours, mismatch
from bench_project import main, table
from ostec.nets.checkpoint import mapped_samples
from ostec.nets.stylegan2 import GeneratorShape

SHAPE = GeneratorShape(16, z_dim=12, w_dim=10, mapping_layers=2, channel_base=128, channel_max=8)
PLAN = ProjectPlan(12, limit=40, warm_up=1, judge_width=4)
CPU = torch.device("cpu")


def quiet(sentence: str) -> None:
    pass


@pytest.fixture(autouse=True, scope="module")
def slow_machine() -> Iterator[None]:
    """A convolution that nobody has to wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "convolution_rate", lambda *_, **__: 50.0)
        yield


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(random_network(SHAPE), PLAN, CPU)


@pytest.fixture(scope="module")
def found(task: Task) -> dict[str, Any]:
    return compare(task, quiet)


def test_figures_have_the_keys_that_others_read(found: dict[str, Any]) -> None:
    asked = ("reference_s_per_step", "ours_s_per_step", "reference_s", "ours_s_to_reference_loss", "ratio")
    losses = ("final_loss_reference", "final_loss_ours")
    facts = ("reference_peak_memory_mb", "ours_peak_memory_mb", "convolution_gflop_per_s", "machine", "network_sha256")
    assert set(asked + losses + facts) <= set(found)
    assert {"threads", "versions", "device", "processor", "device_name"} <= set(found["machine"])
    json.dumps(found, allow_nan=False)


def test_figures_agree_with_each_other(found: dict[str, Any]) -> None:
    assert found["ratio"] == found["reference_s"] / found["ours_s_to_reference_loss"]
    assert found["final_loss_ours"] <= found["final_loss_reference"]
    assert found["ours_s_to_reference_loss"] == found["ours_s"]
    assert 1 <= found["ours_steps"] <= found["ours_limit"] == 40
    assert found["reference_s"] > found["reference_preparation_s"] + 11 * found["reference_s_per_step"] / 2
    times = [seconds for seconds, _ in found["ours_curve"]]
    assert times == sorted(times)
    assert found["ours_curve"][-1][1] == pytest.approx(found["final_loss_ours"], rel=1e-4)
    assert len(found["ours_curve"]) == found["ours_steps"]
    assert len(found["reference_distances"][0]) == 12
    for side in ("ours", "reference"):
        rate = found[f"{side}_gflop_per_s"]
        assert found[f"{side}_fraction"] == rate / found["convolution_gflop_per_s"]
        assert found[f"{side}_gflop_per_step"] > 0
    assert "times as fast" in table(found)


def test_arithmetic_of_the_reference_is_that_of_its_convolutions(task: Task, found: dict[str, Any]) -> None:
    # Forward and gradient of the input; 4 px once, else two layers, the first of them transposed (at its input).
    layers = [(8, 8, 4), (8, 8, 4), (8, 8, 8), (8, 8, 8), (8, 8, 16)]
    judged = [(3, 4, 16), (4, 4, 16), (4, 8, 8), (8, 8, 8), (8, 16, 4), (16, 16, 4), (16, 16, 4)]
    judged += [(16, 32, 2), (32, 32, 2), (32, 32, 2), (32, 32, 1), (32, 32, 1), (32, 32, 1)]
    macs = sum(9 * a * b * side**2 for a, b, side in layers + judged)
    # Between are gradients of the layers' own weights, filters, colours and styles: as much again at this size.
    assert 4 * macs / 1e9 < found["reference_gflop_per_step"] < 8 * macs / 1e9


def test_clock_stands_still_while_the_bench_judges(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    judge, draw = Judge.loss, task.network.synthesis.forward

    def slow_loss(self: Judge, image: torch.Tensor) -> torch.Tensor:
        now[0] += 1000
        return judge(self, image)

    def three_steps(network: Any, target: Any, features: Any, iterations: int, *, observe: Callable[..., None]) -> Any:
        ws = mapped_samples(network).mean(0).expand(1, SHAPE.num_ws, -1)
        now[0] += 5
        for step in range(3):
            now[0] += 2
            observe(step, ws)
        return SimpleNamespace(image=network.synthesis(ws))

    monkeypatch.setattr(Judge, "loss", slow_loss)
    monkeypatch.setattr(project, "search", three_steps)

    def slow_draw(*words: Any, **named: Any) -> torch.Tensor:
        now[0] += 0.25
        return draw(*words, **named)

    monkeypatch.setattr(task.network.synthesis, "forward", slow_draw)
    own = replace(task, plan=replace(PLAN, warm_up=0, count=False), now=lambda: now[0])
    found = measure_ours(own, [0.0], quiet)
    assert found["ours_s"] == 5 + 3 * 2 + 0.25, "the preparations, the steps, and the picture at full size"
    assert found["ours_s_per_step"] == 2
    assert [seconds for seconds, _ in found["ours_curve"]] == [7, 9, 11]
    assert found["ours_s_to_reference_loss"] is None
    assert now[0] > 3000


def test_search_ends_where_the_loss_is_reached(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    right = mapped_samples(task.network).mean(0).expand(1, SHAPE.num_ws, -1)
    monkeypatch.setattr(Judge, "loss", lambda *_: torch.tensor([next(losses)]))

    def endless(network: Any, target: Any, features: Any, iterations: int, *, observe: Callable[..., None]) -> Any:
        for step in range(100):
            observe(step, right)
        raise AssertionError("it goes on")

    monkeypatch.setattr(project, "search", endless)
    own = replace(task, plan=replace(PLAN, warm_up=0, count=False))
    losses = iter([3.0, 2.0, 1.0, 0.5])  # of the steps, and of the last picture
    found = measure_ours(own, [1.0], quiet)
    assert found["ours_steps"] == 3
    assert found["ours_s_to_reference_loss"] == found["ours_s"]
    losses = iter([3.0, 0.5, 0.4])
    rare = replace(own, plan=replace(own.plan, judge_every=2))
    assert measure_ours(rare, [1.0], quiet)["ours_steps"] == 4


def test_loss_that_is_not_reached_is_said(task: Task) -> None:
    own = replace(task, plan=replace(PLAN, limit=2, count=False))
    reference = {"reference_s": 1.0, "final_losses_reference": [0.0], "final_loss_reference": 0.0}
    found = compare(own, quiet, reference)
    assert found["ours_s_to_reference_loss"] is None
    assert found["ratio"] is None
    assert found["ours_steps"] == 2
    assert table(found).endswith("The reference's loss was not reached in 2 steps.")


def test_pictures_of_a_batch_each_reach_their_own_loss() -> None:
    two = make_task(random_network(SHAPE), replace(PLAN, batch=2, count=False), CPU)
    found = compare(two, quiet)
    assert len(found["final_losses_reference"]) == len(found["reference_distances"]) == 2
    assert found["final_loss_reference"] == sum(found["final_losses_reference"]) / 2
    reached = all(a <= b for a, b in zip(found["final_losses_ours"], found["final_losses_reference"], strict=True))
    assert reached == (found["ratio"] is not None)


def test_figures_of_another_network_or_machine_are_told_apart(task: Task, found: dict[str, Any]) -> None:
    assert mismatch(found, task) is None
    assert mismatch({**found, "steps": 13}, task) == "steps is 13, not 12"
    assert mismatch({**found, "network_sha256": "x"}, task) == f"network_sha256 is x, not {found['network_sha256']}"
    threads = found["machine"]["threads"]
    other = {**found, "machine": {**found["machine"], "threads": threads + 1}}
    assert mismatch(other, task) == f"threads is {threads + 1}, not {threads}"
    assert mismatch({k: v for k, v in found.items() if k != "machine"}, task) == "device is None, not cpu"
    assert conditions(task)["shape"]["resolution"] == 16


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("steps", 0, 1), ("limit", -1, 0), ("batch", 0, 1), ("warm_up", -1, 0), ("judge_every", 0, 1), ("seed", -1, 0)],
)
def test_plans_without_sense_are_refused(name: str, value: int, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be {least} or more, got {value}."):
        ProjectPlan(**{name: value})


TINY = ("--resolution", "16", "--channel-base", "64", "--steps", "3", "--device", "cpu")


@pytest.mark.slow
def test_tool_writes_the_figures_and_takes_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = partial(GeneratorShape, z_dim=8, w_dim=8, mapping_layers=1)
    monkeypatch.setattr(bench_project, "GeneratorShape", narrow)
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    main([*TINY, "--json", str(one)])
    first = json.loads(one.read_text())
    assert "seconds a step" in capsys.readouterr().out
    main([*TINY, "--against", str(one), "--json", str(other), "--profile", str(tmp_path / "profile.txt")])
    text = (tmp_path / "profile.txt").read_text()
    assert "reference, 3 steps" in text.splitlines()
    assert "ours, 3 of 3 steps" in text.splitlines()
    assert text.count("aten::convolution_backward") + text.count("aten::mkldnn_convolution") >= 2
    second = json.loads(other.read_text())
    assert second["reference_s"] == first["reference_s"]
    if second["ours_s_to_reference_loss"] is not None:
        assert second["ratio"] == second["reference_s"] / second["ours_s_to_reference_loss"]
    sentence = refused([*TINY, "--against", str(one), "--seed", "1"], capsys)
    assert f"{one} was measured under other conditions: network_sha256 is" in sentence


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of what wrong use ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--resolution 48", "--resolution must be a power of two from 16 to 4096, not 48."),
        ("--resolution 8", "--resolution must be a power of two from 16 to 4096, not 8."),
        ("--channel-base 100", "--channel-base must be the resolution, 256, or more, not 100."),
        ("--generator default --resolution 64", "--resolution is for random networks and excludes --generator."),
        ("--generator nowhere.pkl", "The generator's file nowhere.pkl does not exist."),
        ("--steps 0", "--steps must be 1 or more, got 0."),
        ("--batch 0", "--batch must be 1 or more, got 0."),
        ("--judge-every 0", "--judge-every must be 1 or more, got 0."),
        ("--threads -1", "--threads must be 0 (as PyTorch chooses) or more, not -1."),
        ("--against nowhere.json", "argument --against: the file nowhere.json does not exist."),
        ("--json nowhere/out.json", "argument --json: the folder nowhere does not exist."),
        ("--profile nowhere/out.txt", "argument --profile: the folder nowhere does not exist."),
        ("--json .", "argument --json: '.' is no file."),
    ],
)
def test_wrong_use_is_one_sentence(
    words: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(words.split(), capsys).endswith(f": error: {sentence}")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"final_losses_reference": ["a"]}', '{"final_losses_reference": [1]}']
)
def test_file_without_figures_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    path.write_text(text)
    assert refused([*TINY, "--against", str(path)], capsys).endswith(
        f": error: {path} holds no figures of a reference."
    )
