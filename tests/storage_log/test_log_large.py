"""A large log is opened by its indexes: what is read does not grow with the data. (100 GB: `bench-storage`.)"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from storage_log.sparse_log import RECORD_MICROS, TOPIC, make_sparse_log

from hornbeam.storage import files as files_module
from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.storage.log.partition_reader import offset_for_time

BATCH_BYTES = 8 << 20


class Reads:
    """Counts what is read through the file module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = self.bytes = 0
        pread = files_module.Handle.pread

        def counted(handle: files_module.Handle, n: int, offset: int) -> bytes:
            data = pread(handle, n, offset)
            self.calls += 1
            self.bytes += len(data)
            return data

        monkeypatch.setattr(files_module.Handle, "pread", counted)

    def since(self) -> tuple[int, int]:
        found, self.calls, self.bytes = (self.calls, self.bytes), 0, 0
        return found


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    directory = tmp_path_factory.mktemp("large") / "log"
    end = make_sparse_log(str(directory), 4 << 30, batch_bytes=BATCH_BYTES)
    used = sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
    assert used < 50 << 20, "the file system does not keep holes"
    return directory, end


def test_opening_reads_little_and_the_end_is_near(
    large: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, end = large
    reads = Reads(monkeypatch)
    with Log(directory) as log:
        assert log.partition(TOPIC, 0).end_offset == end > 400
        assert reads.since() < (10, 20_000)
        consumer = Consumer(log, TOPIC)
        for offset in (end - 1, end // 2, 0):
            consumer.seek(TOPIC, 0, offset)
            [record] = consumer.poll(max_records=1)
            assert record.offset == offset
            assert reads.since()[1] < 2 * BATCH_BYTES
        partition = log.partition(TOPIC, 0)
        assert offset_for_time(partition, (end - 3) * RECORD_MICROS - 1) == end - 3
        assert reads.since()[1] < 2 * BATCH_BYTES
        assert len(partition.view.bases) > 30


def test_a_lost_snapshot_costs_a_look_at_each_batch_and_no_bodies(
    large: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, end = large
    snapshot = directory / "topics" / TOPIC / "0" / "snapshot"
    kept = snapshot.read_bytes()
    snapshot.unlink()
    reads = Reads(monkeypatch)
    with Log(directory) as log:
        assert log.partition(TOPIC, 0).end_offset == end
        # The last segment is read whole: its tail may be torn.
        assert reads.since()[1] < (128 << 20) + 35 * (64 << 10) + end * 100
    snapshot.write_bytes(kept)


def test_a_consumer_of_thousands_of_partitions_stays_within_its_file_handles(tmp_path: Path) -> None:
    partitions = 2_000
    with Log(tmp_path / "log", max_open_files=20) as log:
        log.create_topic("t", partitions)
        open_before = len(os.listdir("/proc/self/fd"))
        with Producer(log, acks="write", linger_ms=None) as producer:
            for number in range(0, partitions, 25):
                producer.send("t", b"%d" % number, partition=number)
        with Consumer(log, "t") as consumer:
            found = {record.partition: record.value for record in consumer.read_available()}
        assert found == {number: b"%d" % number for number in range(0, partitions, 25)}
        assert len(os.listdir("/proc/self/fd")) - open_before <= 25
