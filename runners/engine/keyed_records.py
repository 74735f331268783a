"""The records of a stateful step: for each window and key the cells and timers, in one tuple.

    windows ──► WindowTable: table key ──► (cell, cell, …, timer, …)      in the order of the step's families

A table makes a record when it is asked for one that it does not have, so that the records of a bundle are one C-level
`map`. Past the memory limit it first looks among the old ones and those on disk (`working_set`). A record in which nothing
was kept is taken out after the bundle; a table goes with its last record, or when its window expires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from operator import getitem, itemgetter
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.cold_store import ColdStore
from hornbeam.runners.engine.failures import Failure, add_failure, short_repr
from hornbeam.runners.engine.head import END_OF_TIME
from hornbeam.runners.engine.keys import are_raw, canonical_key
from hornbeam.runners.engine.state_cells import CellFamily
from hornbeam.runners.engine.timer_queue import TimerQueue

Record = tuple[Any, ...]
#: A window's table and a key in it.
Place = tuple["WindowTable", Any]

_first = itemgetter(0)


@attrs.frozen
class KeyedInput:
    """What a stateful step must know of its input."""

    encode_key: Callable[[Any], bytes]
    lateness_micros: int = 0


class WindowTable(dict[Any, Record]):
    """The records of one window by table key."""

    __slots__ = (
        "_made",
        "_only",
        "_owner",
        "cold",
        "expires",
        "fired",
        "is_fetched",
        "old",
        "window",
        "windows",
    )

    __hash__ = object.__hash__  # type: ignore[assignment]  # one for each window
    __eq__ = object.__eq__

    def __init__(self, owner: KeyedRecords, window: Any, expires: int) -> None:
        super().__init__()
        self._owner = owner
        self._made = owner.made.append
        self._only = owner.only_cell
        self.window = window
        self.windows = (window,)
        #: The watermark at which the window expires.
        self.expires = expires
        #: While the window expires: the keys and timer families that have fired for it.
        self.fired: set[tuple[Any, str]] | None = None
        #: Records in memory that were not used for a while, and the store of those on disk.
        self.old: dict[Any, Record] = {}
        self.cold: ColdStore | None = None
        #: Whether the keys that are about to be asked for are not on disk.
        self.is_fetched = False

    def __missing__(self, key: Any) -> Record:
        if self.old:
            record = self.old.pop(key, None)
            if record is not None:
                self[key] = record
                return record
        if self.cold is not None and not self.is_fetched:
            self._owner.fetch(self, (key,))
            if key in self:
                return self[key]
        self._made((self, key))
        return self.new(key)

    def new(self, key: Any) -> Record:
        """A new record for a key."""
        only = self._only
        record = self[key] = (
            tuple([family.new(self, key) for family in self._owner.families]) if only is None else (only(),)
        )
        return record

    def held(self, key: Any) -> Record | None:
        """The record of a key if it is in memory; does not count as use."""
        return self.get(key) or self.old.get(key)

    def in_memory(self) -> list[Any]:
        """The keys whose records are in memory."""
        return [*self.old, *self]

    def count(self) -> int:
        """How many records there are, wherever."""
        return len(self) + len(self.old) + (0 if self.cold is None else len(self.cold))

    def cell(self, key: Any, family: Any) -> Any:
        """The cell or timer of a key that belongs to a family."""
        return self[key][self._owner.place_of[family]]


class KeyedRecords:
    """All records of a step. `keeps_empty`: also those in which nothing was kept, until their window expires."""

    def __init__(self, families: Sequence[Any], lateness_micros: int, keeps_empty: bool) -> None:
        self.families = families
        self.place_of = {family: place for place, family in enumerate(families)}
        #: Whether no family wants to know of records that go.
        self._go_unnoticed = all(type(family) is CellFamily for family in families)
        #: Makes a record's cell, where there is just one and it does not ask for its key.
        self.only_cell: Callable[[], Any] | None = None
        if self._go_unnoticed and len(families) == 1:
            self.only_cell = partial(families[0].kind, families[0])
        self.tables: dict[Any, WindowTable] = {}
        #: Records that were made since the last `tidy`.
        self.made: list[Place] = []
        #: Windows by the watermark at which they expire.
        self.expirations: TimerQueue[Any] = TimerQueue()
        #: Windows by their last timestamps, if somebody wants to know.
        self.ends: TimerQueue[Any] | None = None
        self._lateness_micros = lateness_micros
        self._keeps_empty = keeps_empty
        #: How many records are in memory, but for those that are new.
        self.in_memory = 0
        #: Whether records ever were moved to disk.
        self.has_cold = False
        #: Told of records that are new in memory.
        self.sampled: Callable[[list[Place]], None] | None = None
        #: Brings records back from disk, for a table that has some there.
        self.fetch: Callable[[WindowTable, Iterable[Any]], None] = _nothing_to_fetch

    def __len__(self) -> int:
        return sum(table.count() for table in self.tables.values())

    def expires(self, window: Any) -> int:
        """The watermark at which a window expires: the first one past its last timestamp and the lateness."""
        return min(int(window.max_micros) + self._lateness_micros + 1, END_OF_TIME)

    def table(self, window: Any) -> WindowTable:
        """The table of a window, made when first asked for."""
        found = self.tables.get(window)
        if found is None:
            found = self.tables[window] = WindowTable(self, window, self.expires(window))
            self.expirations.set(window, found.expires)
            if self.ends is not None:
                self.ends.set(window, int(window.max_micros))
        return found

    def places(self, bundle: Bundle, keys: list[Any]) -> Iterable[Place]:
        """The table and key of each element of an exploded bundle."""
        return zip(self._tables_of(bundle), keys)

    def column(self, bundle: Bundle, keys: list[Any]) -> list[Record]:
        """The record of each element of an exploded bundle; elements of one key and window share one."""
        windows = bundle.windows
        if self.has_cold:
            return self._fetched(bundle, keys)
        if type(windows) is tuple:
            return list(map(self.table(windows[0]).__getitem__, keys))
        return list(map(getitem, self._tables_of(bundle), keys))

    def _fetched(self, bundle: Bundle, keys: list[Any]) -> list[Record]:
        """As `column`, where records on disk come back first, all of a window together."""
        by_table = self.by_table(bundle, keys)
        try:
            for table, own in by_table:
                if table.cold is not None:
                    self.fetch(table, own)
                table.is_fetched = True
            return list(map(getitem, self._tables_of(bundle), keys))
        finally:
            for table, _ in by_table:
                table.is_fetched = False

    def by_table(self, bundle: Bundle, keys: list[Any]) -> list[tuple[WindowTable, list[Any]]]:
        """The keys of an exploded bundle by the tables of their windows."""
        if type(bundle.windows) is tuple:
            return [(self.table(bundle.windows[0]), keys)]
        by_table: dict[WindowTable, list[Any]] = {}
        for table, key in zip(self._tables_of(bundle), keys):
            by_table.setdefault(table, []).append(key)
        return list(by_table.items())

    def _tables_of(self, bundle: Bundle) -> Iterable[WindowTable]:
        windows: Any = bundle.windows
        if type(windows) is tuple:
            return repeat(self.table(windows[0]), len(bundle.values))
        used = set(windows.codes.tolist())
        tables = [self.table(entry[0]) if code in used else None for code, entry in enumerate(windows.table)]
        return map(tables.__getitem__, windows.codes.tolist())  # type: ignore[arg-type]

    def tidy(self, places: Iterable[Place]) -> None:
        """Takes out, of the records at `places` and those that are new, the ones in which nothing is kept."""
        made = self.take_over()
        if self._keeps_empty:
            return
        for table, key in chain(made, places):
            record = table.get(key) or table.old.get(key)
            if record is None:
                continue
            for cell in record:
                if not cell.is_empty():
                    break
            else:
                self._drop(table, key)
                if not table.count():
                    self.tables.pop(table.window, None)
                    self.expirations.clear(table.window)

    def take_over(self) -> list[Place]:
        """Counts the new records, and gives them."""
        made, self.made[:] = self.made[:], []
        self.in_memory += len(made)
        if self.sampled is not None and made:
            self.sampled(made)
        return made

    def _drop(self, table: WindowTable, key: Any) -> None:
        self.in_memory -= 1
        record = table.pop(key) if key in table else table.old.pop(key)
        for family, cell in zip(self.families, record):
            family.dropped(cell)

    def drop_all(self, table: WindowTable) -> None:
        """Forgets the records of a window that are in memory."""
        if self._go_unnoticed:
            self.in_memory -= len(table) + len(table.old)
            table.clear()
            table.old.clear()
        for key in table.in_memory():
            self._drop(table, key)

    def expired(self, watermark: int) -> Iterator[WindowTable]:
        """The tables of the windows that have expired, in the order of their ends; gone when the next is asked for."""
        for _, window in self.expirations.pop_due(watermark):
            table = self.tables[window]
            yield table
            self.drop_all(table)
            if table.cold is not None:
                table.cold.delete()
            self.tables.pop(window, None)
            if self.ends is not None:
                self.ends.clear(window)

    def put_off(self, table: WindowTable) -> None:
        """A table that `expired` gave is not done with; it is given again."""
        self.expirations.set(table.window, table.expires)


def _nothing_to_fetch(table: WindowTable, keys: Iterable[Any]) -> None:
    """Without a memory limit nothing is on disk."""


def table_keys(label: str, bundle: Bundle, encode: Callable[[Any], bytes]) -> list[Any]:
    """The keys of a bundle's pairs as tables hold them. TypeError when an element is no pair."""
    values = bundle.values
    if set(map(type, values)) != {tuple} or set(map(len, values)) != {2}:
        for value in values:
            if not (isinstance(value, (tuple, list)) and len(value) == 2):
                raise _not_a_pair(label, value)
    keys = list(map(_first, values))
    if are_raw(keys):
        return keys
    try:
        return [canonical_key(key, encode) for key in keys]
    except Exception as error:
        add_failure(error, Failure(label))
        raise


def _not_a_pair(label: str, value: Any) -> TypeError:
    error = TypeError(
        f"{label!r} has state or timers, which belong to keys, and needs (key, value) pairs; it got {short_repr(value)}, "
        f"of type {type(value).__name__}. Add beam.Map(lambda x: (key, x)) before it."
    )
    add_failure(error, Failure(label, short_repr(value)))
    return error
