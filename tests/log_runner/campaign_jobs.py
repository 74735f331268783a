"""The pipelines of the kill campaign. `campaign_answers` says what each must have committed in the end.

    python campaign_jobs.py PIPELINE FOLDER SIZE PAUSE [options]      runs (or resumes) the job to its end

A pipeline may be `NAME+`: the same one after a change, for a job that goes on from the other one's state.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from log_runner.campaign_answers import PARTITIONS, check, record
from log_runner.staged_files import StagedRows, WriteStaged

import hornbeam as beam
from hornbeam.coders import PickleCoder, VarIntCoder
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.two_phase import WriteTwoPhase
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.storage.log import Log, Producer
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    TimerSpec,
    on_timer,
)
from hornbeam.transforms.window import FixedWindows, Sessions, TimestampedValue
from hornbeam.utils.timestamp import Duration, Timestamp

__all__ = [
    "HOLD",
    "PIPELINES",
    "RENAMED",
    "Buffered",
    "Numbered",
    "WriteStaged",
    "build",
    "check",
    "held_at",
    "prepare",
    "reading",
]

PIPELINES = ("windowed", "sessions", "stateful", "timers", "sides", "files", "log")

#: A file in the job's folder: as long as it is there, partitions are read up to the offset in it only. So a job is there for
#: as long as a test has something to do with it, however slow the machine is.
HOLD = "hold"

#: Records that the topic is filled by, which a reader then takes at once.
_BATCH = 10

#: The step that keeps something, which has another label after the change (where it can have one).
RENAMED = {
    "windowed": "group",
    "sessions": "group",
    "stateful": "number",
    "timers": "buffer",
    "sides": "compare",
    "log": "number",
}


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


def held_at(hold: str | None) -> float:
    """How far may be read now, as the file says."""
    try:
        with open(hold or "") as file:
            return int(file.read())
    except FileNotFoundError:
        return math.inf


def reading(size: int, pause: float, hold: str | None = None) -> beam.DoFn:
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
            while True:
                if at >= held_at(hold):
                    tracker.defer_remainder(Duration(0.01))
                    return
                if not tracker.try_claim(at):
                    return
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


def prepare(name: str, folder: str, size: int) -> None:
    """What must be there before the first start: the topics."""
    if name != "log":
        return
    with Log(os.path.join(folder, "log")) as log:
        log.create_topic("in", PARTITIONS)
        log.create_topic("out", 2)
        with Producer(log) as producer:
            for partition, offset in itertools.product(range(PARTITIONS), range(0, size, _BATCH)):
                rows = [record(partition, each) for each in range(offset, min(offset + _BATCH, size))]
                values = [json.dumps(row).encode() for row in rows]
                micros = [int(seconds * 1e6) for _, _, seconds in rows]
                producer.append("in", values, timestamps=micros, partition=partition)


def build(name: str, p: beam.Pipeline, folder: str, size: int, pause: float) -> None:
    """Puts the pipeline together."""
    changed = name.endswith("+")
    name = name.rstrip("+")
    tagged = _from_log(p, folder, pause) if name == "log" else _from_partitions(p, folder, size, pause)
    tagged | "seen" >> beam.ParDo(WriteStaged(os.path.join(folder, "seen")))
    if changed:
        tagged = tagged | "added" >> beam.Filter(lambda pair: pair[1][0] >= 0)

    def label(step: str) -> str:
        return f"{step} again" if changed and RENAMED.get(name) == step else step

    if name in ("windowed", "sessions"):
        windows = FixedWindows(10) if name == "windowed" else Sessions(5)
        result = tagged | "windows" >> beam.WindowInto(windows) | label("group") >> beam.GroupByKey()
        result = result | "list" >> beam.MapTuple(lambda key, values: (key, sorted(values)))
    elif name in ("stateful", "log"):
        result = tagged | label("number") >> beam.ParDo(Numbered())
    elif name == "timers":
        result = tagged | label("buffer") >> beam.ParDo(Buffered())
    elif name == "sides":
        ends = tagged | "side windows" >> beam.WindowInto(FixedWindows(10))
        biggest = (
            ends
            | "values" >> beam.Map(lambda pair: pair[1][0])
            | "biggest" >> beam.CombineGlobally(max).without_defaults()
        )
        result = ends | label("compare") >> beam.Map(
            lambda pair, most: (*pair, most), most=beam.pvalue.AsSingleton(biggest)
        )
    elif name == "files":
        result = (
            tagged
            | "windows" >> beam.WindowInto(FixedWindows(10))
            | "lines" >> beam.Map(lambda pair: json.dumps((pair[0], *pair[1])))
        )
    else:
        raise ValueError(name)
    result | "result" >> _sink(name, folder)


def _from_partitions(p: beam.Pipeline, folder: str, size: int, pause: float) -> Any:
    return (
        p
        | "partitions" >> beam.Create(list(range(PARTITIONS)), reshuffle=False)
        | "read" >> beam.ParDo(reading(size, pause, os.path.join(folder, HOLD)))
    )


def _from_log(p: beam.Pipeline, folder: str, pause: float) -> Any:
    def tagged(row: list[Any]) -> tuple[str, tuple[int, str]]:
        time.sleep(pause)
        return row[0], (row[1], f"{random.getrandbits(60):x}")

    source = ReadFromLog(os.path.join(folder, "log"), "in", value_coder=json.loads, bounded=True)
    return p | "read" >> source | "tag" >> beam.Map(tagged)


def _sink(name: str, folder: str) -> Any:
    if name == "log":
        return WriteToLog(os.path.join(folder, "log"), "out", key=lambda row: row[0], value_coder=json.dumps)
    place = os.path.join(folder, "result")
    if name == "files":
        return beam.io.WriteToText(os.path.join(place, "out"), num_shards=1)
    return WriteTwoPhase(StagedRows(place))


def main(arguments: list[str]) -> None:
    """Runs the job of that name to its end."""
    name, folder, size, pause, *flags = arguments
    options = PipelineOptions(
        [
            "--runner=LogRunner",
            f"--job_name={name.rstrip('+')}",
            f"--log_dir={folder}",
            "--no_progress",
            *flags,
        ]
    )
    with beam.Pipeline(options=options) as p:
        build(name, p, os.environ.get("HORNBEAM_CAMPAIGN_OUT", folder), int(size), float(pause))


if __name__ == "__main__":
    main(sys.argv[1:])
