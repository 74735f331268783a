"""Where the reading of a partition is: batches that were fetched, cut into pieces of a size that suits the steps behind."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from hornbeam.error import DataError
from hornbeam.io.log_partition import LogPartition
from hornbeam.metrics.metric import Metrics
from hornbeam.storage.log import Consumer, Log, OffsetOutOfRangeError, RecordBatch
from hornbeam.storage.log.record import make_record

_log = logging.getLogger(__name__)

#: About how much is fetched at a time.
FETCH_BYTES = 1 << 20


class LostRecordsError(DataError):
    """Records that were still to be read are gone from the log: retention has removed them."""


def check_topic(log: Log, part: LogPartition) -> None:
    """LostRecordsError if the topic is another one than the partition was of, whose offsets mean nothing in it."""
    if part.uid and part.uid != log.topic(part.topic).description.uid:
        raise LostRecordsError(
            f"the topic {part.topic!r} was deleted and made anew since its reading began: what was not read of the old one "
            "is gone, and how far it was read says nothing about the new one. Start the job over with --fresh."
        )


@attrs.define
class Piece:
    """Some records in a row: what the step gives for them, their times and offsets, and up to where they reach."""

    elements: list[Any]
    micros: Any
    offsets: Any
    next_offset: int


class _OpenBatch:
    """A batch with its columns decoded once; `taken` of its records were given already."""

    __slots__ = ("batch", "micros", "offsets", "rows", "taken")

    def __init__(self, batch: RecordBatch, with_metadata: bool) -> None:
        self.batch = batch
        self.rows: list[Any] = batch.records() if with_metadata else batch.values()
        self.offsets = batch.offsets()
        self.micros = batch.timestamps()
        self.taken = 0


class PartitionCursor:
    """Reads one partition in order. `decode` makes a value of its bytes; a value of None (a tombstone) stays None."""

    def __init__(
        self,
        log: Log,
        topic: str,
        partition: int,
        isolation: str = "read_committed",
        decode: Callable[[bytes], Any] | None = None,
        with_metadata: bool = False,
        skip_lost: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        #: Polls in a row that gave nothing.
        self.idle_polls = 0
        self._decode = decode
        self._with_metadata = with_metadata
        self._skip_lost = skip_lost
        self._consumer = Consumer(log, isolation=isolation, auto_offset_reset="error")
        self._consumer.assign([(topic, partition)])
        self._partition = log.partition(topic, partition)
        self._fetched: deque[RecordBatch] = deque()
        self._open: _OpenBatch | None = None
        self._peeked: Piece | None = None
        self._position = -1
        self._lag = Metrics.gauge("hornbeam.log", f"lag {topic}-{partition}")
        self._lost = Metrics.counter("hornbeam.log", "records_lost")

    @property
    def position(self) -> int:
        """The offset of the next record that `peek` may give; all before it were given or are void."""
        return self._position

    def seek(self, offset: int) -> None:
        """Goes on at `offset`; costs nothing where it is already."""
        if offset != self._position:
            self._fetched.clear()
            self._open = self._peeked = None
            self._consumer.seek(self.topic, self.partition, offset)
            self._position = offset

    def end(self) -> int:
        """The offset behind the last record that may be read now."""
        here = self._consumer.position(self.topic, self.partition)
        return here + self._consumer.lag()[self.topic, self.partition]

    def peek(self, size: int, stop: float) -> Piece | None:
        """The next records, at most `size`, all of them before offset `stop`; None when there are none now.

        The piece comes again until `take` is told that it was used.
        """
        batch = self._open or self._next_batch()
        if batch is None:
            return None
        first = batch.taken
        if self._peeked is not None and self._peeked.next_offset <= stop:
            return self._peeked  # a turn ended before it was used: it is decoded once
        last = min(first + size, len(batch.rows))
        if batch.batch.last_offset >= stop:
            last = min(last, int(np.searchsorted(batch.offsets, stop)))
        is_all = last == len(batch.rows)
        following = batch.batch.next_offset if is_all else int(batch.offsets[last])
        rows = batch.rows if is_all and not first else batch.rows[first:last]
        elements = rows if self._decode is None else self._decoded(rows, batch.offsets[first:last])
        self._peeked = Piece(
            elements, batch.micros[first:last], batch.offsets[first:last], int(min(following, stop))
        )
        return self._peeked

    def take(self, piece: Piece) -> None:
        """The piece that came last is used."""
        assert self._open is not None
        self._peeked = None
        self._open.taken += len(piece.elements)
        self._position = piece.next_offset
        if self._open.taken == len(self._open.rows):
            self._open = None

    def is_at_end(self) -> bool:
        """Whether there is certainly nothing behind the position, void or not; quicker than to `peek`."""
        return not self._fetched and self._open is None and self._partition.high_watermark <= self._position

    def note_lag(self) -> None:
        """Reports how many offsets are still to be read."""
        self._lag.set(max(0, self.end() - self._position))

    def close(self) -> None:
        """Reads no more."""
        self._consumer.close()

    def _next_batch(self) -> _OpenBatch | None:
        if not self._fetched:
            self._fetched.extend(self._fetch())
        if not self._fetched:
            self.idle_polls += 1
            # What was passed over is void: records of aborted transactions, and markers.
            self._position = max(self._position, self._consumer.position(self.topic, self.partition))
            return None
        self.idle_polls = 0
        self._open = _OpenBatch(self._fetched.popleft(), self._with_metadata)
        return self._open

    def _fetch(self) -> list[RecordBatch]:
        try:
            return self._consumer.poll_batches(0.0, FETCH_BYTES)
        except OffsetOutOfRangeError as error:
            self._move_to_start(error)
            return self._consumer.poll_batches(0.0, FETCH_BYTES)

    def _move_to_start(self, error: OffsetOutOfRangeError) -> None:
        """What comes next was removed by retention: nobody's loss at the very beginning, else as `skip_lost` says."""
        if error.offset > error.end:
            raise LostRecordsError(
                f"{self.topic}-{self.partition} is to be read from offset {error.offset}, but ends at {error.end}. Was "
                "the topic deleted and made anew, or the log replaced by an older copy?"
            ) from error
        lost = error.start - error.offset
        if error.offset > 0:
            if not self._skip_lost:
                raise LostRecordsError(
                    f"{self.topic}-{self.partition} is read up to offset {error.offset}, but the log begins at "
                    f"{error.start} now: retention has removed {lost} offsets before they were read. Keep records for "
                    "longer (retention_ms, retention_bytes), or read with on_lost='skip' to go on without them."
                ) from error
            self._lost.inc(lost)
            _log.warning(
                "%s-%s: %s offsets were removed before they were read", self.topic, self.partition, lost
            )
        self.seek(error.start)

    def _decoded(self, rows: list[Any], offsets: Any) -> list[Any]:
        decode = self._decode
        assert decode is not None
        values = [row.value for row in rows] if self._with_metadata else rows
        try:
            if None in values:
                values = [None if value is None else decode(value) for value in values]
            else:
                values = list(map(decode, values))
        except Exception as error:
            offset = offsets[_first_failing(decode, values)]
            error.add_note(
                f"The value at offset {offset} of {self.topic}-{self.partition} cannot be decoded."
            )
            raise
        if not self._with_metadata:
            return values
        return [make_record((*row[:5], value, row[6])) for row, value in zip(rows, values)]


def _first_failing(decode: Callable[[bytes], Any], values: list[Any]) -> int:
    for index, value in enumerate(values):
        try:
            if value is not None:
                decode(value)
        except Exception:
            return index
    return 0
