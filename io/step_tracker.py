"""StepTracker: for restrictions that are a state of the work and have no positions, as of what polls a directory or a queue.

A claim is the state after one more step. What a split leaves is the state after the last step that was claimed.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import attrs

from hornbeam.io.restriction import RestrictionProgress, RestrictionTracker


class Steps(Protocol):
    """A state; an attrs class. `is_over` says that no step is to follow."""

    @property
    def is_over(self) -> bool:
        """Whether no step is to follow."""


StateT = TypeVar("StateT", bound=Steps)


class StepTracker(RestrictionTracker, Generic[StateT]):
    """Claims steps. The work is done when process returns after a step without deferring the rest."""

    def __init__(self, state: StateT) -> None:
        self._state = state
        self._has_claimed = False
        self._is_split = False

    def current_restriction(self) -> StateT:
        """The state after the last step."""
        return self._state

    def current_progress(self) -> RestrictionProgress:
        """Nothing is known of how much is left, so all or nothing."""
        return RestrictionProgress(fraction=1.0 if self._is_split or self._state.is_over else 0.0)

    def try_claim(self, position: StateT) -> bool:
        """Claim the state after a step; False behind a split."""
        if self._is_split or self._state.is_over:
            return False
        self._state = position
        self._has_claimed = True
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[StateT, StateT] | None:
        """The steps that were claimed, and all those after them; None when there is nothing to leave."""
        if self._is_split or self._state.is_over:
            return None
        self._is_split = True
        residual = self._state
        self._state = attrs.evolve(residual, is_over=True)  # type: ignore[misc]
        return self._state, residual

    def check_done(self) -> bool:
        """Raise ValueError unless a step was claimed, or all left for later."""
        if not (self._has_claimed or self._is_split or self._state.is_over):
            raise ValueError(f"No step was claimed from {self._state!r}, and none was left for later.")
        return True

    def is_bounded(self) -> bool:
        """Whether the end is known."""
        return self._state.is_over

    def __repr__(self) -> str:
        return f"StepTracker({self._state!r})"


def over(state: Any) -> Any:
    """The same state, after which no step follows."""
    return attrs.evolve(state, is_over=True)
