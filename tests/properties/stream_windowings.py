"""Windowings of generated streams: window functions, trigger trees, modes, lateness."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st
from properties.vocabulary import WINDOW_FNS

import hornbeam as beam
from hornbeam.transforms.trigger import (
    AfterAll,
    AfterAny,
    AfterCount,
    AfterEach,
    AfterProcessingTime,
    AfterWatermark,
    Always,
    DefaultTrigger,
    Never,
    OrFinally,
    Repeatedly,
    TriggerFn,
)


@attrs.frozen
class Windowing:
    """What a WindowInto takes; the window function as a name and arguments."""

    window_fn: tuple[Any, ...] = ("fixed", 10)
    trigger: TriggerFn = attrs.field(factory=DefaultTrigger)
    accumulating: bool = False
    lateness: float = 0
    combiner: str = "OUTPUT_AT_EOW"
    #: Whether the end of a window, and its expiry, give panes without elements.
    empty_on_time: bool = True
    empty_at_expiry: bool = False

    def transform(self) -> beam.WindowInto:
        """The WindowInto."""
        name, *arguments = self.window_fn
        return beam.WindowInto(
            WINDOW_FNS[name](*arguments),
            trigger=self.trigger,
            accumulation_mode="ACCUMULATING" if self.accumulating else "DISCARDING",
            timestamp_combiner=self.combiner,
            allowed_lateness=self.lateness,
            on_time_behavior="FIRE_ALWAYS" if self.empty_on_time else "FIRE_IF_NON_EMPTY",
            closing_behavior="EMIT_ALWAYS" if self.empty_at_expiry else "EMIT_IF_NONEMPTY",
        )

    @property
    def merges(self) -> bool:
        """Whether windows become one."""
        return self.window_fn[0] in ("sessions", "clusters")

    @property
    def keeps_to_time(self) -> bool:
        """Whether panes do not depend on the order in which elements come at one time."""
        return self.lateness == 0 and self.trigger in (DefaultTrigger(), AfterWatermark(), Never())

    @property
    def assigns_several(self) -> bool:
        """Whether an element may be in several windows."""
        return self.window_fn[0] in ("sliding", "halves")


_counts = st.integers(1, 4).map(AfterCount)
_clocks = st.sampled_from([2, 5, 5, 10, 0.000001]).map(AfterProcessingTime)
_leaves = st.one_of(
    _counts, _counts, _clocks, st.sampled_from([DefaultTrigger(), AfterWatermark(), Always(), Never()])
)


def _composites(parts: st.SearchStrategy[TriggerFn]) -> st.SearchStrategy[TriggerFn]:
    several = st.lists(parts, min_size=1, max_size=3)
    maybe = st.one_of(st.none(), parts)
    return st.one_of(
        parts.map(Repeatedly),
        parts.map(Repeatedly),
        st.tuples(maybe, maybe).map(lambda two: AfterWatermark(*two)),
        several.map(lambda triggers: AfterAny(*triggers)),
        several.map(lambda triggers: AfterAll(*triggers)),
        several.map(lambda triggers: AfterEach(*triggers)),
        st.tuples(parts, parts).map(lambda two: OrFinally(*two)),
    )


_depth_2 = st.one_of(_leaves, _composites(_leaves))
_depth_3 = st.one_of(_leaves, _composites(_depth_2))
triggers: st.SearchStrategy[TriggerFn] = st.one_of(
    st.just(DefaultTrigger()),
    st.sampled_from(
        [
            AfterWatermark(),
            AfterWatermark(early=AfterCount(2), late=AfterCount(1)),
            AfterWatermark(early=AfterProcessingTime(5), late=AfterCount(2)),
            Repeatedly(AfterCount(2)),
            Repeatedly(AfterProcessingTime(5)),
            Repeatedly(AfterAny(AfterCount(2), AfterProcessingTime(5))),
        ]
    ),
    _depth_3,
    _composites(_depth_3),
)
_window_fns = st.sampled_from(
    [
        ("fixed", 10),
        ("fixed", 5, 2.5),
        ("sliding", 10, 5),
        ("sliding", 4, 6),
        ("sessions", 5),
        ("sessions", 3),
        ("global",),
        ("global",),
        ("halves",),
        ("clusters",),
    ]
)
_combiners = st.sampled_from(["OUTPUT_AT_EOW", "OUTPUT_AT_EARLIEST", "OUTPUT_AT_LATEST"])
_latenesses = st.sampled_from([0, 0, 5, 5, 10, 0.000001, 1000])

_empty_on_time = st.sampled_from([True, True, True, False])
_empty_at_expiry = st.sampled_from([False, False, False, True])

windowings = st.builds(
    Windowing, _window_fns, triggers, st.booleans(), _latenesses, _combiners, _empty_on_time, _empty_at_expiry
)

#: Under which a group does not depend on the order of its elements at one time, the order inside its values apart.
orderless_windowings = st.one_of(
    st.builds(
        Windowing,
        _window_fns,
        st.sampled_from([DefaultTrigger(), AfterWatermark(), Never()]),
        st.booleans(),
        st.just(0),
        _combiners,
    ),
    st.builds(
        Windowing,
        st.sampled_from([("fixed", 10), ("sliding", 10, 5), ("global",)]),
        st.sampled_from(
            [Repeatedly(AfterProcessingTime(5)), AfterWatermark(early=AfterProcessingTime(5)), Never()]
        ),
        st.booleans(),
        st.just(0),
        _combiners,
    ),
)
