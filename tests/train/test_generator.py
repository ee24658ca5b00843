"""The training learns, resumes bit for bit, and learns nothing from what the portraits did not show."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.core.types import Topology
from ostec.train.generator import (
    AUGMENT_PATCHES,
    Draw,
    GeneratorTrainSettings,
    TrainingState,
    draw_views,
    level_at,
    render_views,
    start_training,
    train_generator,
    z_dimension,
)
from ostec.train.renders import PoseBank, TrainingTextures
from ostec.train.result import encode_whole_views, finish_training, load_checkpoint, save_checkpoint
from tests.toy import toy_topology
from tests.train.toy_views import COEFFICIENTS, FRAME, SIDE, TEXELS, TINY, toy_bank, toy_textures

CPU = torch.device("cpu")
Z = z_dimension(COEFFICIENTS)
ADVERSARIAL = replace(TINY, images=24, adversarial_from=8, r1_every=2)


@pytest.fixture(scope="module")
def topology() -> Topology:
    return toy_topology()


@pytest.fixture(scope="module")
def bank(topology: Topology) -> PoseBank:
    return toy_bank(topology)


@pytest.fixture(scope="module")
def textures(topology: Topology) -> TrainingTextures:
    return toy_textures(topology)


Step = Callable[[TrainingState, dict[str, float]], None]


def train(
    textures: TrainingTextures, bank: PoseBank, settings: GeneratorTrainSettings, on_step: Step | None = None
) -> TrainingState:
    state = start_training(settings, Z, CPU)
    go_on(state, textures, bank, settings, on_step)
    return state


def go_on(
    state: TrainingState,
    textures: TrainingTextures,
    bank: PoseBank,
    settings: GeneratorTrainSettings,
    on_step: Step | None = None,
) -> None:
    rows = torch.arange(len(textures) - 1)  # the last one is held out
    train_generator(state, textures, rows, bank, settings, FRAME.ground, on_step or (lambda _state, _losses: None))


def same(a: Any, b: Any) -> bool:
    """Whether two nested states are equal, bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def test_a_few_steps_lower_the_loss(textures: TrainingTextures, bank: PoseBank) -> None:
    seen: list[float] = []
    settings = replace(TINY, images=160, learning_rate=1e-2)
    state = train(textures, bank, settings, lambda _, losses: seen.append(losses["reconstruction"]))
    assert len(seen) == 40
    assert (state.images, state.step) == (160, 40)
    assert sum(seen[-5:]) < 0.7 * sum(seen[:5])


def test_mapping_and_discriminator_have_rates_of_their_own(textures: TrainingTextures, bank: PoseBank) -> None:
    settings = replace(TINY, images=4, mapping_rate=7.0, discriminator_rate=0.5, learning_rate=1e-3)
    state = train(textures, bank, settings)
    assert [group["lr"] for group in state.optimiser.param_groups] == pytest.approx([1e-3, 7e-3])
    assert [group["lr"] for group in state.optimiser_d.param_groups] == pytest.approx([5e-4])
    assert len(state.optimiser.param_groups[1]["params"]) == len(list(state.generator.mapping.parameters()))


def test_latents_are_the_portraits_coefficients_and_the_pose(textures: TrainingTextures, bank: PoseBank) -> None:
    draw = replace(draw_of(4, whole=True), mirrored=torch.tensor([False, True, False, True]))
    code = render_views(textures, draw, bank, FRAME.ground).code
    assert code.shape == (4, Z)
    for k in range(4):
        assert torch.equal(code[k], torch.cat([textures.codes[k, k % 2], bank.codes[k]]))


def test_adversarial_steps_train_the_discriminator_too(textures: TrainingTextures, bank: PoseBank) -> None:
    names: list[set[str]] = []
    start = start_training(ADVERSARIAL, Z, CPU).discriminator.state_dict()
    state = train(textures, bank, ADVERSARIAL, lambda _, losses: names.append(set(losses)))
    assert ["verdict" in found for found in names] == [False] * 2 + [True] * 4
    assert names[-1] == {"reconstruction", "code", "offset", "discriminator", "said_real", "augment", "verdict"}
    assert not same(state.discriminator.state_dict(), start)
    assert all(p.requires_grad for p in state.discriminator.parameters())
    assert all(torch.isfinite(t).all() for t in state.generator_mean.state_dict().values())


