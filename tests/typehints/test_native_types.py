"""From and to Python's typing, builtin generics and unions."""

# ruff: noqa: UP006, UP045  (the typing forms are what is tested)

from __future__ import annotations

import collections
import dataclasses
import typing
from collections import abc

import pytest

from hornbeam.typehints import (
    KV,
    Any,
    Collection,
    Dict,
    FrozenSet,
    Generator,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVariable,
    Union,
    WindowedValue,
)
from hornbeam.typehints import native_type_compatibility as native
from hornbeam.typehints.native_type_compatibility import (
    TypedWindowedValue,
    convert_builtin_to_typing,
    convert_collections_to_typing,
    convert_to_beam_type,
    convert_to_beam_types,
    convert_to_python_type,
    convert_to_python_types,
    convert_typing_to_builtin,
    extract_optional_type,
)
from hornbeam.typehints.sharded_key_type import ShardedKeyType
from hornbeam.utils.sharded_key import ShardedKey

T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)


class Box(typing.Generic[T]):
    pass


class Movie(typing.TypedDict):
    name: str


class Point(typing.NamedTuple):
    x: int


@dataclasses.dataclass
class Data:
    x: int


BOTH_WAYS = [
    (typing.List[int], List[int]),
    (typing.Dict[str, typing.List[int]], Dict[str, List[int]]),
    (typing.Tuple[int, str], Tuple[int, str]),
    (typing.Tuple[int, ...], Tuple[int, ...]),
    (typing.Set[int], Set[int]),
    (typing.FrozenSet[int], FrozenSet[int]),
    (typing.Iterable[int], Iterable[int]),
    (typing.Iterator[int], Iterator[int]),
    (typing.Sequence[int], Sequence[int]),
    (typing.Collection[int], Collection[int]),
    (typing.Generator[int, str, None], Generator[int, str, None]),
    (typing.Optional[int], Optional[int]),
    (typing.Union[int, str, None], Union[int, str, None]),
    (typing.Any, Any),
    (TypedWindowedValue[int], WindowedValue[int]),
    (int, int),
    (Point, Point),
]

ONE_WAY = [
    (list[int], List[int]),
    (dict[str, list[int]], Dict[str, List[int]]),
    (tuple[int, str], Tuple[int, str]),
    (tuple[int, ...], Tuple[int, ...]),
    (tuple[()], Tuple[()]),
    (abc.Iterable[int], Iterable[int]),
    (abc.Generator[int, None, None], Generator[int, None, None]),
    (int | None, Optional[int]),
    (int | str, Union[int, str]),
    (list[int | None], List[Optional[int]]),
    (typing.List, List[Any]),
    (typing.Tuple, Tuple[Any, ...]),
    (typing.Dict, Dict[Any, Any]),
    (list, List[Any]),
    (dict, Dict[Any, Any]),
    (collections.defaultdict[str, int], collections.defaultdict),
    (collections.Counter[str], collections.Counter),
    (collections.OrderedDict[str, int], collections.OrderedDict),
    (UserId, int),
    (list[UserId], List[int]),
    (typing.Literal["a", 1], Union[str, int]),
    (typing.Literal["a", "b"], str),
    (typing.Annotated[int, "meta"], int),
    (Movie, Dict[str, Any]),
    (typing.Callable[[int], str], Any),
    (typing.Callable, Any),
    (type[int], type),
    ("Quoted", Any),
    (list["Quoted"], List[Any]),  # noqa: F821
    (Box[int], Box),
    (Box, Box),
    (T, TypeVariable("T")),
    (list[T], List[TypeVariable("T")]),
    (ShardedKey[int], ShardedKeyType[int]),
    (KV, KV[Any, Any]),
    (List[int], List[int]),
    (None, None),
    (5, 5),
]


@pytest.mark.parametrize(("python", "beam"), BOTH_WAYS + ONE_WAY)
def test_to_beam(python: object, beam: object) -> None:
    assert convert_to_beam_type(python) == beam


@pytest.mark.parametrize(("python", "beam"), BOTH_WAYS)
def test_to_python(python: object, beam: object) -> None:
    assert convert_to_python_type(beam) == python


def test_collections_of_hints() -> None:
    assert convert_to_beam_types([list[int], int]) == [List[int], int]
    assert convert_to_beam_types({"a": list[int]}) == {"a": List[int]}
    assert convert_to_python_types([List[int], int]) == [typing.List[int], int]
    assert convert_to_python_types({"a": List[int]}) == {"a": typing.List[int]}


def test_a_type_variable_becomes_one_of_typing() -> None:
    assert convert_to_python_type(TypeVariable("T")).__name__ == "T"


@pytest.mark.parametrize(
    ("builtin", "form"),
    [
        (list[int], typing.List[int]),
        (dict[str, list[int]], typing.Dict[str, typing.List[int]]),
        (tuple[int, ...], typing.Tuple[int, ...]),
        (typing.Optional[list[int]], typing.Optional[typing.List[int]]),
        (int, int),
    ],
)
def test_builtin_and_typing_forms(builtin: object, form: object) -> None:
    assert convert_builtin_to_typing(builtin) == form
    assert convert_typing_to_builtin(form) == builtin


def test_collections_forms() -> None:
    assert (
        convert_collections_to_typing(abc.Iterable[abc.Sequence[int]])
        == (typing.Iterable[typing.Sequence[int]])
    )
    assert convert_collections_to_typing(int) is int


@pytest.mark.parametrize(
    ("hint", "inner"),
    [
        (typing.Optional[int], int),
        (int | None, int),
        (Optional[int], int),
        (typing.Union[int, str, None], typing.Union[int, str]),
        (int, None),
        (list[int], None),
        (typing.Union[int, str], None),
        (Union[int, str], None),
    ],
)
def test_extract_optional_type(hint: object, inner: object) -> None:
    assert extract_optional_type(hint) == inner


def test_questions() -> None:
    assert native.is_any(typing.Any) and not native.is_any(Any)
    assert native.is_new_type(UserId) and not native.is_new_type(int)
    assert native.is_forward_ref("x") and native.is_forward_ref(typing.ForwardRef("x"))
    assert native.is_builtin(list[int]) and native.is_builtin(list)
    assert not native.is_builtin(typing.List[int]) and not native.is_builtin(int)
    assert native.match_is_named_tuple(Point) and not native.match_is_named_tuple(tuple)
    assert not native.match_is_named_tuple(collections.namedtuple("P", "x"))
    assert native.match_dataclass_for_row(Data) and not native.match_dataclass_for_row(Point)


def test_typed_windowed_value_is_no_value() -> None:
    with pytest.raises(NotImplementedError, match="annotation"):
        TypedWindowedValue()
