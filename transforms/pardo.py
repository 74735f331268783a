"""ParDo: a function on every element, and its short forms Map, FlatMap, Filter, MapTuple, FlatMapTuple."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from hornbeam.display import DisplayDataItem, HasDisplayData
from hornbeam.graph import urns
from hornbeam.pvalue import DoOutputsTuple, PBegin, PCollection
from hornbeam.transforms.dofn import CallableDoFn, DoFn, DoFnSignature
from hornbeam.transforms.dofn_validation import validate_dofn
from hornbeam.transforms.group import check_pairs, require_deterministic_keys
from hornbeam.transforms.hints import argument_type, check_type
from hornbeam.transforms.labels import label_from_callable
from hornbeam.transforms.ptransform import GraphParts, PTransform, PTransformWithSideInputs, StepContext
from hornbeam.transforms.sideinputs import SideInputRef, side_input_refs
from hornbeam.transforms.type_checked_dofn import TypeCheckedDoFn
from hornbeam.typehints.decorators import IOTypeHints

if TYPE_CHECKING:
    from hornbeam.coders.coder import Coder
    from hornbeam.transforms.error_handling import ErrorHandler
    from hornbeam.transforms.window import WindowFn

__all__ = [
    "DoFnPayload",
    "Filter",
    "FlatMap",
    "FlatMapTuple",
    "Map",
    "MapTuple",
    "ParDo",
    "SideInputRef",
    "WithTimestamps",
    "identity",
]

T = TypeVar("T")


def identity(x: T) -> T:
    """The argument itself."""
    return x


@attrs.frozen
class DoFnPayload:
    """The pickled object of a PARDO step.

    A side input among the arguments is a SideInputRef; `side_defaults` has the defaults of singleton views by tag.
    """

    dofn: DoFn
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    side_defaults: Mapping[str, Any] = attrs.field(factory=dict)


class ParDo(PTransformWithSideInputs):
    """Runs a DoFn, or a callable that returns an iterable, on every element.

    Further arguments go to process (or the callable) after the element; those given as `AsSingleton(pcoll)`, `AsIter(pcoll)`
    … arrive as the PCollection's content.
    """

    #: Makes the ParDo with exception handling of (ParDo, arguments, further tags); put here by
    #: `hornbeam.transforms.exception_handling`, which stands on this module.
    _guarded: ClassVar[Callable[[ParDo, Mapping[str, Any], tuple[str, ...]], PTransform[Any, Any]]]

    def __init__(self, fn: DoFn | Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(fn, *args, **kwargs)
        self.dofn: DoFn = self.fn
        self.signature: DoFnSignature = validate_dofn(self.dofn)
        self._check_call()

    def make_fn(self, fn: Any, has_side_inputs: bool) -> DoFn:
        """A DoFn as it is, a callable wrapped as one."""
        if isinstance(fn, DoFn):
            return fn
        if callable(fn):
            return CallableDoFn(fn, "flat_map")
        raise TypeError(f"ParDo needs a DoFn or a callable; it got {fn!r} ({type(fn).__name__}).")

    def _check_call(self) -> None:
        """TypeError when the arguments certainly do not fit the function."""
        try:
            self.signature.process.bind(self.args, self.kwargs)
        except TypeError as error:
            raise TypeError(f"{self._shown_call()}: {error}") from None

    def _shown_call(self) -> str:
        return f"{self._name}({self._fn_label()})"

    @property
    def _name(self) -> str:
        """What the author wrote: `Map` rather than `ParDo`."""
        name: str = self.__dict__.get("_short_name", "ParDo")
        return name

    def default_label(self) -> str:
        """`ParDo(MyDoFn)`, `Map(<lambda at words.py:12>)`."""
        return f"{self._name}({self._fn_label()})"

    def default_type_hints(self) -> IOTypeHints:
        """The DoFn's."""
        hints: IOTypeHints = self.__dict__.get("_dofn_hints") or self.dofn.get_type_hints()
        self.__dict__["_dofn_hints"] = hints
        return hints

    def infer_output_type(self, input_type: Any) -> Any:
        """What the DoFn infers."""
        return self.dofn.infer_output_type(input_type)

    def type_check_inputs(self, pvalueish: Any) -> None:
        """TypeCheckError when the element, or an argument, certainly has not the declared type."""
        if isinstance(pvalueish, PCollection) and (self.signature.is_stateful or self.signature.takes_key):
            what = "A DoFn with state or timers" if self.signature.is_stateful else "DoFn.KeyParam"
            check_pairs(what, pvalueish, pvalueish.pipeline.current_label)
        for view in self.side_inputs:
            if view.requires_keyed_input():
                check_pairs(type(view).__name__, view.pcoll, view.pipeline.current_label)
        hints = self.get_type_hints()
        if not hints.input_types or not isinstance(pvalueish, PCollection):
            return
        positional, named = hints.input_types
        if positional:
            check_type(self.label, pvalueish.element_type, positional[0], "its input", hints)
        if self.signature.process.is_plain:
            for index, (argument, hint) in enumerate(zip(self.args, positional[1:])):
                check_type(self.label, argument_type(argument), hint, f"argument {index + 1}", hints)
        for name, hint in named.items():
            if name in self.kwargs:
                check_type(self.label, argument_type(self.kwargs[name]), hint, f"argument {name!r}", hints)

    def type_check_outputs(self, pvalueish: Any) -> None:
        """Nothing to check: the output has the type that is declared."""

    def infer_batch_converters(self, input_element_type: Any) -> None:
        """Nothing to do here: how elements become batches is chosen when the step runs."""

    def display_data(self) -> dict[str, Any]:
        """The function's class, and its own items."""
        data: dict[str, Any] = {
            "fn": DisplayDataItem(type(self.dofn), label="Transform Function"),
            "fn_dd": self.dofn,
        }
        if isinstance(self.dofn, CallableDoFn):
            data = {"fn": DisplayDataItem(self._fn_label(), label="Transform Function")}
            if isinstance(self.dofn.fn, HasDisplayData):
                data["fn_dd"] = self.dofn.fn
        return data

    def get_restriction_coder(self) -> Coder | None:
        """The coder of the restrictions of a splittable DoFn; None for any other."""
        provider = self.signature.restriction_provider
        coder: Coder | None = None if provider is None else provider.restriction_coder()
        return coder

    def expand(self, pcoll: Any) -> Any:
        """One PCollection, unbounded when an element may have output without end."""
        pcoll = self._checked_input(pcoll)
        if self.signature.is_stateful:
            self._refuse_merging(pcoll)
            require_deterministic_keys(pcoll)
        return PCollection.from_(pcoll, self._is_bounded(pcoll))

    def _checked_input(self, pcoll: Any) -> PCollection[Any]:
        if isinstance(pcoll, PCollection):
            return pcoll
        if isinstance(pcoll, PBegin):
            raise TypeError(
                f"{self.label!r} was applied to the pipeline itself, which has no elements. Start with "
                "beam.Create([...]), beam.Impulse() or a beam.io source."
            )
        advice = "Choose one of its outputs." if isinstance(pcoll, DoOutputsTuple) else "Flatten them first."
        raise TypeError(f"{self.label!r} needs one PCollection; it got {pcoll!r}. {advice}")

    def _refuse_merging(self, pcoll: PCollection[Any]) -> None:
        window_fn = pcoll.windowing.windowfn
        if window_fn.is_merging():
            raise ValueError(
                f"{self.label!r} uses state or timers, which belong to a key and a window; its input has {window_fn!r}, "
                "whose windows merge. Put beam.WindowInto with windows that do not merge before it, or group first."
            )

    def _is_bounded(self, pcoll: PCollection[Any]) -> bool:
        return pcoll.is_bounded and not (
            self.signature.is_splittable and getattr(type(self.dofn).process, "unbounded_per_element", False)
        )

    def payload(self) -> DoFnPayload:
        """What the graph's payload is the pickle of."""
        args, kwargs, defaults = side_input_refs(self.args, self.kwargs)
        return DoFnPayload(self.dofn, args, kwargs, defaults)

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """A PARDO with the DoFn and the arguments as its payload."""
        payload = self.payload()
        if context.pipeline.runtime_type_check:
            checked = TypeCheckedDoFn(payload.dofn, self.get_type_hints(), context.label)
            payload = attrs.evolve(payload, dofn=checked) if checked.checks_something else payload
        return GraphParts(urns.PARDO, self._spec(None, ()), context.pickle(payload))

    def _spec(self, main: str | None, tags: tuple[str, ...]) -> dict[str, Any]:
        signature = self.signature
        return {
            "dofn": _function_name(self.dofn),
            "kind": signature.kind,
            "main": main,
            "tags": list(tags),
            "stateful": signature.is_stateful,
            "splittable": signature.is_splittable,
            "state": sorted(signature.state_params),
            "timers": sorted(signature.timer_params),
            "requires_time_sorted_input": signature.requires_time_sorted_input,
        }

    def with_outputs(
        self, *tags: str, main: str | None = None, allow_unknown_tags: bool | None = None
    ) -> PTransform[Any, Any]:
        """Give the outputs of `tags` beside the main one: `result.tag`, `result['tag']`, or unpacked in order.

        With `main`, the main output comes first when unpacked, and has that name too. Without any tags every
        output that is asked for is there; with tags others are refused unless `allow_unknown_tags`.
        """
        if main is not None and main in tags:
            raise ValueError(
                f"The main output's tag {main!r} must be different from the side output tags {tags!r}."
            )
        for tag in tags:
            if not isinstance(tag, str):
                raise TypeError(f"with_outputs needs tags of type str; {tag!r} is {type(tag).__name__}.")
            if tag == "out":
                raise ValueError("The tag 'out' is kept for the main output in graphs; choose another one.")
        return _MultiParDo(self, tags, main, allow_unknown_tags)

    def with_exception_handling(
        self,
        main_tag: str = "good",
        dead_letter_tag: str = "bad",
        *,
        exc_class: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        partial: bool = False,
        use_subprocess: bool = False,
        threshold: float = 1,
        threshold_windowing: WindowFn | None = None,
        timeout: float | None = None,
        error_handler: ErrorHandler | None = None,
        on_failure_callback: Callable[[BaseException, Any], None] | None = None,
        allow_unsafe_userstate_in_process: bool = False,
    ) -> PTransform[Any, Any]:
        """Send elements that fail to an output of their own: `good, bad = pcoll | beam.Map(f).with_exception_handling()`.

        A dead letter is `(element, (exception type, repr of the exception, traceback lines))`.

        Args:
          main_tag: the main output's tag.
          dead_letter_tag: the tag of the dead letters.
          exc_class: the exceptions that are caught; others fail the pipeline.
          partial: whether outputs that came before the failure are kept; otherwise an element's outputs are
            held back until all are there.
          use_subprocess: run the function in another process, so that it may crash; slow.
          threshold: the fraction of elements in a window that may fail; more fail the pipeline.
          threshold_windowing: the windows to count in, if not the input's.
          timeout: how many seconds the function may take for an element; more count as a TimeoutError.
          error_handler: takes the dead letters; the result is then the main output alone.
          on_failure_callback: called with the exception and the element, where the function runs.
          allow_unsafe_userstate_in_process: let a DoFn through that uses state or timers. What it did to them
            before it failed is not undone.
        """
        return self._guard(
            (),
            {
                "main_tag": main_tag,
                "dead_letter_tag": dead_letter_tag,
                "exc_class": exc_class,
                "partial": partial,
                "use_subprocess": use_subprocess,
                "threshold": threshold,
                "threshold_windowing": threshold_windowing,
                "timeout": timeout,
                "error_handler": error_handler,
                "on_failure_callback": on_failure_callback,
            },
            allow_unsafe_userstate_in_process,
        )

    def _guard(
        self, tags: tuple[str, ...], handling: Mapping[str, Any], allow_state: bool
    ) -> PTransform[Any, Any]:
        if self.signature.is_stateful and not allow_state:
            raise ValueError(
                f"{self.label!r} uses state or timers, and what it did to them before a failure is not undone. Pass "
                "allow_unsafe_userstate_in_process=True to with_exception_handling if that does no harm."
            )
        return ParDo._guarded(self, handling, tags)

    def with_error_handler(
        self, error_handler: ErrorHandler | None, **exception_handling_kwargs: Any
    ) -> PTransform[Any, Any]:
        """Hand elements that fail to the error handler; without one this changes nothing."""
        if error_handler is None:
            return self
        return self.with_exception_handling(error_handler=error_handler, **exception_handling_kwargs)


