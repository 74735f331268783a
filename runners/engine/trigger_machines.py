"""Triggers at work: a machine for each trigger of a step, shared by all its keys and windows.

(The Dataflow Model, section 2.3.)

    elements ── after ──► state ── until / would_fire ──► fired ──► state ── is_finished?

What a machine knows of one key and window is its *state*: an int, None, or a tuple of parts' states. It is never changed
in place, so that millions of them are affordable and any of them can be pickled at any moment. "Ended" says whether the
watermark has passed the window, `now` is processing time in microseconds.

Conditions, once true, stay true until the firing (docs/event-time.md). So `until` can say beforehand after how many
elements a trigger would fire while time stands still, and elements need not be looked at one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hornbeam.error import InternalError
from hornbeam.runners.engine.clock import NEVER
from hornbeam.transforms.trigger import (
    AfterAll,
    AfterAny,
    AfterCount,
    AfterEach,
    AfterProcessingTime,
    AfterSynchronizedProcessingTime,
    AfterWatermark,
    Always,
    DefaultTrigger,
    Never,
    Repeatedly,
    TriggerFn,
)

#: More elements than come: no number of them makes the trigger fire.
NO_COUNT = 1 << 62

_DONE = -1

State = Any


class Machine:
    """What a trigger does. A state that is finished is only ever given to `is_finished` and `merged`."""

    #: The state before the first element.
    begin: State = None
    #: Whether it ever waits for a moment of processing time.
    waits = False

    def until(self, state: State, ended: bool, now: int) -> int:
        """With how many more elements it would fire, at least 1; NO_COUNT or more when elements alone never do it."""
        return NO_COUNT

    def after(self, state: State, count: int, now: int) -> State:
        """The state when `count` more elements have come."""
        return state

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        """Whether it fires when it is looked at now."""
        return False

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        """Whether it fires now, and the end of the window is among what would be told so."""
        return False

    def fired(self, state: State, ended: bool, now: int) -> State:
        """The state after it fired; called only when it would."""
        return state

    def is_finished(self, state: State) -> bool:
        """Whether it will never fire again."""
        return False

    def merged(self, states: Sequence[State], ended: bool) -> State:
        """The state of the window that others became, which has ended or not."""
        return self.begin

    def wanted(self, state: State, now: int) -> int:
        """The next processing time after `now` at which it must be looked at; NEVER when there is none."""
        return NEVER


class NeverMachine(Machine):
    """Never fires, never finishes."""


class CountMachine(Machine):
    """AfterCount: the number of elements since it began."""

    begin = 0

    def __init__(self, count: int) -> None:
        self._count = count

    def until(self, state: State, ended: bool, now: int) -> int:
        return max(1, self._count - int(state))

    def after(self, state: State, count: int, now: int) -> State:
        return state + count

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        return bool(state >= self._count)

    def fired(self, state: State, ended: bool, now: int) -> State:
        return _DONE

    def is_finished(self, state: State) -> bool:
        return bool(state == _DONE)

    def merged(self, states: Sequence[State], ended: bool) -> State:
        return _DONE if _DONE in states else sum(states)


class EveryCountMachine(CountMachine):
    """Repeatedly(AfterCount), and Always, which is that of one element."""

    def fired(self, state: State, ended: bool, now: int) -> State:
        return 0

    def is_finished(self, state: State) -> bool:
        return False


class ProcessingTimeMachine(Machine):
    """AfterProcessingTime: the time of the first element since it began."""

    waits = True

    def __init__(self, delay_micros: int) -> None:
        self._delay = delay_micros

    def until(self, state: State, ended: bool, now: int) -> int:
        return 1 if now >= (now if state is None else state) + self._delay else NO_COUNT

    def after(self, state: State, count: int, now: int) -> State:
        return now if state is None else state

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        return state is not None and now >= state + self._delay

    def fired(self, state: State, ended: bool, now: int) -> State:
        return _DONE

    def is_finished(self, state: State) -> bool:
        return bool(state == _DONE)

    def merged(self, states: Sequence[State], ended: bool) -> State:
        return _DONE if _DONE in states else min((s for s in states if s is not None), default=None)

    def wanted(self, state: State, now: int) -> int:
        if state is None or state == _DONE or state + self._delay <= now:
            return NEVER
        return int(state + self._delay)


class WatermarkMachine(Machine):
    """AfterWatermark: (whether it has fired for the end, the state of `early` before that and of `late` after)."""

    def __init__(self, early: Machine | None, late: Machine | None) -> None:
        self._early = early or NeverMachine()
        self._late = late
        self.begin = (False, self._early.begin)
        self.waits = self._early.waits or (late is not None and late.waits)

    def until(self, state: State, ended: bool, now: int) -> int:
        if state[0]:
            assert self._late is not None
            return self._late.until(state[1], ended, now)
        return 1 if ended else self._early.until(state[1], ended, now)

    def after(self, state: State, count: int, now: int) -> State:
        part = self._late if state[0] else self._early
        assert part is not None
        return state[0], part.after(state[1], count, now)

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        if state[0]:
            assert self._late is not None
            return self._late.would_fire(state[1], ended, now)
        return ended or self._early.would_fire(state[1], ended, now)

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        return ended and not state[0]

    def fired(self, state: State, ended: bool, now: int) -> State:
        if ended and not state[0]:
            return True, None if self._late is None else self._late.begin
        part = self._late if state[0] else self._early
        assert part is not None
        after = part.fired(state[1], ended, now)
        return state[0], part.begin if part.is_finished(after) else after

    def is_finished(self, state: State) -> bool:
        return bool(state[0]) and self._late is None

    def merged(self, states: Sequence[State], ended: bool) -> State:
        phase = ended and any(state[0] for state in states)
        part = self._late if phase else self._early
        if part is None:
            return True, None
        merged = part.merged([state[1] for state in states if state[0] == phase], ended)
        return phase, part.begin if part.is_finished(merged) else merged

    def wanted(self, state: State, now: int) -> int:
        part = self._late if state[0] else self._early
        return NEVER if part is None else part.wanted(state[1], now)


class WatermarkCountsMachine(Machine):
    """AfterWatermark whose `early` and `late` are counts or missing; also Default, whose `late` is a count of 1.

    The state is one int: the count so far, and once it has fired for the end, -1 minus the count since.
    """

    begin = 0

    def __init__(self, early: int | None, late: int | None) -> None:
        self._early = NO_COUNT if early is None else early
        self._late = NO_COUNT if late is None else late
        self._finishes = late is None

    def until(self, state: State, ended: bool, now: int) -> int:
        if state < 0:
            return max(1, self._late + 1 + int(state))
        return 1 if ended else max(1, self._early - int(state))

    def after(self, state: State, count: int, now: int) -> State:
        return state - count if state < 0 else state + count

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        if state < 0:
            return bool(-1 - state >= self._late)
        return ended or bool(state >= self._early)

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        return ended and bool(state >= 0)

    def fired(self, state: State, ended: bool, now: int) -> State:
        return _DONE if ended or state < 0 else 0

    def is_finished(self, state: State) -> bool:
        return self._finishes and bool(state < 0)

    def merged(self, states: Sequence[State], ended: bool) -> State:
        after_end = [state for state in states if state < 0]
        if ended and after_end:
            return -1 - sum(-1 - state for state in after_end)
        return sum(state for state in states if state >= 0)


class RepeatedlyMachine(Machine):
    """Repeatedly: the state of what it repeats."""

    def __init__(self, part: Machine) -> None:
        self._part = part
        self.begin = part.begin
        self.waits = part.waits

    def until(self, state: State, ended: bool, now: int) -> int:
        return self._part.until(state, ended, now)

    def after(self, state: State, count: int, now: int) -> State:
        return self._part.after(state, count, now)

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        return self._part.would_fire(state, ended, now)

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        return self._part.fires_for_end(state, ended, now)

    def fired(self, state: State, ended: bool, now: int) -> State:
        return self._begun_again(self._part.fired(state, ended, now))

    def merged(self, states: Sequence[State], ended: bool) -> State:
        return self._begun_again(self._part.merged(states, ended))

    def _begun_again(self, state: State) -> State:
        return self._part.begin if self._part.is_finished(state) else state

    def wanted(self, state: State, now: int) -> int:
        return self._part.wanted(state, now)


class CompositeMachine(Machine):
    """A machine of several parts: a tuple of their states."""

    def __init__(self, parts: Sequence[Machine]) -> None:
        self._parts = tuple(parts)
        self.begin = tuple(part.begin for part in parts)
        self.waits = any(part.waits for part in parts)

    def _open(self, state: State) -> list[tuple[Machine, State]]:
        """The parts that have not finished, with their states."""
        return [(part, own) for part, own in zip(self._parts, state) if not part.is_finished(own)]

    def after(self, state: State, count: int, now: int) -> State:
        return tuple(
            own if part.is_finished(own) else part.after(own, count, now)
            for part, own in zip(self._parts, state)
        )

    def fired(self, state: State, ended: bool, now: int) -> State:
        return tuple(
            part.fired(own, ended, now)
            if not part.is_finished(own) and part.would_fire(own, ended, now)
            else own
            for part, own in zip(self._parts, state)
        )

    def merged(self, states: Sequence[State], ended: bool) -> State:
        if not states:
            return self.begin
        return tuple(part.merged(owns, ended) for part, owns in zip(self._parts, zip(*states)))

    def wanted(self, state: State, now: int) -> int:
        return min((part.wanted(own, now) for part, own in self._open(state)), default=NEVER)


class AnyMachine(CompositeMachine):
    """AfterAny and OrFinally. While it has not finished, none of its parts has."""

    def until(self, state: State, ended: bool, now: int) -> int:
        return min(part.until(own, ended, now) for part, own in zip(self._parts, state))

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        return any(part.would_fire(own, ended, now) for part, own in zip(self._parts, state))

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        return any(part.fires_for_end(own, ended, now) for part, own in zip(self._parts, state))

    def is_finished(self, state: State) -> bool:
        return any(part.is_finished(own) for part, own in zip(self._parts, state))


class AllMachine(CompositeMachine):
    """AfterAll."""

    def until(self, state: State, ended: bool, now: int) -> int:
        return max(part.until(own, ended, now) for part, own in self._open(state))

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        return all(part.would_fire(own, ended, now) for part, own in self._open(state))

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        parts = self._open(state)
        return any(part.fires_for_end(own, ended, now) for part, own in parts) and self.would_fire(
            state, ended, now
        )

    def is_finished(self, state: State) -> bool:
        return all(part.is_finished(own) for part, own in zip(self._parts, state))


class EachMachine(CompositeMachine):
    """AfterEach: those before the first unfinished part have finished, those behind it have not begun."""

    def _current(self, state: State) -> int:
        return next(i for i, part in enumerate(self._parts) if not part.is_finished(state[i]))

    def until(self, state: State, ended: bool, now: int) -> int:
        at = self._current(state)
        return self._parts[at].until(state[at], ended, now)

    def after(self, state: State, count: int, now: int) -> State:
        at = self._current(state)
        return (*state[:at], self._parts[at].after(state[at], count, now), *state[at + 1 :])

    def would_fire(self, state: State, ended: bool, now: int) -> bool:
        at = self._current(state)
        return self._parts[at].would_fire(state[at], ended, now)

    def fires_for_end(self, state: State, ended: bool, now: int) -> bool:
        at = self._current(state)
        return self._parts[at].fires_for_end(state[at], ended, now)

    def fired(self, state: State, ended: bool, now: int) -> State:
        at = self._current(state)
        return (*state[:at], self._parts[at].fired(state[at], ended, now), *state[at + 1 :])

    def is_finished(self, state: State) -> bool:
        return self._parts[-1].is_finished(state[-1])

    def merged(self, states: Sequence[State], ended: bool) -> State:
        merged = super().merged(states, ended)
        at = next((i for i, part in enumerate(self._parts) if not part.is_finished(merged[i])), len(merged))
        return (*merged[: at + 1], *self.begin[at + 1 :])

    def wanted(self, state: State, now: int) -> int:
        at = self._current(state)
        return self._parts[at].wanted(state[at], now)


def machine_for(trigger: TriggerFn) -> Machine:
    """The machine of a trigger."""
    if isinstance(trigger, DefaultTrigger):
        return WatermarkCountsMachine(None, 1)
    if isinstance(trigger, AfterWatermark):
        return _watermark_machine(trigger)
    if isinstance(trigger, AfterCount):
        return CountMachine(trigger.count)
    if isinstance(trigger, AfterProcessingTime):
        return ProcessingTimeMachine(trigger.delay_micros)
    if isinstance(trigger, AfterSynchronizedProcessingTime):
        return ProcessingTimeMachine(0)
    if isinstance(trigger, Always):
        return EveryCountMachine(1)
    if isinstance(trigger, Never):
        return NeverMachine()
    if isinstance(trigger, Repeatedly):
        if isinstance(trigger.underlying, AfterCount):
            return EveryCountMachine(trigger.underlying.count)
        return RepeatedlyMachine(machine_for(trigger.underlying))
    for kind, machine in ((AfterAny, AnyMachine), (AfterAll, AllMachine), (AfterEach, EachMachine)):
        if isinstance(trigger, kind):
            return machine([machine_for(part) for part in trigger.triggers])
    raise InternalError(f"no machine is known for the trigger {trigger!r}")


def _watermark_machine(trigger: AfterWatermark) -> Machine:
    early, late = _repeated(trigger.early), _repeated(trigger.late)
    if all(part is None or isinstance(part, AfterCount) for part in (early, late)):
        return WatermarkCountsMachine(getattr(early, "count", None), getattr(late, "count", None))
    return WatermarkMachine(
        None if early is None else machine_for(early), None if late is None else machine_for(late)
    )


def _repeated(trigger: TriggerFn | None) -> TriggerFn | None:
    """What is begun again anyway needs no Repeatedly around it."""
    if isinstance(trigger, Repeatedly):
        return _repeated(trigger.underlying)
    return AfterCount(1) if isinstance(trigger, Always) else trigger
