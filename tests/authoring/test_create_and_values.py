"""Create, rows, GroupBy and Select, and transforms on plain Python values."""

from __future__ import annotations

import pickle
import time

import pytest

import hornbeam as beam
from hornbeam.testing.util import assert_that, equal_to


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ((1,), [1]),
        ({"a": 1}, [("a", 1)]),
        (range(3), [0, 1, 2]),
        (iter([5]), [5]),
        ([], []),
    ],
)
def test_what_can_be_created(values, expected):
    with beam.Pipeline() as p:
        assert_that(p | beam.Create(values), equal_to(expected))


@pytest.mark.parametrize("text", ["abc", b"abc"])
def test_a_text_is_not_taken_apart(text):
    with pytest.raises(TypeError, match=r"Write Create\(\[b?'abc'\]\)"):
        beam.Create(text)


def test_what_cannot_be_iterated_is_refused():
    with pytest.raises(TypeError, match="needs an iterable of values; it got 3"):
        beam.Create(3)
    with pytest.raises(TypeError, match="is a PCollection already"):
        beam.Create(beam.Pipeline() | beam.Create([1]))


def test_values_are_taken_when_the_step_is_applied():
    values = [1]
    with beam.Pipeline() as p:
        created = p | beam.Create(values)
        values.append(2)
        assert_that(created, equal_to([1]))


@pytest.mark.parametrize(
    ("values", "reshuffle", "expected"), [([1, 2], True, 1), ([1, 2], False, 0), ([1], True, 0)]
)
def test_reshuffling_only_where_it_helps(values, reshuffle, expected):
    p = beam.Pipeline()
    p | beam.Create(values, reshuffle=reshuffle)
    assert sum(t.urn == "beam:transform:reshuffle:v1" for t in p.to_graph().transforms.values()) == expected


def test_many_values_are_created_quickly():
    start = time.process_time()
    p = beam.Pipeline()
    p | beam.Create(range(500_000))
    p.to_graph()
    assert time.process_time() - start < 10  # of the processor's time; it takes some tenths


def test_functions_are_taken_when_the_step_is_applied():
    with beam.Pipeline() as p:
        numbers = p | beam.Create([1])
        results = []
        for factor in (1, 2, 3):
            results.append(numbers | f"Times {factor}" >> beam.Map(lambda x: x * factor))  # noqa: B023
        for factor, result in enumerate(results, 1):
            assert_that(result, equal_to([factor]), f"Check {factor}")


def test_rows():
    row = beam.Row(word="king", count=3)
    assert (row.word, row.count) == ("king", 3)
    assert row == beam.Row(word="king", count=3) != beam.Row(word="king", count=4)
    assert row != beam.Row(count=3, word="king") and hash(row) == hash(beam.Row(word="king", count=3))
    assert list(row) == ["king", 3]
    assert row != {"word": "king", "count": 3}
    assert repr(row) == "Row(word='king', count=3)"
    assert row.as_dict() == row._asdict() == {"word": "king", "count": 3}
    assert pickle.loads(pickle.dumps(row)) == row


def test_select_names_and_functions():
    rows = [beam.Row(a=1, b=beam.Row(c=2))]
    assert rows | beam.Select("a", "b.c", double=lambda r: r.a * 2) == [
        beam.Row(**{"a": 1, "b.c": 2, "double": 2})
    ]
    assert beam.Select("a", lambda r: r.a, x=len).label == "ToRows(a, arg01, x)"
    with pytest.raises(
        TypeError, match="field expression 'x' must be a function or an attribute's name; it is 3"
    ):
        beam.Select(x=3)


GROCERIES = [
    beam.Row(recipe="pie", fruit="strawberry", quantity=3, price=1.5),
    beam.Row(recipe="pie", fruit="raspberry", quantity=1, price=3.5),
    beam.Row(recipe="muffin", fruit="blueberry", quantity=2, price=2.0),
    beam.Row(recipe="muffin", fruit="banana", quantity=3, price=1.0),
]


def test_group_by_one_field():
    grouped = GROCERIES | beam.GroupBy("recipe")
    assert {key: sorted(row.fruit for row in rows) for key, rows in grouped} == {
        "pie": ["raspberry", "strawberry"],
        "muffin": ["banana", "blueberry"],
    }
    assert beam.GroupBy("recipe").label == "GroupBy(recipe)"


def test_group_by_several_fields_gives_named_keys():
    grouped = GROCERIES | beam.GroupBy("recipe", berry=lambda row: "berry" in row.fruit)
    keys = sorted(tuple(key) for key, _ in grouped)
    assert keys == [("muffin", False), ("muffin", True), ("pie", True)]
    assert all((key.recipe, key.berry) == tuple(key) for key, _ in grouped)
    ((key, _),) = [1] | beam.GroupBy(lambda x: x).force_tuple_keys()
    assert key == (1,) and key._fields == ("key",)


def test_group_by_with_aggregation():
    result = GROCERIES | (
        beam.GroupBy("recipe")
        .aggregate_field("quantity", sum, "total_quantity")
        .aggregate_field(lambda row: row.quantity * row.price, sum, "price")
        .aggregate_field("price", max, "max_price")
    )
    assert sorted(map(tuple, result)) == [("muffin", 5, 7.0, 2.0), ("pie", 4, 8.0, 3.5)]
    assert result[0]._fields == ("recipe", "total_quantity", "price", "max_price")
    assert pickle.loads(pickle.dumps(result[0])) == result[0]


def test_group_by_nothing_aggregates_all():
    result = GROCERIES | beam.GroupBy().aggregate_field("quantity", sum, "total")
    assert list(map(tuple, result)) == [(9,)]


def test_a_group_by_needs_fields_or_functions():
    with pytest.raises(TypeError, match="field expression 0 must be a function"):
        beam.GroupBy(3)


class Multiples(beam.PTransform):
    def expand(self, pcoll):
        return {
            "even": pcoll | "Even" >> beam.Filter(lambda x: x % 2 == 0),
            "odd": (
                pcoll | "Odd" >> beam.Filter(lambda x: x % 2),
                pcoll | "Count" >> beam.combiners.Count.Globally(),
            ),
        }


def test_plain_values_run_at_once():
    assert [1, 2] | beam.Map(lambda x: x * 2) == [2, 4]
    assert sorted(([1, 2], [3]) | beam.Flatten()) == [1, 2, 3]
    assert sorted([[1, 2], [3]] | beam.Flatten()) == [1, 2, 3]
    assert [] | beam.Map(str) == []
    assert [1] | "Label" >> beam.Map(str) == ["1"]
    assert range(3) | beam.Map(str) == ["0", "1", "2"]


def test_structures_of_plain_values():
    assert [1, 2, 3] | Multiples() == {"even": [2], "odd": ([1, 3], [3])}
    joined = {"x": [("a", 1)], "y": [("a", 2)]} | beam.CoGroupByKey()
    assert [(k, {n: list(v) for n, v in groups.items()}) for k, groups in joined] == [
        ("a", {"x": [1], "y": [2]})
    ]
    assert [1, -1] | beam.ParDo(lambda x: [x]).with_outputs("a", main="b") == ([1, -1], [])


def test_a_failing_function_on_plain_values_raises():
    with pytest.raises(ZeroDivisionError):
        [0] | beam.Map(lambda x: 1 / x)


def test_plain_values_leave_nothing_behind():
    from hornbeam.transforms import immediate

    [1] | beam.Map(str)
    with pytest.raises(ZeroDivisionError):
        [0] | beam.Map(lambda x: 1 / x)
    assert immediate._collected == {}
