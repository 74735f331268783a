"""What a partition knows of its producers: the last sequences (to recognise repeats), epochs (to refuse zombies),
open and aborted transactions. It is a pure function of the batch headers seen, in order.

Rules for a batch of producer P with epoch e, sequence s, n records:

| known of P                            | outcome                                                |
| ------------------------------------- | ------------------------------------------------------ |
| nothing                               | taken (s may be anything: older state may have expired) |
| epoch > e                             | ProducerFencedError                                    |
| epoch < e                             | taken if s is 0, else SequenceError                    |
| epoch = e, s follows the last one     | taken                                                  |
| epoch = e, equals one of the last 5   | a repeat: the offset it got then, nothing is written   |
| epoch = e, any other s                | SequenceError                                          |
| transactional, epoch e ended already  | ProducerFencedError                                    |
"""

from __future__ import annotations

import struct
from collections import deque

import attrs

from hornbeam.storage.log.errors import ProducerFencedError, SequenceError
from hornbeam.storage.log.record_batch import BatchHeader

REMEMBERED_BATCHES = 5
SEQUENCE_END = 1 << 31
_NONE = -1

_PRODUCER = struct.Struct("<qqqqqI")
_BATCH = struct.Struct("<iiqq")
_ABORTED = struct.Struct("<qqq")
MARKER = struct.Struct("<HHq")
MARKER_ABORT, MARKER_COMMIT = 0, 1


