"""CombineGlobally, CombinePerKey, CombineValues: many values into one."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from hornbeam.display import DisplayDataItem
from hornbeam.error import NotSupportedError
from hornbeam.graph import urns
from hornbeam.pvalue import AsList, AsSideInput, AsSingleton, PCollection, TaggedOutput
from hornbeam.transforms.combinefn import CallableWrapperCombineFn, CombineFn
from hornbeam.transforms.create import Create
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.flatten import Flatten
from hornbeam.transforms.group import (
    GroupByKey,
    OutputsWithLate,
    check_late_tag,
    check_pairs,
    key_and_value_types,
)
from hornbeam.transforms.pardo import Map, ParDo
from hornbeam.transforms.ptransform import GraphParts, PTransform, PTransformWithSideInputs, StepContext
from hornbeam.transforms.sideinputs import side_input_refs
from hornbeam.transforms.trigger import AccumulationMode, DefaultTrigger
from hornbeam.transforms.window import GlobalWindows, SlidingWindows
from hornbeam.transforms.window_into import WindowInto
from hornbeam.type_inference import knows_nothing
from hornbeam.typehints import typehints
from hornbeam.typehints.decorators import IOTypeHints

_LOG = logging.getLogger(__name__)

__all__ = [
    "CallableWrapperCombineFn",
    "CombineFn",
    "CombineGlobally",
    "CombinePayload",
    "CombinePerKey",
    "CombineValues",
]


@attrs.frozen
class CombinePayload:
    """The pickled object of COMBINE_PER_KEY and COMBINE_GROUPED_VALUES steps.

    A side input among the arguments is a SideInputRef; `side_defaults` has the defaults of singleton views by tag.
    """

    fn: CombineFn
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    side_defaults: Mapping[str, Any] = attrs.field(factory=dict)


class _CombineWithFn(PTransformWithSideInputs):
    """What the transforms with a CombineFn have in common."""

    fn: CombineFn

    def make_fn(self, fn: Any, has_side_inputs: bool) -> CombineFn:
        """A CombineFn as it is, a callable wrapped as one."""
        return CombineFn.maybe_from_callable(fn, has_side_inputs)

    def display_data(self) -> dict[str, Any]:
        """The CombineFn and its own items."""
        return {
            "combine_fn": DisplayDataItem(type(self.fn), label="Combine Function"),
            "combine_fn_dd": self.fn,
        }

    def default_type_hints(self) -> IOTypeHints:
        """The CombineFn's, as types of pairs."""
        hints = self.fn.get_type_hints()
        key = typehints.TypeVariable("K")
        if hints.input_types and hints.input_types[0]:
            value, *others = hints.input_types[0]
            hints = hints.with_input_types(self._input_pair(key, value), *others, **hints.input_types[1])
        output = hints.simple_output_type(self.label)
        if not knows_nothing(output):
            hints = hints.with_output_types(typehints.KV[key, output])
        return hints

    def _input_pair(self, key: Any, value: Any) -> Any:
        return typehints.KV[key, value]

    def type_check_inputs(self, pvalueish: Any) -> None:
        """TypeCheckError when the input certainly is not made of pairs, or not of the declared ones."""
        if isinstance(pvalueish, PCollection):
            check_pairs(type(self).__name__, pvalueish, pvalueish.pipeline.current_label)
        hints = self.get_type_hints()
        if hints.input_types and len(hints.input_types[0]) > 1:
            return  # The further types are of arguments, which the CombineFn may use as it likes.
        super().type_check_inputs(pvalueish)

    def _payload(self) -> CombinePayload:
        args, kwargs, defaults = side_input_refs(self.args, self.kwargs)
        return CombinePayload(self.fn, args, kwargs, defaults)

    def _parts(self, urn: str, context: StepContext) -> GraphParts:
        kind = type(self.fn)
        name = f"{kind.__module__}.{kind.__qualname__}"
        spec = {"combine_fn": name, "label": self._fn_label()}
        return GraphParts(urn, spec, context.pickle(self._payload()))


