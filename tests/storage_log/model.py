"""What a log may hold after a crash: a model of what was attempted and acknowledged, and the check against it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import attrs
from storage_sim.simfiles import SimFiles

from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import Delivery, Log, LogError, Producer
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.partition_reader import PartitionReader
from hornbeam.storage.log.transaction import TransactionCoordinator

ROOT = "/log"
TOPIC = "t"
PARTITIONS = 2
PENDING, FAILED, WRITTEN, DURABLE = "pending", "failed", "written", "durable"
OPEN, COMMITTING, COMMITTED, ABORTED = "open", "committing", "committed", "aborted"
SETTINGS = {"segment_bytes": 1024, "segment_ms": None, "index_interval_bytes": 256}


@attrs.define(eq=False)
class Attempt:
    """One record that somebody tried to write."""

    value: bytes
    status: str = PENDING
    transaction: int | None = None


@attrs.define
class Model:
    """Attempts by partition in the order they were made, and transactions."""

    attempts: list[list[Attempt]] = attrs.Factory(lambda: [[] for _ in range(PARTITIONS)])
    transactions: list[str] = attrs.Factory(list)
    offsets: list[int] = attrs.Factory(list)
    topic_made: bool = False
    count: int = 0

    def attempt(self, partition: int, records: int, transaction: int | None = None) -> list[Attempt]:
        """Note that records are about to be written."""
        fresh = [
            Attempt(b"v%06d-" % (self.count + i) + b"x" * 20, transaction=transaction) for i in range(records)
        ]
        self.count += records
        self.attempts[partition] += fresh
        return fresh


def read_values(partition: Partition, committed: bool) -> list[bytes]:
    """All values that a consumer of that isolation gets."""
    reader = PartitionReader(partition, partition.log_start_offset, committed)
    values: list[bytes] = []
    offsets: list[int] = []
    while reader.offset < reader.limit():
        for batch in reader.read():
            values += [value or b"" for value in batch.values()]
            offsets += batch.offsets().tolist()
    assert offsets == sorted(set(offsets)), "offsets repeat or go back"
    return values


def resolve_all(log: Log) -> None:
    """End what dead producers left open."""
    coordinator = TransactionCoordinator.of(log)
    for partition in log.topic(TOPIC).partitions():
        assert coordinator.resolve(partition), "a dead producer's transaction stays open"


def check(log: Log, model: Model, machine_crashed: bool, fsync_failed: bool = False) -> None:
    """Assert that what the log holds is allowed by the model. All producers are dead.

    A failed fsync may have taken records that were written and not yet durable, from the middle too.
    """
    if not log.files.exists(f"{ROOT}/topics/{TOPIC}"):
        assert not model.topic_made, "the topic is gone"
        return
    resolve_all(log)
    seen_of: dict[int, list[bool]] = {}
    for number, attempts in enumerate(model.attempts):
        partition = log.partition(TOPIC, number)
        place = {attempt.value: index for index, attempt in enumerate(attempts)}
        values = read_values(partition, committed=False)
        indexes = [place[value] for value in values]
        assert indexes == sorted(set(indexes)), f"partition {number}: order or duplicates: {indexes}"
        there = set(indexes)
        last = max(there, default=-1)
        for index, attempt in enumerate(attempts):
            must = attempt.status == DURABLE or (
                attempt.status == WRITTEN and not fsync_failed and (not machine_crashed or index < last)
            )
            assert index in there or not must, f"partition {number}: lost {attempt}"
        visible = {place[value] for value in read_values(partition, committed=True)}
        assert visible <= there
        for index, attempt in enumerate(attempts):
            if attempt.transaction is None:
                assert (index in visible) == (index in there)
            elif attempt.status != FAILED:
                seen_of.setdefault(attempt.transaction, []).append(index in visible)
            if attempt.transaction is not None and model.transactions[attempt.transaction] in (OPEN, ABORTED):
                assert index not in visible, f"partition {number}: void {attempt} is visible"
    outcome = {}
    for transaction, seen in seen_of.items():
        status = model.transactions[transaction]
        assert len(set(seen)) == 1, f"transaction {transaction} ({status}) is visible in part: {seen}"
        outcome[transaction] = seen[0]
        if status == COMMITTED:
            assert seen[0], f"transaction {transaction} was committed and is gone"
    expected = [
        t for t, status in enumerate(model.transactions)
        if status == COMMITTED or (status == COMMITTING and outcome.get(t, False))
    ]  # fmt: skip
    committed = OffsetStore.of(log).committed("g")
    found = {place: entry.offset for place, entry in committed.items()}
    if expected:
        assert found == {(TOPIC, 0): model.offsets[expected[-1]]}, (found, expected)
    elif all(status in (OPEN, ABORTED) for status in model.transactions):
        assert not found, found


def check_goes_on(log: Log, model: Model) -> None:
    """Assert that one can write and read on, with the same transactional id too."""
    if not log.files.exists(f"{ROOT}/topics/{TOPIC}"):
        return
    with Producer(log, transactional_id="tx", linger_ms=None) as producer, producer.transaction():
        producer.append(TOPIC, [b"last"], partition=1)
    with Producer(log, linger_ms=None) as producer:
        producer.append(TOPIC, [b"last"], partition=0)
    for partition in log.topic(TOPIC).partitions():
        assert read_values(partition, committed=True)[-1] == b"last"


class Workload:
    """A random sequence of writes by two processes, checked by the model. `steps` are the same for one seed."""

    def __init__(self, files: list[SimFiles], model: Model, seed: int, retries: int = 1) -> None:
        self.files = files
        self.model = model
        self.rng = random.Random(seed)
        self.retries = retries
        self.clock_value = 1_000_000_000
        self.logs: list[Log | None] = [None for _ in files]
        self.producers: dict[tuple[int, str], Producer] = {}

    def clock(self) -> int:
        """A clock that goes forward a little each time."""
        self.clock_value += 1000
        return self.clock_value

    def run(self, steps: int) -> None:
        """Do that many steps; errors of the disk are taken as what they are."""
        for _ in range(steps):
            action = self.rng.choice(
                [self.plain, self.plain, self.pipeline, self.transact, self.transact, self.sync, self.reopen]
            )
            with contextlib.suppress(StorageError, LogError):
                action()

    def log(self, process: int) -> Log:
        """That process's log, with the topic in it."""
        log = self.logs[process]
        if log is None:
            log = self.logs[process] = Log(ROOT, files=self.files[process], clock=self.clock)
        if not self.model.topic_made:
            if TOPIC not in log.topics():
                log.create_topic(TOPIC, PARTITIONS, **SETTINGS)
            self.model.topic_made = True
        return log

    def producer(self, process: int, acks: str) -> Producer:
        """That process's producer with those acks."""
        key = (process, acks)
        if key not in self.producers:
            self.producers[key] = Producer(
                self.log(process), acks=acks, linger_ms=None, retries=self.retries, retry_ms=0
            )
        return self.producers[key]

    def plain(self) -> None:
        """A batch outside of transactions."""
        process, partition = self.rng.randrange(len(self.files)), self.rng.randrange(PARTITIONS)
        acks = self.rng.choice(["write", "fsync", "none"])
        records = self.rng.choice([1, 1, 2, 5])
        producer = self.producer(process, acks)
        attempts = self.model.attempt(partition, records)
        status = FAILED
        try:
            if producer.append(TOPIC, [a.value for a in attempts], partition=partition):
                status = DURABLE if acks == "fsync" else WRITTEN
        finally:
            for attempt in attempts:
                attempt.status = status

    def pipeline(self) -> None:
        """Several records under way at once in both partitions, each acknowledged or not by its own delivery."""
        acks = self.rng.choice(["write", "fsync"])
        producer = self.producer(self.rng.randrange(len(self.files)), acks)
        under_way: list[tuple[Attempt, Delivery]] = []
        try:
            for _ in range(self.rng.choice([2, 4])):
                partition = self.rng.randrange(PARTITIONS)
                [attempt] = self.model.attempt(partition, 1)
                attempt.status = FAILED
                delivery = producer.send(TOPIC, attempt.value, partition=partition)
                attempt.status = PENDING
                under_way.append((attempt, delivery))
            under_way[self.rng.randrange(len(under_way))][1].wait()
            producer.flush()
        finally:
            for attempt, delivery in under_way:
                if delivery.done:
                    attempt.status = FAILED if delivery.error else DURABLE if acks == "fsync" else WRITTEN

    def sync(self) -> None:
        """Everything written so far becomes durable."""
        partition = self.rng.randrange(PARTITIONS)
        process = self.rng.randrange(len(self.files))
        before = [a for a in self.model.attempts[partition] if a.status == WRITTEN]
        self.log(process).partition(TOPIC, partition).sync()
        if self.files[process].disk.failure is None:  # a failed fsync may have lost them before
            for attempt in before:
                attempt.status = DURABLE

    def reopen(self) -> None:
        """One process goes away (its handles and locks with it) and comes back."""
        process = self.rng.randrange(len(self.files))
        log, self.logs[process] = self.logs[process], None
        for key in [key for key in self.producers if key[0] == process]:
            del self.producers[key]
        if log is not None:
            log.close()
        self.log(process)

    def transact(self) -> None:
        """One transaction with records in one or two partitions, and offsets."""
        process = self.rng.randrange(len(self.files))
        producer = self.tx_producer(process)
        number = len(self.model.transactions)
        partitions = self.rng.choice([[0], [1], [0, 1], [1, 0]])
        commit = self.rng.random() < 0.65
        producer.begin_transaction()
        self.model.transactions.append(OPEN)
        self.model.offsets.append(number + 1)
        attempts: list[Attempt] = []
        try:
            for partition in partitions:
                fresh = self.model.attempt(partition, self.rng.choice([1, 3]), number)
                attempts += fresh
                producer.append(TOPIC, [a.value for a in fresh], partition=partition)
                for attempt in fresh:
                    attempt.status = WRITTEN
            producer.send_offsets({(TOPIC, 0): number + 1}, "g")
            if commit:
                self.model.transactions[number] = COMMITTING
                producer.commit_transaction()
                self.model.transactions[number] = COMMITTED
                for attempt in attempts:
                    attempt.status = DURABLE
            else:
                producer.abort_transaction()
                self.model.transactions[number] = ABORTED
        except (StorageError, LogError):
            for attempt in attempts:
                attempt.status = FAILED if attempt.status == PENDING else attempt.status
            self.settle(producer, process, number)
            raise

    def settle(self, producer: Producer, process: int, number: int) -> None:
        """After an error: abort; the producer is given up if that does not work either."""
        del self.producers[(process, "tx")]
        try:
            producer.abort_transaction()
            if self.model.transactions[number] == COMMITTING:
                self.model.transactions[number] = ABORTED
        except (StorageError, LogError):
            with contextlib.suppress(StorageError, LogError):
                producer.close()

    def tx_producer(self, process: int) -> Producer:
        """A transactional producer; taking over from the other process's fences that one."""
        key = (process, "tx")
        if key not in self.producers:
            for other in [k for k in self.producers if k[1] == "tx"]:
                del self.producers[other]
            self.producers[key] = Producer(
                self.log(process), transactional_id="tx", linger_ms=None, retries=self.retries, retry_ms=0
            )
        return self.producers[key]


Observer = Callable[[str, str], None]
