"""DoFn: the author's code that a ParDo runs on every element, and what wraps a plain function as one."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs

from hornbeam.display import DisplayDataItem, HasDisplayData
from hornbeam.transforms import dofn_params as params
from hornbeam.transforms.hints import callable_hints, return_type, yielded_type
from hornbeam.transforms.labels import label_from_callable
from hornbeam.transforms.restriction import RestrictionProvider, WatermarkEstimatorProvider
from hornbeam.transforms.signature import (
    NO_DEFAULT,
    DoFnSignature,
    ElementByName,
    MethodSignature,
    Parameter,
    element_first,
    parameters_of,
    signature_of,
    signature_of_methods,
    with_element,
)
from hornbeam.transforms.window import TimestampedValue
from hornbeam.typehints import typehints
from hornbeam.typehints.decorators import IOTypeHints, WithTypeHints, get_type_hints

__all__ = [
    "CallableDoFn",
    "DoFn",
    "DoFnSignature",
    "RestrictionProvider",
    "WatermarkEstimatorProvider",
    "signature_of",
]

FnT = TypeVar("FnT", bound=Callable[..., Any])


class DoFn(WithTypeHints, HasDisplayData):
    """What a ParDo runs: subclass it and define `process`.

    The runner makes a copy for each worker, calls `setup` once, then for each bundle `start_bundle`, `process` for every
    element and `finish_bundle`, and `teardown` in the end (best effort). A parameter whose default is one of
    the `...Param` values is filled in by the runner.
    """

    # Typed as Any, so that `ts: Timestamp = DoFn.TimestampParam` passes type checkers.
    ElementParam: Any = params.ELEMENT_PARAM
    SideInputParam: Any = params.SIDE_INPUT_PARAM
    TimestampParam: Any = params.TIMESTAMP_PARAM
    WindowParam: Any = params.WINDOW_PARAM
    WindowedValueParam: Any = params.WINDOWED_VALUE_PARAM
    PaneInfoParam: Any = params.PANE_INFO_PARAM
    WatermarkEstimatorParam = params.WatermarkEstimatorParam
    BundleFinalizerParam = params.BundleFinalizerParam
    KeyParam: Any = params.KEY_PARAM
    BundleContextParam = params.BundleContextParam
    SetupContextParam = params.SetupContextParam
    StateParam = params.StateParam
    TimerParam = params.TimerParam
    DynamicTimerTagParam: Any = params.DYNAMIC_TIMER_TAG_PARAM
    RestrictionParam = params.RestrictionParam

    DoFnProcessParams = [
        ElementParam,
        SideInputParam,
        TimestampParam,
        WindowParam,
        WindowedValueParam,
        WatermarkEstimatorParam,
        PaneInfoParam,
        BundleFinalizerParam,
        KeyParam,
        StateParam,
        TimerParam,
        BundleContextParam,
        SetupContextParam,
    ]

    @staticmethod
    def from_callable(fn: Callable[..., Any]) -> DoFn:
        """A DoFn whose process calls the function and gives the elements of what it returns."""
        return CallableDoFn(fn, "flat_map")

    @staticmethod
    def unbounded_per_element() -> Callable[[FnT], FnT]:
        """Decorator for a splittable DoFn's process that may never end for one element: its output is unbounded."""

        def mark(process: FnT) -> FnT:
            process.unbounded_per_element = True  # type: ignore[attr-defined]
            return process

        return mark

    @staticmethod
    def requires_time_sorted_input(process: FnT) -> FnT:
        """Decorator for a stateful DoFn's process that wants its elements in the order of their timestamps.

        Elements wait until the watermark passes them. Beyond Beam's Python; `@RequiresTimeSortedInput` in its Java.
        """
        if getattr(process, "__name__", "") != "process":
            raise ValueError(
                f"@DoFn.requires_time_sorted_input belongs on a DoFn's process method; it is on {process!r}."
            )
        process._requires_time_sorted_input = True  # type: ignore[attr-defined]
        return process

    @staticmethod
    def yields_elements(fn: FnT) -> FnT:
        """Decorator for a process_batch that gives single elements, not batches."""
        _check_batch_method(fn, "yields_elements")
        fn._yields_elements = True  # type: ignore[attr-defined]
        return fn

    @staticmethod
    def yields_batches(fn: FnT) -> FnT:
        """Decorator for a process that gives batches, not single elements."""
        _check_batch_method(fn, "yields_batches")
        fn._yields_batches = True  # type: ignore[attr-defined]
        return fn

    def default_label(self) -> str:
        """The class's name."""
        return type(self).__name__

    def process(self, element: Any, *args: Any, **kwargs: Any) -> Iterable[Any] | None:
        """Work on one element; give any number of outputs as an iterable, or None for none.

        An output may be a value, a TimestampedValue, a WindowedValue, or a TaggedOutput of one of these.
        """
        raise NotImplementedError(f"{type(self).__name__} must define process(self, element).")

    def process_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Iterable[Any] | None:
        """Work on a batch of elements at once, if defined; gives batches."""
        raise NotImplementedError(f"{type(self).__name__} does not define process_batch(self, batch).")

    def setup(self) -> None:
        """Called once for each copy of the DoFn, before anything else: open connections, load models."""

    def start_bundle(self) -> None:
        """Called before the elements of a bundle."""

    def finish_bundle(self) -> Iterable[Any] | None:
        """Called after the elements of a bundle; outputs must be WindowedValues (or tagged ones)."""

    def teardown(self) -> None:
        """Called when the copy is no longer needed; best effort."""

    def display_data(self) -> dict[str, Any]:
        """Nothing by default."""
        return {}

    def get_function_arguments(self, func: str) -> tuple[list[str], list[Any]]:
        """The names of a method's parameters, with `self`, and the defaults of the last of them."""
        method = getattr(self, func)
        found = parameters_of(method) or ()
        positional = [p for p in found if p.kind not in ("var_args", "var_kwargs") and not p.keyword_only]
        defaults = [
            p.param or p.default for p in positional if p.param is not None or p.default is not NO_DEFAULT
        ]
        owner = ["self"] if isinstance(method, types.MethodType) else []
        return owner + [p.name for p in positional], defaults

    def default_type_hints(self) -> IOTypeHints:
        """The annotations of process; the class's decorators come before them."""
        hints = callable_hints(self.process)
        if hints is not None:
            hints = _elements_of(hints, f"{type(self).__name__}.process")
        return hints or IOTypeHints.empty()

    def infer_output_type(self, input_type: Any) -> Any:
        """The type of the main output's elements where none is declared."""
        return typehints.Any

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        """The type of the batches that process_batch takes; None without process_batch."""
        if not self._has_process_batch:
            return None
        return _annotated(self.process_batch, 0)

    def get_output_batch_type(self, input_element_type: Any) -> Any:
        """The type of the batches that the DoFn gives; None when it gives none."""
        if not self._yields_any_batches:
            return None
        method = self.process_batch if self._has_process_batch else self.process
        hint = _annotated(method, -1)
        return typehints.get_yielded_type(hint) if hint is not None else None

    @property
    def _has_process_batch(self) -> bool:
        return type(self).process_batch is not DoFn.process_batch

    @property
    def _yields_any_batches(self) -> bool:
        if self._has_process_batch and not getattr(self.process_batch, "_yields_elements", False):
            return True
        return getattr(self.process, "_yields_batches", False)

    def signature(self) -> DoFnSignature:
        """What the methods ask for. Raises TypeError for a process without an element parameter."""
        process = _element_method(self, "process")
        batch = _element_method(self, "process_batch") if self._has_process_batch else None
        return signature_of_methods(self, DoFn, process, batch)


