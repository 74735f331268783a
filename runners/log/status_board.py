"""The live status of a job, written to its folder: rates come from one writing to the next."""

from __future__ import annotations

import logging
import os
import time

import attrs

from hornbeam.runners.log.attempt import Attempt
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_record import JobRecord
from hornbeam.runners.log.job_status import JobStatus, StepStatus
from hornbeam.runners.log.step_status import joined

_log = logging.getLogger(__name__)


class StatusBoard:
    """Writes the status of one job. Used by the coordinator's thread."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._started = time.time_ns() // 1000
        self._counts: dict[str, tuple[float, int]] = {}
        self.restarts = 0
        self.last_failure = ""

    def write(self, state: str, record: JobRecord, attempt: Attempt | None, message: str = "") -> None:
        """Says how the job does now. A full disk is logged and no failure: the next one may fit."""
        status = JobStatus(
            job_name=self._folder.job_name,
            state=state,
            pid=os.getpid(),
            message=message or self._paused(attempt),
            workers=() if attempt is None else attempt.pids(),
            started_micros=self._started,
            updated_micros=time.time_ns() // 1000,
            attempt=record.attempts,
            restarts=self.restarts,
            last_failure=self.last_failure,
            checkpoint=None if attempt is None else attempt.checkpoint,
            steps=() if attempt is None else self._steps(attempt),
        )
        try:
            self._folder.write_status(status)
        except OSError as error:
            _log.warning("The status of job %r cannot be written: %s", self._folder.job_name, error)

    @staticmethod
    def _paused(attempt: Attempt | None) -> str:
        if attempt is None:
            return ""
        return attempt.paused or next((worker.paused for worker in attempt.workers if worker.paused), "")

    def _steps(self, attempt: Attempt) -> tuple[StepStatus, ...]:
        told = [worker.told for worker in attempt.workers if worker.told is not None]
        if not told or len(told) < len(attempt.workers):
            return ()
        steps = joined([each.steps for each in told], [each.keys for each in told], time.time_ns() // 1000)
        return tuple(attrs.evolve(step, elements_per_s=self._rate(step)) for step in steps)

    def _rate(self, step: StepStatus) -> float:
        now = time.monotonic()
        then, before = self._counts.get(step.label, (now, step.elements))
        self._counts[step.label] = now, step.elements
        return max(0.0, (step.elements - before) / (now - then)) if now > then else 0.0
