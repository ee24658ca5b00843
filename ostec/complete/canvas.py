"""The layout on which the pictures' texels, the prior's fill and generated views become one texture."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ostec.complete.progressive import UvState
from ostec.core.types import BoolArray, CompletedTexture, Evidence, FloatArray, LayoutGuide, Provenance
from ostec.prior.linear import (
    TONE_FACTORS,
    LinearPrior,
    PriorFill,
    fill_from_prior,
    prior_weight,
    sample_from_prior,
)
from ostec.prior.settings import PriorSettings
from ostec.render.unwrap import enlarge_inside, resize_map
from ostec.render.uv import UvLayout
from ostec.stitch.blend import feathered, pad, photo_weight, slanted_recoloured, spread, stitch
from ostec.stitch.eyes import MirroredEyes, mirror_eyes
from ostec.stitch.merge import ViewFill
from ostec.stitch.settings import BlendSettings

INTERIOR_RIM = 0.2
"""Distance in UV from the chart's border beyond which what the prior cannot explain is still face: eyes, beards,
scars.
"""
HARD_FROM_PX = 512
"""Side of the generator's pictures from which auto lets it draw the whole face of a profile photo."""
MIRROR_RIM = 0.06
"""Distance in UV from the chart's border from which detail is mirrored, fully at twice that."""


@dataclass(frozen=True)
class UvCanvas:
    """One topology's layout at any size, with the prior that belongs to it."""

    layout: Callable[[int], UvLayout]
    """Gives the chart baked at a number of texels."""
    guide: LayoutGuide
    """Of the layout, at the prior's size if there is one."""
    prior: LinearPrior | None
    fill_settings: PriorSettings = field(default_factory=PriorSettings)
    blend_settings: BlendSettings = field(default_factory=BlendSettings)

    def inside(self, size: int) -> BoolArray:
        """The chart at a number of texels, [S, S]."""
        return self.layout(size).inside.cpu().numpy()

    def fill(self, evidence: Evidence) -> PriorFill | None:
        """What the prior says; None without one."""
        if self.prior is None:
            return None
        coarse = evidence.coarse
        weight = prior_weight(coarse.cosine, coarse.visible, coarse.margin_mm, self.fill_settings) * coarse.mask
        return fill_from_prior(
            self.prior, coarse.colour, weight.astype(np.float32), self.fill_settings, self.guide.features
        )

    def samples(self, evidence: Evidence, fill: PriorFill, count: int, seed: int) -> FloatArray:
        """``count`` draws [N, s, s, 3] of what the prior says, each with its own seed; as :attr:`PriorFill.texture`."""
        assert self.prior is not None
        size = self.prior.basis.shape[-1] + TONE_FACTORS
        noise = np.stack([np.random.default_rng((seed, n)).standard_normal(size, np.float32) for n in range(count)])
        return sample_from_prior(
            self.prior, evidence.coarse.colour, fill.trust, noise, self.fill_settings, self.guide.features
        )

    def is_occluded(self, fill: PriorFill | None) -> bool:
        """Whether something other than hair lies in front of the face, as the prior sees it."""
        return fill is not None and bool((fill.occluded & (self.guide.rim > INTERIOR_RIM)).any())

    def weight(self, evidence: Evidence, fill: PriorFill | None) -> FloatArray:
        """[S, S] in [0, 1]: how far each texel of the pictures is believed."""
        seen = evidence.seen
        weight = photo_weight(seen, evidence.face.pose_deg[1], self.blend_settings)
        if fill is None:
            return weight
        believed = np.maximum(np.clip(fill.explained * 4 - 1, 0, 1), self.guide.rim > INTERIOR_RIM)
        return weight * resize_map((believed * ~fill.occluded * (1 - fill.hair)).astype(np.float32), seen.size)

    def prior_texture(self, texture: FloatArray, size: int) -> FloatArray:
        """The prior's texture [s, s, 3] at ``size`` texels."""
        assert self.prior is not None
        return np.clip(enlarge_inside(texture, self.prior.inside, size), 0, 1).astype(np.float32)

    def start(self, evidence: Evidence, weight: FloatArray, fill: PriorFill | None, work: int) -> UvState:
        """The texture that the first view is drawn with, at ``work`` texels."""
        inside = self.inside(work)
        photo, weight = resize_map(evidence.seen.colour, work), resize_map(weight, work) * inside
        base = self.prior_texture(fill.texture, work) if fill is not None else spread(photo, weight)
        eyes = self._eyes(photo, weight, base)
        first = stitch(eyes.photo, weight, eyes.fill, inside, self.blend_settings, self._mirror(work))
        trust = feathered(weight, inside, self.blend_settings.feather * work) * inside
        return UvState(first.colour, trust.astype(np.float32), base, inside)

    def join(self, evidence: Evidence, weight: FloatArray, fill: ViewFill, mode: str) -> CompletedTexture:
        """Lay what is believed of the pictures over a fill; in mode hard the fill is all."""
        seen, settings = evidence.seen, self.blend_settings
        if mode == "hard":
            return pad(fill.texture, fill.provenance, seen.inside, settings.padding)
        photo = slanted_recoloured(seen.colour, weight, seen.cosine, fill.texture, settings)
        eyes = self._eyes(photo, weight, fill.texture)
        given = np.where(eyes.taken, Provenance.MIRRORED, fill.provenance).astype(np.uint8)
        mirror, skin = self._mirror(seen.size), self._skin(seen.size)
        return stitch(eyes.photo, weight, eyes.fill, seen.inside, settings, mirror, given, skin)

    def _skin(self, size: int) -> FloatArray:
        """How far a texel is skin without features, [S, S]."""
        bare = ndimage.gaussian_filter((~self.guide.features).astype(np.float32), len(self.guide.features) / 128)
        return np.clip(resize_map(bare, size) * 2 - 1, 0, 1)

    def _eyes(self, photo: FloatArray, weight: FloatArray, fill: FloatArray) -> MirroredEyes:
        """Photo and fill [S, S, 3] with a hidden eye drawn from the other one."""
        prior, size = self.prior, len(weight)
        if prior is None:
            return MirroredEyes(photo, fill, np.zeros(weight.shape, bool))
        opening = resize_map(self.guide.eyes, size)

        def straight() -> FloatArray:
            return self.prior_texture(prior.image(prior.mean), size)

        return mirror_eyes(photo, weight, fill, opening, straight, self.blend_settings.eye)

    def _mirror(self, size: int) -> FloatArray:
        """How far a texel's detail may be the other half's, [S, S].

        Not in the eyes, which would squint, nor at the border, where thin hair would come over.
        """
        guide = self.guide
        return resize_map((1 - guide.eyes) * np.clip((guide.rim - MIRROR_RIM) / MIRROR_RIM, 0, 1), size)


def chosen_mode(asked: str, yaw_deg: float, profile_deg: float, resolution: int) -> tuple[str, str]:
    """Soft or hard, and why.

    Args:
        asked: auto, soft or hard.
        yaw_deg: the face's.
        profile_deg: yaw up to which auto keeps the photo's texels.
        resolution: side of the generator's pictures in pixels; 0 without one.
    """
    yaw = abs(yaw_deg)
    if asked != "auto":
        return asked, "asked for"
    if yaw <= profile_deg:
        return "soft", f"yaw is {yaw:.0f} degrees, within {profile_deg:.0f}"
    if resolution >= HARD_FROM_PX:
        return "hard", f"yaw is {yaw:.0f} degrees, and the generator draws {resolution} px"
    return "soft", f"yaw is {yaw:.0f} degrees, but no generator of {HARD_FROM_PX} px or more is there"
