"""The coordinator of a job: attempt after attempt, each from the newest checkpoint, until the job has ended.

It holds the lock of the job's folder, opens the checkpoint store, writes job.json and status.json, and takes
commands. It runs no user code but that of sinks when they commit.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import deque
from typing import Any

import attrs

from hornbeam.error import RunnerError
from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.options.value_provider import RuntimeValueProvider
from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.log import states
from hornbeam.runners.log.attempt import (
    CANCELLED,
    DONE,
    INTERRUPTED,
    RESTART,
    STOPPED,
    Attempt,
    Outcome,
    exchange_folder,
)
from hornbeam.runners.log.commands import COMMANDS_SECONDS, Commands
from hornbeam.runners.log.committing import Committer
from hornbeam.runners.log.damage import damaged_state
from hornbeam.runners.log.environment import faults_of, is_disk_full, restart_after
from hornbeam.runners.log.exchange import remove_exchanges
from hornbeam.runners.log.failures import as_failure, message_of, told
from hornbeam.runners.log.first_splits import deal_splits
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_record import JobRecord
from hornbeam.runners.log.job_settings import JobSettings
from hornbeam.runners.log.messages import Begin
from hornbeam.runners.log.moving import Relabelling, move
from hornbeam.runners.log.origin import graph_name, origin_of
from hornbeam.runners.log.plans import plan_signature
from hornbeam.runners.log.poison import Poison
from hornbeam.runners.log.restarts import RestartStrategy
from hornbeam.runners.log.state_names import STORE_GROUPS
from hornbeam.runners.log.status_board import StatusBoard
from hornbeam.runners.processes.environment import Environment
from hornbeam.runners.processes.resident import anonymous_bytes
from hornbeam.storage.checkpoint import CheckpointStore, Manifest, StoreOptions
from hornbeam.storage.errors import CorruptionError, DiskFullError, StorageError
from hornbeam.storage.files import OS_FILES, Lock

_log = logging.getLogger(__name__)

_STATUS_SECONDS = 1.0
_OLD_WORKERS_SECONDS = 30.0
_DISK_FULL_SECONDS = 0.5
#: How long the end of a job waits for a commit that is under way.
_COMMIT_SECONDS = 2.0

#: What is noted of a file while it is written, and its key filter, are in memory.
_FILE_BYTES_MAX = 16 << 20
_WAITS_FOR_SINKS = "waits for sinks to commit"

_STATE_OF = {STOPPED: states.STOPPED, CANCELLED: states.CANCELLED, INTERRUPTED: states.INTERRUPTED}


class Coordinator:
    """Runs one job. `run` is called once; `cancel`, `drain` and the questions come from any thread."""

    def __init__(
        self,
        folder: JobFolder,
        lock: Lock,
        record: JobRecord,
        graph: Graph,
        settings: JobSettings,
        committer: Committer,
        relabelling: Relabelling,
    ) -> None:
        self.folder = folder
        self.record = record
        self.state = states.STARTING
        self._lock = lock
        self._graph = graph
        self.settings = settings
        self._relabelling = relabelling
        self._committer = committer
        self._spilled = folder.spilled(settings.temp_dir)
        self._attempt: Attempt | None = None
        self._commands = Commands(self)
        self._board = StatusBoard(folder)
        self._next_status = self._next_commands = 0.0
        self._metrics = MetricsRegistry()
        self._pauses_ms: deque[float] = deque(maxlen=1000)
        self._merge_error: StorageError | None = None
        #: The name under which the folder has the pipeline, for the metadata of its checkpoints.
        self._graph_name = ""
        self._drain_at: float | None = None

    # From other threads

    def metrics(self) -> MetricsRegistry:
        """The metrics of the job, as of the last message of each worker."""
        return self._metrics

    def pauses_ms(self) -> list[float]:
        """How long each worker stood still for each of the newest checkpoints."""
        return list(self._pauses_ms)

    def cpu_seconds(self) -> list[float]:
        """The processor's time of each worker of the last attempt, once it has ended well."""
        return [] if self._attempt is None else self._attempt.cpu_seconds()

    def restore_cpu_seconds(self) -> float:
        """The processor's time that the slowest worker of this attempt needed until it was at work."""
        return 0.0 if self._attempt is None else self._attempt.restore_cpu_seconds

    def is_processing(self, after_attempt: int) -> bool:
        """Whether all workers of a later attempt are restored and at work."""
        attempt = self._attempt
        return attempt is not None and attempt.number > after_attempt and attempt.are_ready()

    def request(self, name: str, value: Any = None) -> None:
        """Has the coordinator do something (`cancel`, `interrupt`, `drain`, `explain`) in its own thread, soon."""
        self._commands.request(name, value)

    # The run

    def announce(self) -> None:
        """Says in the status that this process has the job now."""
        self._say(states.STARTING)

    def run(self) -> str:
        """Runs the job until it ends; gives its state. Raises what made it fail."""
        try:
            OS_FILES.fault("coordinator.begin")
            try:
                outcome = self._with_room()
            except CorruptionError as error:
                if not error.path.startswith(self.folder.checkpoints):
                    raise  # the log of a source, say
                raise damaged_state(error, self.folder, getattr(self, "store", None)) from error
            self._end(outcome)
            return self.state
        except BaseException as error:
            failure = as_failure(error)
            if self.state not in states.ENDED:
                self._note_failure(failure)
            if failure is error:
                raise
            raise failure from error
        finally:
            self._committer.stop(_COMMIT_SECONDS)
            self._committer.release()
            if self._lock.is_in_place():
                self._remove_temporary_files()
            self._lock.release()

    def _with_room(self) -> Outcome:
        """Opens the store, as soon as the disk has room for that, and runs attempts."""
        while True:
            try:
                store = self._open_store()
            except (DiskFullError, OSError) as error:
                if (end := self._pause_for_room(error)) is not None:
                    return end
                continue
            with store as self.store:
                return self._attempts()

    def _open_store(self) -> CheckpointStore:
        return CheckpointStore(
            self.folder.checkpoints,
            StoreOptions(retain=self.settings.checkpoints_kept, file_bytes_max=_FILE_BYTES_MAX),
            key_groups=STORE_GROUPS,
            lock_timeout_s=10.0,
        )

    def _attempts(self) -> Outcome:
        self._wait_for_old_workers()
        restarts = RestartStrategy(self)
        while True:
            try:
                outcome = self._one_attempt()
            except (DiskFullError, OSError) as error:
                if (end := self._pause_for_room(error)) is not None:
                    return end
                continue
            if outcome.kind in (DONE, STOPPED, CANCELLED, INTERRUPTED):
                return outcome
            if self._commands.told is not None:
                return self._commands.told
            if outcome.kind == RESTART:
                self._board.restarts += 1
                continue
            self._board.last_failure = outcome.text()
            is_for_want_of_room = outcome.error is not None and is_disk_full(outcome.error)
            back_off = 0.0 if is_for_want_of_room else restarts.after(outcome)
            self._board.restarts += 1
            _log.warning(
                "Job %r goes back to its last checkpoint: %s", self.folder.job_name, self._board.last_failure
            )
            if is_for_want_of_room:
                assert outcome.error is not None
                if (end := self._pause_for_room(outcome.error)) is not None:
                    return end
                continue
            self._say(states.RECOVERING)
            if (end := self._commands.rest(back_off)) is not None:
                return end

    def _pause_for_room(self, error: BaseException) -> Outcome | None:
        """If the disk is full nothing is lost, and the job goes on when there is room, unless it is told to end."""
        if not is_disk_full(error):
            raise error
        self._say(states.PAUSED, f"the disk is full: {error}")
        return self._commands.rest(_DISK_FULL_SECONDS)

    def _wait_for_old_workers(self) -> None:
        """Workers of a coordinator that was killed end a moment after it; none of them may be left."""
        OS_FILES.lock(self._workers_lock(), timeout=_OLD_WORKERS_SECONDS).release()
        self._remove_temporary_files()

    def _remove_temporary_files(self) -> None:
        """What workers leave that were killed."""
        remove_exchanges(self.folder.exchange)
        shutil.rmtree(self._spilled, ignore_errors=True)

    def _workers_lock(self) -> str:
        return os.path.join(self.folder.path, "workers.lock")

    # An attempt

    def _one_attempt(self) -> Outcome:
        self._keep_graph()
        origin = self._origin()
        workers, graph, names, moves = self.settings.num_workers, self._graph, self._names(), False
        metadata = {"workers": workers, **names, "attempt": 0}
        if origin is None:
            self._committer.recover([])
            if workers > 1:
                RuntimeValueProvider.set_runtime_options(dict(self.settings.options))
                origin = deal_splits(self.store, graph, workers, {**metadata, "quiesced": True, "tokens": []})
        else:
            self._committer.turn_to(graph_name(origin) != self._graph_name)
            if (end := self._commit_again(origin)) is not None:
                return end
            moves = self._has_to_move(origin)
        if origin is not None and moves and origin.metadata["quiesced"]:
            origin, moves = self._move(origin), False
        elif origin is not None and moves:
            workers, (graph, names) = origin.metadata["workers"], self._old_pipeline(origin)
        self._committer.turn_to(moves)
        if not moves:
            self.folder.write_graph(graph)
        self.record = attrs.evolve(
            self.record, attempts=self.record.attempts + 1, num_workers=workers, state=states.RUNNING
        )
        self.folder.write_record(self.record)
        self._attempt = attempt = Attempt(
            [self._begin(number, workers, origin, graph, moves) for number in range(workers)],
            self.store,
            self._committer,
            self.settings.checkpoint_interval_ms / 1000,
            self.settings.worker_timeout_ms / 1000,
            self.settings.bundle_timeout_ms / 1000,
            {"workers": workers, **names, "attempt": self.record.attempts},
            self._tick,
            self._pauses_ms,
        )
        if moves:
            attempt.stop_for_moving()
        attempt.is_draining = self._commands.is_draining
        try:
            return attempt.run()
        finally:
            self._metrics = attempt.registry()
            self._commands.attempt_ended()
            self._remove_temporary_files()

    def _keep_graph(self) -> None:
        """Before there are checkpoints of the pipeline it is in the folder; those of no checkpoint any more go."""
        if not self._graph_name:
            self._graph_name = self.folder.keep_graph(self._graph)
            manifests = [*self.store.checkpoints(), *self.store.savepoints()]
            self.folder.forget_graphs({self._graph_name, *map(graph_name, manifests)})

    def _names(self) -> dict[str, Any]:
        """What checkpoints say of the pipeline."""
        return {"plan": plan_signature(self._graph), "graph": self._graph_name}

    def _origin(self) -> Manifest | None:
        """The checkpoint to begin from."""
        found = self.store.checkpoints()
        wanted = origin_of(self.record, found[-1] if found else None)
        if wanted is not None or found:
            with self.store.restore(wanted) as snapshot:
                return snapshot.manifest
        return None

    def _has_to_move(self, origin: Manifest) -> bool:
        """Whether the checkpoint is for other workers, or another pipeline."""
        metadata = origin.metadata
        return (
            metadata["workers"] != self.settings.num_workers
            or metadata["plan"] != plan_signature(self._graph)
            or not self._relabelling.is_nothing
        )

    def _old_pipeline(self, origin: Manifest) -> tuple[Graph, dict[str, Any]]:
        """The pipeline that the checkpoint is of, and its names: it runs once more, to let what is under way arrive."""
        if origin.metadata["plan"] == plan_signature(self._graph) and self._relabelling.is_nothing:
            return self._graph, self._names()
        name = graph_name(origin)
        return self.folder.graph(name), {"plan": origin.metadata["plan"], "graph": name}

    def _move(self, origin: Manifest) -> Manifest:
        OS_FILES.fault("coordinator.move")
        workers = self.settings.num_workers
        # Its tokens are committed, and name sinks of the old pipeline.
        metadata = {**origin.metadata, **self._names(), "workers": workers, "tokens": []}
        moved = move(self.store, origin, workers, self._graph, self._relabelling, metadata)
        OS_FILES.fault("coordinator.moved")
        self._relabelling = Relabelling()
        return moved

    def _commit_again(self, origin: Manifest) -> Outcome | None:
        """What sinks had prepared for that checkpoint, in case that it was not committed. A sink may take long over it: how
        the job is to end, if it is told to meanwhile."""
        OS_FILES.fault("coordinator.recover")
        if (end := self._wait_for_sinks()) is not None:
            return end
        self._committer.begin_again()
        self._committer.commit_again(origin.checkpoint, origin.metadata["tokens"])
        if (end := self._wait_for_sinks()) is not None:
            return end
        self._committer.check()
        OS_FILES.fault("coordinator.recommitted")
        self._committer.recover(self._committer.decoded(origin.metadata["tokens"]))
        OS_FILES.fault("coordinator.recovered")
        return None

    def _wait_for_sinks(self) -> Outcome | None:
        """Until nothing is being committed, or the job is told to end."""
        while not self._committer.is_idle(COMMANDS_SECONDS):
            self._say(self.state, _WAITS_FOR_SINKS)
            if (end := self._commands.rest(0.0)) is not None:
                return end
        return None

    def _begin(
        self, number: int, workers: int, origin: Manifest | None, graph: Graph, is_quiet: bool
    ) -> Begin:
        settings = self.settings
        return Begin(
            job_name=self.folder.job_name,
            graph=graph,
            worker=number,
            workers=workers,
            exchange=exchange_folder(self.folder.exchange, self.record.attempts),
            checkpoints=self.folder.checkpoints,
            workers_lock=self._workers_lock(),
            restore_from=None if origin is None else (origin.savepoint or origin.checkpoint),
            memory_bytes_max=settings.memory_bytes_max,
            coordinator_bytes=anonymous_bytes(),
            bundle_size=settings.bundle_size,
            idle_timeout_micros=settings.idle_timeout_micros,
            exchange_bytes_max=settings.exchange_bytes_max,
            options=settings.options,
            spilled=self._spilled,
            environment=Environment.here(),
            at_least_once=settings.at_least_once,
            poison=self._poison(),
            is_quiet=is_quiet,
            faults=faults_of(number, self.record.attempts),
            restart_after=restart_after(
                settings.inject_restarts, settings.inject_restarts_seed, number, self.record.attempts
            ),
        )

    def _poison(self) -> Poison | None:
        topic = self.settings.skip_poison_to
        return None if topic is None else Poison(self.record.poison, self.folder.log_dir, topic)

    # Many times a second

    def _tick(self, attempt: Attempt) -> None:
        if not self._lock.is_in_place():
            raise RunnerError(
                f"job {self.folder.job_name!r}: its folder {self.folder.path} was removed, moved or replaced while it ran"
            )
        now = time.monotonic()
        self._commands.serve(attempt)
        if now >= self._next_commands:
            self._next_commands = now + COMMANDS_SECONDS
            self._commands.take(attempt)
        self._drain_in_time(attempt, now)
        if attempt.has_published and (
            self.record.restore_from is not None or not self.record.has_checkpoints
        ):
            self.record = attrs.evolve(self.record, restore_from=None, has_checkpoints=True)
            self.folder.write_record(self.record)
        if now >= self._next_status:
            self._next_status = now + _STATUS_SECONDS
            self._metrics = attempt.registry()
            waits = _WAITS_FOR_SINKS if attempt.waits_for_sinks else ""
            self._say(self._state_of(attempt), waits)
            self._tell_of_merging()

    def _drain_in_time(self, attempt: Attempt, now: float) -> None:
        """Drains the job `--run_for_secs` after its workers were first at work."""
        if self._drain_at is None and self.settings.run_for_seconds is not None and attempt.are_ready():
            self._drain_at = now + self.settings.run_for_seconds
        if self._drain_at is not None and now >= self._drain_at and not self._commands.is_draining:
            self._commands.drain(attempt)

    def _state_of(self, attempt: Attempt) -> str:
        if attempt.paused or any(worker.paused for worker in attempt.workers):
            return states.PAUSED
        if attempt.is_draining:
            return states.DRAINING
        if self._commands.is_stopping:
            return states.STOPPING
        return states.RUNNING if all(worker.is_ready for worker in attempt.workers) else states.RECOVERING

    def _tell_of_merging(self) -> None:
        """The store keeps its files few by itself. Where it fails nothing is lost, and it tries again."""
        error = self.store.merge_error
        if error is not None and error is not self._merge_error:
            _log.warning("Merging state files of job %r failed: %s", self.folder.job_name, error)
        self._merge_error = error

    # Status and ends

    def _say(self, state: str, message: str = "") -> None:
        self.state = state
        self._board.write(state, self.record, self._attempt, message)

    def _end(self, outcome: Outcome) -> None:
        state = _STATE_OF.get(outcome.kind, states.DONE)
        if outcome.kind == DONE and self._commands.is_draining:
            state = states.DRAINED
        self.record = attrs.evolve(self.record, state=state, failure=None)
        if outcome.kind not in (
            CANCELLED,
            INTERRUPTED,
        ):  # all is committed: what is staged is not wanted any more
            self._committer.clear()
        OS_FILES.fault("coordinator.ending")
        self._write_record_somehow()  # last: a job that has ended is not started again, and what is left then stays
        OS_FILES.fault("coordinator.ended")
        self._say(state)
        self._commands.ended(state)

    def _note_failure(self, error: BaseException) -> None:
        self.state = states.FAILED
        if not self._lock.is_in_place():
            return  # what is in the folder now, if there is one, is somebody else's
        self.record = attrs.evolve(self.record, state=states.FAILED, failure=told(error))
        self._write_record_somehow(but_for=StorageError)  # what failed is what is to be told of
        self._say(states.FAILED, f"{type(error).__qualname__}: {message_of(error)}")
        self._commands.ended(states.FAILED)

    def _write_record_somehow(self, but_for: type[StorageError] = DiskFullError) -> None:
        try:
            self.folder.write_record(self.record)
        except but_for as error:
            _log.warning("The record of job %r cannot be written: %s", self.folder.job_name, error)

    def explain_from_elsewhere(self, step: str, timeout_seconds: float = 60.0) -> Explanation:
        """What holds time back, for a thread of the same process. TimeoutError if that takes too long."""
        found: list[Explanation] = []
        done = threading.Event()

        def take(explanation: Explanation) -> None:
            found.append(explanation)
            done.set()

        self.request("explain", (step, take))
        if not done.wait(timeout_seconds):
            raise TimeoutError(f"the workers have not answered for {timeout_seconds:.0f} s")
        return found[0]
