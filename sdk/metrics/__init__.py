"""Metrics: what user code counts and measures while it runs, and how the result is asked for it.

User code holds delegating objects (`metric`, `metricbase`); each update goes to the container of the step
that runs on this thread (`execution`), which keeps cells (`cells`, `histogram`, `bounded_trie`). The registry
of a run joins the containers and answers queries.

May import: `hornbeam.utils`, `hornbeam.error`. To change what a user may call, open `metric`; how values of
one kind are merged, `cells`; what a bundle's commit means, `execution`; queries and filters, `results`.
"""

from __future__ import annotations

from hornbeam.metrics.metric import Lineage, Metrics, MetricsFilter

__all__ = ["Lineage", "Metrics", "MetricsFilter"]
