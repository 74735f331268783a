"""Cases: streams in event time: watermarks, windows that end, late data, panes under each trigger, several sources."""

from __future__ import annotations

from typing import Any

from model.table import GLOBAL, At, case

import hornbeam as beam
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.trigger import (
    AccumulationMode,
    AfterAll,
    AfterAny,
    AfterCount,
    AfterEach,
    AfterProcessingTime,
    AfterWatermark,
    Always,
    DefaultTrigger,
    Never,
    OrFinally,
    Repeatedly,
)
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    IntervalWindow,
    NonMergingWindowFn,
    Sessions,
    SlidingWindows,
    TimestampCombiner,
    TimestampedValue,
)
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

EARLY, ON_TIME, LATE = PaneInfoTiming.EARLY, PaneInfoTiming.ON_TIME, PaneInfoTiming.LATE
DISCARDING, ACCUMULATING = AccumulationMode.DISCARDING, AccumulationMode.ACCUMULATING
ONLY = PaneInfo(True, True, ON_TIME, 0, 0)


def pane(timing: int, index: int, nonspeculative: int = -1, last: bool = False) -> PaneInfo:
    """A pane; the first one is that of index 0."""
    return PaneInfo(index == 0, last, timing, index, nonspeculative)


def script(p: beam.Pipeline, *events: Any, label: str = "script") -> beam.PCollection:
    """A TestStream: a list of (value, seconds) arrives, a number moves the watermark, "5s" the clock."""
    stream = TestStream()
    for event in events:
        if isinstance(event, list):
            stream = stream.add_elements([TimestampedValue(value, time) for value, time in event])
        elif isinstance(event, str):
            stream = stream.advance_processing_time(float(event.removesuffix("s")))
        else:
            stream = stream.advance_watermark_to(event)
    return p | label >> stream


def summed(elements: beam.PCollection, windowing: Any, **how: Any) -> beam.PCollection:
    """The sums of pairs by key under a windowing."""
    return elements | beam.WindowInto(windowing, **how) | beam.CombinePerKey(sum)


def listed(elements: beam.PCollection, windowing: Any, **how: Any) -> beam.PCollection:
    """The values of pairs by key, in the order in which they came, under a windowing."""
    return (
        elements
        | beam.WindowInto(windowing, **how)
        | beam.GroupByKey()
        | beam.MapTuple(lambda key, values: (key, list(values)))
    )


# Watermarks and windows that end


@case([At(("a", 3), 9.999999, (0, 10), ONLY), At(("a", 4), 19.999999, (10, 20), ONLY)])
def a_window_fires_when_the_watermark_passes_its_end(p):
    return summed(script(p, [(("a", 1), 1), (("a", 2), 9)], 10, [(("a", 4), 11)], 20), FixedWindows(10))


@case([At(("a", 7), 9.999999, (0, 10), ONLY)])
def a_window_waits_while_the_watermark_stands_at_its_last_timestamp(p):
    return summed(script(p, [(("a", 1), 1)], 9.999999, [(("a", 6), 9.999999)], 10), FixedWindows(10))


@case([At(("a", 1), 9.999999, (0, 10), ONLY)])
def elements_of_a_window_that_has_ended_are_dropped(p):
    return summed(script(p, [(("a", 1), 1)], 10, [(("a", 99), 5)], 20), FixedWindows(10))


@case([At(("a", 3), 9.999999, (0, 10), ONLY)])
def elements_behind_the_watermark_whose_window_is_open_are_in_time(p):
    return summed(script(p, [(("a", 1), 6)], 7, [(("a", 2), 1)], 10), FixedWindows(10))


@case([At(("a", 1), 9.999999, (0, 10)), At(("a", 3), 14.999999, (5, 15)), At(("a", 2), 19.999999, (10, 20))])
def sliding_windows_fire_one_by_one_as_the_watermark_passes(p):
    return summed(script(p, [(("a", 1), 5)], 10, [(("a", 2), 12)], 20), SlidingWindows(10, 5))


@case([At(("a", 1), 9.999999, (0, 10)), At(("a", 3), 14.999999, (5, 15))])
def a_late_element_is_dropped_only_for_those_of_its_windows_that_have_ended(p):
    return summed(script(p, [(("a", 1), 5)], 10, [(("a", 2), 7)], 20), SlidingWindows(10, 5))


@case([At(("a", 3), 8.999999, (1, 9), ONLY), At(("a", 4), 24.999999, (20, 25), ONLY)])
def sessions_fire_when_the_gap_is_over(p):
    return summed(script(p, [(("a", 1), 1), (("a", 2), 4)], 9, [(("a", 4), 20)], 26), Sessions(5))


