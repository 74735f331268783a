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

import attrs

from hornbeam.storage.errors import CorruptionError, StorageError
from hornbeam.storage.files import Lock
from hornbeam.storage.log.compression import codec_number
from hornbeam.storage.log.errors import (
    ClosedError,
    InvalidSettingError,
    LogError,
    TransactionAbortedError,
    TransactionError,
)
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.offset_store import GroupMetadata, OffsetStore
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.partitioner import group_by_partition
from hornbeam.storage.log.producer_state import SEQUENCE_END, advance
from hornbeam.storage.log.record import Headers
from hornbeam.storage.log.record_batch import EncodedBatch, encode
from hornbeam.storage.log.topic import Topic
from hornbeam.storage.log.transaction import TransactionCoordinator, TransactionState

ACKS = ("none", "write", "fsync")


@attrs.frozen
class Appended:
    """Where a batch went."""

    topic: str
    partition: int
    base_offset: int
    last_offset: int


@attrs.define
class _Buffer:
    """Records that wait for their batch."""

    topic: Topic
    partition: int
    values: list[bytes | None] = attrs.Factory(list)
    keys: list[bytes | None] = attrs.Factory(list)
    times: list[int] = attrs.Factory(list)
    headers: list[Headers | None] = attrs.Factory(list)
    any_headers: bool = False
    bytes: int = 0


