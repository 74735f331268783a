"""Late data is counted: what a step drops because its window has expired, or because its trigger has finished."""

from __future__ import annotations

from hornbeam.metrics.execution import MetricsContainer
from hornbeam.metrics.metricbase import MetricName
from hornbeam.metrics.results import RUNNER_NAMESPACE

#: Elements (once for each window) that came after their window had expired.
DROPPED_LATE = MetricName(RUNNER_NAMESPACE, "dropped_late")
#: Elements whose window was closed, as its trigger had finished.
DROPPED_CLOSED = MetricName(RUNNER_NAMESPACE, "dropped_closed")


def count_late(container: MetricsContainer | None, count: int, name: MetricName = DROPPED_LATE) -> None:
    """Adds dropped elements to the step's counter."""
    if container is not None and count:
        container.first_count(name, count)
