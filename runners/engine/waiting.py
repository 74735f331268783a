"""Elements that wait for the watermark, for a DoFn that wants them in the order of their timestamps.

An element comes out when the watermark has passed its timestamp, and before its window expires in any case. One that is
late does not wait, so that the order does not depend on how elements are bundled.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle, from_entries

#: When it comes out, its timestamp, how manieth it is, how manieth here (elements of several workers may come together, and
#: keys cannot be compared), table key, and then value, timestamp, window and pane.
_Row = tuple[int, int, int, int, Any, tuple[Any, int, Any, Any]]


class WaitingElements:
    """A heap of elements by time, then in the order in which they came."""

    def __init__(self, expires: Callable[[Any], int]) -> None:
        """`expires` gives the watermark at which a window expires."""
        self._expires = expires
        self._rows: list[_Row] = []
        self._count = 0
        self._pushed = 0
        #: Elements that came (with their rows) or went since the last snapshot, by key and count; None: nobody asks.
        self.changed: dict[tuple[Any, int], tuple[Any, ...] | None] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, bundle: Bundle, keys: list[Any], watermark: int) -> tuple[Bundle, list[Any]] | None:
        """Takes the elements of an exploded bundle; gives back those that need not wait, with their keys, as they came."""
        late: list[int] = []
        entries = zip(bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list())
        for index, (key, entry) in enumerate(zip(keys, entries)):
            if self._time_of(entry) < watermark:
                late.append(index)
                continue
            self._count += 1
            self._push(self._count, key, entry)
            if self.changed is not None:
                self.changed[key, self._count] = entry
        if not late:
            return None
        return bundle.take([bundle.values[index] for index in late], np.array(late)), [keys[i] for i in late]

    def restore(self, key: Any, count: int, entry: tuple[Any, ...]) -> None:
        """Takes an element that `changed` told of."""
        self._count = max(self._count, count)
        self._push(count, key, entry)

    def _push(self, count: int, key: Any, entry: Any) -> None:
        self._pushed += 1
        heapq.heappush(self._rows, (self._time_of(entry), entry[1], count, self._pushed, key, entry))

    def _time_of(self, entry: Any) -> int:
        """When the watermark passes this, the element has waited long enough."""
        return int(min(entry[1], self._expires(entry[2][0]) - 1))

    def next_time(self) -> int | None:
        """When the first one comes out: when the watermark passes this."""
        return self._rows[0][0] if self._rows else None

    def take(self, watermark: int, one_time: bool) -> tuple[Bundle, list[Any]] | None:
        """Some that the watermark has passed, with their keys, in order; of one time only if so wished."""
        rows = self._rows
        if not rows or rows[0][0] >= watermark:
            return None
        limit = min(watermark, rows[0][0] + 1) if one_time else watermark
        taken: list[_Row] = []
        while rows and rows[0][0] < limit and len(taken) < CHUNK:
            taken.append(heapq.heappop(rows))
        if self.changed is not None:
            self.changed.update(((key, count), None) for _, _, count, _, key, _ in taken)
        values, stamps, windows, panes = zip(*[row[5] for row in taken])
        return from_entries(list(values), list(stamps), list(windows), list(panes)), [row[4] for row in taken]

    def first(self, count: int) -> Iterator[tuple[int, Any, Any]]:
        """The first few: their time, table key and window."""
        for time, _, _, _, key, entry in heapq.nsmallest(count, self._rows, key=lambda row: row[:4]):
            yield time, key, entry[2][0]
