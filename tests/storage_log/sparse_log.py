"""A log of any size that takes hardly any room: sound segments and indexes whose record bodies are holes in the files."""

from __future__ import annotations

import os
from pathlib import Path

from hornbeam.storage.log import Log
from hornbeam.storage.log.producer_state import ProducerState
from hornbeam.storage.log.record_batch import HEADER, BatchHeader, EncodedBatch, encode
from hornbeam.storage.log.segment import SEGMENT_HEAD_BYTES, SegmentHead, index_path, segment_path
from hornbeam.storage.log.snapshot import Snapshot, snapshot_path
from hornbeam.storage.log.sparse_index import SparseIndex, encode_index_file

TOPIC = "big"
RECORD_MICROS = 1000


def make_sparse_log(
    directory: str, bytes_wanted: int, segment_bytes: int = 128 << 20, batch_bytes: int = 1 << 20
) -> int:
    """A log with one partition of about `bytes_wanted`; its end offset (a record is a batch, of zeros). Record i has
    the time i * RECORD_MICROS."""
    with Log(directory) as log:
        log.create_topic(TOPIC, segment_bytes=segment_bytes, segment_ms=None)
        log.partition(TOPIC, 0).append(encode([b"first"], timestamps=0))
        partition = log.partition(TOPIC, 0).directory
    for name in os.listdir(partition):
        os.unlink(os.path.join(partition, name))
    os.unlink(os.path.join(os.path.dirname(partition), "state"))
    batch = encode([bytes(batch_bytes - 200)])
    start, made = 0, 0
    while made < bytes_wanted:
        last = made + segment_bytes >= bytes_wanted
        end, size = _segment(partition, start, segment_bytes, batch, with_snapshot=last)
        start, made = end, made + size
    return start


def _segment(
    partition: str, base: int, segment_bytes: int, batch: EncodedBatch, with_snapshot: bool
) -> tuple[int, int]:
    head = SegmentHead.new(base, 0)
    index = SparseIndex.empty(base, head.uid, 64 * 1024)
    fd = os.open(segment_path(partition, base), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, head.encode())
    position, offset = SEGMENT_HEAD_BYTES, base
    while position + batch.bytes <= segment_bytes:
        timed = EncodedBatch(
            batch.flags, batch.codec, 1, 0, offset * RECORD_MICROS, offset * RECORD_MICROS, batch.body_crc,
            batch.body_bytes, batch.raw_body_bytes, batch.buffers,
        )  # fmt: skip
        stamp = timed.stamped(offset, offset * RECORD_MICROS)
        os.pwrite(fd, bytes(stamp[0]) + bytes(batch.buffers[0]), position)
        index.add(position, BatchHeader._make(HEADER.unpack(stamp[0])))
        position += batch.bytes
        offset += 1
    os.ftruncate(fd, position)
    os.close(fd)
    if with_snapshot:
        Path(snapshot_path(partition)).write_bytes(Snapshot(index, ProducerState()).encode())
    else:
        Path(index_path(partition, base)).write_bytes(encode_index_file(index, []))
    return offset, position
