"""A rigged head packed small for the page: what ``NAME_head.glb`` has, as ``templates/viewer.js`` reads it.

Numbers become 16-bit steps of about 0.01 mm, textures JPEGs, and all is compressed by gzip, which browsers undo by
themselves. Equal heads give equal text.
"""

import base64
import gzip
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ostec.core.types import Array, FittedFace, FloatArray, IntArray, TexturedFace
from ostec.export.gltf import STILL_MM
from ostec.export.mesh import face_part, provenance_name, provenance_palette
from ostec.export.templates import data_url, render
from ostec.heads.parts import JAW_OPEN, OUTSIDE, Head, HeadPart, Rig
from ostec.io.images import at_most, encode_jpeg, encode_png

TEXTURE_SIDE, PICTURE_SIDE, PHOTO_SIDE = 1024, 560, 720
"""Longer sides of what is embedded: textures, pictures (twice what the grid shows, for dense screens), the photo."""
JPEG_QUALITY = 88
_AROUND, _BELOW_MM = 0.62, 20.0
"""Half the side of the photo's square over the longer side of the head in it, which ends so far below the chin."""
_REST = (158, 158, 158)
"""8-bit RGB of what is no part of the face's texture where the page shows its provenance."""
_OF_PHOTO = "photo"
"""Name of the one expression of a model whose own have no names."""
_SIDES = ("Left", "Right")
Json = dict[str, Any]


@dataclass(frozen=True)
class Slider:
    """What one slider of the page moves, from 0 to 1, or from -1 to 1 where there is a way back."""

    label: str
    there: tuple[str, ...] = ()
    """Expressions of its positive values."""
    back: tuple[str, ...] = ()
    """Expressions of its negative values."""
    joints: tuple[str, ...] = ()
    axis: int = 0
    turn_deg: float = 0.0
    """By which its joints turn about their x or y axis at 1."""


def _both(name: str) -> tuple[str, ...]:
    return tuple(name + side for side in _SIDES)


_EYES = ("LeftEye", "RightEye")
SLIDERS = (
    Slider("Jaw open", (JAW_OPEN,)),
    Slider("Smile", _both("mouthSmile")),
    Slider("Frown", _both("mouthFrown")),
    Slider("Pucker", ("mouthPucker",)),
    Slider("Cheeks puffed", ("cheekPuff",)),
    Slider("Blink", _both("eyeBlink")),
    Slider("Eyes wide", _both("eyeWide")),
    Slider("Inner brows up", ("browInnerUp",)),
    Slider("Brows down", _both("browDown")),
    Slider("Expression of the photo", (_OF_PHOTO,)),
    Slider(
        "Eyes left, right", ("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookInLeft", "eyeLookOutRight"), _EYES, 1, 25
    ),
    Slider("Eyes down, up", _both("eyeLookUp"), _both("eyeLookDown"), _EYES, 0, -20),
    Slider("Head left, right", joints=("Neck", "Head"), axis=1, turn_deg=20),
    Slider("Head down, up", joints=("Neck", "Head"), axis=0, turn_deg=-10),
)
"""Left and right are the viewer's."""


MODES = {
    "light": "Light",
    "wireframe": "Wireframe",
    "provenance": "Provenance",
    "compare": "Compare with the photo",
    "turn": "Turn",
}
"""What the page's buttons turn on and off; their keys are the first letters."""


class _Block:
    """Arrays one after the other, and where each is."""

    def __init__(self) -> None:
        self.data, self.places = bytearray(), dict[str, tuple[str, int, int]]()

    def add(self, name: str, values: Array, kind: Any) -> None:
        """Add an array under the name by which the script asks for it, its values in rows of equal meaning."""
        stored = np.ascontiguousarray(values, kind)
        self.data += bytes(-len(self.data) % 4)
        self.places[name] = (stored.dtype.name, len(self.data), stored.size)
        self.data += stored.tobytes()


