"""Whole pipelines of streams under a clock that jumps ahead, with things that happen at times of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import hornbeam as beam
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.options.value_provider import RuntimeValueProvider
from hornbeam.runners.direct.progress import Progress
from hornbeam.runners.direct.stream_execution import StreamExecution
from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.planner import STREAM_PASSES, make_plan

SECOND = 1_000_000

#: The run that goes on, for what a script wants to ask it.
RUNNING: list[StreamExecution] = []
#: What `Keep` has taken: (element, timestamp in seconds), in order.
KEPT: list[tuple[Any, float]] = []


class Keep(beam.DoFn):
    """Appends to KEPT."""

    def process(self, element: Any, stamp: Any = beam.DoFn.TimestampParam) -> None:
        KEPT.append((element, stamp.micros / SECOND))


class ScriptedClock(ManualClock):
    """A run that waits moves it on at once; what the script has happens at its times (seconds), while the run waits."""

    def __init__(self, script: dict[float, Callable[[], None]], start: float = 0) -> None:
        super().__init__(int(start * SECOND))
        self._script = sorted((int(seconds * SECOND), action) for seconds, action in script.items())
        self.waits = 0

    def wait(self, until_micros: int, wake: threading.Event) -> None:
        self.waits += 1
        if self._script and self._script[0][0] <= until_micros:
            at, action = self._script.pop(0)
            self.advance(max(0, at - self.now_micros()))
            action()
            return
        assert until_micros < 1 << 62, "nothing is awaited, and the run has not ended"
        self.advance(max(0, until_micros - self.now_micros()))


def run(
    pipeline: beam.Pipeline,
    seconds: float,
    script: dict[float, Callable[[], None]] | None = None,
    start: float = 0,
    idle_timeout: float | None = None,
    bundle_size: int = 0,
) -> tuple[StreamExecution, ScriptedClock]:
    """Runs the pipeline until it ends, or drains it after so many seconds of its clock."""
    clock = ScriptedClock(script or {}, start)
    space = TemporarySpace(None)
    RuntimeValueProvider.set_runtime_options(PipelineOptions([]).get_all_options())
    try:
        execution = StreamExecution(
            make_plan(pipeline.to_graph(), STREAM_PASSES),
            space,
            1 << 28,
            bundle_size,
            MetricsRegistry(),
            Progress(False),
            clock,
            None if idle_timeout is None else int(idle_timeout * SECOND),
        )
        RUNNING[:] = [execution]
        execution.drain(int((start + seconds) * SECOND))
        execution.run()
    finally:
        RuntimeValueProvider.set_runtime_options(None)
        space.close()
    return execution, clock


def kept() -> list[tuple[Any, float]]:
    """What was kept since the last call."""
    found = list(KEPT)
    KEPT.clear()
    return found
