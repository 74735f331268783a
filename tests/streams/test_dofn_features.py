"""DoFn features on streams: bundle finalization, batches of windowed data, dead letters with windows, late outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hornbeam as beam
from hornbeam.metrics.metric import MetricsFilter
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.testing.clock import FakeClock
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.test_stream import TestStream
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.periodicsequence import PeriodicImpulse
from hornbeam.transforms.refreshed import RefreshedSideInput
from hornbeam.transforms.window import FixedWindows, TimestampedValue

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def timed(*pairs: tuple[Any, float]) -> list[TimestampedValue[Any]]:
    return [TimestampedValue(value, time) for value, time in pairs]


class Finalized(beam.DoFn):
    """Registers a callback for each element, and notes what was processed by the time it is called."""

    def process(self, element: Any, finalizer: Any = beam.DoFn.BundleFinalizerParam) -> Any:
        SEEN.append(("processed", element))
        finalizer.register(lambda: SEEN.append(("final", element)))
        yield element


def note(element: Any) -> None:
    SEEN.append(("behind", element))


def test_bundles_of_a_stream_are_finalized_one_by_one_after_all_behind_them():
    stream = TestStream().add_elements([1]).advance_watermark_to(5).add_elements([2]).advance_watermark_to(9)
    with TestPipeline() as p:
        p | stream | beam.ParDo(Finalized()) | beam.Reshuffle() | beam.Map(note)
    assert [(what, n) for n in (1, 2) for what in ("processed", "behind", "final")] == SEEN


class Doubled(beam.DoFn):
    """Works on arrays."""

    def process_batch(self, batch: np.ndarray) -> Any:
        yield batch * 2

    def infer_output_type(self, input_type: Any) -> Any:
        return input_type


def test_process_batch_keeps_times_and_windows():
    stream = TestStream().add_elements(timed((1, 1), (2, 11), (3, 2))).advance_watermark_to(30)
    with TestPipeline() as p:
        numbers = p | stream | beam.Map(lambda n: np.int64(n)).with_output_types(np.int64)
        doubled = (
            numbers | beam.WindowInto(FixedWindows(10)) | beam.ParDo(Doubled()).with_input_types(np.int64)
        )
        sums = doubled | beam.Map(lambda n: ("k", int(n))) | beam.CombinePerKey(sum)
        assert_that(
            sums | beam.Map(lambda pair, w=beam.DoFn.WindowParam: (int(w.start), pair[1])),
            equal_to([(0, 8), (10, 4)]),
        )


def test_dead_letters_keep_their_windows():
    stream = TestStream().add_elements(timed((1, 1), (0, 2), (0, 12))).advance_watermark_to(30)
    with TestPipeline() as p:
        windows = p | stream | beam.WindowInto(FixedWindows(10))
        good, bad = windows | beam.Map(lambda n: 10 // n).with_exception_handling()
        counted = bad | beam.Map(lambda letter: (letter[0], 1)) | beam.CombinePerKey(sum)
        with_window = beam.Map(lambda pair, w=beam.DoFn.WindowParam: (int(w.start), *pair))
        assert_that(good, equal_to([10]), label="good")
        assert_that(counted | with_window, equal_to([(0, 0, 1), (10, 0, 1)]), label="bad")


def test_what_a_grouping_drops_is_counted_and_can_be_read():
    stream = (
        TestStream()
        .add_elements(timed((("a", 1), 1)))
        .advance_watermark_to(10)
        .add_elements(timed((("a", 2), 2), (("b", 3), 3), (("a", 4), 14)))
        .advance_watermark_to(30)
    )
    p = TestPipeline()
    windows = p | stream | beam.WindowInto(FixedWindows(10))
    sums, late = windows | "Sum" >> beam.CombinePerKey(sum).with_late_output("late")
    where = beam.Map(
        lambda pair, w=beam.DoFn.WindowParam, t=beam.DoFn.TimestampParam: (*pair, int(w.start), int(t))
    )
    assert_that(sums, equal_to([("a", 1), ("a", 4)]), label="sums")
    assert_that(late | where, equal_to([("a", 2, 0, 2), ("b", 3, 0, 3)]), label="late")
    result = p.run()
    counters = result.metrics().query(MetricsFilter().with_namespace("hornbeam").with_name("dropped_late"))[
        "counters"
    ]
    assert [(c.key.step.startswith("Sum"), c.committed) for c in counters] == [(True, 2)]


def test_time_goes_as_a_fake_clock_says():
    clock = FakeClock(start=1000)
    with TestPipeline(clock=clock) as p:
        ticks = p | PeriodicImpulse(start_timestamp=1000, stop_timestamp=1000 + 3600 * 24, fire_interval=3600)
        counted = (
            ticks
            | beam.WindowInto(FixedWindows(3600 * 24))
            | beam.Map(lambda t: ("k", 1))
            | beam.CombinePerKey(sum)
        )
        assert_that(
            counted | beam.Map(lambda pair: pair[1]) | beam.CombineGlobally(sum).without_defaults(),
            equal_to([24]),
        )
    assert clock.now() >= 1000 + 3600 * 23


def load() -> int:
    SEEN.append("loaded")
    return len(SEEN)


def test_a_refreshed_side_input_is_read_again_and_again():
    clock = FakeClock(start=0)
    with TestPipeline(clock=clock, options=PipelineOptions(["--no_progress"])) as p:
        table = p | RefreshedSideInput(load, 60, stop_timestamp=300)
        ticks = p | "main" >> PeriodicImpulse(start_timestamp=10, stop_timestamp=250, fire_interval=60)
        seen = ticks | beam.Map(lambda t, version: (int(t), version), beam.pvalue.AsSingleton(table))
        assert_that(seen, equal_to([(10, 1), (70, 2), (130, 3), (190, 4)]))


def test_a_side_input_that_only_the_end_makes_ready_is_warned_of(caplog):
    stream = TestStream().add_elements(timed((1, 1)))
    with TestPipeline() as p:
        side = beam.pvalue.AsList(p | stream)
        assert_that(
            p | beam.Create([7]) | "Look" >> beam.Map(lambda x, s: (x, s), side), equal_to([(7, [1])])
        )
    assert "The elements of step 'Look' wait for a side input until that has ended" in caplog.text
