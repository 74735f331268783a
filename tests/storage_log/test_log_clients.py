"""Log, producers, consumers, transactions and groups as a user meets them."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornbeam.storage.log import (
    Consumer,
    ForkedError,
    InvalidSettingError,
    Log,
    MemberFencedError,
    OffsetOutOfRangeError,
    Producer,
    ProducerFencedError,
    RecordTooLargeError,
    SequenceError,
    TopicDeletedError,
    TopicExistsError,
    TransactionAbortedError,
    TransactionError,
    UnknownPartitionError,
    UnknownTopicError,
    bell,
)
from hornbeam.storage.log.group import describe_group
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.partitioner import partition_of
from hornbeam.storage.log.record_batch import encode


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(tmp_path / "log") as log:
        yield log


def values(consumer: Consumer, timeout_s: float = 0.0) -> list[bytes | None]:
    return [record.value for record in consumer.read_available(timeout_s)]


# Topics


def test_topics_are_made_described_altered_deleted(log: Log) -> None:
    topic = log.create_topic("orders", 3, segment_bytes=5000, cleanup="compact")
    assert log.topics() == ["orders"] and topic.partition_count == 3 and topic.settings.compacted
    with pytest.raises(TopicExistsError):
        log.create_topic("orders")
    assert log.alter_topic("orders", partitions=5, retention_ms=10).settings.retention_ms == 10
    assert log.topic("orders").partition_count == 5
    with pytest.raises(InvalidSettingError, match="cannot be fewer"):
        log.alter_topic("orders", partitions=2)
    other = Log(log.directory)
    stale = other.partition("orders", 0)
    log.delete_topic("orders")
    assert log.topics() == []
    with pytest.raises(TopicDeletedError):
        stale.append(encode([b"x"]))
    with pytest.raises(UnknownTopicError, match="topics: none"):
        other.topic("orders")
    log.create_topic("orders")
    assert other.partition("orders", 0).append(encode([b"x"])) == (0, 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b", "x" * 201])
def test_bad_topic_names(log: Log, name: str) -> None:
    with pytest.raises(InvalidSettingError):
        log.create_topic(name)


def test_bad_settings_are_named(log: Log) -> None:
    with pytest.raises(InvalidSettingError, match="no topic setting 'retention'"):
        log.create_topic("t", retention=5)
    with pytest.raises(InvalidSettingError, match="segment_bytes"):
        log.create_topic("t", segment_bytes=1)
    with pytest.raises(InvalidSettingError, match="compression"):
        log.create_topic("t", compression="zip")


def test_unknown_partition(log: Log) -> None:
    log.create_topic("t", 2)
    with pytest.raises(UnknownPartitionError, match="partitions 0 to 1, not 2"):
        log.partition("t", 2)


def test_pickles_and_refuses_to_be_used_after_fork(log: Log) -> None:
    log.create_topic("t")
    partition = log.partition("t", 0)
    copy = pickle.loads(pickle.dumps(log))
    assert copy.topics() == ["t"]
    pid = os.fork()
    if pid == 0:
        try:
            partition.append(encode([b"x"]))
        except ForkedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


# Producing and consuming


def test_send_by_key_and_read_back_in_order(log: Log) -> None:
    log.create_topic("t", 4)
    with Producer(log, acks="write", batch_records=7) as producer:
        for i in range(100):
            producer.send("t", b"%d" % i, b"k%d" % (i % 10), timestamp_micros=i, headers=[("n", b"%d" % i)])
    records = list(Consumer(log, "t").read_available())
    assert sorted(int(r.value or b"") for r in records) == list(range(100))
    for record in records:
        assert record.partition == partition_of(record.key or b"", 4)
        assert record.headers == (("n", record.value),) and record.timestamp_micros == int(
            record.value or b""
        )
    for partition in range(4):
        mine = [int(r.value or b"") for r in records if r.partition == partition]
        assert mine == sorted(mine)


def test_append_says_where_records_went(log: Log) -> None:
    log.create_topic("t", 3)
    with Producer(log) as producer:
        first = producer.append("t", [b"a", b"b"], partition=1)
        assert [(a.partition, a.base_offset, a.last_offset) for a in first] == [(1, 0, 1)]
        keys = [b"k%d" % i for i in range(50)]
        placed = producer.append("t", [b"v"] * 50, keys, timestamps=list(range(50)))
        assert sum(a.last_offset - a.base_offset + 1 for a in placed) == 50
    assert log.partition("t", 1).flushed_offset == log.partition("t", 1).end_offset


def test_linger_sends_by_itself(log: Log) -> None:
    log.create_topic("t")
    with Producer(log, acks="write", linger_ms=1) as producer, Consumer(log, "t") as consumer:
        producer.send("t", b"x")
        assert [r.value for r in consumer.poll(timeout_s=5.0)] == [b"x"]


def test_errors_of_background_writing_come_out(log: Log) -> None:
    log.create_topic("t", batch_bytes_max=300)
    producer = Producer(log, linger_ms=None)
    producer.send("t", b"x" * 400)
    with pytest.raises(RecordTooLargeError):
        producer.flush()
    producer.send("t", b"y")
    producer.close()
    assert values(Consumer(log, "t")) == [b"y"]


def test_compacted_topic_needs_keys(log: Log) -> None:
    log.create_topic("t", cleanup="compact")
    with pytest.raises(InvalidSettingError, match="needs a key"):
        Producer(log).append("t", [b"x"])


def test_idempotent_repeats_are_recognised(log: Log) -> None:
    log.create_topic("t")
    partition = log.partition("t", 0)
    for sequence in range(7):
        assert partition.append(encode([b"v"]), 99, 0, sequence) == (sequence, sequence)
    assert partition.append(encode([b"v"]), 99, 0, 3) == (3, 3)
    assert partition.end_offset == 7
    with pytest.raises(SequenceError):
        partition.append(encode([b"v"]), 99, 0, 9)
    with pytest.raises(SequenceError):
        partition.append(encode([b"v"]), 99, 0, 0)
    assert partition.append(encode([b"v"]), 99, 1, 0) == (7, 7)
    with pytest.raises(ProducerFencedError):
        partition.append(encode([b"v"]), 99, 0, 7)


def test_seeking(log: Log) -> None:
    log.create_topic("t", segment_bytes=2000, index_interval_bytes=300)
    with Producer(log, acks="write") as producer:
        for i in range(60):
            producer.append(
                "t", [b"%d" % (3 * i + j) for j in range(3)], timestamps=[1000 * i + j for j in range(3)]
            )
    assert len(log.partition("t", 0).view.bases) > 2
    consumer = Consumer(log, "t")
    for offset in (0, 1, 100, 178, 179):
        consumer.seek("t", 0, offset)
        assert (consumer.poll(max_records=1)[0].offset, consumer.position("t", 0)) == (offset, offset + 1)
    consumer.seek_to_time(20_000)
    assert consumer.poll(max_records=1)[0].offset == 60
    consumer.seek_to_time(20_001)
    assert consumer.poll(max_records=1)[0].offset == 61
    consumer.seek_to_time(10**9)
    assert consumer.poll() == [] and consumer.position("t", 0) == 180
    consumer.seek_to_beginning()
    assert consumer.lag() == {("t", 0): 180}
    strict = Consumer(log, "t", auto_offset_reset="error")
    strict.seek("t", 0, 500)
    with pytest.raises(OffsetOutOfRangeError):
        strict.poll()


def test_batches_and_paused_partitions(log: Log) -> None:
    log.create_topic("t", 2, compression="lz4")
    with Producer(log, acks="write") as producer:
        producer.append("t", [b"a" * 100] * 10, partition=0)
        producer.append("t", [b"b" * 100] * 10, partition=1)
    consumer = Consumer(log, "t")
    consumer.pause([("t", 0)])
    (batch,) = consumer.poll_batches()
    assert batch.partition == 1 and batch.to_arrow().num_rows == 10 and consumer.poll_batches() == []
    consumer.resume([("t", 0)])
    assert consumer.poll_batches()[0].values() == [b"a" * 100] * 10


def test_position_while_iterating_is_that_of_the_record_in_hand(log: Log) -> None:
    log.create_topic("t")
    Producer(log).append("t", [b"%d" % i for i in range(10)])
    consumer = Consumer(log, "t", group="g")
    for record in consumer:
        if record.offset == 3:
            consumer.commit()
            break
    assert consumer.committed() == {("t", 0): 4}
    assert [r.offset for r in consumer.poll(max_records=2)] == [4, 5]
    assert consumer.position("t", 0) == 6
    consumer.close()
    assert Consumer(log, "t", group="g").positions() == {("t", 0): 4}


def test_visibility_durable_shows_only_what_is_synced(log: Log) -> None:
    log.create_topic("t", visibility="durable")
    partition = log.partition("t", 0)
    partition.append(encode([b"x"]))
    consumer = Consumer(log, "t")
    assert consumer.poll() == []
    partition.sync()
    assert [r.value for r in consumer.poll()] == [b"x"]
    Producer(log, acks="write").append("t", [b"y"])
    assert [r.value for r in consumer.poll()] == [b"y"]


def test_waiting_consumer_is_woken_by_an_append(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not come to see by itself that there is something."""
    monkeypatch.setattr(bell, "_SLICE_S", 3600.0)
    log.create_topic("t")
    consumer = Consumer(Log(log.directory), "t")
    found: list[bytes | None] = []

    def wait() -> None:
        found.extend(record.value for record in consumer.poll(timeout_s=3600))

    for number in range(20):
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        time.sleep(0.005)  # mostly it sleeps by then
        Producer(log, acks="write").append("t", [b"%d" % number])
        waiting.join(60)
        assert found == [b"%d" % n for n in range(number + 1)]


