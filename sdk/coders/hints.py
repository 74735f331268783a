"""One form for the type hints of Python's typing and of hornbeam.typehints.

Hints of hornbeam.typehints are told by their attributes, not their classes: this package stands below that
one.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any, Final

import attrs

from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.windowed_value import WindowedValue

#: What a generic hint comes down to.
TUPLE: Final = "tuple"
TUPLE_SEQUENCE: Final = "tuple_sequence"
LIST: Final = "list"
ITERABLE: Final = "iterable"
MAP: Final = "map"
NULLABLE: Final = "nullable"
SHARDED_KEY: Final = "sharded_key"
WINDOWED_VALUE: Final = "windowed_value"
ROW: Final = "row"
OTHER: Final = "other"


@attrs.frozen
class Hint:
    """A generic hint taken apart: its kind, its parameters and the class it is of (None for a union)."""

    kind: str
    parameters: tuple[Any, ...] = ()
    origin: Any = None


_BY_ORIGIN = {
    list: LIST,
    dict: MAP,
    collections.abc.Iterable: ITERABLE,
    collections.abc.Iterator: ITERABLE,
    collections.abc.Generator: ITERABLE,
    ShardedKey: SHARDED_KEY,
    WindowedValue: WINDOWED_VALUE,
}
_BY_CONSTRAINT = {
    "TupleConstraint": TUPLE,
    "TupleSequenceConstraint": TUPLE_SEQUENCE,
    "ListConstraint": LIST,
    "DictConstraint": MAP,
    "IterableTypeConstraint": ITERABLE,
    "IteratorTypeConstraint": ITERABLE,
    "GeneratorTypeConstraint": ITERABLE,
    "UnionConstraint": NULLABLE,
    "ShardedKeyTypeConstraint": SHARDED_KEY,
    "WindowedValue": WINDOWED_VALUE,
    "RowTypeConstraint": ROW,
    "GeneratedClassRowTypeConstraint": ROW,
}


def take_apart(hint: Any) -> Hint | None:
    """The parts of a generic hint; None for a plain class, Any, a type variable and the like."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return take_apart(typing.get_args(hint)[0])
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return _union(typing.get_args(hint))
    if hint is typing.Tuple:  # noqa: UP006
        return None
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if origin is not None:
        return Hint(_BY_ORIGIN.get(origin, OTHER), typing.get_args(hint)[:2], origin)
    return _constraint(hint)


def parameters_of(hint: Any) -> tuple[Any, ...]:
    """The parameters of a generic hint; none for what takes none."""
    parts = take_apart(hint)
    return () if parts is None else parts.parameters


def first_parameter(hint: Any) -> Any:
    """The first parameter of a generic hint; Any if it has none."""
    return (parameters_of(hint) or (Any,))[0]


def _union(parameters: tuple[Any, ...]) -> Hint:
    rest = tuple(p for p in parameters if p is not type(None) and p is not None)
    if len(rest) == 1 and len(parameters) == 2:
        return Hint(NULLABLE, rest)
    return Hint(OTHER, tuple(parameters))


def _tuple(parameters: tuple[Any, ...]) -> Hint:
    if len(parameters) == 2 and parameters[1] is Ellipsis:
        return Hint(TUPLE_SEQUENCE, parameters[:1], tuple)
    return Hint(TUPLE, parameters, tuple)


def _constraint(hint: Any) -> Hint | None:
    """A constraint of hornbeam.typehints, by the name of its class."""
    kind = _BY_CONSTRAINT.get(type(hint).__name__)
    if kind is None:
        return None
    if kind == NULLABLE:
        return _union(tuple(hint.union_types))
    if kind == TUPLE:
        return _tuple(tuple(hint.tuple_types))
    if kind == MAP:
        return Hint(MAP, (hint.key_type, hint.value_type), dict)
    if kind == ROW:
        return Hint(ROW)
    for name in ("inner_type", "yielded_type", "yield_type", "key_type"):
        if hasattr(hint, name):
            return Hint(kind, (getattr(hint, name),))
    return Hint(kind, (Any,))