def test_blurred_portraits_teach_the_discriminator_nothing(textures: TrainingTextures, bank: PoseBank) -> None:
    blurred = replace(textures, native_side=torch.full_like(textures.native_side, SIDE))  # it fills more than a view
    start = start_training(ADVERSARIAL, Z, CPU).discriminator.state_dict()
    state = train(blurred, bank, ADVERSARIAL)
    assert same(state.discriminator.state_dict(), start)
    assert not same(train(textures, bank, ADVERSARIAL).generator.state_dict(), state.generator.state_dict())


@pytest.mark.parametrize(("logit", "grows"), [(9.0, True), (-9.0, False)])
def test_augmentation_follows_how_sure_the_discriminator_is(
    textures: TrainingTextures, bank: PoseBank, logit: float, grows: bool
) -> None:
    state = start_training(ADVERSARIAL, Z, CPU)
    state.augment = 0.3
    with torch.no_grad():
        state.discriminator.b4.out.bias.fill_(logit)
    go_on(state, textures, bank, replace(ADVERSARIAL, adversarial_from=0, images=4))
    assert (state.augment > 0.3) is grows
    assert abs(state.augment - 0.3) == pytest.approx(8 / AUGMENT_PATCHES)


@pytest.mark.parametrize("stop_at", [4, 12, 20])
def test_resumed_training_is_the_same_training(
    stop_at: int, textures: TrainingTextures, bank: PoseBank, tmp_path: Path
) -> None:
    whole = train(textures, bank, ADVERSARIAL)
    path = tmp_path / "checkpoint.pt"

    def interrupt(state: TrainingState, losses: dict[str, float]) -> None:
        if state.images == stop_at:
            save_checkpoint(path, state, ADVERSARIAL)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(textures, bank, ADVERSARIAL, interrupt)
    torch.manual_seed(99)  # whatever else drew random numbers meanwhile
    state = start_training(ADVERSARIAL, Z, CPU)
    assert load_checkpoint(path, state, ADVERSARIAL) == []
    assert state.images == stop_at
    go_on(state, textures, bank, ADVERSARIAL)
    assert same(state.state_dict(), whole.state_dict())


