"""Declared types against found ones: what can be said about a step before it runs.

`Any` is consistent with everything, so what is not certainly wrong passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from hornbeam import nested
from hornbeam.pvalue import AsSideInput, PCollection
from hornbeam.type_inference import knows_nothing
from hornbeam.typehints import typehints
from hornbeam.typehints.constraint import hint_name
from hornbeam.typehints.decorators import IOTypeHints, TypeCheckError
from hornbeam.typehints.pcoll_hints import inner_of_pcollection
from hornbeam.typehints.trivial_inference import infer_return_type

if TYPE_CHECKING:
    from hornbeam.transforms.ptransform import PTransform


def callable_hints(fn: Callable[..., Any]) -> IOTypeHints | None:
    """The hints that a function's annotations give; None without any."""
    return IOTypeHints.from_callable(fn)


def expand_hints(expand: Callable[..., Any]) -> IOTypeHints | None:
    """The element types that the annotations of an expand method give: of `PCollection[T]`, and nothing else."""
    if not getattr(expand, "__annotations__", None):
        return None
    hints = IOTypeHints.from_callable(expand)
    if hints is None:
        return None
    kept = attrs.evolve(
        hints,
        input_types=hints.input_types if _of_pcollection(hints.input_types) else None,
        output_types=hints.output_types if _of_pcollection(hints.output_types) else None,
    )
    return kept.strip_pcoll() if kept else None


def _of_pcollection(side: Any) -> bool:
    return bool(side and side[0]) and inner_of_pcollection(side[0][0]) is not None


def return_type(fn: Callable[..., Any], input_type: Any) -> Any:
    """The type of what a function returns for an element of a type, where that can be told."""
    return infer_return_type(fn, [input_type])


def yielded_type(hint: Any) -> Any:
    """The type of an iterable's items; Any where that is not known."""
    try:
        return typehints.get_yielded_type(hint)
    except ValueError:
        return typehints.Any


def tagged_output_type(transform: PTransform[Any, Any], tag: str) -> Any:
    """The declared type of a tagged output, or Any."""
    return transform.get_type_hints().tagged_output_types().get(tag, typehints.Any)


def check_declared(transform: PTransform[Any, Any], pvalueish: Any, side: str) -> None:
    """TypeCheckError when a PCollection among `pvalueish` certainly has not the declared `input` or `output` type."""
    hints = transform.get_type_hints()
    declared = hints.input_types if side == "input" else hints.output_types
    if not declared or not any(declared):
        return
    positional, named = declared
    if positional and named and side == "input":
        raise TypeCheckError(
            f"{transform.label!r} declares {side} types both by position and by name; a transform without "
            "function takes one or the other."
        )
    wanted: Any = positional[0] if len(positional) == 1 else positional or named
    for place, pcoll, hint in _pairs(pvalueish, wanted, ""):
        check_type(transform.label, pcoll.element_type, hint, f"its {side}{place}", hints)


def check_type(label: str, found: Any, expected: Any, what: str, hints: IOTypeHints | None = None) -> None:
    """TypeCheckError, naming step, expected and found, unless the types may fit."""
    if knows_nothing(found) or knows_nothing(expected):
        return
    expected = typehints.normalize(expected, none_as_type=True)
    if isinstance(expected, typehints.TypeConstraint):
        bindings = typehints.match_type_variables(expected, found)
        expected = typehints.bind_type_variables(expected, bindings)
    if typehints.is_consistent_with(found, expected):
        return
    origin = f" (declared by {', '.join(hints.origin)})" if hints is not None and hints.origin else ""
    raise TypeCheckError(
        f"Type hint violation for {label!r}: expected {hint_name(expected)}{origin}, "
        f"found {hint_name(found)} for {what}."
    )


def _pairs(pvalueish: Any, hint: Any, place: str) -> Iterator[tuple[str, PCollection[Any], Any]]:
    """Each PCollection of a structure with the hint that stands in the same place of a structure of hints."""
    if isinstance(pvalueish, PCollection):
        if not isinstance(hint, tuple | list | dict):
            yield place, pvalueish, hint
        return
    if not nested.is_structure(pvalueish):
        return
    for name, item in nested.children(pvalueish):
        inner = hint
        if isinstance(hint, dict):
            inner = hint.get(name)
        elif isinstance(hint, tuple | list):
            inner = hint[int(name)] if name.isdigit() and int(name) < len(hint) else None
        yield from _pairs(item, inner, f"{place}[{name}]")


def argument_type(argument: Any) -> Any:
    """The type of an argument of the author's: a view's, or the value's class."""
    if isinstance(argument, AsSideInput):
        return argument.element_type
    return typehints.normalize(type(argument))
