"""The combine functions of transforms.combiners: the same answer however the input is cut into accumulators."""

from __future__ import annotations

import math
import pickle
import random
from collections import Counter
from fractions import Fraction

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.transforms import combiners
from hornbeam.transforms.core import CombineFn


def combined(fn, parts, batched=False):
    """Each part into an accumulator of its own (pickled, as if sent between workers), then merged."""
    fn = cloudpickle.loads(cloudpickle.dumps(fn))
    fn.setup()
    accumulators = []
    for part in parts:
        accumulator = fn.create_accumulator()
        if batched:
            accumulator = fn.add_inputs(accumulator, iter(part))
        else:
            for element in part:
                accumulator = fn.add_input(accumulator, element)
        accumulators.append(pickle.loads(pickle.dumps(fn.compact(accumulator))))
    result = fn.extract_output(fn.merge_accumulators(iter(accumulators)))
    fn.teardown()
    return result


INTS = st.lists(st.lists(st.integers(-50, 50), max_size=40), max_size=5)

EXACT = [
    (combiners.CountCombineFn(), len),
    (combiners.ToSetCombineFn(), set),
    (combiners.TopCombineFn(3), lambda xs: sorted(xs, reverse=True)[:3]),
    (combiners.TopCombineFn(0), lambda xs: []),
    (combiners.TopCombineFn(3, reverse=True), lambda xs: sorted(xs)[:3]),
    (combiners.TopCombineFn(30), lambda xs: sorted(xs, reverse=True)[:30]),
    (combiners.SingleInputTupleCombineFn(combiners.CountCombineFn(), sum), lambda xs: (len(xs), sum(xs))),
]


@pytest.mark.parametrize("fn, plain", EXACT, ids=lambda v: type(v).__name__)
@given(parts=INTS, batched=st.booleans())
@settings(max_examples=30, deadline=None)
def test_agrees_with_plain_python(fn, plain, parts, batched):
    everything = [element for part in parts for element in part]
    assert combined(fn, parts, batched) == plain(everything)


@given(parts=INTS, batched=st.booleans())
@settings(max_examples=30, deadline=None)
def test_list_and_mean(parts, batched):
    everything = [element for part in parts for element in part]
    assert Counter(combined(combiners.ToListCombineFn(), parts, batched)) == Counter(everything)
    mean = combined(combiners.MeanCombineFn(), parts, batched)
    assert math.isnan(mean) if not everything else mean == sum(everything) / len(everything)


def test_top_by_key_keeps_the_elements():
    words = ["fig", "apple", "kiwi", "banana"]
    assert combined(combiners.TopCombineFn(2, key=len), [words]) == ["banana", "apple"]
    assert combined(combiners.TopCombineFn(2, key=len, reverse=True), [words]) == ["fig", "kiwi"]


def test_top_takes_elements_that_compare_only_by_key():
    rows = [{"n": n} for n in range(100)]
    assert combined(combiners.TopCombineFn(2, key=lambda row: row["n"]), [rows[:50], rows[50:]]) == [
        {"n": 99},
        {"n": 98},
    ]


def test_top_accumulator_stays_small():
    fn = combiners.TopCombineFn(5)
    accumulator = fn.create_accumulator()
    for element in range(10_000):
        accumulator = fn.add_input(accumulator, element)
        assert len(accumulator) <= fn.buffer_size
    assert fn.extract_output(accumulator) == [9999, 9998, 9997, 9996, 9995]


def test_documented_accumulators():
    assert combiners.CountCombineFn().add_input(3, "x") == 4
    assert combiners.MeanCombineFn().add_inputs((1, 1), [2, 3]) == (6, 3)
    assert combiners.ToListCombineFn().create_accumulator() == []
    assert combiners.ToSetCombineFn().create_accumulator() == set()
    assert combiners.ToDictCombineFn().create_accumulator() == {}
    assert combiners.TopCombineFn(1).create_accumulator() == []


def test_mean_of_fractions_is_exact():
    assert combined(combiners.MeanCombineFn(), [[Fraction(1, 3)], [Fraction(2, 3)]]) == Fraction(1, 2)


