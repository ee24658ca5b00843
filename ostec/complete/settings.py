"""What the frontal portrait keeps of the photo, and how several pictures become one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PortraitSettings:
    """What of the photo is kept; lengths in shares of the picture's side."""

    turned_deg: tuple[float, float] = (6.0, 20.0)
    """Angle between the photo's view and the frontal one up to which its surroundings are trusted, and from which they
    are not at all: hair and background do not turn with the face."""
    feather: float = 8 / 512
    """Deviation of the blur of the joint."""


@dataclass(frozen=True)
class FuseSettings:
    """How several pictures of a face become one; lengths in UV."""

    work: int = 512
    """Side in texels at which pictures are registered and judged."""
    facing: float = 4.0
    """Power of the cosine of the view angle in a picture's weight."""
    unlike_mm: float = 5.0
    """Displacement of the skin by another expression at which a picture's weight has fallen to a half."""
    clipped: tuple[float, float] = (0.96, 1.0)
    """Largest channel from which a texel counts less, and at which it hardly counts."""
    sure: float = 0.05
    """The reference's weight from which its own eyes, brows and lips are not changed."""
    voice: float = 0.4
    """Weight over the best picture's from which a picture has a full vote on what a texel looks like."""
    agree: float = 0.06
    """Difference from the majority, in sRGB, at which a picture's weight has fallen to a quarter."""
    agree_reach: float = 3 / 1024
    """Deviation of the low-pass before pictures are compared."""
    reference: float = 2.0
    """Factor of the reference's weight: it needs no shift and no change of light."""
    joint: float = 5 / 1024
    """Deviation of the blur of the weights."""
    detail: float = 10 / 1024
    """Deviation of the low-pass that separates colour from detail."""
    sharpness: float = 8.0
    """Power of the weight in the choice of detail: the best picture wins, the second joins softly."""


@dataclass(frozen=True)
class DiffusionSettings:
    """How the diffusion model is asked."""

    steps: int = 16
    """Passes of the network a texture."""
    calm: float = 0.6
    """Deviation of the noise that the completion itself starts from; its samples start from 1."""
