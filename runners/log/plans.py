"""The plan of a graph for so many workers: the streaming plan, in which reshuffles spread what they get."""

from __future__ import annotations

import hashlib

from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.runners.log.edges import edges_of
from hornbeam.runners.log.poison import Poison, skipping
from hornbeam.runners.planner import STREAM_PASSES, make_plan
from hornbeam.runners.planner.plan import Plan


def plan_for(graph: Graph, workers: int, poison: Poison | None = None) -> Plan:
    """The plan; every worker makes the same one. What is skipped of `poison` changes no stage and no edge."""
    cut_before = frozenset({urns.RESHUFFLE}) if workers > 1 else frozenset[str]()
    passes = STREAM_PASSES
    if poison is not None and poison.elements:
        passes = (*STREAM_PASSES[:-1], skipping(poison), STREAM_PASSES[-1])
    return make_plan(graph, passes, cut_before=cut_before)


def has_test_stream(graph: Graph) -> bool:
    """Whether a TestStream dictates the clock: such a pipeline has one worker."""
    return any(transform.urn == urns.TEST_STREAM for transform in graph.transforms.values())


def plan_signature(graph: Graph) -> str:
    """What tells plans apart: two with the same one have the same stages and edges, and can go on from any checkpoint."""
    plan = plan_for(graph, 2)
    told = [[(plan.steps[id_].label, plan.steps[id_].urn) for id_ in stage.steps] for stage in plan.stages]
    edges = [(edge.stage, edge.source, edge.tag, edge.kind) for edge in edges_of(plan)]
    return hashlib.sha256(repr((told, edges)).encode()).hexdigest()[:32]