# Transactions


def test_transaction_is_visible_as_a_whole_and_never_if_aborted(log: Log) -> None:
    log.create_topic("t", 2)
    committed = Consumer(log, "t")
    uncommitted = Consumer(log, "t", isolation="read_uncommitted")
    producer = Producer(log, transactional_id="id")
    with producer.transaction():
        producer.append("t", [b"1"], partition=0)
        producer.append("t", [b"2"], partition=1)
        assert values(committed) == [] and sorted(values(uncommitted), key=str) == [b"1", b"2"]
    assert sorted(values(committed), key=str) == [b"1", b"2"]
    with pytest.raises(ZeroDivisionError), producer.transaction():
        producer.append("t", [b"3"], partition=0)
        raise ZeroDivisionError
    Producer(log).append("t", [b"4"], partition=0)
    assert values(committed) == [b"4"] and values(uncommitted) == [b"3", b"4"]
    assert committed.lag() == {("t", 0): 0, ("t", 1): 0}


def test_open_transaction_holds_later_records_back(log: Log) -> None:
    log.create_topic("t")
    producer = Producer(log, transactional_id="id")
    consumer = Consumer(log, "t")
    producer.begin_transaction()
    producer.append("t", [b"1"])
    Producer(log).append("t", [b"2"])
    assert values(consumer, 0.1) == [] and log.partition("t", 0).last_stable_offset == 0
    producer.commit_transaction()
    assert values(consumer) == [b"1", b"2"]


