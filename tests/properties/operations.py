"""The operations of generated pipelines: what streams each takes, how it is applied, what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import strategies as st
from properties.vocabulary import (
    COMBINES,
    KEY_FNS,
    LINKS,
    WINDOW_FNS,
    Describe,
    HoldToEndOfBundle,
    Rewrap,
    Scaled,
    Split,
    digest,
)

import hornbeam as beam
from hornbeam.transforms import window
from hornbeam.utils.timestamp import Timestamp

# What is known of a stream's elements: what may be done with them.
ATOM = "atom"  #: has a deterministic encoding
PAIR = "pair"  #: (atom, int)
GROUP = "group"  #: holds values in no order

_seconds = st.sampled_from([1, 2, 3, 5, 7, 10, 0.5, 60])
_offsets = st.sampled_from([0, 1, 2.5, -3])
_window_fns = st.one_of(
    st.just(("global",)),
    st.tuples(st.just("fixed"), _seconds, _offsets),
    st.tuples(st.just("sliding"), st.sampled_from([2, 4, 5]), st.sampled_from([1, 2, 3, 6]), _offsets),
    st.tuples(st.just("sessions"), _seconds),
    st.just(("halves",)),
    st.just(("named",)),
    st.just(("clusters",)),
)


def _restamped(element: Any, timestamp: Any = beam.DoFn.TimestampParam) -> Any:
    return window.TimestampedValue(element, Timestamp(digest(element) * 3))


@attrs.frozen
class Operation:
    """How a step is applied, which streams it takes, and what comes out of it."""

    apply: Callable[..., list[Any]]
    #: The kinds of streams that it takes, one of each.
    takes: tuple[tuple[str, ...], ...] = ((ATOM, PAIR, GROUP),)
    #: The kinds of its outputs; None stands for the first input's.
    gives: tuple[str | None, ...] = (ATOM,)
    params: st.SearchStrategy[Any] = attrs.field(factory=st.none)
    same_windowing: bool = False
    second_is_side_input: bool = False
    #: The names of the window functions that it is for, where it is not for all.
    windows: tuple[str, ...] = tuple(WINDOW_FNS)


def _chain(label: str, links: tuple[str, ...], stream: Any) -> list[Any]:
    for number, link in enumerate(links):
        stream = stream | f"{label}_{number}" >> LINKS[link]()
    pairs = stream | f"{label}_pairs" >> beam.Map(lambda x: (digest(x), 1))
    return [pairs | label >> beam.MapTuple(lambda x, n: x + n)]


def _window_into(label: str, param: Any, stream: Any) -> list[Any]:
    (name, *arguments), combiner = param
    return [
        stream
        | label
        >> beam.WindowInto(
            WINDOW_FNS[name](*arguments), timestamp_combiner=window.TimestampCombiner[combiner]
        )
    ]


def _combine_globally(label: str, param: str, stream: Any) -> list[Any]:
    numbers = stream | f"{label}_digest" >> beam.Map(digest)
    return [numbers | label >> beam.CombineGlobally(COMBINES[param]()).without_defaults()]


def _tagged(label: str, param: Any, stream: Any) -> list[Any]:
    outputs = stream | label >> beam.ParDo(Split()).with_outputs("odd", "thirds", main="even")
    return [outputs.even, outputs.odd, outputs.thirds]


def _rewrapped(label: str, param: Any, stream: Any) -> list[Any]:
    outputs = stream | label >> beam.ParDo(Rewrap()).with_outputs("twice", main="once")
    return [outputs.once, outputs.twice]


def _with_failures(label: str, param: Any, stream: Any) -> list[Any]:
    good, bad = stream | label >> beam.Map(lambda x: 10 // digest(x)).with_exception_handling()
    return [good, bad | f"{label}_failed" >> beam.Map(lambda failure: failure[0])]


def _with_singleton_view(label: str, name: str, main: Any, side: Any) -> list[Any]:
    numbers = side | f"{label}_digest" >> beam.Map(digest)
    view = numbers | f"{label}_combine" >> beam.CombineGlobally(COMBINES[name]()).as_singleton_view()
    return [main | label >> beam.Map(lambda x, one: digest((x, one)), view)]


def _combine_scaled_by_side_input(label: str, param: Any, pairs: Any, side: Any) -> list[Any]:
    largest = (
        side
        | f"{label}_global" >> beam.WindowInto(window.GlobalWindows())
        | f"{label}_digest" >> beam.Map(digest)
        | f"{label}_max" >> beam.CombineGlobally(max).without_defaults()
    )
    factor = beam.pvalue.AsSingleton(largest, default_value=7)
    return [pairs | label >> beam.CombinePerKey(Scaled(), factor)]


def _with_side_values(view: Any) -> Callable[..., list[Any]]:
    def apply(label: str, param: Any, main: Any, side: Any) -> list[Any]:
        return [main | label >> beam.Map(lambda x, values: digest((x, list(values))), view(side))]

    return apply


def _with_singleton(label: str, param: Any, main: Any, side: Any) -> list[Any]:
    largest = (
        side
        | f"{label}_digest" >> beam.Map(digest)
        | f"{label}_max" >> beam.CombineGlobally(max).without_defaults()
    )
    singleton = beam.pvalue.AsSingleton(largest, default_value="none")
    return [main | label >> beam.Map(lambda x, one: digest((x, one)), one=singleton)]


def _with_dict(label: str, param: Any, main: Any, side: Any) -> list[Any]:
    pairs = (
        side
        | f"{label}_pairs" >> beam.Map(lambda x: (digest(x) % 4, digest(x)))
        | f"{label}_sum" >> beam.CombinePerKey(sum)
    )
    return [
        main
        | label >> beam.Map(lambda x, table: digest((x, table.get(digest(x) % 4))), beam.pvalue.AsDict(pairs))
    ]


def _with_multimap(label: str, param: Any, main: Any, side: Any) -> list[Any]:
    pairs = side | f"{label}_pairs" >> beam.Map(lambda x: (digest(x) % 4, digest(x)))
    multimap = beam.pvalue.AsMultiMap(pairs)
    return [
        main
        | label >> beam.FlatMap(lambda x, table: [digest((x, list(table.get(digest(x) % 4, []))))], multimap)
    ]


def _cogroup(label: str, param: str, left: Any, right: Any) -> list[Any]:
    both = {"left": left, "right": right} if param == "dict" else (left, right)
    return [both | label >> beam.CoGroupByKey()]


_kinds = (ATOM, PAIR, GROUP)
_atoms = (ATOM, PAIR)
_combine = st.sampled_from(sorted(COMBINES))

OPERATIONS: dict[str, Operation] = {
    "map": Operation(lambda label, _, s: [s | label >> beam.Map(digest)]),
    "filter": Operation(
        lambda label, n, s: [s | label >> beam.Filter(lambda x: digest(x) % n != 0)],
        gives=(None,),
        params=st.sampled_from([1, 2, 3, 5]),
    ),
    "flat_map": Operation(
        lambda label, _, s: [s | label >> beam.FlatMap(lambda x: range(digest(x) % 4))],
    ),
    "key_by": Operation(
        lambda label, name, s: [s | label >> beam.Map(lambda x: (KEY_FNS[name](digest(x)), digest((x, 1))))],
        gives=(PAIR,),
        params=st.sampled_from(sorted(KEY_FNS)),
    ),
    "chain": Operation(
        _chain, params=st.lists(st.sampled_from(sorted(LINKS)), min_size=2, max_size=6).map(tuple)
    ),
    "tagged": Operation(_tagged, gives=(None, None, ATOM)),
    "partition": Operation(
        lambda label, _, s: list(s | label >> beam.Partition(lambda x, n: digest(x) % n, 2)),
        gives=(None, None),
    ),
    "describe": Operation(lambda label, _, s: [s | label >> beam.ParDo(Describe())]),
    "hold": Operation(lambda label, _, s: [s | label >> beam.ParDo(HoldToEndOfBundle())], gives=(None,)),
    "restamp": Operation(lambda label, _, s: [s | label >> beam.Map(_restamped)], gives=(None,)),
    "stamp": Operation(
        lambda label, factor, s: [s | label >> beam.WithTimestamps(lambda x: digest(x) * factor)],
        gives=(None,),
        params=st.sampled_from([2, 0.5, -3]),
    ),
    "map_context": Operation(
        lambda label, _, s: [
            s
            | label
            >> beam.Map(
                lambda x, at=beam.DoFn.TimestampParam, w=beam.DoFn.WindowParam: digest(
                    (x, at.micros, repr(w))
                )
            )
        ],
    ),
    "rewrap": Operation(_rewrapped, gives=(None, ATOM)),
    "failing": Operation(_with_failures, gives=(ATOM, None)),
    "group_by": Operation(
        lambda label, _, s: [s | label >> beam.GroupBy(lambda x: digest(x) % 3)], gives=(GROUP,)
    ),
    "swap": Operation(lambda label, _, s: [s | label >> beam.KvSwap()], takes=((PAIR,),)),
    "top_per_key": Operation(
        lambda label, n, s: [s | label >> beam.combiners.Top.PerKey(n)],
        takes=((PAIR,),),
        gives=(GROUP,),
        params=st.sampled_from([1, 2, 5]),
    ),
    "list_per_key": Operation(
        lambda label, _, s: [s | label >> beam.CombinePerKey(beam.combiners.ToListCombineFn())],
        takes=((PAIR,),),
        gives=(GROUP,),
    ),
    "set_globally": Operation(
        lambda label, _, s: [
            s | label >> beam.CombineGlobally(beam.combiners.ToSetCombineFn()).without_defaults()
        ],
        takes=(_atoms,),
        gives=(GROUP,),
    ),
    "combine_with_fanout": Operation(
        lambda label, name, s: [s | label >> beam.CombinePerKey(COMBINES[name]()).with_hot_key_fanout(2)],
        takes=((PAIR,),),
        gives=(PAIR,),
        params=_combine,
    ),
    "combine_scaled": Operation(
        lambda label, factor, s: [s | label >> beam.CombinePerKey(Scaled(), factor)],
        takes=((PAIR,),),
        gives=(PAIR,),
        params=st.integers(0, 3),
    ),
    "combine_scaled_by_side_input": Operation(
        _combine_scaled_by_side_input, takes=((PAIR,), _kinds), gives=(PAIR,)
    ),
    "combine_with_default": Operation(
        lambda label, name, s: [
            s | f"{label}_digest" >> beam.Map(digest) | label >> beam.CombineGlobally(COMBINES[name]())
        ],
        windows=("global",),
        params=st.sampled_from(["sum", "total", "spread", "count"]),
    ),
    "window": Operation(
        _window_into,
        gives=(None,),
        params=st.tuples(
            _window_fns,
            st.sampled_from(["OUTPUT_AT_EOW", "OUTPUT_AT_EARLIEST", "OUTPUT_AT_LATEST"]),
        ),
    ),
    "reshuffle": Operation(
        lambda label, _, s: [s | label >> beam.Reshuffle()], takes=(_atoms,), gives=(None,)
    ),
    "distinct": Operation(lambda label, _, s: [s | label >> beam.Distinct()], takes=(_atoms,), gives=(None,)),
    "combine_globally": Operation(_combine_globally, params=_combine),
    "count_globally": Operation(
        lambda label, _, s: [s | label >> beam.combiners.Count.Globally()], windows=("global",)
    ),
    "count_per_element": Operation(
        lambda label, _, s: [s | label >> beam.combiners.Count.PerElement()], takes=(_atoms,), gives=(PAIR,)
    ),
    "group_by_key": Operation(
        lambda label, _, s: [s | label >> beam.GroupByKey()], takes=((PAIR,),), gives=(GROUP,)
    ),
    "combine_per_key": Operation(
        lambda label, name, s: [s | label >> beam.CombinePerKey(COMBINES[name]())],
        takes=((PAIR,),),
        gives=(PAIR,),
        params=_combine,
    ),
    "group_and_combine_values": Operation(
        lambda label, name, s: [
            s | f"{label}_group" >> beam.GroupByKey() | label >> beam.CombineValues(COMBINES[name]())
        ],
        takes=((PAIR,),),
        gives=(PAIR,),
        params=_combine,
    ),
    "mean_per_key": Operation(
        lambda label, _, s: [s | label >> beam.combiners.Mean.PerKey()], takes=((PAIR,),), gives=(ATOM,)
    ),
    "map_tuple": Operation(
        lambda label, _, s: [s | label >> beam.MapTuple(lambda k, v: (k, v + 1))],
        takes=((PAIR,),),
        gives=(PAIR,),
    ),
    "values": Operation(lambda label, _, s: [s | label >> beam.Values()], takes=((PAIR,),)),
    "keys": Operation(lambda label, _, s: [s | label >> beam.Keys()], takes=((PAIR,),)),
    "cogroup": Operation(
        _cogroup,
        takes=((PAIR,), (PAIR,)),
        gives=(GROUP,),
        params=st.sampled_from(["dict", "tuple"]),
        same_windowing=True,
    ),
    "flatten": Operation(
        lambda label, _, a, b: [(a, b) | label >> beam.Flatten()],
        takes=(_kinds, _kinds),
        gives=(GROUP,),
        same_windowing=True,
    ),
    "flatten_pairs": Operation(
        lambda label, _, a, b: [(a, b) | label >> beam.Flatten()],
        takes=((PAIR,), (PAIR,)),
        gives=(PAIR,),
        same_windowing=True,
    ),
    "with_iter": Operation(
        _with_side_values(beam.pvalue.AsIter), takes=(_kinds, _kinds), second_is_side_input=True
    ),
    "with_list": Operation(
        _with_side_values(beam.pvalue.AsList), takes=(_kinds, _kinds), second_is_side_input=True
    ),
    "with_singleton": Operation(_with_singleton, takes=(_kinds, _kinds), second_is_side_input=True),
    "with_singleton_view": Operation(
        _with_singleton_view,
        takes=(_kinds, _kinds),
        params=st.sampled_from(["sum", "total", "spread", "count"]),
        second_is_side_input=True,
    ),
    "with_dict": Operation(_with_dict, takes=(_kinds, _kinds), second_is_side_input=True),
    "with_multimap": Operation(_with_multimap, takes=(_kinds, _kinds), second_is_side_input=True),
}
