"""Getting a producer's batches into the log: retries, sequences, epochs, the fsync, and what to do when one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import attrs

from hornbeam.storage.errors import CorruptionError, StorageError
from hornbeam.storage.log.delivery import Appended, Delivery
from hornbeam.storage.log.errors import LogError
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.producer_state import advance
from hornbeam.storage.log.record_batch import EncodedBatch

_T = TypeVar("_T")


@attrs.frozen(eq=False)
class Write:
    """A batch on its way."""

    partition: Partition
    batch: EncodedBatch
    delivery: Delivery


class BatchSender:
    """Sends batches for one producer. Threads may share it; `lock` guards the sequences: one append at a time, while
    several wait for the disk."""

    def __init__(
        self,
        acks: str,
        producer_id: int,
        retries: int,
        retry_s: float,
        on_delivery: Callable[[Appended], None] | None,
    ) -> None:
        self.acks = acks
        self.producer_id = producer_id
        self.epoch = 0
        self.sequences: dict[tuple[str, int], int] = {}
        self.failed_records = 0
        self.lock = threading.RLock()
        # Of the transaction that is open:
        self.in_transaction = False
        self.enlist: Callable[[list[tuple[str, int]]], None] = lambda places: None
        self.doomed: BaseException | None = None
        self.touched: dict[tuple[str, int], tuple[int, int]] = {}
        self._on_delivery = on_delivery
        self._retries = retries
        self._retry_s = retry_s

    def begin_transaction(self, epoch: int) -> None:
        """From here on, all batches belong to a transaction with that epoch."""
        self.in_transaction = True
        self.epoch = epoch
        self.doomed = None
        self.touched = {}
        self.sequences = {}

    def write(self, writes: list[Write]) -> BaseException | None:
        """Append all, then sync all; every delivery is settled after. The first error (none with acks "none"): a batch
        that fails does not keep the others from being written, but inside a transaction nothing more is."""
        try:
            with self.lock:
                written = self._append_all(writes)
                must_sync = self.acks == "fsync" and not self.in_transaction
            for write, where in written:  # others may append meanwhile, and share the fsync
                self._sync_one(write, where, must_sync)
        except BaseException as error:  # an interrupt may come between an append and the note of its sequence
            self._fail([write for write in writes if not write.delivery.done], error)
            raise
        if self._on_delivery is not None:
            for write, where in written:
                if write.delivery.error is None:
                    self._on_delivery(where)
        errors = [write.delivery.error for write in writes if write.delivery.error is not None]
        return errors[0] if errors and self.acks != "none" else None

    def _append_all(self, writes: list[Write]) -> list[tuple[Write, Appended]]:
        written: list[tuple[Write, Appended]] = []
        try:
            if self.in_transaction:
                self.enlist([(write.partition.topic, write.partition.number) for write in writes])
        except (StorageError, LogError) as error:
            self._fail(writes, error)
            return written
        for at, write in enumerate(writes):
            try:
                where = self._retrying(lambda w=write: self._append_one(w.partition, w.batch))  # type: ignore[misc]
                written.append((write, where))
            except (StorageError, LogError) as error:
                self._fail(writes[at:] if self.in_transaction else [write], error)
                if self.in_transaction:
                    break
        return written

    def _sync_one(self, write: Write, where: Appended, must_sync: bool) -> None:
        partition = write.partition
        try:
            if must_sync:
                self._retrying(lambda: partition.sync_range(where.base_offset, where.last_offset + 1))
            elif partition.settings.visibility == "durable":
                partition.sync()
            write.delivery.settle(where)
        except (StorageError, LogError) as error:
            self._fail([write], error)

    def _fail(self, writes: list[Write], error: BaseException) -> None:
        """Settle deliveries that failed; the producer goes on with a new epoch, as their sequences are in doubt."""
        with self.lock:
            for write in writes:
                write.delivery.settle(error)
                self.failed_records += write.batch.count if self.acks == "none" else 0
            if self.in_transaction:
                self.doomed = self.doomed or error
            elif self.producer_id >= 0:
                self.epoch += 1
                self.sequences.clear()

    def _append_one(self, partition: Partition, batch: EncodedBatch) -> Appended:
        place = (partition.topic, partition.number)
        if self.producer_id < 0:
            base, last = partition.append(batch)
        else:
            sequence = self.sequences.get(place, 0)
            base, last = partition.append(batch, self.producer_id, self.epoch, sequence, self.in_transaction)
            self.sequences[place] = advance(sequence, batch.last_offset_delta + 1)
            if self.in_transaction:
                self.touch(place, base, last)
        return Appended(partition.topic, partition.number, base, last)

    def touch(self, place: tuple[str, int], base: int, last: int) -> None:
        """Note that the transaction has offsets `base` to `last` there: its commit makes them durable."""
        self.touched[place] = (self.touched.get(place, (base, 0))[0], last + 1)

    def _retrying(self, action: Callable[[], _T]) -> _T:
        pause_s = self._retry_s
        for attempt in range(self._retries + 1):
            try:
                return action()
            except CorruptionError:
                raise
            except StorageError:
                if attempt == self._retries or self.producer_id < 0:
                    raise
                time.sleep(pause_s)
                pause_s *= 2
        raise AssertionError("unreachable")