class CallableDoFn(DoFn):
    """A plain function as a DoFn; `kind` says what is made of what it returns.

    `map`: one output. `flat_map`: its items. `filter`: the element, when it is true. `map_tuple`, `flat_map_tuple`: as
    these, called with the element's parts as arguments. `with_timestamps`: the element, at that time.
    """

    def __init__(self, fn: Callable[..., Any], kind: str) -> None:
        if not callable(fn):
            raise TypeError(f"Expected a callable; got {fn!r} ({type(fn).__name__}).")
        if kind not in _CALLS:
            raise ValueError(f"There is no kind {kind!r} of CallableDoFn; there are {', '.join(_CALLS)}.")
        super().__init__()
        refuse_async(fn, label_from_callable(fn))
        self.fn = fn if kind in ("map_tuple", "flat_map_tuple") else element_first(fn)
        self.kind = kind

    def process(self, element: Any, *args: Any, **kwargs: Any) -> Iterable[Any] | None:
        """Call the function, as the kind says."""
        outputs: Iterable[Any] | None = _CALLS[self.kind](self.fn, element, args, kwargs)
        return outputs

    def default_label(self) -> str:
        """The function's name."""
        return label_from_callable(self.fn.fn if isinstance(self.fn, ElementByName) else self.fn)

    def display_data(self) -> dict[str, Any]:
        """The function."""
        return {"fn": DisplayDataItem(self.default_label(), label="Transform Function")}

    def default_type_hints(self) -> IOTypeHints:
        """The function's declared types, as types of elements."""
        hints = get_type_hints(self.fn)
        name = self.default_label()
        if self.kind in ("map_tuple", "flat_map_tuple"):
            hints = attrs.evolve(hints, input_types=None)
        if self.kind in ("flat_map", "flat_map_tuple"):
            return _elements_of(hints, name)
        if self.kind in ("filter", "with_timestamps"):
            return attrs.evolve(hints, output_types=None)
        return hints.extract_tagged_outputs()

    def infer_output_type(self, input_type: Any) -> Any:
        """The type of what the function returns, where that is known."""
        if self.kind in ("filter", "with_timestamps"):
            return input_type
        if self.kind in ("map", "map_tuple"):
            return return_type(self.fn, input_type)
        if self.kind == "flat_map":
            return yielded_type(return_type(self.fn, input_type))
        return typehints.Any

    def signature(self) -> DoFnSignature:
        """The function's parameters as process's."""
        found = parameters_of(self.fn)
        unpacked = self.kind in ("map_tuple", "flat_map_tuple")
        try:
            parameters = _after_parts(found) if unpacked else with_element(found)
        except TypeError as error:
            raise TypeError(f"{self.default_label()} {error}.") from None
        by_name = isinstance(self.fn, ElementByName)
        process = MethodSignature(self.default_label(), self.process, parameters, True, unpacked, by_name)
        return signature_of_methods(self, DoFn, process, kind=self.kind, fn=self.fn)


