"""How the prior is asked, and what of its border is skin."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SkinSettings:
    """What is skin; lengths in UV, differences in the logarithm of colours."""

    rim: tuple[float, float] = (0.12, 0.28)
    """Distance from the chart's border up to which the limits hold, and from which none does."""
    interior: float = 0.14
    """Distance from which skin is continued outwards."""
    smooth: float = 0.08
    """Length below which the continued skin has no detail."""
    guess: float = 0.5
    """Trust in the model's own skin inside, where the photo shows none: it knows the side that lies in the shade."""
    light: float = 0.12
    """How much darker or brighter than the continued skin the texture may be."""
    chroma: float = 0.025
    """How far its colour may be from it."""
    hair_light: float = 0.35
    """How much darker a photo begins to be hair; half as much again is hair."""
    hair_chroma: float = 0.09
    """The same of its colour, unless it is brighter as well: that is a highlight."""
    highlight: float = 0.15
    """How much brighter that is."""
    hair_smooth: float = 0.011
    """Length over which that is judged: a freckle is no hair."""


@dataclass(frozen=True)
class PriorSettings:
    """How the prior is asked; the defaults scored best on the held-out portraits and the ground-truth head."""

    tau: float = 64.0
    """Noise of a texel over what the model says."""
    tone: float = 0.08
    """Deviation of the photo's overall gain and tint, factors of their own beside the components."""
    reweightings: int = 3
    """Rounds in which texels that the model cannot explain lose weight."""
    freedom: float = 4.0
    """Degrees of freedom of the Student t behind those weights; smaller is more suspicious."""
    cosine: tuple[float, float] = (0.05, 0.3)
    """Cosine of the view angle at which a texel begins to count, and from which it counts fully."""
    outline_mm: tuple[float, float] = (2.0, 9.0)
    """Distance from the mesh's outline at which a texel begins to count, and from which it counts fully (4 % of a
    face)."""
    occluder_explained: float = 0.35
    """Weight of the robust solution below which a texel may belong to an occluder."""
    occluder_share: float = 0.004
    """Smallest area of an occluder as a share of the chart; the largest such region of 24 bare faces has 0.001."""
    hidden_match: float = 0.45
    """Correlation of the photo's structure with the model's below which the face is hidden: the lowest over 26 bare
    faces is 0.64, over 321 small portraits 0.48 (thick spectacles)."""
    hidden_grow: float = 0.65
    """The same, over a smaller window, below which a texel joins what is hidden beside it."""
    hidden_explained: float = 0.9
    """Weight of the robust solution below which a texel joins as well."""
    hidden_share: float = 0.002
    """Smallest area hidden at first sight as a share of the chart."""
    hidden_rim: float = 0.14
    """Distance in UV from the chart's border beyond which that is looked for: nearer there is hair, which has no
    structure of the model's either and is no hand."""
    hidden_window: float = 0.086
    """Deviation in UV of the first correlation's window: a mouth wide, so that teeth or a wrinkle do not decide."""
    hidden_grow_window: float = 0.039
    """The same of the second."""
    hairline: tuple[float, float] = (0.016, 0.094)
    """Distance in UV from what was taken out of the forehead at which a texel begins to count, and from which it counts
    fully: the shadow and the thin ends of hair lie before it, and the model would draw a fringe from them."""
    carry_uv: float = 0.12
    """Distance in UV over which the residual of what was seen reaches into what was not."""
    carry_power: float = 3.0
    """Power of the trust with which a residual is carried: above 1, texels near the silhouette, where ears and
    hair begin, carry less."""
    carry_smooth: float = 0.15
    """Stiffness of the carried residual where it was seen: 0 passes through every texel."""
    skin: SkinSettings = field(default_factory=SkinSettings)
    """What of the border is skin."""
