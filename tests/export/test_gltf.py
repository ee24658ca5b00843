"""A head's GLB read back number by number: expressions, joints and materials; Khronos' validator and three.js agree."""

import base64
import json
import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from ostec.core.assets import asset_path
from ostec.core.errors import AssetError
from ostec.core.types import CompletedTexture, TexturedFace
from ostec.export.gltf import STILL_MM, head_glb
from ostec.export.head import write_head
from ostec.heads.maker import HeadMaker
from ostec.heads.parts import Head, Rig
from ostec.load.correspondence import correspondence_of
from ostec.load.morphable.read import READERS, read_morphable
from ostec.load.topology import read_topology
from tests.toy import toy_face, toy_texture, toy_topology
from tests.toy_head import toy_arkit_model, toy_correspondence

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = toy_topology()
TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
SIDES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A file taken apart."""

    def __init__(self, data: bytes) -> None:
        magic, version, length, text = struct.unpack_from("<4sIII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        self.json = json.loads(data[20 : 20 + text])
        self.binary = data[28 + text :]

    def _view(self, about: dict[str, Any], kind: int, count: int) -> np.ndarray:
        view = self.json["bufferViews"][about["bufferView"]]
        return np.frombuffer(self.binary, TYPES[kind], count, view["byteOffset"] + about.get("byteOffset", 0))

    def array(self, number: int) -> np.ndarray:
        about = self.json["accessors"][number]
        count, sides = about["count"], SIDES[about["type"]]
        if "sparse" not in about:
            return self._view(about, about["componentType"], count * sides).reshape(count, sides)
        made, sparse = np.zeros((count, sides), np.float32), about["sparse"]
        rows = self._view(sparse["indices"], sparse["indices"]["componentType"], sparse["count"])
        assert (np.diff(rows.astype(int)) > 0).all()
        made[rows] = self._view(sparse["values"], 5126, sparse["count"] * sides).reshape(-1, sides)
        np.testing.assert_allclose(about["min"], made.min(0), atol=1e-9)
        np.testing.assert_allclose(about["max"], made.max(0), atol=1e-9)
        return made


def toy_head() -> Head:
    model = toy_arkit_model(TOPOLOGY)
    completed = CompletedTexture({"colour": toy_texture(256)}, np.ones((256, 256), np.uint8))
    head = HeadMaker(model, toy_correspondence(model))(TexturedFace(toy_face(TOPOLOGY), TOPOLOGY, completed))
    assert head.rig is not None
    return replace(head, rig=replace(head.rig, values=np.float32([0.25, 0.5])))


@pytest.fixture(scope="module")
def head() -> Head:
    return toy_head()


def rig_of(head: Head) -> Rig:
    assert head.rig is not None
    return head.rig


@pytest.fixture(scope="module")
def glb(head: Head) -> Glb:
    return Glb(head_glb("a b", head, {}))


def test_one_node_in_metres_holds_parts_and_joints(head: Head, glb: Glb) -> None:
    nodes = glb.json["nodes"]
    (root,) = glb.json["scenes"][0]["nodes"]
    assert nodes[root]["name"] == "a b"
    below = [nodes[child] for child in nodes[root]["children"]]
    assert [node["name"] for node in below] == [*(part.name for part in head.parts), "Neck"]
    assert all(not {"scale", "rotation", "matrix"} & node.keys() for node in nodes)
    assert glb.json["scenes"][0]["extras"] == {"model": "ict", "licence": "MIT"}
    points = glb.array(glb.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
    assert 0.1 < np.ptp(points[:, 1]) < 0.3


def test_default_weights_show_the_head_as_it_is(head: Head, glb: Glb) -> None:
    rig = rig_of(head)
    neutral = 0
    for part, mesh in zip(head.parts, glb.json["meshes"], strict=True):
        (primitive,) = mesh["primitives"]
        points = glb.array(primitive["attributes"]["POSITION"])
        if "targets" not in primitive:
            assert part.name in ("eye_left", "eye_right", "head", "mouth")
            neutral += 1
            continue
        assert mesh["extras"]["targetNames"] == ["jawOpen", "browInnerUp"]
        assert mesh["weights"] == rig.values.tolist()
        moved = points + sum(
            weight * glb.array(target["POSITION"])
            for weight, target in zip(mesh["weights"], primitive["targets"], strict=True)
        )
        assert part.ids is not None
        expected = rig.neutral[part.ids] + rig.offsets[part.ids] @ rig.values
        np.testing.assert_allclose(moved * 1000, expected, atol=2 * STILL_MM)
    assert neutral < len(head.parts)


def test_normals_change_with_the_jaw_alone(head: Head, glb: Glb) -> None:
    face = next(mesh for mesh in glb.json["meshes"] if mesh["name"] == "face")["primitives"][0]
    jaw, brows = (glb.array(target["NORMAL"]) for target in face["targets"])
    assert np.abs(jaw).max() > 0.05
    assert not brows.any()
    assert glb.json["accessors"][face["targets"][1]["NORMAL"]]["sparse"]["count"] == 1


def test_skin_rests_where_its_joints_are(head: Head, glb: Glb) -> None:
    rig, (skin,) = rig_of(head), glb.json["skins"]
    nodes = glb.json["nodes"]
    assert [nodes[joint]["name"] for joint in skin["joints"]] == list(rig.joints.names)
    above = {child: k for k, node in enumerate(nodes) for child in node.get("children", ())}
    matrices = glb.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
    for joint, matrix, place in zip(skin["joints"], matrices, rig.joints.places, strict=True):
        where, node = np.zeros(3), joint
        while node in above:
            where, node = where + nodes[node]["translation"], above[node]
            if "translation" not in nodes[node]:
                break
        np.testing.assert_allclose(where * 1000, place, atol=1e-3)
        np.testing.assert_allclose(matrix[3], [*-where, 1], atol=1e-6)
    for part, mesh in zip(head.parts, glb.json["meshes"], strict=True):
        attributes = mesh["primitives"][0]["attributes"]
        joints, weights = glb.array(attributes["JOINTS_0"]), glb.array(attributes["WEIGHTS_0"])
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        assert (joints[weights == 0] == 0).all()
        whole = np.zeros((len(joints), len(rig.joints.names)))
        np.add.at(whole, (np.arange(len(joints))[:, None], joints), weights)
        expected = rig.joints.weights[part.ids] if part.ids is not None else np.eye(5)[[1] * len(joints)]
        np.testing.assert_allclose(whole, expected, atol=1e-6)


def test_no_material_is_gltfs_default(glb: Glb) -> None:
    rough = {m["name"]: m["pbrMetallicRoughness"]["roughnessFactor"] for m in glb.json["materials"]}
    assert all(m["pbrMetallicRoughness"]["metallicFactor"] == 0 for m in glb.json["materials"])
    assert max(rough.values()) < 1
    assert rough["eye_left"] < rough["face"]


def test_equal_pictures_are_stored_once_and_equal_heads_give_equal_bytes(head: Head) -> None:
    pictures = {"face": b"one", "head": b"two", "eye_left": b"one"}
    data = head_glb("a", head, pictures)
    assert data == head_glb("a", toy_head(), pictures)
    found = Glb(data).json
    assert len(found["images"]) == 2
    of_part = {m["name"]: m["pbrMetallicRoughness"].get("baseColorTexture") for m in found["materials"]}
    assert of_part["face"] == of_part["eye_left"] == {"index": 0}
    assert of_part["head"] == {"index": 1}
    assert of_part["eye_right"] is None


def test_head_without_rig_is_still(head: Head) -> None:
    found = Glb(head_glb("a", replace(head, rig=None), {})).json
    assert "skins" not in found
    assert all("targets" not in mesh["primitives"][0] for mesh in found["meshes"])


@pytest.fixture(scope="module", params=["toy", *READERS])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head's GLB: of the toy, and of the models that are there, on the mean face."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "toy":
        made = toy_head()
    else:
        try:
            model = read_morphable(request.param)
            maker = HeadMaker(model, correspondence_of(model))
        except AssetError as error:
            pytest.skip(str(error))
        completed = CompletedTexture({"colour": toy_texture(1024)}, np.ones((1024, 1024), np.uint8))
        topology = read_topology(asset_path("topology/facemesh.npz"))
        made = maker(TexturedFace(toy_face(topology), topology, completed))
    write_head(folder, "a", made)
    return folder / "a_head.glb"


@pytest.mark.slow
def test_khronos_validator_finds_no_error(written: Path) -> None:
    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "-e", "require('gltf-validator')"], cwd=ROOT, capture_output=True).returncode
    ):
        pytest.skip("needs node and: npm install gltf-validator (elsewhere than here: NODE_PATH)")
    run = subprocess.run([node, "tools/validate_gltf.js", written], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 errors" in run.stdout
    assert written.stat().st_size < 12e6


PAGE = """
<script>%s</script><canvas id="view" width="256" height="256"></canvas><script>
const show = async (data, name) => {
  const gltf = await new Promise((done, failed) => new THREE.GLTFLoader().parse(
    Uint8Array.from(atob(data), c => c.charCodeAt(0)).buffer, "", done, failed));
  const renderer = new THREE.WebGLRenderer({canvas: view, preserveDrawingBuffer: true});
  const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(25, 1, 0.01, 10);
  scene.add(gltf.scene, new THREE.AmbientLight());
  camera.position.set(0, 0, 0.7);
  const meshes = [], bones = [];
  gltf.scene.traverse(o => (o.isSkinnedMesh ? meshes : o.isBone ? bones : []).push(o));
  const moving = meshes.filter(m => name in (m.morphTargetDictionary || {}));
  const frames = [0, 0.5, 1].map(value => {
    for (const mesh of moving) mesh.morphTargetInfluences[mesh.morphTargetDictionary[name]] = value;
    renderer.render(scene, camera);
    const pixels = new Uint8Array(4 * 256 * 256), gl = renderer.getContext();
    gl.readPixels(0, 0, 256, 256, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return Array.from(pixels);
  });
  return {frames, bones: bones.map(b => b.name), moving: moving.map(m => m.name), root: gltf.scene.children[0].name};
};
</script>
"""


@pytest.mark.slow
def test_three_js_plays_a_blink(written: Path) -> None:
    """With the three.js that trimesh brings for its viewer."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("needs Chromium")
    with zipfile.ZipFile(Path(trimesh.__file__).parent / "resources/templates/viewer.zip") as archive:
        template = archive.read("viewer.html.template").decode()
    library = template.partition("<script>")[2].partition("var camera,controls")[0]
    names = Glb(written.read_bytes()).json["meshes"][0]["extras"]["targetNames"]
    name = "eyeBlinkLeft" if "eyeBlinkLeft" in names else names[0]
    flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_path, args=flags)
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.set_content(PAGE % library)
        data = base64.b64encode(written.read_bytes()).decode()
        found = page.evaluate("([data, name]) => show(data, name)", [data, name])
        browser.close()
    assert problems == []
    assert found["root"] == "a"
    assert {"Neck", "Head"} <= set(found["bones"])
    assert "face" in found["moving"] or "head" in found["moving"]
    start, half, end = (np.array(frame).reshape(256, 256, 4)[::-1, :, :3].astype(float) for frame in found["frames"])
    assert np.ptp(start) > 100  # something is drawn
    changed = np.abs(end - start).max(-1) > 8
    assert changed.sum() > 20
    assert np.abs(half - start).sum() < np.abs(end - start).sum()
    if name == "eyeBlinkLeft":  # the head's left eye, on our right, and nothing else
        columns = np.nonzero(changed)[1]
        assert columns.min() > 128


