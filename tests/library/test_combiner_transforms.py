"""The combiners as transforms: their results in pipelines, on empty input, and in windows."""

from __future__ import annotations

import math

import pytest

import hornbeam as beam
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import (
    BeamAssertException,
    assert_that,
    equal_to,
    equal_to_per_window,
    is_empty,
    matches_all,
)
from hornbeam.transforms import combiners
from hornbeam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue

pytestmark = pytest.mark.usefixtures("bundling")

PAIRS = [("a", 1), ("a", 3), ("b", 10), ("a", 2)]


def run(elements, transform, matcher):
    with TestPipeline() as p:
        assert_that(p | beam.Create(elements) | transform, matcher)


@pytest.mark.parametrize(
    "transform, expected",
    [
        (combiners.Count.Globally(), [4]),
        (combiners.Count.PerKey(), [("a", 3), ("b", 1)]),
        (combiners.Mean.PerKey(), [("a", 2.0), ("b", 10.0)]),
        (combiners.Top.PerKey(2), [("a", [3, 2]), ("b", [10])]),
        (combiners.Top.PerKey(1, reverse=True), [("a", [1]), ("b", [10])]),
        (combiners.Top.LargestPerKey(1), [("a", [3]), ("b", [10])]),
        (combiners.Top.SmallestPerKey(2), [("a", [1, 2]), ("b", [10])]),
        (combiners.Top.SmallestPerKey(1, key=lambda n: -n), [("a", [3]), ("b", [10])]),
        (beam.ApproximateUnique.PerKey(size=16), [("a", 3), ("b", 1)]),
        (beam.ApproximateQuantiles.PerKey(3), [("a", [1, 2, 3]), ("b", [10, 10, 10])]),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_of_pairs(transform, expected):
    run(PAIRS, transform, equal_to(expected))


@pytest.mark.parametrize(
    "transform, expected",
    [
        (combiners.Mean.Globally(), [3.0]),
        (combiners.Count.PerElement(), [(1, 1), (2, 2), (3, 1), (7, 1)]),
        (combiners.Top.Of(2), [[7, 3]]),
        (combiners.Top.Of(2, key=lambda n: n % 3), [[2, 2]]),
        (combiners.Top.Of(2, reverse=True), [[1, 2]]),
        (combiners.Top.Largest(2), [[7, 3]]),
        (combiners.Top.Largest(1, key=lambda n: -n), [[1]]),
        (combiners.Top.Smallest(3), [[1, 2, 2]]),
        (combiners.ToSet(), [{1, 2, 3, 7}]),
        (beam.ApproximateUnique.Globally(error=0.1), [4]),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_of_elements(transform, expected):
    run([2, 1, 2, 3, 7], transform, equal_to(expected))


def test_to_list_and_to_dict():
    run([3, 1, 2], combiners.ToList() | beam.Map(sorted), equal_to([[1, 2, 3]]))
    run([("a", 1), ("b", 2)], combiners.ToDict(), equal_to([{"a": 1, "b": 2}]))


EMPTY_VALUES = [
    (combiners.Count.Globally, 0),
    (combiners.ToList, []),
    (combiners.ToSet, set()),
    (combiners.ToDict, {}),
    (lambda: combiners.Top.Of(3), []),
    (lambda: combiners.Sample.FixedSizeGlobally(3), []),
    (combiners.Latest.Globally, None),
]


@pytest.mark.parametrize("make, value", EMPTY_VALUES)
def test_empty_input_gives_the_default(make, value):
    run([], make(), equal_to([value]))


@pytest.mark.parametrize("make, value", EMPTY_VALUES)
def test_empty_input_without_defaults_gives_nothing(make, value):
    run([], make().without_defaults(), is_empty())


def test_mean_of_nothing_is_nan():
    run([], combiners.Mean.Globally() | beam.Map(math.isnan), equal_to([True]))


def test_without_defaults_leaves_the_original_as_it_was():
    counting = combiners.Count.Globally()
    assert counting.without_defaults().has_defaults is False
    assert counting.has_defaults is True
    assert counting.without_defaults().with_defaults().has_defaults is True
    assert combiners.ToList(has_defaults=False).has_defaults is False


STAMPED = [TimestampedValue(n, n) for n in (1, 2, 11, 12, 13)]
FIRST, SECOND = IntervalWindow(0, 10), IntervalWindow(10, 20)


@pytest.mark.parametrize(
    "transform, expected",
    [
        (combiners.Count.Globally().without_defaults(), {FIRST: [2], SECOND: [3]}),
        (combiners.Mean.Globally(has_defaults=False), {FIRST: [1.5], SECOND: [12.0]}),
        (combiners.Top.Largest(1, has_defaults=False), {FIRST: [[2]], SECOND: [[13]]}),
        (combiners.Latest.Globally().without_defaults(), {FIRST: [2], SECOND: [13]}),
        (combiners.Sample.Any(5), {FIRST: [1, 2], SECOND: [11, 12, 13]}),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_in_windows(transform, expected):
    with TestPipeline() as p:
        stamped = p | beam.Create(STAMPED) | beam.Map(lambda value: value) | beam.WindowInto(FixedWindows(10))
        assert_that(stamped | transform, equal_to_per_window(expected))


def test_defaults_in_windows_are_refused():
    p = TestPipeline()
    windowed = p | beam.Create([1]) | beam.WindowInto(FixedWindows(10))
    with pytest.raises(ValueError, match="without_defaults"):
        windowed | combiners.Count.Globally()


def test_samples():
    def of_five(samples):
        (sample,) = samples
        assert len(sample) == len(set(sample)) == 5 and set(sample) <= set(range(20))

    run(range(20), combiners.Sample.FixedSizeGlobally(5), of_five)
    run([("k", n) for n in range(20)], combiners.Sample.FixedSizePerKey(5) | beam.Values(), of_five)
    run(range(3), combiners.Sample.Any(5), equal_to([0, 1, 2]))
    run(range(10), combiners.Sample.Any(0), is_empty())
    run([], combiners.Sample.Any(3), is_empty())


def test_latest_per_key():
    stamp = beam.Map(lambda pair: TimestampedValue(pair, -pair[1]))
    run(PAIRS, stamp | combiners.Latest.PerKey(), equal_to([("a", 1), ("b", 10)]))


def test_combining_with_tuples():
    both = combiners.SingleInputTupleCombineFn(combiners.MeanCombineFn(), combiners.CountCombineFn())
    run(PAIRS, beam.CombinePerKey(both), equal_to([("a", (2.0, 3)), ("b", (10.0, 1))]))


def test_labels_and_display_data():
    assert combiners.Top.Of(3).label == "Top(3)"
    assert combiners.Top.Of(3, key=len).display_data()["n"].value == 3
    assert combiners.Sample.FixedSizeGlobally(4).label == "FixedSizeGlobally(4)"
    assert combiners.Sample.FixedSizePerKey(4).display_data()["n"].value == 4


def test_a_wrong_result_is_noticed():
    with pytest.raises(BeamAssertException, match="missing elements"):
        run([1], combiners.Count.Globally(), matches_all([2]))
