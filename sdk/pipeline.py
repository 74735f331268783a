"""Pipeline: where an author's transforms are put together, and from where they are run.

Nothing runs before `run()` (or the end of the `with` block): applying transforms grows a tree of steps, the tree
becomes a Graph, and a runner runs the Graph.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hornbeam import nested
from hornbeam.applied import AppliedPTransform, PipelineVisitor
from hornbeam.display import HasDisplayData
from hornbeam.error import OptionError
from hornbeam.graph.model import Graph
from hornbeam.options.pipeline_options import PipelineOptions, StandardOptions, TypeOptions
from hornbeam.options.pipeline_options_validator import PipelineOptionsValidator
from hornbeam.pvalue import DoOutputsTuple, PBegin, PCollection, PDone, PValue
from hornbeam.resources import merge_resource_hints, resource_hints_from_options
from hornbeam.translation import GraphParts, StepContext, graph_parts_of, translate
from hornbeam.type_inference import infer_types, require_type
from hornbeam.uncaught import tell_briefly

if TYPE_CHECKING:
    from hornbeam.runners.runner import PipelineResult
    from hornbeam.transforms.error_handling import ErrorHandler
    from hornbeam.transforms.ptransform import PTransform

__all__ = [
    "AppliedPTransform",
    "GraphParts",
    "Pipeline",
    "PipelineVisitor",
    "StepContext",
    "transform_annotations",
]


class _Annotations(threading.local):
    """The annotations that `transform_annotations` blocks of this thread add to every step."""

    current: Mapping[str, bytes | str] = {}


_annotations = _Annotations()


@contextlib.contextmanager
def transform_annotations(**annotations: bytes | str) -> Iterator[None]:
    """Every step applied inside the `with` block carries these annotations in the graph."""
    before = _annotations.current
    _annotations.current = {**before, **annotations}
    try:
        yield
    finally:
        _annotations.current = before


class Pipeline(HasDisplayData):
    """The steps of one job. As a context manager it runs them at the end of the block and waits.

    `runner` is a name, a runner or a runner class; the option `--runner` says it otherwise. After the block the
    result is in `result`. An exception inside the block keeps the pipeline from running.
    """

    result: PipelineResult | None = None

    def __init__(
        self,
        runner: Any = None,
        options: PipelineOptions | None = None,
        argv: Sequence[str] | None = None,
        display_data: Mapping[str, Any] | None = None,
    ) -> None:
        tell_briefly()
        if options is not None:
            if not isinstance(options, PipelineOptions):
                raise ValueError(
                    f"options must be PipelineOptions; it is {type(options).__name__}. "
                    "Write Pipeline(options=PipelineOptions(flags))."
                )
            self._options = options
        elif argv is not None:
            if not isinstance(argv, list | tuple):
                raise ValueError(f"argv must be a list of flags; it is {type(argv).__name__}.")
            self._options = PipelineOptions(list(argv))
        else:
            self._options = PipelineOptions([])
        self._runner = runner
        self._display_data = dict(display_data or {})
        types = self._options.view_as(TypeOptions)
        self._type_check = bool(types.pipeline_type_check)
        self._types_required = types.type_check_strictness == "ALL_REQUIRED"
        self._allow_unsafe_triggers = bool(types.allow_unsafe_triggers)
        self._runtime_type_check = bool(types.runtime_type_check)
        self._allow_non_deterministic_keys = bool(types.allow_non_deterministic_key_coders)
        standard = self._options.view_as(StandardOptions)
        self._auto_unique_labels = bool(standard.auto_unique_labels)
        root = AppliedPTransform(None, None, "", resource_hints=resource_hints_from_options(self._options))
        self.transforms_stack: list[AppliedPTransform] = [root]
        self.applied_labels: set[str] = set()
        self._error_handlers: list[ErrorHandler] = []
        chosen = runner or standard.runner
        if isinstance(chosen, str) and chosen.lower() != "directrunner":
            _ = (
                self.runner
            )  # A name that nobody knows is an error here; the usual one is loaded when it is needed.

    @property
    def options(self) -> PipelineOptions:
        """The options that the pipeline was made with."""
        return self._options

    @property
    def allow_unsafe_triggers(self) -> bool:
        """Whether triggers that may lose data are let through (`--allow_unsafe_triggers`)."""
        return self._allow_unsafe_triggers

    @property
    def allow_non_deterministic_keys(self) -> bool:
        """Whether keys may have coders that are not deterministic (`--allow_non_deterministic_key_coders`)."""
        return self._allow_non_deterministic_keys

    @property
    def runtime_type_check(self) -> bool:
        """Whether declared types are checked for every element (`--runtime_type_check`)."""
        return self._runtime_type_check

    @property
    def runner(self) -> Any:
        """The runner; made when first asked for. ValueError when there is none of that name."""
        chosen = self._runner
        if chosen is None:
            chosen = self._options.view_as(StandardOptions).runner or "DirectRunner"
        if isinstance(chosen, str):
            # The one late binding from authoring to execution: runners are found by name.
            chosen = importlib.import_module("hornbeam.runners.runner").create_runner(chosen)
        elif isinstance(chosen, type):
            chosen = chosen()
        if not hasattr(chosen, "run"):
            raise TypeError(f"runner must be a name, a runner or a runner class; it is {chosen!r}.")
        self._runner = chosen
        return chosen

    def display_data(self) -> dict[str, Any]:
        """The items given when the pipeline was made."""
        return dict(self._display_data)

    def transform_annotations(self, **annotations: bytes | str) -> contextlib.AbstractContextManager[None]:
        """Every step applied inside the `with` block carries these annotations in the graph."""
        return transform_annotations(**annotations)

    @property
    def current_label(self) -> str:
        """The full label of the step that is being expanded; empty outside of any."""
        return self.transforms_stack[-1].full_label

    # Building.

    def __or__(self, right: Any) -> Any:
        return self.apply(right, PBegin(self))

    def apply(self, transform: Any, pvalueish: Any = None, label: str | None = None) -> Any:
        """Apply a transform to its input and return its result: what `|` does.

        Raises RuntimeError for a label that is taken, ValueError for an input of another pipeline and
        TypeCheckError for types that do not fit.
        """
        named = getattr(transform, "applied_as", None)
        if named is not None:
            transform, own_label = named
            label = label or own_label
        _check_is_transform(transform, pvalueish)
        if label is None:
            return self._apply(transform, pvalueish)
        before = transform.__dict__.get("_label")
        transform.label = label
        try:
            return self._apply(transform, pvalueish)
        finally:
            transform.label = before

    def _apply(self, transform: PTransform[Any, Any], pvalueish: Any) -> Any:
        parent = self.transforms_stack[-1]
        full_label = self._take_label(parent, transform)
        try:
            main_input = transform.prepare_input(PBegin(self) if pvalueish is None else pvalueish)
            self._check_inputs(main_input, transform, full_label)
            step = AppliedPTransform(
                parent,
                transform,
                full_label,
                main_input,
                _as_bytes({**_annotations.current, **transform.annotations()}, full_label),
                merge_resource_hints(parent.resource_hints, transform.get_resource_hints()),
            )
        except BaseException:
            self.applied_labels.discard(full_label)
            raise
        parent.add_part(step)
        self.transforms_stack.append(step)
        try:
            if self._type_check:
                transform.type_check_inputs(main_input)
            result = transform.expand(main_input)
            step.result = self._adopt(step, result)
            if self._type_check:
                infer_types(step)
                if self._types_required and parent.is_root:
                    require_type(step)
                transform.type_check_outputs(step.result)
            graph_parts_of(step)
        except BaseException:
            self._forget(step)
            raise
        finally:
            self.transforms_stack.pop()
        return step.result

    def _take_label(self, parent: AppliedPTransform, transform: PTransform[Any, Any]) -> str:
        """The step's full label, now taken; RuntimeError when it was before."""
        label = transform.label
        full_label = f"{parent.full_label}/{label}" if parent.full_label else label
        if full_label in self.applied_labels:
            if not self._auto_unique_labels:
                raise RuntimeError(
                    f"A transform with label {full_label!r} already exists in the pipeline. Give this one a label "
                    f"of its own: pcoll | 'another label' >> {type(transform).__name__}(...), or pass the option "
                    "--auto_unique_labels to have labels numbered (then a changed pipeline cannot be matched with "
                    "the state of a running one)."
                )
            number = 1
            while f"{full_label}_{number}" in self.applied_labels:
                number += 1
            full_label = f"{full_label}_{number}"
        self.applied_labels.add(full_label)
        return full_label

    def _check_inputs(self, main_input: Any, transform: PTransform[Any, Any], full_label: str) -> None:
        """ValueError unless every input and side input belongs to this pipeline and holds data."""
        sides = [side.pcoll for side in transform.side_inputs]
        for side in sides:
            if side.windowing.windowfn.is_merging():
                raise ValueError(
                    f"The side input {side} of {full_label!r} has windows that merge ({side.windowing.windowfn!r}), so "
                    "no window of the main input tells which one goes with it. Apply beam.WindowInto to it first."
                )
        for value in (*nested.leaves(main_input), *sides):
            if isinstance(value, PDone):
                raise ValueError(
                    f"{full_label!r} was applied to the end of a branch: the step before it has no output "
                    "(its expand returned nothing)."
                )
            if isinstance(value, PValue) and value.pipeline is not self:
                raise ValueError(
                    f"{full_label!r} belongs to one pipeline and its input {value} to another. Values of different "
                    "pipelines cannot be mixed; build both steps from the same Pipeline object."
                )

    def _adopt(self, step: AppliedPTransform, result: Any) -> Any:
        """The result of expand, checked; the values that it made itself now know their producer."""
        if result is None:
            return PDone(self)
        if not nested.is_result(result):
            raise TypeError(
                f"expand of {step.full_label!r} must return a PCollection, or a tuple, list or dict of "
                f"PCollections; it returned {type(result).__name__}."
            )
        _set_producer(step, result)
        for value in nested.leaves(result):
            if isinstance(value, PCollection) and value.producer is step:
                _ = value.windowing  # Found now, as a long chain of steps would recurse too deep later.
        return result

    def _forget(self, step: AppliedPTransform) -> None:
        """Take back a step whose application failed, so that what is built stays whole."""
        if step.parent is not None and step in step.parent.parts:
            step.parent.parts.remove(step)
        pending = [step]
        while pending:
            inner = pending.pop()
            self.applied_labels.discard(inner.full_label)
            pending.extend(inner.parts)

    def _register_error_handler(self, error_handler: ErrorHandler) -> None:
        """Remember a handler that must be closed before the pipeline runs."""
        self._error_handlers.append(error_handler)

    # Looking at and running what was built.

    def _root_transform(self) -> AppliedPTransform:
        return self.transforms_stack[0]

    def visit(self, visitor: PipelineVisitor) -> None:
        """Walk all steps in the order in which they were applied."""
        self._root_transform().visit(visitor)

    def to_graph(self) -> Graph:
        """The portable form of what has been built so far."""
        return translate(self._root_transform())

    def replace_all(self, replacements: Sequence[Any]) -> None:
        """Not offered: a runner changes the Graph, and never the author's transforms."""
        if replacements:
            raise NotImplementedError(
                "Pipeline.replace_all is not supported: a runner rewrites the Graph (Pipeline.to_graph()) instead of "
                "the transforms."
            )

    @staticmethod
    def merge_compatible_environments(proto: Graph) -> Graph:
        """The graph as it is: all its steps run in one environment."""
        return proto

    def runner_implemented_transforms(self) -> frozenset[str]:
        """URNs that the runner wants to see unexpanded; none of ours."""
        return frozenset()

    def run(self, test_runner_api: bool | str = "AUTO") -> PipelineResult:
        """Hand the pipeline to its runner and return the result, which may still be running.

        `test_runner_api` is there for programs that pass it; every run goes through the portable Graph.
        """
        for error_handler in self._error_handlers:
            error_handler.verify_closed()
        errors = PipelineOptionsValidator(self._options, self.runner).validate()
        if errors:
            raise OptionError("The pipeline's options have mistakes:\n" + "\n".join(errors))
        result: PipelineResult = self.runner.run(self.to_graph(), self._options)
        return result

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.result = self.run()
            if not self._options.view_as(StandardOptions).no_wait_until_finish:
                self.result.wait_until_finish()

    def __reduce__(self) -> Any:
        # User code may hold a transform that holds its pipeline; what runs has no use for it.
        return str, ("A Pipeline, as seen from inside a running step.",)


