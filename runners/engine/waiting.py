"""Elements that wait for the watermark, for a DoFn that wants them in the order of their timestamps.

An element comes out when the watermark has passed its timestamp, and before its window expires in any case. One that is
late comes out at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

from hornbeam.runners.engine.bundle import CHUNK, Bundle, from_entries

#: When it comes out, how manieth it is, table key, and then value, timestamp, window and pane.
_Row = tuple[int, int, Any, tuple[Any, int, Any, Any]]


class WaitingElements:
    """A heap of elements by time, then in the order in which they came."""

    def __init__(self, expires: Callable[[Any], int]) -> None:
        """`expires` gives the watermark at which a window expires."""
        self._expires = expires
        self._rows: list[_Row] = []
        self._count = 0
        #: Elements that came (with their rows) or went since the last snapshot, by key and count; None: nobody asks.
        self.changed: dict[tuple[Any, int], tuple[Any, ...] | None] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, bundle: Bundle, keys: list[Any]) -> None:
        """Takes the elements of an exploded bundle."""
        entries = zip(bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list())
        for key, entry in zip(keys, entries):
            self._count += 1
            self._push(self._count, key, entry)
            if self.changed is not None:
                self.changed[key, self._count] = entry

    def restore(self, key: Any, count: int, entry: tuple[Any, ...]) -> None:
        """Takes an element that `changed` told of."""
        self._count = max(self._count, count)
        self._push(count, key, entry)

    def _push(self, count: int, key: Any, entry: Any) -> None:
        last = self._expires(entry[2][0]) - 1
        heapq.heappush(self._rows, (min(entry[1], last), count, key, entry))

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
            self.changed.update(((key, count), None) for _, count, key, _ in taken)
        values, stamps, windows, panes = zip(*[row[3] for row in taken])
        return from_entries(list(values), list(stamps), list(windows), list(panes)), [row[2] for row in taken]

    def first(self, count: int) -> Iterator[tuple[int, Any, Any]]:
        """The first few: their time, table key and window."""
        for time, _, key, entry in heapq.nsmallest(count, self._rows, key=lambda row: row[:2]):
            yield time, key, entry[2][0]
