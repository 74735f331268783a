"""Counts the words of the King James Bible, shows the most frequent, and writes all counts to a text file.

    python examples/wordcount.py --output out/wordcount --top 10

Any pipeline option may follow, such as `--runner=DirectRunner` or `--memory_limit=256MB`.
"""

from __future__ import annotations

import argparse
import glob
import re
from pathlib import Path

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions

KJV = Path(__file__).parent / "data" / "kjv.txt.gz"
WORD = re.compile(r"[A-Za-z']+")
REFERENCE = re.compile(r"^\w+\d+:\d+\s")


def words_of_verse(line: str) -> list[str]:
    """The words of a line such as `Ge1:1 In the beginning …`, in lower case, without its reference if it has one."""
    return WORD.findall(REFERENCE.sub("", line).lower())


def run(argv: list[str] | None = None) -> list[tuple[str, int]]:
    """Runs the pipeline and gives the top words, most frequent first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--input", default=str(KJV), help="file or glob to read; .gz and the like are unpacked"
    )
    parser.add_argument("--output", default="out/wordcount", help="prefix of the files to write")
    parser.add_argument("--top", type=int, default=10, help="how many words to show")
    args, pipeline_args = parser.parse_known_args(argv)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        counts = (
            p
            | "Read" >> beam.io.ReadFromText(args.input)
            | "Split" >> beam.FlatMap(words_of_verse)
            | "Count" >> beam.combiners.Count.PerElement()
        )
        (
            counts
            | "Format" >> beam.MapTuple(lambda word, count: f"{word}: {count}")
            | "Write" >> beam.io.WriteToText(args.output, file_name_suffix=".txt")
        )
        (
            counts
            | "Top" >> beam.combiners.Top.Of(args.top, key=lambda item: (item[1], item[0]))
            | "TopLines" >> beam.FlatMap(lambda top: [f"{word}\t{count}" for word, count in top])
            | "WriteTop" >> beam.io.WriteToText(f"{args.output}-top", shard_name_template="")
        )

    with open(f"{args.output}-top", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [(word, int(count)) for word, count in rows]


def main() -> None:
    """Prints the top words and where all counts are."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--output", default="out/wordcount")
    known, _ = parser.parse_known_args()
    top = run()
    widest = max((count for _, count in top), default=1)
    for word, count in top:
        print(f"{count:>8,}  {word:<12} {'#' * round(50 * count / widest)}")
    files = sorted(glob.glob(f"{known.output}-*-of-*.txt"))
    print(f"\nAll counts: {', '.join(files)}")


if __name__ == "__main__":
    main()
