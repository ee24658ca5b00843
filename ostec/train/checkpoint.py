"""The generator's training, saved and resumed."""

from pathlib import Path

import torch

from ostec.core.errors import WeightsError
from ostec.core.settings import to_json
from ostec.io.files import write_atomic
from ostec.train.generator import GeneratorTrainSettings, TrainingState

_SHAPES = ("resolution", "latent", "mapping_layers", "channel_base", "channel_max", "patch")
"""Settings that the networks' shapes follow from; the others may change between two runs."""


def save_checkpoint(path: Path, state: TrainingState, settings: GeneratorTrainSettings) -> None:
    """Write the state and the settings it was reached with; an older checkpoint is replaced.

    Raises:
        OutputError: the file cannot be written; the older one stays.
    """
    content = {**state.state_dict(), "settings": to_json(settings)}
    write_atomic(path, lambda stream: torch.save(content, stream))


def load_checkpoint(path: Path, state: TrainingState, settings: GeneratorTrainSettings) -> list[str]:
    """Resume in place.

    Args:
        path: a file of :func:`save_checkpoint`; one without settings is judged by its tensors' shapes alone.
        state: just started with ``settings``.
        settings: of the training that goes on.

    Returns:
        Names of the settings that are others than before.

    Raises:
        WeightsError: the file is damaged, or its networks have other shapes.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        before = content.get("settings", {})
    except Exception as error:
        raise WeightsError(f"{path} is no checkpoint of this training, or damaged: remove it to begin anew.") from error
    now = to_json(settings)
    changed = [name for name in now if name in before and _plain(before[name]) != _plain(now[name])]
    for name in _SHAPES:
        if name in changed:
            raise WeightsError(
                f"{path} was trained with {name} {before[name]}, not {now[name]}: "
                "give the same, or another folder to work in."
            )
    try:
        state.load_state_dict(content)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} holds other networks than these settings build.") from error
    return changed


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