def test_maps_and_optics_are_the_unlit_heads_alone(head: Head) -> None:
    pictures = {part.name: b"picture of " + part.name.encode() for part in head.parts if part.texture is not None}
    before = Glb(head_glb("n", head, pictures)).json
    assert "extensionsUsed" not in before
    skins = {part.name for part in head.parts} & {"face", "head"}
    maps = {"normal": b"n", "orm": b"o", "specular": b"s"}
    made = Glb(head_glb("n", replace(head, unlit=True), pictures, maps)).json
    materials = {material["name"]: material for material in made["materials"]}
    assert {"KHR_materials_ior", "KHR_materials_specular"} <= set(made["extensionsUsed"])
    for name in skins:
        assert materials[name]["extensions"]["KHR_materials_ior"]["ior"] == 1.4
    if "face" in materials:
        face = materials["face"]
        assert face["occlusionTexture"] == face["pbrMetallicRoughness"]["metallicRoughnessTexture"]
        assert face["pbrMetallicRoughness"]["metallicFactor"] == 0
        assert "specularColorTexture" in face["extensions"]["KHR_materials_specular"]
        assert made["images"][face["normalTexture"]["index"]]["mimeType"] == "image/png"
    for name in {"eye_left", "eye_right"} & set(materials):
        assert materials[name]["extensions"]["KHR_materials_clearcoat"]["clearcoatFactor"] == 1
