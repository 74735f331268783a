"""Ranges of offsets as restrictions of a splittable DoFn, their tracker, and one that never splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hornbeam.io.range_trackers import OffsetRangeTracker
from hornbeam.io.restriction import RestrictionProgress, RestrictionTracker

__all__ = ["OffsetRange", "OffsetRestrictionTracker", "UnsplittableRestrictionTracker"]


class OffsetRange:
    """The offsets `[start, stop)`. Not to be changed once made."""

    __slots__ = ("start", "stop")

    def __init__(self, start: int, stop: float) -> None:
        if start > stop:
            raise ValueError(f"An offset range must not end before it starts; found [{start}, {stop}).")
        self.start = start
        self.stop = stop

    def split(
        self, desired_num_offsets_per_split: float, min_num_offsets_per_split: float = 1
    ) -> Iterator[OffsetRange]:
        """The range in parts of about the size wanted; what would be a small rest joins the last part."""
        step = max(1, desired_num_offsets_per_split, min_num_offsets_per_split)
        start = self.start
        while start < self.stop:
            stop = min(start + step, self.stop)
            left = self.stop - stop
            if left < step // 4 or left < min_num_offsets_per_split:
                stop = self.stop
            yield OffsetRange(start, stop)
            if stop == self.stop:
                return
            start = int(stop)

    def split_at(self, split_pos: int) -> tuple[OffsetRange, OffsetRange]:
        """The ranges before and from the offset on."""
        return OffsetRange(self.start, split_pos), OffsetRange(split_pos, self.stop)

    def new_tracker(self) -> OffsetRangeTracker:
        """A range tracker over the offsets."""
        return OffsetRangeTracker(self.start, self.stop)

    def size(self) -> float:
        """How many offsets there are."""
        return self.stop - self.start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OffsetRange) and (self.start, self.stop) == (other.start, other.stop)

    def __hash__(self) -> int:
        return hash((OffsetRange, self.start, self.stop))

    def __repr__(self) -> str:
        return f"OffsetRange(start={self.start}, stop={self.stop})"


class OffsetRestrictionTracker(RestrictionTracker):
    """Claims rising offsets of an `OffsetRange`."""

    def __init__(self, offset_range: OffsetRange) -> None:
        if not isinstance(offset_range, OffsetRange):
            raise TypeError(f"OffsetRestrictionTracker needs an OffsetRange; found {offset_range!r}.")
        self._range = offset_range
        self._current_position: int | None = None
        self._last_attempt: int | None = None
        self._checkpointed = False

    def check_done(self) -> bool:
        """Raise ValueError unless the last offset, or one past it, has been claimed or tried."""
        tried = self._last_attempt
        if self._range.start < self._range.stop and (tried is None or tried < self._range.stop - 1):
            begin = self._range.start if tried is None else tried + 1
            raise ValueError(
                f"OffsetRestrictionTracker is not done: the offsets [{begin}, {self._range.stop}) have not been "
                "claimed. process() must go on claiming until try_claim() returns False."
            )
        return True

    def current_restriction(self) -> OffsetRange:
        """The range being processed."""
        return self._range

    def current_progress(self) -> RestrictionProgress:
        """The share of the range before the last claim."""
        if self._current_position is None:
            return RestrictionProgress(fraction=0.0)
        size = self._range.stop - self._range.start
        done = self._current_position - self._range.start
        return RestrictionProgress(fraction=done / size if size else 1.0)

    def start_position(self) -> int:
        """The first offset."""
        return self._range.start

    def stop_position(self) -> float:
        """The offset after the last."""
        return self._range.stop

    def try_claim(self, position: int) -> bool:
        """Claim an offset above all earlier ones; False past the range."""
        if self._last_attempt is not None and position <= self._last_attempt:
            raise ValueError(f"Offsets must rise: {position} was claimed after {self._last_attempt}.")
        if position < self._range.start:
            raise ValueError(f"{position} lies before the range's start {self._range.start}.")
        self._last_attempt = position
        if position < self._range.stop:
            self._current_position = position
            return True
        return False

    def try_split(self, fraction_of_remainder: float) -> tuple[OffsetRange, OffsetRange] | None:
        """Keep what is claimed and the fraction of what is left."""
        if self._checkpointed:
            return None
        current = self._range.start - 1 if self._last_attempt is None else self._last_attempt
        left = self._range.stop - current
        if left == float("inf"):
            step = 1 if fraction_of_remainder == 0 else left
        else:
            step = max(1, left * fraction_of_remainder)
        split_point = current + step
        if split_point >= self._range.stop:
            return None
        if fraction_of_remainder == 0:
            self._checkpointed = True
        self._range, residual = self._range.split_at(int(split_point))
        return self._range, residual

    def is_bounded(self) -> bool:
        """Whether the range has an end."""
        return self._range.stop != float("inf")

    def __repr__(self) -> str:
        return f"OffsetRestrictionTracker({self._range}, claimed {self._current_position})"


class UnsplittableRestrictionTracker(RestrictionTracker):
    """Another tracker, but one that refuses every split; all else goes to the wrapped one."""

    def __init__(self, underling_tracker: RestrictionTracker) -> None:
        self._underling_tracker = underling_tracker

    def try_split(self, fraction_of_remainder: float) -> None:
        """None: never split."""
        return None

    # __getattr__ alone would find the methods that RestrictionTracker itself defines.
    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name == "try_split":
            return super().__getattribute__(name)
        return getattr(self._underling_tracker, name)
