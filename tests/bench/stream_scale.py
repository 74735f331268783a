"""Long streams: the cost of an element as the stream grows, and memory over time at full speed.

    python -m tests.bench.stream_scale                  # 10^5 to 10^7 elements: nanoseconds an element, memory
    python -m tests.bench.stream_scale --seconds 600    # a soak: memory and state every ten seconds

The stream is a splittable DoFn that counts; behind it: windowed sums, early and late panes, sessions, a DoFn with state
and a timer for each key. Keys come and go, so that state would pile up if it were not forgotten.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms import trigger, window
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from hornbeam.utils.timestamp import Timestamp

#: Elements a second of event time, and keys that are in use at any moment.
RATE, KEYS = 1000, 500
#: Elements of one claim.
CLAIM = 500


class Numbers(RestrictionProvider):
    """The claims of a stream of that many elements."""

    def initial_restriction(self, count: int) -> OffsetRange:
        return OffsetRange(0, count // CLAIM)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, count: int, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, count: int, restriction: OffsetRange) -> None:
        """Drained, it ends at once."""


class Events(beam.DoFn):
    """(key, 1) pairs; each key lives for some seconds of event time."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        count: int,
        tracker: Any = beam.DoFn.RestrictionParam(Numbers()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[Any]:
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            first = at * CLAIM
            for i in range(first, first + CLAIM):
                yield (i // 10_000) * KEYS + i * 7919 % KEYS, i / RATE
            at += 1
            watermark.set_watermark(Timestamp(at * CLAIM / RATE - 1))


class Idle(beam.DoFn):
    """Counts a key's elements, and tells when it has been silent for ten seconds."""

    COUNT = ReadModifyWriteStateSpec("count", beam.coders.VarIntCoder())
    SILENT = TimerSpec("silent", TimeDomain.WATERMARK)

    def process(
        self,
        pair: Any,
        stamp: Any = beam.DoFn.TimestampParam,
        count: Any = beam.DoFn.StateParam(COUNT),
        silent: Any = beam.DoFn.TimerParam(SILENT),
    ) -> None:
        count.write((count.read() or 0) + 1)
        silent.set(stamp + 10)

    @on_timer(SILENT)
    def tell(self, key: Any = beam.DoFn.KeyParam, count: Any = beam.DoFn.StateParam(COUNT)) -> Iterator[Any]:
        yield key, count.read()
        count.clear()


def build(p: beam.Pipeline, count: int) -> None:
    """The whole stream."""
    pairs = (
        p
        | beam.Create([count], reshuffle=False)
        | "Events" >> beam.ParDo(Events())
        | beam.WithTimestamps(lambda pair: pair[1])
        | beam.Map(lambda pair: (pair[0], 1))
    )
    pairs | "fixed" >> beam.WindowInto(window.FixedWindows(5)) | "fixed sum" >> beam.CombinePerKey(sum)
    early = pairs | "panes" >> beam.WindowInto(
        window.FixedWindows(5),
        trigger=trigger.AfterWatermark(early=trigger.AfterCount(10), late=trigger.AfterCount(1)),
        accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
        allowed_lateness=2,
    )
    early | "panes sum" >> beam.CombinePerKey(sum)
    pairs | "sessions" >> beam.WindowInto(window.Sessions(3)) | "sessions sum" >> beam.CombinePerKey(sum)
    pairs | "idle keys" >> beam.ParDo(Idle())


def resident_mb() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(counts: tuple[int, ...]) -> None:
    """Prints the cost an element for streams of 10^5 to 10^7."""
    print(f"{'elements':>10}  {'ns/element':>10}  {'resident MB after':>17}")
    for count in counts:
        start = time.process_time()
        with beam.Pipeline(options=PipelineOptions(["--no_progress"])) as p:
            build(p, count)
        spent = time.process_time() - start
        print(f"{count:>10,}  {spent / count * 1e9:>10.0f}  {resident_mb():>17.0f}", flush=True)


def soak(seconds: float) -> None:
    """Runs at full speed; fails when memory or state has grown between the end of warm-up and the end."""
    p = beam.Pipeline(options=PipelineOptions(["--no_progress", f"--run_for_secs={seconds}"]))
    build(p, 1 << 50)
    result = p.run()
    samples: list[tuple[float, float, int]] = []
    print(f"{'seconds':>8}  {'elements':>13}  {'resident MB':>11}  {'entries kept':>12}", flush=True)
    start = time.monotonic()
    while result.wait_until_finish(duration=10_000) == "RUNNING":
        stages = result.explain().stages
        entries = sum(stage.entries for stage in stages)
        elements = max(stage.elements for stage in stages)
        samples.append((time.monotonic() - start, resident_mb(), entries))
        print(f"{samples[-1][0]:>8.0f}  {elements:>13,}  {samples[-1][1]:>11.1f}  {entries:>12,}", flush=True)
    after = samples[len(samples) // 5 :]
    half = len(after) // 2
    first, second = after[:half], after[half:]
    for name, place in (("resident MB", 1), ("entries", 2)):
        before, now = max(row[place] for row in first), max(row[place] for row in second)
        print(f"{name}: at most {before:,.1f} in the first half after warm-up, {now:,.1f} in the second")
        if now > 1.1 * before:
            raise SystemExit(f"{name} grew by more than a tenth")
    left = sum(stage.entries for stage in result.explain().stages)
    print(f"entries kept after the end: {left}")
    if left:
        raise SystemExit("state was left")


def main() -> None:
    """Growth, or a soak of some seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument(
        "--counts", default="100000,1000000,10000000", help="lengths of the streams that are compared"
    )
    args = parser.parse_args()
    if args.seconds:
        soak(args.seconds)
    else:
        growth(tuple(int(count) for count in args.counts.split(",")))


if __name__ == "__main__":
    main()
