"""tools/make_correspondence.py finds the landmarks of a deformed toy head again, from a mesh and key points alone."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ostec.io.images import read_image
from ostec.load.correspondence import read_correspondence
from tests.toy import toy_topology
from tests.toy_head import MM_PER_UNIT, toy_head_model

TOOLS = Path(__file__).resolve().parents[1] / "tools"
MODEL = toy_head_model()
SHAPE = MODEL.shape(np.float32([0.4, -0.3, 0.5, 0.3]), np.float32([]))


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    module = importlib.import_module("make_correspondence")
    monkeypatch.setattr(module, "read_topology", lambda _: toy_topology())
    return module


def write_template(folder: Path, landmarks: tuple[int, ...]) -> tuple[Path, Path]:
    """The toy head as OBJ, in units of its own; each key point a corner of a triangle, 85 in all."""
    mesh, points = folder / "toy.obj", folder / "toy.txt"
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in 3.7 * SHAPE]
    lines += [f"f {a} {b} {c}" for a, b, c in MODEL.triangles + 1]
    mesh.write_text("\n".join(lines), encoding="ascii")
    table = []
    for landmark in (*landmarks, *[0] * 17):
        triangle = int(np.flatnonzero((MODEL.triangles == landmark).any(axis=1))[0])
        corner = int(np.flatnonzero(MODEL.triangles[triangle] == landmark)[0])
        table.append([triangle, float(corner == 0), float(corner == 1)])
    points.write_text(json.dumps(table), encoding="ascii")
    return mesh, points


def test_landmarks_of_a_template_are_found(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, points = write_template(tmp_path, tool.MULTI_PIE)
    words = ["flame", "--template", str(mesh), "--keypoints", str(points), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tool", *words, "--picture", str(tmp_path / "look.png")])
    assert tool.main() == 0
    found = read_correspondence(tmp_path / f"flame_{len(MODEL.mean)}_facemesh.npz")
    away = MM_PER_UNIT * np.linalg.norm(found.points(SHAPE) - SHAPE[:468], axis=1)
    assert np.median(away) < 1.5
    assert away[found.trust > 0.5].max() < 6  # the mesh is 5 to 8 mm wide
    held = [landmark for k, landmark in enumerate(tool.MULTI_PIE) if k >= 27 and k not in tool.SLIDING]
    np.testing.assert_allclose(away[held], 0, atol=1e-3)
    eyeballs = MODEL.triangles[np.concatenate([MODEL.parts["eye_left"], MODEL.parts["eye_right"]])]
    assert not np.isin(found.vertices, eyeballs).any()
    picture = read_image(tmp_path / "look.png")
    blue = np.abs(picture - (0.1, 0.3, 0.9)).max(axis=2) < 0.05
    assert blue.sum() > 25 * 100


def test_mirror_images_are_exact(tool: ModuleType) -> None:
    topology = toy_topology()
    mirror = tool.mirror_of(MODEL, tool.face_triangles(MODEL))
    assert mirror is not None
    np.testing.assert_array_equal(mirror[:468], topology.mirror)
    vertices, weights = tool.on_middle(np.array([7, 8, 30], np.int32), np.float32([0.5, 0.3, 0.2]), mirror)
    point = (MODEL.mean[vertices] * weights[:, None]).sum(0)
    assert point[0] == pytest.approx(0, abs=1e-5)
    slanted = MODEL.mean + np.float32([0.05, 0, 0]) * MODEL.mean[:, 1:2]
    assert tool.mirror_of(replace(MODEL, mean=slanted), tool.face_triangles(MODEL)) is None


def test_template_needs_its_key_points(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", "flame", "--template", "a.obj"])
    with pytest.raises(SystemExit):
        tool.main()
    assert "--template and --keypoints belong together" in capsys.readouterr().err
