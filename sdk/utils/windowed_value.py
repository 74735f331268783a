"""One element with its timestamp, windows and pane, and batches that share them.

These are for user code, tests and the edges: on hot paths the engine keeps the same facts as columns.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from hornbeam.utils.marked import Marked
from hornbeam.utils.timestamp import (
    MAX_TIMESTAMP,
    MIN_TIMESTAMP,
    Timestamp,
    TimestampTypes,
    micros_of,
    timestamp_at,
)

T = TypeVar("T")


class PaneInfoTiming:
    """When a pane fired, relative to the watermark's passing the end of its window."""

    EARLY = 0
    ON_TIME = 1
    LATE = 2
    UNKNOWN = 3

    _NAMES = ("EARLY", "ON_TIME", "LATE", "UNKNOWN")

    @classmethod
    def to_string(cls, value: int) -> str:
        """The name of a timing."""
        return cls._NAMES[value]

    @classmethod
    def from_string(cls, value: str) -> int:
        """The timing of that name."""
        return cls._NAMES.index(value)


class PaneInfo:
    """Which firing of its window (and key) an element came from.

    `index` counts all panes from 0; `nonspeculative_index` those that were not EARLY (-1 in an early one).
    """

    __slots__ = ("_encoded_byte", "_index", "_is_first", "_is_last", "_nonspeculative_index", "_timing")

    def __init__(
        self, is_first: bool, is_last: bool, timing: int, index: int, nonspeculative_index: int
    ) -> None:
        self._is_first = is_first
        self._is_last = is_last
        self._timing = timing
        self._index = index
        self._nonspeculative_index = nonspeculative_index
        self._encoded_byte = (1 if is_first else 0) | (2 if is_last else 0) | timing << 2

    @staticmethod
    def from_encoded_byte(encoded_byte: int) -> PaneInfo:
        """The pane of the four low bits: first (1), last (2), timing (4 and 8)."""
        if not 0 <= encoded_byte <= 15:
            raise ValueError(f"A pane's encoded byte is 0 to 15; found {encoded_byte!r}.")
        return _PANES[encoded_byte]

    @property
    def is_first(self) -> bool:
        """Whether no pane of this window fired before."""
        return self._is_first

    @property
    def is_last(self) -> bool:
        """Whether none will fire after."""
        return self._is_last

    @property
    def timing(self) -> int:
        """One of PaneInfoTiming."""
        return self._timing

    @property
    def index(self) -> int:
        """The number of panes that fired before."""
        return self._index

    @property
    def nonspeculative_index(self) -> int:
        """The number of panes, other than early ones, that fired before; -1 in an early one."""
        return self._nonspeculative_index

    @property
    def encoded_byte(self) -> int:
        """First, last and timing in four bits."""
        return self._encoded_byte

    def _key(self) -> tuple[int, int, int]:
        return self._encoded_byte, self._index, self._nonspeculative_index

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self._key() == other._key() if isinstance(other, PaneInfo) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"PaneInfo(first: {self._is_first}, last: {self._is_last}, "
            f"timing: {PaneInfoTiming.to_string(self._timing)}, index: {self._index}, "
            f"nonspeculative_index: {self._nonspeculative_index})"
        )

    def __reduce__(self) -> tuple[type[PaneInfo], tuple[bool, bool, int, int, int]]:
        return PaneInfo, (
            self._is_first,
            self._is_last,
            self._timing,
            self._index,
            self._nonspeculative_index,
        )


def _well_known_panes() -> tuple[PaneInfo, ...]:
    panes = []
    for byte in range(16):
        first, last, timing = bool(byte & 1), bool(byte & 2), byte >> 2
        nonspeculative = -1 if timing == PaneInfoTiming.EARLY else 0
        panes.append(PaneInfo(first, last, timing, 0 if first else -1, nonspeculative))
    return tuple(panes)


_PANES = _well_known_panes()
#: The pane of an element that no trigger fired.
PANE_INFO_UNKNOWN = _PANES[0b1111]


class WindowedValue(Marked, Generic[T]):
    """A value with its timestamp, its windows (a sequence) and its pane.

    The Timestamp object is only made when asked for; `timestamp_micros` is always there.
    """

    __slots__ = ("pane_info", "timestamp_micros", "timestamp_object", "value", "windows")

    value: T
    timestamp_micros: int
    timestamp_object: Timestamp | None
    windows: Sequence[Any]
    pane_info: PaneInfo

    def __init__(
        self,
        value: T,
        timestamp: TimestampTypes,
        windows: Sequence[Any],
        pane_info: PaneInfo = PANE_INFO_UNKNOWN,
    ) -> None:
        self.value = value
        self.timestamp_micros = micros_of(timestamp)
        self.timestamp_object = timestamp if isinstance(timestamp, Timestamp) else None
        self.windows = windows
        self.pane_info = pane_info

    @property
    def timestamp(self) -> Timestamp:
        """The event time."""
        if self.timestamp_object is None:
            self.timestamp_object = timestamp_at(self.timestamp_micros)
        return self.timestamp_object

    def with_value(self, new_value: Any) -> WindowedValue[Any]:
        """Another value with the same timestamp, windows and pane."""
        return create(new_value, self.timestamp_micros, self.windows, self.pane_info)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WindowedValue):
            return NotImplemented
        return bool(
            self.timestamp_micros == other.timestamp_micros
            and self.value == other.value
            and self.windows == other.windows
            and self.pane_info == other.pane_info
        )

    def __hash__(self) -> int:
        return hash((self.value, self.timestamp_micros, self.pane_info, *self.windows))

    def __repr__(self) -> str:
        return f"({self.value!r}, {_time_text(self.timestamp)}, {self.windows}, {self.pane_info})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, int, Sequence[Any], PaneInfo]]:
        return create, (self.value, self.timestamp_micros, self.windows, self.pane_info)


