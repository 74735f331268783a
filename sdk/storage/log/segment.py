"""A segment file: a 64-byte head, then record batches up to the end of the file.

A segment ends, by offset, where the next one begins: batches at or above the next segment's base offset are
superseded and never read. (That is what makes it safe to copy a doubtful tail into a new segment.)

The head: magic "HBLOGSEG", u32 version, u32 zero, i64 base offset, u64 uid (random; ties an index to the file),
i64 created (microseconds), zeros, u32 CRC-32 of the 60 bytes before.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator

import attrs

from hornbeam.storage.errors import CorruptionError, MissingFileError
from hornbeam.storage.files import Files, Handle
from hornbeam.storage.log.errors import FormatVersionError
from hornbeam.storage.log.record_batch import HEADER_BYTES, MAGIC, BatchHeader, RecordBatch, read_header

SEGMENT_MAGIC = b"HBLOGSEG"
SEGMENT_VERSION = 1
SEGMENT_HEAD_BYTES = 64
SEGMENT_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
_HEAD = struct.Struct("<8sIIqQq20s")
_CRC = struct.Struct("<I")
_WINDOW = 64 * 1024


def segment_path(directory: str, base_offset: int) -> str:
    """The file of the segment that begins at that offset."""
    return os.path.join(directory, f"{base_offset:020d}{SEGMENT_SUFFIX}")


def index_path(directory: str, base_offset: int) -> str:
    """The index beside the segment."""
    return os.path.join(directory, f"{base_offset:020d}{INDEX_SUFFIX}")


def list_segments(files: Files, directory: str) -> list[int]:
    """Base offsets of a partition's segments, ascending; none when there is no directory yet."""
    try:
        names = files.listdir(directory)
    except MissingFileError:
        return []
    return sorted(
        int(name[: -len(SEGMENT_SUFFIX)])
        for name in names
        if name.endswith(SEGMENT_SUFFIX) and name[: -len(SEGMENT_SUFFIX)].isdigit()
    )


@attrs.frozen
class SegmentHead:
    """What a segment's first bytes say."""

    base_offset: int
    uid: int
    created: int

    @classmethod
    def new(cls, base_offset: int, created: int) -> SegmentHead:
        """The head of a segment that is about to be made."""
        return cls(base_offset, int.from_bytes(os.urandom(8), "little"), created)

    def encode(self) -> bytes:
        """Its 64 bytes."""
        head = _HEAD.pack(
            SEGMENT_MAGIC, SEGMENT_VERSION, 0, self.base_offset, self.uid, self.created, bytes(20)
        )
        return head + _CRC.pack(zlib.crc32(head))


def read_segment_head(handle: Handle) -> SegmentHead:
    """Read and check a segment's head against its checksum and its file's name."""
    data = handle.pread(SEGMENT_HEAD_BYTES, 0)
    if len(data) < SEGMENT_HEAD_BYTES:
        raise CorruptionError(handle.path, 0, f"file ends inside the segment head ({len(data)} bytes)")
    magic, version, _, base_offset, uid, created, _ = _HEAD.unpack_from(data)
    if magic != SEGMENT_MAGIC or zlib.crc32(data[:-4]) != _CRC.unpack_from(data, SEGMENT_HEAD_BYTES - 4)[0]:
        raise CorruptionError(handle.path, 0, "not a segment head, or its checksum does not match")
    if version != SEGMENT_VERSION:
        raise FormatVersionError(
            f"{handle.path}: segment format {version}; this version reads {SEGMENT_VERSION}"
        )
    if os.path.basename(handle.path).partition(".")[0] not in (f"{base_offset:020d}", ""):
        raise CorruptionError(
            handle.path, 0, f"the head says base offset {base_offset}, the file's name another"
        )
    return SegmentHead(base_offset, uid, created)


def scan_headers(
    handle: Handle, position: int, next_offset: int, stop_offset: int, end_position: int | None = None
) -> Iterator[tuple[int, BatchHeader]]:
    """Positions and headers of the batches from `position` on, bodies unread, until `stop_offset` is reached (or a
    batch at or above it is met) or the file ends.

    CorruptionError where there is no sound header, the order of offsets breaks or the last batch is cut.
    """
    window, window_at, ahead = b"", 0, _WINDOW
    if end_position is None:
        end_position = handle.size()
    while position < end_position and next_offset < stop_offset:
        if position + HEADER_BYTES > window_at + len(window):
            window_at, window = position, handle.pread(min(ahead, end_position - position), position)
        header = read_header(window, position - window_at, handle.path, position)
        check_order(header, next_offset, handle.path, position)
        if header.base_offset >= stop_offset:
            return
        if position + header.bytes > end_position:
            raise CorruptionError(
                handle.path,
                position,
                f"a batch of {header.bytes} bytes is cut after {end_position - position}",
            )
        yield position, header
        ahead = _WINDOW if header.bytes < _WINDOW // 2 else HEADER_BYTES  # no bodies of large batches
        position += header.bytes
        next_offset = header.next_offset


def check_order(header: BatchHeader, next_offset: int, path: str, position: int) -> None:
    """CorruptionError unless the batch lies at or after `next_offset` and has a possible size."""
    if header.base_offset < next_offset:
        raise CorruptionError(
            path, position, f"batch has base offset {header.base_offset}, expected {next_offset} or more"
        )
    if header.bytes < HEADER_BYTES:
        raise CorruptionError(path, position, f"batch claims a size of {header.bytes} bytes")


def read_batch(handle: Handle, position: int) -> RecordBatch:
    """The whole batch at `position`, checksums verified."""
    header = read_header(handle.pread(HEADER_BYTES, position), 0, handle.path, position)
    body = handle.pread(header.bytes - HEADER_BYTES, position + HEADER_BYTES)
    if len(body) != header.bytes - HEADER_BYTES:
        raise CorruptionError(
            handle.path, position, f"batch of {header.bytes} bytes is cut by the end of the file"
        )
    return RecordBatch(header, memoryview(body), handle.path, position)


def next_sound_header(handle: Handle, position: int, end_position: int) -> int | None:
    """Where the next batch with a sound header begins, at a multiple of eight from `position` on."""
    overlap = HEADER_BYTES
    step = 1 << 20
    while position < end_position:
        window = handle.pread(step + overlap, position)
        at = window.find(MAGIC)
        while at >= 0:
            if (position + at) % 8 == 0:
                try:
                    read_header(window, at, handle.path, position + at)
                    return position + at
                except CorruptionError:
                    pass
            at = window.find(MAGIC, at + 1)
        position += step
    return None