class CombinePerKey(_CombineWithFn):
    """The values of each key and window of (key, value) pairs, combined into one.

    The first argument is a CombineFn or a function over an iterable; further ones, side inputs among them, go to
    its methods.

    >>> import hornbeam as beam
    >>> sorted([("a", 1), ("b", 2), ("a", 3)] | beam.CombinePerKey(sum))
    [('a', 4), ('b', 2)]
    """

    late_tag: str | None = None

    def with_late_output(self, tag: str) -> CombinePerKey:
        """Give out the pairs that are dropped too, because they are late or their trigger has finished: an option of ours.

        `combined, late = pairs | beam.CombinePerKey(sum).with_late_output("late")`, or `result.combined` and
        `result.late`.
        """
        clone = copy.copy(self)
        clone.late_tag = check_late_tag(tag, "combined")
        return clone

    def with_hot_key_fanout(self, fanout: int | Callable[[Any], int] | None) -> PTransform[Any, Any]:
        """Combine hot keys in two steps, so that their work is spread.

        `fanout` is the number of parts, or a function from a key to it; a key with 1 or less is combined at once.
        """
        if fanout is None:
            return self
        if self.late_tag is not None:
            raise NotSupportedError(
                f"{self.label!r} has a late output, which does not go with a hot key fanout; leave one out."
            )
        if isinstance(fanout, bool) or not (isinstance(fanout, int) or callable(fanout)):
            raise TypeError(f"fanout must be an int or a function from a key to one; it is {fanout!r}.")
        return _CombinePerKeyWithHotKeyFanout(self, fanout)

    def infer_output_type(self, input_type: Any) -> Any:
        """(key, result)."""
        key_type, value_type = key_and_value_types(input_type)
        return typehints.KV[key_type, _result_type(self.fn, value_type)]

    def expand(self, pcoll: Any) -> PCollection[Any] | OutputsWithLate:
        """A GroupByKey and a CombineValues, which runners lift apart again."""
        combine = "Combine" >> CombineValues(self.fn, *self.args, **self.kwargs)
        if self.late_tag is None:
            combined: PCollection[Any] = pcoll | GroupByKey() | combine
            return combined
        grouped, late = pcoll | GroupByKey(self.late_tag)
        return OutputsWithLate(self, "combined", grouped | combine, self.late_tag, late)

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """A composite that runners know."""
        parts = self._parts(urns.COMBINE_PER_KEY, context)
        return (
            parts
            if self.late_tag is None
            else attrs.evolve(parts, spec={**parts.spec, "late_tag": self.late_tag})
        )


class CombineValues(_CombineWithFn):
    """The values of (key, values) pairs, as GroupByKey gives them, combined into one for each pair.

    >>> import hornbeam as beam
    >>> sorted([("a", [1, 2]), ("b", [3])] | beam.CombineValues(sum))
    [('a', 3), ('b', 3)]
    """

    def _input_pair(self, key: Any, value: Any) -> Any:
        return typehints.KV[key, typehints.Iterable[value]]

    def infer_output_type(self, input_type: Any) -> Any:
        """(key, result)."""
        key_type, values_type = key_and_value_types(input_type)
        try:
            value_type = typehints.get_yielded_type(values_type)
        except ValueError:
            value_type = typehints.Any
        return typehints.KV[key_type, _result_type(self.fn, value_type)]

    def expand(self, pcoll: Any) -> PCollection[Any]:
        """A primitive."""
        if not isinstance(pcoll, PCollection):
            raise TypeError(f"{self.label!r} needs one PCollection of pairs; it got {pcoll!r}.")
        return PCollection.from_(pcoll)

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """A COMBINE_GROUPED_VALUES."""
        return self._parts(urns.COMBINE_GROUPED_VALUES, context)


def _result_type(fn: CombineFn, value_type: Any) -> Any:
    declared = fn.get_type_hints().simple_output_type(fn.default_label())
    return fn.infer_output_type(value_type) if knows_nothing(declared) else declared


