"""From many photos to a dataset of textures: plan, workers, shards, manifest; and back to tensors."""

from typing import Any

__all__ = ["TextureDataset", "TextureStream"]


def __getattr__(name: str) -> Any:
    """Give the classes of :mod:`ostec.dataset.textures`, loaded on use: only they need PyTorch."""
    if name in __all__:
        from ostec.dataset import textures

        return getattr(textures, name)
    raise AttributeError(f"module 'ostec.dataset' has no attribute {name!r}")
