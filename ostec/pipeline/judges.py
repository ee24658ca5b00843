"""Published networks that judge, where their files are found: ArcFace, who a face is, and BiSeNet, what is bare face.

Neither ships and neither is needed; what a run used is in its NAME.json.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch

from ostec.core.assets import check_file, expected_file, find_model, load_manifest, sha256_of
from ostec.core.errors import AssetError
from ostec.core.types import Array, FittedFace, FloatArray, UvObservation
from ostec.detect.align import Crop, crop_onto_template, five_points, warp
from ostec.detect.masks import MaskGuide
from ostec.io.weights import read_state
from ostec.nets.arcface import SIZE, TEMPLATE, ArcFace, arcface_from_tensors
from ostec.nets.parsing import BiSeNet, bisenet_from_tensors

LEAST_BARE = 0.2
"""Share of the surely visible skin below which parsing is taken to have missed the face: mask and cap leave more."""


_Network = TypeVar("_Network", bound=torch.nn.Module)
_NetworkCo = TypeVar("_NetworkCo", bound=torch.nn.Module, covariant=True)


@dataclass(frozen=True)
class Loaded(Generic[_NetworkCo]):
    """A network and where it came from."""

    network: _NetworkCo
    hashes: dict[str, str]
    """Name -> SHA-256 of each of its files."""


def load_arcface(device: torch.device) -> Loaded[ArcFace] | None:
    """Load the first backbone of ``external/arcface.toml`` that is found; nothing is downloaded.

    Returns:
        None if there is none.

    Raises:
        AssetError: a file is there, but is damaged or not the expected one.
    """
    return _load_first("arcface", arcface_from_tensors, device)


def load_parsing(device: torch.device) -> Loaded[BiSeNet] | None:
    """Load the first face parsing of ``external/bisenet.toml``; result and errors as :func:`load_arcface`."""
    return _load_first("bisenet", bisenet_from_tensors, device)


def _load_first(
    name: str, build: Callable[[dict[str, torch.Tensor], str], _Network], device: torch.device
) -> Loaded[_Network] | None:
    """The network in the first file of a manifest that the user has."""
    found = _first_file(name)
    if found is None:
        return None
    return Loaded(build(read_state(found.path), str(found.path)).to(device), found.hashes)


@dataclass(frozen=True)
class ParsedFace:
    """What face parsing says of a photo in the layout."""

    bare: FloatArray | None = None
    """[S, S] in [0, 1]: how far each texel is bare face; None where nothing was parsed or believed."""
    name: str = "none"
    """Which network said so."""
    warnings: tuple[str, ...] = ()


def believed(bare: FloatArray, seen: UvObservation, guide: MaskGuide, name: str) -> ParsedFace:
    """Take what a network says of bare face, unless it sees next to none where the landmarks say that there is one.

    Args:
        bare: [S, S] in [0, 1], probability of bare face in the layout.
        seen: the photo in the layout at that size.
        guide: of the layout at that size.
        name: the network's.
    """
    looked = seen.visible & guide.core
    share = float(np.mean(bare[looked] >= 0.5)) if looked.any() else 1.0
    if share < LEAST_BARE:
        found = f"only {100 * share:.0f} % of cheeks, nose and forehead bare skin"
        return ParsedFace(warnings=(f"The face parsing ({name}) calls {found}, so it was not used.",))
    return ParsedFace(np.clip(2 * bare - 0.5, 0, 1).astype(np.float32), name)  # undecided at the edges alone


@dataclass(frozen=True)
class _File:
    path: Path
    hashes: dict[str, str]


def _first_file(name: str) -> _File | None:
    """The first file of a manifest that the user has; checked where its SHA-256 is known."""
    files = load_manifest(name).files
    for entry in files:
        path = find_model(name, entry.name)
        if path is not None:
            expected = expected_file(entry, path)
            try:
                check_file(path, expected.size, expected.sha256)
            except AssetError as error:
                free = [other.name for other in files if not other.sha256]
                own = f"; weights of your own are taken as {free[-1]}" if free else ""
                way = f"remove it, or run: ostec models fetch {name}{own}"
                raise AssetError(f"{str(error).rstrip('.')}; {way}") from error
            return _File(path, {f"{name}/{path.name}": expected.sha256 or sha256_of(path)})
    return None


def identity_crop(points: Array) -> Crop:
    """The crop that ArcFace wants of a picture.

    Args:
        points: [468, >= 2] FaceMesh landmarks in the picture's pixels: a photo's own, or those of a view
            (``ViewStudio.landmarks``).

    Raises:
        ValueError: they coincide.
    """
    return crop_onto_template(five_points(points), TEMPLATE, SIZE)


def identity_of(network: ArcFace | None, photo: FloatArray, face: FittedFace) -> torch.Tensor | None:
    """Who the face of a photo is: [512] of unit length, on the network's device, without gradients; None without one.

    Args:
        network: built ArcFace with its weights, if there is one.
        photo: [H, W, 3] in [0, 1].
        face: fitted to that photo.
    """
    if network is None:
        return None
    device = next(network.parameters()).device
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None]
    with torch.no_grad():
        return network.embed(warp(planes, [identity_crop(face.landmarks)]).to(device) * 2 - 1)[0]


def identity_loss(network: ArcFace, wanted: torch.Tensor, crop: Crop) -> Callable[[torch.Tensor], torch.Tensor]:
    """A term for pictures [B, 3, R, R] in [-1, 1] -> [B]: 1 - cosine to a wanted identity, in [0, 2].

    Differentiable in the pictures. OSTeC weighs it by 10 in a view and by 100 in the frontal portrait.

    Args:
        network: on the pictures' device.
        wanted: [512] of unit length, from :func:`identity_of`.
        crop: of the view, from :func:`identity_crop`.
    """

    def loss(pictures: torch.Tensor) -> torch.Tensor:
        faces = warp(pictures, [crop] * len(pictures))
        return 1 - network.embed(faces) @ wanted

    return loss
