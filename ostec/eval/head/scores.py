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

from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.errors import FaceError, UsageError
from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.eval.head.truth import FaceReader, Studio, UvTruth, camera_of
from ostec.eval.judges import Judges
from ostec.eval.report.drawing import DrawnMesh, HeadView, draw_mesh
from ostec.eval.scores import Compared, large_enough, psnr, sharpness, ssim


@dataclass(frozen=True)
class Target:
    """A true picture at another pose, with the mesh fitted to it."""

    view: HeadView
    fit: FittedFace
    mesh: DrawnMesh
    """The fitted mesh."""
    skin: BoolArray
    """[H, W]: pixels of the face without eyes and mouth."""

    def face(self, mesh: DrawnMesh) -> BoolArray:
        """[H, W]: a mesh covers the pixel, and the true head does."""
        return mesh.covered & self.view.hit.numpy()

    def own(self, face: FittedFace, reader: FaceReader) -> DrawnMesh:
        """A completion's mesh where the mesh of the true picture is."""
        return draw_mesh(torch.from_numpy(face.vertices), camera_of(self.fit), reader.layout)


def make_target(studio: Studio, reader: FaceReader, truth: UvTruth, yaw_deg: int) -> Target:
    """Draw the head at pitch 0 and a yaw, and fit the mesh to it. Raises UsageError where no face is found."""
    view = studio.shoot(0, yaw_deg, tuple(truth.textures))
    try:
        fit = reader.fit(view.images["unlit"])
    except FaceError as error:
        raise UsageError(f"At yaw {yaw_deg} no face is found on the head, so nothing can be compared there.") from error
    mesh = draw_mesh(torch.from_numpy(fit.vertices), camera_of(fit), reader.layout)
    skin = mesh.draw(truth.skin[..., None].astype(np.float32))[..., 0] > 0.999
    return Target(view, fit, mesh, mesh.covered & view.hit.numpy() & skin)


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


def picture_figures(compared: Compared, own: Compared, target: Target, judges: Judges) -> dict[str, float]:
    """Figures of a completion drawn on the target's mesh, and on its ``own``."""
    skin, unseen = target.skin, large_enough(target.skin & ~compared.seen, compared.face)
    return {
        **compared.figures(judges.perceptual),
        "psnr_skin": psnr(compared.made, compared.truth, skin),
        "psnr_skin_unseen": psnr(compared.made, compared.truth, unseen),
        **own.figures(judges.perceptual, "_own"),
    }
