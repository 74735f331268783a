"""Restriction trackers, their progress, and the watermark estimators."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.io.restriction import RestrictionProgress, RestrictionTracker, WatermarkEstimator
from hornbeam.io.restriction_trackers import (
    OffsetRange,
    OffsetRestrictionTracker,
    UnsplittableRestrictionTracker,
)
from hornbeam.io.watermark_estimators import (
    ManualWatermarkEstimator,
    MonotonicWatermarkEstimator,
    WalltimeWatermarkEstimator,
)
from hornbeam.utils.timestamp import Timestamp


@pytest.mark.parametrize(
    "size, least, parts",
    [
        (5, 1, [(0, 5), (5, 10), (10, 15), (15, 16)]),
        (14, 1, [(0, 16)]),
        (8, 1, [(0, 8), (8, 16)]),
        (100, 1, [(0, 16)]),
        (6, 5, [(0, 6), (6, 16)]),
        (1, 8, [(0, 8), (8, 16)]),
    ],
)
def test_an_offset_range_splits_without_small_rests(
    size: int, least: int, parts: list[tuple[int, int]]
) -> None:
    assert [(part.start, part.stop) for part in OffsetRange(0, 16).split(size, least)] == parts


@settings(max_examples=100)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 90), st.integers(1, 90))
def test_splits_cover_the_range(start: int, length: int, size: int, least: int) -> None:
    parts = list(OffsetRange(start, start + length).split(size, least))
    assert [offset for part in parts for offset in range(part.start, int(part.stop))] == list(
        range(start, start + length)
    )
    assert all(part.size() >= min(least, length) for part in parts)


def test_offset_ranges_are_values() -> None:
    assert OffsetRange(1, 2) == OffsetRange(1, 2) != OffsetRange(1, 3)
    assert len({OffsetRange(1, 2), OffsetRange(1, 2)}) == 1
    assert OffsetRange(1, 9).split_at(4) == (OffsetRange(1, 4), OffsetRange(4, 9))
    assert OffsetRange(1, 9).size() == 8
    assert OffsetRange(1, 9).new_tracker().stop_position() == 9
    with pytest.raises(ValueError):
        OffsetRange(2, 1)


def test_offsets_are_claimed_in_order_and_inside() -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(100, 200))
    with pytest.raises(ValueError, match="before the range's start"):
        tracker.try_claim(90)
    tracker = OffsetRestrictionTracker(OffsetRange(100, 200))
    assert tracker.try_claim(100)
    assert tracker.try_claim(150)
    with pytest.raises(ValueError, match="must rise"):
        tracker.try_claim(150)
    assert not tracker.try_claim(200)


@pytest.mark.parametrize(
    "claims, done", [([], False), ([100], False), ([199], True), ([150, 200], True), ([198], False)]
)
def test_check_done(claims: list[int], done: bool) -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(100, 200))
    for offset in claims:
        tracker.try_claim(offset)
    if done:
        assert tracker.check_done()
    else:
        with pytest.raises(ValueError, match="not been claimed"):
            tracker.check_done()


def test_an_empty_range_is_done_at_once() -> None:
    assert OffsetRestrictionTracker(OffsetRange(5, 5)).check_done()


def test_a_checkpoint_keeps_what_is_claimed() -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(0, 100))
    assert tracker.try_claim(4)
    assert tracker.try_split(0) == (OffsetRange(0, 5), OffsetRange(5, 100))
    assert not tracker.try_claim(5)
    assert tracker.check_done()
    assert tracker.try_split(0) is None


def test_a_checkpoint_before_any_claim_hands_all_away() -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(10, 100))
    assert tracker.try_split(0) == (OffsetRange(10, 10), OffsetRange(10, 100))
    assert tracker.check_done()


def test_a_split_takes_a_fraction_of_what_is_left() -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(0, 100))
    assert tracker.try_claim(19)
    assert tracker.try_split(0.5) == (OffsetRange(0, 59), OffsetRange(59, 100))
    assert tracker.current_restriction() == OffsetRange(0, 59)
    assert tracker.try_claim(58)
    assert tracker.try_split(0.5) is None


def test_an_endless_range_can_only_be_checkpointed() -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(0, float("inf")))
    assert not tracker.is_bounded()
    assert tracker.try_claim(4)
    assert tracker.try_split(0.5) is None
    assert tracker.try_split(0) == (OffsetRange(0, 5), OffsetRange(5, float("inf")))


def test_progress_of_offsets() -> None:
    tracker = OffsetRestrictionTracker(OffsetRange(0, 10))
    assert tracker.current_progress().fraction_completed == 0.0
    tracker.try_claim(5)
    progress = tracker.current_progress()
    assert (progress.fraction_completed, progress.fraction_remaining) == (0.5, 0.5)


@pytest.mark.parametrize(
    "given_, expected",
    [
        ({"completed": 30, "remaining": 10}, (30, 10, 40, 0.75)),
        ({"fraction": 0.75, "remaining": 10}, (30, 10, 40, 0.75)),
        ({"fraction": 0.75, "completed": 30}, (30, 10, 40, 0.75)),
        ({"completed": 0, "remaining": 10}, (0, 10, 10, 0.0)),
    ],
)
def test_progress_is_worked_out(given_: dict[str, float], expected: tuple[float, ...]) -> None:
    progress = RestrictionProgress(**given_)
    assert (
        progress.completed_work,
        progress.remaining_work,
        progress.total_work,
        progress.fraction_completed,
    ) == expected
    assert progress.with_completed(5).completed_work == 5


def test_an_unsplittable_restriction_delegates_all_but_splits() -> None:
    inner = OffsetRestrictionTracker(OffsetRange(0, 10))
    tracker = UnsplittableRestrictionTracker(inner)
    assert isinstance(tracker, RestrictionTracker)
    assert tracker.try_claim(3)
    assert tracker.try_split(0.5) is None
    assert tracker.current_restriction() == OffsetRange(0, 10)
    assert tracker.current_progress().fraction_completed == 0.3
    assert tracker.is_bounded()


def test_the_monotonic_estimator_follows_the_outputs() -> None:
    estimator = MonotonicWatermarkEstimator(Timestamp(10))
    estimator.observe_timestamp(Timestamp(15))
    assert estimator.current_watermark() == Timestamp(15)
    estimator.observe_timestamp(Timestamp(12))
    assert estimator.current_watermark() == estimator.get_estimator_state() == Timestamp(15)
    assert MonotonicWatermarkEstimator(None).current_watermark() is None


def test_the_manual_estimator_is_set_by_hand() -> None:
    estimator = ManualWatermarkEstimator(None)
    assert estimator.current_watermark() is None
    estimator.observe_timestamp(Timestamp(99))
    estimator.set_watermark(Timestamp(10))
    assert estimator.current_watermark() == estimator.get_estimator_state() == Timestamp(10)
    with pytest.raises(ValueError, match="must not go back"):
        estimator.set_watermark(Timestamp(9))
    with pytest.raises(ValueError, match="is a Timestamp"):
        estimator.set_watermark(11)  # type: ignore[arg-type]


def test_the_wall_time_estimator_follows_the_clock() -> None:
    estimator = WalltimeWatermarkEstimator()
    first = estimator.current_watermark()
    assert first <= estimator.current_watermark() <= Timestamp.now()
    future = Timestamp.now() + 1000
    assert WalltimeWatermarkEstimator(future).current_watermark() == future


@pytest.mark.parametrize(
    "kind", [ManualWatermarkEstimator, MonotonicWatermarkEstimator, WalltimeWatermarkEstimator]
)
def test_default_providers_make_their_estimator(kind: type[WatermarkEstimator]) -> None:
    provider = kind.default_provider()  # type: ignore[attr-defined]
    state = provider.initial_estimator_state("element", OffsetRange(0, 1))
    estimator = provider.create_watermark_estimator(state)
    assert type(estimator) is kind
    moved = provider.create_watermark_estimator(Timestamp(3))
    assert moved.get_estimator_state() == Timestamp(3)
