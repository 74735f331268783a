"""What a grouping under a trigger keeps: open windows, and in each of them what every key has gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hornbeam.runners.engine.head import END_OF_TIME
from hornbeam.transforms.window import TimestampCombiner, WindowFn
from hornbeam.utils.timestamp import Timestamp


def expiry(max_micros: int, lateness_micros: int) -> int:
    """The watermark from which on a window with that last timestamp has expired."""
    return min(max_micros + lateness_micros + 1, END_OF_TIME)


class OpenWindow:
    """A window that has not expired, with its keys. Compared by identity.

    Of windows that merge each belongs to one key, and is replaced when it merges.
    """

    __slots__ = ("ended", "expiry", "keys", "max", "order", "unfired", "window", "windows")

    def __init__(self, window: Any, lateness_micros: int, watermark: int, order: int) -> None:
        self.order = order
        self.become(window, lateness_micros, watermark)
        #: In the order in which keys first came.
        self.keys: dict[Any, KeyedWindow] = {}
        #: How many keys hold something that has not been given out.
        self.unfired = 0

    def become(self, window: Any, lateness_micros: int, watermark: int) -> None:
        """Be this window, with the same keys."""
        self.window = window
        #: As a bundle's column holds it.
        self.windows = (window,)
        self.max: int = window.max_micros
        self.expiry = expiry(self.max, lateness_micros)
        self.ended = watermark > self.max

    @property
    def next_look(self) -> int:
        """The watermark at which the window must be looked at next."""
        return self.expiry if self.ended else self.max + 1


class KeyedWindow:
    """What a key has gathered in a window, and how far its trigger is. Compared by identity."""

    __slots__ = (
        "accumulator",
        "closed",
        "fresh",
        "key",
        "nonspeculative",
        "on_time",
        "order",
        "panes",
        "stamp",
        "trigger",
        "window",
    )

    def __init__(self, key: Any, window: OpenWindow, order: int, trigger: Any) -> None:
        #: The key as tables hold it.
        self.key = key
        self.window = window
        #: Earlier than that of every key and window that came later.
        self.order = order
        #: How many elements came since the last pane.
        self.fresh = 0
        self.accumulator: Any = None
        #: What the timestamp combiner keeps of the elements since the last pane.
        self.stamp: Any = None
        #: Panes given out, and those of them that were not EARLY.
        self.panes = 0
        self.nonspeculative = 0
        #: Whether a pane was given out since the window ended, or the first element came after it: the next one is LATE.
        self.on_time = False
        #: The state of the trigger's machine.
        self.trigger = trigger
        #: Whether the trigger has finished.
        self.closed = False

    def content(self, wake: int | None) -> tuple[Any, ...]:
        """All of it for a snapshot; `wake` is the processing time it waits for."""
        facts = (self.order, self.fresh, self.accumulator, self.stamp, self.panes, self.nonspeculative)
        return (self.window.window, self.window.ended, *facts, self.on_time, self.trigger, self.closed, wake)

    def restore(self, content: tuple[Any, ...]) -> int | None:
        """Takes over what `content` gave, but for the window; answers `wake`."""
        _, _, self.order, self.fresh, self.accumulator, self.stamp, *rest, wake = content
        self.panes, self.nonspeculative, self.on_time, self.trigger, self.closed = rest
        result: int | None = wake
        return result


class OutputTimes:
    """The timestamp combiner: what it keeps of the elements since the last pane, and the timestamp this comes to."""

    #: Whether it needs the elements' timestamps; otherwise a pane gets the last timestamp of its window.
    looks_at_elements = True

    def __init__(self, choose: Callable[[Iterable[int]], int] | None) -> None:
        self._choose = choose
        self.looks_at_elements = choose is not None

    def added(self, stamp: Any, times: list[int], window: Any) -> Any:
        """What is kept when elements with these times come."""
        if self._choose is None:
            return None
        return self._choose(times if stamp is None else [stamp, *times])

    def merged(self, stamps: list[Any]) -> Any:
        """What is kept for windows that became one; None stands for no elements."""
        stamps = [stamp for stamp in stamps if stamp is not None]
        return self._choose(stamps) if stamps and self._choose is not None else None

    def time(self, stamp: Any, window: Any) -> int:
        """The timestamp of a pane with elements."""
        if self._choose is None:
            return int(window.max_micros)
        return int(stamp)


class TransformedTimes(OutputTimes):
    """OUTPUT_AT_EARLIEST_TRANSFORMED. Which window an element ends up in is known at the firing, so its time is kept."""

    def __init__(self, window_fn: WindowFn) -> None:
        super().__init__(min)
        self._window_fn = window_fn

    def added(self, stamp: Any, times: list[int], window: Any) -> Any:
        if self._window_fn.is_merging():
            return (*(stamp or ()), *times)
        moved = [self._transformed(time, window) for time in times]
        return (min(moved if stamp is None else [*stamp, *moved]),)

    def merged(self, stamps: list[Any]) -> Any:
        return tuple(time for stamp in stamps if stamp is not None for time in stamp) or None

    def time(self, stamp: Any, window: Any) -> int:
        if self._window_fn.is_merging():
            return min(self._transformed(time, window) for time in stamp)
        return int(stamp[0])

    def _transformed(self, time: int, window: Any) -> int:
        return self._window_fn.get_transformed_output_time(window, Timestamp(micros=time)).micros


def output_times(combiner: str, window_fn: WindowFn) -> OutputTimes:
    """What a timestamp combiner does."""
    if combiner == TimestampCombiner.OUTPUT_AT_EARLIEST_TRANSFORMED:
        return TransformedTimes(window_fn)
    if combiner == TimestampCombiner.OUTPUT_AT_EARLIEST:
        return OutputTimes(min)
    return OutputTimes(max if combiner == TimestampCombiner.OUTPUT_AT_LATEST else None)
