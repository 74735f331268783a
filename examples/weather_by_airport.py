"""Grouping by fields: GroupBy with aggregates over rows, the SQL way of thinking.

    python examples/weather_by_airport.py

For each airport and month: the coldest hour, the mean wind, and the hours with rain.
"""

from __future__ import annotations

import argparse

from nycflights import WEATHER, ReadTable, Row
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.combiners import MeanCombineFn


def to_row(row: Row) -> beam.Row:
    """The fields in use, as numbers."""
    return beam.Row(
        airport=row["origin"],
        month=int(row["month"]),
        degrees=float(row["temp"]),
        wind=float(row["wind_speed"]),
        wet=int(float(row["precip"]) > 0),
    )


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the lines written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="out/weather_by_airport")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Weather" >> ReadTable(WEATHER)
            | "Complete"
            >> beam.Filter(lambda row: "NA" not in (row["temp"], row["wind_speed"], row["precip"]))
            | "Rows" >> beam.Map(to_row)
            | "Group"
            >> beam.GroupBy("airport", "month")
            .aggregate_field("degrees", min, "coldest")
            .aggregate_field("wind", MeanCombineFn(), "wind")
            .aggregate_field("wet", sum, "wet_hours")
            | "Format"
            >> beam.Map(
                lambda row: (
                    f"{row.airport} {row.month:02} {row.coldest:.1f} F {row.wind:.1f} mph {row.wet_hours} h"
                )
            )
            | "Write" >> beam.io.WriteToText(args.output)
        )
    return lines(args.output)


if __name__ == "__main__":
    show(run(), 40)
