"""Processing time as code inside a pipeline should ask for it: the run's clock, which a test may move by hand.

An engine says what time it is (`at`) around its calls of user code; elsewhere it is the machine's wall clock.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token

from hornbeam.utils.timestamp import Timestamp, timestamp_at

__all__ = ["at", "now", "now_micros"]

_now: ContextVar[int | None] = ContextVar("processing_time", default=None)


def now_micros() -> int:
    """The time now, in microseconds. Within one call of user code by an engine it stands still."""
    micros = _now.get()
    return time.time_ns() // 1000 if micros is None else micros


def now() -> Timestamp:
    """The time now."""
    return timestamp_at(now_micros())


class at:
    """`with at(micros):` makes that the time in the block."""

    def __init__(self, micros: int) -> None:
        self._micros = micros
        self._token: Token[int | None] | None = None

    def __enter__(self) -> None:
        self._token = _now.set(self._micros)

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _now.reset(self._token)
