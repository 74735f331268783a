"""What processes can do to each other between two steps, found by reading; each case once went wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from storage_sim.simdisk import SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import Consumer, Log, LogError, Producer, TopicDeletedError, TransactionError
from hornbeam.storage.log import group as group_module
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.record_batch import encode
from hornbeam.storage.log.segment import list_segments


def test_who_waits_for_a_dead_syncer_is_not_kept_waiting_by_syncs_of_other_partitions(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t", 2)
        stuck, busy = log.partition("t", 0), log.partition("t", 1)
        stuck.append(encode([b"x"]))
        stuck.words[words_of.SYNCING] = 1  # its process died in the fsync
        done = threading.Event()

        def others() -> None:
            while not done.is_set():
                busy.append(encode([b"y"]))
                busy.sync()

        noise = threading.Thread(target=others)
        waiter = threading.Thread(target=stuck.sync, daemon=True)
        noise.start()
        waiter.start()
        waiter.join(60)
        done.set()
        noise.join()
        assert not waiter.is_alive() and stuck.flushed_offset == 1


def test_a_sync_in_a_deleted_topic_makes_no_file_in_the_new_one(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as here, Log(tmp_path / "log") as other:
        here.create_topic("t", segment_bytes=1024)
        old = other.partition("t", 0)
        for _ in range(3):
            old.append(encode([b"x" * 600]))
        here.delete_topic("t")
        here.create_topic("t")
        here.partition("t", 0).append(encode([b"new"]))
        other.open_files.clear()
        with pytest.raises(TopicDeletedError):
            old.sync()
        assert list_segments(here.files, old.directory) == [0]


def test_closing_syncs_every_partition_although_one_cannot_be() -> None:
    disk = SimDisk(seed=1)
    log = Log("/log", files=SimFiles(disk))
    log.create_topic("t", 3)
    with Producer(log, acks="write", linger_ms=None) as producer:
        for number in range(3):
            producer.append("t", [b"%d" % number], partition=number)

    def fail(operation: str, path: str) -> None:
        if operation in ("sync", "create") and "/t/0/" in path:
            raise OSError(5, "I/O error")

    disk.on_call = fail
    with pytest.raises(StorageError):
        log.close()
    found = Log("/log", files=SimFiles(disk.after_crash(1, "lose_all")))
    assert [found.partition("t", number).end_offset for number in (1, 2)] == [1, 1]


def test_a_member_that_finds_the_group_full_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "SLOTS", 1)
    with Log(tmp_path / "log") as log:
        log.create_topic("t")
        with Consumer(log, "t", group="g"):
            open_before = len(os.listdir("/proc/self/fd"))
            for _ in range(3):
                with pytest.raises(LogError, match="has 1 members already"):
                    Consumer(log, "t", group="g")
            assert len(os.listdir("/proc/self/fd")) <= open_before + 1


def test_opening_a_partition_leaves_the_open_files_of_others_alone(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t", 3)
        for number in range(3):
            log.partition("t", number).append(encode([b"x"]))
        kept = len(log.open_files)
        assert kept >= 3 * 2
        again = Log(tmp_path / "log")
        assert again.partition("t", 0).end_offset == 1 and len(log.open_files) == kept


def test_offsets_of_an_open_transaction_are_waited_for_and_never_passed_over(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t")
        producer = Producer(log, transactional_id="id", linger_ms=None)
        producer.begin_transaction()
        producer.append("t", [b"x"])
        producer.send_offsets({("t", 0): 1}, "g")
        store = OffsetStore.of(log)
        with pytest.raises(TransactionError, match="wait for a transaction"):
            store.committed("g", timeout_s=0.05)
        assert store.committed("g", timeout_s=0.0, or_older=True) == {}
        producer.commit_transaction()
        assert {place: found.offset for place, found in store.committed("g").items()} == {("t", 0): 1}


def test_an_interrupt_after_an_append_does_not_make_the_next_record_a_repeat_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(tmp_path / "log") as log, Producer(log, linger_ms=None) as producer:
        log.create_topic("t")
        partition = log.partition("t", 0)
        append = partition.append

        def interrupted(*arguments: object) -> object:
            append(*arguments)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr(partition, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            producer.append("t", [b"doubtful"])
        monkeypatch.undo()
        producer.append("t", [b"next"])
        assert [record.value for record in Consumer(log, "t").read_available()] == [b"doubtful", b"next"]
