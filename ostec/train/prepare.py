"""The generator's training textures from portraits, kept in a folder so that they are made once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from ostec.core.types import BoolArray, Topology
from ostec.io.cache import read_cache, why_stale, write_cache
from ostec.io.images import IMAGE_SUFFIXES
from ostec.prior.linear import LinearPrior
from ostec.train.generator import GeneratorTrainSettings
from ostec.train.portraits import PortraitTexels
from ostec.train.prior import PriorModel
from ostec.train.renders import TrainingTextures, make_training_textures


@dataclass(frozen=True)
class TextureSources:
    """All that training textures follow from."""

    portraits: Path
    """Folder of aligned portraits."""
    excluded: frozenset[str]
    """Numbers of portraits that are held out beside the rule."""
    topology: Topology
    prior: LinearPrior
    prior_sha256: str
    """Of the prior's file."""
    size: int
    """Side of the textures."""

    @property
    def texels_key(self) -> dict[str, str]:
        """What the portraits' texels depend on."""
        digest = hashlib.sha256()
        for path in sorted(p for p in self.portraits.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES):
            digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode(errors="replace"))
        return {
            "portraits": digest.hexdigest(),
            "excluded photos": " ".join(sorted(self.excluded)),
            "topology": self.topology.sha256,
            "size": str(self.size),
            "arrays": _names(PortraitTexels),
        }


@dataclass(frozen=True)
class PreparedTextures:
    """Training textures of N portraits."""

    textures: TrainingTextures
    held_out: BoolArray
    """[N]: never trained on."""


def prepare_textures(
    sources: TextureSources,
    settings: GeneratorTrainSettings,
    work: Path,
    read: Callable[[], PortraitTexels],
    say: Callable[[str], None],
) -> PreparedTextures:
    """Load the textures from ``work``, or make and save them if they are not there or other sources were theirs.

    Args:
        sources: of the textures.
        settings: of the training.
        work: folder of ``texels.npz`` and ``textures.npz``.
        read: makes the portraits' texels.
        say: told what is made, and why.
    """
    texels_key = sources.texels_key
    path = work / "textures.npz"
    key = {
        **texels_key,
        "prior": sources.prior_sha256,
        "number of imagined photos": str(settings.photos),
        "seed": str(settings.seed),
        "arrays": _names(TrainingTextures),
    }
    if reason := why_stale(path, key):
        data = _texels(work / "texels.npz", texels_key, read, say)
        say(f"Making the training textures: {path.name} {reason}.")
        prior = sources.prior
        model = PriorModel(prior.mean, prior.basis, prior.noise)
        made = make_training_textures(data, model, prior.inside, sources.topology, settings.photos, settings.seed)
        planes = {field.name: getattr(made, field.name).numpy() for field in fields(made)}
        write_cache(path, key, {**planes, "held_out": data.held_out})
        return PreparedTextures(made, data.held_out)
    arrays = read_cache(path)
    held_out = arrays.pop("held_out").astype(bool)
    return PreparedTextures(TrainingTextures(**{k: torch.from_numpy(v) for k, v in arrays.items()}), held_out)


def _names(kind: type[PortraitTexels] | type[TrainingTextures]) -> str:
    """What a file of this kind holds, so that one of an older layout is not taken for it."""
    return " ".join(field.name for field in fields(kind))


def _texels(
    path: Path, key: dict[str, str], read: Callable[[], PortraitTexels], say: Callable[[str], None]
) -> PortraitTexels:
    if reason := why_stale(path, key):
        say(f"Reading the portraits: {path.name} {reason}.")
        data = read()
        arrays = {field.name: getattr(data, field.name) for field in fields(data)}
        write_cache(path, key, {**arrays, "names": np.array(data.names)})
        return data
    arrays = read_cache(path)
    names = tuple(str(name) for name in arrays.pop("names"))
    return PortraitTexels(names, **arrays)
