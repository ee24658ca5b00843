"""FFHQ-UV's recipe: observe, invert, edit in the latents, three views, one even texture; its light taken out after.

A photo is inverted, its latent edited to even light, a neutral face and no turn, and drawn from three sides. These
views are unwrapped by their own landmarks and joined over the template: the generator's mean face at rest.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy import ndimage

from ostec.complete.fuse import fuse
from ostec.complete.generator import GeneratorCompleter
from ostec.complete.portrait import invert_photo
from ostec.core.assets import sha256_of
from ostec.core.device import threads
from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun, Progress, never_falling
from ostec.core.record import RunRecord
from ostec.core.types import (
    BoolArray,
    ByteArray,
    CompletedTexture,
    Completion,
    FaceBox,
    FloatArray,
    ObservedFace,
    ProjectedView,
    Provenance,
    Topology,
    UvObservation,
)
from ostec.detect.landmarks import detect_landmarks_in, whole_image
from ostec.fit.dense import fit_dense
from ostec.io.images import resize_image
from ostec.light.quick import symmetry_error
from ostec.load.networks import asset_file
from ostec.mask.skin import polygon_mask
from ostec.pipeline.assemble import as_written
from ostec.pipeline.completer import Completer, FaceInWork
from ostec.pipeline.editing import EVEN, MIN_CONFIDENCE, NEUTRAL, QUICK, VIEWS_DEG, EditedFace, LatentEditor
from ostec.pipeline.models import load_attribute_reader, load_edits
from ostec.pipeline.observe import PhotoLike
from ostec.pipeline.result import CompletedFace
from ostec.pipeline.several import is_video, observe_several, with_photos
from ostec.project.edit import POSE
from ostec.project.studio import View
from ostec.render.unwrap import resize_map
from ostec.stitch.blend import pad, photo_weight
from ostec.stitch.extract import Extraction, ExtractionRegions, FaceView, extract

VIEWS = ("left", "right", "front")
"""Of the edited face, in the order in which they are laid over each other."""
AT_REST = {"yaw_deg": 0.0, "pitch_deg": 0.0, **NEUTRAL}
NORMAL = {**AT_REST, **EVEN}
"""What every face is edited to; the mean face, under the mean of all lights, only to rest."""
LABELS = {"left": Provenance.LEFT, "right": Provenance.RIGHT, "front": Provenance.FRONT}
BELIEVED = 0.5
"""Weight from which a texel of a picture counts as bare face."""
NEAR, SURE = 0.3, {"left": 0.6, "right": 0.6, "front": 0.8}
"""Cosine from which a view may be used, and from which it is laid over the ones before it."""
LEAST_SIDE = 512
"""Pixels to which smaller pictures are enlarged before they are unwrapped."""
_NOSE = (98, 97, 2, 326, 327, 294, 278, 1, 48, 64)
"""FaceMesh ids round the base of the nose."""
SCALP_FROM, SCALP_RIM = 0.8, 0.08
"""Height in the layout, and distance in UV from the chart's border, at which the template stays: hair ends there."""
_WIDER, _MOUTH_WIDER, _NOSE_WIDER = 20, 8, 6
"""Texels of 1024 by which the windows that are repaired are wider than eyes, mouth and nose."""


@dataclass(frozen=True)
class _Look:
    """One picture that the generator drew, in the layout."""

    observed: ObservedFace
    view: FaceView

    @property
    def bare(self) -> BoolArray:
        """[S, S]: bare face that is seen, eyes too."""
        return np.asarray(photo_weight(self.observed.seen, self.observed.face.pose_deg[1]) > BELIEVED)


