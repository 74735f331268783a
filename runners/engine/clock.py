"""Processing time: the wall clock, or one that moves only when it is told to.

Readings are microseconds since 1970 (UTC), as timestamps are; only the wall clock's are comparable with event time.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

#: Later than every moment that a clock shows or a watermark reaches.
NEVER = 1 << 63


class Clock(Protocol):
    """Where a run takes processing time from."""

    def now_micros(self) -> int:
        """Processing time. Never goes back."""

    def wait(self, until_micros: int, wake: threading.Event) -> None:
        """Returns at `until_micros` or when `wake` is set, whichever is first."""


class WallClock:
    """The machine's clock, kept from going back."""

    def __init__(self) -> None:
        self._last = 0

    def now_micros(self) -> int:
        """The time of day."""
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last

    def wait(self, until_micros: int, wake: threading.Event) -> None:
        """Sleeps without using the processor."""
        left = (until_micros - self.now_micros()) / 1e6
        if left > 0:
            wake.wait(min(left, threading.TIMEOUT_MAX))


class ManualClock:
    """A clock for tests. A run that has nothing to do but wait moves it on at once if `runs_ahead`."""

    def __init__(self, start_micros: int = 0, runs_ahead: bool = False) -> None:
        self._now = start_micros
        self._runs_ahead = runs_ahead

    def now_micros(self) -> int:
        """What it was last set to."""
        return self._now

    def advance(self, by_micros: int) -> None:
        """Moves on. ValueError for a step back."""
        if by_micros < 0:
            raise ValueError(f"processing time does not go back: found a step of {by_micros} microseconds")
        self._now += by_micros

    def wait(self, until_micros: int, wake: threading.Event) -> None:
        """Jumps to `until_micros`, or waits to be woken."""
        if self._runs_ahead:
            if until_micros < NEVER:
                self._now = max(self._now, until_micros)
            return
        wake.wait()
