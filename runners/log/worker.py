"""A worker: a process that runs its task of one attempt, and says how it does.

    main thread       in turn: messages, what other workers sent, one source's piece of work, time, what is to be sent
    control thread    reads the coordinator's messages; gives signs of life; ends the process when the coordinator has gone
    snapshot thread   writes what the main thread cut

Only the main thread touches the task.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.options.byte_size import format_bytes
from hornbeam.options.value_provider import RuntimeValueProvider
from hornbeam.runners.engine import collector
from hornbeam.runners.engine.clock import NEVER, Clock, ManualClock, WallClock
from hornbeam.runners.engine.explain import explain_stages
from hornbeam.runners.engine.lifecycle import tear_down
from hornbeam.runners.engine.stream_stage import StreamStage
from hornbeam.runners.log.copies import CopyDiedError
from hornbeam.runners.log.cuts import Cuts
from hornbeam.runners.log.exchange import Exchange, Rows, dumps
from hornbeam.runners.log.failures import signature_of
from hornbeam.runners.log.memory_budget import KEPT_BYTES_MIN, MemoryBudget
from hornbeam.runners.log.messages import (
    Alive,
    Begin,
    Done,
    Drain,
    End,
    Ended,
    Explain,
    Explained,
    Failed,
    Paused,
    Poll,
    Polled,
    Published,
    Quiesce,
    Ready,
    TakeSnapshot,
    Told,
    WantRestart,
)
from hornbeam.runners.log.plans import has_test_stream, plan_for
from hornbeam.runners.log.poison import skip_callbacks
from hornbeam.runners.log.restoring import begin_task, restore_task
from hornbeam.runners.log.room import WorkerSpace, until_there_is_room
from hornbeam.runners.log.routing import Outbox
from hornbeam.runners.log.rows_under_way import RowsUnderWay
from hornbeam.runners.log.sinks import Sinks
from hornbeam.runners.log.snapshots import SnapshotReport, SnapshotThread
from hornbeam.runners.log.step_status import StepReports
from hornbeam.runners.log.task import Task
from hornbeam.runners.log.whereabouts import whereabouts
from hornbeam.runners.log.worker_output import say_where
from hornbeam.runners.processes.channel import MessageChannel
from hornbeam.runners.processes.remote_errors import carried
from hornbeam.storage import files
from hornbeam.storage.files import OS_FILES
from hornbeam.utils.run_end import run_scope

_log = logging.getLogger(__name__)

_SIGN_OF_LIFE_SECONDS = 0.5
_STATUS_SECONDS = 0.5
_IDLE_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.01
#: Records of others taken in one turn, of each.
_RECORDS_MAX = 16


def run_worker(number: int, channel: MessageChannel, folder: str) -> None:
    """The life of a worker's process, from the fork on."""
    try:
        begin: Begin = channel.receive()
    except (EOFError, OSError):
        return
    begin.environment.apply()
    say_where(begin.job_name, number)
    files.arm(begin.faults)
    OS_FILES.fault("worker.begin")
    with OS_FILES.lock(begin.workers_lock, exclusive=False, timeout=30):
        worker = Worker(begin, channel)
        try:
            with collector.relaxed(), run_scope():
                worker.run()
        except BaseException as error:
            worker.leave_if_forked()
            worker.send(Failed(carried(error), signature_of(error)))


