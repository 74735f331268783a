"""What a grouping under a trigger keeps, by key, and which of it is in memory; the rest is in a ColdStore (`working_set`).

windows that do not merge   a table for each window: key → KeyedWindow; the OpenWindow itself stays in memory
windows that merge          one table: key → the OpenWindows of that key, each with its KeyedWindow
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from hornbeam.runners.engine.cold_store import ColdRecord, ColdStore, Entry, first_of_each_kind
from hornbeam.runners.engine.sizes import size_of
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.working_set import EVENTS, HELD, LASTING, PROCESSING, WorkingSet

#: What brings a record back by itself: the end of a window, which holds time back until then as it has something to give;
#: a moment of processing time; a timestamp that holds time back; a moment of event time that does not.
ENDS, WAITS, HOLDS, LOOKS = EVENTS, PROCESSING, HELD, LASTING

#: About what is there once for each key and window, and once for each entry in a queue of times.
STATE_BYTES, WINDOW_BYTES, QUEUED_BYTES = 350, 600, 300


class KeyTable(dict[Any, Any]):
    """Records in memory that are in use, those that were not used for a while, and the store of those on disk."""

    __slots__ = ("cold", "old", "window")

    __hash__ = object.__hash__  # type: ignore[assignment]  # one for each window
    __eq__ = object.__eq__

    def __init__(self, window: Any) -> None:
        super().__init__()
        self.window = window
        self.old: dict[Any, Any] = {}
        self.cold: ColdStore | None = None

    def held(self, key: Any) -> Any:
        """The record of a key if it is in memory, else None; does not count as use."""
        return self.get(key) or self.old.get(key)

    def used(self, key: Any) -> Any:
        """The record of a key that is not among those in use, if it is in memory; now it is in use."""
        if not self.old:
            return None
        record = self.old.pop(key, None)
        if record is not None:
            self[key] = record
        return record

    def drop(self, key: Any) -> None:
        """Forgets the record of a key, which is in memory."""
        if self.pop(key, None) is None:
            del self.old[key]

    def in_memory(self) -> list[Any]:
        """The records in memory."""
        return [*self.old.values(), *self.values()]


class KeyTables:
    """All tables of a step, in the place of `KeyedRecords` to a working set."""

    #: Records have no cells of families.
    families = ()

    def __init__(self) -> None:
        self.tables: dict[Any, KeyTable] = {}
        #: Records that are new since they were counted last: table and key.
        self.made: list[tuple[KeyTable, Any]] = []
        #: How many records are in memory, but for those that are new.
        self.in_memory = 0
        #: Whether records ever were moved to disk.
        self.has_cold = False
        self.sampled: Callable[[list[Any]], None] | None = None
        self.fetch: Callable[[Any, Iterable[Any]], None] | None = None

    def take_over(self) -> None:
        """Counts the new records."""
        if self.made:
            made, self.made = self.made, []
            self.in_memory += len(made)
            if self.sampled is not None:
                self.sampled(made)


@attrs.frozen
class TableContents:
    """What a working set must know of the records of one step: what they are on disk, when they must come back, how large
    they are; what to do as they leave, and come back."""

    content: Callable[[Any], Any]
    wakes: Callable[[Any], Iterable[tuple[int, int]]]
    size: Callable[[Any], int]
    leave: Callable[[Any], None]
    bring_back: Callable[[KeyTable, list[Entry]], None]


class WindowWorkingSet(WorkingSet):
    """The working set of a grouping."""

    _contents: Any

    def __init__(
        self, label: str, tables: KeyTables, contents: TableContents, space: TemporarySpace, limit: int
    ) -> None:
        super().__init__(label, tables, contents, space, limit)  # type: ignore[arg-type]
        #: What the indexes of the stores take, by table, and together: there may be many windows.
        self._index_bytes_of: dict[Any, int] = {}
        self._indexed = 0

    def _size(self, table: Any, key: Any) -> int:
        record = table.held(key)
        size: int = 0 if record is None else size_of(key) + self._contents.size(record)
        return size

    def _cold(self, table: Any, key: Any, content: Any, pickled: bytes | None) -> ColdRecord:
        return ColdRecord(key, content, first_of_each_kind(self._contents.wakes(table.held(key))))

    def _leave(self, record: Any) -> None:
        self._contents.leave(record)

    def index_bytes(self) -> int:
        return self._indexed

    def _know_wakes(self, table: Any) -> None:
        super()._know_wakes(table)
        before = self._index_bytes_of.pop(table, 0)
        if table.cold is not None:
            self._index_bytes_of[table] = table.cold.memory_bytes
        self._indexed += self._index_bytes_of.get(table, 0) - before

    def _bring_back(self, table: Any, entries: list[Entry]) -> None:
        if entries:
            self._contents.bring_back(table, entries)
            self._records.in_memory += len(entries)
            self.sampled([(table, key) for key, _ in entries])
            self._know_wakes(table)

    def drain(self, table: KeyTable) -> Iterable[list[Any]]:
        """Brings all records of a table back, some at a time, and gives their keys; meanwhile those before may go again."""
        cold, table.cold = table.cold, None
        if cold is None:
            return
        self._know_wakes(table)
        for entries in cold.drain(self.piece):
            self._bring_back(table, entries)
            yield [key for key, _ in entries]
        cold.delete()

    def first(self, kind: int) -> Iterable[tuple[int, KeyTable, Any]]:
        """The record on disk that is due first, whenever that is: when, and its table and key. None or one."""
        found: Any = self._wakes[kind].first()
        if found is not None:
            time, table = found
            for key, _ in table.cold.first(kind, 1):
                yield time, table, key

    def forget(self, table: KeyTable) -> None:
        """Removes what a table has on disk."""
        if table.cold is not None:
            table.cold.delete()
        self._know_wakes(table)
