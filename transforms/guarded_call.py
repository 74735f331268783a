"""A DoFn whose process may take only so long for one element."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from typing import Any

import attrs

from hornbeam.metrics.execution import MetricsContainer, get_current, set_current
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.signature import DoFnSignature, MethodSignature
from hornbeam.typehints.decorators import IOTypeHints


def wrapping_signature(outer: DoFn, inner: DoFn, keep_life_cycle: bool = True) -> DoFnSignature:
    """The signature of a DoFn that calls another one's process in its own way.

    The life-cycle methods are the inner one's, or, unless `keep_life_cycle`, the outer one's.
    """
    signature = inner.signature()
    process = signature.process
    own = MethodSignature(
        process.name, outer.process, process.parameters, by_name=process.by_name or process.unpacked
    )
    wrapped = attrs.evolve(signature, dofn=outer, kind="dofn", fn=None, process=own)
    if keep_life_cycle:
        return wrapped
    return attrs.evolve(
        wrapped,
        setup=MethodSignature("setup", outer.setup, (), type(outer).setup is not DoFn.setup),
        teardown=MethodSignature("teardown", outer.teardown, (), type(outer).teardown is not DoFn.teardown),
    )


class DoFnWithTimeout(DoFn):
    """Calls another DoFn's process on a thread of its own; TimeoutError when an element takes longer than `timeout` seconds.

    A call that is given up goes on in the background, as Python cannot end it, and what it gives is dropped.
    """

    def __init__(self, dofn: DoFn, timeout: float) -> None:
        super().__init__()
        if timeout <= 0:
            raise ValueError(f"timeout is a number of seconds above 0; it is {timeout!r}.")
        self._dofn = dofn
        self._timeout = timeout
        self._worker: _Worker | None = None

    def default_label(self) -> str:
        """The other DoFn's."""
        return self._dofn.default_label()

    def default_type_hints(self) -> IOTypeHints:
        """The other DoFn's."""
        return self._dofn.get_type_hints()

    def process(self, element: Any, *args: Any, **kwargs: Any) -> Iterable[Any] | None:
        """What the other DoFn gives, in a list."""
        if self._worker is None:
            self._worker = _Worker(self._dofn)
        answer = self._worker.start(element, args, kwargs)
        if not answer.done.wait(self._timeout):
            self._worker.abandon()
            self._worker = None
            raise TimeoutError(
                f"{self._dofn.default_label()} took longer than {self._timeout} s for {element!r:.80}"
            )
        if answer.error is not None:
            raise answer.error
        outputs: Iterable[Any] | None = answer.outputs
        return outputs

    def signature(self) -> DoFnSignature:
        """The other DoFn's, with this process."""
        return wrapping_signature(self, self._dofn)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_worker": None}


@attrs.define
class _Answer:
    """What becomes of one call."""

    done: threading.Event = attrs.field(factory=threading.Event)
    outputs: Any = None
    error: BaseException | None = None


class _Worker:
    """A thread that makes the calls, one after the other."""

    def __init__(self, dofn: DoFn) -> None:
        self._dofn = dofn
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="dofn-with-timeout", daemon=True).start()

    def start(self, element: Any, args: Any, kwargs: Any) -> _Answer:
        """Begin a call."""
        answer = _Answer()
        self._calls.put((answer, element, args, kwargs, get_current()))
        return answer

    def abandon(self) -> None:
        """End the thread when its call ends."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            answer, element, args, kwargs, metrics = call
            self._answer(answer, element, args, kwargs, metrics)

    def _answer(
        self, answer: _Answer, element: Any, args: Any, kwargs: Any, metrics: MetricsContainer | None
    ) -> None:
        set_current(metrics)
        try:
            outputs = self._dofn.process(element, *args, **kwargs)
            iterates = outputs is not None and not isinstance(outputs, str | bytes | dict)
            answer.outputs = list(outputs) if iterates and outputs is not None else outputs
        except BaseException as error:
            answer.error = error
        finally:
            set_current(None)
            answer.done.set()
