"""A worker: a process that runs tasks, one at a time.

    main thread      takes messages from a queue, runs tasks, answers
    control thread   reads the connection; gives parts of the running task away; tells how far it is; ends the process
                     when the coordinator has gone

The main thread never waits for the control thread but at the end of a task, where both must agree on what was given away.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle

from hornbeam.metrics.execution import MetricsRegistry, MetricsSnapshot
from hornbeam.options.value_provider import RuntimeValueProvider
from hornbeam.runners.engine import collector
from hornbeam.runners.engine.failures import add_advice
from hornbeam.runners.engine.running import step_of_thread
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.multiprocess.at_work import StageAtWork, Stopped
from hornbeam.runners.multiprocess.careful import Noting, note_path
from hornbeam.runners.multiprocess.feed import Feed
from hornbeam.runners.multiprocess.forwarding import ForwardedLogs, ForwardedStream, say_directly
from hornbeam.runners.multiprocess.job import Job
from hornbeam.runners.multiprocess.outputs import TaskOutputs
from hornbeam.runners.multiprocess.task import (
    AtRunEnd,
    Blocks,
    Committed,
    Cut,
    Do,
    Done,
    EndStage,
    Failed,
    Given,
    Heartbeat,
    LogRecord,
    Ready,
    Split,
    StageEnded,
    StageInfo,
    Stop,
    Text,
)
from hornbeam.runners.processes.channel import MessageChannel
from hornbeam.runners.processes.environment import Environment
from hornbeam.runners.processes.remote_errors import carried
from hornbeam.utils.run_end import forwarding_scope

HEARTBEAT_SECONDS = 0.25
#: Writes the stacks of all threads to the worker's file, whatever the interpreter is busy with.
STACKS_SIGNAL = signal.SIGUSR2


def stacks_path(folder: str, worker: int) -> str:
    """Where a worker's stacks are written."""
    return os.path.join(folder, f"worker-{worker}.stacks")


def task_path(folder: str, task: int, attempt: int) -> str:
    """Where an attempt at a task writes its outputs."""
    return os.path.join(folder, f"task-{task}-{attempt}")


def job_path(folder: str) -> str:
    """Where the coordinator writes the job and its environment."""
    return os.path.join(folder, "job")


