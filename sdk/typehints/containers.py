"""The constraints over other hints: lists, sets, iterables, dicts, tuples, key-value pairs."""

from __future__ import annotations

from collections import abc
from typing import Any as AnyObject
from typing import ClassVar

from hornbeam.typehints.constraint import (
    Any,
    AnyTypeConstraint,
    CompositeTypeHintError,
    Hint,
    ParametrizedConstraint,
    TypeConstraint,
    TypeVariable,
    hint_name,
    match_all,
    match_type_variables,
    short,
    type_check,
)
from hornbeam.typehints.rules import BARE, is_consistent_with, normalize, yielded_type
from hornbeam.typehints.unions import make_union

__all__ = [
    "CollectionTypeConstraint",
    "DictConstraint",
    "FrozenSetTypeConstraint",
    "GeneratorTypeConstraint",
    "IterableTypeConstraint",
    "IteratorTypeConstraint",
    "ListConstraint",
    "SequenceTypeConstraint",
    "SetTypeConstraint",
    "TupleConstraint",
    "TupleSequenceConstraint",
    "WindowedValue",
]


class ItemsConstraint(ParametrizedConstraint):
    """An iterable of one kind (`python_type`) whose items all have one hint."""

    name: ClassVar[str]
    python_type: ClassVar[type]

    def __init__(self, inner_type: Hint) -> None:
        super().__init__(inner_type)

    @property
    def inner_type(self) -> Hint:
        """The hint of the items."""
        return self.args[0]

    def python_class(self) -> type:
        return self.python_type

    def yielded_hint(self) -> Hint:
        return self.inner_type

    def is_supertype_of(self, sub: Hint) -> bool:
        if isinstance(sub, type):
            # A class of the user's may hold anything; only strings are never meant as collections.
            return issubclass(sub, self.python_type) and not issubclass(sub, (str, bytes))
        kind = sub.python_class()
        if kind is None or not issubclass(kind, self.python_type):
            return False
        return is_consistent_with(yielded_type(sub), self.inner_type)

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        concrete_type = normalize(concrete_type)
        kind = concrete_type.python_class() if isinstance(concrete_type, TypeConstraint) else None
        if kind is None or not issubclass(kind, self.python_type):
            return {}
        return match_type_variables(self.inner_type, yielded_type(concrete_type))

    def type_check(self, instance: AnyObject) -> None:
        if not isinstance(instance, self.python_type):
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")
        if isinstance(instance, abc.Collection) and not isinstance(self.inner_type, AnyTypeConstraint):
            for position, item in enumerate(instance):
                _check_inside(self, f"item {position}", self.inner_type, item)

    def __repr__(self) -> str:
        return f"{self.name}[{hint_name(self.inner_type)}]"


class IterableTypeConstraint(ItemsConstraint):
    """Anything that can be iterated over."""

    name = "Iterable"
    python_type = abc.Iterable


class IteratorTypeConstraint(ItemsConstraint):
    """Something that gives its items once."""

    name = "Iterator"
    python_type = abc.Iterator

    @property
    def yielded_type(self) -> Hint:
        """The hint of the items."""
        return self.inner_type


class CollectionTypeConstraint(ItemsConstraint):
    """A sized iterable that can be asked for membership."""

    name = "Collection"
    python_type = abc.Collection


class SequenceTypeConstraint(ItemsConstraint):
    """Items that have positions: a list, a tuple, a deque is none."""

    name = "Sequence"
    python_type = abc.Sequence


class ListConstraint(ItemsConstraint):
    """A list."""

    name = "List"
    python_type = list


class SetTypeConstraint(ItemsConstraint):
    """A set."""

    name = "Set"
    python_type = set


class FrozenSetTypeConstraint(ItemsConstraint):
    """A frozen set."""

    name = "FrozenSet"
    python_type = frozenset


class DequeConstraint(ItemsConstraint):
    """A mutable sequence, as `collections.deque`."""

    name = "Deque"
    python_type = abc.MutableSequence


class GeneratorTypeConstraint(ParametrizedConstraint):
    """A generator: what it yields, what can be sent to it, and what it returns."""

    def __init__(self, yield_type: Hint, send_type: Hint = Any, return_type: Hint = Any) -> None:
        super().__init__(yield_type, send_type, return_type)

    @property
    def yielded_type(self) -> Hint:
        """The hint of what is yielded."""
        return self.args[0]

    @property
    def inner_type(self) -> Hint:
        """The hint of what is yielded."""
        return self.args[0]

    @property
    def send_type(self) -> Hint:
        """The hint of what may be sent."""
        return self.args[1]

    @property
    def return_type(self) -> Hint:
        """The hint of what the generator returns."""
        return self.args[2]

    def python_class(self) -> type:
        return abc.Generator

    def yielded_hint(self) -> Hint:
        return self.args[0]

    def is_supertype_of(self, sub: Hint) -> bool:
        if isinstance(sub, GeneratorTypeConstraint):
            return all(is_consistent_with(mine, theirs) for mine, theirs in zip(sub.args, self.args))
        return isinstance(sub, type) and issubclass(sub, abc.Generator)

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        if isinstance(concrete_type, GeneratorTypeConstraint):
            return match_all(zip(self.args, concrete_type.args))
        return {}

    def type_check(self, instance: AnyObject) -> None:
        if not isinstance(instance, abc.Generator):
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")

    def __repr__(self) -> str:
        return f"Generator[{', '.join(map(hint_name, self.args))}]"


