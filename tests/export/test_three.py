"""The head's GLB in today's three.js from npm, in Chromium: it loads without a complaint and an animation blinks."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostec.core.assets import asset_path
from ostec.core.types import CompletedTexture, TexturedFace
from ostec.export.head import write_head
from ostec.heads.maker import HeadMaker
from ostec.heads.rig import ARKIT
from ostec.load.correspondence import correspondence_of
from ostec.load.morphable.read import read_morphable
from ostec.load.topology import read_topology
from tests.browser import chromium
from tests.toy import toy_face, toy_texture

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "http://three.test/"
"""Modules are not loaded from files; what is asked for here is read from disk, and nothing is sent."""
PAGE = """<!DOCTYPE html><link rel="icon" href="data:,"><canvas id="view" width="384" height="384"></canvas>
<script type="importmap">{"imports": {"three": "/three/build/three.module.js", "three/addons/": "/three/examples/jsm/"}}
</script><script type="module">
import * as THREE from "three";
import {GLTFLoader} from "three/addons/loaders/GLTFLoader.js";
const gltf = await new GLTFLoader().loadAsync("/head.glb");
const renderer = new THREE.WebGLRenderer({canvas: view, preserveDrawingBuffer: true});
const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(25, 1, 0.01, 10);
scene.add(gltf.scene, new THREE.AmbientLight(0xffffff, 3));
camera.position.set(0, 0, 0.75);
const meshes = [], bones = [];
gltf.scene.traverse((node) => (node.isSkinnedMesh ? meshes : node.isBone ? bones : []).push(node));
const moving = meshes.filter((mesh) => mesh.morphTargetDictionary);
const tracks = moving.flatMap((mesh) => ["eyeBlinkLeft", "eyeBlinkRight"].map((name) => new THREE.NumberKeyframeTrack(
  `${mesh.uuid}.morphTargetInfluences[${mesh.morphTargetDictionary[name]}]`, [0, 0.5, 1], [0, 1, 0])));
const mixer = new THREE.AnimationMixer(gltf.scene);
mixer.clipAction(new THREE.AnimationClip("blink", 1, tracks)).play();
window.at = (seconds) => {
  mixer.setTime(seconds);
  renderer.render(scene, camera);
};
window.found = {
  targets: Object.fromEntries(moving.map((mesh) => [mesh.name, Object.keys(mesh.morphTargetDictionary)])),
  bones: bones.map((bone) => bone.name), root: gltf.scene.children[0].name, version: THREE.REVISION,
};
</script>"""


def three_folder() -> Path:
    """Where npm put three.js; skips the test where it is not."""
    folders = [*filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)), str(ROOT / "node_modules")]
    for folder in folders:
        if (Path(folder) / "three/build/three.module.js").is_file():
            return Path(folder) / "three"
    pytest.skip("needs: npm install three (elsewhere than here: NODE_PATH)")


@pytest.fixture(scope="module")
def glb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head that ships, with the mean face; the shapes that its face shows at rest are all 0."""
    folder = tmp_path_factory.mktemp("head")
    model = read_morphable("head")
    topology = read_topology(asset_path("topology/facemesh.npz"))
    completed = CompletedTexture({"colour": toy_texture(1024)}, np.ones((1024, 1024), np.uint8))
    textured = TexturedFace(toy_face(topology), topology, completed)
    write_head(folder, "a", HeadMaker(model, correspondence_of(model))(textured))
    return folder / "a_head.glb"


@pytest.mark.slow
def test_three_js_plays_an_animated_blink(glb: Path) -> None:
    three = three_folder()

    def answer(route: Any) -> None:
        asked = route.request.url.removeprefix(ORIGIN)
        file = {"": None, "head.glb": glb}.get(asked, three.parent / asked)
        if file is None:
            route.fulfill(body=PAGE, content_type="text/html")
        else:
            kind = "text/javascript" if file.suffix == ".js" else "model/gltf-binary"
            route.fulfill(body=file.read_bytes(), content_type=kind)

    with chromium() as program, program.open() as browser:
        page = browser.page
        page.route("**/*", lambda route: answer(route) if route.request.url.startswith(ORIGIN) else route.continue_())
        page.goto(ORIGIN)
        page.wait_for_function("window.found")
        found = page.evaluate("window.found")
        frames = []
        for seconds in (0.0, 0.25, 0.5, 0.75):
            page.evaluate("seconds => window.at(seconds)", seconds)
            frames.append(browser.picture("#view"))
        assert browser.problems == []
    assert found["root"] == "a"
    assert {"Neck", "Head", "Jaw", "LeftEye", "RightEye"} <= set(found["bones"])
    assert {"face", "head"} <= set(found["targets"])
    assert all(tuple(names) == ARKIT for names in found["targets"].values())
    opened, half, closed, again = frames
    assert np.ptp(opened) > 100  # something is drawn
    rows, columns = np.nonzero(np.abs(closed - opened).max(-1) > 8)
    assert len(rows) > 100
    assert rows.max() - rows.min() < 0.25 * len(opened)  # the lids alone ...
    assert columns.min() < len(opened) / 2 < columns.max()  # ... of both eyes
    assert 0.1 < np.abs(half - opened).sum() / np.abs(closed - opened).sum() < 0.95
    assert np.abs(again - half).mean() < 0.2  # and they open as they closed
