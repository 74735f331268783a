"""How the reference interpreter calls a DoFn: its parameters, its life, and what its outputs mean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hornbeam.pvalue import TaggedOutput
from hornbeam.transforms.dofn_params import BundleFinalizerParam
from hornbeam.transforms.signature import MethodSignature, Parameter, signature_of
from hornbeam.transforms.window import TimestampedValue, WindowFn
from hornbeam.utils.windowed_value import WindowedValue

#: An output's tag (None for the main output) and the element.
Output = tuple[str | None, WindowedValue[Any]]


class Unsupported(Exception):
    """The graph has something that the reference interpreter does not know."""


class LeftOpen(Exception):
    """The graph has several right results: docs/event-time.md does not say which."""


class LivingDoFn:
    """A DoFn from setup to teardown. Each method gives the outputs of the call."""

    #: Whether `_value` has values for state and timers.
    knows_state = False

    def __init__(self, dofn: Any, label: str, window_fn: WindowFn) -> None:
        self.label = label
        self.window_fn = window_fn
        self.signature = signature_of(dofn)
        for feature, used in {
            "state and timers": self.signature.is_stateful and not self.knows_state,
            "splittable DoFns": self.signature.is_splittable,
            "process_batch": not self.signature.process.defined,
        }.items():
            if used:
                raise Unsupported(f"{label}: the reference interpreter does not know {feature}.")
        self.setup_contexts = contextlib.ExitStack()
        self.bundle_contexts = contextlib.ExitStack()
        self.open: dict[Any, Any] = {}
        self.finalizer = BundleFinalizerParam()

    @property
    def observes_windows(self) -> bool:
        """Whether an element in several windows is several elements to it."""
        return self.signature.takes_window or self.signature.takes_windowed_value

    def setup(self) -> None:
        """Once, before all else."""
        self._enter("setup_context", self.setup_contexts)
        self._call(self.signature.setup)

    def start_bundle(self) -> Iterator[Output]:
        """Before the elements of a bundle."""
        self._enter("bundle_context", self.bundle_contexts)
        yield from self._outputs(self._call(self.signature.start_bundle), None)

    def process(
        self, element: WindowedValue[Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Iterator[Output]:
        """For each element of the bundle."""
        result = self._call(self.signature.process, element, args, kwargs)
        yield from self._outputs(result, element)

    def finish_bundle(self) -> Iterator[Output]:
        """After the elements of a bundle."""
        yield from self._outputs(self._call(self.signature.finish_bundle), None)
        self.bundle_contexts.close()
        self.finalizer.finalize_bundle()
        self.finalizer.reset()

    def teardown(self) -> None:
        """Once, after all else."""
        self._call(self.signature.teardown)
        self.setup_contexts.close()

    def _enter(self, kind: str, stack: contextlib.ExitStack) -> None:
        """Open the contexts of that kind that any method asks for."""
        for method in self.signature.methods():
            for parameter in method.of_kind(kind):
                manager, value = parameter.param.create_and_enter()  # type: ignore[union-attr]
                stack.push(manager)
                self.open[parameter.param] = value

    def _call(
        self,
        method: MethodSignature,
        element: WindowedValue[Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        bound = method.bind(args, kwargs)

        def value(argument: Any) -> Any:
            return self._value(argument, element) if isinstance(argument, Parameter) else argument

        positional = [value(argument) for argument in bound.positional]
        return method.method(
            *positional, **{name: value(argument) for name, argument in bound.keywords.items()}
        )

    def _value(self, parameter: Parameter, element: WindowedValue[Any] | None) -> Any:
        """What the parameter asks for."""
        if parameter.kind in ("setup_context", "bundle_context"):
            return self.open[parameter.param]
        if parameter.kind == "bundle_finalizer":
            return self.finalizer
        if element is not None:
            match parameter.kind:
                case "element":
                    return element.value
                case "timestamp":
                    return element.timestamp
                case "window":
                    return element.windows[0]
                case "pane":
                    return element.pane_info
                case "key":
                    return element.value[0]
                case "windowed_value":
                    return element
        raise Unsupported(f"{self.label}: the reference interpreter cannot give {parameter.name} a value.")

    def _outputs(self, results: Iterable[Any] | None, source: WindowedValue[Any] | None) -> Iterator[Output]:
        if isinstance(results, str | bytes | dict):
            raise TypeError(f"{self.label} returned a {type(results).__name__}, not an iterable of elements.")
        for result in results or ():
            yield meaning(result, source, self.window_fn)


def meaning(result: Any, source: WindowedValue[Any] | None, window_fn: WindowFn) -> Output:
    """What a DoFn has output when it gave `result` for `source` (None at the end of a bundle).

    As in Beam's Python, a TimestampedValue is put into windows anew, by the output's window function.
    """
    tag = None
    if isinstance(result, TaggedOutput):
        tag, result = result.tag, result.value
    if isinstance(result, WindowedValue):
        return tag, result
    if source is None:
        raise TypeError(f"start_bundle and finish_bundle give WindowedValues, not {result!r}.")
    if isinstance(result, TimestampedValue):
        context = WindowFn.AssignContext(result.timestamp, result.value)
        windows = [window for _ in source.windows for window in window_fn.assign(context)]
        return tag, WindowedValue(result.value, result.timestamp, tuple(windows), source.pane_info)
    return tag, source.with_value(result)
