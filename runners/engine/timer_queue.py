"""TimerQueue: what is to happen at which time, in one time domain; the earliest first, then in the order of setting.

A name has one time; setting it again replaces, clearing forgets. A name that is put off keeps its place in the heap until
that comes up, and is then put where it belongs: most timers that are set again and again are put off. Entries of names that
were cleared or set for earlier stay in the heap until they come up or are more than half of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

NameT = TypeVar("NameT", bound=Hashable)

_STALE_MIN = 64


class TimerQueue(Generic[NameT]):
    """Names with times. All operations but `clear` of many are O(log n)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, NameT]] = []
        #: Time, number of the setting, and the time under which the name stands in the heap: that or earlier.
        self._current: dict[NameT, tuple[int, int, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, name: NameT) -> bool:
        return name in self._current

    def set(self, name: NameT, time: int) -> None:
        """Let `name` come up at `time`, in place of any time it had."""
        self._count = count = self._count + 1
        current = self._current
        entry = current.get(name)
        if entry is not None and entry[2] <= time:
            current[name] = (time, count, entry[2])
            return
        current[name] = (time, count, time)
        heapq.heappush(self._heap, (time, count, name))
        if len(self._heap) > _STALE_MIN and len(self._heap) > 2 * len(current):
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(time, order, name) for name, (time, order, _) in self._current.items()]
        heapq.heapify(self._heap)
        self._current = {name: (time, order, time) for time, order, name in self._heap}

    def time_of(self, name: NameT) -> int | None:
        """When it comes up, if it is set."""
        entry = self._current.get(name)
        return None if entry is None else entry[0]

    def order_of(self, name: NameT) -> int | None:
        """How many settings there were up to its own, if it is set: larger for what was set later."""
        entry = self._current.get(name)
        return None if entry is None else entry[1]

    def clear(self, name: NameT) -> None:
        """Let it not come up; nothing happens if it is not set."""
        self._current.pop(name, None)

    def next_time(self) -> int | None:
        """The earliest time, if anything is set."""
        heap, current = self._heap, self._current
        while heap:
            time, order, name = heap[0]
            entry = current.get(name)
            if entry is None or entry[2] != time:
                heapq.heappop(heap)
            elif entry[1] == order:
                return time
            else:
                current[name] = (entry[0], entry[1], entry[0])
                heapq.heapreplace(heap, (entry[0], entry[1], name))
        return None

    def first(self) -> tuple[int, NameT] | None:
        """What comes up first, and when."""
        time = self.next_time()
        return None if time is None else (time, self._heap[0][2])

    def pop_due(self, until: int) -> Iterator[tuple[int, NameT]]:
        """Takes out, one by one, what has a time of at most `until`, also what is set while this goes on."""
        while (time := self.next_time()) is not None and time <= until:
            _, _, name = heapq.heappop(self._heap)
            del self._current[name]
            yield time, name

    def items(self) -> Iterator[tuple[NameT, int]]:
        """Every name with its time, in no order."""
        for name, (time, _, _) in self._current.items():
            yield name, time
