"""Hints as values: how they are written, shown, compared, normalised; consistency; type variables."""

from __future__ import annotations

import collections
import pickle
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
    typehints,
)
from hornbeam.typehints.sharded_key_type import ShardedKeyType
from hornbeam.typehints.typehints import (
    bind_type_variables,
    coerce_to_kv_type,
    get_yielded_type,
    is_consistent_with,
    match_type_variables,
    normalize,
)

T, K, V = TypeVariable("T"), TypeVariable("K"), TypeVariable("V")


class Animal:
    pass


class Cat(Animal):
    pass


class Pair(typing.NamedTuple):
    key: str
    value: int


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        (Any, "Any"),
        (List[int], "List[int]"),
        (Tuple[int, str], "Tuple[int, str]"),
        (Tuple[int, ...], "Tuple[int, ...]"),
        (Tuple[()], "Tuple[()]"),
        (KV[str, List[int]], "Tuple[str, List[int]]"),
        (Dict[str, Any], "Dict[str, Any]"),
        (Optional[int], "Optional[int]"),
        (Union[str, int], "Union[int, str]"),
        (Union[str, int, None], "Union[None, int, str]"),
        (Set[int], "Set[int]"),
        (FrozenSet[int], "FrozenSet[int]"),
        (Iterable[Cat], "Iterable[Cat]"),
        (Iterator[int], "Iterator[int]"),
        (Generator[int], "Generator[int, Any, Any]"),
        (Generator[int, str, None], "Generator[int, str, None]"),
        (Sequence[int], "Sequence[int]"),
        (Collection[int], "Collection[int]"),
        (WindowedValue[int], "WindowedValue[int]"),
        (ShardedKeyType[int], "ShardedKey[int]"),
        (List, "List"),
        (T, "TypeVariable[T]"),
    ],
)
def test_hints_show_as_they_are_written(hint: object, shown: str) -> None:
    assert repr(hint) == shown
    twin = pickle.loads(pickle.dumps(hint))
    assert twin == hint and hash(twin) == hash(hint)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Union[int, str], Union[str, int]),
        (Union[int], int),
        (Union[int, Union[str, None]], Union[int, str, None]),
        (Optional[int], Union[int, None]),
        (Union[int, Any], Any),
        (KV[int, str], Tuple[int, str]),
        (List[list[int]], List[List[int]]),
        (List[list[int]], List[List[int]]),
        (List[List], List[List[Any]]),
        (WindowedValue(int), WindowedValue[int]),
        (TypeVariable("T"), T),
        (List[int] | None, Optional[List[int]]),
        (int | List[int], Union[int, List[int]]),
    ],
)
def test_equal_hints(one: object, other: object) -> None:
    assert one == other and hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (List[int], Set[int]),
        (List[int], List[str]),
        (Iterable[int], List[int]),
        (Tuple[int], Tuple[int, ...]),
        (Tuple[int, int], Tuple[int, int, int]),
        (T, Any),
        (T, K),
        (TypeVariable("T", use_name_in_eq=False), T),
    ],
)
def test_different_hints(one: object, other: object) -> None:
    assert one != other


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda: List[5], r"A parameter of List\[...\] must be a class or a type hint; found 5"),
        (lambda: List[[int]], r"as in list\[int\]"),
        (lambda: KV[int], r"KV\[...\] takes 2 types; found 1"),
        (lambda: Dict[int, str, str], r"Dict\[...\] takes 2 types; found 3"),
        (lambda: Generator[int, int, int, int], "takes 1 to 3 types"),
        (lambda: Tuple[..., int], "second and last"),
        (lambda: Tuple[int, str, ...], "second and last"),
        (lambda: Union[()], "at least one"),
    ],
)
def test_mistakes_in_hints(write: typing.Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        write()


@pytest.mark.parametrize(
    ("hint", "normal"),
    [
        (None, None),
        (int, int),
        (list, List[Any]),
        (List, List[Any]),
        (list, List[Any]),
        (dict, Dict[Any, Any]),
        (tuple, Tuple[Any, ...]),
        (KV, KV[Any, Any]),
        (set, Set[Any]),
        (abc.Iterable, Iterable[Any]),
        (int | None, Optional[int]),
        (Cat, Cat),
        (Pair, Pair),
    ],
)
def test_normalize(hint: object, normal: object) -> None:
    assert normalize(hint) == normal


def test_none_can_be_a_type() -> None:
    assert normalize(None, none_as_type=True) is type(None)


CONSISTENT = [
    (int, int),
    (Cat, Animal),
    (bool, int),
    (int, float),
    (int, complex),
    (float, complex),
    (int, object),
    (List[int], object),
    (Any, int),
    (int, Any),
    (int, T),
    (T, int),
    (List[Any], List[int]),
    (List[Cat], List[Animal]),
    (List[int], list),
    (list, List[int]),
    (List[int], Iterable[int]),
    (List[int], Sequence[float]),
    (List[int], Collection[int]),
    (Set[int], Iterable[int]),
    (Set[int], Collection[int]),
    (Dict[str, int], Iterable[str]),
    (Generator[int], Iterator[int]),
    (Iterator[int], Iterable[int]),
    (Tuple[int, int], Iterable[int]),
    (Tuple[int, int], Tuple[int, ...]),
    (Tuple[int, ...], Sequence[int]),
    (Tuple[int, ...], Tuple[int, int]),
    (Tuple[int, str], KV[Any, Any]),
    (Tuple[Cat, int], Tuple[Animal, float]),
    (Pair, KV[Any, Any]),
    (Pair, tuple),
    (Tuple[int, int], tuple),
    (Dict[str, int], dict),
    (Dict[str, int], typing.Mapping[str, int]),
    (Union[int, str], Union[str, int, float]),
    (int, Union[int, str]),
    (int, Optional[int]),
    (type(None), Optional[int]),
    (None, Optional[int]),
    (Union[Cat, Animal], Animal),
    (list[int], Iterable[int]),
    (collections.OrderedDict, Dict[str, int]),
    (WindowedValue[int], WindowedValue[float]),
    (ShardedKeyType[int], ShardedKeyType[int]),
    (collections.deque, Iterable[int]),
]

INCONSISTENT = [
    (int, str),
    (float, int),
    (complex, float),
    (Animal, Cat),
    (List[int], List[str]),
    (List[int], int),
    (int, List[int]),
    (List[int], Set[int]),
    (Iterable[int], List[int]),
    (Set[int], Sequence[int]),
    (str, Iterable[str]),
    (bytes, Sequence[int]),
    (int, KV[Any, Any]),
    (str, KV[Any, Any]),
    (Tuple[int, int, int], KV[Any, Any]),
    (Tuple[int, str], Tuple[int, int]),
    (Tuple[int, str], Tuple[int, ...]),
    (Dict[str, int], Dict[str, str]),
    (Union[int, str], int),
    (Optional[int], int),
    (float, Union[int, str]),
    (None, int),
    (WindowedValue[int], int),
    (int, WindowedValue[int]),
    (ShardedKeyType[int], ShardedKeyType[str]),
    (typing.Mapping[str, int], Dict[str, int]),
]


@pytest.mark.parametrize(("sub", "base"), CONSISTENT)
def test_consistent(sub: object, base: object) -> None:
    assert is_consistent_with(sub, base)


@pytest.mark.parametrize(("sub", "base"), INCONSISTENT)
def test_inconsistent(sub: object, base: object) -> None:
    assert not is_consistent_with(sub, base)


@pytest.mark.parametrize(
    ("hint", "item"),
    [
        (List[int], int),
        (Iterable[Tuple[int, str]], Tuple[int, str]),
        (Generator[int, None, str], int),
        (Dict[str, int], str),
        (Tuple[int, str], Union[int, str]),
        (Tuple[int, ...], int),
        (Tuple[()], Any),
        (Union[List[int], Set[str]], Union[int, str]),
        (str, str),
        (bytes, int),
        (Any, Any),
        (T, Any),
        (collections.deque, Any),
    ],
)
def test_yielded_type(hint: object, item: object) -> None:
    assert get_yielded_type(hint) == item


@pytest.mark.parametrize("hint", [int, None, Cat, Optional[List[int]]])
def test_not_iterable(hint: object) -> None:
    with pytest.raises(ValueError, match="is not iterable"):
        get_yielded_type(hint)


@pytest.mark.parametrize(
    ("hint", "concrete", "bindings"),
    [
        (T, int, {T: int}),
        (KV[K, V], KV[str, int], {K: str, V: int}),
        (KV[K, Iterable[V]], KV[str, List[int]], {K: str, V: int}),
        (Iterable[T], Tuple[int, str], {T: Union[int, str]}),
        (Iterable[T], Dict[str, int], {T: str}),
        (List[T], Iterable[int], {}),
        (Tuple[T, T], Tuple[int, str], {T: Union[int, str]}),
        (Tuple[K, V], Tuple[int, ...], {K: int, V: int}),
        (Tuple[K, V], Tuple[int, int, int], {}),
        (Tuple[T, ...], Tuple[int, int], {T: int}),
        (Optional[T], Optional[int], {T: int}),
        (Optional[T], int, {T: int}),
        (Dict[K, V], Dict[str, int], {K: str, V: int}),
        (Dict[K, V], dict, {K: Any, V: Any}),
        (KV[K, V], Any, {}),
        (ShardedKeyType[K], ShardedKeyType[int], {K: int}),
        (WindowedValue[T], WindowedValue[int], {T: int}),
        (Generator[T], Generator[int], {T: int}),
        (int, int, {}),
    ],
)
def test_match_type_variables(hint: object, concrete: object, bindings: dict) -> None:
    assert match_type_variables(hint, concrete) == bindings


@pytest.mark.parametrize(
    ("hint", "bindings", "bound"),
    [
        (T, {T: int}, int),
        (T, {}, Any),
        (KV[K, Iterable[V]], {K: str, V: int}, KV[str, Iterable[int]]),
        (KV[K, V], {K: str}, KV[str, Any]),
        (Union[T, None], {T: int}, Optional[int]),
        (Union[T, int], {T: int}, int),
        (Tuple[T, ...], {T: int}, Tuple[int, ...]),
        (T, {T: T}, Any),
        (List[int], {T: str}, List[int]),
    ],
)
def test_bind_type_variables(hint: object, bindings: dict, bound: object) -> None:
    assert bind_type_variables(hint, bindings) == bound


def test_visit_sees_every_hint_inside() -> None:
    seen: list[object] = []
    typehints.visit(KV[str, List[Optional[int]]], lambda hint, arg: arg.append(hint), seen)
    assert seen == [
        KV[str, List[Optional[int]]],
        str,
        List[Optional[int]],
        Optional[int],
        int,
        type(None),
    ]


@pytest.mark.parametrize(
    ("hint", "pair"),
    [
        (Tuple[str, int], KV[str, int]),
        (Any, KV[Any, Any]),
        (tuple, KV[Any, Any]),
        (Tuple[int, ...], KV[int, int]),
        (Union[Tuple[str, int], Tuple[int, int]], KV[Union[str, int], int]),
        (Pair, KV[Any, Any]),
    ],
)
def test_coerce_to_kv_type(hint: object, pair: object) -> None:
    assert coerce_to_kv_type(hint) == pair


@pytest.mark.parametrize("hint", [int, str, Tuple[int, int, int], List[int]])
def test_what_is_no_pair_is_refused_with_the_step_and_a_remedy(hint: object) -> None:
    with pytest.raises(ValueError) as caught:
        coerce_to_kv_type(hint, "Sum/Group", "Read")
    message = str(caught.value)
    assert "'Sum/Group' needs (key, value) pairs" in message and "'Read'" in message
    assert getattr(hint, "__name__", repr(hint)) in message and "beam.Map(lambda x: (key, x))" in message
