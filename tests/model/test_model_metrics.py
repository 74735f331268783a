"""Metrics: what steps count is committed under the step's full label, whatever the engine makes of the steps."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.metrics.metric import Metrics, MetricsFilter


def counted(result, kind="counters"):
    """(step, name) → committed value."""
    found = result.metrics().query()[kind]
    return {(m.key.step, m.key.metric.name): m.committed for m in found}


def count_and_pass(name):
    counter = Metrics.counter("test", name)

    def step(x):
        counter.inc()
        return x

    return step


def run(options, build):
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    return result


class Counts(beam.DoFn):
    """Counts in every method."""

    def __init__(self):
        self.seen = Metrics.counter(type(self), "seen")
        self.bundles = Metrics.counter(type(self), "bundles")
        self.size = Metrics.distribution(type(self), "size")

    def process(self, element):
        self.seen.inc()
        self.size.update(element)
        yield element

    def finish_bundle(self):
        self.bundles.inc()


def test_a_dofn_counts(options):
    result = run(options, lambda p: p | beam.Create([1, 2, 3]) | "count" >> beam.ParDo(Counts()))
    assert counted(result)["count", "seen"] == 3
    assert counted(result)["count", "bundles"] >= 1
    size = counted(result, "distributions")["count", "size"]
    assert (size.sum, size.count, size.min, size.max) == (6, 3, 1, 3)


def test_functions_in_a_fused_run_count_each_for_their_own_step(options):
    def build(p):
        (
            p
            | beam.Create(list(range(10)))
            | "a" >> beam.Map(count_and_pass("n"))
            | "b" >> beam.Filter(lambda x: Metrics.counter("test", "n").inc() or x % 2 == 0)
            | "c" >> beam.FlatMap(lambda x: [count_and_pass("n")(x)] * 3)
            | "d" >> beam.Map(count_and_pass("n"))
        )

    assert counted(run(options, build)) == {("a", "n"): 10, ("b", "n"): 10, ("c", "n"): 5, ("d", "n"): 15}


def test_a_generator_in_a_fused_run_counts_for_its_step(options):
    def twice(x):
        for _ in range(2):
            Metrics.counter("test", "n").inc()
            yield x

    def build(p):
        (
            p
            | beam.Create([1, 2, 3])
            | "a" >> beam.Map(lambda x: x)
            | "b" >> beam.FlatMap(twice)
            | "c" >> beam.Map(count_and_pass("n"))
        )

    assert counted(run(options, build)) == {("b", "n"): 6, ("c", "n"): 6}


def test_steps_that_do_not_count_have_nothing(options):
    result = run(options, lambda p: p | beam.Create([1]) | beam.Map(lambda x: x) | "m" >> beam.Map(str))
    assert counted(result) == {}


def test_steps_in_composites_count_under_their_full_label(options):
    class Outer(beam.PTransform):
        def expand(self, pcoll):
            return pcoll | "inner" >> beam.Map(count_and_pass("n"))

    result = run(options, lambda p: p | beam.Create([1, 2]) | "outer" >> Outer())
    assert counted(result) == {("outer/inner", "n"): 2}
    assert result.metrics().query(MetricsFilter().with_step("outer"))["counters"]
    assert not result.metrics().query(MetricsFilter().with_name("m"))["counters"]


def test_combine_fns_count_for_their_step(options):
    class Summing(beam.CombineFn):
        def create_accumulator(self):
            return 0

        def add_input(self, accumulator, value):
            Metrics.counter("test", "added").inc()
            return accumulator + value

        def merge_accumulators(self, accumulators):
            return sum(accumulators)

        def extract_output(self, accumulator):
            return accumulator

    result = run(
        options, lambda p: p | beam.Create([("k", 1), ("k", 2)]) | "sum" >> beam.CombinePerKey(Summing())
    )
    by_step = counted(result)
    assert sum(by_step.values()) == 2
    assert all(step.startswith("sum") for step, _ in by_step)


def test_gauges_and_string_sets(options):
    def note(x):
        Metrics.string_set("test", "names").add(f"n{x}")
        Metrics.gauge("test", "last").set(7)
        return x

    result = run(options, lambda p: p | beam.Create([1, 2, 1]) | "note" >> beam.Map(note))
    (names,) = result.metrics().query()["string_sets"]
    assert set(names.committed) == {"n1", "n2"}
    (last,) = result.metrics().query()["gauges"]
    assert last.committed.value == 7


def test_counters_can_be_decremented_and_incremented_by_more(options):
    def count(x):
        Metrics.counter("test", "n").inc(x)
        Metrics.counter("test", "n").dec()
        return x

    result = run(options, lambda p: p | beam.Create([5, 6]) | "count" >> beam.Map(count))
    assert counted(result) == {("count", "n"): 9}


@pytest.mark.parametrize("kind", ["counters", "distributions", "gauges", "string_sets"])
def test_a_pipeline_without_metrics_answers_with_empty_lists(runner_options, kind):
    result = run(runner_options, lambda p: p | beam.Create([1]))
    assert result.metrics().query()[kind] == []
