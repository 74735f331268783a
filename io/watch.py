"""Watch: for each element, asks a function again and again what there is, and gives what is new.

poll ──► what was not seen before ──► out ──► watermark ──► enough? ──► wait for poll_interval ──► poll …

def list_uploads(bucket: str) -> PollResult[str]:
    return PollResult.incomplete(os.listdir(bucket))

buckets | Watch(list_uploads, poll_interval=10, termination=after_total_of(3600))
"""

from __future__ import annotations

import hashlib
import logging
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from hornbeam.coders import registry
from hornbeam.coders.coders import Coder, PickleCoder
from hornbeam.io.step_tracker import StepTracker
from hornbeam.io.watermark_estimators import ManualWatermarkEstimator
from hornbeam.pvalue import PCollection
from hornbeam.transforms.core import DoFn, ParDo, RestrictionProvider
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP, Duration, Timestamp, TimestampTypes

__all__ = ["PollFn", "PollResult", "TerminationCondition", "Watch", "after_total_of", "never"]

_log = logging.getLogger(__name__)

OutputT = TypeVar("OutputT")
_HASH_BYTES = 16


def _as_tuple(outputs: Iterable[TimestampedValue[Any]]) -> tuple[TimestampedValue[Any], ...]:
    return tuple(outputs)


@attrs.frozen
class PollResult(Generic[OutputT]):
    """What a poll has found, each with its event time, and perhaps how far event time has come.

    Without a watermark it is taken to be at the earliest new output, which is right only if event times do not go back from
    poll to poll. A watermark of MAX_TIMESTAMP says that nothing more is to come.
    """

    outputs: tuple[TimestampedValue[Any], ...] = attrs.field(converter=_as_tuple)
    watermark: Timestamp | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to come."""
        return self.watermark == MAX_TIMESTAMP

    @staticmethod
    def incomplete(outputs: Iterable[Any], timestamp: TimestampTypes | None = None) -> PollResult[Any]:
        """These outputs, and more may come. Those that are no TimestampedValue get `timestamp`, or the time now."""
        return PollResult(_stamped(outputs, timestamp))

    @staticmethod
    def complete(outputs: Iterable[Any], timestamp: TimestampTypes | None = None) -> PollResult[Any]:
        """These outputs are the last."""
        return PollResult(_stamped(outputs, timestamp), MAX_TIMESTAMP)

    def with_watermark(self, watermark: TimestampTypes) -> PollResult[OutputT]:
        """The same with a promise: no later output has an event time before `watermark`."""
        return attrs.evolve(self, watermark=Timestamp.of(watermark))


def _stamped(outputs: Iterable[Any], timestamp: TimestampTypes | None) -> list[TimestampedValue[Any]]:
    stamp = processing_time.now() if timestamp is None else Timestamp.of(timestamp)
    return [o if isinstance(o, TimestampedValue) else TimestampedValue(o, stamp) for o in outputs]


class PollFn:
    """A function from an element to a PollResult that also knows the coder of its outputs. Any function will do as well."""

    def __call__(self, element: Any) -> PollResult[Any]:
        """What there is for the element now."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(element)")

    def default_output_coder(self) -> Coder | None:
        """The coder of the outputs; None to find it by the type."""
        return None


class TerminationCondition:
    """When to stop polling for an element. Its state is a value: the methods give a new one."""

    def for_new_input(self, now: Timestamp, element: Any) -> Any:
        """The state for a new element."""
        raise NotImplementedError(f"{type(self).__name__} must define for_new_input(now, element)")

    def on_seen_new_output(self, now: Timestamp, state: Any) -> Any:
        """The state after a poll that found something new."""
        return state

    def on_poll_complete(self, state: Any) -> Any:
        """The state after any poll."""
        return state

    def can_stop_polling(self, now: Timestamp, state: Any) -> bool:
        """Whether that was the last poll."""
        raise NotImplementedError(f"{type(self).__name__} must define can_stop_polling(now, state)")

    def state_coder(self) -> Coder:
        """The coder of the state; by default states are pickled."""
        return PickleCoder()


class _Never(TerminationCondition):
    def for_new_input(self, now: Timestamp, element: Any) -> None:
        return None

    def can_stop_polling(self, now: Timestamp, state: None) -> bool:
        return False


class _AfterTotalOf(TerminationCondition):
    def __init__(self, duration: Duration) -> None:
        self._duration = duration

    def for_new_input(self, now: Timestamp, element: Any) -> Timestamp:
        return now

    def can_stop_polling(self, now: Timestamp, state: Timestamp) -> bool:
        return now.micros - state.micros > self._duration.micros


def never() -> TerminationCondition:
    """Poll until a PollResult is complete."""
    return _Never()


