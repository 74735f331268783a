"""Short jobs whose workers are killed at random: each must end with the right answer, and leave no file and no process.

`python -m multiprocess_runner.chaos 200 7` runs 200 jobs from seed 7 on.
"""

from __future__ import annotations

import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import hornbeam as beam
from hornbeam.io.utils import CountingSource
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.multiprocess.workers import server
from hornbeam.transforms.window import FixedWindows, TimestampedValue

#: A task may lose so many workers and still be done; with more kills in a job it might be given up, and rightly.
KILLS_MAX = 3
_N = 30_000


def workers() -> list[int]:
    """The processes that the fork server has forked and that have not ended."""
    assert server._process is not None
    children = pathlib.Path(f"/proc/{server._process.pid}/task/{server._process.pid}/children")
    return list(map(int, children.read_text().split()))


class Killer(threading.Thread):
    """Kills workers at random moments until stopped, or until it has killed enough."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self._rng = rng
        self._ended = threading.Event()
        self.kills = 0

    def run(self) -> None:
        allowed = self._rng.randint(1, KILLS_MAX)
        while self.kills < allowed and not self._ended.wait(self._rng.expovariate(1 / 0.08)):
            alive = workers()
            if alive:
                try:
                    os.kill(self._rng.choice(alive), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    continue

    def stop(self) -> None:
        self._ended.set()
        self.join()


def written(folder: str) -> list[str]:
    """The lines of the text files in a folder; a hidden file is one too many."""
    lines: list[str] = []
    for path in sorted(pathlib.Path(folder).iterdir()):
        assert not path.name.startswith("."), f"left behind: {path}"
        lines += path.read_text().splitlines()
    return sorted(lines)


def busy(x: Any) -> Any:
    """Takes a moment."""
    sum(range(100))
    return x


def counts(p: beam.Pipeline) -> Any:
    return (
        p
        | beam.Create([f"w{i % 97}" for i in range(_N)])
        | beam.Map(busy)
        | beam.combiners.Count.PerElement()
    )


def groups(p: beam.Pipeline) -> Any:
    return (
        p
        | beam.io.Read(CountingSource(_N))
        | beam.Map(lambda i: (busy(i) % 1009, i))
        | beam.GroupByKey()
        | beam.MapTuple(lambda k, vs: (k, sum(vs)))
    )


def joined(p: beam.Pipeline) -> Any:
    left = p | "l" >> beam.Create(range(_N)) | "lk" >> beam.Map(lambda i: (busy(i) % 500, 1))
    right = p | "r" >> beam.Create(range(_N // 2)) | "rk" >> beam.Map(lambda i: (busy(i) % 700, 1))
    both = {"l": left, "r": right} | beam.CoGroupByKey()
    return both | beam.MapTuple(lambda k, v: (k, sum(v["l"]) - sum(v["r"])))


def looked_up(p: beam.Pipeline) -> Any:
    table = p | "t" >> beam.Create([(i, i * i) for i in range(100)])
    numbers = p | beam.Create(range(_N)) | beam.Map(lambda i, t: t[busy(i) % 100], beam.pvalue.AsDict(table))
    return numbers | beam.Reshuffle() | "busy" >> beam.Map(busy) | beam.combiners.Count.PerElement()


def windowed(p: beam.Pipeline) -> Any:
    stamped = p | beam.Create(range(_N)) | beam.Map(lambda i: TimestampedValue((busy(i) % 10, 1), i % 3000))
    sums = stamped | beam.WindowInto(FixedWindows(100)) | beam.CombinePerKey(sum)
    return sums | beam.Map(lambda kv, w=beam.DoFn.WindowParam: (int(w.start), *kv))


JOBS: dict[Callable[[beam.Pipeline], Any], Callable[[], list[Any]]] = {
    counts: lambda: list(Counter(f"w{i % 97}" for i in range(_N)).items()),
    groups: lambda: [(k, sum(range(k, _N, 1009))) for k in range(1009)],
    joined: lambda: [
        (k, len(range(k, _N, 500)) * (k < 500) - len(range(k, _N // 2, 700))) for k in range(700)
    ],
    looked_up: lambda: list(Counter((i % 100) ** 2 for i in range(_N)).items()),
    windowed: lambda: [
        (start, k, n) for (start, k), n in Counter((i % 3000 // 100 * 100, i % 10) for i in range(_N)).items()
    ],
}


def run_job(seed: int) -> int:
    """Runs one job while its workers are killed; gives the number of kills."""
    rng = random.Random(seed)
    job = rng.choice(list(JOBS))
    with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryDirectory() as output:
        flags = [
            "--runner=MultiProcessRunner",
            f"--num_workers={rng.choice([1, 2, 2, 3, 5])}",
            "--no_progress",
        ]
        killer = Killer(rng)
        with beam.Pipeline(options=PipelineOptions([*flags, f"--temp_dir={temporary}"])) as p:
            job(p) | "text" >> beam.Map(repr) | beam.io.WriteToText(os.path.join(output, "out"))
            killer.start()
        killer.stop()
        expected = sorted(map(repr, JOBS[job]()))
        found = written(output)
        assert found == expected, f"seed {seed}, {job.__name__}: {len(found)} lines, expected {len(expected)}"
        assert os.listdir(temporary) == [], f"seed {seed}: files were left"
    assert workers() == [], f"seed {seed}: processes were left"
    return killer.kills


def main() -> None:
    """Runs the campaign."""
    jobs, seed = int(sys.argv[1]), int(sys.argv[2])
    started, kills = time.monotonic(), 0
    for number in range(jobs):
        kills += run_job(seed + number)
    print(
        f"{jobs} jobs from seed {seed}: {kills} workers killed, {time.monotonic() - started:.0f} s, all right"
    )


if __name__ == "__main__":
    main()
