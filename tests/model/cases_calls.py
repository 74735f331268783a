"""Cases: what user functions are called with. Arguments, keywords, context parameters."""

from __future__ import annotations

import functools

from model.table import BEGINNING, GLOBAL, case, in_time, plain_window

import hornbeam as beam
from hornbeam.transforms.window import FixedWindows, SlidingWindows
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo, PaneInfoTiming

T, W, P, K = beam.DoFn.TimestampParam, beam.DoFn.WindowParam, beam.DoFn.PaneInfoParam, beam.DoFn.KeyParam


@case([2, 3])
def map_calls_the_function_with_each_element(p):
    return p | beam.Create([1, 2]) | beam.Map(lambda x: x + 1)


@case([11, 12])
def map_with_a_positional_argument(p):
    return p | beam.Create([1, 2]) | beam.Map(lambda x, y: x + y, 10)


@case([(1, 10, "k"), (2, 10, "k")])
def map_with_positional_and_keyword_arguments(p):
    return p | beam.Create([1, 2]) | beam.Map(lambda x, y, z=None: (x, y, z), 10, z="k")


@case([(1, 5), (2, 5)])
def map_with_a_keyword_only_argument(p):
    def add(x, *, y):
        return x, y

    return p | beam.Create([1, 2]) | beam.Map(add, y=5)


@case([(1, (2, 3), {"a": 4})])
def map_with_star_args_and_star_kwargs(p):
    return p | beam.Create([1]) | beam.Map(lambda x, *args, **kwargs: (x, args, kwargs), 2, 3, a=4)


@case([(1, "default")])
def map_with_a_default_argument(p):
    return p | beam.Create([1]) | beam.Map(lambda x, y="default": (x, y))


@case(["A", "B"])
def map_with_a_builtin_method(p):
    return p | beam.Create(["a", "b"]) | beam.Map(str.upper)


@case([1, 2])
def map_with_a_type(p):
    return p | beam.Create(["1", "2"]) | beam.Map(int)


@case([3, 4])
def map_with_a_partial(p):
    return p | beam.Create([1, 2]) | beam.Map(functools.partial(lambda y, x: x + y, 2))


class Adder:
    """A callable object, and one with a method."""

    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def add(self, x):
        return x + self.n


@case([6, 7])
def map_with_a_callable_object(p):
    return p | beam.Create([1, 2]) | beam.Map(Adder(5))


@case([6, 7])
def map_with_a_bound_method(p):
    return p | beam.Create([1, 2]) | beam.Map(Adder(5).add)


@case([1, 1, 2, 2])
def flat_map_with_a_count(p):
    return p | beam.Create([1, 2]) | beam.FlatMap(lambda x, times: [x] * times, 2)


@case([1, 2])
def flat_map_without_a_function_flattens(p):
    return p | beam.Create([[1], [2]]) | beam.FlatMap()


@case([2])
def flat_map_may_give_none(p):
    return p | beam.Create([1, 2]) | beam.FlatMap(lambda x: [x] if x > 1 else None)


@case([2, 3])
def filter_with_an_argument(p):
    return p | beam.Create([1, 2, 3]) | beam.Filter(lambda x, least: x >= least, 2)


@case([1, "a", [0]])
def filter_takes_truth_as_python_does(p):
    return p | beam.Create([0, 1, "", "a", [], [0], None]) | beam.Filter(lambda x: x)


@case([(1, "a", 9), (2, "b", 9)])
def map_tuple_with_an_argument(p):
    return p | beam.Create([(1, "a"), (2, "b")]) | beam.MapTuple(lambda n, t, extra=0: (n, t, extra), 9)


@case(["a", "b", "b"])
def flat_map_tuple_unpacks_the_element(p):
    return p | beam.Create([("a", 1), ("b", 2)]) | beam.FlatMapTuple(lambda text, n: [text] * n)


@case([("a", 1, 2.0)])
def map_tuple_with_a_timestamp(p):
    return in_time(p, (("a", 1), 2)) | "call" >> beam.MapTuple(lambda k, v, t=T: (k, v, t.micros / 1e6))


# Context


@case([(1, 10.0), (2, 20.5)])
def timestamp_param(p):
    return in_time(p, (1, 10), (2, 20.5)) | beam.Map(lambda x, t=T: (x, t.micros / 1e6))


@case([(1, BEGINNING, GLOBAL)])
def elements_of_create_are_in_the_global_window(p):
    return p | beam.Create([1]) | beam.Map(lambda x, t=T, w=W: (x, t.micros / 1e6, plain_window(w)))


@case([(1, (0.0, 10.0)), (2, (10.0, 20.0))])
def window_param(p):
    return (
        in_time(p, (1, 1), (2, 12))
        | beam.WindowInto(FixedWindows(10))
        | beam.Map(lambda x, w=W: (x, plain_window(w)))
    )


@case([(1, (0.0, 10.0)), (1, (-5.0, 5.0))])
def a_function_that_asks_for_the_window_is_called_for_each(p):
    return (
        in_time(p, (1, 1))
        | beam.WindowInto(SlidingWindows(10, 5))
        | beam.Map(lambda x, w=W: (x, plain_window(w)))
    )


@case([(1, PANE_INFO_UNKNOWN)])
def pane_info_of_what_was_never_grouped(p):
    return p | beam.Create([1]) | beam.Map(lambda x, pane=P: (x, pane))


@case([("a", PaneInfo(True, True, PaneInfoTiming.ON_TIME, 0, 0))])
def pane_info_of_what_was_grouped(p):
    return p | beam.Create([("a", 1)]) | beam.GroupByKey() | beam.MapTuple(lambda k, v, pane=P: (k, pane))


@case([("a", 1), ("b", 2)])
def key_param(p):
    return p | beam.Create([("a", 1), ("b", 2)]) | beam.Map(lambda kv, key=K: (key, kv[1]))


class AsksForAll(beam.DoFn):
    """A DoFn that asks for everything at once."""

    def process(self, element, extra, t=T, w=W, pane=P, key=K, *, named):
        yield key, element[1], extra, t.micros / 1e6, plain_window(w), pane.is_first, named


@case([("k", 1, "extra", 3.0, (0.0, 10.0), True, "named")])
def all_parameters_of_process_at_once(p):
    return (
        in_time(p, (("k", 1), 3))
        | beam.WindowInto(FixedWindows(10))
        | beam.ParDo(AsksForAll(), "extra", named="named")
    )


class AsksForElementLast(beam.DoFn):
    def process(self, t=T, w=W, x=beam.DoFn.ElementParam):
        yield x, t.micros / 1e6


@case([(1, 4.0)])
def the_element_may_be_asked_for_in_any_place(p):
    return in_time(p, (1, 4)) | beam.ParDo(AsksForElementLast())
