"""Pictures of one person to one evidence."""

from collections.abc import Sequence

from ostec.core.types import Evidence, ObservedFace


def fuse(pictures: Sequence[ObservedFace]) -> Evidence:
    """Join what the pictures of one person show of the face.

    Args:
        pictures: one; joining several is not implemented.

    Raises:
        ValueError: there is another number of them.
    """
    if len(pictures) != 1:
        raise ValueError(f"expected one picture of the face, got {len(pictures)}")
    (one,) = pictures
    return Evidence(one.face, one.seen, one.coarse, one.photo, one.identity)
