"""The hints that users write: `KV[str, int]`, `Tuple[int, ...]`, `Iterable[str]`, `Optional[float]`.

They take classes, each other, and hints of the typing module, and mean the same as typing's of the same name.
`KV[K, V]` is `Tuple[K, V]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any as AnyObject

from hornbeam.typehints import native_type_compatibility as native
from hornbeam.typehints.constraint import (
    Any,
    AnyTypeConstraint,
    CompositeTypeHintError,
    Hint,
    SimpleTypeHintError,
    TypeConstraint,
    TypeVariable,
    bind_type_variables,
    match_type_variables,
    type_check,
    visit,
)
from hornbeam.typehints.containers import (
    CollectionTypeConstraint,
    DictConstraint,
    FrozenSetTypeConstraint,
    GeneratorTypeConstraint,
    IterableTypeConstraint,
    IteratorTypeConstraint,
    ListConstraint,
    SequenceTypeConstraint,
    SetTypeConstraint,
    TupleConstraint,
    TupleSequenceConstraint,
    WindowedValue,
)
from hornbeam.typehints.rules import is_consistent_with, normalize, yielded_type
from hornbeam.typehints.unions import UnionConstraint, make_union

__all__ = [
    "Any",
    "AnyTypeConstraint",
    "Collection",
    "CollectionTypeConstraint",
    "CompositeTypeHintError",
    "Dict",
    "DictConstraint",
    "FrozenSet",
    "FrozenSetTypeConstraint",
    "Generator",
    "GeneratorTypeConstraint",
    "Iterable",
    "IterableTypeConstraint",
    "Iterator",
    "IteratorTypeConstraint",
    "KV",
    "List",
    "ListConstraint",
    "Optional",
    "Sequence",
    "SequenceTypeConstraint",
    "Set",
    "SetTypeConstraint",
    "SimpleTypeHintError",
    "Tuple",
    "TupleConstraint",
    "TupleSequenceConstraint",
    "TypeConstraint",
    "TypeVariable",
    "Union",
    "UnionConstraint",
    "WindowedValue",
    "bind_type_variables",
    "check_constraint",
    "coerce_to_kv_type",
    "get_yielded_type",
    "is_consistent_with",
    "make_union",
    "match_type_variables",
    "normalize",
    "type_check",
    "validate_composite_type_param",
    "visit",
]


def validate_composite_type_param(type_param: Hint, error_msg_prefix: str) -> None:
    """Raises TypeError, with the prefix, unless the parameter is a class or another hint."""
    if (
        type_param is None
        or isinstance(type_param, (type, TypeConstraint, _Hint))
        or native.is_typing_form(type_param)
    ):
        return
    advice = ""
    if isinstance(type_param, (list, tuple, dict, set)):
        advice = f" Write the elements' types in square brackets, as in {type(type_param).__name__}[int]."
    raise TypeError(
        f"{error_msg_prefix} must be a class or a type hint; found {type_param!r}, an instance of"
        f" {type(type_param).__name__}.{advice}"
    )


class _Hint:
    """A hint that takes parameters in square brackets; without any it means all values of its kind."""

    def __init__(self, name: str, make: Callable[..., Hint], bare: Hint, fewest: int, most: int) -> None:
        self.name = name
        self.bare = bare
        self._make = make
        self._fewest = fewest
        self._most = most

    def __getitem__(self, params: AnyObject) -> AnyObject:
        given = params if isinstance(params, tuple) else (params,)
        if not self._fewest <= len(given) <= self._most:
            wanted = str(self._fewest) if self._fewest == self._most else f"{self._fewest} to {self._most}"
            raise TypeError(f"{self.name}[...] takes {wanted} types; found {len(given)}: {params!r}.")
        return self._make(*(self._checked(param) for param in given))

    def _checked(self, param: AnyObject) -> Hint:
        validate_composite_type_param(param, f"A parameter of {self.name}[...]")
        return normalize(param, none_as_type=True)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name


class _TupleHint(_Hint):
    def __getitem__(self, params: AnyObject) -> AnyObject:
        given = params if isinstance(params, tuple) else (params,)
        if len(given) == 2 and given[1] is Ellipsis:
            return TupleSequenceConstraint(self._checked(given[0]))
        if any(param is Ellipsis for param in given):
            raise TypeError("'...' stands second and last in a tuple's hint, as in Tuple[int, ...].")
        return TupleConstraint(*(self._checked(param) for param in given))


class _UnionHint(_Hint):
    def __getitem__(self, params: AnyObject) -> AnyObject:
        given = params if isinstance(params, (tuple, set, frozenset, list)) else (params,)
        if not given:
            raise TypeError("Union[...] needs at least one type.")
        return make_union(self._checked(param) for param in given)


def _kv(key: Hint, value: Hint) -> Hint:
    return TupleConstraint(key, value)


def _optional(hint: Hint) -> Hint:
    return make_union((hint, type(None)))


Tuple = _TupleHint("Tuple", TupleConstraint, TupleSequenceConstraint(Any), 0, 1 << 30)
KV = _Hint("KV", _kv, TupleConstraint(Any, Any), 2, 2)
List = _Hint("List", ListConstraint, ListConstraint(Any), 1, 1)
Set = _Hint("Set", SetTypeConstraint, SetTypeConstraint(Any), 1, 1)
FrozenSet = _Hint("FrozenSet", FrozenSetTypeConstraint, FrozenSetTypeConstraint(Any), 1, 1)
Dict = _Hint("Dict", DictConstraint, DictConstraint(Any, Any), 2, 2)
Iterable = _Hint("Iterable", IterableTypeConstraint, IterableTypeConstraint(Any), 1, 1)
Iterator = _Hint("Iterator", IteratorTypeConstraint, IteratorTypeConstraint(Any), 1, 1)
Generator = _Hint("Generator", GeneratorTypeConstraint, GeneratorTypeConstraint(Any), 1, 3)
Collection = _Hint("Collection", CollectionTypeConstraint, CollectionTypeConstraint(Any), 1, 1)
Sequence = _Hint("Sequence", SequenceTypeConstraint, SequenceTypeConstraint(Any), 1, 1)
Union = _UnionHint("Union", make_union, Any, 1, 1 << 30)
Optional = _Hint("Optional", _optional, Any, 1, 1)


def check_constraint(type_constraint: Hint, object_instance: AnyObject) -> None:
    """Raises SimpleTypeHintError or CompositeTypeHintError unless the value fits."""
    type_check(normalize(type_constraint, none_as_type=True), object_instance)


def get_yielded_type(type_hint: Hint) -> Hint:
    """The hint of what iterating over a value gives; ValueError when it cannot be iterated over."""
    return yielded_type(type_hint)


def coerce_to_kv_type(
    element_type: Hint, label: str | None = None, side_input_producer: str | None = None
) -> Hint:
    """The pair hint of an element type; raises ValueError, naming the step, when it is certainly no pair.

    Any, and tuples of unknown length or types, become `KV[Any, Any]` or as much as is known.
    """
    consumer = f"{label!r} needs (key, value) pairs" if label else "(key, value) pairs are needed"
    source = f" from {side_input_producer!r}" if side_input_producer else ""
    hint = normalize(element_type, none_as_type=True)
    if isinstance(hint, TupleConstraint) and len(hint.args) == 2:
        return hint
    if isinstance(hint, AnyTypeConstraint):
        return KV[Any, Any]
    if isinstance(hint, TupleSequenceConstraint):
        return KV[hint.inner_type, hint.inner_type]
    if isinstance(hint, UnionConstraint):
        pairs = [coerce_to_kv_type(member, label, side_input_producer) for member in hint.args]
        return KV[make_union(pair.args[0] for pair in pairs), make_union(pair.args[1] for pair in pairs)]
    if is_consistent_with(hint, KV[Any, Any]):
        return KV[Any, Any]
    raise ValueError(
        f"{consumer}; its input{source} is {native.hint_name(hint)}."
        " Add beam.Map(lambda x: (key, x)) before it."
    )
