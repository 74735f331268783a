"""State and timers: what a stateful DoFn declares, and the interfaces of what it is handed.

A spec is declared once, usually as a class attribute of the DoFn, and named in the defaults of process and of
timer callbacks (`DoFn.StateParam(spec)`, `DoFn.TimerParam(spec)`). State lives per key and window. Two specs
are the same only if they are one object. What keeps the state lives in the engine.
"""

from __future__ import annotations

import abc
import inspect
import types
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar
from weakref import WeakValueDictionary

from hornbeam.coders.coders import Coder
from hornbeam.transforms.dofn_params import StateParam, TimerParam, param_of_default
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.utils.timestamp import DurationTypes, Timestamp, TimestampTypes, micros_of

if TYPE_CHECKING:
    from hornbeam.transforms.combine import CombineFn
    from hornbeam.transforms.window import BoundedWindow
    from hornbeam.utils.windowed_value import PaneInfo

CallbackT = TypeVar("CallbackT", bound=Callable[..., Any])


class _OneOfItsKind:
    """What is the same only if it is one object, and stays so where it is pickled: unpickled in the process that has it, it
    is that one again.

    A runner in the program's process unpickles classes of `__main__` into the classes that are there, with new values of
    their attributes, while subclasses go on with the old ones.
    """

    _known: ClassVar[WeakValueDictionary[str, _OneOfItsKind]] = WeakValueDictionary()

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A new one, known from now on."""
        return cls._as(uuid.uuid4().hex)

    @classmethod
    def _as(cls, identity: str) -> Self:
        found = cls._known.get(identity)
        if found is None:
            found = cls._known[identity] = object.__new__(cls)
            found._identity = identity
        return found  # type: ignore[return-value]

    _identity: str

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._as, (self._identity,), self.__dict__


class StateSpec(_OneOfItsKind):
    """A named cell of state, with the coder of what it holds.

    With `ttl` (beyond Beam's Python: seconds of processing time) the cell is empty again, and takes no memory, when
    that much time has passed since it was last written. In a bounded run the clock stands still.
    """

    def __init__(self, name: str, coder: Coder, *, ttl: DurationTypes | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: name must be a str; it is {name!r}.")
        _check_coder(self, name, coder)
        self.name = name
        self.coder = coder
        #: How long a cell lasts after a write, in processing time; None for as long as its window.
        self.ttl_micros: int | None = None if ttl is None else micros_of(ttl)
        if self.ttl_micros is not None and self.ttl_micros <= 0:
            raise ValueError(
                f"{type(self).__name__} {name!r}: ttl must be a number of seconds above 0; it is {ttl!r}."
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class ReadModifyWriteStateSpec(StateSpec):
    """One value, read and overwritten."""


class BagStateSpec(StateSpec):
    """Values in no order, added without reading the others."""


class SetStateSpec(StateSpec):
    """Values in no order, each once; equal means equally encoded."""


class OrderedListStateSpec(StateSpec):
    """Pairs (timestamp, value) in the order of their timestamps; the coder is the values'."""


class CombiningValueStateSpec(StateSpec):
    """Values that a CombineFn folds together as they are added.

    The coder is the accumulator's, by default the one that the CombineFn gives. As the two belong together,
    `CombiningValueStateSpec(name, combine_fn)` will do.
    """

    def __init__(
        self, name: str, coder: Any = None, combine_fn: Any = None, *, ttl: DurationTypes | None = None
    ) -> None:
        if combine_fn is None:
            if coder is None:
                raise ValueError(f"CombiningValueStateSpec {name!r} needs a combine_fn.")
            coder, combine_fn = None, coder
        # Not above: combine stands on pardo, pardo on dofn, and dofn on this module.
        from hornbeam.transforms.combine import CombineFn

        self.combine_fn: CombineFn = CombineFn.maybe_from_callable(combine_fn)
        coder = self.combine_fn.get_accumulator_coder() if coder is None else coder
        super().__init__(name, coder, ttl=ttl)


class MapStateSpec(StateSpec):
    """A value for each of some keys inside the cell, read and written one by one; keys equal as encoded.

    Beyond Beam's Python. `coder` is the values'.
    """

    def __init__(
        self, name: str, key_coder: Coder, value_coder: Coder, *, ttl: DurationTypes | None = None
    ) -> None:
        super().__init__(name, value_coder, ttl=ttl)
        _check_coder(self, name, key_coder)
        self.key_coder = key_coder


class MultiMapStateSpec(MapStateSpec):
    """A bag of values for each of some keys inside the cell. Beyond Beam's Python."""


def _check_coder(spec: StateSpec, name: str, coder: object) -> None:
    if isinstance(coder, Coder):
        return
    hint = f" Call it: {coder.__name__}()." if isinstance(coder, type) else ""
    raise TypeError(f"{type(spec).__name__} {name!r}: coder must be a Coder; it is {coder!r}.{hint}")


class TimerSpec(_OneOfItsKind):
    """A named timer in event time or on the wall clock; `@on_timer` names what it calls."""

    #: What the name is prefixed with, so that it never is the name of a state.
    prefix = "ts-"

    def __init__(self, name: str, time_domain: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"TimerSpec: name must be a str; it is {name!r}.")
        if time_domain not in (TimeDomain.WATERMARK, TimeDomain.REAL_TIME):
            raise ValueError(
                f"TimerSpec {name!r}: time_domain must be TimeDomain.WATERMARK or TimeDomain.REAL_TIME; "
                f"it is {str(time_domain)!r}."
            )
        self.name = self.prefix + name
        self.time_domain = TimeDomain(time_domain)
        self._attached_callback: Callable[..., Any] | None = None

    @property
    def callback(self) -> Callable[..., Any] | None:
        """The function that `@on_timer` decorated, if any did."""
        return self._attached_callback

    def __repr__(self) -> str:
        return f"TimerSpec({self.name!r})"


def on_timer(timer_spec: TimerSpec) -> Callable[[CallbackT], CallbackT]:
    """Decorates the method of a DoFn that is called when the timer fires.

    Its parameters are all by default value: `DoFn.TimestampParam`, `WindowParam`, `KeyParam`,
    `DynamicTimerTagParam`, `StateParam(...)`, `TimerParam(...)`. It may output as process does.
    """
    if not isinstance(timer_spec, TimerSpec):
        raise ValueError(f"@on_timer needs a TimerSpec; it was given {timer_spec!r}.")

    def attach(method: CallbackT) -> CallbackT:
        if not callable(method):
            raise ValueError(f"@on_timer decorates a method; it was put on {method!r}.")
        if timer_spec._attached_callback is not None:
            raise ValueError(
                f"{timer_spec!r} has more than one @on_timer callback: "
                f"{timer_spec._attached_callback.__qualname__} and {getattr(method, '__qualname__', method)}."
            )
        timer_spec._attached_callback = method
        return method

    return attach


def on_window_expiration(method: CallbackT) -> CallbackT:
    """Decorates the method of a stateful DoFn that is called for each key of a window when the window expires.

    It is the last look at the key's state. Its parameters are all by default value: `DoFn.StateParam(...)`, `KeyParam`,
    `WindowParam`, `TimestampParam` (the window's last timestamp), `TimerParam(...)` to clear a timer.
    It may output as process does, at the window's last timestamp. Beyond Beam's Python.
    """
    if not callable(method):
        raise ValueError(f"@on_window_expiration decorates a method; it was put on {method!r}.")
    method._on_window_expiration = True  # type: ignore[attr-defined]
    return method


def get_dofn_specs(dofn: Any) -> tuple[set[StateSpec], set[TimerSpec]]:
    """The specs that the DoFn's methods name in their parameters' defaults.

    Raises ValueError where a method takes the same state, timer or context twice.
    """
    states: set[StateSpec] = set()
    timers: set[TimerSpec] = set()
    for method_name in dir(type(dofn)):
        method = getattr(type(dofn), method_name)
        if not isinstance(method, types.FunctionType):
            continue
        params = [param for param in map(param_of_default, _defaults(method)) if param is not None]
        ids = [p.param_id for p in params]
        repeated = sorted({str(id_) for id_ in ids if ids.count(id_) > 1})
        if repeated:
            raise ValueError(f"{dofn!r} has duplicate parameters of {method_name}: {', '.join(repeated)}.")
        states.update(param.state_spec for param in params if isinstance(param, StateParam))
        timers.update(param.timer_spec for param in params if isinstance(param, TimerParam))
    return states, timers


def _defaults(method: types.FunctionType) -> Iterator[Any]:
    for parameter in inspect.signature(method).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            yield parameter.default


def is_stateful_dofn(dofn: Any) -> bool:
    """Whether the DoFn uses state or timers, so that its input must be keyed."""
    states, timers = get_dofn_specs(dofn)
    return bool(states or timers)


def validate_stateful_dofn(dofn: Any) -> None:
    """ValueError if names of specs clash, or a timer calls nothing or not this DoFn's method."""
    states, timers = get_dofn_specs(dofn)
    _refuse_same_names(dofn, "StateSpecs", states)
    _refuse_same_names(dofn, "TimerSpecs", timers)
    for timer in sorted(timers, key=lambda spec: spec.name):
        callback = timer.callback
        if callback is None:
            raise ValueError(f"{dofn!r} has a TimerSpec without an associated @on_timer callback: {timer!r}.")
        name = callback.__name__
        if getattr(type(dofn), name, None) is not callback:
            raise ValueError(
                f"The @on_timer callback of {timer!r} is not the method {name} of {dofn!r}. "
                f"Was {name} defined again, here or in a subclass?"
            )


def _refuse_same_names(dofn: Any, what: str, specs: Iterable[StateSpec | TimerSpec]) -> None:
    names = [spec.name for spec in specs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{dofn!r} has several {what} with the same name: {', '.join(repeated)}.")


class RuntimeState(abc.ABC):
    """State of one key and window, as a DoFn is handed it. Good for the one call that it was handed to."""

    __slots__ = ()

    def prefetch(self) -> None:  # noqa: B027
        """Say that the state will soon be read."""

    def finalize(self) -> None:  # noqa: B027
        """Called when the bundle is done."""

    @abc.abstractmethod
    def clear(self) -> None:
        """Forget all of it."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Make what was done to it last; the engine calls it at the end of the bundle."""


class ReadModifyWriteRuntimeState(RuntimeState):
    """State of a ReadModifyWriteStateSpec."""

    __slots__ = ()

    @abc.abstractmethod
    def read(self) -> Any:
        """The value, or None when there is none."""

    @abc.abstractmethod
    def write(self, value: Any) -> None:
        """Put the value in place of the one before."""


class AccumulatingRuntimeState(RuntimeState):
    """State to which values are added."""

    __slots__ = ()

    @abc.abstractmethod
    def read(self) -> Any:
        """What was added: an iterable, or the combined value."""

    @abc.abstractmethod
    def add(self, value: Any) -> None:
        """Add the value."""


class BagRuntimeState(AccumulatingRuntimeState):
    """State of a BagStateSpec; `read` gives the values in no order."""

    __slots__ = ()


class SetRuntimeState(AccumulatingRuntimeState):
    """State of a SetStateSpec; `read` gives the values in no order, each once."""

    __slots__ = ()


class CombiningValueRuntimeState(AccumulatingRuntimeState):
    """State of a CombiningValueStateSpec; `read` gives the extracted output, also when nothing was added."""

    __slots__ = ()


class OrderedListRuntimeState(AccumulatingRuntimeState):
    """State of an OrderedListStateSpec; `add` takes and `read` gives pairs (timestamp, value)."""

    __slots__ = ()

    @abc.abstractmethod
    def read_range(
        self, min_time_stamp: TimestampTypes, limit_time_stamp: TimestampTypes
    ) -> Iterable[tuple[Timestamp, Any]]:
        """The pairs with min_time_stamp <= timestamp < limit_time_stamp, in order."""

    @abc.abstractmethod
    def clear_range(self, min_time_stamp: TimestampTypes, limit_time_stamp: TimestampTypes) -> None:
        """Forget the pairs with min_time_stamp <= timestamp < limit_time_stamp."""


class MapRuntimeState(RuntimeState):
    """State of a MapStateSpec."""

    __slots__ = ()

    @abc.abstractmethod
    def get(self, key: Any, default: Any = None) -> Any:
        """The key's value."""

    @abc.abstractmethod
    def put(self, key: Any, value: Any) -> None:
        """Put the value in place of the key's."""

    @abc.abstractmethod
    def remove(self, key: Any) -> None:
        """Forget the key, if it is there."""

    @abc.abstractmethod
    def contains(self, key: Any) -> bool:
        """Whether the key is there."""

    @abc.abstractmethod
    def keys(self) -> Iterable[Any]:
        """All keys, in no order."""

    @abc.abstractmethod
    def items(self) -> Iterable[tuple[Any, Any]]:
        """All keys with their values, in no order."""


class MultiMapRuntimeState(RuntimeState):
    """State of a MultiMapStateSpec."""

    __slots__ = ()

    @abc.abstractmethod
    def add(self, key: Any, value: Any) -> None:
        """Add the value to the key's."""

    @abc.abstractmethod
    def get(self, key: Any) -> Iterable[Any]:
        """The key's values, in no order."""

    @abc.abstractmethod
    def remove(self, key: Any) -> None:
        """Forget the key and its values, if it is there."""

    @abc.abstractmethod
    def keys(self) -> Iterable[Any]:
        """All keys, in no order, each once."""

    @abc.abstractmethod
    def items(self) -> Iterable[tuple[Any, Any]]:
        """All keys with their values, a pair for each value, in no order."""


class BaseTimer(abc.ABC):
    """A timer, or a family of timers told apart by their dynamic tags."""

    __slots__ = ()

    @abc.abstractmethod
    def set(
        self,
        timestamp: TimestampTypes,
        dynamic_timer_tag: str = "",
        *,
        output_timestamp: TimestampTypes | None = None,
    ) -> None:
        """Let it fire at `timestamp`, in the timer's time domain, instead of when it was to fire before.

        `output_timestamp` (beyond Beam's Python) is the event time that outputs of the callback get and at which
        the watermark is held until then: by default `timestamp` for a timer in event time, and the timestamp
        of the element (or of the timer) at hand for one on the wall clock.
        """

    @abc.abstractmethod
    def clear(self, dynamic_timer_tag: str = "") -> None:
        """Let it not fire."""


class RuntimeTimer(BaseTimer):
    """The timer of one key and window, as a DoFn is handed it."""

    __slots__ = ()


class Timer(NamedTuple):
    """A setting of a timer, or with `clear_bit` the clearing of it, on its way to the engine."""

    user_key: Any
    dynamic_timer_tag: str
    windows: tuple[BoundedWindow, ...]
    clear_bit: bool
    fire_timestamp: Timestamp | None
    hold_timestamp: Timestamp | None
    paneinfo: PaneInfo | None


class UserStateContext(abc.ABC):
    """Where a bundle's state and timers come from."""

    @abc.abstractmethod
    def get_state(self, state_spec: StateSpec, key: Any, window: BoundedWindow) -> RuntimeState:
        """The state of that spec, key and window."""

    @abc.abstractmethod
    def get_timer(
        self, timer_spec: TimerSpec, key: Any, window: BoundedWindow, timestamp: Timestamp, pane: PaneInfo
    ) -> RuntimeTimer:
        """The timer of that spec, key and window; timestamp and pane are those of the element at hand."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Make what the bundle did to state and timers last."""
