"""Light and albedo apart: the fit, the transfer, what is done with a texture, tones and maps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.assets import asset_path, verified_path
from ostec.core.errors import WeightsError
from ostec.core.types import Topology, UvObservation
from ostec.io.weights import read_safetensors
from ostec.light.estimate import AlbedoModel, albedo_from_tensors, fit_light
from ostec.light.materials import detail_height, detail_normals, material_maps
from ostec.light.remove import remove_light
from ostec.light.settings import LightSettings
from ostec.light.tone import ita_deg, toned
from ostec.light.transfer import LightTransfer, lamp_directions, light_transfer
from ostec.load.topology import read_topology
from ostec.render.colour import from_linear, to_linear
from ostec.render.harmonics import from_published, light_harmonics, radiance_of, scattered_light, to_published
from ostec.render.uv import UvLayout, bake_layout

SIZE = 128


@pytest.fixture(scope="module")
def topology() -> Topology:
    return read_topology(asset_path("topology/facemesh.npz"))


@pytest.fixture(scope="module")
def model() -> AlbedoModel:
    return albedo_from_tensors(read_safetensors(verified_path("albedo", "albedo.safetensors")))


@pytest.fixture(scope="module")
def vertices(topology: Topology) -> np.ndarray:
    return np.asarray(topology.operator @ topology.mean_landmarks, np.float32)


@pytest.fixture(scope="module")
def transfer(vertices: np.ndarray, topology: Topology) -> LightTransfer:
    return light_transfer(vertices, topology.triangles)


@pytest.fixture(scope="module")
def layouts(topology: Topology, model: AlbedoModel) -> tuple[UvLayout, UvLayout]:
    return bake_layout(topology, model.size), bake_layout(topology, SIZE)


def seen_of(colour: np.ndarray, inside: np.ndarray) -> UvObservation:
    ones = inside.astype(np.float32)
    return UvObservation(colour, ones, inside, ones, 20 * ones, np.dstack([0 * ones, 0 * ones, ones]), inside)


def photo_of(
    model: AlbedoModel, layouts: tuple[UvLayout, UvLayout], transfer: LightTransfer, lamp: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean face at SIZE texels in sRGB: its albedo, and the same under a lamp and some even light."""
    large = layouts[1]
    image = np.zeros((model.size, model.size, 3), np.float32)
    image[model.inside] = np.exp(model.mean + np.log([0.35, 0.22, 0.17]))
    albedo = image.repeat(SIZE // model.size, 0).repeat(SIZE // model.size, 1)
    light = np.ones(len(transfer.scattered)) if lamp is None else 0.3 + transfer.scattered[:, lamp]
    shade = large.attribute(torch.from_numpy(light[:, None].astype(np.float32))).numpy()
    inside = large.inside.numpy()[..., None]
    return from_linear(albedo) * inside, from_linear(np.clip(albedo * shade, 0, 1)) * inside


def lamp_at(x: float, y: float, z: float) -> int:
    return int(np.argmax(lamp_directions() @ (np.array([x, y, z]) / np.linalg.norm([x, y, z]))))


def psnr_after_gain(made: np.ndarray, true: np.ndarray, mask: np.ndarray) -> float:
    a, b = made[mask], true[mask]
    return float(-10 * np.log10(((a * ((a * b).sum(0) / (a * a).sum(0)) - b) ** 2).mean()))


@pytest.mark.parametrize("towards", [(0.9, 0.2, 0.5), (-0.6, 0.6, 0.6)])
def test_a_lamp_from_the_side_is_taken_out(
    model: AlbedoModel, layouts: tuple[UvLayout, UvLayout], transfer: LightTransfer, towards: tuple[float, float, float]
) -> None:
    true, lit = photo_of(model, layouts, transfer, lamp_at(*towards))
    inside = layouts[1].inside.numpy()
    made = remove_light(lit, inside.astype(np.float32), seen_of(lit, inside), layouts, transfer, model)
    core = inside & (np.abs(true - lit).max(-1) >= 0)
    assert made.strength == pytest.approx(1)
    assert psnr_after_gain(made.albedo, true, core) > psnr_after_gain(lit, true, core) + 6


def test_even_light_changes_nothing(
    model: AlbedoModel, layouts: tuple[UvLayout, UvLayout], transfer: LightTransfer
) -> None:
    true, lit = photo_of(model, layouts, transfer, None)
    inside = layouts[1].inside.numpy()
    made = remove_light(lit, inside.astype(np.float32), seen_of(lit, inside), layouts, transfer, model)
    assert made.strength < 0.05
    assert np.abs(made.albedo - true)[inside].max() < 0.02


def test_a_shadow_on_one_cheek_goes_and_on_both_stays(
    model: AlbedoModel, layouts: tuple[UvLayout, UvLayout], transfer: LightTransfer
) -> None:
    true, lit = photo_of(model, layouts, transfer, lamp_at(0.3, 0.3, 0.9))
    inside = layouts[1].inside.numpy()
    always = replace(LightSettings(), uneven=(-2.0, -1.0))
    one, both = lit.copy(), lit.copy()
    patch = np.s_[70:82, 28:40]
    mirrored = np.s_[70:82, SIZE - 40 : SIZE - 28]
    for picture, where in ((one, patch), (both, patch), (both, mirrored)):
        picture[where] = from_linear(to_linear(picture[where]) * 0.45)
    left = {}
    for name, picture in (("one", one), ("both", both)):
        made = remove_light(
            picture, inside.astype(np.float32), seen_of(picture, inside), layouts, transfer, model, always
        ).albedo
        left[name] = float(to_linear(made[patch]).mean() / to_linear(true[patch]).mean())
    assert left["one"] > left["both"] + 0.1, left


def test_the_fit_finds_the_lamps_side(
    model: AlbedoModel, layouts: tuple[UvLayout, UvLayout], transfer: LightTransfer
) -> None:
    _, lit = photo_of(model, layouts, transfer, lamp_at(0.8, 0.2, 0.6))
    passed = layouts[0].attribute(torch.from_numpy(transfer.scattered)).numpy()[model.inside]
    step = SIZE // model.size
    seen = np.log(to_linear(lit[::step, ::step])[model.inside] + 0.004)
    found = fit_light(seen, np.ones(len(seen), np.float32), passed, model)
    assert (found.lamps >= 0).all()
    towards = (transfer.directions * found.lamps[:-1].mean(1, keepdims=True)).sum(0)
    assert towards[0] > 0.3 * np.linalg.norm(towards)


def test_a_nose_casts_a_shadow_and_an_open_forehead_sees_the_sky(
    transfer: LightTransfer, layouts: tuple[UvLayout, UvLayout]
) -> None:
    share = layouts[1].attribute(torch.from_numpy(np.c_[transfer.scattered, transfer.open])).numpy()
    side = share[..., lamp_at(1.0, 0.1, 0.25)]
    assert side[60:80, 78:100].mean() > 4 * side[60:80, 28:50].mean()
    assert share[15:25, 54:74, -1].min() > 0.95
    assert share[..., -1][layouts[1].inside.numpy()].min() < 0.6


@pytest.mark.parametrize("missing", ["mean", "noise"])
def test_a_damaged_model_is_refused(missing: str) -> None:
    tensors = read_safetensors(verified_path("albedo", "albedo.safetensors"))
    with pytest.raises(WeightsError, match=missing):
        albedo_from_tensors({name: tensor for name, tensor in tensors.items() if name != missing})
    with pytest.raises(WeightsError, match="do not fit its chart"):
        albedo_from_tensors({**tensors, "noise": tensors["noise"][1:]})
    with pytest.raises(WeightsError, match="no finite number"):
        albedo_from_tensors({**tensors, "basis": tensors["basis"] * torch.nan})


def test_ita_of_known_colours_and_tones_that_are_asked_for() -> None:
    assert ita_deg(np.array([0.90, 0.76, 0.68])) == pytest.approx(63, abs=4)
    assert ita_deg(np.array([0.35, 0.22, 0.16])) < -30
    albedo = np.full((4, 4, 3), np.array([0.7, 0.5, 0.42], np.float32))
    for target in (50.0, 10.0, -40.0):
        assert ita_deg(toned(albedo, np.ones((4, 4), bool), target)[0, 0]) == pytest.approx(target, abs=0.5)


def test_srgb_and_linear_light_are_inverse() -> None:
    values = np.linspace(0, 1, 257)
    np.testing.assert_allclose(from_linear(to_linear(values)), values, atol=1e-7)
    assert to_linear(np.array([0.5]))[0] == pytest.approx(0.2140, abs=1e-4)


def test_harmonics_of_a_lamp_are_its_cosine_and_go_to_published_orders_and_back() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(400, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    towards = np.array([[0.48, 0.6, 0.64]])
    found = light_harmonics(towards, np.array([[1.0, 0.5, 0.25]]), np.array([0.1, 0.1, 0.1]))
    light = scattered_light(found, normals)
    # Ramamoorthi and Hanrahan 2001: nine coefficients leave at most 3/32 of max(0, n . l).
    np.testing.assert_allclose(light[:, 0], 0.1 + np.maximum(normals @ towards[0], 0), atol=0.1)
    assert radiance_of(found).shape == (9, 3)
    for first in (True, False):
        np.testing.assert_allclose(from_published(to_published(found, first), first), found, atol=1e-12)
    # Deep3DFaceRecon's neutral light: 0.8 pi / sqrt(4 pi).
    assert scattered_light(from_published(np.zeros(27), True), normals)[0, 0] == pytest.approx(0.7090, abs=1e-3)
    # Its third number is light from the front, its second light from below.
    front = from_published(np.eye(27)[2], True)[:, 0] - from_published(np.zeros(27), True)[:, 0]
    assert front[3] > 0
    assert np.count_nonzero(front) == 1
    assert from_published(np.eye(27)[1], True)[2, 0] < 0


def test_a_dark_line_is_a_groove_and_a_brow_is_none(
    topology: Topology, vertices: np.ndarray, transfer: LightTransfer
) -> None:
    size = 512
    layout = bake_layout(topology, size)
    log = np.full((size, size), -1.0, np.float32)
    log[300, 200:300] -= 0.1
    height, hair = detail_height(log, layout.inside.numpy())
    assert height[300, 250] < 0
    assert hair[300, 250] < 0.5
    normal = detail_normals(height, vertices, layout)
    assert normal[299, 250, 1] < 0.49 < 0.51 < normal[301, 250, 1]  # the wall above faces down, the one below up
    assert normal[100, 250].tolist() == pytest.approx([0.5, 0.5, 1], abs=0.01)
    albedo = np.full((size, size, 3), np.array([0.7, 0.5, 0.4], np.float32))
    v, u = topology.regions["brow_left"].mean(0)[::-1]
    row, column = int((1 - v) * size), int(u * size)
    albedo[row - 1 : row + 1, column - 20 : column + 20] *= 0.6
    maps = material_maps(albedo, vertices, transfer.open, np.zeros((size, size), np.float32), layout, topology)
    assert np.abs(maps.normal[row - 3 : row + 3, column - 10 : column + 10, :2] - 0.5).max() < 0.03
    lip = topology.regions["lips"].mean(0)
    assert maps.roughness[int((1 - lip[1]) * size), int(lip[0] * size), 0] < 0.36
    assert maps.roughness[330, 140, 0] > 0.45
