"""Streaming pipelines as values: what a TestStream plays back, and what is done with it. `Program.build` applies one.

A Program prints as the code that makes it, so that a counterexample can be pasted as a named case. Only such pipelines
are made whose result does not depend on the order among keys: where several keys become one, the trigger behind looks at
time alone. They are made of a seed, not drawn choice by choice: hypothesis tends to vary what it drew before, and finds
less in as many programs. `stream_shrinking` makes a counterexample small.
"""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
from properties.stream_operations import OPERATIONS, SIDE
from properties.stream_windowings import Windowing, orderless_windowing, windowing

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

_KEYS = ["a", "a", "a", "b"]
_TIMES = [*range(13), *range(0, 31, 2), 9.999999, 10, 4.5, 0, -3, 5, 14.999999, 15, 19.999999, 20, 100]
_OFFSETS = [-1, -2, -4, -7, -10, -11, -16, 0, 1, 3, 5, 9]
_WATERMARKS = [0, 5, 9.999999, 10, 10, 11, 14.999999, 15, 19.999999, 20, 25, 30]
_WATERMARK_STEPS = [5, 3, 1, 10, 10, 0.5, 0.000001, 0, 2.5, 4, 20, 1000, 10_000_000]
_CLOCK_STEPS = [1, 2, 3, 5, 5, 10, 0.000001, 4.999999, 100]
_BEGINNING = -10.0


def _elements(random: Random, watermark: float) -> tuple[Any, ...]:
    """Some elements at once, at any time or not far from the watermark."""
    times = _TIMES
    if watermark > _BEGINNING and random.random() < 0.5:
        times = [watermark + offset for offset in _OFFSETS]
    size = random.choice([1, 2, 2, 3, 4, 5])
    return tuple((random.choice(_KEYS), random.randrange(10), random.choice(times)) for _ in range(size))


def script(random: Random, tags: tuple[str, ...]) -> tuple[Event, ...]:
    """Events in any order that a TestStream takes: watermarks do not go back, nothing comes after an end."""
    watermarks = dict.fromkeys(tags, _BEGINNING)
    open_tags = list(tags)
    events: list[Event] = []
    for _ in range(random.choice([2, 4, 6, 8, 9, 10, 11, 12, 14])):
        kind = random.choice("eeeewwp")
        if kind == "p":
            events.append(("p", random.choice(_CLOCK_STEPS)))
            continue
        if not open_tags:
            break
        tag = random.choice(open_tags)
        if kind == "e":
            events.append(("e", tag, _elements(random, watermarks[tag])))
        elif random.random() < 0.05:
            events.append(("w", tag, "end"))
            open_tags.remove(tag)
        else:
            to = random.choice(
                [random.choice(_WATERMARKS), watermarks[tag] + random.choice(_WATERMARK_STEPS)]
            )
            if to >= watermarks[tag]:
                watermarks[tag] = to
                events.append(("w", tag, to))
    if "s" in open_tags:
        events.append(("w", "s", "end"))
    return tuple(events)


# Steps.


def program(seed: int) -> Program:
    """A small program: a stream or two, a windowing, a grouping or a stateful DoFn, perhaps more behind it."""
    random = Random(seed)
    tags = random.choice([("a",), ("a",), ("a", "b")])
    first = current = windowing(random)
    steps: list[Step] = []
    # Whether elements of a key come in an order of their own, and whether windows mix what has none.
    ordered, mixed = True, False
    for _ in range(random.choice([1, 1, 2, 2, 3])):
        possible = [
            op
            for op, one in OPERATIONS.items()
            if _is_possible(op, steps, current)
            and not (mixed and one.is_stateful)
            and (ordered or not one.moves_in_time)
        ]
        groupings = [op for op in possible if OPERATIONS[op].groups and not OPERATIONS[op].is_stateful]
        op = random.choice(random.choice([possible, groupings]))
        operation = OPERATIONS[op]
        if operation.needs_windowing:
            ordered = ordered and not operation.changes_keys
            mixed = not ordered
            current = windowing(random) if ordered else orderless_windowing(random)
            steps.append(Step(op, current))
        else:
            steps.append(Step(op, random.choice(operation.params)))
            ordered = ordered and not (operation.is_stateful or op in SIDE or current.assigns_several)
    if not any(OPERATIONS[step.op].groups for step in steps):
        steps.append(Step("group"))
    if any(step.op in SIDE for step in steps):
        tags = (*tags, "s")
    return Program(script(random, tags), first, tuple(steps))


def _is_possible(op: str, steps: list[Step], windowing: Windowing) -> bool:
    """Whether the step may come behind those so far."""
    operation = OPERATIONS[op]
    grouped = bool(steps) and OPERATIONS[steps[-1].op].groups
    if grouped and not operation.takes_grouped:
        return False
    if op in SIDE:  # What waited may come in another order, which merging windows show.
        return not windowing.merges or windowing.keeps_to_time
    return not (operation.is_stateful and windowing.merges)
