"""How far the parts of a source have come in event time, and what of it holds the step's output watermark back.

A part (a restriction, a reader) holds at its own watermark, which never goes back. With an idle timeout, a part that waits
for data and has neither given anything nor moved its watermark for that long is *idle*: it is taken to be up to date, and
holds no further back than the clock less the timeout, until it gives something again. What it then gives may be late.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.transforms.bounded_window import seconds_text
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, MIN_TIMESTAMP_MICROS, micros_of, timestamp_at

NameT = TypeVar("NameT", bound=Hashable)

#: While a part is idle its hold moves with the clock, in steps of a tenth of the timeout, at least and at most of these.
#: (Were there none, two workers would wake each other with every microsecond.)
_IDLE_TICK_MICROS_MIN = 100_000
_IDLE_TICK_MICROS_MAX = 1_000_000

#: From here on (2001) a time is shown to people as a date.
_OUR_DAYS_MICROS = 1_000_000_000_000_000


class SourceHolds(Generic[NameT]):
    """The watermarks of a source's parts, by name. All operations are O(log n). Time begins with the first `tick`."""

    def __init__(self, idle_timeout_micros: int | None = None) -> None:
        self.idle_timeout_micros = idle_timeout_micros
        self._active: TimerQueue[NameT] = TimerQueue()
        self._idle: TimerQueue[NameT] = TimerQueue()
        self._becomes_idle: TimerQueue[NameT] = TimerQueue()
        self._last_active: dict[NameT, int] = {}
        self._now: int | None = None
        #: The clock when what is idle last moved with it.
        self._stepped = 0

    def __len__(self) -> int:
        return len(self._active) + len(self._idle)

    def watermark(self, name: NameT) -> int | None:
        """The watermark of a part."""
        active = self._active.time_of(name)
        return active if active is not None else self._idle.time_of(name)

    def is_idle(self, name: NameT) -> bool:
        """Whether the part is idle."""
        return name in self._idle

    def set(self, name: NameT, watermark: int, gave: bool = True) -> None:
        """A part has come to `watermark`; `gave` says whether it has given elements since the last call."""
        before = self.watermark(name)
        moved = before is None or watermark > before
        if moved or gave:
            self._idle.clear(name)
            self._active.set(name, watermark if before is None else max(before, watermark))
            self._last_active[name] = 0 if self._now is None else self._now

    def waits(self, name: NameT) -> None:
        """The part has nothing to give now, so it becomes idle when this lasts."""
        if self.idle_timeout_micros is not None and name in self._active:
            self._becomes_idle.set(name, self._last_active[name] + self.idle_timeout_micros)

    def works(self, name: NameT) -> None:
        """The part's turn has come; how long that takes does not make it idle."""
        self._becomes_idle.clear(name)

    def drop(self, name: NameT) -> None:
        """The part has ended."""
        for queue in (self._active, self._idle, self._becomes_idle):
            queue.clear(name)
        self._last_active.pop(name, None)

    def tick(self, now: int) -> None:
        """Processing time has come to `now`."""
        if self._now is None:
            self._begin(now)
        self._now = max(self._now or 0, now)
        if now >= self._stepped + self._step():
            self._stepped = now
        for _, name in self._becomes_idle.pop_due(now):
            self._stepped = now
            watermark = self._active.time_of(name)
            if watermark is not None:
                self._active.clear(name)
                self._idle.set(name, watermark)

    def _begin(self, now: int) -> None:
        """What was set before any time was known was set now."""
        self._last_active = dict.fromkeys(self._last_active, now)
        for name, _ in list(self._becomes_idle.items()):
            self._becomes_idle.set(name, now + (self.idle_timeout_micros or 0))

    def hold(self) -> int:
        """The earliest timestamp that the parts may still give; NEVER without parts."""
        active, idle = self._active.next_time(), self._idle.next_time()
        hold = NEVER if active is None else active
        if idle is not None and self.idle_timeout_micros is not None:
            hold = min(hold, max(idle, self._up_to_date()))
        return hold

    def next_wakeup(self) -> int:
        """When `tick` would next change the hold."""
        due = self._becomes_idle.next_time()
        wakeup = NEVER if due is None else due
        idle = self._idle.next_time()
        if idle is not None and self.idle_timeout_micros is not None:
            wakeup = min(wakeup, max(self._stepped, idle + self.idle_timeout_micros) + self._step())
        return wakeup

    def _step(self) -> int:
        return min(max((self.idle_timeout_micros or 0) // 10, _IDLE_TICK_MICROS_MIN), _IDLE_TICK_MICROS_MAX)

    def _up_to_date(self) -> int:
        """Where what is idle holds at the furthest."""
        return self._stepped - (self.idle_timeout_micros or 0)

    def earliest(self, count: int) -> Iterator[tuple[NameT, int]]:
        """The parts that hold furthest back, with where each holds."""
        held = [
            *self._active.items(),
            *((name, max(mark, self._up_to_date())) for name, mark in self._idle.items()),
        ]
        yield from heapq.nsmallest(count, held, key=lambda item: item[1])


def hold_text(micros: int) -> str:
    """A watermark or a time for people: seconds, a date if it is of our days, or which end of time."""
    if micros <= MIN_TIMESTAMP_MICROS:
        return "at the beginning of time"
    if micros >= MAX_TIMESTAMP_MICROS:
        return "at the end of time"
    if micros >= _OUR_DAYS_MICROS:
        return timestamp_at(micros).to_utc_datetime().isoformat(timespec="milliseconds")
    return seconds_text(micros)


def idle_timeout_of(source: Any, default_micros: int | None) -> int | None:
    """What a source or DoFn states as its `idle_timeout`, in seconds, as microseconds; else the run's default.

    ValueError for one that is not above 0.
    """
    seconds = getattr(source, "idle_timeout", None)
    micros = default_micros if seconds is None else micros_of(seconds)
    if micros is not None and micros <= 0:
        raise ValueError(
            f"idle_timeout of {type(source).__name__} must be a number of seconds above 0, or None; found {seconds!r}."
        )
    return micros
