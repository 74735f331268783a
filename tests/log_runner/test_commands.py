"""What a job is told while it has no workers."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hornbeam.runners.log.commands import Commands
from hornbeam.runners.log.commit_note import CommitNote
from hornbeam.runners.log.committing import Committer
from hornbeam.runners.log.coordinator import Coordinator
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_record import JobRecord


def commands(path: Path) -> tuple[Commands, JobFolder]:
    folder = JobFolder(path, "j")
    folder.create()
    job: Any = SimpleNamespace(folder=folder, record=JobRecord(job_name="j"), state="RECOVERING")
    return Commands(job), folder


def test_a_drain_that_is_asked_for_between_two_attempts_is_not_lost(tmp_path: Path) -> None:
    """`result.drain()` waited for ever for a job that was going back to its checkpoint just then."""
    told, _ = commands(tmp_path)
    told.request("drain")
    assert told.rest(0.0) is None
    drained: list[bool] = []
    attempt: Any = SimpleNamespace(drain=lambda: drained.append(True))
    told.serve(attempt)
    assert drained == [True] and told.is_draining
    told.serve(attempt)
    assert drained == [True]


def test_an_end_that_is_asked_for_between_two_attempts_is_the_end(tmp_path: Path) -> None:
    told, _ = commands(tmp_path)
    told.request("drain")
    told.request("cancel")
    outcome = told.rest(0.0)
    assert outcome is not None and outcome.kind == "cancelled"


def test_an_end_is_not_forgotten_when_the_attempt_that_is_told_fails(tmp_path: Path) -> None:
    """Seen with a full disk: the attempt failed as it gave up its checkpoint, and the job was PAUSED for ever."""
    told, folder = commands(tmp_path)
    attempt: Any = SimpleNamespace(end=lambda outcome: None)
    folder.send("cancel")
    told.take(attempt)
    outcome = told.rest(1000.0)
    assert outcome is not None and outcome.kind == "cancelled"


def test_a_job_that_waits_for_a_sink_before_it_goes_on_can_be_cancelled(tmp_path: Path) -> None:
    """What a checkpoint has prepared is committed before anything runs, which may take as long as Kafka is away."""
    told, folder = commands(tmp_path)
    let_through = threading.Event()
    sink: Any = SimpleNamespace(commit=lambda token: let_through.wait())
    committer = Committer({"s": sink}, CommitNote(folder.commit_note, 1))
    committer.commit(1, Committer.encoded([("s", 1)]))
    said: list[tuple[str, str]] = []
    job: Any = SimpleNamespace(
        _committer=committer, _commands=told, state="STARTING", _say=lambda *each: said.append(each)
    )
    folder.send("cancel")
    outcome = Coordinator._wait_for_sinks(job)
    assert outcome is not None and outcome.kind == "cancelled"
    assert said[0] == ("STARTING", "waits for sinks to commit")
    let_through.set()
    committer.wait()
    assert Coordinator._wait_for_sinks(job) is None
