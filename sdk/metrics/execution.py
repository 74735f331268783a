"""Where updates go while a pipeline runs: the container of the running step, and the registry of the run.

An update lands in the *pending* cells of the step's container. When the bundle has finished, the runner calls
`MetricsRegistry.commit()`, which adds all pending cells to the committed ones; when it has failed,
`rollback()` puts them aside. Committed values are what finished bundles counted; attempted ones are all.

`commit()` costs nothing for steps that counted nothing: a container announces itself to the registry with the
first update after a commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import attrs

from hornbeam.metrics.cells import (
    BoundedTrieCell,
    DistributionCell,
    GaugeCell,
    HistogramCell,
    MetricCell,
    StringSetCell,
)
from hornbeam.metrics.histogram import BucketType
from hornbeam.metrics.metricbase import MetricName
from hornbeam.metrics.results import MetricKey, MetricResult, MetricResults

__all__ = [
    "CellSet",
    "MetricKey",
    "MetricResult",
    "MetricsContainer",
    "MetricsRegistry",
    "MetricsSnapshot",
    "get_current",
    "process_wide",
    "set_current",
]

CellT = TypeVar("CellT", bound=MetricCell)

#: The kinds besides counters, as attributes of a CellSet and as keys of a query's answer.
CELL_KINDS = ("distributions", "gauges", "string_sets", "bounded_tries", "histograms")


class CellSet:
    """Values of all kinds, by the fast name of the metric. Counters are plain integers."""

    __slots__ = ("bounded_tries", "counters", "distributions", "gauges", "histograms", "string_sets")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.counters: dict[str, int] = {}
        self.distributions: dict[str, DistributionCell] = {}
        self.gauges: dict[str, GaugeCell] = {}
        self.string_sets: dict[str, StringSetCell] = {}
        self.bounded_tries: dict[str, BoundedTrieCell] = {}
        self.histograms: dict[str, HistogramCell] = {}

    def merge(self, other: CellSet) -> None:
        """Adds the values of `other`, which stays as it is."""
        counters = self.counters
        for key, value in list(other.counters.items()):
            counters[key] = counters.get(key, 0) + value
        for kind in CELL_KINDS:
            theirs: dict[str, MetricCell] = getattr(other, kind)
            if theirs:
                mine: dict[str, MetricCell] = getattr(self, kind)
                for key, cell in list(theirs.items()):
                    if key in mine:
                        mine[key].merge(cell)
                    else:
                        mine[key] = cell.copy()

    def move_into(self, target: CellSet) -> None:
        """Adds everything to `target` and forgets it here."""
        if self.counters:
            moved, self.counters = self.counters, {}
            counters = target.counters
            for key, value in moved.items():
                counters[key] = counters.get(key, 0) + value
        for kind in CELL_KINDS:
            if getattr(self, kind):
                cells: dict[str, MetricCell] = getattr(self, kind)
                setattr(self, kind, {})
                known: dict[str, MetricCell] = getattr(target, kind)
                for key, cell in cells.items():
                    if key in known:
                        known[key].merge(cell)
                    else:
                        known[key] = cell

    def results(self) -> Iterator[tuple[str, str, Any]]:
        """(kind, fast name, result) of every metric."""
        for key, value in list(self.counters.items()):
            yield "counters", key, value
        for kind in CELL_KINDS:
            for key, cell in list(getattr(self, kind).items()):
                yield kind, key, cell.result()

    def __bool__(self) -> bool:
        return bool(self.counters) or any(getattr(self, kind) for kind in CELL_KINDS)


class MetricsContainer(CellSet):
    """The metrics of one step: pending values in the container itself, committed and failed beside."""

    __slots__ = ("_announced", "_registry", "committed", "failed", "names", "step_name")

    def __init__(self, step_name: str | None, registry: MetricsRegistry | None = None) -> None:
        super().__init__()
        self.step_name = step_name
        self.committed = CellSet()
        self.failed = CellSet()
        self.names: dict[str, MetricName] = {}
        self._registry = registry
        self._announced = False

    def commit(self) -> None:
        """Adds the pending values to the committed ones."""
        self._announced = False
        self.move_into(self.committed)

    def rollback(self) -> None:
        """Puts the pending values aside: they were attempted, but count for nothing."""
        self._announced = False
        self.move_into(self.failed)

    # The following are the slow paths of an update: the first one of a metric after a commit.

    def first_count(self, name: MetricName, n: int) -> None:
        """Starts a pending counter."""
        key = name.fast_name()
        self.names[key] = name
        self.counters[key] = self.counters.get(key, 0) + n
        self._announce()

    def get_distribution(self, name: MetricName) -> DistributionCell:
        """The pending cell of a distribution."""
        return self._start(self.distributions, name, DistributionCell())

    def get_gauge(self, name: MetricName) -> GaugeCell:
        """The pending cell of a gauge."""
        return self._start(self.gauges, name, GaugeCell())

    def get_string_set(self, name: MetricName) -> StringSetCell:
        """The pending cell of a string set."""
        return self._start(self.string_sets, name, StringSetCell())

    def get_bounded_trie(self, name: MetricName) -> BoundedTrieCell:
        """The pending cell of a bounded trie."""
        return self._start(self.bounded_tries, name, BoundedTrieCell())

    def get_histogram(self, name: MetricName, bucket_type: BucketType) -> HistogramCell:
        """The pending cell of a histogram."""
        return self._start(self.histograms, name, HistogramCell(bucket_type))

    def _start(self, cells: dict[str, CellT], name: MetricName, cell: CellT) -> CellT:
        key = name.fast_name()
        self.names[key] = name
        cell = cells.setdefault(key, cell)
        self._announce()
        return cell

    def _announce(self) -> None:
        """Tells the registry that there is something to commit; last, so that no value is left behind."""
        if not self._announced:
            self._announced = True
            if self._registry is not None:
                self._registry._pending.append(self)


# A context variable is read three times as fast as an attribute of a threading.local. It belongs to the thread just
# as much: a thread that user code starts begins without a container.
_current: ContextVar[MetricsContainer | None] = ContextVar("current_metrics_container", default=None)

#: The container that this thread's updates go to, or None.
get_current: Callable[[], MetricsContainer | None] = _current.get

#: Takes the updates of metrics that were made with `process_wide=True`; belongs to no step.
process_wide = MetricsContainer(None)


def set_current(container: MetricsContainer | None) -> MetricsContainer | None:
    """Makes this thread's updates go to `container`, or nowhere for None; answers the one before."""
    previous = _current.get()
    _current.set(container)
    return previous


