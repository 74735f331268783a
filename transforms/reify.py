"""Reify: an element's timestamp and window as explicit values."""

from __future__ import annotations

from typing import Any, TypeVar

from hornbeam.transforms.core import DoFn, Map
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import TimestampedValue
from hornbeam.typehints import Tuple
from hornbeam.utils.windowed_value import WindowedValue

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
        """Emits every element as a `WindowedValue` with its timestamp, window and pane.

        As always when a step emits one, what follows sees the element, in that window.

        >>> import hornbeam as beam
        >>> ["a"] | beam.Reify.Window()
        ['a']
        """

        def expand(self, pcoll: Any) -> Any:
            """Map every element to a WindowedValue."""
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
        """(key, value) pairs as (key, WindowedValue(value, timestamp, [window], pane)).

        >>> import hornbeam as beam
        >>> [(key, value.value, value.windows) for key, value in [("a", 1)] | beam.Reify.WindowInValue()]
        [('a', 1, [GlobalWindow])]
        """

        def expand(self, pcoll: Any) -> Any:
            """Map every pair."""
            return pcoll | Map(_value_windowed).with_input_types(Tuple[K, V]).with_output_types(
                Tuple[K, WindowedValue]
            )


def _timestamped(element: Any, timestamp: Any = DoFn.TimestampParam) -> TimestampedValue[Any]:
    return TimestampedValue(element, timestamp)


def _windowed(
    element: Any,
    timestamp: Any = DoFn.TimestampParam,
    window: Any = DoFn.WindowParam,
    pane_info: Any = DoFn.PaneInfoParam,
) -> WindowedValue[Any]:
    return WindowedValue(element, timestamp, [window], pane_info)


def _value_timestamped(pair: tuple[Any, Any], timestamp: Any = DoFn.TimestampParam) -> tuple[Any, Any]:
    key, value = pair
    return key, TimestampedValue(value, timestamp)


def _value_windowed(
    pair: tuple[Any, Any],
    timestamp: Any = DoFn.TimestampParam,
    window: Any = DoFn.WindowParam,
    pane_info: Any = DoFn.PaneInfoParam,
) -> tuple[Any, Any]:
    key, value = pair
    return key, WindowedValue(value, timestamp, [window], pane_info)
