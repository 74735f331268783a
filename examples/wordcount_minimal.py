"""The smallest complete pipeline: reads a text, counts its words, writes the counts.

    python examples/wordcount_minimal.py

Nothing can be chosen here; `wordcount.py` is the one with options.
"""

from __future__ import annotations

import re
from pathlib import Path

import hornbeam as beam

INPUT = str(Path(__file__).parent / "data" / "kjv.txt.gz")
OUTPUT = "out/wordcount_minimal"


def run(output: str = OUTPUT) -> None:
    """Runs the pipeline; the counts are in files that begin with `output`."""
    with beam.Pipeline() as p:
        (
            p
            | beam.io.ReadFromText(INPUT)
            | beam.FlatMap(lambda line: re.findall(r"[A-Za-z']+", line))
            | beam.combiners.Count.PerElement()
            | beam.MapTuple(lambda word, count: f"{word}: {count}")
            | beam.io.WriteToText(output)
        )


if __name__ == "__main__":
    run()
    print(f"The counts are in {OUTPUT}-00000-of-00001")
