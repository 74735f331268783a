"""Sample: n elements out of many, uniformly at random or just any."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from itertools import chain, islice
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

from hornbeam.transforms.core import CombineFn, CombineGlobally, CombinePerKey, FlatMap
from hornbeam.transforms.defaults import CombinerWithoutDefaults
from hornbeam.transforms.display import DisplayDataItem
from hornbeam.transforms.ptransform import PTransform
from hornbeam.typehints import List, Tuple, with_input_types, with_output_types

#: `Any`, where the class Sample.Any hides it.
Anything: TypeAlias = Any

T = TypeVar("T")
K = TypeVar("K")

#: How far a buffer may outgrow 2 * n before it is cut back to n.
BUFFER_SLACK = 8
_BY_DRAW = itemgetter(0)


@with_input_types(T)
@with_output_types(List[T])
class SampleCombineFn(CombineFn):
    """A uniform sample of n inputs without replacement (all of them when there are fewer).

    Every input draws a number and the n greatest draws win, so samples of parts merge into a sample of the
    whole. Accumulator: a `list` of at most `2 * n + BUFFER_SLACK` pairs (draw, element), in no order.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = _checked_size(n)
        self._buffer_size = 2 * n + BUFFER_SLACK
        self._random: random.Random | None = None

    def setup(self) -> None:
        """A generator of its own for each worker, seeded by the system: forked workers draw differently."""
        self._random = random.Random()

    def teardown(self) -> None:
        """Let the generator go."""
        self._random = None

    def create_accumulator(self) -> list[tuple[float, Any]]:
        """Nothing drawn yet."""
        return []

    def add_input(self, heap: list[tuple[float, Any]], element: Any) -> list[tuple[float, Any]]:
        """Draw for one element; cut back once the buffer is full."""
        heap.append(((self._random or random).random(), element))
        return self.compact(heap) if len(heap) > self._buffer_size else heap

    def add_inputs(self, heap: list[tuple[float, Any]], elements: Iterable[Any]) -> list[tuple[float, Any]]:
        """Draw for many in one pass; an iterator is not held in memory."""
        draw = (self._random or random).random
        return self.compact(chain(heap, ((draw(), element) for element in elements)))

    def merge_accumulators(self, heaps: Iterable[list[tuple[float, Any]]]) -> list[tuple[float, Any]]:
        """The greatest draws of all."""
        return self.compact(chain.from_iterable(heaps))

    def compact(self, heap: Iterable[tuple[float, Any]]) -> list[tuple[float, Any]]:
        """The n greatest draws only."""
        return heapq.nlargest(self._n, heap, key=_BY_DRAW)

    def extract_output(self, heap: list[tuple[float, Any]]) -> list[Any]:
        """The sampled elements, in random order."""
        return [element for _, element in self.compact(heap)]


@with_input_types(T)
@with_output_types(List[T])
class AnyCombineFn(CombineFn):
    """Any n of its inputs, the first it sees. Accumulator: a `list` of at most n elements."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = _checked_size(n)

    def create_accumulator(self) -> list[Any]:
        """An empty list."""
        return []

    def add_input(self, accumulator: list[Any], element: Any) -> list[Any]:
        """Keep the element while there is room."""
        if len(accumulator) < self._n:
            accumulator.append(element)
        return accumulator

    def add_inputs(self, accumulator: list[Any], elements: Iterable[Any]) -> list[Any]:
        """Keep as many as there is room for."""
        accumulator.extend(islice(elements, self._n - len(accumulator)))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        """The first n of all."""
        return list(islice(chain.from_iterable(accumulators), self._n))

    def extract_output(self, accumulator: list[Any]) -> list[Any]:
        """The elements kept."""
        return accumulator


class Sample:
    """Samples of n elements, without replacement."""

    @with_input_types(T)
    @with_output_types(List[T])
    class FixedSizeGlobally(CombinerWithoutDefaults):
        """n elements chosen uniformly at random, as one list; `[]` for empty input.

        >>> import hornbeam as beam
        >>> [len(sample) for sample in range(100) | beam.combiners.Sample.FixedSizeGlobally(5)]
        [5]
        """

        def __init__(self, n: int) -> None:
            super().__init__()
            self._n = _checked_size(n)

        def display_data(self) -> dict[str, Any]:
            """The sample's size."""
            return {"n": DisplayDataItem(self._n, label="Sample Size")}

        def default_label(self) -> str:
            """Names n: `FixedSizeGlobally(5)`."""
            return f"FixedSizeGlobally({self._n})"

        def expand(self, pcoll: Any) -> Any:
            """Combine everything with `SampleCombineFn`."""
            return self.combine(pcoll, SampleCombineFn(self._n))

    @with_input_types(Tuple[K, T])
    @with_output_types(Tuple[K, List[T]])
    class FixedSizePerKey(PTransform[Any, Any]):
        """n values of each key chosen uniformly at random, as (key, list).

        >>> import hornbeam as beam
        >>> [("a", 1), ("a", 1)] | beam.combiners.Sample.FixedSizePerKey(3)
        [('a', [1, 1])]
        """

        def __init__(self, n: int) -> None:
            super().__init__()
            self._n = _checked_size(n)

        def display_data(self) -> dict[str, Any]:
            """The sample's size."""
            return {"n": DisplayDataItem(self._n, label="Sample Size")}

        def default_label(self) -> str:
            """Names n: `FixedSizePerKey(5)`."""
            return f"FixedSizePerKey({self._n})"

        def expand(self, pcoll: Any) -> Any:
            """Combine the values of each key with `SampleCombineFn`."""
            return pcoll | CombinePerKey(SampleCombineFn(self._n))

    @with_input_types(T)
    @with_output_types(T)
    class Any(PTransform[Anything, Anything]):
        """Any n elements of each window, as elements, not as a list; all when there are fewer.

        Cheaper than a uniform sample, and it promises nothing about which elements it takes.

        >>> import hornbeam as beam
        >>> len(range(100) | beam.combiners.Sample.Any(5))
        5
        """

        def __init__(self, n: int) -> None:
            super().__init__()
            self._n = _checked_size(n)

        def display_data(self) -> dict[str, object]:
            """The sample's size."""
            return {"n": DisplayDataItem(self._n, label="Sample Size")}

        def default_label(self) -> str:
            """Names n: `Any(5)`."""
            return f"Any({self._n})"

        def expand(self, pcoll: Anything) -> Anything:
            """Collect n elements of each window, then give them back one by one."""
            chosen = pcoll | CombineGlobally(AnyCombineFn(self._n)).without_defaults()
            return chosen | "Elements" >> FlatMap(_itself).with_input_types(List[T]).with_output_types(T)


def _checked_size(n: int) -> int:
    if n < 0:
        raise ValueError(f"a sample needs a size of 0 or more, found {n}")
    return n


def _itself(elements: list[T]) -> list[T]:
    return elements
