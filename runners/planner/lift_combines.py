"""Pass: a combine per key becomes a precombine before the exchange and a merge of accumulators behind it.

    CombinePerKey  ⇒  Precombine (in the stage of its input) ─group─► Merge (accumulators in, outputs out)

Not lifted: windows that merge (two accumulators may meet in one window only later), and firings that count elements
or else look at more than time, or may give late elements out, for which several elements must not arrive as one.
"""

from __future__ import annotations

from typing import Any

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import PCollection, Transform
from hornbeam.runners.planner.firing import only_looks_at_time
from hornbeam.runners.planner.plan import Plan


def lift_combines(plan: Plan) -> Plan:
    """Splits every combine that may be lifted."""
    steps: dict[str, Transform] = {}
    pcollections = dict(plan.graph.pcollections)
    for id_, step in plan.steps.items():
        source = next(iter(step.inputs.values()), None)
        if step.urn != urns.COMBINE_PER_KEY or source is None or not _may_lift(plan, step, source):
            steps[id_] = step
            continue
        middle = f"{id_}/accumulators"
        before = pcollections[source]
        pcollections[middle] = PCollection(
            before.coder, before.windowing, before.is_bounded, "KV[Any, accumulator]"
        )
        shared: dict[str, Any] = {"spec": step.spec, "payload": step.payload}
        steps[f"{id_}/precombine"] = Transform(
            f"{step.label}/Precombine",
            urns.COMBINE_PRECOMBINE,
            inputs=step.inputs,
            outputs={"out": middle},
            **shared,
        )
        steps[id_] = Transform(
            step.label, urns.COMBINE_MERGE, inputs={"in": middle}, outputs=step.outputs, **shared
        )
    graph = attrs.evolve(plan.graph, pcollections=pcollections)
    return attrs.evolve(plan, graph=graph, steps=steps)


def _may_lift(plan: Plan, step: Transform, source: str) -> bool:
    windowing = plan.graph.windowings[plan.graph.pcollections[source].windowing]
    return not windowing.merging and "late_tag" not in step.spec and only_looks_at_time(windowing)
