"""Between our hints and Python's own: the typing module, builtin generics (`list[int]`), `X | Y`."""

# ruff: noqa: UP006  (the typing forms are what this module is about)

from __future__ import annotations

import collections
import dataclasses
import logging
import types
import typing
from collections import abc
from collections.abc import Callable
from functools import partial
from typing import Any as AnyObject
from typing import Generic, TypeVar

from hornbeam.typehints.constraint import Any, Hint, TypeConstraint, TypeVariable, hint_name
from hornbeam.typehints.containers import (
    CollectionTypeConstraint,
    DequeConstraint,
    DictConstraint,
    FrozenSetTypeConstraint,
    GeneratorTypeConstraint,
    IterableTypeConstraint,
    IteratorTypeConstraint,
    ListConstraint,
    MappingTypeConstraint,
    SequenceTypeConstraint,
    SetTypeConstraint,
    TupleConstraint,
    TupleSequenceConstraint,
    WindowedValue,
)
from hornbeam.typehints.rules import BARE, normalize, set_translator
from hornbeam.typehints.sharded_key_type import ShardedKeyTypeConstraint
from hornbeam.typehints.tagged_output import TaggedOutputHint, is_tagged_output, literal_tags
from hornbeam.typehints.unions import UnionConstraint, make_union
from hornbeam.utils.sharded_key import ShardedKey

__all__ = [
    "TypedWindowedValue",
    "convert_builtin_to_typing",
    "convert_collections_to_typing",
    "convert_to_beam_type",
    "convert_to_beam_types",
    "convert_to_python_type",
    "convert_to_python_types",
    "convert_typing_to_builtin",
    "extract_optional_type",
    "hint_name",
    "is_any",
    "is_builtin",
    "is_forward_ref",
    "is_new_type",
    "is_typing_form",
    "match_dataclass_for_row",
    "match_is_named_tuple",
]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: (constraint over one hint, its builtin or abstract class, its typing form)
_SINGLE: tuple[tuple[type, AnyObject, AnyObject], ...] = (
    (ListConstraint, list, typing.List),
    (SetTypeConstraint, set, typing.Set),
    (FrozenSetTypeConstraint, frozenset, typing.FrozenSet),
    (IterableTypeConstraint, abc.Iterable, typing.Iterable),
    (IteratorTypeConstraint, abc.Iterator, typing.Iterator),
    (CollectionTypeConstraint, abc.Collection, typing.Collection),
    (SequenceTypeConstraint, abc.Sequence, typing.Sequence),
    (DequeConstraint, collections.deque, typing.Deque),
)


def _over_first(make: Callable[[Hint], Hint], args: tuple[Hint, ...]) -> Hint:
    return make(args[0])


_BY_ORIGIN: dict[AnyObject, Callable[[tuple[Hint, ...]], Hint]] = {
    **{origin: partial(_over_first, make) for make, origin, _ in _SINGLE},
    abc.Set: lambda args: CollectionTypeConstraint(args[0]),
    abc.MutableSet: lambda args: CollectionTypeConstraint(args[0]),
    abc.MutableSequence: lambda args: SequenceTypeConstraint(args[0]),
    abc.Container: lambda args: CollectionTypeConstraint(args[0]),
    abc.Reversible: lambda args: IterableTypeConstraint(args[0]),
    abc.KeysView: lambda args: CollectionTypeConstraint(args[0]),
    abc.ValuesView: lambda args: CollectionTypeConstraint(args[0]),
    abc.ItemsView: lambda args: CollectionTypeConstraint(TupleConstraint(args[0], args[1])),
    abc.Generator: lambda args: GeneratorTypeConstraint(*args),
    ShardedKey: lambda args: ShardedKeyTypeConstraint(args[0]),
    dict: lambda args: DictConstraint(args[0], args[1]),
    abc.Mapping: lambda args: MappingTypeConstraint(args[0], args[1]),
    abc.MutableMapping: lambda args: MappingTypeConstraint(args[0], args[1]),
}

_BUILTIN_TO_TYPING = {
    dict: typing.Dict,
    list: typing.List,
    tuple: typing.Tuple,
    set: typing.Set,
    frozenset: typing.FrozenSet,
    collections.deque: typing.Deque,
}

_COLLECTIONS_TO_TYPING = {
    abc.Iterable: typing.Iterable,
    abc.Iterator: typing.Iterator,
    abc.Generator: typing.Generator,
    abc.Collection: typing.Collection,
    abc.Sequence: typing.Sequence,
    abc.Set: typing.AbstractSet,
    abc.MutableSet: typing.MutableSet,
    abc.Mapping: typing.Mapping,
    collections.defaultdict: typing.DefaultDict,
    collections.OrderedDict: typing.OrderedDict,
    collections.deque: typing.Deque,
}


