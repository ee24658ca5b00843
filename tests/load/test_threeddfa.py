"""3DDFA_V2's face model, from made files of its published layout."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostec.core.assets import MODELS_VARIABLE
from ostec.core.errors import AssetError
from ostec.load.morphable.read import read_morphable
from tests.load import morphable_files as files

FACE = files.made_face()
COUNT = len(FACE.vertices)
DEVIATIONS = np.concatenate([np.full(12, 7.0), np.linspace(6e5, 1e4, 40), np.linspace(1.5, 0.2, 10)])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    return tmp_path / "models"


def write(models: Path, **changed: Any) -> dict[str, Any]:
    """The files of 3DDFA_V2's folder configs: micrometres, components as stored, triangles in columns, ids from 0.

    BFM_UV.mat has more rows than the model has vertices; indices.npy picks them. ``None`` leaves an array or file out.
    """
    identity, expression = files.bases(COUNT, 199, 29)
    x_of_landmarks = 3 * FACE.landmarks[:, None] + np.arange(3)
    table: dict[str, Any] = {
        "u": (FACE.vertices.reshape(-1, 1) * 1e5).astype(np.float32),
        "w_shp": identity,
        "w_exp": expression,
        "tri": np.zeros((3, 5), np.int32),  # the published code takes those of tri.pkl
        "keypoints": x_of_landmarks.ravel(),
        "std": DEVIATIONS.astype(np.float32),
        "triangles": FACE.triangles.T.astype(np.int32),
        "UV": np.random.default_rng(1).uniform(size=(COUNT + 9, 2)),
        "indices": (np.arange(COUNT)[::-1] + 4).astype(np.int32),
    }
    table |= changed
    folder = models / "3ddfa_v2"
    folder.mkdir(parents=True, exist_ok=True)
    model = {name: table[name] for name in ("u", "w_shp", "w_exp", "tri", "keypoints") if table[name] is not None}
    (folder / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps(model, protocol=2))
    statistics = {"mean": np.zeros(62, np.float32), "std": table["std"]}
    (folder / "param_mean_std_62d_120x120.pkl").write_bytes(pickle.dumps(statistics, protocol=2))
    (folder / "tri.pkl").write_bytes(pickle.dumps(table["triangles"], protocol=2))
    if table["UV"] is not None:
        files.write_mat(folder / "BFM_UV.mat", {"UV": table["UV"]})
        np.save(folder / "indices.npy", table["indices"])
    return table


def test_micrometres_and_deviations_are_brought_to_the_record(models: Path) -> None:
    table = write(models)
    model = read_morphable("3ddfa")
    shape = FACE.vertices * 1e5
    np.testing.assert_allclose(model.mean * model.mm_per_unit, (shape - shape.mean(0)) / 1000, atol=1e-4)
    assert (model.identity.shape[2], model.expression.shape[2]) == (40, 10)
    for k in (0, 39):
        expected = table["w_shp"][:, k].reshape(-1, 3) * DEVIATIONS[12 + k]
        np.testing.assert_allclose(model.identity[:, :, k], expected, rtol=1e-5)
    expected = table["w_exp"][:, 9].reshape(-1, 3) * DEVIATIONS[61]
    np.testing.assert_allclose(model.expression[:, :, 9], expected, rtol=1e-5)
    np.testing.assert_array_equal(model.landmarks["ibug68"], FACE.landmarks)
    np.testing.assert_array_equal(model.triangles, FACE.triangles)
    assert model.licence == "academic use only"
    assert model.notes == ()
    assert set(model.parts) == {"face"}


def test_texture_coordinates_are_picked_row_by_row(models: Path) -> None:
    table = write(models)
    model = read_morphable("3ddfa")
    np.testing.assert_allclose(model.uv, table["UV"][table["indices"]], atol=1e-6)
    np.testing.assert_array_equal(model.triangles_uv, model.triangles)


def test_without_texture_coordinates_it_says_so(models: Path) -> None:
    write(models, UV=None)
    model = read_morphable("3ddfa")
    assert len(model.uv) == len(model.triangles_uv) == 0
    assert model.notes == ("BFM_UV.mat and indices.npy are missing: there are no texture coordinates.",)


def test_clockwise_triangles_are_turned(models: Path) -> None:
    write(models, triangles=FACE.triangles[:, ::-1].T.astype(np.int32))
    model = read_morphable("3ddfa")
    np.testing.assert_array_equal(np.sort(model.triangles, axis=1), np.sort(FACE.triangles, axis=1))
    corners = model.mean[model.triangles].astype(np.float64)
    assert np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum() > 0
    assert len(model.notes) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"u": np.zeros((31, 1))}, "bfm_noneck_v3.pkl cannot be used: u should hold 3 numbers per vertex, not 31"),
        ({"w_shp": np.zeros((30, 40))}, r"bfm_noneck_v3.pkl cannot be used: w_shp should be 429 x \*, not 30 x 40"),
        ({"w_exp": np.zeros((429, 9))}, "w_exp should have at least 10 components, not 9"),
        ({"w_exp": None}, "bfm_noneck_v3.pkl cannot be used: it has no array w_exp"),
        ({"keypoints": np.arange(67)}, "keypoints should be 204, not 67"),
        ({"std": np.ones(72)}, "param_mean_std_62d_120x120.pkl cannot be used: std should be 62, not 72"),
        ({"triangles": FACE.triangles}, r"tri.pkl cannot be used: the triangles should be 3 x \*, not 240 x 3"),
        ({"triangles": FACE.triangles.T + 1}, "tri.pkl cannot be used: the triangles should name 0 to 142, not 1 to"),
        ({"indices": np.full(COUNT, 152)}, "indices.npy cannot be used: its array should name 0 to 151, not 152"),
        ({"indices": np.arange(9)}, "indices.npy cannot be used: its array should be 143, not 9"),
    ],
)
def test_wrong_files_end_in_a_sentence(models: Path, changed: dict[str, Any], message: str) -> None:
    write(models, **changed)
    with pytest.raises(AssetError, match=message):
        read_morphable("3ddfa")


def test_pickle_that_is_no_dictionary_and_array_that_is_none_are_refused(models: Path) -> None:
    write(models)
    (models / "3ddfa_v2" / "indices.npy").write_bytes(b"no array")
    with pytest.raises(AssetError, match=r"indices.npy cannot be read as an array"):
        read_morphable("3ddfa")
    (models / "3ddfa_v2" / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(AssetError, match=r"bfm_noneck_v3.pkl cannot be used: expected arrays by name, found a list"):
        read_morphable("3ddfa")
    (models / "3ddfa_v2" / "tri.pkl").unlink()
    with pytest.raises(AssetError, match=r"^tri.pkl is not on this machine; please run: ostec models fetch 3ddfa_v2$"):
        read_morphable("3ddfa")
