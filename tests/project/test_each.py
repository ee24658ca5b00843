"""Pictures with terms of their own are found in one batch as each would be alone."""

import pytest
import torch

from ostec.project.invert import Projection, project_each
from ostec.project.objective import LatentSpace, ProjectionTarget
from ostec.project.settings import ProjectionSettings
from ostec.project.terms import PictureTerm

SIDE = 16


def toy_space(sizes: list[int]) -> LatentSpace:
    """W+ [B, 2, 3]: the first row colours the left half, the second the right one; ``sizes`` notes each batch drawn."""

    def synthesise(ws: torch.Tensor) -> torch.Tensor:
        sizes.append(len(ws))
        halves = ws.transpose(1, 2)[..., None, :].expand(-1, -1, SIDE, -1)
        return torch.tanh(halves.repeat_interleave(SIDE // 2, dim=-1))

    return LatentSpace(synthesise, torch.zeros(2, 3), torch.ones(2, 3))


def wanted(*colours: tuple[float, float]) -> ProjectionTarget:
    """Grey halves in [-1, 1]."""
    rows = torch.tensor(colours)[:, None, None, :].expand(-1, 3, SIDE, -1).repeat_interleave(SIDE // 2, dim=-1)
    ones = torch.ones(len(colours), 1, SIDE, SIDE)
    return ProjectionTarget(rows.contiguous(), ones, 0 * ones)


def brightness(weight: float) -> PictureTerm:
    return PictureTerm("dark", weight, lambda pictures: pictures.mean((1, 2, 3)) + 1)


def test_each_of_a_batch_is_found_as_alone():
    space = toy_space([])
    colours = [(0.5, -0.5), (0.1, 0.2), (-0.6, 0.3), (-0.3, 0.0)]
    judged = [[], [brightness(1.0)], [], [brightness(0.3)]]

    def find(chosen: list[int]) -> Projection:
        seen: list[int] = []
        target = wanted(*(colours[b] for b in chosen))
        found = project_each(space, target, 12, ProjectionSettings(), None, seen.append, [judged[b] for b in chosen])
        assert seen == list(range(12))
        return found

    together = find([0, 1, 2, 3])
    for b in range(4):
        own = find([b])
        # Adam makes steps of the learning rate, 0.1, out of whatever gradient is left near the end.
        torch.testing.assert_close(together.ws[b], own.ws[0], rtol=0, atol=0.02)
        torch.testing.assert_close(together.image[b], own.image[0], rtol=0, atol=0.02)
        assert together.losses[b]["total"] == pytest.approx(own.losses[0]["total"], abs=1e-4)
        assert together.iterations[b] == own.iterations[0]
        assert set(together.losses[b]) == set(own.losses[0])
    assert ["dark" in row for row in together.losses] == [False, True, False, True]
