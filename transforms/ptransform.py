"""PTransform: a step of a pipeline, made of other steps (a composite) or known to runners (a primitive)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import attrs

from hornbeam import nested
from hornbeam.display import HasDisplayData
from hornbeam.graph import urns
from hornbeam.pipeline import GraphParts, Pipeline, StepContext
from hornbeam.pvalue import AsSideInput, DoOutputsTuple, PBegin, PCollection, PValue
from hornbeam.resources import parse_resource_hints
from hornbeam.transforms import hints as type_hints
from hornbeam.transforms.labels import label_from_callable
from hornbeam.transforms.windowing import DEFAULT_WINDOWING, Windowing
from hornbeam.typehints.decorators import IOTypeHints, WithTypeHints

__all__ = [
    "GraphParts",
    "PTransform",
    "PTransformWithSideInputs",
    "StepContext",
    "annotate_yaml",
    "label_from_callable",
    "ptransform_fn",
]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


class PTransform(WithTypeHints, HasDisplayData, Generic[InputT, OutputT]):
    """A step. A subclass defines `expand`, which is called once for each place the transform is applied to."""

    #: The side inputs, in the order of their tags `side0`, `side1` …
    side_inputs: Sequence[AsSideInput] = ()
    #: The pipeline, for a transform that cannot find it from its input.
    pipeline: Pipeline | None = None

    #: Runs a transform on plain values at once; `hornbeam.transforms.immediate` puts it here.
    _on_values: ClassVar[Callable[[PTransform[Any, Any], Any, str | None], Any]]
    #: Makes PCollections of the plain values in a structure; put here likewise.
    _created: ClassVar[Callable[[Pipeline, PTransform[Any, Any], Any], Any]]

    def __init__(self, label: str | None = None) -> None:
        super().__init__()
        self.label = label

    @property
    def label(self) -> str:
        """The step's name among its siblings; what `'label' >> transform` sets."""
        stated: str | None = self.__dict__.get("_label")
        return stated or self.default_label()

    @label.setter
    def label(self, value: str | None) -> None:
        self.__dict__["_label"] = value

    def default_label(self) -> str:
        """The label when none is given: the class's name."""
        return type(self).__name__

    # What a subclass says.

    def expand(self, input_or_inputs: InputT) -> OutputT:
        """Apply the steps this one is made of to the input, and return what comes out."""
        raise NotImplementedError(
            f"{type(self).__name__} must define expand(self, pcoll), which applies its steps and returns the result."
        )

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """What the step puts into the graph: for a primitive its URN and payload, else that it is a composite."""
        return GraphParts(urns.COMPOSITE, {"transform": _qualified_name(type(self))})

    def get_windowing(self, inputs: Sequence[PValue]) -> Windowing:
        """How the output is windowed: as the first input is."""
        for pcoll in inputs:
            if isinstance(pcoll, PCollection):
                return pcoll.windowing
        return DEFAULT_WINDOWING

    def infer_output_type(self, unused_input_type: Any) -> Any:
        """The type of the output's elements where none is declared."""
        return Any

    def annotations(self) -> dict[str, bytes | str]:
        """Facts about this use of the transform, kept in the graph."""
        return {}

    def default_type_hints(self) -> IOTypeHints | None:
        """The element types in the annotations of expand."""
        if "_expand_hints" not in self.__dict__:
            self.__dict__["_expand_hints"] = type_hints.expand_hints(self.expand)
        hints: IOTypeHints | None = self.__dict__["_expand_hints"]
        return hints

    # What an author says about one use.

    def with_resource_hints(self, **kwargs: Any) -> PTransform[InputT, OutputT]:
        """Ask for resources, such as `min_ram='4GB'`; returns the transform itself."""
        self.get_resource_hints().update(parse_resource_hints(kwargs))
        return self

    def get_resource_hints(self) -> dict[str, bytes]:
        """The hints asked for on this transform, by URN."""
        hints: dict[str, bytes] = self.__dict__.setdefault("_resource_hints", {})
        return hints

    # Type checks.

    def type_check_inputs(self, pvalueish: Any) -> None:
        """Raise TypeCheckError when an input's type certainly is not the declared one."""
        self.type_check_inputs_or_outputs(pvalueish, "input")

    def type_check_outputs(self, pvalueish: Any) -> None:
        """Raise TypeCheckError when an output's type certainly is not the declared one."""
        self.type_check_inputs_or_outputs(pvalueish, "output")

    def type_check_inputs_or_outputs(self, pvalueish: Any, input_or_output: str) -> None:
        """Compare the types of `pvalueish` with the declared `input` or `output` types."""
        type_hints.check_declared(self, pvalueish, input_or_output)

    def tagged_output_type(self, tag: str) -> Any:
        """The declared type of a tagged output, or Any."""
        return type_hints.tagged_output_type(self, tag)

    # How transforms are written down.

    def __or__(self, right: Any) -> PTransform[Any, Any]:
        """This transform and then another: `beam.Map(f) | beam.Map(g)` is a transform too."""
        if isinstance(right, PTransform):
            return _ChainedPTransform(self, right)
        return NotImplemented

    def __ror__(self, left: Any, label: str | None = None) -> Any:
        """Apply to the left side: a structure of PCollections, or plain values, which runs at once."""
        leaves = list(self._input_leaves(left))
        known = [leaf for leaf in leaves if isinstance(leaf, PValue | Pipeline | DoOutputsTuple)]
        pipeline = self.pipeline or next(
            (leaf if isinstance(leaf, Pipeline) else leaf.pipeline for leaf in known), None
        )
        if pipeline is None:
            if not leaves:
                raise ValueError(
                    f"{label or self.label!r} has no input to tell the pipeline by; "
                    f"pass it: {type(self).__name__}(pipeline=p)."
                )
            return PTransform._on_values(self, left, label)
        if len(known) < len(leaves):
            left = PTransform._created(pipeline, self, left)
        return pipeline.apply(self, left, label)

    def __rrshift__(self, label: str) -> PTransform[InputT, OutputT]:
        return _NamedPTransform(self, label)

    def _input_leaves(self, pvalueish: Any) -> Iterator[Any]:
        return nested.leaves(pvalueish)

    def replace_leaves(self, pvalueish: Any, change: Callable[[Any], Any]) -> Any:
        """The structure left of `|` with every leaf changed."""
        return nested.replace(pvalueish, change)

    def prepare_input(self, pvalueish: Any) -> Any:
        """The structure that expand gets, out of what stands left of `|`."""
        return PBegin(pvalueish) if isinstance(pvalueish, Pipeline) else pvalueish

    def __str__(self) -> str:
        return f"<{self._described()}>"

    def __repr__(self) -> str:
        return f"<{self._described()} at {hex(id(self))}>"

    def _described(self) -> str:
        return f"{type(self).__name__}(PTransform) label=[{self.label}]"


