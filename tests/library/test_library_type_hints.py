"""What the library's transforms say of their elements' types, and what they refuse because of it."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.transforms import combiners
from hornbeam.transforms.util import ReshufflePerKey
from hornbeam.typehints import Any, Dict, List, Tuple, TypeCheckError

WORDS = ["a", "b"]
PAIRS = [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    "transform, expected",
    [
        (combiners.Count.Globally(), int),
        (combiners.Count.PerElement(), Tuple[str, int]),
        (combiners.Sample.Any(2), str),
        (combiners.Latest.Globally(), str),
        (beam.Distinct(), str),
        (beam.Reshuffle(), str),
        (beam.LogElements(level=10), str),
        (beam.ToString.Element(), str),
        (beam.BatchElements(), List[str]),
        (beam.SortAndBatchElements(1, 2, 3), List[str]),
        (beam.ApproximateUnique.Globally(size=16), int),
        (beam.ApproximateQuantiles.Globally(3), List[str]),
        (beam.WithKeys(7), Tuple[int, str]),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_of_words(transform, expected):
    assert (beam.Pipeline() | beam.Create(WORDS) | transform).element_type == expected


PER_KEY = [
    (beam.Keys(), str),
    (beam.Values(), int),
    (beam.KvSwap(), Tuple[int, str]),
    (combiners.Count.PerKey(), Tuple[str, int]),
    (combiners.Mean.PerKey(), Tuple[str, float]),
    (combiners.Top.PerKey(1), Tuple[str, List[int]]),
    (combiners.Sample.FixedSizePerKey(1), Tuple[str, List[int]]),
    (combiners.Latest.PerKey(), Tuple[str, int]),
    (beam.GroupIntoBatches(2), Tuple[str, List[int]]),
    (ReshufflePerKey(), Tuple[str, int]),
    (beam.ToString.Kvs(), str),
    (beam.ApproximateUnique.PerKey(size=16), Tuple[str, int]),
    (beam.ApproximateQuantiles.PerKey(3), Tuple[str, List[int]]),
]


@pytest.mark.parametrize("transform, expected", PER_KEY, ids=lambda value: getattr(value, "label", None))
def test_of_pairs(transform, expected):
    assert (beam.Pipeline() | beam.Create(PAIRS) | transform).element_type == expected


@pytest.mark.parametrize("transform", [transform for transform, _ in PER_KEY], ids=lambda value: value.label)
def test_pairs_are_needed(transform):
    with pytest.raises(TypeCheckError):
        beam.Pipeline() | beam.Create(WORDS) | transform


def test_co_group_by_key():
    p = beam.Pipeline()
    left, right = p | "l" >> beam.Create(PAIRS), p | "r" >> beam.Create(PAIRS)
    assert ((left, right) | "tuple" >> beam.CoGroupByKey()).element_type == Tuple[
        str, Tuple[List[Any], List[Any]]
    ]
    assert ({"l": left} | "dict" >> beam.CoGroupByKey()).element_type == Tuple[str, Dict[Any, List[Any]]]
    words = p | beam.Create(WORDS)
    with pytest.raises(TypeCheckError):
        (left, words) | beam.CoGroupByKey()


def test_mean_of_other_numbers_is_not_declared_a_float():
    assert combiners.MeanCombineFn().infer_output_type(int) is float
    assert combiners.MeanCombineFn().infer_output_type(complex) == Any
