"""Everything that is loaded once: networks, topology, prior, generator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ostec.core.assets import asset_path, find_model, load_manifest, sha256_of, verified_path
from ostec.core.errors import AssetError
from ostec.core.settings import CompleteSettings
from ostec.core.types import Topology
from ostec.io.topology import read_topology
from ostec.io.weights import load_strict, read_mtcnn, read_safetensors, read_torch
from ostec.nets.arcface import ArcFace
from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.facemesh import FaceMesh
from ostec.nets.hands import HandNetworks
from ostec.nets.mtcnn import Mtcnn
from ostec.nets.parsing import BiSeNet
from ostec.nets.perceptual import LINEAR_LAYERS, Lpips, LpipsTensors
from ostec.pipeline.generators import read_card, read_generator
from ostec.pipeline.judges import Loaded, load_arcface, load_parsing
from ostec.prior.linear import LinearPrior, prior_from_tensors

_Network = TypeVar("_Network", bound=torch.nn.Module)


@dataclass(frozen=True)
class Models:
    """Everything that is loaded once."""

    mtcnn: Mtcnn
    facemesh: FaceMesh
    topology: Topology
    prior: LinearPrior | None
    generator: PortraitGenerator | None
    shares_prior: bool
    """Whether the generator's Z holds coefficients of this prior."""
    hashes: dict[str, str]
    """Name -> SHA-256 of the file it came from."""
    lpips: Lpips | None = None
    """Compares pictures in the projection; None without generator, or where no backbone is found."""
    arcface: ArcFace | None = None
    """Says who a face is, in the projection; None without generator, or where no file is found."""
    parsing: BiSeNet | None = None
    """Says what of a photo is bare face; None where no file is found."""
    hands: HandNetworks | None = None
    """Finds hands before the face; None where they are not looked for."""


def load_models(device: torch.device, settings: CompleteSettings | None = None) -> Models:
    """Load what a run with these settings needs.

    Args:
        device: where the networks shall run.
        settings: the defaults if None; without iterations no generator is loaded.

    Raises:
        AssetError: a file is missing, damaged or belongs to another layout.
    """
    settings = settings or CompleteSettings()
    mtcnn = Mtcnn.from_keras(read_mtcnn()).to(device)
    facemesh = load_facemesh(device)
    topology = read_topology(asset_path("topology/facemesh.npz"))
    shipped = ("mtcnn", "facemesh", "hands")
    hashes = {entry.name: entry.sha256 for name in shipped for entry in load_manifest(name).files}
    hashes["facemesh.npz"] = topology.sha256
    prior: LinearPrior | None = None
    if settings.prior != "none":
        file = asset_file("prior", settings.prior)
        prior = load_prior(file, topology, device)
        hashes[file.name] = sha256_of(file)
    generator: PortraitGenerator | None = None
    shares_prior = False
    if settings.projects:
        file = asset_file("generator", settings.generator)
        generator = load_generator(file, topology, device)
        shares_prior = prior is not None and read_card(file).get("prior_sha256") in hashes.values()
        hashes[file.name] = sha256_of(file)
    perceptual = load_lpips(device) if generator is not None else None
    hashes |= perceptual.hashes if perceptual else {}
    lpips = perceptual.network if perceptual else None
    arcface = load_arcface(device) if generator is not None else None
    parsing = load_parsing(device)
    hashes |= (arcface.hashes if arcface else {}) | (parsing.hashes if parsing else {})
    return Models(
        mtcnn.eval(),
        facemesh,
        topology,
        prior,
        generator,
        shares_prior,
        hashes,
        lpips,
        arcface.network if arcface else None,
        parsing.network if parsing else None,
        load_hands(device),
    )


def load_facemesh(device: torch.device) -> FaceMesh:
    """Read the network that finds landmarks. Raises AssetError where its file is missing or damaged."""
    return _with_weights(FaceMesh(), "facemesh", device)


def load_hands(device: torch.device) -> HandNetworks:
    """Read the networks that find hands; errors as :func:`load_facemesh`."""
    return _with_weights(HandNetworks(), "hands", device)


def _with_weights(network: _Network, name: str, device: torch.device) -> _Network:
    """Fill a network with the weights that ship under a name, for use and not for training."""
    path = verified_path(name, f"{name}.safetensors")
    load_strict(network, read_safetensors(path), path.name)
    return network.to(device).eval().requires_grad_(False)


def asset_file(name: str, asked: str) -> Path:
    """The file of an asset that ships, or the user's own.

    Args:
        name: ``prior`` or ``generator``.
        asked: ``default``, or a path.

    Raises:
        AssetError: what ships is missing or damaged.
    """
    if asked != "default":
        return Path(asked)
    verified_path(name, f"{name}.json")
    return verified_path(name, f"{name}.safetensors")


def load_prior(path: Path, topology: Topology, device: torch.device) -> LinearPrior:
    """Read a prior and the JSON beside it.

    Raises:
        AssetError: a file is missing or damaged, or the prior was fitted in another UV layout.
    """
    if read_card(path).get("topology_sha256") != topology.sha256:
        raise AssetError(f"{path} was fitted in another UV layout than topology/{topology.name}.npz.")
    return prior_from_tensors(read_safetensors(path), topology.sha256, device)


def load_generator(path: Path, topology: Topology, device: torch.device) -> PortraitGenerator:
    """Read a generator: one of ``ostec train generator`` with the JSON beside it, or a published one.

    Raises:
        AssetError: a file is missing or damaged, or the generator draws another topology's mean shape.
    """
    read = read_generator(path)
    model = read.model
    if not model.frame.own_shape and read.card.get("topology_sha256") != topology.sha256:
        raise AssetError(f"{path} was trained with another mean shape than topology/{topology.name}.npz.")
    return model.to(device)


def load_lpips(device: torch.device, backbones: Sequence[str] = tuple(LINEAR_LAYERS)) -> Loaded[Lpips] | None:
    """Build LPIPS on the first of some backbones whose file is found; nothing is downloaded.

    Args:
        device: where it shall run.
        backbones: names as in ``LINEAR_LAYERS``, the preferred one first: VGG16, as OSTeC and StyleGAN2's projector.

    Returns:
        None if there is no file at all.

    Raises:
        AssetError: a file is there, but is not the expected one.
        BackendError: a file is there, but lpips or torchvision is not installed.
    """
    files = {Path(entry.name).name: entry for entry in load_manifest("lpips").files}
    for backbone in backbones:
        (name,) = (name for name in files if name.startswith(backbone))
        path = find_model("lpips", files[name].name) or _fetched_by_torch(name)
        if path is None:
            continue
        linear = load_manifest("lpips_linear").file(f"weights/v0.1/{LINEAR_LAYERS[backbone]}.pth")
        beside = verified_path("lpips_linear", linear.name)
        entry = files[name]
        tensors = LpipsTensors(
            source=str(path),
            backbone=read_torch(path, entry.size, entry.sha256),
            linear=read_torch(beside, linear.size, linear.sha256),
        )
        hashes = {name: entry.sha256, f"lpips/{linear.name}": linear.sha256}
        return Loaded(Lpips(backbone, tensors).to(device), hashes)
    return None


def lpips_backbones() -> list[str]:
    """Names of the files that LPIPS can stand on."""
    return [Path(entry.name).name for entry in load_manifest("lpips").files]


def _fetched_by_torch(name: str) -> Path | None:
    """The file where torchvision puts what it downloads; the last place where a backbone is looked for."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    return path if path.is_file() else None
