"""Grouping over windows that merge: per key, the windows of all elements are gathered and merged when they may fire.

Elements are kept as (window, value) and `WindowFn.merge` says which windows become one. `Sessions` have an operator of
their own, in `sessions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS, OutputChunks
from hornbeam.runners.engine.failures import Failure, add_failure, short_repr
from hornbeam.runners.engine.folding import Cell, GatherFolding
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs
from hornbeam.runners.engine.partitioned import PartitionedCells
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.transforms.window import (
    TimestampCombiner,
    WindowFn,
    combine_timestamps,
)

_first, _third = itemgetter(0), itemgetter(2)

#: What is gathered of an element: (window, value), and its timestamp where outputs need it.
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

    def input(self, index: int) -> Receiver:
        """What takes the elements of input `index`; there is only one."""
        return self.process

    def process(self, bundle: Bundle) -> None:
        """Adds the pairs of a bundle."""
        bundle = bundle.exploded()
        if not bundle.values:
            return
        pairs = self._pairs.check(bundle)
        stamps = [bundle.timestamp_list()] if self._stamps_wanted else []
        try:
            keys, values = zip(*pairs)
        except (ValueError, TypeError) as error:
            add_failure(error, Failure(self.spec.label, short_repr(bundle.values[0])))
            raise
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
        out = _FiredWindows(self.spec, watermark)
        pending = cell.pending
        for key in list(pending):
            items = pending.pop(key)
            try:
                kept = out.add_key(key, items)
            except Exception as error:
                add_failure(error, Failure(self.spec.label, key=short_repr(user_key(key))))
                raise
            if kept:
                pending[key] = kept
            if out.is_full:
                yield out.take()
        yield from out.rest()


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
