"""A campaign job that a test runs in its own process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from log_runner import campaign_jobs
from log_runner.staged_files import committed

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder


class Job:
    """A campaign job in this process; its workers are processes of their own."""

    def __init__(self, name: str, path: Path, size: int = 150, pause: float = 0.002) -> None:
        self.name, self.path, self.size, self.pause = name, str(path), size, pause
        self.folder = JobFolder(self.path, name)

    def start(self, *flags: str) -> Any:
        options = [
            "--runner=LogRunner", f"--job_name={self.name}", f"--log_dir={self.path}", "--no_progress",
            "--checkpoint_interval_ms=40", *flags,
        ]  # fmt: skip
        pipeline = beam.Pipeline(options=PipelineOptions(options))
        campaign_jobs.build(self.name, pipeline, self.path, self.size, self.pause)
        return pipeline.run()

    def finish(self, *flags: str) -> None:
        """Runs it to its end, and checks all that it ever committed."""
        assert self.start(*flags).wait_until_finish(60_000) == "DONE"
        campaign_jobs.check(self.name, self.path, self.size, moved=True)

    def await_progress(self, rows: int = 1) -> None:
        """Waits until so many rows are committed."""
        await_(lambda: sum(1 for _ in committed(os.path.join(self.path, "seen"))) >= rows)


def await_(condition: Any, seconds: float = 30.0) -> None:
    """Waits until the condition holds; AssertionError if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.01)
