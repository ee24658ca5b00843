"""The frontal portrait: the finished face at (0, 0), projected once more.

A generator of shape-normalised faces corrects the texture's colours. One of natural photos draws the whole picture:
where the photo looks almost straight at the face its own hair and background are shifted, turned and scaled onto the
frontal view, trusted there like the face, and laid over the generated picture without a seam. So a fringe or spectacles
stay in the portrait, which are taken out of the texture.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ostec.core.types import CompletedTexture, FittedFace, FloatArray, ProjectedView, Provenance
from ostec.detect.align import crop_as_portrait, crop_onto_template, five_points, warp
from ostec.fit.unwrap import resize_map
from ostec.pipeline.progressive import projected_view
from ostec.pipeline.texture import OnProgress, TextureMaker
from ostec.project.invert import ProjectionTarget, project
from ostec.project.views import FRONT, View, ViewStudio
from ostec.stitch.blend import feathered, low_pass
from ostec.stitch.colour import match_colour
from ostec.stitch.views import Progress, add_view

GUESSED = 0.6
"""Trust of the frontal projection in texels that are no photo's."""


@dataclass(frozen=True)
class PortraitSettings:
    """What of the photo is kept; lengths in shares of the picture's side."""

    turned_deg: tuple[float, float] = (6.0, 20.0)
    """Angle between the photo's view and the frontal one up to which its surroundings are trusted, and from which they
    are not at all: hair and background do not turn with the face."""
    feather: float = 8 / 512
    """Deviation of the blur of the joint."""


@dataclass(frozen=True)
class Person:
    """Whose portrait it is."""

    face: FittedFace
    photo: FloatArray
    """[H, W, 3] in [0, 1]."""
    identity: torch.Tensor | None = None
    """[512], if an ArcFace said so."""


@dataclass(frozen=True)
class Portrayed:
    """What the projection at (0, 0) gave."""

    view: ProjectedView
    texture: FloatArray
    """[S, S, 3] the face's texture: corrected, unless there is a whole portrait."""
    portrait: FloatArray | None
    """[R, R, 3] the whole portrait, of a generator that draws such; else the texture is to be drawn."""


def portray(maker: TextureMaker, person: Person, completed: CompletedTexture, on_progress: OnProgress) -> Portrayed:
    """Project the finished face at (0, 0).

    Depends on the photo and the files of a result alone, so that a portrait that is added later is the same.

    Args:
        maker: with a generator.
        person: whose face it is.
        completed: the face's texture.
        on_progress: called with the share that is done.
    """
    assert maker.space is not None
    work = min(len(completed.texture), maker.work_size)
    photo = resize_map((completed.provenance == Provenance.PHOTO).astype(np.float32), work)
    texture = resize_map(completed.texture, work)
    inside = maker.inside(work)
    studio = maker.studio(person.face)
    target = studio.draw(texture, np.where(inside, np.maximum(photo, GUESSED), 0).astype(np.float32), FRONT)
    known: torch.Tensor | None = None
    if maker.draws_portraits:
        around = surroundings(person.photo, person.face, studio)
        known = studio.draw(texture, photo * inside, FRONT).trust
        target = with_surroundings(target, known, around)
        known = torch.maximum(known, around.trust.to(known))
    weights = replace(maker.projection_settings, identity=maker.projection_settings.identity_frontal)
    steps = maker.settings.iterations_frontalize
    found = project(
        maker.space,
        target,
        steps,
        weights,
        on_iteration=lambda k: on_progress(k / max(steps, 1)),
        judged=maker.judging.terms(studio.landmarks(FRONT), target, weights, person.identity),
    )
    view = replace(projected_view(FRONT, target, found), name="frontal")
    if known is not None:
        whole = join_portrait(view.generated, view.render, known[0, 0].cpu().numpy())
        return Portrayed(view, completed.texture, whole)
    added = add_view(Progress(texture, photo), studio.read(found.image[0], FRONT, work), maker.view_settings)
    # The detail of the texture has more behind it than one view: its colours alone are corrected.
    change = low_pass(added.texture - texture, inside.astype(np.float32), maker.view_settings.detail * work)
    change = resize_map(change, len(completed.texture))
    corrected = np.clip(completed.texture + change, 0, 1).astype(np.float32)
    return Portrayed(view, corrected, None)


@dataclass(frozen=True)
class Surroundings:
    """What the photo shows round the face, brought onto the frontal view."""

    image: torch.Tensor
    """[1, 3, R, R] in [-1, 1]."""
    trust: torch.Tensor
    """[1, 1, R, R] in [0, 1]; zero outside the photo."""


