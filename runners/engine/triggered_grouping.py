"""Grouping under any trigger: the general machine, for all that the fast path of `grouping` cannot do.

    pairs ── process ──► OpenWindow → key → KeyedWindow ── trigger machine ──► panes
    watermark, clock ── advance ──► windows that ended or expired, keys whose time has come ──► panes

The semantics are those of docs/event-time.md, in which a trigger is looked at after every element. Elements are taken a
run at a time all the same: a key's machine says after how many it would fire, and the outputs are put in the order of
the elements that made them fire, so that it makes no difference how elements are cut into bundles.

What is kept (`triggered_state`) is in memory up to a limit, then that of keys that were not used for longest is on disk.
So are the panes that a batch run fires before it may emit them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from hornbeam.graph.model import WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.metrics.metricbase import MetricName
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.failures import naming, note_failure, raised_at_key
from hornbeam.runners.engine.keyed_windows import KeyedWindow, OpenWindow
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.late_data import DROPPED_CLOSED, DROPPED_LATE, count_late
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs, places_by_window, refuse_non_pairs
from hornbeam.runners.engine.pane_outputs import EARLY, LATE, ON_TIME, PaneOutputs, PaneTable
from hornbeam.runners.engine.spill import Spool, TemporarySpace
from hornbeam.runners.engine.triggered_state import TriggeredState
from hornbeam.transforms.trigger import AccumulationMode

_second, _order = itemgetter(1), attrgetter("order")


class TriggeredGrouping(TriggeredState):
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
        super().__init__(spec, space, memory_bytes_max, windowing, container, receivers)
        self.late_tag = late_tag
        self._pairs = Pairs(spec)
        self._accumulates = windowing.accumulation_mode == AccumulationMode.ACCUMULATING
        self._fires_empty = windowing.on_time_behavior == "FIRE_ALWAYS"
        self._panes = PaneTable()
        self._out = PaneOutputs()
        #: Places of the elements of the bundle that are dropped.
        self._dropped: list[int] = []

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
        for part in bundle.chunks(self._working_set.elements) if bundle.values else ():
            self._process(part)

    def _process(self, bundle: Bundle) -> None:
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
        self._make_room(bundle)

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
                self._keep(found)
                self._looks.set(found, found.next_look)
            table = self._tables.tables[window]
            if table.cold is not None:
                self._working_set.fetch(table, by_key)  # type: ignore[arg-type]
            for key, places in by_key.items():
                state = table.get(key) or table.used(key)
                if state is None:
                    state = self._begin(key, found)
                    self._tables.made.append((table, key))
                self._add(state, places, values, times)
            self._used.append((table, by_key))
            self._touched_windows[found] = None

    def _add(self, state: KeyedWindow, places: list[int], values: list[Any], times: list[int] | None) -> None:
        """Adds a key's elements, which stand at `places` of the bundle, and fires as often as its trigger would."""
        machine, folding, now, window = self._machine, self._folding, self._now, state.window
        at, end = 0, len(places)
        while at < end and not state.closed:
            after = at + machine.until(state.trigger, window.ended, now)
            part = places[at:after] if at or after < end else places
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
            if after <= end:
                self._fire(state, part[-1])
            at += count
        if at < end:
            self._drop(DROPPED_CLOSED, places[at:])
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
        while True:
            self._out.size = min(CHUNK, self._working_set.elements)
            self._bring_due()
            for window, waiting in self._due():
                expired = watermark >= window.expiry
                ends = watermark > window.max and not window.ended
                window.ended = window.ended or ends
                for states in self._states(window, waiting, ends, expired):
                    left = iter(states)
                    while self._look_at(left, ends, expired):
                        yield from self._out.take(in_order=True)
                if expired:
                    self._forget(window)
                else:
                    self._touched_windows[window] = None
            self._settle()
            yield from self._out.take(in_order=True)
            self._make_room()
            if not self._is_due_on_disk():
                return

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
        table = self._tables.tables.pop(window.window)
        del self._windows[window.window]
        self._let_go(window, ())
        self._drop_held(table)
        self._working_set.forget(table)

    # Dropped elements

    def _drop(self, name: MetricName, places: list[int]) -> None:
        count_late(self.container, len(places), name)
        self._dropped.extend(places)

    def _emit_dropped(self, bundle: Bundle) -> None:
        places, self._dropped = sorted(self._dropped), []
        receive = self.receivers.get(self.late_tag) if self.late_tag is not None else None
        if receive is not None:
            receive(bundle.take([bundle.values[i] for i in places], np.array(places, dtype=np.intp)))
