"""Sessions: an aircraft's departures from New York belong together as long as no gap between them is too long.

    python examples/aircraft_sessions.py --gap_hours 24

Each departure opens a window of `--gap_hours`; windows of the same aircraft that overlap are merged (a departure exactly
the gap later begins a new one). Out comes, for each session with at least `--least` flights: the aircraft, the first
and the last departure, how many flights.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from nycflights import FLIGHTS, ReadTable, departed, scheduled_seconds
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.window import IntervalWindow, Sessions
from hornbeam.utils.timestamp import Duration


class Describe(beam.DoFn):
    """A line for each session that has enough flights. The last departure is the window's end less the gap."""

    def __init__(self, gap_seconds: float, least: int) -> None:
        self.gap = Duration(gap_seconds)
        self.least = least

    def process(
        self, element: tuple[str, int], window: IntervalWindow = beam.DoFn.WindowParam
    ) -> Iterator[str]:
        tailnum, flights = element
        if flights >= self.least:
            last = window.end - self.gap
            yield f"{tailnum} {window.start.to_rfc3339()} {last.to_rfc3339()} {flights}"


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the lines written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gap_hours", type=float, default=24)
    parser.add_argument(
        "--least", type=int, default=10, help="flights that a session has to have to be shown"
    )
    parser.add_argument("--output", default="out/aircraft_sessions")
    args, pipeline_args = parser.parse_known_args(argv)
    gap_seconds = args.gap_hours * 3600

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Flights" >> ReadTable(FLIGHTS)
            | "Departed" >> beam.Filter(departed)
            | "EventTime" >> beam.WithTimestamps(scheduled_seconds)
            | "Aircraft" >> beam.Map(lambda row: row["tailnum"])
            | "Sessions" >> beam.WindowInto(Sessions(gap_seconds))
            | "Count" >> beam.combiners.Count.PerElement()
            | "Describe" >> beam.ParDo(Describe(gap_seconds, args.least))
            | "Write" >> beam.io.WriteToText(args.output)
        )
    return lines(args.output)


if __name__ == "__main__":
    show(run())
