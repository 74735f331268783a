"""Cases: DoFns with state and timers, on bounded data and on streams."""

from __future__ import annotations

from model.cases_streams import script
from model.table import At, case, in_time

import hornbeam as beam
from hornbeam.coders import coders
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    MapStateSpec,
    MultiMapStateSpec,
    OrderedListStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    TimerSpec,
    on_timer,
)
from hornbeam.transforms.window import FixedWindows

INT, TEXT = coders.VarIntCoder(), coders.StrUtf8Coder()


class Numbered(beam.DoFn):
    """(key, place of the element among those of its key and window, value)."""

    COUNT = ReadModifyWriteStateSpec("count", INT)

    def process(self, pair, count=beam.DoFn.StateParam(COUNT)):
        place = count.read() or 0
        count.write(place + 1)
        yield pair[0], place, pair[1]


@case([("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z")])
def value_state_is_kept_by_key(p):
    return p | beam.Create([("a", "x"), ("a", "y"), ("b", "z")], reshuffle=False) | beam.ParDo(Numbered())


@case(
    [
        At(("a", 0, "x"), window=(0, 10)),
        At(("a", 0, "y"), window=(10, 20)),
        At(("a", 1, "z"), window=(10, 20)),
    ]
)
def state_is_kept_by_window(p):
    pairs = in_time(p, (("a", "x"), 1), (("a", "y"), 11), (("a", "z"), 12))
    return pairs | beam.WindowInto(FixedWindows(10)) | beam.ParDo(Numbered())


class Last(beam.DoFn):
    """At the end of the window all that came, by way of every kind of state."""

    BAG, SET = BagStateSpec("bag", INT), SetStateSpec("set", INT)
    SUM = CombiningValueStateSpec("sum", INT, sum)
    MAP = MapStateSpec("map", TEXT, INT)
    MULTI = MultiMapStateSpec("multi", TEXT, INT)
    ORDERED = OrderedListStateSpec("ordered", INT)
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def process(
        self,
        pair,
        stamp=beam.DoFn.TimestampParam,
        window=beam.DoFn.WindowParam,
        bag=beam.DoFn.StateParam(BAG),
        distinct=beam.DoFn.StateParam(SET),
        total=beam.DoFn.StateParam(SUM),
        mapped=beam.DoFn.StateParam(MAP),
        multi=beam.DoFn.StateParam(MULTI),
        ordered=beam.DoFn.StateParam(ORDERED),
        end=beam.DoFn.TimerParam(END),
    ):
        value = pair[1]
        bag.add(value)
        distinct.add(value)
        total.add(value)
        mapped.put("odd" if value % 2 else "even", value)
        multi.add("odd" if value % 2 else "even", value)
        ordered.add((stamp, value))
        end.set(window.end)

    @on_timer(END)
    def at_end(
        self,
        key=beam.DoFn.KeyParam,
        bag=beam.DoFn.StateParam(BAG),
        distinct=beam.DoFn.StateParam(SET),
        total=beam.DoFn.StateParam(SUM),
        mapped=beam.DoFn.StateParam(MAP),
        multi=beam.DoFn.StateParam(MULTI),
        ordered=beam.DoFn.StateParam(ORDERED),
    ):
        yield (
            key,
            sorted(bag.read()),
            sorted(distinct.read()),
            total.read(),
            dict(sorted(mapped.items())),
            {name: sorted(multi.get(name)) for name in sorted(multi.keys())},
            [value for _, value in ordered.read()],
        )


ALL_KINDS = [
    ("a", [2, 3, 3], [2, 3], 8, {"even": 2, "odd": 3}, {"even": [2], "odd": [3, 3]}, [3, 2, 3]),
    ("b", [5], [5], 5, {"odd": 5}, {"odd": [5]}, [5]),
]


@case(ALL_KINDS)
def every_kind_of_state_on_bounded_data(p):
    pairs = in_time(p, (("a", 2), 2), (("a", 3), 1), (("a", 3), 3), (("b", 5), 4))
    return pairs | beam.WindowInto(FixedWindows(10)) | beam.ParDo(Last())


@case(ALL_KINDS)
def every_kind_of_state_on_a_stream(p):
    events = [(("a", 2), 2)], 1, [(("a", 3), 1), (("a", 3), 3), (("b", 5), 4)], 12
    return script(p, *events) | beam.WindowInto(FixedWindows(10)) | beam.ParDo(Last())


class Silence(beam.DoFn):
    """Tells when a key has given nothing for five seconds of event time."""

    SILENT = TimerSpec("silent", TimeDomain.WATERMARK)

    def process(self, pair, stamp=beam.DoFn.TimestampParam, silent=beam.DoFn.TimerParam(SILENT)):
        silent.set(stamp + 5)

    @on_timer(SILENT)
    def tell(self, key=beam.DoFn.KeyParam, stamp=beam.DoFn.TimestampParam):
        yield key, float(stamp)


