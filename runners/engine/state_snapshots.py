"""What a stateful step keeps, told entry by entry: one for each key and window that changed, one for each waiting element.

(table key, window)            what the record holds (see `record_contents`)
(table key, "waiting", count)  the element, its timestamp, window and pane
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hornbeam.error import DataError
from hornbeam.runners.engine.head import DELETED
from hornbeam.runners.engine.keyed_records import KeyedRecords, Place, WindowTable
from hornbeam.runners.engine.record_contents import RecordContents, SetTimer
from hornbeam.runners.engine.waiting import WaitingElements
from hornbeam.runners.engine.working_set import WorkingSet

_WAITING = "waiting"
#: Records that are loaded before some go to disk.
_LOADED_MAX = 4096


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
        #: Keys and windows that were touched; a dict, for it keeps their order.
        self._touched: dict[tuple[Any, Any], None] = {}
        self.is_tracking = False

    def track(self) -> None:
        """From now on remember what changes."""
        self.is_tracking = True
        self._touched.clear()
        if self._waiting is not None:
            self._waiting.changed = {}

    def touch(self, places: Iterable[Place]) -> None:
        """The records at these places may have changed, or gone."""
        if self.is_tracking:
            self._touched.update(((key, table.window), None) for table, key in places)

    def waiting(self) -> int:
        """How many keys and windows were touched."""
        return len(self._touched)

    def changes(self) -> list[tuple[Any, Any]]:
        """The entries that changed since the last call."""
        found: dict[tuple[Any, Any], Any] = dict.fromkeys(self._touched, DELETED)
        elsewhere: dict[WindowTable, list[Any]] = {}
        for key, window in self._touched:
            table = self._records.tables.get(window)
            record = None if table is None else table.held(key)
            if record is not None:
                found[key, window] = self._contents.content(record)
            elif table is not None:
                elsewhere.setdefault(table, []).append(key)
        if self.working_set is not None:
            for table, keys in elsewhere.items():
                for key, content in self.working_set.peek(table, keys).items():
                    found[key, table.window] = content
        self._touched.clear()
        return [*found.items(), *self._waiting_changes()]

    def _waiting_changes(self) -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = []
        if self._waiting is not None and self._waiting.changed:
            for (key, count), entry in self._waiting.changed.items():
                found.append(((key, _WAITING, count), DELETED if entry is None else entry))
            self._waiting.changed = {}
        return found

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Takes over entries that `changes` gave, with timers in the order in which they were set."""
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
