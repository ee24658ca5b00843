"""Measure this program's projection against a plain reference of the published projector; see docs/benchmarks.md.

Pictures that a network drew itself are projected into it, once as published and once as this program does it. The
reference takes ``--steps``; this program goes on until it is as close by the same judge, a network of VGG16's shape
with random weights at 256 px plus the pixels' squared error, or until ``--limit``. The clock stands still while the
bench judges::

    python tools/bench_project.py --resolution 256 --json out.json
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.network import random_network
from bench.options import DEVICES, device_of, plan_of, readable, writable, write_figures
from bench.profile import profiles
from bench.project import ProjectPlan, compare, make_task, mismatch
from ostec.app.checks import need_file
from ostec.core.assets import generator_names
from ostec.core.errors import UsageError
from ostec.core.text import align
from ostec.io.files import write_atomic
from ostec.load.generators import read_generator
from ostec.load.networks import asset_file
from ostec.nets.stylegan2 import Generator, GeneratorShape


def parser() -> argparse.ArgumentParser:
    """The options."""
    plan = ProjectPlan()
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--generator", help="a generator's file, or default; without it the network is random")
    found.add_argument("--resolution", type=int, help="side of the random network's pictures; 256 unless given")
    found.add_argument("--channel-base", type=int, help="of the random network; 32768 (config-f) unless given")
    found.add_argument("--steps", type=int, default=plan.steps, help="steps of the reference")
    found.add_argument("--limit", type=int, default=plan.limit, help="of this program at most; 0: as the reference's")
    found.add_argument("--batch", type=int, default=plan.batch, help="pictures; the reference takes one after another")
    found.add_argument("--warm-up", type=int, default=plan.warm_up, help="steps of both sides before the clock starts")
    found.add_argument("--judge-every", type=int, default=plan.judge_every, help="this program's steps to a judgement")
    found.add_argument("--seed", type=int, default=plan.seed, help="seed of everything that is drawn")
    found.add_argument("--threads", type=int, default=0, help="0: as PyTorch chooses")
    found.add_argument(
        "--against", type=readable, help="figures of tools/bench_nvlabs.py or an earlier run for the reference's"
    )
    found.add_argument("--profile", type=writable, help="text file for PyTorch's profile of --steps of both sides")
    found.add_argument("--device", choices=DEVICES, default="auto", help="auto takes CUDA where it works")
    found.add_argument("--json", type=writable, help="file for all figures; an older one is replaced")
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Measure, write the file, and print the table."""
    options = parser()
    asked = options.parse_args(words)
    plan: ProjectPlan = plan_of(options, ProjectPlan, asked)
    reference = None if asked.against is None else read_figures(options, asked.against)
    if asked.threads < 0:
        options.error(f"--threads must be 0 (as PyTorch chooses) or more, not {asked.threads}.")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    network, device = network_of(options, asked), device_of(options, asked.device)
    tell("Making the network and the target.")
    try:
        task = make_task(network, plan, device)
    except ValueError as error:
        options.error(f"The network cannot be judged: {error}.")
    if reference is not None and (wrong := mismatch(reference, task)):
        options.error(f"{asked.against} was measured under other conditions: {wrong}.")
    found = compare(task, tell, reference)
    write_figures(asked.json, found)
    if asked.profile is not None:
        tell("Both sides are profiled, in a run of their own.")
        write_atomic(asked.profile, profiles(task, plan.steps).encode())
    print(table(found))


def tell(sentence: str) -> None:
    """A remark about what is measured now."""
    print(sentence, file=sys.stderr, flush=True)


def network_of(options: argparse.ArgumentParser, asked: argparse.Namespace) -> Generator:
    """The network of a file, or a random one; ends the program where the options make no sense."""
    if asked.generator is not None:
        for name in ("resolution", "channel_base"):
            if getattr(asked, name) is not None:
                options.error(f"--{name.replace('_', '-')} is for random networks and excludes --generator.")
        try:
            if asked.generator not in ("default", *generator_names()):
                need_file(asked.generator, "The generator's file")
        except UsageError as error:
            options.error(str(error))
        return read_generator(asset_file("generator", asked.generator)).model.generator
    side = 256 if asked.resolution is None else asked.resolution
    base = 32768 if asked.channel_base is None else asked.channel_base
    if side < 16 or side & (side - 1) or side > 4096:
        options.error(f"--resolution must be a power of two from 16 to 4096, not {side}.")
    if base < side:
        options.error(f"--channel-base must be the resolution, {side}, or more, not {base}.")
    return random_network(GeneratorShape(side, channel_base=base), asked.seed)


def read_figures(options: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """The figures of a reference; ends the program where the file holds none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    numbers = ("reference_s", "reference_s_per_step", "final_loss_reference")
    losses = found.get("final_losses_reference") if isinstance(found, dict) else None
    if not isinstance(losses, list) or not all(isinstance(x, int | float) for x in (*losses, *map(found.get, numbers))):
        options.error(f"{path} holds no figures of a reference.")
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


if __name__ == "__main__":
    main()
