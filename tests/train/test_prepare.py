"""How often a portrait is drawn."""

from dataclasses import replace

import numpy as np
import torch

from ostec.train.prepare import PreparedTextures
from tests.toy import toy_topology
from tests.train.toy_views import toy_textures


def test_detail_and_dark_skin_are_drawn_more_often() -> None:
    textures = toy_textures(toy_topology(), 5)
    light, dark = torch.tensor([230, 200, 180]), torch.tensor([80, 55, 40])
    colour = torch.stack([light, light, dark, dark, light])[:, :, None, None].expand_as(textures.colour)
    shown = textures.shown.clone()
    shown[..., :16] = 0
    colour = torch.where(shown > 0, colour, 0).to(torch.uint8)  # what was not shown does not tell the tone
    textures = replace(textures, colour=colour, shown=shown)
    held_out = np.array([False, False, False, False, True])
    assert PreparedTextures(textures, held_out).rows.tolist() == [0, 1, 2, 3], "nothing is known of them"
    sides = torch.tensor([100.0, 300, 300, 100, 300])
    rows = PreparedTextures(replace(textures, native_side=sides), held_out).rows
    assert torch.bincount(rows, minlength=5).tolist() == [1, 3, 6, 2, 0]
