"""ToList, ToSet and ToDict: a whole pcollection as one Python collection."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, TypeVar

from hornbeam.transforms.core import CombineFn
from hornbeam.transforms.defaults import CombinerWithoutDefaults
from hornbeam.typehints import Dict, List, Set, Tuple, with_input_types, with_output_types

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@with_input_types(T)
@with_output_types(List[T])
class ToListCombineFn(CombineFn):
    """Collects its inputs in no particular order. Accumulator: a `list` of them."""

    def create_accumulator(self) -> list[Any]:
        """An empty list."""
        return []

    def add_input(self, accumulator: list[Any], element: Any) -> list[Any]:
        """Append in place."""
        accumulator.append(element)
        return accumulator

    def add_inputs(self, accumulator: list[Any], elements: Iterable[Any]) -> list[Any]:
        """Extend in place."""
        accumulator.extend(elements)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        """One list of all."""
        return list(chain.from_iterable(accumulators))

    def extract_output(self, accumulator: list[Any]) -> list[Any]:
        """The list."""
        return accumulator


@with_input_types(T)
@with_output_types(Set[T])
class ToSetCombineFn(CombineFn):
    """Collects its distinct inputs, which must be hashable. Accumulator: a `set` of them."""

    def create_accumulator(self) -> set[Any]:
        """An empty set."""
        return set()

    def add_input(self, accumulator: set[Any], element: Any) -> set[Any]:
        """Add in place."""
        accumulator.add(element)
        return accumulator

    def add_inputs(self, accumulator: set[Any], elements: Iterable[Any]) -> set[Any]:
        """Update in place."""
        accumulator.update(elements)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[set[Any]]) -> set[Any]:
        """The union."""
        return set().union(*accumulators)

    def extract_output(self, accumulator: set[Any]) -> set[Any]:
        """The set."""
        return accumulator


@with_input_types(Tuple[K, V])
@with_output_types(Dict[K, V])
class ToDictCombineFn(CombineFn):
    """Collects (key, value) pairs; of several values of a key any one stays. Accumulator: a `dict`."""

    def create_accumulator(self) -> dict[Any, Any]:
        """An empty dict."""
        return {}

    def add_input(self, accumulator: dict[Any, Any], element: tuple[Any, Any]) -> dict[Any, Any]:
        """Set the key in place."""
        key, value = element
        accumulator[key] = value
        return accumulator

    def add_inputs(self, accumulator: dict[Any, Any], elements: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        """Update in place."""
        accumulator.update(elements)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[Any, Any]]) -> dict[Any, Any]:
        """One dict of all."""
        result: dict[Any, Any] = {}
        for accumulator in accumulators:
            result.update(accumulator)
        return result

    def extract_output(self, accumulator: dict[Any, Any]) -> dict[Any, Any]:
        """The dict."""
        return accumulator


@with_input_types(T)
@with_output_types(List[T])
class ToList(CombinerWithoutDefaults):
    """All elements as one list, in no particular order; `[]` for empty input unless without defaults.

    >>> import hornbeam as beam
    >>> [sorted(elements) for elements in [3, 1, 2] | beam.combiners.ToList()]
    [[1, 2, 3]]
    """

    def expand(self, pcoll: Any) -> Any:
        """Combine everything with `ToListCombineFn`."""
        return self.combine(pcoll, ToListCombineFn())


@with_input_types(Tuple[K, V])
@with_output_types(Dict[K, V])
class ToDict(CombinerWithoutDefaults):
    """All (key, value) pairs as one dict; any one of a key's values; `{}` for empty input.

    >>> import hornbeam as beam
    >>> [("a", 1)] | beam.combiners.ToDict()
    [{'a': 1}]
    """

    def expand(self, pcoll: Any) -> Any:
        """Combine everything with `ToDictCombineFn`."""
        return self.combine(pcoll, ToDictCombineFn())


@with_input_types(T)
@with_output_types(Set[T])
class ToSet(CombinerWithoutDefaults):
    """All distinct elements as one set; an empty set for empty input unless without defaults.

    >>> import hornbeam as beam
    >>> [1, 1, 1] | beam.combiners.ToSet()
    [{1}]
    """

    def expand(self, pcoll: Any) -> Any:
        """Combine everything with `ToSetCombineFn`."""
        return self.combine(pcoll, ToSetCombineFn())
