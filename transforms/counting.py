"""Count and Mean: how many elements there are, and their arithmetic mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from hornbeam.transforms.core import CombineFn, CombinePerKey, Map
from hornbeam.transforms.defaults import CombinerWithoutDefaults
from hornbeam.transforms.ptransform import PTransform
from hornbeam.typehints import Any as AnyHint
from hornbeam.typehints import Tuple, with_input_types, with_output_types

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@with_input_types(Any)
@with_output_types(int)
class CountCombineFn(CombineFn):
    """Counts its inputs. Accumulator: the count, an `int`."""

    def create_accumulator(self) -> int:
        """Nothing counted yet."""
        return 0

    def add_input(self, accumulator: int, element: object) -> int:
        """One more, whatever the element is."""
        return accumulator + 1

    def add_inputs(self, accumulator: int, elements: Iterable[object]) -> int:
        """As many more as there are elements; an iterator is not held in memory."""
        return accumulator + (
            len(elements) if isinstance(elements, list | tuple) else sum(1 for _ in elements)
        )

    def merge_accumulators(self, accumulators: Iterable[int]) -> int:
        """The sum of the counts."""
        return sum(accumulators)

    def extract_output(self, accumulator: int) -> int:
        """The count."""
        return accumulator


class MeanCombineFn(CombineFn):
    """The arithmetic mean of numbers, NaN when there are none. Accumulator: the tuple `(sum, count)`."""

    def create_accumulator(self) -> tuple[Any, int]:
        """A sum of 0 over 0 elements."""
        return (0, 0)

    def add_input(self, sum_count: tuple[Any, int], element: Any) -> tuple[Any, int]:
        """Add one number."""
        return sum_count[0] + element, sum_count[1] + 1

    def add_inputs(self, sum_count: tuple[Any, int], elements: Iterable[Any]) -> tuple[Any, int]:
        """Add many numbers; an iterator is not held in memory."""
        if isinstance(elements, list | tuple):
            return sum(elements, sum_count[0]), sum_count[1] + len(elements)
        for element in elements:
            sum_count = self.add_input(sum_count, element)
        return sum_count

    def merge_accumulators(self, accumulators: Iterable[tuple[Any, int]]) -> tuple[Any, int]:
        """Sums and counts, each added up."""
        total: Any = 0
        count = 0
        for part, n in accumulators:
            total += part
            count += n
        return total, count

    def extract_output(self, sum_count: tuple[Any, int]) -> Any:
        """Sum over count; a float for ints and floats."""
        total, count = sum_count
        return total / count if count else float("nan")

    def for_input_type(self, input_type: object) -> CombineFn:
        """The same for every type of number."""
        return self

    def infer_output_type(self, input_type: Any) -> Any:
        """Float for ints and floats; other numbers, such as fractions, have means of their own type."""
        return float if input_type in (int, float, bool) else AnyHint


class Count:
    """Counts elements: all of them, those of each key, or how often each element occurs."""

    class Globally(CombinerWithoutDefaults):
        """The number of elements; 0 for empty input unless without defaults.

        >>> import hornbeam as beam
        >>> ["a", "b", "a"] | beam.combiners.Count.Globally()
        [3]
        """

        def expand(self, pcoll: Any) -> Any:
            """Combine everything with `CountCombineFn`."""
            return self.combine(pcoll, CountCombineFn())

    @with_input_types(Tuple[K, V])
    @with_output_types(Tuple[K, int])
    class PerKey(PTransform[Any, Any]):
        """The number of values of each key, from (key, value) pairs.

        >>> import hornbeam as beam
        >>> sorted([("a", 1), ("b", 2), ("a", 3)] | beam.combiners.Count.PerKey())
        [('a', 2), ('b', 1)]
        """

        def expand(self, pcoll: Any) -> Any:
            """Combine the values of each key with `CountCombineFn`."""
            return pcoll | CombinePerKey(CountCombineFn())

    @with_input_types(T)
    @with_output_types(Tuple[T, int])
    class PerElement(PTransform[Any, Any]):
        """How often each element occurs, as (element, count).

        >>> import hornbeam as beam
        >>> sorted(["a", "b", "a"] | beam.combiners.Count.PerElement())
        [('a', 2), ('b', 1)]
        """

        def expand(self, pcoll: Any) -> Any:
            """Make each element a key, then count the values of each key."""
            pair = Map(pair_with_void).with_input_types(T).with_output_types(Tuple[T, None])
            return pcoll | "PairWithVoid" >> pair | CombinePerKey(CountCombineFn())


class Mean:
    """Arithmetic means: of all elements, or of the values of each key."""

    class Globally(CombinerWithoutDefaults):
        """The mean of all elements; NaN for empty input unless without defaults.

        >>> import hornbeam as beam
        >>> [1, 2, 6] | beam.combiners.Mean.Globally()
        [3.0]
        """

        def expand(self, pcoll: Any) -> Any:
            """Combine everything with `MeanCombineFn`."""
            return self.combine(pcoll, MeanCombineFn())

    class PerKey(PTransform[Any, Any]):
        """The mean of the values of each key, from (key, number) pairs.

        >>> import hornbeam as beam
        >>> sorted([("a", 1), ("b", 5), ("a", 2)] | beam.combiners.Mean.PerKey())
        [('a', 1.5), ('b', 5.0)]
        """

        def expand(self, pcoll: Any) -> Any:
            """Combine the values of each key with `MeanCombineFn`."""
            return pcoll | CombinePerKey(MeanCombineFn())


def pair_with_void(element: Any) -> tuple[Any, None]:
    """The element as the key of nothing; a planner knows the step by this function's name."""
    return element, None
