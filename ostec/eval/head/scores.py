"""Figures of a completed texture against a head's truth, in texels and in pictures at other poses.

* **Texels**: the completion against the true texture in the same UV layout, over all texels that have a truth
  (``texels``) and over those of them that the input could not see (``texels_unseen``).
* **Pictures**: at other poses of the head. The completion is drawn on the mesh that is fitted to the true picture, with
  that fit's camera: since both pictures then have the same landmarks, this is the completed face warped piecewise
  affinely onto the truth, and geometry hides no error of the texture. ``_own`` is without the warp: the completion's
  own mesh at the fitted pose of the true picture. Compared where the mesh covers the true head (``face``), and there
  over what the input could not see (``unseen``) and over the rest (``seen``).

*Seen* is a matter of the true mesh alone: no surface in front of the point, and the cosine of the true view angle above
0.2. Sharpness is relative to the true texture at the same texels, or drawn on the same mesh. ``skin`` is the PSNR
without eyes and mouth, for a shift of a pixel in the eyes alone makes most of the squared error. The truth is the head
under the light of the input; the mesh of a true picture is fitted without light, so that no light costs it accuracy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.errors import FaceError, UsageError
from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.eval.head.truth import FaceReader, Studio, UvTruth, camera_of
from ostec.eval.judges import Judges
from ostec.eval.report.drawing import DrawnMesh, HeadView, draw_mesh, seen_by
from ostec.eval.scores import large_enough, psnr, sharpness, ssim
from ostec.render.geometry import Camera


@dataclass(frozen=True)
class Target:
    """A true picture at another pose, with the mesh fitted to it."""

    yaw_deg: int
    view: HeadView
    fit: FittedFace
    camera: Camera
    """Of the fit."""
    mesh: DrawnMesh
    """The fitted mesh."""
    face: BoolArray
    """[H, W]: the fitted mesh covers the pixel, and the true head does."""
    skin: BoolArray
    """The same without eyes and mouth."""
    references: Mapping[str, FloatArray]
    """Light -> [H, W, 3]: the true texture drawn on the fitted mesh."""


@dataclass(frozen=True)
class OwnMesh:
    """A completion's own mesh in the frame of a target."""

    mesh: DrawnMesh
    face: BoolArray
    """[H, W]: the mesh covers the pixel, and the true head does."""
    reference: FloatArray
    """[H, W, 3]: the true texture drawn on it."""


def make_target(studio: Studio, reader: FaceReader, truth: UvTruth, yaw_deg: int) -> Target:
    """Draw the head at pitch 0 and a yaw, and fit the mesh to it. Raises UsageError where no face is found."""
    view = studio.shoot(0, yaw_deg, tuple(truth.textures))
    try:
        fit = reader.fit(view.images["unlit"])
    except FaceError as error:
        raise UsageError(f"At yaw {yaw_deg} no face is found on the head, so nothing can be compared there.") from error
    mesh = draw_mesh(torch.from_numpy(fit.vertices), camera_of(fit), reader.layout)
    face = mesh.covered & view.hit.numpy()
    skin = face & (mesh.draw(truth.skin[..., None].astype(np.float32))[..., 0] > 0.999)
    references = {light: mesh.draw(texture) for light, texture in truth.textures.items()}
    return Target(yaw_deg, view, fit, camera_of(fit), mesh, face, skin, references)


def own_mesh(face: FittedFace, target: Target, true_texture: FloatArray, reader: FaceReader) -> OwnMesh:
    """Put a completion's mesh where the mesh of the true picture is."""
    mesh = draw_mesh(torch.from_numpy(face.vertices), target.camera, reader.layout)
    return OwnMesh(mesh, mesh.covered & target.view.hit.numpy(), mesh.draw(true_texture))


def texel_figures(
    texture: FloatArray, true: FloatArray, truth: UvTruth, unseen: BoolArray, judges: Judges
) -> dict[str, float]:
    """Figures of a texture [S, S, 3] against the true one over all texels and over ``unseen`` [S, S] of them."""
    figures: dict[str, float] = {}
    for part, mask in (("texels", truth.valid), ("texels_unseen", large_enough(unseen, truth.valid))):
        figures[f"psnr_{part}"] = psnr(texture, true, mask)
        figures[f"ssim_{part}"] = ssim(texture, true, mask, truth.valid)
        figures[f"sharpness_{part}"] = sharpness(texture, true, mask, truth.valid)
    figures["identity"] = judges.identity(texture, true, truth.valid.astype(np.float32))
    return figures


def hidden_from(shown: HeadView, target: Target) -> BoolArray:
    """[H, W]: pixels of the target's picture whose point of the head the input could not see."""
    return ~seen_by(shown, target.view.position, target.view.normal).numpy()


def picture_figures(
    render: FloatArray, target: Target, light: str, hidden: BoolArray, judges: Judges
) -> dict[str, float]:
    """Figures of the completion [H, W, 3] drawn on the target's mesh."""
    true = target.view.images[light]
    figures = _figures(render, true, target.references[light], target.face, hidden, judges)
    figures["psnr_skin"] = psnr(render, true, target.skin)
    figures["psnr_skin_unseen"] = psnr(render, true, large_enough(target.skin & hidden, target.face))
    return figures


def own_figures(
    texture: FloatArray, own: OwnMesh, true: FloatArray, hidden: BoolArray, judges: Judges
) -> dict[str, float]:
    """Figures of a texture [S, S, 3] on its own mesh against the true picture [H, W, 3], names with ``_own``."""
    figures = _figures(own.mesh.draw(texture), true, own.reference, own.face, hidden, judges)
    return {f"{name}_own": value for name, value in figures.items()}


def _figures(
    render: FloatArray,
    true: FloatArray,
    reference: FloatArray,
    face: BoolArray,
    hidden: BoolArray,
    judges: Judges,
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for part, mask in (("face", face), ("seen", face & ~hidden), ("unseen", large_enough(face & hidden, face))):
        figures[f"psnr_{part}"] = psnr(render, true, mask)
        figures[f"ssim_{part}"] = ssim(render, true, mask, face)
        figures[f"perceptual_{part}"] = judges.perceptual(render, true, mask)
        figures[f"sharpness_{part}"] = sharpness(render, reference, mask, face)
    return figures