def _time_text(timestamp: Timestamp) -> str:
    if timestamp == MIN_TIMESTAMP:
        return "MIN_TIMESTAMP"
    if timestamp == MAX_TIMESTAMP:
        return "MAX_TIMESTAMP"
    return str(float(timestamp))


def create(
    value: Any, timestamp_micros: int, windows: Sequence[Any], pane_info: PaneInfo = PANE_INFO_UNKNOWN
) -> WindowedValue[Any]:
    """A WindowedValue from microseconds: the fast way, without checks."""
    windowed: WindowedValue[Any] = WindowedValue.__new__(WindowedValue)
    windowed.value = value
    windowed.timestamp_micros = timestamp_micros
    windowed.timestamp_object = None
    windowed.windows = windows
    windowed.pane_info = pane_info
    return windowed


class WindowedBatch:
    """A batch of values with what is known of their timestamps, windows and panes."""

    def with_values(self, new_values: Any) -> WindowedBatch:
        """Other values with the same timestamps, windows and panes."""
        raise NotImplementedError(f"{type(self).__name__} does not define with_values.")

    def as_windowed_values(self, explode_fn: Callable[[Any], Iterable[Any]]) -> Iterator[WindowedValue[Any]]:
        """One WindowedValue for each element that `explode_fn` finds in the batch."""
        raise NotImplementedError(f"{type(self).__name__} does not define as_windowed_values.")

    @staticmethod
    def from_windowed_values(
        windowed_values: Sequence[WindowedValue[Any]], *, produce_fn: Callable[[list[Any]], Any]
    ) -> Iterator[WindowedBatch]:
        """Batches of the values; each holds those that agree in timestamp, windows and pane."""
        return HomogeneousWindowedBatch.from_windowed_values(windowed_values, produce_fn=produce_fn)


class HomogeneousWindowedBatch(WindowedBatch):
    """A batch whose elements share one timestamp, one window set and one pane."""

    def __init__(self, wv: WindowedValue[Any]) -> None:
        self._wv = wv

    @staticmethod
    def of(
        values: Any,
        timestamp: TimestampTypes,
        windows: Sequence[Any],
        pane_info: PaneInfo = PANE_INFO_UNKNOWN,
    ) -> HomogeneousWindowedBatch:
        """A batch from its parts."""
        return HomogeneousWindowedBatch(WindowedValue(values, timestamp, windows, pane_info))

    @staticmethod
    def from_batch_and_windowed_value(
        *, batch: Any, windowed_value: WindowedValue[Any]
    ) -> HomogeneousWindowedBatch:
        """A batch with the timestamp, windows and pane of `windowed_value`."""
        return HomogeneousWindowedBatch(windowed_value.with_value(batch))

    @staticmethod
    def from_windowed_values(
        windowed_values: Sequence[WindowedValue[Any]], *, produce_fn: Callable[[list[Any]], Any]
    ) -> Iterator[WindowedBatch]:
        """Batches of the values, in order of first appearance; each agrees in timestamp, windows and pane."""
        grouped: dict[WindowedValue[Any], list[Any]] = collections.defaultdict(list)
        for windowed in windowed_values:
            grouped[windowed.with_value(None)].append(windowed.value)
        for key, values in grouped.items():
            yield HomogeneousWindowedBatch(key.with_value(produce_fn(values)))

    @property
    def values(self) -> Any:
        """The batch itself."""
        return self._wv.value

    @property
    def timestamp(self) -> Timestamp:
        """The event time of every element."""
        return self._wv.timestamp

    @property
    def windows(self) -> Sequence[Any]:
        """The windows of every element."""
        return self._wv.windows

    @property
    def pane_info(self) -> PaneInfo:
        """The pane of every element."""
        return self._wv.pane_info

    def with_values(self, new_values: Any) -> HomogeneousWindowedBatch:
        """Other values with the same timestamp, windows and pane."""
        return HomogeneousWindowedBatch(self._wv.with_value(new_values))

    def as_empty_windowed_value(self) -> WindowedValue[Any]:
        """The shared timestamp, windows and pane, around None."""
        return self._wv.with_value(None)

    def as_windowed_values(self, explode_fn: Callable[[Any], Iterable[Any]]) -> Iterator[WindowedValue[Any]]:
        """One WindowedValue for each element that `explode_fn` finds in the batch."""
        for value in explode_fn(self._wv.value):
            yield self._wv.with_value(value)

    def __eq__(self, other: object) -> bool:
        return self._wv == other._wv if isinstance(other, HomogeneousWindowedBatch) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._wv)

    def __repr__(self) -> str:
        return f"HomogeneousWindowedBatch({self._wv!r})"
