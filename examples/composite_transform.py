"""A transform of one's own, made of others, with declared types: the busiest hour of each airport.

    python examples/composite_transform.py

`BusiestHour` is used twice, under two labels, for two tables. Its declared types are checked while the pipeline is
built: applied to a PCollection of anything but (str, str) pairs it is refused before anything runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from nycflights import FLIGHTS, ReadTable, Row, departed
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


@beam.typehints.with_input_types(tuple[str, str])
@beam.typehints.with_output_types(tuple[str, str])
class BusiestHour(beam.PTransform):
    """From (place, hour) pairs to (place, `hour (count)`) with the most frequent hour; the earliest of equals."""

    def expand(self, pairs: beam.PCollection[tuple[str, str]]) -> beam.PCollection[tuple[str, str]]:
        return (
            pairs
            | "Count" >> beam.combiners.Count.PerElement()
            | "ByPlace" >> beam.MapTuple(lambda pair, count: (pair[0], (pair[1], count)))
            | "Busiest" >> beam.CombinePerKey(busiest)
            | "Format" >> beam.MapTuple(lambda place, best: (place, f"{best[0]} h ({best[1]})"))
        )


def busiest(counts: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """Of (hour, count) pairs the one with the greatest count, and of those the earliest."""
    return max(counts, key=lambda item: (item[1], -int(item[0])))


def departure(row: Row) -> tuple[str, str]:
    """Where a flight left, and in which local hour."""
    return row["origin"], hour(row["dep_time"])


def arrival(row: Row) -> tuple[str, str]:
    """Where a flight landed, and in which local hour."""
    return row["dest"], hour(row["arr_time"])


def hour(hhmm: str) -> str:
    """The hour of a time such as `517` or `2359`; midnight is written `2400`."""
    return str(int(hhmm) // 100 % 24)


def run(argv: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Runs the pipeline and gives the lines of both outputs: departures, arrivals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="out/composite_transform")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        flights = p | "Flights" >> ReadTable(FLIGHTS)
        (
            flights
            | "Departed" >> beam.Filter(departed)
            | "Departure" >> beam.Map(departure)
            | "BusiestDeparture" >> BusiestHour()
            | "DepartureLines" >> beam.ToString.Kvs(delimiter=" ")
            | "WriteDepartures" >> beam.io.WriteToText(f"{args.output}-departures")
        )
        (
            flights
            | "Landed" >> beam.Filter(lambda row: row["arr_time"] != "NA")
            | "Arrival" >> beam.Map(arrival)
            | "BusiestArrival" >> BusiestHour()
            | "ArrivalLines" >> beam.ToString.Kvs(delimiter=" ")
            | "WriteArrivals" >> beam.io.WriteToText(f"{args.output}-arrivals")
        )
    return lines(f"{args.output}-departures"), lines(f"{args.output}-arrivals")


if __name__ == "__main__":
    for written in run():
        show(written)
        print()
