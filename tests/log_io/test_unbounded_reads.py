"""ReadFromLog without an end, in running pipelines, with real processes producing; they end when the answer has come."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from log_io.topics import SECOND, Streaming, fill, take

import hornbeam as beam
from hornbeam.io.logio import LostRecordsError, ReadFromLog, WriteToLog
from hornbeam.storage.log import Log, Producer, TopicDeletedError
from hornbeam.transforms.window import FixedWindows

PRODUCING = Path(__file__).with_name("producing.py")


@contextmanager
def producing(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(PRODUCING), str(directory), "t", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def copying(directory: Path, **arguments: Any) -> Any:
    return lambda p: (
        p
        | ReadFromLog(directory, "t", idle_timeout=0.2, **arguments)
        | WriteToLog(directory, "out", partitions=1)
    )


def test_records_of_living_and_killed_producers_come_once_and_in_order(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("t", 3)
        log.create_topic("out")
        with Streaming(copying(tmp_path)):
            for first in (0, 1_000_000):
                with producing(tmp_path, str(first)) as process:
                    assert process.stdout is not None
                    acknowledged = [int(next(process.stdout)) for _ in range(20)][-1] - first
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                there = take(log, "t")
                assert len([r for r in there if int(r.value or b"") >= first]) >= acknowledged
                seen = take(log, "out", len(there))
        assert sorted(r.value for r in seen) == sorted(r.value for r in there)
        for partition in range(3):
            mine = [r.value for r in there if r.partition == partition]
            assert [r.value for r in seen if r.value in set(mine)] == mine


def test_the_open_transaction_of_a_killed_producer_holds_up_nobody(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("t", 2)
        log.create_topic("out")
        with Streaming(copying(tmp_path)), producing(tmp_path, "0", "some-id") as process:
            assert process.stdout is not None
            assert [line.strip() for line in (next(process.stdout) for _ in range(6))][-1] == "open"
            with Producer(log) as producer:
                producer.append("t", [b"behind 0"], partition=0)
                producer.append("t", [b"behind 1"], partition=1)
            process.send_signal(signal.SIGKILL)
            seen = [r.value for r in take(log, "out", 52)]
        assert sorted(seen) == sorted([*(b"%d" % n for n in range(50)), b"behind 0", b"behind 1"])


def test_windows_fire_although_a_partition_is_silent(tmp_path: Path) -> None:
    def count(p: beam.Pipeline) -> Any:
        read = p | ReadFromLog(tmp_path, "t", idle_timeout=0.2, max_out_of_orderness=1)
        counts = read | beam.WindowInto(FixedWindows(10)) | beam.combiners.Count.PerElement()
        return counts | WriteToLog(tmp_path, "out", value_coder=repr)

    with Log(tmp_path) as log:
        log.create_topic("out")
        fill(log, "t", [(0, b"a", 1), (0, b"a", 9), (0, b"b", 12), (0, b"b", 30)], partitions=2)
        with Streaming(count):
            records = take(log, "out", 3)
        assert [(r.value, r.timestamp_micros) for r in records] == [
            (b"(b'a', 2)", 10 * SECOND - 1),
            (b"(b'b', 1)", 20 * SECOND - 1),
            (b"(b'b', 1)", 40 * SECOND - 1),  # fires when the other partition is idle too
        ]


def test_partitions_that_are_added_are_read(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("out")
        fill(log, "t", [(0, b"old", 1)])
        with Streaming(copying(tmp_path)):
            assert [r.value for r in take(log, "out", 1)] == [b"old"]
            log.alter_topic("t", partitions=2)
            fill(log, "t", [(1, b"added", 1)])
            assert [r.value for r in take(log, "out", 2)] == [b"old", b"added"]


def test_drain_ends_the_read_and_gives_out_what_is_kept(tmp_path: Path) -> None:
    def count(p: beam.Pipeline) -> Any:
        read = p | ReadFromLog(tmp_path, "t", idle_timeout=None)
        read | "Seen" >> WriteToLog(tmp_path, "seen")
        counts = read | beam.WindowInto(FixedWindows(1000)) | beam.combiners.Count.PerElement()
        return counts | WriteToLog(tmp_path, "out", value_coder=repr)

    with Log(tmp_path) as log:
        log.create_topic("seen")
        log.create_topic("out")
        fill(log, "t", [(n % 2, b"a", n) for n in range(10)])
        with Streaming(count) as result:
            take(log, "seen", 10)
            assert result.drain() == "DONE"
        assert [r.value for r in take(log, "out")] == [b"(b'a', 10)"]


def test_a_topic_that_is_deleted_or_shortened_under_it_fails_the_pipeline(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.create_topic("out")
        fill(log, "t", [(0, b"a", 1)])
        with (
            pytest.raises(TopicDeletedError, match="topic 't' was deleted") as raised,
            Streaming(copying(tmp_path)) as result,
        ):
            take(log, "out", 1)
            log.delete_topic("t")
            result.wait_until_finish(180_000)
        assert "ReadFromLog/" in "".join(raised.value.__notes__)
        fill(log, "t", [(0, b"a", 1)])
        with pytest.raises(LostRecordsError), Streaming(copying(tmp_path, start=5)) as result:
            result.wait_until_finish(180_000)
