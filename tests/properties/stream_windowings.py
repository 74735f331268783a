"""Windowings of generated streams: window functions, trigger trees, modes, lateness."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
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


def trigger_tree(random: Random, depth: int = 3) -> TriggerFn:
    """A trigger of triggers of triggers."""
    kind = random.choice(["leaf", "repeatedly", "watermark", "any", "all", "each", "or finally"])
    if depth == 0 or kind == "leaf":
        return random.choice(_LEAVES)
    if kind == "repeatedly":
        return Repeatedly(trigger_tree(random, depth - 1))
    if kind == "watermark":
        early, late = (trigger_tree(random, depth - 1) for _ in range(2))
        return AfterWatermark(*random.choice([(early, late), (early, None), (None, late)]))
    if kind == "or finally":
        return OrFinally(trigger_tree(random, depth - 1), trigger_tree(random, depth - 1))
    return _SEVERAL[kind](*[trigger_tree(random, depth - 1) for _ in range(random.choice([1, 2, 2, 3]))])


def trigger(random: Random) -> TriggerFn:
    """The default one, one of those in use, or any other, which begins again when it has finished or does not."""
    kind = random.choice(["default", "usual", "usual", "tree", "repeated tree", "repeated tree"])
    if kind == "default":
        return DefaultTrigger()
    if kind == "usual":
        return random.choice(_USUAL)
    tree = trigger_tree(random)
    return Repeatedly(tree) if kind == "repeated tree" else tree


_WINDOW_FNS = [
    *[("fixed", 10), ("fixed", 10), ("fixed", 5, 2.5), ("sliding", 10, 5), ("sliding", 4, 6)],
    *[("sessions", 5), ("sessions", 3), ("global",), ("halves",), ("clusters",)],
]
_COMBINERS = ["OUTPUT_AT_EOW", "OUTPUT_AT_EARLIEST", "OUTPUT_AT_LATEST"]
_LATENESSES = [0, 5, 10, 0.000001, 100, 1000, 1000]


def windowing(random: Random) -> Windowing:
    """Any."""
    return Windowing(
        random.choice(_WINDOW_FNS),
        trigger(random),
        random.choice([False, True]),
        random.choice(_LATENESSES),
        random.choice(_COMBINERS),
        random.choice([True, True, True, False]),
        random.choice([False, False, False, True]),
    )


def orderless_windowing(random: Random) -> Windowing:
    """One under which a group does not depend on the order of its elements at one time, that inside its values apart."""
    by_watermark = random.choice([DefaultTrigger(), AfterWatermark(), Never()])
    by_clock = random.choice(
        [Repeatedly(AfterProcessingTime(5)), AfterWatermark(early=AfterProcessingTime(5)), Never()]
    )
    window_fn = random.choice(_WINDOW_FNS)
    merges = Windowing(window_fn).merges
    return Windowing(
        window_fn,
        by_watermark if merges else random.choice([by_watermark, by_clock]),
        random.choice([False, True]),
        0,
        random.choice(_COMBINERS),
    )
