"""Faces under another light."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ostec.core.assets import asset_path
from ostec.core.errors import ImageError, OutputError, UsageError
from ostec.export.pictures import GROUND
from ostec.export.surfaces import Surface
from ostec.io.images import write_png
from ostec.light.relight import Material, draw_relit, from_harmonics, from_panorama, one_lamp
from ostec.load.topology import read_topology
from ostec.pipeline.relight import Relighter, draw_head, read_light
from ostec.pipeline.transfer import SavedResult
from ostec.render.geometry import orthographic_camera
from ostec.render.harmonics import light_harmonics
from ostec.render.uv import bake_layout

HDR = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n"


def test_the_side_of_the_lamp_is_bright_and_grey_stays_grey() -> None:
    topology = read_topology(asset_path("topology/facemesh.npz"))
    vertices = np.asarray(topology.operator @ topology.mean_landmarks, np.float32)
    grey, flat = np.full((8, 8, 3), 0.6, np.float32), np.full((8, 8, 3), np.float32([0.5, 0.5, 1]))
    material = Material(grey, flat, np.full((8, 8, 3), np.float32([1, 0.5, 0])), grey)
    camera = orthographic_camera(np.eye(3), 0.4, (32.0, 28.0))
    made = draw_relit(vertices, bake_layout(topology, 8), material, one_lamp(60, 10, np.ones(3)), camera, 64)
    colour, cover = made[..., :3], made[..., 3] > 0.99
    left, right = cover.copy(), cover.copy()
    left[:, 32:], right[:, :32] = False, False
    assert colour[right].mean() > 1.3 * colour[left].mean()
    np.testing.assert_allclose(np.ptp(colour[cover], axis=1), 0, atol=1e-5)
    assert not made[0, 0].any()


def test_harmonics_come_back_and_a_panoramas_bright_spot_is_where_it_is() -> None:
    towards = np.array([[0.6, 0.0, 0.8]])
    asked = light_harmonics(towards, np.ones((1, 3)), np.full(3, 0.8))
    around = from_harmonics(asked)
    np.testing.assert_allclose(light_harmonics(around.directions, around.lamps, around.even), asked, atol=0.12)
    panorama = np.full((32, 64, 3), 0.01)
    panorama[8:10, 48:50] = 100  # 90 degrees to the right, 40 up
    light = from_panorama(panorama)
    brightest = light.directions[light.lamps[:, 0].argmax()]
    assert brightest[0] > 0.6
    assert brightest[1] > 0.4


def test_lights_are_read_and_what_is_none_is_refused(tmp_path: Path) -> None:
    lamp = read_light("90,0,#ff0000")
    np.testing.assert_allclose(lamp.directions, [[1, 0, 0]], atol=1e-12)
    assert lamp.lamps[0].tolist() == [1, 0, 0]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"light": {"harmonics": np.eye(9, 3).tolist()}}))
    assert len(read_light(str(path)).lamps) > 100
    path.write_text(json.dumps({"harmonics": [1, 2]}))
    with pytest.raises(UsageError, match=r"\[9, 3\] numbers"):
        read_light(str(path))
    for number in (10**400, 1e300, 1e30):
        path.write_text(json.dumps({"harmonics": [[number] * 3] * 9}))
        with pytest.raises(UsageError, match="harmonics of a light"):
            read_light(str(path))
    for asked in ("bright", "nan,0", "0,1e999"):
        with pytest.raises(UsageError, match="YAW,PITCH,COLOUR"):
            read_light(asked)


def test_a_panorama_takes_little_more_memory_than_its_file_and_its_claims_none(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    path.write_bytes(HDR + b"-Y 30000 +X 60000\n" + bytes(400))
    with pytest.raises(ImageError, match="60000 x 30000 pixels, more than 64 megapixels"):
        read_light(str(path))
    path.write_bytes(HDR + b"-Y 256 +X 512\n" + bytes([128, 128, 128, 129]) * (256 * 512))
    tracemalloc.start()
    light = read_light(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert light.lamps.sum() > 0
    assert peak < 16 << 20  # of 131072 pixels; 1.6 kB a pixel before


@pytest.mark.parametrize("kind", ["albedo", "normal", "orm", "specular"])
def test_foreign_results_end_in_a_sentence(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topology = read_topology(asset_path("topology/facemesh.npz"))
    vertices = np.asarray(topology.operator @ topology.mean_landmarks, np.float32)
    flat = np.full((8, 8, 3), 0.5, np.float32)
    result = SavedResult("a", flat, vertices, {}, {})
    monkeypatch.setattr("ostec.pipeline.relight.read_result", lambda *_: result)
    relight = Relighter(topology, one_lamp(0, 0, np.ones(3)))
    for each in ("albedo", "normal", "orm", "specular"):
        write_png(tmp_path / f"a_{each}.png", flat)
    assert relight(tmp_path / "a.json").shape == (512, 512, 3)
    write_png(tmp_path / f"a_{kind}.png", flat[:4])
    with pytest.raises(OutputError, match="materials that are not squares of one size"):
        relight(tmp_path / "a.json")


def test_a_head_is_lit_from_the_lamps_side_and_its_face_has_the_albedo() -> None:
    topology = read_topology(asset_path("topology/facemesh.npz"))
    vertices = np.asarray(topology.operator @ topology.mean_landmarks, np.float32)
    corners, uv = vertices[topology.triangles], topology.uv[topology.triangles]
    dark = np.full((8, 8, 3), 0.2, np.float32)
    face = Surface(corners, np.ones_like(corners), uv, dark, of_face=True)
    behind = Surface(corners - np.float32([0, 0, 80]), np.full_like(corners, 0.5))
    flat, orm = np.full((8, 8, 3), np.float32([0.5, 0.5, 1])), np.full((8, 8, 3), np.float32([1, 0.5, 0]))
    camera = orthographic_camera(np.eye(3), 2.0, (256.0, 224.0))
    light = one_lamp(60, 10, np.ones(3), even=0.0)

    def drawn(albedo: float) -> np.ndarray:
        material = Material(np.full((8, 8, 3), albedo, np.float32), flat, orm, np.ones((8, 8, 1), np.float32))
        return draw_head([face, behind], material, light, camera)

    bright = drawn(0.7)
    assert bright[250, 300:340].mean() > 1.3 * bright[250, 170:210].mean()
    assert bright[250, 170:340].mean() > 1.2 * drawn(0.4)[250, 170:340].mean()
    assert np.allclose(bright[0, 0], GROUND)
