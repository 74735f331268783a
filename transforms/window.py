"""The functions that assign elements to windows, and what goes with them.

A `WindowFn` says which windows an element belongs to and, where it merges, which windows of a key become one. The
windows themselves are in `bounded_window`. Everything counts in microseconds inside; `Timestamp` and `Duration`
objects are made for user code that asks.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import cloudpickle

from hornbeam.graph import urns
from hornbeam.graph.model import Function
from hornbeam.transforms.bounded_window import (
    END_OF_GLOBAL_WINDOW_MICROS,
    BoundedWindow,
    GlobalWindow,
    IntervalWindow,
    seconds_text,
)
from hornbeam.utils import pickling
from hornbeam.utils.marked import Marked
from hornbeam.utils.timestamp import (
    MIN_TIMESTAMP,
    Duration,
    DurationTypes,
    Timestamp,
    TimestampTypes,
    micros_of,
    timestamp_at,
)
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, HomogeneousWindowedBatch, PaneInfo, WindowedValue

if TYPE_CHECKING:
    from hornbeam.coders.coders import Coder

__all__ = [
    "END_OF_GLOBAL_WINDOW_MICROS",
    "BoundedWindow",
    "FixedWindows",
    "GlobalWindow",
    "GlobalWindows",
    "IntervalWindow",
    "NonMergingWindowFn",
    "Sessions",
    "SlidingWindows",
    "TimestampCombiner",
    "TimestampedValue",
    "WindowFn",
    "combine_timestamps",
    "windowfn_from_function",
    "windowfn_to_function",
]

V = TypeVar("V")

#: No window ends later, so that each has ended at the end of time: the last microsecond that fits into 64 bits.
LAST_END_MICROS = (1 << 63) - 1


class TimestampCombiner(enum.StrEnum):
    """Which timestamp a grouped result gets, out of its window and the timestamps that went in."""

    #: The last timestamp inside the window.
    OUTPUT_AT_EOW = "OUTPUT_AT_EOW"
    #: The earliest timestamp of the inputs.
    OUTPUT_AT_EARLIEST = "OUTPUT_AT_EARLIEST"
    #: The latest timestamp of the inputs.
    OUTPUT_AT_LATEST = "OUTPUT_AT_LATEST"
    #: The earliest, after `WindowFn.get_transformed_output_time` has moved each.
    OUTPUT_AT_EARLIEST_TRANSFORMED = "OUTPUT_AT_EARLIEST_TRANSFORMED"


class TimestampedValue(Marked, Generic[V]):
    """A value with the timestamp that a DoFn's output shall have.

    The timestamp is kept as given (seconds as int or float, or a `Timestamp`); `timestamp` converts it.
    """

    __slots__ = ("_timestamp", "value")

    #: As a type hint of outputs it does not say what the elements are.
    wraps_an_element = True

    def __init__(self, value: V, timestamp: TimestampTypes) -> None:
        self.value = value
        self._timestamp = timestamp

    @property
    def timestamp(self) -> Timestamp:
        """The timestamp as a `Timestamp`."""
        return Timestamp.of(self._timestamp)

    @property
    def timestamp_micros(self) -> int:
        """The timestamp in microseconds."""
        return micros_of(self._timestamp)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TimestampedValue)
            and self.value == other.value
            and self.timestamp_micros == other.timestamp_micros
        )

    def __hash__(self) -> int:
        return hash((self.value, self.timestamp_micros))

    def __lt__(self, other: TimestampedValue[V]) -> bool:
        if self.value != other.value:
            return self.value < other.value  # type: ignore[operator, no-any-return]
        return self.timestamp_micros < other.timestamp_micros

    def __repr__(self) -> str:
        return f"TimestampedValue({self.value!r}, {self.timestamp!r})"


class WindowFn(abc.ABC):
    """Assigns windows to elements, and may merge the windows of a key."""

    class AssignContext:
        """What a WindowFn may look at: the element, its timestamp, and its window before."""

        __slots__ = ("element", "timestamp", "window")

        def __init__(
            self, timestamp: TimestampTypes, element: Any = None, window: BoundedWindow | None = None
        ) -> None:
            self.timestamp = Timestamp.of(timestamp)
            self.element = element
            self.window = window

    class MergeContext(abc.ABC):
        """The active windows of one key, offered to `WindowFn.merge`."""

        def __init__(self, windows: Iterable[BoundedWindow]) -> None:
            self.windows = list(windows)

        @abc.abstractmethod
        def merge(self, to_be_merged: Iterable[BoundedWindow], merge_result: BoundedWindow) -> None:
            """Say that `to_be_merged` become `merge_result`. A window may be merged once per context."""

    @abc.abstractmethod
    def assign(self, assign_context: AssignContext) -> Iterable[BoundedWindow]:
        """The windows of the element; none drops it. Must depend on the context only."""

    @abc.abstractmethod
    def merge(self, merge_context: MergeContext) -> None:
        """Call `merge_context.merge` once for each set of its windows that become one."""

    def is_merging(self) -> bool:
        """Whether `merge` may ever merge."""
        return True

    @abc.abstractmethod
    def get_window_coder(self) -> Coder:
        """The coder of the windows that `assign` and `merge` make."""

    def get_transformed_output_time(self, window: BoundedWindow, input_timestamp: Timestamp) -> Timestamp:
        """Where OUTPUT_AT_EARLIEST_TRANSFORMED puts an input. Must not be before the input's timestamp."""
        return input_timestamp


