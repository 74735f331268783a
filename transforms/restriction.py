"""What a splittable DoFn tells its runner: which restrictions an element has, and how its output's watermark goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hornbeam.coders import registry

if TYPE_CHECKING:
    from hornbeam.coders.coder import Coder
    from hornbeam.io.iobase import RestrictionTracker, WatermarkEstimator

__all__ = ["RestrictionProvider", "WatermarkEstimatorProvider"]


class RestrictionProvider:
    """Makes, splits, sizes and tracks the restrictions of a splittable DoFn's elements.

    Give it as `DoFn.RestrictionParam(provider)`, or let the DoFn itself be one.
    """

    def create_tracker(self, restriction: Any) -> RestrictionTracker:
        """A new tracker for a restriction; the runner asks for one each time it works on it."""
        raise NotImplementedError(f"{type(self).__name__} must define create_tracker(restriction).")

    def initial_restriction(self, element: Any) -> Any:
        """All the work that an element stands for."""
        raise NotImplementedError(f"{type(self).__name__} must define initial_restriction(element).")

    def split(self, element: Any, restriction: Any) -> Iterable[Any]:
        """Restrictions that together are the given one; by default just that one."""
        yield restriction

    def restriction_coder(self) -> Coder:
        """The coder of the restrictions; by default the one of their type that the registry knows."""
        coder: Coder = registry.get_coder(object)
        return coder

    def restriction_size(self, element: Any, restriction: Any) -> float:
        """How much work a restriction is, in a unit of your choice; never negative."""
        raise NotImplementedError(
            f"{type(self).__name__} must define restriction_size(element, restriction)."
        )

    def split_and_size(self, element: Any, restriction: Any) -> Iterator[tuple[Any, float]]:
        """The parts of a restriction with their sizes."""
        for part in self.split(element, restriction):
            yield part, self.restriction_size(element, part)

    def truncate(self, element: Any, restriction: Any) -> Any:
        """What is left to do of a restriction when the pipeline drains; None for nothing.

        A bounded restriction is finished, an unbounded one ends at once.
        """
        if self.create_tracker(restriction).is_bounded():
            return restriction
        return None


class WatermarkEstimatorProvider:
    """Makes the watermark estimators of a splittable DoFn.

    Give it as `DoFn.WatermarkEstimatorParam(provider)`, or let the DoFn itself be one.
    """

    def initial_estimator_state(self, element: Any, restriction: Any) -> Any:
        """The estimator's state when work on a restriction begins."""
        raise NotImplementedError(
            f"{type(self).__name__} must define initial_estimator_state(element, restriction)."
        )

    def create_watermark_estimator(self, estimator_state: Any) -> WatermarkEstimator:
        """A new estimator that goes on from a state."""
        raise NotImplementedError(
            f"{type(self).__name__} must define create_watermark_estimator(estimator_state)."
        )

    def estimator_state_coder(self) -> Coder:
        """The coder of the estimator's state."""
        coder: Coder = registry.get_coder(object)
        return coder
