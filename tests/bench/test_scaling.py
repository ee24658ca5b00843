"""Sizes: which are measured, which are left out, and what is compared with what."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import scaling
from bench.clock import PeakMemory
from bench.judge import VggShaped, judged_size
from bench.network import draw_target, random_network
from bench.scaling import Cell, ScalingPlan, measure_scaling, memory_needed
from bench.search import search
from bench_scaling import main
from ostec.nets.stylegan2 import GeneratorShape

CPU = torch.device("cpu")
NARROW = partial(GeneratorShape, z_dim=8, w_dim=8, mapping_layers=1)
PLAN = ScalingPlan((1, 2), (16,), (1,), channel_base=64, steps=2, repeats=2, reference=True, judge_width=4)


@pytest.fixture(autouse=True)
def narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "GeneratorShape", NARROW)


def quiet(sentence: str) -> None:
    pass


def test_every_size_is_measured_in_every_round() -> None:
    before = torch.get_num_threads()
    found = measure_scaling(PLAN, CPU, quiet)
    assert torch.get_num_threads() == before
    sizes = [(c["side"], c["resolution"], c["threads"], c["batch"]) for c in found["cells"]]
    assert sizes == [("ours", 16, 1, 1), ("reference", 16, 1, 1), ("ours", 16, 1, 2)]
    for cell in found["cells"]:
        assert 0 < cell["s_per_step_least"] <= cell["s_per_step"] <= cell["s_per_step_most"]
        assert cell["steps_per_s"] == cell["batch"] / cell["s_per_step"]
        assert cell["gain_least"] <= cell["gain"] <= cell["gain_most"]
    assert found["cells"][0]["gain"] == 1
    assert found["skipped"] == []


def test_rounds_are_interleaved_and_ratios_are_of_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    # The machine is twice as slow in the second round: seconds double, ratios stay.
    order: list[tuple[str, int, int]] = []

    def seconds(self: Any, cell: Cell) -> float:
        order.append((cell.side, cell.threads, cell.batch))
        slow = 1.0 if len(order) <= 6 else 2.0
        return slow * {"ours": 4.0, "reference": 20.0}[cell.side] * (1 + cell.batch) / 2 / cell.threads

    monkeypatch.setattr(scaling._Bench, "seconds", seconds)
    plan = ScalingPlan((1, 3), (16,), (1, 2), channel_base=64, repeats=2, reference=True, judge_width=4)
    found = measure_scaling(plan, CPU, quiet)
    assert order[:6] == order[6:]
    assert len(set(order)) == 6
    cells = {(c["side"], c["threads"], c["batch"]): c for c in found["cells"]}
    assert cells["ours", 1, 1]["s_per_step"] == 6, "the median of 4 and 8"
    # Three pictures in twice the time, on two threads in the same: gains of 1.5 and 3 over one picture on one.
    assert [cells["ours", k, 3]["gain"] for k in (1, 2)] == [1.5, 3]
    assert [cells["ours", 2, 3][f"gain_{end}"] for end in ("least", "most")] == [3, 3]
    assert [cells["reference", k, 1]["gain"] for k in (1, 2)] == [5, 5], "of ours over it, on equal threads"


def test_sizes_that_do_not_fit_are_named() -> None:
    told: list[str] = []
    shape = GeneratorShape(16, channel_base=64)
    room = int(memory_needed(shape, 1, "reference") / 0.8) + 1
    found = measure_scaling(PLAN, CPU, told.append, available=lambda _: room)
    assert [(c["side"], c["batch"]) for c in found["cells"]] == [("ours", 1), ("reference", 1)]
    assert [(x["side"], x["resolution"], x["batch"]) for x in found["skipped"]] == [("ours", 16, 2)]
    assert re.fullmatch(r"about \d+\.\d GiB are needed, \d+\.\d are free\.", found["skipped"][0]["reason"])
    assert told[0] == f"ours at 16 px, batch 2, is left out: {found['skipped'][0]['reason']}"


def test_memory_that_a_step_takes_is_foreseen() -> None:
    shape = NARROW(64, channel_base=2048)
    network, features = random_network(shape), VggShaped()
    target = judged_size(draw_target(network, 1, 1)).expand(4, -1, -1, -1).contiguous()
    search(network, target[:1], features, 1)
    memory = PeakMemory(CPU)
    before = memory.mb()
    if before is None:
        pytest.skip("this system does not tell the peak")
    search(network, target, features, 2)
    taken = (memory.mb() or 0.0) - before
    assert taken < memory_needed(shape, 4, "ours") / 2**20 * 1.5
    assert memory_needed(shape, 4, "ours") == 4 * memory_needed(shape, 1, "ours")
    big = GeneratorShape(1024)
    assert memory_needed(big, 1, "reference") > 3 * memory_needed(big, 1, "ours")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"batches": ()}, "batches must be numbers from 1, got []."),
        ({"threads": (1, 0)}, "threads must be numbers from 1, got [1, 0]."),
        ({"resolutions": (48,)}, "resolutions must be powers of two from 16, got 48."),
        ({"steps": 1}, "steps must be 2 or more, got 1."),
        ({"repeats": 0}, "repeats must be 1 or more, got 0."),
        ({"seed": -1}, "seed must be 0 or more, got -1."),
    ],
)
def test_plans_without_sense_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        ScalingPlan(**values)


def test_tool_writes_the_table_and_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    words = ["--batches", "1", "2", "--resolutions", "16", "--threads", "1", "--channel-base", "64", "--steps", "2"]
    main([*words, "--repeats", "1", "--device", "cpu", "--json", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:4] == ["side", "px", "threads", "batch"]
    found = json.loads(path.read_text())
    assert [cell["batch"] for cell in found["cells"]] == [1, 2]
    assert found["channel_base"] == 64
    with pytest.raises(SystemExit) as ended:
        main(["--resolutions", "48"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(": error: --resolutions must be powers of two from 16, got 48.\n")
