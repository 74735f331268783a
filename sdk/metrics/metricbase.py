"""The interfaces of metrics: a name, and what user code may do with each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "BoundedTrie",
    "Counter",
    "Distribution",
    "Gauge",
    "Histogram",
    "Metric",
    "MetricName",
    "StringSet",
]


class MetricName:
    """The identity of a metric inside a step: namespace and name, for system metrics also URN and labels."""

    __slots__ = ("_key", "labels", "name", "namespace", "urn")

    def __init__(
        self,
        namespace: str | None,
        name: str | None,
        urn: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Raises ValueError for an empty namespace or name, unless a URN names the metric."""
        if not urn:
            if not namespace:
                raise ValueError("A metric needs a namespace that is not empty.")
            if not name:
                raise ValueError(f"A metric in namespace {namespace!r} needs a name that is not empty.")
        self.namespace = namespace
        self.name = name
        self.urn = urn
        self.labels: dict[str, str] = dict(labels or {})
        key = f"{len(namespace or '')}:{namespace or ''}:{name or ''}"
        if urn or self.labels:
            key += f"|{urn or ''}|{sorted(self.labels.items())}"
        self._key = key

    def fast_name(self) -> str:
        """One string for the whole identity; its hash is cached, so it serves as the key of a container."""
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricName) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return MetricName, (self.namespace, self.name, self.urn, self.labels)

    def __repr__(self) -> str:
        parts = [f"namespace={self.namespace!r}", f"name={self.name!r}"]
        if self.urn:
            parts.append(f"urn={self.urn!r}")
        if self.labels:
            parts.append(f"labels={self.labels!r}")
        return f"MetricName({', '.join(parts)})"


class Metric:
    """Root of all metrics. An instance is only a name: it may be pickled, copied and shared freely."""

    def __init__(self, metric_name: MetricName) -> None:
        self.metric_name = metric_name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.metric_name.namespace}:{self.metric_name.name})"


class Counter(Metric):
    """A number that goes up and down by steps; added up over all bundles and workers."""

    def inc(self, n: int = 1) -> None:
        """Adds `n`."""
        raise NotImplementedError("Make counters with Metrics.counter(namespace, name).")

    def dec(self, n: int = 1) -> None:
        """Takes `n` away."""
        self.inc(-n)


class Distribution(Metric):
    """The count, sum, minimum and maximum of integer values."""

    def update(self, value: int) -> None:
        """Adds one value."""
        raise NotImplementedError("Make distributions with Metrics.distribution(namespace, name).")


class Gauge(Metric):
    """The latest value that was set, by wall-clock time."""

    def set(self, value: int) -> None:
        """Replaces the value."""
        raise NotImplementedError("Make gauges with Metrics.gauge(namespace, name).")


class StringSet(Metric):
    """The set of distinct strings that were added."""

    def add(self, value: str) -> None:
        """Adds one string."""
        raise NotImplementedError("Make string sets with Metrics.string_set(namespace, name).")


class BoundedTrie(Metric):
    """A bounded set of paths (sequences of strings); past the bound, deep paths are cut to their prefixes."""

    def add(self, value: Sequence[str]) -> None:
        """Adds one path."""
        raise NotImplementedError("Make bounded tries with Metrics.bounded_trie(namespace, name).")


class Histogram(Metric):
    """The number of values in each bucket."""

    def update(self, value: float) -> None:
        """Counts one value in its bucket."""
        raise NotImplementedError("Make histograms with Metrics.histogram(namespace, name, bucket_type).")
