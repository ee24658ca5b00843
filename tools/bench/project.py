"""``tools/bench_project.py``: one network, one target, the published projector against this program's.

Both sides do the whole work: statistics of W, the target's features, the steps, and at the end the picture at full
size. The clock stands still while the bench judges. The reference takes its steps; this program goes on until every
picture is as close to its target as the reference brought it, by the same judge, or until its own limit.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from bench.arithmetic import Counted, convolution_rate
from bench.clock import Clock, Now, PeakMemory, described
from bench.judge import Judge, VggShaped, judged_size
from bench.network import digest, draw_target
from bench.reference import PlainNetwork, Referenced, project_reference
from bench.search import search
from ostec.nets.stylegan2 import Generator

Tell = Callable[[str], None]
SAME = ("network_sha256", "steps", "batch", "seed", "judge_width")
"""What two measurements must share for their losses to be comparable."""
SAME_MACHINE = ("device", "device_name", "threads")
"""What they must share for their times to be comparable."""


@dataclass(frozen=True)
class ProjectPlan:
    """What is measured."""

    steps: int = 200
    """Of the reference."""
    limit: int = 0
    """Steps of this program at most; 0: as many as the reference's. Its schedule is made for this number."""
    batch: int = 1
    """Pictures: the reference takes one after another, this program all at once."""
    warm_up: int = 1
    """Steps of both sides before the clock starts."""
    judge_every: int = 1
    """This program's steps from one judgement to the next."""
    seed: int = 0
    """Of the judge's weights, the targets and all that is drawn."""
    judge_width: int = 64
    """Channels of the judge's first level; 64 is VGG16's."""
    count: bool = True
    """Whether the arithmetic is counted too, in a second run."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("limit", 0), ("batch", 1), ("warm_up", 0), ("judge_every", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}.")

    @property
    def most(self) -> int:
        """This program's steps at most."""
        return self.limit or self.steps


@dataclass(frozen=True)
class Task:
    """Network, judge and targets on their device."""

    network: Generator
    features: VggShaped
    target: torch.Tensor
    """[B, 3, R, R]."""
    plan: ProjectPlan
    device: torch.device
    now: Now = time.perf_counter


def make_task(network: Generator, plan: ProjectPlan, device: torch.device, now: Now = time.perf_counter) -> Task:
    """Draw what both sides work on. Raises ValueError where the pictures are too small for the judge."""
    network = network.to(device)
    features = VggShaped(plan.seed, plan.judge_width).to(device)
    task = Task(network, features, draw_target(network, plan.batch, plan.seed + 1), plan, device, now)
    Judge(features, task.target)
    return task


def compare(task: Task, tell: Tell, reference: dict[str, Any] | None = None) -> dict[str, Any]:
    """Measure both sides.

    Args:
        task: what they work on.
        tell: is given a sentence before each part.
        reference: of a run of :func:`measure_reference` or of another projector, taken for this one's; checked before.

    Returns:
        Plain values: ``reference_s_per_step``, ``ours_s_per_step``, ``reference_s``, ``ours_s_to_reference_loss``,
        ``ratio`` (the former by the latter; both None where the loss was not reached), ``final_loss_reference``,
        ``final_loss_ours``, and what they were measured with.
    """
    machine, plan = described(task.device), task.plan
    if reference is None:
        tell(f"The reference takes {plan.steps} steps.")
        reference = measure_reference(task)
    found = {**reference, **measure_ours(task, reference["final_losses_reference"], tell)}
    reached = found["ours_s_to_reference_loss"]
    found["ratio"] = None if reached is None else found["reference_s"] / reached
    tell("The rate of a plain convolution is measured.")
    rate = convolution_rate(task.device, batch=plan.batch)
    found["convolution_gflop_per_s"] = rate
    for side in ("reference", "ours"):
        speed = found.get(f"{side}_gflop_per_s")
        found[f"{side}_fraction"] = None if speed is None else speed / rate
    return {**found, **conditions(task), "machine": machine}


def conditions(task: Task) -> dict[str, Any]:
    """The settings of a measurement, and the network's digest."""
    shape = asdict(task.network.shape)
    return {**asdict(task.plan), "shape": shape, "precision": "float32", "network_sha256": digest(task.network)}


def mismatch(reference: dict[str, Any], task: Task) -> str | None:
    """What a measured reference does not share with a task, as ``name is X, not Y``; None if it fits."""
    own = conditions(task)
    machine, other = described(task.device), reference.get("machine")
    for name in SAME:
        if reference.get(name) != own[name]:
            return f"{name} is {reference.get(name)}, not {own[name]}"
    for name in SAME_MACHINE:
        value = other.get(name) if isinstance(other, dict) else None
        if value != machine[name]:
            return f"{name} is {value}, not {machine[name]}"
    return None


