"""ApproximateQuantiles: exact on small input, within the promised rank error on large, however it is cut."""

from __future__ import annotations

import pickle
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hornbeam as beam
from hornbeam.transforms.quantile_summary import exact_summary, prune, pruned_summary
from hornbeam.transforms.quantiles import ApproximateQuantilesCombineFn


def quantiles(fn, parts):
    sketches = [fn.add_inputs(fn.create_accumulator(), part) for part in parts]
    return fn.extract_output(fn.merge_accumulators(pickle.loads(pickle.dumps(sketches))))


def rank_error(values_and_weights, answers):
    """The greatest distance between a rank asked for and the ranks that the answer stands for, relative."""
    total = sum(weight for _, weight in values_and_weights)
    worst = 0.0
    for k, answer in enumerate(answers):
        below = sum(weight for value, weight in values_and_weights if value < answer)
        upto = sum(weight for value, weight in values_and_weights if value <= answer)
        asked = k * total / (len(answers) - 1)
        worst = max(worst, below - asked, asked - upto)
    return worst / total


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=300), st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_small_inputs_are_exact(values, num_quantiles):
    ordered = sorted(values)
    expected = [ordered[k * len(values) // (num_quantiles - 1)] for k in range(num_quantiles - 1)]
    assert quantiles(ApproximateQuantilesCombineFn(num_quantiles), [values]) == [*expected, ordered[-1]]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 20),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_summaries_are_pruned_as_they_are_made(pairs, size, weighted):
    pairs.sort(key=lambda pair: pair[0])
    keys = [key for key, _ in pairs]
    weights = [float(weight) for _, weight in pairs] if weighted else None
    whole = exact_summary(zip(keys, keys, weights or [1.0] * len(keys)))
    summary = pruned_summary(keys, keys, weights, size)
    assert summary[0] == whole[0] and summary[-1] == whole[-1]
    assert set(summary) <= set(whole)
    assert summary == sorted(summary)
    # No gap between two neighbours is wider than what pruning promises.
    total = whole[-1].rank_max
    for left, right in pairwise(summary):
        assert right.previous_rank_max - left.next_rank_min <= total / size + 1e-9
    assert len(summary) <= size + 2 and len(prune(whole, size)) <= size + 2


@pytest.mark.parametrize("order", ["random", "sorted", "descending", "few values", "skewed"])
@pytest.mark.parametrize("num_quantiles", [3, 5, 50])
def test_large_inputs_are_within_the_error(order, num_quantiles):
    rng = random.Random(5)
    values = {
        "random": lambda: [rng.random() for _ in range(20_000)],
        "sorted": lambda: list(range(20_000)),
        "descending": lambda: list(range(20_000, 0, -1)),
        "few values": lambda: [rng.randrange(4) for _ in range(20_000)],
        "skewed": lambda: [int(rng.expovariate(0.05)) for _ in range(20_000)],
    }[order]()
    answers = quantiles(ApproximateQuantilesCombineFn(num_quantiles), [values[i::7] for i in range(7)])
    assert answers[0] == min(values) and answers[-1] == max(values)
    assert answers == sorted(answers)
    assert rank_error([(value, 1) for value in values], answers) <= 1 / num_quantiles / 4


@pytest.mark.parametrize("parts", [1, 9])
def test_weighted_within_the_error(parts):
    rng = random.Random(6)
    pairs = [(rng.randrange(1000), rng.choice([0, 0.1, 1, 50])) for _ in range(10_000)]
    fn = ApproximateQuantilesCombineFn(11, weighted=True)
    answers = quantiles(fn, [pairs[i::parts] for i in range(parts)])
    assert rank_error(pairs, answers) <= 1 / 11 / 2


def test_sketch_is_small():
    fn = ApproximateQuantilesCombineFn(10)
    sketch = fn.add_inputs(fn.create_accumulator(), range(50_000))
    assert len(sketch.buffer) + sum(len(level or ()) for level in sketch.levels) < 6000


@pytest.mark.parametrize(
    "arguments, elements, expected",
    [
        ({}, range(101), [0, 25, 50, 75, 100]),
        ({"reverse": True}, range(101), [100, 75, 50, 25, 0]),
        ({"key": lambda n: -n}, range(101), [100, 75, 50, 25, 0]),
        ({"weighted": True}, [(n, 1 if n < 10 else 1e-5) for n in range(101)], [0, 2, 5, 7, 100]),
        ({"input_batched": True}, [list(range(50)), list(range(50, 101))], [0, 25, 50, 75, 100]),
        (
            {"input_batched": True, "weighted": True},
            [(list(range(10)), [1] * 10), (list(range(10, 101)), [0] * 91)],
            [0, 2, 5, 7, 100],
        ),
        ({}, [], []),
        ({}, [7], [7] * 5),
        ({"weighted": True}, [(1, 0), (2, 0)], [1, 2, 2, 2, 2]),
    ],
)
def test_parameters(arguments, elements, expected):
    assert quantiles(ApproximateQuantilesCombineFn(5, **arguments), [elements]) == expected


@pytest.mark.parametrize("num_quantiles, epsilon", [(1, None), (0, None), (5, 0.0), (5, 1.0)])
def test_refused_parameters(num_quantiles, epsilon):
    with pytest.raises(ValueError, match="ApproximateQuantiles needs"):
        ApproximateQuantilesCombineFn(num_quantiles, epsilon)


def test_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weights of 0 or more, found -1"):
        quantiles(ApproximateQuantilesCombineFn(3, weighted=True), [[("a", -1)]])


def test_display_data_shows_the_parameters():
    shown = beam.ApproximateQuantiles.Globally(4, key=len).display_data()
    assert shown["num_quantiles"].value == 4
    assert shown["key"].value == "len"
