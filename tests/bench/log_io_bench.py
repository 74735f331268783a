"""ReadFromLog and WriteToLog on DirectRunner, in processor seconds, against the log's own clients doing the same by hand.

python -m tests.bench.log_io_bench [--records 1000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.harness import Case, measure, table

import hornbeam as beam
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.metrics import Metrics
from hornbeam.storage.log import Consumer, Log, Producer

PARTITIONS = 4
_TOTAL = Metrics.counter("bench", "total")


def fill(directory: Path, topic: str, records: int, batch: int) -> None:
    """100-byte records in batches, in turn over the partitions; one a millisecond of event time."""
    with Log(directory) as log, Producer(log, acks="write") as producer:
        log.create_topic(topic, PARTITIONS)
        values = [b"%0100d" % n for n in range(batch)]
        for number, start in enumerate(range(0, records, batch)):
            times = list(range(start * 1000, (start + batch) * 1000, 1000))
            producer.append(topic, values, timestamps=times, partition=number % PARTITIONS)


def add(value: int) -> None:
    """Adds to the counter that is the pipeline's result."""
    _TOTAL.inc(value)


def total(result: Any) -> int:
    """The counter."""
    found = result.metrics().query()["counters"]
    return sum(each.result for each in found if each.key.metric.name == "total")


def by_hand(directory: Path, topic: str) -> Callable[[], int]:
    """Batch by batch: the values as a list, and the length of each."""

    def run() -> int:
        found = 0
        with Log(directory) as log, Consumer(log, topic) as consumer:
            while batches := consumer.poll_batches():
                for batch in batches:
                    found += sum(map(len, batch.values()))  # type: ignore[arg-type]
        return found

    return run


def record_by_record(directory: Path, topic: str) -> Callable[[], int]:
    """As a program with a consumer would most often do it."""

    def run() -> int:
        with Log(directory) as log, Consumer(log, topic) as consumer:
            return sum(len(record.value or b"") for record in consumer.read_available())

    return run


def bounded(directory: Path, topic: str) -> Callable[[], int]:
    """To the end of the topic."""

    def run() -> int:
        with beam.Pipeline() as p:
            (
                p
                | ReadFromLog(directory, topic, bounded=True)
                | beam.Map(len)
                | beam.CombineGlobally(sum)
                | beam.Map(add)
            )
        return total(p.result)

    return run


def unbounded(directory: Path, topic: str, records: int) -> Callable[[], int]:
    """A stream, until it has given all that is there."""

    def run() -> int:
        p = beam.Pipeline()
        p | ReadFromLog(directory, topic) | beam.Map(len) | beam.Map(add)
        result = p.run()
        while total(result) < records * 100:
            time.sleep(0.02)
        found = total(result)
        result.cancel()
        return found

    return run


def copy_by_hand(directory: Path, topic: str) -> Callable[[], int]:
    """Batch by batch, in a transaction each."""

    def run() -> int:
        found = 0
        with Log(directory) as log, Producer(log, transactional_id="copy") as producer:
            _fresh(log, "copy")
            with Consumer(log, topic) as consumer:
                while batches := consumer.poll_batches():
                    with producer.transaction():
                        for batch in batches:
                            values, times = batch.values(), batch.timestamps().tolist()
                            producer.append("copy", values, values, timestamps=times)
                            found += len(values)
        return found

    return run


def copy(directory: Path, topic: str) -> Callable[[], int]:
    """From log to log, keyed."""

    def run() -> int:
        with Log(directory) as log:
            _fresh(log, "copy")
        with beam.Pipeline() as p:
            p | ReadFromLog(directory, topic, bounded=True) | WriteToLog(directory, "copy", key=_itself)
        with Log(directory) as log, Consumer(log, "copy") as consumer:
            return sum(len(batch) for batches in iter(consumer.poll_batches, []) for batch in batches)

    return run


def _itself(value: bytes) -> bytes:
    return value


def _fresh(log: Log, topic: str) -> None:
    if topic in log.topics():
        log.delete_topic(topic)
    log.create_topic(topic, PARTITIONS)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count, directory = options.records, Path(tempfile.mkdtemp())
    try:
        fill(directory, "large", count, 10_000)
        fill(directory, "small", count, 100)
        large, small = by_hand(directory, "large"), by_hand(directory, "small")
        slow = record_by_record(directory, "large")
        cases = [
            Case("read to the end", count, None, large, bounded(directory, "large")),
            Case("read as a stream", count, None, large, unbounded(directory, "large", count)),
            Case("read as a stream, small batches", count, None, small, unbounded(directory, "small", count)),
            Case("the same, to record by record", count, None, slow, unbounded(directory, "large", count)),
            Case("log to log", count, None, copy_by_hand(directory, "large"), copy(directory, "large")),
        ]
        rows = [measure(case, options.rounds) for case in cases]
        print(table(rows))
        for row in rows:
            print(
                f"{row.case.name:34} {count / row.pipeline_s / 1e6:.2f} M records/s, by hand {count / row.loop_s / 1e6:.2f}"
            )
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
