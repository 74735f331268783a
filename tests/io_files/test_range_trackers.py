"""Range trackers: what may be claimed, where a range may be cut, and how far a reader is."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.io.range_trackers import (
    LexicographicKeyRangeTracker,
    OffsetRangeTracker,
    OrderedPositionRangeTracker,
    UnsplittableRangeTracker,
)
from hornbeam.io.source import RangeTracker


@pytest.mark.parametrize("start, end", [(None, 3), (0, None), ("a", 3), (0, "b"), (5, 3), (0, 2.5)])
def test_an_offset_range_needs_two_ordered_offsets(start: object, end: object) -> None:
    with pytest.raises(ValueError):
        OffsetRangeTracker(start, end)  # type: ignore[arg-type]


def test_offsets_are_claimed_up_to_the_stop() -> None:
    tracker = OffsetRangeTracker(100, 200)
    assert tracker.try_claim(110)
    assert tracker.try_claim(140)
    assert tracker.last_record_start == 140
    assert not tracker.try_claim(200)
    assert tracker.last_attempted_record_start == 200
    assert tracker.last_record_start == 140


@pytest.mark.parametrize("first, second", [(120, 110), (120, 120)])
def test_offsets_must_rise(first: int, second: int) -> None:
    tracker = OffsetRangeTracker(100, 200)
    assert tracker.try_claim(first)
    with pytest.raises(ValueError):
        tracker.try_claim(second)


def test_offsets_before_the_start_are_refused() -> None:
    with pytest.raises(ValueError, match="before the range's start"):
        OffsetRangeTracker(100, 200).try_claim(99)


def test_a_record_that_is_no_split_point_needs_one_before_it() -> None:
    tracker = OffsetRangeTracker(100, 200)
    with pytest.raises(ValueError, match="must be a split point"):
        tracker.set_current_position(110)
    tracker.try_claim(110)
    tracker.set_current_position(110)
    tracker.set_current_position(250)
    assert tracker.last_record_start == 250
    assert tracker.fraction_consumed() == 1.0


def test_a_split_takes_what_is_not_claimed() -> None:
    tracker = OffsetRangeTracker(100, 200)
    assert tracker.try_split(150) is None, "nothing is read yet"
    assert tracker.try_claim(110)
    assert tracker.try_split(110) is None
    assert tracker.try_split(200) is None
    assert tracker.try_split(250) is None
    assert tracker.try_split(170) == (170, 0.7)
    assert tracker.stop_position() == 170
    assert tracker.try_claim(160)
    assert not tracker.try_claim(170)


def test_a_range_without_end_is_never_split() -> None:
    tracker = OffsetRangeTracker(0, OffsetRangeTracker.OFFSET_INFINITY)
    assert tracker.try_claim(7)
    assert tracker.try_split(100) is None
    assert tracker.fraction_consumed() == 0.0
    with pytest.raises(ValueError):
        tracker.position_at_fraction(0.5)


def test_fractions_of_offsets() -> None:
    tracker = OffsetRangeTracker(3, 13)
    assert tracker.fraction_consumed() == 0.0
    assert tracker.position_at_fraction(0.0) == 3
    assert tracker.position_at_fraction(0.25) == 6
    assert tracker.position_at_fraction(1.0) == 13
    tracker.try_claim(8)
    assert tracker.fraction_consumed() == 0.5
    assert OffsetRangeTracker(5, 5).fraction_consumed() == 0.0


def test_split_points_are_counted() -> None:
    tracker = OffsetRangeTracker(0, 100)
    assert tracker.split_points() == (0, RangeTracker.SPLIT_POINTS_UNKNOWN)
    tracker.set_split_points_unclaimed_callback(lambda stop: stop // 10)
    tracker.try_claim(0)
    assert tracker.split_points() == (0, 11)
    tracker.try_claim(10)
    assert tracker.split_points() == (1, 11)
    tracker.set_split_points_unclaimed_callback(lambda stop: RangeTracker.SPLIT_POINTS_UNKNOWN)
    assert tracker.split_points() == (1, RangeTracker.SPLIT_POINTS_UNKNOWN)


def test_concurrent_splits_and_claims_agree() -> None:
    for _ in range(20):
        tracker = OffsetRangeTracker(0, 2000)
        tracker.try_claim(0)
        claimed = [0]
        cuts: list[int] = []

        def read(tracker: OffsetRangeTracker = tracker, claimed: list[int] = claimed) -> None:
            for offset in range(1, 2000):
                if not tracker.try_claim(offset):
                    return
                claimed.append(offset)

        def split(tracker: OffsetRangeTracker = tracker, cuts: list[int] = cuts) -> None:
            for offset in range(1990, 0, -35):
                made = tracker.try_split(offset)
                if made is not None:
                    cuts.append(made[0])

        threads = [threading.Thread(target=read), threading.Thread(target=split)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop = min(cuts, default=2000)
        assert claimed == list(range(stop))


class Doubles(OrderedPositionRangeTracker):
    def fraction_to_position(self, fraction: float, start: float, end: float) -> float:
        return start + fraction * (end - start)

    def position_to_fraction(self, position: float, start: float, end: float) -> float:
        return (position - start) / (end - start)


def test_ordered_positions() -> None:
    tracker = Doubles(10, 20)
    assert tracker.fraction_consumed() == 0
    with pytest.raises(ValueError, match="before the range's start"):
        tracker.try_claim(9)
    assert tracker.try_claim(10)
    assert tracker.try_claim(10)
    assert tracker.try_claim(15)
    assert tracker.fraction_consumed() == 0.5
    with pytest.raises(ValueError, match="must not go back"):
        tracker.try_claim(14)
    assert tracker.try_split(15) is None
    with pytest.raises(ValueError, match="not inside the range"):
        tracker.try_split(20)
    with pytest.raises(ValueError, match="not inside the range"):
        tracker.try_split(10)
    assert tracker.try_split(18) == (18, 0.8)
    assert not tracker.try_claim(18)
    assert tracker.position_at_fraction(0.5) == 14
    assert Doubles(10, 20).try_split(12) == (12, 0.2)


@pytest.mark.parametrize(
    "fraction, start, end, key",
    [
        (0, None, None, b""),
        (1, None, None, None),
        (1 / 256, None, None, b"\x01"),
        (0.5, None, None, b"\x80"),
        (0.5, b"", b"\x80", b"\x40"),
        (0.5, b"a", b"c", b"b"),
        (0.5, b"aaa", b"aac", b"aab"),
        (0.5, "a", "c", b"b"),
        (1, b"a", b"c", b"c"),
        (0, b"a", b"c", b"a"),
    ],
)
def test_keys_at_fractions(fraction: float, start: bytes, end: bytes, key: bytes) -> None:
    assert LexicographicKeyRangeTracker.fraction_to_position(fraction, start, end) == key


@pytest.mark.parametrize(
    "key, start, end, fraction",
    [
        (b"", None, None, 0),
        (b"\x80", None, None, 0.5),
        (None, None, None, 1),
        (b"b", b"a", b"c", 0.5),
        (b"z", b"a", b"c", 1),
        (b"aab", b"aaa", b"aac", 0.5),
    ],
)
def test_fractions_of_keys(key: bytes, start: bytes, end: bytes, fraction: float) -> None:
    assert LexicographicKeyRangeTracker.position_to_fraction(key, start, end) == fraction


@settings(max_examples=100)
@given(st.binary(max_size=12), st.binary(max_size=12), st.floats(0, 1))
def test_keys_at_fractions_lie_in_their_range(one: bytes, other: bytes, fraction: float) -> None:
    start, end = sorted([one.rstrip(b"\0"), other.rstrip(b"\0")])
    key = LexicographicKeyRangeTracker.fraction_to_position(fraction, start, end)
    assert key is not None and start <= key <= end
    if start < end:
        assert abs(LexicographicKeyRangeTracker.position_to_fraction(key, start, end) - fraction) < 1e-6


def test_keys_are_claimed_in_order() -> None:
    tracker = LexicographicKeyRangeTracker(b"b", b"y")
    assert tracker.try_claim(b"c")
    assert not tracker.try_claim(b"y")
    assert tracker.try_split(b"k") is not None
    assert not tracker.try_claim(b"k")


def test_an_unsplittable_tracker_claims_but_never_splits() -> None:
    tracker = UnsplittableRangeTracker(OffsetRangeTracker(0, 100))
    assert (tracker.start_position(), tracker.stop_position()) == (0, 100)
    assert tracker.try_claim(50)
    assert tracker.try_split(80) is None
    assert tracker.fraction_consumed() == 0.5
    assert tracker.position_at_fraction(0.1) == 10
    tracker.set_current_position(60)
    assert tracker.fraction_consumed() == 0.6
    assert tracker.split_points() == (0, 1)
    with pytest.raises(TypeError):
        UnsplittableRangeTracker(None)  # type: ignore[arg-type]
