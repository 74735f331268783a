"""Grouping under any trigger over windows that merge: the windows of a key are merged as each element comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from hornbeam.graph.model import WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.bundle import Bundle, Intervals
from hornbeam.runners.engine.cold_store import Entry
from hornbeam.runners.engine.keyed_windows import KeyedWindow, OpenWindow, expiry
from hornbeam.runners.engine.late_data import DROPPED_CLOSED, DROPPED_LATE, count_late
from hornbeam.runners.engine.merging import merge_windows
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.engine.window_tables import (
    ENDS,
    HOLDS,
    LOOKS,
    QUEUED_BYTES,
    WAITS,
    WINDOW_BYTES,
    KeyTable,
)
from hornbeam.transforms.window import IntervalWindow, Sessions

_first, _second, _order = itemgetter(0), itemgetter(1), attrgetter("order")


class MergingTriggeredGrouping(TriggeredGrouping):
    """Grouping over windows that merge. Every OpenWindow has one key, until it is forgotten: window and state hold each
    other, and would stay in memory until the collector comes by."""

    def __init__(
        self,
        spec: GroupingSpec,
        space: TemporarySpace,
        memory_bytes_max: int,
        windowing: WindowingStrategy,
        container: MetricsContainer | None = None,
        receivers: Mapping[str, Receiver] | None = None,
        late_tag: str | None = None,
    ) -> None:
        super().__init__(spec, space, memory_bytes_max, windowing, container, receivers, late_tag)
        #: The windows of each key that have not expired, closed ones too, in the order in which they first got an element.
        self._of_key = self._tables.tables[None] = KeyTable(None)
        self._are_sessions = type(spec.window_fn) is Sessions

    # Elements

    def _gather(self, bundle: Bundle, pairs: list[tuple[Any, Any]]) -> None:
        values = list(map(_second, pairs))
        times = bundle.timestamp_list() if self._times.looks_at_elements else None
        find = self._session if self._are_sessions else self._merged_by_user
        watermark, lateness, of_key = self._watermark, self._lateness, self._of_key
        windows = _windows_with_last(bundle, self._are_sessions)
        keys = list(map(_first, pairs))
        self._used.append((of_key, keys))
        if of_key.cold is not None:
            self._working_set.fetch(of_key, keys)  # type: ignore[arg-type]
        for place, (key, (window, last)) in enumerate(zip(keys, windows)):
            if watermark >= expiry(last, lateness):
                self._drop(DROPPED_LATE, [place])
                continue
            own = of_key.get(key) or of_key.used(key)
            if own is None:
                own = of_key[key] = []
                self._tables.made.append((of_key, key))
            state = find(key, own, window, place)
            self._add(state, [place], values, times)
            self._touched_windows[state.window] = None

    def _session(self, key: Any, own: list[OpenWindow], window: Any, place: int) -> KeyedWindow:
        """The state of the session that an element's window, (start, end), becomes.

        Sessions of a key do not overlap, so that none is part of it that the element does not touch.
        """
        start, end = window
        group = [o for o in own if o.max >= start and o.window.start_micros < end]
        if not group:
            return self._begin_window(key, own, IntervalWindow.from_micros(start, end))
        first = group[0].window
        if len(group) == 1 and first.start_micros <= start and end <= first.end_micros:
            return group[0].keys[key]
        starts, ends = zip(*((o.window.start_micros, o.window.end_micros) for o in group))
        target = IntervalWindow.from_micros(min(start, *starts), max(end, *ends))
        return self._become(key, group, target).keys[key]

    def _merged_by_user(self, key: Any, own: list[OpenWindow], window: Any, place: int) -> KeyedWindow:
        """The state of what an element's window becomes when its key's windows are merged, as others of them may be."""
        known = chain((open_.window for open_ in own), (window,))
        became = merge_windows(self.spec.window_fn, dict.fromkeys(known))
        groups: dict[Any, list[OpenWindow]] = {}
        for open_ in own:
            groups.setdefault(became[open_.window], []).append(open_)
        mine = groups.pop(became[window], [])
        for target, group in groups.items():
            is_new = len(group) > 1 or group[0].window != target
            merged = self._become(key, group, target)
            state = merged.keys[key]
            if (
                is_new
                and not state.closed
                and self._machine.would_fire(state.trigger, merged.ended, self._now)
            ):
                self._fire(state, place)
        if not mine:
            return self._begin_window(key, own, became[window])
        return self._become(key, mine, became[window]).keys[key]

    def _begin_window(self, key: Any, own: list[OpenWindow], window: Any) -> KeyedWindow:
        found = self._open(window)
        own.append(found)
        return self._begin(key, found)

    # Merging

    def _become(self, key: Any, group: list[OpenWindow], target: Any) -> OpenWindow:
        """The one window that the windows of a key become, with all that they held: the first of them, changed."""
        window, *others = group
        if not others and window.window == target:
            return window
        states = [open_.keys[key] for open_ in group]
        before = window.ended
        window.become(target, self._lateness, self._watermark)
        if others or before != window.ended:
            self._merge_states(states)
        for other in others:
            self._of_key[key].remove(other)
            self._let_go(other, other.keys.values())
            other.keys.clear()
        self._touched_windows[window] = None
        if self._follows_keys:
            self._touched[states[0]] = None
        return window

    def _merge_states(self, states: list[KeyedWindow]) -> None:
        """Makes the first of the states that of all; they are in the order in which they first got an element."""
        merged = states[0]
        window = merged.window
        merged.panes = sum(state.panes for state in states)
        merged.nonspeculative = sum(state.nonspeculative for state in states)
        merged.on_time = window.ended and any(state.on_time for state in states)
        merged.trigger = self._machine.merged([state.trigger for state in states], window.ended)
        merged.stamp = self._times.merged([state.stamp for state in states])
        merged.fresh = sum(state.fresh for state in states)
        window.unfired = int(merged.fresh > 0)
        accumulators = [state.accumulator for state in states if state.accumulator is not None]
        if len(accumulators) > 1:
            merged.accumulator = self._folding.merged(accumulators)
        elif accumulators:
            merged.accumulator = accumulators[0]
        merged.closed = self._machine.is_finished(merged.trigger)
        if merged.closed:
            if merged.fresh:  # of windows that were open, and became one with a closed one
                count_late(self.container, merged.fresh, DROPPED_CLOSED)
            self._close(merged)

    def _forget(self, window: OpenWindow) -> None:
        ((key, state),) = window.keys.items()
        own = self._of_key.held(key)
        own.remove(window)
        if not own:
            self._of_key.drop(key)
            self._tables.in_memory -= 1
        self._let_go(window, (state,))
        window.keys.clear()

    def _states(
        self, window: OpenWindow, waiting: list[KeyedWindow] | None, ends: bool, expired: bool
    ) -> Iterator[Iterable[KeyedWindow]]:
        yield waiting or window.keys.values()

    # Disk

    def _record_content(self, record: Any) -> Any:
        states = (window.keys[key] for window in record for key in window.keys)
        return [state.content(self._waits.time_of(state)) for state in states]

    def _wakes_of(self, record: Any) -> Iterator[tuple[int, int]]:
        for window in record:
            (state,) = window.keys.values()
            look = window.next_look
            kind = ENDS if state.fresh and not window.ended else LOOKS
            yield kind, look
            hold = self._holds.time_of(window) if window in self._holds else self._holds.time_of(state)
            if hold is not None and (kind != ENDS or hold != look - 1):
                yield HOLDS, hold
            wait = self._waits.time_of(state)
            if wait is not None:
                yield WAITS, wait

    def _size_of(self, record: Any) -> int:
        return sum(
            WINDOW_BYTES + QUEUED_BYTES + super(MergingTriggeredGrouping, self)._size_of(state)
            for window in record
            for state in window.keys.values()
        )

    def _leave(self, record: Any) -> None:
        for window in record:
            self._looks.clear(window)
            self._holds.clear(window)
            for state in window.keys.values():
                super()._leave(state)
            window.keys.clear()

    def _bring_back(self, table: KeyTable, entries: list[Entry]) -> None:
        for key, content in entries:
            self._put(key, content)
        self._settle()

    def _put(self, key: Any, content: Any) -> int:
        """The windows of a key out of a snapshot, or from disk; gives how many there are."""
        own = self._of_key[key] = []
        for part in content:
            found = self._reopen(part)
            state = self._restore(key, found, part)
            found.unfired = int(state.fresh > 0)
            own.append(found)
            self._order = max(self._order, state.order)
            self._touched_windows[found] = None
        return len(own)

    # What the driver asks

    def _open_windows(self) -> Iterator[OpenWindow]:
        return chain.from_iterable(self._of_key.in_memory())

    # Snapshots: all windows of a key are one entry

    def _name(self, state: KeyedWindow) -> Any:
        return (state.key,)

    def _table_of(self, name: Any) -> KeyTable:
        return self._of_key

    def _load(self, name: Any, content: Any) -> None:
        (key,) = name
        self._entries += self._put(key, content)
        self._tables.made.append((self._of_key, key))

    def _put_in_order(self, table: KeyTable) -> None:
        """No order among keys matters: each has windows of its own."""


def _windows_with_last(bundle: Bundle, sessions: bool) -> Iterator[tuple[Any, int]]:
    """The window of each element with its last timestamp; for sessions the window is (start, end)."""
    if type(bundle.windows) is Intervals and sessions:
        ends = bundle.windows.ends.tolist()
        return zip(zip(bundle.windows.starts.tolist(), ends), (bundle.windows.ends - 1).tolist())
    windows = [entry[0] for entry in bundle.window_list()]
    lasts = [window.max_micros for window in windows]
    if sessions:
        return zip([(window.start_micros, window.end_micros) for window in windows], lasts)
    return zip(windows, lasts)
