"""``NAME.json``: what is known of one result, as it is written and read back."""

import hashlib
import re
from collections.abc import Collection
from typing import Any, TypedDict, get_type_hints

RESULT = "ostec result"
"""Value of ``kind`` where a photo was completed, by which other JSON files in a folder are told apart."""
INVERSION = "ostec inversion"
"""The same where a photo was projected into the generator."""
TRANSFER = "ostec transfer"
"""The same where a result's texture was brought into another model's layout."""
TRACK = "ostec track"
"""The same where a recording was tracked."""
EDIT = "ostec edit"
"""The same where a latent was edited."""
RESULT_KINDS = (RESULT, INVERSION, TRANSFER, TRACK, EDIT)


class RunRecord(TypedDict, total=False):
    """One result; nothing in it differs between two equal runs. Each kind has the keys that it needs."""

    kind: str
    source: str | None
    """The photo's name."""
    source_sha256: str
    """Of several photos one for all of them."""
    photos: list[dict[str, Any]]
    """Of several photos of one person, in the order of the provenance: its index in the palette, ``source``,
    ``source_sha256``, ``pose_deg`` and the share of the layout that is from it."""
    files: list[str]
    """Names of the result's files, relative to its folder."""
    settings: dict[str, Any]
    completer: str
    """Who completed the texture: prior, generator, diffusion, or the name of a class of the user's."""
    device: str
    threads: int
    versions: dict[str, str]
    """Of the libraries that a result can depend on."""
    weights: dict[str, str]
    """Name of each file that was loaded -> SHA-256."""
    warnings: list[str]
    """What the user should know, one sentence each."""
    faces: dict[str, int]
    """``index``, from 1, and ``count`` of the faces of the photo that were completed together."""
    face_box: list[float]
    """x0, y0, x1, y1 in pixels of the photo as it was read: half its size beyond 25 megapixels."""
    face_confidence: float
    fit_residual_percent: float
    pose_deg: list[float]
    """Pitch, yaw, roll."""
    view_pose_deg: list[float]
    """Pitch, yaw that an inversion was drawn at."""
    mode: str
    mode_reason: str
    texel_shares: dict[str, float]
    """Source of the texels -> share of the face."""
    occluders: list[str]
    figures: dict[str, float]
    """What the photo is like: brightness, contrast, sharpness."""
    light: dict[str, Any]
    """Of the photo, where it was taken out: harmonics, lamps, strength, the skin's ITA."""
    fit: dict[str, Any]
    """Of an RGB fit: decoder, resolution, how its losses fell, how far the pose turned."""
    normalised: dict[str, Any]
    """Of FFHQ-UV's recipe: what was measured of the latent's picture before and after the edit, and of the views."""
    attributes: dict[str, Any]
    """By which datasets are filtered."""
    losses: dict[str, Any]
    iterations: int
    features: str | None
    """What pictures were compared by in the projection."""
    parsing: str
    """Which network said what of the photo is bare face; so ``landmarks``, ``identity`` and ``realism``."""
    landmarks: str
    identity: str
    realism: str
    face_model: dict[str, Any]
    frontal: dict[str, Any]
    """Of the frontal portrait: ``way``, that it was made in, ``guessed``, the share of its pixels that are the person's
    and not the photo's, and ``reason`` where it has no hair and background."""
    mask: dict[str, str] | None
    """Name and SHA-256 of the user's mask."""
    frames: dict[str, int]
    """Of a track: ``count``, ``seen``, and ``texture``, the frame that was completed; -1 if none was by itself."""
    focal: float
    """Of a track: the camera's focal length that was assumed, in longer sides of the picture."""
    result: dict[str, str]
    """Of a transfer: name of each file of the result -> SHA-256."""
    size: int | None
    made_with: str
    pictures: list[list[str]]


_UNSAFE = re.compile(r"[\s\\#]|^-")
"""In the name of a file, what readers of OBJ and MTL take for its end, a folder, a comment or an option."""
_COPY = re.compile(r"((?:_[a-z0-9]+)*)_[0-9a-f]{6}\.(png|mtl)", re.ASCII)
"""What may follow NAME, made safe, in the name of a copy."""
_HINTS = get_type_hints(RunRecord)
_ENDING = re.compile(
    r"(_[a-z0-9]+)*\.(png|obj|mtl|glb|json|npz|html|gif|webp|csv|webm)"
    r"|_views/[a-z0-9_]+\.(png|npz)|_track_meshes/[0-9]{6,}\.(obj|ply)",
    re.ASCII,
)
"""What may follow NAME in the name of a result's file."""


def checked_record(values: object, name: str, kinds: Collection[str] = (RESULT,)) -> RunRecord | None:
    """The record that JSON values hold; None if they are of none of ``kinds`` or hold what a record never does.

    A record may come from somebody else: its values have the types of :class:`RunRecord`, and its files are named as
    the files of the result ``name`` are, so that none of them is a path to something else.
    """
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    if not isinstance(values, dict) or values.get("kind") not in kinds:
        return None
    try:
        known = {key: value for key, value in values.items() if key in _HINTS}
        check_type(known, RunRecord, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return None
    name = name.removesuffix("_track") if values["kind"] == TRACK else name
    if values["kind"] in RESULT_KINDS and not all(is_file_of(name, file) for file in values.get("files", ())):
        return None
    record: RunRecord = values  # type: ignore[assignment]
    return record


def is_file_of(name: str, file: str) -> bool:
    """Whether ``file`` is what a file of the result ``name``, or a copy of :func:`safe_name`, may be called."""
    if file.startswith(name) and _ENDING.fullmatch(file, len(name)) is not None:
        return True
    stem = _UNSAFE.sub("_", name)
    copy = _COPY.fullmatch(file, len(stem)) if file.startswith(stem) else None
    return copy is not None and file == safe_name(f"{name}{copy[1]}.{copy[2]}")


def safe_name(file: str) -> str:
    """The name of a file as OBJ and MTL can refer to it: its own, or where that has blanks and the like, a copy's.

    The digits at the copy's end keep it apart from the files of other photos.
    """
    if not _UNSAFE.search(file):
        return file
    stem, _, ending = file.rpartition(".")
    digits = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{_UNSAFE.sub('_', stem)}_{digits}.{ending}"


def with_warnings(record: RunRecord, sentences: Collection[str]) -> RunRecord:
    """A record with more warnings."""
    return {**record, "warnings": [*record.get("warnings", ()), *sentences]}
