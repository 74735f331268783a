"""What a pipeline's author sees of the model's values: their text, order, types and equality, as Beam's users know them."""

from __future__ import annotations

import pickle

import pytest

import hornbeam as beam
from hornbeam.io import fileio
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import assert_that, contains_in_any_order, equal_to
from hornbeam.transforms import combiners, window
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Timestamp(5), "Timestamp(5)"),
        (Timestamp(1.5), "Timestamp(1.500000)"),
        (Timestamp(-1.5), "Timestamp(-1.500000)"),
        (Timestamp(0.0000015), "Timestamp(0.000001)"),
        (Timestamp(1, 5, 9), "Timestamp(1.000000005)"),
        (MIN_TIMESTAMP, "Timestamp(-9223372036854.775000)"),
        (MAX_TIMESTAMP, "Timestamp(9223372036854.775000)"),
        (Duration(3) * 1.5, "Duration(4.500000)"),
        (Duration(1000000000), "Duration(1000000000)"),
    ],
)
def test_fractions_of_a_second_are_written_with_all_digits(value, text):
    assert repr(value) == str(value) == text


def test_offsets_of_windows_are_durations():
    assert window.FixedWindows(10, 13).offset == Duration(3)
    assert isinstance(window.FixedWindows(10, 3).offset, Duration)
    assert isinstance(window.SlidingWindows(10, 5, 2).offset, Duration)


def test_windows_print_as_half_open_intervals():
    assert str(window.IntervalWindow(0.5, 10)) == "[0.5, 10.0)"
    assert str(window.GlobalWindow()) == "GlobalWindow"


class TestRow:
    def test_iterates_over_its_values(self):
        row = beam.Row(a=1, b="x")
        assert list(row) == [1, "x"]
        number, text = row
        assert (number, text) == (1, "x")
        assert 1 in row

    def test_the_order_of_fields_counts(self):
        assert beam.Row(a=1, b=2) != beam.Row(b=2, a=1)
        assert beam.Row(a=1, b=2) == beam.Row(a=1, b=2)
        assert pickle.loads(pickle.dumps(beam.Row(a=1, b=2))) == beam.Row(a=1, b=2)

    def test_is_a_key(self):
        with TestPipeline() as p:
            pairs = p | beam.Create([(beam.Row(k="a"), 1), (beam.Row(k="b"), 2), (beam.Row(k="a"), 3)])
            assert_that(
                pairs | beam.CombinePerKey(sum), equal_to([(beam.Row(k="a"), 4), (beam.Row(k="b"), 2)])
            )


class TestTopCombineFns:
    words = ("pear", "fig", "banana", "kiwi")

    @pytest.mark.parametrize(
        ("fn", "expected"),
        [(combiners.Largest(2), ["pear", "kiwi"]), (combiners.Smallest(2), ["banana", "fig"])],
    )
    def test_in_a_combine(self, fn, expected):
        with TestPipeline() as p:
            assert_that(p | beam.Create(self.words) | beam.CombineGlobally(fn), equal_to([expected]))

    def test_labels(self):
        assert beam.CombineGlobally(combiners.Largest(2)).label == "CombineGlobally(Largest(2))"
        assert beam.CombinePerKey(combiners.Smallest(3)).label == "CombinePerKey(Smallest(3))"


class TestInAnyOrder:
    def test_equals_any_iterable_of_the_same_elements(self):
        assert contains_in_any_order([1, 2, 2]) == [2, 1, 2]
        assert contains_in_any_order(iter([1, 2])) == (2, 1)
        assert contains_in_any_order([[1], {"a": 2}]) == [{"a": 2}, [1]]
        assert contains_in_any_order([1, 2]) != [1, 2, 2]
        assert contains_in_any_order([1, 2, 2]) != [1, 2]
        assert contains_in_any_order([1]) != 1

    def test_of_a_group(self):
        with TestPipeline() as p:
            groups = p | beam.Create([("a", 2), ("a", 1), ("b", 3)]) | beam.GroupByKey()
            assert_that(
                groups, equal_to([("a", contains_in_any_order([1, 2])), ("b", contains_in_any_order([3]))])
            )


def test_reified_windows_are_plain_tuples():
    with TestPipeline() as p:
        stamped = p | beam.Create([("k", 7)]) | beam.Map(lambda kv: window.TimestampedValue(kv, kv[1]))
        windowed = stamped | beam.WindowInto(window.FixedWindows(5))
        interval = window.IntervalWindow(5, 10)
        assert_that(
            windowed | beam.Reify.Window(), equal_to([(("k", 7), Timestamp(7), interval)]), "elements"
        )
        assert_that(
            windowed | beam.Reify.WindowInValue(), equal_to([("k", (7, Timestamp(7), interval))]), "values"
        )


@pytest.mark.parametrize(
    ("make", "kind"), [(beam.DoFn.StateParam, "StateSpec"), (beam.DoFn.TimerParam, "TimerSpec")]
)
def test_state_and_timer_params_take_specs_only(make, kind):
    with pytest.raises(ValueError, match=f"needs a {kind}; it got 'name' of type str"):
        make("name")


def test_files_are_named_after_a_prefix():
    naming = fileio.prefix_naming("part")
    assert naming(window.GlobalWindow(), None, 1, 3, None, None) == "part-00001-of-00003"
