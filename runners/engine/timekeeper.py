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
from hornbeam.runners.engine.working_set import EVENTS, HELD, PROCESSING, WorkingSet
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
        #: Brings the records of timers back that are on disk, under a memory limit.
        self.working_set: WorkingSet | None = None

    def __len__(self) -> int:
        on_disk = 0 if self.working_set is None else self.working_set.timers
        return len(self.events) + len(self.processing) + on_disk

    def next_event(self) -> int | None:
        """When a timer in event time is due next."""
        return earliest(self.events.next_time(), self._next_on_disk(EVENTS))

    def next_processing(self) -> int | None:
        """When a timer on the clock is due next."""
        return earliest(self.processing.next_time(), self._next_on_disk(PROCESSING))

    def _next_on_disk(self, kind: int) -> int | None:
        return None if self.working_set is None else self.working_set.next_time(kind)

    def _pop_due(
        self, kind: int, queue: TimerQueue[KeyedTimer], until: int
    ) -> Iterator[tuple[int, KeyedTimer]]:
        if self.working_set is None:
            yield from queue.pop_due(until)
            return
        while True:
            self.working_set.bring(kind, until, queue)
            popped = next(queue.pop_due(until), None)
            if popped is None:
                return
            yield popped

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
        for due, timer in self._pop_due(EVENTS, self.events, watermark):
            table = timer.table
            if due >= table.expires:
                self._fires_for_expiration(timer)
            yield timer

    def due(self) -> Iterator[KeyedTimer]:
        """All that are due: those in event time first, then each on the clock and what it made due."""
        yield from self.due_events(self.present.watermark)
        for _, timer in self._pop_due(PROCESSING, self.processing, self.present.now):
            yield timer
            yield from self.due_events(self.present.watermark)

    def last_of(self, table: WindowTable) -> Iterator[KeyedTimer]:
        """The timers on the clock that a window has left in memory as it expires, and what they make due."""
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
        found = [
            timer
            for key in table.in_memory()
            for family in families
            for timer in table.cell(key, family).pending()
        ]
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
        return earliest(self.next_event(), self.held.next_time(), self._next_on_disk(HELD))

    def reasons(self, count: int) -> list[Hold]:
        """The timers that hold the watermark most."""
        timers = {timer for queue in (self.events, self.held) for timer, _ in queue.items()}
        first = heapq.nsmallest(count, timers, key=_by_hold)
        found = [
            Hold(
                _by_hold(timer),
                f"timer {_shown(timer.family.name, timer.tag)} {place(timer.key, timer.table.window)}",
            )
            for timer in first
        ]
        if self.working_set is not None:
            found += [
                Hold(hold, f"timer {_shown(name, tag)} {place(key, window)}")
                for hold, name, tag, key, window in self.working_set.first_timers(count)
            ]
        return sorted(found, key=lambda hold: hold.micros)[:count]


def earliest(*times: int | None) -> int | None:
    """The smallest of the times that there are."""
    return min((time for time in times if time is not None), default=None)


def place(key: object, window: object) -> str:
    """A key and window for people."""
    return f"of key {short_repr(user_key(key))} in {window}"


def _shown(name: str, tag: str) -> str:
    return f"{name!r} (tag {tag!r})" if tag else f"{name!r}"


def _by_hold(timer: KeyedTimer) -> int:
    assert timer.hold is not None
    return timer.hold