def test_training_leaves_the_random_numbers_of_others_alone(textures: TrainingTextures, bank: PoseBank) -> None:
    before = torch.random.get_rng_state()
    train(textures, bank, replace(TINY, images=4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seed_decides(textures: TrainingTextures, bank: PoseBank) -> None:
    one, again, other = (train(textures, bank, replace(TINY, images=8, seed=s)) for s in (1, 1, 2))
    assert same(one.state_dict(), again.state_dict())
    assert not same(one.generator.state_dict(), other.generator.state_dict())


def spoil_unseen(textures: TrainingTextures) -> tuple[TrainingTextures, TrainingTextures]:
    """Twice the same portraits, whose chin was not shown, nor shown by any photo; there the colours differ."""
    hidden = torch.zeros(TEXELS, TEXELS, dtype=torch.bool)
    hidden[17:29, 7:25] = True
    beyond = torch.zeros_like(hidden)
    beyond[22:25, 14:18] = True  # away from the border, which pixels read together with shown texels
    one = replace(textures, shown=textures.shown * ~hidden, patterns=textures.patterns * ~hidden)
    return one, replace(one, colour=torch.where(beyond, 255 - textures.colour, textures.colour))


def test_what_no_portrait_showed_teaches_nothing(textures: TrainingTextures, bank: PoseBank) -> None:
    settings = replace(ADVERSARIAL, unseen=0.0, whole=0.0, adversarial_from=4)
    one, other = spoil_unseen(textures)
    draw = draw_views(torch.arange(4), 2, 6, replace(settings, batch=50), torch.Generator().manual_seed(0))
    views = [render_views(t, draw, bank, FRAME.ground) for t in (one, other)]
    differs = (views[0].image != views[1].image).any(1, keepdim=True)
    assert differs.sum() > 50
    assert (views[0].shown[differs] == 0).all(), "as the test wants it: no pixel shows both kinds of texels"
    assert torch.equal(views[0].hint, views[1].hint)
    states = [train(t, bank, settings) for t in (one, other)]
    assert same(states[0].state_dict(), states[1].state_dict())
    states = [train(t, bank, replace(settings, unseen=0.05)) for t in (one, other)]
    assert not same(states[0].generator.state_dict(), states[1].generator.state_dict()), "with a weight they count"


def test_held_out_portraits_teach_nothing(textures: TrainingTextures, bank: PoseBank) -> None:
    colour = textures.colour.clone()
    colour[-1] = 255 - colour[-1]
    settings = replace(TINY, images=12)
    assert same(
        train(textures, bank, settings).state_dict(),
        train(replace(textures, colour=colour), bank, settings).state_dict(),
    )


def draw_of(count: int, whole: bool) -> Draw:
    index = torch.arange(count)
    return Draw(
        index, torch.zeros_like(index), index, torch.zeros(count, dtype=torch.bool), torch.full((count,), whole)
    )


def test_whole_views_hide_nothing(textures: TrainingTextures, bank: PoseBank) -> None:
    views = render_views(textures, draw_of(4, whole=True), bank, 0.25)
    torch.testing.assert_close(views.hint, views.image)
    torch.testing.assert_close(views.trust, torch.ones_like(views.trust))
    torch.testing.assert_close(views.shown, torch.ones_like(views.shown))
    ground = bank.coverage[:4] == 0
    assert (views.image.masked_select(ground) == -0.5).all(), "0.25 of [0, 1] in [-1, 1]"


def test_photo_hides_what_the_guess_then_shows(textures: TrainingTextures, bank: PoseBank) -> None:
    views = render_views(textures, draw_of(4, whole=False), bank, FRAME.ground)
    assert (views.trust <= views.shown + 1e-6).all()
    inner = bank.coverage[:4] == 1
    hidden, kept = inner & (views.trust < 1e-3), inner & (views.trust > 0.999)
    assert hidden.sum() > 50
    assert kept.sum() > 50
    index = torch.arange(4)
    guess = bank.render(textures.guess[index, 0].float(), index, torch.zeros(4, dtype=torch.bool)) / 255 * 2 - 1
    for where, expected in ((hidden, guess), (kept, views.image)):
        mask = where.expand(-1, 3, -1, -1)
        torch.testing.assert_close(views.hint[mask], expected[mask], atol=5e-3, rtol=0)
    assert (views.image - views.hint)[hidden.expand(-1, 3, -1, -1)].abs().mean() > 0.05


def test_draws_are_among_what_was_asked_for() -> None:
    settings = replace(TINY, batch=400, whole=0.3)
    draw = draw_views(torch.tensor([2, 7, 9]), 2, 6, settings, torch.Generator().manual_seed(0))
    assert set(draw.portrait.tolist()) == {2, 7, 9}
    assert set(draw.photo.tolist()) == {0, 1}
    assert set(draw.pose.tolist()) == set(range(6))
    assert 0.4 < draw.mirrored.float().mean() < 0.6
    assert 0.2 < draw.whole.float().mean() < 0.4


def test_pictures_grow() -> None:
    settings = replace(TINY, resolution=64, grow=(10, 20))
    assert [level_at(images, settings) for images in (0, 9, 10, 19, 20, 999)] == [16, 16, 32, 32, 64, 64]


def test_upper_layers_wait_until_their_level(textures: TrainingTextures, topology: Topology) -> None:
    settings = replace(TINY, resolution=16, grow=(8,), images=8)
    start = start_training(settings, Z, CPU).generator.synthesis.state_dict()
    end = train(textures, toy_bank(topology), settings).generator.synthesis.state_dict()
    moved = {name.split(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert moved == {"b4", "b8"}


def test_first_picture_of_a_new_level_is_the_upsampled_one() -> None:
    state = start_training(TINY, Z, CPU)
    for resolution in (8, 16):
        torgb = state.generator.synthesis.get_submodule(f"b{resolution}.torgb")
        assert torch.equal(torgb.weight, torch.zeros_like(torgb.weight))  # type: ignore[arg-type]


def test_finished_generator_is_the_running_mean(textures: TrainingTextures, bank: PoseBank) -> None:
    state = train(textures, bank, TINY)
    rows = torch.arange(4)
    model = finish_training(state, textures, rows, bank, TINY, FRAME)
    assert model.generator is state.generator_mean
    assert model.encoder is state.encoder_mean
    assert model.discriminator is None
    ws = encode_whole_views(state, textures, rows, bank, FRAME.ground, TINY.seed)
    assert ws.shape == (4, model.generator.shape.num_ws, TINY.latent)
    torch.testing.assert_close(model.latent_mean, ws.mean(0).float())
    torch.testing.assert_close(model.latent_deviation, (ws - ws.mean(0)).square().mean(0).sqrt().float())
    adversarial = train(textures, bank, ADVERSARIAL)
    finished = finish_training(adversarial, textures, rows[:1], bank, ADVERSARIAL, FRAME)
    assert finished.discriminator is adversarial.discriminator
    assert torch.equal(finished.latent_deviation, torch.zeros_like(finished.latent_deviation)), "one portrait"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"images": -3}, "images must be 1 or more, got -3"),
        ({"resolution": 48}, "resolution must be a power of two from 8, got 48"),
        ({"patch": 12}, "patch must be a power of two from 8, got 12"),
        ({"resolution": 8}, "resolution 8 is too small to be doubled 0 times"),
        ({"grow": (1, 2)}, "resolution 16 is too small to be doubled 2 times"),
        ({"adversarial_from": 0, "patch": 32}, "patch must be at most 16"),
        ({"adversarial_from": 3, "grow": (8,), "patch": 16}, "patch must be at most 8"),
        ({"adversarial_from": 3, "batch": 3}, "batch must give a multiple of 4 patches, not 6"),
        ({"adversarial_from": 3, "batch": 6, "patch": 16}, "batch must give a multiple of 4 patches, not 6"),
        ({"adversarial_from": 3, "batch": 6, "patch": 8, "grow": (8,)}, "multiple of 4 patches, not 6"),
    ],
)
def test_impossible_settings(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(TINY, **changes)


def test_defaults_are_possible_and_a_small_batch_is_too() -> None:
    assert GeneratorTrainSettings().resolution == SIDE * 8
    replace(TINY, adversarial_from=0, batch=1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"latent": 4}, "was trained with latent 8, not 4"),
        ({"channel_max": 4}, "was trained with channel_max 8, not 4"),
        ({"patch": 16}, "was trained with patch 8, not 16"),
    ],
)
def test_checkpoint_of_other_networks_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, start_training(TINY, Z, CPU), TINY)
    settings = replace(TINY, **changes)
    with pytest.raises(WeightsError, match=sentence):
        load_checkpoint(path, start_training(settings, Z, CPU), settings)


