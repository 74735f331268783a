"""Grouping under any trigger: the general machine, for all that the fast path of `grouping` cannot do.

    pairs ── process ──► OpenWindow → key → KeyedWindow ── trigger machine ──► panes
    watermark, clock ── advance ──► windows that ended or expired, keys whose time has come ──► panes

The semantics are those of docs/event-time.md, in which a trigger is looked at after every element. Elements are taken a
run at a time all the same: a key's machine says after how many it would fire, and the outputs are put in the order of
the elements that made them fire, so that it makes no difference how elements are cut into bundles.

All that is kept is kept in memory; only the panes that a batch run fires before it may emit them go to disk.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from hornbeam.graph.model import WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.metrics.metricbase import MetricName
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.failures import naming, note_failure, raised_at_key, short_repr
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, END_OF_TIME, Head, Hold
from hornbeam.runners.engine.keyed_windows import KeyedWindow, OpenWindow, output_times
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs, places_by_window, refuse_non_pairs
from hornbeam.runners.engine.pane_outputs import EARLY, LATE, ON_TIME, PaneOutputs, PaneTable
from hornbeam.runners.engine.spill import Spool, TemporarySpace
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.runners.engine.trigger_machines import Machine, machine_for
from hornbeam.transforms.trigger import AccumulationMode, trigger_from_spec

DROPPED_LATE = MetricName("hornbeam", "dropped_late")
DROPPED_CLOSED = MetricName("hornbeam", "dropped_closed")

_second, _order = itemgetter(1), attrgetter("order")


class TriggeredGrouping(Head):
    """Grouping over windows that do not merge.

    Without receivers it keeps what it gives out until `fire` (and `late`) ask for it, as a batch run does. In a stream
    `emit` and `receivers` are set after construction, and `advance` drives it.
    """

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
        self._fired_early = Spool(space, memory_bytes_max, "panes")
        self._late = Spool(space, memory_bytes_max, "late")
        if receivers is None:
            receivers = {"out": self._fired_early.append} | (
                {late_tag: self._late.append} if late_tag else {}
            )
        super().__init__(spec.label, container, receivers)
        self.spec = spec
        self.windowing = windowing
        self.late_tag = late_tag
        self._folding = spec.folding
        self._pairs = Pairs(spec)
        self._machine: Machine = machine_for(trigger_from_spec(windowing.trigger))
        self._accumulates = windowing.accumulation_mode == AccumulationMode.ACCUMULATING
        self._fires_empty = windowing.on_time_behavior == "FIRE_ALWAYS"
        self._closes_empty = windowing.closing_behavior == "EMIT_ALWAYS"
        self._lateness = windowing.allowed_lateness_micros
        self._times = output_times(spec.timestamp_combiner, spec.window_fn)

        self._watermark = BEGINNING_OF_TIME
        self._now = 0
        self._windows: dict[Any, OpenWindow] = {}
        #: When windows must be looked at, in event time; when keys must be, in processing time.
        self._looks: TimerQueue[OpenWindow] = TimerQueue()
        self._waits: TimerQueue[KeyedWindow] = TimerQueue()
        #: The timestamp that what is unfired would get: by window if all of a window's panes get the same, else by key.
        self._holds: TimerQueue[OpenWindow | KeyedWindow] = TimerQueue()
        self._entries = 0
        self._order = 0
        self._panes = PaneTable()
        self._out = PaneOutputs()
        #: Places of the elements of the bundle that are dropped.
        self._dropped: list[int] = []
        self._touched: dict[KeyedWindow, None] = {}
        self._touched_windows: dict[OpenWindow, None] = {}
        self._changed: dict[Any, None] | None = None
        #: Whether anything must be brought up to date for each key that was touched, and not only for its window.
        self._follows_keys = self._machine.waits or self._times.looks_at_elements

    def setup(self) -> None:
        with naming(f"{self.label}, setup"):
            self._folding.setup()

    def teardown(self) -> None:
        with naming(f"{self.label}, teardown"):
            self._folding.teardown()

    # Elements

    def process(self, bundle: Bundle) -> None:
        """Adds the pairs of a bundle, and emits what fires."""
        bundle = bundle.exploded()
        if not bundle.values:
            return
        pairs = self._pairs.check(bundle)
        previous = set_current(self.container)
        try:
            self._gather(bundle, pairs)
        except Exception as error:
            if isinstance(error, (ValueError, TypeError)):
                refuse_non_pairs(self.label, bundle.values)
            note_failure(error, self.label)
            raise
        finally:
            set_current(previous)
        self._settle()
        for panes in self._out.take():
            self.emit(panes)
        if self._dropped:
            self._emit_dropped(bundle)

    def _gather(self, bundle: Bundle, pairs: list[tuple[Any, Any]]) -> None:
        values = list(map(_second, pairs))
        times = bundle.timestamp_list() if self._times.looks_at_elements else None
        for window, by_key in places_by_window(bundle, pairs):
            found = self._windows.get(window)
            if found is None:
                found = self._open(window)
                if self._watermark >= found.expiry:
                    self._drop(DROPPED_LATE, [place for places in by_key.values() for place in places])
                    continue
                self._windows[window] = found
                self._looks.set(found, found.next_look)
            keys = found.keys
            for key, places in by_key.items():
                state = keys.get(key)
                if state is None:
                    state = self._begin(key, found)
                self._add(state, places, values, times)
            self._touched_windows[found] = None

    def _open(self, window: Any) -> OpenWindow:
        self._order += 1
        return OpenWindow(window, self._lateness, self._watermark, self._order)

    def _begin(self, key: Any, window: OpenWindow) -> KeyedWindow:
        self._order += 1
        self._entries += 1
        state = window.keys[key] = KeyedWindow(key, window, self._order, self._machine.begin)
        state.on_time = window.ended
        return state

    def _add(self, state: KeyedWindow, places: list[int], values: list[Any], times: list[int] | None) -> None:
        """Adds a key's elements, which stand at `places` of the bundle, and fires as often as its trigger would."""
        machine, folding, now, window = self._machine, self._folding, self._now, state.window
        left = places
        while not state.closed:
            run = machine.until(state.trigger, window.ended, now)
            fires = run <= len(left)
            part = left[:run] if run < len(left) else left
            count = len(part)
            try:
                accumulator = folding.begun() if state.accumulator is None else state.accumulator
                state.accumulator = folding.extended(accumulator, [values[i] for i in part])
            except Exception as error:
                raised_at_key(error, user_key(state.key))
                raise
            state.trigger = machine.after(state.trigger, count, now)
            if times is not None:
                state.stamp = self._times.added(state.stamp, [times[i] for i in part], window.window)
            if not state.fresh:
                window.unfired += 1
            state.fresh += count
            if fires:
                self._fire(state, part[-1])
            left = left[run:] if run < len(left) else []
            if not left:
                break
        if left:
            self._drop(DROPPED_CLOSED, left)
        if self._follows_keys:
            self._touched[state] = None

    # Firing

    def _fire(self, state: KeyedWindow, place: int) -> None:
        """Tells the trigger that it fired, and gives out a pane if there is one to give."""
        machine, ended = self._machine, state.window.ended
        gives = bool(state.fresh) or self._is_empty_end(state)
        state.trigger = machine.fired(state.trigger, ended, self._now)
        finished = machine.is_finished(state.trigger)
        if gives:
            self._give(state, finished, place)
        if finished:
            self._close(state)

    def _is_empty_end(self, state: KeyedWindow) -> bool:
        """Whether an empty pane is due for the end of the window."""
        ended = state.window.ended
        return (
            self._fires_empty
            and ended
            and not state.on_time
            and self._machine.fires_for_end(state.trigger, ended, self._now)
        )

    def _give(self, state: KeyedWindow, is_last: bool, place: int) -> None:
        window = state.window
        if not window.ended:
            pane = self._panes.get(EARLY, state.panes, -1, is_last)
        else:
            timing = LATE if state.on_time else ON_TIME
            pane = self._panes.get(timing, state.panes, state.nonspeculative, is_last)
            state.nonspeculative += 1
            state.on_time = True
        state.panes += 1
        time = self._times.time(state.stamp, window.window) if state.fresh else window.max
        keeps = self._accumulates and not is_last
        try:
            accumulator = state.accumulator
            output = self._folding.given(self._folding.begun() if accumulator is None else accumulator, keeps)
        except Exception as error:
            raised_at_key(error, user_key(state.key))
            raise
        self._out.add(place, (user_key(state.key), output), time, window.windows, pane)
        if not keeps:
            state.accumulator = None
        self._forget_fresh(state)

    def _forget_fresh(self, state: KeyedWindow) -> None:
        if state.fresh:
            state.window.unfired -= 1
            state.fresh = 0
            state.stamp = None

    def _close(self, state: KeyedWindow) -> None:
        """The trigger has finished: what is held is forgotten, what comes is dropped."""
        self._forget_fresh(state)
        state.accumulator = None
        state.closed = True

    # Time

    def tell_time(self, now: int) -> None:
        self._now = now

    def advance(self, watermark: int, now: int) -> None:
        for panes in self._advanced(watermark, now):
            self.emit(panes)

    def fire(self, watermark: int) -> Iterator[Bundle]:
        """For a batch run: what was fired so far, then what is due at `watermark`. Processing time stands still."""
        yield from self._fired_early
        self._fired_early.clear()
        yield from self._advanced(watermark, self._now)

    def late(self) -> Iterator[Bundle]:
        """For a batch run: the elements that were dropped."""
        yield from self._late

    def _advanced(self, watermark: int, now: int) -> Iterator[Bundle]:
        self._watermark, self._now = watermark, now
        for window, states in self._due():
            expired = watermark >= window.expiry
            ends = watermark > window.max and not window.ended
            window.ended = window.ended or ends
            waiting = iter(window.keys.values() if states is None else sorted(states, key=_order))
            while self._look_at(waiting, ends, expired):
                yield from self._out.take(in_order=True)
            if expired:
                self._forget(window)
            else:
                self._touched_windows[window] = None
        self._settle()
        yield from self._out.take(in_order=True)

    def _due(self) -> list[tuple[OpenWindow, list[KeyedWindow] | None]]:
        """The windows to look at, in the order of their ends, each with the keys to look at: None for all."""
        due: dict[OpenWindow, list[KeyedWindow] | None] = {}
        for _, window in self._looks.pop_due(self._watermark):
            due[window] = None
        for _, state in self._waits.pop_due(self._now):
            own = due.setdefault(state.window, [])
            if own is not None:
                own.append(state)
        return sorted(due.items(), key=lambda item: (item[0].max, item[0].order))

    def _look_at(self, states: Iterator[KeyedWindow], ends: bool, expired: bool) -> bool:
        """Looks at keys of a window until there are panes enough for a bundle: then True, otherwise at all of them.

        The expiry by itself is no moment to ask the trigger: only when the window ends in the same step.
        """
        previous = set_current(self.container)
        try:
            for state in states:
                if self._follows_keys:
                    self._touched[state] = None
                if state.closed:
                    continue
                if expired:
                    if state.fresh or self._closes_empty or (ends and self._is_empty_end(state)):
                        self._give(state, True, 0)
                elif self._machine.would_fire(state.trigger, state.window.ended, self._now):
                    self._fire(state, 0)
                if self._out.is_full:
                    return True
            return False
        except Exception as error:
            note_failure(error, self.label)
            raise
        finally:
            set_current(previous)

    def _forget(self, window: OpenWindow) -> None:
        """All state of an expired window goes."""
        del self._windows[window.window]
        self._let_go(window)

    def _let_go(self, window: OpenWindow) -> None:
        self._looks.clear(window)
        self._holds.clear(window)
        self._touched_windows.pop(window, None)
        self._entries -= len(window.keys)
        for state in window.keys.values():
            self._waits.clear(state)
            self._holds.clear(state)
            self._touched.pop(state, None)
            if self._changed is not None:
                self._changed[self._name(state)] = None

    # Dropped elements

    def _drop(self, name: MetricName, places: list[int]) -> None:
        self._count(name, len(places))
        self._dropped.extend(places)

    def _count(self, name: MetricName, count: int) -> None:
        if self.container is not None:
            self.container.first_count(name, count)

    def _emit_dropped(self, bundle: Bundle) -> None:
        places, self._dropped = sorted(self._dropped), []
        receive = self.receivers.get(self.late_tag) if self.late_tag is not None else None
        if receive is not None:
            receive(bundle.take([bundle.values[i] for i in places], np.array(places, dtype=np.intp)))

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
        held = self._holds.next_time()
        return END_OF_TIME if held is None else held

    def next_watermark(self) -> int:
        time = self._looks.next_time()
        return END_OF_TIME + 1 if time is None else time

    def next_wakeup(self) -> int:
        time = self._waits.next_time()
        return END_OF_TIME if time is None else time

    def holds(self) -> list[Hold]:
        first = heapq.nsmallest(1, self._holds.items(), key=itemgetter(1))
        if not first:
            return []
        holder, micros = first[0]
        window = holder if isinstance(holder, OpenWindow) else holder.window
        states = [holder] if isinstance(holder, KeyedWindow) else window.keys.values()
        key = next(state.key for state in states if state.fresh)
        count = sum(each.unfired for each in self._open_windows())
        panes = "1 unfired pane, that" if count == 1 else f"{count} unfired panes, the first"
        return [Hold(micros, f"{panes} of key {short_repr(user_key(key))} in {window.window}")]

    def _open_windows(self) -> Iterable[OpenWindow]:
        return self._windows.values()

    def entries(self) -> int:
        return self._entries

    # Snapshots

    def track_changes(self) -> None:
        self._changed = {}
        self._follows_keys = True

    def changes_waiting(self) -> int:
        return len(self._changed or ())

    def drop_changes(self) -> list[Any]:
        dropped, self._changed = self._changed, {}
        return [dropped]

    def changes(self) -> list[tuple[Any, Any]]:
        names, self._changed = self._changed or {}, {}
        return [(name, self._content(name)) for name in names]

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        for name, content in entries:
            if content is not DELETED:
                self._load(name, content)
        for window in self._touched_windows:
            window.keys = dict(sorted(window.keys.items(), key=lambda item: item[1].order))
        self._settle()

    def _name(self, state: KeyedWindow) -> Any:
        return state.key, state.window.window

    def _content(self, name: Any) -> Any:
        key, window = name
        state = self._windows[window].keys.get(key) if window in self._windows else None
        return DELETED if state is None else state.content(self._waits.time_of(state))

    def _load(self, name: Any, content: Any) -> None:
        key, window = name
        found = self._windows.get(window)
        if found is None:
            found = self._windows[window] = self._reopen(content)
        self._restore(key, found, content)

    def _reopen(self, content: tuple[Any, ...]) -> OpenWindow:
        window, ended, order, *_ = content
        found = OpenWindow(window, self._lateness, BEGINNING_OF_TIME, order)
        found.ended = ended
        return found

    def _restore(self, key: Any, window: OpenWindow, content: tuple[Any, ...]) -> None:
        """A key's state out of a snapshot. A window that any of its keys has not been looked at for has not ended."""
        state = KeyedWindow(key, window, 0, None)
        wake = state.restore(content)
        window.keys[key] = state
        window.ended = window.ended and content[1]
        window.order = min(window.order, state.order)
        window.unfired += bool(state.fresh)
        self._order = max(self._order, state.order)
        self._entries += 1
        self._touched_windows[window] = None
        if self._times.looks_at_elements and state.fresh:
            self._holds.set(state, self._times.time(state.stamp, window.window))
        if wake is not None:
            self._waits.set(state, wake)