def surroundings(
    photo: FloatArray, face: FittedFace, studio: ViewStudio, settings: PortraitSettings | None = None
) -> Surroundings:
    """Bring a photo onto the frontal view of its face by the similarity of their landmarks.

    Args:
        photo: [H, W, 3] in [0, 1].
        face: fitted to it.
        studio: of the face, for a generator of natural photos.
        settings: the defaults if None.
    """
    settings = settings or PortraitSettings()
    size = studio.resolution
    crop = crop_onto_template(face.landmarks[:, :2], studio.landmarks(FRONT), size)
    planes = torch.from_numpy(np.dstack([photo, np.ones_like(photo[..., :1])])).permute(2, 0, 1)[None]
    found = warp(planes, [crop], border="zero")
    shown = found[:, 3:].clamp(1e-6, 1)
    low, high = settings.turned_deg
    turned = float(np.degrees(np.arccos(np.clip(face.rotation[2, 2], -1, 1))))
    share = float(np.clip((high - turned) / (high - low), 0, 1))
    inside = (shown > 0.999).to(shown.dtype)
    return Surroundings((found[:, :3] / shown).clamp(0, 1) * 2 - 1, inside * share)


def with_surroundings(target: ProjectionTarget, known: torch.Tensor, around: Surroundings) -> ProjectionTarget:
    """What is to be found, with what the photo shows where the texture is not the photo's: hair, background.

    Args:
        target: the face as drawn.
        known: [1, 1, R, R] in [0, 1]: how far that is the photo's.
        around: the photo.
    """
    image, shown = around.image.to(target.image), around.trust.to(known)
    of_photo = shown * (1 - known)
    of_face = known + (1 - shown) * (target.trust - known).clamp(min=0)
    total = of_face + of_photo
    mixed = (of_face * target.image + of_photo * image) / total.clamp(min=1e-6)
    rest = (1 - total).clamp(0, 1) * (target.trust + target.guessed)
    return ProjectionTarget(torch.where(total > 0, mixed, target.image), total.clamp(0, 1), rest.clamp(0, 1))


def invert_portrait(
    maker: TextureMaker,
    person: Person,
    trusted: FloatArray | None,
    view: View,
    iterations: int,
    on_progress: OnProgress,
) -> ProjectedView:
    """Project a photo itself, cut as FFHQ cuts its portraits, into a generator of natural photos.

    Args:
        maker: with such a generator.
        person: whose photo it is.
        trusted: [H, W, 1] in [0, 1], how far each pixel is to be looked at; None: all.
        view: what the record calls it.
        iterations: at most.
        on_progress: called with the share that is done.
    """
    assert maker.space is not None
    five = five_points(person.face.landmarks[:, :2])
    size = maker.studio(person.face).resolution
    crop = crop_as_portrait(five[:2], five[3:].mean(0), size)
    trusted = np.ones_like(person.photo[..., :1]) if trusted is None else trusted
    planes = np.dstack([person.photo, trusted, np.ones_like(trusted)])
    found = warp(torch.from_numpy(planes).permute(2, 0, 1)[None].to(maker.device), [crop], border="zero")
    shown = (found[:, 4:] > 0.999).to(found.dtype)
    image = (found[:, :3] / found[:, 4:].clamp(min=1e-6)).clamp(0, 1) * 2 - 1
    target = ProjectionTarget(image, found[:, 3:4] * shown, torch.zeros_like(shown))
    points = crop.points_to_crop(person.face.landmarks[:, :2]).astype(np.float32)
    inverted = project(
        maker.space,
        target,
        iterations,
        maker.projection_settings,
        on_iteration=lambda k: on_progress(k / max(iterations, 1)),
        judged=maker.judging.terms(points, target, maker.projection_settings, person.identity),
    )
    return projected_view(view, target, inverted)


def join_portrait(
    generated: FloatArray, drawn: FloatArray, known: FloatArray, settings: PortraitSettings | None = None
) -> FloatArray:
    """The generated picture with what is known laid over it, its colours carried over the joint: [R, R, 3].

    Args:
        generated: [R, R, 3] in [0, 1].
        drawn: [R, R, 3] in [0, 1], face and surroundings of the photo.
        known: [R, R] in [0, 1]: how far that is the photo's.
        settings: the defaults if None.
    """
    settings = settings or PortraitSettings()
    matched = match_colour(generated, drawn, known)
    alpha = feathered(known, np.ones(known.shape, bool), settings.feather * len(known))[..., None]
    return np.clip(matched + (drawn - matched) * alpha, 0, 1).astype(np.float32)
