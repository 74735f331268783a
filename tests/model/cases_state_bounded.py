"""Cases: state and timers on bounded data, where the watermark goes to the end of time when the input has ended."""

from __future__ import annotations

from model.table import At, case, in_time

import hornbeam as beam
from hornbeam.coders.coders import FastPrimitivesCoder, StrUtf8Coder, VarIntCoder
from hornbeam.pvalue import TaggedOutput
from hornbeam.transforms.deduplicate import Deduplicate, DeduplicatePerKey
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    MapStateSpec,
    OrderedListStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    TimerSpec,
    on_timer,
    on_window_expiration,
)
from hornbeam.transforms.window import FixedWindows, SlidingWindows

ANY = FastPrimitivesCoder()
PAIRS = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]


def in_windows(p, size=10):
    """Elements ((key, value)) at the time of their value, in fixed windows."""
    stamped = p | beam.Create(PAIRS) | beam.WithTimestamps(lambda pair: pair[1])
    return stamped | beam.WindowInto(FixedWindows(size))


class RunningSum(beam.DoFn):
    """The sum of a key so far."""

    TOTAL = ReadModifyWriteStateSpec("total", VarIntCoder())

    def process(self, element, total=beam.DoFn.StateParam(TOTAL)):
        key, value = element
        now = (total.read() or 0) + value
        total.write(now)
        yield key, now


@case([("a", 1), ("b", 2), ("a", 4), ("a", 8), ("b", 7)])
def a_value_is_kept_for_each_key(p):
    return p | beam.Create(PAIRS) | beam.ParDo(RunningSum())


@case(
    [
        At(("a", 1), 1, (0, 4)),
        At(("b", 2), 2, (0, 4)),
        At(("a", 4), 3, (0, 4)),
        At(("a", 4), 4, (4, 8)),
        At(("b", 5), 5, (4, 8)),
    ]
)
def a_value_is_kept_for_each_window(p):
    return in_windows(p, 4) | beam.ParDo(RunningSum())


@case([("a", 1), ("b", 2), ("a", 4), ("a", 8), ("b", 7)])
def a_function_may_have_state_too(p):
    def running(pair, total=beam.DoFn.StateParam(RunningSum.TOTAL)):
        total.write((total.read() or 0) + pair[1])
        return pair[0], total.read()

    return p | beam.Create(PAIRS) | beam.Map(running)


@case([("a", 1), ("b", 2), ("a", 4), ("a", 8), ("b", 7)])
def a_function_of_an_element_s_parts_may_have_state_too(p):
    def running(key, value, total=beam.DoFn.StateParam(RunningSum.TOTAL)):
        total.write((total.read() or 0) + value)
        return key, total.read()

    return p | beam.Create(PAIRS) | beam.MapTuple(running)


class EveryKind(beam.DoFn):
    """Puts each value into a cell of each kind; says what they hold at the end."""

    BAG = BagStateSpec("bag", ANY)
    SET = SetStateSpec("set", ANY)
    SUM = CombiningValueStateSpec("sum", sum)
    LIST = OrderedListStateSpec("list", ANY)
    MAP = MapStateSpec("map", StrUtf8Coder(), ANY)

    def process(
        self,
        element,
        bag=beam.DoFn.StateParam(BAG),
        seen=beam.DoFn.StateParam(SET),
        total=beam.DoFn.StateParam(SUM),
        ordered=beam.DoFn.StateParam(LIST),
        by_name=beam.DoFn.StateParam(MAP),
    ):
        _, value = element
        bag.add(value)
        seen.add(value % 2)
        total.add(value)
        ordered.add((-value, value))
        by_name.put(str(value % 2), value)

    @on_window_expiration
    def end(
        self,
        key=beam.DoFn.KeyParam,
        bag=beam.DoFn.StateParam(BAG),
        seen=beam.DoFn.StateParam(SET),
        total=beam.DoFn.StateParam(SUM),
        ordered=beam.DoFn.StateParam(LIST),
        by_name=beam.DoFn.StateParam(MAP),
    ):
        yield (
            key,
            tuple(bag.read()),
            tuple(sorted(seen.read())),
            total.read(),
            tuple(value for _, value in ordered.read()),
            tuple(sorted(by_name.items())),
        )


@case(
    [
        At(("a", (1, 3, 4), (0, 1), 8, (4, 3, 1), (("0", 4), ("1", 3))), 9.999999, (0, 10)),
        At(("b", (2, 5), (0, 1), 7, (5, 2), (("0", 2), ("1", 5))), 9.999999, (0, 10)),
    ]
)
def each_kind_of_state_lasts_until_the_window_expires(p):
    return in_windows(p) | beam.ParDo(EveryKind())


