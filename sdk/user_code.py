"""Pickling of the author's functions, with an error that says which step and which variable cannot travel."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from hornbeam.error import TransformError
from hornbeam.utils import pickling

#: How many objects deep the search for the culprit goes.
_SEARCH_DEPTH = 6


class UserCodeError(TransformError, TypeError, RuntimeError):
    """A function or object that has to run elsewhere cannot be pickled."""


def pickle_user_code(value: Any, label: str) -> bytes:
    """The cloudpickle of a step's function; UserCodeError when it, or something it holds, cannot be pickled."""
    try:
        payload: bytes = pickling.dumps(value)
        return payload
    except Exception as error:
        raise UserCodeError(_explain(value, label, error)) from None


def _explain(value: Any, label: str, error: Exception) -> str:
    culprit = _find_culprit(value, _SEARCH_DEPTH, set())
    if culprit is None:
        return (
            f"The function of {label!r} cannot be pickled, so no runner can run it: "
            f"{type(error).__name__}: {error}."
        )
    path, held = culprit
    return (
        f"The function of {label!r} cannot be pickled, so no runner can run it: it uses {path}, of type "
        f"{type(held).__module__}.{type(held).__qualname__} ({type(error).__name__}: {error}). "
        "Make it inside the function or in DoFn.setup(), or pass what it is made of."
    )


def _find_culprit(value: Any, depth: int, seen: set[int]) -> tuple[str, Any] | None:
    """The innermost part of `value` that cannot be pickled, with what the author calls it."""
    if depth == 0 or id(value) in seen:
        return None
    seen.add(id(value))
    for name, part in _parts(value):
        try:
            pickling.dumps(part)
        except Exception:
            return _find_culprit(part, depth - 1, seen) or (name, part)
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, with a name for each part that means something to its author."""
    if isinstance(value, types.MethodType):
        yield f"the object of the method {value.__name__!r}", value.__self__
        value = value.__func__
    if isinstance(value, types.FunctionType):
        code = value.__code__
        for name, cell in zip(code.co_freevars, value.__closure__ or ()):
            try:
                yield f"the variable {name!r} (in {code.co_name} at {_position(code)})", cell.cell_contents
            except ValueError:
                continue
        for name in _global_names(code):
            if name in value.__globals__:
                yield (
                    f"the global variable {name!r} (in {code.co_name} at {_position(code)})",
                    value.__globals__[name],
                )
        for default in value.__defaults__ or ():
            yield f"a default argument of {code.co_name} at {_position(code)}", default
        return
    if isinstance(value, dict):
        yield from ((f"the item {key!r}", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"the item {index}", item) for index, item in enumerate(value))
    if isinstance(value, type | types.ModuleType):
        return
    try:
        attributes = dict(vars(value))
    except TypeError:
        attributes = {}
    for slot in (slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())):
        if hasattr(value, slot):
            attributes[slot] = getattr(value, slot)
    for name, part in attributes.items():
        yield f"the attribute {name!r} of {type(value).__name__}", part


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _position(code: types.CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"