@case([At(("a", 3), 10.999999, (2, 11), ONLY)])
def sessions_merge_over_an_element_between_that_comes_later(p):
    return summed(script(p, [(("a", 1), 2), (("a", 1), 6)], 6, [(("a", 1), 4)], 20), Sessions(5))


@case([At(("a", 1), 4.999999, (0, 5), ONLY), At(("a", 5), 10.999999, (6, 11), ONLY)])
def sessions_of_a_key_are_apart_when_one_has_ended(p):
    return summed(script(p, [(("a", 1), 0)], 5, [(("a", 5), 6)], 20), Sessions(5))


class Odd(NonMergingWindowFn):
    """Elements at odd seconds in one window, at even ones in none."""

    def assign(self, context):
        second = int(context.timestamp)
        return [IntervalWindow(0, 10)] if second % 2 else []

    def get_window_coder(self):
        return beam.coders.coders.IntervalWindowCoder()


@case([At(("a", 3), 9.999999, (0, 10), ONLY)])
def window_functions_of_the_users_work_on_streams(p):
    return summed(script(p, [(("a", 1), 1), (("a", 2), 3), (("a", 9), 4)], 10), Odd())


@case([At(("a", 6), 1.0, (0, 10)), At(("a", 4), 14.0, (10, 20))])
def stream_output_at_earliest(p):
    how = {"timestamp_combiner": TimestampCombiner.OUTPUT_AT_EARLIEST}
    return summed(script(p, [(("a", 1), 3), (("a", 5), 1), (("a", 4), 14)], 10), FixedWindows(10), **how)


@case([At(("a", 6), 3.0, (0, 10))])
def stream_output_at_latest(p):
    how = {"timestamp_combiner": TimestampCombiner.OUTPUT_AT_LATEST}
    return summed(script(p, [(("a", 1), 3), (("a", 5), 1)], 10), FixedWindows(10), **how)


@case([At(("a", 1), 9.999999, (0, 10)), At(("b", 2), 9.999999, (0, 10))])
def a_stream_grouped_twice_keeps_its_windows(p):
    once = summed(script(p, [(("a", 1), 1), (("b", 2), 2)], 10), FixedWindows(10))
    return once | "again" >> beam.CombinePerKey(sum)


@case([At(("a", {"l": [1], "r": [2]}), 9.999999, (0, 10)), At(("b", {"l": [], "r": [3]}), 9.999999, (0, 10))])
def streams_are_joined_window_by_window(p):
    stream = (
        TestStream()
        .add_elements([TimestampedValue(("a", 1), 1)], tag="l")
        .advance_watermark_to(50, tag="l")
        .add_elements([TimestampedValue(("a", 2), 2), TimestampedValue(("b", 3), 3)], tag="r")
        .advance_watermark_to(50, tag="r")
    )
    sides = {tag: pc | f"w{tag}" >> beam.WindowInto(FixedWindows(10)) for tag, pc in (p | stream).items()}
    return sides | beam.CoGroupByKey()


@case([At(("a", 11), 9.999999, (0, 10)), At(("a", 7), 19.999999, (10, 20))])
def a_flatten_has_the_watermark_of_its_slowest_input(p):
    stream = (
        TestStream()
        .add_elements([TimestampedValue(("a", 1), 1)], tag="quick")
        .advance_watermark_to(100, tag="quick")
        .add_elements([TimestampedValue(("a", 10), 1), TimestampedValue(("a", 7), 11)], tag="slow")
        .advance_watermark_to(15, tag="slow")
    )
    outputs = p | stream
    return summed((outputs["quick"], outputs["slow"]) | beam.Flatten(), FixedWindows(10))


@case([At(("a", 101), 9.999999, (0, 10))])
def bounded_and_unbounded_parts_mix(p):
    bounded = p | beam.Create([("a", 100)]) | beam.Map(lambda pair: TimestampedValue(pair, 3))
    return summed((script(p, [(("a", 1), 1)], 10), bounded) | beam.Flatten(), FixedWindows(10))


@case([At(("a", 1), 9.999999, (0, 10)), At(("a", 2), 9.999999, (0, 10))])
def a_reshuffle_keeps_times_and_windows_of_a_stream(p):
    elements = script(p, [(("a", 1), 1)], 5, [(("a", 2), 2)], 20) | beam.WindowInto(FixedWindows(10))
    return (
        elements
        | beam.Reshuffle()
        | beam.GroupByKey()
        | beam.FlatMapTuple(lambda k, vs: [(k, v) for v in vs])
    )


