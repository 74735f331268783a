"""Keys that have so many of a grouping's pairs that one worker is left with most of the work."""

from __future__ import annotations

from hornbeam.runners.engine.hot_keys import KeyCounts
from hornbeam.runners.multiprocess.columns import Columns, unpacked

#: One pair of so many is looked at.
_STRIDE = 16

#: A grouping of fewer pairs is done so soon that no key matters.
PAIRS_MIN = 100_000
#: A partition with this share of all pairs may hold a hot key; a key with it is one.
SHARE_MIN = 0.2


class HotKeys:
    """Counts the keys of a sample of pairs."""

    def __init__(self) -> None:
        self._counts = KeyCounts()

    def look(self, columns: Columns) -> None:
        """Looks at some of the pairs of a block."""
        self._counts.add(unpacked(columns[0][0][::_STRIDE]))

    def hottest(self) -> tuple[str, float] | None:
        """The key that came most often, and its share of the pairs seen."""
        if not len(self._counts):
            return None
        ((key, count),) = self._counts.hottest()
        return key, count / self._counts.total
