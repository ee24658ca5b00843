"""The photos that wait for a worker, in portions that take about equally long."""

from collections import deque
from collections.abc import Iterable

from ostec.dataset.records import Item

_PORTION_S = 0.5
"""Work in one call, about: less wastes time on calls, more is lost when a worker dies."""
_MAX_PORTION = 32
_LEARNING = 0.1
"""Weight of the last photo in the mean time of one."""


class PhotoQueue:
    """Photos to be done: those of dead workers first."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._back: deque[Item] = deque()
        self.mean_s = _PORTION_S  # the first portions are of one photo

    def take(self) -> list[Item]:
        """As many as take half a second; none if there are none left."""
        size = min(max(round(_PORTION_S / max(self.mean_s, 1e-6)), 1), _MAX_PORTION)
        portion: list[Item] = []
        while len(portion) < size:
            item = self._back.popleft() if self._back else next(self._items, None)
            if item is None:
                break
            portion.append(item)
        return portion

    def is_empty(self) -> bool:
        """Whether nothing is left."""
        if not self._back and (item := next(self._items, None)) is not None:
            self._back.append(item)
        return not self._back

    def put_back(self, items: Iterable[Item]) -> None:
        """For the next worker."""
        self._back.extendleft(reversed(list(items)))

    def learn(self, seconds: float) -> None:
        """A photo took that long."""
        self.mean_s += _LEARNING * (seconds - self.mean_s)