class NonMergingWindowFn(WindowFn):
    """A WindowFn that never merges: only `assign` and `get_window_coder` are left to define."""

    def is_merging(self) -> bool:
        """False."""
        return False

    def merge(self, merge_context: WindowFn.MergeContext) -> None:
        """Nothing to merge."""


class GlobalWindows(NonMergingWindowFn):
    """Everything in the one global window."""

    @classmethod
    def windowed_value(
        cls,
        value: Any,
        timestamp: TimestampTypes = MIN_TIMESTAMP,
        pane_info: PaneInfo = PANE_INFO_UNKNOWN,
    ) -> WindowedValue[Any]:
        """The value in the global window."""
        return WindowedValue(value, timestamp, (GlobalWindow(),), pane_info)

    @classmethod
    def windowed_batch(
        cls,
        batch: Any,
        timestamp: TimestampTypes = MIN_TIMESTAMP,
        pane_info: PaneInfo = PANE_INFO_UNKNOWN,
    ) -> HomogeneousWindowedBatch:
        """The batch in the global window."""
        return HomogeneousWindowedBatch.of(batch, timestamp, (GlobalWindow(),), pane_info)

    @classmethod
    def windowed_value_at_end_of_window(cls, value: Any) -> WindowedValue[Any]:
        """The value in the global window, at its last timestamp."""
        return cls.windowed_value(value, GlobalWindow().max_timestamp())

    def assign(self, assign_context: WindowFn.AssignContext) -> list[BoundedWindow]:
        """The global window."""
        return [GlobalWindow()]

    def get_window_coder(self) -> Coder:
        """The coder of the global window: no bytes."""
        from hornbeam.coders.coders import GlobalWindowCoder

        return GlobalWindowCoder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "GlobalWindows()"


class FixedWindows(NonMergingWindowFn):
    """Windows of `size` seconds, one after the other: `[offset + n * size, offset + (n + 1) * size)`.

    The offset is taken modulo the size.
    """

    def __init__(self, size: DurationTypes, offset: TimestampTypes = 0) -> None:
        self.size_micros = _positive(size, "FixedWindows", "size")
        self.offset_micros = micros_of(offset) % self.size_micros

    @property
    def size(self) -> Duration:
        """The length of a window."""
        return Duration(micros=self.size_micros)

    @property
    def offset(self) -> Duration:
        """Where a window starts, in `[0, size)`."""
        return Duration(micros=self.offset_micros)

    def assign(self, context: WindowFn.AssignContext) -> list[BoundedWindow]:
        """The window that the timestamp lies in."""
        micros = micros_of(context.timestamp)
        start = micros - (micros - self.offset_micros) % self.size_micros
        return [IntervalWindow.from_micros(start, min(start + self.size_micros, LAST_END_MICROS))]

    def get_window_coder(self) -> Coder:
        """The coder of interval windows."""
        return _interval_window_coder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.size_micros, self.offset_micros))

    def __repr__(self) -> str:
        return (
            f"FixedWindows(size={seconds_text(self.size_micros)}, offset={seconds_text(self.offset_micros)})"
        )


