"""Compaction: of every key only the newest record stays, of a deleted key (null value) nothing after a while.

Works on sealed segments below the last stable offset, so every transaction in them is decided: void records go,
committed ones lose their mark and the end markers go too. What stays keeps its offset. Neighbouring segments
that have become small are put into one.

A segment is replaced by renaming the cleaned file over it; then those that were merged into it are removed. At
every point between, the files are consistent, because a segment ends where the next one begins. The order is
from old to new, so a marker never goes before its transaction's records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs

from hornbeam.storage.errors import LockTimeoutError, MissingFileError
from hornbeam.storage.files import Handle
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.record_batch import RecordBatch, encode
from hornbeam.storage.log.segment import (
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    index_path,
    read_batch,
    scan_headers,
    segment_path,
)
from hornbeam.storage.log.sparse_index import encode_index_file

CLEAN_SUFFIX = ".clean"


@attrs.frozen
class CompactionResult:
    """What a pass did."""

    records_before: int = 0
    records_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    segments_before: int = 0
    segments_after: int = 0


def compact(partition: Partition, wait: bool = False) -> CompactionResult | None:
    """One pass over the sealed segments; None when somebody else is at it (unless one is ready to `wait`)."""
    try:
        lock = partition.files.lock(partition.clean_lock_path, timeout=None if wait else 0)
    except LockTimeoutError:
        return None
    with lock:
        return _Pass(partition).run()


class _Pass:
    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.newest: dict[bytes, int] = {}
        self.dropped = False
        self.counts = [0, 0]

    def run(self) -> CompactionResult:
        partition = self.partition
        with partition.section():
            view = partition.view
            stable = partition.words[words_of.LAST_STABLE_OFFSET]
            bases = [
                base
                for base in view.bases[:-1]
                if (end := view.following(base)) is not None and end <= stable
            ]
            sizes = {base: view.sealed(base)[0].position for base in bases}
        for base in bases:
            self._note_newest(base)
        groups = self._groups(bases, sizes)
        after = sum(self._clean(group, sizes) for group in groups)
        return CompactionResult(
            self.counts[0], self.counts[1], sum(sizes.values()), after, len(bases), len(groups)
        )

    def _groups(self, bases: list[int], sizes: dict[int, int]) -> list[list[int]]:
        groups: list[list[int]] = []
        room = 0
        for base in bases:
            if groups and sizes[base] <= room:
                groups[-1].append(base)
            else:
                groups.append([base])
                room = self.partition.settings.segment_bytes
            room -= sizes[base]
        return groups

    def _batches(self, base: int) -> Iterator[RecordBatch]:
        partition = self.partition
        with partition.view_lock:
            view = partition.refreshed_view()
            handle, stop = view.handle(base), view.following(base)
        assert stop is not None
        for position, _ in scan_headers(handle, SEGMENT_HEAD_BYTES, base, stop):
            yield read_batch(handle, position)

    def _is_void(self, batch: RecordBatch, base: int) -> bool:
        header = batch.header
        if not header.is_transactional:
            return False
        with self.partition.view_lock:
            view = self.partition.refreshed_view()
            view.catch_up(self.partition.words[words_of.END_OFFSET])
            return view.is_aborted(header.producer_id, header.base_offset, base)

    def _note_newest(self, base: int) -> None:
        for batch in self._batches(base):
            if not batch.header.is_control and not self._is_void(batch, base):
                for key, offset in zip(batch.keys(), batch.offsets().tolist()):
                    if key is not None:
                        self.newest[key] = offset

    def _clean(self, group: list[int], sizes: dict[int, int]) -> int:
        """Write the cleaned form of neighbouring segments and put it in their place; its size."""
        partition = self.partition
        self.dropped = False
        path = segment_path(partition.directory, group[0])
        temporary = path + CLEAN_SUFFIX
        if partition.files.exists(temporary):
            partition.files.unlink(temporary)
        head = SegmentHead.new(group[0], partition.clock())
        with partition.files.create(temporary) as target:
            target.write(head.encode())
            for base in group:
                for batch in self._batches(base):
                    self._keep(batch, base, target)
            size = target.size()
            if not self.dropped and len(group) == 1:
                partition.files.unlink(temporary)
                return sizes[group[0]]
            target.sync()
        self._swap(group, path, temporary)
        return size

    def _keep(self, batch: RecordBatch, base: int, target: Handle) -> None:
        header = batch.header
        if header.is_control or self._is_void(batch, base):
            self.counts[0] += 0 if header.is_control else header.record_count
            self.dropped = True
            return
        horizon = self.partition.clock() - self.partition.settings.delete_retention_ms * 1000
        keys, values, offsets = batch.keys(), batch.values(), batch.offsets().tolist()
        kept = [
            row
            for row, (key, value, offset) in enumerate(zip(keys, values, offsets))
            if (key is None or self.newest.get(key) == offset)
            and (value is not None or key is None or header.append_time > horizon)
        ]
        self.counts[0] += header.record_count
        self.counts[1] += len(kept)
        if len(kept) < header.record_count or header.is_transactional:
            self.dropped = True
        if not kept:
            return
        times, heads = batch.timestamps(), batch.headers()
        fresh = encode(
            [values[row] for row in kept],
            [keys[row] for row in kept],
            times[kept],
            [heads[row] for row in kept] if any(heads) else None,
            header.codec,
            offset_deltas=[offsets[row] - header.base_offset for row in kept],
            last_offset_delta=header.last_offset_delta,
        )
        target.write(
            fresh.stamped(
                header.base_offset,
                header.append_time,
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
            )
        )

    def _swap(self, group: list[int], path: str, temporary: str) -> None:
        partition = self.partition
        files, words = partition.files, partition.words
        with partition.section():
            view = partition.view
            if not set(group) <= set(view.bases):
                files.unlink(temporary)  # retention was quicker
                return
            words[words_of.BUSY] = os.getpid()
            words[words_of.GENERATION] += 1
            files.rename(temporary, path)
            files.sync_dir(partition.directory)
            for base in group[1:]:
                for doomed in (
                    index_path(partition.directory, base),
                    segment_path(partition.directory, base),
                ):
                    try:
                        files.unlink(doomed)
                    except MissingFileError:
                        pass
                files.sync_dir(partition.directory)
            words[words_of.GENERATION] += 1
            partition.open_files.discard(path)
            view.replaced(words[words_of.GENERATION], group)
            index, aborted = view.scan_sealed(group[0])
            files.write_atomic(index_path(partition.directory, group[0]), encode_index_file(index, aborted))
            words[words_of.BUSY] = 0
