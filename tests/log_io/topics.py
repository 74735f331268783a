"""Topics with known content, and pipelines over them, for the tests of logio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hornbeam as beam
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.storage.log import Consumer, Log, Producer, Record

SECOND = 1_000_000


def fill(log: Log, topic: str, rows: Sequence[tuple[int, bytes | None, int]], **settings: Any) -> None:
    """Appends (partition, value, time in seconds) rows, one batch each; the key is the value."""
    partitions = settings.pop("partitions", 1 + max((row[0] for row in rows), default=0))
    log.ensure_topic(topic, partitions, **settings)
    with Producer(log, acks="write") as producer:
        for partition, value, seconds in rows:
            producer.append(topic, [value], [value], timestamps=seconds * SECOND, partition=partition)


def read_bounded(directory: Path, topic: str, **arguments: Any) -> list[Any]:
    """What a bounded ReadFromLog gives, by way of a topic of its own: the reprs of the elements."""
    arguments = arguments if {"stop", "max_read_time"} & set(arguments) else {"bounded": True, **arguments}
    with Log(directory) as log:
        if "seen" in log.topics():
            log.delete_topic("seen")
    with beam.Pipeline() as p:
        records = p | ReadFromLog(directory, topic, **arguments)
        records | WriteToLog(directory, "seen", value_coder=repr, partitions=1)
    with Log(directory) as log:
        return [record.value.decode() for record in take(log, "seen") if record.value is not None]


def take(log: Log, topic: str, count: int | None = None, timeout_s: float = 180.0) -> list[Record]:
    """The committed records of a topic: what is there, or `count` of them, waited for."""
    found: list[Record] = []
    with Consumer(log, topic) as consumer:
        while count is None or len(found) < count:
            records = consumer.poll(timeout_s if count is not None else 0.0)
            if not records:
                break
            found += records
    return found


class Streaming:
    """A pipeline that runs on in a thread while the block is in work, and is cancelled after it."""

    def __init__(self, build: Callable[[beam.Pipeline], Any], *options: str) -> None:
        self._pipeline = beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(list(options)))
        build(self._pipeline)

    def __enter__(self) -> Any:
        self.result = self._pipeline.run()
        return self.result

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.result.cancel()
        if kind is None:
            self.result.wait_until_finish()
