"""The frontal portrait with hair and background: what a photo that is turned shows, and the rest filled.

What the turned photo (:mod:`ostec.complete.turn`) shows is kept. Of the person's rest, the face is the completed
texture's; hair, ears and neck are the other side's where the photo shows that, else the head's. Colours are carried
over the joint. Behind all is the photo's background, filled where the person was.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ostec.complete.matte import background, continued, person_colours, refined_matte
from ostec.complete.settings import TurnSettings
from ostec.complete.turn import CHIN, Frame, Relief, draw_depth, pulled, relief_of, turn
from ostec.core.types import Array, DoubleArray, FittedFace, FloatArray, PhotoAround
from ostec.render.geometry import Camera, smoothstep

OVERSAMPLE = 2
"""The turned photo is drawn that many times larger and averaged, which smooths edges."""
MOST_CHANGE = 0.25
"""Of a colour, at most carried over the joint."""
SURE = 0.5


@dataclass(frozen=True)
class DrawnHead:
    """A finished head as it looks from the front, P x P pixels."""

    camera: Camera
    colour: FloatArray
    """[P, P, 3] in [0, 1]; plain grey beside the head."""
    ground: float
    """That grey."""
    head: FloatArray
    """[F, 3, 3] corners of the head's triangles, canonical millimetres."""
    face: FloatArray
    """[G, 3, 3] the same of the face's mesh."""


@dataclass(frozen=True)
class FrontalPicture:
    """A frontal portrait, P x P pixels."""

    picture: FloatArray
    """[P, P, 3] in [0, 1]."""
    guess: FloatArray
    """[P, P] in [0, 1]: how far each pixel of the person is not the photo's."""


@dataclass(frozen=True)
class _Seen:
    """What the turned photo shows, and the head's outline, P x P pixels."""

    colour: FloatArray
    """[P, P, 3] the person's."""
    person: FloatArray
    """[P, P] in [0, 1]: the person's share."""
    known: FloatArray
    """[P, P] in [0, 1]: how far the photo shows what is there."""
    drawn: FloatArray
    """[P, P] in [0, 1]: where there is anything of the photo, stretched or not."""
    inner: FloatArray
    """[P, P] in [0, 1]: how far a place lies away from the person's outline in the photo."""
    head: FloatArray
    """[P, P] in [0, 1]: where the head is."""
    hull: FloatArray
    """[P, P] in [0, 1]: where it lies within the person's outline in the photo, too."""


@dataclass(frozen=True)
class _Plan:
    """Where things are in the frontal picture."""

    mm: float
    """Of a pixel."""
    middle: float
    """Column about which the face is mirrored."""
    jaw: FloatArray
    """[P] of the rows, in [0, 1]: so low that beside the face there is neck or collar, and no more of the head."""
    far: FloatArray
    """[P, P] in [0, 1]: the side that is turned away."""


def frontal_picture(
    photo: PhotoAround, face: FittedFace, head: DrawnHead, settings: TurnSettings | None = None
) -> FrontalPicture:
    """Turn a whole photo to the front.

    Args:
        photo: the head with its surroundings.
        face: fitted to the photo.
        head: the finished one.
        settings: the defaults if None.
    """
    import cv2

    settings = settings or TurnSettings()
    matte = refined_matte(photo)
    plate = background(photo, matte)
    colour = person_colours(photo, matte, plate)
    corners = np.concatenate([head.head, head.face])
    relief = relief_of(photo, matte, corners, face.vertices[: len(face.landmarks)], settings)
    beyond = continued(matte, photo)
    low = (cv2.resize(relief.chest, matte.shape[::-1]) > SURE) | (photo.within > SURE)
    inner = cv2.distanceTransform((matte > SURE).astype(np.uint8), cv2.DIST_L2, 5) / relief.frame.scale
    planes = [colour, beyond * low, photo.within, smoothstep(inner, *settings.inner), beyond]
    seen = _seen(np.dstack(planes).astype(np.float32), relief, head, settings)
    return _composed(seen, _from_front(plate, relief, head, settings), head, _plan(face, head, settings), settings)


def _seen(layers: FloatArray, relief: Relief, head: DrawnHead, settings: TurnSettings) -> _Seen:
    """Turn ``layers`` [S, S, 7]: the person's colour and share, what is in the photo, inner part, share everywhere."""
    size = OVERSAMPLE * len(head.colour)
    zoom = torch.tensor([[OVERSAMPLE], [OVERSAMPLE], [1.0]])
    large = Camera(head.camera.matrix * zoom, head.camera.rotation)
    there = Frame.of(large.matrix.double().numpy())
    turned = turn(relief, large, size, settings)
    shape = _depth(without_ears(np.concatenate([head.head, head.face])), there, size)
    covers = np.isfinite(shape)
    drawn = np.isfinite(turned.depth) & (turned.depth > shape - settings.behind)
    found = _sampled(layers[..., :6], turned.places)
    person = (found[..., 3] * drawn)[..., None]
    there_is = found[..., 4] * drawn
    known = there_is * (1 - smoothstep(turned.stretch, *settings.stretched))
    hull = _hull(shape, relief, there, layers[..., 6]) * covers
    planes = _halved(np.dstack([found[..., :3] * person, person, known, there_is, found[..., 5], covers, hull]))
    colour = (planes[..., :3] / np.maximum(planes[..., 3:4], 1e-4)).astype(np.float32)
    return _Seen(colour, *(np.ascontiguousarray(plane) for plane in np.moveaxis(planes[..., 3:], -1, 0)))


