"""What a record holds, in a form that pickles: for snapshots, and for the disk. One dict:

name of a state   what its cell holds, unless it is empty
ENDS              by name of a state: when its cell expires, in microseconds of processing time, for cells that do
TIMERS            those that are set: (order of the setting, family, tag, time, hold)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from hornbeam.error import DataError
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.keyed_records import Record
from hornbeam.runners.engine.state_cells import Cell, CellFamily
from hornbeam.runners.engine.timers import KeyedTimer, TimerFamily

#: (order, timer, time, hold)
SetTimer = tuple[int, KeyedTimer, int, int]
_order = _first = itemgetter(0)
#: Types of which no two values are equal and not the same.
_SHARED = frozenset({int, str, bytes})

#: Not a class: there are millions, and most have one cell and nothing else.
Content = dict[Any, Any]
#: What is in a content besides the cells.
ENDS, TIMERS = 0, 1


class RecordContents:
    """Takes records of one step apart and puts them together."""

    def __init__(self, families: Sequence[Any]) -> None:
        self._families = families
        #: The name of the one state, if there is one only, which lasts for ever, and no timer.
        self._only_cell = ""
        if len(families) == 1 and isinstance(families[0], CellFamily) and not families[0].is_lasting:
            self._only_cell = families[0].name
        self._places = {
            ("timer" if isinstance(family, TimerFamily) else "state", family.name): place
            for place, family in enumerate(families)
        }

        self._lasting = {
            family.name
            for family in families
            if not isinstance(family, TimerFamily) and family.spec.ttl_micros is not None
        }
        #: Whether anything but its key may bring a record back: a timer, the end of a cell's time to live.
        self.may_wake = bool(self._lasting) or any(isinstance(family, TimerFamily) for family in families)

    def content(self, record: Record) -> Content:
        """All that a record holds; not a copy."""
        content: Content = {}
        for family, cell in zip(self._families, record):
            if isinstance(cell, KeyedTimer):
                for timer in cell.pending():
                    order = family.queue.order_of(timer)
                    told = order, family.name, timer.tag, timer.time, timer.hold
                    content.setdefault(TIMERS, []).append(told)
            elif not cell.is_empty():
                content[family.name] = cell.content()
                if family.is_lasting and cell.expires != NEVER:
                    content.setdefault(ENDS, {})[family.name] = cell.expires
        return content

    def contents(self, records: list[Record | None]) -> list[Content | None]:
        """What each of many records holds; None for none."""
        name = self._only_cell
        if not name:
            return [None if record is None else self.content(record) for record in records]
        kind = self._families[0].kind
        if kind.only and None not in records:
            return _of_values(name, kind, list(map(attrgetter(kind.only), map(_first, records))))  # type: ignore[arg-type]
        return [
            None if record is None else {} if (cell := record[0]).is_empty() else {name: cell.content()}
            for record in records
        ]

    def restore(self, record: Record, content: Content) -> list[SetTimer]:
        """Fills the cells of a new record, and gives the timers that are to be set.

        DataError when the content has cells or timers that the DoFn does not have.
        """
        ends = content.get(ENDS, {})
        for name, kept in content.items():
            if type(name) is str:
                cell = record[self._found("state", name)]
                cell.restore(kept)
                if cell.family.is_lasting:
                    cell.family.lasts(cell, ends.get(name, NEVER))
        found: list[SetTimer] = []
        for order, name, tag, time, hold in content.get(TIMERS, ()):
            base: KeyedTimer = record[self._found("timer", name)]
            found.append((order, base.of_tag(tag) if tag else base, time, hold))
        return found

    def check(self, contents: Iterable[Content]) -> None:
        """DataError as of `restore`, for cells."""
        for name in set().union(*contents) - {ENDS, TIMERS}:
            self._found("state", name)

    def can_wait(self, content: Content) -> bool:
        """Whether it may stay on disk as it is: a cell that had no time to live so far is given one when it is restored."""
        return self._lasting.intersection(content).issubset(content.get(ENDS, ()))

    @staticmethod
    def set_timers(timers: list[SetTimer]) -> None:
        """Sets timers in the order in which they had been set."""
        for _, timer, time, hold in sorted(timers, key=_order):
            timer.family.restore(timer, time, hold)

    def timers(self, content: Content) -> Iterator[tuple[TimerFamily, int, int]]:
        """The family, time and hold of each timer that is set."""
        for _, name, _, time, hold in content.get(TIMERS, ()):
            yield self._families[self._found("timer", name)], time, hold

    @staticmethod
    def ends(content: Content) -> Iterator[int]:
        """When cells expire, in processing time."""
        return iter(content.get(ENDS, {}).values())

    def _found(self, what: str, name: str) -> int:
        found = self._places.get((what, name))
        if found is None:
            names = [repr(known) for _, known in self._places]
            raise DataError(
                f"a snapshot holds {what} {name!r}, which the DoFn does not have any more (it has "
                f"{', '.join(names) or 'none'}): keep its spec, or start without the snapshot"
            )
        return found


def _of_values(name: str, kind: type[Cell], values: list[Any]) -> list[Content | None]:
    """What records of one cell hold that have these values. Equal ones, of types where that is the same, share theirs."""
    of, nothing = kind.content_of, kind.nothing
    if _SHARED.issuperset(map(type, values)):
        known: dict[Any, Content | None] = {value: {name: of(value)} for value in set(values)}
        return list(map(known.__getitem__, values))
    return [{} if value is nothing else {name: of(value)} for value in values]


def without(content: Content, cells: Collection[str], timers: Collection[str]) -> Content:
    """A content without some states, and timers of some families."""
    kept = {name: part for name, part in content.items() if name not in cells}
    kept[ENDS] = {name: expires for name, expires in content.get(ENDS, {}).items() if name not in cells}
    kept[TIMERS] = [timer for timer in content.get(TIMERS, ()) if timer[1] not in timers]
    return {name: part for name, part in kept.items() if part or type(name) is str}


def memory_bytes(record: Record) -> int:
    """About what a record takes in memory, with its entry in a table."""
    return _ENTRY_BYTES + sum(
        _timer_bytes(cell) if isinstance(cell, KeyedTimer) else cell.memory_bytes() for cell in record
    )


_ENTRY_BYTES = 200
_TIMER_BYTES, _SET_BYTES = 120, 400


def _timer_bytes(timer: KeyedTimer) -> int:
    return _TIMER_BYTES + _SET_BYTES * sum(1 for _ in timer.pending())
