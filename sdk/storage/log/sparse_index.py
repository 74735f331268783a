"""The sparse index of a segment: every `index_interval_bytes` one entry (offset, position, largest timestamp
before it), which finds positions by offset and offsets by time; with what else is known of the segment.

Of a sealed segment it is an immutable file beside it, rebuilt by a scan when it is missing, torn or belongs to an
older form of the segment. Of the active segment it lives in memory and in the partition's snapshot.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_right

import attrs

from hornbeam.storage.errors import CorruptionError
from hornbeam.storage.log.errors import FormatVersionError
from hornbeam.storage.log.producer_state import AbortedTransaction, decode_aborted, encode_aborted
from hornbeam.storage.log.record_batch import BatchHeader
from hornbeam.storage.log.segment import SEGMENT_HEAD_BYTES

INDEX_MAGIC = b"HBLOGIDX"
INDEX_VERSION = 1
NO_TIME = -(1 << 63)
_HEAD = struct.Struct("<8sIIqQQqqqqqI")
_CRC = struct.Struct("<I")


@attrs.define
class SparseIndex:
    """Index and totals of one segment, grown batch by batch."""

    base_offset: int
    uid: int
    interval_bytes: int
    next_offset: int
    position: int = SEGMENT_HEAD_BYTES
    max_timestamp: int = NO_TIME
    first_append_time: int = 0
    last_append_time: int = 0
    records: int = 0
    offsets: array[int] = attrs.Factory(lambda: array("q"))
    positions: array[int] = attrs.Factory(lambda: array("q"))
    times: array[int] = attrs.Factory(lambda: array("q"))

    @classmethod
    def empty(cls, base_offset: int, uid: int, interval_bytes: int) -> SparseIndex:
        """The index of a segment without batches."""
        return cls(base_offset, uid, interval_bytes, base_offset)

    def add(self, position: int, header: BatchHeader) -> None:
        """Take in the batch that follows."""
        if not self.positions or position - self.positions[-1] >= self.interval_bytes:
            self.offsets.append(header.base_offset)
            self.positions.append(position)
            self.times.append(self.max_timestamp)
        if header.record_count and not header.is_control and header.max_timestamp > self.max_timestamp:
            self.max_timestamp = header.max_timestamp
        if self.position == SEGMENT_HEAD_BYTES:
            self.first_append_time = header.append_time
        self.last_append_time = max(self.last_append_time, header.append_time)
        self.records += header.record_count
        self.position = position + header.bytes
        self.next_offset = header.next_offset

    def position_of(self, offset: int) -> tuple[int, int]:
        """(base offset, position) of a batch at or before the one that holds `offset`."""
        at = bisect_right(self.offsets, offset) - 1
        if at < 0:
            return self.base_offset, SEGMENT_HEAD_BYTES
        return self.offsets[at], self.positions[at]

    def position_of_time(self, timestamp: int) -> tuple[int, int]:
        """(base offset, position) before which every record is older than `timestamp`."""
        low, high = 0, len(self.times)
        while low < high:
            middle = (low + high) // 2
            if self.times[middle] < timestamp:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return self.base_offset, SEGMENT_HEAD_BYTES
        return self.offsets[low - 1], self.positions[low - 1]

    def encode(self) -> bytes:
        """Totals and entries as bytes, without checksum (a part of other files)."""
        head = _HEAD.pack(
            INDEX_MAGIC, INDEX_VERSION, self.interval_bytes, self.base_offset, self.uid, self.position,
            self.next_offset, self.max_timestamp, self.first_append_time, self.last_append_time, self.records,
            len(self.offsets),
        )  # fmt: skip
        return head + self.offsets.tobytes() + self.positions.tobytes() + self.times.tobytes()

    @classmethod
    def decode(cls, path: str, data: bytes, at: int) -> tuple[SparseIndex, int]:
        """Inverse of `encode`, from data[at:]; also where it ends."""
        try:
            (
                magic,
                version,
                interval,
                base,
                uid,
                position,
                next_offset,
                newest,
                first,
                last,
                records,
                count,
            ) = _HEAD.unpack_from(data, at)
        except struct.error as error:
            raise CorruptionError(path, at, f"index is cut: {error}") from error
        if magic != INDEX_MAGIC:
            raise CorruptionError(path, at, "not an index")
        if version != INDEX_VERSION:
            raise FormatVersionError(f"{path}: index format {version}; this version reads {INDEX_VERSION}")
        index = cls(base, uid, interval, next_offset, position, newest, first, last, records)
        at += _HEAD.size
        if at + 24 * count > len(data):
            raise CorruptionError(path, at, "index is cut")
        for column in (index.offsets, index.positions, index.times):
            column.frombytes(data[at : at + 8 * count])
            at += 8 * count
        return index, at


def encode_index_file(index: SparseIndex, aborted: list[AbortedTransaction]) -> bytes:
    """The file beside a sealed segment."""
    data = index.encode() + encode_aborted(aborted)
    return data + _CRC.pack(zlib.crc32(data))


def decode_index_file(path: str, data: bytes) -> tuple[SparseIndex, list[AbortedTransaction]]:
    """Inverse of `encode_index_file`; CorruptionError when a byte is not as written."""
    if len(data) < 4 or zlib.crc32(data[:-4]) != _CRC.unpack_from(data, len(data) - 4)[0]:
        raise CorruptionError(path, 0, "checksum of the index does not match")
    index, at = SparseIndex.decode(path, data, 0)
    try:
        aborted, _ = decode_aborted(data, at)
    except struct.error as error:
        raise CorruptionError(path, at, f"index is cut: {error}") from error
    return index, aborted
