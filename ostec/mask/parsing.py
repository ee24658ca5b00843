"""Face parsing brought back into the photo: how far each pixel is bare face, rather than what hangs before it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import DoubleArray, FloatArray, UvObservation
from ostec.mask.skin import MaskGuide
from ostec.nets.parsing import SIZE, BiSeNet, FacePart
from ostec.render.crops import Crop, crop_as_portrait, warp

BARE = tuple(
    part
    for part in FacePart
    if part
    not in (
        FacePart.BACKGROUND,
        FacePart.GLASSES,
        FacePart.EAR_RING,
        FacePart.NECKLACE,
        FacePart.CLOTH,
        FacePart.HAIR,
        FacePart.HAT,
    )
)
"""What is bare face or the skin beside it: ears and neck are no part of the mesh, but nothing that covers it either."""
LEAST_BARE = 0.2
"""Share of the surely visible skin below which parsing is taken to have missed the face: mask and cap leave more."""
_ROWS = 256
"""Rows of the photo that are looked up at once: the memory of a photo of any size."""


def bare_face(image: FloatArray, points: DoubleArray, network: BiSeNet) -> FloatArray:
    """How likely each pixel is bare face.

    Args:
        image: [H, W, 3] RGB in [0, 1], the photo.
        points: [5, >= 2] its face's eyes, nose tip and mouth corners in photo pixels; ``align.five_points``.
        network: built BiSeNet with its weights.

    Returns:
        [H, W, 1] in [0, 1]; 1 outside the square that the network looks at.

    Raises:
        ValueError: the image is not [H, W, 3] float32, or the points coincide.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32 or image.size == 0:
        raise ValueError(f"expected an image [H, W, 3] float32, got {list(image.shape)} {image.dtype}")
    crop = crop_as_portrait(points[:2], points[3:].mean(axis=0), SIZE)
    device = next(network.parameters()).device
    with torch.no_grad():
        planes = torch.from_numpy(image).permute(2, 0, 1)[None]
        picture = warp(planes, [crop], border="zero").to(device)
        bare = network.probabilities(picture)[:, list(BARE)].sum(1, keepdim=True).clamp(0, 1).cpu()
    return map_to_photo(bare, crop, image.shape[0], image.shape[1])


def map_to_photo(values: torch.Tensor, crop: Crop, height: int, width: int) -> FloatArray:
    """A map over a crop brought back to the photo, without aliasing.

    Args:
        values: [1, 1, size, size].
        crop: where it was cut.
        height: of the photo.
        width: of the photo.

    Returns:
        [height, width, 1]; 1 outside the crop.
    """
    block = max(1, 2 * math.floor((1 / crop.scale + 1) / 2) - 1)  # odd, so that nothing moves
    values = functional.avg_pool2d(values, block, 1, block // 2, count_include_pad=False)
    found = np.ones((height, width, 1), np.float32)
    columns = np.arange(width) + 0.5
    for top in range(0, height, _ROWS):
        rows = np.arange(top, min(top + _ROWS, height)) + 0.5
        pixels = np.stack(np.broadcast_arrays(columns[None], rows[:, None]), axis=-1)
        grid = crop.points_to_crop(pixels) / crop.size * 2 - 1
        within = (abs(grid) <= 1).all(-1)
        if within.any():
            where = torch.from_numpy(grid.astype(np.float32))[None]
            sampled = functional.grid_sample(values, where, padding_mode="border", align_corners=False)
            found[top : top + len(rows), :, 0] = np.where(within, sampled[0, 0].numpy(), 1)
    return found


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