class _MultiParDo(PTransform[Any, Any]):
    """A ParDo whose tagged outputs are wanted too."""

    def __init__(
        self, pardo: ParDo, tags: tuple[str, ...], main: str | None, allow_unknown_tags: bool | None
    ) -> None:
        super().__init__(pardo.__dict__.get("_label"))
        self._pardo = pardo
        self._tags = tags
        self._main = main
        self._allow_unknown_tags = allow_unknown_tags
        self.side_inputs = pardo.side_inputs

    def with_exception_handling(self, main_tag: str | None = None, **kwargs: Any) -> PTransform[Any, Any]:
        """Send elements that fail to an output beside those of the tags; see `ParDo.with_exception_handling`."""
        kwargs["main_tag"] = main_tag or self._main or "good"
        allow_state = kwargs.pop("allow_unsafe_userstate_in_process", False)
        return self._pardo._guard(self._tags, kwargs, allow_state)

    def with_error_handler(
        self, error_handler: ErrorHandler | None, **exception_handling_kwargs: Any
    ) -> PTransform[Any, Any]:
        """Hand elements that fail to the error handler; without one this changes nothing."""
        if error_handler is None:
            return self
        return self.with_exception_handling(error_handler=error_handler, **exception_handling_kwargs)

    def default_label(self) -> str:
        """The ParDo's."""
        return self._pardo.default_label()

    def default_type_hints(self) -> IOTypeHints:
        """The ParDo's."""
        return self._pardo.get_type_hints()

    def infer_output_type(self, input_type: Any) -> Any:
        """The ParDo's."""
        return self._pardo.infer_output_type(input_type)

    def type_check_inputs(self, pvalueish: Any) -> None:
        """The ParDo's checks."""
        self._pardo.type_check_inputs(pvalueish)

    def type_check_outputs(self, pvalueish: Any) -> None:
        """Nothing to check: the outputs have the types that are declared."""

    def get_resource_hints(self) -> dict[str, bytes]:
        """The ParDo's, and its own."""
        return self._pardo.get_resource_hints()

    def display_data(self) -> dict[str, Any]:
        """The ParDo's."""
        return self._pardo.display_data()

    def expand(self, pcoll: Any) -> DoOutputsTuple:
        """The main output and those of the tags."""
        main = self._pardo.expand(pcoll)
        return DoOutputsTuple(pcoll.pipeline, self, self._tags, self._main, main, self._allow_unknown_tags)

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """The ParDo's, with the tags. Those that are asked for later are added by the translation."""
        parts = self._pardo.to_graph_parts(context)
        return attrs.evolve(parts, spec=self._pardo._spec(self._main, self._tags))


