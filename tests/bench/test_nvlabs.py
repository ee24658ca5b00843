"""The tool that measures a checkout, by one whose projector is a few lines with the published interface."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from bench.project import mismatch

ROOT = Path(__file__).resolve().parents[2]
PROJECTOR = """
import copy
import click
import torch
import dnnlib

def project(G, target, *, num_steps, device, verbose=False):
    def logprint(*words):
        if verbose:
            print(*words)
    assert target.shape == (3, 16, 16) and float(target.mean()) > 20
    G = copy.deepcopy(G)
    logprint("Computing W midpoint ...")
    with dnnlib.util.open_url("https://nowhere.invalid/vgg16.pt") as stream:
        vgg16 = torch.jit.load(stream).eval().to(device)
    wanted = vgg16(target[None], resize_images=False, return_lpips=True)
    w = G.mapping.w_avg[None].clone().requires_grad_(True)
    found, optimiser = [], torch.optim.Adam([w], lr=0.05)
    for step in range(num_steps):
        picture = (G.synthesis(w.repeat([1, G.num_ws, 1]), noise_mode="const") + 1) * (255 / 2)
        distance = (vgg16(picture, resize_images=False, return_lpips=True) - wanted).square().sum()
        distance.backward()
        optimiser.step()
        optimiser.zero_grad()
        logprint(f"step {step + 1}/{num_steps}: dist {float(distance.detach()):.2f}")
        found.append(w.detach().clone())
    return torch.stack(found).repeat(1, G.num_ws, 1)
"""
NETWORKS = """
import torch
from ostec.nets import stylegan2

class Generator(torch.nn.Module):
    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, synthesis_kwargs):
        super().__init__()
        assert (c_dim, img_channels, synthesis_kwargs["num_fp16_res"]) == (0, 3, 0)
        names = ("channel_base", "channel_max")
        shape = stylegan2.GeneratorShape(
            img_resolution, z_dim, w_dim, mapping_kwargs["num_layers"], *(synthesis_kwargs[n] for n in names)
        )
        whole = stylegan2.Generator(shape, synthesis_kwargs["conv_clamp"])
        self.mapping, self.synthesis, self.num_ws = whole.mapping, Synthesis(shape), shape.num_ws

class Synthesis(stylegan2.SynthesisNetwork):
    def forward(self, ws, noise_mode):
        return super().forward(ws, noise_mode)
"""
FILES = {
    "projector.py": PROJECTOR,
    "dnnlib/__init__.py": "from dnnlib import util\n",
    "dnnlib/util.py": "def open_url(url):\n    raise AssertionError('it downloads')\n",
    "torch_utils/__init__.py": "",
    "torch_utils/ops/__init__.py": "",
    "torch_utils/ops/upfirdn2d.py": "_inited, _plugin = False, None\n",
    "torch_utils/ops/bias_act.py": "_inited, _plugin = False, None\n",
    "training/__init__.py": "",
    "training/networks.py": NETWORKS,
}
WORDS = ("--resolution", "16", "--channel-base", "64", "--steps", "4")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("bench_nvlabs", ROOT / "tools/bench_nvlabs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    narrow = partial(module.GeneratorShape, z_dim=8, w_dim=8, mapping_layers=1)  # ten thousand latents are mapped
    monkeypatch.setattr(module, "GeneratorShape", narrow)
    yield module
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("projector", "dnnlib", "torch_utils", "training", "click", "imageio"):
            del sys.modules[name]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_checkout_is_measured_by_the_same_keys(
    tool: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / "out.json"
    monkeypatch.setattr(sys, "argv", ["tool", "--checkout", str(checkout), *WORDS, "--json", str(path), "--check"])
    tool.main()
    found = json.loads(path.read_text())
    task = tool.make_task(
        tool.random_network(tool.GeneratorShape(16, channel_base=64), 0), tool.ProjectPlan(4), tool.torch.device("cpu")
    )
    own = tool.measure_reference(task)
    assert {key for key in own if "gflop" not in key} <= set(found)
    assert mismatch(found, task) is None
    (curve,) = found["reference_distances"]
    assert len(curve) == 4
    assert curve[3] < curve[0]
    assert found["reference_s"] > found["reference_preparation_s"] + 2 * found["reference_s_per_step"]
    assert found["reference"].startswith("projector.py of stylegan2-ada-pytorch, plain operators")
    out = capsys.readouterr().out
    assert "final loss: " in out
    assert "% apart in the median" in out
    operators = sys.modules["torch_utils.ops.upfirdn2d"]
    assert vars(operators)["_inited"] is True, "nothing is built on first use"


def test_extensions_that_are_not_built_are_asked_for(
    tool: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(checkout / "extensions"))
    words = [*WORDS, "--json", str(checkout / "out.json"), "--compiled"]
    monkeypatch.setattr(sys, "argv", ["tool", "--checkout", str(checkout), *words])
    with pytest.raises(SystemExit, match=r"holds no upfirdn2d_plugin.so: build it by calling the checkout once"):
        tool.main()
