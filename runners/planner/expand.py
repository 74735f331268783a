"""Pass: composites give way to what they are made of; combines and joins stay whole where the engine has them as one."""

from __future__ import annotations

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import Graph, Transform
from hornbeam.runners.planner.firing import fires_once
from hornbeam.runners.planner.plan import Plan


def expand(plan: Plan) -> Plan:
    """Lists the primitive steps so that every step stands after the makers of its inputs."""
    steps: dict[str, Transform] = {}

    def walk(ids: tuple[str, ...]) -> None:
        for id_ in ids:
            transform = plan.graph.transforms[id_]
            if is_whole_combine(plan.graph, transform) or is_whole_join(plan.graph, transform):
                steps[id_] = attrs.evolve(transform, subtransforms=())
            elif transform.is_composite:
                walk(transform.subtransforms)
            else:
                steps[id_] = transform

    walk(plan.graph.roots)
    return attrs.evolve(plan, steps=in_order(steps))


def is_whole_combine(graph: Graph, transform: Transform) -> bool:
    """Whether the composite is a combine per key that an engine may run as one step."""
    if transform.urn != urns.COMBINE_PER_KEY or transform.side_inputs:
        return False
    inner = [graph.transforms[id_].urn for id_ in transform.subtransforms]
    return inner == [urns.GROUP_BY_KEY, urns.COMBINE_GROUPED_VALUES]


def is_whole_join(graph: Graph, transform: Transform) -> bool:
    """Whether the composite is a CoGroupByKey that an engine may run as one grouping with several inputs.

    With windows that merge, firings besides the one at their end, or late data, it is left to the steps inside.
    """
    if transform.urn != urns.CO_GROUP_BY_KEY or not transform.inputs:
        return False
    windowings = [graph.windowings[graph.pcollections[pc].windowing] for pc in transform.inputs.values()]
    return all(not windowing.merging and fires_once(windowing) for windowing in windowings)


def in_order(steps: dict[str, Transform]) -> dict[str, Transform]:
    """The steps, each after the makers of its inputs; otherwise in the order they have."""
    maker = {pc: id_ for id_, step in steps.items() for pc in step.outputs.values()}
    ordered: dict[str, Transform] = {}
    for start in steps:
        pending = [start]
        while pending:
            id_ = pending[-1]
            needs = [
                maker[pc]
                for pc in steps[id_].inputs.values()
                if pc in maker and maker[pc] not in ordered and maker[pc] != id_
            ]
            if needs:
                pending.extend(reversed(needs))
            else:
                pending.pop()
                ordered.setdefault(id_, steps[id_])
    return ordered
