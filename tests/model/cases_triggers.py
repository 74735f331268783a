"""Cases: triggers on bounded data, where time goes from its beginning to its end in one step.

Values of a key are alike, so that the order in which they arrive does not matter.
"""

from __future__ import annotations

from model.table import At, case, in_time

import hornbeam as beam
from hornbeam.transforms.trigger import (
    AccumulationMode,
    AfterAll,
    AfterCount,
    AfterEach,
    AfterProcessingTime,
    AfterWatermark,
    Always,
    Never,
    Repeatedly,
)
from hornbeam.transforms.window import FixedWindows, GlobalWindows, Sessions, SlidingWindows
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

EARLY, ON_TIME = PaneInfoTiming.EARLY, PaneInfoTiming.ON_TIME
DISCARDING, ACCUMULATING = AccumulationMode.DISCARDING, AccumulationMode.ACCUMULATING


def ones(p, *items):
    """Pairs (key, 1) at times: "a1" is key a at second 1."""
    return in_time(p, *(((item[0], 1), int(item[1:])) for item in items))


@case(
    [
        At(("a", [1, 1]), None, (0, 10), PaneInfo(True, False, EARLY, 0, -1)),
        At(("a", [1, 1]), None, (0, 10), PaneInfo(False, False, EARLY, 1, -1)),
        At(("a", [1]), None, (0, 10), PaneInfo(False, True, ON_TIME, 2, 0)),
        At(("b", [1]), None, (0, 10), PaneInfo(True, True, ON_TIME, 0, 0)),
        At(("a", [1]), None, (10, 20), PaneInfo(True, True, ON_TIME, 0, 0)),
    ]
)
def group_by_key_fires_with_every_second_element(p):
    windows = beam.WindowInto(
        FixedWindows(10), trigger=Repeatedly(AfterCount(2)), accumulation_mode=DISCARDING
    )
    return ones(p, "a1", "a2", "b3", "a4", "a5", "a6", "a11") | windows | beam.GroupByKey()


@case(
    [
        At(("a", 2), None, (0, 10), PaneInfo(True, False, EARLY, 0, -1)),
        At(("a", 4), None, (0, 10), PaneInfo(False, False, EARLY, 1, -1)),
        At(("a", 5), None, (0, 10), PaneInfo(False, True, ON_TIME, 2, 0)),
        At(("b", 1), None, (0, 10), PaneInfo(True, True, ON_TIME, 0, 0)),
    ]
)
def an_accumulating_sum_with_early_panes(p):
    windows = beam.WindowInto(
        FixedWindows(10), trigger=AfterWatermark(early=AfterCount(2)), accumulation_mode=ACCUMULATING
    )
    return ones(p, "a1", "a2", "b3", "a4", "a5", "a6") | windows | beam.CombinePerKey(sum)


@case([At(("a", 1)), At(("a", 2)), At(("a", 3)), At(("b", 1))])
def an_accumulating_count_under_always(p):
    windows = beam.WindowInto(GlobalWindows(), trigger=Always(), accumulation_mode=ACCUMULATING)
    return ones(p, "a1", "b2", "a3", "a4") | windows | beam.combiners.Count.PerKey()


@case([At(("a", 3), None, (0, 10), PaneInfo(True, True, ON_TIME, 0, 0))])
def never_gives_all_at_the_end(p):
    windows = beam.WindowInto(FixedWindows(10), trigger=Never(), accumulation_mode=DISCARDING)
    return ones(p, "a1", "a2", "a3") | windows | beam.CombinePerKey(sum)


@case([At(("a", 3), None, (0, 10), PaneInfo(True, True, ON_TIME, 0, 0))])
def processing_time_stands_still_on_bounded_data(p):
    trigger = AfterWatermark(early=AfterProcessingTime(3600))
    windows = beam.WindowInto(FixedWindows(10), trigger=trigger, accumulation_mode=DISCARDING)
    return ones(p, "a1", "a2", "a3") | windows | beam.CombinePerKey(sum)