class _NamedPTransform(PTransform[InputT, OutputT]):
    """`'label' >> transform`, until it is applied."""

    def __init__(self, transform: PTransform[InputT, OutputT], label: str) -> None:
        if not isinstance(label, str):
            raise TypeError(f"A label must be a str; {label!r} is {type(label).__name__}.")
        super().__init__(label)
        if isinstance(transform, _NamedPTransform):  # the last label given is the one that counts
            transform = transform.transform
        self.transform: PTransform[InputT, OutputT] = transform
        #: What Pipeline.apply applies instead, and under which label.
        self.applied_as = (transform, label)

    def __ror__(self, left: Any, label: str | None = None) -> Any:
        return self.transform.__ror__(left, label or self.label)

    def expand(self, pvalue: InputT) -> OutputT:
        """Never called: the transform itself is applied."""
        raise TypeError(f"The label {self.label!r} was expanded instead of its transform.")

    def __getattr__(self, name: str) -> Any:
        # So that ('label' >> ParDo(f)).with_outputs('x') says what is wrong.
        if name.startswith("_"):
            raise AttributeError(name)
        transform = self.__dict__.get("transform")
        if hasattr(transform, name):
            raise AttributeError(
                f"{name!r} belongs to the transform, not to its label: write "
                f"{self.label!r} >> {type(transform).__name__}(...).{name}(...), without parentheses around the "
                "label and the transform."
            )
        raise AttributeError(name)


class _ChainedPTransform(PTransform[Any, Any]):
    """Transforms one after the other, as one."""

    def __init__(self, *parts: PTransform[Any, Any]) -> None:
        super().__init__("|".join(part.label for part in parts))
        self._parts = parts

    def __or__(self, right: Any) -> PTransform[Any, Any]:
        if isinstance(right, PTransform):
            return _ChainedPTransform(*self._parts, right)
        return NotImplemented

    def expand(self, pvalue: Any) -> Any:
        """Apply each to the result of the one before."""
        return functools.reduce(lambda value, part: value | part, self._parts, pvalue)


