"""Cases: side inputs of every view, empty, with defaults, windowed, shared, and from the same source."""

from __future__ import annotations

from model.table import At, case, in_time

import hornbeam as beam
from hornbeam.pvalue import AsDict, AsIter, AsList, AsMultiMap, AsSingleton, EmptySideInput
from hornbeam.transforms.window import FixedWindows, GlobalWindows, SlidingWindows


def side(p, *values, label="side"):
    return p | label >> beam.Create(list(values))


@case([(1, 10), (2, 10)])
def as_singleton(p):
    return p | beam.Create([1, 2]) | beam.Map(lambda x, s: (x, s), AsSingleton(side(p, 10)))


@case([(1, "default")])
def as_singleton_of_nothing_with_a_default(p):
    return p | beam.Create([1]) | beam.Map(lambda x, s: (x, s), AsSingleton(side(p), "default"))


@case([(1, None)])
def the_default_of_a_singleton_may_be_none(p):
    return p | beam.Create([1]) | beam.Map(lambda x, s: (x, s), AsSingleton(side(p), default_value=None))


@case([True])
def as_singleton_of_nothing_without_a_default_is_an_empty_side_input(p):
    return p | beam.Create([1]) | beam.Map(lambda x, s: isinstance(s, EmptySideInput), AsSingleton(side(p)))


@case([(1, [7, 8, 9])])
def as_iter(p):
    return p | beam.Create([1]) | beam.Map(lambda x, s: (x, sorted(s)), AsIter(side(p, 7, 9, 8)))


@case([6, 6])
def as_iter_may_be_iterated_twice(p):
    return p | beam.Create([1, 2]) | beam.Map(lambda x, s: min(sum(s), sum(s)), AsIter(side(p, 1, 2, 3)))


@case([(1, "list", 3)])
def as_list(p):
    return (
        p | beam.Create([1]) | beam.Map(lambda x, s: (x, type(s).__name__, len(s)), AsList(side(p, 1, 1, 2)))
    )


@case([([], {}, [])])
def views_of_nothing_are_empty(p):
    nothing = side(p)
    return (
        p
        | beam.Create([1])
        | beam.Map(
            lambda x, a, b, c: (list(a), dict(b), list(c)), AsList(nothing), AsDict(nothing), AsIter(nothing)
        )
    )


@case([{"a": 1, "b": 2}])
def as_dict(p):
    return p | beam.Create([1]) | beam.Map(lambda x, s: dict(s), AsDict(side(p, ("a", 1), ("b", 2))))


@case([([1, 3], [2], [])])
def as_multimap(p):
    return (
        p
        | beam.Create([1])
        | beam.Map(
            lambda x, s: (sorted(s["a"]), list(s["b"]), list(s["none"])),
            AsMultiMap(side(p, ("a", 1), ("b", 2), ("a", 3))),
        )
    )


@case([(1, 5, [1, 2])])
def a_side_input_by_keyword(p):
    return (
        p
        | beam.Create([1])
        | beam.Map(
            lambda x, a, b: (x, a, sorted(b)),
            b=AsList(side(p, 1, 2, label="b")),
            a=AsSingleton(side(p, 5, label="a")),
        )
    )


@case([2, 3])
def a_filter_with_a_side_input(p):
    return p | beam.Create([1, 2, 3]) | beam.Filter(lambda x, least: x >= least, AsSingleton(side(p, 2)))


@case([(1, "x"), (1, "y")])
def a_flat_map_with_a_side_input(p):
    return p | beam.Create([1]) | beam.FlatMap(lambda x, s: [(x, y) for y in s], AsIter(side(p, "x", "y")))


@case([("a", 1, 10)])
def a_map_tuple_with_a_side_input(p):
    return (
        p | beam.Create([("a", 1)]) | beam.MapTuple(lambda k, v, s=None: (k, v, s), AsSingleton(side(p, 10)))
    )


class Joins(beam.DoFn):
    def process(self, element, table, t=beam.DoFn.TimestampParam):
        yield element, table.get(element), t.micros // 1_000_000


