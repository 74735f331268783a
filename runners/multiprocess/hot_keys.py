"""Keys that have so many of a grouping's pairs that one worker is left with most of the work."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hornbeam.runners.engine.failures import short_repr
from hornbeam.runners.multiprocess.columns import Columns, unpacked

#: One pair of so many is looked at.
_STRIDE = 16
_KEYS_MAX = 10_000

#: A grouping of fewer pairs is done so soon that no key matters.
PAIRS_MIN = 100_000
#: A partition with this share of all pairs may hold a hot key; a key with it is one.
SHARE_MIN = 0.2


class HotKeys:
    """Counts the keys of a sample of pairs, and keeps those that come often."""

    def __init__(self) -> None:
        self._counts: Counter[Any] = Counter()
        self._seen = 0

    def look(self, columns: Columns) -> None:
        """Looks at some of the pairs of a block."""
        keys = unpacked(columns[0][0][::_STRIDE])
        self._seen += len(keys)
        try:
            self._counts.update(keys)
        except TypeError:  # keys that cannot be hashed
            self._counts.update(map(repr, keys))
        if len(self._counts) > _KEYS_MAX:
            self._counts = Counter(dict(self._counts.most_common(_KEYS_MAX // 2)))

    def hottest(self) -> tuple[str, float] | None:
        """The key that came most often, and its share of the pairs seen."""
        if not self._seen:
            return None
        ((key, count),) = self._counts.most_common(1)
        return short_repr(key), count / self._seen
