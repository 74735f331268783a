"""GroupBy: groups elements by fields of theirs, and aggregates other fields."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hornbeam.transforms.combine import CombinePerKey
from hornbeam.transforms.combinefn import CombineFn
from hornbeam.transforms.fields import NamedTupleOf, field_getter, named_tuple_class
from hornbeam.transforms.group import GroupByKey
from hornbeam.transforms.hints import return_type
from hornbeam.transforms.pardo import Map
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.tuple_combine import TupleCombineFn
from hornbeam.typehints import typehints

Field = str | Callable[[Any], Any]


class GroupBy(PTransform[Any, Any]):
    """Groups elements by an attribute's name or a function: (key, elements).

    With several fields, or with names (`GroupBy(length=len)`), the key is a named tuple. `aggregate_field` replaces
    the groups by rows of key and aggregated fields.

    >>> import hornbeam as beam
    >>> groups = ["to", "be", "king"] | beam.GroupBy(len)
    >>> sorted((length, sorted(words)) for length, words in groups)
    [(2, ['be', 'to']), (4, ['king'])]
    """

    def __init__(self, *fields: Field, **kwargs: Field) -> None:
        super().__init__()
        alone = len(fields) == 1 and not kwargs
        self._force_tuple_keys = not alone
        self._key_fields: list[tuple[str, Callable[[Any], Any]]] = []
        for place, field in enumerate(fields):
            name = field if isinstance(field, str) else "key" if alone else f"key{place}"
            self._key_fields.append((name, field_getter(field, place)))
        for name, field in kwargs.items():
            self._key_fields.append((name, field_getter(field, name)))
        self._names = tuple(name.replace(".", "_") for name, _ in self._key_fields)

    def default_label(self) -> str:
        """`GroupBy(recipe, price)`."""
        return f"GroupBy({', '.join(name for name, _ in self._key_fields)})"

    def force_tuple_keys(self, value: bool = True) -> GroupBy:
        """Whether the key is a named tuple even for one field."""
        clone = copy.copy(self)
        clone._force_tuple_keys = value
        return clone

    def aggregate_field(self, field: Field, combine_fn: Any, dest: str) -> PTransform[Any, Any]:
        """Combine a field of the elements of each group into the field `dest` of its row."""
        return _GroupAndAggregate(self, ()).aggregate_field(field, combine_fn, dest)

    def _key_function(self) -> Callable[[Any], Any]:
        getters = tuple(getter for _, getter in self._key_fields)
        if not self._force_tuple_keys and len(getters) == 1:
            return getters[0]
        return NamedTupleOf("Key", self._names, getters)

    def _key_type(self, input_type: Any) -> Any:
        if not self._force_tuple_keys and len(self._key_fields) == 1:
            return return_type(self._key_fields[0][1], input_type)
        return typehints.Any

    def expand(self, pcoll: Any) -> Any:
        """A GroupByKey over the keys."""
        pair_type = typehints.KV[self._key_type(pcoll.element_type), pcoll.element_type]
        keyed = pcoll | "Key" >> Map(_WithKey(self._key_function())).with_output_types(pair_type)
        return keyed | GroupByKey()


class _WithKey:
    """A function that puts the key beside an element."""

    def __init__(self, key_of: Callable[[Any], Any]) -> None:
        self.key_of = key_of

    def __call__(self, element: Any) -> tuple[Any, Any]:
        return self.key_of(element), element


class _GroupAndAggregate(PTransform[Any, Any]):
    """A GroupBy with fields to aggregate."""

    def __init__(self, grouping: GroupBy, aggregations: tuple[tuple[Any, CombineFn, str], ...]) -> None:
        super().__init__()
        self._grouping = grouping
        self._aggregations = aggregations

    def aggregate_field(self, field: Field, combine_fn: Any, dest: str) -> PTransform[Any, Any]:
        """One more field to aggregate."""
        getter = field_getter(field, dest)
        aggregation = (getter, CombineFn.maybe_from_callable(combine_fn), dest)
        return _GroupAndAggregate(self._grouping, (*self._aggregations, aggregation))

    def default_label(self) -> str:
        """`GroupBy(recipe) aggregating total`."""
        names = ", ".join(dest for *_, dest in self._aggregations)
        return f"{self._grouping.default_label()} aggregating {names}"

    def expand(self, pcoll: Any) -> Any:
        """A CombinePerKey of all aggregated fields at once."""
        grouping = self._grouping.force_tuple_keys()
        names = grouping._names + tuple(dest for *_, dest in self._aggregations)
        combine = TupleCombineFn(*(combine_fn for _, combine_fn, _ in self._aggregations))
        key_and_values = _KeyAndValues(
            grouping._key_function(), tuple(getter for getter, _, _ in self._aggregations)
        )
        return (
            pcoll
            | "KeyAndValues" >> Map(key_and_values)
            | CombinePerKey(combine)
            | "Row" >> Map(_ResultRow(names))
        )


class _KeyAndValues:
    """A function that gives an element's key and the values that are aggregated."""

    def __init__(self, key_of: Callable[[Any], Any], getters: tuple[Callable[[Any], Any], ...]) -> None:
        self.key_of = key_of
        self.getters = getters

    def __call__(self, element: Any) -> tuple[Any, tuple[Any, ...]]:
        return self.key_of(element), tuple([getter(element) for getter in self.getters])


class _ResultRow:
    """A function from (key, aggregated values) to one row."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._make = named_tuple_class("Result", names)._make

    def __call__(self, pair: tuple[tuple[Any, ...], Any]) -> Any:
        key, values = pair
        return self._make([*key, *values])

    def __reduce__(self) -> Any:
        return _ResultRow, (self.names,)
