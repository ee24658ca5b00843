"""UV-IDM's flow: what a photo shows lies where the model's vertices project, and colours are matched."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from ostec.core.assets import asset_path
from ostec.core.errors import AssetError
from ostec.fit.regress import deep3d_crop
from ostec.load import uv_idm as files
from ostec.load.topology import read_topology
from ostec.load.uv_idm import UvIdmLayout, UvIdmModels, read_layout
from ostec.nets.parsing import FacePart
from ostec.nets.uv_idm import SIZE, UvIdm, UvIdmShape
from ostec.pipeline import uv_idm as flow
from ostec.pipeline.settings import UvIdmSettings
from ostec.pipeline.uv_idm import UvIdmMaker, condition_of, fit_model, front_colours, match_colours
from ostec.render.crops import five_points

SIDE = 9
COUNT = SIDE * SIDE
TINY = UvIdmShape(channels=32, context=32, decoder_channels=32, decoder_multiples=(1, 1, 2, 2))


class Read:
    """Stands for Deep3DFaceRecon's network: zeros, but for what is set."""

    def __init__(self, **changed: list[float]) -> None:
        sizes = {"identity": 2, "expression": 1, "albedo": 1, "angles": 3, "light": 27, "translation": 3}
        self.values = {name: torch.zeros(1, size) for name, size in sizes.items()}
        self.values |= {name: torch.tensor([value]) for name, value in changed.items()}

    def parameters(self):
        return iter([torch.zeros(1)])

    def read(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        assert images.shape == (1, 3, 224, 224)
        return self.values


class Parsed:
    """Stands for BiSeNet: hair on the picture's left quarter, an ear on the right one, skin between."""

    def parameters(self):
        return iter([torch.zeros(1)])

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(1, 19, *images.shape[2:])
        scores[:, FacePart.SKIN] = 1
        scores[:, FacePart.HAIR, :, :128] = 2
        scores[:, FacePart.EAR_RIGHT, :, 384:] = 2
        return scores


def layout() -> UvIdmLayout:
    """A sheet of 9 x 9 vertices that bulges towards the viewer, wound the other way; the inner ones are its front."""
    v, u = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    x, y = 1.6 * (u - 0.5), 1.6 * (0.5 - v)
    mean = np.stack([x, y, 0.3 - 0.2 * (x**2 + y**2)], -1).reshape(-1, 3)
    index = np.arange(COUNT).reshape(SIDE, SIDE)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([d, c, b], -1)], 2).reshape(-1, 3)
    texel = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE * (SIDE - 1)
    row, column = np.floor(texel).astype(int)
    down, right = texel - np.floor(texel)
    lower = down + right > 1
    of_texel = 2 * (row * (SIDE - 1) + column) + lower
    upper_shares = np.stack([1 - down - right, right, down], -1)
    lower_shares = np.stack([down + right - 1, 1 - right, 1 - down], -1)
    front = index[2:-2, 2:-2].ravel()
    place = np.arange(len(front)).reshape(SIDE - 4, SIDE - 4)
    quads = np.stack([place[:-1, :-1], place[1:, :-1], place[:-1, 1:]], -1).reshape(-1, 3)
    rise = np.linspace(40, 200, COUNT)
    return UvIdmLayout(
        mean.astype(np.float32),
        np.zeros((COUNT, 3, 2), np.float32),
        np.zeros((COUNT, 3, 1), np.float32),
        np.stack([rise, 255 - rise, np.full(COUNT, 90.0)], -1).astype(np.float32),
        np.zeros((COUNT, 3, 1), np.float32),
        triangles.astype(np.int32),
        triangles[of_texel].astype(np.int32),
        np.where(lower[..., None], lower_shares, upper_shares).astype(np.float32),
        front.astype(np.int32),
        quads.astype(np.int32),
        np.stack([u, 1 - v], -1).reshape(-1, 2)[front].astype(np.float32),
    )


