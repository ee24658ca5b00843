"""What makes a head move at once: expressions from a neutral shape, under ARKit's names, and joints with weights.

A model's own joints are used where it has some. Else neck and head bend where a person's do; the jaw turns as the
expression ``jawOpen`` turns it, and each vertex follows as far as it does there; eyeballs turn about their middles.
"""

from dataclasses import replace

import numpy as np

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import Joints, MorphableModel
from ostec.core.types import EYE_CORNER_DISTANCE_MM, EYE_CORNERS, Array, DoubleArray, FloatArray
from ostec.fit.dense import weighted_similarity
from ostec.fit.morphable import FittedHead
from ostec.heads.parts import Head, Rig
from ostec.heads.texture import eyeball, surface_normals
from ostec.render.geometry import smoothstep

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
_SIDES = ("Left", "Right")
ARKIT = (
    *(f"eye{move}{side}" for side in _SIDES for move in _EYE),
    *("jawForward", "jawLeft", "jawRight", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
    *(f"mouth{move}{side}" for move in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(f"mouth{move}{side}" for move in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""ARKit's 52 blend shapes in Apple's order; left is the head's."""
JAW_OPEN = "jawOpen"
WITH_NORMALS = (JAW_OPEN, "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight")
"""Expressions that turn the surface so far that its normals are stored too."""
NECK_MM, HEAD_MM = (0.0, -165.0, -105.0), (0.0, -40.0, -88.0)
"""Joints at the lowest and the highest vertebra of the neck, from the middle between the outer eye corners."""
TILT = (0.0, 0.844, 0.537)
"""From the plane of throat and nape towards the head."""
BEND_MM = (-170.0, -105.0)
"""Along it, from the same middle: where the skin begins to follow the head, and where it follows it alone."""
LEAST_TURN_DEG = 5.0
"""A ``jawOpen`` that turns the lower teeth less does not say where the joint is."""
STILL_MM = 0.5
"""What would turn about so far from the jaw's axis does not tell how far it follows."""


class Rigger:
    """Rigs the fitted heads of one model; holds what is computed once."""

    def __init__(self, model: MorphableModel, correspondence: Correspondence) -> None:
        """Name the expressions and find the joints."""
        self.model = model
        self.targets, self._mix = _named(model)
        self._offsets = (model.expression @ self._mix).astype(np.float32)
        self.joints = model.joints or _joints(model, correspondence)

    def __call__(self, fitted: FittedHead) -> Rig:
        """How a fitted head moves; with its own values of the expressions it is ``fitted.vertices`` again."""
        joints, triangles = self.joints, self.model.triangles
        turn = (fitted.scale * fitted.rotation.T).astype(np.float32)
        offsets = np.einsum("vik,ij->vjk", self._offsets, turn, optimize=True)
        values = fitted.expression @ (self._mix / np.maximum(self._mix.sum(0), 1))
        neutral = fitted.vertices - offsets @ values
        normals = surface_normals(neutral, triangles)
        turned = {}
        for name in {*WITH_NORMALS} & {*self.targets}:
            moved = neutral + offsets[:, :, self.targets.index(name)]
            turned[name] = surface_normals(moved, triangles) - normals
        # A joint moves from its place on the mean head as do those vertices that bend at it, or else all that follow.
        left = neutral - (self.model.mean @ turn + fitted.offset)
        above = joints.weights[:, np.maximum(joints.parents, 0)] * (joints.parents >= 0)
        bending = joints.weights * above
        share = np.where(bending.sum(0) > 1e-3, bending, joints.weights) + 1e-12
        places = joints.places @ turn + fitted.offset + (share / share.sum(0)).T @ left
        return Rig(
            self.targets,
            values.astype(np.float32),
            neutral,
            normals,
            offsets,
            turned,
            replace(joints, places=places.astype(np.float32)),
        )


def as_neutral(head: Head) -> Head:
    """A head without the photo's expression; what the face showed between open lips is left out."""
    rig = head.rig
    if rig is None:
        return head
    parts = [
        replace(part, vertices=rig.neutral[part.ids], normals=rig.normals[part.ids])
        for part in head.parts
        if part.ids is not None
    ]
    return replace(head, parts=tuple(parts), rig=replace(rig, values=np.zeros_like(rig.values), turns={}))


def _named(model: MorphableModel) -> tuple[tuple[str, ...], FloatArray]:
    """Names of K expressions, and how the model's E ones make them, [E, K]: ARKit's where the model has ``jawOpen``."""
    count = model.expression.shape[2]
    if JAW_OPEN not in model.expression_names:
        named = model.expression_names or tuple(f"expression{k + 1:03}" for k in range(count))
        return named, np.eye(count, dtype=np.float32)
    names = [
        name[:-2] + _SIDES[name.endswith("R")] if name.endswith(("_L", "_R")) else name
        for name in model.expression_names
    ]
    made = {target: [name in (target, *(target + side for side in _SIDES)) for name in names] for target in ARKIT}
    found = {target: which for target, which in made.items() if any(which)}
    return tuple(found), np.array(list(found.values()), np.float32).T


def _joints(model: MorphableModel, correspondence: Correspondence) -> Joints:
    """Joints of a model that brings none."""
    marks = correspondence.points(model.mean)[list(EYE_CORNERS)]
    unit = float(np.linalg.norm(marks[1] - marks[0])) / EYE_CORNER_DISTANCE_MM
    points = (model.mean - marks.mean(0)) / unit  # [V, 3] millimetres from the middle between the eyes
    head = smoothstep(points @ np.array(TILT), *BEND_MM)
    found: list[tuple[str, Array, int, Array]] = [
        ("Neck", np.array(NECK_MM), -1, 1 - head),
        ("Head", np.array(HEAD_MM), 0, head),
    ]
    jaw = _jaw(model, points, unit)
    if jaw is not None:
        place, share = jaw
        found[1] = ("Head", np.array(HEAD_MM), 0, head * (1 - share))
        found.append(("Jaw", place, 1, head * share))
    for name, part in (("LeftEye", "eye_right"), ("RightEye", "eye_left")):  # parts are named by the image's side
        if part in model.parts:
            ids = np.unique(model.triangles[model.parts[part]])
            own = np.isin(np.arange(len(points)), ids)
            found = [(other, place, parent, np.where(own, 0, share)) for other, place, parent, share in found]
            shell = np.setdiff1d(model.parts[part], model.parts.get(part.replace("eye", "iris"), []))
            middle = eyeball(points[np.unique(model.triangles[shell.astype(np.int64)])].astype(np.float32))[0]
            found.append((name, middle, 1, own.astype(float)))
    names, places, parents, weights = zip(*found, strict=True)
    return Joints(
        names,
        (np.array(places) * unit + marks.mean(0)).astype(np.float32),
        np.array(parents, np.int32),
        np.stack(weights, axis=1).astype(np.float32),
    )


def _jaw(model: MorphableModel, points: DoubleArray, unit: float) -> tuple[DoubleArray, DoubleArray] | None:
    """Where the jaw turns, [3], and how far each vertex follows it, [V], both from ``jawOpen``; None without that."""
    if JAW_OPEN not in model.expression_names:
        return None
    moves = model.expression[:, :, model.expression_names.index(JAW_OPEN)] / unit
    far = np.linalg.norm(moves, axis=1)
    weight = (far > 0.8 * far.max()).astype(float)
    if "teeth_lower" in model.parts:
        weight = np.isin(np.arange(len(points)), model.triangles[model.parts["teeth_lower"]]).astype(float)
    _, rotation, _ = weighted_similarity(points, points + moves, weight)
    if np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))) < LEAST_TURN_DEG:
        return None
    # The place that does not move: (1 - R) p = t.
    still = np.eye(3) - rotation
    shift = np.average(points + moves - points @ rotation.T, axis=0, weights=weight)
    place = np.linalg.lstsq(still, shift, rcond=1e-3)[0]
    turning = -(points - place) @ still.T
    share = (moves * turning).sum(1) / ((turning**2).sum(1) + STILL_MM**2)
    return np.asarray(place, np.float64), np.clip(share, 0, 1)
