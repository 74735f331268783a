"""Cases: window functions of each kind, ours and the user's; rewindowing; timestamp combiners; sessions."""

from __future__ import annotations

from model.table import BEGINNING, END, GLOBAL, At, case, grouped, in_time

import hornbeam as beam
from hornbeam.coders import coders
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    IntervalWindow,
    NonMergingWindowFn,
    Sessions,
    SlidingWindows,
    TimestampCombiner,
    TimestampedValue,
    WindowFn,
)
from hornbeam.utils.windowed_value import WindowedValue

# Assignment


@case([At("a", 0, (0, 10)), At("b", 9.999999, (0, 10)), At("c", 10, (10, 20)), At("d", -0.5, (-10, 0))])
def fixed_windows(p):
    return in_time(p, ("a", 0), ("b", 9.999999), ("c", 10), ("d", -0.5)) | beam.WindowInto(FixedWindows(10))


@case([At("a", 0, (-7, 3)), At("b", 3, (3, 13)), At("c", -8, (-17, -7))])
def fixed_windows_with_an_offset(p):
    return in_time(p, ("a", 0), ("b", 3), ("c", -8)) | beam.WindowInto(FixedWindows(10, offset=3))


@case([At("a", 0.25, (0.2, 0.3))])
def fixed_windows_of_parts_of_a_second(p):
    return in_time(p, ("a", 0.25)) | beam.WindowInto(FixedWindows(0.1))


@case([At("a", 7, (0, 10)), At("a", 7, (5, 15)), At("b", -1, (-10, 0)), At("b", -1, (-5, 5))])
def sliding_windows(p):
    return in_time(p, ("a", 7), ("b", -1)) | beam.WindowInto(SlidingWindows(10, 5))


@case([At("a", 4, (-5, 5)), At("a", 4, (-2, 8)), At("a", 4, (1, 11)), At("a", 4, (4, 14))])
def sliding_windows_whose_size_is_no_multiple_of_the_period(p):
    return in_time(p, ("a", 4)) | beam.WindowInto(SlidingWindows(10, 3, offset=1))


@case([At("a", 1, (0, 2)), At("c", 10, (10, 12))])
def sliding_windows_with_gaps_drop_what_lies_between(p):
    return in_time(p, ("a", 1), ("b", 5), ("c", 10), ("d", -3)) | beam.WindowInto(SlidingWindows(2, 10))


@case([At(("k", ["a", "b"]), 1.999999, (0, 2)), At(("k", ["d"]), 11.999999, (10, 12))])
def grouping_in_sliding_windows_with_gaps(p):
    pairs = [(("k", "a"), 1), (("k", "b"), 0), (("k", "c"), 5), (("k", "d"), 10)]
    return grouped(in_time(p, *pairs) | beam.WindowInto(SlidingWindows(2, 10)))


@case([At(("k", 3), 1.999999, (0, 2)), At(("k", 8), 11.999999, (10, 12))])
def combining_in_sliding_windows_with_gaps(p):
    pairs = [(("k", 1), 1), (("k", 2), 0), (("k", 4), 5), (("k", 8), 10)]
    return in_time(p, *pairs) | beam.WindowInto(SlidingWindows(2, 10)) | beam.CombinePerKey(sum)


class InNoWindow(beam.DoFn):
    """Puts elements into no window at all, but for "kept"."""

    def process(self, element, window=beam.DoFn.WindowParam, time=beam.DoFn.TimestampParam):
        yield WindowedValue(element, time, [window] if element[1] == "kept" else [])


@case([At(("k", ["kept"]), 7.999999, (3, 8))])
def sessions_of_elements_in_no_window(p):
    pairs = in_time(p, (("k", "gone"), 1), (("k", "kept"), 3), (("j", "gone"), 5))
    return pairs | beam.WindowInto(Sessions(5)) | beam.ParDo(InNoWindow()) | beam.GroupByKey()


@case([At("a", 3, (3, 8))])
def sessions_begin_as_one_window_an_element(p):
    return in_time(p, ("a", 3)) | beam.WindowInto(Sessions(5))