class PTransformWithSideInputs(PTransform[Any, Any]):
    """A transform with a function, whose further arguments may be side inputs.

    `args` and `kwargs` keep what was given; `side_inputs` are the views among them, in order.
    """

    def __init__(self, fn: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if isinstance(fn, type) and issubclass(fn, WithTypeHints):
            raise ValueError(
                f"{type(self).__name__} needs an instance, not the class. Write "
                f"{type(self).__name__}({fn.__name__}()), not {type(self).__name__}({fn.__name__})."
            )
        self.fn = self.make_fn(fn, bool(args or kwargs))
        for argument in (*args, *kwargs.values()):
            self._check_argument(argument)
        self.args = args
        self.kwargs = kwargs
        self.side_inputs = tuple(
            argument for argument in (*args, *kwargs.values()) if isinstance(argument, AsSideInput)
        )

    def _check_argument(self, argument: Any) -> None:
        if isinstance(argument, PValue):
            raise TypeError(
                f"{type(self).__name__} got the PCollection {argument} as an argument. Say how its elements are "
                "to be handed over: AsSingleton(pcoll), AsIter(pcoll), AsList(pcoll) or AsDict(pcoll)."
            )

    def make_fn(self, fn: Any, has_side_inputs: bool) -> Any:
        """What to keep for the function that the author gave; raises when it is none."""
        return fn

    def default_label(self) -> str:
        """The transform's name with the function's: `Map(<lambda at words.py:12>)`."""
        return f"{type(self).__name__}({self._fn_label()})"

    def _fn_label(self) -> str:
        label: Callable[[], str] | None = getattr(self.fn, "default_label", None)
        return label() if label is not None else label_from_callable(self.fn)

    def with_input_types(
        self, input_type_hint: Any, *side_inputs_arg_hints: Any, **side_input_kwarg_hints: Any
    ) -> PTransformWithSideInputs:
        """Declare the element's type, and the further arguments' types."""
        super().with_input_types(input_type_hint, *side_inputs_arg_hints, **side_input_kwarg_hints)
        return self


def _qualified_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@attrs.define
class _Call:
    """The arguments of a function transform."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _PTransformFnPTransform(PTransform[Any, Any]):
    """A composite whose expand is a function."""

    def __init__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._fn = fn
        self._call = _Call(args, kwargs)

    def display_data(self) -> dict[str, Any]:
        """The function."""
        return {"transform_fn": getattr(self._fn, "__name__", type(self._fn).__name__)}

    def default_label(self) -> str:
        """The function's name, with its first argument."""
        name = label_from_callable(self._fn)
        first = self._call.args[0] if self._call.args else None
        if first is None:
            return name
        return f"{name}({label_from_callable(first) if callable(first) else first})"

    def expand(self, pcoll: Any) -> Any:
        """Call the function with the input and the arguments."""
        kwargs = dict(self._call.kwargs)
        if _takes(self._fn, "type_hints"):
            kwargs["type_hints"] = self.get_type_hints()
        return self._fn(pcoll, *self._call.args, **kwargs)


def _takes(fn: Callable[..., Any], parameter: str) -> bool:
    code = getattr(fn, "__code__", None)
    return code is not None and parameter in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def ptransform_fn(fn: Callable[..., Any]) -> Callable[..., PTransform[Any, Any]]:
    """Decorator: a function of an input and arguments becomes a transform of the arguments.

    The function is the transform's `expand`:

        @beam.ptransform_fn
        def CountLong(words, length):
            return words | beam.Filter(lambda w: len(w) > length) | beam.combiners.Count.Globally()

        words | CountLong(7)
    """

    @functools.wraps(fn, updated=())
    def make(*args: Any, **kwargs: Any) -> PTransform[Any, Any]:
        return _PTransformFnPTransform(fn, *args, **kwargs)

    # functools.wraps would pass on the annotations, which say what expand takes, not what the transform takes.
    make.__dict__.pop("__wrapped__", None)
    return make


def annotate_yaml(constructor: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a transform's constructor: the transform carries its class and arguments as annotations.

    A tool that writes pipelines as YAML reads them from the graph.
    """

    @functools.wraps(constructor)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        transform = constructor(*args, **kwargs)
        inner: Callable[[], Mapping[str, Any]] = transform.annotations
        said = {
            "yaml_type": constructor.__name__,
            "yaml_args": repr(attrs.asdict(_Call(args, kwargs)))[:1000],
        }
        transform.annotations = lambda: {**said, **inner()}
        return transform

    return wrapper
