"""A ParDo over a DoFn with a life of its own: setup, start_bundle, process, finish_bundle, teardown, contexts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from hornbeam.metrics.execution import set_current
from hornbeam.pvalue import TaggedOutput
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.calling import Call, bind
from hornbeam.runners.engine.element_operators import FlatMapOperator
from hornbeam.runners.engine.failures import Failure, add_failure, note_failure, short_repr
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.transforms.dofn_params import BundleFinalizerParam
from hornbeam.transforms.signature import DoFnSignature
from hornbeam.utils.windowed_value import WindowedValue


class DoFnOperator(FlatMapOperator):
    """Calls every method of a DoFn when it is due."""

    signature: DoFnSignature

    def prepare_dofn(
        self,
        signature: DoFnSignature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        side_inputs: Mapping[str, SideInputReader],
    ) -> None:
        """Gives the operator its DoFn; once, before any element."""
        self.signature = signature
        self._send = self.outputs.send
        if getattr(signature.dofn, "times_outputs", False):
            self._chunk = 1  # it measures how long the steps behind it take for each of its outputs
        self._provided: dict[str, Any] = {}
        self._finalizer = BundleFinalizerParam()
        self._setup_contexts = contextlib.ExitStack()
        self._bundle_contexts = contextlib.ExitStack()
        for method in signature.methods():
            for parameter in method.of_kind("bundle_finalizer"):
                self._provided[parameter.name] = self._finalizer
        self.call = bind(signature.process, args, kwargs, side_inputs, provided=self._provided)
        self._lifecycle: dict[str, Call] = {
            method.name: bind(method, (), {}, side_inputs, provided=self._provided)
            for method in (
                signature.setup,
                signature.start_bundle,
                signature.finish_bundle,
                signature.teardown,
            )
            if method.defined
        }
        self._is_set_up = False

    def setup(self) -> None:
        self._is_set_up = True
        self._enter("setup_context", self._setup_contexts)
        self._run("setup")

    def start_bundle(self) -> None:
        self._enter("bundle_context", self._bundle_contexts)
        self._run("start_bundle")

    def finish_bundle(self) -> None:
        emitted = self._run("finish_bundle")
        if emitted is not None:
            self._emit_finished(emitted)
        self._bundle_contexts.close()

    def commit(self) -> None:
        """Runs the bundle finalizers: what the bundle gave is durable."""
        if self._finalizer.has_callbacks():
            try:
                self._finalizer.finalize_bundle()
            finally:
                self._finalizer.reset()

    def take_finalizers(self) -> list[Callable[[], None]]:
        """What `commit` would call; for a driver to which the bundles so far become durable later."""
        return self._finalizer.take()

    def teardown(self) -> None:
        if self._is_set_up:
            self._is_set_up = False
            try:
                self._run("teardown")
            finally:
                self._bundle_contexts.close()
                self._setup_contexts.close()

    def _enter(self, kind: str, stack: contextlib.ExitStack) -> None:
        entered: dict[Any, Any] = {}
        for method in self.signature.methods():
            for parameter in method.of_kind(kind):
                param: Any = parameter.param
                if param not in entered:
                    try:
                        manager, entered[param] = param.create_and_enter()
                    except BaseException as error:
                        note_failure(error, self.label)
                        raise
                    stack.push(manager)
                self._provided[parameter.name] = entered[param]

    def _run(self, name: str) -> Any:
        call = self._lifecycle.get(name)
        if call is None:
            return None
        previous = set_current(self.container)
        try:
            return call.once()
        except BaseException as error:
            note_failure(error, f"{self.label}, {name}")
            raise
        finally:
            set_current(previous)

    def _emit_finished(self, emitted: Any) -> None:
        """Sends what finish_bundle gave: WindowedValues, or TaggedOutputs of them, for there is no input whose
        timestamp and windows they could have."""
        previous = set_current(self.container)
        try:
            values = list(emitted)
        except BaseException as error:
            note_failure(error, f"{self.label}, finish_bundle")
            raise
        finally:
            set_current(previous)
        for value in values:
            inner = value.value if isinstance(value, TaggedOutput) else value
            if not isinstance(inner, WindowedValue):
                refusal = TypeError(
                    f"finish_bundle of step {self.label!r} may emit WindowedValues only; it gave {short_repr(inner)}. "
                    "Write WindowedValue(value, timestamp, [window])."
                )
                add_failure(refusal, Failure(self.label))
                raise refusal
        if values:
            self.outputs.send(Bundle(values))
