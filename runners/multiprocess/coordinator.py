"""The coordinator: hands tasks to idle workers, and sees to it that all are done, whatever becomes of the workers.

    TaskBook (what is to be done) ──► idle worker ── Done ──► TaskBook; the last task of a stage lets others begin
    idle worker and nothing waits ──► Split to the task that has run longest ── Given ──► TaskBook
    dead worker ──► its task again elsewhere, at most TASK_ATTEMPTS_MAX times; user code that raises ends the run

One thread; it waits for messages and the ends of processes at once.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import cloudpickle
from multiprocess.connection import wait

from hornbeam.error import RunnerError
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.failures import add_advice
from hornbeam.runners.engine.hot_keys import has_own_keys
from hornbeam.runners.multiprocess import hot_keys
from hornbeam.runners.multiprocess.careful import last_note, note_path
from hornbeam.runners.multiprocess.forwarding import emit_record, print_text
from hornbeam.runners.multiprocess.job import Job
from hornbeam.runners.multiprocess.progress import StageProgress
from hornbeam.runners.multiprocess.run_folder import RunFolder, remove_file
from hornbeam.runners.multiprocess.scaling import Scaling
from hornbeam.runners.multiprocess.seat import Seat
from hornbeam.runners.multiprocess.task import (
    AtRunEnd,
    Committed,
    Cut,
    Done,
    EndStage,
    Failed,
    Given,
    Group,
    Heartbeat,
    LogRecord,
    Ready,
    Split,
    StageEnded,
    StageInfo,
    Stop,
    Text,
)
from hornbeam.runners.multiprocess.task_book import StageState, Task, TaskBook
from hornbeam.runners.multiprocess.worker import job_path, task_path
from hornbeam.runners.multiprocess.workers import server
from hornbeam.runners.processes.environment import Environment
from hornbeam.runners.processes.remote_errors import restored
from hornbeam.utils.run_end import at_run_end

_log = logging.getLogger("hornbeam.runners.multiprocess")

#: How often a task is done again when its worker dies.
TASK_ATTEMPTS_MAX = 4
#: From this many deaths on, attempts note each element.
_CAREFUL_AFTER = 2
_STILLBORN_MAX = 5
_REPORT_HUNG_SECONDS = 300.0
#: How long workers may take to tear down, at the end of a run and when it has failed.
_GRACE_SECONDS = 10.0
_GRACE_AFTER_FAILURE_SECONDS = 2.0


class WorkerLostError(RunnerError):
    """A task has been begun again and again, and each time its worker process has died."""


class Coordinator:
    """One run of a job."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        registry: MetricsRegistry,
        progress: StageProgress,
        scaling: Scaling,
        worker_timeout_seconds: float,
    ) -> None:
        self._job = job
        self._folder = folder
        self._registry = registry
        self._progress = progress
        self._scaling = scaling
        self._timeout = worker_timeout_seconds
        self.book = TaskBook(job.plan, scaling.most, job.worker_bytes_max)
        self._seats: dict[int, Seat] = {}
        self._numbers = 0
        #: Workers that have ended before they were ready, one after the other.
        self._stillborn = 0

    def run(self) -> None:
        """Runs all stages; raises what user code raised. All workers have gone when it returns."""
        with open(job_path(self._folder.path), "wb") as file:
            cloudpickle.dump(Environment.here(), file)
            cloudpickle.dump(self._job, file)
        failed = True
        try:
            for _ in range(self._scaling.least):
                self._hire()
            self._start_stages()
            while not self.book.is_finished or any(seat.ending for seat in self._seats.values()):
                self._dispatch()
                self._progress.show(self.book, self._seats.values())
                self._wait()
                self._look_after_workers()
            failed = False
        finally:
            self._dismiss_all(failed)

    # Workers

    def _hire(self) -> None:
        self._numbers += 1
        self._stillborn += 1
        if self._stillborn > _STILLBORN_MAX * self._scaling.most:
            raise RunnerError(
                f"{self._stillborn - 1} worker processes have ended before they were ready; standard error says why"
            )
        process = server.fork(self._numbers, self._folder.path)
        self._seats[process.number] = Seat(process, idle_since=time.monotonic())

    def _dispatch(self) -> None:
        for seat in list(self._seats.values()):
            if seat.task is not None or seat.is_leaving:
                continue
            task = self.book.next_task()
            if task is None:
                break
            self._give(seat, task)
        idle = sum(1 for seat in self._seats.values() if seat.task is None and not seat.is_leaving)
        if idle and not self.book.backlog:
            self._ask_for_work(idle)
        busy = len(self._seats) - idle
        for _ in range(self._scaling.wanted(len(self._seats), busy, self.book.backlog)):
            self._hire()

    def _give(self, seat: Seat, task: Task) -> None:
        careful = task.deaths >= _CAREFUL_AFTER
        order = task.next_attempt(careful)
        seat.begin(task, order.attempt, careful)
        if task.stage not in seat.stages:
            seat.stages.add(task.stage)
            seat.tell(StageInfo(task.stage, self.book.sides(self.book.stages[task.stage].stage)))
        seat.tell(order)

    def _ask_for_work(self, idle: int) -> None:
        """Asks the tasks that have run longest for a part of what they have left."""
        now = time.monotonic()
        outstanding = sum(seat.asked for seat in self._seats.values())
        running = [
            seat
            for seat in self._seats.values()
            if seat.task is not None and not seat.asked and seat.ask_after <= now and not seat.is_careful
        ]
        for seat in sorted(running, key=lambda seat: seat.since)[: max(0, idle - outstanding)]:
            assert seat.task is not None
            seat.asked = True
            seat.tell(Split(seat.task.id, seat.attempt))

    # Waiting

    def _wait(self) -> None:
        by_connection: dict[Any, Seat] = {}
        for seat in self._seats.values():
            by_connection[seat.process.channel.connection] = seat
            by_connection[seat.process.sentinel] = seat
        for connection in wait(list(by_connection), self._seconds_to_wait()):
            seat = by_connection[connection]
            if seat.process.number in self._seats:
                at_end = connection is seat.process.sentinel and seat.process.ended() is not None
                self._hear(seat, at_end)

    def _seconds_to_wait(self) -> float:
        """Until there is something to ask or to look at."""
        idle = any(seat.task is None for seat in self._seats.values())
        times = [0.2]
        if idle and not self.book.backlog:
            now = time.monotonic()
            times += [
                seat.ask_after - now
                for seat in self._seats.values()
                if seat.task is not None and not seat.asked
            ]
        return max(0.001, min(times))

    def _hear(self, seat: Seat, ended: bool) -> None:
        """Takes the messages of a worker; then, if it has ended, sees to what it leaves."""
        messages, is_cut = seat.received()
        for message in messages:
            self._take(seat, message)
        if ended or is_cut:
            self._lost(seat)

    def _take(self, seat: Seat, message: Any) -> None:
        if isinstance(message, Done):
            self._done(seat, message)
        elif isinstance(message, Given):
            self._given(seat, message)
        elif isinstance(message, Heartbeat):
            self._heartbeat(seat, message)
        elif isinstance(message, Failed):
            self._failed(seat, message)
        elif isinstance(message, StageEnded):
            seat.ending.discard(message.stage)
            seat.stages.discard(message.stage)
        elif isinstance(message, Text):
            print_text(message)
        elif isinstance(message, LogRecord):
            emit_record(message)
        elif isinstance(message, AtRunEnd):
            at_run_end(cloudpickle.loads(message.callback))
        elif isinstance(message, Ready):
            self._stillborn = 0
        else:
            raise RunnerError(f"a worker sent {message!r}, which nobody expects")

    def _done(self, seat: Seat, done: Done) -> None:
        task = seat.task
        seat.leave()
        if task is None or (task.id, seat.attempt) != (done.task, done.attempt) or not task.is_open:
            return  # it was struck out meanwhile
        if isinstance(task.work, Cut):
            self.book.cut(task, done.ranges)
        self._progress.elements(done.elements)
        is_last = self.book.done(task, done.index, done.metrics)
        if done.has_finalizers:
            seat.tell(Committed(task.id))
        if done.hot_key is not None:
            self._warn_of_hot_key(task, *done.hot_key)
        if is_last:
            self._end_stage(self.book.stages[task.stage])
            self._start_stages()

    def _given(self, seat: Seat, given: Given) -> None:
        task = seat.task
        if task is None or (task.id, seat.attempt) != (given.task, given.attempt):
            return
        seat.answered(bool(given.given))
        if task.is_open:
            self.book.given(task, given.given, given.reduced)

    def _heartbeat(self, seat: Seat, beat: Heartbeat) -> None:
        if seat.task is None or seat.task.id != beat.task:
            return
        if beat.portions != seat.portions:
            seat.portions, seat.moved = beat.portions, time.monotonic()
        seat.step, seat.elements, seat.fraction = beat.step, beat.elements, beat.fraction

    def _failed(self, seat: Seat, failed: Failed) -> None:
        task = seat.task if failed.task >= 0 else None
        if failed.task >= 0:
            seat.leave()
            if task is None or not task.is_open:
                return
        if failed.metrics is not None:
            self._registry.merge(failed.metrics)
        raise restored(failed.error)

    def _warn_of_hot_key(self, task: Task, key: str, share_of_task: float) -> None:
        assert isinstance(task.work, Group)
        total = self.book.stages[task.stage].pairs[task.work.step]
        share = share_of_task * task.work.weight / total
        label = self.book.plan.steps[task.work.step].label
        if share >= hot_keys.SHARE_MIN and not has_own_keys(self.book.plan.graph, label):
            _log.warning(
                "Hot key: %.0f%% of the %s pairs at step %r have the key %s, and one worker has to take them all. "
                "Combine with with_hot_key_fanout (or with_fanout), or make the key finer.",
                100 * share,
                f"{total:,}",
                label,
                key,
            )

    # Stages

    def _start_stages(self) -> None:
        while ended := self.book.start_ready():
            for state in ended:
                self._end_stage(state)

    def _end_stage(self, state: StageState) -> None:
        for metrics in self.book.finish(state):
            self._registry.merge(metrics)
        name = state.stage.name
        for seat in self._seats.values():
            if name in seat.stages:
                seat.ending.add(name)
                seat.tell(EndStage(name))

    # What may become of workers

    def _lost(self, seat: Seat) -> None:
        """A worker has ended: its task is done again elsewhere, unless that has been tried too often."""
        del self._seats[seat.process.number]
        how = seat.why_ended or seat.process.how_it_ended()
        task = seat.task
        if task is not None and self.book.died(task):
            note = last_note(note_path(self._folder.path, seat.process.number)) if seat.is_careful else ""
            stacks = seat.stacks(self._folder.path)
            if task.deaths >= TASK_ATTEMPTS_MAX:
                seat.close()
                raise self._given_up(seat, task, how, note, stacks)
            _log.warning(
                "Worker %d (process %d) %s during %s%s; its work is done again (%d of at most %d times).%s",
                seat.process.number,
                seat.process.pid,
                how,
                self._where(task, seat),
                f", at {note}" if note else "",
                task.deaths,
                TASK_ATTEMPTS_MAX - 1,
                f"\n{stacks}" if stacks else "",
            )
            self.book.enqueue(task)
            remove_file(task_path(self._folder.path, task.id, seat.attempt))
        seat.close()
        if not seat.is_leaving and not self.book.is_finished and len(self._seats) < self._scaling.least:
            self._hire()

    def _where(self, task: Task, seat: Seat) -> str:
        if seat.step:
            return f"step {seat.step!r}"
        labels = [self.book.plan.steps[id_].label for id_ in self.book.stages[task.stage].stage.steps]
        shown = ", ".join(map(repr, labels[:8])) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
        return f"step {shown}" if len(labels) == 1 else f"one of the steps {shown}"

    def _given_up(self, seat: Seat, task: Task, how: str, note: str, stacks: str) -> WorkerLostError:
        where = note or self._where(task, seat)
        error = WorkerLostError(
            f"{task.deaths} workers have died during {where}: the last one, worker {seat.process.number} (process "
            f"{seat.process.pid}), {how}. Its work cannot be done: look for os._exit, a crash in a C extension, or "
            "more memory than there is."
        )
        if stacks:
            add_advice(error, f"its stacks when it died:\n{stacks}")
        return error

    def _look_after_workers(self) -> None:
        """Reports workers that do not get on, ends them when they may not take longer, lets idle ones go."""
        now = time.monotonic()
        for seat in list(self._seats.values()):
            if seat.task is not None:
                stuck = now - seat.moved
                if self._timeout and stuck > self._timeout:
                    self._end_hung(seat, stuck)
                elif stuck > _REPORT_HUNG_SECONDS and not seat.is_reported:
                    seat.is_reported = True
                    self._report_hung(seat, stuck, "Option --worker_timeout would end it.")
            elif self._scaling.may_leave(len(self._seats), now - seat.idle_since) and not seat.ending:
                seat.is_leaving = True
                seat.tell(Stop())

    def _end_hung(self, seat: Seat, stuck: float) -> None:
        self._report_hung(seat, stuck, "It is ended, as --worker_timeout says.")
        seat.why_ended = f"did not get on for {stuck:.1f} s and was ended by --worker_timeout"
        seat.process.kill()
        seat.process.ended(_GRACE_SECONDS)

    def _report_hung(self, seat: Seat, stuck: float, what_next: str) -> None:
        assert seat.task is not None
        _log.warning(
            "Worker %d (process %d) has not got on for %.0f s at %s. %s Its stacks:\n%s",
            seat.process.number,
            seat.process.pid,
            stuck,
            self._where(seat.task, seat),
            what_next,
            seat.stacks_now(self._folder.path) or "(none could be had)",
        )

    # The end

    def _dismiss_all(self, failed: bool) -> None:
        """Has all workers tear down and go; those that do not are killed."""
        for seat in self._seats.values():
            seat.tell(Stop())
        until = time.monotonic() + (_GRACE_AFTER_FAILURE_SECONDS if failed else _GRACE_SECONDS)
        error: BaseException | None = None
        try:
            while self._seats and (left := until - time.monotonic()) > 0:
                error = self._hear_last_words(left) or error
        finally:
            for seat in self._seats.values():
                seat.process.kill()
            for seat in self._seats.values():
                seat.process.ended(_GRACE_SECONDS)
                seat.process.close()
            self._seats.clear()
        if error is not None and not failed:
            raise error

    def _hear_last_words(self, seconds: float) -> BaseException | None:
        """Takes what workers say while they go; gives an error of a teardown."""
        by_connection: dict[Any, Seat] = {}
        for seat in self._seats.values():
            by_connection[seat.process.channel.connection] = seat
            by_connection[seat.process.sentinel] = seat
        error: BaseException | None = None
        for connection in wait(list(by_connection), seconds):
            seat = by_connection[connection]
            ended = connection is seat.process.sentinel and seat.process.ended() is not None
            messages, is_cut = seat.received()
            for message in messages:
                if isinstance(message, (Text, LogRecord, AtRunEnd)):
                    self._take(seat, message)
                elif isinstance(message, Failed):
                    error = restored(message.error)
            if is_cut:
                ended = seat.process.ended(_GRACE_SECONDS) is not None
            if ended and seat.process.number in self._seats:
                del self._seats[seat.process.number]
                seat.process.close()
        return error
