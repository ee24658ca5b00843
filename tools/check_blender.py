"""Check a head's files in Blender: import OBJ and GLB, count keys and bones, move them, draw pictures to look at.

    blender --background --factory-startup --python tools/check_blender.py -- results/NAME_head.glb OUT

The OBJ beside the GLB is read first. Writes OUT/NAME_head_POSE.png and all of them in OUT/NAME_head.jpg, prints what it
found as JSON, and ends with 1 and a reason where something is missing. For Blender 3.4 and later, as a program or as
the package ``bpy`` of PyPI. ``docs/blender.jpg`` is its picture of the astronaut.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

SIDE, SAMPLES = 480, 16
Turns = dict[str, tuple[float, float, float]]
POSES: dict[str, tuple[float, dict[str, float], Turns]] = {
    "front": (0, {}, {}),
    "45": (45, {}, {}),
    "90": (90, {}, {}),
    "behind": (160, {}, {}),
    "jaw": (25, {"jawOpen": 1}, {}),
    "smile": (25, {"mouthSmileLeft": 1, "mouthSmileRight": 1}, {}),
    "blink": (0, {"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, {}),
    "eyes": (0, {"eyeLookOutLeft": 1, "eyeLookInRight": 1}, {"LeftEye": (0, 25, 0), "RightEye": (0, 25, 0)}),
    "jaw_bone": (25, {}, {"Jaw": (20, 0, 0)}),
    "neck": (25, {}, {"Neck": (0, -10, 10), "Head": (-15, -20, 0)}),
}
"""Where the camera stands in degrees, values of keys, and turns of bones in degrees about the head's x, y and z."""
LEAST_MM = 1.0
"""A pose moves something so far at least."""
TO_BLENDER = Matrix(((1, 0, 0), (0, 0, -1), (0, 1, 0)))
"""From glTF's axes, y up."""


def main() -> int:
    """Check one head."""
    path, out = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :])
    found: dict[str, Any] = {"blender": bpy.app.version_string, "obj": read_obj(path.with_suffix(".obj"))}
    bpy.ops.wm.read_factory_settings(use_empty=True)
    vars(np).setdefault("bool", bool)  # which the importer of Blender 3.4 expects of older versions
    bpy.ops.import_scene.gltf(filepath=str(path))
    rig = next((o for o in bpy.data.objects if o.type == "ARMATURE"), None)
    keys = {o.name: [k.name for k in o.data.shape_keys.key_blocks[1:]] for o in meshes() if o.data.shape_keys}
    found["keys"] = {name: len(names) for name, names in keys.items()}
    found["bones"] = [bone.name for bone in rig.data.bones] if rig is not None else []
    found["root"] = rig.name if rig is not None else None
    points = positions()
    found["height_m"] = round(float(np.ptp(points[:, 2])), 3)
    problems = [] if rig is not None else ["there is no armature"]
    if len({tuple(names) for names in keys.values()}) != 1:
        problems.append("no part has keys, or they are not the same in all parts that have some")
    camera = set_stage()
    at_rest = {k.name: k.value for o in meshes() if o.data.shape_keys for k in o.data.shape_keys.key_blocks[1:]}
    for name, (angle, values, turns) in POSES.items():
        pose(rig, {**(dict.fromkeys(at_rest, 0.0) if values else at_rest), **values}, turns)
        if values or turns:
            moved = float(np.abs(positions() - points).max()) * 1000
            found[f"{name}_mm"] = round(moved, 1)
            problems += [f"the pose {name} moves nothing"] if moved < LEAST_MM else []
        draw(camera, points, angle, out / f"{path.stem}_{name}.png")
    join([out / f"{path.stem}_{name}.png" for name in POSES], out / f"{path.stem}.jpg")
    print(json.dumps(found, indent=1))
    for problem in problems:
        print(f"check_blender: {problem}", file=sys.stderr)
    return int(bool(problems))


def read_obj(path: Path) -> dict[str, int]:
    """How many parts, quads and other polygons an OBJ has."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.obj_import(filepath=str(path))
    sides = [len(polygon.vertices) for o in meshes() for polygon in o.data.polygons]
    return {"parts": len(meshes()), "quads": sides.count(4), "others": len(sides) - sides.count(4)}


def meshes() -> list[Any]:
    """The meshes of the scene, but for the shapes of bones that Blender adds."""
    own = [o for o in bpy.context.scene.objects if o.type == "MESH"]
    return [o for o in own if all(folder.name != "glTF_not_exported" for folder in o.users_collection)]


def positions() -> Any:
    """[V, 3]: all vertices as they are now, in metres."""
    graph = bpy.context.evaluated_depsgraph_get()
    found = []
    for one in meshes():
        mesh = one.evaluated_get(graph).to_mesh()
        flat = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", flat)
        found.append(
            flat.reshape(-1, 3) @ np.array(one.matrix_world.to_3x3()).T + np.array(one.matrix_world.translation)
        )
    return np.concatenate(found)


def pose(rig: Any, values: dict[str, float], turns: Turns) -> None:
    """Set keys of all parts, and bones: those not named are not turned."""
    for one in meshes():
        if one.data.shape_keys:
            for key in one.data.shape_keys.key_blocks[1:]:
                key.value = values.get(key.name, 0.0)
    for bone in rig.pose.bones if rig is not None else ():
        turn = Matrix.Identity(3)
        for axis, degrees in zip("XYZ", turns.get(bone.name, (0, 0, 0)), strict=True):
            turn = Matrix.Rotation(math.radians(degrees), 3, axis) @ turn
        rest = bone.bone.matrix_local.to_3x3()
        bone.rotation_mode = "QUATERNION"
        bone.rotation_quaternion = (rest.inverted() @ TO_BLENDER @ turn @ TO_BLENDER.inverted() @ rest).to_quaternion()
    bpy.context.view_layer.update()


def set_stage() -> Any:
    """Light, picture and camera; returns the camera."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", SAMPLES, "CPU"
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = SIDE
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new("world")
    if world.node_tree is None:  # Blender before 5
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.75, 0.75, 0.78, 1)
    scene.world = world
    lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "SUN"))
    lamp.data.energy, lamp.rotation_euler = 1.5, (math.radians(50), 0, math.radians(-30))
    scene.collection.objects.link(lamp)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens, camera.data.clip_start = 85, 0.01
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def draw(camera: Any, points: Any, angle: float, path: Path) -> None:
    """A picture from the side, so many degrees towards the head's left."""
    middle = Vector(((points.min(0) + points.max(0)) / 2).tolist())
    away = 2.4 * float(np.ptp(points[:, 2]))
    turned = math.radians(angle)
    camera.location = middle + away * Vector((math.sin(turned), -math.cos(turned), 0.05))
    camera.rotation_euler = (middle - camera.location).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def join(paths: list[Path], sheet: Path) -> None:
    """One picture of all, in two rows, half as large."""
    pictures = []
    for path in paths:
        flat = np.empty(4 * SIDE * SIDE, np.float32)
        bpy.data.images.load(str(path)).pixels.foreach_get(flat)
        pictures.append(flat.reshape(SIDE // 2, 2, SIDE // 2, 2, 4).mean((1, 3)))  # from the bottom row
    half = len(pictures) // 2
    whole = np.vstack([np.hstack(pictures[half:]), np.hstack(pictures[:half])])
    made = bpy.data.images.new("sheet", whole.shape[1], whole.shape[0])
    made.pixels.foreach_set(whole.ravel())
    made.filepath_raw, made.file_format = str(sheet), "JPEG"
    made.save()


if __name__ == "__main__":
    sys.exit(main())
