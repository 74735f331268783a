"""Top: the n greatest or least elements, of everything or of each key."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, TypeVar

from hornbeam.transforms.core import CombineFn, CombinePerKey
from hornbeam.transforms.defaults import CombinerWithoutDefaults
from hornbeam.transforms.display import DisplayDataItem
from hornbeam.transforms.ptransform import PTransform, label_from_callable, ptransform_fn
from hornbeam.typehints import List, Tuple, with_input_types, with_output_types

T = TypeVar("T")
K = TypeVar("K")

#: How far a buffer may outgrow 2 * n before it is cut back to n.
BUFFER_SLACK = 8

Key = Callable[[Any], Any]


@with_input_types(T)
@with_output_types(List[T])
class TopCombineFn(CombineFn):
    """The n greatest elements, greatest first; with `reverse` the n least, least first.

    Elements are compared with `<`, or their keys are when `key` is given. Accumulator: a `list` of at most
    `2 * n + BUFFER_SLACK` elements in no order, among which are the n best of all that were added; so two
    accumulators merge by concatenation, and `best` cuts one back to the n best in order.
    """

    def __init__(self, n: int, key: Key | None = None, reverse: bool = False) -> None:
        if n < 0:
            raise ValueError(f"Top needs a number of elements of 0 or more, found {n}")
        super().__init__()
        self.n = n
        self.key = key
        self.reverse = reverse
        self.buffer_size = 2 * n + BUFFER_SLACK

    def display_data(self) -> dict[str, Any]:
        """n, the order, and the key function's name."""
        key = label_from_callable(self.key) if self.key else None
        return {
            "n": DisplayDataItem(self.n, label="Top N"),
            "key": DisplayDataItem(key, label="Key").drop_if_none(),
            "reverse": DisplayDataItem(self.reverse, label="Smallest first").drop_if_default(False),
        }

    def best(self, elements: Iterable[Any]) -> list[Any]:
        """The n best of `elements`, best first; of equal ones the earlier comes first."""
        if isinstance(elements, list) and len(elements) <= self.buffer_size:
            return sorted(elements, key=self.key, reverse=not self.reverse)[: self.n]
        choose = heapq.nsmallest if self.reverse else heapq.nlargest
        return choose(self.n, elements, key=self.key)

    def create_accumulator(self, *args: Any, **kwargs: Any) -> list[Any]:
        """An empty buffer."""
        return []

    def add_input(self, mutable_accumulator: list[Any], element: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Append; cut back once the buffer is full."""
        mutable_accumulator.append(element)
        full = len(mutable_accumulator) > self.buffer_size
        return self.best(mutable_accumulator) if full else mutable_accumulator

    def add_inputs(
        self, mutable_accumulator: list[Any], elements: Iterable[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Append a few, or choose from many in one pass; an iterator is not held in memory."""
        if isinstance(elements, list) and len(mutable_accumulator) + len(elements) <= self.buffer_size:
            mutable_accumulator.extend(elements)
            return mutable_accumulator
        return self.best(chain(mutable_accumulator, elements))

    def merge_accumulators(self, accumulators: Iterable[list[Any]], *args: Any, **kwargs: Any) -> list[Any]:
        """All buffers in one, cut back whenever it is full."""
        merged: list[Any] = []
        for accumulator in accumulators:
            merged = self.add_inputs(merged, accumulator)
        return merged

    def compact(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """The n best only."""
        return accumulator if len(accumulator) <= self.n else self.best(accumulator)

    def extract_output(self, accumulator: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """The n best, best first."""
        return self.best(accumulator)


class Largest(TopCombineFn):
    """The n greatest elements, greatest first, for use in a combine: `CombineGlobally(Largest(3))`."""

    def __init__(self, n: int) -> None:
        super().__init__(n)

    def default_label(self) -> str:
        """`Largest(n)`."""
        return f"Largest({self.n})"


class Smallest(TopCombineFn):
    """The n least elements, least first, for use in a combine: `CombineGlobally(Smallest(3))`."""

    def __init__(self, n: int) -> None:
        super().__init__(n, reverse=True)

    def default_label(self) -> str:
        """`Smallest(n)`."""
        return f"Smallest({self.n})"


class Top:
    """The n greatest or least elements, as one list, best first.

    `key` maps an element to what is compared; `reverse` orders from least to greatest.
    """

    @with_input_types(T)
    @with_output_types(List[T])
    class Of(CombinerWithoutDefaults):
        """The n greatest elements (with `reverse` the n least) as one list; `[]` for empty input.

        >>> import hornbeam as beam
        >>> ["fig", "pear", "banana"] | beam.combiners.Top.Of(2, key=len)
        [['banana', 'pear']]
        """

        def __init__(self, n: int, key: Key | None = None, reverse: bool = False) -> None:
            super().__init__()
            self._fn = TopCombineFn(n, key, reverse)

        def default_label(self) -> str:
            """Names n: `Top(3)`."""
            return f"Top({self._fn.n})"

        def display_data(self) -> dict[str, Any]:
            """What the combine function shows."""
            return self._fn.display_data()

        def expand(self, pcoll: Any) -> Any:
            """Combine everything with `TopCombineFn`."""
            return self.combine(pcoll, self._fn)

    @with_input_types(Tuple[K, T])
    @with_output_types(Tuple[K, List[T]])
    class PerKey(PTransform[Any, Any]):
        """The n greatest values of each key (with `reverse` the n least), as (key, list).

        >>> import hornbeam as beam
        >>> sorted([("a", 1), ("a", 3), ("a", 2), ("b", 9)] | beam.combiners.Top.PerKey(2))
        [('a', [3, 2]), ('b', [9])]
        """

        def __init__(self, n: int, key: Key | None = None, reverse: bool = False) -> None:
            super().__init__()
            self._fn = TopCombineFn(n, key, reverse)

        def default_label(self) -> str:
            """Names n: `TopPerKey(3)`."""
            return f"TopPerKey({self._fn.n})"

        def display_data(self) -> dict[str, Any]:
            """What the combine function shows."""
            return self._fn.display_data()

        def expand(self, pcoll: Any) -> Any:
            """Combine the values of each key with `TopCombineFn`."""
            return pcoll | CombinePerKey(self._fn)

    @staticmethod
    @ptransform_fn
    def Largest(pcoll: Any, n: int, has_defaults: bool = True, key: Key | None = None) -> Any:
        """The n greatest elements as one list, greatest first.

        >>> import hornbeam as beam
        >>> [3, 9, 4, 1] | beam.combiners.Top.Largest(2)
        [[9, 4]]
        """
        return pcoll | Top.Of(n, key).with_defaults(has_defaults)

    @staticmethod
    @ptransform_fn
    def Smallest(pcoll: Any, n: int, has_defaults: bool = True, key: Key | None = None) -> Any:
        """The n least elements as one list, least first.

        >>> import hornbeam as beam
        >>> [3, 9, 4, 1] | beam.combiners.Top.Smallest(2)
        [[1, 3]]
        """
        return pcoll | Top.Of(n, key, reverse=True).with_defaults(has_defaults)

    @staticmethod
    @ptransform_fn
    def LargestPerKey(pcoll: Any, n: int, key: Key | None = None) -> Any:
        """The n greatest values of each key, greatest first.

        >>> import hornbeam as beam
        >>> [("a", 1), ("a", 3), ("a", 2)] | beam.combiners.Top.LargestPerKey(1)
        [('a', [3])]
        """
        return pcoll | Top.PerKey(n, key)

    @staticmethod
    @ptransform_fn
    def SmallestPerKey(pcoll: Any, n: int, *, key: Key | None = None) -> Any:
        """The n least values of each key, least first.

        >>> import hornbeam as beam
        >>> [("a", 1), ("a", 3), ("a", 2)] | beam.combiners.Top.SmallestPerKey(1)
        [('a', [1])]
        """
        return pcoll | Top.PerKey(n, key, reverse=True)
