"""Triggers: what the author says about when a window's groups fire.

These are frozen values. A trigger states a condition and whether it may come true again; what watches the
condition lives in the engine. `trigger_to_spec` writes one into the graph.
"""

from __future__ import annotations

import abc
import enum
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Protocol

import attrs

from hornbeam.utils.timestamp import Duration, DurationTypes, duration_of, micros_of

_NO_RETRACTIONS = (
    "Retractions are not supported. Use AccumulationMode.ACCUMULATING, where each pane replaces the one before, "
    "or DISCARDING, where the panes add up."
)


class _AccumulationModeType(enum.EnumMeta):
    """Says why AccumulationMode.RETRACTING is not there."""

    def __getattr__(cls, name: str) -> NoReturn:
        if name in ("RETRACTING", "ACCUMULATING_AND_RETRACTING"):
            raise AttributeError(_NO_RETRACTIONS)
        raise AttributeError(f"AccumulationMode has no {name!r}; it has {', '.join(cls.__members__)}.")


class AccumulationMode(enum.StrEnum, metaclass=_AccumulationModeType):
    """What a pane holds when its window fires more than once."""

    #: What arrived since the pane before.
    DISCARDING = "DISCARDING"
    #: All that the window has seen.
    ACCUMULATING = "ACCUMULATING"

    @classmethod
    def _missing_(cls, value: object) -> AccumulationMode:
        """Beam's numbers of the modes stand for them too."""
        if value in (3, "RETRACTING", "ACCUMULATING_AND_RETRACTING"):
            raise ValueError(_NO_RETRACTIONS)
        if value in (1, 2):
            return (cls.DISCARDING, cls.ACCUMULATING)[value - 1]
        raise ValueError(f"{value!r} is no accumulation mode; use AccumulationMode.{' or .'.join(cls)}.")


class DataLossReason(enum.Flag):
    """Why a trigger may lose data."""

    NO_POTENTIAL_LOSS = 0
    #: The trigger may be done with a window before its data is; what comes after is lost.
    MAY_FINISH = enum.auto()
    #: The condition may never be met. No trigger here reports it: what is left fires as the window expires.
    CONDITION_NOT_GUARANTEED = enum.auto()


class _HasAllowedLateness(Protocol):
    """All that may_lose_data reads of a Windowing."""

    @property
    def allowed_lateness(self) -> DurationTypes: ...


class TriggerFn(abc.ABC):
    """A condition under which a window fires. Do not subclass it: runners know those of this module."""

    @abc.abstractmethod
    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """Why data may be lost under this trigger with this windowing, apart from too late data."""

    @abc.abstractmethod
    def get_continuation_trigger(self) -> TriggerFn:
        """The trigger of the groupings downstream: lets through soon what this one has fired."""

    @abc.abstractmethod
    def has_ontime_pane(self) -> bool:
        """Whether there is a firing for the watermark's passing the end of the window."""


@attrs.frozen
class DefaultTrigger(TriggerFn):
    """Fires as the watermark passes the end of the window, and again for each late element allowed."""

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """No reason."""
        return DataLossReason.NO_POTENTIAL_LOSS

    def get_continuation_trigger(self) -> TriggerFn:
        """Itself."""
        return self

    def has_ontime_pane(self) -> bool:
        """True."""
        return True


@attrs.frozen
class Always(TriggerFn):
    """Fires for every element; never finishes."""

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """No reason."""
        return DataLossReason.NO_POTENTIAL_LOSS

    def get_continuation_trigger(self) -> TriggerFn:
        """Itself."""
        return self

    def has_ontime_pane(self) -> bool:
        """False."""
        return False


@attrs.frozen
class Never(TriggerFn):
    """Never fires; everything comes out at once as the window expires."""

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """No reason."""
        return DataLossReason.NO_POTENTIAL_LOSS

    def get_continuation_trigger(self) -> TriggerFn:
        """Itself."""
        return self

    def has_ontime_pane(self) -> bool:
        """False."""
        return False


@attrs.frozen(init=False, repr=False)
class AfterProcessingTime(TriggerFn):
    """Fires once, `delay` seconds of the wall clock after the pane's first element."""

    delay_micros: int

    def __init__(self, delay: DurationTypes = 0) -> None:
        micros = micros_of(delay)
        if micros < 0:
            raise ValueError(f"AfterProcessingTime: delay must not be negative; it is {delay!r}.")
        self.__attrs_init__(micros)

    @property
    def delay(self) -> Duration:
        """The time from the pane's first element to its firing."""
        return duration_of(self.delay_micros)

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes."""
        return DataLossReason.MAY_FINISH

    def get_continuation_trigger(self) -> TriggerFn:
        """Waits for the same moment upstream, not for the delay again."""
        return AfterSynchronizedProcessingTime()

    def has_ontime_pane(self) -> bool:
        """False."""
        return False

    def __repr__(self) -> str:
        return f"AfterProcessingTime(delay={float(self.delay):g})"


@attrs.frozen
class AfterSynchronizedProcessingTime(TriggerFn):
    """Fires once the steps upstream have passed the wall-clock time of the pane's first element.

    The continuation of AfterProcessingTime; not for authors.
    """

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes."""
        return DataLossReason.MAY_FINISH

    def get_continuation_trigger(self) -> TriggerFn:
        """Itself."""
        return self

    def has_ontime_pane(self) -> bool:
        """False."""
        return False


