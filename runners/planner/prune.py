"""Pass: steps of ours that only hand elements on are dropped where nothing reads them.

User code always runs, for it may have effects; so do groupings and windowing, for they may find a mistake in the data.
"""

from __future__ import annotations

import attrs

from hornbeam.graph import urns
from hornbeam.runners.planner.plan import Plan

#: Steps that nobody misses when their output is not read.
_WITHOUT_EFFECT = frozenset({urns.IMPULSE, urns.FLATTEN, urns.RESHUFFLE})


def prune(plan: Plan) -> Plan:
    """Drops unread steps, last first, so that whole unread chains go."""
    steps = dict(plan.steps)
    read: dict[str, int] = {}
    for step in steps.values():
        for pc in step.inputs.values():
            read[pc] = read.get(pc, 0) + 1
    for id_, step in reversed(list(plan.steps.items())):
        if step.urn in _WITHOUT_EFFECT and not any(read.get(pc) for pc in step.outputs.values()):
            del steps[id_]
            for pc in step.inputs.values():
                read[pc] -= 1
    return attrs.evolve(plan, steps=steps)
