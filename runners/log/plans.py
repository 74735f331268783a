"""The plan of a graph for so many workers: the streaming plan, in which reshuffles spread what they get."""

from __future__ import annotations

from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.runners.planner import STREAM_PASSES, make_plan
from hornbeam.runners.planner.plan import Plan


def plan_for(graph: Graph, workers: int) -> Plan:
    """The plan; every worker makes the same one."""
    cut_before = frozenset({urns.RESHUFFLE}) if workers > 1 else frozenset[str]()
    return make_plan(graph, STREAM_PASSES, cut_before=cut_before)


def has_test_stream(graph: Graph) -> bool:
    """Whether a TestStream dictates the clock: such a pipeline has one worker."""
    return any(transform.urn == urns.TEST_STREAM for transform in graph.transforms.values())
