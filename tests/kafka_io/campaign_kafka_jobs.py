"""The pipelines of the kill campaign over Kafka, and what must be in their topics in the end, whatever was killed.

    python campaign_kafka_jobs.py PIPELINE FOLDER SIZE PAUSE [options]      runs (or resumes) the job to its end

As in the campaign over files, each element gets a random tag where it comes in; `seen` says which of them counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kafka_io.brokers import REAL, create_topic, records
from log_runner.campaign_answers import PARTITIONS, expected
from log_runner.campaign_answers import records as inputs
from log_runner.campaign_jobs import Numbered, reading

import hornbeam as beam
from hornbeam.io.kafka import WriteToKafka
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.window import FixedWindows

PIPELINES = ("stateful", "windowed")


def topics_of(folder: str) -> tuple[str, str]:
    """The topics of a job: elements as they came in, and results."""
    name = os.path.basename(folder)
    return f"{name}-seen", f"{name}-result"


def build(name: str, p: beam.Pipeline, folder: str, size: int, pause: float) -> None:
    """Puts the pipeline together."""
    config = {"bootstrap.servers": REAL, "delivery.timeout.ms": 600_000}
    seen, result = topics_of(folder)
    tagged = (
        p
        | "partitions" >> beam.Create(list(range(PARTITIONS)), reshuffle=False)
        | "read" >> beam.ParDo(reading(size, pause))
    )
    (
        tagged
        | "pairs" >> beam.MapTuple(lambda key, value: (key.encode(), json.dumps(value).encode()))
        | "seen" >> WriteToKafka(config, seen)
    )
    if name == "stateful":
        rows = (
            tagged
            | "number" >> beam.ParDo(Numbered())
            | "row" >> beam.Map(lambda row: (row[0], json.dumps(row)))
        )
    else:
        groups = tagged | "windows" >> beam.WindowInto(FixedWindows(10)) | "group" >> beam.GroupByKey()
        rows = groups | "row" >> beam.MapTuple(lambda key, values: (key, json.dumps([key, sorted(values)])))
    string = "org.apache.kafka.common.serialization.StringSerializer"
    rows | "result" >> WriteToKafka(config, result, key_serializer=string, value_serializer=string)


def check(name: str, folder: str, size: int) -> int:
    """AssertionError where what a consumer sees is not what one undisturbed run would have written; how many records."""
    counts = [size] * PARTITIONS
    seen_topic, result_topic = topics_of(folder)
    order: dict[bytes, list[int]] = defaultdict(list)
    partitions: dict[bytes, set[int]] = defaultdict(set)
    given: Counter[Any] = Counter()
    tags = {}
    for record in records(REAL, seen_topic):
        value, tag = json.loads(record.value())
        given[record.key().decode(), value] += 1
        tags[record.key().decode(), value] = tag
        order[record.key()].append(value)
        partitions[record.key()].add(record.partition())
    due = Counter((key, value) for _, key, value, _ in inputs(counts))
    assert given == due, f"seen: {_difference(given, due)}"
    assert all(values == sorted(values) for values in order.values()), "seen: reordered within a key"
    assert all(len(numbers) == 1 for numbers in partitions.values()), "seen: a key in two partitions"
    rows = [json.loads(record.value()) for record in records(REAL, result_topic)]
    due = Counter(json.dumps(row) for row in expected(name, counts, tags))
    given = Counter(map(json.dumps, rows))
    assert given == due, f"result: {_difference(given, due)}"
    if name == "stateful":
        numbers = defaultdict(list)
        for key, number, *_ in rows:
            numbers[key].append(number)
        assert all(n == list(range(1, len(n) + 1)) for n in numbers.values()), (
            "result: reordered within a key"
        )
    return len(tags) + len(rows)


def _difference(given: Counter[Any], due: Counter[Any]) -> str:
    lost, doubled = list((due - given).elements()), list((given - due).elements())
    return f"{len(lost)} lost {lost[:5]}, {len(doubled)} too many {doubled[:5]}"


def main(arguments: list[str]) -> None:
    """Runs the job of that name to its end."""
    name, folder, size, pause, *flags = arguments
    for topic in topics_of(folder):
        try:
            create_topic(REAL, topic, 3)
        except Exception:  # it is there since the first start
            pass
    options = PipelineOptions(
        ["--runner=LogRunner", f"--job_name={name}", f"--log_dir={folder}", "--no_progress", *flags]
    )
    with beam.Pipeline(options=options) as p:
        build(name, p, folder, int(size), float(pause))


if __name__ == "__main__":
    main(sys.argv[1:])