def test_other_settings_may_change_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, start_training(TINY, Z, CPU), TINY)
    settings = replace(TINY, batch=8, grow=(1,), images=99)
    assert set(load_checkpoint(path, start_training(settings, Z, CPU), settings)) == {"batch", "grow", "images"}


def test_checkpoint_without_settings_is_judged_by_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    state = start_training(replace(TINY, seed=3), Z, CPU)
    torch.save(state.state_dict(), path)
    found = start_training(TINY, Z, CPU)
    assert load_checkpoint(path, found, TINY) == []
    assert same(found.state_dict(), state.state_dict())
    with pytest.raises(WeightsError, match="other networks than these settings build"):
        load_checkpoint(path, start_training(replace(TINY, latent=4), Z, CPU), replace(TINY, latent=4))


@pytest.mark.parametrize("content", [b"", b"This is no checkpoint.", b"PK\x03\x04broken"])
def test_damaged_checkpoint_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is no checkpoint of this training, or damaged"):
        load_checkpoint(path, start_training(TINY, Z, CPU), TINY)


def test_checkpoint_that_holds_something_else(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="is no checkpoint"):
        load_checkpoint(path, start_training(TINY, Z, CPU), TINY)
    torch.save({"generator": {}}, path)
    with pytest.raises(WeightsError, match="holds other networks"):
        load_checkpoint(path, start_training(TINY, Z, CPU), TINY)
