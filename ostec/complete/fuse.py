"""Pictures of one person to one evidence: registered in UV, in one light, the best of each texel.

The first picture is the reference: shape, expression and light are its own. At a working size every other picture is
registered to it, brought to its light and judged texel by texel; the full size then follows picture by picture, so that
memory does not grow with their number. Colour (the low band) is a weighted mean of the pictures that agree, detail (the
high band) is that of the picture that shows it best.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ostec.complete.exposure import harmonics, match_exposures
from ostec.complete.register import shifted, small_flow
from ostec.complete.settings import FuseSettings
from ostec.core.types import (
    BoolArray,
    ByteArray,
    Completion,
    DoubleArray,
    Evidence,
    FittedFace,
    FloatArray,
    LayoutGuide,
    ObservedFace,
    Provenance,
    UvObservation,
)
from ostec.render.colour import from_linear, to_linear
from ostec.render.geometry import vertex_normals
from ostec.render.unwrap import Unwrapper, resize_map
from ostec.stitch.blend import low_pass, photo_weight

EXPOSURE_SIZE = 128
"""Side in texels at which pictures are brought to one light."""
MOST_PICTURES = 200
"""Pictures whose texels the provenance can name, and a bit less."""


@dataclass(frozen=True)
class _Judged:
    """What is known of one picture after the working size, W texels."""

    flow: FloatArray
    """[W, W, 2] texels: where the reference's texels lie in it."""
    gain: DoubleArray
    """[4, 3]: its change of light, as coefficients of ``exposure.harmonics``."""
    weight: FloatArray
    """[W, W]: how well it shows each texel, 1 for the best of all pictures."""


def fuse(pictures: Sequence[ObservedFace], unwrapper: Unwrapper, guide: LayoutGuide) -> Evidence:
    """Join what the pictures of one person show of the face; one picture is its own evidence.

    Args:
        pictures: the reference first; of the others ``seen`` may be of any size, for only its mask counts.
        unwrapper: of their topology.
        guide: of its layout.
    """
    first = pictures[0]
    if len(pictures) == 1:
        return Evidence(first.face, first.seen, first.coarse, first.photo, first.identity)
    judged = _judge(pictures, unwrapper, guide, FuseSettings())
    seen, best = _joined(pictures, judged, unwrapper, first.seen.size)
    return Evidence(first.face, seen, _smaller(seen, first.coarse), first.photo, first.identity, best)


def named(completion: Completion, evidence: Evidence) -> Completion:
    """The completion with the provenance of the photos' texels saying which picture each comes from.

    The first picture's stay ``PHOTO``; those of picture n, from 2, are ``PADDING`` + n - 1.
    """
    if evidence.picture is None:
        return completion
    given = completion.texture.provenance
    labels = np.where(evidence.picture > 1, Provenance.PADDING + evidence.picture - 1, Provenance.PHOTO)
    told = np.where((given == Provenance.PHOTO) & (evidence.picture > 0), labels, given).astype(np.uint8)
    return replace(completion, texture=replace(completion.texture, provenance=told))


def _judge(
    pictures: Sequence[ObservedFace], unwrapper: Unwrapper, guide: LayoutGuide, settings: FuseSettings
) -> list[_Judged]:
    """Flow, light and weights of all pictures at the working size."""
    first, work = pictures[0], min(pictures[0].seen.size, settings.work)
    looks = [_look(one, unwrapper, work) for one in pictures]
    unlike = [_unlike(one.face, first.face, unwrapper, work) for one in pictures]
    quality = [_quality(look, one.face, far, settings) for look, one, far in zip(looks, pictures, unlike, strict=True)]
    colours, flows = [looks[0].colour], [np.zeros((work, work, 2), np.float32)]
    for k in range(1, len(pictures)):
        shared = np.sqrt(quality[0] * quality[k])
        flows.append(small_flow(looks[0].colour, looks[k].colour, shared))
        colours.append(shifted(looks[k].colour, flows[k]))
        quality[k] = shifted(quality[k], flows[k])
    normal = _normals(first.face, unwrapper, work)
    gains = _gains(colours, quality, normal)
    even = [
        from_linear(np.clip(to_linear(c) * _factor(gain, normal), 0, 1)) for c, gain in zip(colours, gains, strict=True)
    ]
    quality = [q * _crispness(even, quality, k) ** 2 for k, q in enumerate(quality)]
    quality = [q * agreement for q, agreement in zip(quality, _agreement(even, quality, settings), strict=True)]
    # The reference's own eyes, brows and lips: one gaze and one expression, where it shows them.
    own = resize_map(np.maximum(guide.features, guide.eyes).astype(np.float32), work)
    own = own * np.clip(quality[0] / settings.sure, 0, 1)
    quality = [quality[0] * settings.reference, *(q * (1 - own) for q in quality[1:])]
    quality = [_softened(q, settings.joint * work) for q in quality]
    most = np.maximum(np.max(quality, axis=0), 1e-6)
    return [
        _Judged(flow, gain, (q / most).astype(np.float32)) for flow, gain, q in zip(flows, gains, quality, strict=True)
    ]


