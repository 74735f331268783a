"""SplittableHead: a splittable DoFn in a stream. Every restriction is worked on in turns of limited length.

    element ── initial_restriction, split ──► works ── a turn: process(tracker, estimator) ──► outputs
                                               ▲                        │
                                               └── residual ◄── try_split(0) when the turn is over, or defer_remainder

A turn ends at a claim: the view splits off what is not claimed, so that the claim is refused and process returns. A
tracker that does not split is worked on until it does, or to its end. The rest waits behind the other works, or until the
processing time that `defer_remainder` gave.

Each work holds the step's output watermark at the watermark of its estimator; without an estimator, or while that knows
none, at the timestamp of its element until it is done. The estimator's state goes on with the rest: as it was at the split
where a turn ended, as process left it where process deferred.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from time import perf_counter
from typing import Any

from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.pvalue import TaggedOutput
from hornbeam.runners.engine.backlog import backlog_of, unit_of
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.failures import note_failure, note_position, short_repr
from hornbeam.runners.engine.head import DELETED, Backlog, Hold, SourceHead
from hornbeam.runners.engine.named_changes import NamedChanges
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.pacing import TURN_SECONDS, Pace
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.runners.engine.source_holds import SourceHolds, hold_text, idle_timeout_of
from hornbeam.runners.engine.splittable import RestrictionTrackerView, SplittableCalls
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.transforms.signature import DoFnSignature
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils import processing_time
from hornbeam.utils.timestamp import Timestamp, micros_of
from hornbeam.utils.windowed_value import WindowedValue

#: How long a work waits that deferred to "now" without having done anything: doubled each time, from and up to.
_BACK_OFF_MICROS_MIN = 1_000
_BACK_OFF_MICROS_MAX = 256_000

_HOLDS_SHOWN = 5
#: Works whose size is asked for.
_SIZED_MAX = 1000

Name = tuple[None, str, int]


class Work:
    """A restriction of an element, and how far its watermark estimator is."""

    __slots__ = ("back_off_micros", "name", "one", "restriction", "state")

    def __init__(self, name: Name, one: Bundle, restriction: Any, state: Any) -> None:
        self.name = name
        #: The element with its timestamp, windows and pane, as a bundle of one.
        self.one = one
        self.restriction = restriction
        #: The state of the watermark estimator.
        self.state = state
        self.back_off_micros = 0

    @property
    def element(self) -> Any:
        """The element."""
        return self.one.values[0]


class TurnView(RestrictionTrackerView):
    """A tracker's view that ends the turn at a claim when its time is over; never before one has succeeded."""

    def __init__(self, tracker: Any, estimator: Any, pace: Pace) -> None:
        super().__init__(tracker)
        self._estimator = estimator
        self._pace = pace
        self.has_claimed = False
        #: The estimator's state and watermark where the turn was ended.
        self.at_split: tuple[Any, Any] = (None, None)

    def try_claim(self, position: Any) -> bool:
        """Claims a position; False means that process must return."""
        if self.has_claimed:
            if not self.has_residual and self._pace.is_over():
                self._end_turn()
            claimed: bool = self._tracker.try_claim(position)
            return claimed
        self.has_claimed = bool(self._tracker.try_claim(position))
        if self.has_claimed:
            self._pace.started()
        return self.has_claimed

    def _end_turn(self) -> None:
        if not self._split():
            self._pace.extend()
        elif self._estimator is not None:
            self.at_split = self._estimator.get_estimator_state(), self._estimator.current_watermark()