@case([At("a", 5, GLOBAL)])
def back_into_the_global_window(p):
    return in_time(p, ("a", 5)) | "f" >> beam.WindowInto(FixedWindows(10)) | beam.WindowInto(GlobalWindows())


@case([At("a", 7, (6, 9)), At("a", 7, (6, 9))])
def windowing_again_counts_each_window_of_an_element(p):
    return (
        in_time(p, ("a", 7))
        | "slide" >> beam.WindowInto(SlidingWindows(10, 5))
        | "fix" >> beam.WindowInto(FixedWindows(3))
    )


# Windows of the user's own


class FirstLetter(NonMergingWindowFn):
    """A window chosen by the element: short words in a window of one second, long ones in one of ten."""

    def assign(self, assign_context):
        start = assign_context.timestamp
        return [IntervalWindow(start, start + (1 if len(assign_context.element) < 3 else 10))]

    def get_window_coder(self):
        return coders.IntervalWindowCoder()


@case([At("ab", 4, (4, 5)), At("abc", 4, (4, 14))])
def a_window_function_may_look_at_the_element(p):
    return in_time(p, ("ab", 4), ("abc", 4)) | beam.WindowInto(FirstLetter())


class TodayAndAll(NonMergingWindowFn):
    """Each element in its ten seconds and in its hundred."""

    def assign(self, assign_context):
        micros = assign_context.timestamp.micros
        sizes = (10_000_000, 100_000_000)
        return [IntervalWindow.from_micros(micros // s * s, micros // s * s + s) for s in sizes]

    def get_window_coder(self):
        return coders.IntervalWindowCoder()


@case(
    [
        At(("k", [1]), 9.999999, (0, 10)),
        At(("k", [2]), 19.999999, (10, 20)),
        At(("k", [1, 2]), 99.999999, (0, 100)),
    ]
)
def a_window_function_may_give_several_windows(p):
    return grouped(in_time(p, (("k", 1), 5), (("k", 2), 15)) | beam.WindowInto(TodayAndAll()))


class MergesAll(WindowFn):
    """A merging function: all windows of a key become one."""

    def assign(self, assign_context):
        start = assign_context.timestamp
        return [IntervalWindow(start, start + 1)]

    def merge(self, merge_context):
        windows = merge_context.windows
        if len(windows) > 1:
            start, end = min(w.start for w in windows), max(w.end for w in windows)
            merge_context.merge(windows, IntervalWindow(start, end))

    def get_window_coder(self):
        return coders.IntervalWindowCoder()


@case([At(("a", [1, 2]), 20.999999, (1, 21)), At(("b", [3]), 5.999999, (5, 6))])
def a_merging_window_function_of_the_users(p):
    pairs = [(("a", 1), 1), (("a", 2), 20), (("b", 3), 5)]
    return grouped(in_time(p, *pairs) | beam.WindowInto(MergesAll()))


@case([At(("a", 3), 20.999999, (1, 21)), At(("b", 3), 5.999999, (5, 6))])
def combining_under_a_merging_window_function_of_the_users(p):
    pairs = [(("a", 1), 1), (("a", 2), 20), (("b", 3), 5)]
    return in_time(p, *pairs) | beam.WindowInto(MergesAll()) | beam.CombinePerKey(sum)


class Evens(NonMergingWindowFn):
    """Elements at odd seconds are in no window at all."""

    def assign(self, assign_context):
        second = int(assign_context.timestamp.micros // 1_000_000)
        return [] if second % 2 else [IntervalWindow(second, second + 1)]

    def get_window_coder(self):
        return coders.IntervalWindowCoder()


@case([At(("k", [0]), 0.999999, (0, 1)), At(("k", [2]), 2.999999, (2, 3))])
def a_window_function_may_give_no_window(p):
    return grouped(in_time(p, *((("k", i), i) for i in range(4))) | beam.WindowInto(Evens()))


# Sessions


@case(
    [
        At(("a", [1, 2]), 13.999999, (1, 14)),
        At(("a", [3]), 34.999999, (25, 35)),
        At(("b", [4]), 11.999999, (2, 12)),
    ]
)
def sessions_are_by_key(p):
    pairs = [(("a", 1), 1), (("a", 2), 4), (("a", 3), 25), (("b", 4), 2)]
    return grouped(in_time(p, *pairs) | beam.WindowInto(Sessions(10)))


@case([At(("a", [1]), 9.999999, (0, 10)), At(("a", [2]), 19.999999, (10, 20))])
def sessions_that_only_touch_stay_apart(p):
    return grouped(in_time(p, (("a", 1), 0), (("a", 2), 10)) | beam.WindowInto(Sessions(10)))


@case([At(("a", [1, 2]), 19.999998, (0, 19.999999))])
def sessions_closer_than_the_gap_are_one(p):
    return grouped(in_time(p, (("a", 1), 0), (("a", 2), 9.999999)) | beam.WindowInto(Sessions(10)))


@case([At(("a", [1, 2, 3]), 27.999999, (0, 28))])
def an_element_between_two_sessions_joins_them(p):
    return grouped(in_time(p, (("a", 1), 0), (("a", 3), 18), (("a", 2), 9)) | beam.WindowInto(Sessions(10)))


@case([At(("a", 6), 4.999999, (-15, 5))])
def sessions_of_negative_times_combined(p):
    pairs = [(("a", 1), -15), (("a", 2), -10), (("a", 3), -5)]
    return in_time(p, *pairs) | beam.WindowInto(Sessions(10)) | beam.CombinePerKey(sum)


@case([At(3, 13.999999, (1, 14)), At(3, 34.999999, (25, 35))])
def sessions_combined_globally(p):
    return (
        in_time(p, (1, 1), (2, 4), (3, 25))
        | beam.WindowInto(Sessions(10))
        | beam.CombineGlobally(sum).without_defaults()
    )


@case([At(("a", 2), window=(1, 14)), At(("a", 1), window=(25, 35)), At(("b", 1), window=(2, 12))])
def sessions_counted_per_element(p):
    return (
        in_time(p, ("a", 1), ("a", 4), ("a", 25), ("b", 2))
        | beam.WindowInto(Sessions(10))
        | beam.combiners.Count.PerElement()
    )


@case([At(("a", [1, 2, 3]), window=(0, 30))])
def sessions_grouped_and_windowed_again(p):
    sessions = (
        in_time(p, (("a", 1), 1), (("a", 2), 3), (("a", 3), 12))
        | "sessions" >> beam.WindowInto(Sessions(5))
        | "one" >> beam.GroupByKey()
        | beam.FlatMapTuple(lambda k, vs: [(k, v) for v in vs])
        | "fixed" >> beam.WindowInto(FixedWindows(30))
    )
    return grouped(sessions)


# Rewindowing


@case([At(("a", [1, 2]), 9.999999, (0, 10)), At(("a", [3]), 19.999999, (10, 20))])
def what_was_grouped_keeps_its_window_and_has_the_time_of_its_end(p):
    pairs = [(("a", 1), 1), (("a", 2), 2), (("a", 3), 11)]
    return grouped(in_time(p, *pairs) | beam.WindowInto(FixedWindows(10)))


@case([At(3, window=(0, 20)), At(12, window=(0, 20)), At(5, window=(20, 40))])
def what_was_summed_falls_into_larger_windows_by_the_end_of_its_own(p):
    pairs = [(("a", 1), 1), (("a", 2), 2), (("a", 12), 11), (("a", 5), 21)]
    return (
        in_time(p, *pairs)
        | "ten" >> beam.WindowInto(FixedWindows(10))
        | beam.CombinePerKey(sum)
        | beam.Values()
        | "twenty" >> beam.WindowInto(FixedWindows(20))
    )


@case([At(("a", [3, 12]), 19.999999, (0, 20)), At(("a", [5]), 39.999999, (20, 40))])
def sums_of_small_windows_grouped_in_larger_ones(p):
    pairs = [(("a", 1), 1), (("a", 2), 2), (("a", 12), 11), (("a", 5), 21)]
    return grouped(
        in_time(p, *pairs)
        | "ten" >> beam.WindowInto(FixedWindows(10))
        | beam.CombinePerKey(sum)
        | "twenty" >> beam.WindowInto(FixedWindows(20))
    )


@case([At(("a", 3), END, GLOBAL)])
def windowed_sums_summed_again_in_the_global_window(p):
    pairs = [(("a", 1), 1), (("a", 2), 11)]
    return (
        in_time(p, *pairs)
        | "ten" >> beam.WindowInto(FixedWindows(10))
        | "one" >> beam.CombinePerKey(sum)
        | "all" >> beam.WindowInto(GlobalWindows())
        | "two" >> beam.CombinePerKey(sum)
    )


@case([At(("a", [1, 2]), 105.999999, (100, 106))])
def elements_moved_after_windowing_are_in_the_windows_of_their_new_times(p):
    return grouped(
        in_time(p, (("a", 1), 0), (("a", 2), 50))
        | beam.WindowInto(FixedWindows(6, offset=4))
        | "move" >> beam.Map(lambda kv: TimestampedValue(kv, 101))
    )


@case([At(1, BEGINNING, (BEGINNING // 10 * 10, BEGINNING // 10 * 10 + 10))])
def what_has_no_time_is_in_the_first_window_of_all(p):
    return p | beam.Create([1]) | beam.WindowInto(FixedWindows(10))


# Timestamp combiners

PAIRS = [(("a", 1), 3), (("a", 2), 1), (("a", 3), 7), (("b", 4), 5), (("a", 5), 12)]


def combined_at(p, combiner, windowfn, how):
    windowed = in_time(p, *PAIRS) | beam.WindowInto(windowfn, timestamp_combiner=combiner)
    return grouped(windowed) if how == "group" else windowed | beam.CombinePerKey(sum)


@case(
    [
        At(("a", [1, 2, 3]), 9.999999, (0, 10)),
        At(("b", [4]), 9.999999, (0, 10)),
        At(("a", [5]), 19.999999, (10, 20)),
    ]
)
def grouping_output_at_end_of_window(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_EOW, FixedWindows(10), "group")


@case([At(("a", [1, 2, 3]), 1, (0, 10)), At(("b", [4]), 5, (0, 10)), At(("a", [5]), 12, (10, 20))])
def grouping_output_at_earliest(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_EARLIEST, FixedWindows(10), "group")


@case([At(("a", [1, 2, 3]), 7, (0, 10)), At(("b", [4]), 5, (0, 10)), At(("a", [5]), 12, (10, 20))])
def grouping_output_at_latest(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_LATEST, FixedWindows(10), "group")


@case([At(("a", 6), 1, (0, 10)), At(("b", 4), 5, (0, 10)), At(("a", 5), 12, (10, 20))])
def combining_output_at_earliest(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_EARLIEST, FixedWindows(10), "combine")


@case([At(("a", 6), 7, (0, 10)), At(("b", 4), 5, (0, 10)), At(("a", 5), 12, (10, 20))])
def combining_output_at_latest(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_LATEST, FixedWindows(10), "combine")


@case([At(("a", [1, 2, 3, 5]), 12, (1, 18)), At(("b", [4]), 5, (5, 11))])
def sessions_output_at_latest(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_LATEST, Sessions(6), "group")


@case([At(("a", 11), 1, (1, 18)), At(("b", 4), 5, (5, 11))])
def sessions_combined_output_at_earliest(p):
    return combined_at(p, TimestampCombiner.OUTPUT_AT_EARLIEST, Sessions(6), "combine")


@case([At(("k", [1]), 3, (0, 10)), At(("k", [1, 2]), 3, (-5, 5)), At(("k", [2]), -4, (-10, 0))])
def sliding_output_at_latest(p):
    return grouped(
        in_time(p, (("k", 1), 3), (("k", 2), -4))
        | beam.WindowInto(SlidingWindows(10, 5), timestamp_combiner=TimestampCombiner.OUTPUT_AT_LATEST)
    )


@case([At(("k", 1), 3, GLOBAL)])
def global_output_at_earliest(p):
    return (
        in_time(p, (("k", 0), 5), (("k", 1), 3))
        | beam.WindowInto(GlobalWindows(), timestamp_combiner=TimestampCombiner.OUTPUT_AT_EARLIEST)
        | beam.CombinePerKey(max)
    )