@attrs.frozen(init=False, repr=False)
class AfterCount(TriggerFn):
    """Fires once, when the pane has at least `count` elements."""

    count: int

    def __init__(self, count: int) -> None:
        if not isinstance(count, numbers.Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(f"AfterCount: count must be a positive integer; it is {count!r}.")
        self.__attrs_init__(int(count))

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes."""
        return DataLossReason.MAY_FINISH

    def get_continuation_trigger(self) -> TriggerFn:
        """AfterCount(1): what was fired upstream goes on at once."""
        return AfterCount(1)

    def has_ontime_pane(self) -> bool:
        """False."""
        return False

    def __repr__(self) -> str:
        return f"AfterCount({self.count})"


@attrs.frozen(init=False, repr=False)
class AfterWatermark(TriggerFn):
    """Fires as the watermark passes the end of the window.

    Before that, as often as `early` comes true; after that, within the allowed lateness, as often as `late`
    does. Without `late` it is finished once the watermark has passed.
    """

    early: TriggerFn | None
    late: TriggerFn | None

    def __init__(self, early: TriggerFn | None = None, late: TriggerFn | None = None) -> None:
        for name, trigger in (("early", early), ("late", late)):
            if trigger is not None:
                _check_trigger(trigger, f"AfterWatermark: {name}")
        self.__attrs_init__(early, late)

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes where late data is allowed and there is no `late` trigger for it."""
        if self.late is None and micros_of(windowing.allowed_lateness) > 0:
            return DataLossReason.MAY_FINISH
        return DataLossReason.NO_POTENTIAL_LOSS

    def get_continuation_trigger(self) -> TriggerFn:
        """The same, with the continuations of `early` and `late`."""
        return AfterWatermark(
            self.early and self.early.get_continuation_trigger(),
            self.late and self.late.get_continuation_trigger(),
        )

    def has_ontime_pane(self) -> bool:
        """True."""
        return True

    def __repr__(self) -> str:
        parts = [f"{name}={t!r}" for name, t in (("early", self.early), ("late", self.late)) if t is not None]
        return f"AfterWatermark({', '.join(parts)})"


@attrs.frozen(init=False, repr=False)
class Repeatedly(TriggerFn):
    """Starts `underlying` again each time it has finished; never finishes."""

    underlying: TriggerFn

    def __init__(self, underlying: TriggerFn) -> None:
        _check_trigger(underlying, "Repeatedly: underlying")
        self.__attrs_init__(underlying)

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """That of `underlying`, except that it may finish."""
        return self.underlying.may_lose_data(windowing) & ~DataLossReason.MAY_FINISH

    def get_continuation_trigger(self) -> TriggerFn:
        """The continuation of `underlying`, repeatedly."""
        return Repeatedly(self.underlying.get_continuation_trigger())

    def has_ontime_pane(self) -> bool:
        """Whether `underlying` has one."""
        return self.underlying.has_ontime_pane()

    def __repr__(self) -> str:
        return f"Repeatedly({self.underlying!r})"


@attrs.frozen(init=False, repr=False)
class _CompositeTrigger(TriggerFn):
    """A trigger made of several."""

    triggers: tuple[TriggerFn, ...]

    def __init__(self, *triggers: TriggerFn) -> None:
        name = type(self).__name__
        if not triggers:
            raise ValueError(f"{name} needs at least one trigger.")
        for trigger in triggers:
            _check_trigger(trigger, name)
        self.__attrs_init__(triggers)

    def _finishes(self, windowing: _HasAllowedLateness) -> Iterable[bool]:
        """For each part whether it may finish."""
        return (DataLossReason.MAY_FINISH in t.may_lose_data(windowing) for t in self.triggers)

    def _continuations(self) -> tuple[TriggerFn, ...]:
        return tuple(trigger.get_continuation_trigger() for trigger in self.triggers)

    def get_continuation_trigger(self) -> TriggerFn:
        """The same of the parts' continuations."""
        return type(self)(*self._continuations())

    def has_ontime_pane(self) -> bool:
        """Whether a part has one."""
        return any(trigger.has_ontime_pane() for trigger in self.triggers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.triggers))})"


