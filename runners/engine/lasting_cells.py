"""Cells with a time to live: empty when that much processing time has passed since they were last written.

A cell that has expired reads as empty at once; a queue of cells by the time at which each may expire sees to it that
it is forgotten although nobody reads it. A cell stands in the queue once, at the time of some write, and is put back
if it was written since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.present import UNKNOWN, Present
from hornbeam.runners.engine.state_cells import Cell, CellFamily
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.transforms.userstate import StateSpec

#: The Lasting form of each kind of cell.
_LASTING: dict[type[Cell], type[Cell]] = {}


class LastingFamily(CellFamily):
    """What the cells of a spec with a ttl share; `queue` is that of all such specs of the step."""

    is_lasting = True

    def __init__(
        self, spec: StateSpec, present: Present, label: str, queue: TimerQueue[Any], fresh: list[Any]
    ) -> None:
        super().__init__(spec, present, label)
        assert spec.ttl_micros is not None
        self._ttl_micros = spec.ttl_micros
        self._queue = queue
        #: Cells that were written before processing time was known.
        self._fresh = fresh
        self.kind = lasting(self.kind)

    def new(self, table: Any, key: Any) -> Cell:
        cell: Any = self.kind(self)
        cell.table, cell.key, cell.expires = table, key, NEVER
        return cell  # type: ignore[no-any-return]

    def written(self, cell: Any) -> None:
        """Lets the cell live on from now."""
        now = self.present.now
        if now == UNKNOWN:
            cell.expires = NEVER
            self._fresh.append(cell)
            return
        self.lives_until(cell, now + self._ttl_micros)

    def lives_until(self, cell: Any, time: int) -> None:
        """Lets the cell expire at a time."""
        cell.expires = time
        if cell not in self._queue:
            self._queue.set(cell, time)

    def lasts(self, cell: Any, expires: int) -> None:
        """A cell of a snapshot: lives on as it would have."""
        if expires == NEVER:
            self.written(cell)
        else:
            self.lives_until(cell, expires)

    def dropped(self, cell: Any) -> None:
        self._queue.clear(cell)


def swept(queue: TimerQueue[Any], now: int) -> Iterator[tuple[Any, Any]]:
    """Empties the cells that have expired; gives (table, key) of each."""
    for _, cell in queue.pop_due(now):
        if cell.expires > now:
            queue.set(cell, cell.expires)
        else:
            cell.forget()
            yield cell.table, cell.key


def lasting(kind: type[Cell]) -> type[Cell]:
    """The kind of cell whose methods mind the time to live."""
    made = _LASTING.get(kind)
    if made is None:
        methods: dict[str, Any] = {name: _reading(getattr(kind, name)) for name in (*kind.reads, "is_empty")}
        methods |= {name: _writing(getattr(kind, name)) for name in kind.writes}
        methods |= {
            "__slots__": ("expires", "key", "table"),
            "__doc__": f"{kind.__name__} with a time to live.",
        }
        made = _LASTING[kind] = type(f"Lasting{kind.__name__}", (kind,), methods)
    return made


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.expires <= self.family.present.now:
            self.forget()
        return method(self, *args, **kwargs)

    return read


def _writing(method: Callable[..., Any]) -> Callable[..., Any]:
    def write(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.expires <= self.family.present.now:
            self.forget()
        method(self, *args, **kwargs)
        self.family.written(self)

    return write
