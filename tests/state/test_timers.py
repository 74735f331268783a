"""Timers: when they fire, in which order, what their callbacks get and what becomes of their outputs."""

from __future__ import annotations

from typing import Any

import pytest
from state.stage import FIXED, GLOBAL, Stage

from hornbeam.coders.coders import FastPrimitivesCoder
from hornbeam.pvalue import TaggedOutput
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
    on_window_expiration,
)
from hornbeam.transforms.window import IntervalWindow, TimestampedValue
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, WindowedValue

ANY = FastPrimitivesCoder()


class Scripted(DoFn):
    """Elements are (key, actions), each (timer, what, ...): sets and clears of three timers; firings are given out."""

    EVENT = TimerSpec("event", TimeDomain.WATERMARK)
    OTHER = TimerSpec("other", TimeDomain.WATERMARK)
    CLOCK = TimerSpec("clock", TimeDomain.REAL_TIME)
    #: What a callback does, by timer and tag.
    THEN = ReadModifyWriteStateSpec("then", ANY)

    def process(
        self,
        element: Any,
        event: Any = DoFn.TimerParam(EVENT),
        other: Any = DoFn.TimerParam(OTHER),
        clock: Any = DoFn.TimerParam(CLOCK),
        then: Any = DoFn.StateParam(THEN),
    ) -> None:
        timers = {"event": event, "other": other, "clock": clock}
        for action in element[1]:
            if action[0] == "then":
                then.write({**(then.read() or {}), action[1]: action[2]})
            else:
                do(timers, action)

    @on_timer(EVENT)
    def on_event(
        self,
        key: Any = DoFn.KeyParam,
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
        event: Any = DoFn.TimerParam(EVENT),
        other: Any = DoFn.TimerParam(OTHER),
        clock: Any = DoFn.TimerParam(CLOCK),
        then: Any = DoFn.StateParam(THEN),
    ) -> Any:
        return self.fired("event", key, tag, at, {"event": event, "other": other, "clock": clock}, then)

    @on_timer(OTHER)
    def on_other(
        self,
        key: Any = DoFn.KeyParam,
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
        event: Any = DoFn.TimerParam(EVENT),
        other: Any = DoFn.TimerParam(OTHER),
        clock: Any = DoFn.TimerParam(CLOCK),
        then: Any = DoFn.StateParam(THEN),
    ) -> Any:
        return self.fired("other", key, tag, at, {"event": event, "other": other, "clock": clock}, then)

    @on_timer(CLOCK)
    def on_clock(
        self,
        key: Any = DoFn.KeyParam,
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
        event: Any = DoFn.TimerParam(EVENT),
        other: Any = DoFn.TimerParam(OTHER),
        clock: Any = DoFn.TimerParam(CLOCK),
        then: Any = DoFn.StateParam(THEN),
    ) -> Any:
        return self.fired("clock", key, tag, at, {"event": event, "other": other, "clock": clock}, then)

    def fired(self, name: str, key: Any, tag: str, at: Any, timers: Any, then: Any) -> Any:
        yield f"{name}{'/' if tag else ''}{tag} {key} {at.seconds()}"
        for action in (then.read() or {}).get(name, ()):
            do(timers, action)


def do(timers: Any, action: Any) -> None:
    name, what, *args = action
    if what == "set":
        timers[name].set(*args[:2], **(args[2] if len(args) > 2 else {}))
    else:
        timers[name].clear(*args)


def scripted(*elements: Any, window_fn: Any = GLOBAL, lateness: float = 0) -> Stage:
    """A stage that got ((key, actions), timestamp) elements."""
    stage = Stage(Scripted(), window_fn, lateness)
    assert stage.feed(*elements) == []
    return stage


