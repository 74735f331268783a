"""assert_that and its matchers: what they accept, what they refuse, and how they say so."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import hornbeam as beam
from hornbeam.testing.differences import differences, shortened
from hornbeam.testing.extra_assertions import ExtraAssertionsMixin
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import (
    BeamAssertException,
    TestWindowedValue,
    assert_that,
    equal_to,
    equal_to_approx,
    equal_to_per_window,
    has_at_least_one,
    is_empty,
    is_not_empty,
    matches_all,
    open_shards,
    row_namedtuple_equals_fn,
)
from hornbeam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming


class Loose:
    """Equal to every Loose of the same value; has no hash and no order."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Loose) and self.value == other.value


NAN = float("nan")
FIRST_PANE = PaneInfo(True, True, PaneInfoTiming.ON_TIME, 0, 0)


@pytest.mark.parametrize(
    "expected, actual",
    [
        ([], []),
        ([1, 2, 2], [2, 1, 2]),
        ([None, "a", 1], [1, None, "a"]),
        ([1], [1.0]),
        ([[1, 2], [3]], [[3], [1, 2]]),
        ([{"a": [1]}, {"b": {1}}], [{"b": {1}}, {"a": [1]}]),
        ([("k", [1, {"x": 2}])], [("k", [1, {"x": 2}])]),
        ([{1}], [frozenset([1])]),
        ([Loose(1), Loose(2), 3], [3, Loose(2), Loose(1)]),
        ([Timestamp(5)], [5]),
        ([np.array([1, 2])], [np.array([1, 2])]),
        (iter([1, 2]), (2, 1)),
        ([beam.Row(a=1)], [beam.Row(a=1)]),
    ],
)
def test_equal_to_accepts(expected, actual):
    equal_to(expected)(actual)


@pytest.mark.parametrize(
    "expected, actual, missing, unexpected",
    [
        ([1], [], "[1]", None),
        ([], [1], None, "[1]"),
        ([1, 1], [1], "[1]", None),
        ([1], [1, 1], None, "[1]"),
        ([(1, "a")], [(1, "b")], "[(1, 'a')]", "[(1, 'b')]"),
        ([[1, 2]], [[2, 1]], "[[1, 2]]", "[[2, 1]]"),
        ([(1,)], [[1]], "[(1,)]", "[[1]]"),
        ([1, "a", None], [None], "[1, 'a']", None),
    ],
)
def test_equal_to_refuses(expected, actual, missing, unexpected):
    with pytest.raises(BeamAssertException) as refused:
        equal_to(expected)(actual)
    text = str(refused.value)
    for title, elements in (("missing", missing), ("unexpected", unexpected)):
        if elements is None:
            assert f"\n  {title} elements" not in text
        else:
            assert f"\n  {title} elements ({len(eval(elements))}): {elements}\n" in text


def test_the_exception_is_an_assertion_error():
    assert issubclass(BeamAssertException, AssertionError)


def test_equals_fn_decides():
    def close(expected, actual):
        return abs(expected - actual) < 0.1

    equal_to([1, 2], close)([2.05, 0.95])
    with pytest.raises(BeamAssertException):
        equal_to([1, 2], close)([2.05, 1.5])


def test_equals_fn_pairs_off_as_many_as_can_be():
    def close(expected, actual):
        return abs(expected - actual) <= 1

    # Taking the first that fits leaves 5 without a partner: 4 must be moved on to 3.
    equal_to([4, 5], close)([5, 3])
    assert differences([4, 5], [5, 3], close) == ([], [])


def test_large_lists_are_compared_in_linear_time():
    left = [(n, [n]) for n in range(50_000)]
    equal_to(left)(reversed(left))
    missing, unexpected = differences(left, [(n + 20_000, [n]) for n in range(50_000)])
    assert len(missing) == len(unexpected) == 50_000


def test_long_lists_are_shortened():
    text = shortened(range(1000))
    assert text.startswith("[0, 1, 2") and text.endswith("and 980 more]")
    assert len(shortened(["x" * 10_000])) < 400
    assert shortened([2, "a", None]) == "[None, 2, 'a']"


