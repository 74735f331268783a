"""One pass, several outputs: a DoFn sends each flight to the output it belongs to.

    python examples/multiple_outputs.py

Late flights are the main output; punctual and cancelled ones have tags of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from nycflights import FLIGHTS, ReadTable, Row, departed
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


class SplitByPunctuality(beam.DoFn):
    """Late flights to the main output, the others to `punctual` and `cancelled`."""

    PUNCTUAL = "punctual"
    CANCELLED = "cancelled"

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes

    def process(self, row: Row) -> Iterator[Any]:
        if not departed(row):
            yield beam.TaggedOutput(self.CANCELLED, row)
        elif int(row["dep_delay"]) <= self.minutes:
            yield beam.TaggedOutput(self.PUNCTUAL, row)
        else:
            yield row


def run(argv: list[str] | None = None) -> dict[str, list[str]]:
    """Runs the pipeline and gives, for each output, its lines: flights by airport."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--late", type=int, default=15, help="minutes up to which a flight is punctual")
    parser.add_argument("--output", default="out/multiple_outputs")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        split = SplitByPunctuality(args.late)
        outputs = (
            p
            | "Flights" >> ReadTable(FLIGHTS)
            | "Split" >> beam.ParDo(split).with_outputs(split.PUNCTUAL, split.CANCELLED, main="late")
        )
        for tag in ("late", split.PUNCTUAL, split.CANCELLED):
            (
                outputs[tag]
                | f"Airport {tag}" >> beam.Map(lambda row: row["origin"])
                | f"Count {tag}" >> beam.combiners.Count.PerElement()
                | f"Format {tag}" >> beam.ToString.Kvs(delimiter=" ")
                | f"Write {tag}" >> beam.io.WriteToText(f"{args.output}-{tag}")
            )
    return {tag: lines(f"{args.output}-{tag}") for tag in ("late", split.PUNCTUAL, split.CANCELLED)}


if __name__ == "__main__":
    for name, written in run().items():
        print(name)
        show(written)
