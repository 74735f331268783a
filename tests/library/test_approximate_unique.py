"""ApproximateUnique: exact while few, close when many, the same in any order and however it is cut."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.coders import FastPrimitivesCoder, VarIntCoder
from hornbeam.transforms.approximate_unique import ApproximateUniqueCombineFn


def estimate(size, parts, coder=None):
    fn = ApproximateUniqueCombineFn(size, coder or VarIntCoder())
    accumulators = [fn.add_inputs(fn.create_accumulator(), part) for part in parts]
    return fn.extract_output(fn.merge_accumulators(accumulators))


@pytest.mark.parametrize("distinct", [0, 1, 15])
def test_exact_while_few(distinct):
    assert estimate(16, [[*range(distinct)] * 3, range(distinct)]) == distinct


@pytest.mark.parametrize("distinct", [16, 1000, 20_000])
def test_close_when_many(distinct):
    size = beam.ApproximateUnique.parse_input_params(error=0.1)
    assert estimate(size, [range(distinct)]) == pytest.approx(distinct, rel=0.1)


def test_the_cut_does_not_matter():
    elements = [n % 3000 for n in range(6000)]
    whole = estimate(100, [elements])
    assert estimate(100, [elements[::2], elements[1::2], []]) == whole
    assert estimate(100, [sorted(elements)]) == whole


def test_elements_of_many_types():
    assert estimate(16, [["a", b"a", 1, None, ("a", 1), ("a", 1)]], FastPrimitivesCoder()) == 5


@pytest.mark.parametrize("size, sample", [(16, 16), (1000, 1000)])
def test_size_is_the_sample_size(size, sample):
    assert beam.ApproximateUnique.parse_input_params(size=size) == sample


@pytest.mark.parametrize("error, sample", [(0.5, 16), (0.1, 400), (0.02, 10_000), (0.01, 40_000)])
def test_error_decides_the_sample_size(error, sample):
    assert beam.ApproximateUnique.parse_input_params(error=error) == sample


@pytest.mark.parametrize(
    "size, error", [(None, None), (16, 0.1), (15, None), (-1, None), ("16", None), (None, 0.001), (None, 0.6)]
)
def test_refused_parameters(size, error):
    with pytest.raises(ValueError, match="ApproximateUnique needs"):
        beam.ApproximateUnique.Globally(size, error)