class TypedWindowedValue(Generic[T]):
    """The annotation `TypedWindowedValue[int]` for an element with its timestamp and windows."""

    def __init__(self, *args: AnyObject, **kwargs: AnyObject) -> None:
        raise NotImplementedError("TypedWindowedValue is an annotation; make values with WindowedValue.")


def convert_to_beam_type(typ: AnyObject) -> Hint:
    """Our hint for a hint of Python's; other values, and hints that are ours, come back as they are.

    What has no meaning for a pipeline (a forward reference, a Callable) becomes Any. A NewType is its
    supertype, a Literal the union of its values' types, a TypedDict a `Dict[str, Any]`. An application of any
    other generic class (a user's, `defaultdict`, `Counter`) is the class, so that values keep it.
    """
    bare = getattr(typ, "bare", None)
    if isinstance(typ, TypeConstraint):
        return typ
    if bare is not None and isinstance(bare, TypeConstraint):
        return bare  # List, KV, ... without parameters
    if typ is None:
        return None
    if is_any(typ):
        return Any
    if isinstance(typ, TypeVar):
        return TypeVariable(typ.__name__)
    if is_new_type(typ):
        return convert_to_beam_type(typ.__supertype__)
    if type(typ).__name__ == "TypeAliasType":  # `type Name = ...`, from Python 3.12 on
        return convert_to_beam_type(typ.__value__)
    if is_forward_ref(typ):
        _LOG.info("The type hint %r is a name that is not resolved; taken as Any.", typ)
        return Any
    if typing.is_typeddict(typ):
        return DictConstraint(str, Any)
    origin = typing.get_origin(typ)
    if origin is None:
        return _convert_bare(typ)
    return _convert_application(typ, origin)


def _convert_bare(typ: AnyObject) -> Hint:
    if isinstance(typ, type):
        return BARE.get(typ, typ) if typ.__module__ in ("builtins", "collections.abc") else typ
    if typ is typing.Callable or not is_typing_form(typ):
        return Any if is_typing_form(typ) else typ
    return Any


def _convert_application(typ: AnyObject, origin: AnyObject) -> Hint:
    args = typing.get_args(typ)
    if origin is typing.Union or origin is types.UnionType:
        return make_union(_convert_argument(arg) for arg in args)
    if origin is typing.Literal:
        return make_union(type(value) for value in args)
    if origin in (typing.Annotated, typing.ClassVar, typing.Final):
        return convert_to_beam_type(args[0])
    if origin is TypedWindowedValue:
        return WindowedValue(_convert_argument(args[0]))
    if origin is tuple:
        return BARE[tuple] if typ is typing.Tuple else _convert_tuple(args)
    if origin is type:
        return type
    if origin is abc.Callable:
        return Any
    if is_tagged_output(typ):
        return TaggedOutputHint(literal_tags(args[0]), _convert_argument(args[-1]))
    make = _BY_ORIGIN.get(origin)
    if make is not None:
        if not args:  # typing.List without parameters
            return BARE.get(origin, Any)
        return make(tuple(_convert_argument(arg) for arg in args))
    return origin if isinstance(origin, type) else Any


def _convert_tuple(args: tuple[AnyObject, ...]) -> Hint:
    if len(args) == 2 and args[1] is Ellipsis:
        return TupleSequenceConstraint(_convert_argument(args[0]))
    if not args:
        return TupleConstraint()
    return TupleConstraint(*(_convert_argument(arg) for arg in args))


def _convert_argument(arg: AnyObject) -> Hint:
    return type(None) if arg is None else normalize(convert_to_beam_type(arg), none_as_type=True)


set_translator(convert_to_beam_type)


def convert_to_beam_types(args: AnyObject) -> AnyObject:
    """`convert_to_beam_type` on each member of a list, tuple, or dict's values."""
    if isinstance(args, dict):
        return {name: convert_to_beam_type(arg) for name, arg in args.items()}
    return [convert_to_beam_type(arg) for arg in args]


def convert_to_python_type(typ: Hint) -> AnyObject:
    """The typing module's form of one of our hints; classes come back as they are."""
    if not isinstance(typ, TypeConstraint):
        return typ
    if isinstance(typ, TypeVariable):
        return TypeVar(typ.name)
    if typ == Any:
        return typing.Any
    if isinstance(typ, UnionConstraint):
        return typing.Union[tuple(map(convert_to_python_type, typ.args))]
    if isinstance(typ, TupleSequenceConstraint):
        return typing.Tuple[convert_to_python_type(typ.inner_type), ...]
    if isinstance(typ, TupleConstraint):
        return typing.Tuple[tuple(map(convert_to_python_type, typ.args)) or ()]
    if isinstance(typ, DictConstraint):
        form: AnyObject = typing.Mapping if isinstance(typ, MappingTypeConstraint) else typing.Dict
        return form[convert_to_python_type(typ.key_type), convert_to_python_type(typ.value_type)]
    if isinstance(typ, GeneratorTypeConstraint):
        form = typing.Generator
        return form[tuple(map(convert_to_python_type, typ.args))]
    if isinstance(typ, WindowedValue):
        form = TypedWindowedValue
        return form[convert_to_python_type(typ.inner_type)]
    for make, _, form in _SINGLE:
        if type(typ) is make:
            return form[convert_to_python_type(typ.inner_type)]  # type: ignore[attr-defined]
    user_type = getattr(typ, "user_type", None)
    if user_type is not None:
        return user_type
    raise ValueError(f"{typ!r} has no counterpart in the typing module.")


