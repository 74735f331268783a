"""The range trackers: over offsets, over any ordered positions, over keys as bytes, and one that never splits."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hornbeam.io.source import RangeTracker

__all__ = [
    "LexicographicKeyRangeTracker",
    "OffsetRangeTracker",
    "OrderedPositionRangeTracker",
    "UnsplittableRangeTracker",
]

_log = logging.getLogger(__name__)


class OffsetRangeTracker(RangeTracker):
    """A range of offsets, such as bytes of a file or indexes of a list: `[start, end)`, integers.

    The end may be `OFFSET_INFINITY`; such a range cannot be split.
    """

    #: The end of a range whose length is not known.
    OFFSET_INFINITY = float("inf")

    def __init__(self, start: int, end: float) -> None:
        if start is None or end is None:
            raise ValueError(f"An offset range needs a start and an end; found [{start}, {end}).")
        if not isinstance(start, int) or not (isinstance(end, int) or end == self.OFFSET_INFINITY):
            raise ValueError(
                f"Offsets must be integers (the end may be infinity); found [{start!r}, {end!r})."
            )
        if start > end:
            raise ValueError(f"An offset range must not end before it starts; found [{start}, {end}).")
        self._start = start
        self._stop = end
        self._lock = threading.RLock()
        self._last_record_start = -1
        self._last_attempted_record_start = -1
        self._last_split_point = -1
        self._split_points_seen = 0
        self._split_points_unclaimed: Callable[[Any], Any] | None = None

    def start_position(self) -> int:
        """The first offset."""
        return self._start

    def stop_position(self) -> float:
        """The offset after the last; lower after a split."""
        with self._lock:
            return self._stop

    @property
    def last_record_start(self) -> int:
        """Where the record read last starts, or -1."""
        return self._last_record_start

    @property
    def last_attempted_record_start(self) -> int:
        """The offset that was claimed last, whether the claim succeeded or not, or -1."""
        return self._last_attempted_record_start

    @property
    def last_split_point(self) -> int:
        """Where the split point claimed last starts, or -1."""
        return self._last_split_point

    def _check(self, record_start: int, split_point: bool) -> None:
        if not self._split_points_seen and not split_point:
            raise ValueError(f"The first record (at {record_start}) of a range must be a split point.")
        if record_start < self._last_record_start:
            raise ValueError(
                f"Offsets must not go back: the record at {record_start} comes after the one at "
                f"{self._last_record_start}."
            )
        if split_point and record_start == self._last_split_point:
            raise ValueError(
                f"Two split points must not start at the same offset; found {record_start} twice."
            )
        if record_start < self._start:
            raise ValueError(f"The record at {record_start} lies before the range's start {self._start}.")

    def try_claim(self, record_start: int) -> bool:
        """Claim the record that starts at the offset; False at or past the stop."""
        with self._lock:
            self._check(record_start, True)
            self._last_attempted_record_start = record_start
            if record_start >= self._stop:
                return False
            self._last_record_start = self._last_split_point = record_start
            self._split_points_seen += 1
            return True

    def set_current_position(self, record_start: int) -> None:
        """Note a record that is no split point."""
        with self._lock:
            self._check(record_start, False)
            self._last_record_start = record_start

    def try_split(self, split_offset: int) -> tuple[int, float] | None:
        """Stop at `split_offset`; None before the first claim, at or before the last one, or outside."""
        if not isinstance(split_offset, int):
            raise ValueError(f"A range of offsets is split at an integer; found {split_offset!r}.")
        with self._lock:
            if self._stop == self.OFFSET_INFINITY:
                _log.debug("No split of %r at %s: its end is not known", self, split_offset)
                return None
            if self._last_record_start == -1:
                _log.debug("No split of %r at %s: nothing is read yet", self, split_offset)
                return None
            if split_offset <= self._last_record_start:
                _log.debug("No split of %r at %s: that is claimed", self, split_offset)
                return None
            if split_offset < self._start or split_offset >= self._stop:
                _log.debug("No split of %r at %s: that is outside", self, split_offset)
                return None
            fraction = (split_offset - self._start) / (self._stop - self._start)
            self._stop = split_offset
            return split_offset, fraction

    def fraction_consumed(self) -> float:
        """The share of the range before the record read last."""
        with self._lock:
            if self._last_record_start == -1 or self._stop == self.OFFSET_INFINITY:
                return 0.0
            return self.position_to_fraction(self._last_record_start, self._start, self._stop)

    @staticmethod
    def position_to_fraction(pos: float, start: float, stop: float) -> float:
        """Where `pos` lies between start and stop, 0 to 1."""
        return min(1.0, (pos - start) / (stop - start)) if stop != start else 0.0

    def position_at_fraction(self, fraction: float) -> int:
        """The offset at a fraction of the range; ValueError where its end is not known."""
        with self._lock:
            if self._stop == self.OFFSET_INFINITY:
                raise ValueError("A range without a known end has no position at a fraction.")
            return math.ceil(self._start + fraction * (self._stop - self._start))

    def split_points(self) -> tuple[int, Any]:
        """Split points read and left; the rest is unknown without a callback that counts it."""
        with self._lock:
            consumed = max(0, self._split_points_seen - 1)
            remaining = RangeTracker.SPLIT_POINTS_UNKNOWN
            if self._split_points_unclaimed is not None:
                unclaimed = self._split_points_unclaimed(self._stop)
                if unclaimed is not RangeTracker.SPLIT_POINTS_UNKNOWN:
                    remaining = unclaimed + 1
            return consumed, remaining

    def set_split_points_unclaimed_callback(self, callback: Callable[[Any], Any]) -> None:
        """Set what counts the split points between the last claim and the stop position that it is given."""
        self._split_points_unclaimed = callback

    def __repr__(self) -> str:
        return f"OffsetRangeTracker([{self._start}, {self._stop}), last record at {self._last_record_start})"


class OrderedPositionRangeTracker(RangeTracker):
    """A range of any ordered positions; None for an open start or end.

    A subclass says how positions and fractions correspond: `position_to_fraction` and `fraction_to_position`.
    """

    #: What stands for "nothing is claimed yet".
    UNSTARTED: Any = object()

    def __init__(self, start_position: Any = None, stop_position: Any = None) -> None:
        self._start_position = start_position
        self._stop_position = stop_position
        self._last_claim = self.UNSTARTED
        self._lock = threading.Lock()

    def start_position(self) -> Any:
        """The first position, or None."""
        return self._start_position

    def stop_position(self) -> Any:
        """The position after the last, or None; lower after a split."""
        with self._lock:
            return self._stop_position

    def try_claim(self, position: Any) -> bool:
        """Claim a position; False at or past the stop. The same position may be claimed again."""
        with self._lock:
            if self._last_claim is not self.UNSTARTED and position < self._last_claim:
                raise ValueError(
                    f"Positions must not go back: {position!r} comes after {self._last_claim!r}."
                )
            if self._start_position is not None and position < self._start_position:
                raise ValueError(f"{position!r} lies before the range's start {self._start_position!r}.")
            if self._stop_position is None or position < self._stop_position:
                self._last_claim = position
                return True
            return False

    def set_current_position(self, position: Any) -> None:
        """Note a position; here every position is a split point, so it is claimed."""
        self.try_claim(position)

    def position_at_fraction(self, fraction: float) -> Any:
        """The position at a fraction of the range."""
        with self._lock:
            return self.fraction_to_position(fraction, self._start_position, self._stop_position)

    def try_split(self, position: Any) -> tuple[Any, float] | None:
        """Stop at `position`; None when it is claimed, ValueError when it is outside the range."""
        with self._lock:
            start, stop = self._start_position, self._stop_position
            if (stop is not None and position >= stop) or (start is not None and position <= start):
                raise ValueError(f"The split at {position!r} is not inside the range ({start!r}, {stop!r}).")
            if self._last_claim is not self.UNSTARTED and self._last_claim >= position:
                return None
            fraction = self.position_to_fraction(position, start, stop)
            self._stop_position = position
            return position, fraction

    def fraction_consumed(self) -> float:
        """The share of the range before the last claim."""
        with self._lock:
            if self._last_claim is self.UNSTARTED:
                return 0.0
            return self.position_to_fraction(self._last_claim, self._start_position, self._stop_position)

    def fraction_to_position(self, fraction: float, start: Any, end: Any) -> Any:
        """The position at a fraction between start and end."""
        raise NotImplementedError(f"{type(self).__name__} does not define fraction_to_position()")

    def position_to_fraction(self, position: Any, start: Any, end: Any) -> float:
        """Where the position lies between start and end, 0 to 1."""
        raise NotImplementedError(f"{type(self).__name__} does not define position_to_fraction()")


class LexicographicKeyRangeTracker(OrderedPositionRangeTracker):
    """A range of keys: byte strings (or text) in lexicographic order.

    A key is taken as the digits of a number in base 256, so `b"\\x80"` lies halfway between empty and the end.
    """

    @classmethod
    def fraction_to_position(cls, fraction: float, start: Any = None, end: Any = None) -> bytes | None:
        """The shortest key at about the fraction between start and end; None is before or after every key."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"A fraction lies between 0 and 1; found {fraction}.")
        low_key = _key_bytes(start) if start is not None else b""
        if fraction == 0:
            return low_key
        if fraction == 1:
            return None if end is None else _key_bytes(end)
        low = _key_number(low_key)
        high = Fraction(1) if end is None else _key_number(_key_bytes(end))
        if low >= high:
            return low_key
        digits = 8  # so many that adjacent keys of this length are far closer than the two ends
        while (high - low) * 256 ** (digits - 8) < 1:
            digits += 1
        scaled = round((low + Fraction(fraction) * (high - low)) * 256**digits)
        key: bytes = min(scaled, 256**digits - 1).to_bytes(digits, "big").rstrip(b"\0")
        return max(low_key, key)

    @classmethod
    def position_to_fraction(cls, key: Any = None, start: Any = None, end: Any = None) -> float:
        """Where the key lies between start and end. A key of None is the end of all keys."""
        if key is None:
            return 1.0
        low = Fraction(0) if start is None else _key_number(_key_bytes(start))
        high = Fraction(1) if end is None else _key_number(_key_bytes(end))
        if low >= high:
            return 0.0
        return float(min(Fraction(1), max(Fraction(0), (_key_number(_key_bytes(key)) - low) / (high - low))))