# Lateness


@case(
    [
        At(("a", 1), 9.999999, (0, 10), pane(ON_TIME, 0, 0)),
        At(("a", 2), 9.999999, (0, 10), pane(LATE, 1, 1)),
        At(("a", 4), 9.999999, (0, 10), pane(LATE, 2, 2)),
    ]
)
def late_elements_within_the_allowed_lateness_fire_one_by_one(p):
    events = [(("a", 1), 1)], 10, [(("a", 2), 2), (("a", 4), 3)], 15, [(("a", 99), 3)]
    return summed(script(p, *events), FixedWindows(10), allowed_lateness=5)


@case(
    [
        At(("a", [1]), 9.999999, (0, 10), pane(ON_TIME, 0, 0)),
        At(("a", [1, 2]), 9.999999, (0, 10), pane(LATE, 1, 1)),
    ]
)
def accumulating_late_panes_hold_all(p):
    how = {
        "trigger": AfterWatermark(late=AfterCount(1)),
        "accumulation_mode": ACCUMULATING,
        "allowed_lateness": 5,
    }
    return listed(script(p, [(("a", 1), 1)], 10, [(("a", 2), 2)], 20), FixedWindows(10), **how)


@case([At(("a", 3), 9.999999, (0, 10), ONLY)])
def a_watermark_that_jumps_past_end_and_lateness_gives_one_pane(p):
    return summed(script(p, [(("a", 1), 1), (("a", 2), 2)], 100), FixedWindows(10), allowed_lateness=5)


# Triggers


@case(
    [
        At(("a", [1, 2]), 9.999999, (0, 10), pane(EARLY, 0)),
        At(("a", [3]), 9.999999, (0, 10), pane(ON_TIME, 1, 0)),
        At(("a", [4, 5]), 9.999999, (0, 10), pane(LATE, 2, 1)),
        At(("a", [6]), 9.999999, (0, 10), pane(LATE, 3, 2, last=True)),
    ]
)
def after_watermark_with_early_and_late_firings_discarding(p):
    how = {
        "trigger": AfterWatermark(early=AfterCount(2), late=AfterCount(2)),
        "accumulation_mode": DISCARDING,
        "allowed_lateness": 10,
    }
    events = [(("a", i), i) for i in (1, 2, 3)], 10, [(("a", i), i) for i in (4, 5, 6)], 20
    return listed(script(p, *events), FixedWindows(10), **how)


@case(
    [
        At(("a", 3), 9.999999, (0, 10), pane(EARLY, 0)),
        At(("a", 6), 9.999999, (0, 10), pane(ON_TIME, 1, 0)),
        At(("a", 10), 9.999999, (0, 10), pane(LATE, 2, 1)),
    ]
)
def after_watermark_with_early_and_late_firings_accumulating(p):
    how = {
        "trigger": AfterWatermark(early=AfterCount(2), late=AfterCount(1)),
        "accumulation_mode": ACCUMULATING,
        "allowed_lateness": 10,
    }
    events = [(("a", i), i) for i in (1, 2, 3)], 10, [(("a", 4), 4)], 20
    return summed(script(p, *events), FixedWindows(10), **how)


@case(
    [
        At(("a", 3), 9.999999, (0, 10), pane(EARLY, 0)),
        At(("a", 0), 9.999999, (0, 10), pane(ON_TIME, 1, 0, last=True)),
    ]
)
def an_empty_pane_comes_on_time_after_early_ones(p):
    how = {"trigger": AfterWatermark(early=AfterCount(2)), "accumulation_mode": DISCARDING}
    return summed(script(p, [(("a", 1), 1), (("a", 2), 2)], 10), FixedWindows(10), **how)


@case([At(("a", [1, 2]), window=GLOBAL), At(("a", [3, 4]), window=GLOBAL), At(("a", [5]), window=GLOBAL)])
def after_count_repeatedly_in_the_global_window(p):
    how = {"trigger": Repeatedly(AfterCount(2)), "accumulation_mode": DISCARDING}
    return listed(script(p, [(("a", i), i) for i in range(1, 6)]), GlobalWindows(), **how)


@case([At(("a", [1]), window=(0, 10)), At(("a", [2, 3]), window=(0, 10)), At(("a", [4]), window=(0, 10))])
def after_processing_time_repeatedly(p):
    how = {"trigger": Repeatedly(AfterProcessingTime(5)), "accumulation_mode": DISCARDING}
    events = [(("a", 1), 1)], "5s", [(("a", 2), 2)], "3s", [(("a", 3), 3)], "2s", [(("a", 4), 4)]
    return listed(script(p, *events), FixedWindows(10), **how)


