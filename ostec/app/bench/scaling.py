"""``ostec bench scaling``: seconds per step over batch, resolution and threads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ostec.app.bench.options import BenchOptions, tell
from ostec.app.eval.options import refusal
from ostec.core.text import align


@dataclass(frozen=True)
class BenchScaling:
    """Measure a step of the projection into random networks over batch, resolution and threads.

    Every round measures every size once; the table has medians, and ratios of each round's own figures with their
    range. Sizes that would not fit into memory are named and left out.
    """

    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Pictures at once."""
    resolutions: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Sides of the networks' pictures, powers of two from 16."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads."""
    channel_base: int = 32768
    """Layers have this many channels by their resolution, at most 512; 32768 is config-f."""
    steps: int = 10
    """Steps of one search; the first, with all preparations, is not counted."""
    repeats: int = 3
    """Rounds."""
    reference: bool = False
    """Also measure the plain reference of the published projector, for single pictures."""
    seed: int = 0
    """Seed of everything that is drawn."""
    running: BenchOptions = field(default_factory=BenchOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()

        from ostec.app.console import say
        from ostec.bench.scaling import ScalingPlan, measure_scaling

        names = [f.name for f in fields(ScalingPlan) if f.name in {own.name for own in fields(self)}]
        try:
            plan = ScalingPlan(**{name: getattr(self, name) for name in names})
        except ValueError as error:
            raise refusal(error, names) from error
        found = measure_scaling(plan, self.running.pick(), tell)
        self.running.write({**found, **{name: getattr(self, name) for name in names}})
        say(table(found))
        return 0


def table(found: Mapping[str, Any]) -> str:
    """A line for each size, as text."""
    head = ["side", "px", "threads", "batch", "s a step", "least", "most", "pictures' steps a s", "gain", "range"]
    body = [
        [
            cell["side"],
            str(cell["resolution"]),
            str(cell["threads"]),
            str(cell["batch"]),
            *(f"{cell[name]:.4f}" for name in ("s_per_step", "s_per_step_least", "s_per_step_most")),
            f"{cell['steps_per_s']:.2f}",
            *([f"{cell['gain']:.2f}", f"{cell['gain_least']:.2f}-{cell['gain_most']:.2f}"] if "gain" in cell else "--"),
        ]
        for cell in found["cells"]
    ]
    left = [f"{x['side']} at {x['resolution']} px, batch {x['batch']}: {x['reason']}" for x in found["skipped"]]
    ends = [
        "gain: over a single picture on the fewest threads; in the reference's lines, of ours over it.",
        *(["left out:", *left] if left else []),
    ]
    return "\n".join([*align([head, *body], 1), *ends])
