"""What becomes of photos whose worker is gone: who is blamed, and what is done again."""

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from ostec.core.errors import AssetError
from ostec.dataset.records import Finished, Group
from ostec.dataset.store import Store
from ostec.dataset.worker import failure

logger = logging.getLogger(__name__)

MAX_CRASHES = 4
"""Times that a worker may be lost with a group before its photos are done one by one, and with a photo alone before it
fails."""


@dataclass
class Recovery:
    """Counts the workers that were lost with the same photos."""

    store: Store
    _crashes: dict[tuple[int, ...], int] = field(default_factory=dict)

    def staged(self, groups: Iterable[Group]) -> Generator[Finished, None, list[Group]]:
        """What became of groups whose worker is gone; returns those with photos that are not staged."""
        left = []
        for group in groups:
            done = []
            for number in sorted(group.left):
                try:
                    outcome, _ = self.store.read_staged(number)
                except AssetError:
                    continue
                done.append(number)
                yield Finished(number, outcome.status, len(outcome.faces))
            if (rest := group.without(done)).left:
                left.append(rest)
        return left

    def blame(self, group: Group, slow_s: float = 0.0) -> Generator[Finished, None, list[Group]]:
        """A worker was lost with a group; returns what is to be done of it now.

        Args:
            group: what it was at.
            slow_s: the seconds after which it was ended; 0 if it died by itself.

        Raises:
            OutputError: the failure of a photo cannot be staged.
        """
        who = tuple(item.number for item in group.items)
        crashes = self._crashes[who] = self._crashes.get(who, 0) + 1
        if crashes < MAX_CRASHES:
            return [group]
        if len(who) > 1:
            logger.warning("%d workers were lost at the same %d photos, which are done one by one.", crashes, len(who))
            return group.singles()
        (item,) = group.items
        why = f"The worker died {crashes} times on this photo: too little memory, or a defect."
        if slow_s:
            why = f"The photo was not done after {slow_s:g} seconds, in {crashes} attempts."
        self.store.stage(failure(item, "work", why))
        yield Finished(item.number, "failed")
        return []
