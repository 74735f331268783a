"""A stream run in this process: sources work in turn, and after each piece of work time moves on through all stages.

    turn = one source's piece of work ─► its elements go through every stage they reach at once
           ─► bundles end, stage after stage, and time advances ─► metrics and finalizers are committed

Nothing is queued between stages, so a fast source waits for the slowest step behind it, and memory holds what windows,
state and side inputs keep. When no source is ready the run sleeps until one may be, a timer is due, or it is woken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from hornbeam.metrics.execution import MetricsContainer, MetricsRegistry
from hornbeam.runners.direct.interruption import Interruption
from hornbeam.runners.direct.progress import Progress
from hornbeam.runners.engine.clock import NEVER, Clock, ManualClock
from hornbeam.runners.engine.explain import Explanation, explain_stages
from hornbeam.runners.engine.head import END_OF_TIME, SourceHead
from hornbeam.runners.engine.lifecycle import tear_down
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.stream_build import StreamBuilder
from hornbeam.runners.engine.stream_stage import Edge, StreamStage
from hornbeam.runners.engine.test_stream_head import TestStreamHead
from hornbeam.runners.engine.watermark_metrics import WatermarkMetrics
from hornbeam.runners.planner.plan import Plan

#: How long a source that may become ready by itself is left alone, in microseconds.
_LOOK_AGAIN_MICROS = 10_000


class StreamExecution:
    """One run of a plan that `fuse_streams` made. `run` is called once; the other methods may be called from any thread."""

    def __init__(
        self,
        plan: Plan,
        space: TemporarySpace,
        memory_bytes_max: int,
        bundle_size: int,
        registry: MetricsRegistry,
        progress: Progress,
        clock: Clock,
        idle_timeout_micros: int | None = None,
    ) -> None:
        self.plan = plan
        self.space = space
        self.memory_bytes_max = memory_bytes_max
        self.bundle_size = bundle_size
        self.clock = clock
        self.idle_timeout_micros = idle_timeout_micros
        self._registry = registry
        self._progress = progress
        self._stages: dict[str, StreamStage] = {}
        builder = StreamBuilder(plan, self)
        for stage in plan.stages:
            self._stages[stage.name] = builder.stage(stage)
        self._sources = deque(s for s in self._stages.values() if isinstance(s.head, SourceHead))
        self._readers = self._edges_by_source()
        self._metrics = WatermarkMetrics(self._stages, registry)
        self._wake = threading.Event()
        self._requests: deque[Callable[[], None]] = deque()
        self._ended = False
        self._cancelled = False
        self._interruption = Interruption()
        self._told = -1
        self._drain_at = NEVER
        self._draining = False

    # What the builder asks for

    def container(self, step_label: str) -> MetricsContainer:
        """The metrics of a step."""
        return self._registry.container(step_label)

    def move_clock(self, by_micros: int) -> None:
        """A TestStream moves processing time on."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(by_micros)

    def receiver(self, stage: str, pcollection: str, step: str, tag: str) -> Receiver:
        """What takes the elements that a stage reads; found when they come, as the stage may not have been built yet."""
        found: list[Receiver] = []

        def receive(bundle: object) -> None:
            if not found:
                target = self._stages[stage]
                if tag in target.views:
                    found.append(target.side_receiver(tag))
                else:
                    index = list(self.plan.steps[step].main_inputs()).index(tag)
                    found.append(target.receiver(index))
            found[0](bundle)  # type: ignore[arg-type]

        return receive

    def _edges_by_source(self) -> dict[str, list[Edge]]:
        edges: dict[str, list[Edge]] = {name: [] for name in self._stages}
        for stage in self._stages.values():
            for edge in (*stage.edges, *stage.side_edges.values()):
                edges[edge.source].append(edge)
        return edges

    # From other threads

    def cancel(self) -> None:
        """Ends the run after the turn that is going on; what is kept is not given out."""
        self._cancelled = True
        self._wake.set()

    def interrupt(self) -> None:
        """Breaks off the turn that is going on in a run that was cancelled."""
        self._interruption.interrupt()

    def drain(self, at_micros: int = 0) -> None:
        """From that processing time on sources give nothing new; what is kept is given out, and the run ends."""
        self._drain_at = min(self._drain_at, at_micros)
        self._wake.set()

    @property
    def was_cancelled(self) -> bool:
        """Whether it was ended by `cancel`."""
        return self._cancelled

    def explain(self, step: str, state: str, timeout_seconds: float = 60.0) -> Explanation:
        """What holds time back, as of the end of the turn that is going on. TimeoutError if that takes too long."""
        answer: list[Explanation | Exception] = []
        done = threading.Event()

        def look() -> None:
            answer.append(explain_stages(self._stages, step, state))
            done.set()

        if self._ended:
            look()
        else:
            self._requests.append(look)
            self._wake.set()
            if self._ended:  # it ended meanwhile, and may not have seen the request
                self._serve()
            if not done.wait(timeout_seconds):
                raise TimeoutError(f"the pipeline has been in one bundle for {timeout_seconds:.0f} s")
        (found,) = answer
        assert isinstance(found, Explanation)
        if step:
            found.of(step)
        return found

    def entries(self) -> int:
        """How many things are kept in all stages."""
        return sum(stage.entries() for stage in self._stages.values())

    # The run

    def run(self) -> None:
        """Runs until all sources have ended or the run is cancelled; raises what user code raised."""
        is_set_up: list[StreamStage] = []
        failed = True
        try:
            for stage in self._stages.values():
                is_set_up.append(stage)
                stage.setup()
            self._interruption.run(self._loop)
            failed = False
        finally:
            self._ended = True
            self._registry.rollback()
            self._serve()
            tear_down((operator for stage in is_set_up for operator in stage.operators.values()), failed)

    def _loop(self) -> None:
        self._advance()
        while not self._cancelled:
            self._serve()
            now = self._tell_time()
            if now >= self._drain_at and not self._draining:
                self._draining = True
                for stage in self._sources:
                    assert isinstance(stage.head, SourceHead)
                    stage.head.drain()
                self._advance()
            source = self._ready_source(now)
            if source is not None:
                source.work(now)
                self._advance()
            elif self._next_wakeup() <= now:
                self._advance()
            elif self._is_done():
                return
            else:
                self._wait()

    def _ready_source(self, now: int) -> StreamStage | None:
        """The next source in turn that can work; a TestStream only when no other one can."""
        dictated: StreamStage | None = None
        for _ in range(len(self._sources)):
            stage = self._sources[0]
            self._sources.rotate(-1)
            head = stage.head
            assert isinstance(head, SourceHead)
            if not head.is_ready(now):
                continue
            if not isinstance(head, TestStreamHead):
                return stage
            dictated = dictated or stage
        if dictated is not None and self._next_wakeup() <= now:
            return None  # what is due now comes before the next event
        return dictated

    def _tell_time(self) -> int:
        """Processing time, which every stage knows before elements come to it."""
        now = self.clock.now_micros()
        if now != self._told:
            self._told = now
            for stage in self._stages.values():
                stage.tell_time(now)
        return now

    def _advance(self) -> None:
        """Ends bundles and moves time on, stage after stage; then what the turn did is committed."""
        now = self._tell_time()
        for stage in self._stages.values():
            stage.advance(now)
            stage.finish_bundle()
            for edge in self._readers[stage.name]:
                edge.watermark = max(edge.watermark, stage.watermark_of(edge.pcollection))
        self._metrics.update(now)
        self._registry.commit()
        for stage in self._stages.values():
            stage.commit()
        self._progress.stream(self._stages)

    def _next_wakeup(self) -> int:
        return min((stage.next_wakeup() for stage in self._stages.values()), default=NEVER)

    def _is_done(self) -> bool:
        for stage in self._sources:
            assert isinstance(stage.head, SourceHead)
            if not stage.head.is_done():
                return False
        return all(stage.output_watermark >= END_OF_TIME for stage in self._stages.values())

    def _wait(self) -> None:
        until = min(self._next_wakeup(), self._drain_at if not self._draining else NEVER)
        if any(isinstance(s.head, SourceHead) and s.head.can_block() for s in self._sources):
            until = min(until, self.clock.now_micros() + _LOOK_AGAIN_MICROS)
        self.clock.wait(until, self._wake)
        self._wake.clear()

    def _serve(self) -> None:
        while self._requests:
            self._requests.popleft()()
