"""The generator's training textures from portraits, kept in a folder so that they are made once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from ostec.core.assets import sha256_of
from ostec.core.types import BoolArray, Topology
from ostec.io.cache import read_cache, why_stale, write_cache
from ostec.prior.linear import LinearPrior
from ostec.train.imagined import ImaginedTextures, imagine_textures
from ostec.train.portraits import PortraitTexels, picture_paths
from ostec.train.prior import PriorModel
from ostec.train.renders import TrainingTextures, make_training_textures
from ostec.train.settings import DiffusionTrainSettings, GeneratorTrainSettings

_BATCH = 64
_DETAIL_SIDE = 220
"""Native side in pixels from which a portrait is drawn ``_DETAIL_SHARE`` times as often."""
_DETAIL_SHARE = 3
_DARK_ITA_DEG = -5.0
"""Below this a portrait is drawn twice as often: a tenth are. Brows, lips and shade count, so that it is low."""


@dataclass(frozen=True)
class TextureSources:
    """All that training textures follow from."""

    portraits: tuple[Path, ...]
    """Folders of aligned portraits."""
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
        for path in (path for folder in self.portraits for path in picture_paths(folder)):
            digest.update(f"{path.name}\0{sha256_of(path)}\0".encode(errors="replace"))
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

    @property
    def rows(self) -> torch.Tensor:
        """The portraits to train on, each as often as it is drawn.

        Where a folder says what detail its portraits hold, those with much come more often than the others, and dark
        skin, which is rare in them, more often than light.
        """
        side = self.textures.native_side
        known = side.isfinite()
        often = 1 + (_DETAIL_SHARE - 1) * (known & (side >= _DETAIL_SIDE)).long()
        often = often * (1 + (known & (self._tone_deg() < _DARK_ITA_DEG)).long())
        return torch.arange(len(side)).repeat_interleave(often * torch.from_numpy(~self.held_out))

    def _tone_deg(self) -> torch.Tensor:
        """[N] the individual typology angle of the mean colour that each portrait showed; the larger, the lighter."""
        from kornia.color import rgb_to_lab

        pairs = zip(self.textures.colour.split(_BATCH), self.textures.shown.split(_BATCH), strict=True)
        mean = torch.cat([(c * (s > 0)).sum((2, 3)) / (s > 0).sum((2, 3)).clamp(min=1) for c, s in pairs]) / 255
        light, _, yellow = rgb_to_lab(mean[..., None, None])[..., 0, 0].unbind(-1)
        return torch.rad2deg(torch.atan2(light - 50, yellow))


@dataclass(frozen=True)
class PreparedImagined:
    """Imagined photos of N portraits, and the portraits."""

    textures: ImaginedTextures
    portraits: PortraitTexels


def prepare_textures(
    sources: TextureSources,
    settings: GeneratorTrainSettings,
    work: Path,
    read: Callable[[], PortraitTexels],
    say: Callable[[str], None],
) -> PreparedTextures:
    """Load the textures from ``work``, or make and save them if they are not there or other sources were theirs.

    ``work`` holds ``texels.npz`` and ``textures.npz``; ``read`` makes the portraits' texels; ``say`` gets a sentence on
    what is made, and why.
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
        data = portrait_texels(work / "texels.npz", texels_key, read, say)
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


def prepare_imagined(
    sources: TextureSources,
    settings: DiffusionTrainSettings,
    work: Path,
    read: Callable[[], PortraitTexels],
    say: Callable[[str], None],
) -> PreparedImagined:
    """As :func:`prepare_textures`, for the diffusion model: ``work`` holds ``texels.npz`` and ``imagined.npz``."""
    data = portrait_texels(work / "texels.npz", sources.texels_key, read, say)
    path = work / "imagined.npz"
    key = {
        **sources.texels_key,
        "prior": sources.prior_sha256,
        "number of imagined photos": str(settings.photos),
        "seed": str(settings.seed),
        "arrays": _names(ImaginedTextures),
    }
    if reason := why_stale(path, key):
        say(f"Imagining photos of the portraits: {path.name} {reason}.")
        made = imagine_textures(data, sources.prior, sources.topology, settings.photos, settings.seed)
        write_cache(path, key, {field.name: getattr(made, field.name).numpy() for field in fields(made)})
        return PreparedImagined(made, data)
    return PreparedImagined(ImaginedTextures(**{k: torch.from_numpy(v) for k, v in read_cache(path).items()}), data)


def _names(kind: type[PortraitTexels] | type[TrainingTextures] | type[ImaginedTextures]) -> str:
    """What a file of this kind holds, so that one of an older layout is not taken for it."""
    return " ".join(field.name for field in fields(kind))


def portrait_texels(
    path: Path, key: dict[str, str], read: Callable[[], PortraitTexels], say: Callable[[str], None]
) -> PortraitTexels:
    """Load the portraits' texels from ``path``, or make them with ``read`` and save them there."""
    if reason := why_stale(path, key):
        say(f"Reading the portraits: {path.name} {reason}.")
        data = read()
        arrays = {field.name: getattr(data, field.name) for field in fields(data)}
        write_cache(path, key, {**arrays, "names": np.array(data.names)})
        return data
    arrays = read_cache(path)
    names = tuple(str(name) for name in arrays.pop("names"))
    return PortraitTexels(names, **arrays)
