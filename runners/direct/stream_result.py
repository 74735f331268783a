"""A stream that DirectRunner runs: in a thread of its own if its sources may never end, else in the caller's."""

from __future__ import annotations

import threading
import time

from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.metrics.results import MetricResults
from hornbeam.runners.direct.stream_execution import StreamExecution
from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.runner import PipelineResult, PipelineState

#: How long `cancel` waits for a bundle to end by itself, and then for each attempt to break it off.
CANCEL_SECONDS = 5.0


class StreamResult(PipelineResult):
    """A running stream. What makes it fail is raised by `wait_until_finish`."""

    def __init__(self, execution: StreamExecution, registry: MetricsRegistry) -> None:
        super().__init__(PipelineState.RUNNING)
        self._execution = execution
        self._registry = registry
        self._error: BaseException | None = None
        self._ended = threading.Event()

    def ended(self, error: BaseException | None) -> None:
        """The run has ended, with the error that ended it or without."""
        self._error = error
        if error is not None:
            self._state = PipelineState.FAILED
        else:
            self._state = PipelineState.CANCELLED if self._execution.was_cancelled else PipelineState.DONE
        self._ended.set()

    def wait_until_finish(self, duration: float | None = None) -> str:
        """Waits for the end, at most `duration` milliseconds, and gives the state. Raises what made the run fail.

        Ctrl-C while it waits cancels the run, and is raised on once that has ended.
        """
        deadline = None if duration is None else time.monotonic() + duration / 1000
        try:
            while not self._ended.is_set():
                left = threading.TIMEOUT_MAX if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return self.state
                self._ended.wait(min(left, threading.TIMEOUT_MAX))
        except KeyboardInterrupt:
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        return self.state

    def cancel(self) -> str:
        """Ends the run after the bundle that is in work, and gives its state. What it keeps is not given out.

        A bundle that has not ended after five seconds is broken off where it is.
        """
        self._execution.cancel()
        while not self._ended.wait(CANCEL_SECONDS):
            self._execution.interrupt()
        return self.state

    def drain(self) -> str:
        """Lets sources give nothing new, gives out all that is kept, and waits for the end."""
        self._execution.drain()
        return self.wait_until_finish()

    def metrics(self) -> MetricResults:
        """What the steps have counted so far."""
        return self._registry.results()

    def explain(self, step: str = "") -> Explanation:
        """How far the time of each step has come and what holds it back, or of one step by its full label.

        KeyError for a label that no step has; TimeoutError when user code does not come to the end of a bundle.
        """
        return self._execution.explain(step, self.state)
