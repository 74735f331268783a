"""Cases: what a ParDo gives. Outputs of every kind, tags, timestamps, generators, lifecycle outputs, splitting, batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from model.table import BEGINNING, GLOBAL, At, case, in_time

import hornbeam as beam
from hornbeam.io.iobase import RestrictionTracker
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.pvalue import TaggedOutput
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import WindowedValue


class Give(beam.DoFn):
    """Gives what a function gives for the element."""

    def __init__(self, give):
        self.give = give

    def process(self, element):
        return self.give(element)


# What process may give back


@case([1, 1, 2, 2])
def pardo_gives_a_list(p):
    return p | beam.Create([1, 2]) | beam.ParDo(Give(lambda x: [x, x]))


@case([1, 1, 2, 2])
def pardo_gives_a_tuple(p):
    return p | beam.Create([1, 2]) | beam.ParDo(Give(lambda x: (x, x)))


@case([0, 0, 1])
def pardo_gives_a_generator(p):
    return p | beam.Create([1, 2]) | beam.ParDo(Give(lambda x: (y for y in range(x))))


@case([2])
def pardo_gives_none_for_no_output(p):
    return p | beam.Create([1, 2]) | beam.ParDo(Give(lambda x: [x] if x == 2 else None))


@case([3, 4])
def pardo_gives_a_set_or_an_iterator(p):
    return p | beam.Create([3, 4]) | beam.ParDo(Give(lambda x: {x} if x == 3 else iter([x])))


@case([None, None])
def pardo_gives_elements_that_are_none(p):
    return p | beam.Create([1, 2]) | beam.ParDo(Give(lambda x: [None]))


@case([1, 3])
def pardo_mixes_lists_generators_and_none(p):
    results = {1: [1], 2: None}
    return p | beam.Create([1, 2, 3]) | beam.ParDo(Give(lambda x: results.get(x, iter((3,)))))


@case([(1, 2), [3], {"a": 4}, "text", b"bytes"])
def elements_may_be_containers(p):
    return p | beam.Create([(1, 2), [3], {"a": 4}, "text", b"bytes"]) | beam.ParDo(Give(lambda x: [x]))


@case([9_999_999_999_999_999_999_999, -1])
def elements_may_be_large_integers(p):
    return p | beam.Create([9_999_999_999_999_999_999_999, -1]) | beam.Map(lambda x: x)


# Tags


def split_parity(x):
    return [TaggedOutput("odd", x)] if x % 2 else [x]


@case(out=[2], odd=[1, 3])
def tagged_outputs_go_to_their_tags(p):
    results = p | beam.Create([1, 2, 3]) | beam.ParDo(Give(split_parity)).with_outputs("odd", main="even")
    return {"out": results.even, "odd": results["odd"]}


@case(even=[2], odd=[1, 3])
def with_outputs_can_be_unpacked_main_first(p):
    even, odd = p | beam.Create([1, 2, 3]) | beam.FlatMap(split_parity).with_outputs("odd", main="m")
    return {"even": even, "odd": odd}


@case(main=[2], odd=[1, 3])
def with_outputs_without_main_has_the_main_output_under_none(p):
    results = p | beam.Create([1, 2, 3]) | beam.FlatMap(split_parity).with_outputs("odd")
    return {"main": results[None], "odd": results.odd}


@case(a=[1], b=[2])
def with_outputs_without_arguments_finds_tags_when_asked(p):
    results = p | beam.Create([1, 2]) | beam.Map(lambda x: TaggedOutput("ab"[x - 1], x)).with_outputs()
    return {"a": results.a, "b": results.b}


@case([2])
def undeclared_tags_go_nowhere(p):
    return p | beam.Create([1, 2, 3]) | beam.FlatMap(split_parity)


@case(m=[1, 2], never=[])
def a_declared_tag_may_stay_empty(p):
    results = p | beam.Create([1, 2]) | beam.Map(lambda x: x).with_outputs("never", main="m")
    return {"m": results.m, "never": results.never}


@case(m=[1], t=[10, 100])
def a_map_may_give_tagged_outputs(p):
    tag = lambda x: x if x == 1 else TaggedOutput("t", x)  # noqa: E731
    results = p | beam.Create([1, 10, 100]) | beam.Map(tag).with_outputs("t", main="m")
    return {"m": results.m, "t": results.t}


@case(m=[1], bad=["x"])
def an_except_clause_may_give_a_tagged_output(p):
    def parse(text):
        try:
            return int(text)
        except ValueError:
            return TaggedOutput("bad", text)

    results = p | beam.Create(["1", "x"]) | beam.Map(parse).with_outputs("bad", main="m")
    return {"m": results.m, "bad": results.bad}


@case(m=[1, 2], bad=[1, 2])
def a_list_that_grows_may_hold_tagged_outputs(p):
    def both(x):
        found = [x]
        found.append(TaggedOutput("bad", x))
        return found

    results = p | beam.Create([1, 2]) | beam.FlatMap(both).with_outputs("bad", main="m")
    return {"m": results.m, "bad": results.bad}


@case(m=[], t=[At(1, 5, (0, 10)), At(2, 15, (10, 20))])
def a_tagged_output_may_have_a_timestamp(p):
    results = (
        p
        | beam.Create([1, 2])
        | beam.WindowInto(FixedWindows(10))
        | beam.ParDo(Give(lambda x: [TaggedOutput("t", TimestampedValue(x, x * 10 - 5))])).with_outputs(
            "t", main="m"
        )
    )
    return {"m": results.m, "t": results.t}


@case([("a", 1), ("b", 2)])
def tags_can_be_flattened_again(p):
    results = (
        p | beam.Create([("a", 1), ("b", 2)]) | beam.Map(lambda kv: TaggedOutput(*kv)).with_outputs("a", "b")
    )
    a = results.a | "a" >> beam.Map(lambda x: ("a", x))
    b = results.b | "b" >> beam.Map(lambda x: ("b", x))
    return (a, b) | beam.Flatten()


# Timestamps and windows


@case([At(1, 10, GLOBAL), At(2, 20, GLOBAL)])
def a_timestamped_value_moves_an_element(p):
    return p | beam.Create([1, 2]) | beam.Map(lambda x: TimestampedValue(x, x * 10))


@case([At(1, 0.5), At(2, 1.25), At(3, 3)])
def timestamps_may_be_float_int_or_timestamp(p):
    times = {1: 0.5, 2: Timestamp(1.25), 3: 3}
    return p | beam.Create([1, 2, 3]) | beam.Map(lambda x: TimestampedValue(x, times[x]))


@case([At("plain", BEGINNING, GLOBAL), At("moved", 7, GLOBAL)])
def plain_and_timestamped_outputs_may_be_mixed(p):
    give = lambda x: x if x == "plain" else TimestampedValue(x, 7)  # noqa: E731
    return p | beam.Create(["plain", "moved"]) | beam.Map(give)


@case([At(1, 12, (10, 20)), At(2, 25, (20, 30))])
def a_timestamped_value_gets_the_window_of_its_new_time(p):
    return (
        in_time(p, (1, 1), (2, 2))
        | beam.WindowInto(FixedWindows(10))
        | "move" >> beam.Map(lambda x: TimestampedValue(x, 12 if x == 1 else 25))
    )


@case([At("x", 3, (0, 5)), At("x", 3, (2, 4))])
def a_windowed_value_says_its_windows_itself(p):
    windows = [IntervalWindow(0, 5), IntervalWindow(2, 4)]
    return (
        p
        | beam.Create(["x"])
        | beam.WindowInto(FixedWindows(10))
        | beam.ParDo(Give(lambda x: [WindowedValue(x, 3, windows)]))
    )


@case([At(1, 5, (0, 10)), At(2, -5, (-10, 0)), At(3, 2.5, (0, 10))])
def with_timestamps_takes_int_float_and_timestamp(p):
    times = {1: 5, 2: Timestamp(-5), 3: 2.5}
    return (
        p
        | beam.Create([1, 2, 3])
        | beam.WithTimestamps(lambda x: times[x])
        | beam.WindowInto(FixedWindows(10))
    )


@case([At(x, x, (10 * (x // 10), 10 * (x // 10) + 10)) for x in range(-25, 25, 5)])
def with_timestamps_and_fixed_windows_over_negative_times(p):
    return (
        p
        | beam.Create(list(range(-25, 25, 5)))
        | beam.WithTimestamps(lambda x: x)
        | beam.WindowInto(FixedWindows(10))
    )


@case([At(1, BEGINNING, GLOBAL)])
def an_impulse_is_at_the_beginning_of_time(p):
    return p | beam.Impulse() | beam.Map(len) | beam.Map(lambda n: n + 1)


# Runs of plain functions with something special in the middle


@case([At(11, 1), At(12, 2), At(13, 3)])
def a_timestamp_given_in_the_middle_of_a_chain_stays(p):
    return (
        p
        | beam.Create([1, 2, 3])
        | "a" >> beam.Map(lambda x: x)
        | "b" >> beam.Map(lambda x: TimestampedValue(x, x))
        | "c" >> beam.Map(lambda x: x + 10)
        | "d" >> beam.Filter(lambda x: True)
    )


@case([At(x * 2, x % 7 + 1 if x % 3 == 0 else BEGINNING) for x in range(60)])
def now_and_then_a_timestamp_in_the_middle_of_a_chain(p):
    return (
        p
        | beam.Create(list(range(60)))
        | "a" >> beam.FlatMap(lambda x: (TimestampedValue(y, y % 7 + 1) if y % 3 == 0 else y for y in [x]))
        | "b" >> beam.Map(lambda x: x * 2)
    )


@case(m=[0, 20, 40], odd=[10, 30])
def a_chain_may_end_in_a_step_that_tags(p):
    results = (
        p
        | beam.Create(range(5))
        | "a" >> beam.Map(lambda x: x * 10)
        | "b" >> beam.Map(lambda x: TaggedOutput("odd", x) if x % 20 else x).with_outputs("odd", main="m")
    )
    return {"m": results.m | beam.Map(lambda x: x), "odd": results.odd}


@case([x for x in range(10) for _ in range(x)])
def a_chain_of_maps_filters_and_flat_maps(p):
    return (
        p
        | beam.Create(list(range(20)))
        | beam.Filter(lambda x: x < 10)
        | beam.Map(lambda x: (x, x))
        | beam.MapTuple(lambda x, n: [x] * n)
        | beam.FlatMap(lambda xs: xs)
        | beam.FlatMap(lambda x: [x])
        | "again" >> beam.Filter(lambda x: x >= 0)
    )


@case([1, 2, 3])
def thirty_flat_maps_in_a_row(p):
    stream = p | beam.Create([1, 2, 3])
    for i in range(30):
        stream |= f"flat {i}" >> beam.FlatMap(lambda x: [x])
    return stream


@case([1, 2, 3])
def a_hundred_and_fifty_filters_in_a_row(p):
    stream = p | beam.Create([1, 2, 3])
    for i in range(150):
        stream |= f"filter {i}" >> beam.Filter(lambda x: x > 0)
    return stream


# Very many outputs


@case([100_000])
def a_flat_map_may_give_very_many_outputs(p):
    return p | beam.Create([100_000]) | beam.FlatMap(range) | beam.combiners.Count.Globally()


@case([(0, 50_000), (1, 50_000)])
def very_many_outputs_of_a_generator_in_the_middle_of_a_chain(p):
    return (
        p
        | beam.Create([1])
        | "same" >> beam.Map(lambda x: x)
        | beam.FlatMap(lambda x: (y for y in range(100_000)))
        | beam.Map(lambda y: y % 2)
        | beam.combiners.Count.PerElement()
    )


class Stop(Exception):
    """Ends an endless generator from behind."""


@case([(1, 3000)])
def an_endless_generator_is_taken_as_far_as_its_reader_wants(p):
    def first(generator):
        return list(itertools.islice(generator, 3000))

    return (
        p
        | beam.Create([1])
        | beam.Map(lambda x: (x, itertools.count()))
        | beam.MapTuple(lambda x, endless: (x, len(first(endless))))
    )


# What finish_bundle may give


class GivesWhenFinished(beam.DoFn):
    """Gives nothing but from finish_bundle: for each element of the bundle the element, at its time."""

    def start_bundle(self) -> None:
        self.seen = []

    def process(self, element):
        self.seen.append(element)

    def finish_bundle(self) -> Iterator[WindowedValue[int]]:
        for element in self.seen:
            yield WindowedValue(element, element, [GlobalWindow()])


@case([At(x, x, GLOBAL) for x in range(7)])
def finish_bundle_may_give_windowed_values(p):
    return p | beam.Create(list(range(7))) | beam.ParDo(GivesWhenFinished()) | beam.Map(lambda x: x)


class TagsWhenFinished(GivesWhenFinished):
    def finish_bundle(self):
        return [TaggedOutput("late", WindowedValue(len(self.seen) > 0, 1, [GlobalWindow()]))]


@case([[True]])
def finish_bundle_may_give_tagged_outputs(p):
    results = p | beam.Create(list(range(5))) | beam.ParDo(TagsWhenFinished()).with_outputs("late", main="m")
    return results.late | beam.Distinct() | beam.combiners.ToList()


# Splittable DoFns


class Range(RestrictionProvider):
    """The numbers below the element, in parts of at most four."""

    def initial_restriction(self, element):
        return OffsetRange(0, element)

    def create_tracker(self, restriction):
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return restriction.size()

    def split(self, element, restriction):
        yield from restriction.split(4)


class Below(beam.DoFn):
    """The numbers below the element."""

    def process(self, element, tracker: RestrictionTracker = beam.DoFn.RestrictionParam(Range())):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield element, position
            position += 1


@case([(n, i) for n in (0, 3, 9) for i in range(n)])
def a_splittable_dofn_works_through_its_restrictions(p):
    return p | beam.Create([0, 3, 9]) | beam.ParDo(Below())


class TwoAtATime(beam.DoFn):
    """The numbers below the element; after each two it asks to be called again for the rest."""

    def process(self, element, tracker: RestrictionTracker = beam.DoFn.RestrictionParam(Range())):
        position = tracker.current_restriction().start
        for _ in range(2):
            if not tracker.try_claim(position):
                return
            yield element, position
            position += 1
        tracker.defer_remainder()


@case([At((n, i), n, (0, 10)) for n in (1, 5, 9) for i in range(n)])
def a_splittable_dofn_may_defer_its_remainder(p):
    return in_time(p, (1, 1), (5, 5), (9, 9)) | beam.WindowInto(FixedWindows(10)) | beam.ParDo(TwoAtATime())


# Batches


class DoublesArrays(beam.DoFn):
    def process_batch(self, batch: np.ndarray) -> Iterator[np.ndarray]:
        assert isinstance(batch, np.ndarray)
        yield batch * 2

    def infer_output_type(self, input_type):
        return input_type


class ReversesLists(beam.DoFn):
    def process_batch(self, batch: list[int]) -> Iterator[list[int]]:
        assert isinstance(batch, list)
        yield batch[::-1]
        yield []


@case([x * 2 for x in range(10)])
def process_batch_with_arrays(p):
    return p | beam.Create(list(range(10)), reshuffle=False) | beam.ParDo(DoublesArrays()) | beam.Map(int)


@case([At(x, x, (x // 4 * 4, x // 4 * 4 + 4)) for x in range(10)])
def process_batch_with_lists_keeps_times_and_windows(p):
    return (
        in_time(p, *((x, x) for x in range(10)))
        | beam.WindowInto(FixedWindows(4))
        | beam.ParDo(ReversesLists())
    )


class CountsBatches(beam.DoFn):
    @beam.DoFn.yields_elements
    def process_batch(self, batch: list[int]) -> Iterator[int]:
        yield from [len(batch)]


@case([10])
def process_batch_may_give_elements(p):
    return p | beam.Create(list(range(10))) | beam.ParDo(CountsBatches()) | beam.CombineGlobally(sum)
