"""The end of windows: last calls, what is dropped, what is forgotten; and state with a time to live."""

from __future__ import annotations

from typing import Any

import pytest
from state.stage import FIXED, GLOBAL, Stage

from hornbeam.coders.coders import FastPrimitivesCoder, StrUtf8Coder
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    MapStateSpec,
    MultiMapStateSpec,
    OrderedListStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    StateSpec,
    TimerSpec,
    on_timer,
    on_window_expiration,
)
from hornbeam.transforms.window import IntervalWindow, SlidingWindows

ANY = FastPrimitivesCoder()
FOREVER = (1 << 63) + 1


class Counting(DoFn):
    """Counts per key and window, and says the count at the end."""

    N = ReadModifyWriteStateSpec("n", ANY)
    LATER = TimerSpec("later", TimeDomain.WATERMARK)

    def process(self, element: Any, n: Any = DoFn.StateParam(N), later: Any = DoFn.TimerParam(LATER)) -> None:
        if element[1] == "clear":
            n.clear()
        elif element[1] == "later":
            later.set(50)
        elif element[1] == "look":
            n.read()
        else:
            n.write((n.read() or 0) + 1)

    @on_timer(LATER)
    def on_later(self) -> Any:
        yield "later"

    @on_window_expiration
    def end(
        self,
        key: Any = DoFn.KeyParam,
        n: Any = DoFn.StateParam(N),
        window: Any = DoFn.WindowParam,
        stamp: Any = DoFn.TimestampParam,
    ) -> Any:
        assert stamp == window.max_timestamp()
        yield key, n.read()


class Quiet(DoFn):
    """As Counting, without a last call."""

    process = Counting.process
    on_later = Counting.on_later


def test_each_key_gets_a_last_call_when_its_window_expires_and_then_is_forgotten() -> None:
    stage = Stage(Counting(), FIXED)
    stage.feed((("b", 0), 11), (("a", 0), 1), (("a", 0), 2), (("b", 0), 3))
    assert stage.head.entries() == 3
    assert stage.advance(9.999999) == []
    assert stage.advance(10) == [(("a", 2), 9.999999, 0), (("b", 1), 9.999999, 0)]
    assert stage.head.entries() == 1
    assert stage.end() == [(("b", 1), 19.999999, 10)]
    assert (stage.head.entries(), stage.head.next_watermark()) == (0, FOREVER)


def test_allowed_lateness_puts_the_end_off() -> None:
    stage = Stage(Counting(), FIXED, lateness=5)
    stage.feed((("a", 0), 1))
    assert stage.advance(14.999999) == []
    assert stage.head.next_watermark() == 15e6
    assert stage.feed((("a", 0), 1)) == []
    assert stage.advance(15) == [(("a", 2), 9.999999, 0)]
    assert stage.dropped_late() == 0


def test_a_window_that_gets_a_last_call_holds_the_watermark_at_its_last_timestamp() -> None:
    stage = Stage(Counting(), FIXED, lateness=5)
    stage.feed((("a", 0), 1), (("b", 0), 1), (("b", 0), 11))
    stage.advance(12)
    assert stage.head.hold() == 9_999_999
    assert stage.head.holds()[0].reason == "on_window_expiration of 2 keys in [0.0, 10.0)"
    stage.advance(15)
    assert stage.head.hold() == 19_999_999
    stage.end()
    assert stage.head.hold() == 1 << 63


def test_an_element_is_dropped_for_each_of_its_windows_that_has_expired() -> None:
    stage = Stage(Counting(), SlidingWindows(10, 5))
    stage.advance(11)
    stage.feed((("a", 0), 7), (("a", 0), 3), (("a", 0), 12))
    # 7 is in [0, 10) and [5, 15); 3 in [-5, 5) and [0, 10); 12 in [5, 15) and [10, 20).
    assert stage.dropped_late() == 3
    assert stage.end() == [(("a", 2), 14.999999, 5), (("a", 1), 19.999999, 10)]


def test_a_bundle_of_one_window_that_has_expired_is_dropped_whole() -> None:
    stage = Stage(Counting(), FIXED)
    stage.advance(10)
    stage.feed(*[((key, 0), 1) for key in "abc"])
    assert (stage.dropped_late(), stage.head.entries()) == (3, 0)
    stage.feed((("a", 0), 9.999999), (("b", 0), 10))
    assert (stage.dropped_late(), stage.head.entries()) == (4, 1)


