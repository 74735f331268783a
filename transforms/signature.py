"""What the methods of a DoFn ask for, found once and handed to whoever calls them.

A parameter is the element, something of its context (timestamp, window, state …) or an argument of the author's.
`MethodSignature.bind` lays the author's arguments out for the call.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from hornbeam.transforms.dofn_params import (
    ELEMENT_PARAM,
    BundleFinalizerParam,
    DoFnParam,
    RestrictionParam,
    StateParam,
    TimerParam,
    WatermarkEstimatorParam,
    param_of_default,
)

if TYPE_CHECKING:
    from hornbeam.transforms.dofn import DoFn

ParamT = TypeVar("ParamT", bound=DoFnParam)

#: The default of a parameter that has none.
NO_DEFAULT: Any = inspect.Parameter.empty


@attrs.frozen
class Parameter:
    """One parameter of a method.

    `kind` is `element`, `argument` (the author's), `var_args`, `var_kwargs`, or a kind of context: `timestamp`,
    `window`, `pane`, `key`, `windowed_value`, `state`, `timer`, `restriction`, `watermark_estimator`,
    `bundle_finalizer`, `setup_context`, `bundle_context`, `dynamic_timer_tag`. `param` is the DoFnParam of a
    context parameter.
    """

    name: str
    kind: str
    default: Any = NO_DEFAULT
    param: DoFnParam | None = None
    keyword_only: bool = False

    @property
    def is_context(self) -> bool:
        """Whether the runner fills it in, the element apart."""
        return self.param is not None and self.kind not in ("element", "argument")


@attrs.frozen
class BoundCall:
    """How to call a method: what goes where, after the author's arguments have taken their places.

    An item of `positional` and a value of `keywords` is a `Parameter` that the runner fills in (the element or
    context), or an author's argument, which may be a SideInputRef.
    """

    positional: tuple[Any, ...]
    keywords: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def context(self) -> tuple[Parameter, ...]:
        """The context parameters among all of it."""
        found = (*self.positional, *self.keywords.values())
        return tuple(item for item in found if isinstance(item, Parameter) and item.is_context)


@attrs.frozen
class MethodSignature:
    """A method and its parameters, `self` left out. `defined` is false for what DoFn inherits as a no-op.

    `unpacked` says that the element's parts become arguments of their own when the wrapped function itself is called
    (MapTuple, FlatMapTuple); `method` takes the element whole. `by_name`: all but the element goes by name.
    """

    name: str
    method: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    defined: bool = True
    unpacked: bool = False
    by_name: bool = False

    def of_kind(self, kind: str) -> tuple[Parameter, ...]:
        """The parameters of one kind."""
        return tuple(parameter for parameter in self.parameters if parameter.kind == kind)

    @property
    def is_plain(self) -> bool:
        """Whether nothing of the context is asked for."""
        return not any(parameter.is_context for parameter in self.parameters)

    def bind(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> BoundCall:
        """Lay out a call: context goes where it is asked for, arguments fill the other places in order.

        TypeError when an argument finds no place, or a place that must be filled gets none.
        """
        left = list(args)
        named = dict(kwargs or {})
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        by_name = self.unpacked or self.by_name
        has_var_args = has_var_kwargs = False
        for parameter in self.parameters:
            filled: Any
            if parameter.kind == "var_args":
                if not by_name:
                    positional.extend(left)
                    left = []
                has_var_args = True
                continue
            if parameter.kind == "var_kwargs":
                has_var_kwargs = True
                continue
            if parameter.kind == "element" or parameter.is_context:
                filled = parameter
            elif parameter.name in named:
                filled = named.pop(parameter.name)
            elif left and not parameter.keyword_only:
                filled = left.pop(0)
            elif parameter.default is NO_DEFAULT:
                raise TypeError(
                    f"{self.name} needs a value for its parameter {parameter.name!r}; none was given."
                )
            else:
                # The default stands; what follows has to go by name.
                by_name = True
                continue
            if parameter.kind == "element":
                positional.append(filled)
            elif by_name or parameter.keyword_only:
                keywords[parameter.name] = filled
            else:
                positional.append(filled)
        if left and not (has_var_args and self.unpacked):
            raise TypeError(
                f"{self.name} takes {self._room()} after the element; {len(args)} positional "
                f"{'was' if len(args) == 1 else 'were'} given.{self._advice()}"
            )
        positional.extend(left)
        if named and not has_var_kwargs:
            names = ", ".join(map(repr, named))
            raise TypeError(f"{self.name} has no parameter called {names}.{self._advice()}")
        return BoundCall(tuple(positional), {**keywords, **named})

    def _advice(self) -> str:
        if not self.unpacked:
            return ""
        return (
            " Parameters without a default take the parts of the element; give the others one, such as None."
        )

    def _room(self) -> str:
        room = len(self.of_kind("argument"))
        return "no arguments" if room == 0 else "one argument" if room == 1 else f"{room} arguments"


@attrs.frozen
class DoFnSignature:
    """All that a runner must know of a DoFn to call it.

    `kind` is `dofn`, or for a wrapped function what it does with it (`map`, `flat_map`, `filter` …), `fn` is that function.
    """

    dofn: DoFn
    kind: str
    fn: Callable[..., Any] | None
    process: MethodSignature
    process_batch: MethodSignature | None
    setup: MethodSignature
    start_bundle: MethodSignature
    finish_bundle: MethodSignature
    teardown: MethodSignature
    on_window_expiration: MethodSignature | None = None
    #: The callback of each timer, by the timer's name.
    timer_callbacks: Mapping[str, MethodSignature] = attrs.field(factory=dict)
    #: StateParam by the state's name, over all methods.
    state_params: Mapping[str, StateParam] = attrs.field(factory=dict)
    #: TimerParam by the timer's name, over all methods.
    timer_params: Mapping[str, TimerParam] = attrs.field(factory=dict)
    restriction_param: RestrictionParam | None = None
    watermark_estimator_param: WatermarkEstimatorParam | None = None
    #: Whether process wants elements in the order of their timestamps.
    requires_time_sorted_input: bool = False

    def methods(self) -> tuple[MethodSignature, ...]:
        """Every method that is there."""
        found = (
            self.process,
            self.process_batch,
            self.setup,
            self.start_bundle,
            self.finish_bundle,
            self.teardown,
            self.on_window_expiration,
            *self.timer_callbacks.values(),
        )
        return tuple(method for method in found if method is not None)

    def _takes(self, kind: str) -> bool:
        batch = self.process_batch
        return bool(self.process.of_kind(kind)) or (batch is not None and bool(batch.of_kind(kind)))

    @property
    def takes_timestamp(self) -> bool:
        """Whether process asks for the element's timestamp."""
        return self._takes("timestamp")

    @property
    def takes_window(self) -> bool:
        """Whether process asks for the element's window, and so is called once for each."""
        return self._takes("window")

    @property
    def takes_pane(self) -> bool:
        """Whether process asks for the pane info."""
        return self._takes("pane")

    @property
    def takes_key(self) -> bool:
        """Whether process asks for the element's key."""
        return self._takes("key")

    @property
    def takes_windowed_value(self) -> bool:
        """Whether process asks for the element with its whole context."""
        return self._takes("windowed_value")

    @property
    def bundle_finalizer(self) -> bool:
        """Whether some method asks for the bundle finalizer."""
        return any(method.of_kind("bundle_finalizer") for method in self.methods())

    @property
    def is_splittable(self) -> bool:
        """Whether process works on restrictions."""
        return self.restriction_param is not None

    @property
    def is_stateful(self) -> bool:
        """Whether some method uses state or timers."""
        return bool(self.state_params or self.timer_params) or self.on_window_expiration is not None

    @property
    def is_plain(self) -> bool:
        """Whether process needs nothing but the element and the author's arguments."""
        return self.process.is_plain and not self.is_stateful

    @property
    def restriction_provider(self) -> Any:
        """The RestrictionProvider of a splittable DoFn, which may be the DoFn itself; else None."""
        if self.restriction_param is None:
            return None
        return self.restriction_param.restriction_provider or self.dofn

    @property
    def watermark_estimator_provider(self) -> Any:
        """The WatermarkEstimatorProvider that process asks for; else None."""
        if self.watermark_estimator_param is None:
            return None
        return self.watermark_estimator_param.watermark_estimator_provider or self.dofn


def parameters_of(fn: Callable[..., Any], skip: int = 0) -> tuple[Parameter, ...] | None:
    """A function's parameters after the first `skip`; None where Python cannot tell, as for some built-ins."""
    if isinstance(fn, types.FunctionType) and not fn.__defaults__ and not fn.__kwdefaults__:
        code = fn.__code__
        variadic = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        if not variadic and not code.co_kwonlyargcount and not hasattr(fn, "__wrapped__"):
            return tuple(Parameter(name, "argument") for name in code.co_varnames[skip : code.co_argcount])
    try:
        signature = inspect.signature(fn)
    except (ValueError, TypeError):
        return None
    parameters = list(map(_parameter, signature.parameters.values()))
    if hasattr(fn, "__wrapped__"):
        parameters = _of_wrapper(fn, parameters)
    return tuple(parameters[skip:])


def _of_wrapper(fn: Callable[..., Any], shown: list[Parameter]) -> list[Parameter]:
    """The parameters of a function that shows those of another one, as `functools.wraps` makes it.

    Its own where they are named. Where it takes anything, it may give some of the shown ones itself, so none must be given.
    """
    own = list(map(_parameter, inspect.signature(fn, follow_wrapped=False).parameters.values()))
    if not any(parameter.kind == "var_args" for parameter in own):
        return own
    return [
        attrs.evolve(parameter, default=None)
        if index and parameter.kind == "argument" and parameter.default is NO_DEFAULT
        else parameter
        for index, parameter in enumerate(shown)
    ]


def _parameter(parameter: inspect.Parameter) -> Parameter:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return Parameter(parameter.name, "var_args")
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return Parameter(parameter.name, "var_kwargs")
    keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    param = param_of_default(parameter.default)
    if param is None:
        return Parameter(parameter.name, "argument", parameter.default, None, keyword_only)
    # The default of a parameter that stands for an argument says nothing about its value.
    return Parameter(parameter.name, param.kind, NO_DEFAULT, param, keyword_only)


def with_element(parameters: tuple[Parameter, ...] | None) -> tuple[Parameter, ...]:
    """Parameters with the element among them: the first one, unless a default says ElementParam."""
    if parameters is None:
        return (
            Parameter("element", "element"),
            Parameter("args", "var_args"),
            Parameter("kwargs", "var_kwargs"),
        )
    if any(parameter.kind == "element" for parameter in parameters):
        return tuple(sorted(parameters, key=lambda parameter: parameter.kind != "element"))
    if not parameters or parameters[0].kind == "var_kwargs" or parameters[0].keyword_only:
        raise TypeError("takes no element: its first parameter must be the element")
    first = parameters[0]
    if first.kind == "var_args":
        return (Parameter("element", "element", param=ELEMENT_PARAM), *parameters)
    return (Parameter(first.name, "element", param=ELEMENT_PARAM), *parameters[1:])


class ElementByName:
    """A function whose first parameter is not the element, as a function of the element."""

    def __init__(self, fn: Callable[..., Any], name: str) -> None:
        self.fn = fn
        self.name = name
        self.__wrapped__ = fn

    def __call__(self, element: Any, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **{self.name: element}, **kwargs)


def element_first(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function, or one like it that takes the element first although another parameter asks for it."""
    for index, parameter in enumerate(parameters_of(fn) or ()):
        if parameter.kind == "element":
            return fn if index == 0 else ElementByName(fn, parameter.name)
    return fn


def signature_of(dofn: DoFn) -> DoFnSignature:
    """What a DoFn's methods ask for. Nothing is checked; see `validate_dofn`."""
    return dofn.signature()


def signature_of_methods(
    dofn: DoFn,
    base: type[DoFn],
    process: MethodSignature,
    process_batch: MethodSignature | None = None,
    kind: str = "dofn",
    fn: Callable[..., Any] | None = None,
) -> DoFnSignature:
    """The whole signature around that of process; methods that are still those of `base` count as not defined."""

    def life_cycle(name: str) -> MethodSignature:
        method = getattr(dofn, name)
        if getattr(type(dofn), name) is getattr(base, name):
            return MethodSignature(name, method, (), defined=False)
        return MethodSignature(name, method, parameters_of(method) or ())

    expiring = _expiration_callback(dofn)
    takers = [process, process_batch]
    timers = _timer_callbacks(dofn, [*takers, expiring])
    users = [*takers, expiring, *timers.values()]
    return DoFnSignature(
        dofn,
        kind,
        fn,
        process,
        process_batch,
        setup=life_cycle("setup"),
        start_bundle=life_cycle("start_bundle"),
        finish_bundle=life_cycle("finish_bundle"),
        teardown=life_cycle("teardown"),
        on_window_expiration=expiring,
        timer_callbacks=timers,
        state_params={param.state_spec.name: param for param in gather(StateParam, users)},
        timer_params={param.timer_spec.name: param for param in gather(TimerParam, users)},
        restriction_param=next(iter(gather(RestrictionParam, takers)), None),
        watermark_estimator_param=next(iter(gather(WatermarkEstimatorParam, takers)), None),
        requires_time_sorted_input=bool(getattr(process.method, "_requires_time_sorted_input", False)),
    )


def _expiration_callback(dofn: DoFn) -> MethodSignature | None:
    """The method that `@on_window_expiration` decorates; ValueError for several."""
    found = [
        name for name in dir(type(dofn)) if getattr(getattr(type(dofn), name), "_on_window_expiration", False)
    ]
    if len(found) > 1:
        raise ValueError(
            f"{type(dofn).__name__} has several @on_window_expiration methods: {', '.join(found)}."
        )
    if not found:
        return None
    method = getattr(dofn, found[0])
    return MethodSignature(found[0], method, parameters_of(method) or ())


def _timer_callbacks(dofn: DoFn, methods: Sequence[MethodSignature | None]) -> dict[str, MethodSignature]:
    """The callbacks of the timers that the methods, and the callbacks themselves, ask for."""
    callbacks: dict[str, MethodSignature] = {}
    pending = list(methods)
    while pending:
        for param in gather(TimerParam, [pending.pop()]):
            spec = param.timer_spec
            method = getattr(dofn, spec.callback.__name__, None) if spec.callback is not None else None
            if method is None or spec.name in callbacks:
                continue
            callback = MethodSignature(method.__name__, method, parameters_of(method) or ())
            callbacks[spec.name] = callback
            pending.append(callback)
    return callbacks


def gather(kind: type[ParamT], methods: Sequence[MethodSignature | None]) -> list[ParamT]:
    """The distinct context parameters of one type, over all methods."""
    found: dict[DoFnParam, ParamT] = {}
    for method in methods:
        for parameter in method.parameters if method is not None else ():
            if isinstance(parameter.param, kind):
                found.setdefault(parameter.param, parameter.param)
    return list(found.values())


__all__ = [
    "NO_DEFAULT",
    "BoundCall",
    "BundleFinalizerParam",
    "DoFnSignature",
    "MethodSignature",
    "Parameter",
    "element_first",
    "gather",
    "parameters_of",
    "signature_of",
    "signature_of_methods",
    "with_element",
]