@attrs.frozen
class WrittenBatch:
    """Sequences and offsets of one batch that a producer wrote."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int


@attrs.define
class ProducerEntry:
    """One producer as the partition knows it."""

    epoch: int
    ended_epoch: int = _NONE
    transaction_start: int = _NONE
    last_seen: int = 0
    batches: deque[WrittenBatch] = attrs.Factory(lambda: deque(maxlen=REMEMBERED_BATCHES))


@attrs.frozen
class AbortedTransaction:
    """Records of `producer_id` from `first_offset` up to its marker at `last_offset` are void."""

    producer_id: int
    first_offset: int
    last_offset: int


@attrs.define
class ProducerState:
    """All producers of a partition."""

    entries: dict[int, ProducerEntry] = attrs.Factory(dict)
    open_transactions: dict[int, int] = attrs.Factory(dict)
    aborted: list[AbortedTransaction] = attrs.Factory(list)

    def check(
        self, producer_id: int, epoch: int, sequence: int, count: int, transactional: bool
    ) -> WrittenBatch | None:
        """Whether the batch may be appended (None) or is a repeat (then where it lies); raises the refusals."""
        entry = self.entries.get(producer_id)
        if entry is None:
            return None
        if epoch < entry.epoch:
            raise ProducerFencedError(
                f"producer {producer_id} with epoch {epoch} was replaced by epoch {entry.epoch}; it must stop"
            )
        if epoch > entry.epoch:
            if sequence > 0:
                raise SequenceError(
                    f"producer {producer_id}: epoch {epoch} begins with sequence {sequence}, not 0"
                )
            if producer_id in self.open_transactions:
                raise SequenceError(
                    f"the transaction {producer_id}/{entry.epoch} before {epoch} has not ended here"
                )
            return None
        for batch in entry.batches:
            if batch.first_sequence == sequence and batch.last_sequence == advance(sequence, count - 1):
                return batch
        if transactional and entry.ended_epoch >= epoch:
            raise ProducerFencedError(
                f"the transaction {producer_id}/{epoch} has ended; nothing can be added"
            )
        if entry.batches and sequence != _NONE:
            expected = advance(entry.batches[-1].last_sequence, 1)
            if sequence != expected:
                raise SequenceError(f"producer {producer_id}: sequence {sequence} instead of {expected}")
        return None

    def check_marker(self, producer_id: int, epoch: int) -> None:
        """Refuse a marker of an older epoch than the partition has seen."""
        entry = self.entries.get(producer_id)
        if entry is not None and epoch < entry.epoch:
            raise ProducerFencedError(
                f"marker of {producer_id}/{epoch}: epoch {entry.epoch} is there already"
            )

    def apply(self, header: BatchHeader) -> None:
        """Take note of a data batch (for a control batch, see `apply_marker`)."""
        if header.producer_id < 0:
            return
        entry = self.entries.get(header.producer_id)
        if entry is None:
            entry = self.entries[header.producer_id] = ProducerEntry(header.producer_epoch)
        self._begin_epoch(entry, header)
        entry.last_seen = header.append_time
        if header.base_sequence >= 0:
            last = advance(header.base_sequence, header.last_offset_delta)
            entry.batches.append(
                WrittenBatch(header.base_sequence, last, header.base_offset, header.last_offset)
            )
        if header.is_transactional and header.producer_id not in self.open_transactions:
            entry.transaction_start = header.base_offset
            self.open_transactions[header.producer_id] = header.base_offset

    def apply_marker(self, header: BatchHeader, committed: bool, first_offset: int) -> None:
        """Take note of a transaction's end. `first_offset` is -1 when it had nothing in this partition."""
        entry = self.entries.get(header.producer_id)
        if entry is None:
            entry = self.entries[header.producer_id] = ProducerEntry(header.producer_epoch)
        if committed:
            self._begin_epoch(entry, header)
        elif header.producer_epoch > entry.epoch:
            entry.epoch = header.producer_epoch
            entry.batches.clear()
        if first_offset >= 0:
            entry.ended_epoch = max(entry.ended_epoch, header.producer_epoch)
        entry.last_seen = header.append_time
        entry.transaction_start = _NONE
        self.open_transactions.pop(header.producer_id, None)
        if not committed and first_offset >= 0:
            self.aborted.append(AbortedTransaction(header.producer_id, first_offset, header.base_offset))

    def _begin_epoch(self, entry: ProducerEntry, header: BatchHeader) -> None:
        if header.producer_epoch <= entry.epoch:
            return
        entry.epoch = header.producer_epoch
        entry.batches.clear()
        first = self.open_transactions.pop(header.producer_id, _NONE)
        if first >= 0:  # its end marker was lost (damage, repaired): what may be void is not shown
            self.aborted.append(AbortedTransaction(header.producer_id, first, header.base_offset - 1))

    def last_stable_offset(self, end_offset: int) -> int:
        """First offset of the oldest open transaction; `end_offset` when none is open."""
        return min(self.open_transactions.values(), default=end_offset)

    def expire(self, before: int) -> None:
        """Forget producers without an open transaction that wrote nothing since `before`."""
        for producer_id in [
            p
            for p, entry in self.entries.items()
            if entry.last_seen < before and p not in self.open_transactions
        ]:
            del self.entries[producer_id]

    def encode(self) -> bytes:
        """The byte form of producers (aborted transactions have their own)."""
        parts = [struct.pack("<I", len(self.entries))]
        for producer_id, entry in self.entries.items():
            parts.append(
                _PRODUCER.pack(
                    producer_id, entry.epoch, entry.ended_epoch, entry.transaction_start, entry.last_seen,
                    len(entry.batches),
                )
            )  # fmt: skip
            parts.extend(_BATCH.pack(*attrs.astuple(batch)) for batch in entry.batches)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, at: int) -> tuple[ProducerState, int]:
        """Inverse of `encode`, from data[at:]; also where it ends."""
        (count,) = struct.unpack_from("<I", data, at)
        at += 4
        state = cls()
        for _ in range(count):
            producer_id, epoch, ended, start, seen, batches = _PRODUCER.unpack_from(data, at)
            at += _PRODUCER.size
            entry = state.entries[producer_id] = ProducerEntry(epoch, ended, start, seen)
            for _ in range(batches):
                entry.batches.append(WrittenBatch(*_BATCH.unpack_from(data, at)))
                at += _BATCH.size
            if start >= 0:
                state.open_transactions[producer_id] = start
        return state, at


def advance(sequence: int, by: int) -> int:
    """The sequence `by` records later; sequences wrap at 2^31."""
    return (sequence + by) % SEQUENCE_END


def encode_aborted(aborted: list[AbortedTransaction]) -> bytes:
    """The byte form of a list of aborted transactions."""
    return struct.pack("<I", len(aborted)) + b"".join(_ABORTED.pack(*attrs.astuple(a)) for a in aborted)


def decode_aborted(data: bytes, at: int) -> tuple[list[AbortedTransaction], int]:
    """Inverse of `encode_aborted`, from data[at:]; also where it ends."""
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    found = [AbortedTransaction(*_ABORTED.unpack_from(data, at + i * _ABORTED.size)) for i in range(count)]
    return found, at + count * _ABORTED.size