class SplittableHead(SplittableCalls, SourceHead):
    """A ParDo over a splittable DoFn, in a stream.

    Built like a DoFnOperator: the constructor, `outputs`, `prepare_dofn`. Before the first element a builder may set
    `elements_max`, the elements of a turn, and `idle_timeout_micros`, for DoFns that state no `idle_timeout` of their own.
    """

    def __init__(
        self, label: str, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
    ) -> None:
        super().__init__(label, container, receivers)
        self.idle_timeout_micros: int | None = None
        self._token = secrets.token_hex(4)  # names stay unique when the works of several heads come together
        self._count = 0
        self._works: dict[Name, Work] = {}
        self._ready: deque[Work] = deque()
        self._deferred: TimerQueue[Name] = TimerQueue()
        self._holds: SourceHolds[Name] = SourceHolds()
        self._now: int | None = None
        self._is_draining = False
        self._changes = NamedChanges()

    def prepare_dofn(
        self,
        signature: DoFnSignature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        side_inputs: Mapping[str, SideInputReader],
    ) -> None:
        super().prepare_dofn(signature, args, kwargs, side_inputs)
        self._pace = Pace(chunk_max=self._chunk)
        #: For DoFns of ours that can tell without a turn that there is nothing yet.
        self._waits_on: Callable[[Any, Any], int] | None = getattr(signature.dofn, "hornbeam_waits_on", None)

    @property
    def elements_max(self) -> int:
        """After how many elements a turn ends."""
        return self._pace.elements_max

    @elements_max.setter
    def elements_max(self, count: int) -> None:
        self._pace.elements_max = count

    def setup(self) -> None:
        self._holds.idle_timeout_micros = idle_timeout_of(self.signature.dofn, self.idle_timeout_micros)
        super().setup()

    # Elements

    def _process(self, bundle: Bundle) -> None:
        with processing_time.at(self._clock()):
            for index, element in enumerate(bundle.values):
                one = bundle.take([element], slice(index, index + 1))
                try:
                    restriction = self._provider.initial_restriction(element)
                    for part in self._provider.split(element, restriction):
                        self._add(one, part)
                except BaseException as error:
                    note_failure(error, self.label, bundle, index)
                    raise

    def _add(self, one: Bundle, restriction: Any) -> None:
        """A new work, ready to be done."""
        if self._is_draining:
            restriction = self._provider.truncate(one.values[0], restriction)
            if restriction is None:
                return
        state = self._initial_state(one.values[0], restriction)
        estimator = self._estimator(state)
        known = None if estimator is None else estimator.current_watermark()
        self._count += 1
        work = Work((None, self._token, self._count), one, restriction, state)
        self._works[work.name] = work
        self._ready.append(work)
        watermark = one.timestamp_list()[0] if known is None else micros_of(known)
        self._holds.set(work.name, watermark)
        self._changes.note(work.name)

    # Turns

    def is_ready(self, now: int) -> bool:
        self._tick(now)
        return bool(self._ready)

    def work(self, now: int) -> None:
        self._tick(now)
        end = perf_counter() + TURN_SECONDS
        elements = 0
        previous = set_current(self.container)
        try:
            with processing_time.at(now):
                for _ in range(len(self._ready)):
                    elements += self._turn(self._ready.popleft(), now)
                    if elements >= self._pace.elements_max or perf_counter() >= end:
                        return
        finally:
            set_current(previous)

    def _turn(self, work: Work, now: int) -> int:
        """Works on one restriction for a while; how many elements it gave."""
        self._holds.works(work.name)
        self._pace.begin()
        try:
            tracker = self._provider.create_tracker(work.restriction)
            estimator = self._estimator(work.state)
            view = TurnView(tracker, estimator, self._pace)
            outputs = self._outputs_of(work.one, view, estimator)
            if estimator is not None and not getattr(estimator.observe_timestamp, "does_nothing", False):
                outputs = _observed(outputs, estimator, work.one)
            while values := list(islice(outputs, self._pace.chunk())):
                self.outputs.send(work.one.repeat(values, [len(values)]))
                self._pace.took(len(values))
            tracker.check_done()
            self._settle(work, view, estimator, now)
        except BaseException as error:
            note_failure(error, self.label, work.one, 0)
            note_position(error, self.signature.dofn)
            raise
        return self._pace.elements

    def _settle(self, work: Work, view: TurnView, estimator: Any, now: int) -> None:
        """After a turn: the work is done, or its rest waits."""
        self._changes.note(work.name)
        if not view.has_residual:
            self._drop(work)
            return
        work.restriction = view.residual
        known = None
        if estimator is not None and view.is_deferred:
            work.state, known = estimator.get_estimator_state(), estimator.current_watermark()
        elif estimator is not None:
            work.state, known = view.at_split
        gave = self._pace.elements > 0
        before = self._holds.watermark(work.name)
        assert before is not None
        self._holds.set(work.name, before if known is None else micros_of(known), gave)
        self._wait(work, self._resume_at(work, view, now, gave), now)

    def _resume_at(self, work: Work, view: TurnView, now: int, gave: bool) -> int:
        resume = now if view.resume_micros is None else view.resume_micros
        if gave or view.has_claimed or resume > now:
            work.back_off_micros = 0
            return resume
        work.back_off_micros = min(max(2 * work.back_off_micros, _BACK_OFF_MICROS_MIN), _BACK_OFF_MICROS_MAX)
        return now + work.back_off_micros

    def _wait(self, work: Work, resume: int, now: int) -> None:
        """Lets the work come up again at `resume`."""
        if resume <= now:
            self._ready.append(work)
        else:
            self._defer(work.name, resume)

    def _defer(self, name: Name, resume: int) -> None:
        self._deferred.set(name, resume)
        self._holds.waits(name)

    def _drop(self, work: Work) -> None:
        del self._works[work.name]
        self._deferred.clear(work.name)
        self._holds.drop(work.name)

    def is_done(self) -> bool:
        return not self._works

    def drain(self) -> None:
        self._is_draining = True
        waiting = {id(work) for work in self._ready}
        for work in list(self._works.values()):
            try:
                left = self._provider.truncate(work.element, work.restriction)
            except BaseException as error:
                note_failure(error, self.label, work.one, 0)
                raise
            self._changes.note(work.name)
            if left is None:
                self._drop(work)
                waiting.discard(id(work))
            else:
                work.restriction = left
        self._ready = deque(work for work in self._ready if id(work) in waiting)

    # Time

    def _clock(self) -> int:
        return processing_time.now_micros() if self._now is None else self._now

    def _tick(self, now: int) -> None:
        self._now = now if self._now is None else max(self._now, now)
        for _, name in self._deferred.pop_due(now):
            work = self._works[name]
            micros = 0 if self._waits_on is None else self._waits_on(work.element, work.restriction)
            if micros > 0:
                self._deferred.set(name, now + micros)
                continue
            self._holds.works(name)
            self._ready.append(work)
        self._holds.tick(now)

    def advance(self, watermark: int, now: int) -> None:
        self._tick(now)

    def next_wakeup(self) -> int:
        resume = self._deferred.next_time()
        return min(NEVER if resume is None else resume, self._holds.next_wakeup())

    def hold(self) -> int:
        return self._holds.hold()

    def holds(self) -> list[Hold]:
        return [Hold(held, self._reason(name, held)) for name, held in self._holds.earliest(_HOLDS_SHOWN)]

    def _reason(self, name: Name, held: int) -> str:
        work = self._works[name]
        text = f"restriction {short_repr(work.restriction)} of element {short_repr(work.element)}"
        resume = self._deferred.time_of(name)
        if resume is not None:
            text += f", deferred until {hold_text(resume)}"
        if self._holds.is_idle(name):
            text += ", idle"
        return f"{text}, watermark {hold_text(held)}"

    def entries(self) -> int:
        return len(self._works)

    def backlog(self) -> Backlog:
        """What `restriction_size` says of all that is left. Of many works the first ones stand for the rest."""
        unit = unit_of(self.signature.dofn)
        if not unit:
            return Backlog()
        works = list(islice(self._works.values(), _SIZED_MAX))
        size = self._provider.restriction_size
        share = len(self._works) / len(works) if works else 1.0
        sizes = (share * size(work.element, work.restriction) for work in works)
        return backlog_of(unit, sizes)

    # Snapshots

    def track_changes(self) -> None:
        self._changes.track(self._works)

    def changes(self) -> list[tuple[Any, Any]]:
        """One entry a work: element, timestamp, windows, pane, restriction, estimator state, watermark, resume time."""
        return self._changes.take(self._content)

    def _content(self, name: Name) -> Any:
        work = self._works.get(name)
        if work is None:
            return DELETED
        one = work.one
        return (
            work.element,
            one.timestamp_list()[0],
            one.window_list()[0],
            one.pane_list()[0],
            work.restriction,
            work.state,
            self._holds.watermark(work.name),
            self._deferred.time_of(work.name),
        )

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        for name, (element, stamp, windows, pane, restriction, state, watermark, resume) in entries:
            work = Work(name, Bundle([element], stamp, windows, pane), restriction, state)
            self._works[name] = work
            self._changes.loaded(name)
            self._holds.set(name, watermark)
            if resume is None:
                self._ready.append(work)
            else:
                self._defer(name, resume)


def _observed(outputs: Iterator[Any], estimator: Any, one: Bundle) -> Iterator[Any]:
    """The outputs; the estimator is shown the timestamp of each before process goes on."""
    own = Timestamp(micros=one.timestamp_list()[0])
    observe = estimator.observe_timestamp
    for output in outputs:
        value = output.value if isinstance(output, TaggedOutput) else output
        observe(value.timestamp if isinstance(value, TimestampedValue | WindowedValue) else own)
        yield output
