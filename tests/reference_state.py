"""Stateful DoFns, and those that want their elements in order, in the streaming reference interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from reference_cells import KeyState, TimerHandle, TimerSetting
from reference_dofn import LivingDoFn, Output, meaning
from reference_steps import Element, Elements, ParDo, exploded

from hornbeam.graph.model import Graph, Transform
from hornbeam.transforms.signature import MethodSignature, Parameter
from hornbeam.transforms.window import BoundedWindow
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import WindowedValue


@attrs.frozen
class Call:
    """What a call of one of the DoFn's methods is about."""

    state: KeyState
    window: BoundedWindow
    #: The timestamp of the outputs, and that which DoFn.TimestampParam gives.
    output_micros: int
    timestamp_micros: int
    tag: str = ""


class StatefulDoFn(LivingDoFn):
    """Calls the methods of a DoFn with state and timers. `call` is set while one of them runs."""

    knows_state = True
    call: Call | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.orders = itertools.count()

    def process_with_state(
        self, element: Element, state: KeyState, args: list[Any], kwargs: dict[str, Any]
    ) -> Iterator[Output]:
        """For an element."""
        micros = element.timestamp.micros
        self.call = Call(state, element.windows[0], micros, micros)
        yield from self.process(element, args, kwargs)
        self.call = None

    def callback(self, method: MethodSignature, call: Call) -> Iterator[Output]:
        """For a timer, or the window's expiration."""
        self.call = call
        source = WindowedValue(None, Timestamp(micros=call.output_micros), (call.window,))
        for result in self._call(method) or ():
            yield meaning(result, source, self.window_fn)
        self.call = None

    def _value(self, parameter: Parameter, element: Element | None) -> Any:
        param: Any = parameter.param
        if self.call is not None:
            match parameter.kind:
                case "state":
                    return self.call.state.cell(param.state_spec)
                case "timer":
                    micros = self.call.output_micros
                    return TimerHandle(self.call.state, param.timer_spec, micros, lambda: next(self.orders))
                case "key":
                    return self.call.state.key
                case "window":
                    return self.call.window
                case "timestamp":
                    return Timestamp(micros=self.call.timestamp_micros)
                case "dynamic_timer_tag":
                    return self.call.tag
        return super()._value(parameter, element)


class StatefulParDo(ParDo):
    """A DoFn with state of each key and window, with timers, or whose elements come in the order of their timestamps."""

    dofn: StatefulDoFn

    def __init__(self, graph: Graph, transform: Transform) -> None:
        super().__init__(graph, transform)
        strategy = self.windowing(self.main_input())
        self.lateness = strategy.allowed_lateness_micros
        self.is_sorted = bool(transform.spec.get("requires_time_sorted_input"))
        self.unsorted: list[Element] = []
        self.states: dict[tuple[bytes, BoundedWindow], KeyState] = {}

    def living(self) -> StatefulDoFn:
        return StatefulDoFn(self.payload.dofn, self.transform.label, self.window_fn(self.main_input()))

    # Elements.

    def process(self, elements: Elements) -> Iterator[Output]:
        kept = []
        for element in exploded(elements):
            if self.has_expired(element.windows[0]):
                yield from self.dropped("dropped_late", element)
            else:
                kept.append(element)
        if self.is_sorted:
            self.unsorted += [element for element in kept if not self.is_due(element)]
            kept = [element for element in kept if self.is_due(element)]
        yield from self.bundle(kept)

    def has_expired(self, window: BoundedWindow) -> bool:
        """Whether the watermark has passed its last timestamp and the allowed lateness."""
        return self.times.watermark > window.max_micros + self.lateness

    def is_due(self, element: Element) -> bool:
        """Whether an element that is to come in order need not wait."""
        return self.times.watermark > element.timestamp.micros or self.has_expired(element.windows[0])

    def bundle(self, elements: Elements) -> Iterator[Output]:
        """Process elements, in order."""
        if not elements:
            return
        yield from self.tagged(self.dofn.start_bundle())
        for element in elements:
            state = self.state_of(element)
            args, kwargs = self.arguments(element)
            yield from self.tagged(self.dofn.process_with_state(element, state, args, kwargs))
        yield from self.tagged(self.dofn.finish_bundle())

    def state_of(self, element: Element) -> KeyState:
        """The state of the element's key and window."""
        key = element.value[0]
        name = self.key_coder(self.main_input()).encode(key), element.windows[0]
        return self.states.setdefault(name, KeyState(key))

    # Time.

    def advance(self, before: int) -> Iterator[Output]:
        """Waiting elements that the watermark has passed, timers that are due, windows that have expired."""
        yield from super().advance(before)
        due = [element for element in self.unsorted if self.is_due(element)]
        self.unsorted = [element for element in self.unsorted if not self.is_due(element)]
        yield from self.bundle(sorted(due, key=lambda e: e.timestamp.micros))
        yield from self.due_timers(self.states)
        expired = [name for name in self.states if self.has_expired(name[1])]
        for name in sorted(expired, key=lambda name: name[1].end_micros):
            yield from self.expire(name)

    def due_timers(self, names: Iterable[tuple[bytes, BoundedWindow]]) -> Iterator[Output]:
        """Fire timers until none is due: event time first, in the order of their times, then of setting."""
        while True:
            due = [
                (not timer.is_event_time, timer.micros, timer.order, name, timer)
                for name in names
                for timer in self.states[name].timers.values()
                if timer.micros <= self.until(timer, name[1])
            ]
            if not due:
                return
            *_, name, timer = min(due, key=lambda one: one[:3])
            yield from self.fire(name, timer)

    def until(self, timer: TimerSetting, window: BoundedWindow) -> int:
        """The time up to which timers fire by themselves; in event time the expiration at the latest."""
        if not timer.is_event_time:
            return self.times.now
        return min(self.times.watermark, window.max_micros + self.lateness)

    def fire(self, name: tuple[bytes, BoundedWindow], timer: TimerSetting) -> Iterator[Output]:
        """One timer."""
        state = self.states[name]
        del state.timers[timer.spec.name, timer.tag]
        call = Call(state, name[1], timer.output_micros, timer.micros, timer.tag)
        method = self.dofn.signature.timer_callbacks[timer.spec.name]
        yield from self.tagged(self.dofn.callback(method, call))

    def expire(self, name: tuple[bytes, BoundedWindow]) -> Iterator[Output]:
        """Timers that are still set fire, each once; then the DoFn hears of the expiration; then all is gone.

        What a callback sets then for a time after the expiration is gone too: timers that set themselves again end.
        """
        left = self.states[name].timers
        for timer in sorted(left.values(), key=lambda t: (not t.is_event_time, t.micros, t.order)):
            if left.get((timer.spec.name, timer.tag)) == timer:
                yield from self.fire(name, timer)
                yield from self.due_timers([name])
        method = self.dofn.signature.on_window_expiration
        if method is not None:
            call = Call(self.states[name], name[1], name[1].max_micros, name[1].max_micros)
            yield from self.tagged(self.dofn.callback(method, call))
        del self.states[name]

    def holds(self) -> list[int]:
        timers = [timer.output_micros for state in self.states.values() for timer in state.timers.values()]
        expirations = []
        if self.dofn.signature.on_window_expiration is not None:
            expirations = [window.max_micros for _, window in self.states]
        unsorted = [element.timestamp.micros for element in self.unsorted]
        return [*super().holds(), *timers, *expirations, *unsorted]
