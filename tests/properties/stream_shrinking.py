"""Makes a streaming program that shows a mistake smaller, as long as it shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from properties.stream_programs import Event, Program, Step
from properties.stream_windowings import Windowing

from hornbeam.transforms.trigger import AfterWatermark, DefaultTrigger, OrFinally, Repeatedly, TriggerFn


def shrunk(program: Program, shows_it: Callable[[Program], bool], seconds_max: float = 30) -> Program:
    """A small program for which `shows_it` is true, as it is for the given one."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        for smaller in _smaller(program):
            if time.monotonic() > deadline or shows_it(smaller):
                program = smaller
                break
        else:
            break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    for events in _without_one(program.events):
        # What the side input ends with has to stay, or the order of the ends is anybody's.
        if ("w", "s", "end") in events or ("w", "s", "end") not in program.events:
            yield attrs.evolve(program, events=events)
    for index, event in enumerate(program.events):
        for smaller in _smaller_events(event):
            yield attrs.evolve(program, events=_replaced(program.events, index, smaller))
    for steps in _without_one(program.steps):
        if steps:
            yield attrs.evolve(program, steps=steps)
    for windowing in _simpler_windowings(program.windowing):
        yield attrs.evolve(program, windowing=windowing)
    for index, step in enumerate(program.steps):
        if isinstance(step.param, Windowing):
            for windowing in _simpler_windowings(step.param):
                yield attrs.evolve(program, steps=_replaced(program.steps, index, Step(step.op, windowing)))


def _without_one(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for index in range(len(items)):
        yield items[:index] + items[index + 1 :]


def _replaced(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


def _smaller_events(event: Event) -> Iterator[Event]:
    if event[0] == "e" and len(event[2]) > 1:
        for elements in _without_one(event[2]):
            yield "e", event[1], elements


def _simpler_windowings(windowing: Windowing) -> Iterator[Windowing]:
    for trigger in _simpler_triggers(windowing.trigger):
        yield attrs.evolve(windowing, trigger=trigger)
    for field in attrs.fields(Windowing):
        plain = getattr(Windowing(), field.name)
        if field.name != "trigger" and getattr(windowing, field.name) != plain:
            yield attrs.evolve(windowing, **{field.name: plain})


def _simpler_triggers(trigger: TriggerFn) -> Iterator[TriggerFn]:
    parts = _parts(trigger)
    yield from parts
    if isinstance(trigger, AfterWatermark):
        if trigger.early is not None:
            yield AfterWatermark(None, trigger.late)
            yield from (AfterWatermark(early, trigger.late) for early in _simpler_triggers(trigger.early))
        if trigger.late is not None:
            yield AfterWatermark(trigger.early, None)
            yield from (AfterWatermark(trigger.early, late) for late in _simpler_triggers(trigger.late))
        return
    if len(parts) > 1 and not isinstance(trigger, OrFinally):
        yield from (type(trigger)(*fewer) for fewer in _without_one(parts))  # type: ignore[call-arg]
    for index, part in enumerate(parts):
        for simpler in _simpler_triggers(part):
            yield type(trigger)(*_replaced(parts, index, simpler))  # type: ignore[call-arg]
    if not parts and trigger != DefaultTrigger():
        yield DefaultTrigger()


def _parts(trigger: TriggerFn) -> tuple[TriggerFn, ...]:
    if isinstance(trigger, Repeatedly):
        return (trigger.underlying,)
    if isinstance(trigger, AfterWatermark):
        return tuple(part for part in (trigger.early, trigger.late) if part is not None)
    return tuple(getattr(trigger, "triggers", ()))
