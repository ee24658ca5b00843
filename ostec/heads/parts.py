"""A full head in parts, as the exporters need it."""

from dataclasses import dataclass, field

from ostec.core.morphable import Joints
from ostec.core.types import DoubleArray, FloatArray, IntArray

OUTSIDE = ("face", "head", "eye_left", "eye_right")
"""Parts of a full head that are seen from outside."""
JAW_OPEN = "jawOpen"
"""Of ARKit's expressions, the one that moves the jaw's joint."""


@dataclass(frozen=True)
class HeadPart:
    """One named piece of a head with one material; V vertices, split along the seams of the chart."""

    name: str
    vertices: FloatArray
    """[V, 3] canonical millimetres."""
    normals: FloatArray
    """[V, 3] unit; equal on both sides of a seam."""
    triangles: IntArray
    """[F, 3], counter-clockwise seen from outside."""
    uv: FloatArray
    """[V, 2] within [0, 1], v up; [0, 2] where the model has no layout."""
    colour: tuple[float, float, float]
    """RGB in [0, 1] (sRGB) of the whole part; white where there is a texture."""
    roughness: float = 1.0
    """0 (mirror) to 1 (dull)."""
    texture: FloatArray | None = None
    """[S, S, 3] in [0, 1], or None."""
    vertex_colours: FloatArray | None = None
    """[V, 3] RGB in [0, 1] (sRGB), times ``colour``: in place of a texture where there is no layout; how light fades in
    the mouth."""
    ids: IntArray | None = None
    """[V]: the model's vertices; None for a part that is not the model's, which its head's rig does not move."""
    polygons: IntArray | None = None
    """[F]: the polygon that each triangle is of; those of one follow each other as a fan round its first corner."""


@dataclass(frozen=True)
class Rig:
    """How a head made with a model of V vertices moves: K expressions away from its neutral shape, and J joints."""

    targets: tuple[str, ...]
    """K names."""
    values: FloatArray
    """[K]: how far the head in its parts shows each."""
    neutral: FloatArray
    """[V, 3] canonical millimetres."""
    normals: FloatArray
    """[V, 3] unit, of the neutral shape."""
    offsets: FloatArray
    """[V, 3, K] millimetres per unit of each expression."""
    turned: dict[str, FloatArray]
    """[V, 3]: change of the normals, for those expressions that turn the surface far."""
    joints: Joints
    """Their places in canonical millimetres."""
    turns: dict[str, DoubleArray] = field(default_factory=dict)
    """[3, 3] of the joints that the head in its parts has turned, eyes for one: neutral axes to theirs."""


HEAD_JOINT, EYE_JOINTS = "Head", ("LeftEye", "RightEye")
"""Names of joints; left is the head's."""


@dataclass(frozen=True)
class Motion:
    """How a head moves over T frames."""

    times_s: FloatArray
    """[T], rising."""
    values: FloatArray
    """[T, K] of the rig's expressions."""
    places: FloatArray
    """[T, 3] millimetres that the whole is moved by."""
    turns: dict[str, FloatArray]
    """[T, 4] by name of the joint: its rotation as a quaternion x, y, z, w."""


@dataclass(frozen=True)
class Head:
    """A head made with a morphable model."""

    model: str
    """The model's name."""
    licence: str
    """The model's."""
    sha256: str
    """Of the model's files."""
    parts: tuple[HeadPart, ...]
    identity: FloatArray
    """[K] coefficients of the model."""
    expression: FloatArray
    """[E]."""
    error_mm: float
    """Mean distance between the landmarks and the model's own shape, before the skin was drawn onto them."""
    notes: tuple[str, ...] = ()
    """What the user should know, one sentence each."""
    rig: Rig | None = None
    """How it moves."""
    shares_texture: bool = False
    """The part ``face`` has the texture of the face as it is."""
    unlit: bool = False
    """Its colours are albedo: no photo's light is in them."""
