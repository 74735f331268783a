"""The fast path of grouping in a stream: windows that end once, whole windows fired as the watermark passes them.

For the default trigger without lateness over windows that do not merge. There a key needs no trigger state and no timer, and
what the batch engine's groupings gather is all there is to keep. Everything else is `triggered_grouping`'s; property tests
hold the two to one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.bundle import Bundle, Coded, Intervals, WindowSet
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS
from hornbeam.runners.engine.failures import naming
from hornbeam.runners.engine.folding import Cell
from hornbeam.runners.engine.grouping import GroupingOperator
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, END_OF_TIME, Head, Hold
from hornbeam.runners.engine.keys import canonical_key
from hornbeam.runners.engine.late_data import count_late
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import refuse_non_pairs

_first = itemgetter(0)


class WindowedGrouping(Head):
    """A grouping that fires each window once, when it ends. `inner` gathers."""

    def __init__(self, inner: GroupingOperator, container: MetricsContainer) -> None:
        super().__init__(inner.spec.label, container, {})
        self._inner = inner
        self._watermark = BEGINNING_OF_TIME
        #: The smallest last timestamp of a window that something is kept for.
        self._next = END_OF_TIME
        self._known: set[WindowSet] = set()
        #: The earliest timestamp of an output, where outputs get those of their inputs; None when not known.
        self._stamp_hold: int | None = None
        #: Table keys that changed, by window set, once changes are tracked.
        self._dirty: dict[WindowSet, set[Any]] | None = None

    def setup(self) -> None:
        with naming(f"{self.label}, setup"):
            self._inner.spec.folding.setup()

    def teardown(self) -> None:
        with naming(f"{self.label}, teardown"):
            self._inner.spec.folding.teardown()

    def input(self, index: int) -> Receiver:
        add = self._inner.input(index)

        def receive(bundle: Bundle) -> None:
            kept = self._in_time(bundle)
            if kept.values:
                self._stamp_hold = None
                previous = set_current(self.container)
                try:
                    add(kept)
                finally:
                    set_current(previous)

        return receive

    def process(self, bundle: Bundle) -> None:
        self.input(0)(bundle)

    def _in_time(self, bundle: Bundle) -> Bundle:
        """The elements without those of windows that have ended, each in the windows that are left of its own."""
        windows = bundle.windows
        if type(windows) is Intervals:
            windows = Coded.of(windows.to_list())
            bundle = Bundle(bundle.values, bundle.timestamps, windows, bundle.panes)
        sets = [windows] if type(windows) is tuple else windows.table  # type: ignore[union-attr]
        self._see(sets)
        if self._watermark > min((w.max_micros for s in sets for w in s), default=END_OF_TIME):
            bundle = self._without_late(bundle)
        if self._dirty is not None and bundle.values:
            self._mark(bundle, self._dirty)
        return bundle

    def _see(self, sets: Iterable[WindowSet]) -> None:
        """Notes the ends of windows that are new."""
        for windows in sets:
            if windows not in self._known:
                self._known.add(windows)
                ends = [w.max_micros for w in windows if w.max_micros >= self._watermark]
                self._next = min([self._next, *ends])

    def _without_late(self, bundle: Bundle) -> Bundle:
        bundle = bundle.exploded()
        windows = bundle.windows
        if type(windows) is tuple:
            late = bool(windows) and windows[0].max_micros < self._watermark
            kept = np.zeros(0, dtype=np.intp) if late else np.arange(len(bundle.values))
        else:
            assert type(windows) is Coded
            in_time = [not s or s[0].max_micros >= self._watermark for s in windows.table]
            kept = np.flatnonzero(np.array(in_time, dtype=bool)[windows.codes])
        count_late(self.container, len(bundle.values) - len(kept))
        if len(kept) == len(bundle.values):
            return bundle
        result = bundle.take(list(map(bundle.values.__getitem__, kept.tolist())), kept)
        if type(result.windows) is Coded:
            codes, table = result.windows.codes, result.windows.table
            used = np.unique(codes)
            result.windows = Coded(np.searchsorted(used, codes), [table[c] for c in used.tolist()])
            self._see(result.windows.table)
        return result

    # Time

    def advance(self, watermark: int, now: int) -> None:
        if watermark <= self._watermark:
            return
        self._watermark = watermark
        if watermark <= self._next:
            return
        if self._dirty is not None:
            self._mark_fired(watermark, self._dirty)
        # A window has ended when the watermark is past its last timestamp; `fire` takes those it has reached.
        fired = self._inner.fire(END_OF_TIME_MICROS if watermark >= END_OF_TIME else watermark - 1)
        while (bundle := self._next_bundle(fired)) is not None:
            self.emit(bundle)
        self._stamp_hold = None
        self._known = set(self._inner.cells)
        ends = (w.max_micros for windows in self._known for w in windows if w.max_micros >= watermark)
        self._next = min(ends, default=END_OF_TIME)

    def _next_bundle(self, fired: Iterator[Bundle]) -> Bundle | None:
        """The next fired bundle; a CombineFn's extract_output runs in between, for the metrics of this step."""
        previous = set_current(self.container)
        try:
            return next(fired, None)
        finally:
            set_current(previous)

    def hold(self) -> int:
        if not self._inner.keeps_stamps:
            return self._next
        if self._stamp_hold is None:
            stamps = (min(cell.stamps.values(), default=END_OF_TIME) for cell in self._inner.cells.values())
            self._stamp_hold = min(stamps, default=END_OF_TIME)
        return min(self._next, self._stamp_hold)

    def next_watermark(self) -> int:
        return self._next + 1

    def holds(self) -> list[Hold]:
        if self._next >= END_OF_TIME:
            return []
        open_ = [
            (windows, cell)
            for windows, cell in self._inner.cells.items()
            if any(w.max_micros == self._next for w in windows)
        ]
        keys = sum(len(cell) for _, cell in open_)
        window = next((w for windows, _ in open_ for w in windows if w.max_micros == self._next), None)
        return [Hold(self._next, f"window {window}, which has not ended, with the values of {keys} keys")]

    def entries(self) -> int:
        return sum(map(len, self._inner.cells.values()))

    # Snapshots

    def track_changes(self) -> None:
        self._dirty = {}

    def changes_waiting(self) -> int:
        return sum(map(len, (self._dirty or {}).values()))

    def drop_changes(self) -> list[Any]:
        dropped, self._dirty = self._dirty or {}, {}
        return list(dropped.values())

    def _mark(self, bundle: Bundle, dirty: dict[WindowSet, set[Any]]) -> None:
        encode = self._inner.spec.encode_key
        if not self._inner.folding.shares_cells:
            bundle = bundle.exploded()
        try:
            keys = [canonical_key(key, encode) for key in map(_first, bundle.values)]
        except (TypeError, IndexError):
            refuse_non_pairs(self.label, bundle.values)
            raise
        for windows in {*bundle.window_list()}:
            dirty.setdefault(windows, set())
        if type(bundle.windows) is tuple:
            dirty[bundle.windows].update(keys)
        else:
            for key, windows in zip(keys, bundle.window_list()):
                dirty[windows].add(key)

    def _mark_fired(self, watermark: int, dirty: dict[WindowSet, set[Any]]) -> None:
        """Cells that no window will need any more are about to go."""
        for windows, cell in self._inner.cells.items():
            if all(w.max_micros < watermark for w in windows):
                dirty.setdefault(windows, set()).update(self._inner.folding.keys(cell))

    def changes(self) -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = []
        dirty, self._dirty = self._dirty or {}, {}
        for windows, keys in dirty.items():
            cell = self._inner.cells.get(windows)
            for key in keys:
                content = DELETED if cell is None else self._inner.folding.content(cell, key)
                found.append(((key, windows), content))
        return found

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        cells: dict[WindowSet, Cell] = self._inner.cells
        for (key, windows), content in entries:
            if windows not in cells:
                cells[windows] = self._inner.folding.new_cell()
            self._inner.folding.put(cells[windows], key, content)
        self._inner.passed(self._watermark - 1)
        self._see(cells)
