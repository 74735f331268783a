"""What user code calls: `Metrics.counter(namespace, name)` and its siblings, and the lineage of data."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hornbeam.metrics.execution import get_current, process_wide
from hornbeam.metrics.histogram import BucketType
from hornbeam.metrics.metricbase import (
    BoundedTrie,
    Counter,
    Distribution,
    Gauge,
    Histogram,
    MetricName,
    StringSet,
)
from hornbeam.metrics.results import MetricKey, MetricResult, MetricResults, MetricsFilter, namespace_name

__all__ = ["Lineage", "MetricKey", "MetricResult", "MetricResults", "Metrics", "MetricsFilter"]


class _DelegatingCounter(Counter):
    """A counter that writes to the step that runs on this thread; elsewhere its updates go nowhere."""

    def __init__(self, metric_name: MetricName) -> None:
        super().__init__(metric_name)
        self._key = metric_name.fast_name()

    def inc(self, n: int = 1) -> None:
        """Adds `n`."""
        container = get_current()
        if container is not None:
            try:
                container.counters[self._key] += n
            except KeyError:
                container.first_count(self.metric_name, n)


class _DelegatingDistribution(Distribution):
    """A distribution that writes to the running step."""

    def __init__(self, metric_name: MetricName, process_wide: bool = False) -> None:
        super().__init__(metric_name)
        self.process_wide = process_wide
        self._key = metric_name.fast_name()

    def update(self, value: int) -> None:
        """Adds one value."""
        container = process_wide if self.process_wide else get_current()
        if container is not None:
            cell = container.distributions.get(self._key)
            if cell is None:
                cell = container.get_distribution(self.metric_name)
            cell.update(value)


class _DelegatingGauge(Gauge):
    """A gauge that writes to the running step."""

    def __init__(self, metric_name: MetricName, process_wide: bool = False) -> None:
        super().__init__(metric_name)
        self.process_wide = process_wide
        self._key = metric_name.fast_name()

    def set(self, value: int) -> None:
        """Replaces the value."""
        container = process_wide if self.process_wide else get_current()
        if container is not None:
            cell = container.gauges.get(self._key)
            if cell is None:
                cell = container.get_gauge(self.metric_name)
            cell.update(value)


class _DelegatingStringSet(StringSet):
    """A string set that writes to the running step."""

    def __init__(self, metric_name: MetricName) -> None:
        super().__init__(metric_name)
        self._key = metric_name.fast_name()

    def add(self, value: str) -> None:
        """Adds one string."""
        container = get_current()
        if container is not None:
            cell = container.string_sets.get(self._key)
            if cell is None:
                cell = container.get_string_set(self.metric_name)
            cell.values.add(value)


class _DelegatingBoundedTrie(BoundedTrie):
    """A bounded trie that writes to the running step."""

    def add(self, value: Sequence[str]) -> None:
        """Adds one path."""
        container = get_current()
        if container is not None:
            container.get_bounded_trie(self.metric_name).update(value)


class _DelegatingHistogram(Histogram):
    """A histogram that writes to the running step."""

    def __init__(self, metric_name: MetricName, bucket_type: BucketType, logger: Any = None) -> None:
        super().__init__(metric_name)
        self.bucket_type = bucket_type
        self.logger = logger

    def update(self, value: float) -> None:
        """Counts one value in its bucket."""
        container = get_current()
        if container is not None:
            container.get_histogram(self.metric_name, self.bucket_type).update(value)
            if self.logger is not None:
                self.logger.info("%s: %s", self.metric_name, value)


class Metrics:
    """Makes metrics. What it makes is only a name: cheap, picklable, and fit for a DoFn's attributes.

    The namespace is a string, or a class that stands for its qualified name. Updates outside of a running
    step go nowhere.
    """

    DelegatingCounter = _DelegatingCounter
    DelegatingDistribution = _DelegatingDistribution
    DelegatingGauge = _DelegatingGauge
    DelegatingStringSet = _DelegatingStringSet
    DelegatingBoundedTrie = _DelegatingBoundedTrie
    DelegatingHistogram = _DelegatingHistogram

    @staticmethod
    def get_namespace(namespace: str | type) -> str:
        """The namespace as text; raises ValueError for anything but a string or a class."""
        return namespace_name(namespace)

    @staticmethod
    def counter(namespace: str | type, name: str) -> Counter:
        """A number that user code raises and lowers."""
        return _DelegatingCounter(MetricName(namespace_name(namespace), name))

    @staticmethod
    def distribution(namespace: str | type, name: str, *, process_wide: bool = False) -> Distribution:
        """Count, sum, minimum and maximum of the values given to it."""
        return _DelegatingDistribution(MetricName(namespace_name(namespace), name), process_wide)

    @staticmethod
    def gauge(namespace: str | type, name: str, *, process_wide: bool = False) -> Gauge:
        """The latest value given to it."""
        return _DelegatingGauge(MetricName(namespace_name(namespace), name), process_wide)

    @staticmethod
    def string_set(namespace: str | type, name: str) -> StringSet:
        """The distinct strings given to it."""
        return _DelegatingStringSet(MetricName(namespace_name(namespace), name))

    @staticmethod
    def bounded_trie(namespace: str | type, name: str) -> BoundedTrie:
        """The paths given to it, cut to prefixes past a bound."""
        return _DelegatingBoundedTrie(MetricName(namespace_name(namespace), name))

    @staticmethod
    def histogram(
        namespace: str | type, name: str, bucket_type: BucketType, logger: logging.Logger | None = None
    ) -> Histogram:
        """Counts per bucket of the values given to it; a logger also gets each value."""
        return _DelegatingHistogram(MetricName(namespace_name(namespace), name), bucket_type, logger)


class Lineage:
    """Which data a pipeline reads and writes, as qualified names like `bigquery:project.dataset.table`."""

    LINEAGE_NAMESPACE = "lineage"
    SOURCE = "sources"
    SINK = "sinks"

    _RESERVED = re.compile(r"[:\s.]")
    _SOURCES: Lineage | None = None
    _SINKS: Lineage | None = None

    def __init__(self, label: str) -> None:
        """`label` is `Lineage.SOURCE` or `Lineage.SINK`."""
        self.metric = Metrics.bounded_trie(self.LINEAGE_NAMESPACE, label)

    @classmethod
    def sources(cls) -> Lineage:
        """What the running step reads."""
        if cls._SOURCES is None:
            cls._SOURCES = cls(cls.SOURCE)
        return cls._SOURCES

    @classmethod
    def sinks(cls) -> Lineage:
        """What the running step writes."""
        if cls._SINKS is None:
            cls._SINKS = cls(cls.SINK)
        return cls._SINKS

    @staticmethod
    def wrap_segment(segment: str) -> str:
        """The segment, in backticks when it has a colon, a dot or white space."""
        if segment.startswith("`") and segment.endswith("`"):
            return segment
        return f"`{segment}`" if Lineage._RESERVED.search(segment) else segment

    @staticmethod
    def get_fq_name(system: str, *segments: str, subtype: str | None = None) -> str:
        """The fully qualified name: `system:a.b.c`, or `system:subtype:a.b.c`."""
        parts = [system, *([subtype] if subtype else []), ".".join(map(Lineage.wrap_segment, segments))]
        return ":".join(parts)

    def add(
        self, system: str, *segments: str, subtype: str | None = None, last_segment_sep: str | None = None
    ) -> None:
        """Reports data of a system. The last segment is cut at `last_segment_sep`, for roll-up by prefix."""
        self.add_raw(*self._rollup_segments(system, segments, subtype, last_segment_sep))

    def add_raw(self, *rollup_segments: str) -> None:
        """Reports a name by pieces, joined without separators, that may be rolled up from the end."""
        self.metric.add(rollup_segments)

    @staticmethod
    def query(results: MetricResults, label: str, truncated_marker: str = "*") -> set[str]:
        """The names that a run has reported; rolled up ones end in `truncated_marker`."""
        wanted = MetricsFilter().with_namespace(Lineage.LINEAGE_NAMESPACE).with_name(label)
        names: set[str] = set()
        for found in results.query(wanted)[MetricResults.BOUNDED_TRIES]:
            paths: Iterable[tuple[Any, ...]] = found.result
            for *segments, truncated in paths:
                names.add("".join(segments) + (truncated_marker if truncated else ""))
        return names

    @staticmethod
    def _rollup_segments(
        system: str, segments: Sequence[str], subtype: str | None, last_segment_sep: str | None
    ) -> list[str]:
        pieces = [f"{system}:"]
        if subtype:
            pieces.append(f"{subtype}:")
        if segments:
            pieces += [Lineage.wrap_segment(segment) + "." for segment in segments[:-1]]
            last = Lineage.wrap_segment(segments[-1])
            if last_segment_sep:
                cut = last.split(last_segment_sep)
                pieces += [part + last_segment_sep for part in cut[:-1]] + [cut[-1]]
            else:
                pieces.append(last)
        return [piece for piece in pieces if piece]
