"""Apache Beam and Bytewax on the work of `cases.py`, beside the hand-written loop and hornbeam.

`python -m tests.bench.compare --python /path/to/venv/bin/python [--python ...] [--scale 0.05] [--only word]`

An optional comparison: neither is a dependency. Each `--python` is an interpreter that may have one or both installed;
without them the table has hornbeam alone, and says so. Every measurement is made in a process of its own, on the same
input files and with the same functions, and every result is checked against the loop's. Seconds are processor seconds of
that process (all of its threads; so a busy machine changes little), of building and running the pipeline; the best of
`--rounds`, of which the first also pays for what an engine imports late.

`compare` runs under the project's interpreter. The file also runs, as a script, under the others, which have no hornbeam;
so at the top it imports the standard library alone, and the engines where they are used.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FIXED_S, SLIDING_S, PERIOD_S, GAP_S = 600, 3600, 600, 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Events are at most 40 seconds out of order, so none is late for a clock that waits this long.
PATIENCE = timedelta(seconds=60)

#: What Beam's DirectRunner runs on in one process, when it has not downloaded a runner that is no Python.
BEAM_RUNNER = "FnApiRunner"

CASES = (
    "word count",
    "map, filter, flat_map, map, sum",
    "group by key",
    "fixed-window sum, TimestampedValue",
    "sliding mean",
    "session count",
    "two-way join",
)


def parse_event(line: str) -> tuple[str, int, int]:
    """The fields of an event, as in `cases`."""
    user, seconds, amount = line.split(",")
    return user, int(seconds), int(amount)


def user_and_amount(event: tuple[str, int, int]) -> tuple[str, int]:
    """The pair that is combined."""
    return event[0], event[2]


def key_of_number(i: int) -> tuple[int, int]:
    """The pair that is grouped."""
    return (i * 7919) % 100_000, i


def left_of(i: int) -> tuple[int, int]:
    """A pair of the join's left side."""
    return (i * 31) % 200_000, i


def right_of(i: int) -> tuple[int, int]:
    """A pair of the join's right side."""
    return (i * 17) % 200_000, -i


def on_beam(case: str, folder: Path, out: Path, scale: float) -> Callable[[], None]:
    """The work of `case` for Apache Beam; gives what builds and runs the pipeline."""
    import apache_beam as beam  # type: ignore[import-not-found]
    from apache_beam.options.pipeline_options import PipelineOptions  # type: ignore[import-not-found]
    from apache_beam.transforms import combiners, window  # type: ignore[import-not-found]

    events, words = str(folder / "events.csv"), str(folder / "words.txt")

    def windowed(windowing: Any, combine: Any) -> Callable[[Any], Any]:
        return lambda p: (
            p
            | beam.io.ReadFromText(events)
            | beam.Map(parse_event)
            | "time" >> beam.Map(lambda event: window.TimestampedValue(event, event[1]))
            | beam.WindowInto(windowing)
            | "pair" >> beam.Map(user_and_amount)
            | combine
            | "with window" >> beam.Map(lambda kv, w=beam.DoFn.WindowParam: (int(w.start), int(w.end), *kv))
        )

    def chain(p: Any) -> Any:
        return (
            p
            | beam.Create(range(int(2_000_000 * scale)), reshuffle=False)
            | beam.Map(lambda x: x * 3)
            | beam.Filter(lambda x: x % 2 == 0)
            | beam.FlatMap(lambda x: (x, x + 1))
            | "minus" >> beam.Map(lambda x: x - 1)
            | beam.CombineGlobally(sum)
        )

    def group(p: Any) -> Any:
        return (
            p
            | beam.Create(range(int(2_000_000 * scale)), reshuffle=False)
            | beam.Map(key_of_number)
            | beam.GroupByKey()
            | "sum" >> beam.Map(lambda item: (item[0], sum(item[1])))
        )

    def join(p: Any) -> Any:
        numbers = range(int(1_000_000 * scale))
        left = p | "l" >> beam.Create(numbers, reshuffle=False) | "lk" >> beam.Map(left_of)
        right = p | "r" >> beam.Create(numbers, reshuffle=False) | "rk" >> beam.Map(right_of)
        grouped = {"l": left, "r": right} | beam.CoGroupByKey()
        return grouped | "both" >> beam.Map(lambda kv: (kv[0], len(list(kv[1]["l"])), len(list(kv[1]["r"]))))

    def word_count(p: Any) -> Any:
        return (
            p
            | beam.io.ReadFromText(words)
            | beam.FlatMap(str.split)
            | beam.Map(lambda word: (word, 1))
            | beam.CombinePerKey(sum)
        )

    builds: dict[str, Callable[[Any], Any]] = {
        "word count": word_count,
        "map, filter, flat_map, map, sum": chain,
        "group by key": group,
        "fixed-window sum, TimestampedValue": windowed(window.FixedWindows(FIXED_S), beam.CombinePerKey(sum)),
        "sliding mean": windowed(window.SlidingWindows(SLIDING_S, PERIOD_S), combiners.Mean.PerKey()),
        "session count": windowed(window.Sessions(GAP_S), combiners.Count.PerKey()),
        "two-way join": join,
    }
    to_text: Callable[[Any], str] = _count_line if case == "word count" else repr

    def work() -> None:
        with beam.Pipeline(options=PipelineOptions([f"--runner={BEAM_RUNNER}"])) as p:
            (
                builds[case](p)
                | "ToText" >> beam.Map(to_text)
                | beam.io.WriteToText(str(out), shard_name_template="")
            )

    return work


