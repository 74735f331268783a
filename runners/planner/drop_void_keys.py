"""Pass: a global combine folds bare values, instead of wrapping each in a pair with the key None first.

values → KeyWithVoid → (None, value) → Precombine   ⇒   values → Precombine with the spec {"void_key": true}
"""

from __future__ import annotations

from typing import Any

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.planner.plan import Plan
from hornbeam.transforms.combine import key_with_void

_FUNCTION = f"{key_with_void.__module__}.{key_with_void.__qualname__}"


def drop_void_keys(plan: Plan) -> Plan:
    """Drops every step that does nothing but put values under None for a precombine."""
    consumers = plan.consumers()
    sides = plan.side_consumers()
    steps: dict[str, Transform] = dict(plan.steps)
    for id_, step in plan.steps.items():
        if step.urn != urns.PARDO or step.spec.get("dofn") != _FUNCTION or step.side_inputs:
            continue
        (paired,) = step.outputs.values()
        readers = [reader for reader, _ in consumers.get(paired, [])]
        if sides.get(paired) or not readers or any(steps[r].urn != urns.COMBINE_PRECOMBINE for r in readers):
            continue
        for reader in readers:
            spec: dict[str, Any] = {**steps[reader].spec, "void_key": True}
            steps[reader] = attrs.evolve(steps[reader], spec=spec, inputs={"in": step.inputs["in"]})
        del steps[id_]
    return attrs.evolve(plan, steps=steps)
