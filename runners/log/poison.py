"""Elements that a step cannot take, and timers whose callbacks fail: with `--skip_poison_to` they go to a dead-letter topic,
and the job goes on.

An element is known again by what it is made of (see `element_identity`), so one that is equal to it in all goes the same
way, and no other. A step that has failed so is given a filter before each of its inputs. A timer is known by its name, key,
window and time, and so is the last call for a key as its window expires: the call is not made. The topic lies in the log of
the job's `--log_dir`; a record is written when something is skipped, so after a later failure it may come again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import cloudpickle

from hornbeam.graph import urns
from hornbeam.graph.model import PCollection, Transform
from hornbeam.runners.engine.callbacks import Callback
from hornbeam.runners.engine.element_identity import element_identity
from hornbeam.runners.engine.failures import Failure, short_repr
from hornbeam.runners.engine.operator import Operator
from hornbeam.runners.engine.stateful import StatefulOperator
from hornbeam.runners.planner.plan import Plan
from hornbeam.storage.log import Log, Producer
from hornbeam.transforms.dofn import CallableDoFn
from hornbeam.transforms.pardo import DoFnPayload


@attrs.frozen
class Poison:
    """What is to be skipped: for each step's label, identities of elements, with their short reprs; and where they go."""

    elements: Mapping[str, Mapping[str, str]]
    log_dir: str
    topic: str


def skipping(poison: Poison) -> Callable[[Plan], Plan]:
    """The planner's pass that puts filters before the steps that have failed."""

    def skip(plan: Plan) -> Plan:
        steps: dict[str, Transform] = {}
        pcollections: dict[str, PCollection] = dict(plan.graph.pcollections)
        for id_, step in plan.steps.items():
            if step.label in poison.elements:
                step = _filtered(id_, step, poison, steps, pcollections)
            steps[id_] = step
        return attrs.evolve(plan, steps=steps, graph=attrs.evolve(plan.graph, pcollections=pcollections))

    return skip


def _filtered(
    id_: str,
    step: Transform,
    poison: Poison,
    steps: dict[str, Transform],
    pcollections: dict[str, PCollection],
) -> Transform:
    """The step with filters before its main inputs, which are entered among the steps."""
    inputs = dict(step.inputs)
    keep = _Keep(step.label, frozenset(poison.elements[step.label]), poison.log_dir, poison.topic)
    payload = cloudpickle.dumps(DoFnPayload(CallableDoFn(keep, "filter"), (), {}, {}))
    for tag, pcollection in step.main_inputs().items():
        inputs[tag] = f"{pcollection}, without poison of {id_}"
        pcollections[inputs[tag]] = pcollections[pcollection]
        steps[f"{id_}, poison of {tag}"] = Transform(
            f"{step.label}/Skip poison",
            urns.PARDO,
            {"kind": "filter"},
            payload,
            {"in": pcollection},
            {"out": inputs[tag]},
        )
    return attrs.evolve(step, inputs=inputs)


class _Keep:
    """Whether an element is kept; one that is not is written to the dead-letter topic."""

    def __init__(self, step: str, elements: frozenset[str], log_dir: str, topic: str) -> None:
        self._step = step
        self._elements = elements
        self._log_dir = log_dir
        self._topic = topic

    def __call__(self, element: object) -> bool:
        if element_identity(element) not in self._elements:
            return True
        self._write(element)
        return False

    def _write(self, element: object) -> None:
        fields = {"step": self._step, "element": short_repr(element)}
        _write(self._log_dir, self._topic, fields, element)


def skip_callbacks(poison: Poison, operators: Iterable[Operator]) -> None:
    """Has stateful steps leave out the calls that have failed."""
    for operator in operators:
        if isinstance(operator, StatefulOperator) and any(
            label.startswith(f"{operator.label}, ") for label in poison.elements
        ):
            operator.skips = _SkipCalls(poison)


class _SkipCalls:
    """Whether a callback is not made; one that is not is written to the dead-letter topic."""

    def __init__(self, poison: Poison) -> None:
        self._poison = poison

    def __call__(self, called: Callback) -> bool:
        if called.identity() not in self._poison.elements.get(called.label, {}):
            return False
        _write(self._poison.log_dir, self._poison.topic, called.told(), called.key)
        return True


def _write(log_dir: str, topic: str, fields: Mapping[str, Any], pickled: object) -> None:
    letter = {**fields, "pickled": base64.b64encode(cloudpickle.dumps(pickled)).decode()}
    with Log(log_dir) as log:
        log.ensure_topic(topic)
        with Producer(log) as producer:
            producer.append(topic, [json.dumps(letter).encode()], keys=[str(fields["step"]).encode()])


def shown(failure: Failure) -> str:
    """What is skipped after a failure that has an identity, for people."""
    if failure.element is not None:
        return f"element {failure.element} of step {failure.step!r}"
    return f"the call for key {failure.key} (due at {failure.timestamp}, window {failure.window}) of step {failure.step!r}"


def why_not(error: BaseException) -> str:
    """Why what a step failed at cannot be skipped."""
    failure: Failure | None = getattr(error, "hornbeam_failure", None)
    if failure is None:
        return "it is not known which element of which step it comes from"
    if failure.identity is not None:
        return "it failed again although it is skipped: it looks different each time it comes"
    if failure.key is not None:
        return (
            f"it failed when the values of key {failure.key} were put together, and which of them is to blame is not known; "
            "a step before this one can check them"
        )
    what = failure.step.rpartition(", ")[2]
    if what in ("setup", "start_bundle", "finish_bundle", "teardown"):
        return f"{what} is called for no element"
    return "which element is to blame is not known"
