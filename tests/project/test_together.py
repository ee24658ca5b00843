"""Several pieces of work are answered in one batch as each would be alone."""

import time
from collections.abc import Generator

import pytest
import torch

from ostec.project.objective import LatentSpace, ProjectionSettings, ProjectionTarget
from ostec.project.terms import PictureTerm
from ostec.project.together import Lane, OwnTime, Projecting, ProjectionRequest, SharedError, alone, answer, together

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


def request(space: LatentSpace, target: ProjectionTarget, **more: object) -> ProjectionRequest:
    return ProjectionRequest(space, target, more.pop("iterations", 30), **more)  # type: ignore[arg-type]


def test_each_of_a_batch_is_found_as_alone():
    space = toy_space([])
    asked = [
        request(space, wanted((0.5, -0.5))),
        request(space, wanted((0.1, 0.2), (-0.6, 0.3)), judged=[[brightness(1.0)], []]),
        request(space, wanted((-0.3, 0.0)), judged=[[brightness(0.3)]]),
    ]
    parts = answer(asked)
    assert [part.image.shape[0] for part in parts] == [1, 2, 1]
    for one, part in zip(asked, parts, strict=True):
        (own,) = answer([one])
        # Adam makes steps of the learning rate, 0.1, out of whatever gradient is left near the end.
        torch.testing.assert_close(part.ws, own.ws, rtol=0, atol=0.02)
        torch.testing.assert_close(part.image, own.image, rtol=0, atol=0.02)
        assert [row["total"] for row in part.losses] == pytest.approx([row["total"] for row in own.losses], abs=1e-4)
        assert part.iterations == own.iterations
        assert [set(row) for row in part.losses] == [set(row) for row in own.losses]
    assert [["dark" in row for row in part.losses] for part in parts] == [[False], [True, False], [True]]


def test_callbacks_of_all_are_called():
    space, seen = toy_space([]), {"a": [], "b": []}
    answer([request(space, wanted((0.1, 0.1)), iterations=4, on_iteration=seen[name].append) for name in seen])
    assert seen == {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}


def steps(space: LatentSpace, colours: list[float], log: list[str], name: str) -> Projecting[float]:
    """Projects one picture after the other, each lighter by what was found before."""
    found = 0.0
    for number, colour in enumerate(colours):
        log.append(f"{name}{number}")
        result = yield request(space, wanted((colour + 0.1 * found, 0.0)), iterations=20)
        found = float(result.image[0, 0, 0, 0])
    return found


def test_lanes_share_batches_until_they_end():
    sizes, log = [], []
    space = toy_space(sizes)
    lanes = [Lane(steps(space, [0.2, 0.3, 0.4][:count], log, "abc"[count - 1])) for count in (1, 2, 3)]
    together(lanes)
    assert log == ["a0", "b0", "c0", "b1", "c1", "c2"]
    assert sorted(set(sizes)) == [1, 2, 3]
    for count, lane in zip((1, 2, 3), lanes, strict=True):
        own = alone(steps(toy_space([]), [0.2, 0.3, 0.4][:count], [], "x"))
        assert lane.error is None
        assert lane.result == pytest.approx(own, abs=1e-5)


def test_requests_that_do_not_fit_wait_for_their_own_batch():
    sizes: list[int] = []
    space = toy_space(sizes)

    def quick(iterations: int) -> Projecting[int]:
        found = yield request(space, wanted((0.1, 0.1)), iterations=iterations)
        return found.iterations[0]

    lanes = [Lane(quick(count)) for count in (2, 3, 2)]
    together(lanes)
    assert [lane.result for lane in lanes] == [2, 3, 2]
    assert sorted(set(sizes)) == [1, 2]
    base = request(space, wanted((0.1, 0.1)))
    assert base.fits(request(space, wanted((0.3, 0.1), (0.2, 0.2))))
    for other in (
        request(toy_space([]), wanted((0.1, 0.1))),
        request(space, wanted((0.1, 0.1)), iterations=31),
        request(space, wanted((0.1, 0.1)), settings=ProjectionSettings(pixel=2.0)),
        request(space, wanted((0.1, 0.1)), start=torch.zeros(1, 2, 3)),
    ):
        assert not base.fits(other)


def failing(space: LatentSpace, error: Exception, after: int) -> Projecting[None]:
    for _ in range(after):
        yield request(space, wanted((0.1, 0.1)), iterations=1)
    raise error


def test_what_fails_costs_the_others_nothing():
    space = toy_space([])
    lanes = [Lane(failing(space, KeyError("nose"), k)) for k in (0, 1)] + [Lane(steps(space, [0.2, 0.3], [], "a"))]
    together(lanes)
    assert [type(lane.error) for lane in lanes] == [KeyError, KeyError, type(None)]
    assert lanes[2].result == pytest.approx(alone(steps(space, [0.2, 0.3], [], "b")), abs=1e-5)


def test_a_projection_that_fails_for_several_is_nobodys_fault():
    def broken(_: torch.Tensor) -> torch.Tensor:
        raise MemoryError("no room")

    space = LatentSpace(broken, torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(SharedError, match="projecting 2 faces at once failed") as caught:
        together([Lane(steps(space, [0.1], [], "a")), Lane(steps(space, [0.1], [], "b"))])
    assert isinstance(caught.value.__cause__, MemoryError)
    lane = Lane(steps(space, [0.1], [], "a"))
    together([lane])
    assert isinstance(lane.error, MemoryError)
    with pytest.raises(MemoryError):
        alone(steps(space, [0.1], [], "a"))


def test_work_without_projection_ends_at_once():
    def none() -> Generator[ProjectionRequest, object, int]:
        return 7
        yield

    assert alone(none()) == 7
    lane = Lane(none())
    together([lane])
    assert lane.result == 7


def test_a_clock_stands_while_others_work(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = OwnTime()
    assert clock() == 0
    clock.begin()
    now[0] += 2
    assert clock() == 2
    clock.end()
    now[0] += 5
    assert clock() == 2
    clock.add(0.5)
    clock.begin()
    now[0] += 1
    assert clock() == 3.5


def test_a_batchs_time_is_shared(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def synthesise(ws: torch.Tensor) -> torch.Tensor:
        now[0] += 3
        return ws.mean((1, 2))[:, None, None, None].expand(-1, 3, SIDE, SIDE)

    def work(space: LatentSpace, seconds: float) -> Projecting[None]:
        now[0] += seconds
        yield request(space, wanted((0.1, 0.1)), iterations=0)
        now[0] += seconds

    space = LatentSpace(synthesise, torch.zeros(2, 3), torch.ones(2, 3))
    lanes = [Lane(work(space, 1.0)), Lane(work(space, 10.0))]
    together(lanes)
    drawn = now[0] - 22
    assert drawn > 0
    assert [lane.clock() for lane in lanes] == [2 + drawn / 2, 20 + drawn / 2]
