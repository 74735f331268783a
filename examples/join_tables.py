"""Two kinds of join: CoGroupByKey of two large tables, and look-ups in small tables given as side inputs.

    python examples/join_tables.py

Flights and planes meet by tail number (a left outer join: the registry does not know every aircraft). Airlines and
airports are small, so every worker gets them whole, as dicts. Out come flights by airline and maker of the plane, and
flights by destination.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from nycflights import AIRLINES, AIRPORTS, FLIGHTS, PLANES, ReadTable
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


def carrier_and_maker(tailnum: str, tables: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """(carrier, maker) for each flight of one aircraft."""
    maker = next(iter(tables["makers"]), "unknown")
    for carrier in tables["carriers"]:
        yield carrier, maker


def run(argv: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Runs the pipeline and gives the lines of both outputs: by airline and maker, by destination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="out/join_tables")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        flights = p | "Flights" >> ReadTable(FLIGHTS)
        planes = p | "Planes" >> ReadTable(PLANES)
        airlines = p | "Airlines" >> ReadTable(AIRLINES) | beam.Map(lambda row: (row["carrier"], row["name"]))
        airports = p | "Airports" >> ReadTable(AIRPORTS) | beam.Map(lambda row: (row["faa"], row["name"]))

        (
            {
                "carriers": flights | "ByPlane" >> beam.Map(lambda row: (row["tailnum"], row["carrier"])),
                "makers": planes | "Makers" >> beam.Map(lambda row: (row["tailnum"], row["manufacturer"])),
            }
            | "Join" >> beam.CoGroupByKey()
            | "Pairs" >> beam.FlatMapTuple(carrier_and_maker)
            | "CountPairs" >> beam.combiners.Count.PerElement()
            | "NameAirline"
            >> beam.Map(
                lambda item, names: f"{names[item[0][0]]}, {item[0][1]}: {item[1]}",
                names=beam.pvalue.AsDict(airlines),
            )
            | "WritePairs" >> beam.io.WriteToText(f"{args.output}-makers")
        )
        (
            flights
            | "Destination" >> beam.Map(lambda row: row["dest"])
            | "CountDestinations" >> beam.combiners.Count.PerElement()
            | "NameAirport"
            >> beam.Map(
                lambda item, names: f"{names.get(item[0], item[0])}: {item[1]}",
                names=beam.pvalue.AsDict(airports),
            )
            | "WriteDestinations" >> beam.io.WriteToText(f"{args.output}-destinations")
        )
    return lines(f"{args.output}-makers"), lines(f"{args.output}-destinations")


if __name__ == "__main__":
    for written in run():
        show(written)
        print()
