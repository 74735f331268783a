"""Splittable DoFns on bounded data: each element's restriction is split, and each part worked on to its end.

What process leaves undone (`defer_remainder`, or a claim that it did not make) comes back as a residual and is worked on
next. (Splittable DoFns, https://s.apache.org/splittable-do-fn.)
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from hornbeam.error import NotSupportedError
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.failures import note_failure
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.transforms.signature import DoFnSignature


class RestrictionTrackerView:
    """What process sees of its tracker: claims, and the wish to be called again later for the rest."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self.residual: Any = None

    def current_restriction(self) -> Any:
        """The restriction that is being worked on."""
        return self._tracker.current_restriction()

    def try_claim(self, position: Any) -> bool:
        """Claims a position; False means that process must return."""
        claimed: bool = self._tracker.try_claim(position)
        return claimed

    def defer_remainder(self, deferred_time: Any = None) -> None:
        """Leaves what is not claimed for a later call; process must return after it."""
        split = self._tracker.try_split(0)
        if split is not None:
            _, self.residual = split

    def is_bounded(self) -> bool:
        """Whether the restriction has an end."""
        bounded: bool = self._tracker.is_bounded()
        return bounded


class SplittableOperator(DoFnOperator):
    """A ParDo over a splittable DoFn."""

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

    def _process(self, bundle: Bundle) -> None:
        for index, element in enumerate(bundle.values):
            one = bundle.take([element], slice(index, index + 1))
            try:
                restriction = self._provider.initial_restriction(element)
                for part in self._provider.split(element, restriction):
                    self._work(one, part)
            except BaseException as error:
                note_failure(error, self.label, bundle, index)
                raise

    def _work(self, one: Bundle, restriction: Any) -> None:
        """Calls process for a restriction, and again for what it leaves."""
        element = one.values[0]
        while restriction is not None:
            tracker = self._provider.create_tracker(restriction)
            if not tracker.is_bounded():
                raise NotSupportedError(
                    f"step {self.label!r} has an unbounded restriction, which this version's runners do not have yet"
                )
            view = RestrictionTrackerView(tracker)
            self._provided.update(dict.fromkeys(self._tracker_names, view))
            if self._estimator_names:
                state = self._estimators.initial_estimator_state(element, restriction)
                estimator = self._estimators.create_watermark_estimator(state)
                self._provided.update(dict.fromkeys(self._estimator_names, estimator))
            for produced in self.call.over(iter(one.values), one):
                iterator = iter(produced or ())
                while values := list(islice(iterator, CHUNK)):
                    self.outputs.send(one.repeat(values, [len(values)]))
            if view.residual is None:
                tracker.check_done()
            restriction = view.residual
