"""Networks by name: from the files that ship, that a user has added, or that a requirement brings, checked and built.

What neither ships nor is needed (ArcFace, BiSeNet, LPIPS's backbones) is None where no file is found; what a run used
is in its NAME.json. Nothing is downloaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from ostec.core.assets import (
    GENERATOR_LOADER,
    check_file,
    expected_file,
    find_model,
    generator_names,
    load_manifest,
    sha256_of,
    verified_path,
)
from ostec.core.errors import AssetError, WeightsError
from ostec.core.manifests import Manifest
from ostec.core.plain import open_plain
from ostec.core.types import Topology
from ostec.io.arrays import read_npz
from ostec.io.obj import read_obj
from ostec.io.pickles import read_npy_object, read_objects
from ostec.io.weights import check_beginning, load_strict, read_safetensors, read_state, read_torch
from ostec.load.generators import read_card, read_generator
from ostec.load.morphable.files import read_mat
from ostec.nets.arcface import ArcFace, arcface_from_tensors
from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.covers import CoverNetwork
from ostec.nets.denoiser import TextureDenoiser, denoiser_from_tensors
from ostec.nets.dlib_face import FaceRecogniser, dlib_face_from_tensors
from ostec.nets.e4e import ROWS, WIDTHS, E4eEncoder, e4e_from_tensors
from ostec.nets.efficientnet import EfficientFeatures, PerceptualNetwork
from ostec.nets.facemesh import FaceMesh
from ostec.nets.hands import HandNetworks
from ostec.nets.iris import IrisNetwork
from ostec.nets.parsing import BiSeNet, bisenet_from_tensors
from ostec.nets.perceptual import LINEAR_LAYERS, Lpips, LpipsTensors
from ostec.nets.person import PersonNetwork
from ostec.nets.regressor import DEEP3D, FACEVERSE, Regressor, regressor_from_tensors

REGRESSORS = {
    "deep3d": ("deep3dfacerecon", "deep3dfacerecon/epoch_20.pth", DEEP3D),
    "faceverse": ("faceverse_v4", "faceverse_v4/faceverse_resnet50.pth", FACEVERSE),
}
"""Name in ``--fit`` -> manifest, file, and the network that the file must hold."""
_Network = TypeVar("_Network", bound=torch.nn.Module)
_NetworkCo = TypeVar("_NetworkCo", bound=torch.nn.Module, covariant=True)


@dataclass(frozen=True)
class Loaded(Generic[_NetworkCo]):
    """A network and where it came from."""

    network: _NetworkCo
    hashes: dict[str, str]
    """Name -> SHA-256 of each of its files."""


def load_facemesh(device: torch.device) -> FaceMesh:
    """Read the network that finds landmarks. Raises AssetError where its file is missing or damaged."""
    return _with_weights(FaceMesh(), "facemesh", device)


def load_hands(device: torch.device) -> HandNetworks:
    """Read the networks that find hands; errors as :func:`load_facemesh`."""
    return _with_weights(HandNetworks(), "hands", device)


def load_covers(device: torch.device) -> CoverNetwork:
    """Read the network that finds what covers a face; errors as :func:`load_facemesh`."""
    return _with_weights(CoverNetwork(), "covers", device)


def load_person(device: torch.device) -> PersonNetwork:
    """Read the network that finds the person in a photo; errors as :func:`load_facemesh`."""
    return _with_weights(PersonNetwork(), "person", device)


def load_iris(device: torch.device) -> IrisNetwork:
    """Read the network that finds irises; errors as :func:`load_facemesh`."""
    return _with_weights(IrisNetwork(), "iris", device)


def _with_weights(network: _Network, name: str, device: torch.device) -> _Network:
    """Fill a network with the weights that ship under a name, for use and not for training."""
    path = verified_path(name, f"{name}.safetensors")
    load_strict(network, read_safetensors(path), path.name)
    return network.to(device).eval().requires_grad_(False)


def asset_file(name: str, asked: str) -> Path:
    """The file of a ``prior``, ``generator`` or ``edits``: what ships for ``default``, a path or one of the catalogue.

    Raises AssetError if what ships or was fetched is missing or damaged, or a path leads to no file of weights.
    """
    if name == "generator" and asked in generator_names() and not Path(asked).is_file():
        entries = load_manifest(asked).files
        found = next((entry.name for entry in entries if find_model(asked, entry.name)), entries[0].name)
        return verified_path(asked, found)
    if asked != "default":
        return check_beginning(Path(asked))
    verified_path(name, f"{name}.json")
    return verified_path(name, f"{name}.safetensors")


def load_generator(path: Path, topology: Topology, device: torch.device) -> PortraitGenerator:
    """Read a generator: one of ``ostec train generator`` with the JSON beside it, or a published one.

    Raises AssetError if a file is missing or damaged, or the generator draws another topology's mean shape.
    """
    read = read_generator(path)
    model = read.model
    if read.card.get("draws"):
        raise AssetError(
            f"{path} draws UV {read.card['draws']}, no views: ostec fit --decoder and ostec generate take it."
        )
    if not model.frame.own_shape and read.card.get("topology_sha256") != topology.sha256:
        raise AssetError(f"{path} was trained with another mean shape than topology/{topology.name}.npz.")
    return model.to(device)


def load_e4e(device: torch.device) -> tuple[E4eEncoder, torch.Tensor, dict[str, str]]:
    """The encoder of ``e4e_ffhq_encode.pt``, the mean latent [18, 512] that it adds to, and the file's SHA-256.

    Raises AssetError if the file is missing or damaged.
    """
    path = asset_file("generator", "e4e")
    content = read_objects(path)
    mean = content.get("latent_avg") if isinstance(content, dict) else None
    if not isinstance(mean, torch.Tensor) or tuple(mean.shape) != (ROWS, WIDTHS[-1]):
        raise WeightsError(f"{path} holds no latent_avg of [{ROWS}, {WIDTHS[-1]}].")
    network = e4e_from_tensors(read_state(path, "encoder."), str(path)).to(device)
    return network, mean.float().to(device), {path.name: sha256_of(path)}


def denoiser_file(asked: str) -> Path:
    """The file of the diffusion model. Raises AssetError for ``default``, as none ships, and what is no file."""
    if asked == "default":
        raise AssetError(
            "No diffusion model ships; train one with ostec train diffusion and name its file with --denoiser."
        )
    return check_beginning(Path(asked))


def load_denoiser(path: Path, topology: Topology, device: torch.device) -> TextureDenoiser:
    """Read a file of ``ostec train diffusion`` with the JSON beside it.

    Raises AssetError if a file is missing or damaged, or the network was trained in another UV layout.
    """
    if read_card(path).get("topology_sha256") != topology.sha256:
        raise AssetError(f"{path} was trained in another UV layout than topology/{topology.name}.npz.")
    network = denoiser_from_tensors(read_safetensors(path), str(path))
    return network.to(device).eval().requires_grad_(False)


def load_arcface(device: torch.device) -> Loaded[ArcFace] | None:
    """Load the first backbone of ``external/arcface.toml`` that is found, or None; nothing is downloaded.

    Raises AssetError if a file is there, but is damaged or not the expected one.
    """
    return _load_first("arcface", arcface_from_tensors, device)


def load_recogniser(device: torch.device) -> Loaded[FaceRecogniser]:
    """Load what says who a face is: an ArcFace if one is found, else the network that ships. Errors as both."""
    if (arcface := load_arcface(device)) is not None:
        return Loaded(arcface.network, arcface.hashes)
    path = verified_path("identity", "identity.safetensors")
    network = dlib_face_from_tensors(read_safetensors(path), path.name).to(device)
    return Loaded(network, {path.name: load_manifest("identity").file(path.name).sha256})


def load_regressor(name: str, device: torch.device) -> Loaded[Regressor]:
    """Load a network that reads a morphable model's coefficients from a photo: one of ``REGRESSORS``.

    Raises AssetError if its file is not there, damaged, or another network's; the sentence says how to get it.
    """
    manifest, file, layout = REGRESSORS[name]
    path = find_model(manifest, file)
    if path is None:
        raise AssetError(f"--fit {name} needs {file}, which is not there; please run: ostec models show {manifest}")
    network = regressor_from_tensors(read_state(path), str(path))
    if network.layout is not layout:
        raise AssetError(f"{path} is {network.layout.name}'s network, not {layout.name}'s.")
    return Loaded(network.to(device), {f"{manifest}/{path.name}": sha256_of(path)})


def load_parsing(device: torch.device) -> Loaded[BiSeNet] | None:
    """Load the first face parsing of ``external/bisenet.toml``; result and errors as :func:`load_arcface`."""
    return _load_first("bisenet", bisenet_from_tensors, device)


def _load_first(
    name: str, build: Callable[[dict[str, torch.Tensor], str], _Network], device: torch.device
) -> Loaded[_Network] | None:
    """The network in the first file of a manifest that the user has; checked where its SHA-256 is known."""
    files = load_manifest(name).files
    for entry in files:
        path = find_model(name, entry.name)
        if path is None:
            continue
        expected = expected_file(entry, path)
        try:
            check_file(path, expected.size, expected.sha256)
        except AssetError as error:
            free = [other.name for other in files if not other.sha256]
            own = f"; weights of your own are taken as {free[-1]}" if free else ""
            way = f"remove it, or run: ostec models fetch {name}{own}"
            raise AssetError(f"{str(error).rstrip('.')}; {way}") from error
        network = build(read_state(path), str(path)).to(device)
        return Loaded(network, {f"{name}/{path.name}": expected.sha256 or sha256_of(path)})
    return None


def load_lpips(device: torch.device, backbones: Sequence[str] = tuple(LINEAR_LAYERS)) -> Loaded[Lpips] | None:
    """Build LPIPS on the first of some backbones whose file is found, or None; nothing is downloaded.

    Args:
        backbones: names as in ``LINEAR_LAYERS``, the preferred one first: VGG16, as OSTeC and StyleGAN2's projector.

    Raises AssetError if a file is not the expected one, BackendError if lpips or torchvision is not installed.
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