def test_zombie_is_fenced_and_its_transaction_void(log: Log) -> None:
    log.create_topic("t")
    zombie = Producer(log, transactional_id="id")
    zombie.begin_transaction()
    zombie.append("t", [b"zombie"])
    successor = Producer(Log(log.directory), transactional_id="id")
    with pytest.raises(ProducerFencedError):
        zombie.append("t", [b"again"])
    with pytest.raises((ProducerFencedError, TransactionError)):
        zombie.commit_transaction()
    with successor.transaction():
        successor.append("t", [b"good"])
    assert values(Consumer(log, "t")) == [b"good"]


@pytest.fixture
def now_micros() -> list[int]:
    """The time of `clocked`."""
    return [1_000_000_000]


@pytest.fixture
def clocked(tmp_path: Path, now_micros: list[int]) -> Iterator[Log]:
    """A log whose clock a test moves."""
    with Log(tmp_path / "clocked", clock=lambda: now_micros[0]) as log:
        yield log


def test_overdue_transaction_is_aborted_by_who_waits(clocked: Log, now_micros: list[int]) -> None:
    log = clocked
    log.create_topic("t")
    slow = Producer(log, transactional_id="slow", transaction_timeout_ms=50)
    slow.begin_transaction()
    slow.append("t", [b"slow"])
    Producer(log).append("t", [b"next"])
    now_micros[0] += 50_000
    assert values(Consumer(log, "t"), 0.3) == []
    now_micros[0] += 1
    assert [r.value for r in Consumer(log, "t").poll(timeout_s=60)] == [b"next"]
    with pytest.raises((TransactionAbortedError, ProducerFencedError)):
        slow.commit_transaction()
    slow.abort_transaction()
    with slow.transaction():
        slow.append("t", [b"later"])
    assert values(Consumer(log, "t")) == [b"next", b"later"]


def test_offsets_in_a_transaction(log: Log) -> None:
    log.create_topic("t")
    Producer(log).append("t", [b"a", b"b"])
    consumer = Consumer(log, "t", group="g")
    consumer.poll()
    producer = Producer(log, transactional_id="id")
    producer.begin_transaction()
    producer.send_offsets(consumer.positions(), consumer.group_metadata())
    producer.abort_transaction()
    assert consumer.committed() == {}
    with producer.transaction():
        producer.send_offsets(consumer.positions(), consumer.group_metadata())
    assert consumer.committed() == {("t", 0): 2}
    consumer.close()
    producer.begin_transaction()
    with pytest.raises(MemberFencedError):
        producer.send_offsets({("t", 0): 0}, consumer.group_metadata())
    producer.abort_transaction()