@pytest.fixture(scope="module")
def models() -> UvIdmModels:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UvIdm(TINY, (32,))
    return UvIdmModels(network, layout(), Read(), Parsed(), {})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    """Five points alone matter: the crop is that of a frontal face in the middle of 400 x 300 pixels."""
    points = read_topology(asset_path("topology/facemesh.npz")).mean_landmarks
    return (points * [1, -1, -1] + [200, 150, 0]).astype(np.float32)


def ramp(height: int = 300, width: int = 400) -> np.ndarray:
    """Red is x and green y of a pixel's centre, in pixels over 512."""
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    return np.dstack([columns / 512, rows / 512, np.full((height, width), 0.5)]).astype(np.float32)


def test_vertices_project_as_deep3d_does(models: UvIdmModels, landmarks: np.ndarray) -> None:
    turned = replace(models, regressor=Read(angles=[0.1, -0.2, 0.05], translation=[0.1, -0.05, 0.2]))  # type: ignore[arg-type]
    fitted = fit_model(turned, ramp(), landmarks)
    crop = deep3d_crop(five_points(landmarks).astype(np.float32), 400, 300)
    point = models.layout.mean[20].astype(np.float64)
    for axis, angle in (("x", 0.1), ("y", -0.2), ("z", 0.05)):  # about x first
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        c, s = np.cos(angle), np.sin(angle)
        point[i], point[j] = c * point[i] - s * point[j], s * point[i] + c * point[j]
    x, y, z = point + np.array([0.1, -0.05, 0.2])
    column, row = 1015 * x / (10 - z) + 112, 223 - (1015 * y / (10 - z) + 112)
    expected = (np.array([column + 0.5, row + 0.5]) - crop[:, 2]) / [crop[0, 0], crop[1, 1]]
    np.testing.assert_allclose(fitted.pixels[20], expected, atol=1e-2)


def test_a_texel_shows_the_photo_where_it_projects(models: UvIdmModels, landmarks: np.ndarray) -> None:
    photo, chart = ramp(), models.layout
    fitted = fit_model(models, photo, landmarks)
    everywhere = np.ones(photo.shape[:2], np.float32)
    seen = condition_of(chart, fitted, photo, everywhere, published=False)
    middle = (slice(60, 196), slice(60, 196))
    place = (fitted.pixels[chart.corners] * chart.shares[..., None]).sum(2)
    np.testing.assert_allclose(seen[middle][..., :2] * 512, place[middle], atol=0.02)
    shifted = condition_of(chart, fitted, photo, everywhere, published=True)
    np.testing.assert_allclose((seen - shifted)[middle][..., :2] * 512, 0.5, atol=0.02)


def test_hair_and_what_faces_away_are_black(models: UvIdmModels, landmarks: np.ndarray) -> None:
    photo, chart = ramp(), models.layout
    fitted = fit_model(models, photo, landmarks)
    mask = flow.parse_face(models.parsing, photo, published=False)
    assert mask[:, :95].max() == 0
    assert mask[:, 105:295].min() == 1
    assert mask[:, 305:].max() == 0
    assert flow.parse_face(models.parsing, photo, published=True)[:, 305:].min() == 1, "the ear stays as released"
    seen = condition_of(chart, fitted, photo, np.ones_like(mask), published=False)
    away = replace(fitted, facing=np.where(chart.mean[:, 0] > 0, -1, fitted.facing).astype(np.float32))
    turned = condition_of(chart, away, photo, np.ones_like(mask), published=False)
    assert (fitted.facing > 0.8).all()
    assert (seen.max(-1) > 0).all()
    assert turned[:, 160:].max() == 0
    np.testing.assert_array_equal(turned[:, :120], seen[:, :120])