def test_to_dict_keeps_one_of_several_values():
    result = combined(combiners.ToDictCombineFn(), [[("a", 1), ("b", 2)], [("a", 3)]])
    assert result in ({"a": 1, "b": 2}, {"a": 3, "b": 2})


def test_sample_is_of_the_right_size_and_without_replacement():
    fn = combiners.SampleCombineFn(10)
    sample = combined(fn, [range(100), range(100, 250)])
    assert len(sample) == len(set(sample)) == 10
    assert set(sample) <= set(range(250))
    assert sorted(combined(fn, [[1, 2], [3]])) == [1, 2, 3]


def test_sample_is_uniform():
    random.seed(7)
    counts = Counter()
    fn = combiners.SampleCombineFn(2)
    for _ in range(2000):
        # Unequal parts: an element's chance must not depend on the size of its part.
        counts.update(
            fn.extract_output(
                fn.merge_accumulators(
                    [
                        fn.add_inputs(fn.create_accumulator(), [0, 1, 2, 3, 4, 5]),
                        fn.add_inputs(fn.create_accumulator(), [6]),
                        fn.add_inputs(fn.create_accumulator(), [7, 8, 9]),
                    ]
                )
            )
        )
    # 400 expected of each, standard deviation 18.
    assert all(310 < counts[element] < 490 for element in range(10))


@pytest.mark.parametrize("make", [combiners.SampleCombineFn, combiners.TopCombineFn, combiners.AnyCombineFn])
def test_negative_sizes_are_refused(make):
    with pytest.raises(ValueError, match="-1"):
        make(-1)


def test_latest_takes_the_greatest_timestamp_and_none_of_nothing():
    fn = combiners.LatestCombineFn()
    assert combined(fn, [[("a", 5), ("b", 9)], [("c", 7)], []]) == "b"
    assert combined(fn, [[], []]) is None
    assert combined(fn, [[(None, 9)], [("old", 3)]]) is None


def test_tuple_combine_fn_takes_part_by_part():
    fn = combiners.TupleCombineFn(max, combiners.MeanCombineFn(), sum)
    assert combined(fn, [[(1, 2, 3)], [(4, 6, 5)]]) == (4, 4.0, 8)
    assert combined(fn.with_common_input(), [[1, 2], [6]]) == (6, 3.0, 9)


def test_tuple_combine_fn_passes_arguments_and_life_cycle():
    calls = []

    class Scaled(CombineFn):
        def setup(self, factor):
            calls.append(("setup", factor))

        def create_accumulator(self, factor):
            return 0

        def add_input(self, accumulator, element, factor):
            return accumulator + element * factor

        def merge_accumulators(self, accumulators, factor):
            return sum(accumulators)

        def extract_output(self, accumulator, factor):
            return accumulator

        def teardown(self, factor):
            calls.append(("teardown", factor))

    both = combiners.SingleInputTupleCombineFn(Scaled(), Scaled())
    curried = combiners.curry_combine_fn(both, (10,), {})
    curried.setup()
    accumulator = curried.add_input(curried.create_accumulator(), 3)
    assert curried.extract_output(curried.merge_accumulators([accumulator])) == (30, 30)
    curried.teardown()
    assert calls == [("setup", 10)] * 2 + [("teardown", 10)] * 2


def test_merging_more_accumulators_than_a_batch():
    fn = combiners.SingleInputTupleCombineFn(sum, max, merge_accumulators_batch_size=3)
    accumulators = (fn.add_input(fn.create_accumulator(), n) for n in range(20))
    assert fn.extract_output(fn.merge_accumulators(accumulators)) == (190, 19)


def test_curry_of_nothing_is_the_function_itself():
    fn = combiners.CountCombineFn()
    assert combiners.curry_combine_fn(fn, (), {}) is fn


def test_any_keeps_at_most_n():
    fn = combiners.AnyCombineFn(3)
    assert combined(fn, [[1], [2]]) == [1, 2]
    assert len(combined(fn, [range(10), range(10)])) == 3
    assert combined(combiners.AnyCombineFn(0), [range(10)]) == []