@case([("a", 1, 5), ("c", None, 6)])
def a_dofn_with_a_side_input_and_context(p):
    return in_time(p, ("a", 5), ("c", 6)) | beam.ParDo(Joins(), AsDict(side(p, ("a", 1), ("b", 2))))


@case(sums=[11, 12], products=[10, 20])
def a_side_input_used_by_two_steps(p):
    ten = AsSingleton(side(p, 10))
    numbers = p | beam.Create([1, 2])
    return {
        "sums": numbers | "sum" >> beam.Map(lambda x, s: x + s, ten),
        "products": numbers | "product" >> beam.Map(lambda x, s: x * s, ten),
    }


@case([(1, 6), (2, 6), (3, 6)])
def a_side_input_made_of_the_main_input_itself(p):
    numbers = p | beam.Create([1, 2, 3])
    total = numbers | beam.CombineGlobally(sum)
    return numbers | beam.Map(lambda x, s: (x, s), AsSingleton(total))


@case([(1, [1, 2]), (2, [1, 2])])
def the_main_input_may_be_its_own_side_input(p):
    numbers = p | beam.Create([1, 2])
    return numbers | beam.Map(lambda x, s: (x, sorted(s)), AsIter(numbers))


@case([(10, 22, [10, 20]), (20, 22, [10, 20])])
def a_diamond_with_side_inputs_of_both_branches(p):
    numbers = p | beam.Create([1, 2])
    tens = numbers | "tens" >> beam.Map(lambda x: x * 10)
    tops = numbers | "tops" >> beam.Map(lambda x: x + 20)
    most = tops | beam.CombineGlobally(max)
    return tens | beam.Map(lambda x, m, s: (x, m, sorted(s)), AsSingleton(most), AsList(tens))


@case([(6, [1, 2, 3], 3)])
def a_side_input_of_a_step_with_a_side_input(p):
    numbers = p | beam.Create([1, 2, 3])
    total = numbers | "total" >> beam.CombineGlobally(sum)
    described = total | "describe" >> beam.Map(lambda t, s: (t, sorted(s)), AsList(numbers))
    count = numbers | "count" >> beam.combiners.Count.Globally()
    return described | "add" >> beam.MapTuple(lambda t, s, n=0: (t, s, n), AsSingleton(count))


@case([1, 2, 3, 103, 104, 105])
def a_flatten_of_a_stream_and_what_it_became_with_its_own_side_input(p):
    numbers = p | beam.Create([1, 2, 3])
    count = numbers | beam.combiners.Count.Globally()
    raised = numbers | beam.Map(lambda x, n: x + n + 99, AsSingleton(count))
    return (numbers, raised) | beam.Flatten()


@case([(1, 100_001)])
def a_side_input_larger_than_a_list_may_be(p):
    many = p | "many" >> beam.Create([100_001]) | beam.FlatMap(range)
    return p | beam.Create([1]) | beam.Map(lambda x, s: (x, sum(1 for _ in s)), AsIter(many))


# Windows


@case([(1, [10]), (2, [10]), (11, [20, 21])])
def a_windowed_side_input_is_seen_by_its_window(p):
    sides = in_time(p, (10, 1), (20, 11), (21, 12), label="sides") | "w" >> beam.WindowInto(FixedWindows(10))
    main = in_time(p, (1, 1), (2, 2), (11, 11)) | beam.WindowInto(FixedWindows(10))
    return main | beam.Map(lambda x, s: (x, sorted(s)), AsList(sides))


@case([(1, "none"), (11, 20)])
def a_windowed_singleton_with_a_default_for_windows_without_one(p):
    sides = in_time(p, (20, 11), label="sides") | "w" >> beam.WindowInto(FixedWindows(10))
    main = in_time(p, (1, 1), (11, 11)) | beam.WindowInto(FixedWindows(10))
    return main | beam.Map(lambda x, s: (x, s), AsSingleton(sides, "none"))


@case([(1, [1, 11]), (11, [1, 11])])
def a_global_side_input_is_seen_by_every_window(p):
    sides = in_time(p, (1, 1), (11, 11), label="sides")
    main = in_time(p, (1, 1), (11, 11)) | beam.WindowInto(FixedWindows(10))
    return main | beam.Map(lambda x, s: (x, sorted(s)), AsList(sides))