@case([At(("a", [1]), window=(0, 10)), At(("a", [2]), window=(0, 10)), At(("a", [3]), window=(0, 10))])
def always_fires_at_each_element(p):
    how = {"trigger": Always(), "accumulation_mode": DISCARDING}
    return listed(script(p, [(("a", i), i) for i in (1, 2, 3)]), FixedWindows(10), **how)


@case([At(("a", [1, 2]), window=(0, 10), pane=ONLY)])
def never_gives_all_when_the_window_expires(p):
    how = {"trigger": Never(), "accumulation_mode": DISCARDING}
    return listed(script(p, [(("a", 1), 1)], 5, [(("a", 2), 2)], 10), FixedWindows(10), **how)


@case([At(("a", [1, 2]), window=(0, 10)), At(("a", [3]), window=(0, 10)), At(("a", [4, 5]), window=(0, 10))])
def after_each_goes_through_its_parts(p):
    how = {"trigger": Repeatedly(AfterEach(AfterCount(2), AfterCount(1))), "accumulation_mode": DISCARDING}
    return listed(script(p, [(("a", i), i) for i in (1, 2, 3, 4, 5)], 20), FixedWindows(10), **how)


@case([At(("a", [1, 2, 3]), window=(0, 10)), At(("a", [4]), window=(0, 10))])
def after_any_fires_with_the_first_of_its_parts(p):
    how = {
        "trigger": Repeatedly(AfterAny(AfterCount(3), AfterProcessingTime(60))),
        "accumulation_mode": DISCARDING,
    }
    events = [(("a", 1), 1), (("a", 2), 2)], "30s", [(("a", 3), 3), (("a", 4), 4)], "60s"
    return listed(script(p, *events), FixedWindows(10), **how)


@case([At(("a", [1, 2, 3]), window=(0, 10)), At(("a", [4]), window=(0, 10))])
def after_all_waits_for_all_of_its_parts(p):
    how = {
        "trigger": Repeatedly(AfterAll(AfterCount(2), AfterProcessingTime(60))),
        "accumulation_mode": DISCARDING,
    }
    events = [(("a", 1), 1), (("a", 2), 2)], "30s", [(("a", 3), 3)], "30s", [(("a", 4), 4)]
    return listed(script(p, *events), FixedWindows(10), **how)


@case([At(("a", [1, 2]), window=(0, 10)), At(("a", [3]), window=(0, 10)), At(("a", [4, 5]), window=(0, 10))])
def or_finally_ends_with_its_second_part(p):
    how = {
        "trigger": Repeatedly(OrFinally(Repeatedly(AfterCount(2)), AfterCount(3))),
        "accumulation_mode": DISCARDING,
    }
    return listed(script(p, [(("a", i), i) for i in range(1, 6)], 20), FixedWindows(10), **how)


@case([At(("a", [1, 2]), window=(0, 10)), At(("a", [3]), window=(0, 10))])
def the_default_trigger_may_be_repeated(p):
    how = {"trigger": Repeatedly(DefaultTrigger()), "accumulation_mode": DISCARDING, "allowed_lateness": 60}
    return listed(script(p, [(("a", 1), 1), (("a", 2), 2)], 10, [(("a", 3), 3)]), FixedWindows(10), **how)


@case(
    [
        At(("a", [1, 2]), window=(1, 7), pane=pane(EARLY, 0)),
        At(("a", [3]), window=(1, 9), pane=pane(ON_TIME, 1, 0, last=True)),
    ]
)
def sessions_fire_early_and_grow_on(p):
    how = {"trigger": AfterWatermark(early=AfterCount(2)), "accumulation_mode": DISCARDING}
    events = [(("a", 1), 1), (("a", 2), 2)], 3, [(("a", 3), 4)], 30
    return listed(script(p, *events), Sessions(5), **how)


@case([At(("a", 6), window=(0, 10)), At(("a", 15), window=(0, 10))])
def what_was_fired_upstream_goes_through_the_next_grouping_soon(p):
    how = {"trigger": Repeatedly(AfterCount(3)), "accumulation_mode": DISCARDING}
    first = summed(script(p, [(("a", i), i) for i in range(1, 7)]), FixedWindows(10), **how)
    return first | "again" >> beam.CombinePerKey(sum)