def load_perceptual(device: torch.device, backbones: Sequence[str] = tuple(LINEAR_LAYERS)) -> Loaded[PerceptualNetwork]:
    """Load what compares pictures: :func:`load_lpips` if it finds a backbone, else EfficientNet-Lite0's features.

    Arguments and errors as there; AssetError where the requirement that brings the other is missing or damaged.
    """
    if (lpips := load_lpips(device, backbones)) is not None:
        return Loaded(lpips.network, lpips.hashes)
    (entry,) = load_manifest("efficientnet").files
    path = verified_path("efficientnet", entry.name)
    features = EfficientFeatures(read_torch(path, entry.size, entry.sha256), path.name).to(device)
    return Loaded(features, {path.name: entry.sha256})


def try_to_open(manifest: Manifest, path: Path) -> None:
    """Open a file of a model as what it should be; of formats that nothing here reads, it may be all but a web page.

    Raises AssetError: it is something else, or damaged.
    """
    builders: dict[str, Callable[[dict[str, torch.Tensor], str], object]] = {
        "arcface": arcface_from_tensors,
        "bisenet": bisenet_from_tensors,
        **{name: regressor_from_tensors for name, _, _ in REGRESSORS.values()},
    }
    if manifest.loader == GENERATOR_LOADER:
        read_generator(path)
    elif path.suffix == ".pth" and manifest.name in builders:
        builders[manifest.name](read_state(path), str(path))
    elif path.suffix in _OPENERS:
        _OPENERS[path.suffix](path)
    else:
        with open_plain(path) as stream:
            if stream.read(512).lstrip()[:1] == b"<":
                raise AssetError(f"{path} is a web page, not a model's file.")


_OPENERS: dict[str, Callable[[Path], object]] = {
    **dict.fromkeys((".pth", ".pt", ".ckpt", ".pkl"), read_objects),
    ".npy": read_npy_object,
    ".npz": lambda path: read_npz(path, ()),
    ".mat": lambda path: read_mat(path, ()),
    ".obj": read_obj,
}


def _fetched_by_torch(name: str) -> Path | None:
    """The file where torchvision puts what it downloads; the last place where a backbone is looked for."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    return path if path.is_file() else None
