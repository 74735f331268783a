"""Flights an hour: elements get event times, fixed windows cut time into hours, and each window is counted.

    python examples/windowed_departures.py --hours 1

The event time is when a flight was scheduled to leave (UTC). The window comes back to user code as a parameter.
"""

from __future__ import annotations

import argparse

from nycflights import FLIGHTS, ReadTable, Row, scheduled_seconds
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.window import FixedWindows, IntervalWindow


def with_event_time(row: Row) -> beam.window.TimestampedValue[str]:
    """The airport that the flight leaves from, at the time at which it should leave."""
    return beam.window.TimestampedValue(row["origin"], scheduled_seconds(row))


def to_line(airport: str, count: int, window: IntervalWindow = beam.DoFn.WindowParam) -> str:
    """`2013-01-01T10:00:00Z JFK 12`: the window's start, the airport, the flights."""
    return f"{window.start.to_rfc3339()} {airport} {count}"


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the lines written, in order of time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1, help="length of a window")
    parser.add_argument("--output", default="out/windowed_departures")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Flights" >> ReadTable(FLIGHTS)
            | "EventTime" >> beam.Map(with_event_time)
            | "Windows" >> beam.WindowInto(FixedWindows(args.hours * 3600))
            | "Count" >> beam.combiners.Count.PerElement()
            | "Format" >> beam.MapTuple(to_line)
            | "Write" >> beam.io.WriteToText(args.output)
        )
    return lines(args.output)


if __name__ == "__main__":
    show(run())