def test_transactional_calls_at_the_wrong_time(log: Log) -> None:
    log.create_topic("t")
    with pytest.raises(TransactionError, match="no transactional_id"):
        Producer(log).begin_transaction()
    producer = Producer(log, transactional_id="id")
    with pytest.raises(TransactionError, match="begin one first"):
        producer.send("t", b"x")
    producer.begin_transaction()
    with pytest.raises(TransactionError, match="open already"):
        producer.begin_transaction()
    producer.commit_transaction()
    with pytest.raises(InvalidSettingError):
        Producer(log, transactional_id="id", acks="none")


# Groups


def test_members_share_and_take_over(log: Log) -> None:
    log.create_topic("t", 6)
    lost: list[tuple[str, int]] = []
    first = Consumer(log, "t", group="g", heartbeat_ms=0, on_revoke=lost.extend)
    assert len(first.assignment()) == 6
    second = Consumer(Log(log.directory), "t", group="g", heartbeat_ms=0)
    assert second.assignment() == [], "nothing is read by two members"
    first.poll()
    second.poll()
    assert len(first.assignment()) == len(second.assignment()) == 3 and len(lost) == 3
    assert not set(first.assignment()) & set(second.assignment())
    second.close()
    first.poll()
    assert len(first.assignment()) == 6
    assert [m["alive"] for m in describe_group(log, "g")["members"]] == [True]


def test_partitions_of_a_killed_member_go_to_the_others(log: Log) -> None:
    log.create_topic("t", 4)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        member = Consumer(Log(log.directory), "t", group="g")
        os.write(write, b"!")
        signal.pause()
        os._exit(len(member.assignment()))
    os.read(read, 1)
    survivor = Consumer(log, "t", group="g", heartbeat_ms=20)
    assert survivor.assignment() == []
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 180
    while len(survivor.assignment()) < 4:
        assert time.monotonic() < deadline
        survivor.poll(timeout_s=0.03)


def test_member_that_does_not_poll_loses_its_lease(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [1_000_000_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns[0])
    log.create_topic("t", 2)
    Producer(log).append("t", [b"a"], partition=0)
    sleepy = Consumer(log, "t", group="g", lease_ms=10, heartbeat_ms=0)
    assert len(sleepy.poll()) == 1
    now_ns[0] += 11_000_000
    eager = Consumer(log, "t", group="g", heartbeat_ms=0)
    again = eager.poll()
    assert len(eager.assignment()) == 2
    with pytest.raises(MemberFencedError, match="did not poll"):
        sleepy.commit()
    assert [r.value for r in again] == [b"a"]
    sleepy.poll()
    eager.poll()
    sleepy.poll()
    assert len(sleepy.assignment()) == 1


def test_group_reads_every_record_once_through_rebalances(log: Log) -> None:
    log.create_topic("t", 5)
    with Producer(log, acks="write") as producer:
        for i in range(500):
            producer.send("t", b"%d" % i, b"%d" % i)
    seen: Counter[bytes | None] = Counter()
    members: list[Consumer] = []
    for turn in range(60):
        if turn % 12 == 0 and len(members) < 4:
            members.append(Consumer(log, "t", group="g", heartbeat_ms=0, auto_commit_ms=0))
        if turn in (30, 40):
            members.pop(0).close()
        for member in members:
            seen.update(r.value for r in member.poll(max_records=7))
    for _ in range(100):
        for member in members:
            seen.update(r.value for r in member.poll(max_records=50))
    assert len(seen) == 500 and set(seen.values()) == {1}


def test_new_partitions_are_dealt_out(log: Log) -> None:
    log.create_topic("t", 1)
    consumer = Consumer(log, "t", group="g", heartbeat_ms=0)
    log.alter_topic("t", partitions=3)
    consumer.poll()
    assert len(consumer.assignment()) == 3


def test_groups_are_listed_and_forgotten(log: Log) -> None:
    log.create_topic("t")
    store = OffsetStore.of(log)
    store.commit("a", {("t", 0): 0})()
    assert store.groups() == ["a"]
    store.forget("a")
    assert store.groups() == [] and store.committed("a") == {}


def test_threads_share_a_producer(log: Log) -> None:
    log.create_topic("t", 2)
    producer = Producer(log, acks="write", batch_records=10)

    def work(name: int) -> None:
        for i in range(200):
            producer.send("t", b"%d:%04d" % (name, i), b"%d" % name)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.close()
    by_writer: dict[bytes, list[bytes]] = {}
    for value in values(Consumer(log, "t")):
        by_writer.setdefault((value or b"")[:1], []).append(value or b"")
    assert (
        all(len(found) == 200 and found == sorted(found) for found in by_writer.values())
        and len(by_writer) == 4
    )