#: name: (actions of key k at time 0, moves (watermark or None, seconds of the clock), what each move fires).
#: The clock is at 1000 s.
CASES: dict[str, tuple[list[Any], list[tuple[float | None, float]], list[list[str]]]] = {
    "a timer fires when the watermark reaches its time": (
        [("event", "set", 5)],
        [(4.999999, 0), (5, 0), (6, 0)],
        [[], ["event k 5"], []],
    ),
    "timers fire in the order of their times, not of their setting": (
        [("event", "set", 5), ("other", "set", 3)],
        [(9, 0)],
        [["other k 3", "event k 5"]],
    ),
    "timers of one time fire in the order of their setting": (
        [("other", "set", 3), ("event", "set", 3)],
        [(9, 0)],
        [["other k 3", "event k 3"]],
    ),
    "setting again counts as the setting": (
        [("other", "set", 3), ("event", "set", 3), ("other", "set", 3)],
        [(9, 0)],
        [["event k 3", "other k 3"]],
    ),
    "setting again replaces": (
        [("event", "set", 3), ("event", "set", 7)],
        [(5, 0), (7, 0)],
        [[], ["event k 7"]],
    ),
    "setting again may be for earlier": (
        [("event", "set", 7), ("event", "set", 3)],
        [(3, 0), (9, 0)],
        [["event k 3"], []],
    ),
    "a cleared timer does not fire": ([("event", "set", 3), ("event", "clear")], [(9, 0)], [[]]),
    "clearing what is not set does nothing": ([("event", "clear"), ("event", "clear", "x")], [(9, 0)], [[]]),
    "a tag makes a timer of its own": (
        [("event", "set", 3, "a"), ("event", "set", 2, "b"), ("event", "set", 4)],
        [(9, 0)],
        [["event/b k 2", "event/a k 3", "event k 4"]],
    ),
    "tags are cleared one by one": (
        [("event", "set", 3, "a"), ("event", "set", 2, "b"), ("event", "set", 4), ("event", "clear", "a")],
        [(9, 0)],
        [["event/b k 2", "event k 4"]],
    ),
    "a tag that is set again": (
        [("event", "set", 3, "a"), ("event", "set", 5, "a")],
        [(4, 0), (5, 0)],
        [[], ["event/a k 5"]],
    ),
    "the same tag in two families": (
        [("event", "set", 3, "a"), ("other", "set", 2, "a")],
        [(9, 0)],
        [["other/a k 2", "event/a k 3"]],
    ),
    "a timer on the clock fires when the clock reaches its time, whatever the watermark": (
        [("clock", "set", 1005)],
        [(9, 4.999999), (9, 0.000001)],
        [[], ["clock k 1005"]],
    ),
    "tags on the clock": (
        [("clock", "set", 1005, "a"), ("clock", "set", 1003, "b"), ("clock", "clear", "a")],
        [(None, 9)],
        [["clock/b k 1003"]],
    ),
    "a timer for a time that has passed fires at the next step": (
        [("event", "set", -5), ("clock", "set", 5)],
        [(0, 0)],
        [["event k -5", "clock k 5"]],
    ),
    "a callback sets another timer that is due: it fires in the same step, in its place": (
        [("event", "set", 3), ("then", "event", [("other", "set", 4)]), ("other", "set", 8)],
        [(5, 0)],
        [["event k 3", "other k 4"]],
    ),
    "a callback sets its own timer until it is not due any more": (
        [("event", "set", 3), ("then", "event", [("event", "set", 7)])],
        [(5, 0), (6, 0)],
        [["event k 3"], []],
    ),
    "a callback clears a timer that is due too": (
        [("event", "set", 3), ("other", "set", 4), ("then", "event", [("other", "clear")])],
        [(9, 0)],
        [["event k 3"]],
    ),
    "what a callback on the clock makes due comes before the next one on the clock": (
        [("clock", "set", 1001, "a"), ("clock", "set", 1002, "b"), ("then", "clock", [("event", "set", 1)])],
        [(5, 9)],
        [["clock/a k 1001", "event k 1", "clock/b k 1002", "event k 1"]],
    ),
    "event time comes before the clock": (
        [("clock", "set", 1001), ("event", "set", 5)],
        [(5, 9)],
        [["event k 5", "clock k 1001"]],
    ),
    "a Timestamp and a fraction of a second": ([("event", "set", 2.5)], [(2.4, 0), (2.5, 0)], [[], ["event k 2"]]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_timer(name: str) -> None:
    actions, moves, expected = CASES[name]
    stage = scripted((("k", actions), 0))
    assert [stage.values(stage.advance(*move)) for move in moves] == expected
    assert stage.advance(stage.watermark / 1e6) == []


def test_timers_of_several_keys_fire_in_the_order_of_their_times() -> None:
    stage = scripted(
        (("a", [("event", "set", 5)]), 0),
        (("b", [("event", "set", 3)]), 0),
        (("c", [("event", "set", 5)]), 0),
        (("d", [("event", "set", 4)]), 0),
    )
    assert stage.values(stage.advance(9)) == ["event b 3", "event d 4", "event a 5", "event c 5"]


#: name: (actions, timestamp of the element, move, the output's timestamp)
STAMPS: dict[str, tuple[list[Any], float, tuple[float | None, float], float]] = {
    "event time: the time it was set for": ([("event", "set", 5)], 2, (7, 0), 5),
    "event time: the output timestamp": ([("event", "set", 5, "", {"output_timestamp": 3})], 2, (7, 0), 3),
    "clock: the element's": ([("clock", "set", 1005)], 2, (None, 9), 2),
    "clock: the output timestamp": ([("clock", "set", 1005, "", {"output_timestamp": 3})], 2, (None, 9), 3),
    "clock, with a tag": ([("clock", "set", 1005, "x")], 2, (None, 9), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", STAMPS)
def test_outputs_get_the_timestamp_at_which_the_watermark_was_held(name: str) -> None:
    actions, stamp, move, expected = STAMPS[name]
    stage = scripted((("k", actions), stamp))
    assert stage.head.hold() == expected * 1e6
    ((_, found, _),) = stage.advance(*move)
    assert found == expected
    assert stage.head.hold() == 1 << 63


def test_each_element_sets_timers_on_the_clock_at_its_own_timestamp() -> None:
    stage = scripted(*[((key, [("clock", "set", 1001)]), stamp) for stamp, key in enumerate("abcd")])
    assert stage.advance(None, 9) == [(f"clock {key} 1001", stamp, None) for stamp, key in enumerate("abcd")]


def test_a_timer_on_the_clock_that_a_callback_sets_keeps_the_callback_s_timestamp() -> None:
    stage = scripted((("k", [("clock", "set", 1001), ("then", "clock", [("clock", "set", 1005)])]), 2))
    assert stage.advance(None, 2) == [("clock k 1001", 2, None)]
    assert stage.head.hold() == 2e6
    assert stage.advance(None, 2) == []
    assert stage.head.next_wakeup() == 1005e6


@pytest.mark.parametrize(
    ("stamp", "output", "message"),
    [
        (5, 4, r"'event': output_timestamp must lie between the timestamp at hand \(Timestamp\(5\)\)"),
        (5, 10, r"and the expiration of \[0.0, 10.0\); it is Timestamp\(10\)"),
    ],
)
def test_output_timestamps_that_make_no_sense(stamp: float, output: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scripted((("k", [("event", "set", 7, "", {"output_timestamp": output})]), stamp), window_fn=FIXED)
    with pytest.raises(ValueError, match="outside of the time that there is"):
        scripted((("k", [("event", "set", 1e15)]), 0))


def test_what_the_next_step_waits_for_is_known() -> None:
    stage = Stage(Scripted(), FIXED)
    head = stage.head
    assert (head.next_watermark(), head.next_wakeup(), head.hold()) == ((1 << 63) + 1, 1 << 63, 1 << 63)
    stage.feed((("k", [("event", "set", 5), ("clock", "set", 1007), ("clock", "set", 1003, "x")]), 1))
    assert (head.next_watermark(), head.next_wakeup(), head.hold()) == (5e6, 1003e6, 1e6)
    stage.advance(5)
    assert (head.next_watermark(), head.next_wakeup()) == (10e6, 1003e6)
    stage.feed((("k", [("clock", "clear", "x")]), 1))
    assert head.next_wakeup() == 1007e6
    stage.advance(None, 9)
    assert (head.next_wakeup(), head.hold()) == (1 << 63, 1 << 63)


def test_holds_say_which_timer_of_which_key_in_which_window() -> None:
    stage = scripted(
        (("a", [("event", "set", 5), ("clock", "set", 1007, "x")]), 2), (("b", [("event", "set", 4)]), 3), window_fn=FIXED
    )  # fmt: skip
    assert [(hold.micros / 1e6, hold.reason) for hold in stage.head.holds()] == [
        (2, "timer 'clock' (tag 'x') of key 'a' in [0.0, 10.0)"),
        (4, "timer 'event' of key 'b' in [0.0, 10.0)"),
        (5, "timer 'event' of key 'a' in [0.0, 10.0)"),
    ]
    many = scripted(*[((n, [("event", "set", n)]), 0) for n in range(100)])
    assert [hold.micros / 1e6 for hold in many.head.holds()] == [0, 1, 2, 3, 4]


class Giving(DoFn):
    """Gives out in every way, from process and from a callback."""

    T = TimerSpec("t", TimeDomain.WATERMARK)

    def process(self, element: Any, t: Any = DoFn.TimerParam(T), window: Any = DoFn.WindowParam) -> Any:
        t.set(5)
        return self.outputs(window)

    @on_timer(T)
    def fired(self, window: Any = DoFn.WindowParam, pane: Any = DoFn.PaneInfoParam) -> Any:
        assert pane == PANE_INFO_UNKNOWN
        return self.outputs(window)

    def outputs(self, window: Any) -> Any:
        assert window == IntervalWindow(0, 10)
        return [
            "plain",
            TimestampedValue("later", 17),
            WindowedValue("elsewhere", 33, (IntervalWindow(20, 30),)),
            TaggedOutput("side", "aside"),
            TaggedOutput("side", TimestampedValue("aside too", 3)),
            "plain again",
        ]


def test_outputs_of_a_callback_are_those_of_process() -> None:
    stage = Stage(Giving(), FIXED)
    expected = [("plain", None, 0), ("later", 17, 10), ("elsewhere", 33, 20), ("plain again", None, 0)]
    assert stage.feed((("k", 0), 2)) == [(v, 2 if t is None else t, w) for v, t, w in expected]
    assert stage.advance(7) == [(v, 5 if t is None else t, w) for v, t, w in expected]
    assert stage.tagged == ["aside", "aside too"] * 2


def test_a_callback_with_endless_output_is_cut_into_parts() -> None:
    class Endless(DoFn):
        T = TimerSpec("t", TimeDomain.WATERMARK)

        def process(self, element: Any, t: Any = DoFn.TimerParam(T)) -> None:
            t.set(5)

        @on_timer(T)
        def fired(self) -> Any:
            yield from range(10_000_000)

    class Enough(Exception):
        pass

    stage = Stage(Endless())
    stage.feed(("k", 0))

    def stop(bundle: Any) -> None:
        stage.bundles.append(bundle)
        if len(stage.bundles) == 3:
            raise Enough

    stage.head.outputs._main = stop
    with pytest.raises(Enough):
        stage.advance(9)
    assert [len(bundle) for bundle in stage.bundles] == [1024, 1024, 1024]


@pytest.mark.parametrize("gives", [5, "ab", {"a": 1}])
def test_a_callback_gives_an_iterable(gives: Any) -> None:
    class Wrong(DoFn):
        T = TimerSpec("t", TimeDomain.WATERMARK)

        def process(self, element: Any, t: Any = DoFn.TimerParam(T)) -> None:
            t.set(5)

        @on_timer(T)
        def fired(self) -> Any:
            return gives

    stage = Stage(Wrong())
    stage.feed(("k", 0))
    with pytest.raises(TypeError, match="where an iterable of elements is wanted"):
        stage.advance(9)


class Failing(DoFn):
    """Raises what the element says, in process or in a callback."""

    T = TimerSpec("flush", TimeDomain.WATERMARK)
    C = TimerSpec("tick", TimeDomain.REAL_TIME)
    B = BagStateSpec("b", ANY)

    def process(
        self,
        element: Any,
        t: Any = DoFn.TimerParam(T),
        c: Any = DoFn.TimerParam(C),
        b: Any = DoFn.StateParam(B),
    ) -> Any:
        if element[1] == "now":
            raise ValueError("broken")
        if element[1] == "stop":
            raise StopIteration
        b.add(element[1])
        if element[1] == "event":
            t.set(7)
        if element[1] == "clock":
            c.set(1001)

    @on_timer(T)
    def flush(self) -> Any:
        raise ValueError("broken")

    @on_timer(C)
    def tick(self) -> Any:
        next(iter(()))

    @on_window_expiration
    def last(self, b: Any = DoFn.StateParam(B)) -> Any:
        if "end" in list(b.read()):
            yield 1
            raise ValueError("broken")


WINDOW = "window [0.0, 10.0)"
LAST = "Timestamp(9.999999)"


@pytest.mark.parametrize(
    ("what", "kind", "note"),
    [
        ("now", ValueError, f"'Step' on element ('k', 'now') (timestamp Timestamp(3), {WINDOW})"),
        ("stop", RuntimeError, f"'Step' on element ('k', 'stop') (timestamp Timestamp(3), {WINDOW})"),
        ("event", ValueError, f"\"Step, timer 'flush'\" for key 'k' (timestamp Timestamp(7), {WINDOW})"),
        ("clock", RuntimeError, f"\"Step, timer 'tick'\" for key 'k' (timestamp Timestamp(1001), {WINDOW})"),
        ("end", ValueError, f"'Step, on_window_expiration' for key 'k' (timestamp {LAST}, {WINDOW})"),
    ],
)  # fmt: skip
def test_failures_name_the_step_and_what_it_worked_on(what: str, kind: Any, note: str) -> None:
    stage = Stage(Failing(), FIXED)
    with pytest.raises(kind) as caught:
        stage.feed((("j", 0), 2), (("k", what), 3), (("l", 0), 4))
        stage.advance(9, 9)
        stage.end()
    assert caught.value.__notes__ == [f"while running step {note}"]
