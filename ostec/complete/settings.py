"""What the frontal portrait keeps of the photo."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PortraitSettings:
    """What of the photo is kept; lengths in shares of the picture's side."""

    turned_deg: tuple[float, float] = (6.0, 20.0)
    """Angle between the photo's view and the frontal one up to which its surroundings are trusted, and from which they
    are not at all: hair and background do not turn with the face."""
    feather: float = 8 / 512
    """Deviation of the blur of the joint."""
