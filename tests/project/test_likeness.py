"""Bringing a person back, with the networks that ship."""

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import FloatArray
from ostec.detect.landmarks import detect_landmarks_in, whole_image
from ostec.load.generators import read_generator
from ostec.load.networks import asset_file, load_facemesh, load_recogniser
from ostec.project.identity import identity_crop
from ostec.project.likeness import ENOUGH, like_before
from ostec.render.crops import warp


def test_a_latent_shows_the_person_again_and_what_is_broad_stays() -> None:
    cpu = torch.device("cpu")
    generator = read_generator(asset_file("generator", "default")).model.generator
    facemesh, network = load_facemesh(cpu), load_recogniser(cpu).network

    def drawn(latent: FloatArray) -> torch.Tensor:
        with torch.no_grad():
            return generator.synthesis(torch.from_numpy(latent)[None])

    def points(picture: torch.Tensor) -> FloatArray:
        image = (picture[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy()
        return detect_landmarks_in(image, whole_image(*image.shape[1::-1]), facemesh).points

    def person(picture: torch.Tensor) -> FloatArray:
        with torch.no_grad():
            return network.embed(warp(picture, [identity_crop(points(picture), network)]))[0].numpy()

    z = torch.from_numpy(np.random.RandomState(3).randn(2, generator.shape.z_dim).astype(np.float32))
    z[:, -2:] = 0  # both look ahead
    with torch.no_grad():
        one, other = generator.mapping(z).numpy()
    edited = one + 0.3 * (other - one)
    before, after = drawn(one), drawn(edited)
    assert person(before) @ person(after) < ENOUGH
    moved = drawn(like_before(generator, edited, person(before), points(after), network))
    assert person(before) @ person(moved) > ENOUGH - 0.02
    change = functional.avg_pool2d(moved - after, 8).abs().mean()
    assert float(change) < 0.3 * float(functional.avg_pool2d(before - after, 8).abs().mean())
