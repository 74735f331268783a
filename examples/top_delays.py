"""The greatest few per key: the most delayed departures of each carrier.

    python examples/top_delays.py --top 3

`Top.PerKey` keeps no more than `--top` elements a key in memory, however many flights there are.
"""

from __future__ import annotations

import argparse

from nycflights import FLIGHTS, ReadTable, Row, departed
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


def keyed(row: Row) -> tuple[str, tuple[int, str]]:
    """(carrier, (delay, flight)); pairs compare by the delay first."""
    flight = f"{row['day']} January, flight {row['flight']} to {row['dest']}"
    return row["carrier"], (int(row["dep_delay"]), flight)


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the lines written, sorted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--top", type=int, default=3, help="how many flights of each carrier")
    parser.add_argument("--output", default="out/top_delays")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Flights" >> ReadTable(FLIGHTS)
            | "Departed" >> beam.Filter(departed)
            | "Keyed" >> beam.Map(keyed)
            | "Top" >> beam.combiners.Top.PerKey(args.top)
            | "Rank"
            >> beam.FlatMapTuple(
                lambda carrier, top: ((carrier, rank, *item) for rank, item in enumerate(top, 1))
            )
            | "Format"
            >> beam.MapTuple(lambda carrier, rank, delay, flight: f"{carrier} {rank}. {delay} min: {flight}")
            | "Write" >> beam.io.WriteToText(args.output)
        )
    return lines(args.output)


if __name__ == "__main__":
    show(run())
