"""Terms of whole pictures: what they are by hand, where they look, and how the projection hears them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from ostec.core.assets import verified_path
from ostec.core.types import ViewFrame
from ostec.io.images import read_image
from ostec.io.weights import load_strict, read_safetensors
from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.facemesh import INPUT_SIZE, FaceMesh
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape
from ostec.project.invert import Projection, project
from ostec.project.objective import LatentSpace, ProjectionTarget
from ostec.project.settings import ProjectionSettings
from ostec.project.terms import PictureTerm, landmark_term, picture_judge, realism_term, side_by_side

ROOT = Path(__file__).parents[2]
SIDE = 32
SHAPE = GeneratorShape(SIDE, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16)
QUICK = ProjectionSettings(learning_rate=0.1)
FACE = (224.0, 120.0, 200.0)
"""Middle x, y and side of a square about the astronaut's face."""
R = 128


# --- landmarks, with the FaceMesh that ships -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facemesh() -> FaceMesh:
    network = FaceMesh()
    load_strict(network, read_safetensors(verified_path("facemesh", "facemesh.safetensors")), "facemesh")
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """[1, 3, 512, 512] in [-1, 1]."""
    return torch.from_numpy(read_image(ROOT / "examples/astronaut.png")).permute(2, 0, 1)[None] * 2 - 1


def cut(photo: torch.Tensor, x: float, y: float, side: float, size: int) -> torch.Tensor:
    """The square of a photo about (x, y), [1, 3, size, size]."""
    theta = torch.tensor([[[side, 0, 2 * x - photo.shape[3]], [0, side, 2 * y - photo.shape[2]]]]) / photo.shape[2]
    grid = functional.affine_grid(theta, [1, 3, size, size], align_corners=False)
    return functional.grid_sample(photo, grid, padding_mode="border", align_corners=False)