class DictConstraint(ParametrizedConstraint):
    """A dict, or for another `python_type` a mapping, with hints of its keys and values."""

    name: ClassVar[str] = "Dict"
    python_type: ClassVar[type] = dict

    def __init__(self, key_type: Hint, value_type: Hint) -> None:
        super().__init__(key_type, value_type)

    @property
    def key_type(self) -> Hint:
        """The hint of the keys."""
        return self.args[0]

    @property
    def value_type(self) -> Hint:
        """The hint of the values."""
        return self.args[1]

    def python_class(self) -> type:
        return self.python_type

    def yielded_hint(self) -> Hint:
        return self.key_type

    def is_supertype_of(self, sub: Hint) -> bool:
        if isinstance(sub, DictConstraint):
            return issubclass(sub.python_type, self.python_type) and all(
                is_consistent_with(theirs, mine) for theirs, mine in zip(sub.args, self.args)
            )
        return isinstance(sub, type) and issubclass(sub, self.python_type)

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        concrete_type = normalize(concrete_type)
        if isinstance(concrete_type, DictConstraint):
            return match_all(zip(self.args, concrete_type.args))
        return {}

    def type_check(self, instance: AnyObject) -> None:
        if not isinstance(instance, self.python_type):
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")
        for key, value in instance.items():  # type: ignore[attr-defined]
            _check_inside(self, "a key", self.key_type, key)
            _check_inside(self, f"the value of key {key!r}", self.value_type, value)

    def __repr__(self) -> str:
        return f"{self.name}[{hint_name(self.key_type)}, {hint_name(self.value_type)}]"


class MappingTypeConstraint(DictConstraint):
    """Any mapping."""

    name = "Mapping"
    python_type = abc.Mapping


class TupleSequenceConstraint(ItemsConstraint):
    """A tuple of any length whose items have one hint: `Tuple[int, ...]`."""

    name = "Tuple"
    python_type = tuple

    def __repr__(self) -> str:
        return f"Tuple[{hint_name(self.inner_type)}, ...]"


class TupleConstraint(ParametrizedConstraint):
    """A tuple with a hint for each place: `Tuple[int, str]`, `KV[int, str]`."""

    @property
    def tuple_types(self) -> tuple[Hint, ...]:
        """The hints of the places."""
        return self.args

    def python_class(self) -> type:
        return tuple

    def yielded_hint(self) -> Hint:
        return make_union(self.args) if self.args else Any

    def is_supertype_of(self, sub: Hint) -> bool:
        if isinstance(sub, TupleConstraint):
            return len(sub.args) == len(self.args) and all(
                is_consistent_with(theirs, mine) for theirs, mine in zip(sub.args, self.args)
            )
        if isinstance(sub, TupleSequenceConstraint):
            # The length is not known, so nothing is certain but the items.
            return all(is_consistent_with(sub.inner_type, mine) for mine in self.args)
        if isinstance(sub, type) and issubclass(sub, tuple):
            fields = getattr(sub, "_fields", None)
            return fields is None or len(fields) == len(self.args)
        return False

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        concrete_type = normalize(concrete_type)
        if isinstance(concrete_type, TupleSequenceConstraint):
            return match_all((mine, concrete_type.inner_type) for mine in self.args)
        return super().match_type_variables(concrete_type)

    def type_check(self, instance: AnyObject) -> None:
        if not isinstance(instance, tuple):
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")
        if len(instance) != len(self.args):
            raise CompositeTypeHintError(
                f"expected {self!r} with {len(self.args)} items, found {len(instance)}: {short(instance)}"
            )
        for position, (hint, item) in enumerate(zip(self.args, instance)):
            _check_inside(self, f"item {position}", hint, item)

    def __repr__(self) -> str:
        return f"Tuple[{', '.join(map(hint_name, self.args)) or '()'}]"


class WindowedValue(ParametrizedConstraint):
    """An element together with its timestamp and windows: `WindowedValue[int]`."""

    def __init__(self, inner_type: Hint) -> None:
        super().__init__(normalize(inner_type))

    def __class_getitem__(cls, inner_type: Hint) -> WindowedValue:
        return cls(inner_type)

    @property
    def inner_type(self) -> Hint:
        """The hint of the element."""
        return self.args[0]

    def is_supertype_of(self, sub: Hint) -> bool:
        return isinstance(sub, WindowedValue) and is_consistent_with(sub.inner_type, self.inner_type)

    def type_check(self, instance: AnyObject) -> None:
        if not all(hasattr(instance, name) for name in ("value", "timestamp", "windows")):
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")
        _check_inside(self, "the value", self.inner_type, instance.value)

    def __repr__(self) -> str:
        return f"WindowedValue[{hint_name(self.inner_type)}]"


def _check_inside(outer: TypeConstraint, place: str, hint: Hint, value: AnyObject) -> None:
    try:
        type_check(hint, value)
    except TypeError as error:
        raise CompositeTypeHintError(f"{place} of {outer!r}: {error}") from None


BARE.update(
    {
        list: ListConstraint(Any),
        set: SetTypeConstraint(Any),
        frozenset: FrozenSetTypeConstraint(Any),
        dict: DictConstraint(Any, Any),
        tuple: TupleSequenceConstraint(Any),
        abc.Iterable: IterableTypeConstraint(Any),
        abc.Iterator: IteratorTypeConstraint(Any),
        abc.Generator: GeneratorTypeConstraint(Any),
        abc.Collection: CollectionTypeConstraint(Any),
        abc.Sequence: SequenceTypeConstraint(Any),
        abc.Mapping: MappingTypeConstraint(Any, Any),
    }
)