def measure_reference(task: Task) -> dict[str, Any]:
    """The published projector: its times, final losses and memory, as plain values."""
    plain, plan = PlainNetwork(task.network.state_dict(), task.network.conv_clamp), task.plan
    started = task.now()
    if plan.warm_up:
        project_reference(plain, task.target[:1], task.features, plan.warm_up, plan.seed)
    warm_up_s = task.now() - started
    memory, clock = PeakMemory(task.device), Clock(task.device, task.now)
    losses, curves, prepared = [], [], 0.0
    for target in task.target.split(1):
        judge = Judge(task.features, target)
        clock.start()
        begun = clock.seconds
        clock.mark()

        def observe(step: int) -> None:
            nonlocal prepared
            if step < 0:
                prepared += clock.seconds - begun  # noqa: B023 - is called before the next begins
                clock.mark()
            else:
                clock.lap()

        found = project_reference(plain, target, task.features, plan.steps, plan.seed, observe=observe)
        with torch.no_grad():
            picture = plain.draw(_rows(found, plain), found.noises)
        clock.stop()
        losses.append(kinder_loss(judge, picture, lambda found=found: plain.draw(_rows(found, plain))))  # type: ignore[misc]
        curves.append(found.distances)
    gflop = _reference_gflop(task, plain) if plan.count else None
    return {
        "reference": "plain PyTorch, as published",
        "reference_s": clock.seconds,
        "reference_s_per_step": median(clock.laps),
        "reference_preparation_s": prepared,
        "reference_warm_up_s": warm_up_s,
        "reference_steps": plan.steps,
        "reference_peak_memory_mb": memory.mb(),
        "reference_gflop_per_step": gflop,
        "reference_gflop_per_s": None if gflop is None else gflop / median(clock.laps),
        "reference_distances": curves,
        "final_losses_reference": losses,
        "final_loss_reference": sum(losses) / len(losses),
    }


@torch.no_grad()
def kinder_loss(judge: Judge, picture: torch.Tensor, stored: Callable[[], torch.Tensor]) -> float:
    """The reference's final loss: with the noise it optimised, or with the network's own, whichever is lower.

    The published program draws its last picture with the network's; its loss knows the other.
    """
    return min(float(judge.loss(picture)), float(judge.loss(stored())))


def _rows(found: Referenced, plain: PlainNetwork) -> torch.Tensor:
    return found.w[:, None].expand(-1, 1 + len(plain.noises), -1)


def _reference_gflop(task: Task, plain: PlainNetwork) -> float:
    marks: list[float] = []
    with Counted() as counted:
        project_reference(
            plain, task.target[:1], task.features, 1, task.plan.seed, observe=lambda _: marks.append(counted.gflop)
        )
    return marks[1] - marks[0]


class _Enough(Exception):
    """The search has gone as far as the bench wants it to."""


def measure_ours(task: Task, goal: list[float], tell: Tell) -> dict[str, Any]:
    """This program's projection until each picture's loss is its ``goal`` or less, as plain values."""
    plan, started = task.plan, task.now()
    tell(f"This program takes {plan.most} steps at most.")
    if plan.warm_up:
        search_for(task, plan.warm_up, lambda: None)
    warm_up_s = task.now() - started
    memory, clock = PeakMemory(task.device), Clock(task.device, task.now)
    watch = _Watch(task, goal, clock)
    clock.start()
    clock.mark()
    try:
        picture = search(task.network, judged_size(task.target), task.features, plan.most, observe=watch).image
    except _Enough:
        assert watch.ws is not None
        with torch.no_grad():
            picture = task.network.synthesis(watch.ws)
    seconds = clock.stop()
    losses = watch.judge.loss(picture).tolist()
    reached = all(loss <= wanted for loss, wanted in zip(losses, goal, strict=True))
    laps = clock.laps[1:] or clock.laps  # the first has the preparations
    found = {
        "ours_s": seconds,
        "ours_s_to_reference_loss": seconds if reached else None,
        "ours_s_per_step": sum(laps) / len(laps),  # no median: the coarse ones are cheaper by design
        "ours_warm_up_s": warm_up_s,
        "ours_steps": len(clock.laps),
        "ours_limit": plan.most,
        "ours_peak_memory_mb": memory.mb(),
        "ours_curve": watch.curve,
        "final_losses_ours": losses,
        "final_loss_ours": sum(losses) / len(losses),
    }
    if plan.count:
        tell("Its arithmetic is counted, in a second run.")
        marks: list[float] = []
        with Counted() as counted:
            search_for(task, len(clock.laps), lambda: marks.append(counted.gflop))
        gflop = marks[-1] - marks[0] if len(marks) > 1 else marks[0]
        found["ours_gflop_per_step"] = gflop / len(laps)
        found["ours_gflop_per_s"] = gflop / sum(laps)
    return found


class _Watch:
    """Judges the search's steps with the clock standing still, and ends it when its goal is reached."""

    def __init__(self, task: Task, goal: list[float], clock: Clock) -> None:
        self._task, self._clock = task, clock
        self._goal = torch.tensor(goal, device=task.device)
        self.judge = Judge(task.features, task.target)
        self.ws: torch.Tensor | None = None
        self.curve: list[list[float]] = []
        """Seconds and mean loss at each judgement."""

    def __call__(self, step: int, ws: torch.Tensor) -> None:
        self._clock.lap()
        if (step + 1) % self._task.plan.judge_every:
            return
        with self._clock.paused(), torch.no_grad():
            loss = self.judge.loss(self._task.network.synthesis(ws))
            self.curve.append([self._clock.seconds, float(loss.mean())])
            self.ws = ws.clone()
            reached = bool((loss <= self._goal).all())
        if reached:
            raise _Enough


def search_for(task: Task, steps: int, after: Callable[[], None]) -> None:
    """The first ``steps`` steps of the search, unjudged; ``after`` each something is called."""

    def observe(step: int, ws: torch.Tensor) -> None:  # noqa: ARG001 - the signature is given
        after()
        if step + 1 >= steps:
            raise _Enough

    with contextlib.suppress(_Enough):
        search(task.network, judged_size(task.target), task.features, task.plan.most, observe=observe)
