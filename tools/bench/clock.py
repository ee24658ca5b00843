"""A stopwatch for measurements in steps, which leaves out whoever watches."""

import contextlib
import time
from collections.abc import Iterator

import torch

from ostec.bench.clock import Now, settle


class Clock:
    """A stopwatch for work in steps; it stands still while the bench looks at the results."""

    def __init__(self, device: torch.device, now: Now = time.perf_counter) -> None:
        """It does not run yet; ``device`` has to finish its work before the time is read."""
        self._device, self._now = device, now
        self._since: float | None = None
        self._total = self._marked = 0.0
        self.laps: list[float] = []
        """Seconds of each step."""

    @property
    def seconds(self) -> float:
        """Time of the work so far."""
        if self._since is None:
            return self._total
        settle(self._device)
        return self._total + self._now() - self._since

    def start(self) -> None:
        """The work begins or goes on. Raises ValueError if the clock runs already."""
        if self._since is not None:
            raise ValueError("expected a clock that stands still, got one that runs")
        settle(self._device)
        self._since = self._now()

    def stop(self) -> float:
        """The work pauses or ends; returns its seconds so far. Raises ValueError if the clock does not run."""
        if self._since is None:
            raise ValueError("expected a clock that runs, got one that stands still")
        self._total, self._since = self.seconds, None
        return self._total

    def mark(self) -> None:
        """A step begins."""
        self._marked = self.seconds

    def lap(self) -> None:
        """A step has ended, and the next one begins; for a clock that stands still too."""
        seconds = self.seconds
        self.laps.append(seconds - self._marked)
        self._marked = seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still inside."""
        self.stop()
        try:
            yield
        finally:
            self.start()