def shifted(picture: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """What lay at p lies at p + shift [2] pixels; differentiable in the shift."""
    theta = torch.cat([torch.eye(2), -2 * shift[:, None] / picture.shape[-1]], dim=1)[None]
    grid = functional.affine_grid(theta, list(picture.shape), align_corners=False)
    return functional.grid_sample(picture, grid, padding_mode="border", align_corners=False)


@pytest.fixture(scope="module")
def points(facemesh: FaceMesh, photo: torch.Tensor) -> torch.Tensor:
    """[1, 468, 2] the face's landmarks in the photo."""
    x, y, side = FACE
    output = facemesh(cut(photo, x, y, side, INPUT_SIZE) / 2 + 0.5)
    assert float(output.confidence) > 0.99
    return (output.points[..., :2] / INPUT_SIZE - 0.5) * side + torch.tensor([x, y])


def framed(points: torch.Tensor, x: float, y: float, side: float, size: int) -> torch.Tensor:
    """Where points of the photo lie in :func:`cut`."""
    return ((points - torch.tensor([x, y])) / side + 0.5) * size


@pytest.fixture(scope="module")
def picture(photo: torch.Tensor) -> torch.Tensor:
    return cut(photo, *FACE, R)


@pytest.fixture(scope="module")
def placed(points: torch.Tensor) -> torch.Tensor:
    return framed(points, *FACE, R)


def crop_side(placed: torch.Tensor) -> float:
    """One and a half times the longer side of the landmarks' box."""
    return 1.5 * float((placed.amax(1) - placed.amin(1)).max())


def test_a_picture_has_its_own_landmarks(facemesh, picture, placed):
    term = landmark_term(facemesh, picture, placed, 0.7)
    assert (term.name, term.weight, term.every) == ("landmarks", 0.7, 1)
    assert term.loss(picture).tolist() == [0.0]


@pytest.mark.parametrize("shift", [(2.0, 0.0), (0.0, -2.0), (-3.0, 1.0)])
def test_the_landmarks_of_a_shifted_picture_are_off_by_the_shift_in_hundredths_of_the_crop(
    facemesh, picture, placed, shift
):
    """All landmarks move alike, so the mean over them is that of the two coordinates."""
    found = float(landmark_term(facemesh, picture, placed, 1.0).loss(shifted(picture, torch.tensor(shift))))
    by_hand = sum(math.log(math.cosh(100 * s / crop_side(placed))) for s in shift) / 2
    assert found == pytest.approx(by_hand, rel=0.15)


def test_the_gradient_moves_a_shifted_face_back(facemesh, picture, placed):
    term = landmark_term(facemesh, picture, placed, 1.0)
    shift = torch.tensor([3.0, -2.0], requires_grad=True)
    way = [float(shift.detach().norm())]
    for _ in range(10):
        (slope,) = torch.autograd.grad(term.loss(shifted(picture, shift)).sum(), shift)
        shift = (shift - 2 * slope).detach().requires_grad_(True)
        way.append(float(shift.detach().norm()))
    assert way[:5] == sorted(way[:5], reverse=True)
    assert way[-1] < 0.2


def test_a_step_against_the_pictures_gradient_lowers_the_loss(facemesh, picture, placed):
    term = landmark_term(facemesh, picture, placed, 1.0)
    moved = shifted(picture, torch.tensor([2.0, 0.0])).requires_grad_(True)
    before = term.loss(moved)
    (slope,) = torch.autograd.grad(before.sum(), moved)
    step = 0.01 * moved.detach().norm() / slope.norm()
    assert float(term.loss(moved.detach() - step * slope)) < 0.9 * float(before.detach())


def test_it_looks_only_at_the_square_about_the_points(facemesh, photo, points):
    frame = (240.0, 150.0, 320.0, R)
    wide, there = cut(photo, *frame), framed(points, *frame)
    low, high = there.amin(1)[0], there.amax(1)[0]
    (x, y), half = (low + high) / 2, crop_side(there) / 2
    around = torch.arange(R) + 0.5
    # A crop's pixel mixes those at most one away.
    inside = ((around - x).abs() < half + 1)[None, :] & ((around - y).abs() < half + 1)[:, None]
    assert 0.2 < float(inside.float().mean()) < 0.6
    term = landmark_term(facemesh, wide, there, 1.0)
    assert term.loss(torch.where(inside, wide, 0.9)).tolist() == [0.0]
    within = ((around - x).abs() < half - 3)[None, :] & ((around - y).abs() < half - 3)[:, None]
    assert float(term.loss(torch.where(within, wide, 0.9))) > 1e-4
    picture = shifted(wide, torch.tensor([2.0, 0.0])).requires_grad_(True)
    (slope,) = torch.autograd.grad(term.loss(picture).sum(), picture)
    assert not slope[:, :, ~inside].any()
    assert (slope[:, :, within] != 0).float().mean() > 0.9


def test_a_face_is_judged_alike_wherever_in_the_picture_it_is(facemesh, photo, points):
    """Also where its crop reaches over the picture's border, which is repeated."""
    off = torch.tensor([2.0, 1.0])
    losses = []
    for x, y in ((224.0, 120.0), (200.0, 160.0), (260.0, 128.0)):
        frame = (x, y, 256.0, R)
        picture, there = cut(photo, *frame), framed(points, *frame)
        losses.append(float(landmark_term(facemesh, picture, there, 1.0).loss(shifted(picture, off))))
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=0.1)
    edge = (270.0, 120.0, 200.0, R)
    picture, there = cut(photo, *edge), framed(points, *edge)
    assert float(there[..., 0].amin()) > 0  # the face is whole, its crop is not
    assert float(there[..., 0].amin() + there[..., 0].amax()) / 2 - crop_side(there) / 2 < -5
    moved = shifted(picture, off)
    found = float(landmark_term(facemesh, picture, there, 1.0).loss(moved))
    whole, wider = (functional.pad(p, [32] * 4, mode="replicate") for p in (picture, moved))
    assert found == pytest.approx(float(landmark_term(facemesh, whole, there + 32, 1.0).loss(wider)), rel=1e-3)
    assert found > 0.1


def test_every_pixel_of_a_large_pictures_face_counts(facemesh, photo, points):
    """At 1024 px a crop of 192 covers four pixels and more with each of its own: none is skipped."""
    large, where = cut(photo, *FACE, 1024), framed(points, *FACE, 1024)
    term = landmark_term(facemesh, large.roll(8, dims=3), where, 1.0)
    picture = large.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(term.loss(picture).sum(), picture)
    low, high = (v.round().long().tolist() for v in (where[0].amin(0), where[0].amax(0)))
    face = slope[0].abs().sum(0)[low[1] : high[1], low[0] : high[0]]
    assert float((face > 0).float().mean()) > 0.99


