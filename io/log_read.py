"""The DoFns of ReadFromLog: one finds a topic's partitions, one reads a partition each.

    impulse ─► WatchPartitions ─► LogPartition(topic, number, start, stop) ─► ReadPartition ─► records
               (again and again,                                              (restriction: the offsets
                for an unbounded read)                                         from start to stop, or without end)

ReadPartition claims a piece of many records by the offset of its last one. At the end of the partition it defers the rest
for a short time, longer the longer nothing comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from hornbeam.io import open_logs
from hornbeam.io.log_cursor import PartitionCursor, Piece, check_topic
from hornbeam.io.log_partition import LogPartition, located
from hornbeam.io.restriction import WatermarkEstimator, does_nothing
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import Log
from hornbeam.storage.log.errors import LogError
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.restriction import RestrictionProvider, WatermarkEstimatorProvider
from hornbeam.transforms.stamped import TimestampedValues
from hornbeam.utils.timestamp import (
    MAX_TIMESTAMP,
    MIN_TIMESTAMP,
    Duration,
    Timestamp,
    micros_of,
    timestamp_at,
)

#: Deferral at the end of a partition: from, doubled with each try that finds nothing, up to.
_POLL_MICROS_MIN = 1_000
_POLL_MICROS_MAX = 25_000
#: Of so many looks at the end of a partition one is a whole turn, which finds what is amiss with the topic.
_POLLS_A_TURN = 40
#: How often a look is taken whether the topic has got more partitions.
_WATCH_SECONDS = 1.0
#: Records in a piece, at first and at most; a piece should keep the steps behind busy for about so long.
_PIECE = 512
_PIECE_MIN = 16
_PIECE_MAX = 16_384
_PIECE_SECONDS = 0.005


@attrs.frozen
class LogReadSpec:
    """What ReadFromLog was asked for; travels with the pipeline."""

    directory: str
    topic: str
    partitions: tuple[int, ...] | None
    start: Any
    stop: Any
    decode: Callable[[bytes], Any] | None
    with_metadata: bool
    timestamp_fn: Callable[[Any], Any] | None
    out_of_orderness_micros: int
    idle_timeout: float | None
    isolation: str
    skip_lost: bool
    max_read_seconds: float | None

    def part(self, log: Log, number: int, is_new: bool = False) -> LogPartition:
        """A partition with its offsets. One that is new since the read began is read from its beginning."""
        start = "earliest" if is_new else self.start
        return located(log, self.topic, number, start, self.stop, self.isolation)


class _OpensLog(DoFn):
    """Has the log open from setup to teardown."""

    def __init__(self, spec: LogReadSpec) -> None:
        super().__init__()
        self.spec = spec
        self._log: Log | None = None

    def reads(self) -> str:
        """What a position belongs to; a changed pipeline that reads something else does not go on from it."""
        return f"topic {self.spec.topic}"

    @property
    def log(self) -> Log:
        """The log."""
        if self._log is None:  # asked for its restriction before setup
            self._log = open_logs.acquire(self.spec.directory)
        return self._log

    def teardown(self) -> None:
        """Lets go of the log."""
        if self._log is not None:
            log, self._log = self._log, None
            open_logs.release(log)


class ListPartitions(_OpensLog):
    """The partitions of a topic as they are now, or those that were asked for."""

    def process(self, element: Any) -> Iterator[LogPartition]:
        """A LogPartition each, with all stops found before the first record is read."""
        numbers = self.spec.partitions
        if numbers is None:
            numbers = tuple(range(self.log.topic(self.spec.topic).partition_count))
        yield from [self.spec.part(self.log, number) for number in numbers]


class WatchPartitions(_OpensLog, RestrictionProvider, WatermarkEstimatorProvider):
    """The partitions of a topic, and each one that is added, as long as the pipeline runs.

    Its restriction is the numbers of the partitions that were not given out yet.
    """

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = DoFn.RestrictionParam(),
        estimator: Any = DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[LogPartition]:
        """Gives the partitions that are there and not given out yet."""
        first = tracker.current_restriction().start
        for number in range(first, self.log.topic(self.spec.topic).partition_count):
            if not tracker.try_claim(number):
                return
            yield self.spec.part(self.log, number, is_new=first > 0)
        estimator.release()
        tracker.defer_remainder(Duration(_WATCH_SECONDS))

    def initial_restriction(self, element: Any) -> OffsetRange:
        """All partitions there will ever be."""
        return OffsetRange(0, float("inf"))

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """A tracker of partition numbers."""
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> float:
        """How many partitions there are to give now."""
        return max(0.0, self.log.topic(self.spec.topic).partition_count - restriction.start)

    def initial_estimator_state(self, element: Any, restriction: Any) -> Any:
        """Nothing to know."""
        return None

    def create_watermark_estimator(self, estimator_state: Any) -> WatermarkEstimator:
        """One that holds nothing back once the partitions are known: each that is read holds for itself."""
        return _Release(estimator_state)


class ReadPartition(_OpensLog, RestrictionProvider, WatermarkEstimatorProvider):
    """The records of one partition, from the start to the stop of its LogPartition."""

    #: The engine hands on each piece by itself, so that the time it takes tells how large the next should be.
    times_outputs = True

    def __init__(self, spec: LogReadSpec) -> None:
        super().__init__(spec)
        #: Looked for by the engine: a partition at its end that is silent for so long (seconds) holds no time back.
        self.idle_timeout = spec.idle_timeout
        self._cursors: dict[tuple[str, int], PartitionCursor] = {}
        self._size = _PIECE
        #: What the steps behind are working on: the partition, and offsets and times of its records.
        self._giving: tuple[LogPartition, Any, Any] | None = None

    def process(
        self,
        element: LogPartition,
        tracker: Any = DoFn.RestrictionParam(),
        estimator: Any = DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValues[Any]]:
        """Reads on from the restriction's start."""
        restriction = tracker.current_restriction()
        cursor = self._cursor(element)
        cursor.seek(restriction.start)
        claimed = restriction.start
        stop = self._stop(cursor, restriction)
        while (piece := cursor.peek(self._size, stop)) is not None and piece.elements:
            if not tracker.try_claim(piece.next_offset - 1):
                # Split meanwhile. What lies before the split is still ours, and it cannot be split again.
                yield from self._rest(cursor, tracker.current_restriction().stop, element, estimator)
                return
            claimed = piece.next_offset
            yield from self._give(cursor, piece, element, estimator)
        stop = min(stop, tracker.current_restriction().stop)
        cursor.note_lag()
        if piece is not None or max(cursor.position, claimed) >= stop:
            tracker.try_claim(restriction.stop)  # all that is left is void
            return
        if cursor.position > claimed:
            tracker.try_claim(cursor.position - 1)  # void as well
        tracker.defer_remainder(Duration(micros=_poll_micros(cursor.idle_polls)))

    def _rest(
        self, cursor: PartitionCursor, stop: float, element: LogPartition, estimator: RecordTimes
    ) -> Iterator[TimestampedValues[Any]]:
        """What comes before `stop`."""
        while cursor.position < stop:
            piece = cursor.peek(self._size, stop)
            if piece is None or not piece.elements:
                return
            yield from self._give(cursor, piece, element, estimator)

    def _give(
        self, cursor: PartitionCursor, piece: Piece, element: LogPartition, estimator: RecordTimes
    ) -> Iterator[TimestampedValues[Any]]:
        """Gives a piece, and sees how long the steps behind take for it."""
        cursor.take(piece)
        stamped = self._stamped(piece, estimator)
        self._giving = (element, piece.offsets, stamped.micros)
        began = time.perf_counter()
        yield stamped
        self._adapt(time.perf_counter() - began, len(piece.elements))
        self._giving = None

    def hornbeam_waits_on(self, element: LogPartition, restriction: OffsetRange) -> int:
        """When what was deferred is due, the engine asks for how many microseconds it can wait on; 0: it may go on."""
        cursor = self._cursors.get((element.topic, element.partition))
        if cursor is None or cursor.position != restriction.start or cursor.idle_polls % _POLLS_A_TURN == 0:
            return 0
        try:
            if not cursor.is_at_end() or restriction.start >= self._stop(cursor, restriction):
                return 0
        except (StorageError, LogError):
            return 0  # the turn says so, with its step
        cursor.idle_polls += 1
        return _poll_micros(cursor.idle_polls)

    def teardown(self) -> None:
        """Closes what was read from."""
        for cursor in self._cursors.values():
            cursor.close()
        self._cursors = {}
        super().teardown()

    def locate_failure(self, micros: int | None) -> str | None:
        """Where a step behind has failed, at an element of that time if it is known; the engine asks."""
        if self._giving is None:
            return None
        part, offsets, times = self._giving
        same = offsets[times == micros] if micros is not None else offsets[:0]
        first, last = (same[0], same[-1]) if len(same) else (offsets[0], offsets[-1])
        shown = f"offset {first}" if first == last else f"offsets {first} to {last}"
        return f"{shown} of {part.topic}-{part.partition}"

    def initial_restriction(self, element: LogPartition) -> OffsetRange:
        """The offsets to read; without end where records are read for ever or for a time."""
        if element.stop is None:
            return OffsetRange(element.start, float("inf"))
        return OffsetRange(element.start, max(element.start, element.stop))

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """A tracker of offsets."""
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: LogPartition, restriction: OffsetRange) -> float:
        """How many offsets there are to read now."""
        partition = self.log.partition(element.topic, element.partition)
        start = max(restriction.start, partition.log_start_offset)
        return max(0.0, min(restriction.stop, partition.last_stable_offset) - start)

    def initial_estimator_state(self, element: Any, restriction: Any) -> int | None:
        """No record was seen yet."""
        return None

    def create_watermark_estimator(self, estimator_state: int | None) -> RecordTimes:
        """One that goes by the latest record time."""
        return RecordTimes(estimator_state, self.spec.out_of_orderness_micros)

    def _cursor(self, element: LogPartition) -> PartitionCursor:
        spec, place = self.spec, (element.topic, element.partition)
        found = self._cursors.get(place)
        if found is None:
            check_topic(self.log, element)
            found = self._cursors[place] = PartitionCursor(
                self.log, *place, spec.isolation, spec.decode, spec.with_metadata, spec.skip_lost
            )
        return found

    def _stop(self, cursor: PartitionCursor, restriction: OffsetRange) -> float:
        return restriction.stop

    def _stamped(self, piece: Piece, estimator: RecordTimes) -> TimestampedValues[Any]:
        micros, stamp = piece.micros, self.spec.timestamp_fn
        if stamp is not None:
            micros = np.array([micros_of(stamp(element)) for element in piece.elements], dtype=np.int64)
        estimator.observe(int(micros.max()))
        return TimestampedValues(piece.elements, micros)

    def _adapt(self, seconds: float, count: int) -> None:
        """Larger pieces while they go quickly, smaller ones when the steps behind are slow."""
        if seconds > 2 * _PIECE_SECONDS:
            self._size = max(_PIECE_MIN, self._size // 2)
        elif seconds < _PIECE_SECONDS / 2 and count >= self._size:
            self._size = min(_PIECE_MAX, self._size * 2)


class ReadPartitionForEver(ReadPartition):
    """As ReadPartition, for partitions without a stop: new records are waited for as long as the pipeline runs."""

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: LogPartition,
        tracker: Any = DoFn.RestrictionParam(),
        estimator: Any = DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValues[Any]]:
        """Reads on from the restriction's start."""
        return super().process(element, tracker, estimator)


