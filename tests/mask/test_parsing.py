"""Face parsing in photo pixels: where it looks, what counts as bare face, and that it lands where it was seen."""

import numpy as np
import pytest
import torch

from ostec.core.types import FloatArray
from ostec.mask.parsing import BARE, bare_face, map_to_photo
from ostec.nets.parsing import SIZE, BiSeNet, FacePart
from ostec.render.crops import Crop, crop_as_portrait, warp

POINTS = np.array([[140.0, 110.0], [190.0, 120.0], [160.0, 140.0], [135.0, 165.0], [175.0, 172.0]])


class Painter(BiSeNet):
    """Knows the parts by paint: red is hair, green is glasses, all else is skin."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images)
        scores = torch.zeros(1, 19, *images.shape[2:])
        scores[:, FacePart.SKIN] = 10.0
        scores[:, FacePart.HAIR] = 40 * (images[:, 0] - images[:, 1])
        scores[:, FacePart.GLASSES] = 40 * (images[:, 1] - images[:, 0])
        return scores


def painted(height: int = 300, width: int = 400) -> FloatArray:
    image = np.full((height, width, 3), 0.5, np.float32)
    image[60:100, 120:200] = (1, 0, 0)
    image[104:116, 130:150] = (0, 1, 0)
    return image


def test_what_covers_the_face_is_found_where_it_is_in_the_photo() -> None:
    image, network = painted(), Painter()
    bare = bare_face(image, POINTS, network)
    assert bare.shape == (300, 400, 1)
    assert bare.dtype == np.float32
    assert network.shown[0].shape == (1, 3, SIZE, SIZE)
    covered = np.zeros((300, 400), bool)
    covered[60:100, 120:200] = covered[104:116, 130:150] = True
    inner, outer = covered.copy(), covered.copy()
    inner[1:-1, 1:-1] = (
        covered[1:-1, 1:-1] & covered[2:, 1:-1] & covered[:-2, 1:-1] & covered[1:-1, 2:] & covered[1:-1, :-2]
    )
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        outer |= np.roll(covered, (dy, dx), (0, 1))
    assert bare[inner].max() < 0.05
    assert bare[~outer].min() > 0.9  # outside the square too


def test_the_square_is_the_portraits() -> None:
    image = np.random.default_rng(0).random((300, 400, 3), np.float32)
    network = Painter()
    bare_face(image, POINTS, network)
    crop = crop_as_portrait(POINTS[:2], POINTS[3:].mean(0), SIZE)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    torch.testing.assert_close(network.shown[0], warp(planes, [crop], "zero"))


def test_bare_is_what_nothing_covers() -> None:
    names = {part.name for part in BARE}
    assert names == {
        *("SKIN", "BROW_LEFT", "BROW_RIGHT", "EYE_LEFT", "EYE_RIGHT", "EAR_LEFT", "EAR_RIGHT", "NOSE", "MOUTH"),
        *("LIP_UPPER", "LIP_LOWER", "NECK"),
    }


@pytest.mark.parametrize("side", [20.0, 150.0, 512.0, 1400.0])
def test_a_crop_brought_back_is_the_picture_inside_it(side: float) -> None:
    """A smooth picture, cut and brought back, at every ratio of sizes; beyond the crop it is 1."""
    y, x = np.mgrid[:500, :700] + 0.5
    smooth = (0.5 + 0.3 * np.sin(x / 60) * np.cos(y / 45)).astype(np.float32)
    crop = Crop((330.0, 260.0), side, 0.35, 256)
    cut = warp(torch.from_numpy(smooth)[None, None], [crop])
    back = map_to_photo(cut, crop, 500, 700)[..., 0]
    places = crop.points_to_crop(np.stack([x, y], -1))
    reach = 256 / side  # the outermost pixel is continued from inside
    within = ((places > reach + 1) & (places < 255 - reach)).all(-1)
    assert within.sum() > 200
    assert abs(back - smooth)[within].max() < 0.02
    assert (back[((places < 0) | (places > 256)).any(-1)] == 1).all()


def test_a_small_photo_is_averaged_not_sampled() -> None:
    """One pixel of the photo is 16 of the crop, whose finest checkerboard comes out even."""
    board = torch.from_numpy((np.indices((256, 256)).sum(0) % 2).astype(np.float32))[None, None]
    back = map_to_photo(board, Crop((8.0, 8.0), 16.0, 0.0, 256), 16, 16)
    assert abs(back - 0.5).max() < 0.05


def test_images_of_another_kind_are_refused() -> None:
    for image in (np.zeros((4, 4), np.float32), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.float32)):
        with pytest.raises(ValueError, match=r"expected an image \[H, W, 3\] float32"):
            bare_face(image, POINTS, Painter())