class AfterAny(_CompositeTrigger):
    """Fires once, as soon as one of the triggers would."""

    __slots__ = ()

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes if one of them may."""
        return _may_finish(any(self._finishes(windowing)))


class AfterAll(_CompositeTrigger):
    """Fires once, as soon as each of the triggers would have."""

    __slots__ = ()

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes if all of them may."""
        return _may_finish(all(self._finishes(windowing)))


class AfterEach(_CompositeTrigger):
    """Runs through the triggers in order, each until it has finished."""

    __slots__ = ()

    def may_lose_data(self, windowing: _HasAllowedLateness) -> DataLossReason:
        """It finishes if all of them may."""
        return _may_finish(all(self._finishes(windowing)))

    def get_continuation_trigger(self) -> TriggerFn:
        """Any of the continuations, repeatedly: the order was kept upstream."""
        return Repeatedly(AfterAny(*self._continuations()))


class OrFinally(AfterAny):
    """Fires whenever the first trigger does, until the second one comes true: then a last time."""

    __slots__ = ()

    def __init__(self, *triggers: TriggerFn) -> None:
        if len(triggers) != 2:
            raise ValueError(
                f"OrFinally takes a trigger and the one that ends it; it was given {len(triggers)}."
            )
        super().__init__(*triggers)


def _may_finish(finishes: bool) -> DataLossReason:
    return DataLossReason.MAY_FINISH if finishes else DataLossReason.NO_POTENTIAL_LOSS


def _check_trigger(trigger: object, where: str) -> None:
    """TypeError unless it is a trigger instance."""
    if isinstance(trigger, TriggerFn):
        return
    if isinstance(trigger, type) and issubclass(trigger, TriggerFn):
        raise TypeError(f"{where} must be a trigger, not the class of one. Call it: {trigger.__name__}(...).")
    raise TypeError(f"{where} must be a trigger; it is {trigger!r}.")


_SIMPLE: dict[str, type[TriggerFn]] = {
    "default": DefaultTrigger,
    "always": Always,
    "never": Never,
    "after_synchronized_processing_time": AfterSynchronizedProcessingTime,
}
_COMPOSITE: dict[str, Callable[..., TriggerFn]] = {
    "after_any": AfterAny,
    "after_all": AfterAll,
    "after_each": AfterEach,
    "or_finally": OrFinally,
}
_TYPE_NAMES: dict[Any, str] = {cls: name for table in (_SIMPLE, _COMPOSITE) for name, cls in table.items()}


def trigger_to_spec(trigger: TriggerFn) -> dict[str, Any]:
    """The readable form of a trigger, for the graph: plain JSON values, with its kind under "type"."""
    kind = type(trigger)
    if isinstance(trigger, _CompositeTrigger) and kind in _TYPE_NAMES:
        return {"type": _TYPE_NAMES[kind], "triggers": [trigger_to_spec(part) for part in trigger.triggers]}
    if kind in _TYPE_NAMES:
        return {"type": _TYPE_NAMES[kind]}
    if isinstance(trigger, AfterProcessingTime):
        return {"type": "after_processing_time", "delay_micros": trigger.delay_micros}
    if isinstance(trigger, AfterCount):
        return {"type": "after_count", "count": trigger.count}
    if isinstance(trigger, Repeatedly):
        return {"type": "repeatedly", "underlying": trigger_to_spec(trigger.underlying)}
    if isinstance(trigger, AfterWatermark):
        parts = {"early": trigger.early, "late": trigger.late}
        return {"type": "after_watermark"} | {
            name: trigger_to_spec(part) for name, part in parts.items() if part is not None
        }
    raise TypeError(f"{trigger!r} is not one of the triggers that runners know; combine those of {__name__}.")


def trigger_from_spec(spec: Mapping[str, Any]) -> TriggerFn:
    """The trigger that `trigger_to_spec` wrote; ValueError for anything else."""
    kind = spec.get("type")
    try:
        if kind in _SIMPLE:
            return _SIMPLE[kind]()
        if kind in _COMPOSITE:
            return _COMPOSITE[kind](*map(trigger_from_spec, spec["triggers"]))
        if kind == "after_processing_time":
            return AfterProcessingTime(duration_of(spec["delay_micros"]))
        if kind == "after_count":
            return AfterCount(spec["count"])
        if kind == "repeatedly":
            return Repeatedly(trigger_from_spec(spec["underlying"]))
        if kind == "after_watermark":
            early, late = spec.get("early"), spec.get("late")
            return AfterWatermark(early and trigger_from_spec(early), late and trigger_from_spec(late))
    except KeyError as missing:
        raise ValueError(f"The trigger {kind!r} lacks {missing}: {dict(spec)!r}.") from None
    raise ValueError(f"No trigger is known by the type {kind!r}.")


#: Beam's names of the two that it keeps private.
_Never = Never
_AfterSynchronizedProcessingTime = AfterSynchronizedProcessingTime
