"""Elements that a step cannot take: with `--skip_poison_to` they go to a dead-letter topic, and the job goes on.

An element is known again by what it is made of (see `element_identity`), so one that is equal to it in all goes the same
way, and no other. A step that has failed so is given a filter before each of its inputs. The topic lies in the log of the
job's `--log_dir`; a record is written when its element is skipped, so after a later failure it may come again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

import attrs
import cloudpickle

from hornbeam.graph import urns
from hornbeam.graph.model import PCollection, Transform
from hornbeam.runners.engine.element_identity import element_identity
from hornbeam.runners.engine.failures import short_repr
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
        pickled = base64.b64encode(cloudpickle.dumps(element)).decode()
        fields = {"step": self._step, "element": short_repr(element), "pickled": pickled}
        with Log(self._log_dir) as log:
            log.ensure_topic(self._topic)
            with Producer(log) as producer:
                producer.append(self._topic, [json.dumps(fields).encode()], keys=[self._step.encode()])
