"""Reify: an element's timestamp and window as explicit values."""

from __future__ import annotations

from typing import Any, TypeVar

from hornbeam.transforms.core import DoFn, Map
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import BoundedWindow, TimestampedValue
from hornbeam.typehints import Tuple
from hornbeam.utils.timestamp import Timestamp as TimestampType

K = TypeVar("K")
V = TypeVar("V")


class Reify:
    """Transforms that wrap elements, or the values of pairs, with what is known of their time."""

    class Timestamp(PTransform[Any, Any]):
        """Emits every element as a `TimestampedValue` with its timestamp.

        As always when a step emits one, what follows sees the element, with that timestamp.

        >>> import hornbeam as beam
        >>> ["a"] | beam.Reify.Timestamp()
        ['a']
        """

        def expand(self, pcoll: Any) -> Any:
            """Map every element to a TimestampedValue."""
            return pcoll | Map(_timestamped)

    class Window(PTransform[Any, Any]):
        """Every element as (element, timestamp, window).

        >>> import hornbeam as beam
        >>> at_five = beam.Map(lambda element: TimestampedValue(element, 5))
        >>> ["a"] | (at_five | beam.Reify.Window())
        [('a', Timestamp(5), GlobalWindow)]
        """

        def expand(self, pcoll: Any) -> Any:
            """Map every element to the three."""
            return pcoll | Map(_windowed)

    class TimestampInValue(PTransform[Any, Any]):
        """(key, value) pairs as (key, TimestampedValue(value, timestamp)).

        >>> import hornbeam as beam
        >>> at_five = beam.Map(lambda pair: TimestampedValue(pair, 5))
        >>> [("a", 1)] | (at_five | beam.Reify.TimestampInValue())
        [('a', TimestampedValue(1, Timestamp(5)))]
        """

        def expand(self, pcoll: Any) -> Any:
            """Map every pair."""
            return pcoll | Map(_value_timestamped).with_input_types(Tuple[K, V]).with_output_types(
                Tuple[K, TimestampedValue]
            )

    class WindowInValue(PTransform[Any, Any]):
        """(key, value) pairs as (key, (value, timestamp, window)).

        >>> import hornbeam as beam
        >>> at_five = beam.Map(lambda pair: TimestampedValue(pair, 5))
        >>> [("a", 1)] | (at_five | beam.Reify.WindowInValue())
        [('a', (1, Timestamp(5), GlobalWindow))]
        """

        def expand(self, pcoll: Any) -> Any:
            """Map every pair."""
            return pcoll | Map(_value_windowed).with_input_types(Tuple[K, V]).with_output_types(
                Tuple[K, Tuple[V, TimestampType, BoundedWindow]]
            )


def _timestamped(element: Any, timestamp: Any = DoFn.TimestampParam) -> TimestampedValue[Any]:
    return TimestampedValue(element, timestamp)


def _windowed(
    element: Any, timestamp: Any = DoFn.TimestampParam, window: Any = DoFn.WindowParam
) -> tuple[Any, Any, Any]:
    return element, timestamp, window


def _value_timestamped(pair: tuple[Any, Any], timestamp: Any = DoFn.TimestampParam) -> tuple[Any, Any]:
    key, value = pair
    return key, TimestampedValue(value, timestamp)


def _value_windowed(
    pair: tuple[Any, Any], timestamp: Any = DoFn.TimestampParam, window: Any = DoFn.WindowParam
) -> tuple[Any, tuple[Any, Any, Any]]:
    key, value = pair
    return key, (value, timestamp, window)
