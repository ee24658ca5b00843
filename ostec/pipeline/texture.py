"""One face's texture: what the photo shows of it, what the prior says, what the generator imagines, joined."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from ostec.core.progress import PhotoRun
from ostec.core.settings import CompleteSettings
from ostec.core.types import (
    BoolArray,
    ByteArray,
    CompletedTexture,
    FittedFace,
    FloatArray,
    ProjectedView,
    Provenance,
    UvObservation,
)
from ostec.mask.hands import HandSettings, detect_hands, hand_mask
from ostec.mask.parsing import ParsedFace, bare_face, believed
from ostec.mask.skin import MaskGuide, face_mask, mask_guide, surround_colours
from ostec.pipeline.judging import Judging
from ostec.pipeline.models import Models
from ostec.pipeline.progressive import UvState, ViewProjector, complete_views, projected_view
from ostec.prior.linear import PriorFill, PriorSettings, fill_from_prior, prior_weight
from ostec.project.objective import ProjectionSettings, ProjectionTarget
from ostec.project.space import latent_space, starting_latents
from ostec.project.together import Projecting, ProjectionRequest
from ostec.project.views import View, ViewStudio, waves_of
from ostec.render.crops import five_points
from ostec.render.unwrap import Unwrapper, enlarge_inside, resize_map
from ostec.stitch.blend import BlendSettings, feathered, pad, photo_weight, slanted_recoloured, spread, stitch
from ostec.stitch.views import ViewFill, ViewSettings, merge_views

MASK_SIZE = 256
INTERIOR_RIM = 0.2
"""Distance in UV from the chart's border beyond which what the prior cannot explain is still face: eyes, beards,
scars.
"""
MIRROR_RIM = 0.06
"""Distance in UV from the chart's border from which detail is mirrored, fully at twice that."""
WORK_SIZE = 512
"""Least side in texels at which views are joined, or the texture's own if that is smaller."""
TEXELS_PER_PIXEL = 4
"""Side at which views are joined over the side of the generator's pictures."""
HIDDEN = 0.5
"""Least trust in a pixel that is looked at, where somebody else says how far each is trusted."""
RETREAT = 5 / 256
"""Width in UV of the neighbourhood that a hidden texel takes with it."""
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Observed:
    """The photo in the layout."""

    seen: UvObservation
    occluders: tuple[str, ...]
    """Names of what was found in front of the face."""
    parsing: str = "none"
    """Which network parsed the photo."""
    warnings: tuple[str, ...] = ()
    """What the user should know of that."""


@dataclass(frozen=True)
class MadeTexture:
    """A finished texture and the views behind it."""

    completed: CompletedTexture
    photo: BoolArray
    """[S, S] the texels that the photo shows well enough to be believed, whatever the mode made of them."""
    views: tuple[ProjectedView, ...] = ()


