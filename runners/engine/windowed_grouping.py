"""The fast path of grouping in a stream: windows that end once, whole windows fired as the watermark passes them.

For the default trigger without lateness over windows that do not merge. There a key needs no trigger state and no timer, and
what the batch engine's groupings gather is all there is to keep. Everything else is `triggered_grouping`'s; property tests
hold the two to one answer.

Past the memory limit all that was gathered goes to disk (`cold_groups`), and gathering begins anew. A *part* is what was
gathered between two such moments: a key may have an entry in each, which are put together when its window fires.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.bundle import CHUNK, Bundle, Coded, Intervals, WindowSet
from hornbeam.runners.engine.cold_groups import Chunk, ColdGroups
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS, OutputChunks
from hornbeam.runners.engine.failures import naming
from hornbeam.runners.engine.folding import Cell
from hornbeam.runners.engine.grouping import GroupingOperator
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, END_OF_TIME, Head, Hold
from hornbeam.runners.engine.keys import canonical_key
from hornbeam.runners.engine.late_data import count_late
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import refuse_non_pairs
from hornbeam.runners.engine.partitioned import PartitionedCells, merge_stamps
from hornbeam.runners.engine.sizes import mean_size, size_of
from hornbeam.runners.engine.spill import SpillFile, TemporarySpace

_first = itemgetter(0)

#: Every so many entries that are loaded, one is measured.
_LOADED_EVERY = 64
_OUTPUTS_MIN = 16
#: An entry in a dict, with its list or number.
_ENTRY_BYTES = 200


@attrs.frozen
class Stamped:
    """The content of an entry whose output gets a timestamp of its inputs."""

    content: Any
    stamp: int


class WindowedGrouping(Head):
    """A grouping that fires each window once, when it ends. `inner` gathers, up to `memory_bytes_max`."""

    def __init__(
        self,
        inner: GroupingOperator,
        container: MetricsContainer,
        space: TemporarySpace,
        memory_bytes_max: int,
    ) -> None:
        super().__init__(inner.spec.label, container, {})
        self._inner = inner
        self._space = space
        self._limit = memory_bytes_max
        inner.overflow = self._to_disk
        self._cold = ColdGroups(inner.spec, space)
        #: The number of what is gathered in memory.
        self._part = 0
        #: Last timestamps up to which windows have fired.
        self._fired = BEGINNING_OF_TIME
        self._watermark = BEGINNING_OF_TIME
        #: The smallest last timestamp of a window that something is kept for.
        self._next = END_OF_TIME
        self._known: set[WindowSet] = set()
        #: The earliest timestamp of an output, where outputs get those of their inputs; None when not known.
        self._stamp_hold: int | None = None
        #: Table keys of this part that changed, by window set, once changes are tracked.
        self._dirty: dict[WindowSet, set[Any]] | None = None
        #: Chunks that went to disk before `changes` told of them, and what those that are gone had: (windows, part, keys).
        self._untold: dict[Chunk, None] = {}
        self._gone: SpillFile | None = None
        self._gone_count = 0

    def keep_within(self, memory_bytes_max: int) -> None:
        self._limit = memory_bytes_max
        self._inner.keep_within(memory_bytes_max)

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
        last = END_OF_TIME_MICROS if watermark >= END_OF_TIME else watermark - 1
        fired = self._fire_with_disk(last) if self._cold.chunks else self._inner.fire(last)
        while (bundle := self._next_bundle(fired)) is not None:
            self.emit(bundle)
        self._fired = last
        self._inner.passed(last)
        self._stamp_hold = None
        self._known = {*self._inner.cells, *self._cold.chunks}
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
            self._stamp_hold = min([*stamps, *self._cold.stamps()], default=END_OF_TIME)
        return min(self._next, self._stamp_hold)

    def next_watermark(self) -> int:
        return self._next + 1

    def holds(self) -> list[Hold]:
        if self._next >= END_OF_TIME:
            return []
        first = {
            windows: w
            for windows in {**self._inner.cells, **self._cold.chunks}
            for w in windows
            if w.max_micros == self._next
        }
        cells = self._inner.cells
        keys = sum(len(cells[windows]) for windows in first if windows in cells)
        on_disk = sum(chunk.keys for windows in first for chunk in self._cold.has(windows))
        window = next(iter(first.values()), None)
        values = f"the values of {keys + on_disk} keys" + (f", {on_disk} of them on disk" if on_disk else "")
        return [Hold(self._next, f"window {window}, which has not ended, with {values}")]

    def entries(self) -> int:
        return sum(map(len, self._inner.cells.values())) + self._cold.keys()

    # Disk

    def _to_disk(self) -> None:
        """All that is in memory becomes chunks on disk, and the next part begins."""
        with naming(f"{self.label}, moving groups to disk (--memory_limit)"):
            dirty = self._dirty or {}
            known = set(self._inner.cells)
            untold = self._cold.put(self._inner.cells, self._part, self._inner.value_bytes, dirty)
            for windows, keys in dirty.items():
                if windows not in known:
                    self._note_gone(windows, self._part, keys)
        self._untold.update(dict.fromkeys(untold))
        dirty.clear()
        self._part += 1

    def _fire_with_disk(self, last: int) -> Iterator[Bundle]:
        """Fires every window that ends up to `last`, where some of them have chunks."""
        holding: dict[Any, list[WindowSet]] = {}
        left: dict[WindowSet, int] = {}
        for windows in {**self._cold.chunks, **self._inner.cells}:
            left[windows] = sum(1 for window in windows if window.max_micros > self._fired)
            for window in windows:
                if self._fired < window.max_micros <= last:
                    holding.setdefault(window, []).append(windows)
        out = OutputChunks()
        folding = self._inner.folding
        for window in sorted(holding):
            sets = holding.pop(window)
            for windows in sets:
                left[windows] -= 1
            last_of = {windows for windows in sets if not left[windows]}
            out.size = self._outputs_at_once(sets)
            for cell in self._cells_of(window, sets, last_of):
                yield from out.add_items(self.label, window, folding.result_items([cell]), cell.stamps)
        yield from out.rest()

    def _outputs_at_once(self, sets: list[WindowSet]) -> int:
        """How many outputs of a window go into a bundle: fewer where they are large."""
        chunks = [chunk for windows in sets for chunk in self._cold.has(windows)]
        size = sum(chunk.memory_bytes for chunk in chunks) // max(1, sum(chunk.keys for chunk in chunks))
        return max(_OUTPUTS_MIN, min(CHUNK, self._limit // 8 // max(1, size)))

    def _cells_of(self, window: Any, sets: list[WindowSet], last_of: set[WindowSet]) -> Iterator[Cell]:
        """All that a window has, in one cell or, where that is too much for memory, in several with different keys.

        Of the sets that it is the last one of, nothing is kept any more.
        """
        size = sum(map(self._cold.size, sets))
        if size and size + self._inner.held() > self._limit:
            self._inner.spill()
            size = sum(map(self._cold.size, sets))
        if size <= self._limit // 2:
            cell = self._inner.folding.new_cell()
            for part in self._parts(sets, last_of):
                self._absorb(cell, part)
            yield cell
            return
        apart = PartitionedCells(self._inner.spec, self._space, self._limit, level=0)
        for part in self._parts(sets, last_of):
            cell = self._inner.folding.new_cell()
            self._absorb(cell, part)
            apart.write({(window,): cell})
        for cells in apart.read():
            yield from cells.values()

    def _parts(self, sets: list[WindowSet], last_of: set[WindowSet]) -> Iterator[Cell]:
        """What sets of windows have on disk and in memory, to be absorbed, in the order in which it came."""
        for windows in sets:
            is_last = windows in last_of
            for chunk in self._cold.has(windows):
                part = self._cold.read(chunk, takes=is_last)
                if is_last and self._dirty is not None:
                    self._untold.pop(chunk, None)
                    self._note_gone(windows, chunk.part, part.pending or part.accumulators)
                yield part
            if is_last:
                self._cold.chunks.pop(windows, None)
        for windows in sets:
            cell = self._inner.cells.get(windows)
            if cell is not None:
                yield cell
                if windows in last_of:
                    del self._inner.cells[windows]

    def _absorb(self, cell: Cell, part: Cell) -> None:
        self._inner.folding.absorb(cell, part)
        merge_stamps(self._inner.spec, cell.stamps, part.stamps)

    # Snapshots

    def track_changes(self) -> None:
        self._dirty = {}
        self.drop_changes()

    def drop_changes(self) -> list[Any]:
        dirty, self._dirty = self._dirty or {}, {}
        untold, self._untold = self._untold, {}
        self._forget_gone()
        return [*dirty.values(), untold]

    def _forget_gone(self) -> None:
        if self._gone is not None:
            self._gone.delete()
        self._gone, self._gone_count = None, 0

    def changes_waiting(self) -> int:
        on_disk = sum(chunk.keys for chunk in self._untold) + self._gone_count
        return sum(map(len, (self._dirty or {}).values())) + on_disk

    def _mark(self, bundle: Bundle, dirty: dict[WindowSet, set[Any]]) -> None:
        encode = self._inner.spec.encode_key
        if not self._inner.folding.shares_cells or self._inner.keeps_stamps:
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

    def _note_gone(self, windows: WindowSet, part: int, keys: Collection[Any]) -> None:
        """Entries are about to go. What they were is kept on disk, for they may be many."""
        if self._gone is None:
            self._gone = SpillFile(self._space, "gone")
        self._gone.append((windows, part, list(keys)))
        self._gone_count += len(keys)

    def changes(self) -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = []
        dirty, self._dirty = self._dirty or {}, {}
        for windows, keys in dirty.items():
            cell = self._inner.cells.get(windows)
            for key in keys:
                content = DELETED if cell is None else self._content(cell, key)
                found.append((_name(key, windows, self._part), content))
        untold, self._untold = self._untold, {}
        for chunk in untold:
            cell = self._inner.folding.new_cell()
            self._absorb(cell, self._cold.read(chunk))
            for key in self._inner.folding.keys(cell):
                found.append((_name(key, chunk.windows, chunk.part), self._content(cell, key)))
        for windows, part, gone in self._gone or ():
            found.extend((_name(key, windows, part), DELETED) for key in gone)
        self._forget_gone()
        return found

    def _content(self, cell: Cell, key: Any) -> Any:
        content = self._inner.folding.content(cell, key)
        return Stamped(content, cell.stamps[key]) if key in cell.stamps else content

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        folding = self._inner.folding
        #: What is in memory of each part.
        parts: dict[int, dict[WindowSet, Cell]] = {}
        last, held, has_spilled = 0, 0, False
        for count, ((key, windows, *part), content) in enumerate(entries):
            number = part[0] if part else 0
            last = max(last, number)
            cells = parts.setdefault(number, {})
            if windows not in cells:
                cells[windows] = folding.new_cell()
            if isinstance(content, Stamped):
                cells[windows].stamps[key] = content.stamp
                content = content.content
            folding.put(cells[windows], key, content)
            if count % _LOADED_EVERY == 0:
                held += _LOADED_EVERY * (_ENTRY_BYTES + size_of(key) + size_of(content))
                if held > self._limit:
                    self._loaded_to_disk(parts)
                    held, has_spilled = 0, True
        if has_spilled:
            last += 1
        rest = parts.pop(last, {})
        self._loaded_to_disk(parts)
        self._cold.put_in_order()
        self._part = last
        self._inner.take_over(rest)
        self._fired = self._watermark - 1
        self._inner.passed(self._fired)
        self._see({**rest, **self._cold.chunks})

    def _loaded_to_disk(self, parts: dict[int, dict[WindowSet, Cell]]) -> None:
        """An entry keeps the part under which it was told, or it could not be told that it has gone."""
        for number, cells in parts.items():
            some = [v for cell in list(cells.values())[:8] for v in self._inner.folding.some_values(cell)]
            self._cold.put(cells, number, mean_size(some), {})


def _name(key: Any, windows: WindowSet, part: int) -> tuple[Any, ...]:
    """The name of an entry. What never had parts, as before there were any, is the first one's."""
    return (key, windows, part) if part else (key, windows)