def test_two_pictures_are_judged_each_by_its_own_crop(facemesh, photo, points):
    frames = [(224.0, 120.0, 200.0, R), (250.0, 140.0, 280.0, R)]
    images = torch.cat([cut(photo, *f) for f in frames])
    placed = torch.cat([framed(points, *f) for f in frames])
    drawn = torch.cat([shifted(images[:1], torch.tensor([2.0, 0.0])), shifted(images[1:], torch.tensor([0.0, 3.0]))])
    together = landmark_term(facemesh, images, placed, 1.0).loss(drawn)
    assert together.shape == (2,)
    alone = [landmark_term(facemesh, images[[b]], placed[[b]], 1.0).loss(drawn[[b]]) for b in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-3)
    assert abs(float(together[0] - together[1])) > 0.05


def test_what_was_drawn_is_looked_at_once_and_without_gradients(facemesh, picture, placed):
    calls: list[bool] = []
    handle = facemesh.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    try:
        term = landmark_term(facemesh, picture, placed, 1.0)
        assert calls == [False]
        term.loss(picture)
        term.loss(picture)
    finally:
        handle.remove()
    assert len(calls) == 3


# --- realism ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge() -> Discriminator:
    """Its verdict is drawn away from 0 and depends on the whole batch."""
    torch.manual_seed(3)
    network = Discriminator(SHAPE).eval().requires_grad_(False)
    with torch.no_grad():
        network.b4.out.bias += 0.4
    return network


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return 2 * torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) - 1


class Fixed(Discriminator):
    """Says the mean of the picture times 10."""

    def __init__(self) -> None:
        super().__init__(SHAPE)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 10 * image.mean((1, 2, 3))[:, None]


def test_realism_by_hand():
    term = realism_term(Fixed(), 0.3)
    assert (term.name, term.weight, term.every, term.whole) == ("realism", 0.3, 10, True)
    found = term.loss(torch.tensor([-0.5, 0.0, 0.2])[:, None, None, None].expand(3, 3, SIDE, SIDE))
    # -log of the probability that a verdict v gives to "real", 1 / (1 + exp(-v)).
    wanted = [math.log(1 + math.exp(-v)) for v in (-5.0, 0.0, 2.0)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)
    assert found.shape == (3,)


def test_realism_falls_when_the_discriminator_likes_the_picture_more(judge, pictures):
    picture = pictures[:1].clone().requires_grad_(True)
    liked = judge(picture)
    (slope,) = torch.autograd.grad(liked.sum(), picture)
    step = 0.5 * slope / slope.norm()
    loss = realism_term(judge, 1.0).loss
    better, worse = pictures[:1] + step, pictures[:1] - step
    assert float(judge(worse)) < float(liked.detach()) < float(judge(better))
    assert float(loss(better)) < float(loss(pictures[:1])) < float(loss(worse))


def test_pictures_of_a_batch_are_judged_apart(judge, pictures):
    loss = realism_term(judge, 1.0).loss
    alone = torch.cat([loss(pictures[[b]]) for b in range(3)])
    assert torch.equal(loss(pictures), alone)
    # The network itself would mix their deviation in.
    assert float((functional.softplus(-judge(pictures))[:, 0] - alone).abs().max()) > 1e-4
    batch = pictures.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(batch)[1], batch)
    assert slope[1].any()
    assert not slope[[0, 2]].any()


def generator_with(discriminator: Discriminator | None) -> PortraitGenerator:
    torch.manual_seed(5)
    generator = Generator(SHAPE).eval()
    rows = torch.ones(generator.shape.num_ws, SHAPE.w_dim)
    return PortraitGenerator(generator, None, discriminator, ViewFrame(True, True), 0 * rows, rows)


