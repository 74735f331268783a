"""Create as a source: the values can be read from anywhere on, so that they are spread over workers without an exchange.

Pass `read_created`:  Impulse → Values → Reshuffle   ⇒   Read (of the values) → nothing
Pass `exchange_keys`: → stateful ParDo               ⇒   → Reshuffle {"keyed": true} → stateful ParDo
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import cloudpickle

from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.planner.plan import Plan
from hornbeam.transforms.create import Values

#: In the spec of a read: how many values are read.
_CREATED = "created"
#: In the spec of a reshuffle: all elements of a key go to one task.
KEYED = "keyed"


def is_created(step: Transform) -> bool:
    """Whether the step reads the values of a Create."""
    return step.urn == urns.READ and _CREATED in step.spec


def created_count(step: Transform) -> int:
    """How many values such a step reads."""
    count: int = step.spec[_CREATED]
    return count


def is_keyed(step: Transform) -> bool:
    """Whether the step brings all elements of a key together."""
    return step.urn == urns.RESHUFFLE and bool(step.spec.get(KEYED))


def read_created(plan: Plan) -> Plan:
    """Makes the values of every Create a source, and drops the reshuffle behind them."""
    steps = dict(plan.steps)
    producers, consumers = plan.producers(), plan.consumers()
    for id_, step in plan.steps.items():
        if step.urn != urns.PARDO or step.spec.get("dofn") != "values" or step.side_inputs:
            continue
        source = producers.get(step.inputs.get("in", ""))
        if source is None or plan.steps[source].urn != urns.IMPULSE:
            continue
        values = values_of(step)
        if values is None:
            continue
        spec: dict[str, Any] = {**step.spec, "bounded": True, _CREATED: len(values)}
        steps[id_] = attrs.evolve(step, urn=urns.READ, spec=spec, inputs={})
        if len(consumers[step.inputs["in"]]) == 1:
            del steps[source]
        for reader, _ in consumers.get(step.outputs["out"], ()):
            if steps[reader].urn == urns.RESHUFFLE:
                steps[reader] = attrs.evolve(steps[reader], urn=urns.FLATTEN)
    return attrs.evolve(plan, steps=steps)


def values_of(step: Transform) -> Sequence[Any] | None:
    """The values that a ParDo gives whatever it is called with, if that is what it does."""
    function = cloudpickle.loads(step.payload).dofn.signature().fn
    return function.values if type(function) is Values else None


def exchange_keys(plan: Plan) -> Plan:
    """Puts an exchange by key before every step that keeps state by key."""
    steps: dict[str, Transform] = {}
    pcollections = dict(plan.graph.pcollections)
    for id_, step in plan.steps.items():
        if step.urn == urns.PARDO and (step.spec.get("stateful") or step.spec.get("timers")):
            (tag, source), *_ = step.main_inputs().items()
            middle = f"{id_}/by_key"
            pcollections[middle] = pcollections[source]
            steps[middle] = Transform(
                f"{step.label}/ByKey",
                urns.RESHUFFLE,
                spec={KEYED: True},
                inputs={"in": source},
                outputs={"out": middle},
            )
            step = attrs.evolve(step, inputs={**step.inputs, tag: middle})
        steps[id_] = step
    return attrs.evolve(plan, graph=attrs.evolve(plan.graph, pcollections=pcollections), steps=steps)


class CreatedSource:
    """The values of a Create as a bounded source; positions are indexes."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    @classmethod
    def of(cls, payload: Any) -> CreatedSource:
        """The source of a step's payload."""
        return cls(payload.dofn.signature().fn.values)

    def is_bounded(self) -> bool:
        """It is."""
        return True

    def __len__(self) -> int:
        return len(self._values)

    def get_range_tracker(self, start: int | None, stop: int | None) -> IndexRange:
        """A tracker over the indexes."""
        return IndexRange(start or 0, len(self._values) if stop is None else stop)

    def read_batches(self, tracker: IndexRange, size: int) -> Iterator[list[Any]]:
        """The values of the range, in lists."""
        while (part := tracker.claim(size)) is not None:
            yield list(self._values[part])


class IndexRange:
    """A range of indexes that are claimed many at a time; may be split by another thread meanwhile."""

    def __init__(self, start: int, stop: int) -> None:
        self._start = self._next = start
        self._stop = stop
        self._lock = threading.Lock()

    def claim(self, size: int) -> slice | None:
        """The next indexes; None at the end."""
        with self._lock:
            if self._next >= self._stop:
                return None
            start = self._next
            self._next = min(start + size, self._stop)
            return slice(start, self._next)

    def start_position(self) -> int:
        """The first index."""
        return self._start

    def stop_position(self) -> int:
        """The index after the last."""
        return self._stop

    def fraction_consumed(self) -> float:
        """The share of the indexes that is claimed."""
        return (self._next - self._start) / max(1, self._stop - self._start)

    def position_at_fraction(self, fraction: float) -> int:
        """The index at a fraction of the range."""
        return self._start + int(fraction * (self._stop - self._start))

    def try_split(self, position: int) -> tuple[int, float] | None:
        """Stops before `position`, if it is not claimed and not the end."""
        with self._lock:
            position = max(position, self._next)
            if position >= self._stop or position <= self._start:
                return None
            fraction = (position - self._start) / (self._stop - self._start)
            self._stop = position
            return position, fraction
