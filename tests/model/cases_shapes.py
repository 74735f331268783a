"""Cases: the shapes of pipelines. Create, Flatten, Partition, diamonds, long chains, wide fans, composites."""

from __future__ import annotations

from model.table import BEGINNING, GLOBAL, At, case, grouped, in_time

import hornbeam as beam
from hornbeam.transforms.window import FixedWindows, TimestampedValue

# Create


@case([])
def create_of_nothing(p):
    return p | beam.Create([])


@case([1, 1.5, "a", b"b", None, True, (1, "x"), [1, [2]], {"k": 1}, frozenset({1}), 1 + 2j])
def create_of_values_of_every_kind(p):
    return p | beam.Create(
        [1, 1.5, "a", b"b", None, True, (1, "x"), [1, [2]], {"k": 1}, frozenset({1}), 1 + 2j]
    )


@case([("a", 1), ("b", 2)])
def create_of_a_dict_gives_its_items(p):
    return p | beam.Create({"a": 1, "b": 2})


@case([0, 1, 2])
def create_of_an_iterator(p):
    return p | beam.Create(iter(range(3)))


@case([1, 2])
def create_of_a_set(p):
    return p | beam.Create({1, 2})


@case([At(1, BEGINNING, GLOBAL), At(2, BEGINNING, GLOBAL)])
def create_without_reshuffle(p):
    return p | beam.Create([1, 2], reshuffle=False)


@case([At(1, 5, GLOBAL), At(2, 0.5, GLOBAL)])
def create_of_timestamped_values(p):
    return p | beam.Create([TimestampedValue(1, 5), TimestampedValue(2, 0.5)])


@case(list(range(3000)))
def create_of_several_chunks(p):
    return p | beam.Create(list(range(3000)))


# Flatten


@case([1, 2, 3])
def flatten_of_two(p):
    return (p | "a" >> beam.Create([1, 2]), p | "b" >> beam.Create([3])) | beam.Flatten()


@case([1, 1, 2, 2])
def flatten_of_the_same_input_twice(p):
    numbers = p | beam.Create([1, 2])
    return (numbers, numbers) | beam.Flatten()


@case([])
def flatten_of_no_inputs(p):
    return () | beam.Flatten(pipeline=p)


@case([1])
def flatten_with_an_empty_input(p):
    return (p | "a" >> beam.Create([1]), p | "b" >> beam.Create([])) | beam.Flatten()


@case([1, 2])
def flatten_of_one(p):
    return (p | beam.Create([1, 2]),) | beam.Flatten()


@case([1, 2, 3, ("k", [4, 5])])
def flatten_of_different_stages(p):
    groups = grouped(p | "pairs" >> beam.Create([("k", 4), ("k", 5)]))
    numbers = p | "numbers" >> beam.Create([1, 2])
    total = numbers | beam.CombineGlobally(sum)
    return (numbers, groups, total) | beam.Flatten()


@case([1, 2, 10, 20])
def flatten_of_a_diamond(p):
    numbers = p | beam.Create([1, 2])
    return (
        numbers | "a" >> beam.Map(lambda x: x),
        numbers | "b" >> beam.Map(lambda x: x * 10),
    ) | beam.Flatten()


@case([1, 2, ("sum", 3)])
def flatten_of_a_stream_and_its_sum(p):
    numbers = p | beam.Create([1, 2])
    total = numbers | beam.CombineGlobally(sum) | beam.Map(lambda n: ("sum", n))
    return (numbers, total) | beam.Flatten()


@case([("k", [1, 2, 10, 20])])
def flatten_before_a_grouping(p):
    a = p | "a" >> beam.Create([("k", 1), ("k", 2)])
    b = a | beam.MapTuple(lambda k, v: (k, v * 10))
    return grouped((a, b) | beam.Flatten())


@case([At(1, 1, (0, 10)), At(2, 12, (10, 20))])
def flatten_keeps_times_and_windows(p):
    a = in_time(p, (1, 1), label="a") | "wa" >> beam.WindowInto(FixedWindows(10))
    b = in_time(p, (2, 12), label="b") | "wb" >> beam.WindowInto(FixedWindows(10))
    return (a, b) | beam.Flatten()


@case([1, 2, 3])
def flatten_with(p):
    return p | "a" >> beam.Create([1]) | beam.FlattenWith(p | "b" >> beam.Create([2, 3]))


# Partition


@case(small=[1, 2], large=[30])
def partition(p):
    small, large = p | beam.Create([1, 2, 30]) | beam.Partition(lambda x, n: int(x > 10), 2)
    return {"small": small, "large": large}


@case(p0=[0, 3], p1=[1, 4], p2=[2])
def partition_with_an_argument(p):
    parts = p | beam.Create(list(range(5))) | beam.Partition(lambda x, n, k: x * k % n, 3, 1)
    return {f"p{i}": part for i, part in enumerate(parts)}


@case([0, 1, 2, 3, 4])
def partitions_flattened_again(p):
    return p | beam.Create(list(range(5))) | beam.Partition(lambda x, n: x % n, 3) | beam.Flatten()


# Shapes


@case(a=[1, 2], b=[2, 3], c=[1, 4])
def one_stream_read_by_three(p):
    numbers = p | beam.Create([1, 2])
    return {
        "a": numbers | "a" >> beam.Map(lambda x: x),
        "b": numbers | "b" >> beam.Map(lambda x: x + 1),
        "c": numbers | "c" >> beam.Map(lambda x: x * x),
    }


@case([200, 201])
def a_chain_of_two_hundred_steps(p):
    numbers = p | beam.Create([0, 1])
    for i in range(200):
        numbers |= f"step {i}" >> beam.Map(lambda x: x + 1)
    return numbers


@case([12])
def a_chain_of_twelve_groupings(p):
    numbers = p | beam.Create([0])
    for i in range(12):
        numbers |= f"sum {i}" >> beam.CombineGlobally(sum)
        numbers |= f"add {i}" >> beam.Map(lambda x: x + 1)
    return numbers


class Scaled(beam.PTransform):
    """A composite of a composite."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def expand(self, pcoll):
        factor = self.factor
        if factor > 1:
            return pcoll | Scaled(factor - 1) | beam.Map(lambda x: x + 1)
        return pcoll | beam.Map(lambda x: x)


@case([2, 3])
def composites_in_composites(p):
    return p | beam.Create([0, 1]) | Scaled(3)


@beam.ptransform_fn
def AddAll(pcoll, n):
    return pcoll | beam.Map(lambda x: x + n)


@case([11, 12])
def a_function_as_a_transform(p):
    return p | beam.Create([1, 2]) | AddAll(10)


class SumsAndProducts(beam.PTransform):
    def expand(self, pcoll):
        return {
            "sum": pcoll | "sum" >> beam.CombineGlobally(sum),
            "negative": pcoll | "negative" >> beam.Map(lambda x: -x),
        }


@case(sum=[3], negative=[-1, -2])
def a_composite_with_several_outputs(p):
    return p | beam.Create([1, 2]) | SumsAndProducts()


@case(unread=[])
def unread_branches_do_no_harm(p):
    numbers = p | beam.Create([("a", 1)])
    numbers | "unread group" >> beam.GroupByKey()
    numbers | "unread window" >> beam.WindowInto(FixedWindows(1))
    return {"unread": numbers | beam.Filter(lambda kv: False)}
