"""Published generators, read from files of their layouts, draw what their own programs draw."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.load.generators import ADA, ADA_STATE, E4E, ROSINALITY, TENSORFLOW, ReadGenerator, read_generator
from ostec.nets.stylegan2 import Generator
from tests.load.generator_files import (
    Module,
    Network,
    content_of,
    foreign_modules,
    reference,
    seeded,
    tf_network,
    write_case,
)

REFERENCE = reference()
CASES: dict[str, dict[str, Any]] = REFERENCE["cases"]
CLOSE = 1e-4
"""Of values of about 1; the demand is 1 / 255."""


def latents(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    z = np.random.RandomState(7).randn(1, case["z_dim"]).astype(np.float32)
    w = np.random.RandomState(8).randn(1, case["num_ws"], case["w_dim"]).astype(np.float32)
    return torch.from_numpy(z), torch.from_numpy(w)


def check_pictures(network: Generator, name: str) -> torch.Tensor:
    """The pictures [2, 3, R, R] from z and w, after they were compared with those stored."""
    case = CASES[name]
    z, w = latents(case)
    pictures = torch.cat([network(z, truncation_psi=0.7), network.synthesis(w)])
    thinned = pictures[:, :, :: case["stride"], :: case["stride"]].numpy()
    np.testing.assert_allclose(thinned[0], REFERENCE[f"{name}.z"], atol=CLOSE)
    np.testing.assert_allclose(thinned[1], REFERENCE[f"{name}.w"], atol=CLOSE)
    np.testing.assert_allclose(pictures[1, :, 20:44, 36:60].numpy(), REFERENCE[f"{name}.crop"], atol=CLOSE)
    return pictures


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    return {name: write_case(case, folder / name) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_pictures_and_logits_are_those_of_the_original_program(files: dict[str, Path], name: str) -> None:
    read = read_generator(files[name])
    assert read.layout == {"ada": ADA, "tensorflow": TENSORFLOW, "rosinality": ROSINALITY}[CASES[name]["layout"]]
    shape = read.model.generator.shape
    assert (shape.resolution, shape.num_ws) == (CASES[name]["resolution"], CASES[name]["num_ws"])
    assert (shape.z_dim, shape.w_dim, shape.mapping_layers) == (CASES[name]["z_dim"], CASES[name]["w_dim"], 3)
    pictures = check_pictures(read.model.generator, name)
    assert read.model.discriminator is not None
    logits = read.model.discriminator(pictures)
    np.testing.assert_allclose(logits.numpy(), REFERENCE[f"{name}.logits"], atol=1e-3)
    assert read.model.notes == ()


def test_a_published_generator_is_one_of_natural_photos(files: dict[str, Path]) -> None:
    model = read_generator(files["ada_64"]).model
    assert model.encoder is None
    assert model.frame.own_shape
    assert model.frame.ffhq_crop
    assert not model.generator.training
    assert not any(p.requires_grad for p in model.generator.parameters())
    w_avg = seeded(CASES["ada_64"]["generator"])["mapping.w_avg"]
    assert torch.equal(model.latent_mean, w_avg.expand(10, 20))
    z = np.random.RandomState(123).randn(10_000, 24).astype(np.float32)
    expected = model.generator.mapping(torch.from_numpy(z))[:, 0].std(0, correction=0)
    torch.testing.assert_close(model.latent_deviation, expected.expand(10, 20))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["ada_64", "tensorflow_64"])
def test_any_protocol_gives_the_same(tmp_path: Path, name: str, protocol: int) -> None:
    check_pictures(read_generator(write_case(CASES[name], tmp_path / "net.pkl", protocol)).model.generator, name)


@pytest.mark.parametrize("zipped", [True, False])
def test_e4e_gives_its_decoder(tmp_path: Path, zipped: bool) -> None:
    case = CASES["rosinality_64"]
    content = content_of(case)
    state = {f"decoder.{name}": tensor for name, tensor in content["g_ema"].items()}
    state["encoder.input_layer.0.weight"] = torch.zeros(2)
    mean = content["latent_avg"].repeat(case["num_ws"], 1)
    whole = {"state_dict": state, "latent_avg": mean, "opts": {"device": "cuda:0"}}
    torch.save(whole, tmp_path / "e4e.pt", _use_new_zipfile_serialization=zipped)
    read = read_generator(tmp_path / "e4e.pt")
    assert read.layout == E4E
    assert read.model.discriminator is None
    check_pictures(read.model.generator, "rosinality_64")


def test_a_state_dict_with_nvidias_names_is_clamped_as_its_training_code_does(tmp_path: Path) -> None:
    torch.save(seeded(CASES["ada_64"]["generator"]), tmp_path / "texgan.pth")
    read = read_generator(tmp_path / "texgan.pth")
    assert read.layout == ADA_STATE
    assert read.model.generator.conv_clamp == 256
    check_pictures(read.model.generator, "ada_64")


@pytest.mark.parametrize("version", [2, 3])
def test_older_tensorflow_pickles_with_flat_names(tmp_path: Path, version: int) -> None:
    flat = {
        name.replace("mapping/", "G_mapping/").replace("synthesis/", "G_synthesis/"): tensor
        for name, tensor in seeded(CASES["tensorflow_64"]["generator"]).items()
    }
    network = tf_network(flat, version, resolution=64)
    del network.state["components"]
    with foreign_modules():
        (tmp_path / "old.pkl").write_bytes(pickle.dumps((network, network, network)[:1], 2))
    check_pictures(read_generator(tmp_path / "old.pkl").model.generator, "tensorflow_64")


def test_what_a_checkpoint_of_training_lacks_is_said(tmp_path: Path) -> None:
    state = {k: v for k, v in content_of(CASES["rosinality_64"])["g_ema"].items() if not k.startswith("noises.")}
    torch.save({"g_ema": state, "args": None}, tmp_path / "550000.pt")
    model = read_generator(tmp_path / "550000.pt").model
    assert [note.split(";")[0] for note in model.notes] == [
        "The file has no mean latent",
        "The file has no constant noise",
    ]
    z = np.random.RandomState(123).randn(10_000, 20).astype(np.float32)
    torch.testing.assert_close(
        model.generator.mapping.w_avg, model.generator.mapping(torch.from_numpy(z))[:, 0].mean(0)
    )
    w = latents(CASES["rosinality_64"])[1]
    assert torch.equal(model.generator.synthesis(w), model.generator.synthesis(w, noise="none"))


def test_views_into_one_storage_are_honoured(tmp_path: Path) -> None:
    """As a checkpoint has them whose parameters were flattened into one vector."""
    content = content_of(CASES["rosinality_64"])
    vector = torch.cat([tensor.flatten() for tensor in content["g_ema"].values()])
    start, views = 0, {}
    for name, tensor in content["g_ema"].items():
        views[name] = vector[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    torch.save({"g_ema": views, "latent_avg": content["latent_avg"]}, tmp_path / "flat.pt")
    assert (tmp_path / "flat.pt").stat().st_size < 4 * len(vector) + 100_000
    check_pictures(read_generator(tmp_path / "flat.pt").model.generator, "rosinality_64")


def spoilt(tmp_path: Path, name: str, spoil: Callable[[Any], Any]) -> Path:
    path = tmp_path / "bad.pkl"
    content = content_of(CASES[name])
    spoil(content)
    if CASES[name]["layout"] == "rosinality":
        torch.save(content, path)
    else:
        with foreign_modules():
            path.write_bytes(pickle.dumps(content, 4))
    return path


def _nan(content: Any) -> None:
    content["g_ema"]["convs.1.conv.weight"][0, 0, 0, 1, 1] = float("nan")


def _wide(content: Any) -> None:
    content["g_ema"]["style.1.weight"] = torch.zeros(20, 3, 1)


def _ada(path: str, key: str, value: Any) -> Callable[[Any], None]:
    def spoil(content: Any) -> None:
        module = content["G_ema"]
        for part in path.split("."):
            module = module.state["_modules"][part]
        module.state[key] = value

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        ("rosinality_64", _nan, "synthesis.b8.conv1.weight holds something that is no finite number"),
        (
            "rosinality_64",
            lambda c: c["g_ema"].pop("convs.0.conv.weight"),
            "does not fit a StyleGAN2 of 64 px: .*missing",
        ),
        ("rosinality_64", lambda c: c["g_ema"].update({"stem.weight": torch.zeros(1)}), "found stem.weight"),
        ("rosinality_64", _wide, "expected a StyleGAN2 with mapping.fc0 and synthesis.b4, found"),
        (
            "rosinality_64",
            lambda c: c["g_ema"].update({"noises.noise_3": torch.zeros(3)}),
            r"noise_3 has the .* \(3,\)",
        ),
        (
            "rosinality_64",
            lambda c: c["g_ema"]["to_rgbs.0.upsample.kernel"].fill_(1),
            r"\[1, 3, 3, 1\], found another in",
        ),
        (
            "rosinality_64",
            lambda c: c.update(latent_avg=torch.eye(20)),
            "one mean latent for all layers, found several",
        ),
        ("rosinality_64", lambda c: c.update(latent_avg=torch.zeros(7)), r"mapping.w_avg is \(7,\), expected \(20,\)"),
        ("rosinality_64", lambda c: c.update(latent_avg="much"), "expected tensors, found a str called latent_avg"),
        (
            "rosinality_64",
            lambda c: c["d"].pop("final_linear.1.bias"),
            "fit a discriminator of 64 px: b4.out.bias missing",
        ),
        (
            "rosinality_64",
            lambda c: c.pop("g_ema") and c.pop("g"),
            "expected the networks of a StyleGAN2, found d, latent",
        ),
        ("ada_64", _ada("mapping.fc0", "bias_gain", 0.1), "expected mapping.fc0.bias_gain 0.01, found 0.1"),
        ("ada_64", _ada("mapping.fc0", "activation", "relu"), "expected mapping.fc0.activation lrelu, found relu"),
        ("ada_64", _ada("synthesis.b8", "architecture", "orig"), "b8.architecture skip, found orig"),
        ("ada_64", _ada("synthesis.b4.conv1", "conv_clamp", -1.0), "a positive conv_clamp, found -1.0"),
        ("ada_64", _ada("synthesis.b4", "_modules", [1]), "a module of PyTorch, found a Layer without state"),
    ],
)
def test_a_file_that_means_something_else_is_refused(
    tmp_path: Path, name: str, spoil: Callable[[Any], Any], sentence: str
) -> None:
    path = spoilt(tmp_path, name, spoil)
    with pytest.raises(WeightsError, match=sentence) as caught:
        read_generator(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stylegan3_and_a_conditional_network_are_named(tmp_path: Path) -> None:
    def third(content: Any) -> None:
        modules = content["G_ema"].state["_modules"]["synthesis"].state["_modules"]
        modules["input"] = modules["b4"]

    def conditional(content: Any) -> None:
        modules = content["G_ema"].state["_modules"]["mapping"].state["_modules"]
        modules["embed"] = Module("Layer", {"activation": "linear"})
        modules["embed"].state["_parameters"]["weight"] = torch.zeros(20, 10)

    with pytest.raises(WeightsError, match="expected a StyleGAN2, found a StyleGAN3"):
        read_generator(spoilt(tmp_path, "ada_64", third))
    with pytest.raises(WeightsError, match=r"expected a generator of one class, found mapping\.embed\.weight"):
        read_generator(spoilt(tmp_path, "ada_64", conditional))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"nonlinearity": "relu"}, "expected nonlinearity lrelu, found relu"),
        ({"resample_kernel": [1, 2, 1]}, "expected resample_kernel"),
        ({"label_size": 10}, "expected label_size 0, found 10"),
    ],
)
def test_tensorflow_networks_of_other_options_are_refused(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    network = tf_network(seeded(CASES["tensorflow_64"]["generator"]), **options)
    with foreign_modules():
        (tmp_path / "net.pkl").write_bytes(pickle.dumps((network, network, network), 2))
    with pytest.raises(WeightsError, match=sentence):
        read_generator(tmp_path / "net.pkl")


def test_layers_claimed_to_be_enormous_cost_nothing(tmp_path: Path) -> None:
    """Kernels of one number per channel would make a network of gigabytes."""
    state = content_of(CASES["rosinality_64"])["g_ema"]
    for name in list(state):
        if name.endswith("conv.weight") and "rgb" not in name:
            state[name] = torch.zeros(1, 60_000, 1, 1, 1)
    torch.save({"g_ema": state}, tmp_path / "wide.pt")
    with pytest.raises(WeightsError, match=r"does not fit a StyleGAN2 of 64 px|expected widths that halve"):
        read_generator(tmp_path / "wide.pt")


def test_modules_within_modules_without_number_end(tmp_path: Path) -> None:
    content = content_of(CASES["ada_64"])
    modules = content["G_ema"].state["_modules"]
    inner = modules["synthesis"]
    for _ in range(40):  # each twice in the next: 2 ** 40 paths
        outer = Module("Layer", {})
        outer.state["_modules"] |= {"a": inner, "b": inner}
        inner = outer
    modules["deep"] = inner
    with foreign_modules():
        (tmp_path / "loop.pkl").write_bytes(pickle.dumps(content, 4))
    with pytest.raises(WeightsError, match="found more than 10000"):
        read_generator(tmp_path / "loop.pkl")


def tf_file(path: Path, state: dict[str, Any]) -> Path:
    """A pickle of one TensorFlow network with that state."""
    state = {"version": 4, "static_kwargs": {}, "components": {}, "variables": [], **state}
    with foreign_modules():
        path.write_bytes(pickle.dumps((Network(state),), 4))
    return path


def doubled(times: int) -> list[Any]:
    """Lists of twice the same list: a short pickle, and text of 2 ** times letters."""
    nested: list[Any] = [1]
    for _ in range(times):
        nested = [nested, nested]
    return nested


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"version": doubled(60)}, "version 2, 3 or 4, found version a list"),
        (
            {"static_kwargs": {"conv_clamp": doubled(60)}, "variables": [("dlatent_avg", np.zeros(4, np.float32))]},
            "a positive conv_clamp, found a list",
        ),
        ({"static_kwargs": {"architecture": doubled(60)}}, "architecture skip, found a list"),
        ({"version": 1 << 200_000}, "found an enormous number"),
        ({"variables": [("lod", 1 << 4000)]}, "expected tensors, found an int called lod"),
        ({"variables": [("k" * 1000, 1.0)]}, "expected the names of a StyleGAN2, found kkk"),
    ],
    ids=range(6),
)
def test_what_would_fill_memory_in_a_message_is_named_by_its_kind(
    tmp_path: Path, state: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(WeightsError, match=sentence) as caught:
        read_generator(tf_file(tmp_path / "net.pkl", state))
    assert len(str(caught.value)) < 1000


def test_long_names_of_modules_within_modules_take_no_memory(tmp_path: Path) -> None:
    content = content_of(CASES["ada_64"])
    long, inner = "k" * (1 << 20), Module("Layer", {})
    for _ in range(40):  # the name is in the file once; put together it would be 40 MB, and 800 MB of them
        outer = Module("Layer", {})
        outer.state["_modules"][long] = inner
        inner = outer
    content["G_ema"].state["_modules"]["deep"] = inner
    with foreign_modules():
        (tmp_path / "long.pkl").write_bytes(pickle.dumps(content, 4))
    with pytest.raises(WeightsError, match="expected the names of a StyleGAN2, found kkk") as caught:
        read_generator(tmp_path / "long.pkl")
    assert len(str(caught.value)) < 1000


def test_reading_draws_no_random_numbers(files: dict[str, Path]) -> None:
    before = torch.random.get_rng_state()
    assert isinstance(read_generator(files["tensorflow_64"]), ReadGenerator)
    assert torch.equal(torch.random.get_rng_state(), before)
