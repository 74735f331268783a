"""A job as the program that runs it sees it: its state, its end, and what becomes of it when the program is interrupted."""

from __future__ import annotations

import atexit
import logging
import shlex
import threading
import time

from hornbeam.metrics.results import MetricResults
from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.log import states
from hornbeam.runners.log.coordinator import Coordinator
from hornbeam.runners.log.prometheus import MetricsServer
from hornbeam.runners.log.signals import Signals, leave_quietly
from hornbeam.runners.runner import PipelineResult, PipelineState

_log = logging.getLogger(__name__)

#: How long a job that is interrupted may take to end.
_INTERRUPT_SECONDS = 10.0

_STATE_OF = {
    states.STARTING: PipelineState.STARTING,
    states.RUNNING: PipelineState.RUNNING,
    states.RECOVERING: PipelineState.RUNNING,
    states.PAUSED: PipelineState.PAUSED,
    states.DRAINING: PipelineState.DRAINING,
    states.STOPPING: PipelineState.RUNNING,
    states.INTERRUPTED: PipelineState.CANCELLED,
}


class LogResult(PipelineResult):
    """A job. What makes it fail is raised by `wait_until_finish`."""

    def __init__(
        self, coordinator: Coordinator | None, state: str, metrics: MetricsServer | None = None
    ) -> None:
        """None for a job that had ended before."""
        super().__init__(state)
        self._coordinator = coordinator
        self._metrics_server = metrics
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._signals = Signals()
        if coordinator is None:
            self._ended.set()

    def start(self) -> None:
        """Has the job run in a thread of its own: signals come to the main one, and must not break off what commits."""
        self._signals.raise_as_exits()
        atexit.register(self._program_ends)
        threading.Thread(target=self._run, name="hornbeam coordinator", daemon=True).start()

    def _run(self) -> None:
        """Runs the job to its end; what it raises is kept for `wait_until_finish`."""
        assert self._coordinator is not None
        try:
            state = self._coordinator.run()
            self._state = _STATE_OF.get(state, state)
        except BaseException as error:
            self._error = error
            self._state = PipelineState.FAILED
        finally:
            if self._metrics_server is not None:
                self._metrics_server.close()
            atexit.unregister(self._program_ends)
            self._ended.set()

    @property
    def state(self) -> str:
        """One of PipelineState's values."""
        if self._ended.is_set() or self._coordinator is None:
            return self._state
        return _STATE_OF.get(self._coordinator.state, self._coordinator.state)

    def wait_until_finish(self, duration: float | None = None) -> str:
        """Waits for the end, at most `duration` milliseconds, and gives the state. Raises what made the job fail.

        Ctrl-C while it waits ends the job at once, says so, and is raised on. So does SIGTERM, as SystemExit, unless the
        program has a handler of its own.
        """
        deadline = None if duration is None else time.monotonic() + duration / 1000
        try:
            while not self._ended.is_set():
                left = threading.TIMEOUT_MAX if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return self.state
                self._ended.wait(min(left, 1.0))
        except (KeyboardInterrupt, SystemExit) as error:
            self._interrupt("Ctrl-C" if isinstance(error, KeyboardInterrupt) else "a signal")
            leave_quietly(error)
            raise
        self._signals.put_back()
        if self._error is not None:
            raise self._error
        return self.state

    def _program_ends(self) -> None:
        """The program comes to its end, and nobody has waited for the job's."""
        self._interrupt("the end of its program")

    def _interrupt(self, by: str) -> None:
        """Ends the job at once, and says so."""
        coordinator = self._coordinator
        if coordinator is None or self._ended.is_set():
            return
        folder = coordinator.folder
        coordinator.request("interrupt")
        if self._ended.wait(_INTERRUPT_SECONDS):
            how = f"was ended by {by}"
        else:
            how = f"did not end within {_INTERRUPT_SECONDS:.0f} s of {by}, and is killed"
        _log.warning(
            "Job %r %s; what was committed stays, and the rest is done again when it goes on.\n"
            "Start the same command again, or: hornbeam job resume %s %s",
            folder.job_name,
            how,
            shlex.quote(folder.log_dir),
            folder.job_name,
        )

    def cancel(self) -> str:
        """Ends the job at once; what was not committed is not given out."""
        if self._coordinator is not None and not self._ended.is_set():
            self._coordinator.request("cancel")
            self._ended.wait()
        return self.state

    def drain(self) -> str:
        """Lets sources give nothing new, gives out all that is kept, and waits for the end."""
        if self._coordinator is not None and not self._ended.is_set():
            self._coordinator.request("drain")
        return self.wait_until_finish()

    def pauses_ms(self) -> list[float]:
        """How long each worker processed nothing for each of the newest checkpoints, in milliseconds."""
        return [] if self._coordinator is None else self._coordinator.pauses_ms()

    def cpu_seconds(self) -> list[float]:
        """The processor's time of each worker of the last attempt, once the job has ended."""
        return [] if self._coordinator is None else self._coordinator.cpu_seconds()

    def restore_cpu_seconds(self) -> float:
        """The processor's time that the slowest worker of this attempt needed until it was at work."""
        return 0.0 if self._coordinator is None else self._coordinator.restore_cpu_seconds()

    def is_processing(self, after_attempt: int) -> bool:
        """Whether all workers of an attempt after that one are restored and at work."""
        return self._coordinator is not None and self._coordinator.is_processing(after_attempt)

    def metrics(self) -> MetricResults:
        """What the steps have counted, as workers last told."""
        if self._coordinator is None:
            return MetricResults(lambda: iter(()))
        return self._coordinator.metrics().results()

    def explain(self, step: str = "") -> Explanation:
        """How far the time of each step has come and what holds it back, or of one step by its full label."""
        if self._coordinator is None or self._ended.is_set():
            return Explanation((), "", self.state)
        return self._coordinator.explain_from_elsewhere(step)