def on_bytewax(case: str, folder: Path, out: Path, scale: float) -> Callable[[], None]:
    """The work of `case` for Bytewax, one worker in this process. Its keys have to be strings."""
    import bytewax.operators as op  # type: ignore[import-not-found]
    from bytewax.connectors.files import FileSink, FileSource  # type: ignore[import-not-found]
    from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
    from bytewax.operators import windowing as win  # type: ignore[import-not-found]
    from bytewax.testing import TestingSource, run_main  # type: ignore[import-not-found]

    def numbers(flow: Any, name: str, count: int) -> Any:
        return op.input(name, flow, TestingSource(range(count), batch_size=1000))

    def keyed(pair: tuple[int, int]) -> tuple[str, int]:
        return str(pair[0]), pair[1]

    def append(values: list[Any], value: Any) -> list[Any]:
        values.append(value)
        return values

    def word_count(flow: Any) -> Any:
        lines = op.input("words", flow, FileSource(folder / "words.txt", batch_size=1000))
        counts = op.count_final("count", op.flat_map("split", lines, str.split), lambda word: word)
        return op.map("text", counts, lambda item: ("", _count_line(item)))

    def chain(flow: Any) -> Any:
        stream = op.map("triple", numbers(flow, "n", int(2_000_000 * scale)), lambda x: x * 3)
        stream = op.flat_map("twice", op.filter("even", stream, lambda x: x % 2 == 0), lambda x: (x, x + 1))
        stream = op.key_on("key", op.map("minus", stream, lambda x: x - 1), lambda x: "")
        return op.map(
            "text", op.reduce_final("sum", stream, lambda a, b: a + b), lambda kv: ("", repr(kv[1]))
        )

    def group(flow: Any) -> Any:
        pairs = op.map("pair", numbers(flow, "n", int(2_000_000 * scale)), lambda i: keyed(key_of_number(i)))
        groups = op.fold_final("group", pairs, list, append)
        return op.map("text", groups, lambda kv: ("", repr((int(kv[0]), sum(kv[1])))))

    def join(flow: Any) -> Any:
        count = int(1_000_000 * scale)
        left = op.map("lk", numbers(flow, "l", count), lambda i: keyed(left_of(i)))
        right = op.map("rk", numbers(flow, "r", count), lambda i: keyed(right_of(i)))
        both = op.merge(
            "merge", op.map_value("lt", left, lambda v: (0, v)), op.map_value("rt", right, lambda v: (1, v))
        )

        def add(sides: tuple[list[int], list[int]], tagged: tuple[int, int]) -> tuple[list[int], list[int]]:
            sides[tagged[0]].append(tagged[1])
            return sides

        joined = op.fold_final("join", both, lambda: ([], []), add)
        return op.map("text", joined, lambda kv: ("", repr((int(kv[0]), len(kv[1][0]), len(kv[1][1])))))

    def windowed(windower: Any, start: Any, fold: Any, merge: Any, to_row: Any) -> Callable[[Any], Any]:
        def build(flow: Any) -> Any:
            lines = op.input("events", flow, FileSource(folder / "events.csv", batch_size=1000))
            events = op.key_on("user", op.map("parse", lines, parse_event), lambda event: event[0])
            clock = win.EventClock(lambda event: EPOCH + timedelta(seconds=event[1]), PATIENCE)
            result = win.fold_window("window", events, clock, windower, start, fold, merge)
            return op.map("text", result.down, lambda item: ("", repr(to_row(item[0], *item[1]))))

        return build

    def add_amount(total: int, event: tuple[str, int, int]) -> int:
        return total + event[2]

    def add_to_mean(acc: tuple[int, int], event: tuple[str, int, int]) -> tuple[int, int]:
        return acc[0] + event[2], acc[1] + 1

    def add_to_session(
        acc: tuple[float, float, int], event: tuple[str, int, int]
    ) -> tuple[float, float, int]:
        return min(acc[0], event[1]), max(acc[1], event[1]), acc[2] + 1

    def both_sums(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return a[0] + b[0], a[1] + b[1]

    def both_sessions(a: tuple[float, float, int], b: tuple[float, float, int]) -> tuple[float, float, int]:
        return min(a[0], b[0]), max(a[1], b[1]), a[2] + b[2]

    builds = {
        "word count": word_count,
        "map, filter, flat_map, map, sum": chain,
        "group by key": group,
        "fixed-window sum, TimestampedValue": windowed(
            win.TumblingWindower(length=timedelta(seconds=FIXED_S), align_to=EPOCH),
            int,
            add_amount,
            lambda a, b: a + b,
            lambda user, i, total: (i * FIXED_S, (i + 1) * FIXED_S, user, total),
        ),
        "sliding mean": windowed(
            win.SlidingWindower(
                length=timedelta(seconds=SLIDING_S), offset=timedelta(seconds=PERIOD_S), align_to=EPOCH
            ),
            lambda: (0, 0),
            add_to_mean,
            both_sums,
            lambda user, i, acc: (i * PERIOD_S, i * PERIOD_S + SLIDING_S, user, acc[0] / acc[1]),
        ),
        # Events exactly a gap apart are one session to Bytewax and two to the model: all times here are whole seconds.
        "session count": windowed(
            win.SessionWindower(gap=timedelta(seconds=GAP_S) - timedelta(microseconds=1)),
            lambda: (float("inf"), float("-inf"), 0),
            add_to_session,
            both_sessions,
            lambda user, _, acc: (acc[0], acc[1] + GAP_S, user, acc[2]),
        ),
        "two-way join": join,
    }

    def work() -> None:
        flow = Dataflow("compare")
        op.output("out", builds[case](flow), FileSink(out))
        run_main(flow)

    return work


def _count_line(item: tuple[str, int]) -> str:
    return f"{item[0]}: {item[1]}"


ENGINES = {
    "Apache Beam": ("apache-beam", on_beam),
    "Bytewax": ("bytewax", on_bytewax),
}


def digest_of(lines: Iterable[str]) -> str:
    """A short digest of a result: of its sorted lines."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def best_time(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """The least processor seconds of `rounds` runs, and the last result."""
    times = []
    result: Any = None
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


def work_as_engine(engine: str, case: str, folder: str, scale: str, rounds: str) -> None:
    """In a process of another interpreter: measure one case and print {seconds, digest} as JSON on the last line."""
    out = Path(folder) / f"out-{os.getpid()}.txt"
    work = ENGINES[engine][1](case, Path(folder), out, float(scale))

    def fresh() -> None:
        out.unlink(missing_ok=True)
        work()

    seconds, _ = best_time(fresh, int(rounds))
    digest = digest_of(out.read_text(encoding="utf-8").splitlines())
    out.unlink()
    print(json.dumps({"seconds": seconds, "digest": digest}))


def print_versions() -> None:
    """In a process of another interpreter: which engines it has, as JSON."""
    found = {}
    for engine, (package, _) in ENGINES.items():
        try:
            found[engine] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    print(json.dumps(found))


def ask(python: str, *arguments: str) -> Any:
    """What this file, run as a script by `python`, prints last; a RuntimeError with its last words if it fails."""
    done = subprocess.run([python, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{' '.join(arguments)}: {words[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def in_own_process(work: Callable[[], list[str]], rounds: int) -> tuple[float, str]:
    """Seconds and digest of `work`, measured in a forked process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def child() -> None:
        seconds, lines = best_time(work, rounds)
        there.send((seconds, digest_of(lines)))

    process = context.Process(target=child)
    process.start()
    there.close()
    try:
        measured: tuple[float, str] = here.recv()
    except EOFError:
        raise RuntimeError("the process that measured hornbeam ended without a result") from None
    finally:
        process.join()
    return measured


def cell(name: str, measured: tuple[float, str] | str, elements: int, loop: tuple[float, str]) -> str:
    """One line of the table."""
    if isinstance(measured, str):
        return f"  {name:22} {measured}"
    seconds, digest = measured
    wrong = "" if digest == loop[1] else "   result differs from the loop's"
    return f"  {name:22} {seconds:8.2f} s {elements / seconds:12,.0f} elements/s {seconds / loop[0]:8.2f} x loop{wrong}"


def compare(pythons: list[str], scale: float, only: str, rounds: int) -> None:
    """Measures and prints case by case."""
    from tests.bench import cases

    from hornbeam.version import __version__

    engines = [
        (engine, version, python)
        for python in pythons
        for engine, version in ask(python, "--versions").items()
    ]
    print(
        f"CPython {platform.python_version()}, scale {scale:g}, processor seconds, best of {rounds}; hornbeam {__version__}"
    )
    if engines:
        print(f"Apache Beam runs on its {BEAM_RUNNER}, Bytewax with one worker")
    for engine in ENGINES:
        found = [version for name, version, _ in engines if name == engine]
        print(
            f"{engine} {', '.join(found) or 'not installed in any interpreter given by --python: left out'}"
        )
    with cases.files(scale) as inputs:
        for case in cases.all_cases(inputs):
            if case.name not in CASES or only not in case.name:
                continue
            loop = in_own_process(case.loop, rounds)
            print(f"\n{case.name}, {case.elements:,} elements")
            print(cell("loop", loop, case.elements, loop))
            print(cell("hornbeam", in_own_process(case.pipeline, rounds), case.elements, loop), flush=True)
            for engine, version, python in engines:
                measured: tuple[float, str] | str
                try:
                    found = ask(
                        python, "--engine", engine, case.name, str(inputs.folder), str(scale), str(rounds)
                    )
                    measured = found["seconds"], found["digest"]
                except RuntimeError as error:
                    measured = f"failed: {error}"
                print(cell(f"{engine} {version}", measured, case.elements, loop), flush=True)


def main() -> None:
    """Reads the arguments and compares."""
    parser = argparse.ArgumentParser(description="hornbeam beside Apache Beam and Bytewax, on the same work.")
    parser.add_argument("--python", action="append", default=[], help="an interpreter to look for engines in")
    parser.add_argument(
        "--scale", type=float, default=0.05, help="size of the inputs; 1 is the size of `make bench`"
    )
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    compare(args.python or [sys.executable], args.scale, args.only, args.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--engine"]:
        work_as_engine(*sys.argv[2:])
    elif sys.argv[1:2] == ["--versions"]:
        print_versions()
    else:
        main()
