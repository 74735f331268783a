"""MultiProcessRunner beside DirectRunner: `python -m tests.bench.multiprocess_bench [--scale 0.1] [--rounds 3]`.

Both run the same pipeline in turn, several times; printed is the median of the paired ratios, DirectRunner by
MultiProcessRunner: of the times on the clock, and of the processor's time (DirectRunner's by the workers' share and the
coordinator), which is what the ratio would be on cores that nobody else uses. `--memory N` groups N elements under
--memory_limit=1GB and watches the process tree.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs
from tests.bench.cases import Files, pair_with_one, split_words, sum_of_group

import hornbeam as beam
from hornbeam.io.utils import CountingSource
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.multiprocess.workers import server

WORKERS = 2
_HERTZ = os.sysconf("SC_CLK_TCK")


def workers_seconds() -> float:
    """Processor seconds of all workers that have ended."""
    if server._process is None:
        return 0.0
    fields = pathlib.Path(f"/proc/{server._process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _HERTZ


@attrs.frozen
class Spent:
    """Seconds on the clock, of this process, of the workers."""

    clock: float
    own: float
    workers: float


def run(runner: str, build: Callable[[beam.Pipeline], Any], *flags: str) -> Spent:
    """Runs a pipeline and says what it took."""
    clock, own, workers = time.perf_counter(), time.process_time(), workers_seconds()
    options = [f"--runner={runner}", f"--num_workers={WORKERS}", "--no_progress", *flags]
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        build(p)
    return Spent(time.perf_counter() - clock, time.process_time() - own, workers_seconds() - workers)


def think(i: int) -> int:
    """Takes about two microseconds."""
    total = 0
    for k in range(60):
        total += k * i % 7
    return total


key_of = lambda i: ((i * 7919) % 100_003, i)  # noqa: E731


def cases(folder: pathlib.Path, scale: float) -> dict[str, tuple[float, Callable[[beam.Pipeline], Any]]]:
    """Name → the ratio that is wanted, and the pipeline."""
    million = int(1_000_000 * scale)
    read = lambda p, n: p | beam.io.Read(CountingSource(n))  # noqa: E731
    return {
        "small": (0.0, lambda p: p | beam.Create([1, 2, 3]) | beam.Map(key_of) | beam.GroupByKey()),
        "map": (1.8, lambda p: read(p, 2 * million) | beam.Map(think) | beam.CombineGlobally(sum)),
        "word count": (
            1.6,
            lambda p: (
                p
                | beam.io.ReadFromText(str(folder / "all_words.txt"))
                | beam.FlatMap(split_words)
                | beam.Map(pair_with_one)
                | beam.CombinePerKey(sum)
                | beam.MapTuple("{}: {}".format)
                | beam.io.WriteToText(str(folder / "out"))
            ),
        ),
        "group by key": (
            1.4,
            lambda p: (
                read(p, 20 * million)
                | beam.Map(key_of)
                | beam.GroupByKey()
                | "sum" >> beam.Map(sum_of_group)
                | beam.combiners.Count.Globally()
            ),
        ),
    }


def write_words(folder: pathlib.Path, scale: float) -> None:
    """500 MB of Zipf text at scale 1: ten times the same 50 MB."""
    text = Files.__new__(Files)
    text.words_path = folder / "words.txt"
    text._write_words(int(50_000_000 * scale))
    data = text.words_path.read_bytes()
    with open(folder / "all_words.txt", "wb") as file:
        for _ in range(10):
            file.write(data)


def compare(scale: float, rounds: int, only: str) -> None:
    """Prints the ratios."""
    with tempfile.TemporaryDirectory(prefix="hornbeam-bench-") as name:
        folder = pathlib.Path(name)
        chosen = {case: rest for case, rest in cases(folder, scale).items() if only in case}
        if "word count" in chosen:
            write_words(folder, scale)
        started = time.perf_counter()
        run("MultiProcessRunner", lambda p: p | beam.Create([1]))
        print(f"first run of the program, with the fork server: {time.perf_counter() - started:.2f} s")
        print(
            f"{'case':14} {'direct s':>9} {'processes s':>12} {'ratio':>6} {'by cpu':>7} {'wanted':>7} {'load':>5}"
        )
        for case, (wanted, build) in chosen.items():
            pairs = []
            for _ in range(rounds):
                direct = run("DirectRunner", build)
                pairs.append((direct, run("MultiProcessRunner", build)))
            clock = statistics.median(a.clock / b.clock for a, b in pairs)
            cpu = statistics.median(a.own / (b.workers / WORKERS + b.own) for a, b in pairs)
            direct_s = statistics.median(a.clock for a, _ in pairs)
            processes_s = statistics.median(b.clock for _, b in pairs)
            print(
                f"{case:14} {direct_s:9.3f} {processes_s:12.3f} {clock:6.2f} {cpu:7.2f} {wanted or '':>7} "
                f"{os.getloadavg()[0]:5.1f}",
                flush=True,
            )


# A skewed input


class TenSplits(beam.io.iobase.BoundedSource):
    """1000 elements in ten splits."""

    def __init__(self) -> None:
        self._inner = CountingSource(1000)

    def estimate_size(self) -> int:
        return 1000

    def split(self, desired_bundle_size: int, start_position: Any = None, stop_position: Any = None) -> Any:
        return self._inner.split(100, start_position, stop_position)

    def get_range_tracker(self, start_position: Any, stop_position: Any) -> Any:
        return self._inner.get_range_tracker(start_position, stop_position)


def skew(rounds: int) -> None:
    """Prints how much longer a skewed input takes than an even one with the same work. Sleeps stand for the work."""
    ratios = []
    for _ in range(rounds):
        even = run("MultiProcessRunner", lambda p: _sleeps(p, lambda i: 0.003))
        uneven = run("MultiProcessRunner", lambda p: _sleeps(p, lambda i: 0.027 if i < 100 else 0.000333))
        ratios.append(uneven.clock / even.clock)
    print(
        f"one split with 90% of the work / even splits: {statistics.median(ratios):.2f} (wanted: 1.25 or less)"
    )


def _sleeps(p: beam.Pipeline, seconds: Callable[[int], float]) -> Any:
    return p | beam.io.Read(TenSplits()) | beam.Map(lambda i: time.sleep(seconds(i)))


# The exchange


def exchange(scale: float) -> None:
    """Prints the pairs a second of the exchange, beside a bare loop that pickles, writes and reads the same pairs."""
    from hornbeam.runners.engine.bundle import Bundle
    from hornbeam.runners.multiprocess.blocks import read_block
    from hornbeam.runners.multiprocess.columns import pairs_of
    from hornbeam.runners.multiprocess.outputs import TaskOutputs

    count = int(1_000_000 * scale)
    for name, make in (("int, int", lambda i: (i * 7919, i)), ("text, int", lambda i: (f"k{i % 50_000}", i))):
        chunks = [list(map(make, range(start, start + 1024))) for start in range(0, count, 1024)]
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            with open(os.path.join(folder, "bare"), "wb") as file:
                for chunk in chunks:
                    pickle.dump(chunk, file, 5)
            with open(os.path.join(folder, "bare"), "rb") as file:
                for _ in chunks:
                    pickle.load(file)
            bare = time.process_time() - started
            outputs = TaskOutputs(folder, 1 << 30)
            channel = outputs.keyed("g", 0, "bench", 64, str.encode)
            outputs.begin("task")
            started = time.process_time()
            for chunk in chunks:
                channel.append(Bundle(chunk))
            written = time.process_time() - started
            for _, ref in outputs.finish():
                pairs_of(read_block(ref))
            whole = time.process_time() - started
        print(
            f"exchange of ({name}): {count / whole / 1e6:.1f} M pairs/s ({count / written / 1e6:.1f} M/s to the files); "
            f"bare pickle-write-read loop, unpartitioned: {count / bare / 1e6:.1f} M/s"
        )


# Memory


def memory(count: int) -> None:
    """Groups so many elements in a process of its own and prints the most that its process tree held."""
    command = [sys.executable, "-m", "tests.bench.multiprocess_bench", "--group", str(count)]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    peak = [0, 0]
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, ended))
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    print(
        f"{count:,} elements grouped under --memory_limit=1GB: exit {code}, {time.perf_counter() - started:.0f} s, "
        f"resident sum of the tree at most {peak[0] / 1e6:,.0f} MB (shared pages counted once: {peak[1] / 1e6:,.0f} MB)"
    )


def _watch(root: int, peak: list[int], ended: threading.Event) -> None:
    while not ended.wait(0.2):
        resident = proportional = 0
        for pid in _tree(root):
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
            resident += sizes["Rss"] * 1024
            proportional += sizes["Pss"] * 1024
        peak[0], peak[1] = max(peak[0], resident), max(peak[1], proportional)


def _tree(pid: int) -> list[int]:
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in _tree(int(child)))]


def group(count: int) -> None:
    """The job of `memory`: the number of keys, of values and their sum must be right."""
    keys = 2_000_003

    def check(found: tuple[int, int, int]) -> None:
        expected = (min(count, keys), count, count * (count - 1) // 2)
        if found != expected:
            raise AssertionError(f"expected {expected!r}, found {found!r}")

    def build(p: beam.Pipeline) -> Any:
        facts = (
            p
            | beam.io.Read(CountingSource(count))
            | beam.Map(lambda i: ((i * 7919) % keys, i))
            | beam.GroupByKey()
            | "facts" >> beam.Map(lambda group: (1, len(group[1]), sum(group[1])))
            | beam.CombineGlobally(lambda rows: tuple(map(sum, zip(*rows))))
        )
        return facts | beam.Map(check)

    run("MultiProcessRunner", build, "--memory_limit=1GB")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--group", type=int, default=0)
    args = parser.parse_args()
    if args.group:
        group(args.group)
    elif args.memory:
        memory(args.memory)
    else:
        compare(args.scale, args.rounds, args.only)
        if not args.only or args.only == "skew":
            skew(args.rounds)
        if not args.only or args.only == "exchange":
            exchange(args.scale)


if __name__ == "__main__":
    main()
