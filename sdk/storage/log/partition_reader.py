"""Reading a partition from an offset on: a cursor over the segments, without locks.

The words tell how far one may read; a segment list that changes meanwhile (roll, compaction, retention) changes
GENERATION, and the cursor then looks its place up again.
"""

from __future__ import annotations

from hornbeam.storage.errors import CorruptionError, MissingFileError
from hornbeam.storage.files import Handle
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.errors import OffsetOutOfRangeError, UnsettledError
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.record_batch import HEADER_BYTES, BatchHeader, RecordBatch, read_header
from hornbeam.storage.log.segment import (
    SEGMENT_HEAD_BYTES,
    check_order,
    read_batch,
    scan_headers,
    segment_path,
)

FETCH_BYTES = 1 << 20
_TRIES = 50


class PartitionReader:
    """A cursor. `offset` is the next record to read; assign to it through `seek`. One thread at a time."""

    def __init__(self, partition: Partition, offset: int, committed: bool = True) -> None:
        self.partition = partition
        self.offset = offset
        self.committed = committed
        self._generation = -1
        self._base = 0
        self._position = 0
        self._batch_offset = 0

    def seek(self, offset: int) -> None:
        """Go on reading at `offset`."""
        self.offset = offset
        self._generation = -1

    def limit(self) -> int:
        """The offset up to which this cursor may read now."""
        return self.partition.last_stable_offset if self.committed else self.partition.high_watermark

    def read(self, max_bytes: int = FETCH_BYTES) -> list[RecordBatch]:
        """The next batches of about `max_bytes` (one at least, if there is any). Empty at the end, or when all that
        was passed over was void; then `offset` has moved."""
        limit = self.limit()
        if not self.partition.log_start_offset <= self.offset <= limit:
            self._check_range(limit)
        if self.offset >= limit:
            return []
        for _ in range(_TRIES):
            try:
                if not self._place():
                    continue
                generation, offset = self._generation, self.offset
                found = self._read_segment(limit, max_bytes)
            except UnsettledError:
                self.partition.ensure_open()
                continue
            except (CorruptionError, MissingFileError):
                if self.partition.words[words_of.GENERATION] != self._generation:
                    continue
                self._generation = -1
                self._check_range(limit)
                raise
            if self.partition.words[words_of.GENERATION] != generation:
                self.seek(offset)
                continue
            if found is not None:
                return found
        raise CorruptionError(
            segment_path(self.partition.directory, self._base),
            self._position,
            "the segment list does not settle",
        )

    def _check_range(self, limit: int) -> None:
        partition = self.partition
        start, end = partition.log_start_offset, partition.end_offset
        if not start <= self.offset <= max(limit, end):
            raise OffsetOutOfRangeError(partition.topic, partition.number, self.offset, start, end)

    def _place(self) -> bool:
        """Make sure that segment and position are those of `offset`; false if the list is changing."""
        partition = self.partition
        if self._generation == partition.words[words_of.GENERATION]:
            return True
        with partition.view_lock:
            view = partition.refreshed_view()
            self._generation = view.generation
            if not view.bases:
                return False
            self._base = view.base_of(self.offset)
            self._batch_offset, self._position = view.segment_index(self._base).position_of(self.offset)
        return True

    def _read_segment(self, limit: int, max_bytes: int) -> list[RecordBatch] | None:
        """Batches from the cursor's segment; None when it has none left (the cursor is at the next one then)."""
        partition = self.partition
        with partition.view_lock:
            view = partition.refreshed_view()
            following = view.following(self._base)
            handle = view.handle(self._base)
        stop = limit if following is None else min(limit, following)
        found: list[RecordBatch] = []
        data = memoryview(handle.pread(max(max_bytes, HEADER_BYTES), self._position))
        at, moved = 0, False
        while self._batch_offset < stop and len(data) - at >= HEADER_BYTES:
            header = read_header(data, at, handle.path, self._position)
            check_order(header, self._batch_offset, handle.path, self._position)
            if header.base_offset >= stop:
                self._batch_offset = stop
                break
            if at + header.bytes > len(data):
                if moved:
                    break
                batch: RecordBatch | None = read_batch(handle, self._position)
                at = len(data)
            else:
                batch_body = data[at + HEADER_BYTES : at + header.bytes]
                at += header.bytes
                batch = (
                    None
                    if header.next_offset <= self.offset
                    else RecordBatch(header, batch_body, handle.path, self._position)
                )
            if header.next_offset > self.offset:
                assert batch is not None
                self._deliver(batch, found)
                self.offset = header.next_offset
            self._position += header.bytes
            self._batch_offset = header.next_offset
            moved = True
        if moved:
            return found
        return self._leave_segment(handle, following, limit, stop)

    def _leave_segment(
        self, handle: Handle, following: int | None, limit: int, stop: int
    ) -> list[RecordBatch] | None:
        if following is None:
            if self._batch_offset >= limit:
                self.offset = max(self.offset, limit)
                return []
            if handle.size() > self._position:
                read_batch(handle, self._position)
            raise CorruptionError(
                handle.path, self._position, f"the file ends at offset {self._batch_offset}, expected {limit}"
            )
        with self.partition.view_lock:
            index = self.partition.refreshed_view().segment_index(self._base)
        if self._batch_offset < stop and self._position < index.position:
            read_batch(handle, self._position)
            raise CorruptionError(handle.path, self._position, f"the segment is cut before offset {stop}")
        if following >= limit:
            self.offset = max(self.offset, limit)
            return []
        self._base, self._position, self._batch_offset = following, SEGMENT_HEAD_BYTES, following
        self.offset = max(self.offset, following)
        return None

    def _deliver(self, batch: RecordBatch, found: list[RecordBatch]) -> None:
        header = batch.header
        if header.is_control or header.record_count == 0:
            return
        if self.committed and header.is_transactional and self._is_aborted(header):
            return
        batch.topic = self.partition.topic
        batch.partition = self.partition.number
        if header.base_offset < self.offset:
            batch.skip_to(self.offset)
        if len(batch):
            found.append(batch)

    def _is_aborted(self, header: BatchHeader) -> bool:
        partition = self.partition
        with partition.view_lock:
            view = partition.refreshed_view()
            view.catch_up(partition.words[words_of.END_OFFSET])
            return view.is_aborted(header.producer_id, header.base_offset, self._base)


def offset_for_time(partition: Partition, timestamp: int) -> int | None:
    """Offset of the first record whose timestamp is at or after `timestamp` (microseconds); None if there is none."""
    end = partition.high_watermark
    start = partition.log_start_offset
    with partition.view_lock:
        view = partition.refreshed_view()
        view.catch_up(partition.words[words_of.END_OFFSET])
        for base in view.bases:
            index = view.segment_index(base)
            if index.max_timestamp < timestamp or index.next_offset <= start:
                continue
            following = view.following(base)
            offset, position = index.position_of_time(timestamp)
            handle = view.handle(base)
            for at, header in scan_headers(handle, position, offset, end if following is None else following):
                if header.is_control or header.max_timestamp < timestamp or header.next_offset <= start:
                    continue
                batch = read_batch(handle, at)
                times, offsets = batch.timestamps(), batch.offsets()
                for when, number in zip(times.tolist(), offsets.tolist()):
                    if when >= timestamp and number >= start:
                        return int(number)
    return None