class Flushing(beam.DoFn):
    """Buffers, and flushes by a timer at the end of the window, in event time or on the clock."""

    BUFFER = BagStateSpec("buffer", ANY)
    EVENT = TimerSpec("event", TimeDomain.WATERMARK)
    CLOCK = TimerSpec("clock", TimeDomain.REAL_TIME)

    def __init__(self, on_clock):
        self.on_clock = on_clock

    def process(
        self,
        element,
        buffer=beam.DoFn.StateParam(BUFFER),
        event=beam.DoFn.TimerParam(EVENT),
        clock=beam.DoFn.TimerParam(CLOCK),
        window=beam.DoFn.WindowParam,
    ):
        buffer.add(element[1])
        if self.on_clock:
            clock.set(32503680000)  # in the year 3000
        else:
            event.set(window.max_timestamp())

    @on_timer(EVENT)
    def at_the_end(self, key=beam.DoFn.KeyParam, buffer=beam.DoFn.StateParam(BUFFER)):
        yield key, tuple(buffer.read())
        buffer.clear()

    @on_timer(CLOCK)
    def in_time(self, key=beam.DoFn.KeyParam, buffer=beam.DoFn.StateParam(BUFFER)):
        yield key, tuple(buffer.read())
        buffer.clear()


@case(
    [
        At(("a", (1, 3)), 3.999999, (0, 4)),
        At(("b", (2,)), 3.999999, (0, 4)),
        At(("a", (4,)), 7.999999, (4, 8)),
        At(("b", (5,)), 7.999999, (4, 8)),
    ]
)
def timers_in_event_time_fire_when_the_input_has_ended(p):
    return in_windows(p, 4) | beam.ParDo(Flushing(False))


@case(
    [
        At(("a", (1, 3)), 3, (0, 4)),
        At(("b", (2,)), 2, (0, 4)),
        At(("a", (4,)), 4, (4, 8)),
        At(("b", (5,)), 5, (4, 8)),
    ]
)
def timers_on_the_clock_fire_before_their_window_expires(p):
    return in_windows(p, 4) | beam.ParDo(Flushing(True))


class Countdown(beam.DoFn):
    """A timer that sets itself again, a second later, as often as the element says."""

    LEFT = ReadModifyWriteStateSpec("left", ANY)
    TICK = TimerSpec("tick", TimeDomain.WATERMARK)

    def process(self, element, left=beam.DoFn.StateParam(LEFT), tick=beam.DoFn.TimerParam(TICK)):
        left.write(element[1])
        tick.set(1, dynamic_timer_tag=element[0])

    @on_timer(TICK)
    def ticked(
        self,
        left=beam.DoFn.StateParam(LEFT),
        tick=beam.DoFn.TimerParam(TICK),
        tag=beam.DoFn.DynamicTimerTagParam,
        at=beam.DoFn.TimestampParam,
    ):
        yield tag, left.read()
        left.write(left.read() - 1)
        if left.read():
            tick.set(at + 1, tag)


@case([At(("a", 3), 1), At(("a", 2), 2), At(("a", 1), 3), At(("b", 1), 1)])
def a_timer_sets_itself_again(p):
    return in_time(p, *[(("a", 3), 0), (("b", 1), 0)]) | beam.ParDo(Countdown())


class Sorted(beam.DoFn):
    """What came before each element of a key, given in the order of time."""

    BEFORE = ReadModifyWriteStateSpec("before", ANY)

    @beam.DoFn.requires_time_sorted_input
    def process(self, element, before=beam.DoFn.StateParam(BEFORE)):
        yield before.read(), element[1]
        before.write(element[1])


@case([At((None, "x"), 1), At(("x", "y"), 2), At(("y", "z"), 5), At((None, "p"), 3)])
def elements_come_in_the_order_of_time_if_asked_for(p):
    rows = [(("k", "z"), 5), (("k", "x"), 1), (("j", "p"), 3), (("k", "y"), 2)]
    return in_time(p, *rows) | beam.ParDo(Sorted())


class Tagging(beam.DoFn):
    """Outputs for two tags, from process and from a timer."""

    T = TimerSpec("t", TimeDomain.WATERMARK)

    def process(self, element, t=beam.DoFn.TimerParam(T)):
        t.set(7)
        yield element
        yield TaggedOutput("side", element[1])

    @on_timer(T)
    def fired(self, key=beam.DoFn.KeyParam):
        yield key
        yield TaggedOutput("side", f"timer {key}")


@case(main=[("a", 1), ("b", 2), "a", "b"], side=[1, 2, "timer a", "timer b"])
def outputs_of_timers_have_tags_too(p):
    pairs = p | beam.Create([("a", 1), ("b", 2)])
    main, side = pairs | beam.ParDo(Tagging()).with_outputs("side", main="main")
    return {"main": main, "side": side}


