"""The machine goes down, or a call fails, while topics are made and deleted, segments compacted or dropped."""

from __future__ import annotations

import contextlib
import errno
import itertools

import pytest
from storage_log.model import read_values
from storage_sim.simdisk import READ_ONLY_CALLS, SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import Consumer, Log, LogError, Producer
from hornbeam.storage.log.record_batch import encode
from hornbeam.storage.log.verify import verify

ROOT = "/log"


def filled(disk: SimDisk, **settings: object) -> Log:
    """A log with some sealed segments, all of it durable."""
    log = Log(ROOT, files=SimFiles(disk), clock=lambda: 1_000_000)
    log.create_topic("t", segment_bytes=1024, segment_ms=None, index_interval_bytes=200, **settings)
    producer = Producer(log, linger_ms=None, acks="write")
    transactional = Producer(log, transactional_id="id", linger_ms=None)
    for i in range(14):
        producer.append("t", [b"%d" % i + b"." * 90, b"%d" % i], [b"k%d" % (i % 3), b"l%d" % (i % 2)])
        if i % 4 == 1:
            transactional.begin_transaction()
            transactional.append("t", [b"t%d" % i], [b"tk"])
            if i % 8 == 1:
                transactional.commit_transaction()
            else:
                transactional.abort_transaction()
    log.partition("t", 0).sync()
    if log._cleaner is not None:
        log._cleaner.join()
    return log


def newest(log: Log) -> dict[bytes | None, bytes | None]:
    """The last value of every key."""
    return {record.key: record.value for record in Consumer(log, "t").read_available()}


@pytest.mark.parametrize("seed", range(4))
def test_crash_anywhere_in_compaction(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hornbeam.storage.log.log.COMPACT_AT_SEGMENTS", 1000)
    disk = SimDisk(seed=seed, page_size=256)
    log = filled(disk, cleanup="compact", delete_retention_ms=0)
    expected = newest(log)
    looked = 0

    def look(operation: str, path: str) -> None:
        nonlocal looked
        if operation not in READ_ONLY_CALLS:
            looked += 1
            files = SimFiles(disk.after_crash(seed * 1000 + looked))
            with Log(ROOT, files=files) as found:
                assert newest(found) == expected
                partition = found.partition("t", 0)
                assert len(read_values(partition, committed=True)) >= len(expected)
                assert partition.last_stable_offset == partition.end_offset
            assert verify(ROOT, ["t"], files=files).sound

    disk.on_call = look
    log.compact("t")
    disk.on_call = None
    assert looked > 8 and newest(log) == expected
    assert len(read_values(log.partition("t", 0), committed=False)) < 30


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=lambda n: errno.errorcode[n])
def test_failing_call_in_compaction(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hornbeam.storage.log.log.COMPACT_AT_SEGMENTS", 1000)
    for at in itertools.count(1):
        disk = SimDisk(seed=at, page_size=256)
        log = filled(disk, cleanup="compact", delete_retention_ms=0)
        expected = newest(log)
        failure = disk.fail(at, number)
        with contextlib.suppress(StorageError):
            log.compact("t")
        disk.failure = None
        assert newest(log) == expected
        log.compact("t")
        assert newest(log) == expected
        after = Log(ROOT, files=SimFiles(disk.after_crash(at)))
        assert newest(after) == expected
        if not failure.fired:
            assert at > 25
            return


@pytest.mark.parametrize("seed", range(3))
def test_crash_anywhere_in_retention(seed: int) -> None:
    disk = SimDisk(seed=seed, page_size=256)
    log = filled(disk)
    everything = read_values(log.partition("t", 0), committed=True)
    end = log.partition("t", 0).end_offset
    looked = 0

    def look(operation: str, path: str) -> None:
        nonlocal looked
        if operation not in READ_ONLY_CALLS:
            looked += 1
            with Log(ROOT, files=SimFiles(disk.after_crash(seed * 1000 + looked))) as found:
                partition = found.partition("t", 0)
                values = read_values(partition, committed=True)
                assert values == everything[len(everything) - len(values) :] and partition.end_offset == end

    disk.on_call = look
    log.alter_topic("t", retention_bytes=1500)
    assert log.apply_retention("t") > 1
    disk.on_call = None
    assert 0 < len(read_values(log.partition("t", 0), committed=True)) < len(everything)


@pytest.mark.parametrize("seed", range(3))
def test_crash_anywhere_while_topics_come_and_go(seed: int) -> None:
    disk = SimDisk(seed=seed, page_size=256)
    acknowledged: dict[str, bytes | None] = {}
    doubtful: set[str] = set()
    looked = 0

    def look(operation: str, path: str) -> None:
        nonlocal looked
        if operation not in READ_ONLY_CALLS:
            looked += 1
            files = SimFiles(disk.after_crash(seed * 1000 + looked))
            with Log(ROOT, files=files) as found:
                for name in found.topics():
                    assert name in acknowledged or name in doubtful
                    found.topic(name)
                for name, value in acknowledged.items():
                    if name not in doubtful:
                        values = read_values(found.partition(name, 0), committed=True)
                        assert values in ([], [b"x"]) if value is None else values == [value]
                found.ensure_topic("new")
                found.partition("new", 0).append(encode([b"y"]))

    disk.on_call = look
    log = Log(ROOT, files=SimFiles(disk))
    for turn in range(6):
        name = f"t{turn % 2}"
        doubtful.add(name)
        if name in acknowledged:
            log.delete_topic(name)
            del acknowledged[name]
        else:
            log.create_topic(name)
            acknowledged[name] = None
            doubtful.discard(name)
            Producer(log, linger_ms=None).append(name, [b"x"])
            acknowledged[name] = b"x"
    assert looked > 60


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=lambda n: errno.errorcode[n])
def test_failing_call_in_group_work(number: int) -> None:
    for at in itertools.count(1):
        disk = SimDisk(seed=at)
        process = SimFiles(disk)
        log = Log(ROOT, files=process)
        log.create_topic("t", 2)
        Producer(log, linger_ms=None).append("t", [b"%d" % i for i in range(6)], partition=0)
        failure = disk.fail(at, number)
        seen: list[bytes | None] = []
        committed = -1
        try:
            with Consumer(log, "t", group="g", heartbeat_ms=0) as first:
                seen += [r.value for r in first.poll(max_records=3)]
                first.commit()
                committed = 3
        except (StorageError, LogError):
            pass
        disk.failure = None
        process.kill()
        second = Consumer(Log(ROOT, files=SimFiles(disk)), "t", group="g", heartbeat_ms=0)
        rest = [r.value for r in second.poll(max_records=100)]
        assert len(second.assignment()) == 2 and rest[-3:] == [b"3", b"4", b"5"]
        assert committed < 3 or len(rest) == 3
        if not failure.fired:
            assert seen and rest and at > 40
            return