def _cpu_seconds() -> float:
    """The processor time of this process and of the copies of it that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Worker:
    """The process's one worker."""

    def __init__(self, begin: Begin, channel: MessageChannel) -> None:
        self._begin = begin
        self._channel = channel
        self._messages: deque[Any] = deque()
        self._turns = 0
        self._is_ending = False
        self._is_quiet = False
        self._frozen_now = 0
        self._polls: list[int] = []
        self._was_done = False
        self._wanted: TakeSnapshot | None = None
        self._is_frozen = False
        self._is_held = False
        self._bundles = 0
        #: Whether what others sent in this turn told anything new.
        self._is_news = False
        self._next_status = 0.0
        self._is_forked = False
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """In a child: the coordinator sees that the worker has died although the child lives, and the child says nothing."""
        self._is_forked = True
        self._channel.close()

    def leave_if_forked(self) -> None:
        """A child that user code forked and let come back is no worker: its parent does the work."""
        if self._is_forked:
            error = sys.exception()
            if error is None:
                print("a process that user code forked came back from it, and is ended", file=sys.stderr)
            else:
                traceback.print_exception(error)
            sys.stderr.flush()
            os._exit(1)

    def send(self, message: Any) -> None:
        """To the coordinator; without it there is nothing to live for."""
        try:
            self._channel.send(message)
        except OSError:
            os._exit(1)

    # Life

    def run(self) -> None:
        """Runs the task until told to end."""
        begin = self._begin
        began, cpu_began = time.perf_counter(), _cpu_seconds()
        RuntimeValueProvider.set_runtime_options(dict(begin.options))
        self._exchange = Exchange(begin.exchange, begin.worker, begin.workers)
        threading.Thread(target=self._control, name="hornbeam-control", daemon=True).start()
        self._space = WorkerSpace(begin.spilled, self._tell_paused)
        try:
            self._build()
            set_up: list[StreamStage] = []
            try:
                self._run(set_up, began)
            finally:
                self.leave_if_forked()
                failed = sys.exc_info()[0] is not None
                tear_down((operator for stage in set_up for operator in stage.operators.values()), failed)
            self.send(Ended(self._registry.snapshot(), _cpu_seconds() - cpu_began))
        finally:
            self._space.close()

    def _build(self) -> None:
        begin = self._begin
        self._registry = MetricsRegistry()
        self._clock: Clock = ManualClock(runs_ahead=True) if has_test_stream(begin.graph) else WallClock()
        plan = plan_for(begin.graph, begin.workers, begin.poison)
        self._task = Task(
            plan,
            begin.worker,
            begin.workers,
            self._space,
            KEPT_BYTES_MIN,
            begin.bundle_size,
            self._registry,
            self._clock,
            begin.idle_timeout_micros,
        )
        if begin.poison is not None:
            stages = self._task.stages.values()
            skip_callbacks(begin.poison, (each for stage in stages for each in stage.operators.values()))
        for other, outbox in self._task.outboxes.items():
            outbox.when_full = partial(self._empty, other, outbox)
        self._sinks = Sinks(self._task)
        thread = SnapshotThread(
            begin.worker,
            self._exchange,
            self._reported,
            self._snapshot_failed,
            self._tell_paused,
            begin.restore_from is not None,
        )
        sinks = None if begin.at_least_once else self._sinks
        self._cuts = Cuts(self._task, self._exchange, sinks, thread, self._space, self._tell_paused)
        self._rows = RowsUnderWay(begin.exchange, begin.worker, begin.workers, len(self._task.edges))
        self._reports = StepReports(self._task, self._rows)

    def _run(self, set_up: list[StreamStage], began: float) -> None:
        begin, task = self._begin, self._task
        for stage in task.setup():
            set_up.append(stage)
        self._limit_memory()
        under_way: dict[int, list[bytes]] = {}
        if begin.restore_from is None:
            begin_task(task)
        else:
            gc.disable()  # it would look through the state again and again, and find nothing
            under_way = restore_task(task, begin.checkpoints, begin.restore_from)
            gc.freeze()
            gc.enable()
        OS_FILES.fault("worker.restored")
        task.track_changes()
        if not begin.at_least_once:
            self._sinks.begin()
        self._quiesce(Quiesce(begin.is_quiet))
        self.send(Ready(begin.worker, (time.perf_counter() - began) * 1000, time.process_time()))
        self._advance()
        for sender, records in under_way.items():
            for data in records:
                self._deliver(data, sender, was_sent=False)  # by the attempt before
                self._advance()
        while not self._is_ending:
            self._turn()

    def _limit_memory(self) -> None:
        """Says how much of the job's memory is for what this worker keeps. Its steps are set up, and keep nothing yet."""
        begin = self._begin
        self._memory = memory = MemoryBudget.measured(
            begin.memory_bytes_max, begin.workers, begin.coordinator_bytes, os.getppid()
        )
        self._task.keep_within(memory.kept_bytes)
        if memory.limit < memory.limit_min and begin.worker == 0:
            _log.warning(
                "--memory_limit=%s is less than the processes of this job take by themselves, %s with %s workers: what is "
                "kept for keys goes to disk at once.",
                format_bytes(memory.limit),
                format_bytes(memory.limit_min),
                begin.workers,
            )

    # A turn

    def _turn(self) -> None:
        self._turns += 1
        seen = self._exchange.bell_value()
        self._serve()
        if self._is_ending:
            return
        if self._is_frozen:
            self._say()
            self._exchange.wait(seen, _IDLE_SECONDS)
            return
        self._is_news = False
        self._task.tell_time(self._now())
        is_behind = not self._is_held and self._task.is_behind()
        stays = self._is_held or is_behind
        took = not stays and self._take_from_others()
        worked = not (stays or self._is_quiet or self._wanted is not None) and self._work()
        if took or worked or is_behind or (not stays and self._now() >= self._task.next_wakeup()):
            self._advance()
            if worked or self._is_news or not took:
                self._look_whether_to_restart()
        has_cut = self._wanted is not None
        if self._wanted is not None:
            self._cut(self._wanted)
        self._say()
        if not (took or worked or is_behind or has_cut):  # a source may be ready that the cut came before
            self._be_idle(seen)

    def _now(self) -> int:
        return self._frozen_now if self._is_quiet else self._clock.now_micros()

    def _take_from_others(self) -> bool:
        took = False
        for sender, channel in self._exchange.ins.items():
            for _ in range(_RECORDS_MAX):
                if self._cuts.comes_after(sender):
                    break
                record = channel.take()
                if record is None:
                    break
                took = True
                if record.marker is not None:
                    self._want(self._cuts.marked(sender, record))
                else:
                    self._deliver(record.data, sender)
        return took

    def _deliver(self, data: bytes, sender: int, was_sent: bool = True) -> None:
        for message in pickle.loads(data):
            if was_sent and type(message) is Rows:
                self._rows.took(message.edge, len(message.bundle.values))
            self._is_news |= self._task.deliver(message, sender)

    def _work(self) -> bool:
        """One source's piece of work, unless a receiver is too far behind."""
        if self._exchange.lag_bytes() > self._begin.exchange_bytes_max:
            return False
        now = self._clock.now_micros()
        source = self._task.ready_source(now)
        if source is None:
            return False
        source.work(now)
        return True

    def _advance(self) -> None:
        self.leave_if_forked()
        OS_FILES.fault("worker.bundle")
        self._task.advance(self._now())
        self._flush()

    def _flush(self) -> None:
        for other, outbox in self._task.outboxes.items():
            if outbox.messages:
                self._empty(other, outbox)

    def _empty(self, other: int, outbox: Outbox) -> None:
        self._rows.sent(other, outbox.messages)
        data, out = dumps(outbox.take()), self._exchange.outs[other]
        until_there_is_room(partial(out.append, data), self._tell_paused)

    def _look_whether_to_restart(self) -> None:
        """Test mode: after so many bundles stand still until the attempt ends with a checkpoint.

        A turn counts in which a source worked, a timer was due, or others sent elements or a later time: what the checkpoint
        holds then is not what the attempt began from, so that every restart gets on.
        """
        self._bundles += 1
        if self._begin.restart_after is not None and self._bundles == self._begin.restart_after:
            self._is_held = True
            self.send(WantRestart())

    def _be_idle(self, seen: int) -> None:
        if self._is_held:
            self._exchange.wait(seen, _IDLE_SECONDS if not self._messages else 0)
            return
        for number in self._polls:
            self.send(Polled(number, True, *self._exchange.totals()))
        self._polls.clear()
        is_done = self._task.is_done()
        if is_done != self._was_done:
            self._was_done = is_done
            self.send(Done(is_done, is_done and self._task.is_empty()))
        if self._messages:
            return
        seconds = _IDLE_SECONDS
        if not self._is_quiet:
            wakeup = self._task.next_wakeup()
            if wakeup < NEVER and isinstance(self._clock, ManualClock):
                self._clock.wait(wakeup, threading.Event())
                return
            seconds = min(seconds, max(0.0, (wakeup - self._clock.now_micros()) / 1e6))
            if self._task.can_block() or self._exchange.lag_bytes() > self._begin.exchange_bytes_max:
                seconds = min(seconds, _LOOK_AGAIN_SECONDS)
        self._exchange.wait(seen, seconds)

    # Messages

    def _serve(self) -> None:
        while self._messages:
            message = self._messages.popleft()
            self._handlers[type(message)](self, message)

    def _want(self, message: TakeSnapshot) -> None:
        if message.checkpoint > self._cuts.number:
            self._wanted = message

    def _published(self, message: Published) -> None:
        self._cuts.published(message.checkpoint)

    def _quiesce(self, message: Quiesce) -> None:
        if message.on and not self._is_quiet:
            self._frozen_now = self._clock.now_micros()
        self._is_quiet = message.on

    def _poll(self, message: Poll) -> None:
        self._polls.append(message.number)

    def _drain(self, _: Drain) -> None:
        OS_FILES.fault("worker.drain")
        self._task.drain()
        self._advance()

    def _explain(self, message: Explain) -> None:
        self.send(Explained(message.number, explain_stages(self._task.stages).stages))

    def _end(self, _: End) -> None:
        self._is_ending = True

    _handlers: dict[type, Callable[[Worker, Any], None]] = {
        TakeSnapshot: _want,
        Published: _published,
        Quiesce: _quiesce,
        Poll: _poll,
        Drain: _drain,
        Explain: _explain,
        End: _end,
    }

    # Snapshots

    def _cut(self, wanted: TakeSnapshot) -> None:
        self._wanted = None
        if self._memory.look(self._task.shared_bytes()):
            self._task.keep_within(self._memory.kept_bytes)
        self._cuts.take(wanted)
        self._is_frozen = wanted.freeze

    def _reported(self, report: SnapshotReport) -> None:
        self.send(report)

    def _snapshot_failed(self, error: BaseException) -> None:
        if isinstance(error, CopyDiedError):
            _log.warning("%s; the worker ends with it", error)  # it was killed: nothing is wrong with the job
        else:
            self.send(Failed(carried(error), signature_of(error)))
        os._exit(1)

    def _tell_paused(self, text: str) -> None:
        self.send(Paused(text))

    # Signs of life

    def _say(self) -> None:
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + _STATUS_SECONDS
            reports = self._reports
            self.send(Told(self._turns, reports.steps(), self._registry.snapshot(), reports.keys()))

    def _control(self) -> None:
        """The control thread."""
        main, seen = threading.main_thread().ident, -1
        assert main is not None
        while True:
            try:
                if not self._channel.has_message(_SIGN_OF_LIFE_SECONDS):
                    turns = self._turns
                    self.send(Alive(turns, whereabouts(main) if turns == seen else ""))
                    seen = turns
                    continue
                message = self._channel.receive()
            except (EOFError, OSError):
                os._exit(1)  # the coordinator has gone
            self._messages.append(message)
            self._exchange.wake()
