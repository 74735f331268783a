"""What a grouping under a trigger keeps: open windows, the state of each key in them, and when to look at which.

    bundles, time ──► TriggeredGrouping ──► OpenWindow → key → KeyedWindow ◄──► disk (`window_tables`)
                                               │ looks, waits, holds
                                               └──► snapshots: an entry for each key and window

The queues know only of what is in memory; what is on disk has its own times, and is brought back when these come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from hornbeam.graph.model import WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.cold_store import Entry
from hornbeam.runners.engine.failures import short_repr
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, END_OF_TIME, Head, Hold
from hornbeam.runners.engine.keyed_windows import KeyedWindow, OpenWindow, output_times
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.sizes import size_of
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.timekeeper import earliest
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.runners.engine.trigger_machines import Machine, machine_for
from hornbeam.runners.engine.window_tables import (
    ENDS,
    HOLDS,
    LOOKS,
    QUEUED_BYTES,
    STATE_BYTES,
    WAITS,
    KeyTable,
    KeyTables,
    TableContents,
    WindowWorkingSet,
)
from hornbeam.transforms.trigger import trigger_from_spec

#: Entries that are loaded before some go to disk.
_LOADED_MAX = 4096


class TriggeredState(Head):
    """Windows that do not merge, and what every key has in them."""

    def __init__(
        self,
        spec: GroupingSpec,
        space: TemporarySpace,
        memory_bytes_max: int,
        windowing: WindowingStrategy,
        container: MetricsContainer | None,
        receivers: Mapping[str, Receiver],
    ) -> None:
        super().__init__(spec.label, container, receivers)
        self.spec = spec
        self.windowing = windowing
        self._folding = spec.folding
        self._machine: Machine = machine_for(trigger_from_spec(windowing.trigger))
        self._lateness = windowing.allowed_lateness_micros
        self._closes_empty = windowing.closing_behavior == "EMIT_ALWAYS"
        self._times = output_times(spec.timestamp_combiner, spec.window_fn)
        self._watermark = BEGINNING_OF_TIME
        self._now = 0
        self._windows: dict[Any, OpenWindow] = {}
        #: When windows must be looked at, in event time; when keys must be, in processing time.
        self._looks: TimerQueue[OpenWindow] = TimerQueue()
        self._waits: TimerQueue[KeyedWindow] = TimerQueue()
        #: The timestamp that what is unfired would get: by window if all of a window's panes get the same, else by key.
        self._holds: TimerQueue[OpenWindow | KeyedWindow] = TimerQueue()
        self._tables = KeyTables()
        contents = TableContents(
            self._record_content, self._wakes_of, self._size_of, self._leave, self._bring_back
        )
        self._working_set = WindowWorkingSet(spec.label, self._tables, contents, space, memory_bytes_max)
        #: The tables and keys of the elements of the bundle.
        self._used: list[tuple[KeyTable, Iterable[Any]]] = []
        self._entries = 0
        self._order = 0
        self._touched: dict[KeyedWindow, None] = {}
        self._touched_windows: dict[OpenWindow, None] = {}
        self._changed: dict[Any, None] | None = None
        #: Whether anything must be brought up to date for each key that was touched, and not only for its window.
        self._follows_keys = self._machine.waits or self._times.looks_at_elements

    def keep_within(self, memory_bytes_max: int) -> None:
        """See `Head`."""
        self._working_set.limit = memory_bytes_max

    def shared_bytes(self) -> int:
        """See `Head`."""
        return self._working_set.index_bytes()

    # Windows and keys come and go

    def _open(self, window: Any) -> OpenWindow:
        self._order += 1
        return OpenWindow(window, self._lateness, self._watermark, self._order)

    def _keep(self, window: OpenWindow) -> None:
        """An open window is new among those that are kept."""
        self._windows[window.window] = window
        window.keys = self._tables.tables[window.window] = KeyTable(window.window)

    def _begin(self, key: Any, window: OpenWindow) -> KeyedWindow:
        self._order += 1
        self._entries += 1
        state = window.keys[key] = KeyedWindow(key, window, self._order, self._machine.begin)
        state.on_time = window.ended
        return state

    def _let_go(self, window: OpenWindow, states: Iterable[KeyedWindow]) -> None:
        """Forgets a window, and of its states those in memory."""
        self._looks.clear(window)
        self._holds.clear(window)
        self._touched_windows.pop(window, None)
        self._let_go_of(states)

    def _let_go_of(self, states: Iterable[KeyedWindow]) -> None:
        for state in states:
            self._entries -= 1
            self._waits.clear(state)
            self._holds.clear(state)
            self._touched.pop(state, None)
            if self._changed is not None:
                self._changed[self._name(state)] = None

    # Disk

    def _make_room(self, bundle: Bundle | None = None) -> None:
        """Moves to disk what is too much; of what is kept nothing is in use, and all queues are up to date."""
        self._tables.take_over()
        if bundle is not None:
            places: Any = ((table, key) for table, keys in self._used for key in keys)
            self._working_set.added(bundle, places)
            self._used.clear()
        self._working_set.settle()

    def _bring_due(self) -> None:
        """Brings back some of what is due, unless what is due in memory comes before."""
        if self._tables.has_cold:
            self._working_set.bring(ENDS, self._watermark, self._looks)
            self._working_set.bring(LOOKS, self._watermark, self._looks)
            self._working_set.bring(WAITS, self._now, self._waits)

    def _is_due_on_disk(self) -> bool:
        if not self._tables.has_cold:
            return False
        ends, looks, waits = map(self._working_set.next_time, (ENDS, LOOKS, WAITS))
        look = earliest(ends, looks)
        return (look is not None and look <= self._watermark) or (waits is not None and waits <= self._now)

    def _record_content(self, state: Any) -> Any:
        return state.content(self._waits.time_of(state))

    def _wakes_of(self, state: Any) -> Iterable[tuple[int, int]]:
        times = ((WAITS, self._waits.time_of(state)), (HOLDS, self._holds.time_of(state)))
        return ((kind, time) for kind, time in times if time is not None)

    def _size_of(self, state: Any) -> int:
        queued = (state in self._waits) + (state in self._holds)
        return STATE_BYTES + QUEUED_BYTES * queued + size_of(state.accumulator) + size_of(state.stamp)

    def _leave(self, state: Any) -> None:
        self._waits.clear(state)
        self._holds.clear(state)

    def _bring_back(self, table: KeyTable, entries: list[Entry]) -> None:
        window = self._windows[table.window]
        for key, content in entries:
            self._restore(key, window, content)

    # Bookkeeping, once for each call however many elements there were

    def _settle(self) -> None:
        """Brings the queues up to date with what was touched."""
        for window in self._touched_windows:
            if self._looks.time_of(window) != window.next_look:
                self._looks.set(window, window.next_look)
            if not self._times.looks_at_elements:
                self._set_hold(window, bool(window.unfired), window.max)
        self._touched_windows.clear()
        for state in self._touched:
            if self._times.looks_at_elements:
                time = self._times.time(state.stamp, state.window.window) if state.fresh else 0
                self._set_hold(state, bool(state.fresh), time)
            if self._machine.waits:
                self._set_wait(state)
            if self._changed is not None:
                self._changed[self._name(state)] = None
        self._touched.clear()

    def _set_hold(self, holder: OpenWindow | KeyedWindow, holds: bool, time: int) -> None:
        if not holds:
            self._holds.clear(holder)
        elif self._holds.time_of(holder) != time:
            self._holds.set(holder, time)

    def _set_wait(self, state: KeyedWindow) -> None:
        wanted = END_OF_TIME if state.closed else self._machine.wanted(state.trigger, self._now)
        if wanted >= END_OF_TIME:
            self._waits.clear(state)
        elif self._waits.time_of(state) != wanted:
            self._waits.set(state, wanted)

    # What the driver asks

    def hold(self) -> int:
        ends = self._working_set.next_time(ENDS)
        held = earliest(
            self._holds.next_time(),
            None if ends is None else ends - 1,
            self._working_set.next_time(HOLDS),
        )
        return END_OF_TIME if held is None else held

    def next_watermark(self) -> int:
        ends, looks = map(self._working_set.next_time, (ENDS, LOOKS))
        time = earliest(self._looks.next_time(), ends, looks)
        return END_OF_TIME + 1 if time is None else time

    def next_wakeup(self) -> int:
        time = earliest(self._waits.next_time(), self._working_set.next_time(WAITS))
        return END_OF_TIME if time is None else time

    def holds(self) -> list[Hold]:
        found: list[tuple[int, Any, Any]] = []
        if len(self._holds):
            holder, micros = min(self._holds.items(), key=itemgetter(1))
            window = holder if isinstance(holder, OpenWindow) else holder.window
            states = [holder] if isinstance(holder, KeyedWindow) else list(window.keys.values())
            key = next((f"key {short_repr(user_key(s.key))}" for s in states if s.fresh), "a key on disk")
            found.append((micros, key, window.window))
        for kind, before in ((ENDS, 1), (HOLDS, 0)):
            for time, table, key in self._working_set.first(kind):
                where = "a window on disk" if table.window is None else table.window
                found.append((time - before, f"key {short_repr(user_key(key))}", where))
        if not found:
            return []
        micros, key, window = min(found, key=itemgetter(0))
        count = sum(each.unfired for each in self._open_windows())
        panes = "1 unfired pane, that" if count == 1 else f"{count} unfired panes, the first"
        if not count:
            panes = "an unfired pane"
        return [Hold(micros, f"{panes} of {key} in {window}")]

    def _open_windows(self) -> Iterable[OpenWindow]:
        """The windows in memory."""
        return self._windows.values()

    def entries(self) -> int:
        return self._entries

    # Snapshots

    def track_changes(self) -> None:
        self.drop_changes()
        self._follows_keys = True

    def drop_changes(self) -> list[Any]:
        dropped, self._changed = self._changed, {}
        return [dropped]

    def changes_waiting(self) -> int:
        return len(self._changed or ())

    def changes(self) -> list[tuple[Any, Any]]:
        names, self._changed = self._changed or {}, {}
        found: dict[Any, Any] = dict.fromkeys(names, DELETED)
        elsewhere: dict[KeyTable, dict[Any, Any]] = {}
        for name in names:
            table = self._table_of(name)
            record = None if table is None else table.held(name[0])
            if record is not None:
                found[name] = self._record_content(record)
            elif table is not None:
                elsewhere.setdefault(table, {})[name[0]] = name
        for table, own in elsewhere.items():
            for key, content in self._working_set.peek(table, own).items():  # type: ignore[arg-type]
                found[own[key]] = content
        return list(found.items())

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        for name, content in entries:
            if content is DELETED:
                continue
            self._load(name, content)
            if len(self._tables.made) >= _LOADED_MAX:
                self._settle()
                self._make_room()
        for table in self._tables.tables.values():
            self._put_in_order(table)
        self._settle()
        self._make_room()

    def _put_in_order(self, table: KeyTable) -> None:
        """Keys of a window in the order in which they came, as far as they are all in memory."""
        if not table.old and table.cold is None:
            ordered = sorted(table.items(), key=lambda item: item[1].order)
            table.clear()
            table.update(ordered)

    def _name(self, state: KeyedWindow) -> Any:
        return state.key, state.window.window

    def _table_of(self, name: Any) -> KeyTable | None:
        return self._tables.tables.get(name[1])

    def _load(self, name: Any, content: Any) -> None:
        """A window that any of its keys has not been looked at for has not ended."""
        key, window = name
        found = self._windows.get(window)
        if found is None:
            found = self._reopen(content)
            self._keep(found)
        state = self._restore(key, found, content)
        self._tables.made.append((self._tables.tables[window], key))
        found.ended = found.ended and content[1]
        found.order = min(found.order, state.order)
        found.unfired += bool(state.fresh)
        self._order = max(self._order, state.order)
        self._entries += 1
        self._touched_windows[found] = None

    def _reopen(self, content: tuple[Any, ...]) -> OpenWindow:
        window, ended, order, *_ = content
        found = OpenWindow(window, self._lateness, BEGINNING_OF_TIME, order)
        found.ended = ended
        return found

    def _restore(self, key: Any, window: OpenWindow, content: tuple[Any, ...]) -> KeyedWindow:
        """A key's state out of a snapshot, or from disk, with its times."""
        state = KeyedWindow(key, window, 0, None)
        wake = state.restore(content)
        window.keys[key] = state
        if self._times.looks_at_elements and state.fresh:
            self._holds.set(state, self._times.time(state.stamp, window.window))
        if wake is not None:
            self._waits.set(state, wake)
        return state

    def _states(
        self, window: OpenWindow, waiting: list[KeyedWindow] | None, ends: bool, expired: bool
    ) -> Iterator[Iterable[KeyedWindow]]:
        """The states of a window to look at: those that waited, or else all, part by part where some are on disk."""
        table = self._tables.tables[window.window]
        if waiting is not None:
            yield sorted(map(self._current, waiting), key=lambda state: state.order)
            return
        yield table.in_memory() if table.old else table.values()
        if table.cold is None:
            return
        tells = window.unfired or ends or self._closes_empty or self._changed is not None
        if expired and not tells:
            self._entries -= len(table.cold)
            self._working_set.forget(table)
            return
        for keys in self._working_set.drain(table):
            yield list(map(table.__getitem__, keys))
            if expired:
                self._drop_held(table)
            else:
                self._settle()
                self._make_room()

    def _current(self, state: KeyedWindow) -> KeyedWindow:
        """The same state: it may have gone to disk since it was found to be due."""
        table = self._tables.tables[state.window.window]
        held: KeyedWindow | None = table.held(state.key)
        if held is None:
            self._working_set.fetch(table, (state.key,))  # type: ignore[arg-type]
            held = table.held(state.key)
        assert held is not None
        return held

    def _drop_held(self, table: KeyTable) -> None:
        """Forgets what a table has in memory."""
        states = table.in_memory()
        self._tables.in_memory -= len(states)
        self._let_go_of(states)
        table.clear()
        table.old = {}
