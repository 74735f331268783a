"""Elements at regular times: PeriodicImpulse as a root, PeriodicSequence for each element that asks for a sequence.

The n-th element has the timestamp `start + n * interval` and comes when the run's clock has reached it; those whose time is
past when the run begins come at once. Beam's module path puts this among the transforms; it is built on `io`.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.core import Create, DoFn, Map, ParDo, RestrictionProvider, WindowInto
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import FixedWindows, TimestampedValue
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Timestamp, TimestampTypes, micros_of, timestamp_at

__all__ = [
    "ImpulseSeqGenDoFn",
    "ImpulseSeqGenRestrictionProvider",
    "PeriodicImpulse",
    "PeriodicSequence",
    "RebaseMode",
]

#: Start, end (exclusive), and interval in seconds.
Request = tuple[Any, Any, float]


class RebaseMode(enum.Enum):
    """Whether the times of a PeriodicImpulse are moved to when the pipeline runs, which is later than it is written."""

    #: They stay.
    REBASE_NONE = 0
    #: The start is the moment of the run, and the stop is moved by as much.
    REBASE_ALL = 1
    #: The start is the moment of the run, and the stop stays.
    REBASE_START = 2


class ImpulseSeqGenRestrictionProvider(RestrictionProvider):
    """The numbers of the elements of a sequence. Draining ends it at once."""

    backlog_unit = "bytes"

    def initial_restriction(self, element: Request) -> OffsetRange:
        """[0, how many elements there are from the start to the end)."""
        start, end, interval = (micros_of(part) for part in element)
        if start > end:
            raise ValueError(f"A sequence must not end before it starts; found {element!r}.")
        if interval <= 0:
            raise ValueError(f"The interval of a sequence must be above 0 seconds; found {element[2]!r}.")
        return OffsetRange(0, -((start - end) // interval))

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """A tracker of the numbers."""
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Request, restriction: OffsetRange) -> float:
        """8 for each element whose time has come: what the runner could have now."""
        start, _, interval = (micros_of(part) for part in element)
        due = (processing_time.now_micros() - start) // interval
        return max(0.0, 8 * (min(restriction.stop, due) - restriction.start))

    def truncate(self, unused_element: Request, unused_restriction: OffsetRange) -> None:
        """None: nothing more comes."""
        return None


class ImpulseSeqGenDoFn(DoFn):
    """Gives a sequence of elements for each (start, end, interval): the timestamps, or `data` again and again.

    `data` are values, which get the timestamps, or pairs of a Timestamp and a value, which have that timestamp. The
    watermark is the latest timestamp given.
    """

    def __init__(self, data: Sequence[Any] | None = None) -> None:
        super().__init__()
        if data is not None and not len(data):
            raise ValueError(
                "A sequence of no data gives nothing; give data=None for the timestamps themselves."
            )
        self._data = data
        self._has_timestamps = data is not None and has_timestamps(data)

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: Request,
        restriction_tracker: Any = DoFn.RestrictionParam(ImpulseSeqGenRestrictionProvider()),
        watermark_estimator: Any = DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue[Any]]:
        """Give what is due, then wait for the next."""
        start, _, interval = (micros_of(part) for part in element)
        index = restriction_tracker.current_restriction().start
        while True:
            due = start + index * interval
            if due > processing_time.now_micros():
                restriction_tracker.defer_remainder(timestamp_at(due))
                return
            if not restriction_tracker.try_claim(index):
                return
            output = self._output(index, due)
            watermark = watermark_estimator.current_watermark()
            if watermark is None or output.timestamp > watermark:
                watermark_estimator.set_watermark(output.timestamp)
            yield output
            index += 1

    def _output(self, index: int, due: int) -> TimestampedValue[Any]:
        stamp = timestamp_at(due)
        if self._data is None:
            return TimestampedValue(stamp, stamp)
        value = self._data[index % len(self._data)]
        return (
            TimestampedValue(value[1], value[0]) if self._has_timestamps else TimestampedValue(value, stamp)
        )


class PeriodicSequence(PTransform[PCollection[Request], PCollection[Timestamp]]):
    """For each element (start, end, interval in seconds) the timestamps from start until before end, each when it is due."""

    def expand(self, pcoll: PCollection[Request]) -> PCollection[Timestamp]:
        """A sequence for each element."""
        stamps: PCollection[Timestamp] = pcoll | "GenSequence" >> ParDo(
            ImpulseSeqGenDoFn()
        ).with_output_types(Timestamp)
        return stamps


class PeriodicImpulse(PTransform[PBegin, PCollection[Any]]):
    """Elements at regular times: the timestamps from start to stop, or `data`.

        ticks = p | PeriodicImpulse(fire_interval=60, rebase=RebaseMode.REBASE_ALL)

    The start is the moment at which the transform was made unless given, the stop is never. With `apply_windowing` each
    element is in a window of its own (FixedWindows of the interval). `data` is given in turn, with the timestamps of
    the sequence, from the start again when it ends (with a warning); or it is pairs of a Timestamp and a value, of which
    there must be enough. Without a stop, data is given once. `rebase` moves the times to when the pipeline runs.
    """

    def __init__(
        self,
        start_timestamp: TimestampTypes | None = None,
        stop_timestamp: TimestampTypes = MAX_TIMESTAMP,
        fire_interval: float = 360.0,
        apply_windowing: bool = False,
        data: Sequence[Any] | None = None,
        rebase: RebaseMode = RebaseMode.REBASE_NONE,
    ) -> None:
        super().__init__()
        self.start_ts = processing_time.now() if start_timestamp is None else Timestamp.of(start_timestamp)
        self.stop_ts = Timestamp.of(stop_timestamp)
        if micros_of(fire_interval) <= 0:
            raise ValueError(f"fire_interval must be above 0 seconds; found {fire_interval!r}.")
        if self.start_ts > self.stop_ts and rebase is not RebaseMode.REBASE_START:
            raise ValueError(f"PeriodicImpulse stops at {self.stop_ts}, before it starts at {self.start_ts}.")
        self.interval = fire_interval
        self.apply_windowing = apply_windowing
        self.data = data
        self.rebase = RebaseMode(rebase)
        if data:
            self._fit_data(len(data))

    def _fit_data(self, count: int) -> None:
        """Ends with the data where no end was given; complains of too little of it for the end that was."""
        interval = micros_of(self.interval)
        if self.stop_ts == MAX_TIMESTAMP:
            self.stop_ts = timestamp_at(self.start_ts.micros + count * interval)
            return
        if count * interval >= self.stop_ts.micros - self.start_ts.micros:
            return
        text = (
            f"PeriodicImpulse has {count} elements of data, which at one in {self.interval} s do not last from "
            f"{self.start_ts} to {self.stop_ts}."
        )
        assert self.data is not None
        if has_timestamps(self.data):
            raise ValueError(f"{text} Give more data, or an earlier stop_timestamp.")
        warnings.warn(f"{text} They are repeated.", stacklevel=3)

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """One request, and its sequence."""
        requests = pbegin | "ImpulseElement" >> Create([(self.start_ts, self.stop_ts, self.interval)])
        if self.rebase is not RebaseMode.REBASE_NONE:
            requests = requests | "Rebase" >> Map(_rebased, self.rebase)
        generate = ParDo(ImpulseSeqGenDoFn(self.data or None))
        if not self.data:
            generate = generate.with_output_types(Timestamp)
        result: PCollection[Any] = requests | "GenSequence" >> generate
        if self.apply_windowing:
            result = result | "ApplyWindowing" >> WindowInto(FixedWindows(self.interval))
        return result


def _rebased(request: Request, mode: RebaseMode) -> Request:
    """The request with its times moved to now."""
    start, stop, interval = request
    now = processing_time.now()
    if mode is RebaseMode.REBASE_START:
        return now, max(now, stop), interval
    moved = MAX_TIMESTAMP if stop == MAX_TIMESTAMP else timestamp_at(now.micros + stop.micros - start.micros)
    return now, moved, interval


def has_timestamps(data: Sequence[Any]) -> bool:
    """Whether data are pairs of a Timestamp and a value; told by the first."""
    first = data[0]
    return isinstance(first, tuple) and len(first) == 2 and isinstance(first[0], Timestamp)
