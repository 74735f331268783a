"""Heads that begin a stream: the impulse, and the splits of a bounded source.

    source.split ──► splits ── a turn: the next records of one split ──► elements

A source is split once, with the first turn; then its splits are read one after the other, in turns. What a snapshot has
of a split is its range and how many of its records have been given; where every record is a split point of a range of
offsets, the range from the last one on. Reading a split again must give the same records.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import cloudpickle

from hornbeam.error import NotSupportedError
from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.backlog import backlog_of, unit_of
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.failures import note_failure
from hornbeam.runners.engine.head import (
    BEGINNING_OF_TIME,
    DELETED,
    END_OF_TIME,
    Backlog,
    Hold,
    SourceHead,
)
from hornbeam.runners.engine.named_changes import NamedChanges
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.runners.engine.pacing import Pace
from hornbeam.runners.engine.sources import SPLIT_BYTES
from hornbeam.runners.engine.unbounded_head import UnboundedReadHead
from hornbeam.transforms.window import GlobalWindows
from hornbeam.utils import pickling

#: The entry of a root that has begun: a head that finds it in what it loads does not begin anew.
BEGUN = (None, "begun")


def root_head(
    step: Transform, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
) -> SourceHead:
    """The head of a root step; NotSupportedError for one that is neither an impulse nor a read."""
    if step.urn == urns.IMPULSE:
        return ImpulseHead(step, container, receivers)
    if step.urn != urns.READ:
        raise NotSupportedError(f"step {step.label!r} ({step.urn}) is a root that streams do not have")
    if step.spec.get("bounded", True):
        return ReadHead(step, container, receivers)
    return UnboundedReadHead(step, container, receivers)


class ImpulseHead(SourceHead):
    """One element, at the beginning of time."""

    def __init__(
        self, step: Transform, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
    ) -> None:
        super().__init__(step.label, container, receivers)
        self._is_given = False
        self._is_told = True

    def is_ready(self, now: int) -> bool:
        return not self._is_given

    def work(self, now: int) -> None:
        if not self._is_given:
            self._is_given = True
            self._is_told = False
            self.emit(Bundle([b""]))

    def is_done(self) -> bool:
        return self._is_given

    def hold(self) -> int:
        return END_OF_TIME if self._is_given else BEGINNING_OF_TIME

    def holds(self) -> list[Hold]:
        return [] if self._is_given else [Hold(BEGINNING_OF_TIME, "the impulse has not been given")]

    def changes(self) -> list[tuple[Any, Any]]:
        if self._is_told:
            return []
        self._is_told = True
        return [(BEGUN, True)]

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        self._is_given = self._is_given or any(name == BEGUN for name, _ in entries)


class Split:
    """A range of a source, and how much of it has been given."""

    __slots__ = ("_records", "_tracker", "given", "name", "skip", "source", "start", "stop")

    def __init__(self, name: Any, source: Any, start: Any, stop: Any, skip: int = 0) -> None:
        self.name = name
        self.source = source
        self.start = start
        self.stop = stop
        #: Records at the beginning of the range that have been given already.
        self.skip = skip
        self.given = 0
        self._tracker: Any = None
        self._records: Iterator[Any] | None = None

    def open(self, by_record: bool) -> None:
        """Begins to read; `by_record` claims no further than what is asked for, so that a position is exact."""
        if self._records is not None:
            return
        self._tracker = self.source.get_range_tracker(self.start, self.stop)
        read_batches = None if by_record else getattr(self.source, "read_batches", None)
        if read_batches is None:
            self._records = iter(self.source.read(self._tracker))
        else:
            self._records = chain.from_iterable(read_batches(self._tracker, CHUNK))
        next(islice(self._records, self.skip, self.skip), None)

    def take(self, count: int) -> list[Any]:
        """The next records, at most `count`; none at the end."""
        assert self._records is not None
        records = list(islice(self._records, count))
        self.given += len(records)
        return records

    def left(self) -> float | None:
        """How much of the range is left, where positions are numbers and known."""
        at = self.start
        if self._tracker is not None:
            at = getattr(self._tracker, "last_split_point", None)
            at = self.start if at is None else at
        if isinstance(at, int | float) and isinstance(self.stop, int | float):
            return max(0.0, self.stop - at)
        return None

    def position(self, by_record: bool) -> tuple[Any, Any, int]:
        """What is left: the range's start and stop, and how many of its first records have been given."""
        offset = getattr(self._tracker, "last_split_point", None)
        at_split_point = offset is not None and offset == self._tracker.last_record_start
        if by_record and self.given and at_split_point:
            consumed, _ = self._tracker.split_points()
            if (
                consumed + 1 == self.skip + self.given
            ):  # each record was a split point; others may belong to the last one
                return offset, self._tracker.stop_position(), 1
        return self.start, self.stop, self.skip + self.given


