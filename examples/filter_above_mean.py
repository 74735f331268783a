"""Filtering by a value that the pipeline itself computes: flights longer in the air than the mean of their month.

    python examples/filter_above_mean.py

The mean is a PCollection of one element; `AsSingleton` gives it to the filter as a plain number.
"""

from __future__ import annotations

import argparse

from nycflights import FLIGHTS, ReadTable
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the lines written: route and minutes, of each flight above the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--times", type=float, default=3.0, help="how many times the mean a flight has to take"
    )
    parser.add_argument("--output", default="out/filter_above_mean")
    args, pipeline_args = parser.parse_known_args(argv)
    times = args.times

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        flights = (
            p
            | "Flights" >> ReadTable(FLIGHTS)
            | "Flown" >> beam.Filter(lambda row: row["air_time"] != "NA")
            | "Minutes" >> beam.Map(lambda row: (f"{row['origin']}-{row['dest']}", int(row["air_time"])))
        )
        mean = flights | "Times" >> beam.Values() | "Mean" >> beam.combiners.Mean.Globally()
        (
            flights
            | "AboveMean"
            >> beam.Filter(lambda item, mean: item[1] > times * mean, mean=beam.pvalue.AsSingleton(mean))
            | "Format" >> beam.MapTuple(lambda route, minutes: f"{route} {minutes}")
            | "Write" >> beam.io.WriteToText(args.output)
        )
    return lines(args.output)


if __name__ == "__main__":
    show(run())