def after_total_of(duration: Duration | float) -> TerminationCondition:
    """Stop with the first poll that is more than `duration` (seconds) after the element came."""
    return _AfterTotalOf(Duration.of(duration))


@attrs.frozen
class Growth:
    """The restriction: what was seen of one element's outputs, and the state of the termination."""

    #: Hashes of keys, with the event time of the output.
    seen: Mapping[bytes, int] = attrs.field(factory=dict)
    #: The latest event time given, in microseconds.
    cursor: int | None = None
    termination_state: Any = None
    is_over: bool = False


class Watch(PTransform[PCollection[Any], PCollection[Any]]):
    """Pairs of each element and what `poll_fn(element)` finds for it, every `poll_interval` seconds; each output once.

    Outputs are the same when their keys' encoded forms are: `output_key_fn(output)` or the output itself, by
    `output_key_coder`, which must be deterministic. What was seen is remembered for ever, as hashes of 16 bytes. With
    `timestamp_cursor` only the latest event time is: an output is new if it is later, or, with `allowed_lateness`
    (seconds), if it is less than that earlier and its key is new. `now_fn` gives the time for `termination`, in seconds;
    by default the run's clock.
    """

    def __init__(
        self,
        poll_fn: Callable[[Any], PollResult[Any]],
        poll_interval: Duration | float,
        termination: TerminationCondition | None = None,
        output_coder: Coder | None = None,
        output_key_fn: Callable[[Any], Any] | None = None,
        output_key_coder: Coder | None = None,
        timestamp_cursor: bool = False,
        allowed_lateness: Duration | float | None = None,
        now_fn: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        if not callable(poll_fn):
            raise TypeError(f"Watch needs a function that polls; found {poll_fn!r}.")
        if poll_interval is None or Duration.of(poll_interval).micros <= 0:
            raise ValueError(f"poll_interval must be a number of seconds above 0; found {poll_interval!r}.")
        lateness = Duration.of(0 if allowed_lateness is None else allowed_lateness)
        if allowed_lateness is not None and not timestamp_cursor:
            raise ValueError(
                "allowed_lateness says how far behind the cursor outputs may be; add timestamp_cursor=True."
            )
        if timestamp_cursor and not lateness.micros and (output_key_fn or output_key_coder):
            raise ValueError(
                "timestamp_cursor=True tells new outputs by their event times, not by keys; leave output_key_fn and "
                "output_key_coder out, or allow a lateness, within which keys count."
            )
        self._poll_fn = poll_fn
        self._poll_interval = Duration.of(poll_interval)
        self._termination = termination or never()
        self._output_coder = output_coder
        self._key_fn = output_key_fn
        self._key_coder = output_key_coder
        self._horizon = lateness.micros if timestamp_cursor else None
        self._now_fn = now_fn

    def expand(self, pcoll: PCollection[Any]) -> PCollection[Any]:
        """Poll for each element."""
        coder = self._output_coder
        if coder is None and isinstance(self._poll_fn, PollFn):
            coder = self._poll_fn.default_output_coder()
        output_type = _returned(self._poll_fn)
        arguments = typing.get_args(output_type) if typing.get_origin(output_type) is PollResult else ()
        if coder is None:
            coder = registry.get_coder(arguments[0] if arguments else object)
        key_coder = self._deterministic_key_coder(coder)
        dofn = WatchDoFn(
            self._poll_fn,
            self._poll_interval,
            self._termination,
            self._key_fn,
            key_coder,
            self._horizon,
            self._now_fn,
        )
        try:
            value_type = coder.to_type_hint()
        except NotImplementedError:
            value_type = Any
        watch = ParDo(dofn).with_output_types(tuple[pcoll.element_type or Any, value_type])  # type: ignore[misc]
        pairs: PCollection[Any] = pcoll | "Poll" >> watch
        return pairs

    def _deterministic_key_coder(self, output_coder: Coder) -> Coder:
        key_coder = self._key_coder
        if key_coder is None:
            key_coder = output_coder if self._key_fn is None else registry.get_coder(_returned(self._key_fn))
        if self._horizon == 0:
            return key_coder  # event times alone tell what is new
        return key_coder.as_deterministic_coder(
            self.label,
            f"Watch at {self.label!r} tells outputs apart by their encoded keys, but {type(key_coder).__name__} is not "
            "deterministic. Give output_key_coder= (or output_coder=) one that is, or output_key_fn=.",
        )


def _returned(fn: Any) -> Any:
    """What a function, or an object's `__call__`, is declared to return; `object` if nothing."""
    target = fn if hasattr(fn, "__annotations__") and not isinstance(fn, PollFn) else type(fn).__call__
    try:
        return typing.get_type_hints(target).get("return", object)
    except (NameError, TypeError):
        return object


class WatchDoFn(DoFn, RestrictionProvider):
    """Polls for an element, gives what is new, and waits for the next poll."""

    #: Looks are no backlog.
    backlog_unit = ""

    def __init__(
        self,
        poll_fn: Callable[[Any], PollResult[Any]],
        poll_interval: Duration,
        termination: TerminationCondition,
        key_fn: Callable[[Any], Any] | None,
        key_coder: Coder,
        horizon_micros: int | None = None,
        now_fn: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self._poll_fn = poll_fn
        self._poll_interval = poll_interval
        self._termination = termination
        self._key_fn = key_fn
        self._key_coder = key_coder
        self._horizon = horizon_micros
        self._now_fn = now_fn
        self._late_count = 0

    def _now(self) -> Timestamp:
        return processing_time.now() if self._now_fn is None else Timestamp.of(self._now_fn())

    def initial_restriction(self, element: Any) -> Growth:
        """Nothing was seen."""
        return Growth(termination_state=self._termination.for_new_input(self._now(), element))

    def create_tracker(self, restriction: Growth) -> StepTracker[Growth]:
        """A tracker of polls."""
        return StepTracker(restriction)

    def restriction_size(self, element: Any, restriction: Growth) -> float:
        """1: a poll."""
        return 1.0

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        timestamp: Any = DoFn.TimestampParam,
        tracker: Any = DoFn.RestrictionParam(),
        estimator: Any = DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue[Any]]:
        """One poll."""
        if estimator.current_watermark() is None:
            estimator.set_watermark(timestamp)
        before: Growth = tracker.current_restriction()
        result = self._poll_fn(element)
        if not isinstance(result, PollResult):
            raise TypeError(
                f"The poll function of Watch must return a PollResult; it gave {result!r}. "
                "Write PollResult.incomplete([...]) or PollResult.complete([...])."
            )
        fresh, after = self._new_of(before, result)
        now = self._now()
        state = before.termination_state
        if fresh:
            state = self._termination.on_seen_new_output(now, state)
        state = self._termination.on_poll_complete(state)
        if not tracker.try_claim(attrs.evolve(after, termination_state=state)):
            return
        watermark = estimator.current_watermark()
        for output in fresh:
            if timestamp < watermark and output.timestamp < watermark:
                self._warn_late(element, output, watermark)
            yield TimestampedValue((element, output.value), output.timestamp)
        if result.is_complete or self._termination.can_stop_polling(now, state):
            return
        reached = result.watermark
        if reached is None and fresh:
            reached = fresh[0].timestamp
        if reached is not None and reached > watermark:
            estimator.set_watermark(reached)
        tracker.defer_remainder(self._poll_interval)

    def _new_of(self, before: Growth, result: PollResult[Any]) -> tuple[list[TimestampedValue[Any]], Growth]:
        """The outputs that were not seen before, by event time, and what has been seen with them."""
        behind = None
        if self._horizon is not None and before.cursor is not None:
            behind = before.cursor - self._horizon
        if self._horizon == 0:
            later = [o for o in result.outputs if behind is None or o.timestamp.micros > behind]
            later.sort(key=lambda output: output.timestamp)
            return later, attrs.evolve(before, cursor=later[-1].timestamp.micros) if later else before
        found: dict[bytes, TimestampedValue[Any]] = {}
        for output in result.outputs:
            if behind is not None and output.timestamp.micros <= behind:
                continue
            key = output.value if self._key_fn is None else self._key_fn(output.value)
            hashed = hashlib.blake2b(self._key_coder.encode(key), digest_size=_HASH_BYTES).digest()
            if hashed not in before.seen:
                found.setdefault(hashed, output)
        if not found:
            return [], before
        fresh = sorted(found.values(), key=lambda output: output.timestamp)
        seen = {**before.seen, **{hashed: output.timestamp.micros for hashed, output in found.items()}}
        if self._horizon is None:
            return fresh, attrs.evolve(before, seen=seen)
        cursor = max(fresh[-1].timestamp.micros, before.cursor or fresh[-1].timestamp.micros)
        seen = {hashed: micros for hashed, micros in seen.items() if micros > cursor - self._horizon}
        return fresh, attrs.evolve(before, seen=seen, cursor=cursor)

    def _warn_late(self, element: Any, output: TimestampedValue[Any], watermark: Timestamp) -> None:
        """Says so at the 1st, 2nd, 4th, 8th … time."""
        self._late_count += 1
        if self._late_count & (self._late_count - 1) == 0:
            _log.warning(
                "Watch found an output for %r at %s, behind its watermark %s: it may be dropped as late. Give "
                "PollResult.with_watermark(...) if outputs do not come in the order of time. (%d so far)",
                element,
                output.timestamp,
                watermark,
                self._late_count,
            )
