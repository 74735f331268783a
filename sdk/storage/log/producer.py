"""Writing to the log: single records, buffered into batches, and whole batches; once, at least once, or in
transactions.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from hornbeam.storage.files import Lock
from hornbeam.storage.log.batch_sender import BatchSender, Write
from hornbeam.storage.log.compression import codec_number
from hornbeam.storage.log.delivery import Appended, Delivery
from hornbeam.storage.log.errors import (
    ClosedError,
    InvalidSettingError,
    TopicDeletedError,
    TransactionAbortedError,
    TransactionError,
)
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.offset_store import GroupMetadata, OffsetStore
from hornbeam.storage.log.partitioner import split_by_partition
from hornbeam.storage.log.producer_state import SEQUENCE_END
from hornbeam.storage.log.record import Headers, bytes_or_none
from hornbeam.storage.log.record_batch import EncodedBatch, encode
from hornbeam.storage.log.record_buffer import Gathered, RecordBuffer
from hornbeam.storage.log.topic import Topic
from hornbeam.storage.log.transaction import TransactionCoordinator, TransactionState

ACKS = ("none", "write", "fsync")
_RECORD_OVERHEAD = 16  # of offsets, timestamp and the like, so that empty records fill a batch too


class Producer:
    """Writes records. Threads may share one; each process makes its own.

    `acks`: "fsync" waits until the disk has it, "write" until the log has it (a crash of the machine may lose it),
    "none" never reports a failure. `send` gathers records for up to `linger_ms` (None: until `flush`) or until
    `batch_records` or `batch_bytes` are there (`buffer_bytes` in all partitions together); it returns a `Delivery` to
    wait for. Failures of the background writing that nobody waited for come out of the next call.
    With `idempotent`, a batch that is tried again after an unclear failure is not written twice. A
    `transactional_id` makes it a transactional producer (see `transaction`); a later producer with the same id
    shuts this one out.
    """

    def __init__(
        self,
        log: Log,
        *,
        acks: str = "fsync",
        idempotent: bool = True,
        transactional_id: str | None = None,
        transaction_timeout_ms: int = 60_000,
        linger_ms: float | None = 5.0,
        batch_records: int = 10_000,
        batch_bytes: int = 1 << 20,
        buffer_bytes: int = 32 << 20,
        compression: str | None = None,
        retries: int = 3,
        retry_ms: float = 10.0,
        on_delivery: Callable[[Appended], None] | None = None,
    ) -> None:
        if acks not in ACKS:
            raise InvalidSettingError(f"acks must be one of {', '.join(ACKS)}, not {acks!r}")
        if transactional_id is not None and (acks == "none" or not idempotent):
            raise InvalidSettingError(
                "a transactional producer needs idempotent=True and acks 'write' or 'fsync'"
            )
        self._log = log
        self.acks = acks
        producer_id = int.from_bytes(os.urandom(7), "little") if idempotent else -1
        self._sender = BatchSender(acks, producer_id, retries, retry_ms / 1000, on_delivery)
        self._codec = None if compression is None else codec_number(compression)
        self._linger_s = None if linger_ms is None else linger_ms / 1000
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._buffer_bytes = buffer_bytes
        self._gathered_bytes = 0
        # Taken in this order: one flush at a time, its fsync included, so that batches form meanwhile; the sender's
        # lock; the buffers'.
        self._flush_lock = threading.RLock()
        self._lock = threading.Lock()
        self._flush_ended = threading.Condition(threading.Lock())
        self._flushes = 0
        self._topics: dict[str, list[RecordBuffer]] = {}
        self._sticky: dict[str, int] = {}
        self._dirty: list[RecordBuffer] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._coordinator: TransactionCoordinator | None = None
        self._state: TransactionState | None = None
        self._owner: Lock | None = None
        if transactional_id is not None:
            self._coordinator = TransactionCoordinator.of(log)
            self._state, self._owner = self._coordinator.register(transactional_id, transaction_timeout_ms)
            self._sender.producer_id = self._state.producer_id
            self._sender.enlist = self._enlist

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._sender.in_transaction:
            self.abort_transaction()
        self.close()

    @property
    def failed_records(self) -> int:
        """How many records a producer with acks "none" could not write."""
        return self._sender.failed_records

    # Records

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        timestamp_micros: int | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Hand over one record. It goes to `partition`, to its key's partition, or where the current batch goes.

        What is returned can be waited for; many may be under way at once.
        """
        if type(value) is not bytes:
            value = bytes_or_none(value, "value")
        if key is not None and type(key) is not bytes:
            key = bytes_or_none(key, "key")
        with self._lock:
            buffers = self._topics.get(topic)
            if buffers is None or self._error is not None or self._closed or self._state is not None:
                buffers = self._slow_checks(topic)
            if partition is None:
                partition = self._sticky[topic] if key is None else zlib.crc32(key) % len(buffers)
            elif not 0 <= partition < len(buffers):
                self._log.partition(topic, partition)  # says what is wrong
                raise InvalidSettingError(
                    f"partition {partition} was added after this producer's first record"
                )
            buffer = buffers[partition]
            values = buffer.values
            delivery = buffer.delivery
            if delivery is None:
                delivery = buffer.delivery = Delivery(self._hurry)
                self._dirty.append(buffer)
                if self._linger_s is not None:
                    self._wake_linger()
            values.append(value)
            buffer.keys.append(key)
            buffer.times.append(time.time_ns() // 1000 if timestamp_micros is None else timestamp_micros)
            buffer.headers.append(headers)
            size = _RECORD_OVERHEAD
            if headers:
                buffer.any_headers = True
                size += sum(len(name) + len(blob) for name, blob in headers)
            if value is not None:
                size += len(value)
            if key is not None:
                size += len(key)
            buffer.bytes += size
            self._gathered_bytes += size
            full = self._gathered_bytes >= self._buffer_bytes
            if not full and len(values) < self._batch_records and buffer.bytes < self._batch_bytes:
                return delivery
        self._flush(None if full else [buffer])
        return delivery

    def append(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        *,
        timestamps: int | Sequence[int] | None = None,
        headers: Sequence[Headers | None] | None = None,
        partition: int | None = None,
    ) -> list[Appended]:
        """Write a whole batch now (one a partition, by key) and wait as `acks` says; where it went.

        `timestamps` (microseconds) is one for all or one each; the clock's when left out.
        """
        self.flush()
        with self._lock:
            buffers = self._slow_checks(topic)
            sticky = self._sticky[topic]
            if values and (partition is not None or keys is None):
                self._next_sticky(topic, len(buffers))
        if not values:
            return []
        found = self._log.topic(topic)
        times = time.time_ns() // 1000 if timestamps is None else timestamps
        if partition is not None or keys is None or len(buffers) == 1:
            parts = [(sticky if partition is None else partition, (values, keys, times, headers))]
        else:
            parts = split_by_partition(values, keys, times, headers, len(buffers), sticky)
        writes = [
            Write(found.partition(number), self._encode(found, *columns), Delivery(self._hurry))
            for number, columns in parts
        ]
        self._sender.write(writes)
        if self.acks == "none" and any(write.delivery.error for write in writes):
            return []
        return [write.delivery.wait() for write in writes]

    def flush(self) -> None:
        """Write all that `send` gathered and wait as `acks` says; raises what went wrong since the last call."""
        self._flush()
        if self._error is not None:
            self._raise_kept_error()

    def close(self) -> None:
        """Flush, abort an open transaction, let go of the transactional id. Doing it twice is harmless."""
        if self._closed:
            return
        try:
            if self._sender.in_transaction:
                self.abort_transaction()
            self.flush()
        finally:
            self._closed = True
            self._wake.set()
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join()
            if self._owner is not None:
                self._owner.release()

    # Transactions

    @contextmanager
    def transaction(self) -> Iterator[Producer]:
        """All records sent inside become visible together at the end, or never if an error leaves the block."""
        self.begin_transaction()
        try:
            yield self
        except BaseException:
            if self._sender.in_transaction:
                self.abort_transaction()
            raise
        self.commit_transaction()

    def begin_transaction(self) -> None:
        """Start a transaction; everything until its end belongs to it."""
        if self._state is None:
            raise TransactionError("this producer has no transactional_id")
        if self._sender.in_transaction:
            raise TransactionError("a transaction is open already; commit or abort it first")
        self._sender.begin_transaction(self._state.epoch)

    def send_offsets(self, offsets: Mapping[tuple[str, int], int], group: str | GroupMetadata) -> None:
        """Make the commit of a consumer group's offsets a part of the transaction."""
        self._check_in_transaction()
        with self._flushing(), self._sender.lock:
            self.flush()
            store = OffsetStore.of(self._log)
            for place, base, last in store.append_in_transaction(
                offsets,
                group,
                self._enlist,
                self._sender.producer_id,
                self._sender.epoch,
                self._sender.sequences,
            ):
                self._sender.touch(place, base, last)

    def commit_transaction(self) -> None:
        """Make the transaction's records visible. When it returns they are durable, whatever `acks` is."""
        self._check_in_transaction()
        assert self._coordinator is not None and self._state is not None
        with self._flushing(), self._sender.lock:
            try:
                self.flush()
                for (topic, number), (start, end) in self._sender.touched.items():
                    self._log.partition(topic, number).sync_range(start, end)
            except BaseException as error:
                self._sender.doomed = self._sender.doomed or error
                raise
            if self._sender.doomed is not None:
                raise TransactionError(
                    f"the transaction cannot be committed, a write failed: {self._sender.doomed}; abort it"
                ) from self._sender.doomed
            self._state = self._coordinator.commit(self._state)
            self._sender.in_transaction = False

    def abort_transaction(self) -> None:
        """Void the transaction's records."""
        if not self._sender.in_transaction:
            raise TransactionError("no transaction is open")
        assert self._coordinator is not None and self._state is not None
        with self._flushing(), self._sender.lock:
            void = TransactionAbortedError("the transaction was aborted before this record was written")
            for gathered in self._gather(None):
                gathered.delivery.settle(void)
            self._error = None
            try:
                self._state = self._coordinator.abort(self._state)
            except TransactionAbortedError:
                self._state = self._coordinator.state(self._state.transactional_id)
            self._sender.in_transaction = False

    # Inside

    def _check_in_transaction(self) -> None:
        if self._state is None:
            raise TransactionError("this producer has no transactional_id")
        if not self._sender.in_transaction:
            raise TransactionError("begin_transaction comes first")

    def _slow_checks(self, topic: str) -> list[RecordBuffer]:
        if self._closed:
            raise ClosedError("the producer was closed")
        if self._error is not None:
            self._raise_kept_error()
        if self._state is not None and not self._sender.in_transaction:
            raise TransactionError("a transactional producer writes inside of a transaction; begin one first")
        buffers = self._topics.get(topic)
        if buffers is None:
            found = self._log.topic(topic)
            buffers = [RecordBuffer(found, number) for number in range(found.partition_count)]
            self._topics[topic] = buffers
            self._sticky[topic] = int.from_bytes(os.urandom(2), "little") % len(buffers)
        return buffers

    def _raise_kept_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _enlist(self, places: list[tuple[str, int]]) -> None:
        assert self._coordinator is not None and self._state is not None
        fresh = [place for place in places if place not in self._state.partitions]
        if fresh:
            self._state = self._coordinator.add_partitions(self._state, fresh)

    def _next_sticky(self, topic: str, partitions: int) -> None:
        self._sticky[topic] = (self._sticky[topic] + 1) % partitions

    def _wake_linger(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._linger, name="hornbeam-producer", daemon=True)
            self._thread.start()
        self._wake.set()

    def _linger(self) -> None:
        assert self._linger_s is not None
        while not self._closed:
            self._wake.wait()
            if self._closed:
                return
            time.sleep(self._linger_s)
            self._wake.clear()
            try:
                self._flush()
            except Exception as error:  # handed to the caller of the next send or flush
                self._error = error

    @contextmanager
    def _flushing(self) -> Iterator[None]:
        """Hold the flush lock; who waits for a delivery looks again at the end."""
        try:
            with self._flush_lock:
                yield
        finally:
            self._tell_flush_ended()

    def _tell_flush_ended(self) -> None:
        with self._flush_ended:
            self._flushes += 1
            self._flush_ended.notify_all()

    def _hurry(self, delivery: Delivery) -> None:
        """See to it that a delivery is settled: by the flush that is under way, or by one of our own. Who waits does not
        queue for the lock, so that the next flush finds the records of all."""
        error = None
        while not delivery.done:
            seen = self._flushes
            if self._flush_lock.acquire(blocking=False):
                try:
                    error = self._write_gathered(self._gather(None))
                finally:
                    self._flush_lock.release()
                    self._tell_flush_ended()
            else:
                with self._flush_ended:
                    while self._flushes == seen and not delivery.done:
                        self._flush_ended.wait()
        mine = delivery.error
        if error is not None and error is not mine:
            self._error = error  # somebody else's
        elif mine is not None and self._error is mine:
            self._error = None  # the caller is told now

    def _flush(self, buffers: list[RecordBuffer] | None = None) -> None:
        """Write what was gathered, in these buffers or all; returns after flushes under way in other threads too."""
        with self._flushing():
            error = self._write_gathered(self._gather(buffers))
        if error is not None:
            raise error

    def _gather(self, buffers: list[RecordBuffer] | None) -> list[Gathered]:
        with self._lock:
            taken = []
            for buffer in list(self._dirty) if buffers is None else buffers:
                if buffer.delivery is not None:
                    self._dirty.remove(buffer)
                    self._gathered_bytes -= buffer.bytes
                    taken.append(buffer.take())
                    buffers_now = self._topics.get(buffer.topic.name)
                    if buffers_now is not None:
                        self._next_sticky(buffer.topic.name, len(buffers_now))
            return taken

    def _write_gathered(self, gathered: list[Gathered]) -> BaseException | None:
        """Encode and write; every delivery is settled after. The first error."""
        writes, first = [], None
        for batch in gathered:
            try:
                encoded = self._encode(batch.topic, batch.values, batch.keys, batch.times, batch.headers)
                writes.append(Write(batch.topic.partition(batch.partition), encoded, batch.delivery))
            except Exception as error:
                self._sender.doomed = self._sender.doomed or error
                batch.delivery.settle(error)
                first = first or error
        failure = (self._sender.write(writes) if writes else None) or first
        for batch in gathered:
            if isinstance(batch.delivery.error, TopicDeletedError):
                self._topics.pop(batch.topic.name, None)  # there may be a new one
        return failure

    def _encode(
        self,
        topic: Topic,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None,
        times: int | Sequence[int],
        headers: Sequence[Headers | None] | None,
    ) -> EncodedBatch:
        if topic.settings.compacted and (keys is None or None in keys):
            raise InvalidSettingError(f"topic {topic.name!r} is compacted: every record needs a key")
        codec = self._codec if self._codec is not None else codec_number(topic.settings.compression)
        return encode(values, keys, times, headers, codec)


__all__ = ["ACKS", "SEQUENCE_END", "Appended", "Producer"]