class Normaliser(Completer):
    """Photos in, textures of the normalised face out."""

    edits: str = "default"
    """File of edits of the generator that is loaded."""

    @classmethod
    def with_edits(cls, settings: Any, device: str, edits: str) -> "Normaliser":
        """Load what ships, or what the settings name, and a file of ``ostec train edits``."""
        made = cast("Normaliser", cls.from_pretrained(settings, device))
        made.edits = edits
        path = asset_file("edits", edits)
        made.weights[path.name] = sha256_of(path)
        assert made.editor  # so that a wrong file is told of now
        return made

    @functools.cached_property
    def editor(self) -> LatentEditor:
        """Edits the latents of the generator that is loaded. Raises AssetError."""
        generator = self.models.generator
        if generator is None:
            raise ValueError("expected models with a generator, got none")
        path = asset_file("edits", self.edits)
        edits = load_edits(path, generator.generator.shape.w_dim)
        reader, judge = load_attribute_reader(self.device), self.models.recogniser
        return LatentEditor(generator.generator, edits, reader, recogniser=judge, device=self.device)

    @functools.cached_property
    def regions(self) -> ExtractionRegions:
        """Of the layout, at the texture's size."""
        return extraction_regions(
            self.models.topology, self.observer.unwrapper.layout(self.settings.uv_size).inside.cpu().numpy()
        )

    @functools.cached_property
    def template(self) -> FloatArray:
        """[S, S, 3]: the generator's mean face, neutral and the same on both sides."""
        network = self.editor.generator
        mean = network.mapping.w_avg.cpu().numpy()
        edited = self.editor.edit(np.repeat(mean[None], network.shape.num_ws, axis=0), AT_REST)
        looks = {name: self._look(name, self._turned(edited, name).picture) for name in VIEWS}
        prior = self.models.prior
        assert prior is not None
        generator = cast("GeneratorCompleter", self._generator)
        base = generator.canvas.prior_texture(prior.image(prior.mean), self.settings.uv_size)
        views = [replace(looks[name].view, shown=looks[name].bare) for name in VIEWS]
        made = extract(views, base, replace(self.regions, repaired=())).texture
        return ((made + made[:, ::-1]) / 2).astype(np.float32)

    def fuse(
        self, photos: Sequence[PhotoLike], progress: Progress | None = None, reference: "PhotoLike | None" = None
    ) -> CompletedFace:
        """One texture from several photos themselves, not edited; the reference's colours lead. See the base class."""
        if len(photos) == 1 and not is_video(photos[0]):
            return super().fuse(photos, progress, reference)
        run = PhotoRun(never_falling(progress), {"read": 6.0 * len(photos)})
        several = observe_several(self.observer, photos, self._several_networks(), reference, run)
        run.warnings.extend((*several.warnings, *several.pictures[0].observed.warnings))
        pictures = [one.observed for one in several.pictures]
        views = []
        for one in pictures:
            seen = replace(
                self.observer.unwrap(one.photo, one.face), mask=resize_map(one.seen.mask, self.observer.size)
            )
            views.append(self._view(seen, one.face.pose_deg[1], SURE["front" if one is pictures[0] else "left"]))
        made = extract(views[::-1], self.template, self.regions)
        run.enter("export")
        number = np.where(made.source > 0, len(views) + 1 - made.source.astype(int), 0)
        labels = np.where(
            number > 1, Provenance.PADDING + number - 1, np.where(number, Provenance.PHOTO, Provenance.PRIOR)
        )
        completion = as_written(self._completion(made, labels.astype(np.uint8), ()))
        done = self._assembler.assemble(several.source, pictures[0], completion, None, run)
        run.finish()
        record = {**with_photos(done.record, several, done.provenance), "attributes": self._figures(made)}
        return replace(done, record=cast("RunRecord", record))

    def _make(self, faces: Sequence[FaceInWork]) -> list[CompletedFace]:
        return [self._normalised(one) for one in faces]

    def _normalised(self, one: FaceInWork) -> CompletedFace:
        run, observed = one.run, one.observed
        run.enter("project")
        inverted = self._inverted(one)
        edited = self.editor.edit(inverted.latent, NORMAL)
        drawn = {name: self._turned(edited, name) for name in VIEWS}
        run.enter("stitch")
        looks = {name: self._look(name, face.picture) for name, face in drawn.items()}
        made = extract([looks[name].view for name in VIEWS], self.template, self.regions)
        run.enter("export")
        views = tuple(
            replace(inverted, name=name, generated=face.picture, latent=face.latent) for name, face in drawn.items()
        )
        labels = np.array([Provenance.PRIOR, *(LABELS[name] for name in VIEWS)], np.uint8)[made.source]
        completion = as_written(self._completion(made, labels, views))
        front = looks["front"].observed
        seen = replace(observed, seen=front.seen, coarse=front.coarse)
        done = self._assembler.assemble(one.work.source, seen, completion, None, run)
        about = self._about(edited, drawn, made)
        return replace(done, record=cast("RunRecord", {**done.record, **about}))

    def _inverted(self, one: FaceInWork) -> ProjectedView:
        completer = cast("GeneratorCompleter", self._generator)
        observed, steps = one.observed, self.settings.iterations
        evidence = fuse([observed], self.observer.unwrapper, self.observer.guide)
        pitch, yaw = observed.face.pose_deg[:2]
        if completer.draws_portraits:
            view = View((pitch, yaw), Provenance.FRONT, 1.0)
            return invert_photo(completer, evidence, None, view, steps, one.run.advance)
        within = self.models.generator.frame.pose_range_deg  # type: ignore[union-attr]
        pose = tuple(float(np.clip(v, *bounds)) for v, bounds in zip((pitch, yaw), within, strict=True))
        view = View(cast("tuple[float, float]", pose), Provenance.FRONT, 1.0)
        return completer.invert(evidence, completer.canvas.fill(evidence), view, steps, one.run.advance)

    def _turned(self, edited: EditedFace, name: str) -> EditedFace:
        if name == "front":
            return edited
        pitch, yaw = VIEWS_DEG[name]
        return self.editor.edit(edited.latent, {"yaw_deg": yaw, "pitch_deg": pitch})

    @threads(1)
    def _look(self, name: str, picture: FloatArray) -> _Look:
        """Bring a picture of the generator into the layout. Raises FaceError where it shows no face."""
        side = max(LEAST_SIDE, len(picture))
        large = np.clip(resize_image(picture, side, side), 0, 1)
        topology = self.models.topology
        found = detect_landmarks_in(large, whole_image(side, side), self.models.facemesh, QUICK)
        if found.confidence < MIN_CONFIDENCE:
            raise FaceError(f"The edited face cannot be made out from the {name}.")
        face = fit_dense(found, topology)
        seen = self.observer.unwrap(large, face)
        if cast("GeneratorCompleter", self._generator).draws_portraits:
            seen = self.observer.mask(large, face, seen).seen
        observed = ObservedFace(
            large, whole_box(side), found.confidence, face, seen, self.observer.coarse(large, face, seen)
        )
        return _Look(observed, self._view(seen, face.pose_deg[1], SURE[name]))

    def _view(self, seen: UvObservation, yaw_deg: float, sure: float) -> FaceView:
        """What may be used of a picture in the layout: not eyes and mouth, which are the template's."""
        bare = (photo_weight(seen, yaw_deg) > BELIEVED) & ~np.logical_or.reduce(self.regions.repaired[:3])
        return FaceView(seen.colour, bare, seen.cosine > NEAR, seen.cosine > sure)

    def _completion(self, made: Extraction, labels: ByteArray, views: tuple[ProjectedView, ...]) -> Completion:
        inside = self.regions.inside
        provenance = np.where(inside, labels, Provenance.OUTSIDE).astype(np.uint8)
        texture: CompletedTexture = pad(made.texture, provenance, inside, self.settings.blend.padding)
        of_reference = made.filled & (made.source == made.source.max())  # whose light is fitted
        return Completion(texture, of_reference, "normalised", "views over a template", views)

    def _about(self, edited: EditedFace, drawn: Mapping[str, EditedFace], made: Extraction) -> dict[str, Any]:
        """For the record: what was measured, and the attributes by which a dataset is filtered."""
        # The manifest has the pose of the photo itself.
        before = {name: value for name, value in edited.before.items() if name not in POSE}
        figures = {"residual_smile": edited.after["smile"], "uneven_after": edited.after["unevenness"]}
        return {
            "normalised": {
                "before": edited.before,
                "after": edited.after,
                "views": {name: face.after for name, face in drawn.items()},
                "rounds": edited.rounds,
                "likeness": edited.likeness,
            },
            "attributes": {**before, **figures, **self._figures(made)},
        }

    def _figures(self, made: Extraction) -> dict[str, float]:
        inside = self.regions.inside
        symmetry = symmetry_error(made.texture, inside)
        return {"symmetry": round(symmetry, 3), "valid_area": round(made.valid_area(inside), 4)}


def whole_box(side: int) -> FaceBox:
    """A picture that a face fills, as a detection."""
    corners = np.array([0, 0, side, side], np.float32)
    return FaceBox(corners, 1.0, np.zeros((5, 2), np.float32))


def extraction_regions(topology: Topology, inside: BoolArray) -> ExtractionRegions:
    """Windows and rims of a layout whose chart is ``inside`` [S, S]."""
    size = len(inside)
    uv = topology.uv

    def widened(polygon: FloatArray, texels: int) -> BoolArray:
        mask = polygon_mask(polygon, size)
        return ndimage.binary_dilation(mask, iterations=max(1, round(texels * size / 1024)))

    eyes = [widened(topology.regions[name], _WIDER) for name in ("eye_left", "eye_right")]
    mouth = widened(topology.regions["mouth"], _MOUTH_WIDER)
    nose = widened(uv[list(_NOSE)], _NOSE_WIDER)
    lips = widened(topology.regions["lips"], _WIDER)
    v = 1 - (np.arange(size)[:, None] + 0.5) / size
    rim = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] / size
    scalp = inside & (v > SCALP_FROM) & (rim < SCALP_RIM)
    return ExtractionRegions(inside, (*eyes, mouth, nose & ~mouth), lips, nose, scalp)
