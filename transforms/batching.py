"""BatchElements and SortAndBatchElements: lists of elements, made bundle by bundle, window by window."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from hornbeam.transforms.batch_size_estimator import BatchSizeEstimator
from hornbeam.transforms.core import DoFn, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import BoundedWindow
from hornbeam.typehints import List
from hornbeam.utils.windowed_value import WindowedValue

T = TypeVar("T")

#: How many windows may have unfinished batches at once; beyond it the largest batch is given out early.
LIVE_WINDOWS_MAX = 10
#: The bounds between length buckets when only `length_fn` is given.
BUCKET_BOUNDARIES = (16, 32, 64, 128, 256, 512)

Size = Callable[[Any], int]


class BatchElements(PTransform[Any, Any]):
    """Elements in lists, for steps whose cost is a fixed part and one for each element.

    A batch holds elements of one window, and is given out in it with the timestamp of its end. Sizes lie
    between `min_batch_size` and `max_batch_size` (the last batch of a bundle may be smaller) and are learned
    from the time that the steps after take: so that the fixed cost is `target_batch_overhead` of the whole,
    but no batch takes longer than `target_batch_duration_secs` besides its fixed cost, or than
    `target_batch_duration_secs_including_fixed_cost` with it. Make both bounds equal for a fixed size.

    `element_size_fn` says what an element adds to its batch's size (1 unless given). `length_fn` keeps
    elements of like length together, in the ranges between `bucket_boundaries`. Elements never wait longer
    than to the end of their bundle, so `max_batch_duration_secs`, the time they may wait, is always kept.

    >>> import hornbeam as beam
    >>> [len(batch) for batch in range(10) | beam.BatchElements(min_batch_size=4, max_batch_size=4)]
    [4, 4, 2]
    """

    def __init__(
        self,
        min_batch_size: int = 1,
        max_batch_size: int = 10000,
        target_batch_overhead: float | None = 0.05,
        target_batch_duration_secs: float | None = 10,
        target_batch_duration_secs_including_fixed_cost: float | None = None,
        max_batch_duration_secs: float | None = None,
        *,
        element_size_fn: Size | None = None,
        variance: float = 0.25,
        clock: Callable[[], float] = time.time,
        record_metrics: bool = True,
        length_fn: Size | None = None,
        bucket_boundaries: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self._estimator = BatchSizeEstimator(
            min_batch_size=min_batch_size,
            max_batch_size=max_batch_size,
            target_batch_overhead=target_batch_overhead,
            target_batch_duration_secs=target_batch_duration_secs,
            target_batch_duration_secs_including_fixed_cost=target_batch_duration_secs_including_fixed_cost,
            variance=variance,
            clock=clock,
            record_metrics=record_metrics,
        )
        if max_batch_duration_secs is not None and max_batch_duration_secs <= 0:
            raise ValueError(
                f"BatchElements needs max_batch_duration_secs greater than 0, found {max_batch_duration_secs}"
            )
        self._element_size_fn = element_size_fn
        self._bucket_fn = _bucket_fn(length_fn, bucket_boundaries)

    def expand(self, pcoll: Any) -> Any:
        """One ParDo."""
        fn = BatchingDoFn(self._estimator, self._element_size_fn, self._bucket_fn)
        return pcoll | ParDo(fn).with_input_types(T).with_output_types(List[T])


class _Batch:
    """A batch that is being filled. `size` is the sum of its elements' sizes."""

    __slots__ = ("bucket", "elements", "size", "window")

    def __init__(self, window: BoundedWindow, bucket: int) -> None:
        self.window = window
        self.bucket = bucket
        self.elements: list[Any] = []
        self.size = 0


class BatchingDoFn(DoFn):
    """Collects the elements of a bundle by window (and length bucket), and gives out full batches."""

    #: Asks the engine for each batch to be used at once: how long that takes decides how large the next ones are.
    times_outputs = True

    def __init__(
        self,
        estimator: BatchSizeEstimator,
        element_size_fn: Size | None = None,
        bucket_fn: Size | None = None,
    ) -> None:
        super().__init__()
        self._estimator = estimator
        self._element_size_fn = element_size_fn
        self._bucket_fn = bucket_fn
        self._open: dict[tuple[BoundedWindow, int], _Batch] = {}
        self._last: _Batch | None = None
        self._target = 0

    def start_bundle(self) -> None:
        """Nothing collected; the first batch pays for what the bundle sets up, so it is not learned from."""
        self._open = {}
        self._last = None
        self._target = self._estimator.next_batch_size()
        self._estimator.ignore_next_timing()

    def process(self, element: Any, window: Any = DoFn.WindowParam) -> Iterator[WindowedValue[list[Any]]]:
        """Add to the batch of the window; give out what is full."""
        bucket = self._bucket_fn(element) if self._bucket_fn else 0
        size = self._element_size_fn(element) if self._element_size_fn else 1
        batch = self._batch_of(window, bucket)
        if batch.elements and batch.size + size > self._target:
            yield from self._give_out(batch)
            batch = self._batch_of(window, bucket)
        batch.elements.append(element)
        batch.size += size
        if batch.size >= self._target:
            yield from self._give_out(batch)
        elif len(self._open) > LIVE_WINDOWS_MAX and self._bucket_fn is None:
            yield from self._give_out(max(self._open.values(), key=lambda batch: batch.size))

    def finish_bundle(self) -> Iterator[WindowedValue[list[Any]]]:
        """Give out the rest, full or not."""
        for batch in list(self._open.values()):
            yield from self._give_out(batch)

    def _batch_of(self, window: BoundedWindow, bucket: int) -> _Batch:
        """The open batch for a window and bucket, which mostly is that of the element before."""
        last = self._last
        if last is not None and (last.window is window or last.window == window) and last.bucket == bucket:
            return last
        batch = self._open.get((window, bucket))
        if batch is None:
            batch = self._open[window, bucket] = _Batch(window, bucket)
        self._last = batch
        return batch

    def _give_out(self, batch: _Batch) -> Iterator[WindowedValue[list[Any]]]:
        del self._open[batch.window, batch.bucket]
        self._last = None
        with self._estimator.record_time(batch.size):
            yield _in_window(batch.elements, batch.window)
        self._target = self._estimator.next_batch_size()


