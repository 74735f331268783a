"""Records under way: what `send` returns is settled once, with the truth, and waits are shared."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from storage_sim.simdisk import SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import (
    Consumer,
    InvalidSettingError,
    Log,
    Producer,
    RecordTooLargeError,
    TopicDeletedError,
    TransactionAbortedError,
)


def values(log: Log, topic: str = "t") -> list[bytes | None]:
    return [record.value for record in Consumer(log, topic).read_available()]


def sim_log(disk: SimDisk) -> Log:
    log = Log("/log", files=SimFiles(disk))
    log.ensure_topic("t", 2)
    return log


def test_records_under_way_share_one_append_and_one_fsync() -> None:
    disk = SimDisk(seed=1)
    log = sim_log(disk)
    calls: list[str] = []
    with Producer(log, linger_ms=None) as producer:
        producer.append("t", [b"first"], partition=0)
        disk.on_call = lambda operation, path: calls.append(operation)
        deliveries = [producer.send("t", b"%d" % i, partition=0) for i in range(20)]
        assert not any(delivery.done for delivery in deliveries)
        places = {delivery.wait() for delivery in deliveries}
        assert [(place.base_offset, place.last_offset) for place in places] == [(1, 20)]
        assert calls.count("sync") == 1
    assert log.partition("t", 0).flushed_offset == 21


def test_a_failed_fsync_acknowledges_nothing_and_is_reported_to_who_waits() -> None:
    disk = SimDisk(seed=2)
    log = sim_log(disk)
    producer = Producer(log, linger_ms=None, retries=0)
    producer.append("t", [b"sound"], partition=0)
    delivery = producer.send("t", b"doubtful", partition=0)

    def fail_syncs(operation: str, path: str) -> None:
        if operation == "sync":
            raise OSError(errno.EIO, "I/O error")

    disk.on_call = fail_syncs
    for _ in range(2):
        with pytest.raises(StorageError):
            delivery.wait()
    disk.on_call = None
    assert delivery.done and delivery.error is not None
    assert producer.send("t", b"later", partition=0).wait().last_offset >= 1  # not told twice
    after = Log("/log", files=SimFiles(disk.after_crash(3)))
    found = values(after)
    assert found[0] == b"sound" and found[-1] == b"later"


def test_a_batch_that_cannot_be_written_does_not_take_others_with_it(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log, Producer(log, linger_ms=None) as producer:
        log.create_topic("compacted", cleanup="compact")
        log.create_topic("small", batch_bytes_max=300)
        log.create_topic("t")
        keyless = producer.send("compacted", b"no key")
        large = producer.send("small", b"x" * 500)
        good = producer.send("t", b"good")
        assert good.wait().base_offset == 0
        with pytest.raises(InvalidSettingError, match="needs a key"):
            keyless.wait()
        with pytest.raises(RecordTooLargeError):
            large.wait()
        assert values(log) == [b"good"]
        with pytest.raises((InvalidSettingError, RecordTooLargeError)):
            producer.flush()  # nobody had waited when it failed
        producer.send("t", b"on").wait()


def test_threads_of_one_producer_wait_for_each_record_and_none_is_forgotten(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log, Producer(log, linger_ms=None) as producer:
        log.create_topic("t", 2)
        places: list[tuple[int, int, int]] = []

        def work(number: int) -> None:
            for i in range(40):
                place = producer.send("t", b"%d-%d" % (number, i), key=b"%d" % number).wait()
                places.append((place.partition, place.base_offset, place.last_offset))

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a wake-up was lost"
        found = values(log)
        assert sorted(found) == sorted(b"%d-%d" % (n, i) for n in range(12) for i in range(40))
        for number in range(12):
            mine = [value for value in found if value and value.startswith(b"%d-" % number)]
            assert mine == [b"%d-%d" % (number, i) for i in range(40)]
        assert len(set(places)) < len(places), "no batch was ever shared"


def test_close_settles_and_an_aborted_transaction_says_so(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t")
        producer = Producer(log, linger_ms=None)
        delivery = producer.send("t", b"x")
        producer.close()
        assert delivery.done and delivery.error is None
        with Producer(log, transactional_id="tx", linger_ms=None) as producer:
            producer.begin_transaction()
            delivery = producer.send("t", b"void")
            producer.abort_transaction()
            with pytest.raises(TransactionAbortedError):
                delivery.wait()
        assert values(log) == [b"x"]


def test_what_is_gathered_has_a_bound_over_all_partitions(tmp_path: Path) -> None:
    with (
        Log(tmp_path / "log") as log,
        Producer(log, linger_ms=None, acks="write", buffer_bytes=10_000) as producer,
    ):
        log.create_topic("t", 50)
        sent = [
            producer.send("t", b"", key=b"k" * 100, partition=i % 50, headers=[("h", b"v" * 80)])
            for i in range(200)
        ]
        assert sum(not delivery.done for delivery in sent) <= 10_000 // 180 + 1


def test_a_topic_that_was_made_again_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as here, Log(tmp_path / "log") as other:
        here.create_topic("t")
        sender = Producer(other, linger_ms=None)
        sender.send("t", b"old").wait()
        assert values(here) == values(other) == [b"old"]
        here.delete_topic("t")
        here.create_topic("t")
        with Producer(here) as producer:
            producer.append("t", [b"new"])
        assert values(other) == [b"new"]
        with pytest.raises(TopicDeletedError):
            sender.send("t", b"to the old one").wait()
        assert sender.send("t", b"to the new one").wait().base_offset == 1
        assert values(here) == [b"new", b"to the new one"]
