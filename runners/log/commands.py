"""What a job is told while it runs, by its folder or by its own process, and what comes of it."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.log.attempt import CANCELLED, INTERRUPTED, STOPPED, Attempt, Outcome
from hornbeam.runners.log.job_folder import Command
from hornbeam.storage.checkpoint import Manifest
from hornbeam.storage.checkpoint.manifest import check_savepoint_name
from hornbeam.storage.errors import StorageError
from hornbeam.storage.files import OS_FILES

if TYPE_CHECKING:
    from hornbeam.runners.log.coordinator import Coordinator


#: Requests at which the job ends at once.
_END_OF = {"cancel": CANCELLED, "interrupt": INTERRUPTED}
#: How often a look is taken for commands in the job's folder.
COMMANDS_SECONDS = 0.1


class Commands:
    """Carries commands out. Used by the coordinator's thread, but for `request`."""

    def __init__(self, job: Coordinator) -> None:
        self._job = job
        self.is_draining = job.record.is_draining
        self.is_stopping = False
        #: How the job was told to end, whatever the attempt that was told comes to: it may fail meanwhile.
        self.told: Outcome | None = None
        #: Commands that wait for an end of the job.
        self._waiting: list[Command] = []
        #: Commands that an attempt has begun and not ended.
        self._begun: list[Command] = []
        self._mutex = threading.Lock()
        self._requests: list[tuple[str, Any]] = []
        self._has_come = threading.Event()

    def request(self, name: str, value: Any = None) -> None:
        """From any thread of this process: `cancel`, `interrupt`, `drain`, `explain`."""
        with self._mutex:
            self._requests.append((name, value))
        self._has_come.set()

    def serve(self, attempt: Attempt) -> None:
        """Does what threads of this process have asked for."""
        for name, value in self._take_requests():
            self._requested(attempt, name, value)

    def _take_requests(self) -> list[tuple[str, Any]]:
        with self._mutex:
            requests, self._requests = self._requests, []
        return requests

    def rest(self, seconds: float) -> Outcome | None:
        """Between two attempts: returns when time is up, or, with how the job is to end, when it is told to.

        What else this process asks for is left to the next attempt; commands of others are refused.
        """
        deadline = time.monotonic() + seconds
        while self.told is None:
            requests = self._take_requests()
            ends = [_END_OF[name] for name, _ in requests if name in _END_OF]
            with self._mutex:
                self._requests[:0] = [each for each in requests if each[0] not in _END_OF]
            for command in self._job.folder.take_commands():
                if command.name == "cancel":
                    self._waiting.append(command)
                    ends.append(CANCELLED)
                else:
                    text = f"the job is {self._job.state} and can only be cancelled; ask again when it runs"
                    self._job.folder.reply(command, error=text)
            left = deadline - time.monotonic()
            if ends:
                self.told = Outcome(ends[0])
            elif left <= 0:
                break
            else:
                self._has_come.wait(min(left, COMMANDS_SECONDS))
                self._has_come.clear()
        return self.told

    def take(self, attempt: Attempt) -> None:
        """Begins what has come since the last call."""
        for command in self._job.folder.take_commands():
            self._begin(attempt, command)

    def _begin(self, attempt: Attempt, command: Command) -> None:
        if command.name == "cancel":
            self._waiting.append(command)
            self._end(attempt, CANCELLED)
        elif command.name == "drain":
            self._waiting.append(command)
            self.drain(attempt)
        elif command.name == "explain":
            step = str(command.arguments.get("step", ""))
            self._begun.append(command)
            attempt.explain(lambda found: self._explained(command, found), step, self._job.state)
        elif command.name == "checkpoint":
            self._begun.append(command)
            attempt.want_checkpoint(lambda manifest: self._reply(command, checkpoint=manifest.checkpoint))
        elif command.name in ("savepoint", "stop"):
            self._savepoint(attempt, command)
        else:
            self._job.folder.reply(command, error=f"a job does not know the command {command.name!r}")

    def _requested(self, attempt: Attempt, name: str, value: Any) -> None:
        if name in _END_OF:
            self._end(attempt, _END_OF[name])
        elif name == "drain":
            self.drain(attempt)
        elif name == "explain":
            step, then = value
            attempt.explain(then, step, self._job.state)

    def _end(self, attempt: Attempt, kind: str) -> None:
        self.told = self.told or Outcome(kind)
        attempt.end(self.told)

    def drain(self, attempt: Attempt) -> None:
        """Sources give nothing new from now on, nor after a restart: checkpoints hold sources that have ended by it."""
        if not self.is_draining:
            self.is_draining = True
            self._job.record = attrs.evolve(self._job.record, is_draining=True)
            self._job.folder.write_record(self._job.record)
        attempt.drain()

    def _explained(self, command: Command, found: Explanation) -> None:
        try:
            self._reply(command, text=str(found), causes=[str(cause) for cause in found.causes])
        except KeyError as error:
            self._reply(command, error=str(error.args[0]))

    def _reply(self, command: Command, **answer: Any) -> None:
        """Answers what an attempt has begun."""
        self._begun.remove(command)
        self._job.folder.reply(command, **answer)

    def _savepoint(self, attempt: Attempt, command: Command) -> None:
        """Lets everything that is under way arrive first, so that any number of workers can begin from it."""
        reason = self._why_not(command.arguments.get("name"))
        if reason:
            self._job.folder.reply(command, error=reason)
            return
        stops = command.name == "stop"
        self.is_stopping = self.is_stopping or stops
        self._begun.append(command)
        attempt.quiesce(
            lambda: attempt.want_checkpoint(
                lambda manifest: self._saved(attempt, command, manifest, stops),
                is_quiesced=True,
                freeze=stops,
            )
        )

    def _why_not(self, name: str | None) -> str:
        """Why a savepoint cannot have that name; nothing if it can."""
        if name is None:
            return ""
        if not isinstance(name, str) or name.isdigit():
            return f"{name!r} cannot name a savepoint: numbers are those of checkpoints"
        try:
            check_savepoint_name(name)
        except ValueError as error:
            return str(error)
        taken = any(manifest.savepoint == name for manifest in self._job.store.savepoints())
        return f"there is a savepoint {name!r} already; take another name" if taken else ""

    def _saved(self, attempt: Attempt, command: Command, manifest: Manifest, stops: bool) -> None:
        name = command.arguments.get("name") or self._free_name()
        reason = self._why_not(name)  # it may have been taken meanwhile
        OS_FILES.fault("coordinator.savepoint")
        try:
            if not reason:
                # What its sinks prepared is committed by now, and may have been taken away when somebody goes back to it.
                self._job.store.savepoint(name, metadata={**manifest.metadata, "tokens": []})
        except StorageError as error:
            reason = str(error)
        if not reason:
            OS_FILES.fault("coordinator.savepointed")
            self._reply(command, savepoint=name, checkpoint=manifest.checkpoint)
        elif stops:
            stopped = f"the job has stopped with checkpoint {manifest.checkpoint}, without a savepoint"
            self._reply(command, error=f"{reason}; {stopped}")
        else:
            self._reply(command, error=reason)
        if stops:
            attempt.end(Outcome(STOPPED))
        else:
            attempt.go_on()

    def _free_name(self) -> str:
        """A name that says when the savepoint was taken."""
        name = time.strftime("savepoint-%Y%m%d-%H%M%S")
        names = {manifest.savepoint for manifest in self._job.store.savepoints()}
        return next(
            each
            for count in itertools.count(1)
            if (each := f"{name}-{count}" if count > 1 else name) not in names
        )

    def attempt_ended(self) -> None:
        """What was begun comes to nothing."""
        for command in self._begun:
            self._job.folder.reply(
                command, error="the job has ended, or gone back to its last checkpoint, meanwhile; ask again"
            )
        self._begun.clear()
        self.is_stopping = False

    def ended(self, state: str) -> None:
        """The job has come to its end."""
        for command in self._waiting:
            self._job.folder.reply(command, state=state)
        self._waiting.clear()
