"""Stateful DoFns of generated streaming pipelines: over pairs (key, number), pairs again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hornbeam as beam
from hornbeam.coders.coders import StrUtf8Coder, VarIntCoder
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


class Numbered(beam.DoFn):
    """Numbers the values of a key and window, and sums them up; a value state and a combining one."""

    last = ReadModifyWriteStateSpec("last", VarIntCoder())
    total = CombiningValueStateSpec("total", sum)

    def process(
        self, pair: Any, last: Any = beam.DoFn.StateParam(last), total: Any = beam.DoFn.StateParam(total)
    ) -> Iterator[Any]:
        number = (last.read() or 0) + 1
        last.write(number)
        total.add(pair[1])
        yield pair[0], (number, total.read())
        if number == 4:
            last.clear()
            total.clear()


class Distinct(beam.DoFn):
    """Gives a value the first time only; a set, and a map that counts."""

    seen = SetStateSpec("seen", VarIntCoder())
    counts = MapStateSpec("counts", StrUtf8Coder(), VarIntCoder())

    def process(
        self, pair: Any, seen: Any = beam.DoFn.StateParam(seen), counts: Any = beam.DoFn.StateParam(counts)
    ) -> Iterator[Any]:
        size = len(list(seen.read()))
        seen.add(pair[1])
        parity = "even" if pair[1] % 2 == 0 else "odd"
        counts.put(parity, counts.get(parity, 0) + 1)
        if len(list(seen.read())) > size:
            yield pair[0], (pair[1], sorted(counts.items()))


class Batched(beam.DoFn):
    """Buffers values until a timer that is set anew with each, so far past it; what is left comes as the window expires."""

    buffer = BagStateSpec("buffer", VarIntCoder())
    timer = TimerSpec("timer", TimeDomain.WATERMARK)

    def __init__(self, after: float) -> None:
        self.after = after

    def process(
        self,
        pair: Any,
        at: Any = beam.DoFn.TimestampParam,
        buffer: Any = beam.DoFn.StateParam(buffer),
        timer: Any = beam.DoFn.TimerParam(timer),
    ) -> None:
        buffer.add(pair[1])
        timer.set(at + self.after)

    @on_timer(timer)
    def due(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        buffer: Any = beam.DoFn.StateParam(buffer),
    ) -> Iterator[Any]:
        yield key, ("due", at.micros, sorted(buffer.read()))
        buffer.clear()

    @on_window_expiration
    def expired(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        buffer: Any = beam.DoFn.StateParam(buffer),
    ) -> Iterator[Any]:
        yield key, ("left", at.micros, sorted(buffer.read()))


class BatchedToTheEnd(Batched):
    """As Batched, with the timer at the end of the window."""

    def process(
        self,
        pair: Any,
        window: Any = beam.DoFn.WindowParam,
        buffer: Any = beam.DoFn.StateParam(Batched.buffer),
        timer: Any = beam.DoFn.TimerParam(Batched.timer),
    ) -> None:
        buffer.add(pair[1])
        timer.set(window.max_timestamp())


class ByTheClock(beam.DoFn):
    """Buffers values until processing time has come to a second, by a timer of the clock for each parity."""

    buffer = BagStateSpec("buffer", VarIntCoder())
    timer = TimerSpec("timer", TimeDomain.REAL_TIME)

    def __init__(self, second: float) -> None:
        self.second = second

    def process(
        self,
        pair: Any,
        buffer: Any = beam.DoFn.StateParam(buffer),
        timer: Any = beam.DoFn.TimerParam(timer),
    ) -> None:
        buffer.add(pair[1])
        timer.set(self.second + pair[1] % 2, dynamic_timer_tag="even" if pair[1] % 2 == 0 else "odd")

    @on_timer(timer)
    def due(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        tag: Any = beam.DoFn.DynamicTimerTagParam,
        buffer: Any = beam.DoFn.StateParam(buffer),
    ) -> Iterator[Any]:
        yield key, (tag, at.micros, sorted(buffer.read()))
        buffer.clear()


class Steps(beam.DoFn):
    """A timer that sets itself again some times, each time giving the pairs of an ordered list up to then."""

    values = OrderedListStateSpec("values", VarIntCoder())
    left = ReadModifyWriteStateSpec("left", VarIntCoder())
    timer = TimerSpec("timer", TimeDomain.WATERMARK)

    def __init__(self, step: float, times: int) -> None:
        self.step, self.times = step, times

    def process(
        self,
        pair: Any,
        at: Any = beam.DoFn.TimestampParam,
        values: Any = beam.DoFn.StateParam(values),
        left: Any = beam.DoFn.StateParam(left),
        timer: Any = beam.DoFn.TimerParam(timer),
    ) -> None:
        values.add((at, pair[1]))
        if left.read() is None:
            left.write(self.times)
            timer.set(at + self.step)

    @on_timer(timer)
    def due(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        values: Any = beam.DoFn.StateParam(values),
        left: Any = beam.DoFn.StateParam(left),
        timer: Any = beam.DoFn.TimerParam(timer),
    ) -> Iterator[Any]:
        yield key, (at.micros, [(t.micros, v) for t, v in values.read_range(-1000, at)])
        values.clear_range(-1000, at)
        left.write(left.read() - 1)
        if left.read() > 0:
            timer.set(at + self.step)


class Sorted(beam.DoFn):
    """The values of a key and window in the order of their timestamps, each with the one before."""

    last = ReadModifyWriteStateSpec("last", VarIntCoder())

    @beam.DoFn.requires_time_sorted_input
    def process(
        self, pair: Any, at: Any = beam.DoFn.TimestampParam, last: Any = beam.DoFn.StateParam(last)
    ) -> Iterator[Any]:
        yield pair[0], (at.micros, last.read(), pair[1])
        last.write(pair[1])


#: How each is made, and of which arguments.
STATEFUL: dict[str, tuple[Callable[..., beam.DoFn], list[Any]]] = {
    "numbered": (Numbered, [()]),
    "distinct": (Distinct, [()]),
    "batched": (Batched, [(3,), (12,), (100,)]),
    "batched_to_the_end": (lambda: BatchedToTheEnd(0), [()]),
    "by_the_clock": (ByTheClock, [(3,), (7,), (200,)]),
    "steps": (Steps, [(4, 3), (20, 2)]),
    "sorted": (Sorted, [()]),
}