class SlidingWindows(NonMergingWindowFn):
    """Windows of `size` seconds that start every `period` seconds: `[offset + n * period, ... + size)`.

    They overlap where the period is less than the size; where it is more, elements between them are dropped.
    The offset is taken modulo the period.
    """

    def __init__(self, size: DurationTypes, period: DurationTypes, offset: TimestampTypes = 0) -> None:
        self.size_micros = _positive(size, "SlidingWindows", "size")
        self.period_micros = _positive(period, "SlidingWindows", "period")
        self.offset_micros = micros_of(offset) % self.period_micros

    @property
    def size(self) -> Duration:
        """The length of a window."""
        return Duration(micros=self.size_micros)

    @property
    def period(self) -> Duration:
        """The time from one window's start to the next one's."""
        return Duration(micros=self.period_micros)

    @property
    def offset(self) -> Duration:
        """Where a window starts, in `[0, period)`."""
        return Duration(micros=self.offset_micros)

    def assign(self, context: WindowFn.AssignContext) -> list[BoundedWindow]:
        """The windows that the timestamp lies in, the latest first."""
        micros = micros_of(context.timestamp)
        size = self.size_micros
        latest = micros - (micros - self.offset_micros) % self.period_micros
        return [
            IntervalWindow.from_micros(start, min(start + size, LAST_END_MICROS))
            for start in range(latest, micros - size, -self.period_micros)
        ]

    def get_window_coder(self) -> Coder:
        """The coder of interval windows."""
        return _interval_window_coder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.size_micros, self.period_micros, self.offset_micros))

    def __repr__(self) -> str:
        return (
            f"SlidingWindows(size={seconds_text(self.size_micros)}, period={seconds_text(self.period_micros)}, "
            f"offset={seconds_text(self.offset_micros)})"
        )


class Sessions(WindowFn):
    """Windows of activity per key: elements less than `gap_size` seconds apart share one."""

    def __init__(self, gap_size: DurationTypes) -> None:
        self.gap_micros = _positive(gap_size, "Sessions", "gap_size")

    @property
    def gap_size(self) -> Duration:
        """The silence that ends a session."""
        return Duration(micros=self.gap_micros)

    def assign(self, context: WindowFn.AssignContext) -> list[BoundedWindow]:
        """A window from the element to one gap after it; merging makes the session of it."""
        micros = micros_of(context.timestamp)
        return [IntervalWindow.from_micros(micros, min(micros + self.gap_micros, LAST_END_MICROS))]

    def merge(self, merge_context: WindowFn.MergeContext) -> None:
        """Windows that overlap become one; windows that only touch do not."""
        windows = [w for w in merge_context.windows if isinstance(w, IntervalWindow)]
        windows.sort(key=lambda window: window.start_micros)
        session: list[IntervalWindow] = []
        end = 0
        for window in windows:
            if session and window.start_micros < end:
                session.append(window)
                end = max(end, window.end_micros)
            else:
                _merge_session(merge_context, session, end)
                session, end = [window], window.end_micros
        _merge_session(merge_context, session, end)

    def get_window_coder(self) -> Coder:
        """The coder of interval windows."""
        return _interval_window_coder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.gap_micros))

    def __repr__(self) -> str:
        return f"Sessions(gap_size={seconds_text(self.gap_micros)})"


def _merge_session(merge_context: WindowFn.MergeContext, session: list[IntervalWindow], end: int) -> None:
    """Merge a session's windows when there is more than one."""
    if len(session) > 1:
        merge_context.merge(session, IntervalWindow.from_micros(session[0].start_micros, end))


