"""Pictures of a browser's camera on their way to the tracker, and those drawn of them on their way back."""

import threading
import time
from collections.abc import Callable, Iterator

from ostec.core.errors import ImageError
from ostec.io.images import decode_image, to_bytes
from ostec.io.video import Frame

LONGEST_S = 600.0
"""Of one recording."""
SILENCE_S = 15.0
"""Without a picture, after which a recording ends."""
HURRY_S = 2.0
"""How long a page waits until its picture is taken up."""
_LOOK_S = 0.2
_MEGAPIXELS = 4.0
"""Of a picture, at most."""


class Live:
    """One recording. The page's requests push; the job takes. Only the latest picture waits, so that nothing lags."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: bytes | None = None
        self._drawn = b""
        self._ended = False

    def push(self, picture: bytes) -> bytes | None:
        """Hand a picture in, wait until it is taken up, and get what was drawn last; None once it has ended."""
        with self._changed:
            if not self._ended:
                self._waiting = picture
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._ended or self._waiting is not picture, HURRY_S)
            return None if self._ended else self._drawn

    def show(self, drawn: bytes) -> None:
        """Say what the page gets for its next picture."""
        with self._changed:
            self._drawn = drawn

    def end(self) -> None:
        """No further picture is taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def frames(self, look: Callable[[float], None]) -> Iterator[Frame]:
        """The pictures with their times, until somebody ends it, they stay away, or it has lasted long enough.

        Args:
            look: called with the seconds so far, at least five times a second; what it raises ends the recording.
        """
        begun, count = 0.0, 0
        last = time.monotonic()
        try:
            while not self._ended:
                look(time.monotonic() - begun if count else 0.0)
                with self._changed:
                    self._changed.wait_for(lambda: self._ended or self._waiting is not None, _LOOK_S)
                    picture, self._waiting = self._waiting, None
                    self._changed.notify_all()
                now = time.monotonic()
                if count and now - begun > LONGEST_S:
                    return
                if picture is None or self._ended:
                    if now - last > SILENCE_S:
                        return
                    continue
                last, begun = now, begun if count else now
                try:
                    image = decode_image(picture, "The camera's picture", _MEGAPIXELS)
                except ImageError:
                    continue
                yield Frame(count, now - begun, to_bytes(image))
                count, last = count + 1, time.monotonic()  # the head takes a while to make
        finally:
            self.end()
