"""Histograms: how values fall into buckets, and estimates of percentiles from that."""

from __future__ import annotations

import math

import attrs

__all__ = ["BucketType", "HistogramData", "LinearBucket"]


class BucketType:
    """Cuts the range `[range_from(), range_to())` into numbered buckets."""

    def range_from(self) -> float:
        """The lowest value that has a bucket."""
        raise NotImplementedError(f"{type(self).__name__} has to say where its range begins.")

    def range_to(self) -> float:
        """The first value above all buckets."""
        raise NotImplementedError(f"{type(self).__name__} has to say where its range ends.")

    def num_buckets(self) -> int:
        """The number of buckets."""
        raise NotImplementedError(f"{type(self).__name__} has to say how many buckets it has.")

    def bucket_index(self, value: float) -> int:
        """The bucket of a value in the range."""
        raise NotImplementedError(f"{type(self).__name__} has to give the bucket of a value.")

    def bucket_size(self, index: int) -> float:
        """The width of a bucket."""
        raise NotImplementedError(f"{type(self).__name__} has to give the width of a bucket.")


@attrs.frozen
class LinearBucket(BucketType):
    """`count` buckets of equal `width`, from `start` on."""

    start: float
    width: float = attrs.field(validator=attrs.validators.gt(0))
    count: int = attrs.field(validator=attrs.validators.gt(0))

    def range_from(self) -> float:
        return self.start

    def range_to(self) -> float:
        return self.start + self.width * self.count

    def num_buckets(self) -> int:
        return self.count

    def bucket_index(self, value: float) -> int:
        return math.floor((value - self.start) / self.width)

    def bucket_size(self, index: int) -> float:
        return self.width


class HistogramData:
    """Counts per bucket, and of the values below and above the range."""

    __slots__ = ("above", "below", "bucket_type", "buckets")

    def __init__(self, bucket_type: BucketType) -> None:
        self.bucket_type = bucket_type
        self.buckets: dict[int, int] = {}
        self.below = 0
        self.above = 0

    def record(self, value: float) -> None:
        """Counts one value."""
        kind = self.bucket_type
        if value < kind.range_from():
            self.below += 1
        elif value >= kind.range_to():
            self.above += 1
        else:
            index = kind.bucket_index(value)
            self.buckets[index] = self.buckets.get(index, 0) + 1

    def merge(self, other: HistogramData) -> None:
        """Adds the counts of `other`, which must have equal buckets."""
        if self.bucket_type != other.bucket_type:
            raise ValueError(f"Cannot join histograms of {self.bucket_type} and {other.bucket_type}.")
        self.below += other.below
        self.above += other.above
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count

    def copy(self) -> HistogramData:
        """An independent copy."""
        twin = HistogramData(self.bucket_type)
        twin.merge(self)
        return twin

    def total_count(self) -> int:
        """The number of values counted, those out of range included."""
        return self.below + self.above + sum(self.buckets.values())

    def p50(self) -> float:
        """The median, estimated."""
        return self.percentile(50)

    def p90(self) -> float:
        """The 90th percentile, estimated."""
        return self.percentile(90)

    def p99(self) -> float:
        """The 99th percentile, estimated."""
        return self.percentile(99)

    def percentile(self, percent: float) -> float:
        """An estimate that takes values as spread evenly in their bucket; -inf or inf when out of range."""
        total = self.total_count()
        if total == 0:
            raise ValueError("An empty histogram has no percentiles.")
        wanted = total * percent / 100
        if wanted <= self.below and self.below:
            return -math.inf
        seen = float(self.below)
        low = self.bucket_type.range_from()
        for index in range(self.bucket_type.num_buckets()):
            size = self.bucket_type.bucket_size(index)
            count = self.buckets.get(index, 0)
            if count and seen + count >= wanted:
                return low + size * (wanted - seen) / count
            seen += count
            low += size
        return math.inf

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HistogramData)
            and self.bucket_type == other.bucket_type
            and (self.below, self.above, self.buckets) == (other.below, other.above, other.buckets)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"HistogramData({self.total_count()} values, {self.bucket_type})"
