"""Finished UV maps as the generator's training sees portraits: one pose, from which the whole chart is in view."""

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import BoolArray, FloatArray
from ostec.render.unwrap import resize_map
from ostec.train.generator import PORTRAIT_SPAN_MM
from ostec.train.portraits import PortraitTexels, is_held_out
from ostec.train.renders import PoseBank


def map_texels(maps: Iterable[tuple[str, FloatArray]], inside: BoolArray) -> PortraitTexels:
    """Maps [S, S, 3] in [0, 1] with their names on a chart ``inside`` [s, s], whole and as fine as they are."""
    names, colours, sides = [], [], []
    for name, colour in maps:
        names.append(name)
        colours.append((resize_map(colour, len(inside))[inside].clip(0, 1) * 255).round().astype(np.uint8))
        sides.append(len(colour))
    return PortraitTexels(
        tuple(names),
        np.stack(colours),
        np.ones((len(names), int(inside.sum())), np.float16),
        np.array([is_held_out(name) for name in names]),
        inside,
        np.array(sides, np.float32),
    )


def map_bank(inside: BoolArray, resolution: int) -> PoseBank:
    """The single pose that shows a layout as it is, for pictures of ``resolution`` pixels; ``inside`` [S, S]."""
    size = 2 * resolution
    at = (torch.arange(size) + 0.5) / size * 2 - 1
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)
    chart = functional.grid_sample(
        torch.from_numpy(inside.astype(np.float32))[None, None], grid[None], mode="nearest", align_corners=False
    )[0, 0]
    grid = torch.where(chart[..., None] > 0, grid, torch.tensor(-3.0))
    coverage = functional.avg_pool2d(chart[None, None], 2)
    return PoseBank(grid[None], coverage, torch.zeros(1, 2), torch.tensor(PORTRAIT_SPAN_MM))
