"""`CountingSource`: the numbers from 0 on, a source for trying things out."""

from __future__ import annotations

from collections.abc import Iterator

from hornbeam.io.range_trackers import OffsetRangeTracker
from hornbeam.io.restriction_trackers import OffsetRange
from hornbeam.io.source import BoundedSource, RangeTracker, SourceBundle
from hornbeam.metrics.metric import Metrics

__all__ = ["CountingSource"]


class CountingSource(BoundedSource):
    """The numbers from 0 up to `count`, exclusive. Splits are sizes in numbers. Counts `recordsRead`."""

    def __init__(self, count: int) -> None:
        self.records_read = Metrics.counter(self.__class__, "recordsRead")
        self._count = count

    def estimate_size(self) -> int:
        """How many numbers there are."""
        return self._count

    def get_range_tracker(
        self, start_position: int | None = None, stop_position: int | None = None
    ) -> OffsetRangeTracker:
        """A tracker over the numbers themselves."""
        return OffsetRangeTracker(
            0 if start_position is None else start_position,
            self._count if stop_position is None else stop_position,
        )

    def read(self, range_tracker: RangeTracker) -> Iterator[int]:
        """The numbers of the range."""
        for number in range(range_tracker.start_position(), self._count):
            if not range_tracker.try_claim(number):
                return
            self.records_read.inc()
            yield number

    def read_batches(self, range_tracker: RangeTracker, batch_size: int) -> Iterator[list[int]]:
        """The numbers of the range, in lists."""
        start = range_tracker.start_position()
        while (size := min(batch_size, range_tracker.stop_position() - start)) > 0:
            # Claiming the last of a list claims those before it; a split in between makes the range shorter.
            if range_tracker.try_claim(start + size - 1):
                self.records_read.inc(size)
                yield list(range(start, start + size))
                start += size

    def split(
        self,
        desired_bundle_size: int,
        start_position: int | None = None,
        stop_position: int | None = None,
    ) -> Iterator[SourceBundle]:
        """Ranges of so many numbers."""
        whole = OffsetRange(
            0 if start_position is None else start_position,
            self._count if stop_position is None else stop_position,
        )
        for part in whole.split(desired_bundle_size):
            yield SourceBundle(part.size(), self, part.start, part.stop)
