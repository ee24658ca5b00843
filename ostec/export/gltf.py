"""A head -> glTF 2.0 in one file (GLB): parts with materials, expressions as morph targets, joints with a skin.

One node of the head's name holds all; lengths are metres, axes glTF's, which are ours. Expressions are sparse: of each
only the vertices that move are stored. Equal heads give equal bytes.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from ostec import __version__
from ostec.core.types import FloatArray
from ostec.heads.parts import Head, HeadPart, Rig
from ostec.render.colour import to_linear

METRES_PER_MILLIMETRE = 0.001
STILL_MM, STILL_NORMAL = 0.02, 0.01
"""What moves or turns less by an expression stays as it is."""
INFLUENCES = 4
"""Joints that a vertex follows at most, as engines expect."""
_TYPES = {np.dtype(np.uint8): 5121, np.dtype(np.uint16): 5123, np.dtype(np.uint32): 5125, np.dtype(np.float32): 5126}
_VERTICES, _INDICES = 34962, 34963
_SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
"""Linear, with mipmaps, the edge repeated."""
Json = dict[str, Any]


SKIN_PARTS, EYE_PARTS = ("face", "head"), ("eye_left", "eye_right")
SKIN_IOR, EYE_IOR = 1.4, 1.376
"""Refraction of skin (F0 0.028) and of the cornea."""


def head_glb(name: str, head: Head, pictures: Mapping[str, bytes], maps: Mapping[str, bytes] | None = None) -> bytes:
    """The file of one head.

    Args:
        name: of the node that holds all.
        head: at rest without its expression, which it shows by its default weights.
        pictures: PNG of each textured part; equal ones are stored once.
        maps: PNG of the face's ``normal``, ``orm`` and ``specular`` (F0 as an sRGB colour), if it has them.
    """
    maps = maps or {}
    binary, images = _Binary(), dict.fromkeys([*pictures.values(), *maps.values()])
    meshes: list[Json] = []
    materials: list[Json] = []
    nodes: list[Json] = [{"name": name}]
    skin = 0 if head.rig is not None else None
    for k, part in enumerate(head.parts):
        picture = list(images).index(pictures[part.name]) if part.name in pictures else None
        own = {kind: list(images).index(data) for kind, data in maps.items() if part.name == SKIN_PARTS[0]}
        materials.append(_material(part, picture, own, head.unlit))
        meshes.append(_mesh(binary, part, head.rig) | {"name": part.name})
        meshes[-1]["primitives"][0]["material"] = k
        nodes.append({"name": part.name, "mesh": k} | ({} if skin is None else {"skin": skin}))
    children = list(range(1, len(nodes)))
    document: Json = {
        "asset": {"version": "2.0", "generator": f"ostec {__version__}", "copyright": head.licence},
        "scene": 0,
        "scenes": [{"nodes": [0], "extras": {"model": head.model, "licence": head.licence}}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
    }
    extensions = {name for material in materials for name in material.get("extensions", ())}
    if extensions:
        document["extensionsUsed"] = sorted(extensions)
    if head.rig is not None:
        document["skins"] = [_skin(binary, head.rig, len(nodes))]
        children.append(len(nodes))
        nodes += _joints(head.rig, len(nodes))
    nodes[0]["children"] = children
    if images:
        document["images"] = [{"bufferView": binary.view(data), "mimeType": "image/png"} for data in images]
        document["samplers"] = [_SAMPLER]
        document["textures"] = [{"sampler": 0, "source": k} for k in range(len(images))]
    return binary.packed(document)


class _Binary:
    """The file's numbers, and the tables that say where they are."""

    def __init__(self) -> None:
        self.data, self.views, self.accessors = bytearray(), list[Json](), list[Json]()

    def view(self, content: bytes, target: int | None = None) -> int:
        """Add bytes; returns the number of their view."""
        self.data += bytes(-len(self.data) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)})
        if target is not None:
            self.views[-1]["target"] = target
        self.data += content
        return len(self.views) - 1

    def add(self, values: npt.NDArray[Any], kind: str, target: int | None = None, **more: Any) -> int:
        """Add the rows of an array; returns the number of their accessor."""
        view = self.view(np.ascontiguousarray(values).tobytes(), target)
        about = {"bufferView": view, "componentType": _TYPES[values.dtype], "count": len(values), "type": kind}
        self.accessors.append(about | more)
        return len(self.accessors) - 1

    def sparse(self, values: FloatArray, least: float) -> int:
        """Add rows [V, 3] of which those no longer than ``least`` are stored as zero."""
        rows = np.flatnonzero(np.linalg.norm(values, axis=1) > least)
        kept = values[rows] if len(rows) else np.zeros((1, 3), np.float32)
        rows = (rows if len(rows) else np.zeros(1)).astype(np.uint16 if len(values) <= 1 << 16 else np.uint32)
        about = {"componentType": 5126, "count": len(values), "type": "VEC3"}
        bounds = np.concatenate([kept, np.zeros((int(len(kept) < len(values)), 3), np.float32)])
        places = {"bufferView": self.view(rows.tobytes()), "componentType": _TYPES[rows.dtype]}
        stored = {"bufferView": self.view(np.ascontiguousarray(kept).tobytes())}
        self.accessors.append(
            about | _bounds(bounds) | {"sparse": {"count": len(rows), "indices": places, "values": stored}}
        )
        return len(self.accessors) - 1

    def packed(self, document: Json) -> bytes:
        """The whole file."""
        document |= {"accessors": self.accessors, "bufferViews": self.views}
        document["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(document, separators=(",", ":")).encode()
        chunks = (b"JSON", text + b" " * (-len(text) % 4)), (b"BIN\0", bytes(self.data) + bytes(-len(self.data) % 4))
        body = b"".join(struct.pack("<I4s", len(content), kind) + content for kind, content in chunks)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _bounds(values: FloatArray) -> Json:
    return {"min": values.min(0).tolist(), "max": values.max(0).tolist()}


def _mesh(binary: _Binary, part: HeadPart, rig: Rig | None) -> Json:
    """A part's mesh, without its material; what the rig does not know is still."""
    vertices, normals = part.vertices, part.normals
    if rig is not None and part.ids is not None:
        vertices, normals = rig.neutral[part.ids], rig.normals[part.ids]
    points = (vertices * METRES_PER_MILLIMETRE).astype(np.float32)
    attributes = {
        "POSITION": binary.add(points, "VEC3", _VERTICES, **_bounds(points)),
        "NORMAL": binary.add(normals.astype(np.float32), "VEC3", _VERTICES),
    }
    if len(part.uv):
        uv = np.stack([part.uv[:, 0], 1 - part.uv[:, 1]], axis=1).astype(np.float32)
        attributes["TEXCOORD_0"] = binary.add(uv, "VEC2", _VERTICES)
    if part.vertex_colours is not None:
        light = np.rint(255 * to_linear(np.c_[part.vertex_colours, np.ones(len(points))])).astype(np.uint8)
        attributes["COLOR_0"] = binary.add(light, "VEC4", _VERTICES, normalized=True)
    if rig is not None:
        joints, weights = _influences(part, rig)
        attributes |= {
            "JOINTS_0": binary.add(joints, "VEC4", _VERTICES),
            "WEIGHTS_0": binary.add(weights, "VEC4", _VERTICES),
        }
    corners = part.triangles.ravel().astype(np.uint16 if len(points) < 1 << 16 else np.uint32)
    primitive: Json = {"attributes": attributes, "indices": binary.add(corners, "SCALAR", _INDICES)}
    mesh: Json = {"primitives": [primitive]}
    if rig is not None and part.ids is not None:
        offsets = rig.offsets[part.ids]  # [V, 3, K]
        if offsets.size and np.linalg.norm(offsets, axis=1).max() > STILL_MM:
            primitive["targets"] = _targets(binary, rig, part, offsets)
            mesh |= {"weights": rig.values.tolist(), "extras": {"targetNames": list(rig.targets)}}
    return mesh


def _targets(binary: _Binary, rig: Rig, part: HeadPart, offsets: FloatArray) -> list[Json]:
    """The expressions of one part; all have the same attributes, so those that turn little a change of zero."""
    found = []
    for k, name in enumerate(rig.targets):
        moved = offsets[:, :, k] * METRES_PER_MILLIMETRE
        found.append({"POSITION": binary.sparse(moved, STILL_MM * METRES_PER_MILLIMETRE)})
        if rig.turned:
            turned = rig.turned[name][part.ids] if name in rig.turned else np.zeros_like(moved)
            found[-1]["NORMAL"] = binary.sparse(turned, STILL_NORMAL)
    return found


def _influences(part: HeadPart, rig: Rig) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """[V, 4] joints and [V, 4] weights; what is not the model's follows the head, or the only joint."""
    if part.ids is None:
        names = rig.joints.names
        weights = np.zeros((len(part.vertices), len(names)))
        weights[:, names.index("Head") if "Head" in names else 0] = 1
    else:
        weights = rig.joints.weights[part.ids].astype(np.float64)
    order: npt.NDArray[Any] = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    kept = np.asarray(np.take_along_axis(weights, order, axis=1), np.float64)
    shares = np.pad(kept / kept.sum(1, keepdims=True), ((0, 0), (0, INFLUENCES - kept.shape[1]))).astype(np.float32)
    order = np.pad(order, ((0, 0), (0, INFLUENCES - order.shape[1])))
    return np.where(shares > 0, order, 0).astype(np.uint8), shares


def _skin(binary: _Binary, rig: Rig, first: int) -> Json:
    """The skin whose joints are the nodes from ``first`` on."""
    count = len(rig.joints.names)
    inverse = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))  # glTF stores columns: the last row moves
    inverse[:, 3, :3] = -rig.joints.places * METRES_PER_MILLIMETRE
    matrices = binary.add(inverse.reshape(count, 16), "MAT4")
    return {"inverseBindMatrices": matrices, "skeleton": first, "joints": list(range(first, first + count))}


