"""Grouping under the default trigger: window → key → what was gathered, and whole windows fire as time passes them.

    bundle of pairs ── process ──► cells per set of windows ── fire(watermark) ──► bundles of (key, output)

A cell stands for a *set* of windows: all elements of one slice of sliding windows share a set, are folded once, and
each window then reads the cells whose set holds it. A folding that cannot be read twice gets a cell for each window.

Past the memory limit the cells go to disk, split by the hash of their keys into partitions, and a fired window is
put together partition by partition. A key that is larger than a partition may be comes back as DiskValues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import Bundle, Coded, Intervals, WindowSet
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS, emit_windows
from hornbeam.runners.engine.failures import naming, note_failure
from hornbeam.runners.engine.folding import Cell, add_coded
from hornbeam.runners.engine.join_folding import JoinFolding
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs, keep_stamps, refuse_non_pairs
from hornbeam.runners.engine.partitioned import GatheredPairs, PartitionedCells
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.transforms.window import TimestampCombiner

#: Values that may pend in all cells of a combine before they are folded; fewer under a small limit.
PENDING_MAX = 1 << 17
_PENDING_BYTES = 256

_LOOK_EVERY = 1 << 14

_first, _second = itemgetter(0), itemgetter(1)


class GroupingOperator:
    """Grouping over windows that do not merge."""

    def __init__(self, spec: GroupingSpec, space: TemporarySpace, memory_bytes_max: int) -> None:
        self.spec = spec
        self.folding = spec.folding
        self._pairs = Pairs(spec)
        self._space = space
        self._limit = memory_bytes_max
        self._cells: dict[WindowSet, Cell] = {}
        self._pending = 0
        self._pending_max = min(PENDING_MAX, memory_bytes_max // _PENDING_BYTES)
        self._value_bytes = 0
        self._value_mean = 0
        #: Elements until the size of values is looked at again.
        self._unseen = 0
        self._spilled: PartitionedCells | None = None
        self._raw: GatheredPairs = {}
        self._fired = -END_OF_TIME_MICROS * 2
        self._stamps_wanted = spec.timestamp_combiner != TimestampCombiner.OUTPUT_AT_EOW
        #: Called when the cells take more than the limit, in place of what a batch run does, to empty them.
        self.overflow: Callable[[], None] | None = None

    def keep_within(self, memory_bytes_max: int) -> None:
        """From now on the cells take about so much at most."""
        self._limit = memory_bytes_max
        self._pending_max = min(PENDING_MAX, memory_bytes_max // _PENDING_BYTES)

    @property
    def value_bytes(self) -> int:
        """About what a value that pends takes."""
        return self._value_mean

    @property
    def keeps_stamps(self) -> bool:
        """Whether outputs get timestamps of their inputs."""
        return self._stamps_wanted

    def passed(self, watermark: int) -> None:
        """Windows up to that time have fired, in a run before."""
        self._fired = max(self._fired, watermark)

    @property
    def cells(self) -> dict[WindowSet, Cell]:
        """What is gathered in memory, by set of windows."""
        return self._cells

    def input(self, index: int) -> Receiver:
        """What takes the elements of input `index`; there is only one."""
        return self.process

    # Filling

    def process(self, bundle: Bundle) -> None:
        """Adds the pairs of a bundle."""
        if not bundle.values:
            return
        folding = self.folding
        if type(bundle.windows) is Intervals:
            bundle = Bundle(
                bundle.values, bundle.timestamps, Coded.of(bundle.windows.to_list()), bundle.panes
            )
        if not folding.shares_cells or self._stamps_wanted:
            bundle = bundle.exploded()
            if not bundle.values:  # they were in no window at all
                return
        pairs = self._pairs.check(bundle)
        windows = bundle.windows
        try:
            if self._straight_to_disk and type(windows) is tuple:
                self._gather_for_disk(windows, pairs)
                return
            if type(windows) is tuple:
                if windows:
                    cell = self._cell(windows)
                    folding.add(cell, pairs)
                    if self._stamps_wanted:
                        self._stamp(cell, windows[0], pairs, bundle.timestamp_list())
            else:
                assert type(windows) is Coded
                self._spread(windows, pairs, bundle)
        except Exception as error:
            if isinstance(error, (ValueError, TypeError)):
                refuse_non_pairs(self.spec.label, bundle.values)
            note_failure(error, self.spec.label)
            raise
        with naming(self.spec.label):
            self._account(bundle, pairs)

    @property
    def _straight_to_disk(self) -> bool:
        """Whether pairs need not become cells first: they will go to disk anyway, and are only gathered."""
        return self._spilled is not None and self.folding.gathers and not self._stamps_wanted

    def _gather_for_disk(self, windows: WindowSet, pairs: list[tuple[Any, Any]]) -> None:
        if not windows:
            return
        self._raw.setdefault((windows, self.folding.place), []).extend(pairs)
        self._pending += len(pairs)
        self._value_bytes += len(pairs) * mean_size(pairs)
        if self._pending >= PENDING_MAX or self._value_bytes > self._limit // 4:
            self._write_raw()

    def _write_raw(self) -> None:
        raw, self._raw = self._raw, {}
        self._pending = self._value_bytes = 0
        if raw:
            assert self._spilled is not None
            with naming(self.spec.label):
                self._spilled.write_pairs(raw)

    def _cell(self, windows: WindowSet) -> Cell:
        cell = self._cells.get(windows)
        if cell is None:
            cell = self._cells[windows] = self.folding.new_cell()
        return cell

    def _spread(self, windows: Coded, pairs: list[tuple[Any, Any]], bundle: Bundle) -> None:
        codes, table = windows.codes, windows.table
        cells = [self._cell(entry) if entry else None for entry in table]
        if any(cell is None for cell in cells):
            kept = np.flatnonzero(np.array([bool(entry) for entry in table])[codes])
            if len(kept) < len(codes):  # elements in no window at all (a gap between sliding windows)
                pairs = list(map(pairs.__getitem__, kept.tolist()))
                bundle = bundle.take(pairs, kept)
                codes = codes[kept]
        add_coded(self.folding, cells, codes, pairs)
        if self._stamps_wanted:
            for pair, code, stamp in zip(pairs, codes.tolist(), bundle.timestamp_list()):
                cell = cells[code]
                assert cell is not None
                self._stamp(cell, table[code][0], [pair], [stamp])

    def _stamp(self, cell: Cell, window: Any, pairs: list[tuple[Any, Any]], stamps: list[int]) -> None:
        keep_stamps(self.spec, cell.stamps, window, map(_first, pairs), stamps)

    # Memory

    def _account(self, bundle: Bundle, pairs: list[tuple[Any, Any]]) -> None:
        self._pending += len(pairs)
        if self.folding.pends:
            # A look at some values now and then is enough; after a large bundle, or one of large values, at once.
            self._unseen -= len(pairs)
            if self._unseen < 0:
                values = list(map(_second, pairs[:: max(1, len(pairs) // 8)]))
                self._value_mean = 8 + mean_size(values)
                self._unseen = min(_LOOK_EVERY, (self._limit >> 6) // self._value_mean)
            self._value_bytes += len(pairs) * self._value_mean
        if self._pending > self._pending_max or self._value_bytes > self._limit:
            self._measure()

    def _measure(self) -> None:
        """Folds what pends, measures what the cells hold, and moves it to disk if it is too much."""
        self._pending = 0
        if not self.folding.gathers:
            for cell in self._cells.values():
                self.folding.compact(cell)
            self._value_bytes = 0
        held = self.held()
        if held > self._limit and self.folding.gathers and self.overflow is not None:
            # Of what was counted, windows that have fired have taken their share with them.
            self._value_bytes = self._value_mean * sum(map(self.folding.count, self._cells.values()))
            held = self.held()
        if held > self._limit:
            self.spill()

    def take_over(self, cells: dict[WindowSet, Cell]) -> None:
        """Goes on with these cells, in a run that has gathered nothing so far."""
        self._cells.update(cells)
        if self.folding.gathers:
            some = [value for cell in list(cells.values())[:8] for value in self.folding.some_values(cell)]
            self._value_mean = 8 + mean_size(some)
            self._value_bytes = self._value_mean * sum(map(self.folding.count, cells.values()))

    def held(self) -> int:
        """About what the cells take in memory."""
        return self._value_bytes + sum(map(self.folding.size, self._cells.values()))

    def spill(self) -> None:
        """Moves all cells to disk."""
        if self.overflow is not None:
            self.overflow()
            self._pending = self._value_bytes = 0
            return
        if self._spilled is None:
            self._spilled = PartitionedCells(self.spec, self._space, self._limit, level=0)
        self._spilled.write(self._cells)
        self._cells = {}
        self._pending = self._value_bytes = 0

    # Firing

    def fire(self, watermark: int) -> Iterator[Bundle]:
        """Emits, and forgets, every window whose last timestamp the watermark has passed."""
        if self._spilled is not None:
            if watermark < END_OF_TIME_MICROS:
                return  # spilled windows wait for the end; they are read once, partition by partition
            self._write_raw()
            if self._cells:
                self.spill()
            spilled, self._spilled = self._spilled, None
            for cells in spilled.read():
                yield from emit_windows(self.spec, cells, self._fired, watermark)
        else:
            yield from emit_windows(self.spec, self._cells, self._fired, watermark)
            if not self._cells:
                self._pending = self._value_bytes = 0
        self._fired = max(self._fired, watermark)


class JoinOperator(GroupingOperator):
    """A grouping with several inputs, whose values are kept apart."""

    folding: JoinFolding

    def input(self, index: int) -> Receiver:
        """What takes the elements of input `index`."""

        def receive(bundle: Bundle) -> None:
            self.folding.place = index
            self.process(bundle)

        return receive
