"""Transactions: who may write under a transactional id, and how a transaction over several partitions ends.

The decision is a record in the internal topic `__transactions`; the partitions learn it by markers. Every
transaction has an epoch of its own, so producer id and epoch name it for good: the upper half counts the producers
that took the id (durable before the first use), the lower half their transactions.

1. `add_partitions` notes a partition before the first record goes there (not synced).
2. commit: the data is synced; then the record "committing" is written and synced: the point of no return.
3. Markers go to the partitions, then the record "ready" with the next epoch. Until the markers are known to be on
   the disk, the record carries the transaction as `unsettled`.
4. An open transaction in a partition that no record calls committing or unsettled was aborted (presumed abort).

Whoever is held up by an open transaction ends it if its producer is dead (its owner lock is free) or overdue.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from typing import Any

import attrs

from hornbeam.storage.errors import LockTimeoutError, MissingFileError
from hornbeam.storage.files import Lock
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.errors import (
    ProducerFencedError,
    TopicDeletedError,
    TransactionAbortedError,
    TransactionError,
    UnknownPartitionError,
    UnknownTopicError,
)
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.partition_reader import PartitionReader
from hornbeam.storage.log.record_batch import encode

TRANSACTIONS_TOPIC = "__transactions"
READY, ONGOING, COMMITTING = "ready", "ongoing", "committing"
_STRIPES = 16
_UNSETTLED_MAX = 4
_INCARNATION_SHIFT = 32

Place = tuple[str, int]
Unsettled = tuple[int, tuple[tuple[str, int, int], ...]]


@attrs.frozen
class TransactionState:
    """The newest record of one transactional id. `unsettled`: committed epoch -> where its markers lie."""

    transactional_id: str
    producer_id: int
    epoch: int
    status: str = READY
    partitions: tuple[Place, ...] = ()
    timeout_ms: int = 60_000
    started: int = 0
    owner: str = ""
    unsettled: tuple[Unsettled, ...] = ()

    def encode(self) -> bytes:
        """The record's value."""
        return json.dumps(attrs.asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> TransactionState:
        """Inverse of `encode`."""
        fields: dict[str, Any] = json.loads(data)
        fields["partitions"] = tuple((t, p) for t, p in fields["partitions"])
        fields["unsettled"] = tuple(
            (e, tuple((t, p, o) for t, p, o in where)) for e, where in fields["unsettled"]
        )
        return cls(**fields)


class TransactionCoordinator:
    """The transactional ids of a log, as all processes see them. Threads may share it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._directory = os.path.join(log.directory, "transactions")
        self._mutex = threading.RLock()
        self._states: dict[str, TransactionState] = {}
        self._ids: dict[int, str] = {}
        self._reader: PartitionReader | None = None

    @classmethod
    def of(cls, log: Log) -> TransactionCoordinator:
        """The coordinator of a log; one in a process."""
        return log.companion(cls)

    # What producers call

    def register(self, transactional_id: str, timeout_ms: int) -> tuple[TransactionState, Lock]:
        """Take over a transactional id: end what its last owner left open and fence that one. Also the lock to
        hold for as long as the producer lives."""
        with self._locked(transactional_id):
            old = self.state(transactional_id)
            if old is None:
                producer_id, epoch = int.from_bytes(os.urandom(7), "little"), 0
                unsettled: tuple[Unsettled, ...] = ()
            else:
                old = self._end(old, fence=True)
                producer_id, unsettled = old.producer_id, old.unsettled
                epoch = ((old.epoch >> _INCARNATION_SHIFT) + 1) << _INCARNATION_SHIFT
            owner = f"{hashlib.sha1(transactional_id.encode()).hexdigest()}-{uuid.uuid4().hex[:12]}.owner"
            lock = self._log.files.lock(os.path.join(self._directory, owner), timeout=1.0)
            state = TransactionState(
                transactional_id, producer_id, epoch, timeout_ms=timeout_ms, owner=owner, unsettled=unsettled
            )
            try:
                self._write(state, sync=True)
            except BaseException:
                lock.release()
                raise
            if old is not None and old.owner and old.owner != owner:
                try:
                    self._log.files.unlink(os.path.join(self._directory, old.owner))
                except MissingFileError:
                    pass
            return state, lock

    def add_partitions(self, state: TransactionState, places: list[Place]) -> TransactionState:
        """Note that the transaction is about to write there; the state to go on with."""
        with self._locked(state.transactional_id):
            current = self._checked(state)
            started = current.started if current.status == ONGOING else self._log.clock()
            new = attrs.evolve(
                current,
                status=ONGOING,
                started=started,
                partitions=tuple(dict.fromkeys([*current.partitions, *places])),
            )
            self._write(new)
            for topic, number in places:
                self._end_older(self._log.partition(topic, number), new)
            return new

    def commit(self, state: TransactionState) -> TransactionState:
        """Decide and carry out the commit. The caller has synced the data. Returns the next transaction's state."""
        with self._locked(state.transactional_id):
            current = self._checked(state)
            if current.status == READY:
                return current
            current = attrs.evolve(current, status=COMMITTING)
            self._write(current, sync=True)
            return self._end(current, decided=True)

    def abort(self, state: TransactionState) -> TransactionState:
        """Void the transaction; the next one's state."""
        with self._locked(state.transactional_id):
            current = self._checked(state)
            if current.status == COMMITTING:
                raise TransactionError(
                    f"the transaction of {state.transactional_id!r} was being committed when an error came; its "
                    "outcome is decided there: call commit_transaction again"
                )
            return current if current.status == READY else self._end(current)

    # What anyone calls who is held up

    def resolve(self, partition: Partition) -> bool:
        """End the transactions open in a partition whose producers are dead or overdue. True if none is left."""
        with partition.section():
            producers = partition.view.producers
            waiting = {p: producers.entries[p].epoch for p in producers.open_transactions}
        for producer_id, epoch in waiting.items():
            self._resolve_one(partition, producer_id, epoch)
        with partition.section():
            return not partition.view.producers.open_transactions

    def state(self, transactional_id: str) -> TransactionState | None:
        """What is known of a transactional id."""
        with self._mutex:
            self._catch_up()
            return self._states.get(transactional_id)

    def states(self) -> list[TransactionState]:
        """All transactional ids."""
        with self._mutex:
            self._catch_up()
            return list(self._states.values())

    # Inside

    def _resolve_one(self, partition: Partition, producer_id: int, epoch: int) -> None:
        with self._mutex:
            self._catch_up()
            transactional_id = self._ids.get(producer_id)
        if transactional_id is None:
            partition.append_marker(producer_id, epoch, committed=False)
            return
        with self._locked(transactional_id):
            state = self.state(transactional_id)
            assert state is not None
            if state.epoch == epoch and state.status != READY:
                if state.status == COMMITTING:
                    state = self._end(state)
                elif self._is_dead(state) or self._is_overdue(state):
                    state = self._end(state, fence=True)
                else:
                    return
            with partition.section():  # unless a marker came by now, nobody else will write one
                if producer_id in partition.view.producers.open_transactions:
                    committed = any(e == epoch for e, _ in state.unsettled)
                    partition.append_marker(producer_id, epoch, committed)

    def _end_older(self, partition: Partition, state: TransactionState) -> None:
        """A crash may have taken the marker of an earlier transaction of this producer: write it now."""
        with partition.section():
            producers = partition.view.producers
            if state.producer_id in producers.open_transactions:
                epoch = producers.entries[state.producer_id].epoch
                if epoch < state.epoch:
                    partition.append_marker(
                        state.producer_id, epoch, any(e == epoch for e, _ in state.unsettled)
                    )

    def _is_dead(self, state: TransactionState) -> bool:
        try:
            self._log.files.lock(os.path.join(self._directory, state.owner), timeout=0).release()
        except LockTimeoutError:
            return False
        return True

    def _is_overdue(self, state: TransactionState) -> bool:
        return self._log.clock() - state.started > state.timeout_ms * 1000

    def _checked(self, state: TransactionState) -> TransactionState:
        current = self.state(state.transactional_id)
        if current is None or current.producer_id != state.producer_id or current.owner != state.owner:
            raise ProducerFencedError(
                f"transactional id {state.transactional_id!r} was taken over by another producer"
            )
        if current.epoch != state.epoch:
            raise TransactionAbortedError(
                f"the transaction of {state.transactional_id!r} was aborted: it took longer than "
                f"{current.timeout_ms} ms, or its producer was taken for dead"
            )
        return current

    def _end(self, state: TransactionState, fence: bool = False, decided: bool = False) -> TransactionState:
        """Write the markers and the record that closes the transaction; with `fence`, also a new epoch if idle.
        `decided`: the record "committing" is known to be on the disk."""
        committed = state.status == COMMITTING
        unsettled = list(state.unsettled)
        epoch = state.epoch if committed or not fence or state.status == READY else state.epoch + 1
        if (
            committed and not decided
        ):  # no marker may be seen before: a failed fsync may have taken the record
            self._write(state, sync=True)
        if state.status != READY:
            marked = []
            for topic, number in state.partitions:
                try:
                    partition = self._log.partition(topic, number)
                    self._end_older(partition, state)
                    end = partition.append_marker(state.producer_id, epoch, committed)
                    marked.append((topic, number, partition.end_offset if end is None else end))
                except (UnknownTopicError, UnknownPartitionError, TopicDeletedError):
                    continue
            if committed:
                unsettled.append((state.epoch, tuple(marked)))
        elif not fence:
            return state
        new = attrs.evolve(
            state,
            status=READY,
            epoch=epoch + 1,
            partitions=(),
            started=0,
            unsettled=self._still_unsettled(state.producer_id, unsettled),
        )
        self._write(new)
        return new

    def _still_unsettled(self, producer_id: int, unsettled: list[Unsettled]) -> tuple[Unsettled, ...]:
        kept = []
        for at, (epoch, places) in enumerate(unsettled):
            must = at < len(unsettled) - _UNSETTLED_MAX
            left = []
            for topic, number, end in places:
                try:
                    partition = self._log.partition(topic, number)
                    with partition.section():  # a failed fsync may have taken the marker
                        producers = partition.view.producers
                        if producers.open_transactions and producer_id in producers.open_transactions:
                            end = partition.append_marker(producer_id, epoch, committed=True) or end
                    if must:
                        partition.sync_to(end)
                    if partition.flushed_offset < end:
                        left.append((topic, number, end))
                except (UnknownTopicError, UnknownPartitionError, TopicDeletedError):
                    continue
            if left:
                kept.append((epoch, tuple(left)))
        return tuple(kept)

    def _locked(self, transactional_id: str) -> Lock:
        stripe = int(hashlib.sha1(transactional_id.encode()).hexdigest(), 16) % _STRIPES
        self._log.files.mkdir(self._directory)
        return self._log.files.lock(os.path.join(self._directory, f"stripe-{stripe}.lock"))

    def _partition(self) -> Partition:
        return self._log.ensure_topic(
            TRANSACTIONS_TOPIC, cleanup="compact", segment_bytes=8 << 20, segment_ms=None
        ).partition(0)

    def _write(self, state: TransactionState, sync: bool = False) -> None:
        partition = self._partition()
        batch = encode([state.encode()], [state.transactional_id.encode()], self._log.clock())
        base, last = partition.append(batch)
        if sync:
            partition.sync_range(base, last + 1)

    def _catch_up(self) -> None:
        partition = self._partition()
        if self._reader is None or self._reader.partition is not partition:
            self._reader = PartitionReader(partition, partition.log_start_offset, committed=False)
            self._states.clear()
        while self._reader.offset < partition.words[words_of.END_OFFSET]:
            for batch in self._reader.read():
                for value in batch.values():
                    state = TransactionState.decode(value or b"")
                    self._states[state.transactional_id] = state
                    self._ids[state.producer_id] = state.transactional_id
