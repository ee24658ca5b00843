"""The frontal portrait: the finished face at (0, 0), projected once more.

A generator of shape-normalised faces corrects the texture's colours. One of natural photos draws the whole picture:
where the photo looks almost straight at the face its own hair and background are shifted, turned and scaled onto the
frontal view, trusted there like the face, and laid over the generated picture without a seam. So a fringe or spectacles
stay in the portrait, which are taken out of the texture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ostec.complete.generator import GeneratorCompleter, PictureSearch
from ostec.complete.progressive import projected_view
from ostec.complete.settings import PortraitSettings
from ostec.core.types import CompletedTexture, Evidence, FittedFace, FloatArray, ProjectedView, Provenance
from ostec.project.invert import Projection
from ostec.project.objective import ProjectionTarget
from ostec.project.studio import FRONT, View, ViewStudio
from ostec.render.crops import Crop, crop_as_portrait, crop_onto_template, five_points, warp
from ostec.render.unwrap import resize_map
from ostec.stitch.blend import feathered, low_pass
from ostec.stitch.colour import match_colour
from ostec.stitch.merge import Progress, add_view

GUESSED = 0.6
"""Trust of the frontal projection in texels that are no photo's."""


@dataclass(frozen=True)
class FinishedFace:
    """Whose portrait is made, from the files of a result and the photo alone: one that is added later is the same."""

    face: FittedFace
    texture: CompletedTexture
    photo: FloatArray | None
    """[H, W, 3] in [0, 1]; only a generator of natural photos looks at it."""
    identity: FloatArray | None = None
    """[K], if a face recogniser said so."""


@dataclass(frozen=True)
class Portrayed:
    """What the projection at (0, 0) gave."""

    view: ProjectedView
    texture: FloatArray
    """[S, S, 3] the face's texture: corrected, unless there is a whole portrait."""
    portrait: FloatArray | None
    """[R, R, 3] the whole portrait, of a generator that draws such; else the texture is to be drawn."""


@dataclass(frozen=True)
class _Sitting:
    """One face before its projection at (0, 0); W texels a side."""

    texture: FloatArray
    """[W, W, 3]."""
    of_photo: FloatArray
    """[W, W] in [0, 1]: how far each texel is the photo's."""
    studio: ViewStudio
    picture: PictureSearch
    known: torch.Tensor | None
    """[1, 1, R, R] in [0, 1]: how far each pixel is the photo's, of a generator of natural photos."""


def portray(
    completer: GeneratorCompleter, faces: Sequence[FinishedFace], on_progress: Callable[[float], None]
) -> list[Portrayed]:
    """Project finished faces at (0, 0), in one batch.

    Args:
        completer: whose generator draws.
        faces: B of them.
        on_progress: called with the share that is done, 0 to 1.
    """
    settings = completer.settings
    sittings = [_sit(completer, face) for face in faces]
    weights = replace(settings.project, identity=settings.project.identity_frontal)
    found = completer.search([s.picture for s in sittings], settings.iterations_frontalize, on_progress, weights)
    return [_developed(completer, face, sittings[b], found, b) for b, face in enumerate(faces)]


def _sit(completer: GeneratorCompleter, person: FinishedFace) -> _Sitting:
    completed = person.texture
    work = completer.work_size(len(completed.colour))
    of_photo = resize_map((completed.provenance == Provenance.PHOTO).astype(np.float32), work)
    texture = resize_map(completed.colour, work)
    inside = completer.canvas.inside(work)
    studio = completer.studio(person.face)
    target = studio.draw(texture, np.where(inside, np.maximum(of_photo, GUESSED), 0).astype(np.float32), FRONT)
    known: torch.Tensor | None = None
    if completer.draws_portraits:
        assert person.photo is not None
        around = surroundings(person.photo, person.face, studio, completer.settings.portrait)
        known = studio.draw(texture, of_photo * inside, FRONT).trust
        target = with_surroundings(target, known, around)
        known = torch.maximum(known, around.trust.to(known))
    picture = PictureSearch(target, studio.landmarks(FRONT), person.identity)
    return _Sitting(texture, of_photo, studio, picture, known)


