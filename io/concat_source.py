"""Several bounded sources, read one after the other as one."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from hornbeam.io.source import BoundedSource, RangeTracker, SourceBundle

if TYPE_CHECKING:
    from hornbeam.coders.coders import Coder

__all__ = ["ConcatRangeTracker", "ConcatSource"]


class ConcatSource(BoundedSource):
    """The records of each source in turn. A position is the source's index and a position in it, or None.

    Each source stands in a `SourceBundle`, or alone for all of it.
    """

    def __init__(self, sources: Iterable[BoundedSource | SourceBundle]) -> None:
        self._source_bundles = [
            source if isinstance(source, SourceBundle) else SourceBundle(1.0, source, None, None)
            for source in sources
        ]

    @property
    def sources(self) -> list[BoundedSource]:
        """The sources, in order."""
        return [_bounded(bundle) for bundle in self._source_bundles]

    def estimate_size(self) -> int | None:
        """The sizes together; None when one is not known."""
        sizes = [source.estimate_size() for source in self.sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def split(
        self, desired_bundle_size: int | None = None, start_position: Any = None, stop_position: Any = None
    ) -> Iterator[SourceBundle]:
        """The splits of each source in turn."""
        bundles = self._source_bundles
        first, first_start = start_position if start_position is not None else (0, None)
        last, last_stop = stop_position if stop_position is not None else (len(bundles), None)
        for index in range(first, min(last + 1, len(bundles))):
            if index == last and last_stop is None:
                break
            bundle = bundles[index]
            start = first_start if index == first and first_start is not None else bundle.start_position
            stop = last_stop if index == last else bundle.stop_position
            yield from _bounded(bundle).split(desired_bundle_size, start, stop)  # type: ignore[arg-type]

    def get_range_tracker(self, start_position: Any = None, stop_position: Any = None) -> RangeTracker:
        """A tracker over the sources."""
        start = start_position if start_position is not None else (0, None)
        stop = stop_position if stop_position is not None else (len(self._source_bundles), None)
        return ConcatRangeTracker(start, stop, self._source_bundles)

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        """The records of each source in turn."""
        for source, tracker in self._reads(range_tracker):
            yield from source.read(tracker)

    def read_batches(self, range_tracker: RangeTracker, batch_size: int) -> Iterator[list[Any]]:
        """The records of each source in turn, in lists; no list has records of two sources."""
        for source, tracker in self._reads(range_tracker):
            yield from batches_of(source, tracker, batch_size)

    def _reads(self, range_tracker: RangeTracker) -> Iterator[tuple[BoundedSource, RangeTracker]]:
        assert isinstance(range_tracker, ConcatRangeTracker)
        first, _ = range_tracker.start_position()
        for index in range(first, len(self._source_bundles)):
            if not range_tracker.try_claim((index, None)):
                return
            yield _bounded(self._source_bundles[index]), range_tracker.sub_range_tracker(index)

    def default_output_coder(self) -> Coder:
        """The first source's coder."""
        if self._source_bundles:
            return _bounded(self._source_bundles[0]).default_output_coder()
        return super().default_output_coder()


def batches_of(source: BoundedSource, tracker: RangeTracker, batch_size: int) -> Iterator[list[Any]]:
    """A source's records in lists, by its `read_batches` where it has one, else by `read`."""
    read_batches = getattr(source, "read_batches", None)
    if read_batches is not None:
        yield from read_batches(tracker, batch_size)
        return
    records = iter(source.read(tracker))
    while batch := list(islice(records, batch_size)):
        yield batch


def _bounded(bundle: SourceBundle) -> BoundedSource:
    source = bundle.source
    assert isinstance(source, BoundedSource), f"ConcatSource reads bounded sources; found {source!r}"
    return source


