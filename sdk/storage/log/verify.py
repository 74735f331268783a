"""Reading every byte of a log and saying what is wrong with it; mending what the format allows.

Can run beside processes that use the log: it only reads, and looks again before it reports. Mending needs the log
for itself: sound batches are kept, unsound ones are left out and their offsets reported as lost; indexes and
snapshots are made anew.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise

import attrs

from hornbeam.storage.errors import CorruptionError, LockTimeoutError, MissingFileError, StorageError
from hornbeam.storage.files import OS_FILES, Files, Handle
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.errors import FormatVersionError, LogError
from hornbeam.storage.log.group import GroupState
from hornbeam.storage.log.producer_state import MARKER, MARKER_COMMIT, ProducerState
from hornbeam.storage.log.record_batch import RecordBatch, encode
from hornbeam.storage.log.recovery import REWRITE_SUFFIX
from hornbeam.storage.log.sealed_json import unseal
from hornbeam.storage.log.segment import (
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    check_order,
    index_path,
    list_segments,
    next_sound_header,
    read_batch,
    read_segment_head,
    scan_headers,
    segment_path,
)
from hornbeam.storage.log.shared_words import SHARED_BYTES, SLOT_BYTES, SlotWords
from hornbeam.storage.log.snapshot import Snapshot, snapshot_path
from hornbeam.storage.log.sparse_index import SparseIndex, decode_index_file, encode_index_file
from hornbeam.storage.log.topic import STATE_FILE, TOPIC_FILE, TopicDescription

_KNOWN_SUFFIXES = (".log", ".index", ".tmp", ".clean", REWRITE_SUFFIX)
_KNOWN_NAMES = ("snapshot", "start")
INDEX_INTERVAL_BYTES = 65536
_LOOKS_MAX = 20
_LOOK_AGAIN_S = 0.02


@attrs.frozen
class Finding:
    """One thing that is wrong: file, byte, reason; records that are lost with it; whether it was or can be mended."""

    path: str
    position: int
    reason: str
    can_repair: bool
    repaired: bool = False
    lost_from: int | None = None
    lost_to: int | None = None

    def __str__(self) -> str:
        lost = "" if self.lost_from is None else f"; lost offsets {self.lost_from} to {self.lost_to}"
        state = (
            "repaired" if self.repaired else "can be repaired" if self.can_repair else "cannot be repaired"
        )
        return f"{self.path} at byte {self.position}: {self.reason}{lost} [{state}]"


@attrs.define
class Report:
    """What was looked at, and the findings."""

    topics: int = 0
    partitions: int = 0
    segments: int = 0
    batches: int = 0
    records: int = 0
    bytes: int = 0
    findings: list[Finding] = attrs.Factory(list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong (any more)."""
        return all(finding.repaired for finding in self.findings)


def verify(
    directory: str | os.PathLike[str],
    topics: list[str] | None = None,
    repair: bool = False,
    files: Files = OS_FILES,
) -> Report:
    """Check a log's files, of these topics or of all; with `repair`, mend them (nobody may have the log open)."""
    root = os.path.abspath(os.fspath(directory))
    if not files.exists(os.path.join(root, "format.json")):
        raise LogError(f"{root} is not a log: it has no format.json")
    if not repair:
        return _Verification(files, root, repair).run(topics)
    try:
        lock = files.lock(os.path.join(root, "open.lock"), timeout=0)
    except LockTimeoutError as error:
        raise LogError(f"{root} is in use; stop the processes that have it open before repairing") from error
    with lock:
        try:
            return _Verification(files, root, repair).run(topics)
        finally:  # who waits for the lock meanwhile must begin a session of its own
            words = files.map_shared(os.path.join(root, "shared"), SHARED_BYTES).cast("B").cast("Q")
            words[words_of.LOG_SESSION] = 0