def _softened(quality: FloatArray, sigma: float) -> FloatArray:
    """Weights without steps: they fall inwards from what is not believed, and change slowly elsewhere.

    A hundredth stays as it is, for texels that no picture shows better.
    """
    import cv2

    inwards = cv2.GaussianBlur(cv2.erode((quality > 1e-3).astype(np.float32), None, iterations=2), (0, 0), sigma)
    soft = cv2.GaussianBlur(quality, (0, 0), sigma) * np.clip(2 * inwards - 1, 0, 1)
    return np.asarray(soft + 0.01 * quality, np.float32)


def _look(picture: ObservedFace, unwrapper: Unwrapper, size: int) -> UvObservation:
    seen = unwrapper.unwrap(picture.photo, picture.face, size)
    return replace(seen, mask=resize_map(picture.seen.mask, size) * seen.inside)


def _normals(face: FittedFace, unwrapper: Unwrapper, size: int) -> FloatArray:
    """[S, S, 3] unit, canonical frame."""
    layout = unwrapper.layout(size)
    vertices = torch.as_tensor(face.vertices, device=unwrapper.device)
    normal = functional.normalize(layout.attribute(vertex_normals(vertices, layout.triangles)), dim=-1)
    return np.asarray(normal.cpu().numpy())


def _unlike(face: FittedFace, reference: FittedFace, unwrapper: Unwrapper, size: int) -> FloatArray:
    """[S, S] millimetres: how far another expression moves the skin."""
    moved = torch.as_tensor(face.vertices - reference.vertices, device=unwrapper.device)
    return np.asarray(unwrapper.layout(size).attribute(moved).norm(dim=-1).cpu().numpy())


def _quality(seen: UvObservation, face: FittedFace, unlike: FloatArray, settings: FuseSettings) -> FloatArray:
    """[S, S] in [0, 1]: how well a picture shows each texel, were it as crisp as the others."""
    believed = photo_weight(seen, face.pose_deg[1])
    facing = np.clip(seen.cosine, 0, 1) ** settings.facing
    alike = 1 / (1 + (unlike / settings.unlike_mm) ** 2)
    low, high = settings.clipped
    unclipped = np.clip((high - seen.colour.max(-1)) / (high - low), 0, 1)
    return np.asarray(believed * facing * alike * (0.02 + 0.98 * unclipped), np.float32)


def _gains(colours: Sequence[FloatArray], quality: Sequence[FloatArray], normal: FloatArray) -> DoubleArray:
    """The change of light of each picture, [P, 4, 3]."""
    size = min(EXPOSURE_SIZE, len(normal))
    shares = [resize_map(q, size) for q in quality]
    light = [
        np.asarray(resize_map(to_linear(c) * q[..., None], size) / np.maximum(share, 1e-6)[..., None], np.float32)
        for c, q, share in zip(colours, quality, shares, strict=True)
    ]
    return match_exposures(light, [s * (s > 0.01) for s in shares], resize_map(normal, size))


def _factor(gain: DoubleArray, normal: FloatArray) -> FloatArray:
    """[S, S, 3]: what multiplies linear light."""
    return np.exp(harmonics(normal) @ gain).astype(np.float32)


def _crispness(colours: Sequence[FloatArray], quality: Sequence[FloatArray], k: int) -> float:
    """Detail of a picture over the reference's where both show the face well; 1 where they share too little."""
    shared = quality[0] * quality[k]
    if k == 0 or shared.sum() < 0.01 * shared.size:
        return 1.0
    energy = [float((shared * ((c - low_pass(c, shared, 1.5)) ** 2).mean(-1)).sum()) for c in (colours[k], colours[0])]
    return float(np.clip((energy[0] / max(energy[1], 1e-12)) ** 0.5, 0.2, 1.25))


