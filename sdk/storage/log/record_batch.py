"""A record batch: the unit of writing, checksumming and compression. FORMAT.md gives the bytes.

`encode` turns columns into an EncodedBatch, outside of any lock; `EncodedBatch.header` stamps it with what is
only known inside (base offset, producer sequence). `RecordBatch` is the decoded view over the bytes that were
read: nothing is copied until a column is asked for.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any, NamedTuple

import attrs
import numpy as np

from hornbeam.storage.errors import CorruptionError
from hornbeam.storage.files import Buffer
from hornbeam.storage.log.compression import compress, decompress
from hornbeam.storage.log.errors import FormatVersionError, RecordTooLargeError
from hornbeam.storage.log.record import Headers, Record, decode_headers, encode_headers, make_record

MAGIC = b"HBRB"
VERSION = 1
HEADER = struct.Struct("<4sBBHIIqIIqqqqqiIII")
HEADER_BYTES = HEADER.size
_UNSEALED = struct.Struct("<4sBBHIIqIIqqqqqiII")
_CRC = struct.Struct("<I")

TRANSACTIONAL = 1
CONTROL = 2
HAS_KEYS = 4
KEY_NULLS = 8
VALUE_NULLS = 16
HAS_HEADERS = 32
TIMES_32 = 64
TIMES_64 = 128
SPARSE = 256

NO_PRODUCER = -1
_PADDING = tuple(bytes(n) for n in range(8))
_SMALL = 48
_INT32_MAX = (1 << 31) - 1


class BatchHeader(NamedTuple):
    """The fixed head of a batch. `bytes` counts the whole batch with its padding."""

    magic: bytes
    version: int
    codec: int
    flags: int
    bytes: int
    body_crc: int
    base_offset: int
    last_offset_delta: int
    record_count: int
    base_timestamp: int
    max_timestamp: int
    append_time: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    body_bytes: int
    raw_body_bytes: int
    header_crc: int

    @property
    def last_offset(self) -> int:
        """Offset of the last record (that the batch was written with)."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The offset after the batch."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction (control batches too)."""
        return bool(self.flags & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it holds a transaction's end marker instead of records."""
        return bool(self.flags & CONTROL)


def read_header(data: Buffer, at: int, path: str, position: int) -> BatchHeader:
    """Unpack and check the header at data[at:], which lies at `position` of the file `path`."""
    if len(data) - at < HEADER_BYTES:
        raise CorruptionError(path, position, f"file ends inside a batch header ({len(data) - at} bytes)")
    header = BatchHeader._make(HEADER.unpack_from(data, at))
    if header.magic != MAGIC:
        raise CorruptionError(path, position, f"no batch here: found {header.magic!r} instead of {MAGIC!r}")
    if zlib.crc32(memoryview(data)[at : at + HEADER_BYTES - 4]) != header.header_crc:
        raise CorruptionError(path, position, "checksum of the batch header does not match")
    if header.version != VERSION:
        raise FormatVersionError(
            f"{path} at byte {position}: batch format {header.version}; this reads {VERSION}"
        )
    return header


@attrs.frozen
class EncodedBatch:
    """Columns in their byte form, ready to be stamped and written."""

    flags: int
    codec: int
    count: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    body_crc: int
    body_bytes: int
    raw_body_bytes: int
    buffers: list[Buffer]

    @property
    def bytes(self) -> int:
        """Size in the file."""
        return HEADER_BYTES + self.body_bytes + (-self.body_bytes & 7)

    def stamped(
        self,
        base_offset: int,
        append_time: int,
        producer_id: int = NO_PRODUCER,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        extra_flags: int = 0,
    ) -> list[Buffer]:
        """The batch's buffers, header first."""
        head = _UNSEALED.pack(
            MAGIC, VERSION, self.codec, self.flags | extra_flags, self.bytes, self.body_crc, base_offset,
            self.last_offset_delta, self.count, self.base_timestamp, self.max_timestamp, append_time,
            producer_id, producer_epoch, base_sequence, self.body_bytes, self.raw_body_bytes,
        )  # fmt: skip
        return [head + _CRC.pack(zlib.crc32(head)), *self.buffers]


