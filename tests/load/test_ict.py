"""ICT-FaceKit: as published, with meshes missing, from the archive of all modes, and the cache."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ostec.core.assets import MODELS_VARIABLE, load_manifest
from ostec.core.errors import AssetError
from ostec.core.inventory import State, inspect_model
from ostec.core.morphable import MorphableModel
from ostec.load.morphable import ict as morphable_ict
from ostec.load.morphable.read import read_morphable
from tests.load import morphable_files as files

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["identity000", "identity002", "jawOpen", "mouthSmile_L"]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "models"


def cache_files(models: Path) -> list[Path]:
    return sorted((models.parent / "cache").rglob("ict-*.npz"))


def test_meshes_are_read_as_published(models: Path) -> None:
    offsets = files.write_ict(models, NAMES)
    model = read_morphable("ict")
    np.testing.assert_allclose(model.mean, files.ICT_NEUTRAL, atol=1e-6)
    assert model.mm_per_unit == 10
    assert model.expression_range == (0, 1)
    assert model.expression_names == ("jawOpen", "mouthSmile_L")
    for k, name in enumerate(("identity000", "identity002")):
        np.testing.assert_allclose(model.identity[:, :, k], offsets[name], atol=2e-6)
    for k, name in enumerate(model.expression_names):
        np.testing.assert_allclose(model.expression[:, :, k], offsets[name], atol=2e-6)
    assert model.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 4], [5, 6, 7]]  # from 1, quads split
    np.testing.assert_allclose(model.uv[7], (0.7, 0.35), atol=1e-6)
    np.testing.assert_array_equal(model.triangles_uv, model.triangles)
    assert {name: ids.tolist() for name, ids in model.parts.items()} == {"face": [0, 1, 2], "teeth": [3]}
    assert model.landmarks["ibug68"].tolist() == [0, 3, 4]
    assert model.licence == "MIT"


def test_missing_meshes_are_said_in_one_sentence_each(models: Path) -> None:
    files.write_ict(models, NAMES)
    notes = read_morphable("ict").notes
    assert notes[0] == "98 of 100 identity modes are missing (identity001, identity003, identity004, ...)."
    assert notes[1] == "55 of 57 expression modes are missing (PupilDilate_L, PupilDilate_R, browDown_L, ...)."


def test_complete_set_of_meshes_has_all_modes_and_no_such_note(models: Path) -> None:
    entries = [entry.basename.removesuffix(".obj") for entry in load_manifest("ict_facekit").files]
    names = [name for name in entries if name not in ("generic_neutral_mesh", "vertex_indices.json")]
    offsets = files.write_ict(models, names)
    files.write_ict_modes(models / "ict_facekit" / "modes_f16.npz")
    model = read_morphable("ict")
    assert (model.identity.shape[2], model.expression.shape[2]) == (100, 57)
    np.testing.assert_allclose(model.identity[:, :, 57], offsets["identity057"], atol=2e-6)
    np.testing.assert_allclose(
        model.expression[:, :, model.expression_names.index("noseSneer_R")], offsets["noseSneer_R"], atol=2e-6
    )
    assert not any("missing" in note or "modes_f16" in note for note in model.notes)


@pytest.mark.parametrize("folder", ["ict_facekit/FaceXModel", "ict_facekit", "FaceXModel", "."])
def test_folder_may_be_the_published_one_or_the_fetched_one(models: Path, folder: str) -> None:
    files.write_ict(models, NAMES, folder)
    assert read_morphable("ict").identity.shape == (8, 3, 2)


@pytest.mark.parametrize("place", ["ict_facekit", "ict_facekit/FaceXModel"])
def test_archive_of_all_modes_stands_in_for_missing_meshes(models: Path, place: str) -> None:
    files.write_ict(models, NAMES)
    table = files.write_ict_modes(models / place / "modes_f16.npz")
    model = read_morphable("ict")
    assert model.identity.dtype == np.float32
    np.testing.assert_array_equal(model.identity[:, :, 99], table["identity"][99])
    np.testing.assert_array_equal(model.expression[:, :, 1], table["expression"][1])
    assert model.expression_names == ("jawOpen", "mouthSmile_L")
    assert "rounded to 16 bits" in model.notes[0]
    found = inspect_model(load_manifest("ict_facekit")).files[-1]
    assert (found.path, found.state) == (models / place / "modes_f16.npz", State.UNPINNED)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity": np.zeros((100, 9, 3), np.float16)}, r"identity should be \* x 8 x 3, not 100 x 9 x 3"),
        ({"neutral": np.zeros((9, 3), np.float32)}, "neutral should be 8 x 3, not 9 x 3"),
        ({"neutral": files.ICT_NEUTRAL + 1}, "its neutral mesh is another than"),
        ({"expression_names": np.array(["jawOpen"])}, "expression_names should be 2, not 1"),
    ],
)
def test_archive_that_does_not_fit_ends_in_a_sentence(models: Path, changed: dict, message: str) -> None:
    files.write_ict(models, NAMES)
    files.write_ict_modes(models / "ict_facekit" / "modes_f16.npz", **changed)
    with pytest.raises(AssetError, match=f"modes_f16.npz cannot be used: {message}"):
        read_morphable("ict")


def test_archive_with_names_that_are_objects_is_refused(models: Path) -> None:
    files.write_ict(models, NAMES)
    path = models / "ict_facekit" / "modes_f16.npz"
    files.write_ict_modes(path, expression_names=np.array(["a", "b"], dtype=object))
    with pytest.raises(AssetError, match=r"modes_f16\.npz cannot be read as an archive of arrays"):
        read_morphable("ict")


def test_mesh_of_another_order_ends_in_a_sentence(models: Path) -> None:
    files.write_ict(models, NAMES)
    path = models / "ict_facekit" / "FaceXModel" / "jawOpen.obj"
    path.write_text(path.read_text(encoding="ascii") + "v 1 2 3\n", encoding="ascii")
    with pytest.raises(AssetError, match=r"jawOpen.obj cannot be used: vertices should be 8 x 3, not 9 x 3"):
        read_morphable("ict")


def test_landmarks_beyond_the_mesh_are_refused(models: Path) -> None:
    files.write_ict(models, NAMES)
    path = models / "ict_facekit" / "FaceXModel" / "vertex_indices.json"
    path.write_text(json.dumps({"idx_to_landmark_verts": [0, 8]}), encoding="ascii")
    with pytest.raises(AssetError, match="idx_to_landmark_verts should name 0 to 7, not 0 to 8"):
        read_morphable("ict")
    path.unlink()
    assert any("vertex_indices.json is missing" in note for note in read_morphable("ict").notes)


class TestCache:
    @pytest.fixture
    def parsed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The meshes that were parsed."""
        names: list[str] = []
        read = morphable_ict.read_vertices

        def counting(path: Path) -> np.ndarray:
            names.append(path.stem)
            return read(path)

        monkeypatch.setattr(morphable_ict, "read_vertices", counting)
        return names

    def test_second_reading_parses_nothing_and_finds_the_same(self, models: Path, parsed: list[str]) -> None:
        files.write_ict(models, NAMES)
        first = read_morphable("ict")
        assert sorted(parsed) == sorted(NAMES)
        second = read_morphable("ict")
        assert len(parsed) == len(NAMES)
        assert first.sha256 == second.sha256
        np.testing.assert_array_equal(first.expression, second.expression)
        assert len(cache_files(models)) == 1
        assert not list(models.rglob("*.npz"))  # never beside the source

    def test_changed_mesh_is_read_again(self, models: Path, parsed: list[str]) -> None:
        files.write_ict(models, NAMES)
        before = read_morphable("ict")
        path = models / "ict_facekit" / "FaceXModel" / "jawOpen.obj"
        path.write_text(path.read_text(encoding="ascii").replace("v -1.", "v -2.", 1), encoding="ascii")
        os.utime(path, ns=(1, 1))
        after = read_morphable("ict")
        assert len(parsed) == 2 * len(NAMES)
        assert before.sha256 != after.sha256

    @pytest.mark.parametrize("content", [b"", b"damaged", None])
    def test_damaged_cache_is_made_again(self, models: Path, parsed: list[str], content: bytes | None) -> None:
        files.write_ict(models, NAMES)
        first = read_morphable("ict")
        (path,) = cache_files(models)
        path.write_bytes(path.read_bytes()[:-30] if content is None else content)
        np.testing.assert_array_equal(read_morphable("ict").identity, first.identity)
        assert len(parsed) == 2 * len(NAMES)

    def test_folder_that_cannot_be_written_is_no_reason_to_fail(self, models: Path) -> None:
        files.write_ict(models, NAMES)
        (models.parent / "cache").write_text("a file", encoding="ascii")
        assert read_morphable("ict").identity.shape == (8, 3, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MorphableModel:
    data = ROOT.parent / "shared" / "data"
    if not (data / "ict_facekit" / "FaceXModel").is_dir():
        pytest.skip("the meshes of ICT-FaceKit are not beside this checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODELS_VARIABLE, str(data))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return read_morphable("ict")


class TestPublished:
    """The published files, where they are there."""

    def test_sizes(self, model: MorphableModel) -> None:
        assert model.mean.shape == (26719, 3)
        assert (model.identity.shape[2], model.expression.shape[2]) == (100, 57)
        assert model.triangles.shape == (2 * 25836 + 548, 3)
        assert model.uv.shape == (28911, 2)

    def test_eyes_are_nine_centimetres_apart_and_named_after_the_images_side(self, model: MorphableModel) -> None:
        corners = model.mean[model.landmarks["ibug68"][[36, 45]]]
        assert corners[0, 0] < 0 < corners[1, 0]
        assert np.linalg.norm(corners[1] - corners[0]) * model.mm_per_unit == pytest.approx(90, abs=3)
        for name in ("eye", "eyelashes", "iris", "eye_socket", "lacrimal"):
            left, right = (model.mean[model.triangles[model.parts[f"{name}_{side}"]]] for side in ("left", "right"))
            assert left.mean(axis=(0, 1))[0] < 0 < right.mean(axis=(0, 1))[0]

    def test_axes_and_winding(self, model: MorphableModel) -> None:
        points = model.mean[model.landmarks["ibug68"]]
        assert points[27, 1] > points[8, 1]  # bridge of the nose above the chin
        assert points[30, 2] > points[[0, 16], 2].max()  # tip of the nose before the ears
        for part in ("face", "eye_left", "eye_right"):
            corners = model.mean[model.triangles[model.parts[part]]].astype(np.float64)
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            assert (normals * (corners.mean(axis=1) - corners.mean(axis=(0, 1)))).sum() > 0

    def test_parts_cover_every_triangle_once(self, model: MorphableModel) -> None:
        within = ("face_narrow", "iris_left", "iris_right")
        ids = np.concatenate([ids for name, ids in model.parts.items() if name not in within])
        np.testing.assert_array_equal(np.sort(ids), np.arange(len(model.triangles)))
        upper, lower = (model.mean[model.triangles[model.parts[f"teeth_{side}"]]] for side in ("upper", "lower"))
        assert upper[..., 1].mean() > lower[..., 1].mean()

    def test_archive_agrees_with_the_meshes_that_are_there(self, model: MorphableModel) -> None:
        folder = ROOT.parent / "shared" / "data" / "ict_facekit" / "FaceXModel"
        for name, basis, k in (
            ("identity003", model.identity, 3),
            ("jawOpen", model.expression, model.expression_names.index("jawOpen")),
        ):
            moved = morphable_ict.read_vertices(folder / f"{name}.obj") - model.mean
            assert np.abs(moved - basis[:, :, k]).max() < 2e-3
