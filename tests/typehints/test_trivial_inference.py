"""Types told from values, builtins and annotations."""

from __future__ import annotations

import functools
import operator
import typing
from collections.abc import Callable

import pytest

from hornbeam.typehints import (
    Any,
    Collection,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Optional,
    Set,
    Tuple,
    Union,
    with_output_types,
)
from hornbeam.typehints.row_type import RowTypeConstraint
from hornbeam.typehints.trivial_inference import (
    element_type,
    infer_return_type,
    instance_to_type,
    key_value_types,
    union,
)

T = typing.TypeVar("T")


class Point(typing.NamedTuple):
    x: int
    name: str


def _first(items: typing.Sequence[T]) -> T:
    return items[0]


def _swap(pair: tuple[T, str]) -> tuple[str, T]:
    return pair[1], pair[0]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (None, type(None)),
        (True, bool),
        (1, int),
        ("a", str),
        ([1, 2], List[int]),
        ([1, "a", 2], List[Union[int, str]]),
        ([], List[Any]),
        ((1, "a"), Tuple[int, str]),
        ((), Tuple[()]),
        ({1}, Set[int]),
        (frozenset("a"), FrozenSet[str]),
        ({"a": 1, "b": None}, Dict[str, Optional[int]]),
        ({}, Dict[Any, Any]),
        ([(1, "a"), (2, "b")], List[Tuple[int, str]]),
        ([[1], ["a"]], List[Union[List[int], List[str]]]),
        (Point(1, "a"), Point),
    ],
)
def test_instance_to_type(value: object, hint: object) -> None:
    assert instance_to_type(value) == hint


def test_element_and_pair_types() -> None:
    assert element_type(List[int]) is int
    assert element_type(int) == Any
    assert key_value_types(Tuple[int, str]) == (int, str)
    assert key_value_types(Dict[int, str]) == (int, str)
    assert key_value_types(int) == (Any, Any)
    assert union(int, str) == Union[int, str]


@pytest.mark.parametrize(
    ("fn", "inputs", "hint"),
    [
        (len, [List[int]], int),
        (str, [int], str),
        (int, [str], int),
        (float, [str], float),
        (bool, [Any], bool),
        (repr, [Any], str),
        (str.split, [str], List[str]),
        (str.upper, [str], str),
        (str.encode, [str], bytes),
        (bytes.decode, [bytes], str),
        (str.isalpha, [str], bool),
        (str.partition, [str, str], Tuple[str, str, str]),
        (" ".join, [List[str]], Any),
        (list, [Iterable[int]], List[int]),
        (set, [Tuple[int, str]], Set[Union[int, str]]),
        (tuple, [List[int]], Tuple[int, ...]),
        (tuple, [Tuple[int, str]], Tuple[int, str]),
        (dict, [List[Tuple[str, int]]], Dict[str, int]),
        (sorted, [Set[str]], List[str]),
        (sum, [Iterable[int]], int),
        (sum, [Iterable[bool]], int),
        (sum, [Iterable[float]], Union[int, float]),
        (sum, [Any], Any),
        (min, [Iterable[str]], str),
        (max, [int, int], int),
        (abs, [int], int),
        (round, [float], int),
        (enumerate, [List[str]], Iterator[Tuple[int, str]]),
        (zip, [List[int], List[str]], Iterator[Tuple[int, str]]),
        (reversed, [List[int]], Iterator[int]),
        (any, [List[bool]], bool),
        (dict.items, [Dict[str, int]], Collection[Tuple[str, int]]),
        (dict.get, [Dict[str, int], str], Optional[int]),
        (Point, [int, str], Point),
        (operator.itemgetter(1), [Tuple[int, str]], str),
        (operator.itemgetter(0, 1), [Tuple[int, str]], Tuple[int, str]),
        (operator.itemgetter(5), [Tuple[int, str]], Any),
        (operator.itemgetter("k"), [Dict[str, int]], int),
        (operator.attrgetter("x"), [Point], int),
        (operator.attrgetter("x", "name"), [RowTypeConstraint.from_user_type(Point)], Tuple[int, str]),
        (operator.attrgetter("other"), [Point], Any),
        (_first, [List[int]], int),
        (_first, [Any], Any),
        (_swap, [Tuple[int, str]], Tuple[str, int]),
        (functools.partial(_swap), [Tuple[int, str]], Tuple[str, int]),
        (functools.partial(round), [float], int),
        (with_output_types(int)(lambda x: x), [Any], int),
        (lambda x: x, [int], Any),
        (print, [Any], Any),
        (map, [Any], Any),
    ],
)
def test_infer_return_type(fn: Callable[..., object], inputs: list, hint: object) -> None:
    assert infer_return_type(fn, inputs) == hint
