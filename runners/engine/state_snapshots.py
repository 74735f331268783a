"""What a stateful step keeps, told entry by entry: one for each key and window that changed, one for each waiting element.

(table key, window)            what the record holds (see `record_contents`)
(table key, "waiting", count)  the element, its timestamp, window and pane
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, islice
from typing import Any

from hornbeam.error import DataError
from hornbeam.runners.engine.head import DELETED, ChangedColumns, PickledColumns, columns_of
from hornbeam.runners.engine.keyed_records import KeyedRecords, WindowTable
from hornbeam.runners.engine.record_contents import RecordContents, SetTimer
from hornbeam.runners.engine.waiting import WaitingElements
from hornbeam.runners.engine.working_set import WorkingSet

_WAITING = "waiting"
#: Touched keys of which each may be there many times.
_NEW_MAX = 1 << 19
#: Records that are loaded before some go to disk.
_LOADED_MAX = 4096
#: What a key that was touched takes, by itself and in a column of them.
_TOUCHED_BYTES, _NEW_BYTES = 200, 64


class StateSnapshots:
    """Follows the changes of a step's records and waiting elements, and takes them over."""

    def __init__(
        self, records: KeyedRecords, contents: RecordContents, waiting: WaitingElements | None
    ) -> None:
        self._records = records
        self._contents = contents
        self._waiting = waiting
        #: Where records are that are not in memory; None when all are.
        self.working_set: WorkingSet | None = None
        #: By window, the keys that were touched; dicts, for they keep their order.
        self._touched: dict[Any, dict[Any, None]] = {}
        #: By window, columns of keys that were touched and are not among them yet, and how many keys these are.
        self._new: dict[Any, list[Sequence[Any]]] = {}
        self._new_count = 0
        self._told_bytes = 0
        self.is_tracking = False

    def track(self) -> None:
        """From now on remember what changes."""
        self.is_tracking = True
        self.drop()

    def drop(self) -> list[Any]:
        """Forgets what was touched; gives what held it, in parts."""
        self._told_bytes = self._touched_bytes()
        held: list[Any] = [*self._touched.values(), *chain.from_iterable(self._new.values())]
        self._touched, self._new, self._new_count = {}, {}, 0
        if self._waiting is not None:
            held.append(self._waiting.changed)
            self._waiting.changed = {}
        return held

    def touch(self, table: WindowTable, keys: Sequence[Any]) -> None:
        """The records of these keys in a window may have changed, or gone. The keys are kept as they are."""
        if self.is_tracking:
            self._new.setdefault(table.window, []).append(keys)
            self._new_count += len(keys)
            if self._new_count > self._new_max():
                self._tell_apart()

    def _new_max(self) -> int:
        if self.working_set is None:
            return _NEW_MAX
        return min(_NEW_MAX, max(_LOADED_MAX, (self.working_set.limit >> 5) // _NEW_BYTES))

    def _tell_apart(self) -> None:
        """Which keys were touched, each once. As a rule it is the copy of the process that writes them that asks."""
        for window, columns in self._new.items():
            self._touched.setdefault(window, {}).update(dict.fromkeys(chain.from_iterable(columns)))
        self._new, self._new_count = {}, 0

    def waiting(self) -> int:
        """How many keys and windows were touched, at most."""
        return self._new_count + sum(map(len, self._touched.values()))

    def memory_bytes(self) -> int:
        """About what following the changes takes; what was let go of last may still be there, until a copy has told it."""
        return self._touched_bytes() + self._told_bytes

    def _touched_bytes(self) -> int:
        return self._new_count * _NEW_BYTES + sum(map(len, self._touched.values())) * _TOUCHED_BYTES

    def columns(self, count: int) -> Iterator[ChangedColumns]:
        """The entries that changed since the last call, by window, so many keys at a time."""
        self._tell_apart()
        touched, self._touched = self._touched, {}
        for window, keys in touched.items():
            left = iter(keys)
            while part := list(islice(left, count)):
                yield ChangedColumns(part, (window,), self._of_window(window, part))
        yield from columns_of(self._waiting_changes())

    def _of_window(self, window: Any, keys: list[Any]) -> list[Any]:
        table = self._records.tables.get(window)
        if table is None:
            return [DELETED] * len(keys)
        records = list(map(table.get, keys))
        if table.old:
            old = table.old
            records = [old.get(key) if record is None else record for key, record in zip(keys, records)]
        contents = self._contents.contents(records)
        if self.working_set is not None and table.cold is not None and None in contents:
            elsewhere = [key for key, content in zip(keys, contents) if content is None]
            cold = self.working_set.peek(table, elsewhere)
            contents = [cold.get(key) if content is None else content for key, content in zip(keys, contents)]
        return [DELETED if content is None else content for content in contents]

    def _waiting_changes(self) -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = []
        if self._waiting is not None and self._waiting.changed:
            for (key, count), entry in self._waiting.changed.items():
                found.append(((key, _WAITING, count), DELETED if entry is None else entry))
            self._waiting.changed = {}
        return found

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Takes over entries that were told, with timers in the order in which they were set."""
        timers: list[SetTimer] = []
        for name, content in entries:
            if content is DELETED:
                continue
            if len(name) == 3:
                self._load_waiting(name, content)
                continue
            key, window = name
            table = self._records.table(window)
            table.is_fetched = True  # no key comes twice
            timers.extend(self._contents.restore(table[key], content))
            if self.working_set is not None and len(self._records.made) >= _LOADED_MAX:
                self._take_over(timers)
                timers = []
                self.working_set.settle()
        self._take_over(timers)
        for table in self._records.tables.values():
            table.is_fetched = False

    def load_pickled(self, columns: Iterable[PickledColumns]) -> None:
        """As `load`, of pickled contents. What memory has no room for goes to disk as it is."""
        for part in columns:
            working_set = self.working_set
            if working_set is None or working_set.has_room() or len(part.rest) != 1:
                self.load(part.entries())
                continue
            contents = list(map(pickle.loads, part.contents))
            self._contents.check(contents)
            stays = list(map(self._contents.can_wait, contents))
            if not all(stays):
                self.load(
                    ((key, *part.rest), content)
                    for key, content, does_stay in zip(part.keys, contents, stays)
                    if not does_stay
                )
            (window,) = part.rest
            away = (list(compress(column, stays)) for column in (part.keys, contents, part.contents))
            working_set.put_away(window, *away)

    def _take_over(self, timers: list[SetTimer]) -> None:
        """Sets the timers of records that were loaded, and counts those."""
        self._contents.set_timers(timers)
        self._records.take_over()

    def _load_waiting(self, name: tuple[Any, Any, int], entry: Any) -> None:
        if self._waiting is None:
            raise DataError(
                "a snapshot holds elements that wait to be sorted by time, but the step's process is not marked with "
                "@DoFn.requires_time_sorted_input any more: mark it, or let the old pipeline finish first"
            )
        self._waiting.restore(name[0], name[2], entry)
