"""Measure the projector of a NVlabs/stylegan2-ada-pytorch checkout as ``bench_project.py`` measures its reference.

The checkout is used as it is: its network gets the weights of the bench's random one, its ``project`` is called, and
the VGG16 that it would download is replaced by the bench's network of that shape. Nothing is built: on the CPU its
plain operators run anyway, on CUDA they do unless ``--compiled`` says that its extensions have been built already::

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch /tmp/ada
    python tools/bench_nvlabs.py --checkout /tmp/ada --resolution 256 --steps 200 --json nvlabs.json
    python tools/bench_project.py --resolution 256 --steps 200 --against nvlabs.json --json out.json

The seconds are those of ``project`` and of one picture drawn from what it finds; the clock stands still while a step's
line is printed. ``--check`` also runs the bench's own reference and says how far the two are apart.
"""

import argparse
import contextlib
import copy
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch

from bench.clock import Clock, PeakMemory, described
from bench.judge import Judge, VggShaped
from bench.network import random_network
from bench.project import ProjectPlan, Task, conditions, kinder_loss, make_task, measure_reference
from ostec.io.files import write_atomic
from ostec.nets.stylegan2 import Generator, GeneratorShape

STEP = "step "
"""How the projector's line about a step begins."""


class Flat(torch.nn.Module):
    """The bench's features as the projector wants them: vectors whose squared difference is the distance."""

    def __init__(self, features: VggShaped) -> None:
        super().__init__()
        self.features = features
        self.latest: torch.Tensor | None = None
        self.wanted: torch.Tensor | None = None

    def forward(self, image: torch.Tensor, resize_images: bool, return_lpips: bool) -> torch.Tensor:
        """Pictures [B, 3, H, W] in [0, 255] -> [B, F]."""
        if resize_images or not return_lpips:
            raise ValueError("expected pictures at their own size, to be compared by LPIPS")
        levels = self.features(image / 127.5 - 1)
        flat = torch.cat([x.flatten(1) / (x.shape[2] * x.shape[3]) ** 0.5 for x in levels], dim=1)
        self.wanted = flat if self.wanted is None else self.wanted
        self.latest = flat.detach()
        return flat

    @torch.no_grad()
    def distance(self) -> float:
        """Of the latest picture from the first, the target."""
        assert self.latest is not None
        assert self.wanted is not None
        return float((self.latest - self.wanted).square().sum())


def load_projector(checkout: Path, compiled: bool) -> ModuleType:
    """The checkout's ``projector``, without the libraries that only its command line needs."""
    sys.path.insert(0, str(checkout))
    for name in ("click", "imageio", "requests"):
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = mock.MagicMock()
    projector = importlib.import_module("projector")
    for name in ("upfirdn2d", "bias_act"):
        operator: Any = importlib.import_module(f"torch_utils.ops.{name}")
        operator._inited = True  # nothing is built on first use
        if compiled:
            operator._plugin = built(f"{name}_plugin")
    return projector


def built(name: str) -> ModuleType:
    """An extension of the checkout that lies, built, where PyTorch keeps them."""
    from torch.utils.cpp_extension import _get_build_directory

    folder = Path(_get_build_directory(name, False))
    if not (folder / f"{name}.so").is_file():
        sys.exit(f"{folder} holds no {name}.so: build it by calling the checkout once, or leave out --compiled.")
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def twin_of(network: Generator, half_levels: int) -> torch.nn.Module:
    """The checkout's generator with the same weights."""
    networks = importlib.import_module("training.networks")
    shape = network.shape
    synthesis = {
        "channel_base": shape.channel_base,
        "channel_max": shape.channel_max,
        "conv_clamp": network.conv_clamp,
        "num_fp16_res": half_levels,
    }
    twin: torch.nn.Module = networks.Generator(
        z_dim=shape.z_dim,
        c_dim=0,
        w_dim=shape.w_dim,
        img_resolution=shape.resolution,
        img_channels=3,
        mapping_kwargs={"num_layers": shape.mapping_layers},
        synthesis_kwargs=synthesis,
    )
    twin.load_state_dict(network.state_dict(), strict=True)
    return twin.eval().requires_grad_(False)


