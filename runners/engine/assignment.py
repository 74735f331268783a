"""Window assignment over whole columns: the standard window functions by arithmetic, any other one element at a time.

Timestamps are event-time microseconds. Fixed window i covers [offset + i*size, offset + (i+1)*size) (The Dataflow
Model, section 2.2); an element at t is in the sliding windows that start in (t - size, t].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import (
    GLOBAL_WINDOWS,
    Bundle,
    Coded,
    Intervals,
    Micros,
    Windows,
    WindowSet,
)
from hornbeam.transforms.window import (
    LAST_END_MICROS,
    BoundedWindow,
    FixedWindows,
    GlobalWindows,
    IntervalWindow,
    Sessions,
    SlidingWindows,
    WindowFn,
)
from hornbeam.utils.timestamp import Timestamp

#: How many distinct windows an assigner remembers; a stream that runs for years must not keep them all.
CACHE_ENTRIES_MAX = 10_000


class WindowAssigner:
    """Assigns windows to bundles for one window function."""

    def __init__(self, window_fn: WindowFn) -> None:
        self.window_fn = window_fn
        self._cache: dict[int, WindowSet] = {}
        #: The element at which the last call of the window function failed.
        self.failed_at: int | None = None
        kind = type(window_fn)
        if kind is GlobalWindows:
            self._assign: Callable[[Bundle], Windows] = lambda bundle: GLOBAL_WINDOWS
        elif kind is FixedWindows:
            size, offset = window_fn.size_micros, window_fn.offset_micros  # type: ignore[attr-defined]
            self._by_slice(size, offset, lambda i: (_interval(offset + i * size, size),))
        elif kind is SlidingWindows:
            self._sliding(window_fn)  # type: ignore[arg-type]
        elif kind is Sessions:
            gap = window_fn.gap_micros  # type: ignore[attr-defined]
            self._assign = lambda bundle: _gaps(bundle, gap)
        else:
            self._assign = self._one_by_one

    def __call__(self, bundle: Bundle) -> Windows:
        return self._assign(bundle)

    def _by_slice(self, size: int, offset: int, make: Callable[[int], WindowSet]) -> None:
        """All elements of one slice of time (of `size`, from `offset`) share a window set that `make` builds."""

        def entry(i: int) -> WindowSet:
            windows = self._cache.get(i)
            if windows is None:
                if len(self._cache) >= CACHE_ENTRIES_MAX:
                    self._cache.clear()
                windows = self._cache[i] = make(i)
            return windows

        def assign(bundle: Bundle) -> Windows:
            stamps = bundle.timestamps
            if type(stamps) is int:
                return entry((stamps - offset) // size)
            slices: Micros = stamps // size  # type: ignore[assignment]
            if offset:  # and not (stamps - offset) // size, which overflows at the beginning of time
                slices -= (stamps % size < offset % size) + offset // size
            low, high = int(slices.min()), int(slices.max())
            if low == high:
                return entry(low)
            if high - low < 2 * len(slices):
                codes = (slices - low).astype(np.intp)
                present = np.bincount(codes, minlength=high - low + 1)
                return Coded(codes, [entry(low + i) if n else () for i, n in enumerate(present.tolist())])
            distinct, inverse = np.unique(slices, return_inverse=True)
            return Coded(inverse.astype(np.intp), [entry(i) for i in distinct.tolist()])

        self._assign = assign

    def _sliding(self, fn: SlidingWindows) -> None:
        size, period, offset = fn.size_micros, fn.period_micros, fn.offset_micros
        # Within one slice of gcd(size, period) all elements are in the same windows.
        step = math.gcd(size, period)

        def make(i: int) -> WindowSet:
            stamp = offset + i * step
            last = stamp - (stamp - offset) % period
            starts = range(last, stamp - size, -period)
            return tuple(_interval(start, size) for start in starts)

        self._by_slice(step, offset, make)

    def _one_by_one(self, bundle: Bundle) -> Windows:
        assign, context = self.window_fn.assign, WindowFn.AssignContext
        sets: list[WindowSet] = []
        for value, stamp, windows in zip(bundle.values, bundle.timestamp_list(), bundle.window_list()):
            window: Any = windows[0] if windows else None
            try:
                sets.append(tuple(assign(context(Timestamp(micros=stamp), value, window))))
            except BaseException:
                self.failed_at = len(sets)
                raise
        coded = Coded.of(sets)
        for window in (window for given in coded.table for window in given):
            if not isinstance(window, BoundedWindow):
                raise TypeError(
                    f"{self.window_fn!r}.assign gave {window!r}, of type {type(window).__name__}, where windows are "
                    "wanted: IntervalWindow(start, end), or a class of your own that derives from BoundedWindow."
                )
        return coded.table[0] if len(coded.table) == 1 else coded


def _interval(start: int, size: int) -> IntervalWindow:
    return IntervalWindow.from_micros(start, min(start + size, LAST_END_MICROS))


def _gaps(bundle: Bundle, gap: int) -> Windows:
    stamps = bundle.timestamps
    if type(stamps) is int:
        return (IntervalWindow.from_micros(stamps, min(stamps + gap, LAST_END_MICROS)),)
    array: Micros = stamps  # type: ignore[assignment]
    return Intervals(array, np.minimum(array, LAST_END_MICROS - gap) + gap)
