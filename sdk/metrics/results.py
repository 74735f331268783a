"""What a run's metrics are asked with (`MetricsFilter`) and answered with (`MetricResults`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from hornbeam.metrics.metricbase import Metric, MetricName

__all__ = ["MetricKey", "MetricResult", "MetricResults", "MetricsFilter"]


@attrs.frozen
class MetricKey:
    """Where a metric was counted: the step's full label and the metric's name; labels for system metrics."""

    step: str
    metric: MetricName
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)

    def __str__(self) -> str:
        return f"MetricKey(step={self.step}, metric={self.metric}, labels={self.labels})"


@attrs.frozen
class MetricResult:
    """One metric of one step: what finished bundles counted, and what all attempts counted.

    `committed` is None when no bundle that counted it has finished (or the runner does not know).
    """

    key: MetricKey
    committed: Any
    attempted: Any

    @property
    def result(self) -> Any:
        """The committed value if there is one, else the attempted."""
        return self.attempted if self.committed is None else self.committed

    def __str__(self) -> str:
        return f"MetricResult(key={self.key}, committed={self.committed}, attempted={self.attempted})"


class MetricsFilter:
    """Which metrics to answer; an empty set does not restrict. Methods change and return the filter."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._namespaces: set[str] = set()
        self._steps: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The names asked for."""
        return frozenset(self._names)

    @property
    def namespaces(self) -> frozenset[str]:
        """The namespaces asked for."""
        return frozenset(self._namespaces)

    @property
    def steps(self) -> frozenset[str]:
        """The steps asked for."""
        return frozenset(self._steps)

    def with_metric(self, metric: Metric) -> MetricsFilter:
        """Also metrics of this one's namespace and name."""
        name = metric.metric_name
        return self.with_name(name.name or "").with_namespace(name.namespace or "")

    def with_name(self, name: str) -> MetricsFilter:
        """Also metrics of this name."""
        return self.with_names([name])

    def with_names(self, names: Iterable[str]) -> MetricsFilter:
        """Also metrics of any of these names."""
        self._names.update(_strings(names, "names"))
        return self

    def with_namespace(self, namespace: str | type) -> MetricsFilter:
        """Also metrics of this namespace, a string or a class."""
        return self.with_namespaces([namespace])

    def with_namespaces(self, namespaces: Iterable[str | type]) -> MetricsFilter:
        """Also metrics of any of these namespaces."""
        if isinstance(namespaces, str):
            raise ValueError("namespaces must be a collection of namespaces, not a string.")
        self._namespaces.update(namespace_name(each) for each in namespaces)
        return self

    def with_step(self, step: str) -> MetricsFilter:
        """Also metrics of this step: a full label, or consecutive parts of one (`Count` in `A/Count/B`)."""
        return self.with_steps([step])

    def with_steps(self, steps: Iterable[str]) -> MetricsFilter:
        """Also metrics of any of these steps."""
        self._steps.update(_strings(steps, "steps"))
        return self

    def matches(self, key: MetricKey) -> bool:
        """Whether a metric is asked for."""
        return (
            (not self._names or key.metric.name in self._names)
            and (not self._namespaces or key.metric.namespace in self._namespaces)
            and (not self._steps or any(_is_part(step, key.step) for step in self._steps))
        )


#: The namespace of what runners count by themselves.
RUNNER_NAMESPACE = "hornbeam"


class MetricResults:
    """The metrics of a run. `query` may be called while the run goes on."""

    COUNTERS = "counters"
    DISTRIBUTIONS = "distributions"
    GAUGES = "gauges"
    STRINGSETS = "string_sets"
    BOUNDED_TRIES = "bounded_tries"
    HISTOGRAMS = "histograms"

    def __init__(self, read: Callable[[], Iterator[tuple[str, MetricResult]]]) -> None:
        """`read` gives (kind, result) of every metric there is."""
        self._read = read

    def query(self, filter: MetricsFilter | None = None) -> dict[str, list[MetricResult]]:
        """The metrics that match, by kind; every kind is present. Without a filter all metrics match but the gauges of the
        runner itself (namespace `hornbeam`), which are given to a filter that names them.
        """
        kinds = (
            self.COUNTERS,
            self.DISTRIBUTIONS,
            self.GAUGES,
            self.STRINGSETS,
            self.BOUNDED_TRIES,
            self.HISTOGRAMS,
        )
        found: dict[str, list[MetricResult]] = {kind: [] for kind in kinds}
        for kind, result in self._read():
            of_runner = kind == self.GAUGES and result.key.metric.namespace == RUNNER_NAMESPACE
            if (filter is None and not of_runner) or (filter is not None and filter.matches(result.key)):
                found[kind].append(result)
        return found

    @staticmethod
    def matches(filter: MetricsFilter | None, metric_key: MetricKey) -> bool:
        """Whether the filter (None takes all) lets a metric through."""
        return filter is None or filter.matches(metric_key)


def namespace_name(namespace: str | type) -> str:
    """The namespace as text: a class stands for its module and qualified name."""
    if isinstance(namespace, type):
        return f"{namespace.__module__}.{namespace.__qualname__}"
    if isinstance(namespace, str):
        return namespace
    raise ValueError(f"A metric's namespace must be a string or a class; found {namespace!r}.")


def _strings(values: Iterable[str], what: str) -> list[str]:
    if isinstance(values, str):
        raise ValueError(f"{what} must be a collection of strings, not the string {values!r}.")
    return list(values)


def _is_part(part: str, label: str) -> bool:
    return f"/{part.strip('/')}/" in f"/{label}/"
