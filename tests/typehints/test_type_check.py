"""Values against hints."""

from __future__ import annotations

import collections
import typing

import pytest

from hornbeam.error import PipelineError
from hornbeam.typehints import (
    KV,
    Any,
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
    TypeCheckError,
    TypeVariable,
    Union,
    WindowedValue,
)
from hornbeam.typehints.checks import check_consistent, check_value
from hornbeam.typehints.sharded_key_type import ShardedKeyType
from hornbeam.typehints.typehints import CompositeTypeHintError, SimpleTypeHintError, check_constraint
from hornbeam.utils.sharded_key import ShardedKey


class Windowed:
    def __init__(self, value: object) -> None:
        self.value, self.timestamp, self.windows = value, 0, ()


def _numbers() -> typing.Generator[int, None, None]:
    yield 1


FITS = [
    (int, 1),
    (int, True),
    (float, 1),
    (complex, 1.5),
    (None, None),
    (Any, object()),
    (TypeVariable("T"), 1),
    (List[int], [1, 2]),
    (List[int], []),
    (list, ["a", 1]),
    (Set[str], {"a"}),
    (FrozenSet[str], frozenset("a")),
    (Dict[str, List[int]], {"a": [1]}),
    (Tuple[int, str], (1, "a")),
    (Tuple[int, ...], (1, 2, 3)),
    (Tuple[()], ()),
    (KV[str, Any], ("a", object())),
    (Optional[int], None),
    (Optional[int], 3),
    (Union[int, List[str]], ["a"]),
    (Iterable[int], [1]),
    (Iterable[int], (1, 2)),
    (Iterable[int], _numbers()),
    (Iterator[int], iter("not looked into")),
    (Generator[int], _numbers()),
    (Sequence[int], (1,)),
    (typing.Mapping[str, int], collections.OrderedDict(a=1)),
    (WindowedValue[int], Windowed(1)),
    (ShardedKeyType[str], ShardedKey("k", b"s")),
]

MISFITS = [
    (int, "1", "expected int, found '1' of type str"),
    (float, "1", "expected float"),
    (int, 1.5, "expected int, found 1.5 of type float"),
    (str, None, "expected str, found None of type"),
    (List[int], (1,), r"expected List\[int\], found \(1,\) of type tuple"),
    (List[int], [1, "x"], r"item 1 of List\[int\]: expected int, found 'x'"),
    (Dict[str, int], {1: 1}, r"a key of Dict\[str, int\]: expected str, found 1"),
    (Dict[str, int], {"a": "b"}, r"the value of key 'a' of Dict\[str, int\]"),
    (Tuple[int, str], (1,), "with 2 items, found 1"),
    (Tuple[int, str], [1, "a"], "found .* of type list"),
    (Tuple[int, str], (1, 2), "item 1 of"),
    (Tuple[int, ...], (1, "a"), "item 1 of"),
    (Union[int, str], 1.5, r"expected Union\[int, str\], found 1.5"),
    (Iterable[int], 5, r"expected Iterable\[int\], found 5"),
    (Iterable[int], ["a"], "item 0 of"),
    (Generator[int], [1], "expected Generator"),
    (WindowedValue[int], 1, "expected WindowedValue"),
    (WindowedValue[int], Windowed("x"), "the value of WindowedValue"),
    (ShardedKeyType[str], "k", "expected ShardedKey"),
    (ShardedKeyType[str], ShardedKey(1, b"s"), "the key of ShardedKey"),
]


@pytest.mark.parametrize(("hint", "value"), FITS)
def test_fits(hint: object, value: object) -> None:
    check_constraint(hint, value)


@pytest.mark.parametrize(("hint", "value", "message"), MISFITS)
def test_misfits(hint: object, value: object, message: str) -> None:
    with pytest.raises((SimpleTypeHintError, CompositeTypeHintError), match=message):
        check_constraint(hint, value)


def test_checking_never_consumes_an_iterator() -> None:
    numbers = _numbers()
    check_constraint(Iterable[str], numbers)
    assert list(numbers) == [1]


def test_long_values_and_broken_reprs_are_cut() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    with pytest.raises(TypeError) as caught:
        check_constraint(int, "x" * 10_000)
    assert len(str(caught.value)) < 200
    with pytest.raises(TypeError, match="repr failed: ValueError"):
        check_constraint(int, Broken())


def test_a_mismatch_names_step_expected_and_found() -> None:
    check_consistent(List[int], Iterable[int], "Step")
    with pytest.raises(TypeCheckError) as caught:
        check_consistent(KV[str, int], KV[int, int], "Count/Sum", "input", "Read/Map")
    message = str(caught.value)
    assert "'Count/Sum'" in message and "'Read/Map'" in message
    assert "must be Tuple[int, int]" in message and "found Tuple[str, int]" in message
    assert isinstance(caught.value, PipelineError) and isinstance(caught.value, TypeError)


def test_a_wrong_element_names_step_expected_and_found() -> None:
    check_value(1, int, "Step")
    with pytest.raises(TypeCheckError, match=r"'Step'.*declared type List\[int\]: item 0.*found 'a'"):
        check_value(["a"], List[int], "Step")
