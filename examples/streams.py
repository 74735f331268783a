"""What the streaming examples share: a source that replays recorded events, and waiting for a count of a running stream.

No example of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.metrics import MetricsFilter
from hornbeam.runners.runner import PipelineResult, PipelineState
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.utils.timestamp import Timestamp


class Event(NamedTuple):
    """Something that happened at a time, and arrived at a later one; both in seconds since 1970."""

    arrived: float
    happened: float
    value: Any


class Replay(beam.PTransform):
    """The values of recorded events, in the order in which they arrived, at the times at which they happened.

    The source cannot know what is still under way, so it guesses: every `step` seconds of arrival time it says that all that
    happened more than `disorder` seconds ago has arrived. What then comes all the same is late.
    """

    def __init__(self, read: Callable[[], Iterable[Event]], *, disorder: float, step: float = 60) -> None:
        super().__init__()
        self.read = read
        self.disorder = disorder
        self.step = step

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[Any]:
        return pbegin | beam.Impulse() | "Events" >> beam.ParDo(_Replay(self.read, self.disorder, self.step))


class _Replay(beam.DoFn, RestrictionProvider):
    """A splittable DoFn: the restriction is the range of events that are still to come."""

    def __init__(self, read: Callable[[], Iterable[Event]], disorder: float, step: float) -> None:
        self.read = read
        self.disorder = disorder
        self.step = step
        self.recorded: list[Event] | None = None

    def events(self) -> list[Event]:
        """The events in order of arrival, read once."""
        if self.recorded is None:
            self.recorded = sorted(self.read(), key=lambda event: event.arrived)
        return self.recorded

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, len(self.events()))

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = beam.DoFn.RestrictionParam(),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[Any]:
        events = self.events()
        start = tracker.current_restriction().start
        for at in range(start, len(events)):
            event = events[at]
            reached = Timestamp(event.arrived // self.step * self.step - self.disorder)
            if watermark.current_watermark() != reached:
                watermark.set_watermark(reached)
                if at > start:  # lets the steps behind see the watermark before the next event
                    tracker.defer_remainder()
                    return
            if not tracker.try_claim(at):
                return
            yield beam.window.TimestampedValue(event.value, event.happened)


def counted(result: PipelineResult, counter: str) -> int:
    """What the steps of a running stream have counted so far under a name."""
    query = MetricsFilter().with_name(counter)
    return sum(found.committed or 0 for found in result.metrics().query(query)["counters"])


def until_counted(result: PipelineResult, counter: str, least: int) -> None:
    """Returns when a counter has come to `least`, or the stream has ended; raises what made it fail."""
    while counted(result, counter) < least:
        if result.state != PipelineState.RUNNING:
            result.wait_until_finish()
            return
        time.sleep(0.01)
