"""Everything that is loaded once: networks, topology, prior, generator."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ostec.core.assets import asset_path, load_manifest, sha256_of, verified_path
from ostec.core.errors import AssetError
from ostec.core.settings import NO_HEAD
from ostec.core.types import Topology
from ostec.fit.joint import JointFitter
from ostec.fit.morphable import HeadFitter
from ostec.heads.maker import HeadMaker
from ostec.io.weights import is_safetensors, read_mtcnn, read_safetensors, read_state
from ostec.light.estimate import AlbedoModel, albedo_from_tensors
from ostec.load.correspondence import correspondence_of
from ostec.load.generators import read_card
from ostec.load.morphable.read import read_morphable
from ostec.load.networks import (
    asset_file,
    denoiser_file,
    load_covers,
    load_denoiser,
    load_facemesh,
    load_generator,
    load_hands,
    load_iris,
    load_parsing,
    load_perceptual,
    load_person,
    load_recogniser,
    load_regressor,
)
from ostec.load.topology import read_topology
from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.covers import CoverNetwork
from ostec.nets.denoiser import TextureDenoiser
from ostec.nets.dlib_face import FaceRecogniser
from ostec.nets.efficientnet import PerceptualNetwork
from ostec.nets.facemesh import FaceMesh
from ostec.nets.hands import HandNetworks
from ostec.nets.iris import IrisNetwork
from ostec.nets.mtcnn import Mtcnn
from ostec.nets.parsing import BiSeNet
from ostec.nets.person import PersonNetwork
from ostec.nets.regressor import Regressor
from ostec.nets.styleflow import styleflow_from_tensors
from ostec.pipeline.editing import AttributeReader, attribute_settings
from ostec.pipeline.settings import CompleteSettings, FullHeadSettings
from ostec.prior.linear import LinearPrior, prior_from_tensors
from ostec.project.edit import Edits, edits_from_tensors
from ostec.project.flow import FlowEdits

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
    perceptual: PerceptualNetwork | None = None
    """Compares pictures in the projection; None without generator."""
    recogniser: FaceRecogniser | None = None
    """Says who a face is, in the projection; None without generator."""
    parsing: BiSeNet | None = None
    """Says what of a photo is bare face; None where no file is found."""
    hands: HandNetworks | None = None
    """Finds hands before the face; None where they are not looked for."""
    covers: CoverNetwork | None = None
    """Finds what covers the face; None where that is not looked for."""
    regressor: Regressor | None = None
    """Reads the face model's coefficients from the photo; None where landmarks decide them."""
    person: PersonNetwork | None = None
    """Finds the person round the face; None where no head is made."""
    iris: IrisNetwork | None = None
    """Finds irises; None where no head is made."""
    albedo: AlbedoModel | None = None
    """What skin looks like without light, by place; None where no light is taken out."""
    denoiser: TextureDenoiser | None = None
    """Draws detail over the prior's fill; None unless that is asked for."""


def load_models(device: torch.device, settings: CompleteSettings | None = None, with_generator: bool = True) -> Models:
    """Load what a run with these settings needs.

    Args:
        device: where the networks shall run.
        settings: the defaults if None; without iterations no generator is loaded.
        with_generator: whether the generator that they name is loaded.

    Raises:
        AssetError: a file is missing, damaged or belongs to another layout.
    """
    settings = settings or CompleteSettings()
    mtcnn = Mtcnn.from_keras(read_mtcnn()).to(device)
    topology = read_topology(asset_path("topology/facemesh.npz"))
    head = ("person", "iris") if settings.face_model != NO_HEAD else ()
    shipped = ("mtcnn", "facemesh", "hands", "covers", *head)
    hashes = {entry.name: entry.sha256 for name in shipped for entry in load_manifest(name).files}
    hashes["facemesh.npz"] = topology.sha256
    prior: LinearPrior | None = None
    if settings.prior != "none":
        file = asset_file("prior", settings.prior)
        prior = load_prior(file, topology, device)
        hashes[file.name] = sha256_of(file)
    generator: PortraitGenerator | None = None
    shares_prior = False
    if settings.projects and with_generator:
        file = asset_file("generator", settings.generator)
        generator = load_generator(file, topology, device)
        shares_prior = prior is not None and read_card(file).get("prior_sha256") in hashes.values()
        hashes[file.name] = sha256_of(file)
    perceptual = load_perceptual(device) if generator is not None else None
    recogniser = load_recogniser(device) if generator is not None else None
    parsing = load_parsing(device)
    for found in (perceptual, recogniser, parsing):
        hashes |= found.hashes if found else {}
    regressor = load_regressor(settings.fit, device) if settings.fit != "landmarks" else None
    hashes |= regressor.hashes if regressor else {}
    return Models(
        mtcnn.eval(),
        load_facemesh(device),
        topology,
        prior,
        generator,
        shares_prior,
        hashes,
        perceptual.network if perceptual else None,
        recogniser.network if recogniser else None,
        parsing.network if parsing else None,
        load_hands(device),
        load_covers(device),
        regressor.network if regressor else None,
        load_person(device) if head else None,
        load_iris(device) if head else None,
        _albedo(settings, hashes),
        _denoiser(settings, topology, device, hashes),
    )


