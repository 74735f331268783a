"""Latest: the element with the greatest event timestamp, of everything or of each key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from hornbeam.transforms.core import CombineFn, CombinePerKey, DoFn, Map
from hornbeam.transforms.defaults import CombinerWithoutDefaults
from hornbeam.transforms.ptransform import PTransform
from hornbeam.typehints import Tuple, with_input_types, with_output_types
from hornbeam.utils.timestamp import MIN_TIMESTAMP, Timestamp

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@with_input_types(Tuple[T, Any])
@with_output_types(T)
class LatestCombineFn(CombineFn):
    """The value with the greatest timestamp among (value, timestamp) pairs, None when there are none.

    Of several with the same timestamp any one wins. Accumulator: the winning pair.
    """

    def create_accumulator(self) -> tuple[Any, Timestamp]:
        """No value, earlier than all."""
        return (None, MIN_TIMESTAMP)

    def add_input(self, accumulator: tuple[Any, Timestamp], element: tuple[Any, Timestamp]) -> Any:
        """The later of the two; of equals the new one."""
        return accumulator if accumulator[1] > element[1] else element

    def merge_accumulators(self, accumulators: Iterable[tuple[Any, Timestamp]]) -> tuple[Any, Timestamp]:
        """The latest of all that hold a value."""
        latest = self.create_accumulator()
        for accumulator in accumulators:
            if accumulator[0] is not None or accumulator[1] > MIN_TIMESTAMP:
                latest = self.add_input(latest, accumulator)
        return latest

    def extract_output(self, accumulator: tuple[Any, Timestamp]) -> Any:
        """The winning value."""
        return accumulator[0]


class Latest:
    """The element with the greatest event timestamp: of all elements, or of each key's values."""

    class Globally(CombinerWithoutDefaults):
        """The latest element; None for empty input unless without defaults.

        >>> import hornbeam as beam
        >>> from hornbeam.transforms.window import TimestampedValue
        >>> stamp = beam.Map(lambda t: TimestampedValue(f"at {t}", t))
        >>> [3, 7, 5] | (stamp | beam.combiners.Latest.Globally())
        ['at 7']
        """

        def expand(self, pcoll: Any) -> Any:
            """Pair every element with its timestamp and combine with `LatestCombineFn`."""
            stamp = Map(_with_timestamp).with_input_types(T).with_output_types(Tuple[T, Any])
            return self.combine(pcoll | "WithTimestamp" >> stamp, LatestCombineFn())

    @with_input_types(Tuple[K, V])
    @with_output_types(Tuple[K, V])
    class PerKey(PTransform[Any, Any]):
        """The latest value of each key.

        >>> import hornbeam as beam
        >>> from hornbeam.transforms.window import TimestampedValue
        >>> stamp = beam.Map(lambda t: TimestampedValue(("k", f"at {t}"), t))
        >>> [3, 7, 5] | (stamp | beam.combiners.Latest.PerKey())
        [('k', 'at 7')]
        """

        def expand(self, pcoll: Any) -> Any:
            """Pair every value with its timestamp and combine with `LatestCombineFn`."""
            stamp = Map(_value_with_timestamp).with_input_types(Tuple[K, V])
            stamped = pcoll | "WithTimestamp" >> stamp.with_output_types(Tuple[K, Tuple[V, Any]])
            return stamped | CombinePerKey(LatestCombineFn())


def _with_timestamp(element: Any, timestamp: Any = DoFn.TimestampParam) -> tuple[Any, Any]:
    return element, timestamp


def _value_with_timestamp(element: tuple[Any, Any], timestamp: Any = DoFn.TimestampParam) -> Any:
    key, value = element
    return key, (value, timestamp)
