"""Cases: combines, globally, per key and of values; defaults, fanouts; CombineFns of every shape; in windows."""

from __future__ import annotations

from model.table import BEGINNING, END, GLOBAL, At, case, in_time

import hornbeam as beam
from hornbeam.transforms.window import FixedWindows, SlidingWindows

# Functions


@case([6])
def combine_globally_with_sum(p):
    return p | beam.Create([1, 2, 3]) | beam.CombineGlobally(sum)


@case([("a", 4), ("b", 2)])
def combine_per_key_with_sum(p):
    return p | beam.Create([("a", 1), ("b", 2), ("a", 3)]) | beam.CombinePerKey(sum)


@case([("a", 4), ("b", 2)])
def combine_values(p):
    pairs = p | beam.Create([("a", 1), ("b", 2), ("a", 3)])
    return pairs | beam.GroupByKey() | beam.CombineValues(sum)


@case([("a", (1, 3, True, False))])
def builtin_functions_combine(p):
    pairs = p | beam.Create([("a", 1), ("a", 3)])
    parts = [
        pairs
        | f"{fn.__name__}" >> beam.CombinePerKey(fn)
        | f"{i}" >> beam.Map(lambda kv, i=i: (kv[0], (i, kv[1])))
        for i, fn in enumerate((min, max, any))
    ]
    none = pairs | "not" >> beam.CombinePerKey(lambda vs: all(v > 2 for v in vs))
    parts.append(none | "3" >> beam.Map(lambda kv: (kv[0], (3, kv[1]))))
    return (
        parts
        | beam.Flatten()
        | beam.GroupByKey()
        | beam.MapTuple(lambda k, vs: (k, tuple(v for _, v in sorted(vs))))
    )


@case([2.5])
def sums_of_floats_and_integers(p):
    return p | beam.Create([1, 1.5]) | beam.CombineGlobally(sum)


@case([("a", 3.0)])
def sum_of_a_key_keeps_the_type_that_sum_gives(p):
    return p | beam.Create([("a", 1.0), ("a", 2.0)]) | beam.CombinePerKey(sum)


@case([(1, 1), (1.0, 2), (True, 4)])
def combining_tells_key_types_apart(p):
    return p | beam.Create([(1, 1), (1.0, 2), (True, 4)]) | beam.CombinePerKey(sum)


@case([(("a", 1.5), 2), (("a", 1), 1), (("a", True), 1), (("b", (1, [2])), 1)])
def counting_pairs_that_stand_in_tables_by_their_encoded_form(p):
    pairs = [("a", 1.5), ("a", 1), ("a", 1.5), ("a", True), ("b", (1, [2]))]
    return p | beam.Create(pairs) | beam.combiners.Count.PerElement()