def test_matched_colours_have_the_wanted_mean_and_deviation(models: UvIdmModels) -> None:
    chart = models.layout
    colours = (chart.colour / 255).astype(np.float32)
    texture = np.random.default_rng(0).uniform(0.4, 0.6, (SIZE, SIZE, 3)).astype(np.float32)
    matched = match_colours(chart, texture, colours)
    front = np.zeros(COUNT, bool)
    front[chart.front] = True
    where = front[chart.corners].all(-1)
    wanted = (colours[chart.corners] * chart.shares[..., None]).sum(2)[where]
    np.testing.assert_allclose(matched[where].mean(0), wanted.mean(0), atol=5e-3)
    luma = np.array([0.299, 0.587, 0.114])
    assert (matched[where] @ luma).std() == pytest.approx((wanted @ luma).std(), rel=0.02)


def test_front_vertices_read_the_texture_at_their_place(models: UvIdmModels) -> None:
    texture = np.zeros((SIZE, SIZE, 3), np.float32)
    texture[..., 0] = np.arange(SIZE) / (SIZE - 1)
    texture[..., 1] = 1 - np.arange(SIZE)[:, None] / (SIZE - 1)
    np.testing.assert_allclose(front_colours(models.layout, texture)[:, :2], models.layout.front_uv, atol=1e-5)


@pytest.mark.slow
def test_a_photo_has_its_own_seed_unless_it_is_seeded_once(models: UvIdmModels, landmarks: np.ndarray) -> None:
    photo = ramp()
    own = UvIdmMaker(models, UvIdmSettings(ddim_steps=1))
    first, again = (own(photo, landmarks).texture for _ in range(2))
    np.testing.assert_array_equal(first, again)
    once = UvIdmMaker(models, UvIdmSettings(ddim_steps=1, seed_once=True))
    published, second = (once(photo, landmarks).texture for _ in range(2))
    np.testing.assert_array_equal(first, published)
    assert np.abs(second - first).max() > 1e-3


def write_files(folder: Path, chart: UvIdmLayout) -> None:
    (folder / "uv_idm").mkdir(parents=True)
    (folder / "bfm2009").mkdir()
    flat = chart.mean + np.array(files.CENTRE, np.float32)
    whole = {
        "meanshape": flat.reshape(1, -1),
        "meantex": chart.colour.reshape(1, -1),
        "idBase": chart.identity.reshape(-1, 2),
        "exBase": chart.expression.reshape(-1, 1),
        "texBase": chart.colours.reshape(-1, 1),
    }
    savemat(folder / "uv_idm" / "BFM_model_front_5w.mat", whole)
    savemat(folder / "uv_idm" / "example1.mat", {"full_triangles": chart.triangles})
    savemat(folder / "uv_idm" / "BFM_front_idx.mat", {"idx": (chart.front + 1.0)[:, None]})
    savemat(folder / "bfm2009" / "BFM_model_front.mat", {"tri": chart.front_triangles + 1.0})
    number = {tuple(corners): n for n, corners in enumerate(chart.triangles.tolist())}
    buffer = np.array([number[tuple(corners)] for corners in chart.corners.reshape(-1, 3).tolist()])
    np.save(folder / "uv_idm" / "triangle_buffer.npy", buffer.reshape(SIZE, SIZE))
    np.save(folder / "uv_idm" / "barycentric_weight.npy", chart.shares)
    uv = np.zeros((COUNT, 2), np.float32)
    uv[chart.front] = chart.front_uv
    np.save(folder / "uv_idm" / "BFM_UV.npy", uv)


def test_the_layout_is_read_from_the_released_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = layout()
    write_files(tmp_path, chart)
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path))
    found, paths = read_layout()
    for name, value in vars(chart).items():
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-5, err_msg=name)
    assert len(paths) == 7
    np.save(tmp_path / "uv_idm" / "BFM_UV.npy", np.zeros((3, 2)))
    with pytest.raises(AssetError, match=r"BFM_UV\.npy cannot be used"):
        read_layout()
    (tmp_path / "uv_idm" / "triangle_buffer.npy").unlink()
    with pytest.raises(AssetError, match=r"triangle_buffer\.npy is not on this machine"):
        read_layout()
