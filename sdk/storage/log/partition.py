"""One partition: its append section, group commit and the words it shares with other processes.

Invariants:

* Only the holder of the partition's lock (`section`) writes to its files. It sets BUSY while it does; who finds
  BUSY set takes over from a process that died there, and recovers.
* END_OFFSET moves only after all bytes below it are in the file, FLUSHED_OFFSET only after they are synced.
* All segments but the last are synced before the next one is made, so a sync of the active one is enough.
* Lock order: append section, then sync lock. Nobody who holds the sync lock asks for the section.
* After a failed fsync (SUSPECT), nothing above FLUSHED_OFFSET counts as written until it has been copied to a
  new segment and synced there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hornbeam.storage.errors import CorruptionError, MissingFileError, StorageError
from hornbeam.storage.files import Files, Handle, LockFile
from hornbeam.storage.log import recovery
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.bell import Bell, topic_bit
from hornbeam.storage.log.errors import ForkedError, RecordTooLargeError, TopicDeletedError, UnsettledError
from hornbeam.storage.log.open_files import OpenFiles
from hornbeam.storage.log.partition_view import PartitionView
from hornbeam.storage.log.producer_state import MARKER, MARKER_ABORT, MARKER_COMMIT
from hornbeam.storage.log.record_batch import (
    CONTROL,
    HEADER,
    TRANSACTIONAL,
    BatchHeader,
    EncodedBatch,
    encode,
)
from hornbeam.storage.log.sealed_json import seal, unseal
from hornbeam.storage.log.segment import SEGMENT_HEAD_BYTES, SegmentHead, index_path, segment_path
from hornbeam.storage.log.settings import TopicSettings
from hornbeam.storage.log.shared_words import SlotWords
from hornbeam.storage.log.snapshot import Snapshot, snapshot_path
from hornbeam.storage.log.sparse_index import encode_index_file

SNAPSHOT_EVERY_BYTES = 16 << 20
MARKER_BYTES_MAX = 128
START_NAME = "start"
_SETTLE_TRIES = 200
_SYNC_WAIT_S = 0.02  # a process that dies while it syncs wakes nobody


def now_micros() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


class Partition:
    """A partition as this process has it open. Threads may share it."""

    def __init__(
        self,
        files: Files,
        open_files: OpenFiles,
        topic: str,
        uid: str,
        number: int,
        topic_directory: str,
        settings: TopicSettings,
        words: SlotWords,
        session: int,
        bell: Bell,
        sync_bell: Bell,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        self.files = files
        self.open_files = open_files
        self.topic = topic
        self._uid = uid
        self.number = number
        self.directory = os.path.join(topic_directory, str(number))
        self.settings = settings
        self.words = words
        self.session = session
        self.clock = clock
        self.view = PartitionView(files, open_files, self.directory, uid, settings.index_interval_bytes)
        self.view_lock = threading.RLock()
        self.clean_lock_path = os.path.join(topic_directory, f"{number}.clean.lock")
        self.make_durable: Callable[[], None] = lambda: None
        self.after_roll: Callable[[Partition], None] | None = None
        self._lock_path = os.path.join(topic_directory, f"{number}.append.lock")
        self._sync_path = os.path.join(topic_directory, f"{number}.sync.lock")
        self._mutex = threading.RLock()
        self._sync_mutex = threading.Lock()
        self._in_section = False
        self._bell = bell
        self._sync_bell = sync_bell
        self._bits = topic_bit(topic)
        self._pid = os.getpid()
        self._appended = False

    def __repr__(self) -> str:
        return f"<Partition {self.topic}-{self.number} {self.log_start_offset} to {self.high_watermark}>"

    # What anyone may ask, without a lock

    @property
    def high_watermark(self) -> int:
        """Records below it may be read."""
        self.ensure_open()
        durable = self.settings.visibility == "durable"
        return self.words[words_of.FLUSHED_OFFSET if durable else words_of.END_OFFSET]

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        self.ensure_open()
        return self.words[words_of.END_OFFSET]

    @property
    def last_stable_offset(self) -> int:
        """Below it every transaction is decided."""
        self.ensure_open()
        stable = self.words[words_of.LAST_STABLE_OFFSET]
        if self.settings.visibility == "durable":
            return min(stable, self.words[words_of.FLUSHED_OFFSET])
        return stable

    @property
    def log_start_offset(self) -> int:
        """Records below it are gone."""
        self.ensure_open()
        return self.words[words_of.LOG_START_OFFSET]

    @property
    def flushed_offset(self) -> int:
        """Records below it are on the disk."""
        self.ensure_open()
        return self.words[words_of.FLUSHED_OFFSET]

    def ensure_open(self) -> None:
        """Recover the partition if nobody did in this session; wait for a swap of files to end (or end it, if
        its process died). Not to be called with `view_lock` held."""
        words = self.words
        self._refuse_if_deleted()
        if words[words_of.SESSION] != self.session or words[words_of.GENERATION] & 1:
            with self.section():
                pass

    def refreshed_view(self) -> PartitionView:
        """The view with the segments as they are now; call and use it with `view_lock` held."""
        words = self.words
        for _ in range(_SETTLE_TRIES):
            generation = words[words_of.GENERATION]
            if generation & 1 or words[words_of.SESSION] != self.session:
                time.sleep(0.0005)
                continue
            if self.view.generation == generation:
                return self.view
            try:
                self.view.load(generation)
            except (MissingFileError, CorruptionError):
                if words[words_of.GENERATION] == generation:
                    raise
        raise UnsettledError(f"the files of {self.topic}-{self.number} are being replaced")

    # The append section

    @contextmanager
    def section(self) -> Iterator[None]:
        """Hold the partition alone, recovered and with the view up to date. Re-entrant for one thread."""
        if os.getpid() != self._pid:
            raise ForkedError("this Log was opened before a fork; open the directory anew in the child")
        self._refuse_if_deleted()
        with self._mutex:
            if self._in_section:
                yield
                return
            with self.open_files.lock_file(self._lock_path, self._uid), self.view_lock:
                self._in_section = True
                try:
                    self._enter()
                    yield
                finally:
                    self._in_section = False

    def append(
        self,
        batch: EncodedBatch,
        producer_id: int = -1,
        epoch: int = -1,
        sequence: int = -1,
        transactional: bool = False,
    ) -> tuple[int, int]:
        """Write a batch; its first and last offset (of the earlier one, if it is a repeat). Not synced."""
        if batch.bytes > self.settings.batch_bytes_max:
            raise RecordTooLargeError(
                f"a batch of {batch.bytes} bytes passes batch_bytes_max = {self.settings.batch_bytes_max} "
                f"of topic {self.topic!r}"
            )
        with self.section():
            self._prepare(batch.bytes)
            if producer_id >= 0:
                repeat = self.view.producers.check(
                    producer_id, epoch, sequence, batch.last_offset_delta + 1, transactional
                )
                if repeat is not None:
                    return repeat.base_offset, repeat.last_offset
            header = self._write(batch, producer_id, epoch, sequence, TRANSACTIONAL if transactional else 0)
        self._bell.ring(self._bits)
        return header.base_offset, header.last_offset

    def append_marker(self, producer_id: int, epoch: int, committed: bool) -> int | None:
        """End a transaction here; the offset after the marker, or None if there was nothing to end.

        An abort with a newer epoch than the partition has seen is written even so: it keeps the older one out.
        """
        with self.section():
            self._prepare(MARKER_BYTES_MAX)
            producers = self.view.producers
            first = producers.open_transactions.get(producer_id, -1)
            entry = producers.entries.get(producer_id)
            if committed and (entry is None or entry.epoch != epoch):
                return None  # later epochs come after the marker, so it is there already
            producers.check_marker(producer_id, epoch)
            if first < 0 and (committed or (entry is not None and entry.epoch >= epoch)):
                return None
            kind = MARKER_COMMIT if committed else MARKER_ABORT
            batch = encode([MARKER.pack(1, kind, first)], timestamps=self.clock())
            header = self._write(batch, producer_id, epoch, -1, TRANSACTIONAL | CONTROL)
        self._bell.ring(self._bits)
        return header.next_offset

    def sync_to(self, offset: int) -> None:
        """Return when all below `offset` is on the disk. Callers that wait at the same time share one fsync: one does
        it, the others sleep until it is done, and one of those left over does the next."""
        words = self.words
        offset = min(offset, words[words_of.END_OFFSET])
        until = time.monotonic() + _SYNC_WAIT_S  # SYNCING may be a dead process's
        while True:
            if words[words_of.SUSPECT] and words[words_of.FLUSHED_OFFSET] < offset:
                with self.section(), self._sync_mutex, self._sync_file():
                    if words[words_of.SUSPECT]:
                        recovery.rewrite_suspect(self)
            seen = self._sync_bell.value()
            if words[words_of.FLUSHED_OFFSET] >= offset:
                break
            patient = words[words_of.SYNCING] and time.monotonic() < until
            if patient or not self._sync_if_free(offset):
                self._sync_bell.wait(seen, self._bits, _SYNC_WAIT_S)
            else:
                self._sync_bell.ring(self._bits)
        if self.settings.visibility == "durable":
            self._bell.ring(self._bits)

    def sync_range(self, start: int, end: int) -> None:
        """As `sync_to(end)`, and make sure that a failed fsync took nothing of `start` to `end`."""
        self.sync_to(end)
        words, at = self.words, words_of.LOST
        for lost_from, lost_to in ((words[at], words[at + 1]), (words[at + 2], words[at + 3])):
            if start < lost_to and lost_from < end:
                raise StorageError(
                    self.directory,
                    "sync",
                    f"records at offsets {lost_from} to {lost_to} were lost by a failed fsync",
                )

    def _sync_if_free(self, offset: int) -> bool:
        """One fsync, unless somebody else is at it (then false). After a failure SUSPECT is set."""
        if not self._sync_mutex.acquire(blocking=False):
            return False
        try:
            lock = self._sync_file()
            if not lock.try_hold():
                return False
            try:
                self.words[words_of.SYNCING] = 1
                if self.words[words_of.FLUSHED_OFFSET] < offset:
                    self._sync_active()
                return True
            finally:
                self.words[words_of.SYNCING] = 0
                lock.let_go()
        finally:
            self._sync_mutex.release()

    def _sync_active(self) -> None:
        words = self.words
        end = words[words_of.END_OFFSET]  # read before the base: see the module's invariants
        self._refuse_if_deleted()
        handle = self.append_handle(words[words_of.ACTIVE_BASE])
        try:
            handle.sync()
        except StorageError:
            words[words_of.SUSPECT] = 1
            self.open_files.discard(handle.path)
            return
        if end > words[words_of.FLUSHED_OFFSET]:
            words.set_flushed(end)

    def sync(self) -> None:
        """Everything appended so far is on the disk."""
        self.sync_range(self.flushed_offset, self.end_offset)

    def delete_before(self, offset: int) -> int:
        """Make records below `offset` unreadable for good; the new log start offset."""
        with self.section():
            offset = min(offset, self.words[words_of.LAST_STABLE_OFFSET])
            if offset > self.words[words_of.LOG_START_OFFSET]:
                self.files.mkdir(self.directory)
                self.files.write_atomic(self.start_path, seal({"start": offset}))
                self.words[words_of.LOG_START_OFFSET] = offset
            return self.words[words_of.LOG_START_OFFSET]

    def close(self) -> None:
        """Sync what this process appended and leave a snapshot, so that the next opening is quick."""
        if (
            not self._appended
            or self.words[words_of.DELETED] == words_of.IS_DELETED
            or os.getpid() != self._pid
        ):
            return
        self._appended = False
        self.sync()
        with self.section():
            self.save_snapshot()

    # Inside of the section

    @property
    def start_path(self) -> str:
        """The file that keeps a log start offset inside of a segment."""
        return os.path.join(self.directory, START_NAME)

    def stored_start(self) -> int:
        """The log start offset that `delete_before` left."""
        if not self.files.exists(self.start_path):
            return 0
        return int(unseal(self.start_path, self.files.read_bytes(self.start_path))["start"])

    def _sync_file(self) -> LockFile:
        return self.open_files.lock_file(self._sync_path, self._uid)

    def append_handle(self, base_offset: int) -> Handle:
        """A handle to append to that segment and sync it."""
        return self.open_files.appender(
            segment_path(self.directory, base_offset), (self._uid, self.words[words_of.GENERATION])
        )

    def create_segment(self, base_offset: int) -> None:
        """Make the next segment and make it the active one."""
        self.files.mkdir(self.directory)
        if not self.view.bases:
            self.make_durable()
        head = SegmentHead.new(base_offset, self.clock())
        path = segment_path(self.directory, base_offset)
        with self.files.create(path) as handle:
            handle.write(head.encode())
            handle.sync()
        self.files.sync_dir(self.directory)
        self.view.start_segment(base_offset, head.uid)
        words = self.words
        words[words_of.GENERATION] += 2
        self.view.generation = words[words_of.GENERATION]
        words[words_of.ACTIVE_BASE] = base_offset
        words[words_of.ACTIVE_POSITION] = SEGMENT_HEAD_BYTES
        words[words_of.SNAPSHOT_POSITION] = 0

    def save_snapshot(self) -> None:
        """Write the snapshot if all it would cover is on the disk. Not being able to is no failure."""
        words, view = self.words, self.view
        if (
            not view.bases
            or words[words_of.FLUSHED_OFFSET] < view.index.next_offset
            or words[words_of.SUSPECT]
        ):
            return
        view.producers.expire(self.clock() - self.settings.producer_expiry_ms * 1000)
        try:
            self.files.write_atomic(
                snapshot_path(self.directory), Snapshot(view.index, view.producers).encode()
            )
        except StorageError:
            return
        words[words_of.SNAPSHOT_POSITION] = view.index.position

    def roll(self) -> None:
        """Seal the active segment and begin the next one."""
        words, view = self.words, self.view
        self._sync_for_roll()
        words[words_of.BUSY] = self._pid
        index = view.index
        self.files.write_atomic(
            index_path(self.directory, index.base_offset), encode_index_file(index, view.producers.aborted)
        )
        self.create_segment(words[words_of.END_OFFSET])
        self.save_snapshot()
        words[words_of.BUSY] = 0
        if self.after_roll is not None:
            self.after_roll(self)

    def _sync_for_roll(self) -> None:
        words = self.words
        with self._sync_mutex, self._sync_file():
            if words[words_of.SUSPECT]:
                recovery.rewrite_suspect(self)
            if words[words_of.FLUSHED_OFFSET] < words[words_of.END_OFFSET]:
                handle = self.append_handle(words[words_of.ACTIVE_BASE])
                try:
                    handle.sync()
                except StorageError:
                    words[words_of.SUSPECT] = 1
                    self.open_files.discard(handle.path)
                    raise
                words.set_flushed(words[words_of.END_OFFSET])

    def _enter(self) -> None:
        words = self.words
        self._refuse_if_deleted()
        if words[words_of.SESSION] != self.session or words[words_of.BUSY] or words[words_of.GENERATION] & 1:
            recovery.recover(self)
            return
        view = self.view
        if view.generation != words[words_of.GENERATION]:
            view.load(words[words_of.GENERATION])
        if view.index.next_offset < words[words_of.END_OFFSET]:
            view.catch_up(words[words_of.END_OFFSET])

    def _refuse_if_deleted(self) -> None:
        if self.words[words_of.DELETED] == words_of.IS_DELETED:
            raise TopicDeletedError(f"topic {self.topic!r} was deleted")

    def _prepare(self, size: int) -> None:
        """Have an active segment with room for `size` bytes that ends where it should. May lose what a failed fsync
        lost, so producers are checked after this."""
        self._make_room(size)
        try:
            whole = self.append_handle(self.view.index.base_offset).size() == self.view.index.position
        except MissingFileError:
            whole = False
        if not whole:
            recovery.recover(self)

    def _make_room(self, size: int) -> None:
        view, settings, words = self.view, self.settings, self.words
        if not view.bases:
            words[words_of.BUSY] = self._pid
            self.create_segment(words[words_of.END_OFFSET])
            words[words_of.BUSY] = 0
            return
        index = view.index
        if index.position == SEGMENT_HEAD_BYTES:
            return
        old = (
            settings.segment_ms is not None
            and self.clock() - index.first_append_time > settings.segment_ms * 1000
        )
        if old or index.position + size > settings.segment_bytes:
            self.roll()
        elif (
            index.position - words[words_of.SNAPSHOT_POSITION] > SNAPSHOT_EVERY_BYTES
            and words[words_of.FLUSHED_OFFSET] >= index.next_offset
        ):
            self.save_snapshot()

    def _write(
        self, batch: EncodedBatch, producer_id: int, epoch: int, sequence: int, flags: int
    ) -> BatchHeader:
        words, view = self.words, self.view
        position, base = view.index.position, words[words_of.END_OFFSET]
        buffers = batch.stamped(base, self.clock(), producer_id, epoch, sequence, flags)
        header = BatchHeader._make(HEADER.unpack(buffers[0]))
        handle = self.append_handle(view.index.base_offset)
        words[words_of.BUSY] = self._pid
        try:
            handle.write(buffers)
        except StorageError:
            self._cut_back(handle, position)
            raise
        self._appended = True
        view.index.add(position, header)
        if header.is_control:
            _, kind, first = MARKER.unpack(batch_value(batch))
            view.producers.apply_marker(header, kind == MARKER_COMMIT, first)
        else:
            view.producers.apply(header)
        words[words_of.ACTIVE_POSITION] = view.index.position
        words[words_of.LAST_STABLE_OFFSET] = view.producers.last_stable_offset(header.next_offset)
        words[words_of.END_OFFSET] = header.next_offset
        words[words_of.BUSY] = 0
        return header

    def _cut_back(self, handle: Handle, position: int) -> None:
        """Remove what a failed write left. If that fails too, BUSY stays set and the next one recovers."""
        try:
            handle.truncate(position)
        except StorageError:
            self.open_files.discard(handle.path)
            return
        self.words[words_of.BUSY] = 0


def batch_value(batch: EncodedBatch) -> bytes:
    """The value of a marker's only record: its body is two offsets, then the value."""
    return bytes(batch.buffers[1])[: MARKER.size]
