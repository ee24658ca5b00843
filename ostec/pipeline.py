"""The order of the stages for one photo; loads what they need. The only module that names two stages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.core.settings import CompleteSettings
from ostec.core.types import FloatArray, TexturedFace

Progress = Callable[[str, float], None]
"""Called with the stage that begins and the fraction of the photo's work that is done, 0 to 1."""

STAGES = ("read", "detect", "landmarks", "fit", "unwrap", "mask", "prior", "stitch", "export")


@dataclass(frozen=True)
class CompletedFace:
    """One finished face with the record of how it was made."""

    textured: TexturedFace
    record: dict[str, Any]
    """What NAME.json holds; nothing in it differs between two equal runs. ``warnings`` is a list of sentences."""
    seconds: dict[str, float]
    """Wall time by stage, for run.jsonl."""

    def save(self, directory: str | Path, name: str | None = None) -> Path:
        """Write every file of the result; NAME.json is renamed last and means done.

        Args:
            directory: made if it does not exist.
            name: stem of the files; default: the photo's.

        Returns:
            The path of NAME.json.

        Raises:
            OutputError: a file cannot be written; nothing half-written is left.
        """
        raise NotImplementedError


class Completer:
    """Photo in, textured face out; holds the networks, so that many photos pay for loading once."""

    @classmethod
    def from_pretrained(cls, settings: CompleteSettings = CompleteSettings(), device: str = "auto") -> "Completer":  # noqa: B008
        """Load what ships. Raises AssetError (missing or damaged file), BackendError (device not available)."""
        raise NotImplementedError

    def __call__(self, photo: str | Path | FloatArray, progress: Progress | None = None) -> CompletedFace:
        """Complete the largest face. Raises ImageError, FaceError."""
        raise NotImplementedError

    def complete_all(self, photo: str | Path | FloatArray, progress: Progress | None = None) -> list[CompletedFace]:
        """Complete the faces that ``settings.faces`` asks for, largest first. Raises ImageError, FaceError."""
        raise NotImplementedError

    def extend(self, directory: Path, name: str, frontalize: bool, turntable: bool) -> Path:
        """Add a missing frontal portrait or turntable to a finished result, from its own files; rewrites NAME.json."""
        raise NotImplementedError
