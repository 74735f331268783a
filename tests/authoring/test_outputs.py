"""Tagged outputs, Partition, and what is found in the graph of them."""

from __future__ import annotations

import cloudpickle
import pytest

import hornbeam as beam
from hornbeam.graph import urns
from hornbeam.testing.util import assert_that, equal_to


class Sorts(beam.DoFn):
    def process(self, element):
        if element < 0:
            yield beam.TaggedOutput("negative", element)
        elif element == 0:
            yield beam.TaggedOutput("zero", element)
        else:
            yield element


def steps_of(p: beam.Pipeline):
    return {t.label: t for t in p.to_graph().transforms.values()}


def test_outputs_by_attribute_index_and_order():
    with beam.Pipeline() as p:
        result = (
            p
            | beam.Create([-1, 0, 1])
            | beam.ParDo(Sorts()).with_outputs("negative", "zero", main="positive")
        )
        positive, negative, zero = result
        assert result.positive is result["positive"] is result[None] is positive
        assert result.negative is result["negative"] is negative
        assert len(result) == 3
        assert_that(positive, equal_to([1]), "1")
        assert_that(negative, equal_to([-1]), "2")
        assert_that(zero, equal_to([0]), "3")


def test_without_a_name_the_main_output_is_not_unpacked():
    p = beam.Pipeline()
    result = p | beam.Create([1]) | beam.ParDo(Sorts()).with_outputs("negative", "zero")
    assert list(result) == [result.negative, result.zero]
    assert result[None].producer is not None


def test_any_output_may_be_asked_for_when_none_is_named():
    p = beam.Pipeline()
    result = p | beam.Create([1]) | "Step" >> beam.ParDo(Sorts()).with_outputs()
    result.zero | beam.Map(str)
    step = steps_of(p)["Step"]
    assert list(step.outputs) == ["out", "zero"]
    assert step.spec["tags"] == ["zero"]


def test_unknown_outputs():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    result = numbers | beam.ParDo(Sorts()).with_outputs("negative", main="m")
    with pytest.raises(ValueError, match="has no output 'zero'; with_outputs named 'm', 'negative'"):
        result["zero"]
    with pytest.raises(AttributeError, match="has no output 'zero'"):
        _ = result.zero
    allowing = numbers | "Allowing" >> beam.ParDo(Sorts()).with_outputs("negative", allow_unknown_tags=True)
    assert allowing.zero.tag == "zero"


@pytest.mark.parametrize(
    ("arguments", "main", "error", "problem"),
    [
        (("a",), "a", ValueError, "must be different"),
        ((1,), None, TypeError, "tags of type str"),
        (("out",), None, ValueError, "kept for the main output"),
    ],
)
def test_wrong_tags(arguments, main, error, problem):
    with pytest.raises(error, match=problem):
        beam.ParDo(Sorts()).with_outputs(*arguments, main=main)


def test_tagged_output_needs_its_tag_first():
    with pytest.raises(TypeError, match=r"Write TaggedOutput\('errors', value\)"):
        beam.TaggedOutput(3, "errors")
    assert beam.TaggedOutput("a", 1) == cloudpickle.loads(cloudpickle.dumps(beam.TaggedOutput("a", 1)))


def test_the_label_stands_before_or_after_with_outputs():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    numbers | "One" >> beam.ParDo(Sorts()).with_outputs("zero")
    numbers | beam.ParDo(Sorts()).with_outputs("zero")
    found = steps_of(p)
    assert {"One", "ParDo(Sorts)"} <= set(found)
    assert found["One"].urn == urns.PARDO


def test_the_spec_of_a_pardo_in_the_graph():
    p = beam.Pipeline()
    p | beam.Create([1]) | "Step" >> beam.ParDo(Sorts()).with_outputs("zero", main="m")
    spec = steps_of(p)["Step"].spec
    assert spec == {
        "dofn": f"{__name__}.Sorts",
        "kind": "dofn",
        "main": "m",
        "tags": ["zero"],
        "stateful": False,
        "splittable": False,
        "state": [],
        "timers": [],
        "requires_time_sorted_input": False,
    }


def test_types_of_tagged_outputs():
    p = beam.Pipeline()
    step = beam.ParDo(Sorts()).with_output_types(int, zero=str)
    result = p | beam.Create([1]) | step.with_outputs("zero", "negative")
    assert result[None].element_type is int
    assert result.zero.element_type is str
    assert str(result.negative.element_type) == "Any"


def test_partition():
    low, high = [1, 5, 2, 9] | beam.Partition(lambda x, n, limit: int(x > limit), 2, 4)
    assert (sorted(low), sorted(high)) == ([1, 2], [5, 9])


def test_partition_with_a_partition_fn_and_a_side_input():
    class ByLimit(beam.PartitionFn):
        def partition_for(self, element, num_partitions, limit):
            return min(num_partitions - 1, element // limit)

    with beam.Pipeline() as p:
        limit = p | "Limit" >> beam.Create([10])
        parts = p | beam.Create([5, 15, 99]) | beam.Partition(ByLimit(), 3, beam.pvalue.AsSingleton(limit))
        for index, expected in enumerate([[5], [15], [99]]):
            assert_that(parts[index], equal_to(expected), f"Part {index}")
        assert parts[0].element_type is int


@pytest.mark.parametrize(
    ("part", "problem"), [(2, "it gave 2 for 7"), (-1, "it gave -1"), (True, "True"), ("0", "'0'")]
)
def test_a_part_that_is_none(part, problem):
    with pytest.raises(ValueError, match=f"must give an int from 0 to 1.*{problem}"):
        [7] | beam.Partition(lambda x, n: part, 2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [((), "needs the number of parts"), (("2",), "as an int; it got '2'"), ((0,), "at least one part")],
)
def test_a_partition_needs_a_number_of_parts(arguments, problem):
    with pytest.raises((TypeError, ValueError), match=problem):
        beam.Partition(lambda x, n: 0, *arguments)


def test_values_at_times_and_in_windows_as_tagged_outputs():
    def stamped(x):
        yield beam.TaggedOutput("late", beam.window.TimestampedValue(x, 9))
        yield beam.window.TimestampedValue(x, 5)

    with beam.Pipeline() as p:
        result = p | beam.Create([1]) | beam.ParDo(stamped).with_outputs("late", main="main")
        for tag, seconds in (("main", 5), ("late", 9)):
            times = result[tag] | f"T{tag}" >> beam.Map(lambda x, t=beam.DoFn.TimestampParam: t.micros)
            assert_that(times, equal_to([seconds * 1_000_000]), tag)


@pytest.mark.parametrize("output", ["text", b"bytes", {"a": 1}])
def test_process_may_not_return_a_text_or_dict(output):
    with pytest.raises(TypeError, match=r"(?s)Step"), beam.Pipeline() as p:
        p | beam.Create([1]) | "Step" >> beam.ParDo(lambda x: output)