def test_only_a_discriminator_of_whole_pictures_judges(judge):
    assert picture_judge(generator_with(judge)) is judge
    smaller = replace(SHAPE, resolution=SIDE // 2)
    for other in (None, Discriminator(smaller), Discriminator(SHAPE, 4), Discriminator(smaller, 4)):
        assert picture_judge(generator_with(other)) is None


# --- in the projection -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    torch.manual_seed(5)
    generator = Generator(SHAPE).eval().requires_grad_(False)
    ws = generator.mapping(torch.randn(512, 16, generator=torch.Generator().manual_seed(0)))
    return LatentSpace(lambda w: torch.tanh(0.5 * generator.synthesis(w)), ws.mean(0), ws.std(0))


def target_of(space: LatentSpace, count: int = 1) -> ProjectionTarget:
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        image = space.synthesise(
            space.mean + 0.5 * space.deviation * torch.randn(count, *space.mean.shape, generator=random)
        )
    whole = torch.ones_like(image[:, :1])
    return ProjectionTarget(image, whole, 0 * whole)


def redness(pictures: torch.Tensor) -> torch.Tensor:
    return pictures[:, 0].mean((1, 2)) - pictures[:, 1:].mean((1, 2, 3))


def red_term(weight: float, wanted: float = 0.5, every: int = 1) -> PictureTerm:
    return PictureTerm("red", weight, lambda pictures: (redness(pictures) - wanted).square(), every)


def test_a_planted_term_draws_the_picture_towards_it(space):
    target = target_of(space)
    found = [project(space, target, 15, QUICK, judged=(red_term(weight),)) for weight in (0.0, 3.0, 100.0)]
    off = [abs(float(redness(f.image)) - 0.5) for f in found]
    assert off[1] < 0.9 * off[0]
    assert off[2] < 0.5 * off[0]
    assert "red" not in found[0].losses[0]


@pytest.mark.parametrize("every", [1, 4])
def test_a_term_is_in_the_record_with_its_weight_and_in_the_sum(space, every):
    target = target_of(space, 2)
    start = project(space, target, 0)
    begun = project(space, target, 0, judged=(red_term(3.0, every=every),))
    found = project(space, target, 9, QUICK, judged=(red_term(3.0, every=every),))
    for b in range(2):
        # However seldom it is looked at, it counts once.
        by_hand = 3 * (float(redness(start.image)[b]) - 0.5) ** 2
        assert begun.losses[b]["red"] == pytest.approx(by_hand, abs=2e-6)
        assert begun.losses[b]["total"] == pytest.approx(start.losses[b]["total"] + by_hand, abs=3e-6)
        row = found.losses[b]
        terms = [value for name, value in row.items() if not name.endswith("total")]
        assert row["total"] == pytest.approx(sum(terms), abs=3e-6)
        assert row["total"] < row["start_total"] == begun.losses[b]["total"]


def drawn(space: LatentSpace, judged: Sequence[PictureTerm], iterations: int) -> list[torch.Tensor]:
    """The pictures of the iterations."""
    seen: list[torch.Tensor] = []

    def synthesise(ws: torch.Tensor) -> torch.Tensor:
        image = space.synthesise(ws)
        if torch.is_grad_enabled():
            seen.append(image.detach())
        return image

    project(replace(space, synthesise=synthesise), target_of(space), iterations, QUICK, judged=judged)
    return seen


def now_and_then(term: PictureTerm, every: int) -> PictureTerm:
    """``every`` times the term in each ``every``-th call, nothing between."""
    calls = iter(range(100))
    return replace(
        term, loss=lambda pictures: term.loss(pictures) * (every if next(calls) % every == 0 else 0), every=1
    )


def test_the_gradient_of_a_term_that_is_left_out_counts_as_often_when_it_is_not(space):
    term = red_term(2.0)
    seldom = drawn(space, [replace(term, every=3)], 8)
    wanted = drawn(space, [now_and_then(term, 3)], 8)
    always = drawn(space, [term], 8)
    assert len(seldom) == len(wanted) == 9
    for k in range(9):
        torch.testing.assert_close(seldom[k], wanted[k], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(seldom[-1], always[-1], atol=1e-3)


def test_between_two_looks_the_last_value_stands_in_the_sum(space):
    calls = iter([0.5, 0.125])
    count: list[int] = []

    def loss(pictures: torch.Tensor) -> torch.Tensor:
        count.append(len(pictures))
        return next(calls) + 0 * pictures.mean((1, 2, 3))

    target = target_of(space)
    rows = {}
    for iterations in (2, 4):
        calls, count = iter([0.5, 0.125]), []
        rows[iterations] = project(
            space, target, iterations, QUICK, judged=(PictureTerm("said", 2.0, loss, 3),)
        ).losses[0]
        assert count == [1] * (1 + iterations // 3)
    assert rows[2]["said"] == 1.0
    assert rows[4]["said"] == 0.25
    assert rows[4]["start_total"] == rows[2]["start_total"] > 1.0


def test_a_term_without_weight_is_not_looked_at(space):
    def loss(_: torch.Tensor) -> torch.Tensor:
        pytest.fail("it was looked at")

    target = target_of(space)
    found = project(space, target, 3, QUICK, judged=(PictureTerm("idle", 0.0, loss), PictureTerm("off", 0.0, loss, 2)))
    plain = project(space, target, 3, QUICK)
    assert torch.equal(found.ws, plain.ws)
    assert found.losses == plain.losses


def scripted_term(values: Sequence[Sequence[float]], weight: float = 1.0) -> PictureTerm:
    """In its k-th call it says ``values[k]``, of each picture."""
    calls = iter(values)
    return PictureTerm("said", weight, lambda pictures: torch.tensor(next(calls)) + 0 * pictures.mean((1, 2, 3)))


def test_the_best_under_the_term_is_kept(space):
    """A picture that a term likes less and less stays at its start, however much the other terms fall."""
    target = target_of(space, 2)
    worse, better = [0.0, 50.0, 100.0, 150.0, 200.0], [0.0] * 5
    found = project(space, target, 4, QUICK, judged=(scripted_term(list(zip(worse, better, strict=True))),))
    torch.testing.assert_close(found.ws[0], space.mean)
    assert found.losses[0]["total"] == found.losses[0]["start_total"]
    assert found.losses[0]["said"] == 0
    assert found.losses[1]["total"] < found.losses[1]["start_total"]
    assert not torch.equal(found.ws[1], space.mean)
    dip = project(space, target_of(space), 4, QUICK, judged=(scripted_term([[9.0], [9.0], [1.0], [9.0], [9.0]]),))
    assert dip.losses[0]["said"] == 1.0


def test_each_picture_is_judged_as_if_it_were_alone(space, judge):
    target = target_of(space, 2)
    terms = (red_term(3.0, every=2), realism_term(judge, 0.5))

    def found(rows: slice) -> Projection:
        chosen = ProjectionTarget(target.image[rows], target.trust[rows], target.guessed[rows])
        return project(space, chosen, 8, QUICK, judged=terms)

    together = found(slice(0, 2))
    for b in range(2):
        alone = found(slice(b, b + 1))
        torch.testing.assert_close(alone.ws[0], together.ws[b], atol=2e-3, rtol=1e-3)
        assert alone.losses[0] == pytest.approx(together.losses[b], rel=1e-2, abs=1e-4)
    assert set(together.losses[0]) == {"pixel", "ms_ssim", "latent", "red", "realism", "total", "start_total"}


def test_untrusted_pixels_are_judged_as_well(space):
    """Where nothing is trusted the term alone decides, but for the distance from the mean."""
    target = target_of(space)
    unknown = replace(target, trust=0 * target.trust)
    off: Callable[[Projection], float] = lambda found: abs(float(redness(found.image)) - 0.5)  # noqa: E731
    assert off(project(space, unknown, 20, QUICK, judged=(red_term(10.0),))) < 0.3 * off(project(space, unknown, 0))


def test_terms_side_by_side_are_each_pictures_own():
    def times(factor: float) -> PictureTerm:
        return PictureTerm("a", 0.5, lambda pictures: factor * pictures.mean((1, 2, 3)), every=3)

    other = PictureTerm("b", 0.25, lambda pictures: pictures.amax((1, 2, 3)))
    both = side_by_side([[times(2.0)], [replace(times(3.0), weight=4.0), other], []])
    assert [(term.name, term.weight, term.every) for term in both] == [("a", 1.0, 3), ("b", 1.0, 1)]
    pictures = torch.tensor([1.0, 10.0, 100.0])[:, None, None, None].expand(3, 3, 4, 4)
    assert both[0].loss(pictures).tolist() == [1, 120, 0]
    assert both[1].loss(pictures).tolist() == [0, 2.5, 0]
    assert side_by_side([[], []]) == []
