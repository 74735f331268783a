"""PeriodicImpulse and PeriodicSequence, and side inputs that are refreshed by them, under a clock that jumps ahead."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sources.driving import splittable
from sources.streaming import Keep, kept, run

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.periodicsequence import (
    ImpulseSeqGenDoFn,
    ImpulseSeqGenRestrictionProvider,
    PeriodicImpulse,
    PeriodicSequence,
    RebaseMode,
)
from hornbeam.transforms.refreshed import RefreshedSideInput
from hornbeam.transforms.window import FixedWindows
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Timestamp


@pytest.fixture(autouse=True)
def fresh() -> None:
    kept()


# The DoFn


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ((0, 10, 3), 4),
        ((0, 9, 3), 3),
        ((0, 0, 3), 0),
        ((Timestamp(0), Timestamp(1), 0.25), 4),
        ((5, 6, 10), 1),
    ],
)
def test_the_elements_of_a_request_are_counted(request_: Any, count: int) -> None:
    provider = ImpulseSeqGenRestrictionProvider()
    assert provider.initial_restriction(request_) == OffsetRange(0, count)
    assert provider.truncate(request_, OffsetRange(0, count)) is None


@pytest.mark.parametrize("request_", [(5, 4, 1), (0, 10, 0), (0, 10, -1)])
def test_requests_that_make_no_sense_are_refused(request_: Any) -> None:
    with pytest.raises(ValueError):
        ImpulseSeqGenRestrictionProvider().initial_restriction(request_)


def test_what_is_due_is_the_size() -> None:
    provider = ImpulseSeqGenRestrictionProvider()
    with processing_time.at(10_000_000):
        assert provider.restriction_size((0, 100, 1), OffsetRange(4, 100)) == 48
        assert provider.restriction_size((0, 100, 1), OffsetRange(50, 100)) == 0


def test_elements_come_when_they_are_due_and_those_that_are_past_at_once() -> None:
    driven = splittable(ImpulseSeqGenDoFn(), start=25)
    driven.feed((0, MAX_TIMESTAMP, 10))
    driven.run()
    assert driven.given == [(Timestamp(t), t) for t in (0, 10, 20)]
    assert driven.hold() == 20 and driven.wakes() == 30
    driven.pass_time(4.9)
    assert len(driven.given) == 3
    driven.pass_time(20.1)
    assert driven.given[3:] == [(Timestamp(t), t) for t in (30, 40, 50)]


def test_draining_ends_a_sequence() -> None:
    driven = splittable(ImpulseSeqGenDoFn(), start=25)
    driven.feed((0, 1000, 10))
    driven.run()
    driven.head.drain()
    assert driven.head.is_done() and driven.hold() is None


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (["a", "b"], [("a", 0), ("b", 1), ("a", 2), ("b", 3)]),
        ([(Timestamp(9), "x"), (Timestamp(2), "y"), (Timestamp(5), "z"), (Timestamp(7), "w")],
         [("x", 9), ("y", 2), ("z", 5), ("w", 7)]),
    ],
)  # fmt: skip
def test_data_take_the_place_of_the_timestamps(data: list[Any], given: list[Any]) -> None:
    driven = splittable(ImpulseSeqGenDoFn(data), start=100)
    driven.feed((0, 4, 1))
    driven.run()
    assert driven.given == given


def test_timestamps_of_data_that_go_back_leave_the_watermark() -> None:
    driven = splittable(ImpulseSeqGenDoFn([(Timestamp(9), "x"), (Timestamp(2), "y")]), start=1)
    driven.feed((0, 4, 1))
    driven.run()
    assert driven.hold() == 9


# The transforms


def test_a_periodic_impulse_ends_at_its_stop() -> None:
    p = beam.Pipeline()
    p | PeriodicImpulse(10, 40, 10) | beam.ParDo(Keep())
    run(p, 1000)
    assert kept() == [(Timestamp(t), t) for t in (10, 20, 30)]


def test_each_element_in_a_window_of_its_own() -> None:
    p = beam.Pipeline()
    (
        p
        | PeriodicImpulse(0, 30, 10, apply_windowing=True, data=["a", "b", "c"])
        | beam.Map(lambda x, w=beam.DoFn.WindowParam: (x, str(w)))
        | beam.ParDo(Keep())
    )
    run(p, 1000)
    assert [value for value, _ in kept()] == [
        ("a", "[0.0, 10.0)"),
        ("b", "[10.0, 20.0)"),
        ("c", "[20.0, 30.0)"),
    ]


@pytest.mark.parametrize(
    ("mode", "stop", "times"),
    [
        (RebaseMode.REBASE_NONE, 60, [0, 20, 40]),
        (RebaseMode.REBASE_START, 560, [500, 520, 540]),
        (RebaseMode.REBASE_ALL, 60, [500, 520, 540]),
        (RebaseMode.REBASE_START, 60, []),
    ],
)
def test_times_are_rebased_to_the_run(mode: RebaseMode, stop: float, times: list[float]) -> None:
    p = beam.Pipeline()
    p | PeriodicImpulse(0, stop, 20, rebase=mode) | beam.ParDo(Keep())
    run(p, 1000, start=500)
    assert [stamp for _, stamp in kept()] == times


def test_a_sequence_for_each_element() -> None:
    p = beam.Pipeline()
    p | beam.Create([(0, 3, 1), (10, 30, 10)]) | PeriodicSequence() | beam.ParDo(Keep())
    run(p, 100)
    assert sorted(stamp for _, stamp in kept()) == [0, 1, 2, 10, 20]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"fire_interval": 0}, ValueError, "fire_interval"),
        ({"start_timestamp": 10, "stop_timestamp": 5}, ValueError, "before it starts"),
        (
            {"start_timestamp": 0, "stop_timestamp": 50, "fire_interval": 10, "data": [(Timestamp(1), "x")]},
            ValueError,
            "Give more data",
        ),
    ],
)
def test_impulses_that_make_no_sense_are_refused(settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        PeriodicImpulse(**settings)


def test_too_little_data_is_repeated_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="repeated"):
        PeriodicImpulse(0, 50, 10, data=["a", "b"])


def test_data_without_a_stop_come_once() -> None:
    p = beam.Pipeline()
    p | PeriodicImpulse(0, fire_interval=10, data=["a", "b"]) | beam.ParDo(Keep())
    run(p, 1000)
    assert [value for value, _ in kept()] == ["a", "b"]


def test_windows_of_impulses_close_as_time_goes() -> None:
    p = beam.Pipeline()
    (
        p
        | PeriodicImpulse(0, 100, 5)
        | beam.WindowInto(FixedWindows(20))
        | beam.Map(lambda _: ("k", 1))
        | beam.CombinePerKey(sum)
        | beam.ParDo(Keep())
    )
    run(p, 1000)
    assert [value for value, _ in kept()] == [("k", 4)] * 5


def test_an_idle_pipeline_waits_and_does_not_look_all_the_time() -> None:
    p = beam.Pipeline()
    p | PeriodicImpulse(0, 10_000, 100) | beam.ParDo(Keep())
    _, clock = run(p, 10_000)
    assert len(kept()) == 100 and clock.waits <= 102


# Side inputs that are refreshed

READS: list[Any] = []


def read_next() -> dict[str, int]:
    READS.append(processing_time.now_micros() / 1e6)
    return {"rate": len(READS)}


def read_or_fail() -> int:
    READS.append(1)
    if len(READS) % 2 == 0:
        raise ConnectionError("the table is away")
    return len(READS)


def never_there() -> int:
    raise ConnectionError("never there")


def test_elements_see_the_value_that_was_read_last() -> None:
    READS.clear()
    p = beam.Pipeline()
    rates = p | "Rates" >> RefreshedSideInput(read_next, 60)
    (
        p
        | PeriodicImpulse(1000, 1200, 20)
        | beam.Map(lambda t, table: (t.seconds(), table["rate"]), table=beam.pvalue.AsSingleton(rates))
        | beam.ParDo(Keep())
    )
    run(p, 230, start=1000)
    seen = [value for value, _ in kept()]
    assert READS[:4] == [1000, 1060, 1120, 1180]
    assert [time for time, _ in seen] == list(range(1000, 1200, 20))
    assert all(rate in {(time - 1000) // 60 + 1, (time - 1001) // 60 + 1} for time, rate in seen)
    assert seen[-1][1] == 4


def test_a_value_that_cannot_be_read_again_is_kept_if_wanted(caplog: pytest.LogCaptureFixture) -> None:
    READS.clear()
    p = beam.Pipeline()
    values = p | RefreshedSideInput(read_or_fail, 10, keep_on_error=True)
    (
        p
        | PeriodicImpulse(5, 50, 10)
        | beam.Map(lambda t, value: value, value=beam.pvalue.AsSingleton(values))
        | beam.ParDo(Keep())
    )
    with caplog.at_level(logging.WARNING):
        run(p, 60)
    assert [value for value, _ in kept()] == [1, 1, 3, 3, 5]
    assert "could not be read again" in caplog.text


@pytest.mark.parametrize(("read", "keep_on_error"), [(read_or_fail, False), (never_there, True)])
def test_what_reading_raises_ends_the_pipeline(read: Any, keep_on_error: bool) -> None:
    READS.clear()
    p = beam.Pipeline()
    p | "Table" >> RefreshedSideInput(read, 10, keep_on_error=keep_on_error) | beam.ParDo(Keep())
    with pytest.raises(ConnectionError) as caught:
        run(p, 60)
    assert caught.value.hornbeam_failure.step.startswith("Table/Read")


def test_a_refreshed_side_input_needs_a_function() -> None:
    with pytest.raises(TypeError, match="needs a function"):
        RefreshedSideInput(5, 10)  # type: ignore[arg-type]


def test_a_test_stream_moves_the_clock_that_side_inputs_are_refreshed_by() -> None:
    READS.clear()
    p = beam.Pipeline()
    rates = p | "Rates" >> RefreshedSideInput(read_next, 60, stop_timestamp=130)
    events = (
        TestStream()
        .add_elements(["a"])
        .advance_processing_time(59)
        .add_elements(["b"])
        .advance_processing_time(1)
        .add_elements(["c"])
        .advance_processing_time(60)
        .add_elements(["d"])
        .advance_watermark_to_infinity()
    )
    (
        p
        | events
        | beam.Map(lambda x, table: (x, table["rate"]), table=beam.pvalue.AsSingleton(rates))
        | beam.ParDo(Keep())
    )
    p.run().wait_until_finish()
    assert [value for value, _ in kept()] == [("a", 1), ("b", 1), ("c", 2), ("d", 3)]
    assert READS == [0, 60, 120]
