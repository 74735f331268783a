"""An attempt: the workers from one start to one end, and the checkpoints in between. A failure of any worker ends it.

begin ─► workers restore ─► they run, and every interval: cut ─► reports ─► publish ─► sinks commit ─► Published
                                                                      │
all done ─► a last checkpoint ─► End

When a worker dies, hangs or fails, all are killed, and what is not published is void.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait as wait_for
from typing import Any

import attrs

from hornbeam.error import RunnerError
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.log.committing import Committer
from hornbeam.runners.log.exchange import create_exchange
from hornbeam.runners.log.explaining import Explaining
from hornbeam.runners.log.failures import message_of, signature_of
from hornbeam.runners.log.hangs import Hangs
from hornbeam.runners.log.job_status import CheckpointStatus
from hornbeam.runners.log.last_checkpoint import without_keys
from hornbeam.runners.log.messages import (
    Begin,
    Done,
    Drain,
    End,
    Ended,
    Explained,
    Failed,
    Paused,
    Polled,
    Published,
    Ready,
    TakeSnapshot,
    WantRestart,
)
from hornbeam.runners.log.snapshots import SnapshotReport
from hornbeam.runners.log.standstill import Standstill
from hornbeam.runners.log.worker_process import WorkerProcess
from hornbeam.runners.processes.remote_errors import restored
from hornbeam.storage.checkpoint import CheckpointStore, Manifest, PendingCheckpoint
from hornbeam.storage.errors import DiskFullError, StorageError
from hornbeam.storage.files import OS_FILES

_TICK_SECONDS = 0.05
_COMMIT_TICK_SECONDS = 0.005
_DISK_FULL_SECONDS = 0.5
_TEAR_DOWN_SECONDS = 5.0

DONE, CRASHED, FAILED, STOPPED, CANCELLED, INTERRUPTED, RESTART = (
    "done",
    "crashed",
    "failed",
    "stopped",
    "cancelled",
    "interrupted",
    "restart",
)


@attrs.frozen
class Outcome:
    """How an attempt ended."""

    kind: str
    reason: str = ""
    error: BaseException | None = None
    signature: str = ""
    #: Whether a checkpoint was published, so that the next attempt begins further on.
    has_progressed: bool = False

    def text(self) -> str:
        """The reason, with the error, and where it arose."""
        if self.error is None:
            return self.reason
        failure = getattr(self.error, "hornbeam_failure", None)
        where = "" if failure is None else f", {failure}"
        return f"{self.reason}: {type(self.error).__qualname__}: {message_of(self.error)}{where}"


@attrs.define
class _Checkpoint:
    """A checkpoint in progress."""

    pending: PendingCheckpoint
    began: float
    is_quiesced: bool
    freeze: bool
    then: list[Callable[[Manifest], None]]
    reports: dict[int, SnapshotReport] = attrs.field(factory=dict)


class Attempt:
    """Runs the workers until they are done, one fails, or the job is told to end."""

    def __init__(
        self,
        begins: list[Begin],
        store: CheckpointStore,
        committer: Committer,
        interval_seconds: float,
        worker_timeout_seconds: float,
        bundle_timeout_seconds: float,
        metadata: Mapping[str, Any],
        tick: Callable[[Attempt], None],
        pauses_ms: deque[float],
    ) -> None:
        """`tick` is called many times a second: it takes commands and writes the status."""
        self._begins = begins
        self._store = store
        self._committer = committer
        self._interval = interval_seconds
        self._hangs = Hangs(worker_timeout_seconds, bundle_timeout_seconds)
        self._metadata = metadata
        self.number = int(metadata["attempt"])
        self._tick = tick
        self._pauses_ms = pauses_ms
        self.workers: list[WorkerProcess] = []
        self.outcome: Outcome | None = None
        self.checkpoint: CheckpointStatus | None = None
        self.is_draining = False
        self.has_published = False
        #: Why nothing can be published for now: the disk is full.
        self.paused = ""
        self.restore_ms = 0.0
        self.restore_cpu_seconds = 0.0
        self._current: _Checkpoint | None = None
        #: A published checkpoint, and what is to be called when its sinks have committed.
        self._published: tuple[Manifest, list[Callable[[Manifest], None]]] | None = None
        self._moves = False
        self._is_restarting = False
        self._is_finishing = False
        self._wanted: list[tuple[bool, bool, list[Callable[[Manifest], None]]]] = []
        self._next_checkpoint = 0.0
        self._ended: dict[int, Ended] = {}
        self._standstill = Standstill(self._send, len(begins))
        self._explaining = Explaining(self._send, len(begins))

    # Life

    def run(self) -> Outcome:
        """Starts the workers and stays until the attempt has ended; no worker is left then."""
        create_exchange(self._begins[0].exchange, len(self._begins))
        OS_FILES.fault("coordinator.attempt")
        try:
            self._start_workers()
            OS_FILES.fault("coordinator.workers")
            self._hangs.begin()
            while self.outcome is None:
                self._turn_or_fail()
            if self.outcome.kind == FAILED:
                self._tear_down()
        finally:
            for worker in self.workers:
                worker.kill()
            if self._current is not None:
                self._give_up(self._current)
        assert self.outcome is not None
        return attrs.evolve(self.outcome, has_progressed=self.has_published)

    def _start_workers(self) -> None:
        try:
            for begin in self._begins:
                self.workers.append(WorkerProcess(begin))
        except (RunnerError, OSError) as error:
            self.outcome = Outcome(CRASHED, f"the workers' processes cannot be started: {error}")

    def _turn_or_fail(self) -> None:
        try:
            self._turn()
        except BaseException as error:
            if error is not self._committer.error:
                raise
            self.outcome = Outcome(
                FAILED, "a sink could not commit what it had prepared", error, signature_of(error)
            )

    def _turn(self) -> None:
        by_connection = {worker.channel.connection: worker for worker in self._at_work()}
        by_connection |= {worker.sentinel: worker for worker in self._at_work()}
        seconds = _TICK_SECONDS
        if self._published is not None:
            seconds = _COMMIT_TICK_SECONDS
        elif self._current is None and self.are_ready():
            seconds = min(seconds, max(0.0, self._next_checkpoint - time.monotonic()))
        for connection in wait_for(list(by_connection), seconds):
            worker = by_connection[connection]
            has_ended = connection is worker.sentinel and worker.has_ended()
            if worker.channel.has_message():
                self._receive(worker)
            if has_ended and self.outcome is None:
                self._died(worker)
            if self.outcome is not None:
                return
        self._committer.check()
        self._tick(self)
        if self.outcome is None:
            self._look_for_hangs()
        if self.outcome is None:
            self._move_on()

    def _at_work(self) -> list[WorkerProcess]:
        """The workers that have not ended well."""
        return [worker for worker in self.workers if worker.number not in self._ended]

    def _receive(self, worker: WorkerProcess) -> None:
        try:
            while self.outcome is None:
                message = worker.channel.receive()
                worker.heard(message)
                handler = self._handlers.get(type(message))
                if handler is not None:
                    handler(self, worker, message)
                if not worker.channel.has_message():
                    return
        except (EOFError, OSError):
            if self.outcome is None:
                self._died(worker)

    def _died(self, worker: WorkerProcess) -> None:
        """Ends the attempt, unless the worker was to end."""
        if worker.number not in self._ended:
            text = f"worker {worker.number} (process {worker.pid}) has died: it {worker.how_it_ended()}"
            self.outcome = Outcome(CRASHED, text)

    def _look_for_hangs(self) -> None:
        current = self._current
        checkpoint, reported = (0, {}) if current is None else (current.pending.checkpoint, current.reports)
        if text := self._hangs.look(self._at_work(), checkpoint, reported):
            self.outcome = Outcome(CRASHED, text)

    def _tear_down(self) -> None:
        """One worker has failed: the others get a moment to tear their steps down."""
        self._send(End())
        left = {worker.channel.connection: worker for worker in self.workers}
        deadline = time.monotonic() + _TEAR_DOWN_SECONDS
        while left and time.monotonic() < deadline:
            for connection in wait_for(list(left), _TICK_SECONDS):
                try:
                    left[connection].channel.receive()
                except (EOFError, OSError):
                    del left[connection]

    def are_ready(self) -> bool:
        """Whether all workers are restored and at work."""
        return len(self.workers) == len(self._begins) and all(worker.is_ready for worker in self.workers)

    @property
    def waits_for_sinks(self) -> bool:
        """Whether no checkpoint is begun until sinks have committed earlier ones."""
        return self._published is not None or self._committer.is_behind

    def _send(self, message: Any) -> None:
        for worker in self.workers:
            worker.send(message)

    # What workers say

    def _ready(self, worker: WorkerProcess, message: Ready) -> None:
        worker.is_ready = True
        worker.last_turn = time.monotonic()
        if self.are_ready():
            # Not sooner: a checkpoint of what was just loaded would count as progress, whatever comes at once after it.
            self._next_checkpoint = time.monotonic() + self._interval
        self.restore_ms = max(self.restore_ms, message.restore_ms)
        self.restore_cpu_seconds = max(self.restore_cpu_seconds, message.cpu_seconds)
        if self.is_draining:
            worker.send(Drain())

    def _done(self, worker: WorkerProcess, message: Done) -> None:
        worker.is_done, worker.is_empty = message.is_done, message.is_empty

    def _paused(self, worker: WorkerProcess, message: Paused) -> None:
        worker.paused = message.text

    def _failed(self, worker: WorkerProcess, message: Failed) -> None:
        self.outcome = Outcome(
            FAILED, f"worker {worker.number} has failed", restored(message.error), message.signature
        )

    def _ended_well(self, worker: WorkerProcess, message: Ended) -> None:
        self._ended[worker.number] = message
        if len(self._ended) == len(self._begins):
            self.outcome = Outcome(DONE)

    def _polled(self, worker: WorkerProcess, message: Polled) -> None:
        self._standstill.heard(worker.number, message)

    def _reported(self, worker: WorkerProcess, report: SnapshotReport) -> None:
        current = self._current
        if current is not None and report.checkpoint == current.pending.checkpoint:
            current.reports[worker.number] = report

    def _want_restart(self, worker: WorkerProcess, message: WantRestart) -> None:
        if not self._is_restarting:
            self._is_restarting = True
            self.want_checkpoint(lambda _: self.end(Outcome(RESTART, "injected")), freeze=True)

    def _explained(self, worker: WorkerProcess, message: Explained) -> None:
        self._explaining.heard(worker.number, message)

    _handlers: dict[type, Callable[[Attempt, WorkerProcess, Any], None]] = {
        Ready: _ready,
        Done: _done,
        Paused: _paused,
        Failed: _failed,
        Ended: _ended_well,
        Polled: _polled,
        SnapshotReport: _reported,
        Explained: _explained,
        WantRestart: _want_restart,
    }

    # What is due

    def _move_on(self) -> None:
        if self._is_finishing or not self.are_ready():
            return
        if self._moves:
            self._begin_moving()
        if self._current is None:
            self._standstill.look()
        self._explaining.look()
        if self._published is not None:
            self._conclude()
            return
        current = self._current
        if current is not None:
            if len(current.reports) == len(self._begins):
                self._publish(current)
            return
        if self._committer.is_behind:
            return  # what can be told of the job, and what it is told, does not wait for a sink
        if self._wanted:
            is_quiesced, freeze, then = self._wanted.pop(0)
            self._begin_checkpoint(is_quiesced, freeze, then)
        elif not self._standstill.is_awaited and all(worker.is_done for worker in self.workers):
            is_empty = all(worker.is_empty for worker in self.workers)
            self._begin_checkpoint(True, True, [lambda _: self._finish()], is_last=is_empty)
        elif not self._standstill.is_awaited and time.monotonic() >= self._next_checkpoint:
            self._begin_checkpoint(False, False, [])

    def _finish(self) -> None:
        self._is_finishing = True
        self._committer.wait()
        self._send(End())

    # Checkpoints

    def want_checkpoint(
        self, then: Callable[[Manifest], None], is_quiesced: bool = False, freeze: bool = False
    ) -> None:
        """A checkpoint as soon as the one in progress is through; `then` is called when its sinks have committed."""
        self._wanted.append((is_quiesced, freeze, [then]))

    def _begin_checkpoint(
        self, is_quiesced: bool, freeze: bool, then: list[Callable[[Manifest], None]], is_last: bool = False
    ) -> None:
        OS_FILES.fault("coordinator.checkpoint.begin")
        self._next_checkpoint = time.monotonic() + self._interval
        pending = self._store.begin(incremental=not is_last)
        self._current = _Checkpoint(pending, time.perf_counter(), is_quiesced, freeze, then)
        self._send(TakeSnapshot(pending.ticket, freeze, is_last))
        OS_FILES.fault("coordinator.checkpoint.begun")

    def _publish(self, current: _Checkpoint) -> None:
        files = [file for _, report in sorted(current.reports.items()) for file in report.files]
        tokens = self._committer.encoded(
            [token for _, report in sorted(current.reports.items()) for token in report.tokens]
        )
        metadata = {
            **self._metadata,
            "quiesced": current.is_quiesced,
            "tokens": [*self._committer.uncommitted(), *tokens],
        }
        OS_FILES.fault("coordinator.publish")
        while True:
            try:
                carried = () if current.pending.incremental else without_keys(self._store, current.pending)
                manifest = current.pending.commit([*carried, *files], metadata)
                break
            except DiskFullError as error:
                self.paused = f"the disk is full: {error}"
                self._tick(self)
                if self.outcome is not None:  # the job was told to end
                    return
                time.sleep(_DISK_FULL_SECONDS)
        self._current, self.paused = None, ""
        self.has_published = True
        self._pauses_ms.extend(report.pause_ms for report in current.reports.values())
        OS_FILES.fault("coordinator.published")
        seconds = time.perf_counter() - current.began
        self.checkpoint = CheckpointStatus(
            number=manifest.checkpoint,
            completed_micros=time.time_ns() // 1000,
            duration_ms=seconds * 1000,
            bytes=sum(file.size for file in files),
            total_bytes=sum(file.size for file in manifest.files),
            pause_ms=max((report.pause_ms for report in current.reports.values()), default=0.0),
        )
        self._committer.commit(manifest.checkpoint, tokens)
        self._published = manifest, current.then
        self._conclude()

    def _conclude(self) -> None:
        """Ends a checkpoint that is published; not before its sinks have committed, where somebody waits for it."""
        assert self._published is not None
        manifest, then = self._published
        if then and not self._committer.is_through:
            return
        self._published = None
        OS_FILES.fault("coordinator.committed")
        self._send(Published(manifest.checkpoint))
        for call in then:
            call(manifest)

    def _give_up(self, current: _Checkpoint) -> None:
        OS_FILES.fault("coordinator.give_up")
        try:
            current.pending.abort()
        except StorageError:
            return  # its manifest may be there; the next attempt clears away what it does not need, or commits
        self._committer.abort([token for report in current.reports.values() for token in report.tokens])

    # Standing still

    def quiesce(self, then: Callable[[], None]) -> None:
        """Sources and clocks stand still; `then` is called when nothing is under way any more. `go_on` ends it.

        One that is asked for before another one has ended begins after that.
        """
        self._standstill.begin(then)

    def go_on(self) -> None:
        """Ends `quiesce`."""
        self._standstill.end()

    def stop_for_moving(self) -> None:
        """Has the attempt end with a checkpoint that can be moved to other workers or a changed pipeline."""
        self._moves = True

    def _begin_moving(self) -> None:
        self._moves = False
        self.quiesce(
            lambda: self.want_checkpoint(
                lambda _: self.end(Outcome(RESTART, "the state moves")),
                is_quiesced=True,
                freeze=True,
            )
        )

    # Ends and explanations

    def end(self, outcome: Outcome) -> None:
        """Ends the attempt at once."""
        self.outcome = outcome

    def drain(self) -> None:
        """Sources give nothing new from now on; the attempt ends when all else is done."""
        self.is_draining = True
        OS_FILES.fault("coordinator.drain")
        self._send(Drain())

    def explain(self, then: Callable[[Explanation], None], step: str, state: str) -> None:
        """Asks all workers what holds time back."""
        self._explaining.ask(then, step, state)

    def registry(self) -> MetricsRegistry:
        """The metrics of all workers, as they last told."""
        joined = MetricsRegistry()
        for worker in self.workers:
            ended = self._ended.get(worker.number)
            if ended is not None:
                joined.merge(ended.metrics)
            elif worker.told is not None:
                joined.merge(worker.told.metrics)
        return joined

    def cpu_seconds(self) -> list[float]:
        """The processor's time of each worker that has ended well."""
        return [ended.cpu_seconds for ended in self._ended.values()]

    def pids(self) -> tuple[int, ...]:
        """The workers' processes, once all of them are known; 0, to who kills it, would be all of his own."""
        pids = tuple(worker.pid for worker in self.workers)
        return pids if all(pids) else ()


def exchange_folder(folder: str, attempt: int) -> str:
    """Where the exchange of an attempt lies."""
    return os.path.join(folder, f"attempt-{attempt:06d}")
