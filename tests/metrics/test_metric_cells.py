"""Cells, bounded tries and histograms: merging gives what one cell would have seen."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.metrics.bounded_trie import BoundedTrieData
from hornbeam.metrics.cells import (
    BoundedTrieCell,
    CounterCell,
    DistributionCell,
    DistributionData,
    DistributionResult,
    GaugeCell,
    GaugeResult,
    HistogramCell,
    MetricCell,
    StringSetCell,
)
from hornbeam.metrics.histogram import HistogramData, LinearBucket


def _histogram() -> HistogramCell:
    return HistogramCell(LinearBucket(0, 10, 10))


CELLS = [
    (CounterCell, [1, -4, 7], 4),
    (DistributionCell, [3, -1, 10], DistributionData(12, 3, -1, 10)),
    (StringSetCell, ["a", "b", "a"], frozenset({"a", "b"})),
    (BoundedTrieCell, [("a", "b"), ("a", "c")], BoundedTrieData([("a", "b"), ("a", "c")])),
]


@pytest.mark.parametrize(("make", "values", "expected"), CELLS)
def test_cells(make: type[MetricCell], values: list, expected: object) -> None:
    whole = make()
    for value in values:
        whole.update(value)
    assert whole.get_cumulative() == expected

    parts = [make() for _ in values]
    for part, value in zip(parts, values):
        part.update(value)
    joined = make()
    for part in reversed(parts):
        joined.merge(part)
    assert joined.get_cumulative() == expected

    twin = pickle.loads(pickle.dumps(whole)).copy()
    whole.reset()
    assert twin.get_cumulative() == expected
    assert whole.get_cumulative() == make().get_cumulative()


def test_the_later_gauge_wins_whatever_the_order() -> None:
    early, late = GaugeCell(), GaugeCell()
    early.update(1)
    late.update(2)
    early.timestamp, late.timestamp = 10.0, 20.0
    for first, second in ((early, late), (late, early)):
        cell = GaugeCell()
        cell.merge(first)
        cell.merge(second)
        assert cell.result() == GaugeResult(late.get_cumulative())


def test_an_empty_distribution_has_no_mean() -> None:
    result = DistributionResult(DistributionData())
    assert (result.count, result.sum, result.min, result.max, result.mean) == (0, 0, None, None, None)


def test_trie_keeps_paths_up_to_its_bound() -> None:
    trie = BoundedTrieData([("a", "b"), ("a", "c"), ("d",)], bound=3)
    assert trie.as_set() == {("a", "b", False), ("a", "c", False), ("d", False)}
    assert trie.contains(("a", "b")) and not trie.contains(("a", "x"))


def test_trie_cuts_the_largest_group_past_its_bound() -> None:
    trie = BoundedTrieData(bound=5)
    for number in range(10):
        trie.add(("folder", "sub", f"file{number}"))
    trie.add(("other", "x"))
    assert trie.as_set() == {("folder", "sub", True), ("other", "x", False)}
    assert trie.contains(("folder", "sub", "file99"))


paths = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple), max_size=30)


@settings(max_examples=60, deadline=None)
@given(paths, paths, st.integers(1, 8))
def test_trie_merge_keeps_its_promises(first: list, second: list, bound: int) -> None:
    one, two = BoundedTrieData(first, bound), BoundedTrieData(second, bound)
    one.merge(two)
    assert one.size == len(one.as_set()) <= bound
    for path in first + second:
        assert one.contains(path)


def test_histogram_counts_and_percentiles() -> None:
    cell = _histogram()
    for value in range(100):
        cell.update(value)
    data = cell.get_cumulative()
    assert data.total_count() == 100
    assert (data.p50(), data.p90(), data.p99()) == (50, 90, 99)
    cell.update(-1)
    cell.update(1000)
    data = cell.get_cumulative()
    assert (data.below, data.above, data.total_count()) == (1, 1, 102)
    assert data.percentile(0.5) == -math.inf
    assert data.percentile(100) == math.inf


def test_histograms_join_only_with_equal_buckets() -> None:
    one, two = HistogramData(LinearBucket(0, 1, 5)), HistogramData(LinearBucket(0, 1, 5))
    one.record(1)
    two.record(1.5)
    one.merge(two)
    assert one.buckets == {1: 2}
    with pytest.raises(ValueError, match="Cannot join"):
        one.merge(HistogramData(LinearBucket(0, 2, 5)))
    with pytest.raises(ValueError, match="no percentiles"):
        HistogramData(LinearBucket(0, 1, 5)).p50()