def refuse_async(fn: Any, name: str) -> None:
    """TypeError for an async function: nothing would await what it returns."""
    called = fn if inspect.isroutine(fn) or isinstance(fn, functools.partial) else type(fn).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError(
            f"{name} is an async function, whose results nothing would await. Use an ordinary function that calls "
            "asyncio.run(...), or a DoFn that keeps an event loop from setup() to teardown()."
        )


def _one(fn: Any, element: Any, args: Any, kwargs: Any) -> Iterable[Any]:
    return (fn(element, *args, **kwargs),)


def _many(fn: Any, element: Any, args: Any, kwargs: Any) -> Any:
    return fn(element, *args, **kwargs)


def _same_if(fn: Any, element: Any, args: Any, kwargs: Any) -> Iterable[Any]:
    return (element,) if fn(element, *args, **kwargs) else ()


def _one_of_parts(fn: Any, element: Any, args: Any, kwargs: Any) -> Iterable[Any]:
    return (fn(*element, *args, **kwargs),)


def _many_of_parts(fn: Any, element: Any, args: Any, kwargs: Any) -> Any:
    return fn(*element, *args, **kwargs)


def _same_at(fn: Any, element: Any, args: Any, kwargs: Any) -> Iterable[Any]:
    return (TimestampedValue(element, fn(element, *args, **kwargs)),)


_CALLS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "map": _one,
    "flat_map": _many,
    "filter": _same_if,
    "map_tuple": _one_of_parts,
    "flat_map_tuple": _many_of_parts,
    "with_timestamps": _same_at,
}


def _check_batch_method(fn: Any, decorator: str) -> None:
    if getattr(fn, "__name__", "") not in ("process", "process_batch"):
        raise ValueError(
            f"@DoFn.{decorator} belongs on a DoFn's process or process_batch method; it is on {fn!r}."
        )


def _annotated(method: Callable[..., Any], place: int) -> Any:
    """The annotation of a method's parameter, or of its result for -1; None when there is none."""
    hints = IOTypeHints.from_callable(method)
    if hints is None:
        return None
    if place < 0:
        return hints.output_types[0][0] if hints.output_types and hints.output_types[0] else None
    return hints.input_types[0][place] if hints.input_types and len(hints.input_types[0]) > place else None


def _element_method(dofn: DoFn, name: str) -> MethodSignature:
    """The signature of process or process_batch; TypeError when it takes no element."""
    method = getattr(dofn, name)
    try:
        parameters = with_element(parameters_of(method))
        return MethodSignature(name, element_first(method), parameters)
    except TypeError as error:
        raise TypeError(f"{type(dofn).__name__}.{name} {error}.") from None


def _elements_of(hints: IOTypeHints, name: str) -> IOTypeHints:
    """Hints of a function that returns an iterable, with the items' type for the output."""
    try:
        return hints.strip_iterable()
    except ValueError as error:
        raise ValueError(f"{name} must return an iterable of its outputs, or None: {error}") from error


def _after_parts(found: tuple[Parameter, ...] | None) -> tuple[Parameter, ...]:
    """The parameters of a function of an element's parts: those with a default are not parts."""
    element = (Parameter("element", "element"),)
    if found is None:
        return element
    return element + tuple(
        p
        for p in found
        if p.is_context or p.default is not NO_DEFAULT or p.keyword_only or p.kind == "var_kwargs"
    )
