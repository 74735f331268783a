"""Dead letters: what `ParDo.with_exception_handling` makes of a DoFn.

An element that fails goes to another output as `(element, (exception type, repr of the exception, traceback lines))`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hornbeam.pvalue import AsSideInput, DoOutputsTuple, PCollection, TaggedOutput
from hornbeam.transforms.combine import CombineGlobally
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.guarded_call import DoFnWithTimeout, wrapping_signature
from hornbeam.transforms.pardo import Map, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.signature import DoFnSignature
from hornbeam.transforms.subprocess_dofn import DoFnInSubprocess
from hornbeam.transforms.window_into import WindowInto
from hornbeam.typehints.decorators import IOTypeHints

if TYPE_CHECKING:
    from hornbeam.transforms.error_handling import ErrorHandler
    from hornbeam.transforms.window import WindowFn

_LOG = logging.getLogger(__name__)

ExceptionClass = type[BaseException] | tuple[type[BaseException], ...]


@attrs.frozen
class ExceptionHandling:
    """What the arguments of `with_exception_handling` say; they are explained there."""

    main_tag: str = "good"
    dead_letter_tag: str = "bad"
    exc_class: ExceptionClass = Exception
    partial: bool = False
    use_subprocess: bool = False
    threshold: float = 1.0
    threshold_windowing: WindowFn | None = None
    timeout: float | None = None
    error_handler: ErrorHandler | None = None
    on_failure_callback: Callable[[BaseException, Any], None] | None = None


class GuardedParDo(PTransform[Any, Any]):
    """A ParDo whose failing elements go to a dead-letter output."""

    def __init__(self, pardo: ParDo, handling: ExceptionHandling, extra_tags: tuple[str, ...] = ()) -> None:
        super().__init__(pardo.__dict__.get("_label"))
        if handling.main_tag == handling.dead_letter_tag:
            raise ValueError(f"main_tag and dead_letter_tag must differ; both are {handling.main_tag!r}.")
        if not 0 <= handling.threshold <= 1:
            raise ValueError(f"threshold is a fraction from 0 to 1; it is {handling.threshold!r}.")
        if pardo.signature.process_batch is not None:
            raise ValueError(
                f"{pardo.label!r} defines process_batch; exception handling works on single elements only."
            )
        self._pardo = pardo
        self._handling = handling
        self._extra_tags = tuple(
            tag for tag in extra_tags if tag not in (handling.main_tag, handling.dead_letter_tag)
        )

    def default_label(self) -> str:
        """The ParDo's."""
        return self._pardo.default_label()

    def default_type_hints(self) -> IOTypeHints:
        """What the ParDo says of its input; the outputs are several."""
        return attrs.evolve(self._pardo.get_type_hints(), output_types=None)

    def type_check_inputs(self, pvalueish: Any) -> None:
        """The ParDo's checks."""
        self._pardo.type_check_inputs(pvalueish)

    def get_resource_hints(self) -> dict[str, bytes]:
        """The ParDo's, and its own."""
        return self._pardo.get_resource_hints()

    def expand(self, pcoll: Any) -> DoOutputsTuple | PCollection[Any]:
        """The guarded ParDo, and the check of the threshold."""
        handling = self._handling
        dofn = self._pardo.dofn
        if handling.use_subprocess:
            dofn = DoFnInSubprocess(dofn, handling.timeout)
        elif handling.timeout:
            dofn = DoFnWithTimeout(dofn, handling.timeout)
        guarded = ParDo(_GuardedDoFn(dofn, handling), *self._pardo.args, **self._pardo.kwargs)
        tags = (*self._extra_tags, handling.dead_letter_tag)
        result: DoOutputsTuple = pcoll | "Guarded" >> guarded.with_outputs(
            *tags, main=handling.main_tag, allow_unknown_tags=True
        )
        result[handling.main_tag].element_type = self._main_type(pcoll)
        if handling.threshold < 1.0:
            self._check_threshold(pcoll, result[handling.dead_letter_tag])
        if handling.error_handler is None:
            return result
        handling.error_handler.add_error_pcollection(result[handling.dead_letter_tag])
        return result if self._extra_tags else result[handling.main_tag]

    def _main_type(self, pcoll: PCollection[Any]) -> Any:
        declared = self._pardo.get_type_hints().simple_output_type(self.label)
        return self._pardo.infer_output_type(pcoll.element_type) if declared is None else declared

    def _check_threshold(self, pcoll: PCollection[Any], bad: PCollection[Any]) -> None:
        windowing = self._handling.threshold_windowing
        total: AsSideInput = pcoll | "CountTotal" >> _Count(windowing, as_view=True)
        bad_count = bad | "CountBad" >> _Count(windowing, as_view=False)
        bad_count | "CheckThreshold" >> Map(_refuse_too_many, total, self._handling.threshold)