@pytest.mark.parametrize(
    "expected, actual",
    [
        ([0.3], [0.1 + 0.2]),
        ([("k", 0.3)], [("k", 0.1 + 0.2)]),
        ([{"k": [0.3]}], [{"k": [0.1 + 0.2]}]),
        ([NAN], [NAN]),
        ([1], [np.float64(1 + 1e-12)]),
        (["a", 1], [1, "a"]),
    ],
)
def test_equal_to_approx_accepts(expected, actual):
    equal_to_approx(expected)(actual)


@pytest.mark.parametrize(
    "expected, actual", [([0.3], [0.31]), (["a"], ["b"]), ([{"k": 1}], [{"j": 1}]), ([True], [1.5])]
)
def test_equal_to_approx_refuses(expected, actual):
    with pytest.raises(BeamAssertException):
        equal_to_approx(expected)(actual)
    equal_to_approx([1.0], rel_tol=0.1)([1.05])
    equal_to_approx([0.0], abs_tol=0.1)([0.05])


def test_empty_and_not_empty():
    is_empty()([])
    is_not_empty()([1])
    with pytest.raises(BeamAssertException, match=r"expected no elements, found 2: \[1, 2\]"):
        is_empty()([2, 1])
    with pytest.raises(BeamAssertException, match="is empty"):
        is_not_empty()([])


def test_matches_all():
    class Even:
        def matches(self, n):
            return n % 2 == 0

    matches_all([Even(), 4, 3])([3, 4, 8])
    matches_all([4, Even()])([8, 4])
    with pytest.raises(BeamAssertException, match="missing elements"):
        matches_all([Even(), 4])([4])


class Named(NamedTuple):
    a: int
    b: Any


class Other(NamedTuple):
    a: int
    c: Any


@pytest.mark.parametrize(
    "expected, actual, equal",
    [
        (beam.Row(a=1, b=2), Named(1, 2), True),
        (Named(1, 2), beam.Row(a=1, b=2), True),
        (Named(1, Named(2, 3)), beam.Row(a=1, b=beam.Row(a=2, b=3)), True),
        (Named(1, 2), Named(1, 3), False),
        (Named(1, 2), Other(1, 2), False),
        (Named(1, 2), 5, False),
        (5, 5, True),
    ],
)
def test_rows_and_named_tuples(expected, actual, equal):
    assert row_namedtuple_equals_fn(expected, actual) is equal


def test_rows_with_another_comparison_of_the_fields():
    assert row_namedtuple_equals_fn(
        Named(1, "X"), beam.Row(a=1, b="x"), lambda a, b: str(a).lower() == str(b).lower()
    )


class TestWindowedValues:
    window = IntervalWindow(0, 10)

    def test_equality(self):
        value = TestWindowedValue("a", 5, [self.window], FIRST_PANE)
        assert value == TestWindowedValue("a", Timestamp(5), (self.window,))
        assert value == TestWindowedValue("a", 5, [self.window], FIRST_PANE)
        assert value != TestWindowedValue("a", 5, [self.window], PaneInfo(False, True, 1, 1, 1))
        assert value != TestWindowedValue("a", 6, [self.window])
        assert value != TestWindowedValue("b", 5, [self.window])
        assert value != TestWindowedValue("a", 5, [GlobalWindow()])
        assert value != ("a", 5, [self.window], FIRST_PANE)

    def test_in_matchers(self):
        equal_to([TestWindowedValue([1], 5, [self.window])])(
            [TestWindowedValue([1], 5, [self.window], FIRST_PANE)]
        )


