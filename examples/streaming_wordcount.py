"""Word count over a file that grows: the verses of the King James Bible are appended while the pipeline reads.

    python examples/streaming_wordcount.py --verses 3000 --every_secs 0.2

`TailText` gives each line once it has been written. The count of a word is given out again `--every_secs` seconds
after it has changed, and once more at the end; each pane holds all that came so far. The main program plays the
part of the writer: it appends a piece, sees in the pipeline's counter that it was read, appends the next, and
drains the pipeline after the last. With `--run_for_secs=N` (an option of the runner) the pipeline ends after N
seconds, whatever has been read.
"""

from __future__ import annotations

import argparse
import gzip
from itertools import islice

from outputs import AppendLines, appended, empty
from streams import until_counted
from wordcount import KJV, words_of_verse

import hornbeam as beam
from hornbeam.io.tail import TailText
from hornbeam.metrics import Metrics
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from hornbeam.transforms.window import GlobalWindows

PIECES = 10


class Words(beam.DoFn):
    """The words of a verse; counts the verses."""

    def __init__(self) -> None:
        self.verses = Metrics.counter("streaming_wordcount", "verses_read")

    def process(self, verse: str) -> list[str]:
        self.verses.inc()
        return words_of_verse(verse)


def build(pipeline: beam.Pipeline, growing: str, output: str, every_secs: float) -> None:
    """The pipeline: lines of a growing file, counts so far."""
    (
        pipeline
        | "Tail" >> TailText(growing, interval=0.05)
        | "Words" >> beam.ParDo(Words())
        | "SoFar"
        >> beam.WindowInto(
            GlobalWindows(),
            trigger=Repeatedly(AfterProcessingTime(every_secs)),
            accumulation_mode=AccumulationMode.ACCUMULATING,
        )
        | "Count" >> beam.combiners.Count.PerElement()
        | "Format" >> beam.MapTuple(lambda word, count: f"{word} {count}")
        | "Append" >> beam.ParDo(AppendLines(output))
    )


def append(path: str, verses: list[str]) -> None:
    """Appends lines to the growing file."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(verses)


def run(argv: list[str] | None = None) -> list[tuple[str, int]]:
    """Runs the pipeline beside a writer, and gives the counts in the order in which they were given out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", default=str(KJV), help="a gzipped text to take the lines from")
    parser.add_argument("--verses", type=int, default=3000, help="how many lines to append")
    parser.add_argument("--every_secs", type=float, default=0.2, help="how long changed counts are held back")
    parser.add_argument("--output", default="out/streaming_wordcount")
    args, pipeline_args = parser.parse_known_args(argv)
    growing, output = empty(f"{args.output}-growing.txt"), empty(f"{args.output}-counts")
    with gzip.open(args.input, "rt", encoding="utf-8") as text:
        verses = list(islice(text, args.verses))

    pipeline = beam.Pipeline(options=PipelineOptions(pipeline_args))
    build(pipeline, growing, output, args.every_secs)
    result = pipeline.run()
    try:
        size = -(-len(verses) // PIECES)
        for start in range(0, len(verses), size):
            append(growing, verses[start : start + size])
            until_counted(result, "verses_read", min(start + size, len(verses)))
    finally:
        result.drain()
    pairs = (line.split() for line in appended(output))
    return [(word, int(count)) for word, count in pairs]


if __name__ == "__main__":
    panes = run()
    print(f"{len(panes):,} panes; how the count of 'the' grew, and the most frequent words at the end:")
    print(" ".join(str(count) for word, count in panes if word == "the"))
    for word, count in sorted(dict(panes).items(), key=lambda item: -item[1])[:10]:
        print(f"{count:>8,}  {word}")
