"""What the page's viewer gets, taken apart as the script does it, is the head."""

import base64
import gzip
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.types import CompletedTexture, FloatArray, TexturedFace
from ostec.export.gltf import STILL_MM
from ostec.export.viewer import SLIDERS, viewer_values
from ostec.heads.maker import HeadMaker
from ostec.heads.parts import Head
from ostec.heads.rig import ARKIT
from ostec.io.images import decode_image
from ostec.render.geometry import camera_from_matrix
from tests.toy import toy_face, toy_texture, toy_topology
from tests.toy_head import toy_arkit_model, toy_correspondence, toy_head_model

TOPOLOGY = toy_topology()
FACE = TexturedFace(
    toy_face(TOPOLOGY, (5.0, -20.0, 10.0)),
    TOPOLOGY,
    CompletedTexture({"colour": toy_texture(256)}, np.ones((256, 256), np.uint8)),
)
TYPES = {"int16": "<i2", "int32": "<i4", "uint8": "u1", "uint16": "<u2"}


def toy_head(model: Any = None) -> Head:
    model = model or toy_arkit_model(TOPOLOGY)
    head = HeadMaker(model, toy_correspondence(model))(FACE)
    assert head.rig is not None
    return replace(head, rig=replace(head.rig, values=np.float32([0.25, 0.5])))