class _Verification:
    def __init__(self, files: Files, root: str, repair: bool) -> None:
        self.files = files
        self.root = root
        self.repair = repair
        self.report = Report()

    def run(self, topics: list[str] | None) -> Report:
        self._document(os.path.join(self.root, "format.json"))
        directory = os.path.join(self.root, "topics")
        for name in self.files.listdir(directory):
            if not name.startswith(".") and (topics is None or name in topics):
                self._topic(os.path.join(directory, name))
        groups = os.path.join(self.root, "groups")
        if topics is None and self.files.exists(groups):
            for name in self.files.listdir(groups):
                self._group(os.path.join(groups, name, "state.json"))
        return self.report

    def _found(
        self, path: str, position: int, reason: str, can_repair: bool, lost: tuple[int, int] | None = None
    ) -> None:
        self.report.findings.append(
            Finding(
                path, position, reason, can_repair, can_repair and self.repair,
                None if lost is None else lost[0], None if lost is None else lost[1],
            )
        )  # fmt: skip

    def _document(self, path: str) -> None:
        try:
            unseal(path, self.files.read_bytes(path))
        except StorageError as error:
            self._found(path, 0, error.reason, can_repair=False)

    def _group(self, path: str) -> None:
        if not self.files.exists(path):
            return
        try:
            GroupState.decode(path, self.files.read_bytes(path))
        except CorruptionError as error:
            self._found(path, 0, error.reason, can_repair=True)
            if self.repair:
                self.files.unlink(path)

    def _topic(self, directory: str) -> None:
        path = os.path.join(directory, TOPIC_FILE)
        self.report.topics += 1
        partitions = None
        try:
            partitions = TopicDescription.decode(path, self.files.read_bytes(path)).partitions
        except (StorageError, FormatVersionError) as error:
            self._found(path, 0, str(error), can_repair=False)
        for name in self.files.listdir(directory):
            if name.isdigit() and self.files.isdir(os.path.join(directory, name)):
                if partitions is not None and int(name) >= partitions:
                    self._found(os.path.join(directory, name), 0, "the topic has no such partition", False)
                self._settled_partition(directory, int(name))

    def _settled_partition(self, topic_directory: str, number: int) -> None:
        """Check a partition. If somebody may be writing to it, what looks wrong must look so twice: an append that
        is under way looks like a torn tail, a segment that is dropped like a missing one."""
        report, before = self.report, None
        for _ in range(_LOOKS_MAX):
            self.report = attrs.evolve(report, findings=[])
            try:
                self._partition(topic_directory, number)
                found: list[Finding] | None = self.report.findings
            except MissingFileError:
                found = None
            if self.repair or found == [] or (found is not None and found == before):
                break
            before = found
            time.sleep(_LOOK_AGAIN_S)
        self.report.findings = [*report.findings, *self.report.findings]

    def _partition(self, topic_directory: str, number: int) -> None:
        directory = os.path.join(topic_directory, str(number))
        self.report.partitions += 1
        for name in self.files.listdir(directory):
            if not name.endswith(_KNOWN_SUFFIXES) and name not in _KNOWN_NAMES:
                self._found(os.path.join(directory, name), 0, "not a file of the log", False)
        words = self._words(topic_directory, number)
        hint = 0 if words is None else words.flushed_hint()
        bases = list_segments(self.files, directory)
        end = self._start_file(directory)
        before = len(self.report.findings)
        for at, base in enumerate(bases):
            following = bases[at + 1] if at + 1 < len(bases) else None
            end = self._segment(directory, base, following, hint)
            if following is not None:
                self._index(directory, base)
        self._snapshot(directory, bases)
        if self.repair and len(self.report.findings) > before:
            self._index_anew(directory, bases)
        if self.repair and words is not None:
            words[words_of.SESSION] = 0
            words[words_of.FLUSHED_OFFSET] = words[words_of.FLUSHED_CHECK] = 0
        if not bases and hint > end:
            self._found(directory, 0, f"all segments are missing; offset {hint} was written", False)

    def _words(self, topic_directory: str, number: int) -> SlotWords | None:
        path = os.path.join(topic_directory, STATE_FILE)
        size = (number + 2) * SLOT_BYTES
        if not self.files.exists(path) or self.files.size(path) < size:
            return None
        return SlotWords(self.files.map_shared(path, size).cast("B").cast("Q"), number + 1)

    def _start_file(self, directory: str) -> int:
        path = os.path.join(directory, "start")
        if not self.files.exists(path):
            return 0
        try:
            return int(unseal(path, self.files.read_bytes(path))["start"])
        except CorruptionError as error:
            self._found(path, 0, f"{error.reason}; deleted records may come back", can_repair=True)
            if self.repair:
                self.files.unlink(path)
            return 0

    def _segment(self, directory: str, base: int, following: int | None, hint: int) -> int:
        """Check one segment; the offset after its last batch."""
        path = segment_path(directory, base)
        report = self.report
        report.segments += 1
        before = len(report.findings)
        sound: list[int] = []
        with self.files.open_read(path) as handle:
            size = handle.size()
            report.bytes += size
            try:
                read_segment_head(handle)
            except CorruptionError as error:
                self._found(path, 0, error.reason, can_repair=True)
            position, offset = SEGMENT_HEAD_BYTES, base
            while position < size:
                try:
                    batch = self._batch(handle, position, offset)
                except CorruptionError as error:
                    position, offset = self._damage(handle, position, offset, error, following)
                    continue
                if following is not None and batch.base_offset >= following:
                    break
                report.batches += 1
                report.records += batch.header.record_count
                sound.append(position)
                position += batch.header.bytes
                offset = batch.next_offset
            if following is None and offset < hint and len(report.findings) == before:
                self._found(
                    path, size, f"the file is cut: it ends at offset {offset}", True, (offset, hint - 1)
                )
            if self.repair and len(report.findings) > before:
                end = following if following is not None else max(offset, hint)
                self._rewrite(handle, path, base, sound, end)
        return offset

    def _batch(self, handle: Handle, position: int, offset: int) -> RecordBatch:
        batch = read_batch(handle, position)
        check_order(batch.header, offset, handle.path, position)
        batch.value_column()
        return batch

    def _damage(
        self, handle: Handle, position: int, offset: int, error: CorruptionError, following: int | None
    ) -> tuple[int, int]:
        """Report an unsound place; where the next sound batch begins, and its offset."""
        size = handle.size()
        at: int | None = position + 8
        while at is not None:
            at = next_sound_header(handle, at, size)
            if at is None:
                break
            try:
                batch = read_batch(handle, at)
                if batch.base_offset >= offset:
                    self._found(handle.path, position, error.reason, True, (offset, batch.base_offset - 1))
                    return at, batch.base_offset
            except CorruptionError:
                pass
            at += 8
        if following is None:
            self._found(handle.path, position, f"{error.reason}; nothing sound follows (a torn tail)", True)
        elif offset < following:
            self._found(handle.path, position, error.reason, True, (offset, following - 1))
        return size, offset

    def _rewrite(self, handle: Handle, path: str, base: int, sound: list[int], end: int) -> None:
        """Replace the segment by its sound batches; offsets lost at its end are never given out again."""
        temporary = path + REWRITE_SUFFIX
        if self.files.exists(temporary):
            self.files.unlink(temporary)
        offset = base
        with self.files.create(temporary) as target:
            target.write(SegmentHead.new(base, 0).encode())
            for position in sound:
                batch = read_batch(handle, position)
                target.write(handle.pread(batch.header.bytes, position))
                offset = batch.next_offset
            if offset < end:
                target.write(encode([], last_offset_delta=end - offset - 1).stamped(offset, 0))
            target.sync()
        self.files.rename(temporary, path)
        self.files.sync_dir(os.path.dirname(path))

    def _index(self, directory: str, base: int) -> None:
        path = index_path(directory, base)
        if not self.files.exists(path):
            return
        try:
            index, _ = decode_index_file(path, self.files.read_bytes(path))
            with self.files.open_read(segment_path(directory, base)) as handle:
                uid, size = read_segment_head(handle).uid, handle.size()
            if index.uid == uid and index.position > size:
                self._found(
                    segment_path(directory, base),
                    size,
                    f"the file was {index.position} bytes long and is cut",
                    True,
                )
            elif index.uid == uid:
                return
        except (CorruptionError, FormatVersionError) as error:
            if getattr(error, "path", path) == path:
                self._found(path, 0, str(error), can_repair=True)
        if self.repair:
            self.files.unlink(path)
            self.files.sync_dir(directory)

    def _index_anew(self, directory: str, bases: list[int]) -> None:
        """Write all indexes from one pass: a transaction whose end marker was lost counts as aborted."""
        state = ProducerState()
        for base, following in pairwise(bases):
            state.aborted = []
            with self.files.open_read(segment_path(directory, base)) as handle:
                index = SparseIndex.empty(base, read_segment_head(handle).uid, INDEX_INTERVAL_BYTES)
                for position, header in scan_headers(handle, SEGMENT_HEAD_BYTES, base, following):
                    index.add(position, header)
                    if header.is_control:
                        _, kind, first = MARKER.unpack(read_batch(handle, position).values()[0] or b"")
                        state.apply_marker(header, kind == MARKER_COMMIT, first)
                    else:
                        state.apply(header)
            self.files.write_atomic(index_path(directory, base), encode_index_file(index, state.aborted))

    def _snapshot(self, directory: str, bases: list[int]) -> None:
        path = snapshot_path(directory)
        if not self.files.exists(path):
            return
        try:
            snapshot = Snapshot.decode(path, self.files.read_bytes(path))
        except (CorruptionError, FormatVersionError) as error:
            self._found(path, 0, str(error), can_repair=True)
        else:
            if snapshot.index.base_offset not in bases:
                return
            segment = segment_path(directory, snapshot.index.base_offset)
            with self.files.open_read(segment) as handle:
                try:
                    uid = read_segment_head(handle).uid
                except CorruptionError:
                    return
                if uid != snapshot.index.uid or handle.size() >= snapshot.index.position:
                    return
                self._found(
                    segment, handle.size(), f"the file was {snapshot.index.position} bytes long", True
                )
        if self.repair:
            self.files.unlink(path)
            self.files.sync_dir(directory)
