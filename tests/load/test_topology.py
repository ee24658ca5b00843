"""What the layout that ships promises, and damaged files."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from ostec.core.assets import asset_path
from ostec.core.errors import AssetError
from ostec.core.types import EYE_CORNERS, Topology
from ostec.load.topology import read_topology
from ostec.render.geometry import vertex_normals
from ostec.render.uv import bake_layout

REGIONS = {"eye_left", "eye_right", "brow_left", "brow_right", "lips", "mouth"}


@pytest.fixture(scope="module")
def path() -> Path:
    return asset_path("topology/facemesh.npz")


@pytest.fixture(scope="module")
def topology(path) -> Topology:
    return read_topology(path)


@pytest.fixture(scope="module")
def mean(topology) -> np.ndarray:
    return topology.operator @ topology.mean_landmarks.astype(np.float64)


def uv_areas(topology: Topology) -> np.ndarray:
    a, b, c = (topology.uv[topology.triangles[:, k]].astype(np.float64) for k in range(3))
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def edges(triangles: np.ndarray) -> np.ndarray:
    """Directed edges [3F, 2]."""
    return np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])


def test_shapes_and_types(topology, path):
    count, landmarks = len(topology.uv), len(topology.mean_landmarks)
    assert (topology.name, landmarks) == ("facemesh", 468)
    assert topology.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert topology.operator.shape == (count, landmarks)
    assert topology.mirror.shape == (count,)
    assert topology.mirror_landmarks.shape == topology.rigid_weight.shape == (landmarks,)
    for array in (topology.triangles, topology.mirror, topology.mirror_landmarks):
        assert array.dtype == np.int32
    for array in (topology.uv, topology.mean_landmarks, topology.rigid_weight, *topology.regions.values()):
        assert array.dtype == np.float32
    assert set(topology.regions) == REGIONS
    assert np.array_equal(np.unique(topology.triangles), np.arange(count)), "no vertex without a triangle"


def test_every_triangle_is_upright_in_the_chart(topology):
    assert uv_areas(topology).min() > 1e-7


@pytest.mark.parametrize("size", [512, 513])
def test_the_chart_does_not_overlap_itself(topology, size):
    # If triangles overlapped, their areas would sum to more than what they cover together.
    inside = bake_layout(topology, size).inside.numpy()
    rim = inside & ~ndimage.binary_erosion(inside)
    assert inside.sum() / size**2 == pytest.approx(uv_areas(topology).sum(), abs=0.1 * rim.sum() / size**2)


@pytest.mark.parametrize("size", [257, 1001, 1025])
def test_the_chart_has_no_hole_even_where_its_middle_line_meets_texel_centres(topology, size):
    inside = bake_layout(topology, size).inside.numpy()
    assert np.array_equal(ndimage.binary_fill_holes(inside), inside)
    assert ndimage.label(inside)[1] == 1


@pytest.mark.parametrize("size", [256, 1000, 1024])
def test_the_chart_is_mirror_symmetric_to_the_texel(topology, size):
    inside = bake_layout(topology, size).inside
    assert torch.equal(inside, inside.flip(1))


def test_texels_show_mirrored_points_on_both_sides(topology, mean):
    layout = bake_layout(topology, 256)
    points = layout.attribute(torch.from_numpy(mean.astype(np.float32)))
    mirrored = points.flip(1) * torch.tensor([-1.0, 1.0, 1.0])
    # Triangles on the middle line may be split along the other diagonal.
    assert (points - mirrored).norm(dim=-1)[layout.inside].quantile(0.999) < 0.01
    assert (points - mirrored).norm(dim=-1).max() < 0.5


def test_the_chart_fills_the_square_up_to_a_margin(topology):
    assert topology.uv.min() > 0.01
    assert topology.uv.max() < 0.99
    assert (topology.uv.max(0) - topology.uv.min(0)).max() > 0.95
    assert uv_areas(topology).sum() > 0.7


def test_rows_of_the_operator_sum_to_one(topology):
    np.testing.assert_allclose(np.asarray(topology.operator.sum(1)).ravel(), 1, atol=1e-6)


def test_the_landmarks_are_the_first_vertices(topology):
    rng = np.random.default_rng(0)
    points = rng.normal(size=topology.mean_landmarks.shape)
    np.testing.assert_allclose((topology.operator @ points)[: len(points)], points, atol=1e-7)


def test_the_mesh_has_one_border_and_every_inner_edge_two_triangles(topology):
    directed = edges(topology.triangles)
    assert len(np.unique(directed, axis=0)) == len(directed), "no edge is used twice in one direction"
    there = {tuple(e) for e in directed.tolist()}
    after = {a: b for a, b in there if (b, a) not in there}
    start = next(iter(after))
    loop, vertex = 1, after[start]
    while vertex != start:
        loop, vertex = loop + 1, after[vertex]
    assert loop == len(after), "one border loop: eyes and mouth are closed"
    undirected = len(np.unique(np.sort(directed, axis=1), axis=0))
    assert len(topology.uv) - undirected + len(topology.triangles) == 1, "Euler: a disc"


def test_the_mirror_maps_are_involutions_and_mirror_everything(topology, mean):
    for mirror in (topology.mirror, topology.mirror_landmarks):
        assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_array_equal(topology.uv[topology.mirror, 0], 1 - topology.uv[:, 0])
    np.testing.assert_array_equal(topology.uv[topology.mirror, 1], topology.uv[:, 1])
    np.testing.assert_allclose(mean[topology.mirror] * [-1, 1, 1], mean, atol=1e-4)
    landmarks = topology.mean_landmarks
    np.testing.assert_allclose(landmarks[topology.mirror_landmarks] * [-1, 1, 1], landmarks, atol=1e-4)
    np.testing.assert_array_equal(topology.mirror[: len(landmarks)], topology.mirror_landmarks)
    np.testing.assert_allclose(topology.rigid_weight[topology.mirror_landmarks], topology.rigid_weight, atol=1e-7)
    assert topology.mirror_landmarks[EYE_CORNERS[0]] == EYE_CORNERS[1]


def test_triangles_wind_counter_clockwise_seen_from_outside(topology, mean):
    normals = vertex_normals(torch.from_numpy(mean), torch.from_numpy(topology.triangles)).numpy()
    # Outside is away from a point in the middle of the head.
    outward = mean - [0, -20, -20]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert ((normals * outward).sum(1) > 0).mean() > 0.98
    assert (normals * outward).sum(1).mean() > 0.7
    nose = int(mean[:, 2].argmax())
    assert normals[nose, 2] > 0.8


def test_the_mean_face_is_in_the_canonical_frame(topology):
    np.testing.assert_allclose(topology.mean_landmarks[list(EYE_CORNERS)], [[-45, 0, 60], [45, 0, 60]], atol=1e-3)
    chin, forehead, nose = (topology.mean_landmarks[i] for i in (152, 10, 4))
    assert chin[1] < nose[1] < 0 < forehead[1]
    assert nose[2] > 80


def test_subdivision_is_smooth(topology, mean):
    # The operator's detail: neighbouring triangles of the fine mesh meet at small angles.
    a, b, c = (mean[topology.triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    owner = {tuple(e): i % len(topology.triangles) for i, e in enumerate(edges(topology.triangles).tolist())}
    pairs = np.array([(i, owner[e[::-1]]) for e, i in owner.items() if e[::-1] in owner])
    bend = np.degrees(np.arccos(np.clip((normal[pairs[:, 0]] * normal[pairs[:, 1]]).sum(1), -1, 1)))
    assert np.median(bend) < 5


def test_the_chart_gives_detail_more_texels(topology, mean):
    a, b, c = (mean[topology.triangles[:, k]] for k in range(3))
    density = uv_areas(topology) / np.linalg.norm(np.cross(b - a, c - a), axis=1)
    middle = (a + b + c) / 3
    eye = np.linalg.norm(middle - topology.mean_landmarks[[33, 133]].mean(0), axis=1) < 15
    cheek = np.linalg.norm(middle - topology.mean_landmarks[50], axis=1) < 15
    assert np.median(density[eye]) > 1.3 * np.median(density[cheek])


def test_regions_lie_where_their_names_say(topology):
    centre = {name: polygon.mean(0) for name, polygon in topology.regions.items()}
    for kind in ("eye", "brow"):
        left, right = centre[f"{kind}_left"], centre[f"{kind}_right"]
        assert left[0] < 0.5 < right[0]
        np.testing.assert_allclose(left, [1 - right[0], right[1]], atol=0.02)
    assert centre["lips"][1] < centre["eye_left"][1] < centre["brow_left"][1]
    assert centre["lips"][0] == pytest.approx(0.5, abs=0.02)
    low, high = topology.regions["lips"].min(0), topology.regions["lips"].max(0)
    assert (topology.regions["mouth"] >= low).all()
    assert (topology.regions["mouth"] <= high).all()


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def test_a_missing_file_is_an_asset_error(tmp_path):
    with pytest.raises(AssetError, match=r"none\.npz is no topology file"):
        read_topology(tmp_path / "none.npz")


@pytest.mark.parametrize("keep", [0, 10, 5000, -200])
def test_a_truncated_file_is_an_asset_error(path, tmp_path, keep):
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AssetError, match=r"damaged\.npz is no topology file"):
        read_topology(damaged)


def test_a_flipped_byte_is_an_asset_error(path, tmp_path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    with pytest.raises(AssetError, match="no topology file"):
        read_topology(damaged)


def test_another_kind_of_file_is_an_asset_error(tmp_path):
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    with pytest.raises(AssetError, match="no topology file"):
        read_topology(text)
    alone = tmp_path / "alone.npz"
    with alone.open("wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(AssetError, match="no topology file"):
        read_topology(alone)


@pytest.mark.parametrize("missing", ["triangles", "uv", "operator_data", "mirror", "mean_landmarks", "rigid_weight"])
def test_a_missing_array_is_an_asset_error(path, tmp_path, missing):
    arrays = arrays_of(path)
    del arrays[missing]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(AssetError, match=f"no topology file.*{missing}"):
        read_topology(tmp_path / "less.npz")


@pytest.mark.parametrize(
    "spoil",
    [
        {"triangles": np.array([[0, 1, 10**6]], np.int32)},
        {"triangles": np.array([[0, 1, -1]], np.int32)},
        {"triangles": np.zeros((0, 3), np.int32)},
        {"triangles": np.zeros((4, 2), np.int32)},
        {"mirror": np.zeros(5, np.int32)},
        {"mirror_landmarks": np.zeros(5, np.int32)},
        {"rigid_weight": np.ones(5, np.float32)},
        {"mirror": np.full(7305, 7305, np.int32)},
        {"uv": np.zeros((7305, 3), np.float32)},
        {"operator_indices": np.zeros(3, np.int32)},
        {"operator_indices": np.full(106344, 468, np.int32)},
    ],
    ids=lambda spoil: "-".join((*spoil, *map(str, next(iter(spoil.values())).shape))),
)
def test_arrays_that_contradict_each_other_are_an_asset_error(path, tmp_path, spoil):
    np.savez(tmp_path / "odd.npz", **{**arrays_of(path), **spoil})
    with pytest.raises(AssetError, match="no topology file"):
        read_topology(tmp_path / "odd.npz")
