"""What follows an attempt that has failed: another one, soon or a little later, or the failure of the job."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from hornbeam.error import BeamError, RunnerError
from hornbeam.runners.engine.failures import add_advice
from hornbeam.runners.log.attempt import FAILED, Outcome
from hornbeam.runners.log.poison import shown, why_not
from hornbeam.storage.errors import CorruptionError

if TYPE_CHECKING:
    from hornbeam.runners.log.coordinator import Coordinator

_log = logging.getLogger(__name__)

_BACK_OFF_SECONDS_MAX = 5.0


class RestartStrategy:
    """Counts failures of one run of a job. The same one may come `--failures_max` times in a row, so many attempts as
    `--crashes_max` may end without a checkpoint, and an element that user code cannot take may be skipped."""

    def __init__(self, job: Coordinator) -> None:
        self._job = job
        #: Attempts in a row that came to no checkpoint.
        self._crashes = 0
        #: Failures in a row with this signature.
        self._failures = 0
        self._signature = ""

    def after(self, outcome: Outcome) -> float:
        """For how many seconds to rest before the next attempt. Raises what makes the job fail."""
        self._crashes = 0 if outcome.has_progressed else self._crashes + 1
        if outcome.kind == FAILED:
            self._failed(outcome)
        if self._crashes >= self._job.settings.crashes_max:
            self._crashed(outcome)
        return min(0.05 * 2**self._crashes, _BACK_OFF_SECONDS_MAX) if self._crashes > 1 else 0.0

    def _failed(self, outcome: Outcome) -> None:
        self._failures = self._failures + 1 if outcome.signature == self._signature else 1
        self._signature = outcome.signature
        has_come_again = self._failures >= self._job.settings.failures_max
        if has_come_again and self._skips(outcome):
            self._failures = 0
        elif has_come_again or self._is_final(outcome):
            assert outcome.error is not None
            self._say_why_it_is_not_skipped(outcome.error)
            raise outcome.error

    def _crashed(self, outcome: Outcome) -> None:
        text = (
            f"job {self._job.folder.job_name!r} failed {self._crashes} times without coming to a checkpoint"
        )
        if outcome.error is None:
            raise RunnerError(f"{text}; the last time: {outcome.text()}")
        add_advice(outcome.error, text)
        self._say_why_it_is_not_skipped(outcome.error)
        raise outcome.error

    def _skips(self, outcome: Outcome) -> bool:
        """Whether the element at which user code failed can be skipped from now on."""
        failure = getattr(outcome.error, "hornbeam_failure", None)
        identity = getattr(failure, "identity", None)
        if self._job.settings.skip_poison_to is None or failure is None or identity is None:
            return False
        known = self._job.record.poison.get(failure.step, {})
        if identity in known:
            return False
        known = {**known, identity: failure.element or f"key {failure.key}, {failure.timestamp}"}
        self._job.record = attrs.evolve(
            self._job.record, poison={**self._job.record.poison, failure.step: known}
        )
        self._job.folder.write_record(self._job.record)
        _log.warning(
            "Job %r skips %s; it goes to the topic %r.",
            self._job.folder.job_name,
            shown(failure),
            self._job.settings.skip_poison_to,
        )
        return True

    def _say_why_it_is_not_skipped(self, error: BaseException) -> None:
        if self._job.settings.skip_poison_to is not None:
            add_advice(error, f"--skip_poison_to cannot skip this: {why_not(error)}")

    def _is_final(self, outcome: Outcome) -> bool:
        """Whether another attempt would fail alike: what is wrong with the pipeline, or with files."""
        if isinstance(outcome.error, CorruptionError):
            if not outcome.error.path.startswith(self._job.folder.exchange):
                raise outcome.error
            return False  # the next attempt has an exchange of its own
        return (
            isinstance(outcome.error, BeamError) and getattr(outcome.error, "hornbeam_failure", None) is None
        )