class SortAndBatchElements(PTransform[Any, Any]):
    """The elements of each bundle and window in lists, sorted by size, so that a list's elements are alike.

    A list is closed at `max_batch_size` elements, or before its sizes together exceed `max_batch_weight`
    (unless it has fewer than `min_batch_size` elements yet). `element_size_fn` says an element's size; `len`,
    or 1 for what has no length, unless given. For steps that pad all elements of a batch to the longest.

    >>> import hornbeam as beam
    >>> words = ["pear", "fig", "banana", "kiwi"]
    >>> words | beam.SortAndBatchElements(min_batch_size=1, max_batch_size=2, max_batch_weight=100)
    [['fig', 'pear'], ['kiwi', 'banana']]
    """

    def __init__(
        self,
        min_batch_size: int,
        max_batch_size: int,
        max_batch_weight: int,
        element_size_fn: Size | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= min_batch_size <= max_batch_size:
            raise ValueError(
                "SortAndBatchElements needs 1 <= min_batch_size <= max_batch_size, "
                f"found {min_batch_size} and {max_batch_size}"
            )
        if max_batch_weight < 1:
            raise ValueError(
                f"SortAndBatchElements needs max_batch_weight of 1 or more, found {max_batch_weight}"
            )
        self._fn = _SortAndBatchDoFn(
            min_batch_size, max_batch_size, max_batch_weight, element_size_fn or _length
        )

    def expand(self, pcoll: Any) -> Any:
        """One ParDo."""
        return pcoll | ParDo(self._fn).with_input_types(T).with_output_types(List[T])


class _SortAndBatchDoFn(DoFn):
    """Collects a bundle by window; sorts and cuts at its end."""

    def __init__(self, least: int, greatest: int, weight_max: int, size_fn: Size) -> None:
        super().__init__()
        self._least = least
        self._greatest = greatest
        self._weight_max = weight_max
        self._size_fn = size_fn
        self._elements: dict[BoundedWindow, list[tuple[int, Any]]] = {}

    def start_bundle(self) -> None:
        """Nothing collected."""
        self._elements = {}

    def process(self, element: Any, window: Any = DoFn.WindowParam) -> None:
        """Keep the element with its size."""
        self._elements.setdefault(window, []).append((self._size_fn(element), element))

    def finish_bundle(self) -> Iterator[WindowedValue[list[Any]]]:
        """Give out the batches of each window, the smallest elements first."""
        for window, sized in self._elements.items():
            sized.sort(key=lambda pair: pair[0])
            for batch in self._cut(sized):
                yield _in_window(batch, window)
        self._elements = {}

    def _cut(self, sized: list[tuple[int, Any]]) -> Iterator[list[Any]]:
        batch: list[Any] = []
        weight = 0
        for size, element in sized:
            too_heavy = weight + size > self._weight_max and len(batch) >= self._least
            if batch and (too_heavy or len(batch) == self._greatest):
                yield batch
                batch, weight = [], 0
            batch.append(element)
            weight += size
        if batch:
            yield batch


def _in_window(batch: list[Any], window: BoundedWindow) -> WindowedValue[list[Any]]:
    return WindowedValue(batch, window.max_timestamp(), (window,))


def _length(element: Any) -> int:
    try:
        return len(element)
    except TypeError:
        return 1


def _bucket_fn(length_fn: Size | None, boundaries: Sequence[int] | None) -> Size | None:
    """Which bucket an element's length falls into, or None when lengths do not matter."""
    if length_fn is None:
        if boundaries is not None:
            raise ValueError(
                "BatchElements got bucket_boundaries without length_fn, which says an element's length"
            )
        return None
    bounds = list(BUCKET_BOUNDARIES if boundaries is None else boundaries)
    if not bounds or bounds[0] <= 0 or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(f"BatchElements needs bucket_boundaries above 0 that increase, found {bounds}")
    return lambda element: bisect.bisect_left(bounds, length_fn(element))
