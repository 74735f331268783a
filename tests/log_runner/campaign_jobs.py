"""The pipelines of the kill campaign, and what each must have committed in the end, whatever was killed in between.

    python campaign_jobs.py PIPELINE FOLDER SIZE [options]      runs (or resumes) the job to its end

Each element gets a random tag where it comes in. The tags that `seen` committed say which of the attempts counted;
every other output must be made of exactly those.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from staged_files import WriteStaged, committed, left_over

import hornbeam as beam
from hornbeam.coders import PickleCoder, VarIntCoder
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    TimerSpec,
    on_timer,
)
from hornbeam.transforms.window import FixedWindows, Sessions, TimestampedValue
from hornbeam.utils.timestamp import Timestamp

PARTITIONS = 3
KEYS = 7


def record(partition: int, offset: int) -> tuple[str, int, float]:
    """The input: (key, value, seconds). A key belongs to one partition, so its order is known."""
    chance = random.Random(partition * 1_000_003 + offset)
    key = f"p{partition}k{chance.randrange(KEYS)}"
    return key, offset, offset * 0.5 + 30 * (offset // 50)  # with gaps, so that sessions end


def records(size: int) -> Iterator[tuple[int, str, int, float]]:
    """All of the input: (partition, key, value, seconds)."""
    for partition in range(PARTITIONS):
        for offset in range(size):
            key, value, seconds = record(partition, offset)
            yield partition, key, value, seconds


class Offsets(RestrictionProvider):
    """All offsets of a partition."""

    def __init__(self, size: int) -> None:
        self.size = size

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, self.size)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, element: Any, restriction: OffsetRange) -> None:
        """A drain ends the reading."""


def reading(size: int, pause: float) -> beam.DoFn:
    """Reads a partition, with a pause after each record so that there is time to be killed in."""

    class Read(beam.DoFn):
        @beam.DoFn.unbounded_per_element()
        def process(
            self,
            partition: int,
            tracker: Any = beam.DoFn.RestrictionParam(Offsets(size)),
            watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
        ) -> Any:
            at = tracker.current_restriction().start
            while tracker.try_claim(at):
                key, value, seconds = record(partition, at)
                watermark.set_watermark(Timestamp(seconds))
                tag = f"{random.getrandbits(60):x}"
                yield TimestampedValue((key, (value, tag)), seconds)
                time.sleep(pause)
                at += 1

    return Read()


class Numbered(beam.DoFn):
    """Per key: each value with its number, and a sum so far."""

    COUNT = CombiningValueStateSpec("count", VarIntCoder(), sum)

    def process(self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT)) -> Any:
        key, (value, tag) = pair
        count.add(1)
        yield key, count.read(), value, tag


class Buffered(beam.DoFn):
    """Per key: gathers values and gives them out by an event-time timer, with a random number."""

    VALUES = BagStateSpec("values", PickleCoder())
    FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

    def process(
        self,
        pair: Any,
        at: Any = beam.DoFn.TimestampParam,
        values: Any = beam.DoFn.StateParam(VALUES),
        flush: Any = beam.DoFn.TimerParam(FLUSH),
    ) -> None:
        due = at.micros // 20_000_000 + 1
        values.add((due, *pair[1]))
        flush.set(Timestamp(due * 20), dynamic_timer_tag=str(due))

    @on_timer(FLUSH)
    def flush(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        values: Any = beam.DoFn.StateParam(VALUES),
    ) -> Any:
        kept = list(values.read())
        values.clear()
        for row in kept:
            if row[0] * 20_000_000 != at.micros:
                values.add(row)
        yield key, [row[1:] for row in kept if row[0] * 20_000_000 == at.micros], random.random()


def build(name: str, p: beam.Pipeline, folder: str, size: int, pause: float) -> None:
    """Puts the pipeline together."""
    tagged = (
        p
        | "partitions" >> beam.Create(list(range(PARTITIONS)), reshuffle=False)
        | "read" >> beam.ParDo(reading(size, pause))
    )
    tagged | "seen" >> beam.ParDo(WriteStaged(os.path.join(folder, "seen")))
    if name == "windowed":
        result = tagged | "windows" >> beam.WindowInto(FixedWindows(10)) | "group" >> beam.GroupByKey()
        result = result | "list" >> beam.MapTuple(lambda key, values: (key, sorted(values)))
    elif name == "sessions":
        result = tagged | "windows" >> beam.WindowInto(Sessions(5)) | "group" >> beam.GroupByKey()
        result = result | "list" >> beam.MapTuple(lambda key, values: (key, sorted(values)))
    elif name == "stateful":
        result = tagged | "number" >> beam.ParDo(Numbered())
    elif name == "timers":
        result = tagged | "buffer" >> beam.ParDo(Buffered())
    elif name == "sides":
        ends = tagged | "side windows" >> beam.WindowInto(FixedWindows(10))
        biggest = (
            ends
            | "values" >> beam.Map(lambda pair: pair[1][0])
            | "biggest" >> beam.CombineGlobally(max).without_defaults()
        )
        result = ends | "compare" >> beam.Map(
            lambda pair, most: (*pair, most), most=beam.pvalue.AsSingleton(biggest)
        )
    else:
        raise ValueError(name)
    result | "result" >> beam.ParDo(WriteStaged(os.path.join(folder, "result")))


PIPELINES = ("windowed", "sessions", "stateful", "timers", "sides")


def check(name: str, folder: str, size: int) -> None:
    """AssertionError where what was committed is not what one undisturbed run would have."""
    seen = list(committed(os.path.join(folder, "seen")))
    due = Counter((key, value) for _, key, value, _ in records(size))
    given = Counter((key, value) for key, (value, _) in seen)
    assert given == due, f"seen: {_difference(given, due)}"
    tags = {(key, value): tag for key, (value, tag) in seen}
    order = defaultdict(list)
    for key, (value, _) in seen:
        order[key].append(value)
    assert all(values == sorted(values) for values in order.values()), "seen: reordered within a key"
    result = list(committed(os.path.join(folder, "result")))
    given = Counter(map(repr, result))
    due = Counter(map(repr, expected(name, size, tags)))
    if name == "timers":
        given = Counter(repr((key, sorted(values))) for key, values, _ in result)
    assert given == due, f"result: {_difference(given, due)}"
    if name == "stateful":
        numbers = defaultdict(list)
        for key, number, _, _ in result:
            numbers[key].append(number)
        assert all(n == list(range(1, len(n) + 1)) for n in numbers.values()), (
            "result: reordered within a key"
        )
    for part in ("seen", "result"):
        assert not left_over(os.path.join(folder, part)), f"{part}: staged files are left"


def _difference(given: Counter[Any], due: Counter[Any]) -> str:
    lost, doubled = list((due - given).elements()), list((given - due).elements())
    return f"{len(lost)} lost {lost[:5]}, {len(doubled)} too many {doubled[:5]}"


def expected(name: str, size: int, tags: dict[tuple[str, int], str]) -> Iterator[Any]:
    """What the pipeline gives, with the tags that counted."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    numbers: Counter[str] = Counter()
    by_key: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for _, key, value, seconds in records(size):
        tag = tags[key, value]
        by_key[key].append((seconds, value, tag))
        numbers[key] += 1
        if name == "windowed":
            groups[key, int(seconds // 10)].append((value, tag))
        elif name == "stateful":
            yield key, numbers[key], value, tag
    if name == "windowed":
        yield from ((key, sorted(values)) for (key, _), values in groups.items())
    elif name == "sessions":
        for key, rows in by_key.items():
            yield from ((key, session) for session in _sessions(rows))
    elif name == "timers":
        for key, rows in by_key.items():
            yield from ((key, sorted(buffer)) for buffer in _buffers(rows))
    elif name == "sides":
        most: dict[int, int] = defaultdict(int)
        for _, _, value, seconds in records(size):
            most[int(seconds // 10)] = max(most[int(seconds // 10)], value)
        for _, key, value, seconds in records(size):
            yield key, (value, tags[key, value]), most[int(seconds // 10)]


def _sessions(rows: list[tuple[float, int, str]]) -> Iterator[list[Any]]:
    session: list[Any] = []
    end = None
    for seconds, value, tag in rows:
        if end is not None and seconds >= end:
            yield sorted(session)
            session = []
        session.append((value, tag))
        end = seconds + 5
    yield sorted(session)


def _buffers(rows: list[tuple[float, int, str]]) -> Iterator[list[Any]]:
    buffers: dict[int, list[Any]] = defaultdict(list)
    for seconds, value, tag in rows:
        buffers[int(seconds // 20)].append((value, tag))
    yield from buffers.values()


def main(arguments: list[str]) -> None:
    """Runs the job of that name to its end."""
    name, folder, size, pause, *flags = arguments
    options = PipelineOptions(
        ["--runner=LogRunner", f"--job_name={name}", f"--log_dir={folder}", "--no_progress", *flags]
    )
    with beam.Pipeline(options=options) as p:
        build(name, p, folder, int(size), float(pause))


if __name__ == "__main__":
    main(sys.argv[1:])
