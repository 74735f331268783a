"""Bad records do not stop the run: what cannot be parsed goes to an output of its own, with the reason.

    python examples/dead_letters.py

`parse` is strict, and some flights have `NA` where a number should be. `with_exception_handling` sends those elements
to a second PCollection, together with the exception; `--threshold` fails the run when too many are bad.
"""

from __future__ import annotations

import argparse
import csv

from nycflights import FLIGHTS, header
from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


def run(argv: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Runs the pipeline and gives the lines of both outputs: the mean speed by carrier, the bad lines' reasons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threshold", type=float, default=0.1, help="share of bad lines that is put up with")
    parser.add_argument("--output", default="out/dead_letters")
    args, pipeline_args = parser.parse_known_args(argv)
    columns = header(FLIGHTS)

    def parse(line: str) -> tuple[str, float]:
        row = dict(zip(columns, next(csv.reader([line]))))
        return row["carrier"], 60 * int(row["distance"]) / int(row["air_time"])

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        speeds, bad = (
            p
            | "Lines" >> beam.io.ReadFromText(FLIGHTS, skip_header_lines=1)
            | "Parse"
            >> beam.Map(parse).with_exception_handling(exc_class=ValueError, threshold=args.threshold)
        )
        (
            speeds
            | "Mean" >> beam.combiners.Mean.PerKey()
            | "Format" >> beam.MapTuple(lambda carrier, speed: f"{carrier} {speed:.1f} miles/h")
            | "Write" >> beam.io.WriteToText(f"{args.output}-speeds")
        )
        (
            bad  # (element, (exception type, its repr, traceback lines))
            | "Reason" >> beam.MapTuple(lambda line, failure: failure[1])
            | "CountReasons" >> beam.combiners.Count.PerElement()
            | "FormatReason" >> beam.MapTuple(lambda reason, count: f"{count} times {reason}")
            | "WriteReasons" >> beam.io.WriteToText(f"{args.output}-reasons")
        )
    return lines(f"{args.output}-speeds"), lines(f"{args.output}-reasons")


if __name__ == "__main__":
    for written in run():
        show(written)
        print()
