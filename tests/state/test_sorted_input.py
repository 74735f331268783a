"""@requires_time_sorted_input: elements wait for the watermark and come in the order of their timestamps."""

from __future__ import annotations

from typing import Any

import pytest
from state.stage import FIXED, GLOBAL, Stage, Store

from hornbeam.coders.coders import FastPrimitivesCoder
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.dofn_validation import validate_dofn
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

ANY = FastPrimitivesCoder()


class Numbering(DoFn):
    """Numbers the elements of each key."""

    N = ReadModifyWriteStateSpec("n", ANY)

    @DoFn.requires_time_sorted_input
    def process(self, element: Any, n: Any = DoFn.StateParam(N)) -> Any:
        n.write((n.read() or 0) + 1)
        yield element[1], n.read()


class Timed(DoFn):
    """Sets a timer half a second after each element."""

    T = TimerSpec("t", TimeDomain.WATERMARK)

    @DoFn.requires_time_sorted_input
    def process(self, element: Any, t: Any = DoFn.TimerParam(T), stamp: Any = DoFn.TimestampParam) -> Any:
        t.set(stamp + 0.5)
        yield element[1]

    @on_timer(T)
    def fired(self, at: Any = DoFn.TimestampParam) -> Any:
        yield f"timer {at.micros / 1e6}"


def test_elements_wait_and_come_in_order() -> None:
    stage = Stage(Numbering(), FIXED)
    assert stage.feed((("k", "c"), 7), (("k", "a"), 2), (("k", "b"), 5)) == []
    assert (stage.head.hold(), stage.head.next_watermark(), stage.head.entries()) == (2e6, 2e6 + 1, 3)
    assert (
        stage.head.holds()[0].reason
        == "an element of key 'k' in [0.0, 10.0) that waits for the watermark to pass it"
    )
    assert stage.advance(5) == [(("a", 1), 2, 0)]
    assert stage.feed((("k", "d"), 6)) == []
    assert stage.advance(5.000001) == [(("b", 2), 5, 0)]
    assert stage.advance(9) == [(("d", 3), 6, 0), (("c", 4), 7, 0)]
    assert stage.head.hold() == 1 << 63
    stage.end()
    assert stage.head.entries() == 0


def test_elements_of_one_time_come_in_the_order_in_which_they_were_given() -> None:
    stage = Stage(Numbering(), GLOBAL)
    stage.feed(*[(("k", i), 3) for i in range(5)])
    stage.feed(*[(("k", i), 3) for i in range(5, 9)])
    assert [value for (value, _), _, _ in stage.end()] == list(range(9))


def test_late_elements_come_at_once_as_they_came_and_those_of_expired_windows_not_at_all() -> None:
    stage = Stage(Numbering(), FIXED, lateness=5)
    stage.advance(12)
    assert stage.feed((("k", "late"), 8), (("k", "waits"), 13), (("k", "later"), 3)) == [
        (("late", 1), 8, 0),
        (("later", 2), 3, 0),
    ]
    assert stage.advance(15) == [(("waits", 1), 13, 10)]
    assert stage.feed((("k", "too late"), 8)) == []
    assert stage.dropped_late() == 1


def test_many_elements_in_disorder() -> None:
    stage = Stage(Numbering(), GLOBAL)
    stamps = [(i * 7919) % 5000 for i in range(5000)]
    stage.feed(*[(("k", stamp), stamp) for stamp in stamps])
    values = stage.values(stage.advance(2500)) + stage.values(stage.end())
    assert values == [(i, i + 1) for i in range(5000)]


def test_timers_come_between_the_elements_as_their_times_do() -> None:
    stage = Stage(Timed(), GLOBAL)
    stage.feed((("k", "c"), 3), (("k", "a"), 1), (("k", "b"), 1.2))
    assert stage.values(stage.end()) == ["a", "b", "timer 1.7", "c", "timer 3.5"]


def test_an_element_after_its_window_comes_before_the_window_expires() -> None:
    from hornbeam.runners.engine.bundle import Bundle
    from hornbeam.transforms.window import IntervalWindow

    stage = Stage(Numbering(), FIXED)
    stage.head.process(Bundle([("k", "odd")], 25_000_000, (IntervalWindow(0, 10),)))
    assert stage.advance(9.999999) == []
    assert stage.advance(10) == [(("odd", 1), 25, 0)]
    assert stage.head.entries() == 0


def test_waiting_elements_are_in_the_snapshots() -> None:
    stage, store = Stage(Numbering(), FIXED), Store()
    stage.head.track_changes()
    stage.feed((("k", "b"), 5), (("k", "a"), 2), (("l", "c"), 12))
    store.take(stage.head)
    stage.advance(3)
    stage.feed((("k", "d"), 5))
    store.take(stage.head)
    restored = Stage(Numbering(), FIXED)
    store.load_into(restored.head)
    assert restored.head.entries() == stage.head.entries()
    assert restored.end() == stage.end() == [(("b", 2), 5, 0), (("d", 3), 5, 0), (("c", 1), 12, 10)]


def test_waiting_elements_of_several_workers_come_together_whatever_their_keys() -> None:
    store = Store()
    for key in ("a", 1.0, None):  # table keys of other types cannot be compared
        worker = Stage(Numbering(), FIXED)
        worker.head.track_changes()
        worker.feed(((key, f"{key} first"), 5), ((key, f"{key} second"), 5))
        store.take(worker.head)
    restored = Stage(Numbering(), FIXED)
    store.load_into(restored.head)
    restored.feed((("a", "a third"), 5))
    given = [value for value, _ in restored.values(restored.end())]
    assert sorted(given, key=lambda value: value.split()[0]) == [
        *("1.0 first", "1.0 second", "None first", "None second", "a first", "a second", "a third")
    ]


def test_it_is_for_stateful_process_methods() -> None:
    class Stateless(DoFn):
        @DoFn.requires_time_sorted_input
        def process(self, element: Any) -> None:
            pass

    with pytest.raises(
        ValueError, match=r"Stateless\.process is marked with requires_time_sorted_input, which is for"
    ):
        validate_dofn(Stateless())
    with pytest.raises(ValueError, match="belongs on a DoFn's process method"):
        DoFn.requires_time_sorted_input(test_many_elements_in_disorder)
