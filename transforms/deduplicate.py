"""Deduplicate: one of several equal elements, as long as they are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from hornbeam.coders import registry
from hornbeam.transforms.core import DoFn, Map, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec, StateSpec, TimerSpec, on_timer
from hornbeam.typehints import Tuple
from hornbeam.utils.timestamp import DurationTypes, micros_of

__all__ = ["Deduplicate", "DeduplicatePerKey"]

K = TypeVar("K")
V = TypeVar("V")


class DeduplicatePerKey(PTransform[Any, Any]):
    """The first pair of each key and window; those that follow are dropped for a time, after which one is let through again.

    The time counts from the pair that was let through: `processing_time_duration` seconds on the clock,
    `event_time_duration` seconds of the watermark past its timestamp; with both, whichever is over first.
    In bounded input time does not pass: there is one pair for each key and window.
    """

    def __init__(
        self,
        processing_time_duration: DurationTypes | None = None,
        event_time_duration: DurationTypes | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if processing_time_duration is None and event_time_duration is None:
            raise ValueError(f"{name} needs processing_time_duration or event_time_duration, or both.")
        for argument, duration in (
            ("processing_time_duration", processing_time_duration),
            ("event_time_duration", event_time_duration),
        ):
            if duration is not None and micros_of(duration) <= 0:
                raise ValueError(f"{name} needs {argument} to be above 0; it is {duration!r}.")
        self.processing_time_duration = processing_time_duration
        self.event_time_duration = event_time_duration

    def expand(self, pcoll: Any) -> Any:
        """A DoFn that remembers the keys it has seen."""
        first = _first_of_key(self.processing_time_duration, self.event_time_duration)
        step = ParDo(first).with_input_types(Tuple[K, V]).with_output_types(Tuple[K, V])
        return pcoll | "First of each key" >> step


class Deduplicate(DeduplicatePerKey):
    """As `DeduplicatePerKey`, for elements that are equal as a whole. Their coder must be deterministic."""

    def expand(self, pcoll: Any) -> Any:
        """Make the element the key."""
        element_type = pcoll.element_type
        keyed = Map(lambda element: (element, None)).with_output_types(Tuple[element_type, None])
        first = DeduplicatePerKey(self.processing_time_duration, self.event_time_duration)
        element = Map(lambda pair: pair[0]).with_output_types(element_type)
        return pcoll | "Element as key" >> keyed | first | "Key as element" >> element


def _first_of_key(processing: DurationTypes | None, event: DurationTypes | None) -> DoFn:
    """The DoFn; its specs say how long a key is remembered, so each has its own."""
    seen_spec: StateSpec = ReadModifyWriteStateSpec("seen", registry.get_coder(bool), ttl=processing)
    if event is None:
        return _on_the_clock(seen_spec)
    timer_spec = TimerSpec("forget", TimeDomain.WATERMARK)
    duration = event

    class FirstForAWhile(DoFn):
        """Lets a pair through if its key is not remembered; a timer makes it forget."""

        def process(
            self,
            pair: tuple[Any, Any],
            timestamp: Any = DoFn.TimestampParam,
            seen: Any = DoFn.StateParam(seen_spec),
            forget: Any = DoFn.TimerParam(timer_spec),
        ) -> Iterator[tuple[Any, Any]]:
            """The pair, or nothing."""
            if not seen.read():
                seen.write(True)
                forget.set(timestamp + duration)
                yield pair

        @on_timer(timer_spec)
        def forget(self, seen: Any = DoFn.StateParam(seen_spec)) -> None:
            """Forget the key."""
            seen.clear()

    return FirstForAWhile()


def _on_the_clock(seen_spec: StateSpec) -> DoFn:
    class First(DoFn):
        """Lets a pair through if its key is not remembered; what is remembered has a time to live."""

        def process(
            self, pair: tuple[Any, Any], seen: Any = DoFn.StateParam(seen_spec)
        ) -> Iterator[tuple[Any, Any]]:
            """The pair, or nothing."""
            if not seen.read():
                seen.write(True)
                yield pair

    return First()
