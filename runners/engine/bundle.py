"""A Bundle: a list of values and, beside it, their timestamps, windows and panes as columns.

A column is either one value shared by all elements or one entry an element: timestamps are then an int64 array of
event-time microseconds, windows and panes a `Coded` column (an index into a table of distinct entries), and the
proto-windows of sessions `Intervals`. No object wraps an element on any hot path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hornbeam.transforms.window import GlobalWindow, IntervalWindow
from hornbeam.utils.timestamp import MIN_TIMESTAMP
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo

Micros: TypeAlias = "npt.NDArray[np.int64]"
Index: TypeAlias = "npt.NDArray[np.intp]"
WindowSet: TypeAlias = tuple[Any, ...]

#: Elements of one chunk: large enough that a chunk costs little, small enough to stay in the processor's cache.
CHUNK = 1024

GLOBAL_WINDOWS: WindowSet = (GlobalWindow(),)
MIN_MICROS: int = MIN_TIMESTAMP.micros


class Coded:
    """A column as codes into a table: entry i is `table[codes[i]]`."""

    __slots__ = ("codes", "table")

    def __init__(self, codes: Index, table: Sequence[Any]) -> None:
        self.codes = codes
        self.table = table

    @classmethod
    def of(cls, entries: list[Any]) -> Coded:
        """Encodes a list of hashable entries."""
        index: dict[Any, int] = {}
        codes = [index.setdefault(entry, len(index)) for entry in entries]
        return cls(np.array(codes, dtype=np.intp), list(index))

    def take(self, index: Any) -> Coded:
        """The entries that a numpy index picks."""
        return Coded(self.codes[index], self.table)

    def repeat(self, counts: Any) -> Coded:
        """Entry i counts[i] times."""
        return Coded(np.repeat(self.codes, counts), self.table)

    def to_list(self) -> list[Any]:
        """One entry an element."""
        return list(map(self.table.__getitem__, self.codes.tolist()))


class Intervals:
    """One interval window an element, as arrays of starts and ends in microseconds (the proto-windows of sessions)."""

    __slots__ = ("ends", "starts")

    def __init__(self, starts: Micros, ends: Micros) -> None:
        self.starts = starts
        self.ends = ends

    def take(self, index: Any) -> Intervals:
        """The intervals that a numpy index picks."""
        return Intervals(self.starts[index], self.ends[index])

    def repeat(self, counts: Any) -> Intervals:
        """Interval i counts[i] times."""
        return Intervals(np.repeat(self.starts, counts), np.repeat(self.ends, counts))

    def to_list(self) -> list[WindowSet]:
        """One set of windows an element."""
        make = IntervalWindow.from_micros
        return [(make(start, end),) for start, end in zip(self.starts.tolist(), self.ends.tolist())]


Windows: TypeAlias = WindowSet | Coded | Intervals
Panes: TypeAlias = PaneInfo | Coded


class Bundle:
    """Elements on their way between operators. Never changed once it was handed on."""

    __slots__ = ("panes", "timestamps", "values", "windows")

    def __init__(
        self,
        values: list[Any],
        timestamps: int | Micros = MIN_MICROS,
        windows: Windows = GLOBAL_WINDOWS,
        panes: Panes = PANE_INFO_UNKNOWN,
    ) -> None:
        self.values = values
        self.timestamps = timestamps
        self.windows = windows
        self.panes = panes

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_uniform(self) -> bool:
        """Whether all metadata is shared, so that elements may come and go without touching a column."""
        return type(self.timestamps) is int and type(self.windows) is tuple and type(self.panes) is not Coded

    def with_values(self, values: list[Any]) -> Bundle:
        """The same metadata, element by element, beside other values."""
        return Bundle(values, self.timestamps, self.windows, self.panes)

    def take(self, values: list[Any], index: Any) -> Bundle:
        """The given values with the metadata of the elements that a numpy index (array, mask or slice) picks."""
        timestamps, windows, panes = self.timestamps, self.windows, self.panes
        return Bundle(
            values,
            timestamps if type(timestamps) is int else timestamps[index],  # type: ignore[index]
            windows if type(windows) is tuple else windows.take(index),  # type: ignore[union-attr]
            panes.take(index) if type(panes) is Coded else panes,
        )

    def repeat(self, values: list[Any], counts: Any) -> Bundle:
        """The given values, of which the first counts[0] bear the metadata of element 0, and so on."""
        timestamps, windows, panes = self.timestamps, self.windows, self.panes
        return Bundle(
            values,
            timestamps if type(timestamps) is int else np.repeat(timestamps, counts),
            windows if type(windows) is tuple else windows.repeat(counts),  # type: ignore[union-attr]
            panes.repeat(counts) if type(panes) is Coded else panes,
        )

    def chunks(self, size: int) -> Iterator[Bundle]:
        """The same elements in bundles of at most `size`."""
        if len(self.values) <= size:
            yield self
            return
        for start in range(0, len(self.values), size):
            part = slice(start, start + size)
            yield self.take(self.values[part], part)

    def timestamp_list(self) -> list[int]:
        """The timestamp of each element, in microseconds."""
        if type(self.timestamps) is int:
            return [self.timestamps] * len(self.values)
        result: list[int] = self.timestamps.tolist()  # type: ignore[union-attr]
        return result

    def timestamp_array(self) -> Micros:
        """The timestamp of each element, in microseconds."""
        if type(self.timestamps) is int:
            return np.full(len(self.values), self.timestamps, dtype=np.int64)
        return self.timestamps  # type: ignore[return-value]

    def window_list(self) -> list[WindowSet]:
        """The windows of each element."""
        if type(self.windows) is tuple:
            return [self.windows] * len(self.values)
        return self.windows.to_list()  # type: ignore[union-attr]

    def pane_list(self) -> list[PaneInfo]:
        """The pane of each element."""
        if type(self.panes) is Coded:
            return self.panes.to_list()
        return [self.panes] * len(self.values)  # type: ignore[list-item]

    def exploded(self) -> Bundle:
        """Each element once for each of its windows, so that every element is in exactly one window."""
        windows = self.windows
        if type(windows) is Intervals or (type(windows) is tuple and len(windows) == 1):
            return self
        if type(windows) is tuple:
            windows = Coded(np.zeros(len(self.values), dtype=np.intp), [windows])
        assert type(windows) is Coded
        sizes = np.array([len(entry) for entry in windows.table], dtype=np.intp)
        if (sizes == 1).all():
            return self
        counts = sizes[windows.codes]
        unique: dict[Any, int] = {}
        code_of = [unique.setdefault(window, len(unique)) for entry in windows.table for window in entry]
        first = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        owners = np.repeat(np.arange(len(self.values)), counts)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        codes = np.array(code_of, dtype=np.intp)[first[windows.codes[owners]] + within]
        bundle = self.take(list(map(self.values.__getitem__, owners.tolist())), owners)
        bundle.windows = Coded(codes, [(window,) for window in unique])
        return bundle

    def by_window(self) -> Iterator[tuple[Any, Bundle]]:
        """The exploded bundle cut into one bundle a window, each with its window shared."""
        exploded = self.exploded()
        windows = exploded.windows
        if type(windows) is tuple:
            yield windows[0], exploded
            return
        if type(windows) is Intervals:
            windows = Coded.of(windows.to_list())
            exploded = Bundle(exploded.values, exploded.timestamps, windows, exploded.panes)
        assert type(windows) is Coded
        codes_of: dict[Any, list[int]] = {}  # the same window may have several codes
        for code in np.unique(windows.codes).tolist():
            codes_of.setdefault(windows.table[code][0], []).append(code)
        for window, codes in codes_of.items():
            if len(codes_of) == 1:
                part = Bundle(exploded.values, exploded.timestamps, (window,), exploded.panes)
            else:
                index = np.flatnonzero(np.isin(windows.codes, codes))
                part = exploded.take(list(map(exploded.values.__getitem__, index.tolist())), index)
                part.windows = (window,)
            yield window, part


def from_entries(
    values: list[Any], timestamps: list[int], windows: list[WindowSet], panes: list[PaneInfo]
) -> Bundle:
    """A bundle from one entry an element; columns that turn out equal throughout are shared."""
    same_time = timestamps[0] if timestamps and timestamps.count(timestamps[0]) == len(timestamps) else None
    coded_windows, coded_panes = Coded.of(windows), Coded.of(panes)
    return Bundle(
        values,
        same_time if same_time is not None else np.array(timestamps, dtype=np.int64),
        coded_windows.table[0] if len(coded_windows.table) == 1 else coded_windows,
        coded_panes.table[0] if len(coded_panes.table) == 1 else coded_panes,
    )
