"""The photos that wait for a worker, in portions that take about equally long."""

from collections import deque
from collections.abc import Iterable

from ostec.dataset.records import Group

_PORTION_S = 0.5
"""Work in one call, about: less wastes time on calls, more is lost when a worker dies."""
_MAX_PORTION = 32
_LEARNING = 0.1
"""Weight of the last photo in the mean time of one."""
_LONG_S = 2.0
"""A portion that takes longer than that need not wait at a worker before it is free."""


class PhotoQueue:
    """Groups of photos to be done: those of dead workers first."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = iter(groups)
        self._back: deque[Group] = deque()
        self.mean_s = _PORTION_S  # the first portions are of one group

    def take(self) -> list[Group]:
        """As many as take half a second, one at least; none if there are none left."""
        size = min(max(round(_PORTION_S / max(self.mean_s, 1e-6)), 1), _MAX_PORTION)
        portion: list[Group] = []
        while sum(len(group.items) for group in portion) < size:
            group = self._back.popleft() if self._back else next(self._groups, None)
            if group is None:
                break
            portion.append(group)
        return portion

    def ready(self, most: int) -> int:
        """How many groups there are to do, counted up to ``most``."""
        while len(self._back) < most and (group := next(self._groups, None)) is not None:
            self._back.append(group)
        return min(len(self._back), most)

    @property
    def is_slow(self) -> bool:
        """Whether photos take so long that a worker should not have one waiting that another could do."""
        return self.mean_s > _LONG_S

    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return self.ready(1) == 0

    def put_back(self, groups: Iterable[Group]) -> None:
        """For the next worker."""
        self._back.extendleft(reversed(list(groups)))

    def learn(self, seconds: float) -> None:
        """A photo took that long."""
        self.mean_s += _LEARNING * (seconds - self.mean_s)
