"""The rules between any two hints: their canonical form, whether one may stand for the other, what they yield."""

from __future__ import annotations

from collections import abc
from collections.abc import Callable
from typing import Any as AnyObject

from hornbeam.typehints.constraint import Any, AnyTypeConstraint, Hint, TypeConstraint, hint_name

__all__ = ["BARE", "is_consistent_with", "normalize", "set_translator", "yielded_type"]

#: What a class without parameters says as a hint; filled by `containers`.
BARE: dict[AnyObject, TypeConstraint] = {}

_translator: list[Callable[[AnyObject], Hint]] = []


def set_translator(translate: Callable[[AnyObject], Hint]) -> None:
    """Says how hints of Python's typing become ours; called by `native_type_compatibility`."""
    _translator[:] = [translate]


def normalize(hint: Hint, none_as_type: bool = False) -> Hint:
    """The canonical form of a hint: `list` and `List` are `List[Any]`, typing's forms become ours.

    None stays None (it may mean "no hint") unless `none_as_type`.
    """
    if hint is None:
        return type(None) if none_as_type else None
    if isinstance(hint, TypeConstraint):
        return hint
    try:
        bare = BARE.get(hint)
    except TypeError:  # not hashable, so no class
        bare = None
    if bare is not None:
        return bare
    if type(hint) is type:
        return hint
    return _translator[0](hint)


def is_consistent_with(sub: Hint, base: Hint) -> bool:
    """Whether a value of hint `sub` may be used where `base` is wanted, as far as the hints tell.

    Any is consistent with everything, either way. As in PEP 484, int passes for float and both for complex.
    What is not certainly wrong is consistent.
    """
    sub = normalize(sub, none_as_type=True)
    base = normalize(base, none_as_type=True)
    if sub == base or base is object:
        return True
    if isinstance(sub, AnyTypeConstraint) or isinstance(base, AnyTypeConstraint):
        return True
    if isinstance(sub, TypeConstraint) and len(sub.members()) > 1:
        return all(is_consistent_with(member, base) for member in sub.members())
    if isinstance(base, TypeConstraint):
        return base.is_supertype_of(sub)
    if isinstance(sub, TypeConstraint):
        cls = sub.python_class()
        return cls is not None and isinstance(base, type) and issubclass(cls, base)
    if isinstance(sub, type) and isinstance(base, type):
        if base is float or base is complex:
            return issubclass(sub, (base, int, float) if base is complex else (base, int))
        return _is_subclass(sub, base)
    return True


def yielded_type(hint: Hint) -> Hint:
    """The hint of what iterating over a value gives; ValueError when it cannot be iterated over.

    A dict gives its keys, a string strings, bytes ints, a tuple the union of its places.
    """
    hint = normalize(hint, none_as_type=True)
    if isinstance(hint, AnyTypeConstraint):
        return Any
    if isinstance(hint, TypeConstraint):
        return hint.yielded_hint()
    if hint is str:
        return str
    if hint is bytes:
        return int
    if isinstance(hint, type) and (issubclass(hint, abc.Iterable) or hasattr(hint, "__getitem__")):
        return Any
    raise ValueError(f"{hint_name(hint)} is not iterable")


def _is_subclass(sub: type, base: type) -> bool:
    try:
        return issubclass(sub, base)
    except TypeError:  # a protocol that cannot be asked
        return True
