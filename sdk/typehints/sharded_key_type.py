"""The hint of `hornbeam.utils.sharded_key.ShardedKey`: a key together with a shard of it."""

from __future__ import annotations

from typing import Any as AnyObject

from hornbeam.typehints.constraint import (
    CompositeTypeHintError,
    Hint,
    ParametrizedConstraint,
    TypeVariable,
    hint_name,
    match_type_variables,
    short,
    type_check,
)
from hornbeam.typehints.rules import is_consistent_with, normalize
from hornbeam.utils.sharded_key import ShardedKey

__all__ = ["ShardedKeyType", "ShardedKeyTypeConstraint"]


class ShardedKeyTypeConstraint(ParametrizedConstraint):
    """`ShardedKeyType[str]`: sharded keys whose user keys have a hint."""

    def __init__(self, key_type: Hint) -> None:
        super().__init__(normalize(key_type, none_as_type=True))

    def __class_getitem__(cls, key_type: Hint) -> ShardedKeyTypeConstraint:
        return cls(key_type)

    @property
    def key_type(self) -> Hint:
        """The hint of the user's keys."""
        return self.args[0]

    def python_class(self) -> type:
        return ShardedKey

    def is_supertype_of(self, sub: Hint) -> bool:
        return isinstance(sub, ShardedKeyTypeConstraint) and is_consistent_with(sub.key_type, self.key_type)

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        if isinstance(concrete_type, ShardedKeyTypeConstraint):
            return match_type_variables(self.key_type, concrete_type.key_type)
        return {}

    def type_check(self, instance: AnyObject) -> None:
        if not isinstance(instance, ShardedKey):
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")
        try:
            type_check(self.key_type, instance.key)
        except TypeError as error:
            raise CompositeTypeHintError(f"the key of {self!r}: {error}") from None

    def __repr__(self) -> str:
        return f"ShardedKey[{hint_name(self.key_type)}]"


ShardedKeyType = ShardedKeyTypeConstraint