def test_a_timer_for_after_the_end_fires_at_the_end_before_the_last_call() -> None:
    stage = Stage(Counting(), FIXED)
    stage.feed((("a", "later"), 1))
    assert stage.advance(9) == []
    assert stage.advance(10) == [("later", 50, 0), (("a", None), 9.999999, 0)]
    assert stage.head.entries() == 0


class Last(DoFn):
    """Timers that are still set when the window expires, and what their callbacks set."""

    EVENT = TimerSpec("event", TimeDomain.WATERMARK)
    CLOCK = TimerSpec("clock", TimeDomain.REAL_TIME)
    SET = BagStateSpec("set", ANY)

    def process(
        self,
        element: Any,
        event: Any = DoFn.TimerParam(EVENT),
        clock: Any = DoFn.TimerParam(CLOCK),
        to_set: Any = DoFn.StateParam(SET),
    ) -> None:
        for name, time, tag in element[1]["now"]:
            {"event": event, "clock": clock}[name].set(time, tag)
        for entry in element[1].get("then", ()):
            to_set.add(entry)

    def go_on(self, event: Any, clock: Any, to_set: Any, what: str) -> Any:
        yield what
        for name, time, tag in to_set.read():
            {"event": event, "clock": clock}[name].set(time, tag)

    @on_timer(EVENT)
    def on_event(
        self,
        event: Any = DoFn.TimerParam(EVENT),
        clock: Any = DoFn.TimerParam(CLOCK),
        to_set: Any = DoFn.StateParam(SET),
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
    ) -> Any:
        return self.go_on(event, clock, to_set, f"event{tag} {at.seconds()}")

    @on_timer(CLOCK)
    def on_clock(
        self,
        event: Any = DoFn.TimerParam(EVENT),
        clock: Any = DoFn.TimerParam(CLOCK),
        to_set: Any = DoFn.StateParam(SET),
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
    ) -> Any:
        return self.go_on(event, clock, to_set, f"clock{tag} {at.seconds()}")

    @on_window_expiration
    def end(self) -> Any:
        yield "end"