@attrs.frozen
class MetricsSnapshot:
    """The values of a registry at one moment; pickles, so that a worker can send it."""

    names: Mapping[str, MetricName]
    committed: Mapping[str, CellSet]
    failed: Mapping[str, CellSet]


class MetricsRegistry:
    """The containers of one run by step; joins them and answers queries.

    A thread that runs bundles beside others should have a registry of its own, since `commit()` commits all
    that is pending; `merge(other.snapshot())` then joins them.
    """

    def __init__(self) -> None:
        self._containers: dict[str, MetricsContainer] = {}
        self._pending: list[MetricsContainer] = []
        self._lock = threading.RLock()

    def container(self, step_name: str) -> MetricsContainer:
        """The container of a step, made when first asked for."""
        found = self._containers.get(step_name)
        if found is None:
            with self._lock:
                found = self._containers.setdefault(step_name, MetricsContainer(step_name, self))
        return found

    def commit(self) -> None:
        """The bundle has finished: all pending values become committed."""
        if self._pending:
            with self._lock:
                pending, self._pending = self._pending, []
                for container in pending:
                    container.commit()

    def rollback(self) -> None:
        """The bundle has failed: all pending values count as attempted only."""
        with self._lock:
            pending, self._pending = self._pending, []
            for container in pending:
                container.rollback()

    def snapshot(self, reset: bool = False) -> MetricsSnapshot:
        """Everything committed and failed, without what is pending; `reset` takes it out of this registry."""
        with self._lock:
            names: dict[str, MetricName] = {}
            committed: dict[str, CellSet] = {}
            failed: dict[str, CellSet] = {}
            for step, container in self._containers.items():
                names.update(container.names)
                for cells, target in ((container.committed, committed), (container.failed, failed)):
                    if cells:
                        target[step] = _copy(cells)
                        if reset:
                            cells.clear()
            return MetricsSnapshot(names, committed, failed)

    def merge(self, snapshot: MetricsSnapshot) -> None:
        """Adds the values of another registry."""
        with self._lock:
            for step, cells in snapshot.committed.items():
                container = self.container(step)
                container.committed.merge(cells)
                self._add_names(container, cells, snapshot.names)
            for step, cells in snapshot.failed.items():
                container = self.container(step)
                container.failed.merge(cells)
                self._add_names(container, cells, snapshot.names)

    def results(self) -> MetricResults:
        """A queryable view on this registry; every query reads the values of that moment."""
        return MetricResults(self._read)

    def query(self, filter: Any = None) -> dict[str, list[MetricResult]]:
        """The metrics that match a MetricsFilter, by kind; all without one."""
        return self.results().query(filter)

    @staticmethod
    def _add_names(container: MetricsContainer, cells: CellSet, names: Mapping[str, MetricName]) -> None:
        for _, key, _ in cells.results():
            container.names.setdefault(key, names[key])

    def _read(self) -> Iterator[tuple[str, MetricResult]]:
        with self._lock:
            containers = [*self._containers.values(), process_wide]
            rows: list[tuple[str, MetricResult]] = []
            for container in containers:
                attempted = CellSet()
                for cells in (container.committed, container.failed, container):
                    attempted.merge(cells)
                committed = {(kind, key): value for kind, key, value in container.committed.results()}
                for kind, key, value in attempted.results():
                    name = MetricKey(container.step_name or "", container.names[key])
                    rows.append((kind, MetricResult(name, committed.get((kind, key)), value)))
        return iter(rows)


def _copy(cells: CellSet) -> CellSet:
    twin = CellSet()
    twin.merge(cells)
    return twin