def _check_is_transform(transform: Any, pvalueish: Any) -> None:
    """TypeError, with the right call beside the wrong one, unless `transform` is a PTransform instance."""
    if isinstance(transform, type):
        wanted = f"{transform.__name__}()"
        if not hasattr(transform, "expand"):
            wanted = f"beam.ParDo({wanted})"
        raise TypeError(
            f"A class was applied instead of a transform. Write pcoll | {wanted}, not pcoll | {transform.__name__}."
        )
    if hasattr(transform, "expand"):
        return
    name = type(transform).__name__
    if hasattr(transform, "process"):
        advice = f" Write pcoll | beam.ParDo({name}(...)), not pcoll | {name}(...)."
    elif hasattr(transform, "create_accumulator"):
        advice = f" Write pcoll | beam.CombineGlobally({name}(...)) or beam.CombinePerKey({name}(...))."
    elif isinstance(transform, str):
        advice = f" A label goes before its transform: pcoll | {transform!r} >> beam.Map(fn)."
    elif callable(transform):
        advice = " Write pcoll | beam.Map(fn), not pcoll | fn."
    else:
        advice = ""
    raise TypeError(f"Expected a PTransform right of `|`; got {transform!r} ({name}).{advice}")


def _set_producer(step: AppliedPTransform, result: Any) -> None:
    """Name the step as the producer of the values that no step inside it has made."""
    if isinstance(result, DoOutputsTuple) and result.producer is None:
        result.producer = step
    for value in nested.leaves(result):
        if isinstance(value, PValue) and value.producer is None:
            value.producer = step


def _as_bytes(annotations: Mapping[str, Any], full_label: str) -> dict[str, bytes]:
    """Annotations as the graph keeps them; TypeError for a value that is neither bytes nor text."""
    encoded = {}
    for key, value in annotations.items():
        if isinstance(value, str):
            value = value.encode("utf-8")
        if not isinstance(value, bytes):
            raise TypeError(
                f"The annotation {key!r} of {full_label!r} must be bytes or str; it is {type(value).__name__}."
            )
        encoded[key] = value
    return encoded