def _plan(face: FittedFace, head: DrawnHead, settings: TurnSettings) -> _Plan:
    size, frame, yaw = len(head.colour), Frame.of(head.camera.matrix.double().numpy()), face.pose_deg[1]
    mm, middle = 1 / frame.scale, float(frame.offset[0])
    at = np.arange(size) + 0.5
    chin = frame.pixels(face.vertices[CHIN].astype(np.float64))[1]
    below = smoothstep((at - chin) * mm, 0.0, settings.below_chin[1] / 2)
    aside = smoothstep((at - middle) * mm * np.sign(yaw), -8.0, 8.0) * (abs(yaw) > settings.one_sided_deg)
    far = (1 - below)[:, None] * aside[None, :]
    jaw = smoothstep((at - chin) * mm, -40.0, -10.0)
    return _Plan(mm, middle, jaw.astype(np.float32), far.astype(np.float32))


def _composed(seen: _Seen, plate: FloatArray, head: DrawnHead, plan: _Plan, settings: TurnSettings) -> FrontalPicture:
    """Put what is seen over what is filled, and both over the background ``plate`` [P, P, 3]."""
    held = _feathered(_whole_regions(seen, plan, settings), settings.joint / plan.mm)
    shown = pulled(seen.colour, np.minimum(held, seen.person))
    mirror = _flipped(np.dstack([shown, seen.person, held, seen.hull]), plan.middle)
    cover = np.minimum(seen.hull, seen.head * (1 - plan.far) + mirror[..., 5] * plan.far)
    cover = np.maximum(cover, np.maximum(mirror[..., 3] * mirror[..., 4] * plan.far, seen.person * (1 - plan.far)))
    cover = cover + (seen.person - cover) * held
    fill = _filled(shown, mirror, held, seen, head, plan, settings)
    person = fill + (shown - fill) * held[..., None]
    picture = plate + (person - plate) * cover[..., None]
    return FrontalPicture(np.clip(picture, 0, 1).astype(np.float32), (cover * (1 - held)).astype(np.float32))


def _filled(
    shown: Array,
    mirror: FloatArray,
    held: FloatArray,
    seen: _Seen,
    head: DrawnHead,
    plan: _Plan,
    settings: TurnSettings,
) -> Array:
    """[P, P, 3]: the person where the photo does not show it.

    Args:
        shown: [P, P, 3] the person's colours in the photo, carried outwards.
        mirror: [P, P, >= 5] the same mirrored, the person's share and how far that is held.
        held: [P, P] in [0, 1]: how far the photo's colours are kept.
        seen: what the photo shows.
        head: the finished one.
        plan: of the picture.
        settings: of the joint.
    """
    import cv2

    alone = (head.colour - head.ground * (1 - seen.head[..., None])) / np.maximum(seen.head, 1e-3)[..., None]
    bare = pulled(np.clip(alone, 0, 1), (seen.head > 0.99).astype(np.float32))
    change = shown - bare
    # What lies before the face where the photo shows it is taken to do so on the other side, too.
    unlike = np.abs(cv2.GaussianBlur(change, (0, 0), 2 / plan.mm)).mean(-1) * (held > SURE)
    before = smoothstep(cv2.GaussianBlur(unlike, (0, 0), 1.5 / plan.mm), *settings.unlike)[..., None]
    other = smoothstep(mirror[..., 4] * mirror[..., 3], 0.05, 0.6) * plan.far
    mesh = np.isfinite(_depth(head.face, Frame.of(head.camera.matrix.double().numpy()), len(bare)))
    within = cv2.distanceTransform(mesh.astype(np.uint8), cv2.DIST_L2, 5) * plan.mm
    own = smoothstep(within, *settings.rim) * (1 - _flipped(before, plan.middle)[..., 0] * other)
    fill = bare + (shown - bare) * plan.jaw[:, None, None]
    fill = fill + (mirror[..., :3] - fill) * other[..., None]
    fill = fill + (bare - fill) * own[..., None]
    change = np.clip(shown - fill, -MOST_CHANGE, MOST_CHANGE)
    alike = np.exp(-((np.abs(shown - fill).mean(-1) / settings.alike) ** 2))
    return np.clip(fill + pulled(change, (held * seen.person * alike).astype(np.float32)), 0, 1)