def _positive(value: DurationTypes, owner: str, parameter: str) -> int:
    """The duration in microseconds; ValueError unless it is above zero and fits into time."""
    micros = micros_of(value)
    if micros <= 0:
        raise ValueError(f"{owner}: {parameter} must be strictly positive; it is {value!r}.")
    if micros > LAST_END_MICROS:
        raise ValueError(
            f"{owner}: {parameter} is longer than half of time (292,271 years); it is {value!r}."
        )
    return micros


def _interval_window_coder() -> Coder:
    from hornbeam.coders.coders import IntervalWindowCoder

    return IntervalWindowCoder()


def combine_timestamps(
    combiner: TimestampCombiner | str, windowfn: WindowFn, window: BoundedWindow, micros: Iterable[int]
) -> int:
    """The timestamp, in microseconds, of a result in `window` of inputs with the timestamps `micros`.

    `micros` must not be empty unless the combiner is OUTPUT_AT_EOW.
    """
    if combiner == TimestampCombiner.OUTPUT_AT_EOW:
        return window.max_micros
    if combiner == TimestampCombiner.OUTPUT_AT_EARLIEST:
        return min(micros)
    if combiner == TimestampCombiner.OUTPUT_AT_LATEST:
        return max(micros)
    if combiner == TimestampCombiner.OUTPUT_AT_EARLIEST_TRANSFORMED:
        transformed = windowfn.get_transformed_output_time
        return min(micros_of(transformed(window, timestamp_at(t))) for t in micros)
    raise ValueError(
        f"No timestamp combiner is called {combiner!r}; there are {', '.join(TimestampCombiner)}."
    )


def windowfn_to_function(windowfn: WindowFn) -> Function:
    """The graph's form of a WindowFn; the built-in ones are readable, any other is pickled."""
    kind = type(windowfn)
    if kind is GlobalWindows:
        return Function(urns.GLOBAL_WINDOWS)
    if isinstance(windowfn, FixedWindows) and kind is FixedWindows:
        return Function(
            urns.FIXED_WINDOWS,
            {"size_micros": windowfn.size_micros, "offset_micros": windowfn.offset_micros},
        )
    if isinstance(windowfn, SlidingWindows) and kind is SlidingWindows:
        return Function(
            urns.SLIDING_WINDOWS,
            {
                "size_micros": windowfn.size_micros,
                "period_micros": windowfn.period_micros,
                "offset_micros": windowfn.offset_micros,
            },
        )
    if isinstance(windowfn, Sessions) and kind is Sessions:
        return Function(urns.SESSION_WINDOWS, {"gap_micros": windowfn.gap_micros})
    return Function(
        urns.PYTHON_WINDOW_FN,
        {"window_fn": f"{kind.__module__}.{kind.__qualname__}", "merging": windowfn.is_merging()},
        pickling.dumps(windowfn),
    )


def windowfn_from_function(function: Function) -> WindowFn:
    """The WindowFn that `windowfn_to_function` wrote."""
    spec = function.spec
    if function.urn == urns.GLOBAL_WINDOWS:
        return GlobalWindows()
    if function.urn == urns.FIXED_WINDOWS:
        return FixedWindows(
            Duration(micros=spec["size_micros"]), Timestamp(micros=spec.get("offset_micros", 0))
        )
    if function.urn == urns.SLIDING_WINDOWS:
        return SlidingWindows(
            Duration(micros=spec["size_micros"]),
            Duration(micros=spec["period_micros"]),
            Timestamp(micros=spec.get("offset_micros", 0)),
        )
    if function.urn == urns.SESSION_WINDOWS:
        return Sessions(Duration(micros=spec["gap_micros"]))
    if function.urn == urns.PYTHON_WINDOW_FN:
        windowfn = cloudpickle.loads(function.payload)
        if not isinstance(windowfn, WindowFn):
            raise ValueError(f"The payload of {function.urn} must be a WindowFn; it is {windowfn!r}.")
        return windowfn
    raise ValueError(f"No window function is known by the URN {function.urn!r}.")