@case([("k", 1000 * 999 // 2)])
def a_function_over_an_iterable_may_be_called_for_parts(p):
    return p | beam.Create([("k", i) for i in range(1000)]) | beam.CombinePerKey(lambda values: sum(values))


@case([("a", 13), ("b", 12)])
def a_function_with_a_further_argument(p):
    def most(values, least):
        return max([*values, least])

    return p | beam.Create([("a", 13), ("b", 1)]) | beam.CombinePerKey(most, 12)


# Defaults


@case([At(0, END, GLOBAL)])
def combine_globally_of_nothing_gives_the_default(p):
    return (
        p
        | beam.Create([])
        | beam.CombineGlobally(sum)
        | "end"
        >> beam.Map(lambda x: beam.window.TimestampedValue(x, beam.window.GlobalWindow().max_timestamp()))
    )


@case([])
def combine_globally_of_nothing_without_defaults(p):
    return p | beam.Create([]) | beam.CombineGlobally(sum).without_defaults()


@case([])
def combine_per_key_of_nothing(p):
    return p | beam.Create([]) | beam.CombinePerKey(sum)


@case([0])
def counting_nothing_gives_zero(p):
    return p | beam.Create([]) | beam.combiners.Count.Globally()


@case([[]])
def a_list_of_nothing_is_empty(p):
    return p | beam.Create([]) | beam.combiners.ToList()


@case([6, 0])
def a_default_beside_a_result(p):
    full = p | "full" >> beam.Create([1, 2, 3]) | "sum full" >> beam.CombineGlobally(sum)
    empty = p | "empty" >> beam.Create([]) | "sum empty" >> beam.CombineGlobally(sum)
    return (full, empty) | beam.Flatten()


# Fanout


@case([4950])
def combine_globally_with_fanout(p):
    return p | beam.Create(list(range(100))) | beam.CombineGlobally(sum).with_fanout(7)


@case([0])
def combine_globally_of_nothing_with_fanout(p):
    return p | beam.Create([]) | beam.CombineGlobally(sum).with_fanout(7)


@case([("hot", 4950), ("cold", 1)])
def combine_per_key_with_hot_key_fanout(p):
    pairs = [("hot", i) for i in range(100)] + [("cold", 1)]
    return (
        p | beam.Create(pairs) | beam.CombinePerKey(sum).with_hot_key_fanout(lambda k: 5 if k == "hot" else 1)
    )


@case([("hot", 49.5), ("cold", 1.0)])
def a_mean_with_hot_key_fanout(p):
    pairs = [("hot", i) for i in range(100)] + [("cold", 1)]
    mean = beam.combiners.MeanCombineFn()
    return p | beam.Create(pairs) | beam.CombinePerKey(mean).with_hot_key_fanout(3)


@case([At(("k", 3), 9.999999, (0, 10)), At(("k", 4), 19.999999, (10, 20))])
def hot_key_fanout_in_windows(p):
    return (
        in_time(p, (("k", 1), 1), (("k", 2), 2), (("k", 4), 12))
        | beam.WindowInto(FixedWindows(10))
        | beam.CombinePerKey(sum).with_hot_key_fanout(2)
    )


# CombineFns


class Mean(beam.CombineFn):
    def create_accumulator(self):
        return 0, 0

    def add_input(self, accumulator, value):
        total, count = accumulator
        return total + value, count + 1

    def merge_accumulators(self, accumulators):
        totals, counts = zip(*accumulators)
        return sum(totals), sum(counts)

    def extract_output(self, accumulator):
        total, count = accumulator
        return total / count if count else None


@case([("a", 2.0), ("b", 5.0)])
def a_combine_fn_per_key(p):
    return p | beam.Create([("a", 1), ("a", 3), ("b", 5)]) | beam.CombinePerKey(Mean())


@case([2.0])
def a_combine_fn_globally(p):
    return p | beam.Create([1, 2, 3]) | beam.CombineGlobally(Mean())


@case([None])
def a_combine_fn_of_nothing(p):
    return p | beam.Create([]) | beam.CombineGlobally(Mean())


@case([("a", 2.0)])
def a_combine_fn_of_grouped_values(p):
    return p | beam.Create([("a", 1), ("a", 3)]) | beam.GroupByKey() | beam.CombineValues(Mean())


class Mutates(beam.CombineFn):
    """Accumulators that are changed in place."""

    def create_accumulator(self):
        return []

    def add_input(self, accumulator, value):
        accumulator.append(value)
        return accumulator

    def merge_accumulators(self, accumulators):
        first, *others = accumulators
        for other in others:
            first.extend(other)
        return first

    def extract_output(self, accumulator):
        return sorted(accumulator)


@case([("a", [1, 1, 3]), ("b", [2])])
def accumulators_may_be_changed_in_place(p):
    return p | beam.Create([("a", 1), ("b", 2), ("a", 3), ("a", 1)]) | beam.CombinePerKey(Mutates())


@case([At(("k", [1]), window=(-5, 5)), At(("k", [1, 2]), window=(0, 10)), At(("k", [2]), window=(5, 15))])
def accumulators_changed_in_place_are_not_shared_by_windows(p):
    return (
        in_time(p, (("k", 1), 1), (("k", 2), 6))
        | beam.WindowInto(SlidingWindows(10, 5))
        | beam.CombinePerKey(Mutates())
    )


@case([At(("k", [1]), window=(-5, 5)), At(("k", [1, 2]), window=(0, 10)), At(("k", [2]), window=(5, 15))])
def accumulators_changed_in_place_are_not_shared_by_windows_whatever_comes_first(p):
    return (
        in_time(p, (("k", 2), 6), (("k", 1), 1))
        | beam.WindowInto(SlidingWindows(10, 5))
        | beam.CombinePerKey(Mutates())
    )


class Compacts(Mutates):
    """What compact gives is an accumulator like any other, but shorter."""

    def compact(self, accumulator):
        return [sum(accumulator)]

    def extract_output(self, accumulator):
        assert isinstance(accumulator, list)
        return sum(accumulator)


@case([("k", 4950)])
def a_combine_fn_with_compact(p):
    return p | beam.Create([("k", i) for i in range(100)]) | beam.CombinePerKey(Compacts())


class NeedsSetup(beam.CombineFn):
    """Works only between setup and teardown."""

    def setup(self, *args, **kwargs):
        self.ready = True

    def teardown(self, *args, **kwargs):
        self.ready = False

    def create_accumulator(self, factor=1):
        assert self.ready
        return 0

    def add_input(self, accumulator, value, factor=1):
        assert self.ready
        return accumulator + value * factor

    def merge_accumulators(self, accumulators, factor=1):
        assert self.ready
        return sum(accumulators)

    def extract_output(self, accumulator, factor=1):
        assert self.ready
        return accumulator


@case([("a", 4), ("b", 2)])
def a_combine_fn_is_set_up_before_use(p):
    return p | beam.Create([("a", 1), ("b", 2), ("a", 3)]) | beam.CombinePerKey(NeedsSetup())


@case([("a", 40)])
def a_combine_fn_with_an_argument(p):
    return p | beam.Create([("a", 1), ("a", 3)]) | beam.CombinePerKey(NeedsSetup(), 10)


@case([("a", 40)])
def a_combine_fn_with_a_keyword_argument(p):
    return p | beam.Create([("a", 1), ("a", 3)]) | beam.CombinePerKey(NeedsSetup(), factor=10)


@case([60])
def a_combine_fn_globally_with_an_argument(p):
    return p | beam.Create([1, 2, 3]) | beam.CombineGlobally(NeedsSetup(), 10)


@case([("a", 4)])
def values_combined_by_a_combine_fn_that_needs_setup(p):
    return p | beam.Create([("a", 1), ("a", 3)]) | beam.GroupByKey() | beam.CombineValues(NeedsSetup())


@case([("k", (6, 3, 2.0))])
def several_combines_in_one(p):
    fn = beam.combiners.TupleCombineFn(sum, beam.combiners.CountCombineFn(), beam.combiners.MeanCombineFn())
    pairs = [("k", (i, i, i)) for i in (1, 2, 3)]
    return p | beam.Create(pairs) | beam.CombinePerKey(fn)


# Windows


@case([At(3, 9.999999, (0, 10)), At(4, 19.999999, (10, 20))])
def combine_globally_by_window(p):
    return (
        in_time(p, (1, 1), (2, 2), (4, 12))
        | beam.WindowInto(FixedWindows(10))
        | beam.CombineGlobally(sum).without_defaults()
    )


@case([At(("a", 3), 9.999999, (0, 10)), At(("b", 4), 9.999999, (0, 10)), At(("a", 5), 19.999999, (10, 20))])
def combine_per_key_in_fixed_windows(p):
    pairs = [(("a", 1), 1), (("a", 2), 2), (("b", 4), 3), (("a", 5), 12)]
    return in_time(p, *pairs) | beam.WindowInto(FixedWindows(10)) | beam.CombinePerKey(sum)


@case([At(("a", 1), 4.999999, (-5, 5)), At(("a", 3), 9.999999, (0, 10)), At(("a", 2), 14.999999, (5, 15))])
def combine_per_key_in_sliding_windows(p):
    return (
        in_time(p, (("a", 1), 1), (("a", 2), 6))
        | beam.WindowInto(SlidingWindows(10, 5))
        | beam.CombinePerKey(sum)
    )


@case([At(1.0, window=(-5, 5)), At(1.5, window=(0, 10)), At(2.0, window=(5, 15))])
def a_mean_in_sliding_windows(p):
    return (
        in_time(p, (1, 1), (2, 6))
        | beam.WindowInto(SlidingWindows(10, 5))
        | beam.combiners.Mean.Globally().without_defaults()
    )


@case([At(("a", 2), window=(0, 10)), At(("b", 1), window=(0, 10)), At(("a", 1), window=(10, 20))])
def counting_elements_by_window(p):
    return (
        in_time(p, ("a", 1), ("a", 2), ("b", 3), ("a", 12))
        | beam.WindowInto(FixedWindows(10))
        | beam.combiners.Count.PerElement()
    )


@case([At([9, 8], window=(0, 10)), At([3], window=(10, 20))])
def the_largest_by_window(p):
    return (
        in_time(p, (1, 1), (9, 2), (8, 3), (3, 12))
        | beam.WindowInto(FixedWindows(10))
        | beam.combiners.Top.Of(2).without_defaults()
    )


@case([At([99_999, 99_998], BEGINNING, GLOBAL)])
def the_largest_of_very_many(p):
    return p | beam.Create([1]) | beam.FlatMap(lambda x: iter(range(100_000))) | beam.combiners.Top.Of(2)


@case([At(("a", 1), 5, GLOBAL)])
def the_latest_per_key(p):
    latest = in_time(p, (("a", 0), 3), (("a", 1), 5), (("a", 2), 4)) | beam.combiners.Latest.PerKey()
    return latest | "at" >> beam.Map(lambda kv: beam.window.TimestampedValue(kv, 5))


@case([At(1, BEGINNING, GLOBAL)])
def an_element_that_was_not_combined_keeps_its_time(p):
    return p | beam.Create([1])
