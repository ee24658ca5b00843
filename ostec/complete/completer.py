"""What every way of completing a texture is to its caller."""

from collections.abc import Callable, Sequence
from typing import Protocol

from ostec.core.types import Completion, Evidence

OnProgress = Callable[[str, float], None]
"""Called with a stage, ``prior``, ``project``, ``stitch`` or another, and the share of it that is done, 0 to 1."""


def unwatched(stage: str, share: float) -> None:
    """No progress is wanted."""


class TextureCompleter(Protocol):
    """Completes the textures of several faces, batch-first; ``prior`` and ``generator`` implement it."""

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        """Complete the texture of each face; one does not look at the others.

        Args:
            evidence: B faces; all of one texture size.
            on_progress: told how far the whole batch is.

        Returns:
            B completions, in order.
        """
