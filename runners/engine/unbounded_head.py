"""UnboundedReadHead: the readers of an unbounded source, each kept open from turn to turn.

    source.split ──► readers ── a turn: start, advance … ──► elements at their timestamps
                        │ finish_bundle: get_checkpoint_mark      │ commit: finalize_checkpoint

A reader whose `advance` says that nothing is there is asked again after a time that doubles up to the poll interval. Its
watermark holds the step's output back, and one at MAX_TIMESTAMP ends it. Marks are taken at the ends of bundles and
finalized once the bundle is durable, best effort: a mark whose finalize_checkpoint raises is logged.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import cloudpickle

from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.engine.backlog import BYTES, backlog_of
from hornbeam.runners.engine.bundle import MIN_MICROS, Bundle
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.failures import note_failure, short_repr
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, Backlog, Hold, SourceHead
from hornbeam.runners.engine.named_changes import NamedChanges
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.outputs import micros_column, shared_or_column
from hornbeam.runners.engine.pacing import TURN_SECONDS, Pace
from hornbeam.runners.engine.source_holds import SourceHolds, hold_text, idle_timeout_of
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.utils import pickling, processing_time
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, micros_of

_log = logging.getLogger(__name__)

#: How soon a reader without data is asked again at first.
_POLL_MICROS_MIN = 5_000
_POLL_SECONDS = 1.0
_HOLDS_SHOWN = 5
_BEGUN = (None, "begun")


class Reading:
    """A part of the source with its reader, made when its turn first comes."""

    __slots__ = ("back_off_micros", "has_marked", "is_started", "mark", "name", "pickled", "reader", "source")

    def __init__(self, name: Any, source: Any, pickled: bytes, mark: Any) -> None:
        self.name = name
        self.source = source
        self.pickled = pickled
        #: Where to go on, and where to begin again after a restart.
        self.mark = mark
        self.reader: Any = None
        self.is_started = False
        #: Whether `mark` covers all that was given.
        self.has_marked = True
        self.back_off_micros = 0

    def mover(self, options: Any) -> Callable[[], bool]:
        """What moves on to the next record, and says whether there is one: `start` at first, then `advance`."""
        if self.is_started:
            advance: Callable[[], bool] = self.reader.advance
            return advance
        self.reader = self.source.create_reader(options, self.mark)
        self.is_started = True
        start: Callable[[], bool] = self.reader.start
        return start

    def close(self) -> None:
        """Lets go of the reader, if there is one."""
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()


class UnboundedReadHead(SourceHead):
    """Reads an unbounded source.

    The step's spec may hold `poll_interval` (seconds), `max_records_per_bundle`, `max_read_time_seconds` and
    `idle_timeout`. Before the first turn a builder may set `options`, `splits_wanted`, `elements_max` (of a turn) and
    `idle_timeout_micros` (the run's default).
    """

    def __init__(
        self, step: Transform, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
    ) -> None:
        super().__init__(step.label, container, receivers)
        self._source = cloudpickle.loads(step.payload)
        self.options: Any = None
        self.splits_wanted = 1
        self.idle_timeout_micros: int | None = None
        self._stated_idle_timeout = step.spec.get("idle_timeout")
        self._poll_micros = micros_of(step.spec.get("poll_interval", _POLL_SECONDS))
        self._pace = Pace()
        self._pace.elements_max = min(
            self._pace.elements_max, step.spec.get("max_records_per_bundle", self._pace.elements_max)
        )
        self._turn_seconds = min(TURN_SECONDS, step.spec.get("max_read_time_seconds", TURN_SECONDS))
        self._has_begun = False
        self._readings: dict[Any, Reading] = {}
        self._ready: deque[Any] = deque()
        self._polls: TimerQueue[Any] = TimerQueue()
        self._holds: SourceHolds[Any] = SourceHolds()
        self._to_finalize: list[Any] = []
        self._in_bundle: dict[Any, Reading] = {}
        self._ended: list[Reading] = []
        self._changes = NamedChanges()

    @property
    def elements_max(self) -> int:
        """After how many elements a turn ends."""
        return self._pace.elements_max

    @elements_max.setter
    def elements_max(self, count: int) -> None:
        self._pace.elements_max = min(count, self._pace.elements_max)

    def setup(self) -> None:
        if self._stated_idle_timeout is not None:
            self._holds.idle_timeout_micros = micros_of(self._stated_idle_timeout)
        else:
            self._holds.idle_timeout_micros = idle_timeout_of(self._source, self.idle_timeout_micros)
        if self.options is None:
            self.options = PipelineOptions([])

    # Turns

    def is_ready(self, now: int) -> bool:
        self._tick(now)
        return not self._has_begun or bool(self._ready)

    def work(self, now: int) -> None:
        self._tick(now)
        previous = set_current(self.container)
        try:
            with processing_time.at(now):
                self.begin()
                end = perf_counter() + self._turn_seconds
                for _ in range(len(self._ready)):
                    self._read(self._readings[self._ready.popleft()], now)
                    if perf_counter() >= end or self._pace.elements >= self._pace.elements_max:
                        return
        except BaseException as error:
            note_failure(error, self.label)
            raise
        finally:
            set_current(previous)

    def begin(self) -> None:
        """Splits the source, once; a driver may do so before the first turn."""
        if self._has_begun:
            return
        self._has_begun = True
        token = secrets.token_hex(4)
        for count, source in enumerate(self._source.split(self.splits_wanted, self.options)):
            name = (None, token, count)
            self._add(Reading(name, source, pickling.dumps(source), None), MIN_MICROS)
        self._changes.note(_BEGUN, *self._readings)

    def _add(self, reading: Reading, watermark: int) -> None:
        self._readings[reading.name] = reading
        self._ready.append(reading.name)
        self._holds.set(reading.name, watermark)

    def _read(self, reading: Reading, now: int) -> None:
        """A turn of one reader."""
        self._holds.works(reading.name)
        pace = self._pace
        pace.begin()
        there, is_over = True, False
        advance = reading.mover(self.options)
        reader = reading.reader
        while there and not is_over:
            values: list[Any] = []
            stamps: list[Any] = []
            wanted = pace.chunk()
            # The reader never goes beyond what is taken, as its mark covers the record that it is at.
            while len(values) < wanted and not is_over and (there := bool(advance())):
                advance = reader.advance
                values.append(reader.get_current())
                stamps.append(reader.get_current_timestamp())
                if len(values) == 1 and not pace.elements:
                    pace.started()
                is_over = pace.is_over()
            if values:
                self.emit(Bundle(values, shared_or_column(micros_column(stamps))))
                pace.took(len(values))
                is_over = pace.is_over()
        self._settle(reading, there, now)

    def _settle(self, reading: Reading, there: bool, now: int) -> None:
        """After a turn: the reader goes on, waits, or has ended."""
        name, gave = reading.name, self._pace.elements > 0
        watermark = reading.reader.get_watermark()
        micros = BEGINNING_OF_TIME if watermark is None else micros_of(watermark)
        if gave or micros >= MAX_TIMESTAMP_MICROS:
            reading.has_marked = False
            self._in_bundle[name] = reading
            self._changes.note(name)
        if micros >= MAX_TIMESTAMP_MICROS:
            self._end(reading)
            return
        self._holds.set(name, micros, gave)
        if there:
            reading.back_off_micros = 0
            self._ready.append(name)
            return
        reading.back_off_micros = (
            _POLL_MICROS_MIN if gave or not reading.back_off_micros else 2 * reading.back_off_micros
        )
        reading.back_off_micros = min(reading.back_off_micros, max(self._poll_micros, 1))
        self._polls.set(name, now + reading.back_off_micros)
        self._holds.waits(name)

    def _end(self, reading: Reading) -> None:
        """The reader gives nothing more; its last mark is taken at the end of the bundle."""
        del self._readings[reading.name]
        self._polls.clear(reading.name)
        self._holds.drop(reading.name)
        self._changes.note(reading.name)
        self._ended.append(reading)

    def is_done(self) -> bool:
        return self._has_begun and not self._readings

    def drain(self) -> None:
        self._has_begun = True
        self._changes.note(_BEGUN)
        for reading in list(self._readings.values()):
            self._end(reading)
        self._ready.clear()

    # Checkpoint marks

    def finish_bundle(self) -> None:
        for reading in self._in_bundle.values():
            self._take_mark(reading)
        self._in_bundle = {}
        self._close_ended()

    def _take_mark(self, reading: Reading) -> None:
        if reading.has_marked or reading.reader is None:
            return
        try:
            reading.mark = reading.reader.get_checkpoint_mark()
        except BaseException as error:
            note_failure(error, f"{self.label}, get_checkpoint_mark")
            raise
        reading.has_marked = True
        if reading.mark is not None:
            self._to_finalize.append(reading.mark)

    def _close_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._close(ended)

    def _close(self, readings: list[Reading]) -> None:
        """Closes readers, all of them also when one raises."""
        first: BaseException | None = None
        for reading in readings:
            try:
                reading.close()
            except BaseException as error:
                first = first or error
        if first is not None:
            note_failure(first, f"{self.label}, close")
            raise first

    def commit(self) -> None:
        for finalize in self.take_finalizers():
            finalize()

    def _finalize(self, mark: Any) -> None:
        try:
            mark.finalize_checkpoint()
        except Exception:
            _log.exception("Step %r: finalize_checkpoint of %s failed", self.label, short_repr(mark))

    def take_finalizers(self) -> list[Callable[[], None]]:
        """What `commit` would call; for a driver to which the bundles so far become durable later."""
        marks, self._to_finalize = self._to_finalize, []
        return [partial(self._finalize, mark) for mark in marks]

    def teardown(self) -> None:
        self._close([*self._ended, *self._readings.values()])

    # Time

    def _tick(self, now: int) -> None:
        for _, name in self._polls.pop_due(now):
            self._holds.works(name)
            self._ready.append(name)
        self._holds.tick(now)

    def advance(self, watermark: int, now: int) -> None:
        self._tick(now)

    def next_wakeup(self) -> int:
        poll = self._polls.next_time()
        return min(NEVER if poll is None else poll, self._holds.next_wakeup())

    def hold(self) -> int:
        return self._holds.hold() if self._has_begun else BEGINNING_OF_TIME

    def holds(self) -> list[Hold]:
        if not self._has_begun:
            return [Hold(BEGINNING_OF_TIME, f"{type(self._source).__name__} has not been read yet")]
        return [Hold(held, self._reason(name, held)) for name, held in self._holds.earliest(_HOLDS_SHOWN)]

    def _reason(self, name: Any, held: int) -> str:
        state = "reading"
        if name in self._polls:
            state = "idle" if self._holds.is_idle(name) else "without data for now"
        source = short_repr(self._readings[name].source)
        return f"reader {name[2]} of {source}, {state}, watermark {hold_text(held)}"

    def entries(self) -> int:
        return len(self._readings)

    def backlog(self) -> Backlog:
        """What the readers say (`get_split_backlog_bytes`)."""
        readers = [reading.reader for reading in self._readings.values()]
        if not self._has_begun or None in readers:
            return Backlog()
        return backlog_of(BYTES, (reader.get_split_backlog_bytes() for reader in readers))

    # Snapshots

    def track_changes(self) -> None:
        self._changes.track((_BEGUN, *self._readings) if self._has_begun else ())

    def changes(self) -> list[tuple[Any, Any]]:
        """One entry a reader: its pickled source, its encoded checkpoint mark, its watermark; and `_BEGUN`."""
        return self._changes.take(self._content)

    def _content(self, name: Any) -> Any:
        if name == _BEGUN:
            return True
        reading = self._readings.get(name)
        if reading is None:
            return DELETED
        self._take_mark(reading)
        mark = None
        if reading.mark is not None:
            mark = reading.source.get_checkpoint_mark_coder().encode(reading.mark)
        return reading.pickled, mark, self._holds.watermark(name)

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        for name, content in entries:
            self._has_begun = True
            if name == _BEGUN:
                continue
            pickled, encoded, watermark = content
            source = cloudpickle.loads(pickled)
            if hasattr(self._source, "resume"):
                source = self._source.resume(source)
                pickled = pickling.dumps(source)
            mark = None if encoded is None else source.get_checkpoint_mark_coder().decode(encoded)
            self._add(Reading(name, source, pickled, mark), watermark)
            self._changes.loaded(name)
