"""Pass: the stages of a stream. Each begins with its head, the one step of it that keeps something from bundle to bundle.

Heads are roots, groupings, DoFns with state, timers or restrictions, steps that wait for a side input, and flattens
of several stages. Every other step keeps nothing and runs in the stage of what it reads. So time is kept track of once a
stage: what its head has not given out yet is all that can hold it back.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.planner.plan import GROUPING_URNS, ROOT_URNS, Plan, Stage


def fuse_streams(plan: Plan) -> Plan:
    """Gives every step a stage, in an order in which what a stage reads comes before it."""
    producers = plan.producers()
    stage_of: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    after: dict[str, set[str]] = {}
    for id_, step in plan.steps.items():
        sources = {stage_of[producers[pc]] for pc in step.inputs.values()}
        if is_head(step) or step.urn in plan.cut_before or _begins_anew(plan, step, sources, producers):
            stage = f"S{len(members) + 1}"
            members[stage], after[stage] = [], sources
        else:
            (stage,) = sources
        stage_of[id_] = stage
        members[stage].append(id_)
    stages = tuple(Stage(name, tuple(steps), frozenset(after[name])) for name, steps in members.items())
    return attrs.evolve(plan, stages=stages)


def is_head(step: Transform) -> bool:
    """Whether the step keeps something between bundles, or waits."""
    if step.urn in ROOT_URNS or step.urn in GROUPING_URNS or step.side_inputs:
        return True
    return step.urn == urns.PARDO and is_kept(step.spec)


def is_kept(spec: Mapping[str, object]) -> bool:
    """Whether a ParDo has state, timers or restrictions."""
    return bool(spec.get("stateful") or spec.get("timers") or spec.get("splittable"))


def _begins_anew(plan: Plan, step: Transform, sources: set[str], producers: Mapping[str, str]) -> bool:
    """Whether the step reads several stages, or an output of a root whose outputs have watermarks of their own."""
    if len(sources) != 1:
        return True
    makers = [plan.steps[producers[pc]] for pc in step.main_inputs().values()]
    return any(maker.urn == urns.TEST_STREAM and len(maker.outputs) > 1 for maker in makers)
