"""ColdGroups: what a grouping gathered for sets of windows and had no room for, on disk until a window that needs it fires.

    cells in memory ── put, all of them ──► chunks of entries in a ColdStore ── read, as a window fires ──► cells

What goes to disk is not looked up for the elements that come after: their keys begin anew in memory, and the parts of a key
are put together when the window fires, in the order in which they were written. In memory are some hundred bytes for each
chunk of up to 4096 keys.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import WindowSet
from hornbeam.runners.engine.cold_store import ColdRecord, ColdStore
from hornbeam.runners.engine.folding import Cell
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.spill import TemporarySpace

_KEYS_MAX = 4096
#: Estimated bytes, as objects, of a chunk with more than one key, and of the chunks that are written together.
_CHUNK_BYTES, _WRITTEN_BYTES = 1 << 20, 1 << 23


@attrs.frozen(eq=False)
class Chunk:
    """Some entries of one set of windows, all of them written in the same `part` of the grouping's life."""

    windows: WindowSet
    number: int
    part: int
    keys: int
    #: About what they take as objects.
    memory_bytes: int
    #: The earliest timestamp of an output, if outputs get those of their inputs.
    stamp: int | None

    @property
    def place(self) -> Any:
        """The key under which the store has it."""
        return self.windows, self.number


class ColdGroups:
    """Chunks by set of windows, in the order in which they were written."""

    def __init__(self, spec: GroupingSpec, space: TemporarySpace) -> None:
        self._folding = spec.folding
        self._store = ColdStore(space, "groups", 0)
        self.chunks: dict[WindowSet, list[Chunk]] = {}
        self._count = 0

    def keys(self) -> int:
        """How many entries there are."""
        return sum(chunk.keys for chunks in self.chunks.values() for chunk in chunks)

    def put_in_order(self) -> None:
        """Chunks that were loaded come in the order of their parts, as their values did."""
        for chunks in self.chunks.values():
            chunks.sort(key=lambda chunk: chunk.part)

    def has(self, windows: WindowSet) -> list[Chunk]:
        """The chunks of a set of windows."""
        return self.chunks.get(windows, [])

    def stamps(self) -> Iterator[int]:
        """The earliest timestamps of outputs, chunk by chunk."""
        return (c.stamp for chunks in self.chunks.values() for c in chunks if c.stamp is not None)

    def put(
        self,
        cells: dict[WindowSet, Cell],
        part: int,
        value_bytes: int,
        changed: Mapping[WindowSet, Container[Any]],
    ) -> list[Chunk]:
        """Writes all of the cells, in which a value that pends takes about `value_bytes`; they are empty afterwards.

        `changed` are the keys, by set of windows, that are to be in chunks of their own: gives these.
        """
        apart: list[Chunk] = []
        records: list[ColdRecord] = []
        written = 0
        for windows in list(cells):
            cell = cells[windows]
            if not self._folding.gathers:
                self._folding.compact(cell)
            mean = self._entry_bytes(cell, value_bytes)
            for is_apart, entries in _split(self._folding.packed(cell), changed.get(windows, ()), mean):
                chunk = self._chunk(windows, part, mean, entries)
                self.chunks.setdefault(windows, []).append(chunk)
                records.append(ColdRecord(chunk.place, entries))
                written += chunk.memory_bytes
                if is_apart:
                    apart.append(chunk)
                if written >= _WRITTEN_BYTES:
                    self._store.put(records)
                    records, written = [], 0
            del cells[windows]
        if records:
            self._store.put(records)
        return apart

    def _entry_bytes(self, cell: Cell, value_bytes: int) -> int:
        values = self._folding.count(cell) if self._folding.gathers else 0
        return (self._folding.size(cell) + values * value_bytes) // max(1, len(cell))

    def _chunk(self, windows: WindowSet, part: int, mean: int, entries: Entries) -> Chunk:
        self._count += 1
        keys = len(entries[1])
        return Chunk(windows, self._count, part, keys, mean * keys, min(entries[2].values(), default=None))

    def size(self, windows: WindowSet) -> int:
        """About what is here for a set of windows takes as objects."""
        return sum(chunk.memory_bytes for chunk in self.has(windows))

    def read(self, chunk: Chunk, takes: bool = False) -> Cell:
        """The entries of a chunk, in the form in which a folding absorbs them; it stays, unless it is taken."""
        get = self._store.take if takes else self._store.peek
        ((_, (pends, entries, stamps)),) = get([chunk.place])
        packed = Cell(entries, {}) if pends else Cell({}, entries)
        packed.stamps = stamps
        return packed


#: Whether values pend, key → what it has, key → timestamp.
Entries = tuple[bool, dict[Any, Any], dict[Any, int]]


def _split(cell: Cell, changed: Container[Any], mean: int) -> Iterator[tuple[bool, Entries]]:
    """The entries of a packed cell in chunks: first those that are not to be apart."""
    pends = bool(cell.pending)
    entries = cell.pending or cell.accumulators
    count = max(1, min(_KEYS_MAX, _CHUNK_BYTES // max(1, mean)))
    halves: list[tuple[bool, Iterable[tuple[Any, Any]]]] = [(False, entries.items())]
    if changed:
        halves = [
            (False, (item for item in entries.items() if item[0] not in changed)),
            (True, (item for item in entries.items() if item[0] in changed)),
        ]
    for is_apart, items in halves:
        left = iter(items)
        while chunk := dict(islice(left, count)):
            stamps = {key: cell.stamps[key] for key in chunk} if cell.stamps else {}
            yield is_apart, (pends, chunk, stamps)