@case([At(("a", 9.0), 9.0), At(("b", 7.0), 7.0), At(("a", 25.0), 25.0)])
def an_event_time_timer_fires_as_the_watermark_reaches_it_and_is_reset(p):
    events = [(("a", 1), 1), (("b", 1), 2)], 5, [(("a", 1), 4)], 15, [(("a", 1), 20)], 30
    return script(p, *events) | beam.ParDo(Silence())


class Flush(beam.DoFn):
    """Gives what it has gathered ten seconds of the clock after the first element."""

    BAG = BagStateSpec("bag", TEXT)
    DUE = TimerSpec("due", TimeDomain.REAL_TIME)
    WAITS = ReadModifyWriteStateSpec("waits", INT)

    def __init__(self, now):
        self.now = now

    def process(
        self,
        pair,
        bag=beam.DoFn.StateParam(BAG),
        waits=beam.DoFn.StateParam(WAITS),
        due=beam.DoFn.TimerParam(DUE),
    ):
        if not waits.read():
            waits.write(1)
            due.set(self.now + 10)
        bag.add(pair[1])

    @on_timer(DUE)
    def flush(self, key=beam.DoFn.KeyParam, bag=beam.DoFn.StateParam(BAG), waits=beam.DoFn.StateParam(WAITS)):
        yield key, sorted(bag.read())
        bag.clear()
        waits.clear()


@case([At(("a", ["x", "y"]), 1.0)])
def a_processing_time_timer_fires_as_the_clock_reaches_it(p):
    events = [(("a", "x"), 1)], "9s", [(("a", "y"), 2)], "1s"
    return script(p, *events) | beam.ParDo(Flush(0))


@case([("a", ["x", "y"])])
def processing_time_timers_fire_at_the_latest_when_time_ends(p):
    pairs = p | beam.Create([("a", "x"), ("a", "y")], reshuffle=False)
    return pairs | beam.ParDo(Flush(1 << 33))


class Chain(beam.DoFn):
    """A timer that sets itself again, and one of a family for each tag."""

    TICK = TimerSpec("tick", TimeDomain.WATERMARK)
    TAGGED = TimerSpec("tagged", TimeDomain.WATERMARK)

    def process(self, pair, tick=beam.DoFn.TimerParam(TICK), tagged=beam.DoFn.TimerParam(TAGGED)):
        tick.set(10)
        tagged.set(15, dynamic_timer_tag="first")
        tagged.set(25, dynamic_timer_tag="second")
        tagged.set(26, dynamic_timer_tag="cleared")
        tagged.clear(dynamic_timer_tag="cleared")

    @on_timer(TICK)
    def again(self, stamp=beam.DoFn.TimestampParam, tick=beam.DoFn.TimerParam(TICK)):
        yield "tick", float(stamp)
        if stamp < 30:
            tick.set(stamp + 10)

    @on_timer(TAGGED)
    def of_family(self, stamp=beam.DoFn.TimestampParam, tag=beam.DoFn.DynamicTimerTagParam):
        yield tag, float(stamp)


@case(
    [
        At((n, t), t)
        for n, t in (("tick", 10.0), ("first", 15.0), ("tick", 20.0), ("second", 25.0), ("tick", 30.0))
    ]
)
def timers_set_timers_and_have_families(p):
    return script(p, [(("a", 1), 1)], 12, 40) | beam.ParDo(Chain())


@case([("a", 1), ("a", 2), ("a", 3)])
def late_elements_do_not_reach_state(p):
    class Running(beam.DoFn):
        TOTAL = CombiningValueStateSpec("total", INT, sum)

        def process(self, pair, total=beam.DoFn.StateParam(TOTAL)):
            total.add(1)
            yield pair[0], total.read()

    events = [(("a", 0), 1), (("a", 0), 2)], 9, [(("a", 0), 3)], 10, [(("a", 0), 4)]
    return script(p, *events) | beam.WindowInto(FixedWindows(10)) | beam.ParDo(Running())


@case([("a", 2, "early"), ("a", 9, "late")])
def sorted_input_waits_for_the_watermark(p):
    class InOrder(beam.DoFn):
        SEEN = BagStateSpec("seen", INT)

        @beam.DoFn.requires_time_sorted_input
        def process(self, pair, stamp=beam.DoFn.TimestampParam, seen=beam.DoFn.StateParam(SEEN)):
            before = list(seen.read())
            seen.add(int(stamp))
            yield pair[0], int(stamp), "late" if before else "early"

    events = [(("a", 1), 9), (("a", 1), 2)], 20
    return script(p, *events) | beam.ParDo(InOrder())


@case([("k", ["a", "b"]), ("k", ["c"])])
def group_into_batches_on_a_stream(p):
    elements = script(p, [(("k", "a"), 1)], [(("k", "b"), 2), (("k", "c"), 3)], 10)
    return elements | beam.GroupIntoBatches(2) | beam.MapTuple(lambda k, vs: (k, list(vs)))