class ConcatRangeTracker(RangeTracker):
    """Positions over several sources: pairs of a source's index and a position in it (None for its start).

    Fractions count the weights of the sources' bundles.
    """

    def __init__(
        self, start: tuple[int, Any], end: tuple[int, Any], source_bundles: Sequence[SourceBundle]
    ) -> None:
        self._start = start
        self._end = end
        self._source_bundles = source_bundles
        self._lock = threading.RLock()
        self._trackers: list[RangeTracker | None] = [None] * len(source_bundles)
        self._claimed_source_ix = start[0]
        last = end[0] if end[1] is None else end[0] + 1
        weights = [
            float(bundle.weight) if start[0] <= index < last else 0.0
            for index, bundle in enumerate(source_bundles)
        ]
        total = sum(weights)
        #: The fraction of the whole before each source, and 1 at the end.
        self._cumulative = [0.0, *(part / total if total else 1.0 for part in accumulate(weights))]

    def start_position(self) -> tuple[int, Any]:
        """The first source's index and the start in it."""
        return self._start

    def stop_position(self) -> tuple[int, Any]:
        """The index of the source to stop in, and where in it; None there means before it."""
        with self._lock:
            return self._end

    def try_claim(self, pos: tuple[int, Any]) -> bool:
        """Claim a source, or a position in one, which the source's own tracker decides."""
        index, inner = pos
        with self._lock:
            last = self._end[0] if self._end[1] is None else self._end[0] + 1
            if index >= last or index >= len(self._source_bundles):
                return False
            if index > self._claimed_source_ix:
                self._claimed_source_ix = index
            if inner is None:
                return True
            return self.sub_range_tracker(index).try_claim(inner)

    def try_split(self, pos: tuple[int, Any]) -> tuple[tuple[int, Any], float] | None:
        """Split between two sources, or inside one as its own tracker allows."""
        index, inner = pos
        with self._lock:
            fraction: float
            if index < self._claimed_source_ix or (index == self._claimed_source_ix and inner is None):
                return None
            if inner is None:
                if index >= self._end[0] + (self._end[1] is not None):
                    return None
                if self._claimed_source_ix == index:
                    return None
                split, fraction = (index, None), self._cumulative[index]
            else:
                last = self._end[0] if self._end[1] is None else self._end[0] + 1
                if index >= last:
                    return None
                inside = self.sub_range_tracker(index).try_split(inner)
                if inside is None:
                    return None
                split, fraction = (index, inside[0]), self.local_to_global(index, inside[1])
            self._end = split
            self._cumulative = [min(part / fraction, 1.0) if fraction else 1.0 for part in self._cumulative]
            return split, fraction

    def set_current_position(self, pos: Any) -> None:
        """Never called: the sources' own trackers are told."""
        raise NotImplementedError(
            "A ConcatRangeTracker is told of positions through its sub_range_tracker()."
        )

    def position_at_fraction(self, fraction: float) -> tuple[int, Any]:
        """The source and the position in it at a fraction of the weights."""
        index, inner = self.global_to_local(fraction)
        if index >= len(self._source_bundles):
            return index, None
        return index, self.sub_range_tracker(index).position_at_fraction(inner or 0.0)

    def fraction_consumed(self) -> float:
        """The share of the weights that is read."""
        with self._lock:
            index = self._claimed_source_ix
            if index >= len(self._source_bundles):
                return 1.0
            return self.local_to_global(index, self.sub_range_tracker(index).fraction_consumed())

    def local_to_global(self, source_ix: int, source_frac: float) -> float:
        """The fraction of the whole at a fraction of one source."""
        before, after = self._cumulative[source_ix], self._cumulative[source_ix + 1]
        return before + source_frac * (after - before)

    def global_to_local(self, frac: float) -> tuple[int, float | None]:
        """The source, and the fraction of it, at a fraction of the whole; past the last source at 1."""
        if frac == 1:
            # The last source of the range, so that a range without its last sources ends where they start.
            last = self._end[0] if self._end[1] is None else self._end[0] + 1
            return min(last, len(self._source_bundles)), None
        index = bisect_right(self._cumulative, frac) - 1
        before, after = self._cumulative[index], self._cumulative[index + 1]
        return index, (frac - before) / (after - before)

    def sub_range_tracker(self, source_ix: int) -> RangeTracker:
        """The tracker of one source, made when it is first asked for."""
        with self._lock:
            tracker = self._trackers[source_ix]
            if tracker is None:
                bundle = self._source_bundles[source_ix]
                start = self._start[1] if source_ix == self._start[0] else None
                stop = self._end[1] if source_ix == self._end[0] else None
                tracker = _bounded(bundle).get_range_tracker(
                    bundle.start_position if start is None else start,
                    bundle.stop_position if stop is None else stop,
                )
                self._trackers[source_ix] = tracker
            return tracker
