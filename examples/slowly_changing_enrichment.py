"""A slowly changing table beside a stream: flights are given their airline's name, and airlines are renamed meanwhile.

    python examples/slowly_changing_enrichment.py

`RefreshedSideInput` reads the table when the pipeline starts and again every `--refresh_secs`; each flight is
processed with the version that was read last. The main program plays the part of the world outside: it appends
flights to a file, replaces the table, waits until it has been read again, appends more flights, and drains the
pipeline.
"""

from __future__ import annotations

import argparse
import csv
import os
from itertools import islice

from nycflights import AIRLINES, FLIGHTS, table
from outputs import AppendLines, appended, empty, show
from streams import counted, until_counted

import hornbeam as beam
from hornbeam.io.tail import TailText
from hornbeam.metrics import Metrics
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.pvalue import AsSingleton
from hornbeam.transforms.refreshed import RefreshedSideInput

#: What happens while the pipeline runs: the two mergers of that time.
RENAMED = {"FL": "Southwest Airlines Co.", "US": "American Airlines Inc."}

looked_up = Metrics.counter("enrichment", "looked_up")
tables_read = Metrics.counter("enrichment", "tables_read")


def read_names(path: str) -> dict[str, str]:
    """The names of the airlines by their codes, as the table is now."""
    names = {row["carrier"]: row["name"] for row in table(path)}
    tables_read.inc()
    return names


def with_name(line: str, names: dict[str, str]) -> str:
    """`FL 1850` becomes `FL 1850 AirTran Airways Corporation`."""
    looked_up.inc()
    return f"{line} {names.get(line.split()[0], 'unknown')}"


def write_names(path: str, names: dict[str, str]) -> None:
    """Replaces the table at once: nobody sees a half-written one."""
    with open(f"{path}.new", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["carrier", "name"])
        writer.writerows(names.items())
    os.replace(f"{path}.new", path)


def append(path: str, flights: list[str]) -> None:
    """Appends lines to the file that the stream reads."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"{flight}\n" for flight in flights)


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline in a changing world, and gives the lines in the order in which they were written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--flights", type=int, default=1000, help="how many flights before the change, and after"
    )
    parser.add_argument("--refresh_secs", type=float, default=0.2)
    parser.add_argument("--output", default="out/slowly_changing_enrichment")
    args, pipeline_args = parser.parse_known_args(argv)
    arriving, output = empty(f"{args.output}-flights.txt"), empty(f"{args.output}-named")
    names_path = empty(f"{args.output}-airlines.csv")
    names = {row["carrier"]: row["name"] for row in table(AIRLINES)}
    write_names(names_path, names)
    rows = islice(table(FLIGHTS), 2 * args.flights)
    flights = [f"{row['carrier']} {row['flight']}" for row in rows]

    pipeline = beam.Pipeline(options=PipelineOptions(pipeline_args))
    airlines = pipeline | "Airlines" >> RefreshedSideInput(lambda: read_names(names_path), args.refresh_secs)
    (
        pipeline
        | "Flights" >> TailText(arriving, interval=0.05)
        | "Enrich" >> beam.Map(with_name, AsSingleton(airlines))
        | "Append" >> beam.ParDo(AppendLines(output))
    )
    result = pipeline.run()
    try:
        append(arriving, flights[: args.flights])
        until_counted(result, "looked_up", args.flights)
        write_names(names_path, names | RENAMED)
        # The next one may have been read before the change; the one after it was not.
        until_counted(result, "tables_read", counted(result, "tables_read") + 2)
        append(arriving, flights[args.flights :])
        until_counted(result, "looked_up", len(flights))
    finally:
        result.drain()
    return appended(output)


if __name__ == "__main__":
    named = run()
    show([line for line in named if line.startswith("FL ")], 1000)
