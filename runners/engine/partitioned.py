"""Cells on disk, split by the hash of their keys, for groupings that outgrow memory.

Each spill writes a block to each partition, or several where there is very much: a list of (windows, pending, accumulators,
stamps), or, once a grouping is known to outgrow memory and only gathers, of (windows, input, pairs), which saves it from
building cells. Reading takes a partition at a time; one that is still too large is split again with another hash, and after
LEVELS_MAX splits its keys are taken to be large each by itself: gathered values then stay on disk and are iterated there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from hornbeam.runners.engine.bundle import WindowSet
from hornbeam.runners.engine.folding import Cell, GatherFolding
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.sizes import mean_size, size_of, some_of
from hornbeam.runners.engine.spill import DiskValues, SpillFile, TemporarySpace

#: Files among which keys are split, at each level.
PARTITIONS = 32
LEVELS_MAX = 3
#: Pickled values take about this much more room as objects.
_EXPANSION = 6
#: About what is pickled at a time, as objects: the memory that it takes comes on top of the limit.
_BLOCK_BYTES = 1 << 28
#: Values that are read from disk at a time, and about what they take.
_VALUES_MAX, _VALUES_BYTES = 4096, 1 << 24
#: A key with more values is measured by itself.
_FEW = 256

#: (windows, pending, accumulators, stamps), or (windows, input, pairs).
Record = tuple[Any, ...]
#: Pairs by the windows they are in and the input they came from.
GatheredPairs = dict[tuple[WindowSet, int], list[tuple[Any, Any]]]
#: Spreads the hashes of ints, which are the ints themselves.
_PRIME = 1_000_003
_PLACE_BITS = PARTITIONS.bit_length() - 1


class PartitionedCells:
    """Cells written away, to be read back partition by partition."""

    def __init__(self, spec: GroupingSpec, space: TemporarySpace, memory_bytes_max: int, level: int) -> None:
        self._spec = spec
        self._space = space
        self._limit = memory_bytes_max
        self._level = level
        self._files = [SpillFile(space, f"group-{level}-{i}") for i in range(PARTITIONS)]

    def write(self, cells: dict[WindowSet, Cell]) -> None:
        """Writes all of the cells; they are empty afterwards."""
        parts: list[list[Record]] = [[] for _ in self._files]
        for windows, cell in cells.items():
            self._split(windows, self._spec.folding.packed(cell), parts)
        self._append(parts)

    def write_pairs(self, gathered: GatheredPairs) -> None:
        """Writes pairs that only have to be gathered."""
        parts: list[list[Record]] = [[] for _ in self._files]
        shift, mask = self._level * _PLACE_BITS, PARTITIONS - 1
        for (windows, input_), pairs in gathered.items():
            split: list[list[tuple[Any, Any]]] = [[] for _ in self._files]
            appends = [part.append for part in split]
            for pair in pairs:
                appends[(hash(pair[0]) % _PRIME >> shift) & mask](pair)
            for part, own in zip(parts, split):
                if own:
                    part.append((windows, input_, own))
        self._append(parts)

    def _append(self, parts: list[list[Record]]) -> None:
        for file, part in zip(self._files, parts):
            if part:
                file.append_all(list(self._blocks(part)))

    def _blocks(self, part: list[Record]) -> Iterator[list[Record]]:
        """The records of a partition in blocks, each pickled by itself; those that are too large for one in pieces."""
        if self._limit <= _BLOCK_BYTES:  # so all of it is no more
            yield part
            return
        block: list[Record] = []
        held = 0
        for record in part:
            size = self._size(record)
            pieces = [(record, size)]
            if size > _BLOCK_BYTES:
                pieces = [(piece, self._size(piece)) for piece in self._pieces(record)]
            for piece, size in pieces:
                if block and held + size > _BLOCK_BYTES:
                    yield block
                    block, held = [], 0
                block.append(piece)
                held += size
        yield block

    def _size(self, record: Record) -> int:
        """About what a record takes in memory, by its longest list of values."""
        if len(record) == 3:
            return len(record[2]) * mean_size(record[2])
        _, pending, accumulators, _ = record
        size = len(accumulators) * mean_size(some_of(accumulators.values()))
        if pending:
            counted = self._spec.folding.counted
            each = self._value_bytes(max(pending.values(), key=counted))
            size += each * sum(map(counted, pending.values()))
        return size

    def _value_bytes(self, packed: Any) -> int:
        """About what a value takes of those that a packed cell holds for a key."""
        folding = self._spec.folding
        few = next(folding.cut(packed, 8))
        return max(1, size_of(few) // folding.counted(few))

    def _pieces(self, record: Record) -> Iterator[Record]:
        """A record in pieces that are absorbed one after the other."""
        windows = record[0]
        if len(record) == 3:
            _, input_, pairs = record
            for own in GatherFolding().cut(pairs, max(1, _BLOCK_BYTES // mean_size(pairs))):
                yield windows, input_, own
            return
        _, pending, accumulators, stamps = record
        yield windows, {}, {}, stamps
        for values in self._cut(pending):
            yield windows, values, {}, {}
        left = iter(accumulators.items())
        count = max(1, _BLOCK_BYTES // mean_size(some_of(accumulators.values())))
        while folded := dict(islice(left, count)):
            yield windows, {}, folded, {}

    def _cut(self, pending: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
        """The values of keys in parts."""
        folding = self._spec.folding
        part: dict[Any, Any] = {}
        held, mean = 0, self._value_bytes(max(pending.values(), key=folding.counted)) if pending else 1
        for key, packed in pending.items():
            each = self._value_bytes(packed) if folding.counted(packed) > _FEW else mean
            for values in folding.cut(packed, max(1, _BLOCK_BYTES // each)):
                size = each * folding.counted(values)
                if part and (key in part or held + size > _BLOCK_BYTES):
                    yield part
                    part, held = {}, 0
                part[key] = values
                held += size
        if part:
            yield part

    def _split(self, windows: WindowSet, cell: Cell, parts: list[list[Record]]) -> None:
        records: list[Record] = [(windows, {}, {}, {}) for _ in parts]
        place = self._place
        for column, mapping in ((1, cell.pending), (2, cell.accumulators), (3, cell.stamps)):
            for key, value in mapping.items():
                records[place(key)][column][key] = value
            mapping.clear()
        for part, record in zip(parts, records):
            if record[1] or record[2]:
                part.append(record)

    def _place(self, key: Any) -> int:
        # Each level looks at other bits, or splitting a partition again would put all of it into one file.
        return (hash(key) % _PRIME >> self._level * _PLACE_BITS) & (PARTITIONS - 1)

    def read(self) -> Iterator[dict[WindowSet, Cell]]:
        """The cells of one partition after the other; each file is deleted once it was used."""
        for file in self._files:
            if not file.blocks:
                continue
            if file.size * _EXPANSION <= max(self._limit, 1 << 20) or self._cannot_split():
                yield self._load(file)
            elif self._level + 1 < LEVELS_MAX:
                yield from self._split_again(file).read()
            else:
                yield self._leave_on_disk(file)
            file.delete()

    def _cannot_split(self) -> bool:
        return self._level + 1 >= LEVELS_MAX and type(self._spec.folding) is not GatherFolding

    def _load(self, file: SpillFile) -> dict[WindowSet, Cell]:
        cells: dict[WindowSet, Cell] = {}
        for record in _records(file):
            self._absorb(cells, record)
        return cells

    def _absorb(self, cells: dict[WindowSet, Cell], record: Record) -> None:
        folding = self._spec.folding
        cell = cells.get(record[0])
        if cell is None:
            cell = cells[record[0]] = folding.new_cell()
        if len(record) == 3:
            folding.place = record[1]
            folding.add(cell, record[2])
            return
        _, pending, accumulators, stamps = record
        folding.absorb(cell, Cell(pending, accumulators))
        merge_stamps(self._spec, cell.stamps, stamps)

    def _split_again(self, file: SpillFile) -> PartitionedCells:
        deeper = PartitionedCells(self._spec, self._space, self._limit, self._level + 1)
        for block in file:
            cells: dict[WindowSet, Cell] = {}
            for record in block:
                self._absorb(cells, record)
            deeper.write(cells)
        return deeper

    def _leave_on_disk(self, file: SpillFile) -> dict[WindowSet, Cell]:
        """Cells whose gathered values are DiskValues. Values of a block are written again, key by key."""
        values = SpillFile(self._space, "values")
        values.delete_when_unused()
        places: dict[tuple[WindowSet, Any], tuple[list[int], int]] = {}
        cells: dict[WindowSet, Cell] = {}
        for record in _records(file):
            one: dict[WindowSet, Cell] = {}
            self._absorb(one, record)
            windows, pending, stamps = record[0], one[record[0]].pending, one[record[0]].stamps
            cell = cells.setdefault(windows, Cell({}, {}))
            merge_stamps(self._spec, cell.stamps, stamps)
            for key, gathered in pending.items():
                blocks, count = places.get((windows, key), ([], 0))
                at_once = max(1, min(_VALUES_MAX, _VALUES_BYTES // mean_size(gathered)))
                for start in range(0, len(gathered), at_once):
                    blocks.append(len(values.blocks))
                    values.append(gathered[start : start + at_once])
                places[windows, key] = blocks, count + len(gathered)
        for (windows, key), (blocks, count) in places.items():
            cells[windows].pending[key] = DiskValues(values, blocks, count)  # type: ignore[assignment]
        return cells


def _records(file: SpillFile) -> Iterator[Record]:
    for block in file:
        yield from block


def merge_stamps(spec: GroupingSpec, stamps: dict[Any, int], more: dict[Any, int]) -> None:
    """Combines output timestamps of the same keys that were kept apart."""
    latest = spec.timestamp_combiner == "OUTPUT_AT_LATEST"
    for key, time in more.items():
        if key not in stamps or (time > stamps[key] if latest else time < stamps[key]):
            stamps[key] = time
