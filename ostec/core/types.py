"""Conventions of the whole package, and the frozen records that stages hand to each other.

Conventions
-----------
* **Images**: RGB float32 in [0, 1], shape [H, W, 3], outside networks.
* **Pixels**: (x, y), origin at the top-left *corner* of the top-left pixel; its centre is (0.5, 0.5).
* **3D**: right-handed, x to the image's right, y up, z towards the viewer.
* **Canonical frame**: neutral pose, the face looks along +z; unit millimetre, scaled so that the outer eye corners
  (FaceMesh 33 and 263) are 90 mm apart; the origin is their midpoint moved 60 mm back along -z.
* **Pose**: (pitch, yaw, roll); degrees in the interface (``*_deg``), radians inside. Positive yaw turns the nose
  towards the image's right, positive pitch turns it up, positive roll turns the head counter-clockwise in the image.
  R = Rz(roll) Ry(yaw) Rx(-pitch).
* **UV**: (u, v) in [0, 1], v up (OBJ); the image's first row is v = 1. Texel (row i, column j) of an S x S texture has
  its centre at u = (j + 0.5) / S, v = 1 - (i + 0.5) / S.
* **Triangles**: counter-clockwise seen from outside.
* **Photo frame** of landmarks: x and y in photo pixels (y down), z in the same unit, *away* from the viewer
  (MediaPipe's sign), which is right-handed too.
* **Rasterizers** return what nvdiffrast returns: [B, H, W, 4] = (u, v, z/w, triangle + 1), rows from y = -1 up.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[np.floating]
FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

EYE_CORNERS = (33, 263)
"""FaceMesh ids of the outer eye corners: the one on the image's left of a frontal photo, then the other."""
EYES = ((33, 133), (362, 263))
"""FaceMesh ids of each eye's corners, image-left eye first."""
MOUTH_CORNERS = (61, 291)
"""FaceMesh ids, image-left first."""
EYE_CORNER_DISTANCE_MM = 90.0
ORIGIN_SETBACK_MM = 60.0


class Provenance(IntEnum):
    """Where a texel's colour came from; the values are the palette indices of ``NAME_provenance.png``.

    Of several photos of one person ``PHOTO`` is the first, and ``PADDING`` + n - 1 the n-th, from the second on.
    """

    OUTSIDE = 0
    PHOTO = 1
    MIRRORED = 2
    PRIOR = 3
    FRONT = 4
    BOTTOM = 5
    BOTTOM_LEFT = 6
    BOTTOM_RIGHT = 7
    LEFT = 8
    RIGHT = 9
    PADDING = 10


def kinds_of(provenance: ByteArray) -> ByteArray:
    """A map of provenance that does not tell photos apart: each of them is ``PHOTO``."""
    return np.where(provenance > Provenance.PADDING, Provenance.PHOTO, provenance).astype(np.uint8)


@dataclass(frozen=True)
class FaceBox:
    """One detected face, in photo pixels."""

    box: FloatArray
    """[4]: x0, y0, x1, y1; may reach over the border."""
    confidence: float
    """0 to 1."""
    points: FloatArray
    """[5, 2]: the eye on the image's left, the other eye, nose tip, mouth corner on the image's left, the other."""

    @property
    def side(self) -> float:
        """The longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


@dataclass(frozen=True)
class FaceLandmarks:
    """Dense landmarks of one face."""

    points: FloatArray
    """[468, 3]: FaceMesh points in the photo frame (x, y pixels, z away from the viewer in the same unit)."""
    confidence: float
    """FaceMesh's face probability, 0 to 1."""


@dataclass(frozen=True)
class Topology:
    """A face mesh whose vertices are linear in dense landmarks, with its single-chart UV layout.

    V vertices, F triangles, N landmarks. The UV chart has no seam, so UV and position triangles coincide.
    """

    name: str
    sha256: str
    triangles: IntArray
    """[F, 3], counter-clockwise seen from outside."""
    uv: FloatArray
    """[V, 2], v up; mirror vertices have u and 1 - u exactly."""
    operator: sparse.csr_matrix
    """[V, N] sparse: vertices = operator @ landmarks; rows sum to one (subdivision surface)."""
    mirror: IntArray
    """[V]: the vertex on the other side of the face; its own id on the midline."""
    mirror_landmarks: IntArray
    """[N]: the same for the landmarks."""
    mean_landmarks: FloatArray
    """[N, 3]: mean face in the canonical frame, mirror-symmetric."""
    rigid_weight: FloatArray
    """[N]: how much a landmark counts in the rigid alignment (stable bone high, mouth and jaw low)."""
    regions: dict[str, FloatArray] = field(default_factory=dict)
    """Named polygons in UV, [K, 2] each: ``eye_left``, ``eye_right`` (image side), ``mouth``, ``lips``, ..."""


