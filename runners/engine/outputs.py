"""What user functions give back, made into bundles: plain values keep the metadata of their input, while
TimestampedValue, WindowedValue and TaggedOutput say what is different.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from hornbeam.pvalue import TaggedOutput
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.bundle import Bundle, Micros, WindowSet, from_entries
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.failures import naming, note_failure
from hornbeam.runners.engine.operator import Receiver, discard
from hornbeam.transforms.stamped import TimestampedValues
from hornbeam.transforms.window import TimestampedValue, WindowFn
from hornbeam.utils.marked import MARKED
from hornbeam.utils.timestamp import Timestamp, micros_of
from hornbeam.utils.windowed_value import PaneInfo, WindowedValue

_log = logging.getLogger(__name__)

#: Values, timestamps, windows and panes, element by element.
Entries = tuple[list[Any], list[int], list[WindowSet], list[PaneInfo]]

_MICROS_PER_SECOND = 1_000_000
_SECONDS_MAX = 9_000_000_000_000


def micros_column(stamps: list[Any]) -> Micros:
    """Timestamps as given (seconds as int or float, Timestamp) as microseconds."""
    kinds = set(map(type, stamps))
    try:
        if kinds == {int}:
            seconds = np.array(stamps, dtype=np.int64)
            if int(seconds.min()) > -_SECONDS_MAX and int(seconds.max()) < _SECONDS_MAX:
                return seconds * _MICROS_PER_SECOND
        elif kinds == {float}:
            exact = np.array(stamps, dtype=np.float64) * _MICROS_PER_SECOND
            if np.isfinite(exact).all() and float(np.abs(exact).max()) < _SECONDS_MAX * _MICROS_PER_SECOND:
                return exact.astype(np.int64)  # cuts towards zero, as Timestamp does
        elif kinds == {Timestamp}:
            return np.array([stamp.micros for stamp in stamps], dtype=np.int64)
    except OverflowError:
        pass
    return np.array([_within_time(micros_of(stamp)) for stamp in stamps], dtype=np.int64)


def _within_time(micros: int) -> int:
    """The same; ValueError for a timestamp that columns cannot hold."""
    if not -NEVER <= micros < NEVER:
        raise ValueError(
            f"{Timestamp(micros=micros)!r} lies outside of the time that there is (about 292,000 years)"
        )
    return micros


def shared_or_column(stamps: Micros) -> int | Micros:
    """One shared timestamp where all are equal."""
    first = int(stamps[0])
    if int(stamps[-1]) == first and bool((stamps == first).all()):
        return first
    return stamps


class Outputs:
    """Sends what a step gives back to the receivers of its output tags.

    A TimestampedValue gets the windows that the step's windowing assigns at its new timestamp, once for each window
    of the element it came from.
    Outputs with a tag that the step does not declare go nowhere, as in Beam, which a warning says once for each tag.
    """

    def __init__(
        self,
        window_fn: WindowFn,
        receivers: Mapping[str, Receiver],
        main_tag: str | None,
        label: str = "",
        declared: Iterable[str] = (),
    ) -> None:
        """`declared` are the tags that the author listed; none when any tag may come."""
        self._label = label
        self._declared = frozenset(declared)
        self._unknown_tags: set[str] = set()
        self._assign = WindowAssigner(window_fn)
        self._receivers = dict(receivers)
        self._main = receivers.get("out", discard)
        if main_tag is not None:
            self._receivers.setdefault(main_tag, self._main)

    def send(self, bundle: Bundle) -> None:
        """Sends a bundle whose values are outputs and whose metadata is that of the inputs they came from."""
        values = bundle.values
        kinds = set(map(type, values))
        if kinds.isdisjoint(MARKED):
            self._main(bundle)
        elif kinds == {TimestampedValue}:
            moved = self.restamped(bundle, [v.value for v in values], [v._timestamp for v in values])
            if moved.values:
                self._main(moved)
        elif kinds == {TimestampedValues}:
            self._send_columns(bundle)
        else:
            self._sort(bundle)

    def _send_columns(self, bundle: Bundle) -> None:
        """Sends the columns of TimestampedValues, one bundle each."""
        for index, block in enumerate(bundle.values):
            if block.values:
                source = bundle.take([None], slice(index, index + 1)).repeat(block.values, [len(block)])
                moved = self._moved(source, block.values, shared_or_column(block.micros))
                if moved.values:
                    self._main(moved)

    def restamped(self, bundle: Bundle, values: list[Any], stamps: list[Any]) -> Bundle:
        """The values at new timestamps, in the windows assigned there, once for each window they were in."""
        try:
            times = shared_or_column(micros_column(stamps))
        except Exception as error:
            note_failure(error, self._label, bundle.with_values(values), _first_unreadable(stamps))
            raise
        return self._moved(bundle, values, times)

    def _moved(self, bundle: Bundle, values: list[Any], times: int | Micros) -> Bundle:
        result = Bundle(values, times, bundle.windows, bundle.panes).exploded()
        with naming(self._label):
            windows = self._assign(result) if result.values else ()
        return Bundle(result.values, result.timestamps, windows, result.panes)

    def _sort(self, bundle: Bundle) -> None:
        """Sends outputs of mixed kinds, in order, to their tags."""
        with naming(self._label):
            columns = self._by_tag(bundle)
        for tag, (values, stamps, sets, panes) in columns.items():
            receive = self._receivers.get(tag)
            if receive is not None and values:
                receive(from_entries(values, stamps, sets, panes))
            elif receive is None and self._declared and tag not in ("out", *self._declared):
                self._warn(tag)

    def _by_tag(self, bundle: Bundle) -> dict[str, Entries]:
        columns: dict[str, Entries] = {}
        rows = zip(bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list())
        for value, stamp, windows, pane in _each_alone(rows):
            tag, times = "out", 1
            if isinstance(value, TaggedOutput):
                tag, value = value.tag, value.value
            if isinstance(value, WindowedValue):
                value, stamp, windows, pane = (
                    value.value,
                    _within_time(value.timestamp_micros),
                    tuple(value.windows),
                    value.pane_info,
                )
            elif isinstance(value, TimestampedValue):
                times = len(windows)
                value, stamp = value.value, _within_time(value.timestamp_micros)
                moved = Bundle([value], stamp, windows[:1], pane)
                assigned = self._assign(moved)
                windows = assigned if type(assigned) is tuple else assigned.to_list()[0]  # type: ignore[union-attr]
            values, stamps, sets, panes = columns.setdefault(tag, ([], [], [], []))
            values.extend([value] * times)
            stamps.extend([stamp] * times)
            sets.extend([windows] * times)
            panes.extend([pane] * times)
        return columns

    def _warn(self, tag: str) -> None:
        if tag not in self._unknown_tags:
            self._unknown_tags.add(tag)
            _log.warning(
                "Step %r gives outputs with the tag %r, which its with_outputs(%s) does not name; they are dropped.",
                self._label,
                tag,
                ", ".join(map(repr, sorted(self._declared))),
            )


def _each_alone(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows, with those of TimestampedValues in a row for each value."""
    for row in rows:
        if isinstance(row[0], TimestampedValues):
            yield from ((value, *row[1:]) for value in row[0])
        else:
            yield row


def _first_unreadable(stamps: list[Any]) -> int | None:
    for index, stamp in enumerate(stamps):
        try:
            _within_time(micros_of(stamp))
        except Exception:
            return index
    return None
