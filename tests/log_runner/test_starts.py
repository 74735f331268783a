"""What a start begins from: `--restore_from` is done once, `--fresh` each time; `--run_for_secs` ends a run."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from log_runner.running import DEADLINE_MS, Job, await_
from log_runner.staged_files import committed

from hornbeam.cli.main import main
from hornbeam.error import OptionError
from hornbeam.storage.checkpoint import StoreReader


@pytest.fixture
def saved(tmp_path: Path) -> Job:
    """A job that was stopped with the savepoint `half`."""
    job = Job("stateful", tmp_path, size=100)
    result = job.start("--num_workers=1")
    job.await_progress(60)
    job.folder.ask("stop", name="half")
    assert result.wait_until_finish(DEADLINE_MS) == "STOPPED"
    return job


def _seen(job: Job) -> Counter[Any]:
    return Counter((key, value) for key, (value, _) in committed(os.path.join(job.path, "seen")))


def test_the_same_command_goes_back_to_a_savepoint_once(saved: Job, caplog: pytest.LogCaptureFixture) -> None:
    """As a supervisor starts it again and again."""
    saved.finish("--num_workers=1")
    assert set(_seen(saved).values()) == {1}
    command = ("--num_workers=1", "--restore_from=half")
    result = saved.start(*command)  # although it is DONE: the savepoint is before the end
    saved.await_progress(310)
    assert saved.folder.ask("checkpoint")["checkpoint"]
    result.cancel()
    counts = _seen(saved)
    assert 2 in counts.values()
    assert "was done" not in caplog.text
    assert saved.run(*command) == "DONE"
    assert (
        "--restore_from=half was done at an earlier start, so the job goes on from its newest" in caplog.text
    )
    counts = _seen(saved)
    before = sum(1 for count in counts.values() if count == 1)
    assert before >= 60 and set(counts.values()) == {1, 2}  # nothing a third time
    caplog.clear()
    assert saved.run(*command) == "DONE"
    assert "has ended (DONE); nothing is to be done" in caplog.text
    assert _seen(saved) == counts
    assert saved.run(*command, "--restore_again") == "DONE"
    assert Counter(_seen(saved).values()) == {1: before, 3: 300 - before}


def test_a_restore_that_came_to_no_checkpoint_is_done_again(saved: Job) -> None:
    saved.finish("--num_workers=1")
    result = saved.start("--num_workers=1", "--restore_from=half", "--checkpoint_interval_ms=3600000")
    result.cancel()
    assert saved.folder.record().restore_from == "half"
    assert saved.run("--num_workers=1", "--restore_from=half") == "DONE"
    assert set(_seen(saved).values()) == {1, 2}


def test_a_checkpoint_that_is_not_there_is_refused_before_anything_is_touched(saved: Job) -> None:
    before = saved.folder.record()
    (newest,) = (m.checkpoint for m in StoreReader(saved.folder.checkpoints).checkpoints()[-1:])
    for wrong, what in (("whole", "savepoint 'whole'"), ("99999", "checkpoint 99999")):
        with pytest.raises(
            OptionError, match=rf"has no {what} .* savepoints: half; checkpoints: .*{newest}\."
        ):
            saved.start("--num_workers=1", f"--restore_from={wrong}")
    assert main(["job", "resume", saved.path, "stateful", "--from", "whole"]) == 1
    assert saved.folder.record() == before
    with pytest.raises(OptionError, match="Give one of them"):
        saved.start("--fresh", "--restore_from=half")
    saved.finish("--num_workers=1")


def test_there_is_nothing_to_restore_in_a_job_that_is_not_there(tmp_path: Path) -> None:
    job = Job("stateful", tmp_path)
    with pytest.raises(OptionError, match=r"there is no job 'stateful' in .* yet"):
        job.start("--restore_from=half")
    assert not job.folder.exists()


def test_fresh_says_what_it_forgets(saved: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        saved.start("--num_workers=1", "--fresh").cancel()
    assert "begins anew (--fresh): its checkpoints (3) are forgotten, and the savepoints half." in caplog.text
    assert not StoreReader(saved.folder.checkpoints).savepoints()


def test_run_for_secs_drains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("windowed", tmp_path)
    result = job.start("--num_workers=2", "--run_for_secs=3600")
    job.await_progress(20)
    await_(lambda: job.folder.state() == "RUNNING")
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 3600)
    assert result.wait_until_finish(DEADLINE_MS) == "DRAINED"
    seen = list(committed(os.path.join(job.path, "seen")))
    given = Counter(tag for _, values in committed(os.path.join(job.path, "result")) for _, tag in values)
    assert given and given == Counter(tag for _, (_, tag) in seen)
    assert job.start("--run_for_secs=3600").wait_until_finish(0) == "DRAINED"


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--skip_poison_to=a/b", "--skip_poison_to: 'a/b' cannot name a topic"),
        (
            "--map_transforms=Sums",
            "--map_transforms is OLD=NEW,OLD=NEW with full labels of steps; found 'Sums'",
        ),
    ],
)
def test_an_option_that_would_fail_later_is_refused_at_the_first_start(
    flag: str, told: str, tmp_path: Path
) -> None:
    job = Job("stateful", tmp_path, size=1)
    with pytest.raises(OptionError, match=told):
        job.start("--fresh", flag)
    assert not job.folder.exists()
