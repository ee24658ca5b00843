"""How faces and their landmarks are looked for."""

from dataclasses import dataclass

CELL = 12
"""Side of P-Net's window in pixels; its stride is 2."""


@dataclass(frozen=True)
class DetectSettings:
    """How the cascade runs. The defaults are those of the package ``mtcnn``, ``max_side`` excepted."""

    min_face_size: float = 20.0
    """Side in pixels of the smallest face looked for, in the photo as it is after :attr:`max_side`."""
    scale_factor: float = 0.709
    """From one level of the pyramid to the next: about half the area."""
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8)
    """Least probability that a window needs to pass P-Net, R-Net and O-Net."""
    weak: tuple[float, float, float] = (0.6, 0.6, 0.4)
    """The same once more where no window passes: a mask over mouth and nose leaves the detector half in doubt."""
    nms: tuple[float, float, float, float] = (0.5, 0.7, 0.7, 0.7)
    """Largest overlap of two windows: within a level, between levels, after R-Net, after O-Net."""
    max_side: int = 1600
    """A longer photo is shrunk to this side first: 1600 px take half a second or so, and a face worth completing is far
    larger than the eightieth part of its photo, which is still found."""

    def __post_init__(self) -> None:
        if not self.min_face_size >= 1 or not 0 < self.scale_factor < 1 or self.max_side < CELL:
            raise ValueError(f"expected min_face_size >= 1, 0 < scale_factor < 1, max_side >= {CELL}, got {self}")
        if not all(0 < share <= 1 for share in (*self.thresholds, *self.weak, *self.nms)):
            raise ValueError(f"expected thresholds, weak and nms above 0 and up to 1, got {self}")


@dataclass(frozen=True)
class LandmarkSettings:
    """How the region of interest follows the face."""

    expand: float = 1.5
    """Side of the region over the longer side of the landmarks' box; MediaPipe's value."""
    expand_box: float = 1.35
    """The same for the detector's box, for the first look only; it is a tenth larger than the landmarks' box."""
    refinements: int = 1
    """How often the landmarks themselves say where to look again."""
    looks: int = 5
    """Slightly different regions whose landmarks are averaged in the end: one look moves by 0.7 % of the outer-eye
    distance when its region does, the mean of five by less than half of that. MediaPipe takes one.
    """


@dataclass(frozen=True)
class FollowSettings:
    """How a face is followed from frame to frame."""

    expand: float = 1.5
    """As in :class:`LandmarkSettings`."""
    expand_box: float = 1.35
    """As in :class:`LandmarkSettings`."""
    confidence: float = 0.5
    """FaceMesh's probability of a face below which it is not seen."""
    patience: int = 3
    """Frames in a row without the face after which it is looked for anew."""
    search_s: float = 0.2
    """Time between two searches while there is none."""
    search_side: int = 480
    """Frames are searched at this size: a face worth tracking is large."""
    cut: float = 0.35
    """Part of the histogram of brightness that changes from one frame to the next where the scene does."""
