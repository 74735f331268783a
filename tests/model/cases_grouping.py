"""Cases: GroupByKey with keys and values of every kind, in windows, CoGroupByKey, Reshuffle, Distinct."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import math
from typing import NamedTuple

import numpy as np
from model.table import BEGINNING, END, GLOBAL, At, case, grouped, in_time

import hornbeam as beam
from hornbeam.transforms.util import ReshufflePerKey
from hornbeam.transforms.window import FixedWindows, SlidingWindows
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

NAN = math.nan


@dataclasses.dataclass(frozen=True)
class Place:
    x: int
    name: str


class Point(NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@case([((1, "a"), [1, 2, 3]), ((0, "a"), [4])])
def keys_that_their_coder_writes_alike_are_one_key(p):
    keys = [(1, "a"), (np.int64(1), np.str_("a")), (True, "a"), (False, np.str_("a"))]
    typed = beam.Map(lambda pair: pair).with_output_types(tuple[tuple[int, str], int])
    return grouped(p | beam.Create(list(zip(keys, range(1, 5)))) | typed)


@case([("a", [1, 3]), ("b", [2])])
def group_by_key_with_text_keys(p):
    return grouped(p | beam.Create([("a", 1), ("b", 2), ("a", 3)]))


@case([(1, ["int"]), (1.0, ["float"]), (True, ["bool"])])
def one_as_int_float_and_bool_are_three_keys(p):
    return grouped(p | beam.Create([(1, "int"), (1.0, "float"), (True, "bool")]))


@case([(0, ["int"]), (0.0, ["float", "float"]), (-0.0, ["minus"]), (False, ["bool"])])
def zero_and_minus_zero_are_two_keys(p):
    pairs = [(0, "int"), (0.0, "float"), (-0.0, "minus"), (False, "bool"), (0.0, "float")]
    return grouped(p | beam.Create(pairs))


@case([(NAN, [1, 2])])
def nan_is_one_key(p):
    return grouped(p | beam.Create([(NAN, 1), (float("nan"), 2)]))


@case([(None, [1, 2]), ("", [3])])
def none_may_be_a_key(p):
    return grouped(p | beam.Create([(None, 1), (None, 2), ("", 3)]))


@case([(b"a", [1]), ("a", [2])])
def bytes_and_text_are_different_keys(p):
    return grouped(p | beam.Create([(b"a", 1), ("a", 2)]))


@case([((1, "a"), [1, 4]), ((1.0, "a"), [2]), ((True, "a"), [3]), ((), [5]), ((1,), [6])])
def tuples_are_keys_item_by_item(p):
    pairs = [((1, "a"), 1), ((1.0, "a"), 2), ((True, "a"), 3), ((1, "a"), 4), ((), 5), ((1,), 6)]
    return grouped(p | beam.Create(pairs))


@case([(((1, (2,)), None), [1, 2]), (((1, (2.0,)), None), [3])])
def nested_tuples_are_keys(p):
    pairs = [(((1, (2,)), None), 1), (((1, (2,)), None), 2), (((1, (2.0,)), None), 3)]
    return grouped(p | beam.Create(pairs))


@case([(Place(1, "a"), [1, 3]), (Place(2, "a"), [2])])
def frozen_dataclasses_are_keys(p):
    return grouped(p | beam.Create([(Place(1, "a"), 1), (Place(2, "a"), 2), (Place(1, "a"), 3)]))


@case([(Point(1, 2), [1, 3]), ((1, 2), [2])])
def a_named_tuple_is_another_key_than_the_plain_tuple(p):
    return grouped(p | beam.Create([(Point(1, 2), 1), ((1, 2), 2), (Point(1, 2), 3)]))


@case([(Color.RED, [1, 3]), (Color.BLUE, [2])])
def enums_are_keys(p):
    return grouped(p | beam.Create([(Color.RED, 1), (Color.BLUE, 2), (Color.RED, 3)]))


@case([(frozenset({1, 2, 3}), [1, 2])])
def frozensets_are_keys_whatever_their_order(p):
    return grouped(p | beam.Create([(frozenset([1, 2, 3]), 1), (frozenset([3, 2, 1]), 2)]))


@case([(2**70, [1, 3]), (2**70 + 1, [2]), (-(2**64), [4])])
def large_integers_are_keys(p):
    return grouped(p | beam.Create([(2**70, 1), (2**70 + 1, 2), (2**70, 3), (-(2**64), 4)]))


@case([("a", [1]), (1, [2]), (None, [3]), ((1, 2), [4]), (2.5, [5]), (b"x", [6]), (True, [7])])
def keys_of_all_kinds_in_one_collection(p):
    pairs = [("a", 1), (1, 2), (None, 3), ((1, 2), 4), (2.5, 5), (b"x", 6), (True, 7)]
    return grouped(p | beam.Create(pairs))


@case([("k", [[1], {"a": 2}, None, decimal.Decimal("1.5")])])
def values_may_be_anything(p):
    pairs = [("k", v) for v in ([1], {"a": 2}, None, decimal.Decimal("1.5"))]
    return (
        p
        | beam.Create(pairs)
        | beam.GroupByKey()
        | beam.MapTuple(lambda k, vs: (k, sorted(vs, key=lambda v: "[{ND".index(repr(v)[0]))))
    )


@case([("k", 3, 3, [1, 2, 3])])
def values_of_a_key_may_be_iterated_again(p):
    return (
        p
        | beam.Create([("k", 1), ("k", 2), ("k", 3)])
        | beam.GroupByKey()
        | beam.MapTuple(lambda k, vs: (k, len(list(vs)), len(list(vs)), sorted(vs)))
    )


@case([])
def group_by_key_of_nothing(p):
    return grouped(p | beam.Create([]))


ONLY = PaneInfo(True, True, PaneInfoTiming.ON_TIME, 0, 0)


@case([At(("a", [1, 2]), END, GLOBAL, ONLY)])
def a_global_group_fires_once_at_the_end_of_the_window(p):
    return grouped(in_time(p, (("a", 1), 5), (("a", 2), 6)))


@case(
    [
        At(("a", [1, 2]), 9.999999, (0, 10), ONLY),
        At(("a", [3]), 19.999999, (10, 20), ONLY),
        At(("b", [4]), 19.999999, (10, 20), ONLY),
        At(("b", [5]), -0.000001, (-10, 0), ONLY),
    ]
)
def group_by_key_in_fixed_windows(p):
    pairs = [(("a", 1), 1), (("a", 2), 9.999999), (("a", 3), 10), (("b", 4), 12), (("b", 5), -0.000001)]
    return grouped(in_time(p, *pairs) | beam.WindowInto(FixedWindows(10)))


@case(
    [
        At((1, ["x"]), 4.999999, (-5, 5)),
        At((1, ["x", "y"]), 9.999999, (0, 10)),
        At((1, ["y"]), 14.999999, (5, 15)),
    ]
)
def group_by_key_in_sliding_windows(p):
    return grouped(in_time(p, ((1, "x"), 1), ((1, "y"), 6)) | beam.WindowInto(SlidingWindows(10, 5)))


@case([("a", [1, 2, 3]), ("b", [9])])
def grouping_what_was_grouped(p):
    first = p | beam.Create([("a", 1), ("a", 2), ("b", 9), ("a", 3)]) | "first" >> beam.GroupByKey()
    pairs = first | beam.FlatMapTuple(lambda k, vs: [(k, v) for v in vs])
    return grouped(pairs, "second")


@case([(key, [value for value in range(600) if value % 40 == key]) for key in range(40)])
def many_keys_and_values(p):
    return (
        p
        | beam.Create([(value % 40, value) for value in range(600)])
        | beam.GroupByKey()
        | beam.MapTuple(lambda k, vs: (k, sorted(vs)))
    )


@case([("hot", 100_000, 2 * sum(range(100_000))), ("cold", 1, 0)])
def a_hot_key_may_be_iterated_twice_also_from_disk(p):
    pairs = (
        p
        | beam.Create(["cold", "hot"])
        | beam.FlatMap(lambda k: ((k, v) for v in range(100_000 if k == "hot" else 1)))
    )
    return pairs | beam.GroupByKey() | beam.MapTuple(lambda k, vs: (k, sum(1 for _ in vs), sum(vs) + sum(vs)))


# CoGroupByKey


def _sorted(key, streams):
    return key, {name: sorted(values) for name, values in streams.items()}


@case([("a", {"l": [1, 2], "r": [10]}), ("b", {"l": [3], "r": []}), ("c", {"l": [], "r": [30]})])
def co_group_by_key_of_a_dict(p):
    left = p | "l" >> beam.Create([("a", 1), ("a", 2), ("b", 3)])
    right = p | "r" >> beam.Create([("a", 10), ("c", 30)])
    return {"l": left, "r": right} | beam.CoGroupByKey() | beam.MapTuple(_sorted)


@case([("a", ([1], [10])), ("b", ([], [20]))])
def co_group_by_key_of_a_tuple(p):
    left = p | "l" >> beam.Create([("a", 1)])
    right = p | "r" >> beam.Create([("a", 10), ("b", 20)])
    return (
        (left, right)
        | beam.CoGroupByKey()
        | beam.MapTuple(lambda k, streams: (k, tuple(sorted(values) for values in streams)))
    )


@case(
    [
        At(("a", {"l": [1], "r": [10]}), 9.999999, (0, 10)),
        At(("a", {"l": [], "r": [11]}), 19.999999, (10, 20)),
    ]
)
def co_group_by_key_in_windows(p):
    left = in_time(p, (("a", 1), 1), label="l") | "wl" >> beam.WindowInto(FixedWindows(10))
    right = in_time(p, (("a", 10), 2), (("a", 11), 12), label="r") | "wr" >> beam.WindowInto(FixedWindows(10))
    return {"l": left, "r": right} | beam.CoGroupByKey() | beam.MapTuple(_sorted)


@case([("a", {"l": [1], "r": [1]})])
def co_group_by_key_of_one_stream_with_itself(p):
    stream = p | beam.Create([("a", 1)])
    return {"l": stream, "r": stream} | beam.CoGroupByKey() | beam.MapTuple(_sorted)


# Reshuffle, Distinct and what else is made of groups


@case([At(1, 1, (0, 10)), At(2, 2, (0, 10)), At(3, 13, (10, 20))])
def reshuffle_keeps_times_and_windows(p):
    return in_time(p, (1, 1), (2, 2), (3, 13)) | beam.WindowInto(FixedWindows(10)) | beam.Reshuffle()


@case([At(1, 3, (-5, 5)), At(1, 3, (0, 10))])
def reshuffle_keeps_several_windows(p):
    return in_time(p, (1, 3)) | beam.WindowInto(SlidingWindows(10, 5)) | beam.Reshuffle()


@case([("a", 1), ("a", 1), ("a", 2)])
def reshuffle_keeps_duplicates(p):
    return p | beam.Create([("a", 1), ("a", 1), ("a", 2)]) | beam.Reshuffle()


@case([At(("a", 1), 4), At(("b", 2), 5)])
def reshuffle_per_key_keeps_times(p):

    return in_time(p, (("a", 1), 4), (("b", 2), 5)) | ReshufflePerKey()


@case([1, 1.0, True, "a", None])
def distinct_tells_types_apart(p):
    return p | beam.Create([1, 1.0, True, "a", None, 1, "a", None, True]) | beam.Distinct()


@case([At(1, window=(0, 10)), At(1, window=(10, 20))])
def distinct_is_by_window(p):
    return in_time(p, (1, 1), (1, 2), (1, 11)) | beam.WindowInto(FixedWindows(10)) | beam.Distinct()


@case([At(7, BEGINNING, GLOBAL)])
def reshuffle_of_what_has_no_time(p):
    return p | beam.Create([7]) | beam.Reshuffle()
