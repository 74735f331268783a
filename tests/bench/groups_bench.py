"""Open windows larger than memory: 5M keys with a window each, limited and not. `python -m tests.bench.groups_bench`.

    sums      CombinePerKey in a fixed window, which fires once, when it ends
    values    GroupByKey in the same
    panes     CombinePerKey in a fixed window with early panes: a trigger's state for each key
    sessions  CombinePerKey in a session of each key

Every key comes once, in no order; then elements come of which 9 of 10 are of 1 % of the keys; then the stream ends and all
fires. Each line is a process of its own: processor time an element, less that of the same stream without the grouping; for
the end, a key; the time it took; the resident peak. What comes out is counted.
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
from tests.bench.state_bench import CLAIM, Claims

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms import trigger, window
from hornbeam.transforms.window import TimestampedValue

KINDS = ("sums", "values", "panes", "sessions")
_SPREAD = 7_368_787
_HOUR = 3600

#: Figures as the second phase, and the end, began.
MARKS: dict[str, dict[str, float]] = {}
#: Outputs, and the elements in them.
COUNTED = [0, 0]


class Draw(beam.DoFn):
    """(key, 1) pairs of one moment: first each key once, then mostly of a few."""

    @beam.DoFn.unbounded_per_element()
    def process(self, facts: Any, tracker: Any = beam.DoFn.RestrictionParam(Claims())) -> Iterator[Any]:
        keys, elements, _ = facts
        fill = -(-keys // CLAIM)
        last = fill + -(-elements // CLAIM) - 1
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            if at == fill:
                MARKS["hot"] = _figures()
            if at < fill:
                drawn = np.arange(at * CLAIM, min(keys, (at + 1) * CLAIM)) * _SPREAD % keys
            else:
                random = np.random.default_rng(at)
                drawn = random.integers(0, keys, CLAIM)
                hot = random.random(CLAIM) < 0.9
                drawn[hot] = drawn[hot] // 100 * 100
            for key in drawn.tolist():
                yield TimestampedValue((key, 1), 0)
            if at == last:
                MARKS["end"] = _figures()
            at += 1


def _figures() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "seconds": time.monotonic(),
        "peak_mb": used.ru_maxrss / 1024,
    }


def count(pair: Any) -> None:
    """Counts what comes out."""
    COUNTED[0] += 1
    COUNTED[1] += pair[1] if isinstance(pair[1], int) else len(pair[1])


def grouped(kind: str, pairs: Any) -> Any:
    """The step that is measured."""
    fixed = window.FixedWindows(_HOUR)
    if kind == "sums":
        return pairs | beam.WindowInto(fixed) | beam.CombinePerKey(sum)
    if kind == "values":
        return pairs | beam.WindowInto(fixed) | beam.GroupByKey()
    if kind == "sessions":
        return pairs | beam.WindowInto(window.Sessions(_HOUR)) | beam.CombinePerKey(sum)
    early = trigger.AfterWatermark(early=trigger.AfterCount(1000), late=trigger.AfterCount(1))
    panes = beam.WindowInto(
        fixed, trigger=early, accumulation_mode=trigger.AccumulationMode.DISCARDING, allowed_lateness=60
    )
    return pairs | panes | beam.CombinePerKey(sum)


def job(kind: str, keys: int, elements: int, limit: str) -> None:
    """Runs one stream and prints its figures."""
    begin = _figures()
    with tempfile.TemporaryDirectory() as folder:
        options = PipelineOptions(["--no_progress", f"--memory_limit={limit}", f"--temp_dir={folder}"])
        with beam.Pipeline(options=options) as p:
            pairs = p | beam.Create([(keys, elements, "")], reshuffle=False) | beam.ParDo(Draw())
            if kind == "nothing":
                pairs | beam.WindowInto(window.FixedWindows(_HOUR)) | beam.Reshuffle() | beam.Map(count)
            else:
                grouped(kind, pairs) | beam.Map(count)
    end = _figures()
    came = keys + -(-elements // CLAIM) * CLAIM
    if [keys if kind != "nothing" else came, came] != COUNTED:
        raise AssertionError(f"{COUNTED} counted of {keys} keys and {came} elements")
    marks = [begin, MARKS["hot"], MARKS["end"], end]
    rows: dict[str, Any] = {
        name: {figure: after[figure] - before[figure] for figure in ("cpu", "seconds")}
        for name, before, after in zip(("fill", "hot", "fire"), marks, marks[1:])
    }
    print(json.dumps({**rows, "peak_mb": end["peak_mb"]}))


def run(kind: str, keys: int, elements: int, limit: str) -> dict[str, Any]:
    """One stream in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.groups_bench", "--job", kind]
    command += ["--keys", str(keys), "--elements", str(elements), "--limit", limit]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


def main() -> None:
    """Prints the table, or runs one stream for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--elements", type=int, default=2_000_000)
    parser.add_argument("--limit", default="256MB")
    parser.add_argument("--unlimited", default="64GB", help="the limit to compare with; empty for none")
    parser.add_argument("--only", default="", help="only this kind")
    parser.add_argument("--peak_mb_max", type=float, default=0, help="fail when a limited run takes more")
    parser.add_argument("--job", choices=[*KINDS, "nothing"])
    args = parser.parse_args()
    if args.job:
        from tests.bench import groups_bench  # not __main__: what its DoFns note is to be found again

        groups_bench.job(args.job, args.keys, args.elements, args.limit)
        return
    print(
        f"{'kind':8} {'limit':>8} {'fill ns':>8} {'hot ns':>8} {'fire ns':>8} {'fill s':>7} {'hot s':>6} {'fire s':>7} "
        f"{'peak MB':>8}"
    )
    plain = run("nothing", args.keys, args.elements, args.limit)
    for kind in KINDS:
        limits = [args.unlimited] * bool(args.unlimited) + [args.limit]
        for limit in limits if args.only in kind else ():
            found = run(kind, args.keys, args.elements, limit)
            fill = (found["fill"]["cpu"] - plain["fill"]["cpu"]) / args.keys * 1e9
            hot = (found["hot"]["cpu"] - plain["hot"]["cpu"]) / args.elements * 1e9
            fire = found["fire"]["cpu"] / args.keys * 1e9
            print(
                f"{kind:8} {limit:>8} {fill:8.0f} {hot:8.0f} {fire:8.0f} {found['fill']['seconds']:7.0f} "
                f"{found['hot']['seconds']:6.0f} {found['fire']['seconds']:7.0f} {found['peak_mb']:8.0f}",
                flush=True,
            )
            if limit == args.limit and 0 < args.peak_mb_max < found["peak_mb"]:
                raise SystemExit(f"{kind} took {found['peak_mb']:.0f} MB")


if __name__ == "__main__":
    main()
