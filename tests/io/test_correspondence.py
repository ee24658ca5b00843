"""Correspondence files are read, damaged ones refused; the one that ships lies where its description says."""

from pathlib import Path

import numpy as np
import pytest

from ostec.core.assets import asset_path
from ostec.core.errors import AssetError
from ostec.io.correspondence import read_correspondence
from ostec.io.morphable import read_morphable
from ostec.io.topology import read_topology

ICT_VERTICES = 26719


def _arrays() -> dict[str, np.ndarray]:
    return {
        "vertex_count": np.int32(7),
        "vertices": np.array([[0, 1, 2], [4, 5, 6]], np.int32),
        "weights": np.array([[0.5, 0.25, 0.25], [1, 0, 0]], np.float32),
        "trust": np.array([1, 0.2], np.float32),
    }


def test_points_are_weighted_means_of_vertices(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy_facemesh.npz", **_arrays())
    found = read_correspondence(tmp_path / "toy_facemesh.npz")
    assert (found.name, found.vertex_count, len(found.sha256)) == ("toy", 7, 64)
    values = np.arange(14.0).reshape(7, 2) ** 2
    expected = [[0.25 * 4 + 0.25 * 16, 0.5 * 1 + 0.25 * 9 + 0.25 * 25], [64, 81]]
    np.testing.assert_allclose(found.points(values), expected)
    basis = np.arange(42.0).reshape(7, 3, 2)
    np.testing.assert_allclose(found.points(basis)[1], basis[4])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trust": None}, r"no array 'trust'"),
        ({"weights": np.ones((2, 2), np.float32)}, r"weights should have the shape \(2, 3\), not \(2, 2\)"),
        ({"weights": np.full((2, 3), 0.5, np.float32)}, "weights do not sum to one"),
        ({"vertex_count": np.int32(6)}, "vertices names something that does not exist"),
        ({"trust": np.array([1, 1.5], np.float32)}, "trust is not within 0 and 1"),
        ({"weights": np.full((2, 3), np.nan, np.float32)}, "weights do not sum to one"),
    ],
)
def test_file_that_contradicts_itself_is_one_sentence(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = tmp_path / "toy.npz"
    np.savez(path, **{k: v for k, v in (_arrays() | change).items() if v is not None})  # type: ignore[arg-type]
    with pytest.raises(AssetError, match=rf"^{path} is no correspondence file \(.*{says}.*\)\.$"):
        read_correspondence(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", None])
def test_damaged_or_missing_file_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "toy.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AssetError, match=rf"^{path} is no correspondence file "):
        read_correspondence(path)


def test_ict_has_all_landmarks_those_of_lids_and_lips_trusted_most() -> None:
    found = read_correspondence(asset_path("topology/ict_facemesh.npz"))
    assert (found.name, found.vertex_count, found.vertices.shape) == ("ict", ICT_VERTICES, (468, 3))
    assert found.vertices.max() < 9409  # the face and its ears, no scalp
    lids_and_lips, outline = [33, 133, 159, 145, 61, 291, 13, 14], [10, 152, 234, 454]
    assert found.trust[lids_and_lips].min() > 0.9
    assert found.trust[outline].max() < 0.2


def test_ict_is_the_same_on_both_sides_and_meets_the_models_own_landmarks() -> None:
    try:
        model = read_morphable("ict")
    except AssetError as error:
        pytest.skip(str(error))
    found = read_correspondence(asset_path("topology/ict_facemesh.npz"))
    topology = read_topology(asset_path("topology/facemesh.npz"))
    points = found.points(model.mean)
    mirrored = points[topology.mirror_landmarks] * [-1, 1, 1]
    assert np.abs(points - mirrored).max() < 0.03  # of 10 mm; the mesh itself is symmetric to 0.006
    # The outer and inner corners of eyes and mouth and the nose's tip, in the order of Multi-PIE.
    ids, places = (33, 133, 362, 263, 61, 291, 4), (36, 39, 42, 45, 48, 54, 30)
    own = model.mean[model.landmarks["ibug68"][list(places)]]
    assert np.linalg.norm(points[list(ids)] - own, axis=1).max() < 0.15
    # Seen from the front, near their place on FaceMesh's mean face, which is as wide between the eyes' corners.
    away = 10 * (points - points.mean(0)) - (topology.mean_landmarks - topology.mean_landmarks.mean(0))
    assert np.linalg.norm(away[:, :2], axis=1).mean() < 5
