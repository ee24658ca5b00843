"""Several completions of one photo: the same where it shows the face, written with a map of where they differ."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.app.photos.results import RESULT_ENDINGS
from ostec.core.errors import AssetError
from ostec.export.samples import WHITE, uncertainty
from ostec.io.images import read_image
from ostec.io.weights import encode_safetensors
from ostec.load.networks import denoiser_file, load_denoiser
from ostec.nets.denoiser import DenoiserShape, TextureDenoiser
from ostec.pipeline import CompletedFace, Completer
from ostec.pipeline.settings import CompleteSettings

SETTINGS = CompleteSettings(completer="prior", samples=2, uv_size=256, face_model="none")


@pytest.fixture(scope="module")
def face(completer: Completer, astronaut: np.ndarray) -> CompletedFace:
    return Completer(completer.models, SETTINGS, completer.device)(astronaut)


def test_samples_differ_where_the_photo_shows_nothing_alone(face: CompletedFace) -> None:
    assert face.samples is not None
    assert face.samples.shape == (2, 256, 256, 3)
    spread = uncertainty(face.samples)
    own = np.abs(face.samples[0] / 255 - face.texture).mean(-1)
    seen, guessed = face.provenance == 1, face.provenance == 3
    assert np.median(spread[seen]) == 0
    assert np.median(own[seen]) < 1 / 255
    assert spread[guessed].mean() > 0.01


def test_what_was_asked_for_is_written_and_listed(face: CompletedFace, tmp_path: Path) -> None:
    face.save(tmp_path, "a")
    record = json.loads((tmp_path / "a.json").read_text())
    names = ("_sample_1.png", "_sample_2.png", "_uncertainty.png", "_samples.html")
    for ending in names:
        assert f"a{ending}" in record["files"]
        assert (tmp_path / f"a{ending}").is_file()
        assert ending in RESULT_ENDINGS
    assert not (tmp_path / "a_sample_3.png").exists()
    assert face.samples is not None
    np.testing.assert_array_equal(np.round(read_image(tmp_path / "a_sample_2.png") * 255), face.samples[1])
    shown = read_image(tmp_path / "a_uncertainty.png")[..., 0] * WHITE
    np.testing.assert_allclose(shown, np.minimum(uncertainty(face.samples), WHITE), atol=WHITE / 255)
    page = (tmp_path / "a_samples.html").read_text()
    assert page.count("<img") == 3 * 4 + 1
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_more_samples_begin_with_the_same_ones(
    face: CompletedFace, completer: Completer, astronaut: np.ndarray
) -> None:
    more = Completer(completer.models, replace(SETTINGS, samples=3), completer.device)(astronaut)
    other = Completer(completer.models, replace(SETTINGS, seed=1), completer.device)(astronaut)
    assert face.samples is not None
    assert more.samples is not None
    np.testing.assert_array_equal(more.samples[:2], face.samples)
    np.testing.assert_array_equal(more.texture, face.texture)
    assert other.samples is not None
    assert (other.samples[0] != face.samples[0]).any()


def test_the_spread_is_that_of_all_channels() -> None:
    samples = np.zeros((3, 1, 1, 3), np.uint8)
    samples[:, 0, 0, 0] = (0, 51, 102)
    assert uncertainty(samples)[0, 0] == pytest.approx(51 / 255 / 3**0.5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"completer": "auto"}, "samples needs completer prior or diffusion"),
        ({"completer": "generator"}, "samples needs completer prior or diffusion"),
        ({"samples": 1}, "samples must be 0 or 2 to 16"),
        ({"samples": 17}, "samples must be 0 or 2 to 16"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"completer": "diffusion", "prior": "none"}, "completer diffusion with prior none"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(SETTINGS, **changed)  # type: ignore[arg-type]


@pytest.fixture
def network_file(tmp_path: Path, completer: Completer) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TextureDenoiser(DenoiserShape(128, (8, 16), 16))
        torch.nn.init.normal_(network.exit.weight, std=0.05)
    path = tmp_path / "own.safetensors"
    path.write_bytes(encode_safetensors(network.state_dict()))
    path.with_suffix(".json").write_text(json.dumps({"topology_sha256": completer.models.topology.sha256}))
    return path


@pytest.mark.slow
def test_a_network_of_ones_own_draws_over_the_prior(
    network_file: Path, face: CompletedFace, completer: Completer, astronaut: np.ndarray
) -> None:
    network = load_denoiser(denoiser_file(str(network_file)), completer.models.topology, completer.device)
    models = replace(completer.models, denoiser=network)
    settings = replace(SETTINGS, completer="diffusion", denoiser=str(network_file))
    made = Completer(models, settings, completer.device)(astronaut)
    assert made.record["completer"] == "diffusion"
    seen, guessed = face.provenance == 1, face.provenance == 3
    change = np.abs(made.texture - face.texture).mean(-1)
    assert np.median(change[seen]) == 0
    assert change[guessed].mean() > 0.002
    assert made.samples is not None
    assert uncertainty(made.samples)[guessed].mean() > 0.002


def test_no_weights_ship_and_the_sentence_says_what_to_do(network_file: Path, completer: Completer) -> None:
    with pytest.raises(AssetError, match="ostec train diffusion"):
        denoiser_file("default")
    network_file.with_suffix(".json").write_text("{}")
    with pytest.raises(AssetError, match="another UV layout"):
        load_denoiser(network_file, completer.models.topology, completer.device)
