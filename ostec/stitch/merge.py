"""Generated views joined with the texture so far: which texels a view owns, and what the views make of the unseen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, ByteArray, FloatArray, GeneratedView, Provenance
from ostec.stitch.blend import low_pass
from ostec.stitch.colour import match_colour
from ostec.stitch.settings import ViewSettings


@dataclass(frozen=True)
class ViewFill:
    """What the generator made of a face."""

    texture: FloatArray
    """[S, S, 3]."""
    provenance: ByteArray
    """[S, S]: the view that gave each texel, or PRIOR where none saw it."""


def quality(view: GeneratedView, settings: ViewSettings | None = None) -> FloatArray:
    """How well a view shows each texel, [S, S] in [0, 1]: cosine and distance from the outline, as ramps."""
    settings = settings or ViewSettings()
    low, high = settings.own
    near, far = settings.outline_mm
    angle = np.clip((view.cosine - low) / (high - low), 0, 1)
    return (view.visible * angle * np.clip((view.margin_mm - near) / (far - near), 0, 1)).astype(np.float32)


@dataclass(frozen=True)
class Progress:
    """The texture while views are added to it."""

    texture: FloatArray
    """[S, S, 3] without holes."""
    trust: FloatArray
    """[S, S] in [0, 1]: seen by the photo or owned by a view."""
    views: tuple[GeneratedView, ...] = ()
    """Colour-matched views so far."""


def add_view(so_far: Progress, view: GeneratedView, settings: ViewSettings | None = None) -> Progress:
    """Match a view's colours and give it the texels that nobody owned and that it shows well.

    A texel of trust 1 keeps its colour; one of less is mixed by what the view shows of the rest.
    """
    settings = settings or ViewSettings()
    shown = quality(view, settings)
    # A texel that is half trusted is half base: to match its colour would be to match the base's.
    known = np.clip(2 * so_far.trust - 1, 0, 1)
    matched = match_colour(view.colour, so_far.texture, shown * known, settings.colour)
    # Outside what it sees the view has no colours: the texture's keep later filters from mixing in black.
    matched = np.clip(np.where(view.visible[..., None], matched, so_far.texture), 0, 1).astype(np.float32)
    owned = shown * (1 - so_far.trust)
    texture = so_far.texture + (matched - so_far.texture) * owned[..., None]
    kept = GeneratedView(view.provenance, view.weight, matched, view.cosine, view.visible, view.margin_mm)
    return Progress(texture.astype(np.float32), so_far.trust + owned, (*so_far.views, kept))


def merge_views(
    base: FloatArray, views: Sequence[GeneratedView], inside: BoolArray, settings: ViewSettings | None = None
) -> ViewFill:
    """Fill from the view that sees each texel best, feathered, over what the prior says.

    Args:
        base: [S, S, 3] the prior's fill, without holes.
        views: colour-matched.
        inside: [S, S] the chart.
        settings: the defaults if None.
    """
    settings = settings or ViewSettings()
    if not views:
        return ViewFill(base, np.where(inside, Provenance.PRIOR, Provenance.OUTSIDE).astype(np.uint8))
    scores = np.stack(
        [quality(v, settings) * (v.weight * np.clip(v.cosine, 0, 1)) ** settings.sharpness for v in views]
    )
    total = scores.sum(0)
    drawn = (
        sum(v.colour * s[..., None] for v, s in zip(views, scores, strict=True)) / np.maximum(total, 1e-9)[..., None]
    )
    # Where every view is poor, the fill goes over to the prior by the best view's quality.
    best = np.stack([quality(v, settings) for v in views]).max(0)
    best = ndimage.gaussian_filter(best, 2 * len(base) / 512) * (total > 0)
    change = np.where((total > 0)[..., None], drawn - base, 0).astype(np.float32)
    smooth = low_pass(change, best, settings.detail * len(base))
    mixed = settings.colour_share * smooth + settings.detail_share * (change - smooth)
    texture = base + mixed * best[..., None]
    detail = texture - low_pass(texture, np.ones_like(best), settings.detail * len(base))
    texture = texture + (best * _raised(detail, settings))[..., None] * detail
    given = np.array([v.provenance for v in views], np.uint8)[scores.argmax(0)]
    provenance = np.where(best >= 0.5, given, Provenance.PRIOR)
    return ViewFill(
        np.clip(texture, 0, 1).astype(np.float32), np.where(inside, provenance, Provenance.OUTSIDE).astype(np.uint8)
    )


def _raised(detail: FloatArray, settings: ViewSettings) -> FloatArray:
    """What is added of detail [S, S, 3], as a factor [S, S]."""
    power = np.square(detail).mean(axis=2, keepdims=True)
    local = low_pass(power, np.ones(detail.shape[:2], np.float32), settings.strong_reach * len(detail))[..., 0]
    return (settings.contrast - 1) / (1 + local / settings.strong**2)
