"""Side inputs of a stream: what a view holds for each side window, and whether it is ready.

    side elements ──► StreamingView ──► panes by window ──► SideInputReader.get(main window)

Under the default trigger a window is ready when the side input's watermark has passed its end. Under any other trigger a
grouping with one key runs over the side input, and each pane that it fires takes the place of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hornbeam.graph.model import SideInput
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, END_OF_TIME, Head
from hornbeam.runners.engine.late_data import count_late
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.transforms.window import GlobalWindow, WindowFn

#: The name of the entry of a snapshot that says before when side windows are forgotten.
FORGOTTEN = (None, "forgotten", None)


class StreamingView(SideInputReader):
    """One side input of one step of a stream."""

    def __init__(
        self,
        label: str,
        side: SideInput,
        window_fn: WindowFn,
        default: list[Any],
        panes: Head | None,
        container: MetricsContainer | None,
    ) -> None:
        """`panes` groups the side input under its trigger; None under the default trigger without lateness."""
        super().__init__(label, side, window_fn, None, default)
        self.container = container
        self.watermark = BEGINNING_OF_TIME
        self._panes = panes
        self._contents: dict[Any, list[Any]] = {}
        self._fired: set[Any] = set()
        self._forgotten = self._told_forgotten = BEGINNING_OF_TIME
        self._dirty: set[Any] | None = None
        if panes is not None:
            panes.emit = self._take_panes

    # The side input's elements

    def receive(self, bundle: Bundle) -> None:
        """Takes elements of the side input."""
        if self._panes is not None:
            self._panes.process(bundle.with_values([(None, value) for value in bundle.values]))
            return
        for window, part in bundle.by_window():
            if window.max_micros < self.watermark:
                count_late(self.container, len(part))
                continue
            self._contents.setdefault(window, []).extend(part.values)
            self._touch(window)

    def _take_panes(self, bundle: Bundle) -> None:
        for (_, values), windows in zip(bundle.values, bundle.window_list()):
            (window,) = windows
            self._contents[window] = list(values)
            self._fired.add(window)
            self._touch(window)

    def _touch(self, window: Any) -> None:
        self._views.pop(window, None)
        if self._dirty is not None:
            self._dirty.add(window)

    def tell_time(self, now: int) -> None:
        """Processing time has come to `now`."""
        if self._panes is not None:
            self._panes.tell_time(now)

    def advance(self, watermark: int, now: int) -> None:
        """Event time of the side input has come to `watermark`."""
        if self._panes is not None:
            self._panes.advance(watermark, now)
        self.watermark = max(self.watermark, watermark)

    def next_wakeup(self) -> int:
        """When a trigger of the side input next wants to be looked at, in processing time."""
        return END_OF_TIME if self._panes is None else self._panes.next_wakeup()

    # What the main input sees

    def side_window(self, main_window: Any) -> Any:
        """The side window for elements in the main window."""
        return GlobalWindow() if self.is_global else self._map(main_window)

    def is_ready(self, main_window: Any) -> bool:
        """Whether elements in the main window may be processed."""
        if self.watermark >= END_OF_TIME:
            return True
        window = self.side_window(main_window)
        return window in self._fired or window.max_micros < self.watermark

    def is_forgotten(self, main_window: Any) -> bool:
        """Whether the main window's side window was given up, as the main input's time has passed it."""
        return bool(self.side_window(main_window).max_micros < self._forgotten)

    def forget(self, before: int) -> None:
        """No main element will want a side window that ends before; with a mapping of the author's, nobody knows."""
        if before <= self._forgotten or not self._maps_by_default:
            return
        self._forgotten = before
        for window in [w for w in self._contents if w.max_micros < before]:
            del self._contents[window]
            self._fired.discard(window)
            self._touch(window)

    def entries(self) -> int:
        """Side windows that are kept, and what its trigger keeps."""
        return len(self._contents) + (0 if self._panes is None else self._panes.entries())

    def _elements(self, window: Any) -> Iterable[Any]:
        return self._contents.get(window, ())

    # Snapshots, as of a Head

    def track_changes(self) -> None:
        """From now on remember what changes."""
        self._dirty = set()
        self._told_forgotten = self._forgotten
        if self._panes is not None:
            self._panes.track_changes()

    def changes(self) -> list[tuple[Any, Any]]:
        """Windows and trigger state that changed."""
        dirty, self._dirty = self._dirty or set(), set()
        found: list[tuple[Any, Any]] = []
        for window in dirty:
            gone = window not in self._contents
            content = DELETED if gone else (self._contents[window], window in self._fired)
            found.append(((None, "view", window), content))
        if self._forgotten != self._told_forgotten:
            self._told_forgotten = self._forgotten
            found.append((FORGOTTEN, self._forgotten))
        if self._panes is not None:
            found.extend(((None, "panes", name), content) for name, content in self._panes.changes())
        return found

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Takes over what `changes` gave."""
        of_panes = []
        for (_, kind, name), content in entries:
            if kind == "forgotten":
                self._forgotten = content
                continue
            if kind == "panes":
                of_panes.append((name, content))
                continue
            self._contents[name] = list(content[0])
            if content[1]:
                self._fired.add(name)
        if self._panes is not None:
            self._panes.load(of_panes)


class SideInputGate:
    """Stands before a step with side inputs: elements wait until each view of theirs is ready."""

    def __init__(
        self,
        label: str,
        views: list[StreamingView],
        lateness_micros: int,
        container: MetricsContainer | None,
        hand_on: Callable[[int, Bundle], None],
    ) -> None:
        self._label = label
        self._views = views
        self._lateness = lateness_micros
        self._container = container
        self._hand_on = hand_on
        #: By main window, in the order in which they came: (index of the step's input, elements).
        self._waiting: dict[Any, list[tuple[int, Bundle]]] = {}
        self._count = 0
        self._hold = END_OF_TIME
        self._changed = False

    def receive(self, index: int, bundle: Bundle) -> None:
        """Hands on what may go on, and keeps the rest."""
        if all(view.is_global for view in self._views):
            self._take(None, index, bundle)
            return
        for window, part in bundle.by_window():
            self._take(window, index, part)

    def _take(self, window: Any, index: int, bundle: Bundle) -> None:
        if window is not None and any(view.is_forgotten(window) for view in self._views):
            count_late(self._container, len(bundle))
        elif window not in self._waiting and all(view.is_ready(window) for view in self._views):
            self._hand_on(index, bundle)
        else:
            self._keep(window, index, bundle)

    def _keep(self, window: Any, index: int, bundle: Bundle) -> None:
        self._waiting.setdefault(window, []).append((index, bundle))
        self._count += len(bundle)
        self._hold = min(self._hold, _earliest(bundle))
        self._changed = True

    def advance(self) -> None:
        """The views may have changed: lets go what is ready."""
        ready = [w for w in self._waiting if all(view.is_ready(w) for view in self._views)]
        for window in ready:
            for index, bundle in self._waiting.pop(window):
                self._count -= len(bundle)
                self._changed = True
                self._hand_on(index, bundle)
        if ready:
            waiting = (bundle for found in self._waiting.values() for _, bundle in found)
            self._hold = min(map(_earliest, waiting), default=END_OF_TIME)

    def forget(self, before: int) -> None:
        """No element in work or to come that is in time has a timestamp before this: side windows go that none can want."""
        if before < END_OF_TIME:
            before -= self._lateness
        for view in self._views:
            view.forget(min(before, self._hold, self._needed(view)))

    def _needed(self, view: StreamingView) -> int:
        """The first end of a side window that waiting elements need: their timestamps may lie past their window."""
        ends = (view.side_window(window).max_micros for window in self._waiting if window is not None)
        return min(ends, default=END_OF_TIME)

    def hold(self) -> int:
        """The earliest timestamp of what waits."""
        return self._hold

    def waits_for(self) -> list[tuple[Any, StreamingView]]:
        """The main windows that wait (None: any), each with a view that is not ready."""
        return [
            (window, next(view for view in self._views if not view.is_ready(window)))
            for window in self._waiting
            if not all(view.is_ready(window) for view in self._views)
        ]

    def entries(self) -> int:
        """Elements that wait."""
        return self._count

    def changes(self) -> list[tuple[Any, Any]]:
        """All that waits, if it changed since the last call."""
        changed, self._changed = self._changed, False
        if not changed:
            return []
        rows = [(window, index, bundle) for window, found in self._waiting.items() for index, bundle in found]
        return [((None, "waiting"), rows if rows else DELETED)]

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Takes over what `changes` gave, of one gate or of several. The next snapshot has what is left of it now: the one
        that it comes from may hold rows of other workers too."""
        for _, rows in entries:
            self._changed = True
            for window, index, bundle in rows:
                self._keep(window, index, bundle)


def _earliest(bundle: Bundle) -> int:
    stamps = bundle.timestamps
    return stamps if type(stamps) is int else int(stamps.min())  # type: ignore[union-attr]
