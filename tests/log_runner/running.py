"""A campaign job that a test runs in its own process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from log_runner import campaign_jobs
from log_runner.staged_files import CommittedCount

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder

#: How long anything may take before the test says that it does not come: far more than it takes on any machine.
DEADLINE_SECONDS = 180.0
DEADLINE_MS = 180_000


class Job:
    """A campaign job in this process; its workers are processes of their own."""

    def __init__(self, name: str, path: Path, size: int = 150, pause: float = 0.002) -> None:
        self.name, self.path, self.size, self.pause = name, str(path), size, pause
        self.folder = JobFolder(self.path, name)

    def start(self, *flags: str, hold_at: int | None = None) -> Any:
        """Starts the job, which does not end before `let_go`.

        It reads up to the offset `hold_at` of each partition: all but its last record if nothing else is said.
        """
        self.hold(self.size - 1 if hold_at is None else hold_at)
        return self._start(*flags)

    def run(self, *flags: str) -> str:
        """Runs the job as far as it goes; its state then."""
        self.let_go()
        return str(self._start(*flags).wait_until_finish(DEADLINE_MS))

    def hold(self, offset: int) -> None:
        """Lets the job read up to there."""
        hold(self.path, offset)

    def let_go(self) -> None:
        """Lets the job read to the end."""
        let_go(self.path)

    def end(self, result: Any) -> None:
        """Lets a job that was started come to its end, and checks all that it ever committed."""
        self.let_go()
        assert result.wait_until_finish(DEADLINE_MS) == "DONE"
        campaign_jobs.check(self.name, self.path, self.size)

    def finish(self, *flags: str) -> None:
        """Runs it to its end, perhaps with other workers than before, and checks all that it ever committed."""
        assert self.run(*flags) == "DONE"
        campaign_jobs.check(self.name, self.path, self.size, moved=True)

    def await_progress(self, rows: int = 1) -> None:
        """Waits until so many rows are committed."""
        count = CommittedCount(os.path.join(self.path, "seen"))
        await_(lambda: count() >= rows)

    def workers(self) -> tuple[int, ...]:
        """The process ids of its workers, when those of this attempt are known."""
        return workers_of(self.folder)

    def _start(self, *flags: str) -> Any:
        options = [
            "--runner=LogRunner", f"--job_name={self.name}", f"--log_dir={self.path}", "--no_progress",
            "--checkpoint_interval_ms=40", *flags,
        ]  # fmt: skip
        pipeline = beam.Pipeline(options=PipelineOptions(options))
        campaign_jobs.build(self.name, pipeline, self.path, self.size, self.pause)
        return pipeline.run()


def workers_of(folder: JobFolder) -> tuple[int, ...]:
    """The process ids of a job's workers, when those of its last attempt are known."""
    found: list[tuple[int, ...]] = []

    def are_known() -> bool:
        status = folder.status()
        if status is not None and status.attempt == folder.record().attempts and status.workers:
            found.append(status.workers)
        return bool(found)

    await_(are_known)
    return found[0]


def hold(folder: str | Path, offset: int) -> None:
    """Has campaign jobs of that folder read no further for now."""
    with open(os.path.join(folder, f"{campaign_jobs.HOLD}.new"), "w") as file:
        file.write(str(offset))
    os.replace(file.name, os.path.join(folder, campaign_jobs.HOLD))


def let_go(folder: str | Path) -> None:
    """Has them read to the end."""
    Path(folder, campaign_jobs.HOLD).unlink(missing_ok=True)


def await_(condition: Any, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits until the condition holds; AssertionError if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.01)
