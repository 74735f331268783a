"""Pass: a global combine folds bare values, and a count of elements bare elements, without making pairs with None first.

values → KeyWithVoid → (None, value) → Precombine       ⇒   values → Precombine {"void": "key"}
elements → PairWithVoid → (element, None) → Precombine  ⇒   elements → Precombine {"void": "value"}
"""

from __future__ import annotations

from typing import Any

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.planner.plan import Plan
from hornbeam.transforms.combine import key_with_void
from hornbeam.transforms.counting import pair_with_void

_VOIDS = {
    f"{function.__module__}.{function.__qualname__}": void
    for function, void in ((key_with_void, "key"), (pair_with_void, "value"))
}


def drop_voids(plan: Plan) -> Plan:
    """Drops every step that does nothing but put None beside each value for a precombine."""
    consumers = plan.consumers()
    sides = plan.side_consumers()
    steps: dict[str, Transform] = dict(plan.steps)
    for id_, step in plan.steps.items():
        void = _VOIDS.get(step.spec.get("dofn", ""))
        if step.urn != urns.PARDO or void is None or step.side_inputs:
            continue
        (paired,) = step.outputs.values()
        readers = [reader for reader, _ in consumers.get(paired, [])]
        if sides.get(paired) or not readers or any(steps[r].urn != urns.COMBINE_PRECOMBINE for r in readers):
            continue
        for reader in readers:
            spec: dict[str, Any] = {**steps[reader].spec, "void": void}
            steps[reader] = attrs.evolve(steps[reader], spec=spec, inputs={"in": step.inputs["in"]})
        del steps[id_]
    return attrs.evolve(plan, steps=steps)
