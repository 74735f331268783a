"""User code that does to its worker what it should not, and processes that stand still: no row is lost, and it is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_runner import campaign_answers, campaign_jobs
from log_runner.processes import is_alive
from log_runner.running import await_
from log_runner.staged_files import committed

import hornbeam as beam
from hornbeam.error import PipelineError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.failures import message_of
from hornbeam.runners.log.job_folder import JobFolder

SIZE = 60


def options(path: Path, *flags: str) -> PipelineOptions:
    given = ["--runner=LogRunner", "--job_name=j", f"--log_dir={path}", "--num_workers=1", "--bundle_size=1"]
    return PipelineOptions([*given, "--checkpoint_interval_ms=40", *flags])


class Forks(beam.DoFn):
    """Leaves a child behind and dies, once; then has a child come back from it."""

    def __init__(self, child: str) -> None:
        self.child = child

    def process(self, number: int) -> Iterator[int]:
        if number == 3 and not os.path.exists(self.child):
            pid = os.fork()
            if pid == 0:
                time.sleep(1000)
            Path(self.child).write_text(str(pid))
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 6:
            os.fork()
        yield number


def test_children_of_user_code_are_no_workers_and_end_with_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen: with one that lived on, its worker's death was seen a minute later; of one that came back, rows were lost."""
    child = tmp_path / "child"
    with beam.Pipeline(options=options(tmp_path)) as p:
        numbers = p | beam.Create(range(20)) | beam.ParDo(Forks(str(child)))
        numbers | "write" >> beam.ParDo(campaign_jobs.WriteStaged(str(tmp_path / "out")))
    assert sorted(committed(str(tmp_path / "out"))) == list(range(20))
    assert "has died: it was killed by signal 9, SIGKILL" in caplog.text
    await_(lambda: not is_alive(int(child.read_text())))


def test_user_code_that_calls_exit_fails_the_job(tmp_path: Path) -> None:
    """Seen: the program ended with status 0."""
    pipeline = beam.Pipeline(options=options(tmp_path, "--failures_max=1"))
    pipeline | beam.Create([1]) | "exit" >> beam.Map(lambda _: exit(0))
    with pytest.raises(PipelineError, match=r"user code called sys.exit\(0\)") as raised:
        pipeline.run()
    assert "step 'exit' on element 1" in raised.value.__notes__[0]
    assert JobFolder(tmp_path, "j").record().failure["type"] == "PipelineError"


def test_an_exception_without_a_text_has_a_message() -> None:
    class NoText(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert message_of(NoText()).endswith("NoText whose str fails>")
    assert len(message_of(ValueError("x" * 1_000_000))) < 11_000


def test_a_copy_that_hangs_costs_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen: the job read on for ever, and took no checkpoint any more."""
    monkeypatch.setenv("HORNBEAM_FORK_ENTRIES_MIN", "1")
    monkeypatch.setenv("HORNBEAM_WORKER_FAULTS", "0@1=copy.begin:1:stop")
    pipeline = beam.Pipeline(options=options(tmp_path, "--bundle_timeout_ms=1000"))
    campaign_jobs.build("stateful", pipeline, str(tmp_path / "out"), SIZE, 0.0)
    assert pipeline.run().wait_until_finish(180_000) == "DONE"
    campaign_answers.check("stateful", str(tmp_path / "out"), SIZE)
    assert "has not written its part of checkpoint" in caplog.text
