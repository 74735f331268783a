"""Batches of elements as lists and arrays."""

from __future__ import annotations

import typing

import numpy as np
import pytest

from hornbeam.typehints import Any, List
from hornbeam.typehints.batch import BatchConverter, N, NumpyArray
from hornbeam.typehints.typehints import check_constraint

CASES = [
    (int, List[int], [1, 2, 3]),
    (str, list[str], ["a", "b"]),
    (Any, list, [1, "a", None]),
    (int, np.ndarray, [1, 2, 3]),
    (float, np.ndarray, [0.5, 1.5]),
    (np.int64, np.ndarray, [1, 2, 3]),
    (int, np.ndarray[typing.Any, np.dtype[np.int32]], [1, 2]),
]


@pytest.mark.parametrize(("element_type", "batch_type", "elements"), CASES)
def test_round_trip(element_type: object, batch_type: object, elements: list) -> None:
    converter = BatchConverter.from_typehints(element_type=element_type, batch_type=batch_type)
    batch = converter.produce_batch(elements)
    assert list(converter.explode_batch(batch)) == elements
    assert converter.get_length(batch) == len(elements)
    assert converter.estimate_byte_size(batch) > 0
    joined = converter.combine_batches([batch, batch])
    assert list(converter.explode_batch(joined)) == elements * 2
    assert converter == BatchConverter.from_typehints(element_type=element_type, batch_type=batch_type)
    assert converter.element_type == element_type


def test_arrays_have_the_declared_dtype_and_give_builtin_elements() -> None:
    converter = BatchConverter.from_typehints(
        element_type=int, batch_type=np.ndarray[typing.Any, np.dtype[np.int32]]
    )
    batch = converter.produce_batch([1, 2])
    assert batch.dtype == np.int32
    assert {type(element) for element in converter.explode_batch(batch)} == {int}
    assert converter.combine_batches([]).dtype == np.int32


@pytest.mark.parametrize(
    ("element_type", "batch_type"), [(int, List[str]), (str, np.ndarray), (int, int), (int, dict)]
)
def test_unknown_pairs_are_refused_with_reasons(element_type: object, batch_type: object) -> None:
    with pytest.raises(TypeError, match=r"No way is known to make batches .* \(list: .*; numpy: "):
        BatchConverter.from_typehints(element_type=element_type, batch_type=batch_type)


def test_shapes_say_which_axis_counts_the_elements() -> None:
    batch_type = NumpyArray[np.float32, (3, N)]
    element_type = batch_type.element_type()
    assert element_type == NumpyArray[np.float32, (3,)] and repr(batch_type) == "NumpyArray[float32, (3, N)]"
    converter = BatchConverter.from_typehints(element_type=element_type, batch_type=batch_type)
    batch = converter.produce_batch([np.array([1, 2, 3]), np.array([4, 5, 6])])
    assert batch.shape == (3, 2) and converter.get_length(batch) == 2
    assert [element.tolist() for element in converter.explode_batch(batch)] == [[1, 2, 3], [4, 5, 6]]
    assert converter.combine_batches([batch, batch]).shape == (3, 4)
    check_constraint(batch_type, batch)
    with pytest.raises(TypeError, match=r"expected NumpyArray\[float32, \(3, N\)\]"):
        check_constraint(batch_type, batch.T)


def test_arrays_of_scalars_by_shape() -> None:
    for element_type in (int, np.int64):
        converter = BatchConverter.from_typehints(
            element_type=element_type, batch_type=NumpyArray[np.int64, (N,)]
        )
        assert list(converter.explode_batch(converter.produce_batch([1, 2]))) == [1, 2]


@pytest.mark.parametrize(
    ("element_type", "batch_type", "message"),
    [
        (int, NumpyArray[np.int64, (3,)], "must have N"),
        (int, NumpyArray[np.int64, (N, 3)], r"are of type NumpyArray\[int64, \(3\)\]"),
        (int, NumpyArray[np.float32, (N,)], "are of type float32"),
    ],
)
def test_shapes_that_do_not_fit(element_type: object, batch_type: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        BatchConverter.from_typehints(element_type=element_type, batch_type=batch_type)


def test_users_register_their_own() -> None:
    class StringBatches(BatchConverter[str, str]):
        def produce_batch(self, elements: typing.Sequence[str]) -> str:
            return "".join(elements)

        def explode_batch(self, batch: str) -> typing.Iterator[str]:
            return iter(batch)

    class Letter(str):
        pass

    @BatchConverter.register(name="letters")
    def make(element_type: object, batch_type: object) -> StringBatches | None:
        return StringBatches(batch_type, element_type) if element_type is Letter else None

    converter = BatchConverter.from_typehints(element_type=Letter, batch_type=str)
    assert list(converter.explode_batch(converter.produce_batch(["a", "b"]))) == ["a", "b"]
    with pytest.raises(NotImplementedError, match="StringBatches has to join batches"):
        converter.combine_batches([])