#: name: (set at 1, set by every callback, what comes when the window [0, 10) expires)
LAST: dict[str, tuple[list[Any], list[Any], list[str]]] = {
    "timers on the clock fire, by their times": (
        [("clock", 5000, "b"), ("clock", 4000, "a")], [], ["clocka 4000", "clockb 5000", "end"],
    ),
    "event time first": ([("clock", 4000, ""), ("event", 70, "")], [], ["event 70", "clock 4000", "end"]),
    "a looping timer on the clock ends": ([("clock", 4000, "")], [("clock", 9000, "")], ["clock 4000", "end"]),
    "a looping timer in event time ends": ([("event", 8, "")], [("event", 20, "")], ["event 8", "event 20", "end"]),
    "a timer of another family fires once": (
        [("clock", 4000, "")], [("event", 20, "")], ["clock 4000", "event 20", "end"],
    ),
    "families that set each other end": (
        [("clock", 4000, "")], [("event", 20, ""), ("clock", 5000, "")], ["clock 4000", "event 20", "end"],
    ),
    "tags that are set are not lost to others of their family": (
        [("clock", 4000, "a"), ("clock", 5000, "b")], [("clock", 6000, "b")], ["clocka 4000", "clockb 6000", "end"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAST)
def test_last_timers(name: str) -> None:
    now, then, expected = LAST[name]
    stage = Stage(Last(), FIXED)
    stage.feed((("k", {"now": now, "then": then}), 1))
    assert stage.values(stage.advance(10)) == expected
    assert (stage.head.entries(), stage.head.hold()) == (0, 1 << 63)
    assert (stage.head.next_watermark(), stage.head.next_wakeup()) == (FOREVER, 1 << 63)


def test_a_last_call_sets_no_timers_and_may_clear_them() -> None:
    class Wrong(DoFn):
        T = TimerSpec("t", TimeDomain.REAL_TIME)

        def process(self, element: Any, t: Any = DoFn.TimerParam(T)) -> None:
            t.clear()

        @on_timer(T)
        def fired(self) -> None:
            pass

        @on_window_expiration
        def end(self, t: Any = DoFn.TimerParam(T)) -> None:
            t.clear()
            t.set(5)

    stage = Stage(Wrong(), FIXED)
    stage.feed((("k", 0), 1))
    with pytest.raises(RuntimeError, match="'t' cannot be set in @on_window_expiration"):
        stage.end()


def test_a_key_that_keeps_nothing_takes_no_memory_past_its_bundle() -> None:
    stage = Stage(Quiet(), FIXED)
    stage.feed((("a", "look"), 1), (("b", 0), 1))
    assert stage.head.entries() == 1
    stage.feed((("b", "clear"), 1), (("b", "look"), 11))
    assert (stage.head.entries(), stage.head.next_watermark()) == (0, FOREVER)
    stage.feed((("a", "later"), 1))
    assert stage.head.entries() == 2  # the key, and its timer
    stage.end()
    assert stage.head.entries() == 0


def test_with_a_last_call_every_key_that_came_gets_one() -> None:
    stage = Stage(Counting(), FIXED)
    stage.feed((("a", "look"), 1))
    assert stage.end() == [(("a", None), 9.999999, 0)]


def test_a_callback_that_clears_leaves_nothing() -> None:
    class Flush(DoFn):
        B = BagStateSpec("b", ANY)
        T = TimerSpec("t", TimeDomain.WATERMARK)

        def process(self, element: Any, b: Any = DoFn.StateParam(B), t: Any = DoFn.TimerParam(T)) -> None:
            b.add(element[1])
            t.set(5)

        @on_timer(T)
        def flush(self, b: Any = DoFn.StateParam(B)) -> Any:
            yield list(b.read())
            b.clear()

    stage = Stage(Flush(), GLOBAL)
    stage.feed(("a", 1), ("a", 2), ("b", 3))
    assert stage.values(stage.advance(5)) == [[1, 2], [3]]
    assert stage.head.entries() == 0


def test_the_global_window_ends_with_time() -> None:
    stage = Stage(Counting(), GLOBAL)
    stage.feed(("a", 0))
    assert stage.values(stage.end()) == [("a", 1)]
    assert stage.head.entries() == 0


def ttl_stage(spec: StateSpec) -> Stage:
    """A stage whose elements (key, action) work on a cell of the spec."""

    class Work(DoFn):
        def process(self, element: Any, cell: Any = DoFn.StateParam(spec)) -> Any:
            result = element[1](cell)
            if result is not None:
                yield result

    stage = Stage(Work(), FIXED)
    stage.advance(0)
    return stage


MAP = MapStateSpec("c", StrUtf8Coder(), ANY, ttl=10)
MULTI = MultiMapStateSpec("c", StrUtf8Coder(), ANY, ttl=10)
TTL = {
    "value": (ReadModifyWriteStateSpec("c", ANY, ttl=10), lambda c: c.write(1), lambda c: [c.read()], [None]),
    "bag": (BagStateSpec("c", ANY, ttl=10), lambda c: c.add(1), lambda c: list(c.read()), []),
    "set": (SetStateSpec("c", ANY, ttl=10), lambda c: c.add(1), lambda c: list(c.read()), []),
    "combining": (CombiningValueStateSpec("c", sum, ttl=10), lambda c: c.add(1), lambda c: [c.read()], [0]),
    "list": (OrderedListStateSpec("c", ANY, ttl=10), lambda c: c.add((1, 1)), lambda c: list(c.read()), []),
    "range": (OrderedListStateSpec("c", ANY, ttl=10), lambda c: c.add((1, 1)), lambda c: list(c.read_range(0, 9)), []),
    "map": (MAP, lambda c: c.put("a", 1), lambda c: list(c.items()), []),
    "map, one key": (MAP, lambda c: c.put("a", 1), lambda c: [c.get("a")], [None]),
    "multimap": (MULTI, lambda c: c.add("a", 1), lambda c: list(c.items()), []),
}  # fmt: skip


@pytest.mark.parametrize("name", TTL)
def test_state_with_a_time_to_live_is_forgotten(name: str) -> None:
    spec, write, look, empty = TTL[name]
    stage = ttl_stage(spec)
    stage.feed((("k", write), 1))
    (before,) = stage.values(stage.feed((("k", look), 1)))
    assert before != empty
    stage.advance(0, 9.999999)
    assert (stage.values(stage.feed((("k", look), 1))), stage.head.entries()) == ([before], 1)
    assert stage.head.next_wakeup() == 1010e6
    stage.advance(0, 0.000001)
    assert (stage.head.entries(), stage.head.next_wakeup()) == (0, 1 << 63)
    assert stage.values(stage.feed((("k", look), 1))) == [empty]


def test_a_write_prolongs_the_life_and_a_read_does_not() -> None:
    stage = ttl_stage(BagStateSpec("c", ANY, ttl=10))
    stage.feed((("k", lambda c: c.add(1)), 1))
    stage.advance(0, 6)
    stage.feed((("k", lambda c: c.add(2)), 1), (("k", lambda c: list(c.read())), 1))
    stage.advance(0, 6)
    stage.feed((("k", lambda c: list(c.read())), 1))
    assert stage.head.next_wakeup() == 1016e6
    stage.advance(0, 4)
    assert stage.head.entries() == 0


def test_a_time_to_live_beyond_the_end_of_time_goes_to_disk() -> None:
    class Work(DoFn):
        CELL = ReadModifyWriteStateSpec("c", ANY, ttl=1e13)

        def process(self, element: Any, cell: Any = DoFn.StateParam(CELL)) -> Any:
            yield cell.read()
            cell.write(element[1])

    space = TemporarySpace()
    stage = Stage(Work(), FIXED, space=space)
    stage.advance(0)
    stage.feed(*[(i, i) for i in range(100)])
    assert space.spilled_bytes
    stage.advance(0, 1e6)
    assert sorted(stage.values(stage.feed(*[(i, 0) for i in range(100)]))) == [*range(100)]
    stage.end()
    space.close()


def test_expired_state_reads_as_empty_before_it_is_swept() -> None:
    class Read(DoFn):
        C = ReadModifyWriteStateSpec("c", ANY, ttl=10)
        T = TimerSpec("t", TimeDomain.REAL_TIME)

        def process(self, element: Any, c: Any = DoFn.StateParam(C), t: Any = DoFn.TimerParam(T)) -> None:
            c.write(element[1])
            t.set(1010)

        @on_timer(T)
        def fired(self, c: Any = DoFn.StateParam(C)) -> Any:
            yield c.read()

    stage = Stage(Read(), FIXED)
    stage.advance(0)
    stage.feed((("k", 1), 1))
    assert stage.values(stage.advance(0, 10)) == [None]
    assert stage.head.entries() == 0


def test_what_was_written_before_the_clock_was_known_lives_from_its_first_time_on() -> None:
    spec, write, look, _ = TTL["bag"]
    stage = ttl_stage(spec)
    fresh = Stage(stage.head.signature.dofn, FIXED)
    fresh.feed((("k", write), 1))
    fresh.advance(0, 100)
    assert fresh.values(fresh.feed((("k", look), 1))) == [[1]]
    fresh.advance(0, 10)
    assert fresh.head.entries() == 0


def test_a_time_to_live_ends_with_its_window() -> None:
    spec, write, _, _ = TTL["bag"]
    stage = ttl_stage(spec)
    stage.feed((("k", write), 1), (("k", write), 11))
    stage.advance(10)
    assert stage.head.entries() == 1
    stage.advance(20)
    assert (stage.head.entries(), stage.head.next_wakeup()) == (0, 1 << 63)


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_time_to_live_is_above_zero(ttl: float) -> None:
    with pytest.raises(ValueError, match=f"'c': ttl must be a number of seconds above 0; it is {ttl}"):
        BagStateSpec("c", ANY, ttl=ttl)


def test_windows_expire_in_the_order_of_their_ends_and_keys_in_the_order_in_which_they_came() -> None:
    stage = Stage(Counting(), FIXED)
    stage.feed(*[((key, 0), stamp) for stamp in (25, 5, 15) for key in "ba"])
    assert [(key, start) for (key, _), _, start in stage.end()] == [
        (key, start) for start in (0, 10, 20) for key in "ba"
    ]
    assert IntervalWindow(0, 10) not in stage.head._records.tables


def test_a_timer_for_within_the_window_fires_as_always_while_it_expires() -> None:
    class Steps(DoFn):
        T = TimerSpec("t", TimeDomain.WATERMARK)

        def process(self, element: Any, t: Any = DoFn.TimerParam(T)) -> None:
            t.set(2)

        @on_timer(T)
        def fired(self, t: Any = DoFn.TimerParam(T), at: Any = DoFn.TimestampParam) -> Any:
            yield at.seconds()
            t.set(at + 3)

    stage = Stage(Steps(), FIXED)
    stage.feed((("k", 0), 1))
    assert stage.values(stage.end()) == [2, 5, 8, 11]
    assert stage.head.entries() == 0
