"""Fired panes on their way out of a grouping: gathered row by row, given out as bundles with coded columns."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle, Coded, WindowSet
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

#: Distinct PaneInfo objects that are remembered; a key's panes may be numbered into the millions.
_PANES_MAX = 1 << 14

_position = itemgetter(0)

#: (position in the bundle, (key, output), timestamp, windows, pane)
Row = tuple[int, tuple[Any, Any], int, WindowSet, PaneInfo]


class PaneTable:
    """Makes PaneInfo objects, each once."""

    def __init__(self) -> None:
        self._panes: dict[tuple[int, int, int, bool], PaneInfo] = {}

    def get(self, timing: int, index: int, nonspeculative_index: int, is_last: bool) -> PaneInfo:
        """The pane of these facts; the first is that with index 0."""
        key = (timing, index, nonspeculative_index, is_last)
        pane = self._panes.get(key)
        if pane is None:
            if len(self._panes) >= _PANES_MAX:
                self._panes.clear()
            pane = self._panes[key] = PaneInfo(index == 0, is_last, timing, index, nonspeculative_index)
        return pane


EARLY, ON_TIME, LATE = PaneInfoTiming.EARLY, PaneInfoTiming.ON_TIME, PaneInfoTiming.LATE


class PaneOutputs:
    """Gathers panes. What fires while a bundle is processed key by key comes out in the order of its elements."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        #: Panes of a bundle; fewer where they are large.
        self.size = CHUNK

    def add(
        self, position: int, pair: tuple[Any, Any], time: int, windows: WindowSet, pane: PaneInfo
    ) -> None:
        """Adds a pane that fired with the element at `position` of the bundle."""
        self._rows.append((position, pair, time, windows, pane))

    @property
    def is_full(self) -> bool:
        """Whether there is enough for a bundle."""
        return len(self._rows) >= self.size

    def take(self, in_order: bool = False) -> Iterator[Bundle]:
        """Gives out what there is, in one bundle for each CHUNK of panes; `in_order` when it is sorted already."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        if not in_order:
            rows.sort(key=_position)
        for at in range(0, len(rows), CHUNK):
            yield _bundle(rows[at : at + CHUNK])


def _bundle(rows: list[Row]) -> Bundle:
    _, pairs, times, windows, panes = zip(*rows)
    return Bundle(
        list(pairs),
        times[0] if times.count(times[0]) == len(times) else np.array(times, dtype=np.int64),
        _coded(windows),
        _coded(panes),
    )


def _coded(entries: tuple[Any, ...]) -> Any:
    """The column of entries that are mostly the same few objects, told apart by identity: no hash of theirs is called."""
    first = entries[0]
    index: dict[int, int] = {}
    codes = [index.setdefault(id(entry), len(index)) for entry in entries]
    if len(index) == 1:
        return first
    table: list[Any] = [None] * len(index)
    for entry, code in zip(entries, codes):
        table[code] = entry
    return Coded(np.array(codes, dtype=np.intp), table)
