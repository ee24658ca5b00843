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
class TurnSettings:
    """How a whole photo is turned to the front; lengths in millimetres."""

    most_yaw_deg: float = 45.0
    """Yaw of the photo beyond which too little of it is seen from the front."""
    one_sided_deg: float = 10.0
    """Yaw from which the side that is turned away may be the other one's mirror image."""
    step: int = 4
    """Pixels of the photo's crop between neighbouring points of the relief."""
    soft: float = 5.0
    """Deviation of the blur of the depth round the face: ears and a head's own jaw lie below hair and collars."""
    fall: float = 1.0
    """How fast the depth falls off beyond the head's outline."""
    thickest: float = 0.3
    """Thickness of hair at most, in heights of the face."""
    face_share: float = 0.75
    """Share of the way to the head's outline that is face, and is not moved by hair."""
    middle: tuple[float, float, float] = (0.0, 20.0, -30.0)
    """Canonical point in the middle of the skull."""
    upwards: tuple[float, float] = (-0.3, 0.3)
    """Sine of the direction from the head's middle, 1 straight up, from which hair can stand out, and does fully."""
    neck: tuple[float, float, float] = (0.0, -130.0, -40.0)
    """Canonical point about which the head turns on the shoulders."""
    below_chin: tuple[float, float] = (5.0, 70.0)
    """Way below the chin from which a point begins to keep the photo's pose, and keeps it fully."""
    beside: tuple[float, float] = (115.0, 170.0)
    """The same beside the neck's axis."""
    torn: float = 12.0
    """Stretch from which a triangle is not drawn."""
    stretched: tuple[float, float] = (1.7, 2.7)
    """Stretch from which a pixel counts less, and not at all ..."""
    gap: float = 8.0
    """... unless it lies in a gap that is no wider than twice this ..."""
    scrap: tuple[float, float] = (4.0, 600.0)
    """... and what is not even as wide as twice the first, or smaller than the second (mm^2), does not count either."""
    inner: tuple[float, float] = (1.0, 4.0)
    """Distance from the outline in the photo from which the side that is turned away begins to count, and counts."""
    behind: float = 20.0
    """How far behind the head's surface what the photo shows may lie."""
    joint: float = 6.0
    """Width over which what is seen goes over into what is filled."""
    unlike: tuple[float, float] = (0.06, 0.14)
    """Difference from the face's texture from which the photo may show something before the face, and does."""
    alike: float = 0.22
    """Difference of colours at the joint that is still carried into what is filled, to a share of 1/e."""
    rim: tuple[float, float] = (8.0, 22.0)
    """Distance from the face's outline from which its texture begins to count before the mirror image, and counts."""