class Run:
    """One call of ``project``, with its clock."""

    def __init__(self, projector: ModuleType, task: Task, clock: Clock) -> None:
        self._projector, self._task, self._clock = projector, task, clock
        self._vgg = Flat(task.features)
        self.distances: list[float] = []
        self.prepared = 0.0
        self.network: Any = None
        """The projector's own copy, with the noise maps that it optimises."""

    def __call__(self, twin: torch.nn.Module, target: torch.Tensor, steps: int) -> torch.Tensor:
        """Rows [1, num_ws, W] after the last step; ``target`` [3, R, R] in [0, 255]."""
        with self._changed():
            found = self._projector.project(twin, target, num_steps=steps, device=self._task.device, verbose=True)
        return found[-1:]

    @contextlib.contextmanager
    def _changed(self) -> Iterator[None]:
        """The network instead of the download, its copy kept, its lines read."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch("dnnlib.util.open_url", return_value=io.BytesIO()))
            stack.enter_context(mock.patch("torch.jit.load", side_effect=self._loaded))
            kept = SimpleNamespace(deepcopy=self._keep)
            stack.enter_context(mock.patch.dict(vars(self._projector), {"copy": kept, "print": self._read}))
            yield

    def _keep(self, network: Any) -> Any:
        self.network = copy.deepcopy(network)
        return self.network

    def _loaded(self, _: Any) -> Flat:
        self.prepared = self._clock.seconds
        self._clock.mark()
        return self._vgg

    def _read(self, line: str) -> None:
        if line.startswith(STEP):
            self._clock.lap()
            with self._clock.paused():
                self.distances.append(self._vgg.distance())


def measure(projector: ModuleType, task: Task, half_levels: int) -> dict[str, Any]:
    """The same figures as of the bench's own reference, of the checkout's projector."""
    plan, twin = task.plan, twin_of(task.network, half_levels).to(task.device)
    started = task.now()
    if plan.warm_up:
        warm = Clock(task.device)
        warm.start()
        Run(projector, task, warm)(twin, pixels(task.target[0]), plan.warm_up)
    warm_up_s = task.now() - started
    memory, clock = PeakMemory(task.device), Clock(task.device)
    losses, curves, prepared = [], [], 0.0
    torch.manual_seed(plan.seed)
    for target in task.target:
        run, judge = Run(projector, task, clock), Judge(task.features, target[None])
        clock.start()
        before = clock.seconds
        rows = run(twin, pixels(target), plan.steps)
        with torch.no_grad():
            picture = run.network.synthesis(rows, noise_mode="const")
        clock.stop()
        losses.append(kinder_loss(judge, picture, drawing(twin, rows)))
        curves.append(run.distances)
        prepared += run.prepared - before
    return {
        "reference_s": clock.seconds,
        "reference_s_per_step": median(clock.laps),
        "reference_preparation_s": prepared,
        "reference_warm_up_s": warm_up_s,
        "reference_steps": plan.steps,
        "reference_peak_memory_mb": memory.mb(),
        "reference_distances": curves,
        "final_losses_reference": losses,
        "final_loss_reference": sum(losses) / len(losses),
    }


def drawing(twin: Any, rows: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Draws with the stored noise."""

    @torch.no_grad()
    def draw() -> torch.Tensor:
        return twin.synthesis(rows, noise_mode="const")

    return draw


def pixels(target: torch.Tensor) -> torch.Tensor:
    """A picture in [-1, 1] on the scale of files, not rounded."""
    return (target + 1) * 127.5


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="Measure the projector of a stylegan2-ada-pytorch checkout.")
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--channel-base", type=int, default=32768)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--half-levels", type=int, default=0)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Write the file."""
    asked = parsed()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    shape = GeneratorShape(asked.resolution, channel_base=asked.channel_base)
    plan = ProjectPlan(asked.steps, batch=asked.batch, warm_up=asked.warm_up, seed=asked.seed, count=False)
    device = torch.device(asked.device)
    machine = described(device)
    task = make_task(random_network(shape, plan.seed), plan, device)
    projector = load_projector(asked.checkout, asked.compiled)
    found = measure(projector, task, asked.half_levels)
    operators = "compiled operators" if asked.compiled and asked.device == "cuda" else "plain operators"
    found["reference"] = (
        f"projector.py of stylegan2-ada-pytorch, {operators}, {asked.half_levels} levels in half floats"
    )
    if asked.check:
        own = measure_reference(task)
        print(f"seconds a step: {found['reference_s_per_step']:.4f} there, {own['reference_s_per_step']:.4f} here")
        for name, there, here in zip(
            ("final loss", *(f"distance of {k}" for k in range(plan.batch))),
            (found["final_losses_reference"], *found["reference_distances"]),
            (own["final_losses_reference"], *own["reference_distances"]),
            strict=True,
        ):
            apart = [abs(a - b) / b for a, b in zip(there, here, strict=True)]
            print(f"{name}: {100 * median(apart):.1f} % apart in the median, {100 * max(apart):.1f} % at most")
    text = json.dumps({**found, **conditions(task), "machine": machine}, indent=2, sort_keys=True)
    write_atomic(asked.json, (text + "\n").encode())
    seconds = f"{found['reference_s_per_step']:.4f} s a step, {found['reference_s']:.2f} s in all"
    print(f"{seconds}, final loss {found['final_loss_reference']:.5f}")


if __name__ == "__main__":
    main()
