"""The passes, in the order in which they run. Each takes a Plan and gives a Plan."""

from __future__ import annotations

from collections.abc import Callable

from hornbeam.graph.model import Graph
from hornbeam.runners.planner.drop_voids import drop_voids
from hornbeam.runners.planner.expand import expand
from hornbeam.runners.planner.fuse import fuse
from hornbeam.runners.planner.fuse_streams import fuse_streams
from hornbeam.runners.planner.lift_combines import lift_combines
from hornbeam.runners.planner.plan import Plan
from hornbeam.runners.planner.prune import prune

PASSES: tuple[Callable[[Plan], Plan], ...] = (expand, prune, lift_combines, drop_voids, fuse)

#: The passes for a stream. Combines are not lifted: a trigger looks at elements, not at what a bundle made of them.
STREAM_PASSES: tuple[Callable[[Plan], Plan], ...] = (expand, prune, fuse_streams)


def make_plan(
    graph: Graph,
    passes: tuple[Callable[[Plan], Plan], ...] = PASSES,
    cut_before: frozenset[str] = frozenset(),
) -> Plan:
    """The plan of a valid graph. Steps of the URNs in `cut_before` begin stages."""
    plan = Plan(graph, {}, cut_before=cut_before)
    for apply in passes:
        plan = apply(plan)
    return plan
