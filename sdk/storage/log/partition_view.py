"""What this process knows of a partition: its segments, the index of the active one, producers and transactions.

It is a cache of what batch headers say, brought up to date by looking at the headers that came since. The
owner (`Partition`) guards it with a lock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict

from hornbeam.storage.errors import CorruptionError, MissingFileError
from hornbeam.storage.files import Files, Handle
from hornbeam.storage.log.open_files import OpenFiles
from hornbeam.storage.log.producer_state import (
    MARKER,
    MARKER_COMMIT,
    AbortedTransaction,
    ProducerState,
)
from hornbeam.storage.log.record_batch import BatchHeader
from hornbeam.storage.log.segment import (
    index_path,
    list_segments,
    read_batch,
    read_segment_head,
    scan_headers,
    segment_path,
)
from hornbeam.storage.log.snapshot import load_snapshot
from hornbeam.storage.log.sparse_index import SparseIndex, decode_index_file

_NO_STOP = 1 << 62
_SEALED_KEPT = 256


class PartitionView:
    """Segments (`bases`, ascending), `index` and `producers` as of index.next_offset."""

    def __init__(
        self, files: Files, open_files: OpenFiles, directory: str, uid: str, interval_bytes: int
    ) -> None:
        self._files = files
        self._open_files = open_files
        self.directory = directory
        self._uid = uid
        self._interval_bytes = interval_bytes
        self.generation = -1
        self.bases: list[int] = []
        self.index = SparseIndex.empty(0, 0, interval_bytes)
        self.producers = ProducerState()
        self._sealed: OrderedDict[int, tuple[SparseIndex, list[AbortedTransaction]]] = OrderedDict()
        self._aborted: dict[int, list[tuple[int, int]]] = {}
        self._aborted_for = -1
        self._aborted_from = 0
        self._aborted_active = 0

    def load(self, generation: int, bases: list[int] | None = None) -> None:
        """Forget everything; start at the snapshot, or with the first segment."""
        self.generation = generation
        try:
            self._load(bases)
        except BaseException:
            self.generation = -1
            raise

    def _load(self, bases: list[int] | None) -> None:
        self.bases = list_segments(self._files, self.directory) if bases is None else bases
        self._sealed.clear()
        self._aborted_for = -1
        snapshot = load_snapshot(self._files, self.directory)
        if snapshot is not None and snapshot.index.base_offset in self.bases:
            handle = self.handle(snapshot.index.base_offset)
            if read_segment_head(handle).uid == snapshot.index.uid:
                if handle.size() < snapshot.index.position:
                    raise CorruptionError(
                        handle.path,
                        handle.size(),
                        f"the file was {snapshot.index.position} bytes long and is cut",
                    )
                self.index, self.producers = snapshot.index, snapshot.producers
                self.index.interval_bytes = self._interval_bytes
                return
        self.producers = ProducerState()
        self.index = SparseIndex.empty(0, 0, self._interval_bytes)
        if self.bases:
            self._begin(self.bases[0])

    def catch_up(self, end_offset: int) -> None:
        """Look at the headers of all batches below `end_offset` that are new; ends in the last segment."""
        if not self.bases:
            return
        while True:
            following = self.following(self.index.base_offset)
            self.scan_active(min(end_offset, _NO_STOP if following is None else following))
            if following is None:
                break
            self._begin(following)
        if self.index.next_offset < end_offset:
            path = segment_path(self.directory, self.index.base_offset)
            raise CorruptionError(
                path,
                self.index.position,
                f"the file ends at offset {self.index.next_offset} instead of {end_offset}",
            )

    def scan_active(self, stop_offset: int) -> None:
        """Take in headers of the segment the index is at, up to `stop_offset`."""
        handle = self.handle(self.index.base_offset)
        for position, header in scan_headers(
            handle, self.index.position, self.index.next_offset, stop_offset
        ):
            self.take(handle, position, header)

    def take(self, handle: Handle, position: int, header: BatchHeader) -> None:
        """Take in the next batch of the active segment: all of it, or nothing if reading fails."""
        if header.is_control:
            _, kind, first_offset = MARKER.unpack(read_batch(handle, position).values()[0] or b"")
            self.producers.apply_marker(header, kind == MARKER_COMMIT, first_offset)
        else:
            self.producers.apply(header)
        self.index.add(position, header)

    def start_segment(self, base_offset: int, uid: int) -> None:
        """A new active segment was made."""
        self.bases.append(base_offset)
        self.index = SparseIndex.empty(base_offset, uid, self._interval_bytes)
        self.producers.aborted = []

    def replaced(self, generation: int, group: list[int]) -> None:
        """Neighbouring sealed segments were put into the first one's place."""
        self.generation = generation
        self.bases = [base for base in self.bases if base not in group[1:]]
        for base in group:
            self._sealed.pop(base, None)
        self._aborted_for = -1

    def handle(self, base_offset: int) -> Handle:
        """A handle to read a segment with."""
        version = (self._uid, self.generation)
        return self._open_files.reader(segment_path(self.directory, base_offset), version)

    def base_of(self, offset: int) -> int:
        """Base offset of the segment that holds `offset` (the first one, for offsets before it)."""
        return self.bases[max(bisect_right(self.bases, offset) - 1, 0)]

    def following(self, base_offset: int) -> int | None:
        """The segment after that one."""
        at = bisect_right(self.bases, base_offset)
        return self.bases[at] if at < len(self.bases) else None

    def segment_index(self, base_offset: int) -> SparseIndex:
        """The index of any segment; of the active one, as far as it is known."""
        if base_offset == self.index.base_offset:
            return self.index
        return self.sealed(base_offset)[0]

    def sealed(self, base_offset: int) -> tuple[SparseIndex, list[AbortedTransaction]]:
        """Index and aborted transactions of a sealed segment: from its file, else by a scan."""
        found = self._sealed.get(base_offset)
        if found is None:
            found = self._load_sealed(base_offset)
            self._sealed[base_offset] = found
            while len(self._sealed) > _SEALED_KEPT:
                self._sealed.popitem(last=False)
        return found

    def _load_sealed(self, base_offset: int) -> tuple[SparseIndex, list[AbortedTransaction]]:
        handle = self.handle(base_offset)
        uid = read_segment_head(handle).uid
        path = index_path(self.directory, base_offset)
        try:
            index, aborted = decode_index_file(path, self._files.read_bytes(path))
        except (MissingFileError, CorruptionError):
            return self.scan_sealed(base_offset)
        if index.uid != uid:
            return self.scan_sealed(base_offset)
        if handle.size() < index.position:
            raise CorruptionError(
                handle.path, handle.size(), f"the file was {index.position} bytes long and is cut"
            )
        return index, aborted

    def scan_sealed(self, base_offset: int) -> tuple[SparseIndex, list[AbortedTransaction]]:
        """Index and aborted transactions of a sealed segment from its batches."""
        handle = self.handle(base_offset)
        index = SparseIndex.empty(base_offset, read_segment_head(handle).uid, self._interval_bytes)
        aborted = []
        stop = self.following(base_offset)
        for position, header in scan_headers(
            handle, index.position, base_offset, _NO_STOP if stop is None else stop
        ):
            index.add(position, header)
            if header.is_control:
                _, kind, first = MARKER.unpack(read_batch(handle, position).values()[0] or b"")
                if kind != MARKER_COMMIT and first >= 0:
                    aborted.append(AbortedTransaction(header.producer_id, first, header.base_offset))
        return index, aborted

    def is_aborted(self, producer_id: int, offset: int, from_base: int) -> bool:
        """Whether that producer's transactional record at `offset`, in the segment `from_base`, is void. The view is
        caught up with all decided transactions."""
        if self._aborted_for != self.generation or from_base < self._aborted_from:
            self._aborted = {}
            for base in self.bases:
                if from_base <= base < self.index.base_offset:
                    self._note_aborted(self.sealed(base)[1])
            self._aborted_for, self._aborted_from, self._aborted_active = self.generation, from_base, 0
        self._note_aborted(self.producers.aborted[self._aborted_active :])
        self._aborted_active = len(self.producers.aborted)
        transactions = self._aborted.get(producer_id, [])
        at = bisect_right(transactions, (offset, _NO_STOP)) - 1
        return at >= 0 and offset <= transactions[at][1]

    def _note_aborted(self, aborted: list[AbortedTransaction]) -> None:
        for transaction in aborted:
            self._aborted.setdefault(transaction.producer_id, []).append(
                (transaction.first_offset, transaction.last_offset)
            )

    def _begin(self, base_offset: int) -> None:
        uid = read_segment_head(self.handle(base_offset)).uid
        self.index = SparseIndex.empty(base_offset, uid, self._interval_bytes)
        self.producers.aborted = []
