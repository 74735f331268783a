"""Signatures of callables with their annotations resolved, and hints bound to the names of parameters."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any as AnyObject

from hornbeam.typehints.constraint import Any, Hint
from hornbeam.typehints.containers import DictConstraint, TupleSequenceConstraint
from hornbeam.typehints.native_type_compatibility import convert_to_beam_type

__all__ = ["get_signature", "getcallargs_forhints"]

_EMPTY = inspect.Parameter.empty

#: From Python 3.14 on, annotations are evaluated when asked for; names that are not there must not fail then.
_LENIENT: dict[str, AnyObject] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    _LENIENT["annotation_format"] = annotationlib.Format.FORWARDREF

#: For callables that do not tell their parameters, such as some builtins.
_UNKNOWN = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


def get_signature(fn: Callable[..., AnyObject]) -> inspect.Signature:
    """The signature of a callable. A class has its constructor's parameters and returns itself.

    Annotations in quotes (or under `from __future__ import annotations`) are resolved; one that cannot be
    resolved, such as a name that is imported for type checkers only, counts as Any. Callables that do not
    tell their parameters get `(*args, **kwargs)`.
    """
    if isinstance(fn, functools.partial):
        return _signature_of_partial(fn)
    try:
        signature = inspect.signature(fn, **_LENIENT)
    except (ValueError, TypeError):
        signature = _UNKNOWN
    if isinstance(fn, type):
        signature = signature.replace(return_annotation=fn)
    texts = [signature.return_annotation, *(each.annotation for each in signature.parameters.values())]
    if any(isinstance(annotation, str) for annotation in texts):
        scope = _scope_of(fn)
        signature = signature.replace(
            parameters=[
                parameter.replace(annotation=_resolve(parameter.annotation, scope))
                for parameter in signature.parameters.values()
            ],
            return_annotation=_resolve(signature.return_annotation, scope),
        )
    return signature


def getcallargs_forhints(
    fn: Callable[..., AnyObject], *type_args: Hint, **type_kwargs: Hint
) -> dict[str, Hint]:
    """The hint of each parameter when `fn` is called with arguments of these hints.

    A parameter without an argument has its annotation's hint, or Any. Raises TypeError when the arguments do
    not fit the parameters.
    """
    signature = get_signature(fn)
    bound = signature.bind(*type_args, **type_kwargs).arguments
    hints: dict[str, Hint] = {}
    for parameter in signature.parameters.values():
        if parameter.name in bound:
            value = bound[parameter.name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                hint: Hint = TupleSequenceConstraint(value[0] if len(set(value)) == 1 else Any)
            elif parameter.kind is parameter.VAR_KEYWORD:
                found = set(value.values())
                hint = DictConstraint(str, found.pop() if len(found) == 1 else Any)
            else:
                hint = value
        elif parameter.kind is parameter.VAR_POSITIONAL:
            hint = TupleSequenceConstraint(Any)
        elif parameter.kind is parameter.VAR_KEYWORD:
            hint = DictConstraint(str, Any)
        elif parameter.annotation is _EMPTY:
            hint = Any
        else:
            hint = convert_to_beam_type(parameter.annotation)
        hints[parameter.name] = hint
    return hints


def _signature_of_partial(fn: functools.partial[AnyObject]) -> inspect.Signature:
    inner = get_signature(fn.func)
    try:
        open_names = inspect.signature(fn, **_LENIENT).parameters
    except (ValueError, TypeError):
        return _UNKNOWN.replace(return_annotation=inner.return_annotation)
    return inspect.Signature(
        [
            parameter.replace(annotation=inner.parameters[name].annotation)
            for name, parameter in open_names.items()
        ],
        return_annotation=inner.return_annotation,
    )


def _scope_of(fn: AnyObject) -> dict[str, AnyObject]:
    """The names that a function's annotations may use: its module's, and what it closes over."""
    fn = inspect.unwrap(fn)
    if isinstance(fn, types.MethodType):
        fn = fn.__func__
    elif isinstance(fn, type):
        fn = fn.__dict__.get("__init__", fn)
    elif not isinstance(fn, types.FunctionType):
        fn = type(fn).__dict__.get("__call__", fn)
    scope: dict[str, AnyObject] = dict(getattr(fn, "__globals__", {}))
    code, cells = getattr(fn, "__code__", None), getattr(fn, "__closure__", None)
    if code is not None and cells:
        for name, cell in zip(code.co_freevars, cells):
            try:
                scope[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    return scope


def _resolve(annotation: AnyObject, scope: Mapping[str, AnyObject]) -> AnyObject:
    for _ in range(2):  # once more for quotes under `from __future__ import annotations`
        if not isinstance(annotation, str):
            break
        try:
            annotation = eval(annotation, dict(scope))
        except Exception:
            return Any
    return annotation