def encode(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    timestamps: int | Sequence[int] = 0,
    headers: Sequence[Headers | None] | None = None,
    codec: int = 0,
    flags: int = 0,
    offset_deltas: Any = None,
    last_offset_delta: int | None = None,
) -> EncodedBatch:
    """Encode columns of equal length. `timestamps` is one for all, or one each, in microseconds.

    `offset_deltas` (compaction) names the offsets that are left of an older batch.
    """
    count = len(values)
    if keys is not None and len(keys) != count:
        raise ValueError(f"{len(keys)} keys for {count} values")
    parts: list[Buffer] = []
    base_timestamp, max_timestamp, time_flag = _put_timestamps(parts, timestamps, count)
    flags |= time_flag
    if offset_deltas is not None:
        flags |= SPARSE
        _put(parts, np.asarray(offset_deltas, dtype="<i4").tobytes())
    if keys is not None and (count == 0 or keys.count(None) < count):
        flags |= HAS_KEYS | _put_blobs(parts, keys, KEY_NULLS, "keys")
    flags |= _put_blobs(parts, values, VALUE_NULLS, "values")
    if headers is not None and any(headers):
        flags |= HAS_HEADERS
        _put_blobs(parts, [encode_headers(h) for h in headers], 0, "headers")
    raw_bytes = sum(map(len, parts))
    if raw_bytes > _INT32_MAX:
        raise RecordTooLargeError(f"a batch of {raw_bytes} bytes passes the format's limit of 2 GiB")
    body_bytes = raw_bytes
    if codec and raw_bytes >= 64:
        packed = compress(codec, b"".join(parts))
        if len(packed) < raw_bytes:
            parts, body_bytes = [packed, _PADDING[-len(packed) & 7]], len(packed)
        else:
            codec = 0
    else:
        codec = 0
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    if last_offset_delta is None:
        last_offset_delta = max(count - 1, 0)
    return EncodedBatch(
        flags,
        codec,
        count,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        crc,
        body_bytes,
        raw_bytes,
        parts,
    )


def _put(parts: list[Buffer], data: Buffer) -> None:
    parts.append(data)
    if len(data) & 7:
        parts.append(_PADDING[-len(data) & 7])


def _put_timestamps(parts: list[Buffer], timestamps: Any, count: int) -> tuple[int, int, int]:
    if isinstance(timestamps, int) or count == 0:
        base = timestamps if isinstance(timestamps, int) else 0
        return base, base, 0
    if len(timestamps) != count:
        raise ValueError(f"{len(timestamps)} timestamps for {count} values")
    if count == 1:
        return int(timestamps[0]), int(timestamps[0]), 0
    times = np.asarray(timestamps, dtype=np.int64)
    base, low, high = int(times[0]), int(times.min()), int(times.max())
    if low == high:
        return base, high, 0
    if low - base >= -_INT32_MAX and high - base <= _INT32_MAX:
        _put(parts, (times - base).astype("<i4").tobytes())
        return base, high, TIMES_32
    _put(parts, times.astype("<i8").tobytes())
    return base, high, TIMES_64


def _put_blobs(parts: list[Buffer], blobs: Sequence[bytes | None], null_flag: int, what: str) -> int:
    """A column in Arrow's layout: bit map (only with nulls; bit set: present), int32 offsets, bytes."""
    flag = 0
    try:
        data = b"".join(blobs)  # type: ignore[arg-type]
    except TypeError:
        present = [blob is not None for blob in blobs]
        for blob in blobs:
            if blob is not None and not isinstance(blob, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"{what} must be bytes or None, not {type(blob).__name__}: {blob!r:.80}"
                ) from None
        if not null_flag or all(present):
            raise
        flag = null_flag
        _put(parts, np.packbits(present, bitorder="little").tobytes())
        blobs = [b"" if blob is None else blob for blob in blobs]
        data = b"".join(blobs)  # type: ignore[arg-type]
    if len(data) > _INT32_MAX:
        raise RecordTooLargeError(f"{what} of {len(data)} bytes in one batch; the format's limit is 2 GiB")
    if len(blobs) <= _SMALL:
        _put(parts, array("i", accumulate(map(len, blobs), initial=0)).tobytes())  # type: ignore[arg-type]
    else:
        ends = np.zeros(len(blobs) + 1, dtype="<i4")
        np.cumsum(np.fromiter(map(len, blobs), np.int32, len(blobs)), out=ends[1:])  # type: ignore[arg-type]
        _put(parts, ends.tobytes())
    _put(parts, data)
    return flag