class Worker:
    """The process's one worker."""

    def __init__(self, number: int, channel: MessageChannel, folder: str) -> None:
        self.number = number
        self._channel = channel
        self._folder = folder
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._main = threading.get_ident()
        #: Held while a part of the task is given away, and while the task ends.
        self._splitting = threading.Lock()
        self._task: Do | None = None
        self._feed: Feed | None = None
        self._portions = 0
        self._is_stopping = False
        self._is_fork = False
        self._stages: dict[str, StageAtWork] = {}
        self._infos: dict[str, StageInfo] = {}
        self._registry = MetricsRegistry()
        self._streams = [ForwardedStream(self._send, name) for name in ("stdout", "stderr")]

    def run(self) -> None:
        """Runs tasks until told to stop."""
        stacks = open(stacks_path(self._folder, self.number), "w+b")
        faulthandler.enable(stacks)
        faulthandler.register(STACKS_SIGNAL, stacks)
        with open(job_path(self._folder), "rb") as file:
            environment: Environment = cloudpickle.load(file)
            environment.apply()
            self._job: Job = cloudpickle.load(file)
        self._say_things_elsewhere()
        RuntimeValueProvider.set_runtime_options(self._job.options)
        self._stage_by_name = {stage.name: stage for stage in self._job.plan.stages}
        job = self._job
        self._outputs = TaskOutputs(self._folder, max(1 << 16, job.worker_bytes_max // 4), job.compression)
        os.register_at_fork(after_in_child=self._forked)
        self._space = TemporarySpace(self._folder)
        self._send(Ready(os.getpid()))
        threading.Thread(target=self._control, name="hornbeam-control", daemon=True).start()
        with forwarding_scope(self._at_run_end), collector.relaxed():
            self._work()
        for stream in self._streams:
            stream.flush()

    def _say_things_elsewhere(self) -> None:
        root = logging.getLogger()
        root.handlers[:] = [ForwardedLogs(self._send, self.number)]
        sys.stdout, sys.stderr = self._streams

    def _at_run_end(self, callback: Callable[[], None]) -> None:
        self._send(AtRunEnd(cloudpickle.dumps(callback)))

    def _forked(self) -> None:
        """In a process that user code has forked. It has the worker's connection and files, and must leave them alone."""
        self._is_fork = True
        self._outputs.abandon()
        for stream in self._streams:
            stream.forget()

    def _send(self, message: Any) -> None:
        if self._is_fork:
            if not isinstance(message, LogRecord | Text):
                os._exit(
                    1
                )  # user code has returned in both processes; the worker goes on, and this is not it
            say_directly(message)
            return
        try:
            self._channel.send(message)
        except OSError:
            os._exit(1)  # the coordinator has gone

    # The control thread

    def _control(self) -> None:
        while True:
            try:
                if not self._channel.has_message(HEARTBEAT_SECONDS):
                    self._beat()
                    continue
                message = self._channel.receive()
            except (EOFError, OSError):
                os._exit(1)  # the coordinator has gone
            if isinstance(message, Split):
                self._split(message)
                continue
            if isinstance(message, Stop):
                self._is_stopping = True
            self._queue.put(message)

    def _beat(self) -> None:
        for stream in self._streams:
            stream.flush()
        task, feed = self._task, self._feed
        if task is not None and feed is not None:
            self._send(
                Heartbeat(task.task, feed.taken, self._portions, feed.fraction(), step_of_thread(self._main))
            )

    def _split(self, message: Split) -> None:
        with self._splitting:
            task, feed = self._task, self._feed
            if task is None or feed is None or (task.task, task.attempt) != (message.task, message.attempt):
                self._send(Given(message.task, message.attempt))
                return
            self._send(self._given(task, feed))

    def _given(self, task: Do, feed: Feed) -> Given:
        stage = self._stages.get(task.stage)
        residual = stage.split_restriction(self._outputs) if stage is not None else None
        if residual is not None:
            return Given(task.task, task.attempt, residual)
        try:
            halves = feed.split(self._outputs.aside)
        except Exception:
            return Given(task.task, task.attempt)  # elements that cannot be pickled stay where they are
        if halves is None:
            return Given(task.task, task.attempt)
        if isinstance(halves, tuple):
            return Given(task.task, task.attempt, (halves[1],), halves[0])
        return Given(task.task, task.attempt, (Blocks(task.work.step, (halves,)),))

    # The main thread

    def _work(self) -> None:
        while True:
            message = self._queue.get()
            if isinstance(message, Do):
                self._do(message)
            elif isinstance(message, StageInfo):
                self._infos[message.stage] = message
            elif isinstance(message, EndStage):
                self._end_stage(message.stage)
            elif isinstance(message, Stop):
                for name in list(self._stages):
                    self._end_stage(name)
                return

    def _do(self, do: Do) -> None:
        stage: StageAtWork | None = None
        try:
            stage = self._stage(do)
            done = self._cut(do, do.work, stage) if isinstance(do.work, Cut) else self._run(do, stage)
        except BaseException as error:
            self._close_task()
            self._outputs.discard()
            if not isinstance(error, Stopped):
                self._failed(do, error)
            if stage is not None:
                self._stages.pop(do.stage, None)
                self._tear_down(do.stage, stage, failed=True)
            return
        self._send(done)
        if done.has_finalizers and self._await_commit(do.task):
            try:
                assert stage is not None
                stage.finalize()
            except BaseException as error:
                self._failed(do, error)
        if _stands_alone(do):
            assert stage is not None
            del self._stages[do.stage]
            self._tear_down(do.stage, stage, failed=False)

    def _stage(self, do: Do) -> StageAtWork:
        if _stands_alone(do):
            previous = self._stages.pop(do.stage, None)
            if previous is not None:
                self._tear_down(do.stage, previous, failed=False)
            noting = Noting(note_path(self._folder, self.number)) if do.careful else None
            return self._new_stage(do.stage, noting)
        found = self._stages.get(do.stage)
        if found is None:
            found = self._new_stage(do.stage, None)
        return found

    def _new_stage(self, name: str, noting: Noting | None) -> StageAtWork:
        stage, sides = self._stage_by_name[name], self._infos[name].sides
        made = StageAtWork(self._job, stage, sides, self._outputs, self._registry, self._space, noting)
        self._stages[name] = made
        return made

    def _cut(self, do: Do, work: Cut, stage: StageAtWork) -> Done:
        ranges = stage.cut(work)
        self._registry.commit()
        return Done(do.task, do.attempt, [], self._metrics(), 0, ranges=ranges)

    def _run(self, do: Do, stage: StageAtWork) -> Done:
        self._outputs.begin(task_path(self._folder, do.task, do.attempt))
        feed = stage.feed(do.work)
        self._task, self._feed = do, feed
        stage.run(do.work, feed, self._on_portion)
        self._close_task()
        index = self._outputs.finish()
        self._registry.commit()
        for stream in self._streams:
            stream.flush()
        return Done(
            do.task,
            do.attempt,
            index,
            self._metrics(),
            feed.taken,
            stage.has_finalizers,
            hot_key=stage.hottest_key(),
        )

    def _on_portion(self) -> None:
        self._portions += 1
        if self._is_stopping:
            raise Stopped

    def _close_task(self) -> None:
        """Nothing can be given away any more."""
        with self._splitting:
            self._task = self._feed = None

    def _metrics(self) -> MetricsSnapshot | None:
        snapshot = self._registry.snapshot(reset=True)
        return snapshot if snapshot.committed or snapshot.failed else None

    def _failed(self, do: Do, error: BaseException) -> None:
        self._registry.rollback()
        add_advice(error, f"in worker {self.number} (process {os.getpid()})")
        for stream in self._streams:
            stream.flush()
        self._send(Failed(do.task, do.attempt, carried(error), self._metrics()))

    def _await_commit(self, task: int) -> bool:
        """Waits for the coordinator's word that the outputs count. What else it says meanwhile stays in the queue."""
        later = []
        try:
            while True:
                message = self._queue.get()
                if isinstance(message, Committed) and message.task == task:
                    return True
                later.append(message)
                if isinstance(message, Stop):
                    return False
        finally:
            for message in later:
                self._queue.put(message)

    def _end_stage(self, name: str) -> None:
        stage = self._stages.pop(name, None)
        self._infos.pop(name, None)
        if stage is not None:
            self._tear_down(name, stage, failed=self._is_stopping and self._task is not None)
        self._send(StageEnded(name))

    def _tear_down(self, name: str, stage: StageAtWork, failed: bool) -> None:
        try:
            stage.teardown(failed)
        except BaseException as error:
            self._failed(Do(-1, 0, name, Cut("")), error)
        self._registry.commit()


def _stands_alone(do: Do) -> bool:
    """Whether a task needs operators of its own: they note what they do, or keep state to the end of the task's time."""
    return do.careful or (isinstance(do.work, Blocks) and do.work.together)


def run_worker(number: int, channel: MessageChannel, folder: str) -> None:
    """The life of a worker's process, after the fork."""
    try:
        Worker(number, channel, folder).run()
    except FileNotFoundError:
        if os.path.isdir(folder):
            raise
        os._exit(1)  # the run has ended meanwhile
    channel.close()