def convert_to_python_types(args: AnyObject) -> AnyObject:
    """`convert_to_python_type` on each member of a list, tuple, or dict's values."""
    if isinstance(args, dict):
        return {name: convert_to_python_type(arg) for name, arg in args.items()}
    return [convert_to_python_type(arg) for arg in args]


def convert_builtin_to_typing(typ: AnyObject) -> AnyObject:
    """`list[int]` as `typing.List[int]`, also inside; other hints come back as they are."""
    return _rewrite(typ, _BUILTIN_TO_TYPING)


def convert_collections_to_typing(typ: AnyObject) -> AnyObject:
    """`collections.abc.Iterable[int]` as `typing.Iterable[int]`, also inside."""
    return _rewrite(typ, _COLLECTIONS_TO_TYPING)


def convert_typing_to_builtin(typ: AnyObject) -> AnyObject:
    """`typing.List[int]` as `list[int]`, also inside; other hints come back as they are."""
    origin, args = typing.get_origin(typ), typing.get_args(typ)
    if origin is None:
        return typ
    converted = tuple(convert_typing_to_builtin(arg) for arg in args)
    if origin in _BUILTIN_TO_TYPING:
        if not args:
            return origin
        return types.GenericAlias(origin, converted)
    if origin is typing.Union:
        return typing.Union[converted]
    return typ


def _rewrite(typ: AnyObject, forms: dict[AnyObject, AnyObject]) -> AnyObject:
    origin, args = typing.get_origin(typ), typing.get_args(typ)
    if origin is None:
        return forms.get(typ, typ) if isinstance(typ, type) else typ
    if not args:
        return typ
    converted = tuple(arg if arg is Ellipsis else _rewrite(arg, forms) for arg in args)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[converted]
    form = forms.get(origin)
    if form is not None:
        return form[converted if len(converted) > 1 else converted[0]]
    return typ.copy_with(converted) if hasattr(typ, "copy_with") else typ


def extract_optional_type(user_type: AnyObject) -> AnyObject:
    """X for `Optional[X]` (ours or typing's), else None. Of a larger union X is the union without None."""
    if isinstance(user_type, UnionConstraint):
        rest = [member for member in user_type.args if member is not type(None)]
        return make_union(rest) if len(rest) < len(user_type.args) else None
    if typing.get_origin(user_type) in (typing.Union, types.UnionType):
        members = typing.get_args(user_type)
        left = tuple(member for member in members if member is not type(None))
        return typing.Union[left] if len(left) < len(members) else None
    return None


def is_any(typ: AnyObject) -> bool:
    """Whether this is `typing.Any`."""
    return typ is typing.Any


def is_builtin(typ: AnyObject) -> bool:
    """Whether this is a builtin collection, bare or with parameters, such as `list[int]`."""
    from_typing = getattr(typ, "__module__", "") == "typing"
    return not from_typing and (typing.get_origin(typ) or typ) in (dict, list, tuple, set, frozenset)


def is_forward_ref(typ: AnyObject) -> bool:
    """Whether this is a type's name in quotes."""
    return isinstance(typ, (str, typing.ForwardRef))


def is_new_type(typ: AnyObject) -> bool:
    """Whether this was made by `typing.NewType`."""
    return isinstance(typ, typing.NewType)


def is_typing_form(typ: AnyObject) -> bool:
    """Whether this is something that the typing module allows as an annotation, besides classes."""
    return (
        typing.get_origin(typ) is not None
        or is_any(typ)
        or is_new_type(typ)
        or is_forward_ref(typ)
        or isinstance(typ, TypeVar)
        or getattr(type(typ), "__module__", "") == "typing"
    )


def match_is_named_tuple(user_type: AnyObject) -> bool:
    """Whether this is a NamedTuple class that says the types of its fields."""
    return (
        isinstance(user_type, type)
        and issubclass(user_type, tuple)
        and hasattr(user_type, "_fields")
        and _is_annotated(user_type)
    )


def _is_annotated(cls: type) -> bool:
    try:
        return bool(getattr(cls, "__annotations__", None))
    except NameError:  # there are some, but they cannot be evaluated (from Python 3.14 on)
        return True


def match_dataclass_for_row(user_type: AnyObject) -> bool:
    """Whether this is a dataclass whose constructor takes all its fields, so that it can stand for a row."""
    return (
        isinstance(user_type, type)
        and dataclasses.is_dataclass(user_type)
        and all(field.init for field in dataclasses.fields(user_type))
    )
