"""``ostec train prior``, and what the commands of its family share."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ostec.app.console import begin
from ostec.app.options import Flat, Quiet, Verbose, option
from ostec.core.errors import BackendError, UsageError
from ostec.core.settings import Device

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ostec.core.types import Topology
    from ostec.train.portraits import PortraitTexels
    from ostec.train.prepare import TextureSources
    from ostec.train.prior import PriorModel, PriorTrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainOptions:
    """How a training goes about it."""

    exclude: Annotated[Path | None, option(metavar="DIR")] = None
    """Folder of photos whose people (same number in the name) are held out as well."""
    device: Device = "auto"
    """Where to compute; auto takes CUDA where there is a device, else the CPU."""
    quiet: Quiet = False
    """Warnings and errors only."""
    verbose: Verbose = False
    """Debug messages as well."""

    def begin(self, *portraits: Path) -> "torch.device":
        """Set up logging and return the device. Raises UsageError for what is no folder, and BackendError."""
        begin(self.quiet, self.verbose)
        for folder in (*portraits, self.exclude):
            if folder is not None and not folder.is_dir():
                raise UsageError(f"{folder} is no folder.")
        return training_device(self.device)


@dataclass(frozen=True)
class TrainPrior:
    """Fit the texture prior to a folder of aligned portraits and report on those held out."""

    portraits: Annotated[Path, option(metavar="DIR")]
    """Folder of aligned portraits, one face each."""
    out: Annotated[Path, option(aliases=["-o"], metavar="FILE")] = Path("models/prior.safetensors")
    """File to write; a JSON with the figures is written beside it."""
    components: int = 120
    """Dimension of the linear model."""
    iterations: Annotated[int, option(aliases=["-i"])] = 10
    """Rounds of expectation maximisation."""
    size: int = 128
    """Side of the layout in texels."""
    seed: int = 0
    """Seed of everything that is drawn."""
    running: Flat[TrainOptions] = field(default_factory=TrainOptions)

    def run(self) -> int:
        """Return the exit code."""
        device = self.running.begin(self.portraits)
        import torch

        from ostec.core.assets import asset_path
        from ostec.load.topology import read_topology
        from ostec.train.prior import PriorTrainSettings, fit_prior

        settings = PriorTrainSettings(self.components, self.iterations, self.size, seed=self.seed)
        topology = read_topology(asset_path("topology/facemesh.npz"))
        log.info("Reading portraits.")
        data = read_portraits((self.portraits,), excluded_numbers(self.running.exclude), topology, self.size)
        colour, weight = _training_set(data)
        log.info("Fitting to %d portraits and their mirror images.", len(colour) // 2)
        model = fit_prior(
            torch.from_numpy(colour).to(device),
            torch.from_numpy(weight).to(device),
            data.inside,
            settings,
            lambda done, model: log.info(
                "Round %d of %d: noise %.4f", done, settings.iterations, float(model.noise.mean().sqrt())
            ),
        )
        self._save(model, data, settings, topology.sha256)
        return 0

    def _save(self, model: "PriorModel", data: "PortraitTexels", settings: "PriorTrainSettings", topology: str) -> None:
        import torch

        from ostec.core.settings import to_json
        from ostec.io.weights import encode_safetensors
        from ostec.prior.linear import LinearPrior
        from ostec.train.report import report_prior

        tensors = {
            "inside": torch.from_numpy(data.inside.astype("uint8")),
            "mean": model.mean.float().cpu(),
            "basis": model.basis.half().cpu(),
            "noise": model.noise.float().cpu(),
        }
        prior = LinearPrior(data.inside, tensors["mean"], tensors["basis"].float(), tensors["noise"], topology)
        card = {
            "topology_sha256": topology,
            "settings": to_json(settings),
            "portraits_trained": int((~data.held_out).sum()),
            "portraits_held_out": int(data.held_out.sum()),
            "held_out_figures_db": report_prior(prior, data),
        }
        write_trained(self.out, encode_safetensors(tensors), card)


def write_trained(out: Path, content: bytes, card: Mapping[str, Any]) -> None:
    """Write what was trained with its card beside it, and say how good it is. Raises OutputError."""
    from ostec.io.files import write_atomic

    write_atomic(out, content)
    write_atomic(out.with_suffix(".json"), (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    for name, value in card.get("held_out_figures_db", {}).items():
        log.info("%s: %.2f dB", name, value)
    for name, value in card.get("held_out_figures", {}).items():
        log.info("%s: %.2f", name, value)
    log.info("Wrote %s, %.1f MB.", out, len(content) / 1e6)


def training_device(asked: Device) -> "torch.device":
    """Where to train, which draws nothing and so needs no rasteriser there. Raises BackendError."""
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise BackendError("--device cuda cannot be used: no CUDA device was found.")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def excluded_numbers(exclude: Path | None) -> frozenset[str]:
    """Stems of the photos whose people are held out."""
    return frozenset(path.stem for path in exclude.iterdir()) if exclude else frozenset()


def read_portraits(
    portraits: tuple[Path, ...], excluded: frozenset[str], topology: "Topology", size: int
) -> "PortraitTexels":
    """Masked texels of folders of portraits on ``size`` x ``size``, with the landmark network that ships."""
    import torch

    from ostec.load.networks import load_facemesh
    from ostec.train.portraits import collect_texels

    network = load_facemesh(torch.device("cpu"))
    return collect_texels(portraits, excluded, network, topology, size, _report)


def texture_sources(portraits: tuple[Path, ...], prior: str, exclude: Path | None, texels: int = 0) -> "TextureSources":
    """What training textures are made of; ``texels``: their side, that of the prior if 0. Raises UsageError."""
    import torch

    from ostec.core.assets import asset_path, sha256_of, verified_path
    from ostec.load.topology import read_topology
    from ostec.pipeline import load_prior
    from ostec.train.prepare import TextureSources

    topology = read_topology(asset_path("topology/facemesh.npz"))
    path = verified_path("prior", "prior.safetensors") if prior == "default" else Path(prior)
    model = load_prior(path, topology, torch.device("cpu"))
    if texels % model.size:
        raise UsageError(f"--prior must have a layout that divides {texels} texels, got {model.size}.")
    return TextureSources(portraits, excluded_numbers(exclude), topology, model, sha256_of(path), texels or model.size)


def read_sources(sources: "TextureSources") -> "PortraitTexels":
    """Their portraits' texels."""
    return read_portraits(sources.portraits, sources.excluded, sources.topology, sources.size)


def _training_set(data: "PortraitTexels") -> "tuple[np.ndarray, np.ndarray]":
    """Colours [2N, T, 3] and weights [2N, T] of the portraits that are not held out, and of their mirror images."""
    import numpy as np

    keep = ~data.held_out
    index = np.full(data.inside.shape, -1)
    index[data.inside] = np.arange(data.inside.sum())
    mirror = index[:, ::-1][data.inside]
    colour = data.colour[keep].astype(np.float32) / 255
    weight = data.weight[keep].astype(np.float32)
    return np.concatenate([colour, colour[:, mirror]]), np.concatenate([weight, weight[:, mirror]])


def _report(done: int, total: int) -> None:
    if done == total or done % 320 == 0:
        log.info("%d of %d portraits read", done, total)
