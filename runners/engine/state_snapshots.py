"""What a stateful step keeps, told entry by entry: one for each key and window that changed, one for each waiting element.

(table key, window)            cells by name: (content, when it expires); timers: (family, tag, time, hold, order)
(table key, "waiting", count)  the element, its timestamp, window and pane
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from hornbeam.error import DataError
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.head import DELETED
from hornbeam.runners.engine.keyed_records import KeyedRecords, Place, Record
from hornbeam.runners.engine.state_cells import Cell
from hornbeam.runners.engine.timekeeper import Timekeeper
from hornbeam.runners.engine.timers import KeyedTimer
from hornbeam.runners.engine.waiting import WaitingElements

_WAITING = "waiting"
_order = itemgetter(0)


class StateSnapshots:
    """Follows the changes of a step's records and waiting elements, and takes them over."""

    def __init__(self, records: KeyedRecords, timers: Timekeeper, waiting: WaitingElements | None) -> None:
        self._records = records
        self._timers = timers
        self._waiting = waiting
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
        found: list[tuple[Any, Any]] = []
        for key, window in self._touched:
            record = self._records.tables.get(window, {}).get(key)
            content = DELETED if record is None else self._content(record)
            found.append(((key, window), content))
        self._touched.clear()
        if self._waiting is not None and self._waiting.changed:
            for (key, count), entry in self._waiting.changed.items():
                found.append(((key, _WAITING, count), DELETED if entry is None else entry))
            self._waiting.changed = {}
        return found

    def _content(self, record: Record) -> tuple[Any, Any]:
        cells: dict[str, tuple[Any, int]] = {}
        timers: list[tuple[int, str, str, int, int]] = []
        for family, cell in zip(self._records.families, record):
            if isinstance(cell, KeyedTimer):
                for timer in cell.pending():
                    order = family.queue.order_of(timer)
                    timers.append((order, family.name, timer.tag, timer.time, timer.hold))  # type: ignore[arg-type]
            elif not cell.is_empty():
                cells[family.name] = cell.content(), getattr(cell, "expires", NEVER)
        return cells, timers

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Takes over entries that `changes` gave, with timers in the order in which they were set."""
        timers: list[tuple[int, KeyedTimer, int, int]] = []
        for name, content in entries:
            if content is DELETED:
                continue
            if len(name) == 3:
                self._load_waiting(name, content)
                continue
            key, window = name
            cells, set_timers = content
            record = self._records.table(window)[key]
            by_name = {family.name: place for place, family in enumerate(self._records.families)}
            for cell_name, (kept, expires) in cells.items():
                self._restore(record[self._found(by_name, "state", cell_name)], kept, expires)
            for order, family, tag, time, hold in set_timers:
                base = record[self._found(by_name, "timer", family)]
                timers.append((order, base.of_tag(tag) if tag else base, time, hold))
        for _, timer, time, hold in sorted(timers, key=_order):
            timer.family.restore(timer, time, hold)
        self._records.made.clear()

    def _load_waiting(self, name: tuple[Any, Any, int], entry: Any) -> None:
        if self._waiting is None:
            raise DataError(
                "a snapshot holds elements that wait to be sorted by time, but the step's process is not marked with "
                "@DoFn.requires_time_sorted_input any more: mark it, or let the old pipeline finish first"
            )
        self._waiting.restore(name[0], name[2], entry)

    @staticmethod
    def _found(places: dict[str, int], what: str, name: str) -> int:
        found = places.get(name)
        if found is None:
            raise DataError(
                f"a snapshot holds {what} {name!r}, which the DoFn does not have any more (it has "
                f"{', '.join(map(repr, places)) or 'none'}): keep its spec, or start without the snapshot"
            )
        return found

    @staticmethod
    def _restore(cell: Cell, content: Any, expires: int) -> None:
        cell.restore(content)
        if hasattr(cell, "expires"):
            cell.family.lasts(cell, expires)  # type: ignore[attr-defined]