def _function_name(dofn: DoFn) -> str:
    if isinstance(dofn, CallableDoFn):
        fn = dofn.fn
        module = getattr(fn, "__module__", None)
        name = getattr(fn, "__qualname__", None)
        return f"{module}.{name}" if module and name and "<" not in name else label_from_callable(fn)
    return f"{type(dofn).__module__}.{type(dofn).__qualname__}"


def _callable_pardo(name: str, kind: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ParDo:
    """A ParDo of a plain function under its short name."""
    if isinstance(fn, DoFn) or (isinstance(fn, type) and issubclass(fn, DoFn)):
        shown = fn.__name__ if isinstance(fn, type) else type(fn).__name__
        raise TypeError(f"{name} needs a function; {shown} is a DoFn. Write beam.ParDo({shown}(...)).")
    if not callable(fn):
        raise TypeError(f"{name} needs a callable; it got {fn!r} ({type(fn).__name__}).")
    pardo = ParDo.__new__(ParDo)
    pardo.__dict__["_short_name"] = name
    pardo.__init__(CallableDoFn(fn, kind), *args, **kwargs)  # type: ignore[misc]
    return pardo


def FlatMap(fn: Callable[..., Any] = identity, *args: Any, **kwargs: Any) -> ParDo:
    """The items of what `fn(element, ...)` returns, as elements of their own; by default those of the element.

    >>> import hornbeam as beam
    >>> ["to be", "or not"] | beam.FlatMap(str.split)
    ['to', 'be', 'or', 'not']
    """
    return _callable_pardo("FlatMap", "flat_map", fn, args, kwargs)


def Map(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ParDo:
    """`fn(element, ...)` for each element.

    >>> import hornbeam as beam
    >>> [1, 2, 3] | beam.Map(lambda x: x * 10)
    [10, 20, 30]
    """
    return _callable_pardo("Map", "map", fn, args, kwargs)


def MapTuple(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ParDo:
    """`fn(*element, ...)` for each element: its parts are arguments. Parameters with a default take the others.

    >>> import hornbeam as beam
    >>> [("a", 1), ("b", 2)] | beam.MapTuple(lambda key, value: f"{key}{value}")
    ['a1', 'b2']
    """
    return _callable_pardo("MapTuple", "map_tuple", fn, args, kwargs)


def FlatMapTuple(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ParDo:
    """The items of what `fn(*element, ...)` returns, as elements of their own.

    >>> import hornbeam as beam
    >>> [("a", 2), ("b", 1)] | beam.FlatMapTuple(lambda key, times: [key] * times)
    ['a', 'a', 'b']
    """
    return _callable_pardo("FlatMapTuple", "flat_map_tuple", fn, args, kwargs)


def Filter(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ParDo:
    """The elements for which `fn(element, ...)` is true.

    >>> import hornbeam as beam
    >>> [1, 2, 3, 4] | beam.Filter(lambda x: x % 2 == 0)
    [2, 4]
    """
    return _callable_pardo("Filter", "filter", fn, args, kwargs)


def WithTimestamps(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ParDo:
    """The same elements at the times that `fn(element, ...)` gives: seconds, or a Timestamp.

    Quicker than a Map that makes TimestampedValues. Times may not be earlier than the element's was, unless
    that was the beginning of time.

    >>> import hornbeam as beam
    >>> when = beam.Map(lambda x, t=beam.DoFn.TimestampParam: (x, t.micros))
    >>> [3, 1] | (beam.WithTimestamps(lambda x: x) | when)
    [(3, 3000000), (1, 1000000)]
    """
    return _callable_pardo("WithTimestamps", "with_timestamps", fn, args, kwargs)
