"""What a splittable DoFn's reader holds: restriction trackers, their progress, watermark estimators.

A *restriction* is a piece of one element's work. Its tracker is used by one thread that processes; a runner that
wants to split or to see the progress while the DoFn runs puts a lock around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.utils.timestamp import Timestamp


class RestrictionProgress:
    """How much of a restriction is done. Made of a fraction, or of completed and remaining work, or of both.

    What is not given is worked out from the rest where that is possible, and is None otherwise.
    """

    __slots__ = ("_completed", "_fraction", "_remaining")

    def __init__(
        self, *, fraction: float | None = None, remaining: float | None = None, completed: float | None = None
    ) -> None:
        self._fraction = fraction
        self._remaining = remaining
        self._completed = completed

    @property
    def completed_work(self) -> float | None:
        """Work done, in whatever unit the tracker counts."""
        if self._completed is not None:
            return self._completed
        if self._remaining is not None and self._fraction is not None and self._fraction < 1:
            return self._remaining * self._fraction / (1 - self._fraction)
        return self._fraction

    @property
    def remaining_work(self) -> float | None:
        """Work left, in the same unit."""
        if self._remaining is not None:
            return self._remaining
        if self._fraction is None:
            return None
        if self._completed is not None and self._fraction > 0:
            return self._completed * (1 - self._fraction) / self._fraction
        return 1 - self._fraction

    @property
    def total_work(self) -> float | None:
        """Work done and left together."""
        completed, remaining = self.completed_work, self.remaining_work
        return None if completed is None or remaining is None else completed + remaining

    @property
    def fraction_completed(self) -> float | None:
        """The share that is done, 0 to 1."""
        if self._fraction is not None:
            return self._fraction
        total = self.total_work
        if total is None or self._completed is None:
            return None
        return self._completed / total if total else 1.0

    @property
    def fraction_remaining(self) -> float | None:
        """The share that is left, 0 to 1."""
        completed = self.fraction_completed
        return None if completed is None else 1 - completed

    def with_completed(self, completed: float) -> RestrictionProgress:
        """The same progress with another amount of completed work."""
        return RestrictionProgress(fraction=self._fraction, remaining=self._remaining, completed=completed)

    def __repr__(self) -> str:
        return (
            f"RestrictionProgress(fraction={self._fraction}, completed={self._completed}, "
            f"remaining={self._remaining})"
        )


class RestrictionTracker:
    """Claims positions of one restriction, so that it can be split while it is being processed."""

    def current_restriction(self) -> Any:
        """The restriction being processed; a split makes it smaller."""
        raise NotImplementedError(f"{type(self).__name__} does not define current_restriction()")

    def current_progress(self) -> RestrictionProgress:
        """How far it is. Without it a runner cannot balance the work."""
        raise NotImplementedError(f"{type(self).__name__} does not define current_progress()")

    def check_done(self) -> bool | None:
        """Raise ValueError unless all of the restriction has been claimed; called after `process` returned."""
        raise NotImplementedError(f"{type(self).__name__} does not define check_done()")

    def try_split(self, fraction_of_remainder: float) -> tuple[Any, Any] | None:
        """Split what is not claimed: the restriction to go on with, and the one to hand away.

        A fraction of 0 asks to keep only what is claimed (a checkpoint). None means that it cannot be split there.
        The tracker's own restriction becomes the first.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define try_split()")

    def try_claim(self, position: Any) -> bool:
        """Claim a position; when False, `process` must return without any output for it."""
        raise NotImplementedError(f"{type(self).__name__} does not define try_claim()")

    def is_bounded(self) -> bool:
        """Whether the restriction comes to an end."""
        raise NotImplementedError(f"{type(self).__name__} does not define is_bounded()")


class WatermarkEstimator:
    """Says how far event time has come, from what a splittable DoFn puts out.

    The runner calls `observe_timestamp` for every element put out, and reads the watermark between elements. The
    state is saved with the residual of a split and given to the estimator that goes on with it.
    """

    def get_estimator_state(self) -> Any:
        """What a new estimator needs to go on from here."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_estimator_state()")

    def current_watermark(self) -> Timestamp | None:
        """A time before which nothing more will come; it never goes back. None while nothing is known."""
        raise NotImplementedError(f"{type(self).__name__} does not define current_watermark()")

    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Take note of an element's timestamp."""
        raise NotImplementedError(f"{type(self).__name__} does not define observe_timestamp()")


def does_nothing(method: Callable[[Any, Timestamp], None]) -> Callable[[Any, Timestamp], None]:
    """Marks an `observe_timestamp` that does nothing, so that a runner need not call it for every element."""
    method.does_nothing = True  # type: ignore[attr-defined]
    return method
