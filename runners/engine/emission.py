"""How fired windows leave a grouping: bundles of (key, output), several windows in one bundle where they are small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle, Coded, WindowSet
from hornbeam.runners.engine.failures import Failure, add_failure
from hornbeam.runners.engine.folding import Cell
from hornbeam.runners.engine.keys import EncodedKey, user_key
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

#: A watermark past which no window ends; windows of elements at the end of the global window end after it does.
END_OF_TIME_MICROS = 1 << 63

ON_TIME_AND_ONLY = PaneInfo(True, True, PaneInfoTiming.ON_TIME, 0, 0)


_first = itemgetter(0)


class OutputChunks:
    """Gathers outputs of windows into bundles of about `size` elements."""

    def __init__(self, size: int = CHUNK) -> None:
        self.size = size
        self._values: list[Any] = []
        self._times: list[int] = []
        self._codes: list[int] = []
        self._windows: list[WindowSet] = []

    def add(self, window: Any, values: list[Any], times: list[int]) -> None:
        """Adds outputs of one window, each with its timestamp."""
        self._codes.extend([len(self._windows)] * len(values))
        self._windows.append((window,))
        self._values.extend(values)
        self._times.extend(times)

    @property
    def is_full(self) -> bool:
        return len(self._values) >= self.size

    def take(self) -> Bundle:
        """The bundle of all that was added."""
        single = len(self._windows) == 1
        times = self._times
        bundle = Bundle(
            self._values,
            times[0] if single and times.count(times[0]) == len(times) else np.array(times, dtype=np.int64),
            self._windows[0] if single else Coded(np.array(self._codes, dtype=np.intp), self._windows),
            ON_TIME_AND_ONLY,
        )
        self._values, self._times, self._codes, self._windows = [], [], [], []
        return bundle

    def rest(self) -> Iterator[Bundle]:
        """The bundle of what is left, if anything is."""
        if self._values:
            yield self.take()

    def add_items(
        self, label: str, window: Any, items: Iterable[tuple[Any, Any]], stamps: dict[Any, int]
    ) -> Iterator[Bundle]:
        """Adds (table key, output) items of one window and gives the bundles that became full."""
        end = window.max_micros
        iterator = iter(items)
        while True:
            part: list[tuple[Any, Any]] = []
            try:
                part.extend(islice(iterator, self.size))
            except Exception as error:
                add_failure(
                    error, Failure(label, key=getattr(error, "hornbeam_key", None), window=str(window))
                )
                raise
            if not part:
                return
            values = part
            if EncodedKey in set(map(type, map(_first, part))):
                values = [(user_key(key), output) for key, output in part]
            if not stamps and not self._values and len(values) == self.size:
                yield Bundle(values, end, (window,), ON_TIME_AND_ONLY)
                continue
            times = [stamps.get(key, end) for key, _ in part] if stamps else [end] * len(part)
            self.add(window, values, times)
            if self.is_full:
                yield self.take()


def emit_windows(
    spec: GroupingSpec, cells: dict[WindowSet, Cell], fired: int, watermark: int
) -> Iterator[Bundle]:
    """The outputs of every window that ends in (fired, watermark], by end; cells that no window needs are dropped."""
    holding: dict[Any, list[tuple[WindowSet, Cell]]] = {}
    for windows, cell in cells.items():
        for window in windows:
            if fired < window.max_micros <= watermark:
                holding.setdefault(window, []).append((windows, cell))
    out = OutputChunks()
    for window in sorted(holding):
        sets, group = zip(*holding.pop(window))
        items = spec.folding.result_items(list(group), shared=any(len(windows) > 1 for windows in sets))
        yield from out.add_items(spec.label, window, items, group[0].stamps)
        # A cell goes as soon as its last window has fired, so that a batch of many windows shrinks as it is emitted.
        cells.pop((window,), None)
    for windows in [w for w in cells if all(window.max_micros <= watermark for window in w)]:
        del cells[windows]
    yield from out.rest()
