"""Hot keys: counted in little memory, from samples, over several workers."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.runners.engine.hot_keys import (
    KeyCounts,
    KeySample,
    SampledKeys,
    has_own_keys,
    hot_keys,
)


class Nasty:
    """A key whose hash fails."""

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        return "nasty"


def test_frequent_keys_survive_any_number_of_seldom_ones() -> None:
    counts = KeyCounts()
    for number in range(400):
        counts.add([f"seldom {number}-{i}" for i in range(100)] + ["often"] * 25)
    assert len(counts) <= 1024
    ((key, count),) = counts.hottest()
    assert key == "'often'"
    assert 0.2 * counts.total - counts.total / 512 <= count <= 0.2 * counts.total


def test_keys_that_cannot_be_hashed_are_known_by_their_repr() -> None:
    counts = KeyCounts()
    counts.add([[1], [1], [2], Nasty()], 3)
    assert dict(counts.hottest(3)) == {"'[1]'": 6, "'[2]'": 3, "'nasty'": 3}
    assert counts.total == 12


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("period", [1, 2, 64, 128])
def test_a_rhythm_in_the_data_is_not_taken_for_a_key(size: int, period: int) -> None:
    """Samples at even distances would find one of so many keys that come in turn."""
    random.seed(1)
    sampled = SampledKeys()
    pairs = [(i % period, i) for i in range(100_000)]
    for begin in range(0, len(pairs), size):
        sampled.look(pairs[begin : begin + size])
    sample = sampled.sample()
    assert sample is not None and sample.keys == period
    assert sample.pairs == pytest.approx(100_000, rel=0.1)
    assert hot_keys([sample]) == ((("0", 1.0),) if period == 1 else ())


def test_as_many_samples_are_taken_as_are_worth_it() -> None:
    random.seed(1)
    sampled = SampledKeys()
    fast, slow = [("a", 1)] * 300_000, [("b", 1)] * 20
    for _ in range(10):
        sampled.look(fast)
        sampled.sample()
    assert 300 <= sampled._stride <= 5000
    for _ in range(20):
        sampled.look(slow)
        sampled.sample()
    assert sampled._stride == 1
    before = sampled.sample().pairs
    sampled.look(slow)
    assert sampled.sample().pairs == before + 20  # none is passed over


def test_what_was_hot_once_is_forgotten() -> None:
    random.seed(1)
    sampled = SampledKeys()
    sampled.look([("old", 1)] * 100_000)
    for i in range(400):
        sampled.look([(f"{i}-{j}", 1) for j in range(500)])
        sample = sampled.sample()
    assert hot_keys([sample]) == ()


def test_what_is_no_pair_is_the_step_s_business() -> None:
    sampled = SampledKeys()
    sampled.look([1] * 1000)
    assert sampled.sample() is None


@pytest.mark.parametrize(
    ("samples", "hot"),
    [
        ([], ()),
        ([KeySample(50, 1, (("a", 50),))], ()),  # too few to say
        ([KeySample(200, 1, (("a", 200),))], (("a", 1.0),)),
        ([KeySample(1000, 4, (("a", 260), ("b", 250), ("c", 250), ("d", 240)))], ()),  # even
        ([KeySample(1000, 2, (("a", 900), ("b", 100)))], (("a", 0.9),)),
        ([KeySample(900, 300, (("a", 450),)), KeySample(100, 90, (("b", 20),))], (("a", 0.45),)),
        ([KeySample(500, 300, (("a", 150),)), KeySample(500, 300, (("b", 200),))], (("b", 0.2), ("a", 0.15))),
    ],
)
def test_a_hot_key_has_more_than_its_part_of_all_workers(samples: list[KeySample], hot: Any) -> None:
    assert hot_keys(samples) == hot


def test_keys_of_our_own_making_are_known() -> None:
    p = beam.Pipeline()
    pairs = p | beam.Create([("a", 1)])
    pairs | "mine" >> beam.GroupByKey() | beam.Map(str) | "write" >> beam.io.WriteToText("x", num_shards=1)
    pairs | "sum" >> beam.CombinePerKey(sum)
    pairs | beam.Values() | "all" >> beam.CombineGlobally(sum)
    pairs | "some" >> beam.GroupIntoBatches(3)
    graph = p.to_graph()
    found = Counter()
    for _, step in graph.leaves():
        if step.urn.split(":")[2] in ("group_by_key", "combine_per_key"):
            found[step.label.split("/")[0], has_own_keys(graph, step.label)] += 1
    assert dict(found.keys()) == {
        "mine": False,
        "sum": False,
        "write": True,
        "all": True,
        "some": False,
    }
