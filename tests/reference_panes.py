"""The windows of one key in the streaming reference interpreter: what they hold, when they fire, which panes they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from reference_dofn import Unsupported
from reference_triggers import Trigger, trigger

from hornbeam.graph.model import WindowingStrategy
from hornbeam.transforms.window import BoundedWindow, WindowFn, windowfn_from_function
from hornbeam.transforms.window import TimestampCombiner as At
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

#: Later than every window and every allowed lateness; earlier than every timestamp.
END_OF_TIME = 1 << 70
BEGINNING_OF_TIME = -END_OF_TIME


@attrs.define
class Times:
    """What a step knows of time: its input watermark, and processing time, in microseconds."""

    watermark: int = BEGINNING_OF_TIME
    now: int = 0


@attrs.define
class WindowState:
    """What is kept of a key in a window."""

    trigger: Trigger
    #: (value, timestamp) of the elements since the last pane, and of all.
    new: list[tuple[Any, int]] = attrs.field(factory=list)
    all: list[tuple[Any, int]] = attrs.field(factory=list)
    panes: int = 0
    nonspeculative_panes: int = 0
    #: Whether the trigger was looked at when the window ended.
    end_was_seen: bool = False
    #: Whether there was a pane after the end.
    fired_after_end: bool = False
    closed: bool = False


class KeyWindows:
    """The windows of one key. Methods give the panes that fire, as WindowedValues of lists of values."""

    def __init__(self, strategy: WindowingStrategy, times: Times) -> None:
        self.strategy = strategy
        self.window_fn = windowfn_from_function(strategy.window_fn)
        self.times = times
        self.states: dict[BoundedWindow, WindowState] = {}
        #: How many elements of open windows were forgotten, as the windows became one with a closed one.
        self.forgotten = 0

    # What time says of a window.

    def has_ended(self, window: BoundedWindow) -> bool:
        """Whether the watermark has passed its last timestamp."""
        return self.times.watermark > window.max_micros

    def has_expired(self, window: BoundedWindow) -> bool:
        """Whether it has passed the allowed lateness too."""
        return self.times.watermark > window.max_micros + self.strategy.allowed_lateness_micros

    # An element comes.

    def refusal(self, window: BoundedWindow) -> str | None:
        """Why an element that arrives in the window is dropped, if it is. Otherwise, and only then, `add` it."""
        if self.has_expired(window):
            return "dropped_late"
        merged = self.merged(window)
        return "dropped_closed" if merged in self.states and self.states[merged].closed else None

    def add(self, value: Any, timestamp: int, window: BoundedWindow) -> Iterator[WindowedValue[Any]]:
        """Take in an element that is not refused, and look at the window."""
        window = self.merged(window)
        if window not in self.states:
            ended = self.has_ended(window)
            self.states[window] = WindowState(trigger(self.strategy.trigger), fired_after_end=ended)
        state = self.states[window]
        state.new.append((value, timestamp))
        state.all.append((value, timestamp))
        state.trigger.element(self.times.now)
        yield from self.look(window, state)

    def merged(self, window: BoundedWindow) -> BoundedWindow:
        """The window that `window` is part of when all of the key's windows have been merged."""
        while self.window_fn.is_merging():
            context = _Merges({**dict.fromkeys(self.states), window: None})
            self.window_fn.merge(context)
            if not context.merges:
                break
            for parts, result in context.merges:
                self.merge(parts, result)
                window = result if window in parts else window
        return window

    def merge(self, parts: list[BoundedWindow], result: BoundedWindow) -> None:
        """Make one state of those of several windows; elements in the order in which the windows first got one."""
        old = [window for window in self.states if window in parts]
        if old in ([], [result]):
            return
        found = [self.states[window] for window in old]
        ended = self.has_ended(result)
        merged = WindowState(trigger(self.strategy.trigger))
        merged.trigger.merged([state.trigger for state in found], ended)
        merged.new = [item for state in found for item in state.new]
        merged.all = [item for state in found for item in state.all]
        merged.panes = sum(state.panes for state in found)
        merged.nonspeculative_panes = sum(state.nonspeculative_panes for state in found)
        merged.end_was_seen = ended
        merged.fired_after_end = ended and any(state.fired_after_end for state in found)
        if merged.trigger.finished:
            self.forgotten += len(merged.new)
            merged.closed, merged.new, merged.all = True, [], []
        # The merged window takes the place of the first one.
        self.states = {
            (result if window == old[0] else window): (merged if window == old[0] else state)
            for window, state in self.states.items()
            if window == old[0] or window not in old
        }

    # Time moves.

    def advance(self, window: BoundedWindow, before: int) -> Iterator[WindowedValue[Any]]:
        """Look at the window if time gives a reason to; `before` is the processing time of the last call."""
        state = self.states[window]
        if self.has_expired(window):
            yield from self.expire(window, state)
        elif not state.closed:
            ends = self.has_ended(window) and not state.end_was_seen
            if ends or any(before < moment <= self.times.now for moment in state.trigger.moments()):
                yield from self.look(window, state)

    def look(self, window: BoundedWindow, state: WindowState) -> Iterator[WindowedValue[Any]]:
        """Ask the trigger. If it fires there is one pane, or none if there is nothing to give."""
        ended = self.has_ended(window)
        state.end_was_seen = ended
        if not state.trigger.would_fire(ended, self.times.now):
            return
        for_end = state.trigger.fired(ended, self.times.now)
        finished = state.trigger.finished
        if state.new or self.gives_empty_for_end(state, for_end):
            yield self.pane(window, state, is_last=finished)
        if finished:
            state.closed, state.new, state.all = True, [], []

    def gives_empty_for_end(self, state: WindowState, for_end: bool) -> bool:
        """Whether a firing for the end of the window gives a pane although there is nothing in it."""
        return for_end and self.strategy.on_time_behavior == "FIRE_ALWAYS" and not state.fired_after_end

    def expire(self, window: BoundedWindow, state: WindowState) -> Iterator[WindowedValue[Any]]:
        """Give what has not been given, and forget the window."""
        del self.states[window]
        if state.closed:
            return
        for_end = (
            not state.end_was_seen
            and state.trigger.would_fire(True, self.times.now)
            and state.trigger.fired(True, self.times.now)
        )
        if (
            state.new
            or self.gives_empty_for_end(state, for_end)
            or self.strategy.closing_behavior == "EMIT_ALWAYS"
        ):
            yield self.pane(window, state, is_last=True)

    # What is given.

    def pane(self, window: BoundedWindow, state: WindowState, is_last: bool) -> WindowedValue[Any]:
        """One pane, which is counted; what is new becomes old."""
        ended = self.has_ended(window)
        timing = PaneInfoTiming.EARLY
        if ended:
            timing = PaneInfoTiming.LATE if state.fired_after_end else PaneInfoTiming.ON_TIME
        nonspeculative_index = state.nonspeculative_panes if ended else -1
        info = PaneInfo(state.panes == 0, is_last, timing, state.panes, nonspeculative_index)
        given = state.all if self.strategy.accumulation_mode == "ACCUMULATING" else state.new
        timestamp = self.timestamp(window, state)
        state.panes += 1
        state.nonspeculative_panes += ended
        state.fired_after_end = state.fired_after_end or ended
        state.new = []
        return WindowedValue([value for value, _ in given], Timestamp(micros=timestamp), (window,), info)

    def timestamp(self, window: BoundedWindow, state: WindowState) -> int:
        """The timestamp that a pane would have now."""
        timestamps = [timestamp for _, timestamp in state.new]
        combiner = self.strategy.timestamp_combiner
        if not timestamps or combiner == At.OUTPUT_AT_EOW:
            return window.max_micros
        if combiner == At.OUTPUT_AT_EARLIEST:
            return min(timestamps)
        if combiner == At.OUTPUT_AT_LATEST:
            return max(timestamps)
        if combiner == At.OUTPUT_AT_EARLIEST_TRANSFORMED:
            transformed = self.window_fn.get_transformed_output_time
            return min(transformed(window, Timestamp(micros=t)).micros for t in timestamps)
        raise Unsupported(f"The reference interpreter knows no timestamp combiner {combiner}.")

    def holds(self) -> list[int]:
        """The timestamps that what has not been given out would get."""
        return [self.timestamp(window, state) for window, state in self.states.items() if state.new]


class _Merges(WindowFn.MergeContext):
    """Notes what is to become of which windows."""

    def __init__(self, windows: Iterable[BoundedWindow]) -> None:
        super().__init__(sorted(windows))
        self.merges: list[tuple[list[BoundedWindow], BoundedWindow]] = []

    def merge(self, to_be_merged: Iterable[BoundedWindow], merge_result: BoundedWindow) -> None:
        parts = list(to_be_merged)
        if parts != [merge_result]:
            self.merges.append((parts, merge_result))
