"""CombineFn and the transforms that combine."""

from __future__ import annotations

import random
from typing import Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hornbeam as beam
from hornbeam.pvalue import AsIter, AsSingleton
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.combine import CombinePayload
from hornbeam.transforms.sideinputs import SideInputRef
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from hornbeam.transforms.window import FixedWindows, Sessions, SlidingWindows


class MeanFn(beam.CombineFn):
    def create_accumulator(self):
        return (0, 0)

    def add_input(self, accumulator, element):
        return accumulator[0] + element, accumulator[1] + 1

    def merge_accumulators(self, accumulators):
        sums, counts = zip(*accumulators)
        return sum(sums), sum(counts)

    def extract_output(self, accumulator):
        return accumulator[0] / accumulator[1] if accumulator[1] else None


class ScaledSum(beam.CombineFn):
    """A CombineFn with an argument, that must be set up."""

    def setup(self, scale=None):
        self.ready = True

    def create_accumulator(self, scale):
        assert self.ready
        return 0

    def add_input(self, accumulator, element, scale):
        return accumulator + element * scale

    def merge_accumulators(self, accumulators, scale):
        return sum(accumulators)

    def extract_output(self, accumulator, scale):
        return accumulator


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers())), st.sampled_from([sum, min, max, any, all, len]))
def test_a_wrapped_function_gives_its_result_however_it_is_split(parts: list[list[int]], fn: Any):
    combine_fn = beam.CombineFn.maybe_from_callable(fn)
    everything = [value for part in parts for value in part]
    accumulators = []
    for part in parts:
        accumulator = combine_fn.create_accumulator()
        if random.random() < 0.5:
            accumulator = combine_fn.add_inputs(accumulator, part)
        else:
            for value in part:
                accumulator = combine_fn.add_input(accumulator, value)
        accumulators.append(combine_fn.compact(accumulator))
    merged = combine_fn.merge_accumulators(accumulators)
    if everything or fn not in (min, max):
        assert combine_fn.extract_output(merged) == fn(everything)
        assert combine_fn.apply(everything) == fn(everything)


def test_what_makes_a_combine_fn():
    assert isinstance(beam.CombineFn.maybe_from_callable(sum), beam.CombineFn)
    mean = MeanFn()
    assert beam.CombineFn.maybe_from_callable(mean) is mean
    with pytest.raises(TypeError, match=r"Use MeanFn\(\), not MeanFn"):
        beam.CombineFn.maybe_from_callable(MeanFn)
    with pytest.raises(TypeError, match="Expected a CombineFn or a callable; got 3"):
        beam.CombinePerKey(3)
    with pytest.raises(ValueError, match="needs an instance"):
        beam.CombinePerKey(MeanFn)


def test_globally_and_per_key():
    assert [1, 2, 3] | beam.CombineGlobally(MeanFn()) == [2.0]
    assert sorted([("a", 1), ("b", 2), ("a", 3)] | beam.CombinePerKey(MeanFn())) == [("a", 2.0), ("b", 2.0)]
    assert [("a", [1, 2])] | beam.CombineValues(sum) == [("a", 3)]


def test_the_default_of_an_empty_input():
    assert [] | beam.CombineGlobally(sum) == [0]
    assert [] | beam.CombineGlobally(MeanFn()) == [None]
    assert [] | beam.CombineGlobally(sum).without_defaults() == []
    assert [] | beam.CombineGlobally(ScaledSum(), 2) == [0]


def test_a_singleton_view_has_the_default_for_empty_windows():
    with beam.Pipeline() as p:
        numbers = (
            p | beam.Create([1, 11]) | beam.WithTimestamps(lambda x: x) | beam.WindowInto(FixedWindows(10))
        )
        total = numbers | beam.Filter(lambda x: x < 10) | beam.CombineGlobally(sum).as_singleton_view()
        assert isinstance(total, AsSingleton)
        result = numbers | "Pair" >> beam.Map(lambda x, total: (x, total), total)
        assert_that(result, equal_to([(1, 1), (11, 0)]))


def test_defaults_need_the_global_window():
    windowed = beam.Pipeline() | beam.Create([1]) | beam.WindowInto(FixedWindows(10))
    with pytest.raises(ValueError, match=r"without_defaults\(\).*as_singleton_view\(\)"):
        windowed | beam.CombineGlobally(sum)
    windowed | "Without" >> beam.CombineGlobally(sum).without_defaults()


def test_further_arguments_and_side_inputs():
    with beam.Pipeline() as p:
        scale = p | "Scale" >> beam.Create([10])
        numbers = p | beam.Create([1, 2])
        fixed = numbers | "Fixed" >> beam.CombineGlobally(ScaledSum(), 3)
        given_ = numbers | "Side" >> beam.CombineGlobally(ScaledSum(), AsSingleton(scale))
        keyed = numbers | beam.WithKeys("k") | beam.CombinePerKey(ScaledSum(), scale=AsSingleton(scale))
        empty = (
            p | "None" >> beam.Create([]) | "Empty" >> beam.CombineGlobally(ScaledSum(), AsSingleton(scale))
        )
        assert_that(fixed, equal_to([9]), "1")
        assert_that(given_, equal_to([30]), "2")
        assert_that(keyed, equal_to([("k", 30)]), "3")
        assert_that(empty, equal_to([0]), "4")


