"""The watermark estimators for splittable DoFns: monotonic timestamps, wall time, and set by hand."""

from __future__ import annotations

from typing import Any

from hornbeam.io.restriction import WatermarkEstimator, does_nothing
from hornbeam.transforms.restriction import WatermarkEstimatorProvider
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import Timestamp

__all__ = ["ManualWatermarkEstimator", "MonotonicWatermarkEstimator", "WalltimeWatermarkEstimator"]


class MonotonicWatermarkEstimator(WatermarkEstimator):
    """For outputs whose timestamps never go back: the watermark is the timestamp seen last.

    An output that does go back leaves the watermark where it is.
    """

    def __init__(self, timestamp: Timestamp | None) -> None:
        self._watermark = timestamp

    @classmethod
    def default_provider(cls) -> WatermarkEstimatorProvider:
        """A provider for the default value of `process`'s watermark estimator parameter."""
        return _StateProvider(cls)

    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Move on to the timestamp, unless it is earlier."""
        if self._watermark is None or timestamp > self._watermark:
            self._watermark = timestamp

    def current_watermark(self) -> Timestamp | None:
        """The latest timestamp seen."""
        return self._watermark

    def get_estimator_state(self) -> Timestamp | None:
        """The watermark."""
        return self._watermark


class WalltimeWatermarkEstimator(WatermarkEstimator):
    """For sources whose event time is the time of processing: the watermark is the clock's."""

    def __init__(self, timestamp: Timestamp | None = None) -> None:
        self._watermark = timestamp if timestamp is not None else processing_time.now()

    @classmethod
    def default_provider(cls) -> WatermarkEstimatorProvider:
        """A provider for the default value of `process`'s watermark estimator parameter."""
        return _StateProvider(cls)

    @does_nothing
    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Nothing: only the clock counts."""

    def current_watermark(self) -> Timestamp:
        """The time now by the run's clock, or the last answer when it has gone back."""
        self._watermark = max(self._watermark, processing_time.now())
        return self._watermark

    def get_estimator_state(self) -> Timestamp:
        """The last watermark given."""
        return self._watermark


class ManualWatermarkEstimator(WatermarkEstimator):
    """The DoFn itself sets the watermark with `set_watermark`."""

    def __init__(self, watermark: Timestamp | None) -> None:
        self._watermark = watermark

    @classmethod
    def default_provider(cls) -> WatermarkEstimatorProvider:
        """A provider for the default value of `process`'s watermark estimator parameter."""
        return _StateProvider(cls)

    @does_nothing
    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Nothing: only `set_watermark` counts."""

    def current_watermark(self) -> Timestamp | None:
        """What was set last."""
        return self._watermark

    def get_estimator_state(self) -> Timestamp | None:
        """The watermark."""
        return self._watermark

    def set_watermark(self, timestamp: Timestamp) -> None:
        """Set the watermark; ValueError when that is no Timestamp or would take it back."""
        if not isinstance(timestamp, Timestamp):
            raise ValueError(
                f"A watermark is a Timestamp; found {timestamp!r}. Write Timestamp.of({timestamp!r})."
            )
        if self._watermark is not None and timestamp < self._watermark:
            raise ValueError(
                f"The watermark must not go back; it is {self._watermark} and was to become {timestamp}."
            )
        self._watermark = timestamp


class _StateProvider(WatermarkEstimatorProvider):
    """Makes estimators of one class from their state, and starts them without one."""

    def __init__(self, estimator: type[Any]) -> None:
        self._estimator = estimator

    def initial_estimator_state(self, element: Any, restriction: Any) -> Any:
        """None: nothing is known at the start."""
        return None

    def create_watermark_estimator(self, estimator_state: Any) -> WatermarkEstimator:
        """An estimator that goes on from the state."""
        made: WatermarkEstimator = self._estimator(estimator_state)
        return made