@case([(1, [0, 1, 2]), (7, [0, 1, 2]), (11, [10])])
def a_side_input_of_larger_windows(p):
    sides = in_time(p, (0, 0), (1, 1), (2, 9), (10, 10), label="sides") | "w" >> beam.WindowInto(
        FixedWindows(10)
    )
    main = in_time(p, (1, 1), (7, 7), (11, 11)) | beam.WindowInto(FixedWindows(5))
    return main | beam.Map(lambda x, s: (x, sorted(s)), AsList(sides))


@case([At((1, [1]), 1, (0, 10)), At((1, [1, 6]), 1, (-5, 5))])
def an_element_in_several_windows_sees_the_side_input_of_each(p):
    # (-5, 5) ends at 5, which the sides' windows of 10 from -10 and of 20 contain differently.
    sides = in_time(p, (1, 1), label="sides")
    more = in_time(p, (6, -3), label="more")
    windowed = (sides, more) | beam.Flatten() | "w" >> beam.WindowInto(SlidingWindows(10, 5))
    main = in_time(p, (1, 1)) | beam.WindowInto(SlidingWindows(10, 5))
    return main | beam.Map(lambda x, s: (x, sorted(s)), AsList(windowed))


@case([(1, 30), (11, 30)])
def a_combined_side_input_as_singleton_view(p):
    numbers = p | "numbers" >> beam.Create([10, 20])
    total = numbers | beam.CombineGlobally(sum).as_singleton_view()
    main = in_time(p, (1, 1), (11, 11)) | beam.WindowInto(FixedWindows(10))
    return main | beam.Map(lambda x, s: (x, s), total)


@case([(1, 0), (11, 5)])
def as_singleton_view_gives_the_combine_of_nothing_for_empty_windows(p):
    numbers = in_time(p, (5, 11), label="numbers") | "w" >> beam.WindowInto(FixedWindows(10))
    total = numbers | beam.CombineGlobally(sum).as_singleton_view()
    main = in_time(p, (1, 1), (11, 11)) | beam.WindowInto(FixedWindows(10))
    return main | beam.Map(lambda x, s: (x, s), total)


@case([(3, 11), (30, 11)])
def a_main_input_rewindowed_globally_sees_a_global_side_input(p):
    main = (
        in_time(p, (("a", 1), 1), (("a", 2), 2), (("b", 30), 11))
        | beam.WindowInto(FixedWindows(10))
        | beam.CombinePerKey(sum)
        | beam.Values()
        | "global" >> beam.WindowInto(GlobalWindows())
    )
    return main | beam.Map(lambda x, s: (x, s), AsSingleton(side(p, 11)))


class ScaledSum(beam.CombineFn):
    def create_accumulator(self, factor):
        return 0

    def add_input(self, accumulator, value, factor):
        return accumulator + value * factor

    def merge_accumulators(self, accumulators, factor):
        return sum(accumulators)

    def extract_output(self, accumulator, factor):
        return accumulator


@case([("k", 130)])
def a_combine_per_key_with_a_side_input(p):
    return p | beam.Create([("k", 6), ("k", 7)]) | beam.CombinePerKey(ScaledSum(), AsSingleton(side(p, 10)))


@case([130])
def a_combine_globally_with_a_side_input(p):
    return p | beam.Create([6, 7]) | beam.CombineGlobally(ScaledSum(), AsSingleton(side(p, 10)))


@case([At(20, 9.999999, (0, 10)), At(600, 19.999999, (10, 20))])
def a_combine_with_a_windowed_side_input(p):
    factors = in_time(p, (10, 1), (100, 11), label="factors") | "w" >> beam.WindowInto(FixedWindows(10))
    return (
        in_time(p, (("k", 2), 3), (("k", 6), 13))
        | beam.WindowInto(FixedWindows(10))
        | beam.CombinePerKey(ScaledSum(), AsSingleton(factors))
        | beam.Values()
    )