class Producer:
    """Writes records. Threads may share one; each process makes its own.

    `acks`: "fsync" waits until the disk has it, "write" until the log has it (a crash of the machine may lose it),
    "none" never reports a failure. `send` gathers records for up to `linger_ms` (None: until `flush`) or until
    `batch_records` or `batch_bytes` are there; failures of the background writing come out of the next call.
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
        self.failed_records = 0
        self._codec = None if compression is None else codec_number(compression)
        self._linger_s = None if linger_ms is None else linger_ms / 1000
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._retries = retries
        self._retry_s = retry_ms / 1000
        self._on_delivery = on_delivery
        self._lock = threading.Lock()
        self._io_lock = threading.RLock()
        self._topics: dict[str, list[_Buffer]] = {}
        self._sticky: dict[str, int] = {}
        self._dirty: list[_Buffer] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._producer_id = int.from_bytes(os.urandom(7), "little") if idempotent else -1
        self._epoch = 0
        self._sequences: dict[tuple[str, int], int] = {}
        self._coordinator: TransactionCoordinator | None = None
        self._state: TransactionState | None = None
        self._owner: Lock | None = None
        self._in_transaction = False
        self._doomed: BaseException | None = None
        self._touched: dict[tuple[str, int], tuple[int, int]] = {}
        if transactional_id is not None:
            self._coordinator = TransactionCoordinator.of(log)
            self._state, self._owner = self._coordinator.register(transactional_id, transaction_timeout_ms)
            self._producer_id = self._state.producer_id

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._in_transaction:
            self.abort_transaction()
        self.close()

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
    ) -> None:
        """Hand over one record. It goes to `partition`, to its key's partition, or where the current batch goes."""
        if type(value) is not bytes:
            value = _bytes_or_none(value, "value")
        if key is not None and type(key) is not bytes:
            key = _bytes_or_none(key, "key")
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
            if not values:
                self._dirty.append(buffer)
                if self._linger_s is not None:
                    self._wake_linger()
            values.append(value)
            buffer.keys.append(key)
            buffer.times.append(time.time_ns() // 1000 if timestamp_micros is None else timestamp_micros)
            buffer.headers.append(headers)
            if headers:
                buffer.any_headers = True
            if value is not None:
                buffer.bytes += len(value)
            if len(values) < self._batch_records and buffer.bytes < self._batch_bytes:
                return
        self._flush_buffers([buffer], wait=False)

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
        with self._io_lock:
            with self._lock:
                buffers = self._slow_checks(topic)
            if not values:
                return []
            found = self._log.topic(topic)
            times = time.time_ns() // 1000 if timestamps is None else timestamps
            if partition is not None or keys is None or len(buffers) == 1:
                number = partition if partition is not None else self._sticky[topic]
                self._next_sticky(topic, len(buffers))
                parts = [(number, self._encode(found, values, keys, times, headers))]
            else:
                parts = []
                for number, rows in group_by_partition(keys, len(buffers), self._sticky[topic]):
                    picked = rows.tolist()
                    parts.append(
                        (
                            number,
                            self._encode(
                                found,
                                [values[i] for i in picked],
                                [keys[i] for i in picked],
                                times if isinstance(times, int) else [times[i] for i in picked],
                                None if headers is None else [headers[i] for i in picked],
                            ),
                        )
                    )
            return self._write_all([(found.partition(number), batch) for number, batch in parts])

    def flush(self) -> None:
        """Write all that `send` gathered and wait as `acks` says; raises what went wrong since the last call."""
        if self._dirty:
            self._flush_buffers(list(self._dirty), wait=True)
        elif self._thread is not None:
            with self._io_lock:
                pass
        if self._error is not None:
            self._raise_kept_error()

    def close(self) -> None:
        """Flush, abort an open transaction, let go of the transactional id. Doing it twice is harmless."""
        if self._closed:
            return
        try:
            if self._in_transaction:
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
            if self._in_transaction:
                self.abort_transaction()
            raise
        self.commit_transaction()

    def begin_transaction(self) -> None:
        """Start a transaction; everything until its end belongs to it."""
        if self._state is None:
            raise TransactionError("this producer has no transactional_id")
        if self._in_transaction:
            raise TransactionError("a transaction is open already; commit or abort it first")
        self._in_transaction = True
        self._doomed = None
        self._touched = {}
        self._sequences = {}
        self._epoch = self._state.epoch

    def send_offsets(self, offsets: Mapping[tuple[str, int], int], group: str | GroupMetadata) -> None:
        """Make the commit of a consumer group's offsets a part of the transaction."""
        self._check_in_transaction()
        with self._io_lock:
            self.flush()
            store = OffsetStore.of(self._log)
            for place, base, last in store.append_in_transaction(
                offsets, group, self._enlist, self._producer_id, self._epoch, self._sequences
            ):
                self._touch(place, base, last)

    def commit_transaction(self) -> None:
        """Make the transaction's records visible. When it returns they are durable, whatever `acks` is."""
        self._check_in_transaction()
        assert self._coordinator is not None and self._state is not None
        with self._io_lock:
            try:
                self.flush()
                for (topic, number), (start, end) in self._touched.items():
                    self._log.partition(topic, number).sync_range(start, end)
            except BaseException as error:
                self._doomed = self._doomed or error
                raise
            if self._doomed is not None:
                raise TransactionError(
                    f"the transaction cannot be committed, a write failed: {self._doomed}; abort it"
                ) from self._doomed
            self._state = self._coordinator.commit(self._state)
            self._in_transaction = False

    def abort_transaction(self) -> None:
        """Void the transaction's records."""
        if not self._in_transaction:
            raise TransactionError("no transaction is open")
        assert self._coordinator is not None and self._state is not None
        with self._io_lock:
            with self._lock:
                for buffer in self._dirty:
                    _take(buffer)
                self._dirty.clear()
            self._error = None
            try:
                self._state = self._coordinator.abort(self._state)
            except TransactionAbortedError:
                self._state = self._coordinator.state(self._state.transactional_id)
            self._in_transaction = False

    # Inside

    def _check_in_transaction(self) -> None:
        if self._state is None:
            raise TransactionError("this producer has no transactional_id")
        if not self._in_transaction:
            raise TransactionError("begin_transaction comes first")

    def _slow_checks(self, topic: str) -> list[_Buffer]:
        if self._closed:
            raise ClosedError("the producer was closed")
        if self._error is not None:
            self._raise_kept_error()
        if self._state is not None and not self._in_transaction:
            raise TransactionError("a transactional producer writes inside of a transaction; begin one first")
        buffers = self._topics.get(topic)
        if buffers is None:
            found = self._log.topic(topic)
            buffers = [_Buffer(found, number) for number in range(found.partition_count)]
            self._topics[topic] = buffers
            self._sticky[topic] = int.from_bytes(os.urandom(2), "little") % len(buffers)
        return buffers

    def _raise_kept_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

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
            with self._lock:
                buffers = list(self._dirty)
            try:
                self._flush_buffers(buffers, wait=True)
            except Exception as error:  # handed to the caller of the next send or flush
                self._error = error

    def _flush_buffers(self, buffers: list[_Buffer], wait: bool) -> None:
        """Write buffers as batches. Without `wait`, syncing is left to the linger thread, if there is one."""
        with self._io_lock:
            writes = []
            for buffer in buffers:
                with self._lock:
                    if not buffer.values:
                        continue
                    if buffer in self._dirty:
                        self._dirty.remove(buffer)
                    values, keys, times, headers = _take(buffer)
                    self._next_sticky(buffer.topic.name, len(self._topics[buffer.topic.name]))
                try:
                    batch = self._encode(buffer.topic, values, keys, times, headers)
                except BaseException as error:
                    self._doomed = self._doomed or error
                    raise
                writes.append((buffer.topic.partition(buffer.partition), batch))
            if writes:
                self._write_all(writes)

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

    def _enlist(self, places: list[tuple[str, int]]) -> None:
        assert self._coordinator is not None and self._state is not None
        fresh = [place for place in places if place not in self._state.partitions]
        if fresh:
            self._state = self._coordinator.add_partitions(self._state, fresh)

    def _write_all(self, writes: list[tuple[Partition, EncodedBatch]]) -> list[Appended]:
        """Append all, then sync all."""
        try:
            if self._in_transaction:
                self._enlist([(partition.topic, partition.number) for partition, _ in writes])
            done = [self._retrying(lambda p=p, b=b: self._append_one(p, b)) for p, b in writes]  # type: ignore[misc]
            if self.acks == "fsync" and not self._in_transaction:
                for (partition, _), where in zip(writes, done):
                    self._retrying(
                        lambda p=partition, w=where: p.sync_range(w.base_offset, w.last_offset + 1)  # type: ignore[misc]
                    )
            else:
                for partition, _ in writes:
                    if partition.settings.visibility == "durable":
                        partition.sync()
        except (StorageError, LogError) as error:
            if self._in_transaction:
                self._doomed = self._doomed or error
            elif self._producer_id >= 0:
                self._epoch += 1
                self._sequences.clear()
            if self.acks == "none":
                self.failed_records += sum(batch.count for _, batch in writes)
                return []
            raise
        if self._on_delivery is not None:
            for where in done:
                self._on_delivery(where)
        return done

    def _append_one(self, partition: Partition, batch: EncodedBatch) -> Appended:
        place = (partition.topic, partition.number)
        if self._producer_id < 0:
            base, last = partition.append(batch)
        else:
            sequence = self._sequences.get(place, 0)
            base, last = partition.append(
                batch, self._producer_id, self._epoch, sequence, self._in_transaction
            )
            self._sequences[place] = advance(sequence, batch.last_offset_delta + 1)
            if self._in_transaction:
                self._touch(place, base, last)
        return Appended(partition.topic, partition.number, base, last)

    def _touch(self, place: tuple[str, int], base: int, last: int) -> None:
        self._touched[place] = (self._touched.get(place, (base, 0))[0], last + 1)

    def _retrying(self, action: Callable[[], Appended | None]) -> Appended:
        pause_s = self._retry_s
        for attempt in range(self._retries + 1):
            try:
                return action()  # type: ignore[return-value]
            except CorruptionError:
                raise
            except StorageError:
                if attempt == self._retries or self._producer_id < 0:
                    raise
                time.sleep(pause_s)
                pause_s *= 2
        raise AssertionError("unreachable")


def _take(
    buffer: _Buffer,
) -> tuple[list[bytes | None], list[bytes | None], list[int], list[Headers | None] | None]:
    taken = buffer.values, buffer.keys, buffer.times, buffer.headers if buffer.any_headers else None
    buffer.values, buffer.keys, buffer.times, buffer.headers = [], [], [], []
    buffer.any_headers, buffer.bytes = False, 0
    return taken


def _bytes_or_none(value: object, what: str) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a record's {what} must be bytes or None, not {type(value).__name__}: {value!r:.80}")


__all__ = ["ACKS", "SEQUENCE_END", "Appended", "Producer"]
