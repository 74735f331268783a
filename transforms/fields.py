"""Field expressions: an attribute's name or a function, as GroupBy and Select take them; and their named results."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any


def field_getter(expression: Any, place: Any) -> Callable[[Any], Any]:
    """The function that a field expression stands for; TypeError when it is neither a name nor a function."""
    if isinstance(expression, str):
        return attrgetter(expression)
    if callable(expression):
        getter: Callable[[Any], Any] = expression
        return getter
    raise TypeError(
        f"The field expression {place!r} must be a function or an attribute's name; it is {expression!r} "
        f"({type(expression).__name__})."
    )


@functools.cache
def named_tuple_class(type_name: str, field_names: tuple[str, ...]) -> Any:
    """A named tuple class, the same one for the same names; its instances pickle without it."""
    made = collections.namedtuple(type_name, field_names)  # type: ignore[misc]
    made.__reduce__ = _reduce  # type: ignore[method-assign, assignment]
    made.__module__ = __name__
    return made


def _reduce(row: Any) -> Any:
    return named_tuple, (type(row).__name__, row._fields, tuple(row))


def named_tuple(type_name: str, field_names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """An instance of `named_tuple_class`; what a pickled one calls."""
    return named_tuple_class(type_name, field_names)(*values)


class NamedTupleOf:
    """A function of an element that gives the values of field expressions, as a named tuple."""

    def __init__(
        self, type_name: str, names: tuple[str, ...], getters: tuple[Callable[[Any], Any], ...]
    ) -> None:
        self.type_name = type_name
        self.names = names
        self.getters = getters
        self._make = named_tuple_class(type_name, names)._make

    def __call__(self, element: Any) -> Any:
        return self._make([getter(element) for getter in self.getters])

    def __reduce__(self) -> Any:
        return NamedTupleOf, (self.type_name, self.names, self.getters)