@case([("a", 1), ("b", 2), ("a", 5), ("a", 13), ("b", 9)])
def stateful_steps_in_a_row(p):
    return p | beam.Create(PAIRS) | beam.ParDo(RunningSum()) | "Again" >> beam.ParDo(RunningSum())


@case([("a", (1, 3, 4)), ("b", (2, 5))])
def what_a_step_keeps_to_the_end_reaches_the_next_one_before_its_own_end(p):
    flushed = p | beam.Create(PAIRS) | beam.ParDo(Flushing(False))
    each = flushed | beam.FlatMapTuple(lambda key, values: [(key, value) for value in values])
    return each | "Again" >> beam.ParDo(Flushing(False))


@case([("a", 8), ("b", 7)])
def what_is_kept_to_the_end_is_grouped(p):
    flushed = p | beam.Create(PAIRS) | beam.ParDo(Flushing(False))
    sums = flushed | beam.MapTuple(lambda key, values: (key, sum(values)))
    return sums | beam.CombinePerKey(sum)


@case([("a", 8), ("b", 7)])
def state_behind_a_grouping(p):
    grouped = p | beam.Create(PAIRS) | beam.GroupByKey()
    return grouped | beam.MapTuple(lambda key, values: (key, sum(values))) | beam.ParDo(RunningSum())


class Scaled(beam.DoFn):
    """A running sum, times a side input."""

    TOTAL = CombiningValueStateSpec("total", sum)

    def process(self, element, factor, total=beam.DoFn.StateParam(TOTAL), *, plus=0):
        total.add(element[1] * factor)
        return [(element[0], total.read() + plus)]


@case([("a", 11), ("b", 21), ("a", 41), ("a", 81), ("b", 71)])
def state_beside_a_side_input(p):
    factor = p | "Factor" >> beam.Create([10])
    return p | beam.Create(PAIRS) | beam.ParDo(Scaled(), beam.pvalue.AsSingleton(factor), plus=1)


@case([(1, 1), (1.0, 1), (True, 1), ("1", 1), (None, 1), (1, 2), (True, 2)])
def keys_of_state_are_the_same_when_equally_encoded(p):
    keys = [(key, 1) for key in (1, 1.0, True, "1", None, 1, True)]
    return p | beam.Create(keys) | beam.ParDo(RunningSum())


@case(
    [
        At(("k", 1), 7, (5, 15)),
        At(("k", 1), 7, (0, 10)),
        At(("k", 2), 12, (10, 20)),
        At(("k", 3), 12, (5, 15)),
    ]
)
def an_element_is_processed_for_each_of_its_windows(p):
    stamped = in_time(p, *[(("k", 1), 7), (("k", 2), 12)])
    return stamped | beam.WindowInto(SlidingWindows(10, 5)) | beam.ParDo(RunningSum())


class Fragile(beam.DoFn):
    """A running sum that fails at 3, after it was added."""

    TOTAL = RunningSum.TOTAL

    def process(self, element, total=beam.DoFn.StateParam(TOTAL)):
        total.write((total.read() or 0) + element[1])
        if element[1] == 3:
            raise ValueError("three")
        yield element[0], total.read()


@case(good=[("a", 1), ("b", 2), ("a", 8), ("b", 7)], bad=[("a", 3)])
def what_a_failing_element_did_to_state_stays(p):
    guarded = beam.ParDo(Fragile()).with_exception_handling(allow_unsafe_userstate_in_process=True)
    good, bad = p | beam.Create(PAIRS) | guarded
    return {"good": good, "bad": bad | beam.Keys()}


@case(good=[("a", (1, 3, 4)), ("b", (2, 5))], bad=[])
def timers_of_a_guarded_dofn_fire(p):
    guarded = beam.ParDo(Flushing(False)).with_exception_handling(allow_unsafe_userstate_in_process=True)
    good, bad = p | beam.Create(PAIRS) | guarded
    return {"good": good, "bad": bad}


@case([("a", 1), ("b", 2)])
def the_first_of_each_key(p):
    return p | beam.Create(PAIRS) | DeduplicatePerKey(processing_time_duration=60)


@case([At(("a", 1), 1, (0, 4)), At(("b", 2), 2, (0, 4)), At(("a", 4), 4, (4, 8)), At(("b", 5), 5, (4, 8))])
def the_first_of_each_key_and_window(p):
    return in_windows(p, 4) | DeduplicatePerKey(event_time_duration=60)


@case([1, 2, 3, "1", 1.0])
def equal_elements_once(p):
    return p | beam.Create([1, 2, 1, 3, "1", 1.0, 2, 1.0]) | Deduplicate(60, 60)
