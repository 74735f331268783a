"""Windows and the built-in window functions, against tables worked out by hand."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.graph import urns
from hornbeam.graph.model import Function
from hornbeam.transforms.window import (
    LAST_END_MICROS,
    BoundedWindow,
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    IntervalWindow,
    NonMergingWindowFn,
    Sessions,
    SlidingWindows,
    TimestampCombiner,
    TimestampedValue,
    WindowFn,
    combine_timestamps,
    windowfn_from_function,
    windowfn_to_function,
)
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp


def assigned(windowfn: WindowFn, timestamp: Any) -> list[BoundedWindow]:
    return list(windowfn.assign(WindowFn.AssignContext(timestamp)))


def spans(windows: Iterable[BoundedWindow]) -> list[tuple[float, float]]:
    return [(float(window.start), float(window.end)) for window in windows]


class Merges(WindowFn.MergeContext):
    """Keeps what a window function merges."""

    def __init__(self, windows: Iterable[BoundedWindow]) -> None:
        super().__init__(windows)
        self.merged: list[tuple[list[BoundedWindow], BoundedWindow]] = []

    def merge(self, to_be_merged: Iterable[BoundedWindow], merge_result: BoundedWindow) -> None:
        self.merged.append((list(to_be_merged), merge_result))


ASSIGNMENTS = [
    (FixedWindows(10), 0, [(0, 10)]),
    (FixedWindows(10), 9.999999, [(0, 10)]),
    (FixedWindows(10), 10, [(10, 20)]),
    (FixedWindows(10), -1, [(-10, 0)]),
    (FixedWindows(10), -10, [(-10, 0)]),
    (FixedWindows(10, 3), 2, [(-7, 3)]),
    (FixedWindows(10, 3), 3, [(3, 13)]),
    (FixedWindows(10, 13), 3, [(3, 13)]),
    (FixedWindows(10, -7), 3, [(3, 13)]),
    (FixedWindows(0.5), 0.75, [(0.5, 1)]),
    (FixedWindows(Duration(10), Duration(3)), Timestamp(2), [(-7, 3)]),
    (SlidingWindows(10, 5), 12, [(10, 20), (5, 15)]),
    (SlidingWindows(10, 5), 10, [(10, 20), (5, 15)]),
    (SlidingWindows(10, 5), -1, [(-5, 5), (-10, 0)]),
    (SlidingWindows(10, 3), 1, [(0, 10), (-3, 7), (-6, 4)]),
    (SlidingWindows(10, 3, 1), 1, [(1, 11), (-2, 8), (-5, 5), (-8, 2)]),
    (SlidingWindows(10, 3, -2), 1, [(1, 11), (-2, 8), (-5, 5), (-8, 2)]),
    (SlidingWindows(2, 5), 1, [(0, 2)]),
    (SlidingWindows(2, 5), 2, []),
    (Sessions(5), 3, [(3, 8)]),
    (Sessions(0.5), -3, [(-3, -2.5)]),
]


@pytest.mark.parametrize(("windowfn", "timestamp", "expected"), ASSIGNMENTS)
def test_assignment(windowfn: WindowFn, timestamp: Any, expected: list[tuple[float, float]]) -> None:
    assert spans(assigned(windowfn, timestamp)) == expected


def test_global_windows_assign_the_one_global_window() -> None:
    assert assigned(GlobalWindows(), -5) == [GlobalWindow()]


@pytest.mark.parametrize("windowfn", [FixedWindows(60), SlidingWindows(60, 30), Sessions(60)])
def test_the_last_windows_end_with_time(windowfn: WindowFn) -> None:
    assert all(
        window.end <= Timestamp(micros=LAST_END_MICROS) for window in assigned(windowfn, MAX_TIMESTAMP)
    )


@pytest.mark.parametrize(
    "make",
    [FixedWindows, Sessions, lambda size: SlidingWindows(size, 1), lambda size: SlidingWindows(1, size)],
)
def test_windows_longer_than_time_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="longer than half of time"):
        make(10**13)


def test_windows_at_the_beginning_of_time_hold_it() -> None:
    (window,) = assigned(FixedWindows(60), MIN_TIMESTAMP)
    assert window.start <= MIN_TIMESTAMP < window.end


SIZES = st.integers(1, 50_000_000)
MICROS = st.integers(-(10**15), 10**15)


@settings(max_examples=100)
@given(SIZES, SIZES, MICROS, MICROS)
def test_sliding_windows_are_all_that_hold_the_timestamp(
    size: int, period: int, offset: int, micros: int
) -> None:
    period = max(period, size // 20 + 1)
    windowfn = SlidingWindows(Duration(micros=size), Duration(micros=period), Timestamp(micros=offset))
    starts = [window.start.micros for window in assigned(windowfn, Timestamp(micros=micros))]
    first = offset + (micros - size - offset) // period * period
    lattice = range(first - period, micros + 2 * period, period)
    assert sorted(starts) == [start for start in lattice if start <= micros < start + size]
    assert starts == sorted(starts, reverse=True)


@settings(max_examples=50)
@given(SIZES, MICROS, MICROS)
def test_fixed_windows_are_sliding_windows_whose_period_is_their_size(
    size: int, offset: int, micros: int
) -> None:
    length, at, timestamp = Duration(micros=size), Timestamp(micros=offset), Timestamp(micros=micros)
    assert assigned(FixedWindows(length, at), timestamp) == assigned(
        SlidingWindows(length, length, at), timestamp
    )


MERGES = [
    ([], []),
    ([(0, 5)], []),
    ([(0, 5), (5, 10)], []),
    ([(0, 5), (4, 9)], [(0, 9)]),
    ([(4, 9), (0, 5)], [(0, 9)]),
    ([(0, 5), (0, 5)], [(0, 5)]),
    ([(0, 20), (2, 4), (19, 24)], [(0, 24)]),
    ([(0, 5), (4, 9), (8, 13), (20, 25), (24, 29), (40, 45)], [(0, 13), (20, 29)]),
]


@pytest.mark.parametrize(("windows", "expected"), MERGES)
def test_sessions_merge(windows: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    context = Merges(IntervalWindow(*window) for window in windows)
    Sessions(5).merge(context)
    assert spans(result for _, result in context.merged) == expected
    for parts, result in context.merged:
        assert len(parts) > 1
        assert min(part.start for part in parts) == result.start
        assert max(part.end for part in parts) == result.end


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedWindows(0),
        lambda: FixedWindows(-1),
        lambda: SlidingWindows(0, 1),
        lambda: SlidingWindows(1, 0),
        lambda: SlidingWindows(1, -1),
        lambda: Sessions(0),
    ],
)
def test_lengths_must_be_positive(make: Any) -> None:
    with pytest.raises(ValueError, match="must be strictly positive"):
        make()


def test_window_functions_show_what_they_were_given() -> None:
    fixed = FixedWindows(10, 13)
    assert (fixed.size, fixed.offset) == (Duration(10), Duration(3))
    sliding = SlidingWindows(10, 4, 5)
    assert (sliding.size, sliding.period, sliding.offset) == (Duration(10), Duration(4), Duration(1))
    assert Sessions(7.5).gap_size == Duration(7.5)
    assert (fixed.is_merging(), GlobalWindows().is_merging(), Sessions(1).is_merging()) == (
        False,
        False,
        True,
    )


def test_window_functions_are_equal_by_value() -> None:
    same = {FixedWindows(5), FixedWindows(5.0, 10), FixedWindows(5, -5)}
    assert len(same) == 1
    assert FixedWindows(5) != FixedWindows(5, 1)
    assert FixedWindows(5) != SlidingWindows(5, 5)
    assert SlidingWindows(5, 1) == SlidingWindows(5, 1, 2)
    assert Sessions(1) != Sessions(2)
    assert GlobalWindows() == GlobalWindows()


class MyFixed(FixedWindows):
    """A subclass is not readable as its base."""


class Halves(NonMergingWindowFn):
    """Before and after zero."""

    def assign(self, context: WindowFn.AssignContext) -> list[BoundedWindow]:
        return [IntervalWindow(-1000, 0) if context.timestamp < 0 else IntervalWindow(0, 1000)]

    def get_window_coder(self) -> Any:
        return FixedWindows(1).get_window_coder()


@pytest.mark.parametrize(
    "windowfn", [GlobalWindows(), FixedWindows(2.5, 1), SlidingWindows(9, 2, 1), Sessions(60)]
)
def test_builtin_window_functions_go_into_the_graph_readably(windowfn: WindowFn) -> None:
    function = windowfn_to_function(windowfn)
    assert not function.payload
    assert windowfn_from_function(function) == windowfn


@pytest.mark.parametrize("windowfn", [MyFixed(5), Halves()])
def test_other_window_functions_go_into_the_graph_pickled(windowfn: WindowFn) -> None:
    function = windowfn_to_function(windowfn)
    assert function.urn == urns.PYTHON_WINDOW_FN
    assert function.spec["window_fn"].endswith(type(windowfn).__qualname__)
    assert function.spec["merging"] is False
    restored = windowfn_from_function(function)
    assert type(restored).__qualname__ == type(windowfn).__qualname__
    assert spans(assigned(restored, -1)) == spans(assigned(windowfn, -1))


def test_an_unknown_window_function_is_refused() -> None:
    with pytest.raises(ValueError, match="beam:window_fn:none:v1"):
        windowfn_from_function(Function("beam:window_fn:none:v1"))


def test_windows_order_by_end_then_start() -> None:
    windows = [IntervalWindow(0, 10), IntervalWindow(5, 10), IntervalWindow(0, 5), IntervalWindow(-9, 20)]
    assert spans(sorted(windows)) == [(0, 5), (0, 10), (5, 10), (-9, 20)]
    assert IntervalWindow(0, 5) <= IntervalWindow(0, 5) < IntervalWindow(1, 5)
    assert IntervalWindow(1, 5) > IntervalWindow(0, 5) >= IntervalWindow(0, 5)
    assert IntervalWindow(0, 5) < GlobalWindow()


def test_interval_windows() -> None:
    window = IntervalWindow(1, 2.5)
    assert window == IntervalWindow.from_micros(1_000_000, 2_500_000)
    assert hash(window) == hash(IntervalWindow(1, 2.5))
    assert (window.start, window.end) == (Timestamp(1), Timestamp(2.5))
    assert window.max_timestamp() == Timestamp(micros=2_499_999)
    assert window.max_micros == 2_499_999
    assert repr(window) == "[1.0, 2.5)"
    assert repr(IntervalWindow(-0.25, 0)) == "[-0.25, 0.0)"
    assert window.union(IntervalWindow(5, 7)) == IntervalWindow(1, 7)
    assert window != (1, 2.5)


@pytest.mark.parametrize(
    ("other", "expected"),
    [((0, 1), False), ((0, 1.5), True), ((1.2, 1.3), True), ((2, 9), True), ((2.5, 9), False)],
)
def test_intersection_is_of_half_open_intervals(other: tuple[float, float], expected: bool) -> None:
    assert IntervalWindow(1, 2.5).intersects(IntervalWindow(*other)) is expected
    assert IntervalWindow(*other).intersects(IntervalWindow(1, 2.5)) is expected


def test_the_global_window_is_one_and_ends_a_day_before_time_does() -> None:
    window = GlobalWindow()
    assert window is GlobalWindow()
    assert pickle.loads(pickle.dumps(window)) is window
    assert window.start == MIN_TIMESTAMP
    assert window.end == Timestamp(micros=9223371950454775000)
    assert window.max_timestamp() == Timestamp(micros=9223371950454774999)
    assert window.max_micros == window.max_timestamp().micros
    assert window != IntervalWindow(0, 1)


class Labelled(IntervalWindow):
    """A window with more to it."""

    def __init__(self, label: str) -> None:
        super().__init__(0, 1)
        self.label = label


def test_windows_pickle() -> None:
    window = IntervalWindow(-3, 4.5)
    assert pickle.loads(pickle.dumps(window)) == window
    labelled = pickle.loads(pickle.dumps(Labelled("here")))
    assert (type(labelled), labelled.label, labelled.end) == (Labelled, "here", Timestamp(1))
    assert labelled != IntervalWindow(0, 1)


class Nameless(BoundedWindow):
    """A window of a user who forgot equality."""


def test_a_window_without_equality_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Nameless must define __eq__"):
        assert Nameless(1) == Nameless(2)


class Delayed(FixedWindows):
    """Moves inputs to a second later."""

    def get_transformed_output_time(self, window: BoundedWindow, input_timestamp: Timestamp) -> Timestamp:
        return input_timestamp + 1


@pytest.mark.parametrize(
    ("combiner", "expected"),
    [
        (TimestampCombiner.OUTPUT_AT_EOW, 9_999_999),
        (TimestampCombiner.OUTPUT_AT_EARLIEST, 2_000_000),
        (TimestampCombiner.OUTPUT_AT_LATEST, 7_000_000),
        (TimestampCombiner.OUTPUT_AT_EARLIEST_TRANSFORMED, 3_000_000),
        ("OUTPUT_AT_LATEST", 7_000_000),
    ],
)
def test_timestamp_combiners(combiner: Any, expected: int) -> None:
    micros = [5_000_000, 2_000_000, 7_000_000]
    assert combine_timestamps(combiner, Delayed(10), IntervalWindow(0, 10), micros) == expected


def test_an_unknown_timestamp_combiner_is_refused() -> None:
    with pytest.raises(ValueError, match="OUTPUT_SOMETIME"):
        combine_timestamps("OUTPUT_SOMETIME", FixedWindows(10), IntervalWindow(0, 10), [1])


def test_timestamped_value() -> None:
    value = TimestampedValue("a", 1.5)
    assert (value.value, value.timestamp, value.timestamp_micros) == ("a", Timestamp(1.5), 1_500_000)
    assert value == TimestampedValue("a", Timestamp(1.5))
    assert hash(value) == hash(TimestampedValue("a", Timestamp(1.5)))
    assert value != TimestampedValue("b", 1.5)
    assert value != TimestampedValue("a", 2)
    assert value != "a"
    assert sorted([TimestampedValue(2, 0), TimestampedValue(1, 5), TimestampedValue(1, 4)]) == [
        TimestampedValue(1, 4),
        TimestampedValue(1, 5),
        TimestampedValue(2, 0),
    ]
    assert not hasattr(value, "__dict__")


def test_windowed_values_in_the_global_window() -> None:
    plain = GlobalWindows.windowed_value("a")
    assert (plain.value, plain.timestamp, tuple(plain.windows)) == ("a", MIN_TIMESTAMP, (GlobalWindow(),))
    assert GlobalWindows.windowed_value("a", 3).timestamp == Timestamp(3)
    last = GlobalWindows.windowed_value_at_end_of_window("a")
    assert last.timestamp == GlobalWindow().max_timestamp()
    batch = GlobalWindows.windowed_batch([1, 2], 3)
    assert [v.value for v in batch.as_windowed_values(list)] == [1, 2]
