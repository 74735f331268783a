"""Unions: values of at least one of several hints. `Optional[X]` is a union with None."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any as AnyObject

from hornbeam.typehints import constraint
from hornbeam.typehints.constraint import (
    Any,
    AnyTypeConstraint,
    CompositeTypeHintError,
    Hint,
    ParametrizedConstraint,
    TypeVariable,
    hint_name,
    match_type_variables,
    short,
    type_check,
)
from hornbeam.typehints.rules import is_consistent_with, normalize, yielded_type

__all__ = ["UnionConstraint", "make_union"]


class UnionConstraint(ParametrizedConstraint):
    """A value of at least one of several hints. Made by `Union[...]`, which flattens and simplifies."""

    @property
    def union_types(self) -> frozenset[Hint]:
        """The members."""
        return frozenset(self.args)

    def contains_type(self, hint: Hint) -> bool:
        """Whether a hint is a member."""
        return hint in self.args

    def with_args(self, args: Iterable[Hint]) -> Hint:
        return make_union(args)

    def members(self) -> tuple[Hint, ...]:
        return self.args

    def yielded_hint(self) -> Hint:
        return make_union(yielded_type(member) for member in self.args)

    def is_supertype_of(self, sub: Hint) -> bool:
        return any(is_consistent_with(sub, member) for member in self.args)

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        plain = [member for member in self.args if not _has_variables(member)]
        open_members = [member for member in self.args if _has_variables(member)]
        candidates = concrete_type.args if isinstance(concrete_type, UnionConstraint) else (concrete_type,)
        rest = [candidate for candidate in candidates if candidate not in plain]
        if not rest:
            return {}
        found: dict[TypeVariable, Hint] = {}
        for member in open_members:
            found.update(match_type_variables(member, make_union(rest)))
        return found

    def type_check(self, instance: AnyObject) -> None:
        for member in self.args:
            try:
                type_check(member, instance)
            except TypeError:
                continue
            return
        raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnionConstraint) and self.union_types == other.union_types

    def __hash__(self) -> int:
        return hash(("Union", self.union_types))

    def __repr__(self) -> str:
        members = sorted(hint_name(member) for member in self.args)
        if len(members) == 2 and "None" in members:
            members.remove("None")
            return f"Optional[{members[0]}]"
        return f"Union[{', '.join(members)}]"


def make_union(members: Iterable[Hint]) -> Hint:
    """The union of hints: flat, without repetitions; a single member is itself, with Any it is Any."""
    flat: dict[Hint, None] = {}
    for member in members:
        member = normalize(member, none_as_type=True)
        for each in member.args if isinstance(member, UnionConstraint) else (member,):
            if isinstance(each, AnyTypeConstraint) and not isinstance(each, TypeVariable):
                return Any
            flat[each] = None
    if len(flat) == 1:
        return next(iter(flat))
    return UnionConstraint(*flat)


def _has_variables(hint: Hint) -> bool:
    found: list[Hint] = []
    constraint.visit(hint, lambda each, _: found.append(each) if isinstance(each, TypeVariable) else None)
    return bool(found)


constraint._join.append(lambda first, second: make_union((first, second)))