def _key_bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else bytes(key)


def _key_number(key: bytes) -> Fraction:
    """The key as a number in [0, 1)."""
    return Fraction(int.from_bytes(key, "big"), 256 ** len(key))


class UnsplittableRangeTracker(RangeTracker):
    """Another tracker, but one that refuses every split: for what must be read from start to end."""

    def __init__(self, range_tracker: RangeTracker) -> None:
        if not isinstance(range_tracker, RangeTracker):
            raise TypeError(f"UnsplittableRangeTracker wraps a RangeTracker; found {range_tracker!r}.")
        self._range_tracker = range_tracker

    def start_position(self) -> Any:
        """The wrapped tracker's start."""
        return self._range_tracker.start_position()

    def stop_position(self) -> Any:
        """The wrapped tracker's stop."""
        return self._range_tracker.stop_position()

    def position_at_fraction(self, fraction: float) -> Any:
        """The wrapped tracker's position."""
        return self._range_tracker.position_at_fraction(fraction)

    def try_claim(self, position: Any) -> bool:
        """Claim on the wrapped tracker."""
        return self._range_tracker.try_claim(position)

    def try_split(self, position: Any) -> None:
        """None: never split."""
        return None

    def set_current_position(self, position: Any) -> None:
        """Note the position on the wrapped tracker."""
        self._range_tracker.set_current_position(position)

    def fraction_consumed(self) -> float:
        """The wrapped tracker's fraction."""
        return self._range_tracker.fraction_consumed()

    def split_points(self) -> tuple[int, int]:
        """Nothing read and one left: the whole is a single split point."""
        return 0, 1

    def set_split_points_unclaimed_callback(self, callback: Callable[[Any], Any]) -> None:
        """Set the callback on the wrapped tracker."""
        self._range_tracker.set_split_points_unclaimed_callback(callback)