@attrs.frozen
class BlobColumn:
    """A column of byte strings in Arrow's layout: `data[offsets[i]:offsets[i+1]]`, null where the bit is 0."""

    offsets: Any
    data: memoryview
    valid: memoryview | None

    def to_list(self, start: int = 0) -> list[bytes | None]:
        """The blobs from `start` on as Python objects."""
        ends = self.offsets[start:].tolist()
        data = bytes(self.data)
        blobs: list[bytes | None] = [data[a:b] for a, b in pairwise(ends)]
        if self.valid is not None:
            present = np.unpackbits(np.frombuffer(self.valid, np.uint8), bitorder="little")[start:]
            blobs = [blob if there else None for blob, there in zip(blobs, present.tolist())]
        return blobs

    def to_arrow(self, count: int) -> Any:
        """A pyarrow binary array over the same memory."""
        import pyarrow

        valid = None if self.valid is None else pyarrow.py_buffer(self.valid)
        buffers = [valid, pyarrow.py_buffer(self.offsets), pyarrow.py_buffer(self.data)]
        return pyarrow.BinaryArray.from_buffers(pyarrow.binary(), count, buffers)


class RecordBatch:
    """A batch that was read and whose checksums hold. `start` records at its front are skipped (after a seek)."""

    __slots__ = ("_columns", "_raw", "header", "partition", "path", "position", "start", "topic")

    def __init__(self, header: BatchHeader, stored: memoryview, path: str, position: int) -> None:
        if zlib.crc32(stored) != header.body_crc:
            raise CorruptionError(path, position, "checksum of the batch body does not match")
        self.header = header
        self.path = path
        self.position = position
        self.topic = ""
        self.partition = -1
        self.start = 0
        self._raw = stored
        self._columns: tuple[Any, Any, BlobColumn | None, BlobColumn, BlobColumn | None] | None = None

    def __len__(self) -> int:
        return self.header.record_count - self.start

    def __repr__(self) -> str:
        return f"<RecordBatch {self.topic}-{self.partition} offsets {self.base_offset} to {self.last_offset}>"

    @property
    def base_offset(self) -> int:
        """Offset of the first record of the batch as written (records may be skipped or compacted away)."""
        return self.header.base_offset

    @property
    def last_offset(self) -> int:
        """Offset of the last record of the batch as written."""
        return self.header.last_offset

    @property
    def next_offset(self) -> int:
        """Where reading goes on after this batch."""
        return self.header.next_offset

    def offsets(self) -> Any:
        """Offsets as an int64 array."""
        deltas = self._decoded()[1]
        if deltas is None:
            return np.arange(
                self.base_offset + self.start, self.base_offset + self.header.record_count, dtype=np.int64
            )
        return deltas[self.start :].astype(np.int64) + self.base_offset

    def timestamps(self) -> Any:
        """Record times in microseconds as an int64 array."""
        times = self._decoded()[0]
        if times is None:
            return np.full(len(self), self.header.base_timestamp, dtype=np.int64)
        return times[self.start :]

    def keys(self) -> list[bytes | None]:
        """Keys as Python objects."""
        column = self._decoded()[2]
        return [None] * len(self) if column is None else column.to_list(self.start)

    def values(self) -> list[bytes | None]:
        """Values as Python objects."""
        return self._decoded()[3].to_list(self.start)

    def headers(self) -> list[Headers]:
        """Headers of each record."""
        column = self._decoded()[4]
        if column is None:
            return [()] * len(self)
        return [decode_headers(data or b"") for data in column.to_list(self.start)]

    def value_column(self) -> BlobColumn:
        """Values without making Python objects."""
        return self._decoded()[3]

    def key_column(self) -> BlobColumn | None:
        """Keys without making Python objects; None when no record has one."""
        return self._decoded()[2]

    def records(self) -> list[Record]:
        """All records, in order."""
        times, deltas, _, values, headers = self._decoded()
        start, base = self.start, self.base_offset
        numbers: Any = (
            range(base + start, base + self.header.record_count)
            if deltas is None
            else self.offsets().tolist()
        )
        when: Any = repeat(self.header.base_timestamp) if times is None else times[start:].tolist()
        keys: Any = repeat(None) if self._decoded()[2] is None else self.keys()
        heads: Any = repeat(()) if headers is None else self.headers()
        return list(
            map(
                make_record,
                zip(
                    repeat(self.topic),
                    repeat(self.partition),
                    numbers,
                    when,
                    keys,
                    values.to_list(start),
                    heads,
                ),
            )
        )

    def to_arrow(self) -> Any:
        """A pyarrow RecordBatch (offset, timestamp, key, value) over the bytes as read, without a copy."""
        import pyarrow

        key_column = self._decoded()[2]
        count = self.header.record_count
        times = np.full(count, self.header.base_timestamp) if (t := self._decoded()[0]) is None else t
        deltas = self._decoded()[1]
        numbers = np.arange(count, dtype=np.int64) if deltas is None else deltas.astype(np.int64)
        arrays = [
            pyarrow.array(numbers + self.base_offset),
            pyarrow.array(times, type=pyarrow.int64()).cast(pyarrow.timestamp("us")),
            pyarrow.nulls(count, pyarrow.binary()) if key_column is None else key_column.to_arrow(count),
            self._decoded()[3].to_arrow(count),
        ]
        table = pyarrow.RecordBatch.from_arrays(arrays, names=["offset", "timestamp", "key", "value"])
        return table.slice(self.start) if self.start else table

    def skip_to(self, offset: int) -> None:
        """Drop the records before `offset`."""
        deltas = self._decoded()[1] if self.header.flags & SPARSE else None
        wanted = offset - self.base_offset
        if deltas is None:
            self.start = max(self.start, min(wanted, self.header.record_count))
        else:
            self.start = max(self.start, int(np.searchsorted(deltas, wanted)))

    def _decoded(self) -> tuple[Any, Any, BlobColumn | None, BlobColumn, BlobColumn | None]:
        if self._columns is None:
            try:
                self._columns = _decode_columns(self.header, self._raw)
            except (ValueError, OSError, struct.error) as error:
                raise CorruptionError(
                    self.path, self.position, f"batch body cannot be decoded: {error}"
                ) from error
        return self._columns


