"""Pass: steps that can hand bundles to each other directly become one stage.

A step joins the stages that make its inputs (a flatten may join several) unless that would close a circle: a stage may
not have to end before it begins. Such a circle arises where a side input, or a grouping, comes from the very stage
whose output the step reads; the pcollection between is then spooled and read when its reader may begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from hornbeam.runners.planner.plan import GROUPING_URNS, Plan, Stage


class _Stages:
    """Sets of steps that grow together, and which set must end before which may begin."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._before: list[set[int]] = []  # of a root: the stages that must end first

    def new(self) -> int:
        self._parent.append(len(self._parent))
        self._before.append(set())
        return len(self._parent) - 1

    def find(self, stage: int) -> int:
        root = stage
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[stage] != root:
            self._parent[stage], stage = root, self._parent[stage]
        return root

    def before(self, stage: int) -> set[int]:
        return {self.find(s) for s in self._before[self.find(stage)]}

    def put_after(self, stage: int, earlier: int) -> None:
        self._before[self.find(stage)].add(self.find(earlier))

    def must_wait(self, stage: int, earlier: int) -> bool:
        """Whether `stage` may begin only after `earlier` has ended."""
        target, seen, pending = self.find(earlier), set(), [self.find(stage)]
        while pending:
            for s in self.before(pending.pop()):
                if s == target:
                    return True
                if s not in seen:
                    seen.add(s)
                    pending.append(s)
        return False

    def merge(self, stage: int, other: int) -> bool:
        """Makes one of two, unless one must wait for the other."""
        a, b = self.find(stage), self.find(other)
        if a == b:
            return True
        if self.must_wait(a, b) or self.must_wait(b, a):
            return False
        low, high = min(a, b), max(a, b)
        self._parent[high] = low
        self._before[low] |= self._before[high]
        return True


def fuse(plan: Plan) -> Plan:
    """Gives every step a stage."""
    producers = plan.producers()
    stages = _Stages()
    stage_of: dict[str, int] = {}
    spooled: set[str] = {step.inputs[tag] for step in plan.steps.values() for tag in step.side_inputs}
    for id_, step in plan.steps.items():
        stage = stage_of[id_] = stages.new()
        for tag in step.side_inputs:
            stages.put_after(stage, stage_of[producers[step.inputs[tag]]])
        for pc in _waiting_first(step.main_inputs().values(), lambda pc: stage_of[producers[pc]], stages):
            source = stage_of[producers[pc]]
            if step.urn in GROUPING_URNS:
                stages.put_after(stage, source)
            elif step.urn in plan.cut_before or not stages.merge(stage, source):
                stages.put_after(stage, source)
                spooled.add(pc)
    return attrs.evolve(plan, stages=_in_order(plan, stages, stage_of), spooled=frozenset(spooled))


def _waiting_first(pcs: Iterable[str], stage_of_pc: Callable[[str], int], stages: _Stages) -> list[str]:
    """Inputs whose stage waits for that of another one come before it, so that the reader joins the later stage."""
    pcs = list(pcs)
    waits = {pc: sum(stages.must_wait(stage_of_pc(pc), stage_of_pc(other)) for other in pcs) for pc in pcs}
    return sorted(waits, key=lambda pc: -waits[pc])


def _in_order(plan: Plan, stages: _Stages, stage_of: dict[str, int]) -> tuple[Stage, ...]:
    members: dict[int, list[str]] = {}
    for id_ in plan.steps:
        members.setdefault(stages.find(stage_of[id_]), []).append(id_)
    done: dict[int, None] = {}
    remaining = list(members)
    while remaining:
        ready = [s for s in remaining if stages.before(s) <= done.keys()]
        for s in ready:
            done[s] = None
        remaining = [s for s in remaining if s not in done]
        assert ready, "the stages of a plan depend on each other in a circle"
    names = {s: f"S{number}" for number, s in enumerate(done, 1)}
    return tuple(
        Stage(names[s], tuple(members[s]), frozenset(names[b] for b in stages.before(s))) for s in done
    )