def viewer_values(result: TexturedFace, head: Head | None = None, photo: FloatArray | None = None) -> Json:
    """What ``viewer.html.j2`` shows: the head, or the face alone where there is none.

    Args:
        result: the face; its texture and where that came from.
        head: made with it.
        photo: [H, W, 3] in [0, 1], to be compared with.
    """
    completed = result.completed
    parts = [face_part(result.face, result.topology, completed.colour)] if head is None else list(head.parts)
    rig = None if head is None else head.rig
    pictures = {part.name: part.texture for part in parts if part.texture is not None}
    of_face = head is None or head.shares_texture
    block = _Block()
    about = _geometry(block, parts, rig)
    about["sliders"] = [asdict(slider) for slider in SLIDERS if _moves(slider, about)]
    outside = np.concatenate([part.vertices for part in parts if part.name in OUTSIDE])
    outside = outside[outside[:, 1] >= result.face.vertices[:, 1].min() - _BELOW_MM]  # without neck and shoulders
    about["low"], about["high"] = (np.round(end(0).astype(float), 2).tolist() for end in (outside.min, outside.max))
    compared = None
    if photo is not None:
        compared, about["photo"] = _compared(photo, result.face, outside)
    about["arrays"] = block.places
    about["rest"] = _REST
    palette = provenance_palette(int(completed.provenance.max()))
    step = max(1, -(-max(completed.provenance.shape) // PICTURE_SIDE))
    origins = palette[completed.provenance[::step, ::step]].astype(np.float32) / np.float32(255)
    pictures_of = {name: jpeg_url(at_most(picture, TEXTURE_SIDE)) for name, picture in pictures.items()}
    shown = {"light": True, "wireframe": True, "provenance": of_face, "compare": photo is not None, "turn": True}
    return {
        "about": about,
        "data": base64.b64encode(gzip.compress(bytes(block.data), 6, mtime=0)).decode("ascii"),
        "pictures": pictures_of | {"origins": data_url("png", encode_png(origins))},
        "sources": [
            (provenance_name(value), palette[value].tolist()) for value in np.unique(completed.provenance).tolist()
        ],
        "modes": [(mode, mode[0].upper(), label) for mode, label in MODES.items() if shown[mode]],
        "photo": compared,
    }


def viewer_page(result: TexturedFace, head: Head | None = None, photo: FloatArray | None = None) -> str:
    """An HTML document that shows the head, or the face alone, in 3D; it needs no network. Arguments as above."""
    return render("alone.html.j2", title="Head in 3D", viewer=viewer_values(result, head, photo)).decode()


def jpeg_url(picture: FloatArray) -> str:
    """A picture [H, W, 3] in [0, 1] as a ``data:`` URL."""
    return data_url("jpeg", encode_jpeg(picture, JPEG_QUALITY))


def _geometry(block: _Block, parts: list[HeadPart], rig: Rig | None) -> Json:
    """Pack all parts' shapes as one, of P points without seams and V vertices with texture coordinates."""
    ids = [part.ids for part in parts if rig is not None and part.ids is not None]
    used = np.unique(np.concatenate(ids)) if ids else np.empty(0, np.int32)
    points = [np.empty((0, 3), np.float32) if rig is None else rig.neutral[used]]
    point_of, count = [], len(used)
    for part in parts:
        if rig is not None and part.ids is not None:
            point_of.append(np.searchsorted(used, part.ids))
            continue
        point_of.append(count + np.arange(len(part.vertices)))
        points.append(part.vertices)
        count += len(part.vertices)
    shape = np.concatenate(points)
    targets = [] if rig is None else _targets(rig, used)
    step = max([np.abs(shape).max(), *(np.abs(moved).max(initial=0) for _, _, moved in targets)]) / 32767
    block.add("points", np.rint(shape.T / step), np.int16)
    block.add("point", np.diff(np.concatenate(point_of), prepend=0), np.int32)
    _add_targets(block, [moved for _, _, moved in targets], step)
    joints = [] if rig is None else _joints(block, rig, used, len(shape))
    return {
        "step": float(step),
        "parts": _surfaces(block, parts),
        "targets": [{"name": name, "value": round(value, 4)} for name, value, _ in targets],
        "joints": joints,
    }


def _targets(rig: Rig, used: IntArray) -> list[tuple[str, float, FloatArray]]:
    """Name, value and offsets [P, 3] of the expressions: ARKit's, or all that the photo shows as one."""
    offsets = rig.offsets[used]
    if JAW_OPEN in rig.targets:
        return [(name, float(rig.values[k]), offsets[:, :, k]) for k, name in enumerate(rig.targets)]
    return [(_OF_PHOTO, 1.0, offsets @ rig.values)]


def _add_targets(block: _Block, targets: list[FloatArray], step: float) -> None:
    """Of each only the points that move are stored; their numbers as differences, the offsets by axis."""
    rows = [np.flatnonzero(np.linalg.norm(moved, axis=1) > STILL_MM) for moved in targets]
    none = np.empty(0, np.int32)
    block.add("moved", np.array([len(own) for own in rows]), np.int32)
    block.add("rows", np.concatenate([none, *(np.diff(own, prepend=0) for own in rows)]), np.int32)
    kept = [np.rint(moved[own].T / step).ravel() for moved, own in zip(targets, rows, strict=True)]
    block.add("offsets", np.concatenate([none, *kept]), np.int16)


def _joints(block: _Block, rig: Rig, used: IntArray, count: int) -> list[Json]:
    """Pack how much each of ``count`` points follows each joint; what is not the model's follows the head."""
    names = rig.joints.names
    weights = np.zeros((len(names), count))
    weights[:, : len(used)] = rig.joints.weights[used].T
    weights[names.index("Head") if "Head" in names else 0, len(used) :] = 1
    block.add("weights", np.rint(255 * weights), np.uint8)
    places, parents = np.round(rig.joints.places.astype(float), 3).tolist(), rig.joints.parents.tolist()
    turned = {name: np.round(turn.T.ravel(), 6).tolist() for name, turn in rig.turns.items()}
    return [
        {"name": name, "place": place, "parent": parent, "turn": turned.get(name)}
        for name, place, parent in zip(names, places, parents, strict=True)
    ]


def _surfaces(block: _Block, parts: list[HeadPart]) -> list[Json]:
    """Pack the parts' triangles, texture coordinates and colours."""
    found: list[Json] = []
    corners, first = [], 0
    for part in parts:
        about = {"name": part.name, "corners": part.triangles.size, "roughness": part.roughness}
        found.append(about | {"colour": list(part.colour)})
        corners.append(part.triangles.ravel() + first)
        first += len(part.vertices)
    block.add("corners", np.diff(np.concatenate(corners), prepend=0), np.int32)
    polygons = [np.arange(len(p.triangles)) if p.polygons is None else p.polygons for p in parts]
    block.add("fan", np.concatenate([np.diff(own, prepend=-1) == 0 for own in polygons]), np.uint8)
    flat = np.concatenate([part.uv if len(part.uv) else np.zeros((len(part.vertices), 2)) for part in parts])
    block.add("uv", np.rint(65535 * np.stack([flat[:, 0], 1 - flat[:, 1]], axis=1)), np.uint16)  # pictures begin on top
    if any(part.vertex_colours is not None for part in parts):
        tints = [np.ones_like(p.vertices) if p.vertex_colours is None else p.vertex_colours for p in parts]
        block.add("tints", np.rint(255 * np.concatenate(tints)), np.uint8)
    return found


def _moves(slider: Slider, about: Json) -> bool:
    """Whether a head has what a slider moves."""
    targets, joints = ({one["name"] for one in about[key]} for key in ("targets", "joints"))
    return not targets.isdisjoint(slider.there + slider.back) or not joints.isdisjoint(slider.joints)


def _compared(photo: FloatArray, face: FittedFace, outside: FloatArray) -> tuple[Json, Json]:
    """The photo round points of the head [N, 3], where it lies in the view, and its camera for a view from -1 to 1."""
    camera = face.camera_matrix
    pixels = outside @ camera[:2, :3].T + camera[:2, 3]
    low, high = pixels.min(0), pixels.max(0)
    half = _AROUND * float((high - low).max())
    corner = (low + high) / 2 - half
    size = np.array([photo.shape[1], photo.shape[0]])
    start, end = np.clip(np.rint([corner, corner + 2 * half]), 0, size).astype(int)
    start = np.minimum(start, size - 1)
    end = np.maximum(end, start + 1)
    left, top = 100 * (start - corner) / (2 * half)
    width, height = 100 * (end - start) / (2 * half)
    shown = at_most(photo[start[1] : end[1], start[0] : end[0]], PHOTO_SIDE)
    place = f"left: {left:.3f}%; top: {top:.3f}%; width: {width:.3f}%; height: {height:.3f}%"
    rows = np.array([camera[0], -camera[1], face.scale * np.array([*face.rotation[2], 0.0])]) / half
    rows[0, 3] -= (corner[0] + half) / half
    rows[1, 3] += (corner[1] + half) / half
    view = {"matrix": np.round(rows, 7).tolist(), "rotation": np.round(face.rotation, 7).tolist()}
    return {"source": jpeg_url(shown), "place": place}, view
