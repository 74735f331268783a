"""Splittable DoFns: what process sees of its restriction, and the operator that runs them on bounded data.

On bounded data each element's restriction is split, and each part worked on to its end. What process leaves undone
(`defer_remainder`, or a claim that it did not make) comes back as a residual and is worked on next, at the time that it
was deferred to. In a stream `splittable_head` does it in turns. (Splittable DoFns, https://s.apache.org/splittable-do-fn.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from hornbeam.error import NotSupportedError
from hornbeam.metrics.execution import set_current
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.element_operators import iterable_result
from hornbeam.runners.engine.failures import note_failure, note_position, stopped_iteration
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.transforms.signature import DoFnSignature
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import Duration, Timestamp

_MISSING: Any = object()


class RestrictionTrackerView:
    """What process sees of its tracker: claims, and the wish to be called again later for the rest."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        #: Trackers need not be safe for threads, and a runner may ask for a split from another one.
        self._lock = threading.Lock()
        #: What is left for a later call, and the processing time for it.
        self.residual: Any = None
        self.has_residual = False
        self.resume_micros: int | None = None
        #: Whether process itself left the rest.
        self.is_deferred = False

    def current_restriction(self) -> Any:
        """The restriction that is being worked on."""
        return self._tracker.current_restriction()

    def try_claim(self, position: Any) -> bool:
        """Claims a position; False means that process must return."""
        with self._lock:
            claimed: bool = self._tracker.try_claim(position)
        return claimed

    def defer_remainder(self, deferred_time: Duration | Timestamp | None = None) -> None:
        """Leaves what is not claimed for a later call; process must return after it.

        `deferred_time` is how long to wait or until when, in processing time; None is no longer than necessary.
        """
        resume = _resume_micros(deferred_time)
        if self.has_residual or self._split():
            self.is_deferred = True
            self.resume_micros = resume

    def try_split(self, fraction_of_remainder: float) -> Any:
        """The restriction that is given up, or None; process ends before it. On any thread."""
        with self._lock:
            split = self._tracker.try_split(fraction_of_remainder)
        return None if split is None else split[1]

    def is_bounded(self) -> bool:
        """Whether the restriction has an end."""
        bounded: bool = self._tracker.is_bounded()
        return bounded

    def _split(self) -> bool:
        """Keeps what is not claimed as the residual; False when the tracker does not let go of it."""
        with self._lock:
            split = self._tracker.try_split(0)
        if split is None:
            return False
        _, self.residual = split
        self.has_residual = self.residual is not None
        return self.has_residual


def _resume_micros(deferred_time: Any) -> int | None:
    if deferred_time is None:
        return None
    if isinstance(deferred_time, Duration):
        return processing_time.now_micros() + deferred_time.micros
    if isinstance(deferred_time, Timestamp):
        return deferred_time.micros
    raise ValueError(
        f"defer_remainder takes a Duration (how long to wait), a Timestamp (until when) or None; found {deferred_time!r}. "
        f"Write Duration({deferred_time!r}) for seconds."
    )


class SplittableCalls(DoFnOperator):
    """What both operators of splittable DoFns share: the call of process for one element and restriction."""

    def prepare_dofn(
        self,
        signature: DoFnSignature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        side_inputs: Mapping[str, SideInputReader],
    ) -> None:
        super().prepare_dofn(signature, args, kwargs, side_inputs)
        self._provider = signature.restriction_provider
        self._estimators = signature.watermark_estimator_provider
        self._tracker_names = [p.name for p in signature.process.of_kind("restriction")]
        self._estimator_names = [p.name for p in signature.process.of_kind("watermark_estimator")]
        #: What is being worked on, for `try_split`: the element, and the tracker's view.
        self._at: tuple[Bundle, RestrictionTrackerView] | None = None

    def _initial_state(self, element: Any, restriction: Any) -> Any:
        """The state that a restriction's watermark estimator begins with."""
        if self._estimators is None:
            return None
        return self._estimators.initial_estimator_state(element, restriction)

    def _estimator(self, state: Any) -> Any:
        return None if self._estimators is None else self._estimators.create_watermark_estimator(state)

    def _outputs_of(self, one: Bundle, view: RestrictionTrackerView, estimator: Any) -> Iterator[Any]:
        """Calls process for a bundle of one element and gives what it puts out, as it is made."""
        self._provided.update(dict.fromkeys(self._tracker_names, view))
        self._provided.update(dict.fromkeys(self._estimator_names, estimator))
        produced = next(self.call.over(iter(one.values), one), _MISSING)
        if produced is _MISSING:  # to map() the StopIteration of a function is the end of the elements
            raise stopped_iteration()
        return iter(iterable_result(produced, self.label))


class SplittableOperator(SplittableCalls):
    """A ParDo over a splittable DoFn on bounded data."""

    def _process(self, bundle: Bundle) -> None:
        for index, element in enumerate(bundle.values):
            one = bundle.take([element], slice(index, index + 1))
            try:
                restriction = self._provider.initial_restriction(element)
                for part in self._provider.split(element, restriction):
                    self._work(one, part)
            except BaseException as error:
                note_failure(error, self.label, bundle, index)
                note_position(error, self.signature.dofn)
                raise

    def resume(self, one: Bundle, restriction: Any) -> None:
        """Works on a restriction of the bundle's one element that was given up elsewhere."""
        previous = set_current(self.container)
        try:
            self._work(one, restriction)
        except BaseException as error:
            note_failure(error, self.label, one, 0)
            note_position(error, self.signature.dofn)
            raise
        finally:
            set_current(previous)

    def try_split(self, fraction_of_remainder: float) -> tuple[Bundle, Any] | None:
        """Gives up a part of what is being worked on: the element and the restriction. On any thread."""
        at = self._at
        if at is None:
            return None
        residual = at[1].try_split(fraction_of_remainder)
        return None if residual is None else (at[0], residual)

    def _work(self, one: Bundle, restriction: Any) -> None:
        """Calls process for a restriction, and again for what it leaves."""
        element = one.values[0]
        state = self._initial_state(element, restriction)
        while True:
            tracker = self._provider.create_tracker(restriction)
            if not tracker.is_bounded():
                raise NotSupportedError(
                    f"step {self.label!r} has an unbounded restriction in a bounded pipeline. Put "
                    "@beam.DoFn.unbounded_per_element() on its process, so that it is run as a stream."
                )
            view = RestrictionTrackerView(tracker)
            estimator = self._estimator(state)
            iterator = self._outputs_of(one, view, estimator)
            self._at = one, view
            while values := list(islice(iterator, self._chunk)):
                self.outputs.send(one.repeat(values, [len(values)]))
            self._at = None
            tracker.check_done()
            if not view.has_residual:
                return
            restriction = view.residual
            state = None if estimator is None else estimator.get_estimator_state()
            if view.resume_micros is not None:
                time.sleep(max(0.0, (view.resume_micros - processing_time.now_micros()) / 1e6))
