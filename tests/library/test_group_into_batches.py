"""GroupIntoBatches: full batches for each key and window, one smaller rest."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import assert_that, equal_to, equal_to_per_window
from hornbeam.transforms.group_into_batches import GROUP_INTO_BATCHES_URN
from hornbeam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue
from hornbeam.utils.sharded_key import ShardedKey

pytestmark = pytest.mark.usefixtures("bundling")


def sizes(batch):
    key, values = batch
    assert type(values) is list
    return key, len(values)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_sizes(batch_size):
    pairs = [(key, n) for n in range(10) for key in "ab"]
    full, rest = divmod(10, batch_size)
    expected = [(key, batch_size) for key in "ab"] * full + [(key, rest) for key in "ab" if rest]
    with TestPipeline() as p:
        batches = p | beam.Create(pairs) | beam.GroupIntoBatches(batch_size)
        assert_that(batches | beam.Map(sizes), equal_to(expected))
        values = batches | beam.FlatMapTuple(lambda key, values: [(key, value) for value in values])
        assert_that(values, equal_to(pairs))


def test_windows_are_not_mixed():
    with TestPipeline() as p:
        stamped = p | beam.Create(range(8)) | beam.Map(lambda n: TimestampedValue(("k", n), n))
        batches = stamped | beam.WindowInto(FixedWindows(5)) | beam.GroupIntoBatches(2) | beam.Map(sizes)
        assert_that(
            batches,
            equal_to_per_window(
                {
                    IntervalWindow(0, 5): [("k", 2), ("k", 2), ("k", 1)],
                    IntervalWindow(5, 10): [("k", 2), ("k", 1)],
                }
            ),
        )


def test_sharded_keys():
    def check(batch):
        sharded, values = batch
        assert isinstance(sharded, ShardedKey)
        return [(sharded.key, value) for value in values]

    pairs = [("a", n) for n in range(7)]
    with TestPipeline() as p:
        batches = p | beam.Create(pairs) | beam.GroupIntoBatches.WithShardedKey(3)
        assert_that(batches | beam.FlatMap(check), equal_to(pairs))


def test_graph_has_the_urn_and_the_parameters():
    p = TestPipeline()
    p | beam.Create([("a", 1)]) | beam.GroupIntoBatches(5, max_buffering_duration_secs=2)
    (step,) = [step for step in p.to_graph().transforms.values() if step.urn == GROUP_INTO_BATCHES_URN]
    assert step.spec["batch_size"] == 5
    assert step.is_composite


@pytest.mark.parametrize("arguments", [(0,), (-1,), (1.5,), ("2",), (True,), (2, -1)])
def test_refused_parameters(arguments):
    with pytest.raises(ValueError, match="GroupIntoBatches needs"):
        beam.GroupIntoBatches(*arguments)
