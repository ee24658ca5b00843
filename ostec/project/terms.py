"""Terms of the projection that look at the whole generated picture: landmarks, identity, realism.

OSTeC (Gecer et al., CVPR 2021, section 3.3) compares landmarks and identity features of the generated picture with
those that the same networks find in what was drawn and in the photo, so that a network's own bias cancels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.facemesh import INPUT_SIZE, FaceMesh
from ostec.nets.losses import log_cosh
from ostec.nets.stylegan2 import Discriminator

LANDMARK_SCALE = 100.0
"""Landmarks are compared in hundredths of their crop's side: log-cosh is a square below one and a distance above."""
REALISM_EVERY = 10
"""Iterations between two looks of the discriminator: it needs the whole picture, which is dear to draw."""
_EXPAND = 1.5
"""Side of FaceMesh's crop over the longer side of the landmarks' box."""


@dataclass(frozen=True)
class PictureTerm:
    """A term of the objective that needs nothing but the generated picture."""

    name: str
    """In the record."""
    weight: float
    loss: Callable[[torch.Tensor], torch.Tensor]
    """Pictures [B, 3, R, R] in [-1, 1] to [B]; lower is better."""
    every: int = 1
    """It is looked at in every so many iterations and weighs as much more in them: for networks that cost more than the
    rest of an iteration. In between its last value stands in the sum."""
    whole: bool = False
    """Whether it needs pictures of the generator's full size; others take those that are compared."""


def side_by_side(terms: Sequence[Sequence[PictureTerm]]) -> list[PictureTerm]:
    """The terms of B pictures that are projected at once from those of each, which hold for a batch of one.

    A picture that lacks a term that another one has loses nothing by it. Each keeps its own weight; terms of one name
    are looked at equally often.
    """
    found: dict[str, dict[int, PictureTerm]] = {}
    for b, own in enumerate(terms):
        for term in own:
            found.setdefault(term.name, {})[b] = term

    def together(of: dict[int, PictureTerm]) -> Callable[[torch.Tensor], torch.Tensor]:
        def loss(pictures: torch.Tensor) -> torch.Tensor:
            none = pictures.new_zeros(1)
            parts = [of[b].weight * of[b].loss(pictures[b : b + 1]) if b in of else none for b in range(len(pictures))]
            return torch.cat(parts)

        return loss

    return [replace(next(iter(of.values())), weight=1.0, loss=together(of)) for of in found.values()]


def landmark_term(network: FaceMesh, image: torch.Tensor, points: torch.Tensor, weight: float) -> PictureTerm:
    """Distance of the landmarks that FaceMesh finds in the generated picture from those in what was drawn.

    Args:
        network: FaceMesh.
        image: [B, 3, R, R] in [-1, 1] what was drawn, without holes.
        points: [B, 468, 2] the mesh's landmarks in pixels of the view; they say where FaceMesh looks.
        weight: of the term.
    """
    low, high = points.amin(1), points.amax(1)
    half = _EXPAND / 2 * (high - low).amax(1)
    steps = (torch.arange(INPUT_SIZE).to(points) + 0.5) / INPUT_SIZE * 2 - 1
    x, y = ((low + high) / 2)[..., None].unbind(1)
    x, y = x + half[:, None] * steps, y + half[:, None] * steps
    pixels = torch.stack([x[:, None, :].expand(-1, INPUT_SIZE, -1), y[:, :, None].expand(-1, -1, INPUT_SIZE)], dim=-1)
    grid = pixels / image.shape[-1] * 2 - 1  # [B, 192, 192, 2]
    # A pixel of the crop that covers several of the picture's is their mean, over a power of two as the sides are.
    share = 2 * float(half.min()) / image.shape[-1]

    def look(pictures: torch.Tensor) -> torch.Tensor:
        block = 2 ** max(0, math.floor(math.log2(share * pictures.shape[-1] / INPUT_SIZE + 1e-6)))
        averaged = functional.avg_pool2d(pictures, block) if block > 1 else pictures
        crops = functional.grid_sample(
            averaged / 2 + 0.5, grid.to(pictures), padding_mode="border", align_corners=False
        )
        return network(crops).points[..., :2] / INPUT_SIZE

    with torch.no_grad():
        wanted = look(image)

    def loss(pictures: torch.Tensor) -> torch.Tensor:
        return log_cosh((look(pictures) - wanted) * LANDMARK_SCALE).mean((1, 2))

    return PictureTerm("landmarks", weight, loss)


def realism_term(network: Discriminator, weight: float) -> PictureTerm:
    """How unreal the discriminator finds a picture: -log of its verdict, as StyleGAN2's generator is trained.

    Args:
        network: a discriminator of whole pictures.
        weight: of the term.
    """

    def loss(pictures: torch.Tensor) -> torch.Tensor:
        # One by one: its deviation over the batch would tie the pictures to each other.
        return torch.cat([functional.softplus(-network(picture[None]))[:, 0] for picture in pictures])

    return PictureTerm("realism", weight, loss, REALISM_EVERY, whole=True)


def picture_judge(model: PortraitGenerator) -> Discriminator | None:
    """The generator's discriminator, if it judges whole RGB pictures, not patches with masks."""
    network, resolution = model.discriminator, model.generator.shape.resolution
    if network is None or network.shape.resolution != resolution:
        return None
    return network if network.get_parameter(f"b{resolution}.fromrgb.weight").shape[1] == 3 else None
