"""A generator of maps as the decoder of the RGB fit."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.errors import UsageError
from ostec.core.types import FloatArray, ViewFrame
from ostec.fit.rgb import FaceState
from ostec.io.files import write_atomic
from ostec.io.weights import encode_safetensors
from ostec.nets.checkpoint import PortraitGenerator, generator_to_tensors
from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.pipeline.decoder import GeneratorDecoder, cross_angles, load_decoder, search

SHAPE = GeneratorShape(resolution=32, z_dim=6, w_dim=8, mapping_layers=1, channel_base=128, channel_max=8)


def model() -> PortraitGenerator:
    torch.manual_seed(0)
    generator = Generator(SHAPE).eval().requires_grad_(False)
    encoder = Encoder(SHAPE, EncoderShape(64, 8, 8)).eval().requires_grad_(False)
    rows = SHAPE.num_ws
    frame = ViewFrame(own_shape=False, ffhq_crop=False)
    return PortraitGenerator(generator, encoder, None, frame, torch.zeros(rows, 8), torch.full((rows, 8), 0.5))


def decoder() -> GeneratorDecoder:
    inside = np.zeros((32, 32), bool)
    inside[4:28, 4:28] = True
    nearest = torch.stack(torch.meshgrid(*[torch.arange(32).clamp(4, 27)] * 2, indexing="ij"))
    return GeneratorDecoder(model(), nearest)


@dataclass
class Painting:
    """Stands in for a fitter: compares the map itself with a wanted one."""

    maps: GeneratorDecoder
    wanted: torch.Tensor

    def errors(self, state: FaceState, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.maps.decode(latent) - self.wanted).abs().mean(), torch.zeros(())


def state(latent: FloatArray) -> Any:
    none = np.zeros(3)
    return FaceState(np.zeros(1, np.float32), np.zeros(1, np.float32), np.eye(3), 1.0, none[:2], none, latent)


def test_the_search_nears_the_picture_and_stays_on_its_spheres() -> None:
    maps = decoder()
    draw = np.random.default_rng(0)
    start, aim = (draw.normal(size=(SHAPE.num_ws, 8)).astype(np.float32) for _ in range(2))
    fitter = Painting(maps, maps.decode(torch.from_numpy(aim)))
    found = search(fitter, maps, state(start)).latent  # type: ignore[arg-type]
    first, last = (float(fitter.errors(state(x), torch.from_numpy(x))[0]) for x in (start, found))
    assert last < 0.6 * first
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(start, axis=1), rel=1e-5)


def test_no_ground_shows_at_the_border_and_texture_and_decode_agree() -> None:
    maps = decoder()
    latent = np.random.default_rng(1).normal(size=(SHAPE.num_ws, 8)).astype(np.float32)
    linear = maps.decode(torch.from_numpy(latent))[0].numpy()
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert srgb == pytest.approx(maps.texture(latent), abs=1e-5)
    assert np.array_equal(srgb[0, 10], srgb[4, 10])
    assert maps.start(maps.texture(latent)).shape == latent.shape
    assert not maps.plain(latent).any()


def test_angles_between_rows_by_hand() -> None:
    rows = torch.tensor([[1.0, 0], [0, 2.0]])  # 2 atan2(sqrt 5, sqrt 5) = 90 degrees for both ordered pairs
    assert float(cross_angles(rows)) == pytest.approx(2 * (math.pi / 2) ** 2 / 8, rel=1e-4)


def test_only_maps_of_this_layout_are_loaded(tmp_path: Path) -> None:
    stored = generator_to_tensors(model())
    path = tmp_path / "d.safetensors"
    inside = np.ones((32, 32), bool)

    def written(**card: str) -> Path:
        import json

        write_atomic(path, encode_safetensors(stored.tensors))
        write_atomic(path.with_suffix(".json"), json.dumps({**stored.card, **card}).encode())
        return path

    found = load_decoder(written(draws="maps", topology_sha256="a"), lambda _: inside, "a")
    assert found.model.generator.shape == SHAPE
    with pytest.raises(UsageError, match="draws no maps"):
        load_decoder(written(topology_sha256="a"), lambda _: inside, "a")
    with pytest.raises(UsageError, match="another UV layout"):
        load_decoder(written(draws="maps", topology_sha256="b"), lambda _: inside, "a")