@dataclass(frozen=True)
class FittedFace:
    """A face mesh in the canonical frame with the camera that saw it."""

    vertices: FloatArray
    """[V, 3] canonical frame, millimetres."""
    landmarks: FloatArray
    """[468, 3] photo frame."""
    rotation: DoubleArray
    """[3, 3]: canonical to camera axes (x right, y up, z towards the viewer)."""
    camera_matrix: DoubleArray
    """[3, 4]: homogeneous canonical millimetres to homogeneous photo pixels (scaled orthography: last row 0 0 0 1)."""
    pose_deg: tuple[float, float, float]
    """Pitch, yaw, roll."""
    scale: float
    """Photo pixels per millimetre."""
    residual: float
    """Robust root mean square of the rigid alignment to the mean face, in per cent of the outer-eye distance."""


@dataclass(frozen=True)
class UvObservation:
    """What one picture shows of the face, brought into the UV layout. S is the texture's side."""

    colour: FloatArray
    """[S, S, 3] in [0, 1]; zero where not visible."""
    cosine: FloatArray
    """[S, S]: cosine of the angle between surface normal and view direction; <= 0 where it faces away."""
    visible: BoolArray
    """[S, S]: inside the layout, inside the picture, facing the viewer and not behind another part of the face."""
    mask: FloatArray
    """[S, S] in [0, 1]: how far the texel is unoccluded face (1) rather than hair, hand, glasses or background (0)."""
    margin_mm: FloatArray
    """[S, S]: distance in the picture from the outline of the whole mesh; from folds within it twice the distance."""
    normal: FloatArray
    """[S, S, 3]: unit normals in camera axes."""
    inside: BoolArray
    """[S, S]: the layout's chart."""

    @property
    def size(self) -> int:
        """Side of the texture in texels."""
        return len(self.inside)


VIEW_POSES_DEG = {
    Provenance.FRONT: (0.0, 0.0),
    Provenance.BOTTOM: (30.0, 0.0),
    Provenance.BOTTOM_LEFT: (15.0, 30.0),
    Provenance.BOTTOM_RIGHT: (15.0, -30.0),
    Provenance.LEFT: (-5.0, 40.0),
    Provenance.RIGHT: (-5.0, -40.0),
}
"""Pitch and yaw of the views that are projected, in OSTeC's order."""
POSE_RANGE_DEG = ((-12.0, 33.0), (-45.0, 45.0))
"""Pitch and yaw of the views, with a margin."""


@dataclass(frozen=True)
class ViewFrame:
    """How the training faces of a generator were framed, and so how views for it are drawn."""

    own_shape: bool
    """Whether each face is drawn with its own shape (generators of natural photos) or with the mean shape."""
    ffhq_crop: bool
    """Whether eyes and mouth place the face as in FFHQ; else the camera is the same for every face."""
    span_mm: float = 186.0
    """Side of the picture, for the fixed camera: the whole mesh at every pose of the views."""
    centre_mm: tuple[float, float, float] = (0.0, -31.0, 45.0)
    """Canonical point that stays in the picture's middle, for the fixed camera."""
    ground: float = 0.5
    """Grey behind the face."""
    pose_range_deg: tuple[tuple[float, float], tuple[float, float]] = POSE_RANGE_DEG
    """Lowest and highest pitch and yaw of the training views."""


@dataclass(frozen=True)
class GeneratedView:
    """What one picture that the generator made shows of the face, in UV."""

    provenance: Provenance
    weight: float
    """How much the view counts where several see a texel (OSTeC: front 2, bottom 1.3, others 1)."""
    colour: FloatArray
    """[S, S, 3] in [0, 1]; zero where not visible."""
    cosine: FloatArray
    """[S, S]: cosine of the view angle."""
    visible: BoolArray
    """[S, S]: in the chart and not hidden by another part of the face."""
    margin_mm: FloatArray
    """[S, S]: as of :class:`UvObservation`."""


@dataclass(frozen=True)
class LayoutGuide:
    """What a layout of S texels knows of faces before any photo."""

    inside: BoolArray
    """[S, S] the chart."""
    rim: FloatArray
    """[S, S] distance in UV from the chart's border."""
    features: BoolArray
    """[S, S] eyes, brows and lips with a margin: no skin, but face whatever their colour."""
    eyes: FloatArray
    """[S, S] in [0, 1] the eye openings, softly."""


@dataclass(frozen=True)
class ObservedFace:
    """One face of one picture: fitted, unwrapped and masked."""

    photo: FloatArray
    """[H, W, 3] in [0, 1]."""
    box: FaceBox
    confidence: float
    """FaceMesh's face probability, 0 to 1."""
    face: FittedFace
    seen: UvObservation
    """The picture in the layout, at the texture's size; its mask is bare skin."""
    coarse: UvObservation
    """The same at the prior's size."""
    occluders: tuple[str, ...] = ()
    """Names of what was found in front of the face."""
    parsing: str = "none"
    """Which network parsed the picture."""
    identity: FloatArray | None = None
    """[K] of unit length: a face recogniser's embedding, if there is one."""
    warnings: tuple[str, ...] = ()
    """What the user should know, one sentence each."""


