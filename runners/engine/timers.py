"""Timers of a stateful DoFn: a family for each TimerSpec of a step, and a timer for each key, window and dynamic tag.

A timer is the very object that user code is handed. It holds the output watermark at the timestamp that the outputs of its
callback get. A timer in event time comes up when its window expires at the latest; when its window expires, a timer that is
set anew for later has nothing to wait for, and is forgotten if it (or, for a new tag, its family) has fired then already.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hornbeam.runners.engine.calling import Call
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.present import Present
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import RuntimeTimer, TimerSpec
from hornbeam.utils.timestamp import Timestamp, TimestampTypes, micros_of

_FIRST = -NEVER


class TimerFamily:
    """What the timers of one TimerSpec of a step share. `holds` has those whose hold is not the time they fire at."""

    #: The callback; put here when the step's calls are bound.
    call: Call

    def __init__(
        self,
        spec: TimerSpec,
        present: Present,
        events: TimerQueue[KeyedTimer],
        processing: TimerQueue[KeyedTimer],
        holds: TimerQueue[KeyedTimer],
    ) -> None:
        self.spec = spec
        #: As the author wrote it.
        self.name = spec.name.removeprefix(spec.prefix)
        self.is_event_time = spec.time_domain == TimeDomain.WATERMARK
        self.present = present
        self.queue = events if self.is_event_time else processing
        self.holds = holds

    def new(self, table: Any, key: Any) -> KeyedTimer:
        """The timer of a key and window, not set."""
        return KeyedTimer(self, table, key, "")

    def dropped(self, timer: KeyedTimer) -> None:
        """The timer's key and window are gone."""
        for each in (timer, *(timer.tagged or {}).values()):
            self.queue.clear(each)
            self.holds.clear(each)

    def schedule(self, timer: KeyedTimer, time: int, output: TimestampTypes | None) -> None:
        """Lets a timer fire at a time in microseconds."""
        if not _FIRST < time < NEVER:
            raise ValueError(
                f"timer {self.name!r} was set for a time outside of the time that there is: {time / 1e6} s"
            )
        present, table = self.present, timer.table
        if present.expiring:
            raise RuntimeError(
                f"timer {self.name!r} cannot be set in @on_window_expiration: the window is gone after it"
            )
        due = self.due(table, time)
        if output is not None:
            hold = self._checked_hold(micros_of(output), table)
        else:
            hold = time if self.is_event_time else present.timestamp()
        if table.fired is not None and not self._may_fire_again(timer, due):
            return
        self._enter(timer, time, due, hold)

    def restore(self, timer: KeyedTimer, time: int, hold: int) -> None:
        """Sets a timer again that was set when a snapshot was taken, or its record went to disk."""
        self._enter(timer, time, self.due(timer.table, time), hold)

    def due(self, table: Any, time: int) -> int:
        """When a timer that is set for `time` comes up: in event time when its window expires at the latest."""
        expires: int = table.expires
        return expires if self.is_event_time and time > expires else time

    def holds_apart(self, hold: int, due: int) -> bool:
        """Whether a timer holds time back at another time than that at which it comes up."""
        return hold < due or not self.is_event_time

    def _enter(self, timer: KeyedTimer, time: int, due: int, hold: int) -> None:
        held_apart = timer.hold != timer.time
        timer.time = time
        timer.hold = hold
        self.queue.set(timer, due)
        if self.holds_apart(hold, due):
            self.holds.set(timer, hold)
        elif held_apart:
            self.holds.clear(timer)

    def _checked_hold(self, hold: int, table: Any) -> int:
        earliest = self.present.timestamp()
        if not earliest <= hold < table.expires:
            raise ValueError(
                f"timer {self.name!r}: output_timestamp must lie between the timestamp at hand "
                f"({Timestamp(micros=earliest)}) and the expiration of {table.window}; it is {Timestamp(micros=hold)}"
            )
        return hold

    def _may_fire_again(self, timer: KeyedTimer, due: int) -> bool:
        """While its window expires: whether the timer was to fire anyway, or its family has not fired yet."""
        if self.is_event_time and due < timer.table.expires:
            return True
        return timer.time is not None or (timer.key, self.name) not in timer.table.fired


class KeyedTimer(RuntimeTimer):
    """The timer of one key, window and dynamic tag; the one without a tag knows the others that are set."""

    __slots__ = ("family", "hold", "key", "table", "tag", "tagged", "time")

    def __init__(self, family: TimerFamily, table: Any, key: Any, tag: str) -> None:
        self.family = family
        self.table = table
        self.key = key
        self.tag = tag
        #: What it is set for, in microseconds; None when it is not set.
        self.time: int | None = None
        #: The timestamp that outputs of its callback get.
        self.hold: int | None = None
        self.tagged: dict[str, KeyedTimer] | None = None

    def set(
        self,
        timestamp: TimestampTypes,
        dynamic_timer_tag: str = "",
        *,
        output_timestamp: TimestampTypes | None = None,
    ) -> None:
        time = timestamp.micros if type(timestamp) is Timestamp else micros_of(timestamp)
        if not dynamic_timer_tag:
            self.family.schedule(self, time, output_timestamp)
            return
        timer = self.of_tag(dynamic_timer_tag)
        try:
            self.family.schedule(timer, time, output_timestamp)
        finally:
            if timer.time is None:
                timer.unset()

    def clear(self, dynamic_timer_tag: str = "") -> None:
        timer: KeyedTimer | None = self
        if dynamic_timer_tag:
            timer = (self.tagged or {}).get(dynamic_timer_tag)
        if timer is not None and timer.time is not None:
            timer.unset()
            self.family.queue.clear(timer)
            self.family.present.cleared = True

    def of_tag(self, tag: str) -> KeyedTimer:
        """The timer of a dynamic tag, made when first asked for."""
        if self.tagged is None:
            self.tagged = {}
        found = self.tagged.get(tag)
        if found is None:
            found = self.tagged[tag] = KeyedTimer(self.family, self.table, self.key, tag)
        return found

    def unset(self) -> None:
        """It has fired or was cleared: holds nothing, and is forgotten if it was made for a tag."""
        self.time = self.hold = None
        self.family.holds.clear(self)
        if self.tag:
            base: KeyedTimer = self.table.cell(self.key, self.family)
            assert base.tagged is not None
            base.tagged.pop(self.tag, None)

    def pending(self) -> Iterator[KeyedTimer]:
        """Those of the key, window and family that are set, whatever the tag."""
        if self.time is not None:
            yield self
        if self.tagged:
            yield from self.tagged.values()

    def is_empty(self) -> bool:
        """Whether nothing is set."""
        return self.time is None and not self.tagged