class TestAssertThat:
    @pytest.mark.parametrize("elements", [[], [1], [1, "a", None, [2]]])
    def test_passes(self, elements):
        with TestPipeline() as p:
            assert_that(p | beam.Create(elements), equal_to(elements))

    @pytest.mark.parametrize("elements, expected", [([], [1]), ([1], []), ([1, 2], [1, 3])])
    def test_fails(self, elements, expected):
        with pytest.raises(BeamAssertException, match="Failed assert"), TestPipeline() as p:
            assert_that(p | beam.Create(elements), equal_to(expected))

    def test_custom_matcher_gets_a_list(self):
        def matcher(actual):
            assert type(actual) is list and len(actual) == 2

        with TestPipeline() as p:
            assert_that(p | beam.Create([1, 2]), matcher)

    def test_labels_are_made_unique(self):
        with TestPipeline() as p:
            numbers = p | beam.Create([1])
            assert_that(numbers, equal_to([1]))
            assert_that(numbers, is_not_empty())
            assert_that(numbers, is_not_empty(), label="mine")
            assert_that(numbers, is_not_empty(), label="mine")
            assert {"assert_that", "assert_that_2", "mine", "mine_2"} <= p.applied_labels

    def test_only_pcollections(self):
        with pytest.raises(BeamAssertException, match="needs a PCollection, found list"):
            assert_that([1], equal_to([1]))

    def test_reified_windows(self):
        with TestPipeline() as p:
            stamped = p | beam.Create([1, 12]) | beam.Map(lambda n: TimestampedValue(n, n))
            windowed = stamped | beam.WindowInto(FixedWindows(10))
            expected = [
                TestWindowedValue(1, 1, [IntervalWindow(0, 10)]),
                TestWindowedValue(12, 12, [IntervalWindow(10, 20)]),
            ]
            assert_that(windowed, equal_to(expected), reify_windows=True)

    def test_each_window_by_itself(self):
        def matcher(actual):
            elements, window = actual
            assert {n // 10 * 10 for n in elements} == {window.start}

        with TestPipeline() as p:
            stamped = p | beam.Create([1, 2, 12]) | beam.Map(lambda n: TimestampedValue(n, n))
            windowed = stamped | beam.WindowInto(FixedWindows(10))
            assert_that(windowed, matcher, use_global_window=False)

    def per_window(self, expected, elements=(1, 2, 12)):
        with TestPipeline() as p:
            stamped = p | beam.Create(elements) | beam.Map(lambda n: TimestampedValue(n, n))
            windowed = stamped | beam.WindowInto(FixedWindows(10))
            assert_that(windowed, equal_to_per_window(expected), use_global_window=False)

    def test_per_window(self):
        first, second = IntervalWindow(0, 10), IntervalWindow(10, 20)
        self.per_window({first: [2, 1], second: [12]})
        self.per_window({first: [2, TestWindowedValue(1, 1, [first])][1:], second: [12]}, elements=(1, 12))

    @pytest.mark.parametrize(
        "expected, message",
        [
            ({(0, 10): [1, 2]}, "is not among the expected"),
            ({(0, 10): [1], (10, 20): [12]}, "unexpected elements"),
            ({(0, 10): [1, 2], (10, 20): [12], (20, 30): [5]}, "missing elements"),
        ],
    )
    def test_per_window_refuses(self, expected, message):
        with pytest.raises(BeamAssertException, match=message):
            self.per_window({IntervalWindow(*bounds): elements for bounds, elements in expected.items()})

    def test_has_at_least_one(self):
        with TestPipeline() as p:
            numbers = p | beam.Create([1, 2])
            has_at_least_one(numbers, lambda n: n == 2)
            has_at_least_one(numbers, lambda n: n == 1)
        with pytest.raises(BeamAssertException, match="no element fulfils"), TestPipeline() as p:
            has_at_least_one(p | beam.Create([1, 2]), lambda n: n == 3)


def test_open_shards(tmp_path):
    (tmp_path / "out-00001").write_text("zwei\n")
    (tmp_path / "out-00000").write_text("öins\n")
    with open_shards(str(tmp_path / "out-*")) as lines:
        assert list(lines) == ["öins\n", "zwei\n"]
    assert open_shards(str(tmp_path / "out-*"), "rb").read() == "öins\nzwei\n".encode()
    with pytest.raises(ValueError, match="only reads"):
        open_shards("x", "w")


def test_extra_assertions():
    mixin = ExtraAssertionsMixin()
    mixin.assertUnhashableCountEqual([[1], {"a": 2}], [{"a": 2}, [1]])
    with pytest.raises(AssertionError, match=r"only in the first: \[\[1\]\]"):
        mixin.assertUnhashableCountEqual([[1]], [])
