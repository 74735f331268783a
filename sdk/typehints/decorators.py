"""How hints are declared: decorators, methods of transforms and DoFns, and annotations."""

from __future__ import annotations

import types
from collections.abc import Callable
from inspect import Parameter
from typing import Any as AnyObject
from typing import TypeVar

from hornbeam.typehints.checks import TypeCheckError
from hornbeam.typehints.constraint import Hint
from hornbeam.typehints.io_hints import IOTypeHints, disable_type_annotations
from hornbeam.typehints.native_type_compatibility import convert_to_beam_type
from hornbeam.typehints.rules import normalize
from hornbeam.typehints.signatures import get_signature, getcallargs_forhints
from hornbeam.typehints.typehints import validate_composite_type_param

__all__ = [
    "IOTypeHints",
    "TypeCheckError",
    "WithTypeHints",
    "disable_type_annotations",
    "get_signature",
    "get_type_hints",
    "getcallargs_forhints",
    "no_annotations",
    "with_input_types",
    "with_output_types",
]

C = TypeVar("C")
WithHintsT = TypeVar("WithHintsT", bound="WithTypeHints")


def get_type_hints(fn: AnyObject) -> IOTypeHints:
    """The hints of a function, class or other callable: those declared by decorators, then its annotations.

    Of a DoFn, PTransform or CombineFn class only the declared ones, since calling it says nothing about
    elements. Lambdas, builtins and others that say nothing have empty hints.
    """
    if isinstance(fn, WithTypeHints):
        return fn.get_type_hints()
    declared = _declared_on(fn)
    if not callable(fn) or (isinstance(fn, type) and issubclass(fn, WithTypeHints)):
        return declared
    return declared.with_defaults(IOTypeHints.from_callable(fn))


def no_annotations(fn: C) -> C:
    """Decorator: the annotations of this function are not taken as type hints."""
    fn._beam_no_annotations = True  # type: ignore[attr-defined]
    return fn


class WithTypeHints:
    """Something that can be told the types of what it takes and gives: a PTransform, a DoFn, a CombineFn."""

    def __init__(self, *unused_args: AnyObject, **unused_kwargs: AnyObject) -> None:
        super().__init__()

    def get_type_hints(self) -> IOTypeHints:
        """The hints of this object: its own, then its class's, then those it knows itself."""
        own: IOTypeHints = self.__dict__.get("_type_hints", IOTypeHints.empty())
        return own.with_defaults(_declared_on(type(self))).with_defaults(self.default_type_hints())

    def default_type_hints(self) -> IOTypeHints | None:
        """The hints that hold where none are declared; for subclasses. By default there are none."""
        return None

    def with_input_types(self: WithHintsT, *arg_hints: Hint, **kwarg_hints: Hint) -> WithHintsT:
        """Declares the types of the inputs, of side inputs too, on this object. Returns it."""
        return self._set_hints(
            self._own_hints().with_input_types(*_convert(arg_hints), **_convert_all(kwarg_hints))
        )

    def with_output_types(self: WithHintsT, *arg_hints: Hint, **kwarg_hints: Hint) -> WithHintsT:
        """Declares the type of the main output, and by tag of others, on this object. Returns it."""
        return self._set_hints(
            self._own_hints().with_output_types(*_convert(arg_hints), **_convert_all(kwarg_hints))
        )

    def _own_hints(self) -> IOTypeHints:
        own: IOTypeHints = self.__dict__.get("_type_hints", IOTypeHints.empty())
        return own

    def _set_hints(self: WithHintsT, hints: IOTypeHints) -> WithHintsT:
        self.__dict__["_type_hints"] = hints
        return self


def with_input_types(*positional_hints: Hint, **keyword_hints: Hint) -> Callable[[C], C]:
    """Decorator: declares the types of a function's parameters, or of a DoFn or PTransform class's inputs.

    Positional hints go to parameters in order, without `self`; keyword hints by name::

        @with_input_types(int, scale=float)
        def times(x, scale): ...
    """
    positional, keyword = _convert(positional_hints), _convert_all(keyword_hints)

    def annotate(fn: C) -> C:
        if isinstance(fn, types.FunctionType):
            _check_parameters(fn, positional, keyword)
        return _declare(fn, _declared_on(fn, inherit=False).with_input_types(*positional, **keyword))

    return annotate


def with_output_types(*return_type_hint: Hint, **tagged_type_hints: Hint) -> Callable[[C], C]:
    """Decorator: declares the type that a function returns, or of a DoFn or PTransform class's outputs.

    One positional hint for the main output; tagged outputs by name.
    """
    if len(return_type_hint) != 1 and not (tagged_type_hints and not return_type_hint):
        raise ValueError(
            "with_output_types takes one type for the main output (Tuple[A, B] for a pair);"
            f" found {len(return_type_hint)}: {return_type_hint!r}."
        )
    main, tagged = _convert(return_type_hint), _convert_all(tagged_type_hints)

    def annotate(fn: C) -> C:
        return _declare(fn, _declared_on(fn, inherit=False).with_output_types(*main, **tagged))

    return annotate


def _declared_on(fn: AnyObject, inherit: bool = True) -> IOTypeHints:
    """The hints that decorators have put on a function or class."""
    if isinstance(fn, type) and not inherit:
        found = fn.__dict__.get("_type_hints")
    else:
        found = getattr(fn, "_type_hints", None)
    return found if isinstance(found, IOTypeHints) else IOTypeHints.empty()


def _declare(fn: C, hints: IOTypeHints) -> C:
    try:
        fn._type_hints = hints  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise TypeError(
            f"Type hints cannot be declared on {fn!r}; declare them on the transform:"
            " beam.Map(f).with_output_types(...)."
        ) from None
    return fn


def _check_parameters(fn: types.FunctionType, positional: list[Hint], keyword: dict[str, Hint]) -> None:
    parameters = get_signature(fn).parameters
    kinds = [each.kind for each in parameters.values()]
    room = kinds.count(Parameter.POSITIONAL_ONLY) + kinds.count(Parameter.POSITIONAL_OR_KEYWORD)
    if Parameter.VAR_POSITIONAL not in kinds and len(positional) > room:
        raise TypeError(
            f"with_input_types gives {len(positional)} types, but {fn.__qualname__} takes {room} arguments."
        )
    for name in keyword:
        if name not in parameters and Parameter.VAR_KEYWORD not in kinds:
            raise TypeError(
                f"with_input_types names {name!r}, but {fn.__qualname__} has no such parameter;"
                f" it has {', '.join(parameters) or 'none'}."
            )


def _checked(hint: Hint, what: str) -> Hint:
    validate_composite_type_param(hint, what)
    return normalize(convert_to_beam_type(hint), none_as_type=True)


def _convert(hints: tuple[Hint, ...]) -> list[Hint]:
    return [_checked(hint, "A type hint") for hint in hints]


def _convert_all(hints: dict[str, Hint]) -> dict[str, Hint]:
    return {name: _checked(hint, f"Type hint {name!r}") for name, hint in hints.items()}
