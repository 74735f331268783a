"""Departure delays by airport and hour, from a topic of the log to another one and to files a day.

    python examples/streaming_flights_log.py                             # what is in the topic now, then it ends
    python examples/streaming_flights_log.py --follow --runner=LogRunner --job_name=delays --log_dir=out/jobs

With `--follow` it goes on for ever: kill it in whatever way, start it again with the same command, and the topic and the
files hold every hour once. `hornbeam job status out/jobs delays` shows how it does, and `hornbeam job drain out/jobs delays`
ends it. The topic is filled from the flights of January 2013 if it is not there.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Iterable

from nycflights import FLIGHTS, Row, scheduled_seconds
from outputs import show

import hornbeam as beam
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.transforms.window import FixedWindows, IntervalWindow

HOUR, DAY = 3600, 86_400


def fill(directory: str, topic: str, partitions: int = 4) -> None:
    """Makes the topic out of the flights' table: a JSON row a flight, in the order of scheduled departure."""
    with gzip.open(FLIGHTS, "rt", newline="") as file:
        rows = sorted(csv.DictReader(file), key=scheduled_seconds)
    with Log(directory) as log, Producer(log) as producer:
        if topic not in log.topics():
            log.create_topic(topic, partitions)
            values = [json.dumps(row).encode() for row in rows]
            keys = [row["carrier"].encode() for row in rows]
            producer.append(
                topic, values, keys, timestamps=[round(scheduled_seconds(row) * 1e6) for row in rows]
            )


class Delays(beam.CombineFn):
    """How many flights left, and their mean and greatest delay in minutes."""

    def create_accumulator(self) -> tuple[int, int, int]:
        """(flights, minutes together, most minutes)."""
        return 0, 0, -(10**6)

    def add_input(self, accumulator: tuple[int, int, int], minutes: int) -> tuple[int, int, int]:
        """One more flight."""
        count, total, most = accumulator
        return count + 1, total + minutes, max(most, minutes)

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
        """Counts and minutes add up."""
        counts, totals, mosts = zip(*accumulators)
        return sum(counts), sum(totals), max(mosts)

    def extract_output(self, accumulator: tuple[int, int, int]) -> dict[str, float]:
        """As a row."""
        count, total, most = accumulator
        return {"flights": count, "mean_delay": round(total / count, 1), "max_delay": most}


def delay(row: Row) -> list[tuple[str, int]]:
    """(airport, minutes) of a flight that left."""
    return [] if row["dep_delay"] == "NA" else [(row["origin"], int(row["dep_delay"]))]


def to_row(airport: str, delays: dict[str, float], window: IntervalWindow = beam.DoFn.WindowParam) -> Row:
    """The hour, the airport and its delays."""
    return {"hour": window.start.to_rfc3339(), "airport": airport, **delays}


def to_line(row: Row) -> str:
    """`2013-01-01T10:00:00Z JFK 12 flights, 3.5 min late, at most 40`."""
    return "{hour} {airport} {flights} flights, {mean_delay} min late, at most {max_delay}".format(**row)


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the rows of the output topic as lines, in order of hour and airport."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", default="out/log", help="directory of the log with both topics")
    parser.add_argument("--files", default="out/delays/day", help="prefix of the files")
    parser.add_argument("--follow", action="store_true", help="wait for new flights for ever")
    args, pipeline_args = parser.parse_known_args(argv)
    fill(args.log, "flights")

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        rows = (
            p
            | "Flights"
            >> ReadFromLog(
                args.log, "flights", bounded=not args.follow, value_coder=json.loads, idle_timeout=1.0
            )
            | "Delay" >> beam.FlatMap(delay).with_output_types(tuple[str, int])
            | "Hours" >> beam.WindowInto(FixedWindows(HOUR))
            | "Delays" >> beam.CombinePerKey(Delays())
            | "Row" >> beam.MapTuple(to_row)
        )
        rows | "ToTopic" >> WriteToLog(
            args.log, "delays", key=lambda row: row["airport"], value_coder=json.dumps, partitions=2
        )
        (
            rows
            | "Line" >> beam.Map(to_line)
            | "Days" >> beam.WindowInto(FixedWindows(DAY))
            | "ToFiles" >> beam.io.WriteToText(args.files, file_name_suffix=".txt")
        )
    return sorted(map(to_line, read_rows(args.log, "delays")))


def read_rows(directory: str, topic: str) -> list[Row]:
    """What a topic of JSON holds."""
    rows: list[Row] = []
    with Log(directory) as log, Consumer(log, topic) as consumer:
        while records := consumer.poll(max_records=10_000):
            rows += [json.loads(record.value or b"null") for record in records]
    return rows


if __name__ == "__main__":
    show(run())
