"""Every route that was flown, once: Distinct over pairs, and the number of destinations of each airport.

    python examples/distinct_routes.py

A branch in the pipeline: both outputs read the same PCollection of routes, which is computed once.
"""

from __future__ import annotations

import argparse

from nycflights import FLIGHTS, ReadTable
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


def run(argv: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Runs the pipeline and gives the lines of both outputs: the routes, the destinations an airport has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="out/distinct_routes")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        routes = (
            p
            | "Flights" >> ReadTable(FLIGHTS)
            | "Route" >> beam.Map(lambda row: (row["origin"], row["dest"]))
            | "Distinct" >> beam.Distinct()
        )
        (
            routes
            | "FormatRoute" >> beam.ToString.Kvs(delimiter="-")
            | "WriteRoutes" >> beam.io.WriteToText(f"{args.output}-routes")
        )
        (
            routes
            | "Destinations" >> beam.combiners.Count.PerKey()
            | "FormatCount" >> beam.ToString.Kvs(delimiter=" ")
            | "WriteCounts" >> beam.io.WriteToText(f"{args.output}-counts")
        )
    return lines(f"{args.output}-routes"), lines(f"{args.output}-counts")


if __name__ == "__main__":
    for written in run():
        show(written)
        print()