def _joints(rig: Rig, first: int) -> list[Json]:
    """The joints' nodes, each where it is from the one that it hangs on."""
    places, parents = rig.joints.places * METRES_PER_MILLIMETRE, rig.joints.parents
    found: list[Json] = []
    for k, name in enumerate(rig.joints.names):
        place = places[k] - (places[parents[k]] if parents[k] >= 0 else 0)
        children = [first + int(child) for child in np.flatnonzero(parents == k)]
        found.append({"name": name, "translation": place.tolist()} | ({"children": children} if children else {}))
        if name in rig.turns:
            found[-1]["rotation"] = Rotation.from_matrix(rig.turns[name]).as_quat().tolist()
    return found


def _material(part: HeadPart, picture: int | None, maps: Mapping[str, int], unlit: bool) -> Json:
    """A part's material; with ``maps``, the numbers of textures by kind, and the optics of skin and eyes if unlit."""
    looks: Json = {"metallicFactor": 0.0, "roughnessFactor": part.roughness}
    looks["baseColorFactor"] = [*to_linear(np.array(part.colour)).tolist(), 1.0]
    if picture is not None:
        looks["baseColorTexture"] = {"index": picture}
    material: Json = {"name": part.name, "pbrMetallicRoughness": looks}
    if "orm" in maps:
        looks |= {"roughnessFactor": 1.0, "metallicRoughnessTexture": {"index": maps["orm"]}}
        material["occlusionTexture"] = {"index": maps["orm"]}
    if "normal" in maps:
        material["normalTexture"] = {"index": maps["normal"]}
    if unlit and part.name in SKIN_PARTS:
        colour = {"specularColorTexture": {"index": maps["specular"]}} if "specular" in maps else {}
        specular = {"specularFactor": 1.0, **colour}
        material["extensions"] = {"KHR_materials_ior": {"ior": SKIN_IOR}, "KHR_materials_specular": specular}
    if unlit and part.name in EYE_PARTS:
        coat = {"clearcoatFactor": 1.0, "clearcoatRoughnessFactor": 0.03}
        material["extensions"] = {"KHR_materials_ior": {"ior": EYE_IOR}, "KHR_materials_clearcoat": coat}
    return material