class _Count(PTransform[Any, Any]):
    """How many elements there are in a window."""

    def __init__(self, windowfn: WindowFn | None, as_view: bool) -> None:
        super().__init__()
        self._windowfn = windowfn
        self._as_view = as_view

    def expand(self, pcoll: Any) -> Any:
        """One number a window, or a view of it."""
        if self._windowfn is not None:
            pcoll = pcoll | "Window" >> WindowInto(self._windowfn)
        count = CombineGlobally(len)
        count = count.as_singleton_view() if self._as_view else count.without_defaults()
        return pcoll | "Count" >> count


def _refuse_too_many(bad: int, total: int, threshold: float, window: Any = DoFn.WindowParam) -> None:
    if bad > total * threshold:
        raise ValueError(
            f"The number of failing elements within the window {window} exceeded the threshold: "
            f"{bad} / {total} = {bad / total:.4g} > {threshold}."
        )


class _GuardedDoFn(DoFn):
    """Gives what another DoFn gives, or the element with its error."""

    def __init__(self, dofn: DoFn, handling: ExceptionHandling) -> None:
        super().__init__()
        self._dofn = dofn
        self._dead_letter_tag = handling.dead_letter_tag
        self._exc_class = handling.exc_class
        self._partial = handling.partial
        self._on_failure = handling.on_failure_callback

    def default_label(self) -> str:
        """The other DoFn's."""
        return self._dofn.default_label()

    def default_type_hints(self) -> IOTypeHints:
        """The other DoFn's inputs."""
        return attrs.evolve(self._dofn.get_type_hints(), output_types=None)

    def display_data(self) -> dict[str, Any]:
        """The other DoFn's."""
        return self._dofn.display_data()

    def process(self, element: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Without `partial` nothing is given out before it is sure that all went well."""
        try:
            outputs: Iterable[Any] | None = self._dofn.process(element, *args, **kwargs)
            if outputs is None:
                return
            if not self._partial:
                outputs = list(_checked(outputs, self._dofn))
            yield from _checked(outputs, self._dofn)
        except self._exc_class as error:
            self._call_back(error, element)
            yield TaggedOutput(
                self._dead_letter_tag,
                (element, (type(error), repr(error), traceback.format_exception(*sys.exc_info()))),
            )

    def _call_back(self, error: BaseException, element: Any) -> None:
        if self._on_failure is None:
            return
        try:
            self._on_failure(error, element)
        except Exception:
            _LOG.warning("on_failure_callback failed for %r", element, exc_info=True)

    def signature(self) -> DoFnSignature:
        """The other DoFn's, with this process."""
        return wrapping_signature(self, self._dofn)


def _checked(outputs: Iterable[Any], dofn: DoFn) -> Iterable[Any]:
    """What a runner would refuse is refused here too, so that it does not pass as a list of characters."""
    if isinstance(outputs, str | bytes | dict):
        raise TypeError(
            f"{dofn.default_label()} must give an iterable of outputs, or None; it gave the "
            f"{type(outputs).__name__} {outputs!r:.80}. Write [value] for one output."
        )
    return outputs


def _guarded(pardo: ParDo, handling: Mapping[str, Any], extra_tags: tuple[str, ...]) -> PTransform[Any, Any]:
    return GuardedParDo(pardo, ExceptionHandling(**handling), extra_tags)


ParDo._guarded = staticmethod(_guarded)
