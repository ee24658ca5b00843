"""Measure a step of the projection into random networks over batch, resolution and threads; see docs/benchmarks.md.

Every round measures every size once; the table has medians, and ratios of each round's own figures with their range.
Sizes that would not fit into memory are named and left out::

    python tools/bench_scaling.py --resolutions 64 128 --batches 1 4 --json out.json
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.options import DEVICES, device_of, plan_of, writable, write_figures
from bench.scaling import ScalingPlan, measure_scaling
from ostec.core.text import align


def parser() -> argparse.ArgumentParser:
    """The options."""
    plan = ScalingPlan()
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--batches", type=int, nargs="+", default=plan.batches, help="pictures at once")
    found.add_argument("--resolutions", type=int, nargs="+", default=plan.resolutions, help="sides of the pictures")
    found.add_argument("--threads", type=int, nargs="+", default=plan.threads, help="numbers of threads")
    found.add_argument("--channel-base", type=int, default=plan.channel_base, help="32768 is config-f")
    found.add_argument("--steps", type=int, default=plan.steps, help="of one search; the first is not counted")
    found.add_argument("--repeats", type=int, default=plan.repeats, help="rounds")
    found.add_argument("--reference", action="store_true", help="the plain reference too, for single pictures")
    found.add_argument("--seed", type=int, default=plan.seed, help="seed of everything that is drawn")
    found.add_argument("--device", choices=DEVICES, default="auto", help="auto takes CUDA where it works")
    found.add_argument("--json", type=writable, help="file for all figures; an older one is replaced")
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Measure, write the file, and print the table."""
    options = parser()
    asked = options.parse_args(words)
    plan: ScalingPlan = plan_of(options, ScalingPlan, asked)
    found = measure_scaling(plan, device_of(options, asked.device), lambda line: print(line, file=sys.stderr))
    write_figures(asked.json, {**found, **asdict(plan)})
    print(table(found))


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


if __name__ == "__main__":
    main()
