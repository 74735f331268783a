"""A bundle against the same elements as a plain list of (value, timestamp, windows, pane)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.runners.engine.bundle import Bundle, Coded, Intervals, from_entries
from hornbeam.transforms.window import GlobalWindow, IntervalWindow
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo, PaneInfoTiming

PANES = [PANE_INFO_UNKNOWN, PaneInfo(True, False, PaneInfoTiming.EARLY, 0, -1)]
WINDOWS = [GlobalWindow(), *(IntervalWindow(i, i + 5) for i in range(3))]

Row = tuple[object, int, tuple[object, ...], PaneInfo]


def rows_of(bundle: Bundle) -> list[Row]:
    return list(zip(bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list()))


@st.composite
def bundles(draw, min_size=1, windows_min=0) -> Bundle:
    """Bundles with every kind of column: shared, arrays, coded, intervals."""
    n = draw(st.integers(min_size, 12))
    values = list(range(n))
    stamp = st.integers(-50, 50)
    stamps = draw(st.one_of(stamp, st.lists(stamp, min_size=n, max_size=n)))
    sets = st.lists(st.sampled_from(WINDOWS), min_size=windows_min, max_size=3, unique=True).map(tuple)
    kind = draw(st.sampled_from(["shared", "coded", "intervals"]))
    if kind == "shared":
        windows = draw(sets)
    elif kind == "coded":
        table = draw(st.lists(sets, min_size=1, max_size=4))
        codes = draw(st.lists(st.integers(0, len(table) - 1), min_size=n, max_size=n))
        windows = Coded(np.array(codes, dtype=np.intp), table)
    else:
        starts = np.array(draw(st.lists(stamp, min_size=n, max_size=n)), dtype=np.int64)
        windows = Intervals(starts, starts + 7)
    panes = draw(st.sampled_from(PANES))
    if draw(st.booleans()):
        panes = Coded.of(draw(st.lists(st.sampled_from(PANES), min_size=n, max_size=n)))
    return Bundle(
        values, stamps if isinstance(stamps, int) else np.array(stamps, dtype=np.int64), windows, panes
    )


@given(bundles(), st.data())
@settings(max_examples=60, deadline=None)
def test_take(bundle, data):
    index = data.draw(st.lists(st.integers(0, len(bundle) - 1), max_size=15))
    rows = rows_of(bundle)
    taken = bundle.take([bundle.values[i] for i in index], np.array(index, dtype=np.intp))
    assert rows_of(taken) == [rows[i] for i in index]


@given(bundles(), st.data())
@settings(max_examples=60, deadline=None)
def test_repeat(bundle, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(bundle), max_size=len(bundle)))
    expected = [row for row, count in zip(rows_of(bundle), counts) for _ in range(count)]
    assert rows_of(bundle.repeat([row[0] for row in expected], counts)) == expected


@given(bundles())
@settings(max_examples=100, deadline=None)
def test_exploded(bundle):
    expected = [(value, stamp, (w,), pane) for value, stamp, sets, pane in rows_of(bundle) for w in sets]
    assert rows_of(bundle.exploded()) == expected


@given(bundles(windows_min=1))
@settings(max_examples=60, deadline=None)
def test_by_window(bundle):
    expected = {}
    for value, _, sets, _ in rows_of(bundle):
        for window in sets:
            expected.setdefault(window, []).append(value)
    found = list(bundle.by_window())
    assert all(sets == (window,) for window, part in found for sets in part.window_list())
    assert len(found) == len(expected)
    assert {window: part.values for window, part in found} == expected


def test_elements_of_a_window_with_several_codes_keep_their_order():
    """As those of sliding windows, which have a code for each slice of time."""
    windows = Coded(
        np.array([1, 2, 0]), [(IntervalWindow(0, 4),), (IntervalWindow(6, 10),), (IntervalWindow(0, 4),)]
    )
    (first, one), (second, two) = Bundle(["a", "b", "c"], windows=windows).by_window()
    assert (first, one.values) == (IntervalWindow(0, 4), ["b", "c"])
    assert (second, two.values) == (IntervalWindow(6, 10), ["a"])


@given(bundles(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_chunks(bundle, size):
    chunks = list(bundle.chunks(size))
    assert [row for chunk in chunks for row in rows_of(chunk)] == rows_of(bundle)
    assert all(0 < len(chunk) <= size for chunk in chunks)


@given(bundles())
@settings(max_examples=40, deadline=None)
def test_from_entries_gives_the_entries_back(bundle):
    rows = rows_of(bundle)
    assert rows_of(from_entries(*(list(column) for column in zip(*rows)))) == rows


def test_from_entries_shares_what_is_equal():
    bundle = from_entries([1, 2], [5, 5], [(GlobalWindow(),)] * 2, [PANE_INFO_UNKNOWN] * 2)
    assert bundle.is_uniform
    assert bundle.timestamps == 5


@pytest.mark.parametrize("windows", [(), Coded(np.array([0, 0]), [()])], ids=["shared", "coded"])
def test_elements_in_no_window_are_gone_once_exploded(windows):
    assert Bundle([1, 2], 0, windows).exploded().values == []
