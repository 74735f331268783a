"""Error handlers: one place for the dead letters of many steps.

with beam.error_handling.ErrorHandler(WriteToText("errors")) as errors:
    parsed = lines | beam.Map(parse).with_error_handler(errors)
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any, TypeVar

from hornbeam.pvalue import PCollection
from hornbeam.transforms.flatten import Flatten
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import GlobalWindows
from hornbeam.transforms.window_into import WindowInto

__all__ = ["CollectingErrorHandler", "ErrorHandler"]

HandlerT = TypeVar("HandlerT", bound="ErrorHandler")


class ErrorHandler:
    """Collects PCollections of errors and applies `consumer` to all of them when it is closed.

    A context manager: the end of the block closes it. A pipeline refuses to run while a handler that it uses is open.
    """

    def __init__(self, consumer: PTransform[Any, Any]) -> None:
        if not isinstance(consumer, PTransform):
            raise TypeError(
                f"ErrorHandler needs a transform for the errors; it got {consumer!r} ({type(consumer).__name__})."
            )
        self._consumer = consumer
        self._creation_traceback = _caller()
        self._error_pcolls: list[PCollection[Any]] = []
        self._closed = False
        self._output: Any = None

    def __enter__(self: HandlerT) -> HandlerT:
        self._error_pcolls = []
        self._closed = False
        return self

    def __exit__(
        self,
        exec_type: type[BaseException] | None,
        exec_value: BaseException | None,
        exec_traceback: TracebackType | None,
    ) -> None:
        if exec_type is None:
            self.close()

    def close(self) -> None:
        """Apply the consumer. Errors that are added later are not seen by it."""
        if self._closed:
            return
        self._closed = True
        if self._error_pcolls:
            pcolls = tuple(self._error_pcolls)
            consume = _ConsumeErrors(self._consumer)
            self._output = pcolls | _free_label(pcolls[0], consume.label) >> consume

    def output(self) -> Any:
        """What the consumer gave; None when there was nothing to consume. RuntimeError before the handler is closed."""
        if not self._closed:
            raise RuntimeError("The output of an error handler is there only after it was closed.")
        return self._output

    def add_error_pcollection(self, pcoll: PCollection[Any]) -> None:
        """Consume the elements of this PCollection too."""
        if self._closed:
            raise RuntimeError(
                f"The error handler was closed already, so it cannot take {pcoll}. Apply the step inside the "
                "handler's `with` block."
            )
        if not self._error_pcolls:
            pcoll.pipeline._register_error_handler(self)
        self._error_pcolls.append(pcoll)

    def verify_closed(self) -> None:
        """RuntimeError unless the handler was closed."""
        if not self._closed:
            raise RuntimeError(
                f"Unclosed error handler, made at {self._creation_traceback}. Use it as a context manager, or call "
                "close() before the pipeline runs."
            )


class CollectingErrorHandler(ErrorHandler):
    """Gives all errors as one PCollection, `output()`, which must be asked for before the pipeline runs."""

    def __init__(self) -> None:
        super().__init__(_AllErrors())
        self._creation_traceback = _caller()
        self._output_accessed = False

    def output(self) -> Any:
        """The errors."""
        self._output_accessed = True
        return super().output()

    def verify_closed(self) -> None:
        """RuntimeError unless the handler was closed and its output asked for."""
        super().verify_closed()
        if not self._output_accessed:
            raise RuntimeError(
                f"Nobody asked for the output() of the CollectingErrorHandler made at {self._creation_traceback}, so "
                "its errors would be lost."
            )


class _AllErrors(PTransform[Any, Any]):
    """The input itself."""

    def expand(self, pcoll: Any) -> Any:
        """Nothing to do."""
        return pcoll


class _ConsumeErrors(PTransform[Any, Any]):
    """The errors of several steps, in one PCollection, to the consumer."""

    def __init__(self, consumer: PTransform[Any, Any]) -> None:
        super().__init__()
        self._consumer = consumer

    def default_label(self) -> str:
        """`ErrorHandler(WriteToText)`."""
        return f"ErrorHandler({self._consumer.label})"

    def expand(self, pcolls: Any) -> Any:
        """In the global window where the steps' windows differ."""
        windowfns = [pcoll.windowing.windowfn for pcoll in pcolls]
        if any(windowfn != windowfns[0] for windowfn in windowfns):
            pcolls = tuple(
                pcoll | f"Window{index}" >> WindowInto(GlobalWindows()) for index, pcoll in enumerate(pcolls)
            )
        return pcolls | Flatten() | self._consumer


def _free_label(pcoll: PCollection[Any], label: str) -> str:
    """A label that no step of the outermost level has yet."""
    taken = pcoll.pipeline.applied_labels
    prefix = f"{pcoll.pipeline.current_label}/".lstrip("/")
    free, number = label, 2
    while prefix + free in taken:
        free, number = f"{label} {number}", number + 1
    return free


def _caller() -> str:
    """Where the author's code made a handler."""
    frames = [frame for frame in traceback.extract_stack() if frame.filename != __file__]
    last = frames[-1]
    return f"{last.filename}:{last.lineno} in {last.name}"
