"""Correspondence files are read, damaged ones refused; the one that ships lies where its description says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostec.core.assets import asset_path
from ostec.core.correspondence import OUTLINE, correspondence_file, landmark_trust
from ostec.core.errors import AssetError
from ostec.load.correspondence import correspondence_of, read_correspondence
from ostec.load.morphable.read import READERS, read_morphable
from ostec.load.topology import read_topology
from tests.toy_head import toy_head_model

SHIPPED = sorted(asset_path("topology").glob("*_*_facemesh.npz"))
FIRST_EYEBALL = {"flame": 3931}
"""Vertices from which on there is no skin."""


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


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_has_all_landmarks_those_of_lids_and_lips_trusted_most(path: Path) -> None:
    found = read_correspondence(path)
    assert path.name == correspondence_file(found.name, found.vertex_count)
    assert found.name in READERS
    assert found.vertices.shape == (468, 3)
    assert found.vertices.max() < FIRST_EYEBALL.get(found.name, found.vertex_count)
    lids_and_lips, outline = [33, 133, 159, 145, 61, 291, 13, 14], [10, 152, 234, 454]
    assert found.trust[lids_and_lips].min() > 0.9
    assert found.trust[outline].max() < 0.2
    assert found.weights.min() > -1e-6
    # No two landmarks are the same point, lips that lie on each other aside.
    places = {
        tuple(sorted(zip(v, np.round(w, 3), strict=True))) for v, w in zip(found.vertices, found.weights, strict=True)
    }
    assert len(places) > 455


def test_trust_falls_towards_the_outline() -> None:
    mean = read_topology(asset_path("topology/facemesh.npz")).mean_landmarks
    trust = landmark_trust(mean)
    np.testing.assert_allclose(trust[list(OUTLINE)], 0.15)
    assert trust[[4, 33, 263, 13]].tolist() == [1, 1, 1, 1]
    nearest = np.linalg.norm(mean[:, None] - mean[list(OUTLINE)], axis=2).min(1)
    half = np.argmin(np.abs(nearest - 12.5))
    assert trust[half] == pytest.approx(0.15 + 0.85 * nearest[half] / 25, abs=1e-4)


def test_models_own_landmarks_come_before_any_file() -> None:
    model = toy_head_model()
    own = replace(model, landmarks={"mediapipe478": np.arange(478, dtype=np.int32)[::-1].copy()})
    found = correspondence_of(own)
    assert (found.name, found.vertex_count, found.sha256) == ("ict", len(model.mean), model.sha256)
    np.testing.assert_allclose(found.points(model.mean), model.mean[np.arange(477, 9, -1)], atol=1e-6)
    np.testing.assert_allclose(found.trust[list(OUTLINE)], 0.15)


def test_mesh_of_another_size_is_refused_with_those_known() -> None:
    model = toy_head_model()
    known = r"where the landmarks lie on it is known for one of 26719 only\.$"
    with pytest.raises(AssetError, match=rf"^The model ict found has {len(model.mean)} vertices; {known}"):
        correspondence_of(model)
    with pytest.raises(AssetError, match=r"where the landmarks lie on it is known for no such model\.$"):
        correspondence_of(replace(model, name="basel"))


def test_ict_is_the_same_on_both_sides_and_meets_the_models_own_landmarks() -> None:
    try:
        model = read_morphable("ict")
    except AssetError as error:
        pytest.skip(str(error))
    found = correspondence_of(model)
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
