"""A head's albedo out of its lit pictures, against the head's own texture.

Two methods: ``ostec``, the albedo, and ``texture``, the texture as the photo has it, which holds the light. Both are
compared after one gain per channel, for no photo tells a bright lamp from bright skin, over all texels of skin that
have a truth, without hair:

* ``psnr_albedo``: in dB, on sRGB values.
* ``halves``: difference between the mean logs of both halves of the face.
* ``ita_deg``: difference between the individual typology angles of the median skin, before any gain.

The tones are gains of the whole head's texture in linear light, as more melanin makes them: least in red, most in blue.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ostec.core.types import BoolArray, FloatArray, TexturedFace
from ostec.eval.head.full import SKIN_DISTANCE
from ostec.eval.head.mesh import Head
from ostec.eval.head.truth import UvTruth
from ostec.eval.report.record import OSTEC, Row
from ostec.eval.scores import psnr
from ostec.light.tone import ita_deg, skin_colour
from ostec.render.colour import from_linear, to_linear

TEXTURE = "texture"
"""The method that leaves the light in."""
TONES = {"own": 1.0, "light": 1.25, "tan": 0.6, "brown": 0.35, "dark": 0.18}
"""Gain of the green channel in linear light; that of red is its 0.8th power, of blue its 1.15th."""
_FLOOR = 0.02


def toned_head(head: Head, tone: str) -> Head:
    """The head with a texture of another tone."""
    return head if tone == "own" else replace(head, atlas=torch.from_numpy(_toned(head.atlas.numpy(), tone)))


def _toned(texture: FloatArray, tone: str) -> FloatArray:
    gain = TONES[tone] ** np.array([0.8, 1.0, 1.15])
    return np.asarray(np.clip(from_linear(to_linear(texture) * gain), 0, 1), np.float32)


@dataclass(frozen=True)
class AlbedoTruth:
    """What is true of the skin's texels."""

    texture: FloatArray
    """[S, S, 3]."""
    skin: BoolArray
    """[S, S]."""

    def figures(self, made: FloatArray) -> dict[str, float]:
        """Figures of [S, S, 3]."""
        skin, true = self.skin, self.texture
        a, b = made[skin].astype(np.float64), true[skin].astype(np.float64)
        gain = (a * b).sum(0) / np.maximum((a * a).sum(0), 1e-9)
        left = np.zeros_like(skin)
        left[:, : skin.shape[1] // 2] = True
        log = np.log(made + _FLOOR).mean(-1)
        return {
            "psnr_albedo": psnr(np.clip(made * gain, 0, 1).astype(np.float32), true, skin),
            "halves": abs(float(log[skin & left].mean() - log[skin & ~left].mean())),
            "ita_deg": abs(ita_deg(skin_colour(made, skin)) - ita_deg(skin_colour(true, skin))),
        }


def albedo_rows(
    item: str,
    labels: Mapping[str, float | str],
    pictures: Mapping[str, dict[str, str]],
    made: Mapping[str, FloatArray],
    truth: UvTruth,
    tone: str,
) -> Iterator[Row]:
    """Rows of one input: ``made`` and ``pictures`` by method, textures as large as the truth's."""
    own = truth.textures["unlit"]
    bare = np.linalg.norm(own - np.median(own[truth.skin], axis=0), axis=-1) < SKIN_DISTANCE
    true = AlbedoTruth(_toned(own, tone), truth.skin & bare)
    for method, texture in made.items():
        yield Row(item, method, true.figures(texture), dict(labels), pictures[method])


def methods_of(made: TexturedFace) -> dict[str, FloatArray]:
    """Albedo and texture of a completion by method."""
    return {OSTEC: made.completed.layers["albedo"], TEXTURE: made.completed.colour}
