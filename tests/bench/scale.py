"""How time and memory grow: large jobs, each in a process of its own. `python -m tests.bench.scale [--quick]`.

Prints for each job the seconds of processor time, the nanoseconds an element and the peak resident memory of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import hornbeam as beam
from hornbeam.io.utils import CountingSource
from hornbeam.options.pipeline_options import PipelineOptions

GROUP_KEYS = 2_000_003


def explode(n: int) -> None:
    """One element becomes n; their sum must be right."""
    with beam.Pipeline(options=PipelineOptions(["--no_progress"])) as p:
        total = p | beam.Create([n]) | beam.FlatMap(range) | beam.CombineGlobally(sum)
        total | beam.Map(_check, n * (n - 1) // 2)


def group(n: int) -> None:
    """n pairs are grouped under --memory_limit=256MB; the number of keys, of values and their sum must be right."""
    options = PipelineOptions(["--no_progress", "--memory_limit=256MB"])
    with beam.Pipeline(options=options) as p:
        facts = (
            p
            | beam.io.Read(CountingSource(n))
            | beam.Map(lambda i: ((i * 7919) % GROUP_KEYS, i))
            | beam.GroupByKey()
            | "facts" >> beam.Map(lambda group: (1, len(group[1]), sum(group[1])))
            | beam.CombineGlobally(lambda rows: tuple(map(sum, zip(*rows))))
        )
        facts | beam.Map(_check, (min(n, GROUP_KEYS), n, n * (n - 1) // 2))


def count(n: int) -> None:
    """Words are counted per key without a limit being reached."""
    with beam.Pipeline(options=PipelineOptions(["--no_progress"])) as p:
        total = (
            p
            | beam.io.Read(CountingSource(n))
            | beam.Map(lambda i: (i % 1000, 1))
            | beam.CombinePerKey(sum)
            | beam.Values()
            | beam.CombineGlobally(sum)
        )
        total | beam.Map(_check, n)


def _check(found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


JOBS = {"explode": explode, "group": group, "count": count}
MILLION = 1_000_000
FULL = [("explode", 50), ("group", 1), ("group", 5), ("group", 20), ("count", 1), ("count", 5), ("count", 20)]
QUICK = [("explode", 2), ("group", 1), ("group", 3), ("count", 1), ("count", 3)]


def run_job(name: str, elements: int) -> dict[str, float]:
    """Runs one job in a new process and gives its figures."""
    command = [sys.executable, "-m", "tests.bench.scale", "--job", name, "--elements", str(elements)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def main() -> None:
    """Prints the table, or runs a single job for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--job", choices=sorted(JOBS))
    parser.add_argument("--elements", type=int, default=0)
    args = parser.parse_args()
    if args.job:
        start = time.process_time()
        JOBS[args.job](args.elements)
        seconds = time.process_time() - start
        print(
            json.dumps(
                {"seconds": seconds, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
            )
        )
        return
    print(f"{'job':10} {'elements':>12} {'cpu s':>8} {'ns/element':>11} {'peak MB':>8}")
    for name, millions in QUICK if args.quick else FULL:
        elements = millions * MILLION
        figures = run_job(name, elements)
        seconds = figures["seconds"]
        print(
            f"{name:10} {elements:>12,} {seconds:8.2f} {seconds / elements * 1e9:11.0f} {figures['rss_mb']:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
