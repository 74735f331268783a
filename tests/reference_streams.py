"""The streaming reference interpreter: what a graph means when time moves while it runs, one element at a time.

It is the oracle of the property tests over streams, held to docs/event-time.md and written to be read. Bounded roots
give all they have before the first event of a TestStream. Each event then goes through the graph once, in the order of
the steps: a step takes in all that its inputs have for it, then learns how far time has come.

    input watermark  = min over main inputs of their output watermarks
    output watermark = min(input watermark, holds), and never less than before

It shares nothing with the runners. Splittable DoFns and unbounded sources other than TestStream are Unsupported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import cloudpickle
from reference_dofn import Output, Unsupported, meaning
from reference_panes import BEGINNING_OF_TIME, END_OF_TIME, Times
from reference_state import StatefulParDo
from reference_steps import (
    CombineGroupedValues,
    Element,
    Flatten,
    GroupByKey,
    ParDo,
    Step,
    WindowInto,
    exploded,
)

from hornbeam.graph import urns
from hornbeam.graph.model import Graph, Transform
from hornbeam.testing.test_stream import ElementEvent, Event, ProcessingTimeEvent, WatermarkEvent
from hornbeam.transforms.window import GlobalWindow, GlobalWindows
from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP
from hornbeam.utils.windowed_value import WindowedValue

__all__ = ["Streams", "exploded", "interpret_streams"]


@attrs.frozen
class Streams:
    """What came of a run."""

    #: The elements of each pcollection, by its id, in the order in which they came.
    elements: dict[str, list[Element]]
    #: How many elements each step dropped, by its label and the reason: `dropped_late` or `dropped_closed`.
    drops: dict[str, dict[str, int]]


def interpret_streams(graph: Graph) -> Streams:
    """Run the graph until its sources have ended. LeftOpen if it has several right results."""
    run = _Run(graph)
    run.bounded_roots()
    for event in run.events():
        run.happen(event)
    run.end()
    drops = {step.transform.label: step.drops for step in run.steps if step.drops}
    return Streams(run.elements, drops)


_STEPS: dict[str, type[Step]] = {
    urns.FLATTEN: Flatten,
    urns.RESHUFFLE: Flatten,
    urns.WINDOW_INTO: WindowInto,
    urns.GROUP_BY_KEY: GroupByKey,
    urns.COMBINE_GROUPED_VALUES: CombineGroupedValues,
}
_ROOTS = (urns.IMPULSE, urns.READ, urns.TEST_STREAM)


class _Run:
    """The steps in order, and what is on its way between them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        leaves = [transform for _, transform in graph.leaves()]
        self.roots = [transform for transform in leaves if transform.urn in _ROOTS]
        self.steps = [self.step(t) for t in _in_order([t for t in leaves if t.urn not in _ROOTS])]
        self.elements: dict[str, list[Element]] = {id_: [] for id_ in graph.pcollections}
        #: How many elements of a pcollection each step has seen, by the step's label and the input's tag.
        self.seen: dict[tuple[str, str], int] = {}
        self.watermarks = dict.fromkeys(graph.pcollections, BEGINNING_OF_TIME)
        self.now = 0

    def step(self, transform: Transform) -> Step:
        """The transform at work."""
        if transform.urn == urns.PARDO:
            kind: type[Step] = StatefulParDo if transform.spec["stateful"] or _is_sorted(transform) else ParDo
        elif transform.urn in _STEPS:
            kind = _STEPS[transform.urn]
        else:
            raise Unsupported(f"{transform.label}: the reference interpreter does not know {transform.urn}.")
        return kind(self.graph, transform)

    # The roots.

    def bounded_roots(self) -> None:
        """Impulses and bounded sources give all they have, and are at the end of time."""
        for root in self.roots:
            if root.urn == urns.IMPULSE:
                self.give(root, [WindowedValue(b"", MIN_TIMESTAMP, (GlobalWindow(),))])
            elif root.urn == urns.READ:
                self.give(root, _read(root))
        self.sweep()
        for root in self.roots:
            if root.urn != urns.TEST_STREAM:
                self.watermarks.update(dict.fromkeys(root.outputs.values(), END_OF_TIME))
        self.sweep()

    def give(self, root: Transform, elements: Iterable[Element]) -> None:
        """Elements of a bounded root."""
        self.elements[root.outputs["out"]] += elements

    def test_stream(self) -> Transform | None:
        """The TestStream, if there is one."""
        found = [root for root in self.roots if root.urn == urns.TEST_STREAM]
        if len(found) > 1:
            raise Unsupported("The reference interpreter plays back one TestStream.")
        return found[0] if found else None

    def events(self) -> tuple[Event, ...]:
        """The events of the TestStream."""
        root = self.test_stream()
        return cloudpickle.loads(root.payload).events if root else ()

    def happen(self, event: Event) -> None:
        """Let an event happen, and take it in fully."""
        root = self.test_stream()
        assert root is not None
        if isinstance(event, ElementEvent):
            self.elements[_output(root, event.tag)] += [
                WindowedValue(each.value, each.timestamp, (GlobalWindow(),))
                for each in event.timestamped_values
            ]
        elif isinstance(event, WatermarkEvent):
            at_end = event.new_watermark >= MAX_TIMESTAMP
            self.watermarks[_output(root, event.tag)] = END_OF_TIME if at_end else event.new_watermark.micros
        elif isinstance(event, ProcessingTimeEvent):
            self.now += event.advance_by.micros
        self.sweep()

    def end(self) -> None:
        """The TestStream has given all."""
        root = self.test_stream()
        if root is not None:
            self.watermarks.update(dict.fromkeys(root.outputs.values(), END_OF_TIME))
            self.sweep()

    # Once through the graph.

    def sweep(self) -> None:
        """Every step takes in what has come for it, then learns the time."""
        for step in self.steps:
            self.visit(step)

    def visit(self, step: Step) -> None:
        transform = step.transform
        before, step.times.now = step.times.now, self.now
        for tag in transform.side_inputs:
            times = Times(self.watermarks[transform.inputs[tag]], self.now)
            step.take_side(tag, self.unseen(transform, tag), times)
        for tag in transform.main_inputs():
            self.emit(step, step.take(self.unseen(transform, tag)))
        inputs = [self.watermarks[id_] for id_ in transform.main_inputs().values()]
        step.times.watermark = min(inputs, default=END_OF_TIME)
        self.emit(step, step.advance(before))
        out = min([step.times.watermark, *step.holds()])
        for id_ in transform.outputs.values():
            self.watermarks[id_] = max(self.watermarks[id_], out)

    def unseen(self, transform: Transform, tag: str) -> list[Element]:
        """What has come at an input since the last visit."""
        elements, place = self.elements[transform.inputs[tag]], (transform.label, tag)
        start, self.seen[place] = self.seen.get(place, 0), len(elements)
        return elements[start:]

    def emit(self, step: Step, outputs: Iterable[Output]) -> None:
        for tag, element in outputs:
            assert tag is not None
            self.elements[step.transform.outputs[tag]].append(element)


def _in_order(transforms: list[Transform]) -> Iterator[Transform]:
    """The transforms, each after those whose outputs it reads."""
    made = {id_ for transform in transforms for id_ in transform.outputs.values()}
    while transforms:
        ready = [t for t in transforms if made.isdisjoint(t.inputs.values())]
        yield from ready
        made -= {id_ for transform in ready for id_ in transform.outputs.values()}
        transforms = [t for t in transforms if t not in ready]


def _is_sorted(transform: Transform) -> bool:
    return bool(transform.spec.get("requires_time_sorted_input"))


def _output(root: Transform, tag: str | None) -> str:
    """The pcollection of a tag; an only output is called `out`, whatever its tag."""
    return root.outputs["out" if len(root.outputs) == 1 or tag is None else tag]


def _read(root: Transform) -> list[Element]:
    """All that a bounded source has."""
    if not root.spec.get("bounded", True):
        raise Unsupported(f"{root.label}: the reference interpreter reads bounded sources only.")
    source: Any = cloudpickle.loads(root.payload)
    start = WindowedValue(None, MIN_TIMESTAMP, (GlobalWindow(),))
    values = source.read(source.get_range_tracker(None, None))
    return [meaning(value, start, GlobalWindows())[1] for value in values]
