"""A job's folder: what the job is, how it does, what it is told to do, and the lock that lets one process run it.

    <log_dir>/jobs/<job_name>/
        lock              held (flock) by the coordinator as long as it lives
        job.json          what the job was started with, and how it ended (a JobRecord); replaced atomically, synced
        graph.json        the pipeline that runs, as a graph (`hornbeam.graph.serialize`)
        graphs/           <name>.json, the pipelines that checkpoints and savepoints are of, which say the name
        status.json       the live status, replaced about once a second, not synced (a JobStatus)
        committed.json    what sinks have committed lately (`commit_note`)
        commands/         <id>.json written by anybody, taken away by the coordinator
        answers/          <id>.json, what a command came to; taken away by who asked
        checkpoints/      a checkpoint store, with the savepoints
        exchange/         logs of the exchanges between workers, one folder for each attempt; worth nothing after it
        spilled/          what did not fit in workers' memory (unless --temp_dir is given); worth nothing after an attempt
        sinks/            what sinks keep until it is committed elsewhere (`hornbeam.io.step_identity.job_sinks_folder`)

Anybody may read; only who holds the lock writes, but for commands. A job whose lock is free is not running, whatever
status.json says: `JobFolder.state` puts the two together.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Container, Iterator, Mapping
from typing import Any

import attrs

from hornbeam.error import DataError, RunnerError
from hornbeam.graph import serialize
from hornbeam.graph.model import Graph
from hornbeam.runners.log.environment import is_disk_full
from hornbeam.runners.log.job_record import FORMAT, JobRecord
from hornbeam.runners.log.job_status import JobStatus, status_of
from hornbeam.runners.log.states import ENDED, KILLED, STARTING
from hornbeam.storage.errors import LockTimeoutError, MissingFileError, StorageError
from hornbeam.storage.files import OS_FILES, Lock

_log = logging.getLogger(__name__)

#: What a job can be told, with its arguments.
#: savepoint {name}: answer {"savepoint", "checkpoint"} · stop {name}: a savepoint, then STOPPED; same answer
#: drain {} · cancel {}: answer {"state"} · explain {step}: answer {"text"} · checkpoint {}: answer {"checkpoint"}
COMMANDS = ("savepoint", "stop", "drain", "cancel", "explain", "checkpoint")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: What files take a multiple of, and what a status may need more the next time.
_BLOCK_BYTES, _SLACK_BYTES = 4096, 1024
_POLL_SECONDS = 0.05
_ASK_SECONDS = 60.0


class NotRunningError(RunnerError):
    """The job that was told something does not run, or not any more."""


class DamagedRecordError(DataError):
    """A job.json that is not what was written, or of another version."""


@attrs.frozen
class Command:
    """Something that the job was told."""

    id: str
    name: str
    arguments: Mapping[str, Any]


class JobFolder:
    """The folder of one job. Making the object touches nothing; `create` makes the folder."""

    def __init__(self, log_dir: str | os.PathLike[str], job_name: str) -> None:
        if not _NAME.fullmatch(job_name):
            raise RunnerError(
                f"job name {job_name!r}: use up to 100 letters, digits, '.', '_', '-', beginning with a letter or digit"
            )
        self.log_dir = os.path.abspath(os.fspath(log_dir))
        self.job_name = job_name
        self.path = os.path.join(self.log_dir, "jobs", job_name)
        self.checkpoints = os.path.join(self.path, "checkpoints")
        self.exchange = os.path.join(self.path, "exchange")
        self.commit_note = os.path.join(self.path, "committed.json")
        self._commands = os.path.join(self.path, "commands")
        self._answers = os.path.join(self.path, "answers")

    def exists(self) -> bool:
        """Whether there is such a job."""
        return os.path.exists(self._in("job.json"))

    def create(self) -> None:
        """Makes the folder, if it is not there."""
        if not os.path.isdir(self.path):
            OS_FILES.mkdir(self.path)
        for folder in (self._commands, self._answers, self.checkpoints, self.exchange):
            os.makedirs(folder, exist_ok=True)  # what must survive syncs its own folder

    def spilled(self, temp_dir: str | None) -> str:
        """The folder of the workers' temporary files: the same at each start, so that what was left is found."""
        if temp_dir is None:
            return os.path.join(self.path, "spilled")
        place = hashlib.sha256(self.path.encode()).hexdigest()[:8]
        return os.path.join(os.path.abspath(temp_dir), f"hornbeam-{self.job_name}-{place}")

    def _in(self, name: str) -> str:
        return os.path.join(self.path, name)

    # The lock

    def lock(self, timeout_seconds: float = 0.5) -> Lock:
        """Makes this process the one that runs the job; RunnerError, with who does, if another one does."""
        self.create()
        try:
            return OS_FILES.lock(self._in("lock"), timeout=timeout_seconds)
        except LockTimeoutError:
            status = self.status()
            pid = "" if status is None else f" (process {status.pid}, {status.state})"
            raise RunnerError(
                f"job {self.job_name!r} in {self.log_dir} is running already{pid}. "
                "Stop it first (hornbeam job stop), or give this one another --job_name."
            ) from None

    def is_running(self) -> bool:
        """Whether a process runs the job now."""
        if not os.path.exists(self._in("lock")):
            return False
        try:
            OS_FILES.lock(self._in("lock"), exclusive=False, timeout=0).release()
        except LockTimeoutError:
            return True
        except StorageError:  # somebody else's, who lets us look: to read is enough to ask
            return _is_locked(self._in("lock"))
        return False

    # What it is

    def record(self) -> JobRecord:
        """What the job is. RunnerError if there is no such job, DamagedRecordError if the file is not what was written."""
        path = self._in("job.json")
        try:
            fields = json.loads(OS_FILES.read_bytes(path))
            version = fields.pop("format", None)
            if version == FORMAT:
                return JobRecord(**fields)
        except MissingFileError:
            raise RunnerError(f"there is no job {self.job_name!r} in {self.log_dir}") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedRecordError(
                f"{path} is not what was written: {error}. The job's checkpoints are beside it: move the file away, and the "
                "same command goes on from the newest one; --fresh starts over."
            ) from error
        raise DamagedRecordError(
            f"{path} has format {version!r}; this hornbeam reads {FORMAT}: go on with the version that made the job, or "
            "start over with --fresh"
        )

    def write_record(self, record: JobRecord) -> None:
        """Durable on return. For who holds the lock."""
        fields = {"format": FORMAT, **attrs.asdict(record)}
        OS_FILES.write_atomic(self._in("job.json"), json.dumps(fields, indent=1, default=str).encode())

    def graph(self, name: str | None = None) -> Graph:
        """The graph that the job runs, or one that was kept for checkpoints."""
        return serialize.load(self._in("graph.json") if name is None else self._kept(name))

    def keep_graph(self, graph: Graph) -> str:
        """Keeps a graph for the checkpoints that will be of it; its name. Durable on return. For who holds the lock."""
        data = serialize.to_json(graph).encode()
        name = hashlib.sha256(data).hexdigest()[:16]
        if not OS_FILES.exists(self._kept(name)):
            OS_FILES.mkdir(self._in("graphs"))
            OS_FILES.write_atomic(self._kept(name), data)
        return name

    def forget_graphs(self, kept: Container[str | None]) -> None:
        """Removes all graphs but those with these names. For who holds the lock."""
        for entry in os.listdir(self._in("graphs")):
            if entry.partition(".")[0] not in kept:
                OS_FILES.unlink(os.path.join(self._in("graphs"), entry))

    def _kept(self, name: str) -> str:
        return os.path.join(self._in("graphs"), f"{name}.json")

    def write_graph(self, graph: Graph) -> None:
        """Durable on return. For who holds the lock."""
        OS_FILES.write_atomic(self._in("graph.json"), serialize.to_json(graph).encode())

    # How it does

    def status(self) -> JobStatus | None:
        """What the coordinator last said; None before it said anything, and for a damaged file: it is for show.

        See `state` for whether the coordinator still lives.
        """
        try:
            return status_of(json.loads(OS_FILES.read_bytes(self._in("status.json"))))
        except (MissingFileError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write_status(self, status: JobStatus) -> None:
        """Replaces the status atomically, without syncing: after a crash of the machine it is worth nothing anyway.

        When the disk is full, which is what it may have to say, it is written over the one before. OSError if there is none.
        """
        data = json.dumps(attrs.asdict(status), default=str).encode()
        data = data.ljust((len(data) + _SLACK_BYTES) // _BLOCK_BYTES * _BLOCK_BYTES + _BLOCK_BYTES)
        temporary = self._in("status.json.new")
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.replace(temporary, self._in("status.json"))
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            if not is_disk_full(error):
                raise
            with open(self._in("status.json"), "r+b") as file:
                file.write(data.ljust(os.fstat(file.fileno()).st_size))

    def state(self) -> str:
        """The job's state now: what was said last, or KILLED if nobody runs it and it had not ended."""
        while True:
            is_running = self.is_running()  # first: a job that ends tells how before it lets go of its lock
            record, status = self.record(), self.status()
            if is_running:
                return STARTING if status is None else status.state
            if record.state in ENDED:
                return record.state
            # There may have been no room for the record at the end, but for the status.
            if status is not None and status.attempt == record.attempts and status.state in ENDED:
                return status.state
            if not self.is_running():  # else it was started meanwhile
                return KILLED

    # What it is told

    def send(self, command: str, /, **arguments: Any) -> str:
        """Tells the job something; the id of the command, for `answer`."""
        if command not in COMMANDS:
            raise RunnerError(f"a job does not know the command {command!r}; it knows {', '.join(COMMANDS)}")
        id_ = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        stem = os.path.join(self._commands, id_)
        os.makedirs(self._commands, exist_ok=True)
        try:
            _replace(stem, {"command": command, "arguments": arguments})
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{stem}.tmp")
            if not is_disk_full(error) or any(arguments.values()):
                raise
            with open(f"{stem}.{command}", "x"):
                pass  # a name takes no room
        return id_

    def answer(self, id_: str, timeout_seconds: float = _ASK_SECONDS) -> Mapping[str, Any]:
        """What a command came to. RunnerError if it failed, the job has gone, or nobody answers in time."""
        path = os.path.join(self._answers, f"{id_}.json")
        deadline = time.monotonic() + timeout_seconds
        while True:
            running = self.is_running()
            if os.path.exists(path):
                answer: dict[str, Any] = json.loads(OS_FILES.read_bytes(path))
                os.unlink(path)
                if "error" in answer:
                    raise RunnerError(answer["error"])
                return answer
            if not running or time.monotonic() >= deadline:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._commands, f"{id_}.json"))
                if not running:
                    raise NotRunningError(f"job {self.job_name!r} is not running; it is {self.state()}")
                raise RunnerError(f"job {self.job_name!r} has not answered for {timeout_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def ask(
        self, command: str, /, timeout_seconds: float = _ASK_SECONDS, **arguments: Any
    ) -> Mapping[str, Any]:
        """Tells the job something and waits for what it comes to."""
        if not self.is_running():
            raise NotRunningError(f"job {self.job_name!r} is not running; it is {self.state()}")
        id_ = self.send(command, **arguments)
        try:
            return self.answer(id_, timeout_seconds)
        except NotRunningError:
            if command != "cancel":
                raise
            return {"state": self.state()}  # there was no room for an answer

    def take_commands(self) -> list[Command]:
        """The commands that came, oldest first; each is given out once. For who holds the lock."""
        found = []
        for folder in (self._commands, self._answers):
            os.makedirs(folder, exist_ok=True)  # somebody may have tidied up
        for name in sorted(os.listdir(self._commands)):
            id_, _, kind = name.partition(".")
            path = os.path.join(self._commands, name)
            if kind in COMMANDS:
                os.unlink(path)
                found.append(Command(id_, kind, {}))
            if kind != "json":
                continue
            try:
                fields = json.loads(OS_FILES.read_bytes(path))
                os.unlink(path)
            except (MissingFileError, FileNotFoundError):
                continue  # its sender has given up
            except ValueError:
                os.unlink(path)
                continue
            if not isinstance(fields, dict) or not isinstance(fields.get("arguments"), dict):
                continue  # not of our making
            found.append(Command(id_, str(fields.get("command")), fields["arguments"]))
        return found

    def reply(self, command: Command, /, **answer: Any) -> None:
        """Answers a command; `error="…"` says that it failed. For who holds the lock. Without room nothing is answered."""
        try:
            _replace(os.path.join(self._answers, command.id), answer)
        except OSError as error:
            _log.warning("Job %r cannot answer %r: %s", self.job_name, command.name, error)

    def clear_commands(self) -> None:
        """Takes away what was left over from an earlier run. For who holds the lock."""
        for folder in (self._commands, self._answers):
            for name in os.listdir(folder):
                with contextlib.suppress(FileNotFoundError):  # its sender has given up just now
                    os.unlink(os.path.join(folder, name))

    # Its end

    def delete(self) -> None:
        """Removes the job with its checkpoints and savepoints. RunnerError while it runs."""
        folder = os.path.dirname(self.path)
        gone = f".{self.job_name}.deleted-"
        with self.lock():
            # First under a name that is no job's: one of its name that is made meanwhile has a folder of its own.
            os.rename(self.path, os.path.join(folder, f"{gone}{uuid.uuid4().hex}"))
            for name in os.listdir(folder):
                if name.startswith(gone):  # also what earlier deletions have left that broke off
                    shutil.rmtree(os.path.join(folder, name))

    def lost_its_record(self) -> bool:
        """Whether there are checkpoints without a job.json: it was lost, or moved away because it was damaged."""
        return (
            not self.exists()
            and os.path.exists(self._in("graph.json"))
            and os.path.isdir(os.path.join(self.checkpoints, "manifests"))
        )

    def remove_state(self) -> None:
        """Forgets all checkpoints and savepoints, to start over. For who holds the lock."""
        for folder in (self.checkpoints, self._in("graphs"), self.exchange):
            if os.path.exists(folder):
                shutil.rmtree(folder)  # what cannot be removed is an error: the job would go on from it
        self.create()


def jobs_in(log_dir: str | os.PathLike[str]) -> Iterator[JobFolder]:
    """The jobs of a log directory, by name."""
    folder = os.path.join(os.fspath(log_dir), "jobs")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if _NAME.fullmatch(name) and (job := JobFolder(log_dir, name)).exists():
            yield job


def _is_locked(path: str) -> bool:
    """Whether somebody holds the lock of a file that may be read only."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _replace(stem: str, fields: Mapping[str, Any]) -> None:
    """Puts JSON under `stem`.json in one step."""
    with open(f"{stem}.tmp", "w", encoding="utf-8") as file:
        json.dump(fields, file, default=str)
    os.replace(f"{stem}.tmp", f"{stem}.json")