@dataclass(frozen=True)
class SeenEye:
    """One eye of a photo, cut out upright; S is the crop's side."""

    colour: FloatArray
    """[S, S, 3] in [0, 1]."""
    camera: DoubleArray
    """[2, 4]: homogeneous canonical millimetres to the crop's pixels."""
    iris: FloatArray
    """[3]: middle and radius in the crop's pixels."""
    lids: FloatArray
    """[K, 2]: the opening between the lids in the crop's pixels."""


@dataclass(frozen=True)
class PhotoAround:
    """A photo's head with its surroundings, cut out upright; S is the crop's side."""

    colour: FloatArray
    """[S, S, 3] in [0, 1]; zero outside the photo."""
    person: FloatArray
    """[S, S] in [0, 1]: how likely each pixel is of a person, clothes and hair included; zero outside the photo."""
    camera: DoubleArray
    """[2, 4]: homogeneous canonical millimetres to the crop's pixels."""
    within: FloatArray
    """[S, S] in [0, 1]: how much of each pixel lies in the photo."""
    eyes: tuple[SeenEye | None, SeenEye | None] = (None, None)
    """Image-left eye first; None where its iris was not found."""


@dataclass(frozen=True)
class Evidence:
    """What all pictures of one person show of the face in the layout: what a completer works from."""

    face: FittedFace
    seen: UvObservation
    """At the texture's size S."""
    coarse: UvObservation
    """The same at the prior's size."""
    photo: FloatArray | None = None
    """[H, W, 3] in [0, 1]: the picture that ``face`` was fitted to; only a generator of natural photos looks at it."""
    identity: FloatArray | None = None
    """[K] of unit length: whose face it is, if a face recogniser said so."""
    picture: ByteArray | None = None
    """[S, S] number from 1 of the picture that shows each texel best, 0 where none does; None for a single picture."""


@dataclass(frozen=True)
class CompletedTexture:
    """A texture without holes."""

    layers: dict[str, FloatArray]
    """[S, S, C] each, padded beyond the layout: ``colour`` is sRGB in [0, 1]; ``albedo``, ``normal`` and others where
    they were asked for."""
    provenance: ByteArray
    """[S, S] of :class:`Provenance`."""

    @property
    def colour(self) -> FloatArray:
        """[S, S, 3] in [0, 1]."""
        return self.layers["colour"]


@dataclass(frozen=True)
class ProjectedView:
    """One view of a face and what the generator made of it; R is the side of its pictures."""

    name: str
    render: FloatArray
    """[R, R, 3] in [0, 1]: what was to be found."""
    trust: FloatArray
    """[R, R] in [0, 1]: where it was trusted."""
    generated: FloatArray
    """[R, R, 3] in [0, 1]: what was found."""
    latent: FloatArray
    """[num_ws, W]: its W+."""
    losses: dict[str, float]
    """Weighted terms at the best latent, their total, and the total at the start."""
    iterations: int
    """Iterations until no progress was left, or all."""


@dataclass(frozen=True)
class Completion:
    """What a completer made of the evidence of one face."""

    texture: CompletedTexture
    believed: BoolArray
    """[S, S] the texels that the pictures show well enough to be believed, whatever the mode made of them."""
    mode: str
    """soft or hard."""
    mode_reason: str
    views: tuple[ProjectedView, ...] = ()
    """What was projected, in order."""
    prior: FloatArray | None = None
    """[s, s, 3] in [0, 1]: what the prior alone makes of it, if there is one."""
    occluded: bool = False
    """Whether something other than hair lies in front of the face, as the prior sees it."""
    samples: ByteArray | None = None
    """[N, S, S, 3] other completions that are as plausible, if they were asked for."""


@dataclass(frozen=True)
class TexturedFace:
    """All that the exporters need of one face."""

    face: FittedFace
    topology: Topology
    completed: CompletedTexture
    frontal: FloatArray | None = None
    """[H, W, 3] in [0, 1], the frontal portrait, if asked for."""
    stages: dict[str, FloatArray] = field(default_factory=dict)
    """Pictures of the stages for the HTML page, in order: title -> [H, W, 3] in [0, 1]."""
    views: tuple[ProjectedView, ...] = ()
    """What was projected, in order."""
    identity: FloatArray | None = None
    """[K] of unit length: a face recogniser's embedding of the photo's face, if there is one."""

    @property
    def latents(self) -> dict[str, FloatArray]:
        """View name -> W+ [num_ws, W]."""
        return {view.name: view.latent for view in self.views}
