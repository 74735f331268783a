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


_USUAL = [
    AfterWatermark(),
    AfterWatermark(early=AfterCount(2), late=AfterCount(1)),
    AfterWatermark(early=AfterProcessingTime(5), late=AfterCount(2)),
    AfterWatermark(late=Always()),
    Repeatedly(AfterCount(2)),
    Repeatedly(AfterProcessingTime(5)),
    Repeatedly(AfterAny(AfterCount(2), AfterProcessingTime(5))),
]
_LEAVES = [
    *[AfterCount(count) for count in (1, 2, 2, 3, 4)],
    *[AfterProcessingTime(delay) for delay in (2, 5, 5, 10, 0.000001)],
    *[DefaultTrigger(), AfterWatermark(), AfterWatermark(), Always(), Never()],
]
_SEVERAL = {"any": AfterAny, "all": AfterAll, "each": AfterEach}


@st.composite
def trigger_trees(draw: st.DrawFn, depth: int = 3) -> TriggerFn:
    """Triggers of triggers of triggers."""
    kind = draw(st.sampled_from(["leaf", "repeatedly", "watermark", "any", "all", "each", "or finally"]))
    if depth == 0 or kind == "leaf":
        return draw(st.sampled_from(_LEAVES))
    part = trigger_trees(depth - 1)
    if kind == "repeatedly":
        return Repeatedly(draw(part))
    if kind == "watermark":
        has_early, has_late = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
        return AfterWatermark(draw(part) if has_early else None, draw(part) if has_late else None)
    if kind == "or finally":
        return OrFinally(draw(part), draw(part))
    return _SEVERAL[kind](*[draw(part) for _ in range(draw(st.sampled_from([2, 1, 2, 3])))])


@st.composite
def triggers(draw: st.DrawFn) -> TriggerFn:
    """The default one, those that are in use, and any others, which begin again when they have finished or do not."""
    kind = draw(st.sampled_from(["default", "usual", "usual", "tree", "repeated tree", "repeated tree"]))
    if kind == "default":
        return DefaultTrigger()
    if kind == "usual":
        return draw(st.sampled_from(_USUAL))
    tree = draw(trigger_trees())
    return Repeatedly(tree) if kind == "repeated tree" else tree


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
_latenesses = st.sampled_from([0, 5, 10, 0.000001, 100, 1000, 1000])

_empty_on_time = st.sampled_from([True, True, True, False])
_empty_at_expiry = st.sampled_from([False, False, False, True])

windowings = st.builds(
    Windowing,
    _window_fns,
    triggers(),
    st.booleans(),
    _latenesses,
    _combiners,
    _empty_on_time,
    _empty_at_expiry,
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
