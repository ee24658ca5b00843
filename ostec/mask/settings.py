"""Where hands are looked for, when they are believed, and how they are drawn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HandSettings:
    """Where hands are looked for, when they are believed, and how they are drawn."""

    regions: tuple[float, ...] = (1.25, 2.5)
    """Sides of the squares round the face in which palms are looked for, in sides of the face's box; the whole photo is
    searched as well. A hand that fills the face is found in the small one, one beside it in the large one.
    """
    palm_confidence: float = 0.5
    """Least of the palm detector; MediaPipe's value."""
    confidence: float = 0.9
    """Least of the landmark network; MediaPipe asks for 0.5. Hands before faces have 0.94 and more, cheeks at times
    0.85.
    """
    sizes: tuple[float, float] = (0.19, 0.9)
    """Widths of a palm in sides of the face's box; a hand in the plane of the face has 0.35. Ears look like hands of
    0.1, cheeks like hands of up to 0.18.
    """
    overlap: float = 0.3
    """Palms whose boxes share more of their union are one; MediaPipe's value."""
    most: int = 4
    """Palms that are looked at, the surest first."""
    palm_expand: float = 2.6
    """Side of the hand's square over that of the palm's box ..."""
    palm_shift: float = 0.5
    """... and the way from the palm's middle to the square's towards the fingers, in sides of the palm's box."""
    refinements: int = 1
    """How often the landmarks themselves say where to look again."""
    expand: float = 2.0
    """The same two for a second look, round the landmarks."""
    shift: float = 0.1
    finger: float = 0.17
    """Radius of a finger at its root in widths of the palm; the tip has 0.8 of that."""
    margin: float = 0.09
    """What is added all round, in widths of the palm."""
    heel: float = 0.22
    """How far the palm reaches to either side of the wrist, in widths of the palm; the margins come on top."""
    arm: float = 0.5
    """How far the arm is drawn beyond the wrist, in widths of the palm."""
