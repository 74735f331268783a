"""BatchElements and SortAndBatchElements, and the estimator of batch sizes under a clock of its own."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

import hornbeam as beam
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import TestWindowedValue, assert_that, equal_to
from hornbeam.transforms.batch_size_estimator import BatchSizeEstimator
from hornbeam.transforms.batching import BatchingDoFn
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    IntervalWindow,
    TimestampedValue,
)


class FakeClock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def batch_sizes(fn, elements, window=None):
    """The sizes of the batches of one bundle."""
    fn.start_bundle()
    outputs = []
    for element in elements:
        outputs.extend(fn.process(element, window or GlobalWindow()))
    outputs.extend(fn.finish_bundle())
    return [len(output.value) for output in outputs]


def learned_sizes(fixed, per_element, batches=60, **arguments):
    """The batch sizes chosen one after the other, when batches take `fixed + n * per_element`."""
    clock = FakeClock()
    estimator = BatchSizeEstimator(clock=clock, **arguments)
    chosen = []
    for _ in range(batches):
        size = estimator.next_batch_size()
        with estimator.record_time(size):
            clock.now += fixed + per_element * size
        chosen.append(size)
    return chosen


class TestEstimator:
    def test_overhead_target(self):
        # A share of 0.5 means that the elements take as long as the fixed part: 100 of them.
        chosen = learned_sizes(
            1, 0.01, target_batch_overhead=0.5, target_batch_duration_secs=None, variance=0
        )
        assert chosen[0] == 1
        assert all(95 <= size <= 101 for size in chosen[-10:])

    def test_duration_target_leaves_out_the_fixed_cost(self):
        chosen = learned_sizes(50, 0.1, target_batch_overhead=None, target_batch_duration_secs=10, variance=0)
        assert all(95 <= size <= 101 for size in chosen[-10:])

    def test_duration_target_with_the_fixed_cost(self):
        chosen = learned_sizes(
            5,
            0.1,
            target_batch_overhead=None,
            target_batch_duration_secs=None,
            target_batch_duration_secs_including_fixed_cost=10,
            variance=0,
        )
        assert all(45 <= size <= 51 for size in chosen[-10:])

    def test_sizes_at_most_double(self):
        chosen = learned_sizes(1, 0, max_batch_size=1000)
        assert all(after <= 2 * before for before, after in pairwise(chosen))
        assert max(chosen) == 1000

    def test_first_sizes_when_batches_cost_nothing(self):
        fn = BatchingDoFn(BatchSizeEstimator(1, 50, clock=FakeClock(), record_metrics=False))
        assert batch_sizes(fn, range(164)) == [1, 1, 2, 4, 8, 16, 32, 50, 50]

    def test_bounds_are_kept(self):
        assert set(learned_sizes(1, 1, min_batch_size=7, max_batch_size=9)) <= {7, 8, 9}
        assert set(learned_sizes(0, 0, min_batch_size=5, max_batch_size=5)) == {5}

    def test_variance_spreads_the_sizes(self):
        random.seed(1)
        chosen = learned_sizes(1, 0.01, target_batch_overhead=0.5, variance=0.25)
        assert len(set(chosen[-20:])) > 5
        assert all(70 <= size <= 130 for size in chosen[-20:])

    def test_noise_does_not_mislead_it(self):
        random.seed(2)
        clock = FakeClock()
        estimator = BatchSizeEstimator(
            target_batch_overhead=0.05, target_batch_duration_secs=None, clock=clock
        )
        for _ in range(150):
            size = estimator.next_batch_size()
            with estimator.record_time(size):
                clock.now += (1 + 0.01 * size) * random.uniform(0.9, 1.1)
        # Ideal: 1 / 0.01 * 19 = 1900.
        assert 900 <= size <= 3800

    def test_an_ignored_timing_does_not_count(self):
        clock = FakeClock()
        estimator = BatchSizeEstimator(min_batch_size=10, max_batch_size=100, clock=clock)
        estimator.ignore_next_timing()
        with estimator.record_time(10):
            clock.now += 1000
        assert estimator.next_batch_size() == 10

    @pytest.mark.parametrize(
        "arguments",
        [
            {"min_batch_size": 0},
            {"min_batch_size": 10, "max_batch_size": 9},
            {"target_batch_overhead": 1.1},
            {"target_batch_overhead": -0.1},
            {"target_batch_duration_secs": -1},
            {"target_batch_duration_secs_including_fixed_cost": -1},
            {"target_batch_overhead": None, "target_batch_duration_secs": None},
            {"max_batch_duration_secs": 0},
            {"bucket_boundaries": [1, 2]},
            {"length_fn": len, "bucket_boundaries": []},
            {"length_fn": len, "bucket_boundaries": [3, 3]},
            {"length_fn": len, "bucket_boundaries": [0, 3]},
        ],
    )
    def test_refused_parameters(self, arguments):
        with pytest.raises(ValueError, match="BatchElements"):
            beam.BatchElements(**arguments)


class TestBatchingDoFn:
    def fixed(self, size, **arguments):
        return BatchingDoFn(BatchSizeEstimator(size, size, record_metrics=False), **arguments)

    def test_fixed_size(self):
        assert batch_sizes(self.fixed(3), range(8)) == [3, 3, 2]

    def test_nothing_is_carried_into_the_next_bundle(self):
        fn = self.fixed(3)
        assert batch_sizes(fn, range(4)) == [3, 1]
        assert batch_sizes(fn, range(4)) == [3, 1]
        assert batch_sizes(fn, []) == []

    def test_element_sizes(self):
        assert batch_sizes(self.fixed(10, element_size_fn=lambda n: n), [4, 4, 4, 20, 1, 9, 1]) == [
            2,
            1,
            1,
            2,
            1,
        ]

    def test_growing_sizes(self):
        clock = FakeClock()
        fn = BatchingDoFn(
            BatchSizeEstimator(clock=clock, variance=0, target_batch_overhead=0.5, record_metrics=False)
        )
        fn.start_bundle()
        sizes = []
        for element in range(2000):
            for output in fn.process(element, GlobalWindow()):
                sizes.append(len(output.value))
                clock.now += 1 + 0.01 * len(output.value)
        assert sizes[:4] == [1, 1, 2, 4]
        assert 90 <= sizes[-1] <= 101

    def test_many_windows_do_not_pile_up(self):
        fn = self.fixed(100)
        fn.start_bundle()
        early = [output for n in range(50) for output in fn.process(n, IntervalWindow(10 * n, 10 * n + 10))]
        rest = list(fn.finish_bundle())
        assert len(rest) <= 10
        assert sorted(output.value for output in early + rest) == [[n] for n in range(50)]

    def test_length_buckets(self):
        batching = beam.BatchElements(
            2, 2, max_batch_duration_secs=1, length_fn=len, bucket_boundaries=[2, 4]
        )
        with TestPipeline() as p:
            batches = p | beam.Create(["a", "bbb", "c", "ddd", "eeeeeee"]) | batching
            assert_that(
                batches | beam.Map(lambda batch: sorted({len(word) for word in batch})),
                equal_to([[1], [3], [7]]) if _one_bundle() else lambda batches: None,
            )


def _one_bundle():
    """Whether the five elements above come in one bundle with the options of this test run."""
    return "bundle_size" not in " ".join(TestPipeline().options_list)


def test_in_a_pipeline():
    with TestPipeline() as p:
        batches = p | beam.Create(range(10), reshuffle=False) | beam.BatchElements(4, 4)
        assert_that(batches | beam.FlatMap(lambda batch: batch), equal_to(range(10)))
        assert_that(
            batches
            | "type" >> beam.Map(lambda batch: (type(batch).__name__, len(batch) <= 4))
            | beam.Distinct(),
            equal_to([("list", True)]),
        )


def test_windows_are_not_mixed_and_timestamps_are_at_their_end():
    with TestPipeline() as p:
        stamped = p | beam.Create(range(6)) | beam.Map(lambda n: TimestampedValue(n, n))
        batches = stamped | beam.WindowInto(FixedWindows(3)) | beam.BatchElements(1, 1)
        first, second = IntervalWindow(0, 3), IntervalWindow(3, 6)
        assert_that(
            batches,
            equal_to(
                [TestWindowedValue([n], first.max_timestamp(), [first]) for n in range(3)]
                + [TestWindowedValue([n], second.max_timestamp(), [second]) for n in range(3, 6)]
            ),
            reify_windows=True,
        )


def test_metrics():
    with TestPipeline() as p:
        p | beam.Create(range(6)) | beam.BatchElements(1, 1)
    found = p.result.metrics().query(beam.metrics.MetricsFilter().with_namespace("BatchElements"))
    sizes = {result.key.metric.name: result.committed for result in found["distributions"]}
    assert (sizes["batch_size"].sum, sizes["batch_size"].count) == (6, 6)
    assert sizes["msec_per_batch"].count == 6


class TestSortAndBatch:
    def batches(self, words, **arguments):
        fn = beam.SortAndBatchElements(**arguments)._fn
        fn.start_bundle()
        for word in words:
            assert fn.process(word, GlobalWindow()) is None
        return [output.value for output in fn.finish_bundle()]

    def test_sorted_by_length(self):
        words = ["ccc", "a", "dddd", "bb"]
        batches = self.batches(words, min_batch_size=1, max_batch_size=2, max_batch_weight=100)
        assert batches == [["a", "bb"], ["ccc", "dddd"]]

    def test_weight(self):
        sizes = [1, 2, 3, 4, 50]
        arguments = {"max_batch_size": 10, "max_batch_weight": 6, "element_size_fn": lambda n: n}
        assert self.batches(sizes, min_batch_size=1, **arguments) == [[1, 2, 3], [4], [50]]
        assert self.batches(sizes, min_batch_size=2, **arguments) == [[1, 2, 3], [4, 50]]

    def test_elements_without_length_count_one(self):
        assert self.batches([3, 1, 2], min_batch_size=1, max_batch_size=9, max_batch_weight=2) == [
            [3, 1],
            [2],
        ]

    def test_windows_are_not_mixed(self):
        with TestPipeline() as p:
            stamped = p | beam.Create(range(6)) | beam.Map(lambda n: TimestampedValue(n, n))
            batches = stamped | beam.WindowInto(FixedWindows(3)) | beam.SortAndBatchElements(1, 100, 1000)
            assert_that(
                batches
                | beam.Map(lambda batch: len({n // 3 for n in batch}))
                | "Global" >> beam.WindowInto(GlobalWindows())
                | beam.Distinct(),
                equal_to([1]),
            )

    @pytest.mark.parametrize("arguments", [(0, 1, 1), (3, 2, 1), (1, 1, 0)])
    def test_refused_parameters(self, arguments):
        with pytest.raises(ValueError, match="SortAndBatchElements needs"):
            beam.SortAndBatchElements(*arguments)
