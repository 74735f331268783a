"""Cells: the running value of one metric in one step, how two are joined, and the results read from them.

Every single update is a few operations on plain attributes, which threads that share a cell cannot tear under
the GIL. Cells are made by containers (`hornbeam.metrics.execution`); users only see the results.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import attrs

from hornbeam.metrics.bounded_trie import BoundedTrieData
from hornbeam.metrics.histogram import BucketType, HistogramData

__all__ = [
    "BoundedTrieCell",
    "CounterCell",
    "DistributionCell",
    "DistributionData",
    "DistributionResult",
    "GaugeCell",
    "GaugeData",
    "GaugeResult",
    "HistogramCell",
    "MetricCell",
    "MetricCellFactory",
    "StringSetCell",
]


@attrs.frozen
class DistributionData:
    """What a distribution holds; `min` and `max` are None while nothing was counted."""

    sum: float = 0
    count: int = 0
    min: float | None = None
    max: float | None = None


@attrs.frozen
class GaugeData:
    """A gauge's value and when it was set, in seconds of wall-clock time since the epoch."""

    value: int | None = None
    timestamp: float = 0.0


@attrs.frozen
class DistributionResult:
    """The result of a distribution."""

    data: DistributionData

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return self.data.sum

    @property
    def count(self) -> int:
        """The number of values."""
        return self.data.count

    @property
    def min(self) -> float | None:
        """The smallest value; None without values."""
        return self.data.min

    @property
    def max(self) -> float | None:
        """The largest value; None without values."""
        return self.data.max

    @property
    def mean(self) -> float | None:
        """The mean; None without values."""
        return self.data.sum / self.data.count if self.data.count else None

    def __repr__(self) -> str:
        return (
            f"DistributionResult(sum={self.sum}, count={self.count}, min={self.min}, max={self.max},"
            f" mean={self.mean})"
        )


@attrs.frozen
class GaugeResult:
    """The result of a gauge."""

    data: GaugeData

    @property
    def value(self) -> int | None:
        """The latest value."""
        return self.data.value

    @property
    def timestamp(self) -> float:
        """When it was set, in seconds of wall-clock time since the epoch."""
        return self.data.timestamp

    def __repr__(self) -> str:
        return f"GaugeResult(value={self.value}, timestamp={self.timestamp})"


class MetricCell:
    """The running value of one metric."""

    __slots__ = ()

    def update(self, value: Any) -> None:
        """Takes one value from user code."""
        raise NotImplementedError(f"{type(self).__name__} has to say how it takes a value.")

    def merge(self, other: Any) -> None:
        """Joins the other cell's values into this one; the order of merges does not matter."""
        raise NotImplementedError(f"{type(self).__name__} has to say how it is joined.")

    def copy(self) -> MetricCell:
        """A new cell with the same value."""
        twin = self.empty()
        twin.merge(self)
        return twin

    def empty(self) -> MetricCell:
        """A new cell of the same kind without values."""
        return type(self)()

    def reset(self) -> None:
        """Goes back to the value before the first update."""
        raise NotImplementedError(f"{type(self).__name__} has to say how it is reset.")

    def get_cumulative(self) -> Any:
        """The value as an immutable object."""
        raise NotImplementedError(f"{type(self).__name__} has to give its value.")

    def result(self) -> Any:
        """The value as queries answer it."""
        return self.get_cumulative()


class CounterCell(MetricCell):
    """A sum of integers."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def update(self, value: int) -> None:
        self.value += value

    def inc(self, n: int = 1) -> None:
        """Adds `n`."""
        self.value += n

    def dec(self, n: int = 1) -> None:
        """Takes `n` away."""
        self.value -= n

    def merge(self, other: CounterCell) -> None:
        self.value += other.value

    def reset(self) -> None:
        self.value = 0

    def get_cumulative(self) -> int:
        return self.value


class DistributionCell(MetricCell):
    """Count, sum, minimum and maximum."""

    __slots__ = ("count", "max", "min", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum: float = 0
        self.min: float | None = None
        self.max: float | None = None

    def update(self, value: float) -> None:
        self.count += 1
        self.sum += value
        if self.min is None or value < self.min:
            self.min = value
        if self.max is None or value > self.max:
            self.max = value

    def merge(self, other: DistributionCell) -> None:
        self.count += other.count
        self.sum += other.sum
        if other.min is not None and (self.min is None or other.min < self.min):
            self.min = other.min
        if other.max is not None and (self.max is None or other.max > self.max):
            self.max = other.max

    def reset(self) -> None:
        self.count = 0
        self.sum = 0
        self.min = None
        self.max = None

    def get_cumulative(self) -> DistributionData:
        return DistributionData(self.sum, self.count, self.min, self.max)

    def result(self) -> DistributionResult:
        return DistributionResult(self.get_cumulative())


class GaugeCell(MetricCell):
    """The latest value; of two cells the one that was set later wins."""

    __slots__ = ("timestamp", "value")

    def __init__(self) -> None:
        self.value: int | None = None
        self.timestamp = 0.0

    def update(self, value: int) -> None:
        self.value = value
        self.timestamp = time.time()

    def set(self, value: int) -> None:
        """Replaces the value, as of now."""
        self.update(value)

    def merge(self, other: GaugeCell) -> None:
        if other.timestamp >= self.timestamp:
            self.value = other.value
            self.timestamp = other.timestamp

    def reset(self) -> None:
        self.value = None
        self.timestamp = 0.0

    def get_cumulative(self) -> GaugeData:
        return GaugeData(self.value, self.timestamp)

    def result(self) -> GaugeResult:
        return GaugeResult(self.get_cumulative())


class StringSetCell(MetricCell):
    """A set of strings."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: set[str] = set()

    def update(self, value: str) -> None:
        self.values.add(value)

    def add(self, value: str) -> None:
        """Adds one string."""
        self.values.add(value)

    def merge(self, other: StringSetCell) -> None:
        self.values |= other.values

    def reset(self) -> None:
        self.values = set()

    def get_cumulative(self) -> frozenset[str]:
        return frozenset(self.values)

    def result(self) -> set[str]:
        return set(self.values)


class BoundedTrieCell(MetricCell):
    """A bounded set of paths."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = BoundedTrieData()

    def update(self, value: Sequence[str]) -> None:
        self.data.add(value)

    def add(self, value: Sequence[str]) -> None:
        """Adds one path."""
        self.data.add(value)

    def merge(self, other: BoundedTrieCell) -> None:
        self.data.merge(other.data)

    def reset(self) -> None:
        self.data = BoundedTrieData()

    def get_cumulative(self) -> BoundedTrieData:
        return self.data.copy()

    def result(self) -> frozenset[tuple[str | bool, ...]]:
        return self.data.as_set()


class HistogramCell(MetricCell):
    """Counts per bucket."""

    __slots__ = ("data",)

    def __init__(self, bucket_type: BucketType) -> None:
        self.data = HistogramData(bucket_type)

    def empty(self) -> HistogramCell:
        return HistogramCell(self.data.bucket_type)

    def update(self, value: float) -> None:
        self.data.record(value)

    def merge(self, other: HistogramCell) -> None:
        self.data.merge(other.data)

    def reset(self) -> None:
        self.data = HistogramData(self.data.bucket_type)

    def get_cumulative(self) -> HistogramData:
        return self.data.copy()


class MetricCellFactory:
    """Makes an empty cell when called."""

    def __call__(self) -> MetricCell:
        """A new cell without values."""
        raise NotImplementedError(f"{type(self).__name__} has to make a cell.")
