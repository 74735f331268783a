"""TypeConstraint: what every hint of ours is, and the rules between any two hints.

A *hint* is a plain class (`int`), or a TypeConstraint (`List[int]`). Hints are immutable values: equal when
they say the same, hashable, picklable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any as AnyObject
from typing import TypeVar

__all__ = [
    "Any",
    "AnyTypeConstraint",
    "CompositeTypeHintError",
    "ParametrizedConstraint",
    "SimpleTypeHintError",
    "TypeConstraint",
    "TypeVariable",
    "bind_type_variables",
    "hint_name",
    "match_type_variables",
    "type_check",
    "visit",
]

Self = TypeVar("Self", bound="ParametrizedConstraint")

#: A class, a TypeConstraint, or None.
Hint = AnyObject


class SimpleTypeHintError(TypeError):
    """A value is not an instance of the class that is its hint."""


class CompositeTypeHintError(TypeError):
    """A value, or something inside it, does not fit the constraint that is its hint."""


class TypeConstraint:
    """A set of values; more than a class can say."""

    def type_check(self, instance: AnyObject) -> None:
        """Raises SimpleTypeHintError or CompositeTypeHintError unless the value fits.

        Never consumes an iterator: what cannot be looked into twice is only checked from outside.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say how a value is checked.")

    def is_supertype_of(self, sub: Hint) -> bool:
        """Whether a value of hint `sub` (never Any, a union, or equal to this) may be used as this."""
        return False

    def members(self) -> tuple[Hint, ...]:
        """The hints of which at least one holds: of a union its members, else this one."""
        return (self,)

    def python_class(self) -> type | None:
        """A class of which all values are instances, when there is one that says more than object."""
        return None

    def yielded_hint(self) -> Hint:
        """The hint of what iterating over a value gives; ValueError when it cannot be iterated over."""
        raise ValueError(f"{self!r} is not iterable")

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        """What this hint's type variables stand for in `concrete_type`; empty where it does not match."""
        return {}

    def bind_type_variables(self, bindings: Mapping[TypeVariable, Hint]) -> Hint:
        """This hint with variables replaced; those without a binding become Any."""
        return self

    def visit(self, visitor: Callable[[Hint, AnyObject], None], visitor_arg: AnyObject) -> None:
        """Calls the visitor with this hint and every hint inside it."""
        visitor(self, visitor_arg)

    def __or__(self, other: Hint) -> Hint:
        return join(self, other)

    def __ror__(self, other: Hint) -> Hint:
        return join(other, self)


class AnyTypeConstraint(TypeConstraint):
    """Every value, and consistent with every hint."""

    def type_check(self, instance: AnyObject) -> None:
        """Takes everything."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "Any"


Any = AnyTypeConstraint()


class TypeVariable(AnyTypeConstraint):
    """A type that is not known yet; the same variable in input and output hints ties them together."""

    def __init__(self, name: str, use_name_in_eq: bool = True) -> None:
        """Variables of one name are equal unless either says `use_name_in_eq=False`."""
        self.name = name
        self.use_name_in_eq = use_name_in_eq

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        return {self: concrete_type}

    def bind_type_variables(self, bindings: Mapping[TypeVariable, Hint]) -> Hint:
        # Where bindings run in a circle, the type is not known.
        if self in bindings and bindings[self] != self:
            return bindings[self]
        return Any

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, TypeVariable)
            and self.use_name_in_eq
            and other.use_name_in_eq
            and self.name == other.name
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"TypeVariable[{self.name}]"


class ParametrizedConstraint(TypeConstraint):
    """A constraint made of other hints, its `args`; equality, binding and visiting follow from them."""

    args: tuple[Hint, ...]

    def __init__(self, *args: Hint) -> None:
        self.args = args

    def with_args(self: Self, args: Iterable[Hint]) -> Hint:
        """The same kind of constraint over other hints."""
        return type(self)(*args)

    def bind_type_variables(self, bindings: Mapping[TypeVariable, Hint]) -> Hint:
        bound = tuple(bind_type_variables(arg, bindings) for arg in self.args)
        return self if bound == self.args else self.with_args(bound)

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        if type(concrete_type) is type(self) and len(concrete_type.args) == len(self.args):
            return match_all(zip(self.args, concrete_type.args))
        return {}

    def visit(self, visitor: Callable[[Hint, AnyObject], None], visitor_arg: AnyObject) -> None:
        visitor(self, visitor_arg)
        for arg in self.args:
            visit(arg, visitor, visitor_arg)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.args))


def match_all(pairs: Iterable[tuple[Hint, Hint]]) -> dict[TypeVariable, Hint]:
    """The bindings of several (hint, concrete hint) pairs; a variable bound twice gets the union."""
    found: dict[TypeVariable, Hint] = {}
    for hint, concrete in pairs:
        for variable, bound in match_type_variables(hint, concrete).items():
            found[variable] = join(found[variable], bound) if variable in found else bound
    return found


#: Makes the union of two hints; set by `unions`.
_join: list[Callable[[Hint, Hint], Hint]] = []


def join(first: Hint, second: Hint) -> Hint:
    """The smallest hint that takes the values of both."""
    return first if first == second else _join[0](first, second)


def match_type_variables(type_constraint: Hint, concrete_type: Hint) -> dict[TypeVariable, Hint]:
    """What the variables of a hint stand for when its values have a concrete hint."""
    if isinstance(type_constraint, TypeConstraint):
        return type_constraint.match_type_variables(concrete_type)
    return {}


def bind_type_variables(type_constraint: Hint, bindings: Mapping[TypeVariable, Hint]) -> Hint:
    """A hint with its variables replaced; those without a binding become Any."""
    if isinstance(type_constraint, TypeConstraint):
        return type_constraint.bind_type_variables(bindings)
    return type_constraint


def visit(
    type_constraint: Hint, visitor: Callable[[Hint, AnyObject], None], visitor_arg: AnyObject = None
) -> None:
    """Calls the visitor with a hint and every hint inside it."""
    if isinstance(type_constraint, TypeConstraint):
        type_constraint.visit(visitor, visitor_arg)
    else:
        visitor(type_constraint, visitor_arg)


def type_check(hint: Hint, instance: AnyObject) -> None:
    """Raises SimpleTypeHintError or CompositeTypeHintError unless the value fits a hint.

    As in PEP 484, an int passes for a float, and both for a complex number.
    """
    if isinstance(hint, TypeConstraint):
        hint.type_check(instance)
        return
    if hint is None:
        hint = type(None)
    if not isinstance(hint, type) or isinstance(instance, hint):
        return
    if (hint is float and isinstance(instance, int)) or (
        hint is complex and isinstance(instance, (int, float))
    ):
        return
    raise SimpleTypeHintError(f"expected {hint_name(hint)}, found {short(instance)}")


def hint_name(hint: Hint) -> str:
    """A hint as users write it: `int`, `List[int]`, `None`."""
    if hint is None or hint is type(None):
        return "None"
    if isinstance(hint, TypeConstraint):
        return repr(hint)
    if isinstance(hint, type):
        return hint.__name__
    return repr(hint)


def short(instance: AnyObject, limit: int = 80) -> str:
    """A value and its type for a message, cut to a readable length."""
    try:
        text = repr(instance)
    except Exception as error:
        text = f"<repr failed: {type(error).__name__}>"
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return f"{text} of type {hint_name(type(instance))}"
