"""What of an observed face is a guess, one sentence each: a user would take it for the truth otherwise."""

import numpy as np

from ostec.core.types import FaceBox, FittedFace, Topology, UvObservation
from ostec.fit.dense import stretch_of
from ostec.mask.covers import Cover

TURNED_DEG = 45.0
"""Yaw from which the far half is said to be a guess."""
SMALL_FACE_PX = 80.0
"""A detected face with a smaller side is done with a warning."""
DOUBTFUL = 6.0
"""Doubt above which the face is looked for in the turned photo as well. None of 84 upright portraits exceeds 5.3; the
landmarks of faces that lie on their side or upside down have at least 9.9 if they are wrong."""
LEAST_SHARE = 0.03
"""Share of the face outside the picture that is told."""
STRETCHED = 1.25
"""Width over height, as the landmarks show it, from which a photo counts as stretched: 0.83 to 1.18 in 3,288 portraits;
FaceMesh shows 1.6 of a photo that is stretched twofold."""
HARD = "The face is hard to recognise, so its landmarks may be wrong."
"""Told of a face of which detector and landmarks' network are not both sure."""
FACE_IN_PICTURE = 0.7
"""Side of a detected face over that of a generator's picture of it."""
DARK = 0.06
"""Mean of red, green and blue below which a texel shows no colour to speak of."""
DARK_SHARE = 0.15


def guesses(
    face: FittedFace,
    box: FaceBox,
    doubt: float,
    size: tuple[int, int],
    seen: UvObservation,
    cover: Cover,
    topology: Topology,
    pictures_px: int,
) -> list[str]:
    """What the user should know of a face.

    Args:
        face: in its photo.
        box: where it was detected.
        doubt: how far detector, landmarks and fit disagree.
        size: height and width of the photo.
        seen: the photo in the layout, masked.
        cover: what was found before the face.
        topology: of the mesh.
        pictures_px: side of the generator's pictures; 0 without one.
    """
    said = []
    if box.side < SMALL_FACE_PX:
        said.append(f"The face is only {box.side:.0f} pixels large, so the result is blurred.")
    elif box.side < FACE_IN_PICTURE * pictures_px:
        said.append(
            f"The face is only {box.side:.0f} pixels large, the generator's pictures {pictures_px}: detail "
            "finer than the photo's is invented."
        )
    if (outside := outside_share(face, size)) >= LEAST_SHARE:
        said.append(f"{100 * outside:.0f} % of the face lies outside the picture and is a guess.")
    if cover.free is not None:
        parts = f"the {_listed(cover.parts)}" if cover.parts else "part of the face"
        said.append(f"Something covers {parts} ({100 * cover.share:.0f} % of what is seen): that is a guess.")
    believed = (seen.mask > 0.5) & seen.visible
    if (dark := float((seen.colour[believed].mean(-1) < DARK).mean()) if believed.any() else 0.0) >= DARK_SHARE:
        said.append(f"{100 * dark:.0f} % of the face lies in deep shadow: its colours there are uncertain.")
    if doubt > DOUBTFUL:
        said.append("Detector and landmarks disagree: the landmarks may not be this face's.")
    stretch = stretch_of(face.landmarks, topology)
    if max(stretch, 1 / stretch) > STRETCHED:
        way = "wide" if stretch > 1 else "high"
        said.append(
            f"The photo seems to be stretched (the face looks {max(stretch, 1 / stretch):.1f} times too {way})."
        )
    return said


def far_half(face: FittedFace) -> list[str]:
    """What the user of a texture should know besides."""
    turned = abs(face.pose_deg[1])
    if turned <= TURNED_DEG:
        return []
    return [f"The face is turned by {turned:.0f} degrees: the far half of the texture is a guess."]


def outside_share(face: FittedFace, size: tuple[int, int]) -> float:
    """Share of the mesh's vertices outside a picture of this height and width."""
    at = face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]
    return float(((at < 0) | (at > np.array(size[::-1]))).any(axis=1).mean())


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""
