"""A full head in parts, as the exporters need it."""

from dataclasses import dataclass

from ostec.core.types import FloatArray, IntArray


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
    """RGB in [0, 1] (sRGB) of the whole part; white where there is a texture or a colour per vertex."""
    roughness: float = 1.0
    """0 (mirror) to 1 (dull)."""
    texture: FloatArray | None = None
    """[S, S, 3] in [0, 1], or None."""
    vertex_colours: FloatArray | None = None
    """[V, 3] RGB in [0, 1] (sRGB), in place of a texture where there is no layout."""


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
    shares_texture: bool = False
    """The part ``face`` has the texture of the face as it is."""
