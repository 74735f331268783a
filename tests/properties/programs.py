"""Pipelines as values: hypothesis draws a Program, `Program.build` applies it.

A Program is a list of steps over numbered streams, so that a failing one prints and shrinks well.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st
from properties.operations import ATOM, OPERATIONS, Operation

import hornbeam as beam
from hornbeam.transforms import window


@attrs.frozen
class Stream:
    """What may be done with a stream: the kind of its elements, and how it is windowed."""

    kind: str
    windowing: tuple[Any, ...]

    def can_be_side_input(self) -> bool:
        """Whether every main window has a window of this stream: they do not merge and leave no gaps."""
        name, *arguments = self.windowing[0]
        return name in ("global", "fixed", "halves", "named") or (
            name == "sliding" and arguments[0] >= arguments[1]
        )


@attrs.frozen
class Step:
    """An operation on some streams; it makes one or more further ones."""

    op: str
    inputs: tuple[int, ...]
    param: Any = None


@attrs.frozen
class Program:
    """Sources of (value, seconds or None), and what is done with them."""

    sources: tuple[tuple[tuple[Any, float | None], ...], ...]
    steps: tuple[Step, ...]
    #: Whether streams that are read by a step are shown too.
    shows_all: bool = True

    def shown(self, count: int) -> list[int]:
        """Which of the `count` streams a test looks at: all, or those that no step reads."""
        read = {index for step in self.steps for index in step.inputs}
        return [index for index in range(count) if self.shows_all or index not in read]

    def build(self, pipeline: beam.Pipeline) -> list[beam.PCollection[Any]]:
        """Apply the program; every stream, in order."""
        streams: list[Any] = []
        for number, elements in enumerate(self.sources):
            streams.append(
                pipeline
                | f"source{number}" >> beam.Create(list(elements))
                | f"stamp{number}" >> beam.FlatMap(_stamped)
            )
        for number, step in enumerate(self.steps):
            inputs = [streams[index] for index in step.inputs]
            streams.extend(OPERATIONS[step.op].apply(f"{number}_{step.op}", step.param, *inputs))
        return streams


def _stamped(pair: tuple[Any, float | None]) -> list[Any]:
    value, seconds = pair
    return [value if seconds is None else window.TimestampedValue(value, seconds)]


_GROUPING = {"group_by_key", "combine_per_key", "group_and_combine_values", "cogroup", "flatten_pairs"}
#: The operations, the simple ones first, as often as they shall be drawn.
_BY_WEIGHT = [
    *OPERATIONS,
    *(["window", "key_by"] * 4),
    *(["chain"] * 3),
    *(op for op in OPERATIONS if op in _GROUPING for _ in range(3)),
]
_GLOBAL = (("global",), "OUTPUT_AT_EOW")
_values = st.one_of(st.integers(-5, 30), st.sampled_from(["a", "b", "cc", ""]))
_times = st.one_of(st.none(), st.integers(-20, 40), st.sampled_from([0.5, 2.25, -7.75]))
_sources = st.lists(st.tuples(_values, _times), max_size=12).map(tuple)


@st.composite
def programs(draw: st.DrawFn, steps_max: int = 8) -> Program:
    """Programs of one or two sources and some steps. Windows and groupings are more likely than the rest."""
    sources = tuple(draw(st.lists(_sources, min_size=1, max_size=2)))
    streams = [Stream(ATOM, _GLOBAL) for _ in sources]
    steps: list[Step] = []

    def add(op: str, inputs: tuple[int, ...]) -> None:
        step = Step(op, inputs, draw(OPERATIONS[op].params))
        steps.append(step)
        streams.extend(_outputs(step, streams))

    for index in range(len(sources)):
        if draw(st.booleans()):
            add("window", (index,))
        if draw(st.booleans()):
            add("key_by", (len(streams) - 1,))
    for _ in range(draw(st.integers(1, steps_max))):
        choices = _choices(streams)
        op = draw(st.sampled_from([op for op in _BY_WEIGHT if op in choices]))
        add(op, draw(st.sampled_from(choices[op])))
    return Program(sources, tuple(steps), draw(st.booleans()))


def _choices(streams: list[Stream]) -> dict[str, list[tuple[int, ...]]]:
    """For each operation that some streams will do for, those streams; the latest first."""
    newest = range(len(streams) - 1, -1, -1)
    choices: dict[str, list[tuple[int, ...]]] = {}
    for name, operation in OPERATIONS.items():
        if len(operation.takes) == 1:
            candidates = [(index,) for index in newest]
        else:
            candidates = [(first, second) for first in newest for second in newest]
        fitting = [indexes for indexes in candidates if _fits(operation, [streams[i] for i in indexes])]
        if fitting:
            choices[name] = fitting
    return choices


def _fits(operation: Operation, streams: list[Stream]) -> bool:
    if any(stream.kind not in kinds for stream, kinds in zip(streams, operation.takes)):
        return False
    if operation.same_windowing and streams[0].windowing != streams[1].windowing:
        return False
    if streams[0].windowing[0][0] not in operation.windows:
        return False
    return not operation.second_is_side_input or streams[1].can_be_side_input()


def _outputs(step: Step, streams: list[Stream]) -> list[Stream]:
    first = streams[step.inputs[0]]
    windowing = step.param if step.op == "window" else first.windowing
    return [Stream(kind or first.kind, windowing) for kind in OPERATIONS[step.op].gives]
