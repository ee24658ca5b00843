"""What ``ostec train`` does between two steps: says how it goes, saves, resumes, stops where it was asked to."""

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostec.train.result import Resumable

log = logging.getLogger(__name__)

_SAVE_SECONDS = 600.0
_SAY_SECONDS = 60.0


class Journal:
    """Called after each step: says how it goes, saves every ten minutes and when somebody asks to stop."""

    def __init__(
        self,
        checkpoint: Path,
        settings: Any,
        images: int,
        stop: list[KeyboardInterrupt],
        about: Callable[[int], str] = lambda _: "",
    ) -> None:
        """Begin.

        Args:
            checkpoint: file to save to.
            settings: of the training; their ``images`` say how many pictures there are in all.
            images: pictures seen so far.
            stop: filled when somebody asks to stop (:func:`finish_step_first`).
            about: what more to say of the training after so many pictures.
        """
        self._checkpoint, self._settings, self._stop, self._about = checkpoint, settings, stop, about
        self._saved = self._said = time.monotonic()
        self._said_images = images
        self._losses: dict[str, float] = {}

    def __call__(self, state: "Resumable", losses: dict[str, float]) -> None:
        """Take note of a step."""
        for name, value in losses.items():
            self._losses[name] = 0.97 * self._losses.get(name, value) + 0.03 * value
        now = time.monotonic()
        if now - self._said > _SAY_SECONDS:
            self._say(state, now - self._said)
            self._said, self._said_images = now, state.images
        if self._stop:
            self.save(state)
            raise self._stop[0]
        if now - self._saved > _SAVE_SECONDS:
            self.save(state)

    def save(self, state: "Resumable") -> None:
        """Write the checkpoint."""
        from ostec.train.result import save_checkpoint

        save_checkpoint(self._checkpoint, state, self._settings)
        self._saved = time.monotonic()

    def _say(self, state: "Resumable", seconds: float) -> None:
        log.info(
            "%d of %d pictures%s, %.1f a second: %s",
            state.images,
            self._settings.images,
            self._about(state.images),
            (state.images - self._said_images) / seconds,
            ", ".join(f"{name} {value:.4f}" for name, value in self._losses.items()),
        )


@contextlib.contextmanager
def finish_step_first() -> Iterator[list[KeyboardInterrupt]]:
    """The first Ctrl-C, SIGTERM or SIGHUP only fills the list, a second one ends at once; for the main thread."""
    from ostec.app.photos.runner import TERMINATING, Terminated, handling

    asked: list[KeyboardInterrupt] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is given
        interrupt = Terminated(number) if number in TERMINATING else KeyboardInterrupt()
        if asked:
            raise interrupt
        asked.append(interrupt)

    with handling((signal.SIGINT, *TERMINATING), note):
        yield asked


def resume(checkpoint: Path, state: "Resumable", settings: Any) -> None:
    """Go on from a checkpoint, if there is one. Raises WeightsError if it is another training's, or damaged."""
    from ostec.train.result import load_checkpoint

    if not checkpoint.exists():
        return
    changed = load_checkpoint(checkpoint, state, settings)
    log.info("Going on after %d pictures.", state.images)
    if changed:
        log.info("Other than before: %s.", ", ".join(changed))