@case(
    [
        At(("a", 1), None, (0, 10), PaneInfo(True, False, EARLY, 0, -1)),
        At(("a", 2), None, (0, 10), PaneInfo(False, False, EARLY, 1, -1)),
        At(("a", 1), None, (0, 10), PaneInfo(False, False, EARLY, 2, -1)),
        At(("a", 1), None, (0, 10), PaneInfo(False, True, ON_TIME, 3, 0)),
    ]
)
def one_trigger_after_the_other_again_and_again(p):
    trigger = Repeatedly(AfterEach(AfterCount(1), AfterCount(2)))
    windows = beam.WindowInto(FixedWindows(10), trigger=trigger, accumulation_mode=DISCARDING)
    return ones(p, "a1", "a2", "a3", "a4", "a5") | windows | beam.CombinePerKey(sum)


@case(
    [
        At(("a", 2), None, (1, 7), PaneInfo(True, False, EARLY, 0, -1)),
        At(("a", 2), None, (1, 11), PaneInfo(False, False, EARLY, 1, -1)),
        At(("a", 1), None, (20, 25), PaneInfo(True, True, ON_TIME, 0, 0)),
    ]
)
def sessions_that_fire_early(p):
    windows = beam.WindowInto(Sessions(5), trigger=Repeatedly(AfterCount(2)), accumulation_mode=DISCARDING)
    return ones(p, "a1", "a2", "a5", "a6", "a20") | windows | beam.CombinePerKey(sum)


@case([At(("a", 2), None, (0, 10)), At(("a", 2), None, (5, 15)), At(("a", 0), None, (0, 10))])
def an_empty_pane_on_time(p):
    trigger = AfterWatermark(early=AfterCount(2))
    windows = beam.WindowInto(SlidingWindows(10, 5), trigger=trigger, accumulation_mode=DISCARDING)
    sums = ones(p, "a6", "a7") | windows | beam.CombinePerKey(sum)
    return sums | beam.Filter(lambda pair, w=beam.DoFn.WindowParam: pair[1] or w.start == 0)


@case([At(("a", 2))])
def no_empty_pane_when_told_so(p):
    windows = beam.WindowInto(
        FixedWindows(10),
        trigger=AfterWatermark(early=AfterCount(2)),
        accumulation_mode=DISCARDING,
        on_time_behavior="FIRE_IF_NON_EMPTY",
    )
    return ones(p, "a6", "a7") | windows | beam.CombinePerKey(sum)


@case([At(("a", 2), None, (0, 10)), At(("a", 2), None, (0, 10)), At(("a", 1), None, (0, 10))])
def what_one_grouping_fires_the_next_lets_through(p):
    windows = beam.WindowInto(
        FixedWindows(10), trigger=Repeatedly(AfterCount(2)), accumulation_mode=DISCARDING
    )
    sums = ones(p, "a1", "a2", "a3", "a4", "a5") | windows | "first" >> beam.CombinePerKey(sum)
    return sums | "second" >> beam.CombinePerKey(sum)


@case([At(("a", {"x": [1], "y": [1]})), At(("a", {"x": [1], "y": []}))])
def a_join_under_a_trigger(p):
    windows = beam.WindowInto(
        FixedWindows(10),
        trigger=Repeatedly(AfterAll(AfterCount(2), AfterCount(1))),
        accumulation_mode=DISCARDING,
    )
    x = in_time(p, (("a", 1), 1), label="x") | "wx" >> windows
    y = in_time(p, (("a", 1), 2), label="y") | "wy" >> windows
    late = in_time(p, (("a", 1), 11), label="x later") | "wl" >> windows
    return {"x": (x, late) | beam.Flatten(), "y": y} | beam.CoGroupByKey()


@case([At(("a", 3), 1), At(("b", 1), 4)])
def lateness_changes_nothing_on_bounded_data(p):
    windows = beam.WindowInto(
        FixedWindows(10),
        timestamp_combiner=beam.window.TimestampCombiner.OUTPUT_AT_EARLIEST,
        allowed_lateness=1000,
    )
    return ones(p, "a1", "a2", "a3", "b4") | windows | beam.CombinePerKey(sum)
