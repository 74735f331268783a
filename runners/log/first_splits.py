"""The first checkpoint of a job that reads sources with splits: it deals the splits out, before any worker runs.

Without it a root would begin at the first worker only, and all of its splits would stay there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.failures import naming
from hornbeam.runners.engine.root_heads import ReadHead, root_head
from hornbeam.runners.engine.unbounded_head import UnboundedReadHead
from hornbeam.runners.log.exchange import dumps
from hornbeam.runners.log.moving import workers_of_entry
from hornbeam.runners.log.plans import plan_for
from hornbeam.runners.log.state_names import HEAD, local_key
from hornbeam.storage.checkpoint import CheckpointStore, Manifest


def deal_splits(
    store: CheckpointStore, graph: Graph, workers: int, metadata: Mapping[str, Any]
) -> Manifest | None:
    """Commits that checkpoint; None, and nothing done, for a pipeline without such sources. Raises what a source raises."""
    plan = plan_for(graph, workers)
    entries: dict[bytes, bytes | None] = {}
    for stage in plan.stages:
        step = plan.steps[stage.steps[0]]
        if step.urn != urns.READ:
            continue
        head = root_head(step, MetricsContainer(step.label), {})
        assert isinstance(head, ReadHead | UnboundedReadHead)
        if isinstance(head, UnboundedReadHead):
            head.splits_wanted = workers
        with naming(step.label):
            head.setup()
            head.track_changes()
            head.begin()
        for name, content in head.changes():
            for worker in workers_of_entry(name, workers):
                entries[local_key(step.label, worker, HEAD, name)] = dumps((name, content))
        head.teardown()
    if not entries:
        return None
    pending = store.begin()
    try:
        writer = pending.writer("first")
        writer.update(entries)
        return pending.commit(writer.finish(), metadata)
    except BaseException:
        pending.abort()
        raise
