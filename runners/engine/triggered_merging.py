"""Grouping under any trigger over windows that merge: the windows of a key are merged as each element comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

from hornbeam.graph.model import WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.head import DELETED
from hornbeam.runners.engine.keyed_windows import KeyedWindow, OpenWindow, expiry
from hornbeam.runners.engine.merging import merge_windows
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.triggered_grouping import DROPPED_CLOSED, DROPPED_LATE, TriggeredGrouping
from hornbeam.transforms.window import IntervalWindow, Sessions

_second = itemgetter(1)


class MergingTriggeredGrouping(TriggeredGrouping):
    """Grouping over windows that merge. Every OpenWindow has one key."""

    def __init__(
        self,
        spec: GroupingSpec,
        space: TemporarySpace,
        memory_bytes_max: int,
        windowing: WindowingStrategy,
        container: MetricsContainer | None = None,
        receivers: dict[str, Receiver] | None = None,
        late_tag: str | None = None,
    ) -> None:
        super().__init__(spec, space, memory_bytes_max, windowing, container, receivers, late_tag)
        #: The windows of each key that have not expired, closed ones too.
        self._of_key: dict[Any, list[OpenWindow]] = {}
        self._are_sessions = type(spec.window_fn) is Sessions

    # Elements

    def _gather(self, bundle: Bundle, pairs: list[tuple[Any, Any]]) -> None:
        values = list(map(_second, pairs))
        times = bundle.timestamp_list() if self._times.looks_at_elements else None
        for place, ((key, _), windows) in enumerate(zip(pairs, bundle.window_list())):
            window = windows[0]
            if self._watermark >= expiry(window, self._lateness):
                self._drop(DROPPED_LATE, [place])
                continue
            state = self._state_for(key, window, place)
            self._add(state, [place], values, times)
            self._touched_windows[state.window] = None

    def _state_for(self, key: Any, window: Any, place: int) -> KeyedWindow:
        """The state of the window that an element's window becomes, all windows of its key being merged."""
        own = self._of_key.setdefault(key, [])
        if self._are_sessions:
            target, group = _session(own, window)
        else:
            target, group = self._merged_by_user(key, own, window, place)
        if group:
            return self._become(key, group, target).keys[key]
        found = self._open(target)
        own.append(found)
        return self._begin(key, found)

    def _merged_by_user(
        self, key: Any, own: list[OpenWindow], window: Any, place: int
    ) -> tuple[Any, list[OpenWindow]]:
        """What the element's window becomes, and which of the key's windows do so too; the others are merged here."""
        became = merge_windows(
            self.spec.window_fn, dict.fromkeys(chain((open_.window for open_ in own), (window,)))
        )
        groups: dict[Any, list[OpenWindow]] = {}
        for open_ in own:
            groups.setdefault(became[open_.window], []).append(open_)
        mine = groups.pop(became[window], [])
        for target, group in groups.items():
            merged = self._become(key, group, target)
            state = merged.keys[key]
            looked_at = merged not in group and not state.closed
            if looked_at and self._machine.would_fire(state.trigger, merged.ended, self._now):
                self._fire(state, place)
        return became[window], mine

    # Merging

    def _become(self, key: Any, group: list[OpenWindow], target: Any) -> OpenWindow:
        """The one window that the windows of a key become, with all that they held."""
        if len(group) == 1 and group[0].window == target:
            return group[0]
        states = sorted((window.keys[key] for window in group), key=lambda state: state.order)
        merged = self._open(target)
        merged.order = states[0].order
        state = merged.keys[key] = self._merged_state(key, merged, states)
        own = self._of_key[key]
        for window in group:
            own.remove(window)
            self._let_go(window)
        own.append(merged)
        own.sort(key=lambda window: window.order)
        self._entries += 1
        self._touched_windows[merged] = None
        self._touch(state)
        return merged

    def _merged_state(self, key: Any, window: OpenWindow, states: list[KeyedWindow]) -> KeyedWindow:
        trigger = self._machine.merged([state.trigger for state in states], window.ended)
        merged = KeyedWindow(key, window, states[0].order, trigger)
        merged.panes = sum(state.panes for state in states)
        merged.nonspeculative = sum(state.nonspeculative for state in states)
        merged.on_time = window.ended and any(state.on_time for state in states)
        fresh = sum(state.fresh for state in states)
        if self._machine.is_finished(trigger):
            merged.closed = True
            if fresh:  # of windows that were open, and became one with a closed one
                self._count(DROPPED_CLOSED, fresh)
            return merged
        accumulators = [state.accumulator for state in states if state.accumulator is not None]
        if accumulators:
            merged.accumulator = (
                accumulators[0] if len(accumulators) == 1 else self._folding.merged(accumulators)
            )
        merged.fresh = fresh
        merged.stamp = self._times.merged([state.stamp for state in states])
        window.unfired = int(fresh > 0)
        return merged

    def _forget(self, window: OpenWindow) -> None:
        (key,) = window.keys
        own = self._of_key[key]
        own.remove(window)
        if not own:
            del self._of_key[key]
        self._let_go(window)

    # What the driver asks

    def _open_windows(self) -> Iterator[OpenWindow]:
        return chain.from_iterable(self._of_key.values())

    # Snapshots: all windows of a key are one entry

    def _name(self, state: KeyedWindow) -> Any:
        return (state.key,)

    def _content(self, name: Any) -> Any:
        (key,) = name
        windows: Iterable[OpenWindow] = self._of_key.get(key, ())
        states = [window.keys[key] for window in windows]
        return [state.content(self._waits.time_of(state)) for state in states] or DELETED

    def _load(self, name: Any, content: Any) -> None:
        (key,) = name
        for part in content:
            found = self._open(part[0])
            found.ended = part[1]
            self._of_key.setdefault(key, []).append(found)
            self._restore(key, found, part)


def _session(own: list[OpenWindow], window: IntervalWindow) -> tuple[IntervalWindow, list[OpenWindow]]:
    """The session that an element's window becomes, and the sessions of the key that are part of it.

    Sessions of a key do not overlap, so that no session is part of it that the element does not touch.
    """
    start, end = window.start_micros, window.end_micros
    group = [open_ for open_ in own if open_.window.start_micros < end and start < open_.window.end_micros]
    for open_ in group:
        start = min(start, open_.window.start_micros)
        end = max(end, open_.window.end_micros)
    return IntervalWindow.from_micros(start, end), group
