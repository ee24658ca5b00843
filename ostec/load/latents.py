"""Latents in the files of other programs."""

import io

import torch

from ostec.core.types import FloatArray


def encode_latent(latent: FloatArray) -> bytes:
    """W+ [num_ws, W] as PyTorch saves it: a dictionary with ``latent`` float32 [1, num_ws, W], as FFHQ-UV reads it."""
    stream = io.BytesIO()
    torch.save({"latent": torch.from_numpy(latent.copy())[None]}, stream)
    return stream.getvalue()