def without_ears(corners: FloatArray) -> DoubleArray:
    """Corners [F, 3, 3] of a head with its ears pressed onto its sides: ears are shown only as the photo has them."""
    x, y, z = np.moveaxis(corners.astype(np.float64), -1, 0)
    heights = np.arange(-70.0, 70.0, 5.0)
    before = (z > 8) & (z < 30)
    slices = (np.abs(x[before & (np.abs(y - height) < 5)]) for height in heights)
    width = np.interp(y, heights, [each.max(initial=0.0) + 2 for each in slices])
    ear = (y > -65) & (y < 45) & (z > -95) & (z <= 10) & (np.abs(x) > width)
    return np.stack([np.where(ear, np.sign(x) * width, x), y, z], axis=-1)


def _depth(corners: Array, frame: Frame, size: int) -> FloatArray:
    """[size, size]: height of triangles [F, 3, 3] towards the viewer, -inf where there is none."""
    points = frame.pixels(corners.reshape(-1, 3).astype(np.float64))
    return draw_depth(points, np.arange(len(points), dtype=np.int32).reshape(-1, 3), (size, size)).depth


def _whole_regions(seen: _Seen, plan: _Plan, settings: TurnSettings) -> FloatArray:
    """[P, P]: what is known without narrow gaps, which the photo's stretched picture fills, and without scraps."""
    import cv2

    pad = round(1.5 * settings.gap / plan.mm)

    def changed(mask: Array, how: int, radius: float) -> Array:
        side = 2 * round(radius / plan.mm) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        return cv2.morphologyEx(np.pad(mask.astype(np.uint8), pad, mode="edge"), how, disc)[pad:-pad, pad:-pad]

    person = np.maximum(seen.person * seen.inner, 1 - plan.far)
    closed = changed(seen.known * person > SURE, cv2.MORPH_CLOSE, settings.gap)
    closed = (closed > 0) & (seen.drawn > SURE) & (person > SURE)
    width, area = settings.scrap
    count, parts = cv2.connectedComponents(changed(closed, cv2.MORPH_OPEN, width))
    large = np.bincount(parts.ravel(), minlength=count) > area / plan.mm**2
    large[0] = False
    return large[parts].astype(np.float32)


def _feathered(weight: FloatArray, width: float) -> FloatArray:
    """Zero where the weight [P, P] is zero, rising over ``width`` pixels; the picture's border is no joint."""
    import cv2

    padded = np.pad((weight > SURE).astype(np.uint8), 1, mode="edge")
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(cv2.GaussianBlur(smoothstep(distance, 0, width).astype(np.float32), (0, 0), width / 6))


def _hull(shape: FloatArray, relief: Relief, there: Frame, share: FloatArray) -> FloatArray:
    """[h, w]: how far the points of a depth image lie within the person's outline in the photo."""
    import cv2

    rows, columns = np.indices(shape.shape) + 0.5
    points = there.points(np.stack([columns, rows, np.where(np.isfinite(shape), shape, 0)], axis=-1))
    x, y, _ = np.moveaxis(relief.frame.pixels(points @ relief.frame.rotation.T).astype(np.float32) - 0.5, -1, 0)
    return np.asarray(cv2.remap(share, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _from_front(plate: FloatArray, relief: Relief, head: DrawnHead, settings: TurnSettings) -> FloatArray:
    """[P, P, 3]: the background ``plate`` [S, S, 3] in the frontal view: only shifted, as the shoulders are."""
    import cv2

    size = len(head.colour)
    there, here, neck = Frame.of(head.camera.matrix.double().numpy()), relief.frame, np.array(settings.neck)
    zoom = here.scale / there.scale
    shift = here.pixels(here.rotation @ neck)[:2] - zoom * there.pixels(neck)[:2] + zoom / 2 - 0.5
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plate, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _sampled(planes: FloatArray, places: FloatArray) -> FloatArray:
    """Planes [S, S, 6] at places [h, w, 2]: colours by cubic, the rest by linear interpolation."""
    import cv2

    x, y = places[..., 0] - 0.5, places[..., 1] - 0.5
    colours = cv2.remap(np.ascontiguousarray(planes[..., :3]), x, y, cv2.INTER_CUBIC).clip(0, 1)
    return np.dstack([colours, cv2.remap(np.ascontiguousarray(planes[..., 3:]), x, y, cv2.INTER_LINEAR)])


def _halved(planes: Array) -> FloatArray:
    """[H / 2, W / 2, C]: means of four pixels each."""
    whole = planes.astype(np.float32)
    rows = whole[::2] + whole[1::2]
    return np.asarray((rows[:, ::2] + rows[:, 1::2]) / 4)


def _flipped(planes: Array, middle: float) -> FloatArray:
    """Planes [P, P, C] mirrored at the column ``middle``."""
    import cv2

    matrix = np.array([[-1, 0, 2 * middle - 1], [0, 1, 0]])
    size = planes.shape[1::-1]
    groups = np.split(planes.astype(np.float32), range(3, planes.shape[-1], 3), axis=-1)  # cv2 warps up to four at once
    return np.dstack([cv2.warpAffine(np.ascontiguousarray(group), matrix, size) for group in groups])
