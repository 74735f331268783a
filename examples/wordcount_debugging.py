"""Word count of a few chosen words, with what helps to find mistakes: counters, a distribution, an assertion.

    python examples/wordcount_debugging.py --words 'charity|mercy'

A DoFn counts what it keeps and what it drops; the result of the run is asked for these metrics. `assert_that` makes the
pipeline itself fail when a count is wrong, here when a word that the pattern should not match got through.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from wordcount import KJV, words_of_verse

import hornbeam as beam
from hornbeam.metrics import Metrics, MetricsFilter
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.testing.util import assert_that, matches_all


class KeepMatching(beam.DoFn):
    """Keeps the (word, count) pairs whose word matches a pattern as a whole, and counts both kinds."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.kept = Metrics.counter("words", "kept")
        self.dropped = Metrics.counter("words", "dropped")
        self.lengths = Metrics.distribution("words", "length_kept")

    def setup(self) -> None:
        self.compiled = re.compile(self.pattern, re.IGNORECASE)

    def process(self, element: tuple[str, int]) -> Iterator[tuple[str, int]]:
        word, _ = element
        if self.compiled.fullmatch(word):
            self.kept.inc()
            self.lengths.update(len(word))
            yield element
        else:
            self.dropped.inc()


def run(argv: list[str] | None = None) -> dict[str, int]:
    """Runs the pipeline and gives its counters by name, and the longest kept word's length as `longest`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", default=str(KJV))
    parser.add_argument("--words", default="charity|mercy", help="a regular expression for whole words")
    parser.add_argument("--expect", help="word=count,word=count: fails when the kept counts are others")
    args, pipeline_args = parser.parse_known_args(argv)

    pipeline = beam.Pipeline(options=PipelineOptions(pipeline_args))
    kept = (
        pipeline
        | "Read" >> beam.io.ReadFromText(args.input)
        | "Split" >> beam.FlatMap(words_of_verse)
        | "Count" >> beam.combiners.Count.PerElement()
        | "Keep" >> beam.ParDo(KeepMatching(args.words))
    )
    if args.expect:
        pairs = (pair.split("=") for pair in args.expect.split(","))
        assert_that(kept, matches_all([(word, int(count)) for word, count in pairs]))
    result = pipeline.run()
    result.wait_until_finish()

    found = result.metrics().query(MetricsFilter().with_namespace("words"))
    counters = {metric.key.metric.name: metric.committed for metric in found["counters"]}
    for metric in found["distributions"]:
        counters["longest"] = metric.committed.max
    return counters


if __name__ == "__main__":
    for name, value in sorted(run().items()):
        print(f"{name}: {value:,}")
