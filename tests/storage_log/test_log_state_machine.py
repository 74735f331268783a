"""Random use of a partitioned log by three processes against a model in memory (hypothesis)."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from storage_log.model import read_values, resolve_all

from hornbeam.storage.log import Consumer, Log, Producer, TransactionError
from hornbeam.storage.log.verify import verify

TOPIC, PARTITIONS, PROCESSES = "t", 2, 3
processes = st.integers(0, PROCESSES - 1)
partitions = st.integers(0, PARTITIONS - 1)
codecs = st.sampled_from(["none", "lz4", "zstd"])


class LogMachine(RuleBasedStateMachine):
    """Every process has the log open by itself; what is visible must be the same for all, and as in the model."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="log-machine-")
        self.logs = [Log(self.directory) for _ in range(PROCESSES)]
        self.logs[0].create_topic(TOPIC, PARTITIONS, segment_bytes=1024, index_interval_bytes=200)
        self.producers: dict[Any, Producer] = {}
        self.all: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.void: set[bytes] = set()
        self.open: dict[int, list[bytes]] = {}
        self.group: dict[int, Consumer] = {}
        self.read: list[bytes] = []
        self.number = 0

    def producer(self, process: int, transactional: bool = False, codec: str | None = None) -> Producer:
        key = (process, transactional, codec)
        if key not in self.producers:
            self.producers[key] = Producer(
                self.logs[process],
                acks="write",
                linger_ms=None,
                compression=codec,
                transactional_id=f"tx{process}" if transactional else None,
            )
        return self.producers[key]

    def fresh(self, count: int, size: int) -> list[bytes]:
        self.number += count
        return [b"%06d" % (self.number - count + i) + b"." * size for i in range(count)]

    @rule(
        process=processes,
        partition=partitions,
        count=st.integers(1, 6),
        size=st.integers(0, 80),
        codec=codecs,
    )
    def append(self, process: int, partition: int, count: int, size: int, codec: str) -> None:
        values = self.fresh(count, size)
        self.producer(process, codec=codec).append(TOPIC, values, partition=partition)
        self.all[partition] += values

    @rule(process=processes, partition=partitions, count=st.integers(1, 3))
    def append_in_transaction(self, process: int, partition: int, count: int) -> None:
        producer = self.producer(process, transactional=True)
        if process not in self.open:
            producer.begin_transaction()
            self.open[process] = []
        values = self.fresh(count, 5)
        producer.append(TOPIC, values, partition=partition)
        self.all[partition] += values
        self.open[process] += values

    @rule(process=processes, commit=st.booleans())
    def end_transaction(self, process: int, commit: bool) -> None:
        if process not in self.open:
            try:
                self.producer(process, transactional=True).commit_transaction()
            except TransactionError:
                return
            raise AssertionError("nothing to commit")
        values = self.open.pop(process)
        if commit:
            self.producer(process, transactional=True).commit_transaction()
        else:
            self.producer(process, transactional=True).abort_transaction()
            self.void.update(values)

    @rule(process=processes)
    def die(self, process: int) -> None:
        """The process is gone without closing anything; its open transaction becomes void when somebody minds."""
        for key in [key for key in self.producers if key[0] == process]:
            producer = self.producers.pop(key)
            if producer._owner is not None:
                producer._owner.release()
        self.void.update(self.open.pop(process, []))
        if process in self.group:
            member = self.group.pop(process)._member
            assert member is not None and member._life is not None
            member._life.release()
        self.logs[process]._open_lock.release()
        self.logs[process] = Log(self.directory)
        if not self.open:
            resolve_all(self.logs[process])

    @rule(process=processes, limit=st.integers(1, 20))
    def consume(self, process: int, limit: int) -> None:
        """One member of the group reads and commits."""
        if process not in self.group:
            self.group[process] = Consumer(self.logs[process], TOPIC, group="g", heartbeat_ms=0)
        consumer = self.group[process]
        records = consumer.poll(max_records=limit)
        consumer.commit()
        self.read += [record.value or b"" for record in records]

    @rule(process=processes)
    def leave(self, process: int) -> None:
        if process in self.group:
            self.group.pop(process).close()

    @invariant()
    def every_process_sees_the_model(self) -> None:
        if not hasattr(self, "logs"):
            return
        undecided = {value for values in self.open.values() for value in values}
        for number in range(PARTITIONS):
            everything = self.all[number]
            first_open = next((i for i, v in enumerate(everything) if v in undecided), len(everything))
            stable = [v for v in everything[:first_open] if v not in self.void]
            for log in self.logs:
                partition = log.partition(TOPIC, number)
                assert read_values(partition, committed=False) == everything
                visible = read_values(partition, committed=True)
                assert visible == stable[: len(visible)]
                if not self.open:
                    assert visible == stable or partition.last_stable_offset < partition.end_offset

    @invariant()
    def the_group_read_nothing_void_and_nothing_twice(self) -> None:
        if hasattr(self, "read"):
            assert len(set(self.read)) == len(self.read) and not self.void & set(self.read)

    def teardown(self) -> None:
        if hasattr(self, "logs"):
            for consumer in self.group.values():
                consumer.close()
            for producer in self.producers.values():
                producer.close()
            for log in self.logs:
                log.close()
            assert verify(self.directory).findings == []
            shutil.rmtree(self.directory)


LogMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
test_log_machine = LogMachine.TestCase
