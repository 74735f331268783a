"""How a PCollection is windowed: the window function, and when and how groupings of it fire."""

from __future__ import annotations

import enum
from typing import Any, TypeVar

from hornbeam.graph.model import WindowingStrategy
from hornbeam.transforms.trigger import (
    AccumulationMode,
    DefaultTrigger,
    TriggerFn,
    trigger_from_spec,
    trigger_to_spec,
)
from hornbeam.transforms.window import (
    GlobalWindows,
    TimestampCombiner,
    WindowFn,
    windowfn_from_function,
    windowfn_to_function,
)
from hornbeam.utils.timestamp import Duration, DurationTypes

_BehaviorT = TypeVar("_BehaviorT", bound=enum.StrEnum)


class OnTimeBehavior(enum.StrEnum):
    """Whether a trigger's firing for the end of a window gives a pane when nothing came since the last one."""

    #: An empty pane too, so that every window that had elements is seen to end. The default.
    FIRE_ALWAYS = "FIRE_ALWAYS"
    #: Only a pane with elements.
    FIRE_IF_NON_EMPTY = "FIRE_IF_NON_EMPTY"


class ClosingBehavior(enum.StrEnum):
    """Whether a window that expires gives a last pane when nothing came since the one before."""

    #: An empty pane too, so that every window has one that is marked as its last.
    EMIT_ALWAYS = "EMIT_ALWAYS"
    #: Only a pane with elements. The default.
    EMIT_IF_NONEMPTY = "EMIT_IF_NONEMPTY"


class Windowing:
    """A window function with trigger, accumulation mode, timestamp combiner and allowed lateness.

    A trigger other than the default one needs an accumulation mode, as there is no safe choice.
    """

    def __init__(
        self,
        windowfn: WindowFn,
        triggerfn: TriggerFn | None = None,
        accumulation_mode: AccumulationMode | int | str | None = None,
        timestamp_combiner: TimestampCombiner | str | None = None,
        allowed_lateness: DurationTypes = 0,
        environment_id: str | None = None,
        *,
        on_time_behavior: OnTimeBehavior | str = OnTimeBehavior.FIRE_ALWAYS,
        closing_behavior: ClosingBehavior | str = ClosingBehavior.EMIT_IF_NONEMPTY,
    ) -> None:
        if not isinstance(windowfn, WindowFn):
            given = windowfn.__name__ if isinstance(windowfn, type) else repr(windowfn)
            raise TypeError(f"Windowing needs a WindowFn, such as FixedWindows(60); it got {given}.")
        if triggerfn is None:
            triggerfn = DefaultTrigger()
        if not isinstance(triggerfn, TriggerFn):
            given = triggerfn.__name__ if isinstance(triggerfn, type) else repr(triggerfn)
            raise TypeError(f"trigger must be a trigger, such as AfterWatermark(); it is {given}.")
        if accumulation_mode is None:
            if triggerfn != DefaultTrigger():
                raise ValueError(
                    f"The trigger {triggerfn!r} needs an accumulation mode: pass "
                    "accumulation_mode=AccumulationMode.DISCARDING (each firing gives what came since the last) or "
                    "AccumulationMode.ACCUMULATING (each firing gives all so far)."
                )
            accumulation_mode = AccumulationMode.DISCARDING
        self.windowfn = windowfn
        self.triggerfn = triggerfn
        self.accumulation_mode = AccumulationMode(accumulation_mode)  # type: ignore[arg-type]
        self.allowed_lateness = Duration.of(allowed_lateness)
        if self.allowed_lateness.micros < 0:
            raise ValueError(f"allowed_lateness must not be negative; it is {allowed_lateness!r}.")
        self.environment_id = environment_id
        self.timestamp_combiner = TimestampCombiner(timestamp_combiner or TimestampCombiner.OUTPUT_AT_EOW)
        self.on_time_behavior = _behavior(OnTimeBehavior, on_time_behavior, "on_time_behavior")
        self.closing_behavior = _behavior(ClosingBehavior, closing_behavior, "closing_behavior")
        self._is_default = (
            type(windowfn) is GlobalWindows
            and triggerfn == DefaultTrigger()
            and self.accumulation_mode == AccumulationMode.DISCARDING
            and self.timestamp_combiner == TimestampCombiner.OUTPUT_AT_EOW
            and self.allowed_lateness.micros == 0
            and self._behaves_as_usual()
        )

    def is_default(self) -> bool:
        """Whether this is what a new pipeline starts with: the global window, fired once at its end."""
        return self._is_default

    def with_trigger(self, triggerfn: TriggerFn) -> Windowing:
        """The same under another trigger."""
        return Windowing(
            self.windowfn,
            triggerfn,
            self.accumulation_mode,
            self.timestamp_combiner,
            self.allowed_lateness,
            self.environment_id,
            on_time_behavior=self.on_time_behavior,
            closing_behavior=self.closing_behavior,
        )

    def _behaves_as_usual(self) -> bool:
        return (
            self.on_time_behavior == OnTimeBehavior.FIRE_ALWAYS
            and self.closing_behavior == ClosingBehavior.EMIT_IF_NONEMPTY
        )

    def to_graph(self) -> WindowingStrategy:
        """The graph's form, still without the id of the window coder."""
        return WindowingStrategy(
            window_fn=windowfn_to_function(self.windowfn),
            trigger=trigger_to_spec(self.triggerfn),
            accumulation_mode=self.accumulation_mode.name,
            timestamp_combiner=str(self.timestamp_combiner.name),
            allowed_lateness_micros=self.allowed_lateness.micros,
            closing_behavior=self.closing_behavior.name,
            on_time_behavior=self.on_time_behavior.name,
            merging=self.windowfn.is_merging(),
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((type(self.windowfn), self.accumulation_mode, self.timestamp_combiner))

    def _parts(self) -> tuple[Any, ...]:
        return (
            self.windowfn,
            self.triggerfn,
            self.accumulation_mode,
            self.timestamp_combiner,
            self.allowed_lateness,
            self.environment_id,
            self.on_time_behavior,
            self.closing_behavior,
        )

    def __repr__(self) -> str:
        behaviors = "" if self._behaves_as_usual() else f", {self.on_time_behavior}, {self.closing_behavior}"
        return (
            f"Windowing({self.windowfn!r}, {self.triggerfn!r}, {self.accumulation_mode.name}, "
            f"{self.timestamp_combiner.name}, allowed_lateness={self.allowed_lateness!r}"
            f"{behaviors})"
        )


def _behavior(kind: type[_BehaviorT], value: Any, parameter: str) -> _BehaviorT:
    """A behaviour by itself or by name."""
    try:
        return kind(value)
    except ValueError:
        known = " or ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise ValueError(f"{parameter} must be {known}; it is {value!r}.") from None


def windowing_from_graph(strategy: WindowingStrategy) -> Windowing:
    """The Windowing that `Windowing.to_graph` wrote."""
    return Windowing(
        windowfn_from_function(strategy.window_fn),
        trigger_from_spec(strategy.trigger),
        AccumulationMode(strategy.accumulation_mode),
        TimestampCombiner[strategy.timestamp_combiner],
        Duration(micros=strategy.allowed_lateness_micros),
        on_time_behavior=strategy.on_time_behavior,
        closing_behavior=strategy.closing_behavior,
    )


#: What every pipeline starts with.
DEFAULT_WINDOWING = Windowing(GlobalWindows())
