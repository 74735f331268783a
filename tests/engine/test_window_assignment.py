"""Windows assigned to whole columns against WindowFn.assign called for one element after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.runners.engine import assignment
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.transforms.window import FixedWindows, GlobalWindows, Sessions, SlidingWindows, WindowFn
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp

MICROS = st.integers(-(10**7), 10**7) | st.integers(-(10**15), 10**15)
LENGTH = st.integers(1, 20_000_000)


def span(micros: int) -> Duration:
    return Duration(micros=micros)


WINDOW_FNS = st.one_of(
    st.just(GlobalWindows()),
    st.builds(lambda size, offset: FixedWindows(span(size), Timestamp(micros=offset)), LENGTH, MICROS),
    # A period much smaller than the size would put every element into a great many windows.
    st.builds(
        lambda period, times, offset: SlidingWindows(
            span(max(1, period * times // 4)), span(period), Timestamp(micros=offset)
        ),
        LENGTH,
        st.integers(1, 30),
        MICROS,
    ),
    st.builds(lambda gap: Sessions(span(gap)), LENGTH),
)


def one_by_one(fn: WindowFn, stamps: list[int]) -> list[tuple[object, ...]]:
    return [tuple(fn.assign(WindowFn.AssignContext(Timestamp(micros=stamp)))) for stamp in stamps]


def assigned(fn: WindowFn, timestamps) -> list[tuple[object, ...]]:
    count = 1 if isinstance(timestamps, int) else len(timestamps)
    bundle = Bundle([None] * count, timestamps)
    return Bundle(bundle.values, timestamps, WindowAssigner(fn)(bundle)).window_list()


@given(WINDOW_FNS, st.lists(MICROS, min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_a_column_gets_what_its_elements_would_get(fn, stamps):
    assert assigned(fn, np.array(stamps, dtype=np.int64)) == one_by_one(fn, stamps)


@given(WINDOW_FNS, MICROS)
@settings(max_examples=100, deadline=None)
def test_a_shared_timestamp_gets_what_an_element_would_get(fn, stamp):
    assert assigned(fn, stamp) == one_by_one(fn, [stamp])


@pytest.mark.parametrize(
    "fn",
    [FixedWindows(10), FixedWindows(7, offset=3), SlidingWindows(10, 5), SlidingWindows(9, 4, offset=1)],
    ids=str,
)
@pytest.mark.parametrize(
    "near", [MIN_TIMESTAMP.micros, MAX_TIMESTAMP.micros - 86_400_000_000 - 60_000_000, 0]
)
def test_the_ends_of_time(fn, near):
    stamps = [near + i * 1_000_000 for i in range(40)]
    assert assigned(fn, np.array(stamps, dtype=np.int64)) == one_by_one(fn, stamps)


def test_the_same_assigner_over_many_distinct_windows(monkeypatch):
    monkeypatch.setattr(assignment, "CACHE_ENTRIES_MAX", 3)
    fn = FixedWindows(1)
    assign = WindowAssigner(fn)
    for start in range(0, 50, 5):
        stamps = [(start + i) * 1_000_000 for i in range(5)]
        bundle = Bundle([None] * 5, np.array(stamps, dtype=np.int64))
        assert Bundle(bundle.values, bundle.timestamps, assign(bundle)).window_list() == one_by_one(
            fn, stamps
        )
