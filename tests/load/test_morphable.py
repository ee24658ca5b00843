"""Morphable models read from made files of their published layouts: every trap has a file that would show it."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from ostec.core.assets import MODELS_VARIABLE, face_models, load_manifest
from ostec.core.errors import AssetError, WeightsError
from ostec.core.morphable import MorphableModel
from ostec.load.morphable.read import LOGGER, READERS, read_morphable
from tests.load import morphable_files as files

FACE = files.made_face()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "models"


def outward_area(model: MorphableModel, ids: np.ndarray | None = None) -> float:
    """Of the face seen from the front: positive where triangles are counter-clockwise."""
    corners = model.mean[model.triangles if ids is None else model.triangles[ids]].astype(np.float64)
    return float(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum())


def centre_of(model: MorphableModel, part: str) -> np.ndarray:
    return model.mean[model.triangles[model.parts[part]]].mean(axis=(0, 1))


def unit(basis: np.ndarray, k: int) -> np.ndarray:
    """Column ``k`` of a stored basis as [V, 3]."""
    return basis[:, k].reshape(-1, 3)


# --- BFM ------------------------------------------------------------------------------------------------------------


def test_front_model_is_recentred_in_decimetres_and_counts_from_zero(models: Path) -> None:
    table = files.write_bfm_front(models)
    model = read_morphable("bfm")
    assert model.mm_per_unit == 100
    np.testing.assert_allclose(model.mean, FACE.vertices - FACE.vertices.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(model.triangles, FACE.triangles)
    np.testing.assert_array_equal(model.landmarks["ibug68"], FACE.landmarks)
    np.testing.assert_array_equal(model.identity[:, :, 79], unit(table["idBase"], 79))
    np.testing.assert_array_equal(model.expression[:, :, 63], unit(table["exBase"], 63))
    assert model.albedo_mean is not None
    assert model.albedo is not None
    np.testing.assert_allclose(model.albedo_mean[-1], (1, 0, 0.2), atol=1e-6)
    np.testing.assert_allclose(model.albedo[:, :, 3], unit(table["texBase"], 3) / 255, atol=1e-7)
    assert (model.triangles[model.parts["skin"]] % files.COLUMNS < 6).all()
    assert outward_area(model) > 0
    assert model.licence == "Basel Face Model licence"
    assert any("BFM_UV.mat" in note for note in model.notes)


def test_original_is_built_as_its_published_script_does(models: Path) -> None:
    table = files.write_bfm_original(models)
    model = read_morphable("bfm")
    kept = table["trim"][table["front"]]
    expected = FACE.vertices[files.COLUMNS :]
    np.testing.assert_allclose(model.mean, expected - expected.mean(axis=0), atol=1e-6)
    assert (model.identity.shape[2], model.expression.shape[2]) == (80, 64)
    np.testing.assert_allclose(
        model.identity[:, :, 79], unit(table["shapePC"], 79)[kept] * table["shapeEV"][79] / 1e5, rtol=1e-5
    )
    np.testing.assert_allclose(
        model.expression[:, :, 2], unit(table["components"], 2)[table["front"]] * table["scales"][2] / 1e5, rtol=1e-5
    )
    assert model.albedo is not None
    np.testing.assert_allclose(
        model.albedo[:, :, 1], unit(table["texPC"], 1)[kept] * table["texEV"][1] / 255, rtol=1e-5
    )
    assert model.landmarks["ibug68"][8] == 0  # the chin's row is cut off; the rest moved up by it
    assert model.landmarks["ibug68"][27] == FACE.landmarks[27] - files.COLUMNS
    assert outward_area(model) > 0


def test_built_and_ready_model_agree(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = files.write_bfm_original(models)
    built = read_morphable("bfm")
    kept = table["trim"][table["front"]]

    def cut(values: np.ndarray, scale: np.ndarray, count: int) -> np.ndarray:
        scaled = (values * scale.reshape(1, -1))[:, :count]
        return scaled.reshape(-1, 3, count)[kept].reshape(-1, count)

    own = FACE.triangles[(FACE.triangles >= files.COLUMNS).all(axis=1)] - files.COLUMNS
    files.write_bfm_front(
        tmp_path / "ready",
        meanshape=(table["shapeMU"].reshape(-1, 3) / 1e5)[kept].reshape(1, -1),
        meantex=table["texMU"].reshape(-1, 3)[kept].reshape(1, -1),
        idBase=cut(table["shapePC"], table["shapeEV"] / 1e5, 80),
        texBase=cut(table["texPC"], table["texEV"], 80),
        exBase=(table["components"] * table["scales"] / 1e5)[:, :64].reshape(-1, 3, 64)[table["front"]].reshape(-1, 64),
        tri=own + 1.0,
        keypoints=(np.maximum(FACE.landmarks - files.COLUMNS, 0) + 1.0)[None],
        skinmask=np.ones((1, len(kept))),
    )
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "ready"))
    ready = read_morphable("bfm")
    for name in ("mean", "identity", "expression", "triangles", "albedo_mean", "albedo"):
        np.testing.assert_allclose(getattr(built, name), getattr(ready, name), rtol=1e-4, atol=1e-6, err_msg=name)


def test_original_without_the_fronts_files_is_the_whole_face(models: Path) -> None:
    table = files.write_bfm_original(models, front=False)
    model = read_morphable("bfm")
    assert len(model.mean) == len(FACE.vertices)
    np.testing.assert_array_equal(model.triangles, FACE.triangles)  # those of vertices without expressions are gone
    np.testing.assert_allclose(model.expression[:, :, 0], unit(table["components"], 0) * 4, rtol=1e-5)
    assert any("BFM_front_idx.mat and facemodel_info.mat is missing" in note for note in model.notes)


@pytest.mark.parametrize("rows", ["of the expressions, as published", "of all"])
def test_texture_coordinates_follow_both_lists_of_vertices(models: Path, rows: str) -> None:
    table = files.write_bfm_original(models)
    uv = np.random.default_rng(0).uniform(size=(len(FACE.vertices) + 5, 2))
    expected = uv[table["trim"][table["front"]]]
    stored = uv if rows == "of all" else uv[table["trim"]]
    files.write_mat(models / "bfm2009" / "BFM_UV.mat", {"UV": stored})
    model = read_morphable("bfm")
    np.testing.assert_allclose(model.uv, expected, atol=1e-6)
    np.testing.assert_array_equal(model.triangles_uv, model.triangles)
    # The ready front finds the same by the lists beside it.
    count = len(table["front"])
    cut = {name: np.zeros((3 * count, 2)) for name in ("idBase", "exBase", "texBase")}
    flat = {"meanshape": model.mean.reshape(1, -1), "meantex": np.zeros((1, 3 * count))}
    files.write_bfm_front(models, **cut, **flat, tri=model.triangles + 1.0, keypoints=None, skinmask=None)
    np.testing.assert_allclose(read_morphable("bfm").uv, expected, atol=1e-6)


def test_texture_coordinates_of_another_mesh_are_refused(models: Path) -> None:
    files.write_bfm_original(models)
    files.write_mat(models / "bfm2009" / "BFM_UV.mat", {"UV": np.zeros((9, 2))})
    with pytest.raises(AssetError, match=r"BFM_UV.mat cannot be used: UV should be 143 x 2, not 9 x 2"):
        read_morphable("bfm")


def test_expressions_of_another_number_of_vertices_are_refused(models: Path) -> None:
    files.write_bfm_original(models)
    files.write_exp_pca(models / "bfm2009" / "Exp_Pca.bin", np.zeros((79, 30), np.float32))
    with pytest.raises(
        AssetError, match=r"Exp_Pca.bin cannot be used: 79 components of 143 vertices would take .* not"
    ):
        read_morphable("bfm")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"exBase": np.zeros((30, 64))}, r"exBase should be 429 x \*, not 30 x 64"),
        ({"meantex": np.zeros((1, 30))}, "meantex should be 429, not 30"),
        ({"tri": FACE.triangles * 1.0}, "tri should name 1 to 143, not 0 to 142"),
        ({"keypoints": np.full((1, 68), 144.0)}, "keypoints should name 1 to 143, not 144 to 144"),
        ({"keypoints": np.ones((1, 51))}, "keypoints should be 68, not 51"),
        ({"tri": FACE.triangles + 1.5}, "tri holds something else than whole numbers"),
        ({"idBase": None}, "it has no array idBase"),
        ({"idBase": np.full((429, 80), np.nan)}, "idBase holds numbers that are not finite"),
        ({"idBase": np.full((429, 80), 1e300)}, "idBase holds numbers that are not finite"),
        ({"meanshape": np.zeros((1, 31))}, "meanshape should hold 3 numbers per vertex, not 31"),
    ],
)
def test_wrong_front_model_ends_in_a_sentence(models: Path, changed: dict, message: str) -> None:
    files.write_bfm_front(models, **changed)
    with pytest.raises(AssetError, match=f"BFM_model_front.mat cannot be used: {message}"):
        read_morphable("bfm")


def test_clockwise_triangles_are_turned_and_said_so(models: Path) -> None:
    files.write_bfm_front(models, tri=FACE.triangles[:, ::-1] + 1.0)
    model = read_morphable("bfm")
    assert outward_area(model) > 0
    assert any("clockwise" in note for note in model.notes)


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_damaged_matlab_file_is_refused(models: Path, content: bytes) -> None:
    path = models / "bfm2009" / "BFM_model_front.mat"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(AssetError, match=r"BFM_model_front.mat cann?ot be"):
        read_morphable("bfm")


def test_matlab_array_that_claims_more_than_the_file_could_hold_is_refused(models: Path) -> None:
    files.write_bfm_front(models, idBase=np.zeros((429, 400_000), np.uint8))  # shrinks to next to nothing
    with pytest.raises(AssetError, match=r"its arrays would take \d+ bytes"):
        read_morphable("bfm")


def test_matlab_cells_are_refused(models: Path) -> None:
    cells = np.empty((1, 2), object)
    cells[:] = 1.0
    files.write_bfm_front(models, tri=cells)
    with pytest.raises(AssetError, match="tri holds something else than numbers"):
        read_morphable("bfm")


# --- HiFi3D++ -------------------------------------------------------------------------------------------------------


def test_hifi3d_is_the_whole_head_with_its_own_texture_coordinates(models: Path) -> None:
    table = files.write_hifi3d(models)
    model = read_morphable("hifi3d")
    assert model.mm_per_unit == 100
    np.testing.assert_allclose(model.mean, FACE.vertices - FACE.vertices.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(model.triangles, FACE.triangles)
    np.testing.assert_array_equal(model.triangles_uv, FACE.triangles + 2)
    np.testing.assert_allclose(model.uv, table["vt_list"], atol=1e-7)  # v up as stored
    assert [basis.shape[2] for basis in (model.identity, model.expression, model.albedo)] == [532, 45, 439]
    np.testing.assert_array_equal(model.parts["face"], np.arange(100))
    np.testing.assert_array_equal(model.landmarks["ibug68"], FACE.landmarks)
    assert model.albedo_mean is not None
    np.testing.assert_allclose(model.albedo_mean[0], (0, 1, 0.2), atol=1e-6)


def test_hifi3d_expressions_are_never_negative_for_its_network_ends_in_a_relu(models: Path) -> None:
    files.write_hifi3d(models)
    assert read_morphable("hifi3d").expression_range[0] == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head_tri": FACE.triangles * 1.0}, "head_tri should name 1 to 143, not 0 to 142"),
        ({"head_tri_vt": FACE.triangles[:9] + 1.0}, r"head_tri_vt should be 240 x 3, not 9 x 3"),
        ({"texBase": np.zeros((428, 439))}, r"texBase should be 429 x \*, not 428 x 439"),
        ({"vt_list": np.zeros((145, 3))}, r"vt_list should be \* x 2, not 145 x 3"),
    ],
)
def test_wrong_hifi3d_ends_in_a_sentence(models: Path, changed: dict, message: str) -> None:
    files.write_hifi3d(models, **changed)
    with pytest.raises(AssetError, match=f"hifi3dpp_model_info.mat cannot be used: {message}"):
        read_morphable("hifi3d")


# --- FaceVerse ------------------------------------------------------------------------------------------------------


def test_faceverse_is_turned_upright_and_kept_in_millimetres(models: Path) -> None:
    table = files.write_faceverse(models)
    model = read_morphable("faceverse")
    assert model.mm_per_unit == 1
    count = len(FACE.vertices)
    np.testing.assert_allclose(model.mean[:count], FACE.vertices * 100, atol=1e-4)
    np.testing.assert_array_equal(model.triangles, table["tri"])  # from 0, and two signs turned keep the winding
    np.testing.assert_allclose(model.identity[:, :, 5], unit(table["idBase"], 5) * (1, -1, -1), atol=1e-7)
    np.testing.assert_allclose(model.expression[:, :, 176], unit(table["exBase"], 176) * (1, -1, -1), atol=1e-7)
    assert outward_area(model, model.parts["head"]) > 0
    assert len(model.landmarks["mediapipe478"]) == 478
    np.testing.assert_array_equal(model.landmarks["ibug68"], FACE.landmarks)  # without the two irises behind them
    assert model.notes == ("FaceVerse has no texture coordinates.",)


def test_faceverse_left_eye_is_on_the_images_right(models: Path) -> None:
    files.write_faceverse(models)
    model = read_morphable("faceverse")
    assert centre_of(model, "eye_left")[0] < -20 < 20 < centre_of(model, "eye_right")[0]
    assert centre_of(model, "teeth_lower")[1] < centre_of(model, "tongue")[1] < centre_of(model, "teeth_upper")[1]
    assert sum(len(model.parts[name]) for name in ("head", "eye_left", "eye_right", "tongue")) == 240 + 12
    assert (model.triangles[model.parts["face"]] < 2 * files.COLUMNS).all()


def test_faceverse_file_that_is_upright_already_stays(models: Path) -> None:
    table = files.write_faceverse(models)
    files.write_faceverse(models, meanshape=table["meanshape"] * np.float32([1, -1, -1]))
    model = read_morphable("faceverse")
    np.testing.assert_allclose(model.mean[: len(FACE.vertices)], FACE.vertices * 100, atol=1e-4)
    assert any("[1, 1, 1]" in note for note in model.notes)


def test_nothing_in_a_faceverse_file_is_executed(models: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (exec, ("import sys; sys.modules['tripwire'] = sys",))

    files.write_faceverse(models, collision_points=Trap())
    with pytest.raises(WeightsError, match=r"found a call of builtins\.exec"):
        read_morphable("faceverse")
    assert "tripwire" not in sys.modules


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tri": FACE.triangles + 100}, "tri should name 0 to 162, not 100 to 242"),
        ({"meanshape": np.zeros((9, 2))}, r"meanshape should be \* x 3, not 9 x 2"),
        ({"tri_inds": [240, 244, 248, 252, 256, 259]}, "tri_inds should rise to 260"),
        ({"keypoints_68": np.arange(51)}, "keypoints_68 should name 68, not 51"),
        ({"texBase": np.zeros((429, 251))}, r"texBase should be 489 x \*, not 429 x 251"),
    ],
)
def test_wrong_faceverse_ends_in_a_sentence(models: Path, changed: dict, message: str) -> None:
    files.write_faceverse(models, **changed)
    with pytest.raises(AssetError, match=f"faceverse_v4_2.npy cannot be used: {message}"):
        read_morphable("faceverse")


# --- FLAME ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "protocol"), [(False, 2), (True, 2), (True, 0), (False, 4)])
def test_flame_is_unwrapped_from_old_and_new_files_alike(models: Path, old: bool, protocol: int) -> None:
    table = files.write_flame(models, old=old, protocol=protocol)
    model = read_morphable("flame")
    assert model.mm_per_unit == 1000
    np.testing.assert_allclose(model.mean, table["v_template"], atol=1e-7)
    np.testing.assert_array_equal(model.triangles, table["f"])
    np.testing.assert_allclose(model.identity, table["shapedirs"][:, :, :300], atol=1e-6)
    np.testing.assert_allclose(model.expression, table["shapedirs"][:, :, 300:], atol=1e-6)
    assert model.joints is not None
    assert model.joints.names == ("Neck", "Head", "Jaw", "LeftEye", "RightEye")
    np.testing.assert_allclose(model.joints.places, table["regressor"] @ model.mean, atol=1e-6)
    assert model.joints.parents.tolist() == [-1, 0, 1, 1, 1]
    np.testing.assert_allclose(model.joints.weights, table["weights"], atol=1e-7)


def test_flame_eyeballs_are_pieces_of_their_own(models: Path) -> None:
    files.write_flame(models)
    model = read_morphable("flame")
    assert len(model.parts["head"]) == 240
    assert centre_of(model, "eye_left")[0] < -0.02 < 0.02 < centre_of(model, "eye_right")[0]
    assert len(model.notes) == 2


def test_flame_takes_texture_coordinates_and_landmarks_from_the_files_beside_it(models: Path) -> None:
    table = files.write_flame(models)
    landmarks = files.write_flame_extras(models, table["f"].astype(int))
    model = read_morphable("flame")
    corners = np.arange(3 * len(table["f"])).reshape(-1, 3)
    np.testing.assert_array_equal(model.triangles_uv, corners)
    np.testing.assert_allclose(model.uv[5], (0.005, 0.995), atol=1e-6)
    np.testing.assert_array_equal(model.landmarks["ibug68"], landmarks)
    assert model.notes == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shapedirs": np.zeros((151, 3, 300))}, "shapedirs should have more than 300 components, not 300"),
        ({"shapedirs": np.zeros((150, 3, 400))}, r"shapedirs should be 151 x 3 x \*, not 150 x 3 x 400"),
        ({"f": FACE.triangles + 100}, "f should name 0 to 150, not 100 to 242"),
        ({"v_template": None}, "it has no array v_template"),
    ],
)
def test_wrong_flame_ends_in_a_sentence(models: Path, changed: dict, message: str) -> None:
    files.write_flame(models, **changed)
    with pytest.raises(AssetError, match=f"generic_model.pkl cannot be used: {message}"):
        read_morphable("flame")


def test_flame_file_that_is_no_dictionary_is_refused(models: Path) -> None:
    path = models / "flame" / "generic_model.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(AssetError, match=r"generic_model.pkl cannot be used: expected arrays by name, found a list"):
        read_morphable("flame")


# --- all ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in READERS if name != "head"])
def test_model_that_is_nowhere_names_the_command(models: Path, name: str) -> None:
    with pytest.raises(AssetError, match=r"is not on this machine; please run: ostec models (fetch|show) "):
        read_morphable(name)


def test_every_reader_has_a_manifest_that_names_the_model_and_the_reader() -> None:
    assert next(iter(READERS)) == "head"
    assert sorted(READERS) == list(face_models())
    for name, (manifest, read) in READERS.items():
        found = load_manifest(manifest)
        assert (found.face_model, found.loader) == (name, f"{read.__module__}.{read.__name__}")
        assert read.__module__ == f"ostec.load.morphable.{name.replace('3ddfa', 'threeddfa')}"
        assert found.ships == (name == "head")


def test_licence_is_said_once_where_somebody_listens(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    files.write_bfm_front(models)
    with caplog.at_level("WARNING", LOGGER):
        read_morphable("bfm")  # nobody listens
    assert not caplog.records
    with caplog.at_level("INFO", LOGGER):
        for _ in range(2):
            read_morphable("bfm")
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(said) == 1
    assert "Licence: Basel Face Model licence" in said[0]


def test_unknown_name_is_the_callers_mistake(models: Path) -> None:
    with pytest.raises(ValueError, match=f"^expected one of {', '.join(READERS)}, got 'basel'$"):
        read_morphable("basel")


@pytest.mark.parametrize("name", ["bfm", "hifi3d", "faceverse", "flame"])
def test_checksum_follows_the_content(models: Path, name: str) -> None:
    write = {
        "bfm": files.write_bfm_front,
        "hifi3d": files.write_hifi3d,
        "faceverse": files.write_faceverse,
        "flame": files.write_flame,
    }[name]
    key = {"flame": "v_template"}.get(name, "meanshape")
    table = write(models)
    first, again = read_morphable(name), read_morphable(name)
    assert first.sha256 == again.sha256
    assert len(first.sha256) == 64
    write(models, **{key: np.asarray(table[key]) * 1.5})
    assert read_morphable(name).sha256 != first.sha256


def test_coefficients_are_added_up(models: Path) -> None:
    files.write_bfm_front(models)
    model = read_morphable("bfm")
    a, b = np.float32([0.5, -1]), np.float32([2])
    expected = model.mean + 0.5 * model.identity[:, :, 0] - model.identity[:, :, 1] + 2 * model.expression[:, :, 0]
    np.testing.assert_allclose(model.shape(a, b), expected, atol=1e-5)
    assert model.albedo_mean is not None
    assert model.albedo is not None
    np.testing.assert_allclose(model.colours(b), model.albedo_mean + 2 * model.albedo[:, :, 0], atol=1e-6)
    with pytest.raises(ValueError, match=r"expected up to 64 expression coefficients, got the shape \(65,\)"):
        model.shape(a, np.zeros(65, np.float32))