class ReadPartitionForAWhile(ReadPartition):
    """As ReadPartition, until some time after the start; then to the end as it is by then."""

    def __init__(self, spec: LogReadSpec) -> None:
        super().__init__(spec)
        self._deadline = 0.0
        self._ends: dict[tuple[str, int], int] = {}

    def setup(self) -> None:
        """The time begins."""
        assert self.spec.max_read_seconds is not None
        self._deadline = time.monotonic() + self.spec.max_read_seconds

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """A tracker of offsets without end, of which the last is claimed when time is up."""
        return _BoundedInTime(restriction)

    def _stop(self, cursor: PartitionCursor, restriction: OffsetRange) -> float:
        if time.monotonic() < self._deadline:
            return restriction.stop
        place = cursor.topic, cursor.partition
        return self._ends.setdefault(place, cursor.end())


class RecordTimes(WatermarkEstimator):
    """The watermark of a partition: the latest record time less what records may be out of order; None before the first."""

    def __init__(self, latest: int | None, out_of_orderness_micros: int) -> None:
        self._latest = latest
        self._out_of_orderness = out_of_orderness_micros

    def observe(self, micros: int) -> None:
        """Records up to that time came."""
        if self._latest is None or micros > self._latest:
            self._latest = micros

    @does_nothing
    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Nothing: whole columns are observed at once."""

    def current_watermark(self) -> Timestamp | None:
        """How far the partition has come."""
        if self._latest is None:
            return None
        return timestamp_at(max(MIN_TIMESTAMP.micros, self._latest - self._out_of_orderness))

    def get_estimator_state(self) -> int | None:
        """The latest record time, in microseconds."""
        return self._latest


class _Release(WatermarkEstimator):
    """Knows no time, so that the element's holds; once released it holds nothing back."""

    def __init__(self, is_released: bool | None) -> None:
        self._is_released = is_released

    def release(self) -> None:
        """From now on the watermark is at the end of time."""
        self._is_released = True

    @does_nothing
    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Nothing to note."""

    def current_watermark(self) -> Timestamp | None:
        """The end of time, or None."""
        return MAX_TIMESTAMP if self._is_released else None

    def get_estimator_state(self) -> bool | None:
        """Whether it is released."""
        return self._is_released


class _BoundedInTime(OffsetRestrictionTracker):
    """Offsets without end that are over at some time all the same."""

    def is_bounded(self) -> bool:
        """True."""
        return True


def _poll_micros(idle_polls: int) -> int:
    return min(_POLL_MICROS_MIN << min(idle_polls, 10), _POLL_MICROS_MAX)
