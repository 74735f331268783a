"""Streaming pipelines as values: what a TestStream plays back, and what is done with it. `Program.build` applies one.

A Program prints as the code that makes it, so that a counterexample can be pasted as a named case. Only such pipelines
are drawn whose result does not depend on the order among keys: where several keys become one, the trigger behind looks at
time alone.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st
from properties.stream_operations import OPERATIONS, SIDE
from properties.stream_windowings import Windowing, orderless_windowings, windowings

import hornbeam as beam
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.window import TimestampedValue

#: ("e", tag, ((key, value, seconds), ...)), ("w", tag, seconds or "end") or ("p", seconds).
Event = tuple[Any, ...]


@attrs.frozen
class Step:
    """An operation on the stream so far. `param` is what it takes, such as a Windowing."""

    op: str
    param: Any = None


@attrs.frozen
class Program:
    """Events of the tags "a" and "b", which are flattened, and "s" for the side input; steps, one behind the other."""

    events: tuple[Event, ...]
    windowing: Windowing
    steps: tuple[Step, ...]

    def build(self, pipeline: beam.Pipeline) -> list[beam.PCollection[Any]]:
        """Apply the program; what to look at: the outputs of the steps that say so."""
        tags = {event[1] for event in self.events if event[0] != "p"} | {"a"}
        if any(step.op in SIDE for step in self.steps):
            tags.add("s")
        outputs = pipeline | _stream(self.events, tags)
        outputs = outputs if isinstance(outputs, dict) else dict.fromkeys(tags, outputs)
        mains = [outputs[tag] for tag in sorted(tags - {"s"})]
        stream = mains[0] if len(mains) == 1 else tuple(mains) | "flatten" >> beam.Flatten()
        stream = stream | "window" >> self.windowing.transform()
        shown = []
        for number, step in enumerate(self.steps):
            operation = OPERATIONS[step.op]
            given = operation.apply(f"{number}_{step.op}", stream, step.param, outputs.get("s"))
            stream, *others = given if isinstance(given, tuple) else (given,)
            if operation.shows:
                shown += [stream, *others]
        return shown or [stream]


def _stream(events: tuple[Event, ...], tags: set[str]) -> TestStream:
    stream = TestStream(output_tags=tags)
    for event in events:
        if event[0] == "e":
            stream.add_elements(
                [TimestampedValue((key, value), at) for key, value, at in event[2]], tag=event[1]
            )
        elif event[0] == "p":
            stream.advance_processing_time(event[1])
        elif event[2] == "end":
            stream.advance_watermark_to_infinity(event[1])
        else:
            stream.advance_watermark_to(event[2], event[1])
    return stream


# Events.

_keys = st.sampled_from(["a", "a", "b", "c"])
_boundaries = [9.999999, 10, 4.5, 0, -3, 5, 14.999999, 15, 19.999999, 20, 100]
_seconds = st.one_of(st.integers(0, 12), st.integers(0, 30), st.sampled_from(_boundaries))
_offsets = st.sampled_from([-1, -2, -4, -7, -10, -11, -16, 0, 1, 3, 5, 9])
_values = st.integers(0, 9)
_sizes = st.sampled_from([1, 2, 2, 3, 4])
_watermark_steps = st.sampled_from([5, 3, 1, 10, 10, 0.5, 0.000001, 0, 2.5, 1000, 10_000_000])
_exact_watermarks = st.sampled_from([0, 5, 9.999999, 10, 10, 11, 14.999999, 15, 19.999999, 20, 25, 30])
_lengths = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 8, 9, 10, 12])
_clock_steps = st.sampled_from([1, 2, 3, 5, 5, 10, 0.000001, 4.999999, 100])


@st.composite
def _elements(draw: st.DrawFn, watermark: float) -> tuple[Any, ...]:
    """Some elements at once, at any time or not far from the watermark."""
    near = watermark > -10 and draw(st.booleans())
    seconds = _offsets.map(lambda offset: watermark + offset) if near else _seconds
    return tuple((draw(_keys), draw(_values), draw(seconds)) for _ in range(draw(_sizes)))


@st.composite
def scripts(draw: st.DrawFn, tags: tuple[str, ...]) -> tuple[Event, ...]:
    """Events in any order that a TestStream takes: watermarks do not go back, nothing comes after an end."""
    watermarks: dict[str, float] = dict.fromkeys(tags, -10)
    open_tags = list(tags)
    events: list[Event] = []
    for _ in range(draw(_lengths)):
        kind = draw(st.sampled_from("eeeewwp"))
        if kind == "p":
            events.append(("p", draw(_clock_steps)))
            continue
        if not open_tags:
            break
        tag = draw(st.sampled_from(open_tags))
        if kind == "e":
            events.append(("e", tag, draw(_elements(watermarks[tag]))))
        elif draw(st.integers(0, 19)) == 19:
            events.append(("w", tag, "end"))
            open_tags.remove(tag)
        else:
            to = draw(_exact_watermarks) if draw(st.booleans()) else watermarks[tag] + draw(_watermark_steps)
            if to >= watermarks[tag]:
                watermarks[tag] = to
                events.append(("w", tag, to))
    if "s" in open_tags:
        events.append(("w", "s", "end"))
    return tuple(events)


# Steps.


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Small programs: a stream or two, a windowing, a grouping or a stateful DoFn, perhaps more behind it."""
    tags = draw(st.sampled_from([("a",), ("a",), ("a", "b")]))
    first = windowing = draw(windowings)
    steps: list[Step] = []
    ordered = True
    for _ in range(draw(st.sampled_from([1, 1, 2, 2, 3]))):
        possible = [op for op in OPERATIONS if _is_possible(op, steps, windowing)]
        op = draw(st.sampled_from(possible))
        operation = OPERATIONS[op]
        if operation.needs_windowing:
            keeps_order = ordered and not operation.changes_keys
            windowing = draw(windowings if keeps_order else orderless_windowings)
            ordered = keeps_order
            steps.append(Step(op, windowing))
        else:
            steps.append(Step(op, draw(operation.params)))
            ordered = ordered and not (operation.is_stateful or op in SIDE or windowing.assigns_several)
    if not any(OPERATIONS[step.op].groups for step in steps):
        steps.append(Step("group"))
    if any(step.op in SIDE for step in steps):
        tags = (*tags, "s")
    return Program(draw(scripts(tags)), first, tuple(steps))


def _is_possible(op: str, steps: list[Step], windowing: Windowing) -> bool:
    """Whether the step may come behind those so far."""
    operation = OPERATIONS[op]
    grouped = bool(steps) and OPERATIONS[steps[-1].op].groups
    if grouped and not operation.takes_grouped:
        return False
    if op in SIDE:  # What waited may come in another order, which merging windows show.
        return not windowing.merges or windowing.keeps_to_time
    return not (operation.is_stateful and windowing.merges)
