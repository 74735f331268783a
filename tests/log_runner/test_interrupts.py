"""Ctrl-C, SIGTERM, and a program that ends while its job runs: what is said, the exit status, and what is left."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from log_runner import campaign_jobs
from log_runner.processes import is_alive
from log_runner.running import DEADLINE_MS, DEADLINE_SECONDS, Job, await_, hold, let_go

from hornbeam.error import RunnerError
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_status import JobStatus, StepStatus
from hornbeam.storage import files

SIZE = 120
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(campaign_jobs.__file__)))

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs the tests may ignore Ctrl-C
sys.path.insert(0, {path!r})
from log_runner import campaign_jobs
{body}
"""


def start(folder: Path, body: str) -> subprocess.Popen[str]:
    """A program that runs the job `stateful`, which does not come to its end while it is held."""
    hold(folder, SIZE - 1)
    code = PROGRAM.format(path=TESTS, body=body.format(folder=str(folder), size=SIZE))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)


RUNS = 'campaign_jobs.main(["stateful", "{folder}", "{size}", "0.005", "--num_workers=2", "--checkpoint_interval_ms=40"])'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job_in_order_and_it_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "stateful")
    process = start(tmp_path, RUNS)
    wait_for(lambda: (status := folder.status()) is not None and status.checkpoint is not None, process)
    status = folder.status()
    assert status is not None
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == (-signal.SIGINT if number == signal.SIGINT else 128 + number)
    by = "Ctrl-C" if number == signal.SIGINT else "a signal"
    assert errors.splitlines()[-2:] == [
        f"Job 'stateful' was ended by {by}; what was committed stays, and the rest is done again when it goes on.",
        f"Start the same command again, or: hornbeam job resume {tmp_path} stateful",
    ]
    assert "Traceback" not in errors
    assert not any(map(is_alive, status.workers))
    assert (folder.state(), folder.status().state) == ("INTERRUPTED", "INTERRUPTED")
    Job("stateful", tmp_path, SIZE).finish("--num_workers=2")


def test_a_program_that_does_not_wait_says_what_becomes_of_its_job(tmp_path: Path) -> None:
    body = """
import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
options = ["--runner=LogRunner", "--job_name=stateful", "--log_dir={folder}", "--num_workers=1"]
p = beam.Pipeline(options=PipelineOptions(options))
campaign_jobs.build("stateful", p, "{folder}", {size}, 0.005)
result = p.run()
"""
    process = start(tmp_path, body)
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    assert errors.startswith("Job 'stateful' was ended by the end of its program;")
    assert JobFolder(tmp_path, "stateful").state() == "INTERRUPTED"


def test_a_program_with_a_handler_of_its_own_keeps_it(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: print('mine', flush=True))\n" + RUNS
    process = start(tmp_path, body)
    folder = JobFolder(tmp_path, "stateful")
    wait_for(lambda: (status := folder.status()) is not None and status.checkpoint is not None, process)
    process.send_signal(signal.SIGTERM)
    let_go(tmp_path)
    assert process.communicate(timeout=DEADLINE_SECONDS) == ("mine\n", "")
    campaign_jobs.check("stateful", str(tmp_path), SIZE)


_PLACES = {
    "store": "files.mkdir:3+:enospc",
    "attempt": "files.write:3+:enospc",
    "publish": "files.write:12+:enospc",
}


@pytest.mark.parametrize("place", _PLACES)
def test_a_job_that_waits_for_room_on_the_disk_can_be_cancelled(place: str, tmp_path: Path) -> None:
    """Before its store can be made, between attempts, and where a checkpoint cannot be published."""
    job = Job("stateful", tmp_path)
    files.arm(_PLACES[place])
    try:
        result = job.start("--num_workers=1")
        await_(lambda: job.folder.state() == "PAUSED")
        assert "the disk is full" in job.folder.status().message
        with contextlib.suppress(RunnerError):  # refused between attempts; else it waits as all does
            job.folder.ask("savepoint", timeout_seconds=0.2)
        assert job.folder.ask("cancel")["state"] == "CANCELLED"
        assert result.wait_until_finish(DEADLINE_MS) == "CANCELLED"
    finally:
        files.arm(None)


def test_a_job_can_be_cancelled_when_there_is_no_room_for_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for an answer, nor for its record: the status is all that is left, and what files are called."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    job = Job("stateful", tmp_path)
    result = job.start("--num_workers=1")
    job.await_progress()
    monkeypatch.setattr("hornbeam.runners.log.job_folder._replace", full)
    with pytest.raises(OSError, match="No space left"):
        job.folder.ask("savepoint", name="s")
    files.arm("files.create:1+:enospc,files.write:1+:enospc")
    try:
        assert job.folder.ask("cancel") == {"state": "CANCELLED"}
        assert result.wait_until_finish(DEADLINE_MS) == "CANCELLED"
    finally:
        files.arm(None)
    assert job.folder.record().state == "RUNNING"
    assert job.folder.state() == "CANCELLED"
    assert not os.listdir(os.path.join(job.folder.path, "commands"))


def test_the_status_can_be_told_when_the_disk_is_full(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "full")
    folder.create()
    os.symlink("/dev/full", tmp_path / "jobs/full/status.json.new")
    with pytest.raises(OSError):
        folder.write_status(JobStatus(job_name="full", state="PAUSED"))
    folder.write_status(
        JobStatus(job_name="full", state="RUNNING", message="much longer than the one behind it")
    )
    size = os.path.getsize(tmp_path / "jobs/full/status.json")
    told = JobStatus(job_name="full", state="PAUSED", message="x" * 500, steps=(StepStatus(label="a"),))
    os.symlink("/dev/full", tmp_path / "jobs/full/status.json.new")
    folder.write_status(told)
    assert folder.status() == told
    assert os.path.getsize(tmp_path / "jobs/full/status.json") == size, "no more room is needed"
