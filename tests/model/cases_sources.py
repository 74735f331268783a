"""Cases: splittable DoFns that end, with each kind of watermark estimator; they run as streams, piece by piece."""

from __future__ import annotations

from typing import Any

from model.table import At, case

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator, MonotonicWatermarkEstimator
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.window import FixedWindows, TimestampedValue
from hornbeam.utils.timestamp import Duration, Timestamp


class Offsets(RestrictionProvider):
    """The offsets below the element."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()


class InParts(Offsets):
    """The same, in parts of two."""

    def split(self, element: Any, restriction: OffsetRange) -> Any:
        for start in range(restriction.start, restriction.stop, 2):
            yield OffsetRange(start, min(start + 2, restriction.stop))


class Count(beam.DoFn):
    """Each offset with its square."""

    @beam.DoFn.unbounded_per_element()
    def process(self, element: Any, tracker: Any = beam.DoFn.RestrictionParam(Offsets())) -> Any:
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield element, at
            at += 1


@case([(3, 0), (3, 1), (3, 2), (2, 0), (2, 1)])
def a_splittable_dofn_of_a_stream(p):
    return p | beam.Create([3, 2], reshuffle=False) | beam.ParDo(Count())


@case([(5, 0), (5, 1), (5, 2), (5, 3), (5, 4)])
def a_restriction_that_is_split_at_the_start(p):
    class Parts(Count):
        @beam.DoFn.unbounded_per_element()
        def process(self, element: Any, tracker: Any = beam.DoFn.RestrictionParam(InParts())) -> Any:
            at = tracker.current_restriction().start
            while tracker.try_claim(at):
                yield element, at
                at += 1

    return p | beam.Create([5]) | beam.ParDo(Parts())


@case([At((0, 3), window=(0, 3)), At((0, 3), window=(3, 6)), At((0, 1), window=(6, 9))])
def a_manual_watermark_closes_windows_as_it_goes(p):
    class Timed(beam.DoFn):
        @beam.DoFn.unbounded_per_element()
        def process(
            self,
            element: Any,
            tracker: Any = beam.DoFn.RestrictionParam(Offsets()),
            watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
        ) -> Any:
            at = tracker.current_restriction().start
            while tracker.try_claim(at):
                watermark.set_watermark(Timestamp(at))
                yield TimestampedValue((0, 1), at)
                at += 1
                if at % 2:
                    tracker.defer_remainder(Duration(0.001))
                    return

    timed = p | beam.Create([7]) | beam.ParDo(Timed())
    return timed | beam.WindowInto(FixedWindows(3)) | beam.CombinePerKey(sum)


@case([At((0, 2), window=(0, 2)), At((0, 2), window=(2, 4))])
def a_monotonic_watermark_follows_the_timestamps_of_outputs(p):
    class Rising(beam.DoFn):
        @beam.DoFn.unbounded_per_element()
        def process(
            self,
            element: Any,
            tracker: Any = beam.DoFn.RestrictionParam(Offsets()),
            watermark: Any = beam.DoFn.WatermarkEstimatorParam(
                MonotonicWatermarkEstimator.default_provider()
            ),
        ) -> Any:
            at = tracker.current_restriction().start
            while tracker.try_claim(at):
                yield TimestampedValue((0, 1), at)
                at += 1

    return (
        p
        | beam.Create([4])
        | beam.ParDo(Rising())
        | beam.WindowInto(FixedWindows(2))
        | beam.CombinePerKey(sum)
    )


@case([("k", 0, True), ("k", 1, True)])
def a_splittable_dofn_with_a_side_input(p):
    class Looking(beam.DoFn):
        @beam.DoFn.unbounded_per_element()
        def process(
            self, element: Any, known: Any, tracker: Any = beam.DoFn.RestrictionParam(Offsets())
        ) -> Any:
            at = tracker.current_restriction().start
            while tracker.try_claim(at):
                yield "k", at, element in known
                at += 1

    known = p | "known" >> beam.Create([2, 3])
    return p | beam.Create([2]) | beam.ParDo(Looking(), beam.pvalue.AsList(known))
