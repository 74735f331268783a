"""State larger than memory: counters for 10M keys, with and without a limit. `python -m tests.bench.state_bench`.

    fill      every key once, in no order
    uniform   then keys drawn from all of them alike
    skewed    then 9 of 10 elements from 1 % of the keys, the others from all

Each line is a process of its own: processor time an element, less that of the same stream without the stateful step; the
time it took; the resident peak. --timers sets a timer for each key, too, and lets them fire.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

CLAIM = 1 << 14
_SPREAD = 7_368_787


class Claims(RestrictionProvider):
    """Elements (keys, elements of the phase after all keys came once, phase)."""

    def initial_restriction(self, facts: Any) -> OffsetRange:
        return OffsetRange(0, -(-facts[0] // CLAIM) + -(-facts[1] // CLAIM))

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, facts: Any, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, facts: Any, restriction: OffsetRange) -> None:
        """Drained, it ends at once."""


class Draw(beam.DoFn):
    """Keys: first each once, then as the phase says. Tells when the phase began."""

    @beam.DoFn.unbounded_per_element()
    def process(self, facts: Any, tracker: Any = beam.DoFn.RestrictionParam(Claims())) -> Iterator[Any]:
        keys, _, phase = facts
        fill = -(-keys // CLAIM)
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            if at == fill:
                MARKS.append(_figures())
            if at < fill:
                first = np.arange(at * CLAIM, min(keys, (at + 1) * CLAIM))
                drawn = first * _SPREAD % keys
            else:
                random = np.random.default_rng(at)
                drawn = random.integers(0, keys, CLAIM)
                if phase == "skewed":
                    hot = random.random(CLAIM) < 0.9
                    drawn[hot] = drawn[hot] // 100 * 100
            for key in drawn.tolist():
                yield key, 1
            at += 1


class Count(beam.DoFn):
    """Counts the elements of a key."""

    COUNT = ReadModifyWriteStateSpec("count", beam.coders.VarIntCoder())

    def process(self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT)) -> None:
        count.write((count.read() or 0) + pair[1])


class CountAndTell(beam.DoFn):
    """The same; at the end of time each key tells its count."""

    COUNT = ReadModifyWriteStateSpec("count", beam.coders.VarIntCoder())
    TELL = TimerSpec("tell", TimeDomain.WATERMARK)

    def process(
        self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT), tell: Any = beam.DoFn.TimerParam(TELL)
    ) -> None:
        count.write((count.read() or 0) + pair[1])
        tell.set(1_000_000)

    @on_timer(TELL)
    def told(self, count: Any = beam.DoFn.StateParam(COUNT)) -> Iterator[int]:
        yield count.read()


#: Figures at the beginning of the phase.
MARKS: list[dict[str, float]] = []


def _figures() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "seconds": time.monotonic(),
        "peak_mb": used.ru_maxrss / 1024,
    }


def job(step: str, keys: int, elements: int, phase: str, limit: str) -> None:
    """Runs one stream and prints its figures."""
    begin = _figures()
    told: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        options = PipelineOptions(["--no_progress", f"--memory_limit={limit}", f"--temp_dir={folder}"])
        with beam.Pipeline(options=options) as p:
            pairs = (
                p
                | beam.Create([(keys, elements, phase)], reshuffle=False)
                | beam.ParDo(Draw())
                | beam.Reshuffle()
            )
            if step == "count":
                pairs | "Step" >> beam.ParDo(Count())
            elif step == "timers":
                counts = pairs | "Step" >> beam.ParDo(CountAndTell())
                counts | beam.CombineGlobally(sum).without_defaults() | beam.Map(told.append)
            else:
                pairs | "Step" >> beam.Map(lambda pair: None)
    end = _figures()
    middle = MARKS[0] if MARKS else end
    if step == "timers" and told != [keys + -(-elements // CLAIM) * CLAIM]:
        raise AssertionError(f"{told} counted of {keys} and {elements}")
    rows = {
        "fill": {name: middle[name] - begin[name] for name in ("cpu", "seconds")},
        "phase": {name: end[name] - middle[name] for name in ("cpu", "seconds")},
        "peak_mb": end["peak_mb"],
    }
    print(json.dumps(rows))


def run(step: str, keys: int, elements: int, phase: str, limit: str) -> dict[str, Any]:
    """One stream in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.state_bench", "--job", step, "--phase", phase]
    command += ["--keys", str(keys), "--elements", str(elements), "--limit", limit]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


def main() -> None:
    """Prints the table, or runs one stream for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--elements", type=int, default=5_000_000)
    parser.add_argument("--limit", default="512MB")
    parser.add_argument("--unlimited", default="64GB")
    parser.add_argument("--timers", action="store_true")
    parser.add_argument("--job", choices=["count", "timers", "nothing"])
    parser.add_argument("--phase", default="uniform")
    args = parser.parse_args()
    if args.job:
        from tests.bench import state_bench  # not __main__: what its DoFns note is to be found again

        state_bench.job(args.job, args.keys, args.elements, args.phase, args.limit)
        return
    print(
        f"{'phase':8} {'limit':>8} {'fill ns':>8} {'phase ns':>9} {'fill s':>7} {'phase s':>8} {'peak MB':>8}"
    )
    step = "timers" if args.timers else "count"
    for phase in ("uniform", "skewed"):
        plain = run("nothing", args.keys, args.elements, phase, args.limit)
        for limit in (args.unlimited, args.limit):
            found = run(step, args.keys, args.elements, phase, limit)
            fill = (found["fill"]["cpu"] - plain["fill"]["cpu"]) / args.keys * 1e9
            rest = (found["phase"]["cpu"] - plain["phase"]["cpu"]) / args.elements * 1e9
            print(
                f"{phase:8} {limit:>8} {fill:8.0f} {rest:9.0f} {found['fill']['seconds']:7.0f} "
                f"{found['phase']['seconds']:8.0f} {found['peak_mb']:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