class CombineGlobally(PTransform[Any, Any]):
    """All values of each window combined into one.

    An empty input gives the CombineFn's result for no values; that needs the global window. Otherwise say
    `without_defaults()`, which gives nothing for it, or `as_singleton_view()`.

    >>> import hornbeam as beam
    >>> [1, 2, 3] | beam.CombineGlobally(sum)
    [6]
    """

    has_defaults = True
    as_view = False
    fanout: int | None = None

    def __init__(self, fn: CombineFn | Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if not (isinstance(fn, CombineFn) or callable(fn)):
            raise TypeError(
                f"CombineGlobally needs a CombineFn or a callable; it got {fn!r} ({type(fn).__name__})."
            )
        self.fn = CombineFn.maybe_from_callable(fn)
        self.args = args
        self.kwargs = kwargs

    def display_data(self) -> dict[str, Any]:
        """The CombineFn and its own items."""
        return {
            "combine_fn": DisplayDataItem(type(self.fn), label="Combine Function"),
            "combine_fn_dd": self.fn,
        }

    def default_label(self) -> str:
        """`CombineGlobally(sum)`."""
        return f"CombineGlobally({self.fn.default_label()})"

    def default_type_hints(self) -> IOTypeHints:
        """The CombineFn's types of a value and of the result."""
        hints = self.fn.get_type_hints()
        if hints.input_types and len(hints.input_types[0]) > 1:
            return hints.with_input_types(hints.input_types[0][0])
        return hints

    def infer_output_type(self, input_type: Any) -> Any:
        """The CombineFn's result for values of the type."""
        return _result_type(self.fn, input_type)

    def _changed(self, **attributes: Any) -> CombineGlobally:
        clone = copy.copy(self)
        clone.__dict__.update(attributes)
        return clone

    def with_fanout(self, fanout: int) -> CombineGlobally:
        """Combine in `fanout` parts first."""
        return self._changed(fanout=fanout)

    def with_defaults(self, has_defaults: bool = True) -> CombineGlobally:
        """Whether an empty input gives the CombineFn's result for no values."""
        return self._changed(has_defaults=has_defaults)

    def without_defaults(self) -> CombineGlobally:
        """Give nothing for an empty input."""
        return self.with_defaults(False)

    def as_singleton_view(self) -> CombineGlobally:
        """Give a view for use as a side input, which has the default where a window is empty."""
        return self._changed(as_view=True)

    def expand(self, pcoll: Any) -> Any:
        """A CombinePerKey over one key, and the default beside it."""
        per_key = CombinePerKey(self.fn, *self.args, **self.kwargs)
        value_type = getattr(pcoll, "element_type", typehints.Any)
        combined: PCollection[Any] = (
            pcoll
            | "KeyWithVoid" >> Map(key_with_void).with_output_types(typehints.KV[type(None), value_type])
            | "CombinePerKey" >> (per_key.with_hot_key_fanout(self.fanout) if self.fanout else per_key)
            | "UnKey" >> Map(_value).with_output_types(self._output_type(value_type))
        )
        if self.as_view:
            return self._view(combined)
        if not self.has_defaults:
            return combined
        self._check_default(pcoll)
        default = _OneOrDefault(self.fn, self._has_side_inputs())
        give_one = Map(default, AsList(combined), *self.args, **self.kwargs)
        return (
            pcoll.pipeline
            | "DoOnce" >> Create([None])
            | "InjectDefault" >> give_one.with_output_types(self._output_type(value_type))
        )

    def _output_type(self, value_type: Any) -> Any:
        declared = self.get_type_hints().simple_output_type(self.label)
        return self.infer_output_type(value_type) if knows_nothing(declared) else declared

    def _view(self, combined: PCollection[Any]) -> AsSingleton:
        if not self.has_defaults or self._has_side_inputs():
            return AsSingleton(combined)
        return AsSingleton(combined, default_value=_default(self.fn, False, self.args, self.kwargs))

    def _has_side_inputs(self) -> bool:
        return any(isinstance(argument, AsSideInput) for argument in (*self.args, *self.kwargs.values()))

    def _check_default(self, pcoll: PCollection[Any]) -> None:
        if not isinstance(pcoll.windowing.windowfn, GlobalWindows):
            raise ValueError(
                f"{pcoll.pipeline.current_label!r} cannot give a default for each empty window of "
                f"{pcoll.windowing.windowfn!r}. Write CombineGlobally(...).without_defaults() to get nothing for an "
                "empty window, or .as_singleton_view() to use the result, with its default, as a side input."
            )
        if not pcoll.is_bounded and not pcoll.windowing.is_default():
            _LOG.error(
                "%s combines an unbounded PCollection with a trigger: the default comes once at most. Use "
                "without_defaults().",
                pcoll.pipeline.current_label,
            )


def key_with_void(value: Any) -> tuple[None, Any]:
    """The value under the one key of a global combine; a planner knows the step by this function's name."""
    return None, value


def _value(pair: tuple[Any, Any]) -> Any:
    return pair[1]


def _default(fn: CombineFn, has_side_inputs: bool, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result for no values.

    Setup and teardown get the arguments too, unless there are side inputs among them: these are for single windows.
    """
    around: tuple[Iterable[Any], Mapping[str, Any]] = ((), {}) if has_side_inputs else (args, kwargs)
    fn.setup(*around[0], **around[1])
    try:
        return fn.apply([], *args, **kwargs)
    finally:
        fn.teardown(*around[0], **around[1])


class _OneOrDefault:
    """The combined value, or the result for no values when there is none."""

    def __init__(self, fn: CombineFn, has_side_inputs: bool) -> None:
        self.fn = fn
        self.has_side_inputs = has_side_inputs

    def __call__(self, unused_none: None, combined: list[Any], *args: Any, **kwargs: Any) -> Any:
        if not combined:
            return _default(self.fn, self.has_side_inputs, args, kwargs)
        if len(combined) > 1:
            raise ValueError(f"A global combine gave {len(combined)} values for one window: {combined!r}.")
        return combined[0]


class _CombinePerKeyWithHotKeyFanout(PTransform[Any, Any]):
    """Combines hot keys in parts, then the parts' accumulators with the values of the other keys."""

    def __init__(self, per_key: CombinePerKey, fanout: int | Callable[[Any], int]) -> None:
        super().__init__()
        self._per_key = per_key
        self._fanout = fanout
        self.side_inputs = ()

    def default_label(self) -> str:
        """`CombinePerKeyWithHotKeyFanout(sum)`."""
        return f"CombinePerKeyWithHotKeyFanout({self._per_key._fn_label()})"

    def default_type_hints(self) -> IOTypeHints:
        """The CombinePerKey's."""
        return self._per_key.get_type_hints()

    def infer_output_type(self, input_type: Any) -> Any:
        """The CombinePerKey's."""
        return self._per_key.infer_output_type(input_type)

    def type_check_inputs(self, pvalueish: Any) -> None:
        """The CombinePerKey's checks."""
        self._per_key.type_check_inputs(pvalueish)

    def expand(self, pcoll: Any) -> PCollection[Any]:
        """Two CombinePerKeys."""
        fn, args, kwargs = self._per_key.fn, self._per_key.args, self._per_key.kwargs
        key_type, value_type = key_and_value_types(pcoll.element_type)
        split = ParDo(_SplitHotCold(self._fanout)).with_outputs("hot", main="cold")
        cold, hot = pcoll | split
        cold.element_type = typehints.KV[key_type, typehints.Tuple[bool, typehints.Any]]
        hot.element_type = typehints.KV[typehints.Tuple[int, key_type], value_type]
        combined = (
            self._discarding(hot)
            | "PreCombine" >> CombinePerKey(_PreCombineFn(fn), *args, **kwargs)
            | "StripNonce" >> Map(_strip_nonce).with_output_types(cold.element_type)
        )
        if combined.windowing.triggerfn != pcoll.windowing.triggerfn:
            combined = combined | "WindowIntoOriginal" >> WindowInto(pcoll.windowing)
        result: PCollection[Any] = (
            (cold, combined) | Flatten() | "PostCombine" >> CombinePerKey(_PostCombineFn(fn), *args, **kwargs)
        )
        return result

    def _discarding(self, hot: PCollection[Any]) -> PCollection[Any]:
        """The hot pairs so windowed that no accumulator is counted twice.

        Only a trigger needs that. It gives elements new windows by their timestamps, which is not the same for
        windows that overlap or merge.
        """
        windowing = hot.windowing
        if windowing.triggerfn == DefaultTrigger() and not windowing.allowed_lateness.micros:
            return hot
        if isinstance(windowing.windowfn, SlidingWindows) or windowing.windowfn.is_merging():
            raise ValueError(
                f"{hot.pipeline.current_label!r}: a hot key fanout does not work with a trigger over "
                f"{windowing.windowfn!r}, whose windows overlap or merge."
            )
        discarding = WindowInto(windowing, accumulation_mode=AccumulationMode.DISCARDING)
        result: PCollection[Any] = hot | "WindowIntoDiscarding" >> discarding
        return result


class _SplitHotCold(DoFn):
    """Pairs of hot keys get a part's number, the same for a whole bundle, which is combined before it is sent."""

    def __init__(self, fanout: int | Callable[[Any], int]) -> None:
        super().__init__()
        self._fanout = fanout
        self._nonce = 0

    def start_bundle(self) -> None:
        """Choose the part."""
        self._nonce = random.getrandbits(31)

    def process(self, element: tuple[Any, Any]) -> Iterator[Any]:
        """A cold pair as it is, a hot one with its part."""
        key, value = element
        fanout = self._fanout if isinstance(self._fanout, int) else self._fanout(key)
        if fanout <= 1:
            yield key, (False, value)
        else:
            yield TaggedOutput("hot", ((self._nonce % fanout, key), value))


def _strip_nonce(pair: tuple[tuple[int, Any], Any]) -> tuple[Any, tuple[bool, Any]]:
    (_, key), accumulator = pair
    return key, (True, accumulator)


class _PreCombineFn(CombineFn):
    """A CombineFn that gives its accumulators."""

    def __init__(self, fn: CombineFn) -> None:
        super().__init__()
        self._fn = fn
        self.setup = fn.setup  # type: ignore[method-assign]
        self.create_accumulator = fn.create_accumulator  # type: ignore[method-assign]
        self.add_input = fn.add_input  # type: ignore[method-assign]
        self.add_inputs = fn.add_inputs  # type: ignore[method-assign]
        self.merge_accumulators = fn.merge_accumulators  # type: ignore[method-assign]
        self.compact = fn.compact  # type: ignore[method-assign]
        self.extract_output = fn.compact  # type: ignore[method-assign]
        self.teardown = fn.teardown  # type: ignore[method-assign]
        self.get_accumulator_coder = fn.get_accumulator_coder  # type: ignore[method-assign]

    def __reduce__(self) -> Any:
        return _PreCombineFn, (self._fn,)


class _PostCombineFn(CombineFn):
    """A CombineFn over values and accumulators: pairs that say which it is."""

    def __init__(self, fn: CombineFn) -> None:
        super().__init__()
        self._fn = fn
        self.setup = fn.setup  # type: ignore[method-assign]
        self.create_accumulator = fn.create_accumulator  # type: ignore[method-assign]
        self.merge_accumulators = fn.merge_accumulators  # type: ignore[method-assign]
        self.compact = fn.compact  # type: ignore[method-assign]
        self.extract_output = fn.extract_output  # type: ignore[method-assign]
        self.teardown = fn.teardown  # type: ignore[method-assign]
        self.get_accumulator_coder = fn.get_accumulator_coder  # type: ignore[method-assign]

    def add_input(
        self, mutable_accumulator: Any, element: tuple[bool, Any], *args: Any, **kwargs: Any
    ) -> Any:
        is_accumulator, value = element
        if is_accumulator:
            return self._fn.merge_accumulators([mutable_accumulator, value], *args, **kwargs)
        return self._fn.add_input(mutable_accumulator, value, *args, **kwargs)

    def __reduce__(self) -> Any:
        return _PostCombineFn, (self._fn,)
