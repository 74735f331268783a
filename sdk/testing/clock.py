"""FakeClock: processing time that a test moves, for pipelines that wait for the clock (PeriodicImpulse, timers, triggers).

A pipeline with a TestStream needs none: `TestStream.advance_processing_time` moves its clock.
"""

from __future__ import annotations

import threading

from hornbeam.utils.timestamp import Duration, DurationTypes, Timestamp, TimestampTypes, timestamp_at

__all__ = ["FakeClock"]

#: What a run that awaits no moment gives as the moment it waits for.
_NEVER = 1 << 63


class FakeClock:
    """Processing time that stands still until it is moved: `TestPipeline(clock=FakeClock())`.

    With `runs_ahead`, a run that has nothing to do but wait moves it on to the moment it waits for, so that a pipeline
    of an hour takes no time. Without, it moves by `advance` alone, from another thread than the one that waits for the run.
    All methods may be called from any thread. `now_micros` and `wait` are what runners call.

    >>> clock = FakeClock(start=100)
    >>> clock.advance(20)
    >>> clock.now()
    Timestamp(120)
    """

    def __init__(self, start: TimestampTypes = 0, runs_ahead: bool = True) -> None:
        self.runs_ahead = runs_ahead
        self._now_micros = Timestamp.of(start).micros
        self._lock = threading.Lock()
        self._waiting: list[threading.Event] = []

    def now(self) -> Timestamp:
        """What the clock shows."""
        return timestamp_at(self._now_micros)

    def now_micros(self) -> int:
        """The same in microseconds."""
        return self._now_micros

    def advance(self, by: DurationTypes) -> None:
        """Move it on. ValueError for a step back."""
        micros = Duration.of(by).micros
        if micros < 0:
            raise ValueError(f"FakeClock: processing time does not go back; advance was given {by!r}.")
        with self._lock:
            self._now_micros += micros
            self._wake_all()

    def advance_to(self, time: TimestampTypes) -> None:
        """Move it on to `time`, if that is still to come."""
        with self._lock:
            self._now_micros = max(self._now_micros, Timestamp.of(time).micros)
            self._wake_all()

    def _wake_all(self) -> None:
        for wake in self._waiting:
            wake.set()

    def wait(self, until_micros: int, wake: threading.Event) -> None:
        """Return when the clock shows `until_micros`, has been moved, or `wake` is set, whichever is first."""
        with self._lock:
            if wake.is_set() or self._now_micros >= until_micros:
                return
            if self.runs_ahead and until_micros < _NEVER:
                self._now_micros = until_micros
                return
            self._waiting.append(wake)
        try:
            wake.wait()
        finally:
            with self._lock:
                self._waiting.remove(wake)

    def __repr__(self) -> str:
        return f"FakeClock({float(self.now()):g}{', runs ahead' if self.runs_ahead else ''})"
