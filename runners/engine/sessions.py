"""Grouping in session windows, by columns: a code for each key, starts and ends as arrays, and the values.

When sessions may fire, everything is sorted by (key, start) at once, and a session begins where the key changes or a start
is not before the end of what came before it. (The Dataflow Model, section 2.2.2: sessions as merging windows.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count, repeat
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle, Intervals, Micros
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS, ON_TIME_AND_ONLY
from hornbeam.runners.engine.failures import note_failure
from hornbeam.runners.engine.folding import Cell, GatherFolding
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs, refuse_non_pairs
from hornbeam.runners.engine.partitioned import PartitionedCells
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.transforms.window import TimestampCombiner

_first, _second = itemgetter(0), itemgetter(1)


class _Columns:
    """What was gathered, one entry an element."""

    def __init__(self) -> None:
        #: The code of each table key, given out in the order in which keys came.
        self.key_codes: defaultdict[Any, int] = defaultdict(count().__next__)
        self.codes: list[Any] = []
        self.starts: list[Micros] = []
        self.ends: list[Micros] = []
        self.stamps: list[Micros] = []
        self.values: list[Any] = []

    def add(
        self, keys: list[Any], starts: Micros, ends: Micros, values: list[Any], stamps: Micros | None
    ) -> None:
        self.codes.append(np.array(list(map(self.key_codes.__getitem__, keys)), dtype=np.int64))
        self.starts.append(starts)
        self.ends.append(ends)
        self.values.extend(values)
        if stamps is not None:
            self.stamps.append(stamps)

    def items(self) -> dict[Any, list[Any]]:
        """(start, end, value) or (start, end, value, timestamp) by key, for the disk."""
        keys = list(self.key_codes)
        by_key: defaultdict[Any, list[Any]] = defaultdict(list)
        columns = [joined(self.starts).tolist(), joined(self.ends).tolist(), self.values]
        if self.stamps:
            columns.append(joined(self.stamps).tolist())
        for code, item in zip(joined(self.codes).tolist(), zip(*columns)):
            by_key[keys[code]].append(item)
        return by_key

    @classmethod
    def of_items(cls, by_key: dict[Any, list[Any]]) -> _Columns:
        """The columns that `items` was made of."""
        columns = cls()
        for key, items in by_key.items():
            starts, ends, values, *stamps = zip(*items)
            columns.add(
                [key] * len(starts),
                np.array(starts, dtype=np.int64),
                np.array(ends, dtype=np.int64),
                list(values),
                np.array(stamps[0], dtype=np.int64) if stamps else None,
            )
        return columns


def joined(arrays: list[Any]) -> Micros:
    """One array of many."""
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)


class SessionGroupingOperator:
    """Grouping in session windows."""

    def __init__(self, spec: GroupingSpec, space: TemporarySpace, memory_bytes_max: int) -> None:
        self.spec = spec
        self._pairs = Pairs(spec)
        self._gather = attrs.evolve(spec, folding=GatherFolding())
        self._space = space
        self._limit = memory_bytes_max
        self._columns = _Columns()
        self._spilled: PartitionedCells | None = None
        self._bytes = 0
        self._stamps_wanted = spec.timestamp_combiner != TimestampCombiner.OUTPUT_AT_EOW
        self._reduce: Callable[..., Any] = (
            np.maximum if spec.timestamp_combiner == TimestampCombiner.OUTPUT_AT_LATEST else np.minimum
        ).reduceat

    def input(self, index: int) -> Receiver:
        """What takes the elements of input `index`; there is only one."""
        return self.process

    def process(self, bundle: Bundle) -> None:
        """Adds the pairs of a bundle."""
        bundle = bundle.exploded()
        if not bundle.values:  # they were in no window at all
            return
        pairs = self._pairs.check(bundle)
        try:
            keys, values = list(map(_first, pairs)), list(map(_second, pairs))
        except (TypeError, IndexError) as error:
            refuse_non_pairs(self.spec.label, bundle.values)
            note_failure(error, self.spec.label)
            raise
        starts, ends = _intervals(bundle)
        if not self.spec.folding.looks_at_values:
            values = [None] * len(keys)
        self._columns.add(
            keys, starts, ends, values, bundle.timestamp_array() if self._stamps_wanted else None
        )
        self._bytes += len(keys) * (40 + mean_size(values))
        if self._bytes > self._limit:
            self._spill()

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = PartitionedCells(self._gather, self._space, self._limit, level=0)
        self._spilled.write({(): Cell(self._columns.items(), {})})
        self._columns = _Columns()
        self._bytes = 0

    def fire(self, watermark: int) -> Iterator[Bundle]:
        """Emits every session whose last timestamp the watermark has passed."""
        if self._spilled is None:
            yield from self._fire_columns(watermark)
        elif watermark >= END_OF_TIME_MICROS:
            self._spill()
            spilled, self._spilled = self._spilled, None
            for cells in spilled.read():
                for cell in cells.values():
                    self._columns = _Columns.of_items(cell.pending)
                    yield from self._fire_columns(watermark)

    def _fire_columns(self, watermark: int) -> Iterator[Bundle]:
        columns, self._columns = self._columns, _Columns()
        self._bytes = 0
        if not columns.values:
            return
        codes, starts, ends = joined(columns.codes), joined(columns.starts), joined(columns.ends)
        order = np.lexsort((starts, codes))
        codes, starts, ends = codes[order], starts[order], ends[order]
        reached = _reached(codes, ends)
        begins = np.empty(len(codes), dtype=bool)
        begins[0] = True
        np.logical_or(codes[1:] != codes[:-1], starts[1:] >= reached[:-1], out=begins[1:])
        firsts = np.flatnonzero(begins)
        afters = np.append(firsts[1:], len(codes))
        values = list(map(columns.values.__getitem__, order.tolist()))
        stamps = joined(columns.stamps)[order] if self._stamps_wanted else None
        keys = list(columns.key_codes)
        session_ends = reached[afters - 1]
        due = session_ends - 1 <= watermark
        if not due.all():
            self._keep(keys, codes, starts, ends, values, stamps, np.repeat(~due, afters - firsts))
            firsts, afters, session_ends = firsts[due], afters[due], session_ends[due]
        times = self._times(stamps, firsts, afters, session_ends, due)
        for at in range(0, len(firsts), CHUNK):
            part = slice(at, at + CHUNK)
            outputs = self._fold(values, firsts[part].tolist(), afters[part].tolist())
            own = map(keys.__getitem__, codes[firsts[part]].tolist())
            pairs = list(zip(map(user_key, own), outputs))
            windows = Intervals(starts[firsts[part]], session_ends[part])
            yield Bundle(pairs, times[part], windows, ON_TIME_AND_ONLY)

    def _fold(self, values: list[Any], firsts: list[int], afters: list[int]) -> list[Any]:
        try:
            return self.spec.folding.fold_slices(values, firsts, afters)
        except Exception as error:
            note_failure(error, self.spec.label)
            raise

    def _times(
        self, stamps: Micros | None, firsts: Any, afters: Any, session_ends: Micros, due: Any
    ) -> Micros:
        if stamps is None or not len(firsts):
            return session_ends - 1
        if due.all():
            times: Micros = self._reduce(stamps, firsts)
            return times
        return np.array([self._reduce(stamps[a:b], [0])[0] for a, b in zip(firsts, afters)], dtype=np.int64)

    def _keep(
        self,
        keys: list[Any],
        codes: Micros,
        starts: Micros,
        ends: Micros,
        values: list[Any],
        stamps: Micros | None,
        mask: Any,
    ) -> None:
        """Takes back the elements of sessions that may not fire yet."""
        index = np.flatnonzero(mask)
        own = list(map(keys.__getitem__, codes[index].tolist()))
        kept = list(map(values.__getitem__, index.tolist()))
        self._columns.add(own, starts[index], ends[index], kept, None if stamps is None else stamps[index])
        self._bytes = len(kept) * (40 + mean_size(kept))


def _intervals(bundle: Bundle) -> tuple[Micros, Micros]:
    """The starts and ends of the bundle's windows, which are intervals."""
    windows = bundle.windows
    if type(windows) is Intervals:
        return windows.starts, windows.ends
    if type(windows) is tuple:
        size = len(bundle.values)
        start, end = repeat(windows[0].start_micros, size), repeat(windows[0].end_micros, size)
        return np.fromiter(start, np.int64, size), np.fromiter(end, np.int64, size)
    singles = [entry[0] for entry in bundle.window_list()]
    starts = np.array([window.start_micros for window in singles], dtype=np.int64)
    return starts, np.array([window.end_micros for window in singles], dtype=np.int64)


def _reached(codes: Micros, ends: Micros) -> Micros:
    """The latest end of the elements of the same key so far. Proto-windows of one gap, sorted, are that already."""
    falls = np.flatnonzero((ends[1:] < ends[:-1]) & (codes[1:] == codes[:-1]))
    if not len(falls):
        return ends
    reached = ends.tolist()
    same = (codes[1:] == codes[:-1]).tolist()
    for i in range(int(falls[0]), len(same)):
        if same[i] and reached[i] > reached[i + 1]:
            reached[i + 1] = reached[i]
    return np.array(reached, dtype=np.int64)
