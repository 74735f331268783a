"""The steps of generated streaming pipelines. All take and give pairs (key, something)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from properties.stream_dofns import STATEFUL
from properties.vocabulary import Spread, digest

import hornbeam as beam
from hornbeam.transforms.trigger import AfterCount, Repeatedly
from hornbeam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue


@attrs.frozen
class Operation:
    """How a step is applied to (label, stream, param, side stream), and what may be done with the result.

    If it gives several streams, the steps behind take the first.
    """

    apply: Callable[[str, Any, Any, Any], Any]
    #: What `param` may be.
    params: Sequence[Any] = (None,)
    #: Whether a test looks at the output.
    shows: bool = True
    #: Whether panes come out of it, whose values may be lists.
    groups: bool = False
    takes_grouped: bool = True
    is_stateful: bool = False
    needs_windowing: bool = False
    changes_keys: bool = False
    #: Whether elements of several windows may meet in one, in the order in which those were taken.
    moves_in_time: bool = False


def _numbers(label: str, stream: Any) -> Any:
    """Values as numbers, whatever they are."""
    return stream | f"{label}_number" >> beam.Map(lambda pair: (pair[0], digest(pair[1])))


def _combine(make: Callable[[], Any]) -> Operation:
    return Operation(
        lambda label, s, _, __: _numbers(label, s) | label >> beam.CombinePerKey(make()), groups=True
    )


def _restamp(pair: Any) -> Any:
    return TimestampedValue(pair, digest(pair) * 3)


def _with_side(side_windowing: Callable[[], beam.WindowInto]) -> Operation:
    def apply(label: str, stream: Any, _: Any, side: Any) -> Any:
        view = beam.pvalue.AsList(side | f"{label}_side" >> side_windowing())
        return stream | label >> beam.Map(lambda pair, seen: (pair[0], digest((pair[1], list(seen)))), view)

    return Operation(apply)


def _per_window_side() -> beam.WindowInto:
    return beam.WindowInto(FixedWindows(10))


def _slow_side() -> beam.WindowInto:
    return beam.WindowInto(GlobalWindows(), trigger=Repeatedly(AfterCount(1)), accumulation_mode="DISCARDING")


def _growing_side() -> beam.WindowInto:
    return beam.WindowInto(
        GlobalWindows(), trigger=Repeatedly(AfterCount(2)), accumulation_mode="ACCUMULATING"
    )


#: The operations with a side input.
SIDE = {
    "with_side_per_window": _with_side(_per_window_side),
    "with_slow_side": _with_side(_slow_side),
    "with_growing_side": _with_side(_growing_side),
}
OPERATIONS: dict[str, Operation] = {
    "group": Operation(lambda label, s, _, __: s | label >> beam.GroupByKey(), groups=True),
    "group_with_late": Operation(
        lambda label, s, _, __: tuple(s | label >> beam.GroupByKey(late_tag="late")), groups=True
    ),
    "sum_with_late": Operation(
        lambda label, s, _, __: tuple(
            _numbers(label, s) | label >> beam.CombinePerKey(sum).with_late_output("late")
        ),
        groups=True,
    ),
    "sum": _combine(lambda: sum),
    "count": _combine(beam.combiners.CountCombineFn),
    "spread": _combine(Spread),
    "mean": _combine(beam.combiners.MeanCombineFn),
    "top": _combine(lambda: beam.combiners.TopCombineFn(2)),
    "map": Operation(lambda label, s, _, __: _numbers(label, s), shows=False),
    "filter": Operation(
        lambda label, s, _, __: s | label >> beam.Filter(lambda pair: digest(pair) % 3), shows=False
    ),
    "flat_map": Operation(
        lambda label, s, _, __: (
            s
            | label
            >> beam.FlatMap(lambda pair: [(pair[0], digest((pair, n))) for n in range(digest(pair) % 3)])
        ),
        shows=False,
    ),
    "stamp": Operation(
        lambda label, s, _, __: s | label >> beam.Map(_restamp), shows=False, moves_in_time=True
    ),
    "reshuffle": Operation(
        lambda label, s, _, __: s | label >> beam.Reshuffle(), shows=False, takes_grouped=False
    ),
    "window": Operation(
        lambda label, s, windowing, __: s | label >> windowing.transform(), shows=False, needs_windowing=True
    ),
    "key_and_window": Operation(
        lambda label, s, windowing, __: (
            s
            | f"{label}_key" >> beam.Map(lambda pair: ("xy"[digest(pair[0]) % 2], digest(pair)))
            | label >> windowing.transform()
        ),
        shows=False,
        needs_windowing=True,
        changes_keys=True,
    ),
    **{
        name: Operation(
            lambda label, s, param, _, make=make: _numbers(label, s) | label >> beam.ParDo(make(*param)),
            params=params,
            is_stateful=True,
            groups=True,
        )
        for name, (make, params) in STATEFUL.items()
    },
    **SIDE,
}
