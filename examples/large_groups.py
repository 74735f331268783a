"""Groups that are larger than memory: they go to disk past a limit, and come back key by key.

    python examples/large_groups.py --pairs 2000000 --keys 1000 --memory_limit=16MB

Makes pairs, groups them, and checks each group while it is read: how many values, and their sum. The values of a group
are an iterable that is read from disk; nothing here holds a group as a list.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from outputs import lines, show

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


def pairs_of(start: int, step: int, stop: int, keys: int) -> Iterator[tuple[int, int]]:
    """(i mod keys, i) for every step-th i below stop."""
    for i in range(start, stop, step):
        yield i % keys, i


def count_and_sum(key: int, values: Iterable[int]) -> tuple[int, int, int]:
    """One pass over the values of a key."""
    count = total = 0
    for value in values:
        count += 1
        total += value
    return key, count, total


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the lines written: key, number of values, sum of values."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_000_000)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--output", default="out/large_groups")
    args, pipeline_args = parser.parse_known_args(argv)
    parts, pairs, keys = 8, args.pairs, args.keys

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Parts" >> beam.Create(range(parts))
            | "Pairs" >> beam.FlatMap(lambda part: pairs_of(part, parts, pairs, keys))
            | "Group" >> beam.GroupByKey()
            | "Check" >> beam.MapTuple(count_and_sum)
            | "Format" >> beam.MapTuple(lambda key, count, total: f"{key} {count} {total}")
            | "Write" >> beam.io.WriteToText(args.output)
        )
    return lines(args.output)


if __name__ == "__main__":
    show(run())
