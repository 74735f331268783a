"""The timers of a stateful step, by when they are due: a queue for each time domain."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from hornbeam.runners.engine.failures import short_repr
from hornbeam.runners.engine.head import Hold
from hornbeam.runners.engine.keyed_records import WindowTable
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.present import Present
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.runners.engine.timers import KeyedTimer, TimerFamily
from hornbeam.transforms.userstate import TimerSpec


class Timekeeper:
    """Gives timers one by one as they come due; whoever takes one calls its callback before taking the next."""

    def __init__(self, present: Present) -> None:
        self.present = present
        self.events: TimerQueue[KeyedTimer] = TimerQueue()
        self.processing: TimerQueue[KeyedTimer] = TimerQueue()
        #: Timers by the timestamp at which they hold the watermark, where that is not when they fire.
        self.held: TimerQueue[KeyedTimer] = TimerQueue()
        self.families: list[TimerFamily] = []

    def __len__(self) -> int:
        return len(self.events) + len(self.processing)

    def family(self, spec: TimerSpec) -> TimerFamily:
        """Adds the family of a TimerSpec."""
        made = TimerFamily(spec, self.present, self.events, self.processing, self.held)
        self.families.append(made)
        return made

    @property
    def has_events(self) -> bool:
        """Whether any timer can be in event time."""
        return any(family.is_event_time for family in self.families)

    def due_events(self, watermark: int) -> Iterator[KeyedTimer]:
        """Timers in event time that are due, also those that are set meanwhile."""
        for due, timer in self.events.pop_due(watermark):
            table = timer.table
            if due >= table.expires:
                self._fires_for_expiration(timer)
            yield timer

    def due(self) -> Iterator[KeyedTimer]:
        """All that are due: those in event time first, then each on the clock and what it made due."""
        yield from self.due_events(self.present.watermark)
        for _, timer in self.processing.pop_due(self.present.now):
            yield timer
            yield from self.due_events(self.present.watermark)

    def last_of(self, table: WindowTable) -> Iterator[KeyedTimer]:
        """The timers on the clock that a window has left as it expires, and what they make due."""
        while pending := self._on_the_clock(table):
            for timer in pending:
                if timer.time is None:
                    continue
                self._fires_for_expiration(timer)
                self.processing.clear(timer)
                yield timer
                yield from self.due_events(self.present.watermark)

    def _on_the_clock(self, table: WindowTable) -> list[KeyedTimer]:
        if not len(self.processing):
            return []
        families = [family for family in self.families if not family.is_event_time]
        found = [timer for key in table for family in families for timer in table.cell(key, family).pending()]
        return sorted(found, key=self._by_setting)

    def _by_setting(self, timer: KeyedTimer) -> tuple[int, int]:
        order = self.processing.order_of(timer)
        assert timer.time is not None and order is not None
        return timer.time, order

    @staticmethod
    def _fires_for_expiration(timer: KeyedTimer) -> None:
        table = timer.table
        if table.fired is None:
            table.fired = set()
        table.fired.add((timer.key, timer.family.name))

    def hold(self) -> int | None:
        """The earliest timestamp that an output of a callback may get, if any is set."""
        return earliest(self.events.next_time(), self.held.next_time())

    def reasons(self, count: int) -> list[Hold]:
        """The timers that hold the watermark most."""
        timers = {timer for queue in (self.events, self.held) for timer, _ in queue.items()}
        first = heapq.nsmallest(count, timers, key=_by_hold)
        return [
            Hold(_by_hold(timer), f"timer {_shown(timer)} {place(timer.key, timer.table.window)}")
            for timer in first
        ]


def earliest(*times: int | None) -> int | None:
    """The smallest of the times that there are."""
    return min((time for time in times if time is not None), default=None)


def place(key: object, window: object) -> str:
    """A key and window for people."""
    return f"of key {short_repr(user_key(key))} in {window}"


def _shown(timer: KeyedTimer) -> str:
    tag = f" (tag {timer.tag!r})" if timer.tag else ""
    return f"{timer.family.name!r}{tag}"


def _by_hold(timer: KeyedTimer) -> int:
    assert timer.hold is not None
    return timer.hold
