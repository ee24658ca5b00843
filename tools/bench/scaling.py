"""``tools/bench_scaling.py``: seconds per step of this program's projection over batch, resolution and threads."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.clock import Clock, Now, described
from bench.judge import JUDGED_SIDE, VggShaped, judged_size
from bench.network import draw_target, random_network
from bench.reference import PlainNetwork, project_reference
from bench.search import search
from ostec.nets.stylegan2 import Generator, GeneratorShape

_MAPS = 7
"""Maps of a layer's size that a step holds at once, kept for the gradient or passing."""
_SHARE = 0.8
"""Of the memory that is free, what one measurement may take."""


@dataclass(frozen=True)
class ScalingPlan:
    """What is measured."""

    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    resolutions: tuple[int, ...] = (64, 128, 256, 512, 1024)
    threads: tuple[int, ...] = (1, 2)
    channel_base: int = 32768
    steps: int = 10
    """Of one search, whose schedule is made for this number; the first, with all preparations, is not counted."""
    repeats: int = 3
    """Rounds; each measures every size once, so that what else the machine does meets all alike."""
    reference: bool = False
    """Whether the plain reference is measured too, for single pictures."""
    seed: int = 0
    judge_width: int = 64

    def __post_init__(self) -> None:
        for name in ("batches", "resolutions", "threads"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be numbers from 1, got {list(getattr(self, name))}.")
        for name, least in (("channel_base", 1), ("steps", 2), ("repeats", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}.")
        for resolution in self.resolutions:
            if resolution < 16 or resolution & (resolution - 1):
                raise ValueError(f"resolutions must be powers of two from 16, got {resolution}.")


@dataclass
class Cell:
    """One size, and the seconds of a step in each round."""

    side: str
    """ours or reference."""
    resolution: int
    threads: int
    batch: int
    seconds: list[float] = field(default_factory=list)


def available_bytes(device: torch.device) -> int | None:
    """Memory that can still be taken; None where the system does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def memory_needed(shape: GeneratorShape, batch: int, side: str) -> int:
    """About how many bytes a step takes, for this program's or the reference's; a rough guess, rather too large."""
    largest = shape.resolution if side == "reference" else min(shape.resolution, JUDGED_SIDE)
    maps = sum(2 * shape.channels(r) * r * r for r in shape.resolutions if r <= largest)
    judged = min(shape.resolution, JUDGED_SIDE)
    maps += judged**2 * (2 * 64 + 2 * 128 // 4 + 3 * 256 // 16 + 3 * 512 // 64 + 3 * 512 // 256)
    last = 3 * shape.channels(shape.resolution) * shape.resolution**2  # the picture at full size, without gradient
    return 4 * batch * max(_MAPS * maps, last)


def measure_scaling(
    plan: ScalingPlan,
    device: torch.device,
    tell: Callable[[str], None],
    now: Now = time.perf_counter,
    available: Callable[[torch.device], int | None] = available_bytes,
) -> dict[str, Any]:
    """Measure every size that fits.

    Returns:
        Plain values: ``cells``, each with side, resolution, threads, batch, ``s_per_step`` (median over the rounds,
        with least and most), ``steps_per_s`` of single pictures, and ``gain`` (median, least and most of the rounds'
        own ratios): those steps per second over the ones of a single picture on the fewest threads of the same
        resolution; for the reference, of this program over it on equal threads. ``skipped``: sizes that would not fit,
        with the reason.
    """
    threads = plan.threads if device.type == "cpu" else plan.threads[:1]
    if len(threads) < len(plan.threads):
        tell(f"On the GPU the number of threads says little: {threads[0]} is measured alone.")
    cells, skipped = _cells(plan, threads, available(device))
    for entry in skipped:
        tell(f"{entry['side']} at {entry['resolution']} px, batch {entry['batch']}, is left out: {entry['reason']}")
    bench = _Bench(plan, device, now)
    before = torch.get_num_threads()
    try:
        for number in range(plan.repeats):
            tell(f"Round {number + 1} of {plan.repeats}: {len(cells)} sizes.")
            for cell in cells:
                torch.set_num_threads(cell.threads)
                cell.seconds.append(bench.seconds(cell))
    finally:
        torch.set_num_threads(before)
    described_cells = [_described(cell, cells) for cell in cells]
    return {"cells": described_cells, "skipped": skipped, "machine": described(device)}


def _cells(plan: ScalingPlan, threads: Sequence[int], free: int | None) -> tuple[list[Cell], list[dict[str, Any]]]:
    cells, skipped = [], []
    for resolution in plan.resolutions:
        shape = GeneratorShape(resolution, channel_base=plan.channel_base)
        for batch in plan.batches:
            for side in ("ours", "reference"):
                if side == "reference" and (batch > 1 or not plan.reference):
                    continue
                needed = memory_needed(shape, batch, side)
                if free is not None and needed > _SHARE * free:
                    reason = f"about {needed / 2**30:.1f} GiB are needed, {free / 2**30:.1f} are free."
                    skipped.append({"side": side, "resolution": resolution, "batch": batch, "reason": reason})
                else:
                    cells += [Cell(side, resolution, count, batch) for count in threads]
    return cells, skipped


class _Bench:
    """The networks, made when they are first needed and kept."""

    def __init__(self, plan: ScalingPlan, device: torch.device, now: Now) -> None:
        self._plan, self._device, self._now = plan, device, now
        self._features = VggShaped(plan.seed, plan.judge_width).to(device)
        self._networks: dict[int, Generator] = {}
        self._targets: dict[int, torch.Tensor] = {}

    def seconds(self, cell: Cell) -> float:
        """Mean seconds of a step of one size."""
        network = self._network(cell.resolution)
        target, steps = self._targets[cell.resolution], self._plan.steps
        clock = Clock(self._device, self._now)
        clock.start()
        clock.mark()
        if cell.side == "reference":
            plain = PlainNetwork(network.state_dict(), network.conv_clamp)
            project_reference(plain, target, self._features, steps, self._plan.seed, observe=lambda _: clock.lap())
        else:
            many = judged_size(target).expand(cell.batch, -1, -1, -1).contiguous()
            search(network, many, self._features, steps, observe=lambda *_: clock.lap())
        clock.stop()
        laps = clock.laps[1:]
        return sum(laps) / len(laps)

    def _network(self, resolution: int) -> Generator:
        if resolution not in self._networks:
            shape = GeneratorShape(resolution, channel_base=self._plan.channel_base)
            network = random_network(shape, self._plan.seed).to(self._device)
            self._networks[resolution] = network
            self._targets[resolution] = draw_target(network, 1, self._plan.seed + 1)
        return self._networks[resolution]


def _described(cell: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "side": cell.side,
        "resolution": cell.resolution,
        "threads": cell.threads,
        "batch": cell.batch,
        "s_per_step": median(cell.seconds),
        "s_per_step_least": min(cell.seconds),
        "s_per_step_most": max(cell.seconds),
        "steps_per_s": cell.batch / median(cell.seconds),
    }
    base = _base(cell, cells)
    if base is not None:
        rounds = zip(base.seconds, cell.seconds, strict=True)
        gains = [cell.batch * a / (b * base.batch) for a, b in rounds]
        if cell.side == "reference":
            gains = [1 / gain for gain in gains]
        found |= {"gain": median(gains), "gain_least": min(gains), "gain_most": max(gains)}
    return found


def _base(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """What a cell is compared with; None where that was left out."""
    same = [c for c in cells if c.side == "ours" and c.resolution == cell.resolution and c.batch == 1]
    if cell.side == "reference":
        same = [c for c in same if c.threads == cell.threads]
    return min(same, key=lambda c: c.threads, default=None)
