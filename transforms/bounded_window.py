"""Windows: finite stretches of event time, and the one window that is all of it.

Intervals are half-open, `[start, end)`. Windows count in microseconds inside; a `Timestamp` is made for who asks.
"""

from __future__ import annotations

from typing import Any

from hornbeam.utils.timestamp import MIN_TIMESTAMP, Timestamp, TimestampTypes, micros_of, timestamp_at

#: The end of the global window, a day before the end of time: Beam's constant. Its last timestamp is a microsecond earlier.
END_OF_GLOBAL_WINDOW_MICROS = 9223371950454775000


class BoundedWindow:
    """A window with an end. Subclasses add what tells two windows apart and define equality and hash.

    Windows are ordered by their end.
    """

    __slots__ = ("end_micros",)

    end_micros: int

    def __init__(self, end: TimestampTypes) -> None:
        self.end_micros = micros_of(end)

    @property
    def start(self) -> Timestamp:
        """The first timestamp inside the window, where the window has one."""
        raise NotImplementedError(f"{type(self).__name__} has no start")

    @property
    def end(self) -> Timestamp:
        """The first timestamp after the window."""
        return timestamp_at(self.end_micros)

    def max_timestamp(self) -> Timestamp:
        """The last timestamp inside the window."""
        return timestamp_at(self.end_micros - 1)

    @property
    def max_micros(self) -> int:
        """`max_timestamp()` in microseconds."""
        return micros_of(self.max_timestamp())

    def __eq__(self, other: object) -> bool:
        raise NotImplementedError(f"{type(self).__name__} must define __eq__ and __hash__")

    def __hash__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __eq__ and __hash__")

    def __lt__(self, other: BoundedWindow) -> bool:
        if self.end_micros != other.end_micros:
            return self.end_micros < other.end_micros
        return hash(self) < hash(other)

    def __le__(self, other: BoundedWindow) -> bool:
        return self == other or self < other

    def __gt__(self, other: BoundedWindow) -> bool:
        return not self <= other

    def __ge__(self, other: BoundedWindow) -> bool:
        return not self < other

    def __repr__(self) -> str:
        return f"{type(self).__name__}(end={self.end})"


class IntervalWindow(BoundedWindow):
    """The window `[start, end)`. Ordered by end, then by start."""

    __slots__ = ("start_micros",)

    start_micros: int

    def __init__(self, start: TimestampTypes, end: TimestampTypes) -> None:
        self.start_micros = micros_of(start)
        self.end_micros = micros_of(end)

    @classmethod
    def from_micros(cls, start: int, end: int) -> IntervalWindow:
        """The window `[start, end)` in microseconds; the quickest way to make one."""
        window = cls.__new__(cls)
        window.start_micros = start
        window.end_micros = end
        return window

    @property
    def start(self) -> Timestamp:
        """The first timestamp inside the window."""
        return timestamp_at(self.start_micros)

    @property
    def max_micros(self) -> int:
        return self.end_micros - 1

    def intersects(self, other: IntervalWindow) -> bool:
        """Whether some timestamp lies in both."""
        return self.start_micros < other.end_micros and other.start_micros < self.end_micros

    def union(self, other: IntervalWindow) -> IntervalWindow:
        """The smallest window that holds both."""
        return IntervalWindow.from_micros(
            min(self.start_micros, other.start_micros), max(self.end_micros, other.end_micros)
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return False
        return self.end_micros == other.end_micros and self.start_micros == other.start_micros

    def __hash__(self) -> int:
        return hash((self.start_micros, self.end_micros))

    def __lt__(self, other: BoundedWindow) -> bool:
        if self.end_micros != other.end_micros:
            return self.end_micros < other.end_micros
        if isinstance(other, IntervalWindow):
            return self.start_micros < other.start_micros
        return BoundedWindow.__lt__(self, other)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self) is IntervalWindow:
            return _interval_window, (self.start_micros, self.end_micros)
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"[{seconds_text(self.start_micros)}, {seconds_text(self.end_micros)})"


def _interval_window(start: int, end: int) -> IntervalWindow:
    """What a pickled IntervalWindow calls."""
    return IntervalWindow.from_micros(start, end)


class GlobalWindow(BoundedWindow):
    """The one window that holds all of event time."""

    __slots__ = ()

    _instance: GlobalWindow | None = None

    def __new__(cls) -> GlobalWindow:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance.end_micros = END_OF_GLOBAL_WINDOW_MICROS
        return cls._instance

    def __init__(self) -> None:
        pass

    @property
    def start(self) -> Timestamp:
        """The beginning of time."""
        return MIN_TIMESTAMP

    @property
    def max_micros(self) -> int:
        return END_OF_GLOBAL_WINDOW_MICROS - 1

    def __eq__(self, other: object) -> bool:
        return self is other or type(self) is type(other)

    def __hash__(self) -> int:
        return hash(GlobalWindow)

    def __reduce__(self) -> Any:
        return GlobalWindow, ()

    def __repr__(self) -> str:
        return "GlobalWindow"


def seconds_text(micros: int) -> str:
    """Microseconds as seconds, exactly, without trailing zeros: `-0.5`, `1.0`."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), 1_000_000)
    return f"{sign}{whole}." + (f"{rest:06d}".rstrip("0") or "0")
