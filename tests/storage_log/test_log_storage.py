"""Segments, indexes, retention, compaction, damage and repair."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from hornbeam.storage.errors import CorruptionError
from hornbeam.storage.log import Consumer, Log, LogError, OffsetOutOfRangeError, Producer
from hornbeam.storage.log.partition_reader import PartitionReader
from hornbeam.storage.log.record_batch import encode
from hornbeam.storage.log.verify import verify


def fill(directory: Path, **settings: Any) -> list[bytes]:
    """A small log with several segments, transactions, an index and a snapshot; what a consumer gets from it."""
    with Log(directory) as log:
        log.create_topic("t", 1, segment_bytes=2000, index_interval_bytes=300, **settings)
        producer = Producer(log, acks="write")
        transactional = Producer(log, transactional_id="id")
        for i in range(40):
            producer.append(
                "t", [b"v%03d" % i + b"." * 40, b"w%03d" % i], [b"k%d" % (i % 5), b"l"], timestamps=i
            )
            if i % 8 == 0:
                transactional.begin_transaction()
                transactional.append("t", [b"t%03d" % i], [b"tk"], timestamps=i)
                if i % 16:
                    transactional.abort_transaction()
                else:
                    transactional.commit_transaction()
        producer.close()
        transactional.close()
        return read(log)


def read(log: Log) -> list[bytes]:
    return [record.value or b"" for record in Consumer(log, "t").read_available()]


def partition_files(directory: Path) -> list[Path]:
    return sorted(p for p in (directory / "topics" / "t" / "0").iterdir() if p.is_file())


def test_reopening_gives_the_same(tmp_path: Path) -> None:
    expected = fill(tmp_path / "log")
    assert len(expected) == 83 and len(partition_files(tmp_path / "log")) > 6
    with Log(tmp_path / "log") as log:
        assert read(log) == expected


def test_missing_indexes_and_snapshot_are_rebuilt(tmp_path: Path) -> None:
    expected = fill(tmp_path / "log")
    for path in partition_files(tmp_path / "log"):
        if path.suffix != ".log":
            path.unlink()
    shutil.rmtree(tmp_path / "log" / "groups", ignore_errors=True)
    (tmp_path / "log" / "topics" / "t" / "state").unlink()
    with Log(tmp_path / "log") as log:
        assert read(log) == expected
        consumer = Consumer(log, "t")
        consumer.seek_to_time(20)
        assert consumer.poll(max_records=1)[0].timestamp_micros == 20
        Producer(log).append("t", [b"next"], [b"k"])
        assert read(log) == [*expected, b"next"]


def test_old_files_can_be_opened() -> None:
    """A log of format 1, as it was written when that format was made, stays readable for ever."""
    fixture = Path(__file__).parent / "fixtures" / "format1"
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(fixture, Path(directory, "log"))
        expected = Path(fixture.parent, "format1.txt").read_bytes().split(b"\n")
        with Log(Path(directory, "log")) as log:
            assert read(log) == expected
            assert Consumer(log, group="g").committed() == {("t", 0): 7}
        assert verify(Path(directory, "log")).findings == []


def test_every_byte_matters(tmp_path: Path) -> None:
    damage_and_repair(
        tmp_path, int(os.environ.get("HORNBEAM_SEED", "4")), int(os.environ.get("HORNBEAM_DAMAGES", "60"))
    )


def damage_and_repair(tmp_path: Path, seed: int, rounds: int) -> None:
    """A flipped bit or a cut anywhere: found by verify with its place, never handed out as data, repaired."""
    expected = fill(tmp_path / "log0")
    rng = random.Random(seed)
    paths = [path.name for path in partition_files(tmp_path / "log0")]
    for number in range(rounds):
        directory = tmp_path / f"damaged{number}"
        shutil.copytree(tmp_path / "log0", directory)
        path = directory / "topics" / "t" / "0" / rng.choice(paths)
        data = bytearray(path.read_bytes())
        cut = number % 3 == 2
        position = rng.randrange(len(data))
        if cut:
            del data[position:]
        else:
            data[position] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        report = verify(directory)
        assert report.findings and str(path) in {f.path for f in report.findings}, (path, position, cut)
        try:
            with Log(directory) as log:
                found = read(log)
            assert set(found) <= set(expected) and (found == expected or path.suffix == ".log")
        except CorruptionError as error:
            assert error.path.startswith(str(directory)) and error.offset >= 0
        assert verify(directory, repair=True).sound
        assert verify(directory).findings == []
        with Log(directory) as log:
            found = read(log)
            assert set(found) <= set(expected), "nothing that was not written"
            if path.suffix != ".log":
                assert found == expected
            end = log.partition("t", 0).end_offset
            placed = Producer(log).append("t", [b"next"], [b"k"])
            assert placed[0].base_offset == end
        shutil.rmtree(directory)


def test_damage_is_reported_with_file_and_byte(tmp_path: Path) -> None:
    fill(tmp_path / "log")
    first = partition_files(tmp_path / "log")[1]
    assert first.suffix == ".log"
    data = bytearray(first.read_bytes())
    data[64 + 100] ^= 1
    first.write_bytes(data)
    (finding,) = [f for f in verify(tmp_path / "log").findings if f.path == str(first)]
    assert (finding.position, finding.lost_from, finding.lost_to) == (64, 0, 1)
    assert "checksum of the batch body" in str(finding) and "can be repaired" in str(finding)
    with Log(tmp_path / "log") as log, pytest.raises(CorruptionError, match="is corrupt at byte 64"):
        read(log)


def test_repair_needs_the_log_for_itself(tmp_path: Path) -> None:
    with Log(tmp_path / "log"), pytest.raises(LogError, match="in use"):
        verify(tmp_path / "log", repair=True)
    with pytest.raises(LogError, match="not a log"):
        verify(tmp_path)


def test_damaged_topic_file_is_reported(tmp_path: Path) -> None:
    fill(tmp_path / "log")
    path = tmp_path / "log" / "topics" / "t" / "topic.json"
    path.write_bytes(path.read_bytes().replace(b'"partitions":1', b'"partitions":9'))
    assert [f.path for f in verify(tmp_path / "log").findings] == [str(path)]
    with Log(tmp_path / "log") as log, pytest.raises(CorruptionError):
        log.topic("t")


# Retention and compaction


def test_retention_by_size_while_somebody_reads(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t", segment_bytes=2000, retention_bytes=5000)
        partition = log.partition("t", 0)
        reader = PartitionReader(partition, 0)
        partition.append(encode([b"x" * 100] * 4))
        assert len(reader.read(500)) == 1
        for _ in range(40):
            partition.append(encode([b"x" * 100] * 4))
        assert 0 < partition.log_start_offset < partition.end_offset
        assert len(partition.view.bases) <= 5
        with pytest.raises(OffsetOutOfRangeError):
            reader.read()
        records = list(Consumer(log, "t").read_available())
        assert [r.offset for r in records] == list(range(partition.log_start_offset, partition.end_offset))
    with Log(tmp_path / "log") as log:
        assert log.partition("t", 0).log_start_offset == records[0].offset


def test_retention_by_age_counts_from_the_append(tmp_path: Path) -> None:
    now = [1_000_000_000]
    with Log(tmp_path / "log", clock=lambda: now[0]) as log:
        log.create_topic("t", segment_bytes=1024, retention_ms=1000)
        partition = log.partition("t", 0)
        for _ in range(10):
            partition.append(encode([b"x" * 300], timestamps=5))
        assert partition.log_start_offset == 0
        now[0] += 2_000_000
        assert log.apply_retention("t") > 0
        assert partition.log_start_offset == partition.view.bases[0] == partition.view.bases[-1]


def test_deleted_records_stay_deleted(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t")
        log.partition("t", 0).append(encode([b"a", b"b", b"c"]))
        assert log.partition("t", 0).delete_before(2) == 2
        assert read(log) == [b"c"]
    with Log(tmp_path / "log") as log:
        assert read(log) == [b"c"] and log.partition("t", 0).log_start_offset == 2


def test_compaction_keeps_the_last_of_every_key(tmp_path: Path) -> None:
    expected = fill(tmp_path / "log", cleanup="compact", delete_retention_ms=0)
    with Log(tmp_path / "log") as log:
        partition = log.partition("t", 0)
        before = {r.key: (r.offset, r.value) for r in Consumer(log, "t").read_available()}
        reading = Consumer(log, "t")
        assert reading.poll(max_records=1)
        log.compact("t")
        records = list(Consumer(log, "t").read_available())
        assert {r.key: (r.offset, r.value) for r in records} == before
        sealed = [r for r in records if r.offset < partition.view.bases[-1]]
        assert len({r.key for r in sealed}) == len(sealed) and len(records) <= len(expected)
        rest = [r.offset for r in reading.read_available()]
        assert rest == sorted(rest) and {offset for offset, _ in before.values()} <= {*rest, 0}
        again = log.compact("t")[0]
        assert again.records_after == again.records_before
    assert verify(tmp_path / "log").findings == []
    shutil.rmtree(tmp_path / "log" / "groups", ignore_errors=True)
    os.unlink(tmp_path / "log" / "topics" / "t" / "0" / "snapshot")
    with Log(tmp_path / "log") as log:
        assert {r.key: (r.offset, r.value) for r in Consumer(log, "t").read_available()} == before


def test_tombstones_go_after_their_time(tmp_path: Path) -> None:
    now = [1_000_000_000]
    with Log(tmp_path / "log", clock=lambda: now[0]) as log:
        log.create_topic("t", segment_bytes=1024, cleanup="compact", delete_retention_ms=1000)
        producer = Producer(log)
        producer.append("t", [b"x"], [b"gone"])
        producer.append("t", [None], [b"gone"])
        for i in range(8):
            producer.append("t", [b"y" * 300], [b"%d" % i])
        log.compact("t")
        assert [r.value for r in Consumer(log, "t").read_available() if r.key == b"gone"] == [None]
        now[0] += 2_000_000
        log.compact("t")
        assert [r for r in Consumer(log, "t").read_available() if r.key == b"gone"] == []


def test_ten_thousand_partitions_open_lazily(tmp_path: Path) -> None:
    with Log(tmp_path / "log", max_open_files=16) as log:
        log.create_topic("t", 10_000)
        for number in range(0, 10_000, 400):
            log.partition("t", number).append(encode([b"%d" % number]))
        assert len(log.open_files) <= 16
        assert len(os.listdir(tmp_path / "log" / "topics" / "t")) < 100
        found = [PartitionReader(log.partition("t", n), 0).read()[0].values() for n in range(0, 10_000, 400)]
        assert found == [[b"%d" % n] for n in range(0, 10_000, 400)]
        assert log.partition("t", 9_999).end_offset == 0


def test_segments_roll_by_age_also_when_records_keep_coming(tmp_path: Path) -> None:
    now = [1_000_000_000]
    with Log(tmp_path / "log", clock=lambda: now[0]) as log:
        log.create_topic("t", segment_ms=1000)
        for _ in range(10):
            log.partition("t", 0).append(encode([b"x"]))
            now[0] += 300_000
        assert log.partition("t", 0).view.bases == [0, 4, 8]


def test_expired_records_go_although_nothing_new_comes(tmp_path: Path) -> None:
    now = [1_000_000_000]
    with Log(tmp_path / "log", clock=lambda: now[0]) as log:
        log.create_topic("t", retention_ms=1000)
        log.partition("t", 0).append(encode([b"x"]))
        now[0] += 2_000_000
        assert log.apply_retention("t") == 1 and read(log) == []
        assert log.partition("t", 0).append(encode([b"y"])) == (1, 1)


def test_verify_beside_writers_finds_nothing(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t", segment_bytes=4000, retention_bytes=20000)
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                log.partition("t", 0).append(encode([b"x" * 300] * 3))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(10):
                assert verify(tmp_path / "log").findings == []
        finally:
            stop.set()
            writer.join()
