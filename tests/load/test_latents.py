"""Latents in files that PyTorch reads without executing anything."""

import io

import numpy as np
import torch

from ostec.load.generators import encode_latent


def test_a_latent_comes_back_with_the_shape_of_ffhq_uv() -> None:
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    read = torch.load(io.BytesIO(encode_latent(w)), weights_only=True)
    assert list(read) == ["latent"]
    assert read["latent"].shape == (1, 2, 3)
    np.testing.assert_array_equal(read["latent"][0].numpy(), w)
    assert encode_latent(w) == encode_latent(w.copy())