def _agreement(
    colours: Sequence[FloatArray], quality: Sequence[FloatArray], settings: FuseSettings
) -> list[FloatArray]:
    """[S, S] per picture: how far it shows what the others show; a matter of majority from three pictures on.

    A vote is worth the same from every picture that sees the texel about as well as the best one; of two pictures the
    better one is believed.
    """
    enough = np.maximum(settings.voice * np.max(quality, axis=0), 1e-6)
    votes = np.stack([np.clip(q / enough, 0, 1) * (1 + 0.01 * q) for q in quality])
    smooth = np.stack([low_pass(c, q, settings.agree_reach * len(q)) for c, q in zip(colours, quality, strict=True)])
    middle = np.stack([weighted_median(smooth[..., c], votes) for c in range(3)], axis=-1)
    apart = np.sqrt(((smooth - middle) ** 2).mean(-1))
    return [(1 / (1 + (a / settings.agree) ** 2) ** 2).astype(np.float32) for a in apart]


def weighted_median(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Lower weighted median of [P, S, S] over the first axis; zero where nothing has weight."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered, share = np.take_along_axis(values, order, 0), np.take_along_axis(weight, order, 0).cumsum(0)
    half = (share >= share[-1:] / 2 - 1e-6) & (share > 0)
    found = np.take_along_axis(ordered, half.argmax(0)[None], 0)[0]
    return np.where(share[-1] > 0, found, 0).astype(np.float32)


def _joined(
    pictures: Sequence[ObservedFace], judged: Sequence[_Judged], unwrapper: Unwrapper, size: int
) -> tuple[UvObservation, ByteArray]:
    """All pictures as one observation at ``size`` texels, and the number of the picture that shows each texel best.

    View angle, mask and the like of a texel are those of its best picture.
    """
    settings, first = FuseSettings(), pictures[0].seen
    normal = _normals(pictures[0].face, unwrapper, size)
    low_sum, low_weight, high_sum, high_weight = (np.zeros((size, size, c), np.float32) for c in (3, 1, 3, 1))
    top, best = np.zeros((size, size), np.float32), np.zeros((size, size), np.uint8)
    maps = {name: np.array(getattr(first, name)) for name in ("cosine", "visible", "mask", "margin_mm")}
    for number, (one, seen) in enumerate(_registered(pictures, judged, unwrapper, size), start=1):
        weight = resize_map(one.weight, size) * (seen.visible & seen.inside)
        light = to_linear(seen.colour) * _factor(one.gain, normal)
        low = low_pass(light, weight, settings.detail * size)
        sharp = (weight**settings.sharpness)[..., None]
        low_sum += low * weight[..., None]
        low_weight += weight[..., None]
        high_sum += (light - low) * sharp
        high_weight += sharp
        better = weight > top
        top, best = np.maximum(top, weight), np.where(better, number, best).astype(np.uint8)
        maps = {name: np.where(better, getattr(seen, name), value) for name, value in maps.items()}
    light = low_sum / np.maximum(low_weight, 1e-6) + high_sum / np.maximum(high_weight, 1e-12)
    colour = np.where((best > 0)[..., None], from_linear(np.clip(light, 0, 1)), first.colour)
    return replace(first, colour=colour.astype(np.float32), **maps), best


def _registered(
    pictures: Sequence[ObservedFace], judged: Sequence[_Judged], unwrapper: Unwrapper, size: int
) -> Iterator[tuple[_Judged, UvObservation]]:
    """Each picture's observation at ``size`` texels, registered to the reference."""
    for number, (picture, one) in enumerate(zip(pictures, judged, strict=True)):
        seen = _look(picture, unwrapper, size)
        if number:
            flow = resize_map(one.flow, size) * np.float32(size / len(one.flow))
            maps: dict[str, Any] = {
                name: shifted(getattr(seen, name), flow) for name in ("colour", "cosine", "mask", "margin_mm")
            }
            visible: BoolArray = shifted(seen.visible.astype(np.float32), flow) > 0.999
            seen = replace(seen, visible=visible & seen.inside, **maps)
        yield one, seen


def _smaller(seen: UvObservation, like: UvObservation) -> UvObservation:
    """An observation at the size of another one of the same face."""
    size, shown = like.size, seen.visible.astype(np.float32)
    share = resize_map(shown, size)
    colour = resize_map(seen.colour * shown[..., None], size) / np.maximum(share, 1e-6)[..., None]
    visible = (share > 0.5) & like.inside
    maps: dict[str, Any] = {name: resize_map(getattr(seen, name), size) for name in ("cosine", "mask", "margin_mm")}
    return replace(like, colour=(colour * visible[..., None]).astype(np.float32), visible=visible, **maps)
