"""The edges of a plan: how the rows of each input of a stage find the worker that takes them.

keyed      to the worker that owns the key's group: inputs of groupings and of DoFns with state or timers
spread     to all workers in turn: inputs of splittable DoFns and reshuffles
broadcast  to every worker: side inputs
local      to the same worker's instance of the stage
"""

from __future__ import annotations

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.planner.fuse_streams import is_kept
from hornbeam.runners.planner.plan import GROUPING_URNS, Plan

LOCAL, KEYED, SPREAD, BROADCAST = "local", "keyed", "spread", "broadcast"

#: Key groups of a job. They belong to workers in ranges, so that state can move to another number of workers.
KEY_GROUPS = 64


@attrs.frozen
class ExchangeEdge:
    """An input of a stage. `number` is its place in the plan's order, the same in every worker."""

    number: int
    stage: str
    source: str
    pcollection: str
    step: str
    tag: str
    kind: str


def edges_of(plan: Plan) -> list[ExchangeEdge]:
    """Every input of every stage, in the order of the stages."""
    producers, stage_of = plan.producers(), plan.stage_of()
    found: list[ExchangeEdge] = []
    for stage in plan.stages:
        head = plan.steps[stage.steps[0]]
        for tag in (*head.main_inputs(), *head.side_inputs):
            pc = head.inputs[tag]
            kind = BROADCAST if tag in head.side_inputs else _kind(head)
            source = stage_of[producers[pc]].name
            found.append(ExchangeEdge(len(found), stage.name, source, pc, stage.steps[0], tag, kind))
    return found


def is_keyed(head: Transform) -> bool:
    """Whether what a head keeps belongs to keys."""
    if head.urn in GROUPING_URNS:
        return True
    return head.urn == urns.PARDO and is_kept(head.spec) and not head.spec.get("splittable")


def _kind(head: Transform) -> str:
    if is_keyed(head):
        return KEYED
    if head.urn == urns.RESHUFFLE or (head.urn == urns.PARDO and head.spec.get("splittable")):
        return SPREAD
    return LOCAL


def worker_of_group(group: int, workers: int) -> int:
    """The worker that owns a key group; the inverse of `groups_of_worker` of the checkpoint store."""
    return ((group + 1) * workers - 1) // KEY_GROUPS
