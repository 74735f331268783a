"""Putting a partition in order: after a restart, after a process died inside the append section, and after an
fsync failed.

What lies beyond the last durable point may be torn, so it is read with its checksums; the first unsound batch and
all after it are cut off, unless it is known that they had been synced: that is damage, and is reported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hornbeam.storage.errors import CorruptionError, StorageError
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.record_batch import encode
from hornbeam.storage.log.segment import (
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    check_order,
    list_segments,
    next_sound_header,
    read_batch,
    read_segment_head,
    segment_path,
)

if TYPE_CHECKING:
    from hornbeam.storage.log.partition import Partition

REWRITE_SUFFIX = ".rewrite"


def recover(partition: Partition) -> None:
    """Rebuild view and shared words from the files. The caller holds the section's lock."""
    words = partition.words
    same_session = words[words_of.SESSION] == partition.session
    hint = words.flushed_hint()
    suspect = bool(words[words_of.SUSPECT])
    words[words_of.SESSION] = 0
    words[words_of.BUSY] = os.getpid()
    partition.open_files.discard_under(partition.directory)
    if words[words_of.GENERATION] > 1 << 48:
        words[words_of.GENERATION] = 0
    words[words_of.GENERATION] = (words[words_of.GENERATION] | 1) + 1
    bases = list_segments(partition.files, partition.directory)
    _remove_leftovers(partition, same_session)
    _settle_last_segment(partition, bases, hint)
    view = partition.view
    view.load(words[words_of.GENERATION], bases)
    start = partition.stored_start()
    if bases:
        durable = _scan_last(partition, hint)
        end = view.index.next_offset
        start = max(start, bases[0])
    else:
        end = durable = start
        if hint > end:
            raise CorruptionError(
                partition.directory, 0, f"all segments are missing; offset {hint} was written"
            )
    words[words_of.ACTIVE_BASE] = view.index.base_offset
    words[words_of.ACTIVE_POSITION] = view.index.position
    words[words_of.SNAPSHOT_POSITION] = 0
    words[words_of.LAST_STABLE_OFFSET] = view.producers.last_stable_offset(end)
    words[words_of.LOG_START_OFFSET] = min(start, end)
    words[words_of.END_OFFSET] = end
    if not same_session and not suspect:
        for at in range(4):
            words[words_of.LOST + at] = 0
    words.set_flushed(min(max(hint, durable), end))
    if bases:
        _make_durable(partition, same_session, suspect)
    else:
        words[words_of.SUSPECT] = 0
    words[words_of.BUSY] = 0
    words[words_of.SESSION] = partition.session


def rewrite_suspect(partition: Partition) -> None:
    """Copy what an fsync may have lost to a segment of its own, sync that, and go on there.

    The caller holds section and sync lock. On an error the partition stays suspect.
    """
    words, view = partition.words, partition.view
    files = partition.files
    base = words[words_of.FLUSHED_OFFSET]
    if not view.bases or base >= words[words_of.END_OFFSET]:
        words[words_of.SUSPECT] = 0
        return
    words[words_of.BUSY] = os.getpid()
    partition.open_files.discard_under(partition.directory)
    source = view.handle(view.index.base_offset)
    path = segment_path(partition.directory, base)
    head = SegmentHead.new(base, partition.clock())
    temporary = path + REWRITE_SUFFIX
    if files.exists(temporary):
        files.unlink(temporary)
    with files.create(temporary) as target:
        target.write(head.encode())
        offset, position = view.index.position_of(base)
        end = words[words_of.END_OFFSET]
        while offset < end:
            try:
                batch = read_batch(source, position)
            except CorruptionError:
                break
            if batch.base_offset >= base:
                target.write(source.pread(batch.header.bytes, position))
            position += batch.header.bytes
            offset = batch.next_offset
        if (
            offset < end
        ):  # offsets are never given out twice: a batch without records takes the place of the lost
            _note_loss(partition, offset, end)
            target.write(encode([], last_offset_delta=end - offset - 1).stamped(offset, partition.clock()))
        target.sync()
    files.rename(temporary, path)
    files.sync_dir(partition.directory)
    partition.open_files.discard_under(partition.directory)
    words[words_of.SUSPECT] = 0
    words.set_flushed(base)
    recover(partition)
    words.set_flushed(words[words_of.END_OFFSET])


def _note_loss(partition: Partition, start: int, end: int) -> None:
    words, at = partition.words, words_of.LOST
    words[at + 2], words[at + 3] = words[at], words[at + 1]
    words[at], words[at + 1] = start, end


def _remove_leftovers(partition: Partition, same_session: bool) -> None:
    """Half-made files of processes that died. A compaction in another process may be at work in this session."""
    if not partition.files.exists(partition.directory):
        return
    for name in partition.files.listdir(partition.directory):
        if name.endswith((".tmp", REWRITE_SUFFIX)) or (name.endswith(".clean") and not same_session):
            partition.files.unlink(os.path.join(partition.directory, name))


def _settle_last_segment(partition: Partition, bases: list[int], hint: int) -> None:
    """Remove a last segment that was being made: no sound head, no batches, nothing acknowledged in it. One with a
    head and nothing else is written anew, as its first sync may have failed."""
    while bases:
        path = segment_path(partition.directory, bases[-1])
        with partition.files.open_read(path) as handle:
            try:
                read_segment_head(handle)
                if handle.size() == SEGMENT_HEAD_BYTES:
                    head = SegmentHead.new(bases[-1], partition.clock())
                    partition.files.write_atomic(path, head.encode())
                return
            except CorruptionError:
                if (
                    hint > bases[-1]
                    or next_sound_header(handle, SEGMENT_HEAD_BYTES, handle.size()) is not None
                ):
                    raise
        partition.files.unlink(path)
        partition.files.sync_dir(partition.directory)
        bases.pop()


def _scan_last(partition: Partition, hint: int) -> int:
    """Bring the view to the end of the last segment, reading all that is not known to be durable; the durable
    offset. Cuts off a torn tail."""
    view = partition.view
    last = view.bases[-1]
    if view.index.base_offset != last:
        view.catch_up(last)
    durable = view.index.next_offset
    handle = view.handle(last)
    size = handle.size()
    while view.index.position < size:
        position = view.index.position
        try:
            batch = read_batch(handle, position)
            check_order(batch.header, view.index.next_offset, handle.path, position)
        except CorruptionError as error:
            if view.index.next_offset < hint:
                raise CorruptionError(
                    handle.path, position, f"{error.reason}; records up to offset {hint} had been synced"
                ) from error
            with partition.files.open_append(handle.path, create=False) as writer:
                writer.truncate(position)
                writer.sync()
            break
        view.take(handle, position, batch.header)
    if view.index.next_offset < hint:
        raise CorruptionError(
            handle.path, size, f"ends at offset {view.index.next_offset}; up to {hint} had been synced"
        )
    return durable


def _make_durable(partition: Partition, same_session: bool, suspect: bool) -> None:
    """What opening shows must not vanish later: sync it, or after a failed fsync write it anew."""
    words = partition.words
    if suspect:
        words[words_of.SUSPECT] = 1
    if words[words_of.FLUSHED_OFFSET] >= words[words_of.END_OFFSET] and not suspect:
        return
    if same_session and not suspect:
        return
    if not suspect:
        handle = partition.append_handle(words[words_of.ACTIVE_BASE])
        try:
            handle.sync()
        except StorageError:
            words[words_of.SUSPECT] = 1
            partition.open_files.discard(handle.path)
            raise
        words.set_flushed(words[words_of.END_OFFSET])
        return
    rewrite_suspect(partition)