class ReadHead(SourceHead):
    """A bounded source, read split by split.

    Before the first turn a builder may set `elements_max`, the elements of a turn. When changes are tracked records are
    read one by one, without `read_batches`.
    """

    def __init__(
        self, step: Transform, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
    ) -> None:
        super().__init__(step.label, container, receivers)
        self._source = cloudpickle.loads(step.payload)
        self._outputs = Outputs(GlobalWindows(), receivers, None, step.label)
        self._pace = Pace()
        self._has_begun = False
        self._splits: dict[Any, Split] = {}
        self._split_count = 0
        self._changes = NamedChanges()

    @property
    def elements_max(self) -> int:
        """After how many elements a turn ends."""
        return self._pace.elements_max

    @elements_max.setter
    def elements_max(self, count: int) -> None:
        self._pace.elements_max = count

    def is_ready(self, now: int) -> bool:
        return not self.is_done()

    def work(self, now: int) -> None:
        previous = set_current(self.container)
        try:
            self._pace.begin()
            self.begin()
            while self._splits and not self._pace.is_over():
                self._read(next(iter(self._splits.values())))
        except BaseException as error:
            note_failure(error, self.label)
            raise
        finally:
            set_current(previous)

    def begin(self) -> None:
        """Splits the source, once; a driver may do so before the first turn."""
        if self._has_begun:
            return
        self._has_begun = True
        token = secrets.token_hex(4)
        for count, part in enumerate(self._source.split(SPLIT_BYTES)):
            name = (None, token, count)
            self._splits[name] = Split(name, part.source, part.start_position, part.stop_position)
        self._split_count = len(self._splits)
        self._changes.note(BEGUN, *self._splits)

    def _read(self, split: Split) -> None:
        """A turn's part of one split."""
        split.open(self._changes.are_tracked)
        self._changes.note(split.name)
        while records := split.take(self._pace.chunk()):
            if not self._pace.elements:
                self._pace.started()
            # A source may give TimestampedValues and WindowedValues.
            self._outputs.send(Bundle(records))
            self._pace.took(len(records))
            if self._pace.is_over():
                return
        del self._splits[split.name]

    def is_done(self) -> bool:
        return self._has_begun and not self._splits

    def hold(self) -> int:
        return END_OF_TIME if self.is_done() else BEGINNING_OF_TIME

    def holds(self) -> list[Hold]:
        if self.is_done():
            return []
        left = f"{len(self._splits)} of {self._split_count} splits" if self._has_begun else "all"
        return [Hold(BEGINNING_OF_TIME, f"{left} of {type(self._source).__name__} left to read")]

    def entries(self) -> int:
        return len(self._splits)

    def backlog(self) -> Backlog:
        """From where each split is read to its end, where positions are numbers."""
        if not self._has_begun:
            return Backlog()
        splits = self._splits.values()
        return backlog_of(
            unit_of(next((s.source for s in splits), self._source)), (split.left() for split in splits)
        )

    def track_changes(self) -> None:
        self._changes.track((BEGUN, *self._splits) if self._has_begun else ())

    def changes(self) -> list[tuple[Any, Any]]:
        """One entry a split: the pickled source, start, stop, records given; and `BEGUN`."""
        return self._changes.take(self._content)

    def _content(self, name: Any) -> Any:
        if name == BEGUN:
            return self._split_count
        split = self._splits.get(name)
        if split is None:
            return DELETED
        return pickling.dumps(split.source), *split.position(self._changes.are_tracked)

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        for name, content in entries:
            self._has_begun = True
            if name == BEGUN:
                self._split_count = max(content, self._split_count)
                continue
            pickled, start, stop, skip = content
            self._splits[name] = Split(name, cloudpickle.loads(pickled), start, stop, skip)
            self._changes.loaded(name)
