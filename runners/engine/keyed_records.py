"""The records of a stateful step: for each window and key the cells and timers, in one tuple.

    windows ──► WindowTable: table key ──► (cell, cell, …, timer, …)      in the order of the step's families

A table makes a record when it is asked for one that it does not have, so that the records of a bundle are one C-level
`map`. A record in which nothing was kept is taken out after the bundle; a table goes with its last record, or when
its window expires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from operator import getitem, itemgetter
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.failures import Failure, add_failure, short_repr
from hornbeam.runners.engine.head import END_OF_TIME
from hornbeam.runners.engine.keys import are_raw, canonical_key
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

    __slots__ = ("_made", "_owner", "expires", "fired", "window", "windows")

    def __init__(self, owner: KeyedRecords, window: Any, expires: int) -> None:
        super().__init__()
        self._owner = owner
        self._made = owner.made.append
        self.window = window
        self.windows = (window,)
        #: The watermark at which the window expires.
        self.expires = expires
        #: While the window expires: the keys and timer families that have fired for it.
        self.fired: set[tuple[Any, str]] | None = None

    def __missing__(self, key: Any) -> Record:
        record = self[key] = tuple([family.new(self, key) for family in self._owner.families])
        self._made((self, key))
        return record

    def cell(self, key: Any, family: Any) -> Any:
        """The cell or timer of a key that belongs to a family."""
        return self[key][self._owner.place_of[family]]


class KeyedRecords:
    """All records of a step. `keeps_empty`: also those in which nothing was kept, until their window expires."""

    def __init__(self, families: Sequence[Any], lateness_micros: int, keeps_empty: bool) -> None:
        self.families = families
        self.place_of = {family: place for place, family in enumerate(families)}
        self.tables: dict[Any, WindowTable] = {}
        #: Records that were made since the last `tidy`.
        self.made: list[Place] = []
        #: Windows by the watermark at which they expire.
        self.expirations: TimerQueue[Any] = TimerQueue()
        #: Windows by their last timestamps, if somebody wants to know.
        self.ends: TimerQueue[Any] | None = None
        self._lateness_micros = lateness_micros
        self._keeps_empty = keeps_empty

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))

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
        if type(windows) is tuple:
            return list(map(self.table(windows[0]).__getitem__, keys))
        return list(map(getitem, self._tables_of(bundle), keys))

    def _tables_of(self, bundle: Bundle) -> Iterable[WindowTable]:
        windows: Any = bundle.windows
        if type(windows) is tuple:
            return repeat(self.table(windows[0]), len(bundle.values))
        used = set(windows.codes.tolist())
        tables = [self.table(entry[0]) if code in used else None for code, entry in enumerate(windows.table)]
        return map(tables.__getitem__, windows.codes.tolist())  # type: ignore[arg-type]

    def tidy(self, places: Iterable[Place]) -> None:
        """Takes out, of the records at `places` and those that are new, the ones in which nothing is kept."""
        made, self.made[:] = self.made[:], []
        if self._keeps_empty:
            return
        for table, key in chain(made, places):
            record = table.get(key)
            if record is not None and all(cell.is_empty() for cell in record):
                self._drop(table, key)
                if not table:
                    self.tables.pop(table.window, None)
                    self.expirations.clear(table.window)

    def _drop(self, table: WindowTable, key: Any) -> None:
        for family, cell in zip(self.families, table.pop(key)):
            family.dropped(cell)

    def expired(self, watermark: int) -> Iterator[WindowTable]:
        """The tables of the windows that have expired, in the order of their ends; gone when the next is asked for."""
        for _, window in self.expirations.pop_due(watermark):
            table = self.tables[window]
            yield table
            for key in list(table):
                self._drop(table, key)
            self.tables.pop(window, None)
            if self.ends is not None:
                self.ends.clear(window)


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