def _developed(
    completer: GeneratorCompleter, person: FinishedFace, sitting: _Sitting, found: Projection, b: int
) -> Portrayed:
    """What picture ``b`` of the projection makes of a face."""
    colour, settings, work = person.texture.colour, completer.settings.views, len(sitting.texture)
    view = replace(projected_view(FRONT, sitting.picture.target, found, b), name="frontal")
    if sitting.known is not None:
        whole = join_portrait(
            view.generated, view.render, sitting.known[0, 0].cpu().numpy(), completer.settings.portrait
        )
        return Portrayed(view, colour, whole)
    read = sitting.studio.read(found.image[b], FRONT, work)
    added = add_view(Progress(sitting.texture, sitting.of_photo), read, settings)
    # The detail of the texture has more behind it than one view: its colours alone are corrected.
    inside = completer.canvas.inside(work).astype(np.float32)
    change = low_pass(added.texture - sitting.texture, inside, settings.detail * work)
    change = resize_map(change, len(colour))
    return Portrayed(view, np.clip(colour + change, 0, 1).astype(np.float32), None)


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
    crop = crop_onto_template(face.landmarks[:, :2], studio.landmarks(FRONT), studio.resolution)
    cut = _cut(photo, crop)
    low, high = settings.turned_deg
    turned = float(np.degrees(np.arccos(np.clip(face.rotation[2, 2], -1, 1))))
    share = float(np.clip((high - turned) / (high - low), 0, 1))
    return Surroundings(_picture(cut), cut.shown * share)


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


def invert_photo(
    completer: GeneratorCompleter,
    evidence: Evidence,
    trusted: FloatArray | None,
    view: View,
    iterations: int,
    on_progress: Callable[[float], None],
) -> ProjectedView:
    """Project a photo itself, cut as FFHQ cuts its portraits, into a generator of natural photos.

    Args:
        completer: of such a generator.
        evidence: with its photo.
        trusted: [H, W, 1] in [0, 1], how far each pixel is to be looked at; None: all.
        view: what the record calls it.
        iterations: at most.
        on_progress: called with the share that is done, 0 to 1.
    """
    assert evidence.photo is not None
    photo, landmarks = evidence.photo, evidence.face.landmarks[:, :2]
    five = five_points(landmarks)
    crop = crop_as_portrait(five[:2], five[3:].mean(0), completer.generator.resolution)
    trusted = np.ones_like(photo[..., :1]) if trusted is None else trusted
    cut = _cut(np.dstack([photo, trusted]), crop)
    trust = (cut.planes[:, 3:] * cut.shown).to(completer.device)
    target = ProjectionTarget(_picture(cut).to(completer.device), trust, torch.zeros_like(trust))
    points = crop.points_to_crop(landmarks).astype(np.float32)
    picture = PictureSearch(target, points, evidence.identity)
    return projected_view(view, target, completer.search([picture], iterations, on_progress))


@dataclass(frozen=True)
class _Cut:
    """A crop of a photo."""

    planes: torch.Tensor
    """[1, C, R, R]: mixed with zero at the photo's border."""
    share: torch.Tensor
    """[1, 1, R, R] in [0, 1]: how much of each pixel lies in the photo."""

    @property
    def shown(self) -> torch.Tensor:
        """[1, 1, R, R]: 1 for pixels that lie in the photo wholly, else 0."""
        return (self.share > 0.999).to(self.share.dtype)


def _cut(planes: FloatArray, crop: Crop) -> _Cut:
    """Cut a crop out of planes [H, W, C]."""
    whole = np.dstack([planes, np.ones_like(planes[..., :1])])
    found = warp(torch.from_numpy(whole).permute(2, 0, 1)[None], [crop], border="zero")
    return _Cut(found[:, :-1], found[:, -1:])


def _picture(cut: _Cut) -> torch.Tensor:
    """The colours of a crop without what lies outside the photo, [1, 3, R, R] in [-1, 1]."""
    return (cut.planes[:, :3] / cut.share.clamp(min=1e-6)).clamp(0, 1) * 2 - 1


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