class _Body:
    """Cuts sections off a body, each padded to eight bytes."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> memoryview:
        section = self.data[self.at : self.at + size]
        if len(section) != size:
            raise ValueError(f"section of {size} bytes at {self.at} passes the body's end ({len(self.data)})")
        self.at += size + (-size & 7)
        return section

    def blobs(self, count: int, nulls: bool) -> BlobColumn:
        valid = self.take((count + 7) // 8) if nulls else None
        offsets = np.frombuffer(self.take(4 * (count + 1)), dtype="<i4")
        return BlobColumn(offsets, self.take(int(offsets[-1])), valid)


def _decode_columns(
    header: BatchHeader, stored: memoryview
) -> tuple[Any, Any, BlobColumn | None, BlobColumn, BlobColumn | None]:
    flags, count = header.flags, header.record_count
    raw = (
        decompress(header.codec, stored[: header.body_bytes], header.raw_body_bytes)
        if header.codec
        else stored
    )
    body = _Body(raw)
    times = deltas = None
    if flags & TIMES_32:
        times = np.frombuffer(body.take(4 * count), dtype="<i4").astype(np.int64) + header.base_timestamp
    elif flags & TIMES_64:
        times = np.frombuffer(body.take(8 * count), dtype="<i8")
    if flags & SPARSE:
        deltas = np.frombuffer(body.take(4 * count), dtype="<i4")
    keys = body.blobs(count, bool(flags & KEY_NULLS)) if flags & HAS_KEYS else None
    values = body.blobs(count, bool(flags & VALUE_NULLS))
    headers = body.blobs(count, False) if flags & HAS_HEADERS else None
    return times, deltas, keys, values, headers