class TextureMaker:
    """Makes textures in one topology's layout; holds what is computed once."""

    def __init__(self, models: Models, settings: CompleteSettings, device: torch.device) -> None:
        self.models, self.settings, self.device = models, settings, device
        self.unwrapper = Unwrapper(models.topology, device)
        self._guide: MaskGuide = mask_guide(models.topology, self.inside(MASK_SIZE))
        self._prior_guide = mask_guide(models.topology, models.prior.inside) if models.prior else self._guide
        self.space = latent_space(models.generator, models.lpips) if models.generator else None
        self.judging = Judging(models)
        self.hand_settings = HandSettings()
        self.prior_settings = PriorSettings()
        self.blend_settings = BlendSettings()
        self.view_settings = ViewSettings()
        self.projection_settings = ProjectionSettings()

    @property
    def features_name(self) -> str | None:
        """What the projection's pictures are compared by; None where nothing is projected."""
        return self.space.features_name if self.space else None

    @property
    def draws_portraits(self) -> bool:
        """Whether the generator's pictures are portraits of people with their own shape."""
        return self.models.generator is not None and self.models.generator.frame.own_shape

    @property
    def work_size(self) -> int:
        """Side in texels at which views are joined, but for a smaller texture's own."""
        assert self.models.generator is not None
        return max(WORK_SIZE, TEXELS_PER_PIXEL * self.models.generator.generator.shape.resolution)

    def inside(self, size: int) -> BoolArray:
        """The chart at a number of texels, [S, S]."""
        return self.unwrapper.layout(size).inside.cpu().numpy()

    def unwrap(self, image: FloatArray, face: FittedFace) -> UvObservation:
        """Read the photo at every texel; its mask is still the whole chart."""
        return self.unwrapper.unwrap(image, face, self.settings.uv_size)

    def mask(
        self, image: FloatArray, face: FittedFace, seen: UvObservation, trusted: FloatArray | None = None
    ) -> Observed:
        """Find out what of the unwrapped photo is bare face.

        Args:
            image: the photo.
            face: its face.
            seen: the photo in the layout.
            trusted: [H, W, 1] in [0, 1], how far somebody else trusts each pixel; what is not is not looked at.
        """
        small = self.unwrapper.unwrap(image, face, MASK_SIZE)
        pixels = (face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]).astype(np.float32)
        up = face.camera_matrix[:2, 1].astype(np.float32)
        surround = surround_colours(image, pixels, up)
        allowed = np.ones_like(small.mask)
        free = self._free_of_hands(image, face)
        if free is not None:
            trusted = free if trusted is None else trusted * free
        if trusted is not None:
            allowed = retreated(self.unwrapper.unwrap(trusted, face, MASK_SIZE))
            small = replace(small, visible=small.visible & (allowed >= HIDDEN))
            surround = surround[surround_colours(trusted, pixels, up)[:, 0] >= HIDDEN]
        parsed = self._parsed(image, face, small)
        if parsed.bare is not None:
            allowed = np.minimum(allowed, parsed.bare)
            small = replace(small, visible=small.visible & (parsed.bare >= HIDDEN))
        found = face_mask(small, self._guide, surround)
        seen = replace(seen, mask=resize_map(found.mask * allowed, seen.size) * seen.inside)
        occluders = [*(["spectacles"] if found.spectacles.any() else []), *(["hand"] if free is not None else [])]
        return Observed(seen, tuple(occluders), parsed.name, parsed.warnings)

    def _free_of_hands(self, image: FloatArray, face: FittedFace) -> FloatArray | None:
        """How far no hand lies on each pixel, [H, W, 1] in [0, 1]; None if none lies on the face."""
        if self.models.hands is None:
            return None
        hands = detect_hands(image, face.landmarks, self.models.hands, self.hand_settings)
        if not hands:
            return None
        free = 1 - hand_mask(image.shape[:2], hands, self.hand_settings)[..., None]
        shown = self.unwrapper.unwrap(free, face, MASK_SIZE)
        return free if (shown.visible & (shown.colour[..., 0] < HIDDEN)).any() else None

    def _parsed(self, image: FloatArray, face: FittedFace, small: UvObservation) -> ParsedFace:
        """What the parsing says of the texels that the photo shows; nothing where there is none, or where it errs."""
        network = self.models.parsing
        if network is None:
            return ParsedFace()
        bare = bare_face(image, five_points(face.landmarks), network)
        return believed(retreated(self.unwrapper.unwrap(bare, face, MASK_SIZE)), small, self._guide, network.name)

    def fill(self, image: FloatArray, face: FittedFace, seen: UvObservation) -> PriorFill | None:
        """What the prior says; None without one."""
        prior = self.models.prior
        if prior is None:
            return None
        small = self.unwrapper.unwrap(image, face, prior.size)
        mask = resize_map(seen.mask, prior.size)
        weight = prior_weight(small.cosine, small.visible, small.margin_mm, self.prior_settings) * mask
        features = self._prior_guide.features
        return fill_from_prior(prior, small.colour, weight.astype(np.float32), self.prior_settings, features)

    def is_occluded(self, fill: PriorFill | None) -> bool:
        """Whether something other than hair lies in front of the face, as the prior sees it."""
        return fill is not None and bool((fill.occluded & (self._prior_guide.rim > INTERIOR_RIM)).any())

    def complete(
        self,
        seen: UvObservation,
        fill: PriorFill | None,
        face: FittedFace,
        mode: str,
        run: PhotoRun,
        identity: torch.Tensor | None = None,
    ) -> Projecting[MadeTexture]:
        """Join photo, prior and what the generator makes of the views; the stages project and stitch.

        Args:
            seen: the photo in the layout.
            fill: the prior's.
            face: the photo's.
            mode: soft or hard.
            run: is told how far it is.
            identity: [512] whose face it is, if an ArcFace said so.
        """
        weight = self._photo_weight(seen, fill, face)
        if self.space is None:
            assert fill is not None  # the settings refuse to go without both
            run.enter("stitch")
            large = self._prior_texture(fill if mode == "soft" else replace(fill, texture=fill.model), seen.size)
            return MadeTexture(self._join(seen, weight, merge_views(large, (), seen.inside), mode), weight >= 0.5)
        work = min(seen.size, self.work_size)
        run.enter("project")
        state = self._start(seen, weight, fill, work)
        start = self._start_from(fill)
        studio = self.studio(face)
        projector = ViewProjector(
            studio,
            self.space,
            start,
            lambda view, target: self.judging.terms(studio.landmarks(view), target, self.projection_settings, identity),
            self.projection_settings,
            self.view_settings,
        )
        made = yield from complete_views(
            projector, waves_of(mode, self.settings.schedule), state, self.settings.iterations, run.advance
        )
        run.enter("stitch")
        texture = enlarge_inside(made.fill.texture, state.inside, seen.size) if work < seen.size else made.fill.texture
        given = _enlarge_labels(made.fill.provenance, seen.inside)
        if fill is None:
            given = np.where(given == Provenance.PRIOR, Provenance.PADDING, given).astype(np.uint8)
        joined = self._join(seen, weight, ViewFill(np.clip(texture, 0, 1), given), mode)
        return MadeTexture(joined, weight >= 0.5, made.views)

    def invert(
        self,
        seen: UvObservation,
        fill: PriorFill | None,
        face: FittedFace,
        view: View,
        iterations: int,
        on_progress: OnProgress,
        identity: torch.Tensor | None = None,
    ) -> Projecting[ProjectedView]:
        """Project the photo itself: its texture at one pose, trusted where the photo is believed."""
        assert self.space is not None
        work = min(seen.size, self.work_size)
        state = self._start(seen, self._photo_weight(seen, fill, face), fill, work)
        studio = self.studio(face)
        target = studio.draw(state.texture, state.trust, view)
        start = self._start_from(fill)
        begin = start(view, target) if start is not None else None
        found = yield self.request(target, studio.landmarks(view), iterations, on_progress, identity, start=begin)
        return projected_view(view, target, found)

    def request(
        self,
        target: ProjectionTarget,
        points: FloatArray,
        iterations: int,
        on_progress: OnProgress,
        identity: torch.Tensor | None = None,
        settings: ProjectionSettings | None = None,
        start: torch.Tensor | None = None,
    ) -> ProjectionRequest:
        """To project one picture of a face.

        Args:
            target: the picture, a batch of one.
            points: [468, >= 2] the face's landmarks in its pixels.
            iterations: at most.
            on_progress: called with the share that is done.
            identity: [512] whose face it is, if an ArcFace said so.
            settings: this maker's if None.
            start: [1, num_ws, W]; the encoder's or the mean latent if None.
        """
        assert self.space is not None
        settings = settings or self.projection_settings
        return ProjectionRequest(
            self.space,
            target,
            iterations,
            settings,
            start,
            (self.judging.terms(points, target, settings, identity),),
            lambda k: on_progress(k / max(iterations, 1)),
        )

    def _start_from(self, fill: PriorFill | None) -> Callable[[View, ProjectionTarget], torch.Tensor] | None:
        """Gives starting latents from the prior's coefficients; None if they mean nothing to the generator."""
        model = self.models.generator
        if fill is None or model is None or not self.models.shares_prior:
            return None
        coefficients = torch.from_numpy(fill.coefficients).to(self.device)

        def start(view: View, target: ProjectionTarget) -> torch.Tensor:
            return starting_latents(model, target, coefficients, torch.tensor([view.pose_deg]))

        return start

    def studio(self, face: FittedFace) -> ViewStudio:
        """Where a face's views are drawn for the generator."""
        model = self.models.generator
        assert model is not None
        shape = model.generator.shape
        return ViewStudio(self.models.topology, face, model.frame, shape.resolution, self.unwrapper.layout, self.device)

    def _photo_weight(self, seen: UvObservation, fill: PriorFill | None, face: FittedFace) -> FloatArray:
        weight = photo_weight(seen, face.pose_deg[1], self.blend_settings)
        if fill is None:
            return weight
        believed = np.maximum(np.clip(fill.explained * 4 - 1, 0, 1), self._prior_guide.rim > INTERIOR_RIM)
        return weight * resize_map((believed * ~fill.occluded * (1 - fill.hair)).astype(np.float32), seen.size)

    def _prior_texture(self, fill: PriorFill, size: int) -> FloatArray:
        prior = self.models.prior
        assert prior is not None
        return np.clip(enlarge_inside(fill.texture, prior.inside, size), 0, 1).astype(np.float32)

    def _start(self, seen: UvObservation, weight: FloatArray, fill: PriorFill | None, work: int) -> UvState:
        """The texture that the first view is drawn with, at ``work`` texels."""
        inside = self.inside(work)
        photo, weight = resize_map(seen.colour, work), resize_map(weight, work) * inside
        base = self._prior_texture(fill, work) if fill is not None else spread(photo, weight)
        first = stitch(photo, weight, base, inside, self.blend_settings, self._mirror(work))
        trust = feathered(weight, inside, self.blend_settings.feather * work) * inside
        return UvState(first.texture, trust.astype(np.float32), base, inside)

    def _join(self, seen: UvObservation, weight: FloatArray, fill: ViewFill, mode: str) -> CompletedTexture:
        if mode == "hard":
            return pad(fill.texture, fill.provenance, seen.inside, self.blend_settings.padding)
        mirror = self._mirror(seen.size)
        photo = slanted_recoloured(seen.colour, weight, seen.cosine, fill.texture, self.blend_settings)
        return stitch(photo, weight, fill.texture, seen.inside, self.blend_settings, mirror, fill.provenance)

    def _mirror(self, size: int) -> FloatArray:
        """How far a texel's detail may be the other half's, [S, S].

        Not in the eyes, which would squint, nor at the border, where thin hair would come over.
        """
        guide = self._prior_guide
        return resize_map((1 - guide.eyes) * np.clip((guide.rim - MIRROR_RIM) / MIRROR_RIM, 0, 1), size)


def retreated(trusted: UvObservation) -> FloatArray:
    """A picture of trust [S, S] in the layout, stepped back from what is not trusted, in steps of 1 / 255.

    Where trusted and other pixels mix in one texel its colour is between both. What was not seen is as its neighbours.
    """
    if not trusted.visible.any():
        return np.zeros(trusted.inside.shape, np.float32)
    nearest = ndimage.distance_transform_edt(~trusted.visible, return_distances=False, return_indices=True)
    values = np.round(trusted.colour[nearest[0], nearest[1], 0] * 255) / 255
    return np.asarray(ndimage.minimum_filter(values, round(RETREAT * trusted.size) | 1), np.float32)


def _enlarge_labels(labels: ByteArray, inside: BoolArray) -> ByteArray:
    """Labels of a smaller layout brought to the chart ``inside`` [S, S], each texel its nearest one's."""
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    whole = labels[nearest[0], nearest[1]]
    index = (np.arange(len(inside)) + 0.5) * len(labels) // len(inside)
    rows = index.astype(int)
    return np.where(inside, whole[rows[:, None], rows[None]], Provenance.OUTSIDE).astype(np.uint8)
