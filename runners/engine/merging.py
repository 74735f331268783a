"""Grouping over windows that merge: per key, the windows of all elements are gathered and merged when they may fire.

Elements of `Sessions` are kept as (start, end, value) and cut where a start is not before the running end; for any
other merging window function they are kept as (window, value) and `WindowFn.merge` says what becomes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle, Intervals
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS, ON_TIME_AND_ONLY, OutputChunks
from hornbeam.runners.engine.failures import Failure, add_failure, short_repr
from hornbeam.runners.engine.folding import Cell, GatherFolding
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs
from hornbeam.runners.engine.partitioned import PartitionedCells
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.transforms.window import (
    IntervalWindow,
    Sessions,
    TimestampCombiner,
    WindowFn,
    combine_timestamps,
)

_first, _third = itemgetter(0), itemgetter(2)

#: What is gathered of an element: (start, end, value) or (window, value), and its timestamp where outputs need it.
Item = tuple[Any, ...]


class MergingGroupingOperator:
    """Grouping over windows that merge."""

    def __init__(self, spec: GroupingSpec, space: TemporarySpace, memory_bytes_max: int) -> None:
        self.spec = spec
        self._pairs = Pairs(spec)
        # On disk and in memory the items of a key are gathered; they are folded once their windows are known.
        self._gather = attrs.evolve(spec, folding=GatherFolding())
        self._space = space
        self._limit = memory_bytes_max
        self._cell = self._gather.folding.new_cell()
        self._spilled: PartitionedCells | None = None
        self._bytes = 0
        self._stamps_wanted = spec.timestamp_combiner != TimestampCombiner.OUTPUT_AT_EOW

    def process(self, bundle: Bundle) -> None:
        """Adds the pairs of a bundle."""
        bundle = bundle.exploded()
        if not bundle.values:
            return
        pairs = self._pairs.check(bundle)
        stamps = [bundle.timestamp_list()] if self._stamps_wanted else []
        windows = bundle.windows
        try:
            keys, values = zip(*pairs)
        except (ValueError, TypeError) as error:
            add_failure(error, Failure(self.spec.label, short_repr(bundle.values[0])))
            raise
        if type(windows) is Intervals:
            items = zip(windows.starts.tolist(), windows.ends.tolist(), values, *stamps)
        elif type(self.spec.window_fn) is Sessions:
            singles = [entry[0] for entry in bundle.window_list()]
            items = zip([w.start_micros for w in singles], [w.end_micros for w in singles], values, *stamps)
        else:
            items = zip([entry[0] for entry in bundle.window_list()], values, *stamps)
        pending = self._cell.pending
        for key, item in zip(keys, items):
            pending[key].append(item)
        self._bytes += len(pairs) * (150 + mean_size(values))
        if self._bytes > self._limit:
            self._spill()

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = PartitionedCells(self._gather, self._space, self._limit, level=0)
        self._spilled.write({(): self._cell})
        self._cell = self._gather.folding.new_cell()
        self._bytes = 0

    def fire(self, watermark: int) -> Iterator[Bundle]:
        """Emits every merged window whose last timestamp the watermark has passed."""
        if self._spilled is None:
            yield from self._fire_cell(self._cell, watermark)
        elif watermark >= END_OF_TIME_MICROS:
            self._spill()
            spilled, self._spilled = self._spilled, None
            for cells in spilled.read():
                for cell in cells.values():
                    yield from self._fire_cell(cell, watermark)

    def _fire_cell(self, cell: Cell, watermark: int) -> Iterator[Bundle]:
        out: _FiredSessions | _FiredWindows
        if type(self.spec.window_fn) is Sessions:
            out = _FiredSessions(self.spec, self._stamps_wanted, watermark)
        else:
            out = _FiredWindows(self.spec, watermark)
        pending = cell.pending
        for key in list(pending):
            items = pending.pop(key)
            try:
                kept = out.add_key(key, items)
            except Exception as error:
                add_failure(error, Failure(self.spec.label, short_repr(user_key(key))))
                raise
            if kept:
                pending[key] = kept
            if out.is_full:
                yield out.take()
        yield from out.rest()


class _FiredSessions:
    """Cuts the items of keys into sessions and gathers the results as columns."""

    def __init__(self, spec: GroupingSpec, stamps_wanted: bool, watermark: int) -> None:
        self._spec = spec
        self._stamps_wanted = stamps_wanted
        self._watermark = watermark
        self._values: list[Any] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._times: list[int] = []

    def add_key(self, key: Any, items: Iterable[Item]) -> list[Item]:
        """Adds the sessions of one key that may fire, and gives the items of the others."""
        ordered = sorted(items, key=_first)
        kept: list[Item] = []
        start, end = ordered[0][0], ordered[0][1]
        first = 0
        for index, item in enumerate(ordered):
            if item[0] >= end:
                kept.extend(self._close(key, start, end, ordered[first:index]))
                first = index
                start, end = item[0], item[1]
            elif item[1] > end:
                end = item[1]
        kept.extend(self._close(key, start, end, ordered[first:]))
        return kept

    def _close(self, key: Any, start: int, end: int, session: list[Item]) -> list[Item]:
        if end - 1 > self._watermark:
            return [(start, end, *item[2:]) for item in session]
        self._values.append((user_key(key), self._spec.folding.fold(list(map(_third, session)))))
        self._starts.append(start)
        self._ends.append(end)
        if self._stamps_wanted:
            spec, window = self._spec, IntervalWindow.from_micros(start, end)
            times = [item[3] for item in session]
            self._times.append(combine_timestamps(spec.timestamp_combiner, spec.window_fn, window, times))
        return []

    @property
    def is_full(self) -> bool:
        return len(self._values) >= CHUNK

    def take(self) -> Bundle:
        """The bundle of all that was added."""
        starts, ends = np.array(self._starts, dtype=np.int64), np.array(self._ends, dtype=np.int64)
        times = np.array(self._times, dtype=np.int64) if self._stamps_wanted else ends - 1
        bundle = Bundle(self._values, times, Intervals(starts, ends), ON_TIME_AND_ONLY)
        self._values, self._starts, self._ends, self._times = [], [], [], []
        return bundle

    def rest(self) -> Iterator[Bundle]:
        if self._values:
            for bundle in self.take().chunks(CHUNK):
                yield bundle


class _FiredWindows(OutputChunks):
    """Merges the windows of keys by their window function and gathers the results."""

    def __init__(self, spec: GroupingSpec, watermark: int) -> None:
        super().__init__()
        self._spec = spec
        self._watermark = watermark

    def add_key(self, key: Any, items: Iterable[Item]) -> list[Item]:
        """Adds the merged windows of one key that may fire, and gives the items of the others, merged."""
        items = list(items)
        merged = merge_windows(self._spec.window_fn, dict.fromkeys(item[0] for item in items))
        groups: dict[Any, list[Item]] = {}
        for item in items:
            groups.setdefault(merged[item[0]], []).append(item)
        kept: list[Item] = []
        for window, group in groups.items():
            if window.max_micros > self._watermark:
                kept.extend((window, *item[1:]) for item in group)
                continue
            times = [item[2] for item in group if len(item) > 2]
            spec = self._spec
            time = combine_timestamps(spec.timestamp_combiner, spec.window_fn, window, times)
            output = spec.folding.fold([item[1] for item in group])
            self.add(window, [(user_key(key), output)], [time])
        return kept


def merge_windows(window_fn: WindowFn, windows: Iterable[Any]) -> dict[Any, Any]:
    """Which window each of the windows becomes. Merging is asked again until nothing merges."""
    target = {window: window for window in windows}
    while True:
        context = _MergeContext(dict.fromkeys(target.values()))
        window_fn.merge(context)
        if not any(old != new for old, new in context.merged.items()):
            return target
        for window, became in target.items():
            target[window] = context.merged.get(became, became)


class _MergeContext(WindowFn.MergeContext):
    """Notes what a window function merges."""

    def __init__(self, windows: Iterable[Any]) -> None:
        super().__init__(windows)
        self.merged: dict[Any, Any] = {}

    def merge(self, to_be_merged: Iterable[Any], merge_result: Any) -> None:
        for window in to_be_merged:
            self.merged[window] = merge_result