def _albedo(settings: CompleteSettings, hashes: dict[str, str]) -> AlbedoModel | None:
    """The model of albedo, if light is to be taken out; its file's SHA-256 joins ``hashes``."""
    if settings.materials == "none":
        return None
    file = verified_path("albedo", "albedo.safetensors")
    hashes[file.name] = sha256_of(file)
    return load_albedo(file)


def _denoiser(
    settings: CompleteSettings, topology: Topology, device: torch.device, hashes: dict[str, str]
) -> TextureDenoiser | None:
    """The diffusion model, if it is asked for; its file's SHA-256 joins ``hashes``."""
    if settings.completer != "diffusion":
        return None
    file = denoiser_file(settings.denoiser)
    hashes[file.name] = sha256_of(file)
    return load_denoiser(file, topology, device)


def load_prior(path: Path, topology: Topology, device: torch.device) -> LinearPrior:
    """Read a prior and the JSON beside it.

    Raises:
        AssetError: a file is missing or damaged, or the prior was fitted in another UV layout.
    """
    if read_card(path).get("topology_sha256") != topology.sha256:
        raise AssetError(f"{path} was fitted in another UV layout than topology/{topology.name}.npz.")
    return prior_from_tensors(read_safetensors(path), topology.sha256, device)


def load_albedo(path: Path) -> AlbedoModel:
    """Read the model of albedo. Raises AssetError where the file is missing or damaged."""
    return albedo_from_tensors(read_safetensors(path))


def load_head_maker(name: str, settings: FullHeadSettings | None = None) -> HeadMaker:
    """Read a morphable model and its correspondence.

    Raises:
        AssetError: a file is missing or damaged; the sentence says which, or how to get it.
    """
    model = read_morphable(name)
    settings = settings or FullHeadSettings()
    return HeadMaker(model, correspondence_of(model), settings.texture, settings.fit)


def load_joint_fitter(heads: HeadMaker | None) -> JointFitter:
    """What fits one head to several pictures: the model that heads are made of, or else the one that ships.

    Raises:
        AssetError: a file is missing or damaged.
    """
    if heads is not None:
        return JointFitter(heads.model, heads.correspondence)
    model = read_morphable("head")
    return JointFitter(model, correspondence_of(model))


def load_edits(path: Path, w_dim: int) -> Edits:
    """Read how a generator's latents are edited: a file of ``ostec train edits``, or StyleFlow's flow.

    Raises AssetError if it is missing, damaged or of another generator.
    """
    if is_safetensors(path):
        return edits_from_tensors(read_safetensors(path), w_dim, str(path))
    return FlowEdits(styleflow_from_tensors(read_state(path), str(path)))


def load_attribute_reader(device: torch.device) -> AttributeReader:
    """What measures the pictures of a generator, with what ships.

    Raises:
        AssetError: a file is missing or damaged.
    """
    model = read_morphable("head")
    fitter = HeadFitter(model, correspondence_of(model), attribute_settings())
    topology = read_topology(asset_path("topology/facemesh.npz"))
    albedo = load_albedo(verified_path("albedo", "albedo.safetensors"))
    return AttributeReader(load_facemesh(device), topology, fitter, albedo)
