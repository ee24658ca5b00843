"""``ostec bench project``: this program's projection against a plain reference of the published one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.app.bench.options import BenchOptions, need_place, tell
from ostec.app.checks import need_file
from ostec.app.eval.options import refusal
from ostec.core.errors import UsageError
from ostec.core.text import align

if TYPE_CHECKING:
    from ostec.bench.project import Task
    from ostec.nets.stylegan2 import Generator

_RESOLUTION, _CHANNEL_BASE = 256, 32768


@dataclass(frozen=True)
class BenchProject:
    """Project pictures that a network drew itself into it, once as published and once as this program does it.

    The reference takes --steps; this program goes on until it is as close by the same judge, a network of VGG16's shape
    with random weights at 256 px plus the pixels' squared error, or until --limit. The clock stands still while the
    bench judges.
    """

    generator: str | None = None
    """A generator's file, or default; without it the network is random."""
    resolution: int | None = None
    """Side of the random network's pictures, a power of two from 16; 256 unless given."""
    channel_base: int | None = None
    """Its layers have this many channels by their resolution, at most 512; 32768 (config-f) unless given."""
    steps: int = 200
    """Steps of the reference."""
    limit: int = 0
    """Steps of this program at most; 0: as many as the reference's."""
    batch: int = 1
    """Pictures: the reference takes one after another, this program all at once."""
    warm_up: int = 1
    """Steps of both sides before the clock starts."""
    judge_every: int = 1
    """This program's steps from one judgement to the next."""
    seed: int = 0
    """Seed of everything that is drawn."""
    threads: int = 0
    """Threads; 0: as PyTorch chooses."""
    against: str | None = None
    """Figures of tools/bench_nvlabs.py, or of an earlier run, to be taken for the reference's instead of measuring."""
    profile: str | None = None
    """Text file for PyTorch's profile of both sides, for --steps steps each; slow and large for many."""
    running: BenchOptions = field(default_factory=BenchOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()
        self._check()

        from ostec.app.console import say
        from ostec.bench.project import ProjectPlan, compare, make_task, mismatch

        names = [f.name for f in fields(ProjectPlan) if f.name in {own.name for own in fields(self)}]
        try:
            plan = ProjectPlan(**{name: getattr(self, name) for name in names})
        except ValueError as error:
            raise refusal(error, names) from error
        reference = None if self.against is None else _read(Path(self.against))
        device = self.running.pick(self.threads)
        tell("Making the network and the target.")
        task = self._task(lambda network: make_task(network, plan, device))
        if reference is not None and (wrong := mismatch(reference, task)):
            raise UsageError(f"{self.against} was measured under other conditions: {wrong}.")
        found = compare(task, tell, reference)
        self.running.write(found)
        self._profile(task)
        say(table(found))
        return 0

    def _check(self) -> None:
        need_place(self.profile, "--profile")
        if self.generator is not None:
            for name in ("resolution", "channel_base"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name.replace('_', '-')} is for random networks and excludes --generator.")
            if self.generator != "default":
                need_file(self.generator, "The generator's file")
        side = _RESOLUTION if self.resolution is None else self.resolution
        base = _CHANNEL_BASE if self.channel_base is None else self.channel_base
        if side < 16 or side & (side - 1) or side > 4096:
            raise UsageError(f"--resolution must be a power of two from 16 to 4096, not {side}.")
        if base < side:
            raise UsageError(f"--channel-base must be the resolution, {side}, or more, not {base}.")

    def _profile(self, task: "Task") -> None:
        if self.profile is None:
            return
        from ostec.bench.profile import profiles
        from ostec.io.files import write_atomic

        tell("Both sides are profiled, in a run of their own.")
        write_atomic(Path(self.profile), profiles(task, self.steps).encode())

    def _task(self, make: "Any") -> "Task":
        network = self._network()
        try:
            return make(network)
        except ValueError as error:
            raise UsageError(f"The network cannot be judged: {error}.") from error

    def _network(self) -> "Generator":
        if self.generator is not None:
            from ostec.load.generators import read_generator
            from ostec.load.networks import asset_file

            return read_generator(asset_file("generator", self.generator)).model.generator
        from ostec.bench.network import random_network
        from ostec.nets.stylegan2 import GeneratorShape

        shape = GeneratorShape(self.resolution or _RESOLUTION, channel_base=self.channel_base or _CHANNEL_BASE)
        return random_network(shape, self.seed)


def _read(path: Path) -> dict[str, Any]:
    """The figures of a reference. Raises UsageError where the file holds none."""
    need_file(path, "The file of --against,")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} holds no figures of a reference.") from error
    numbers = ("reference_s", "reference_s_per_step", "final_loss_reference")
    losses = found.get("final_losses_reference") if isinstance(found, dict) else None
    if not isinstance(losses, list) or not all(isinstance(x, int | float) for x in (*losses, *map(found.get, numbers))):
        raise UsageError(f"{path} holds no figures of a reference.")
    return {name: value for name, value in found.items() if "ours" not in name and name != "ratio"}


def table(found: Mapping[str, Any]) -> str:
    """The figures that matter, as text."""

    def cells(name: str, form: str) -> list[str]:
        return [
            "-" if found.get(key) is None else format(found[key], form)
            for key in (name.format("reference"), name.format("ours"))
        ]

    head = ["", "reference", "ours"]
    body = [
        ["seconds", *cells("{}_s", ".2f")],
        ["seconds a step", *cells("{}_s_per_step", ".4f")],
        ["steps", *cells("{}_steps", "d")],
        ["final loss", *cells("final_loss_{}", ".5f")],
        ["GFLOP a step", *cells("{}_gflop_per_step", ".1f")],
        ["share of a plain convolution's rate", *cells("{}_fraction", ".2f")],
        ["peak memory, MiB", *cells("{}_peak_memory_mb", ".0f")],
    ]
    if found["ratio"] is None:
        end = f"The reference's loss was not reached in {found['ours_limit']} steps."
    else:
        end = f"The reference's loss was reached {found['ratio']:.2f} times as fast."
    return "\n".join([*align([head, *body], 1), end])