class Packed:
    """What a page holds."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.about = values["about"]
        data = gzip.decompress(base64.b64decode(values["data"]))
        self.arrays = {
            name: np.frombuffer(data, TYPES[kind], count, offset)
            for name, (kind, offset, count) in self.about["arrays"].items()
        }
        self.points = self.arrays["points"].reshape(3, -1).T * self.about["step"]
        self.point_of, self.corners = (np.cumsum(self.arrays[name]) for name in ("point", "corners"))

    def target(self, number: int) -> FloatArray:
        """[P, 3] offsets."""
        ends = np.cumsum(self.arrays["moved"])
        first, count = ends[number] - self.arrays["moved"][number], self.arrays["moved"][number]
        made = np.zeros_like(self.points)
        rows = np.cumsum(self.arrays["rows"][first : first + count])
        made[rows] = self.arrays["offsets"][3 * first : 3 * (first + count)].reshape(3, -1).T * self.about["step"]
        return made


def test_head_in_the_photos_expression_comes_back() -> None:
    head = toy_head()
    assert head.rig is not None
    packed = Packed(viewer_values(FACE, head))
    assert [target["name"] for target in packed.about["targets"]] == ["jawOpen", "browInnerUp"]
    assert [target["value"] for target in packed.about["targets"]] == [0.25, 0.5]
    shape = packed.points + sum(t["value"] * packed.target(k) for k, t in enumerate(packed.about["targets"]))
    assert packed.about["step"] < 0.01
    first_vertex, first_corner = 0, 0
    uv = packed.arrays["uv"].reshape(-1, 2) / 65535
    for part, about in zip(head.parts, packed.about["parts"], strict=True):
        vertices = slice(first_vertex, first_vertex + len(part.vertices))
        expected = part.vertices
        if part.ids is not None:
            moved = head.rig.offsets[part.ids] @ np.float32([0.25, 0.5])
            expected = head.rig.neutral[part.ids] + moved
        np.testing.assert_allclose(shape[packed.point_of[vertices]], expected, atol=2 * STILL_MM)
        corners = packed.corners[first_corner : first_corner + about["corners"]]
        np.testing.assert_array_equal(corners - first_vertex, part.triangles.ravel())
        np.testing.assert_allclose(uv[vertices], part.uv * [1, -1] + [0, 1], atol=1e-4)
        assert (about["name"], about["roughness"]) == (part.name, part.roughness)
        first_vertex, first_corner = vertices.stop, first_corner + about["corners"]
    assert (first_vertex, first_corner) == (len(packed.point_of), len(packed.corners))


def test_points_follow_the_rigs_joints() -> None:
    head = toy_head()
    rig = head.rig
    assert rig is not None
    packed = Packed(viewer_values(FACE, head))
    assert tuple(joint["name"] for joint in packed.about["joints"]) == rig.joints.names
    assert [joint["parent"] for joint in packed.about["joints"]] == rig.joints.parents.tolist()
    places = np.array([joint["place"] for joint in packed.about["joints"]])
    np.testing.assert_allclose(places, rig.joints.places, atol=1e-3)
    assert all(joint["turn"] is None for joint in packed.about["joints"])
    weights = packed.arrays["weights"].reshape(len(places), -1)
    ids = np.concatenate([part.ids for part in head.parts if part.ids is not None])
    np.testing.assert_allclose(weights[:, packed.point_of[: len(ids)]].T / 255, rig.joints.weights[ids], atol=0.01)


def test_a_polygon_of_four_has_no_line_across() -> None:
    head = toy_head()
    parts = [replace(part, polygons=np.arange(len(part.triangles)) // 2) for part in head.parts]
    fan = Packed(viewer_values(FACE, replace(head, parts=tuple(parts)))).arrays["fan"]
    start = 0
    for part in parts:
        own = fan[start : start + len(part.triangles)]
        assert own.tolist() == [k % 2 for k in range(len(own))]
        start += len(own)


def test_sliders_are_those_whose_expressions_the_head_has() -> None:
    def labels(head: Head | None) -> list[str]:
        return [slider["label"] for slider in viewer_values(FACE, head)["about"]["sliders"]]

    turning = ["Eyes left, right", "Eyes down, up", "Head left, right", "Head down, up"]
    assert labels(toy_head()) == ["Jaw open", "Inner brows up", *turning]
    assert labels(toy_head(toy_head_model(TOPOLOGY))) == ["Expression of the photo", *turning]
    assert labels(None) == []
    named = {name for slider in SLIDERS for name in slider.there + slider.back} - {"photo"}
    assert named <= set(ARKIT)


def test_expressions_without_names_are_one() -> None:
    head = toy_head(toy_head_model(TOPOLOGY))
    assert head.rig is not None
    packed = Packed(viewer_values(FACE, head))
    assert [(target["name"], target["value"]) for target in packed.about["targets"]] == [("photo", 1.0)]
    ids = np.concatenate([part.ids for part in head.parts if part.ids is not None])
    moved = packed.target(0)[packed.point_of[: len(ids)]]
    np.testing.assert_allclose(moved, head.rig.offsets[ids] @ head.rig.values, atol=2 * STILL_MM)


def test_photo_and_head_meet_in_the_view() -> None:
    rows, columns = np.mgrid[:200, :230] / np.float32(230)  # colours tell where they are
    photo = np.stack([rows, columns, 0.5 + 0 * rows], axis=2).astype(np.float32)
    values = viewer_values(FACE, toy_head(), photo)
    place = dict(entry.strip().split(": ") for entry in values["photo"]["place"].split(";"))
    left, top, width, height = (float(place[key].rstrip("%")) / 100 for key in ("left", "top", "width", "height"))
    shown = decode_image(base64.b64decode(values["photo"]["source"].partition(",")[2]), "photo")
    camera = camera_from_matrix(FACE.face.camera_matrix, FACE.face.rotation)
    points = torch.from_numpy(FACE.face.vertices[::50])
    pixels, towards = (values.numpy() for values in camera.project(points))
    matrix = np.array(values["about"]["photo"]["matrix"])
    view = points.numpy() @ matrix[:, :3].T + matrix[:, 3]
    # From the view, which runs from -1 to 1 and up, to the embedded picture.
    across, down = (view[:, 0] + 1) / 2, (1 - view[:, 1]) / 2
    column, row = (across - left) / width * shown.shape[1], (down - top) / height * shown.shape[0]
    first = pixels[:, 1] - row, pixels[:, 0] - column
    assert max(np.ptp(start) for start in first) < 0.01
    row0, column0 = (round(float(start.mean())) for start in first)
    cut = photo[row0 : row0 + shown.shape[0], column0 : column0 + shown.shape[1]]
    assert np.abs(cut - shown).max() < 0.02
    assert np.corrcoef(view[:, 2], towards)[0, 1] > 0.999


def test_provenance_is_shown_where_the_face_has_its_own_layout() -> None:
    head = toy_head()
    modes = {
        shares: [mode for mode, _, _ in viewer_values(FACE, replace(head, shares_texture=shares))["modes"]]
        for shares in (True, False)
    }
    assert modes[True] == ["light", "wireframe", "provenance", "turn"]
    assert modes[False] == ["light", "wireframe", "turn"]


def test_equal_heads_are_packed_equally_and_small() -> None:
    one, other = (viewer_values(FACE, toy_head()) for _ in range(2))
    assert one == other
    assert len(one["data"]) < 200_000


@pytest.mark.parametrize("known", [True, False])
def test_colours_of_vertices_are_kept_where_there_is_no_texture(known: bool) -> None:
    head = toy_head()
    tints = np.random.default_rng(0).random((len(head.parts[0].vertices), 3)).astype(np.float32)
    first = replace(
        head.parts[0], texture=None, vertex_colours=tints if known else None, uv=np.empty((0, 2), np.float32)
    )
    packed = Packed(viewer_values(FACE, replace(head, parts=(first, *head.parts[1:]))))
    assert ("tints" in packed.arrays) == known
    if known:
        found = packed.arrays["tints"].reshape(-1, 3)[: len(tints)] / 255
        np.testing.assert_allclose(found, tints, atol=0.5 / 255 + 1e-6)
        assert (packed.arrays["tints"].reshape(-1, 3)[len(tints) :] == 255).all()