def test_side_inputs_hang_on_the_composite_and_on_the_step():
    p = beam.Pipeline()
    pairs = p | beam.Create([("a", 1)])
    pairs | beam.CombinePerKey(ScaledSum(), AsIter(p | "S" >> beam.Create([1])))
    steps = {t.label: t for t in p.to_graph().transforms.values()}
    for label in ("CombinePerKey(ScaledSum)", "CombinePerKey(ScaledSum)/Combine"):
        assert list(steps[label].side_inputs) == ["side0"]
        assert list(steps[label].inputs) == ["in", "side0"]
        payload = cloudpickle.loads(steps[label].payload)
        assert isinstance(payload, CombinePayload)
        assert payload.args == (SideInputRef("side0"),)
    assert list(steps["CombinePerKey(ScaledSum)/GroupByKey"].inputs) == ["in"]


@pytest.mark.parametrize("fanout", [3, lambda key: 3 if key == "hot" else 1])
@pytest.mark.parametrize("combine_fn", [sum, MeanFn()])
def test_a_hot_key_fanout_changes_no_result(fanout, combine_fn):
    pairs = [("hot", n) for n in range(20)] + [("cold", 5)]
    plain = pairs | beam.CombinePerKey(combine_fn)
    assert sorted(pairs | beam.CombinePerKey(combine_fn).with_hot_key_fanout(fanout)) == sorted(plain)


@pytest.mark.parametrize("windowfn", [FixedWindows(5), SlidingWindows(10, 5), Sessions(3)])
def test_a_fanout_keeps_windows(windowfn):
    events = [("k", t) for t in (0, 1, 2, 9, 10, 30)]
    steps = beam.WithTimestamps(lambda kv: kv[1]) | beam.WindowInto(windowfn)
    plain = events | (steps | beam.CombinePerKey(sum))
    assert sorted(events | (steps | beam.CombinePerKey(sum).with_hot_key_fanout(4))) == sorted(plain)


def test_a_fanout_with_a_trigger_over_merging_windows_is_refused():
    windowed = (
        beam.Pipeline()
        | beam.Create([("k", 1)])
        | beam.WindowInto(
            Sessions(3), trigger=Repeatedly(AfterCount(1)), accumulation_mode=AccumulationMode.ACCUMULATING
        )
    )
    with pytest.raises(ValueError, match="overlap or merge"):
        windowed | beam.CombinePerKey(sum).with_hot_key_fanout(2)


def test_a_fanout_must_be_a_number_or_function():
    with pytest.raises(TypeError, match="fanout must be an int or a function"):
        beam.CombinePerKey(sum).with_hot_key_fanout("3")
    step = beam.CombinePerKey(sum)
    assert step.with_hot_key_fanout(None) is step


def test_globally_with_fanout():
    assert list(range(10)) | beam.CombineGlobally(sum).with_fanout(3) == [45]


def test_types_of_results():
    p = beam.Pipeline()
    pairs = p | beam.Create([("a", 1)])
    assert str((pairs | beam.CombinePerKey(sum)).element_type) == "Tuple[str, int]"
    assert str((pairs | beam.CombinePerKey(len)).element_type) == "Tuple[str, int]"
    assert (p | "N" >> beam.Create([1.5]) | beam.CombineGlobally(max)).element_type is float

    def joined(words: list[str]) -> str:
        return "".join(words)

    texts = p | "T" >> beam.Create([("a", "b")])
    assert str((texts | "J" >> beam.CombinePerKey(joined)).element_type) == "Tuple[str, str]"
    with pytest.raises(TypeError, match=r"expected Tuple\[str, str\].*found Tuple\[str, int\]"):
        pairs | "Bad" >> beam.CombinePerKey(joined)


def test_functions_that_take_no_iterable_are_refused():
    def wrong(x: int) -> int:
        return x

    with pytest.raises(TypeError, match="takes an iterable of values; wrong takes int"):
        beam.Pipeline() | beam.Create([("a", 1)]) | beam.CombinePerKey(wrong)


def test_combining_what_are_no_pairs_is_refused():
    with pytest.raises(
        TypeError, match=r"CombinePerKey at 'CombinePerKey\(sum\)' needs \(key, value\) pairs"
    ):
        beam.Pipeline() | beam.Create([1]) | beam.CombinePerKey(sum)


def test_missing_methods_are_named():
    class Half(beam.CombineFn):
        def create_accumulator(self):
            return 0

    with pytest.raises(NotImplementedError, match="Half must define add_input"):
        Half().apply([1])
