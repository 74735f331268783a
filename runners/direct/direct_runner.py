"""DirectRunner: runs a graph in this process, a bounded one stage after stage, a stream piece by piece."""

from __future__ import annotations

import threading
from types import TracebackType

from hornbeam.error import DataError, PipelineError
from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.graph.validate import validate
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.metrics.results import MetricResults
from hornbeam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from hornbeam.options.value_provider import RuntimeValueProvider
from hornbeam.runners.direct.execution import Execution
from hornbeam.runners.direct.progress import Progress
from hornbeam.runners.direct.stream_execution import StreamExecution
from hornbeam.runners.direct.stream_result import StreamResult
from hornbeam.runners.engine import collector
from hornbeam.runners.engine.clock import Clock, ManualClock, WallClock
from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.engine.failures import user_frames
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.planner import STREAM_PASSES, make_plan
from hornbeam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from hornbeam.utils.run_end import run_scope

#: What our own frames say nothing about: Ctrl-C, files and disks, and what is the author's to change.
_OF_NO_FRAME_OF_OURS = (KeyboardInterrupt, OSError, DataError, PipelineError)


class DirectRunner(PipelineRunner):
    """Runs a pipeline in this process, on one core.

    `run` returns when the pipeline has ended, or, if it reads unbounded sources, at once; such a run goes on in a thread
    until its sources end, it is cancelled or drained, or `--run_for_secs` are over. What user code raises is
    raised by `run` (of a running stream, by `wait_until_finish`), with the step and the element named in a note.
    Options: `--memory_limit`, `--bundle_size`, `--temp_dir`, `--no_progress`, `--streaming`, `--run_for_secs`.
    """

    def run(self, graph: Graph, options: PipelineOptions | None = None) -> PipelineResult:
        """Runs the graph. Temporary files are removed when it has ended, whatever happens."""
        validate(graph)
        options = options if options is not None else PipelineOptions([])
        if is_stream(graph) or options.view_as(StandardOptions).streaming:
            return self._run_stream(graph, options)
        registry = MetricsRegistry()
        with _running(options) as (direct, space, progress):
            # Bundles of a stated size are of that size behind every reshuffle too, and so behind every Create.
            cut_before = frozenset({urns.RESHUFFLE}) if direct.bundle_size else frozenset()
            plan = make_plan(graph, cut_before=cut_before)
            Execution(plan, space, direct.memory_limit_bytes(), direct.bundle_size, registry, progress).run()
        return DirectResult(registry)

    def _run_stream(self, graph: Graph, options: PipelineOptions) -> PipelineResult:
        run = _StreamRun(graph, options)
        if not ends_by_itself(graph):
            return run.start()
        run.run()
        result = run.result
        assert result is not None
        result.wait_until_finish()
        return result


class _StreamRun:
    """A stream at work. Until there is a result, what goes wrong is raised; from then on the result has it."""

    def __init__(self, graph: Graph, options: PipelineOptions) -> None:
        self._graph = graph
        self._options = options
        self._registry = MetricsRegistry()
        self._is_built = threading.Event()
        self._failure: BaseException | None = None
        self.result: StreamResult | None = None

    def start(self) -> StreamResult:
        """Runs in a thread of its own, and returns when the stream has been built."""
        threading.Thread(target=self._run_in_thread, name="hornbeam stream", daemon=True).start()
        self._is_built.wait()
        if self.result is None:
            assert self._failure is not None
            raise self._failure
        return self.result

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._failure = error
            self._is_built.set()

    def run(self) -> None:
        """Runs to the end."""
        error: BaseException | None = None
        try:
            with _running(self._options) as (direct, space, progress):
                execution = self._execution(direct, space, progress)
                self.result = StreamResult(execution, self._registry)
                if direct.run_for_secs is not None:
                    execution.drain(execution.clock.now_micros() + int(direct.run_for_secs * 1e6))
                self._is_built.set()
                execution.run()
        except BaseException as raised:
            error = raised
            if self.result is None:
                raise
        finally:
            if self.result is not None:
                self.result.ended(error)
                self._is_built.set()

    def _execution(self, direct: DirectOptions, space: TemporarySpace, progress: Progress) -> StreamExecution:
        return StreamExecution(
            make_plan(self._graph, STREAM_PASSES),
            space,
            direct.memory_limit_bytes(),
            direct.bundle_size,
            self._registry,
            progress,
            clock_for(self._graph, direct.clock),
            None if direct.idle_timeout_secs is None else int(direct.idle_timeout_secs * 1e6),
        )


class _running:
    """What surrounds a run: runtime options, the collector, temporary files, progress, and tracebacks cut short."""

    # Not a generator: contextlib sets an exception's __traceback__, which a frozen dataclass refuses.

    def __init__(self, options: PipelineOptions) -> None:
        self._direct = options.view_as(DirectOptions)
        self._progress = Progress(not self._direct.no_progress)
        self._space = TemporarySpace(self._direct.temp_dir)
        self._scope = run_scope()
        self._collector = collector.relaxed()

    def __enter__(self) -> tuple[DirectOptions, TemporarySpace, Progress]:
        RuntimeValueProvider.set_runtime_options(self._direct.get_all_options(display_warnings=False))
        self._scope.__enter__()
        self._collector.__enter__()
        return self._direct, self._space, self._progress

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._collector.__exit__()
        self._scope.__exit__()
        RuntimeValueProvider.set_runtime_options(None)
        self._progress.close()
        self._space.close()
        if error is None:
            return
        if getattr(error, "hornbeam_failure", None) is not None or isinstance(error, _OF_NO_FRAME_OF_OURS):
            error.with_traceback(user_frames(error.__traceback__))


def is_stream(graph: Graph) -> bool:
    """Whether some of the data is unbounded."""
    return not all(pcollection.is_bounded for pcollection in graph.pcollections.values())


def has_test_stream(graph: Graph) -> bool:
    """Whether a TestStream dictates the clock."""
    return any(transform.urn == urns.TEST_STREAM for transform in graph.transforms.values())


def ends_by_itself(graph: Graph) -> bool:
    """Whether all that is unbounded comes from TestStreams, which end."""
    for _, transform in graph.leaves():
        if transform.urn == urns.TEST_STREAM:
            continue
        given = [graph.pcollections[pc].is_bounded for pc in transform.outputs.values()]
        taken = [graph.pcollections[pc].is_bounded for pc in transform.main_inputs().values()]
        if not all(given) and all(taken):
            return False
    return True


def clock_for(graph: Graph, chosen: Clock | str) -> Clock:
    """The clock of the option `--clock`; with a TestStream one that begins at 0 and that the TestStream moves."""
    if has_test_stream(graph) and not isinstance(chosen, str):
        raise PipelineError(
            f"the pipeline has a TestStream, which moves its clock, and was given {chosen!r}; say what time passes by "
            "TestStream.advance_processing_time instead"
        )
    if has_test_stream(graph) or chosen == "fake":
        return ManualClock(runs_ahead=True)
    if not isinstance(chosen, str):
        return chosen
    if chosen != "wall":
        raise ValueError(f"--clock is 'wall' or 'fake'; found {chosen!r}")
    return WallClock()


class DirectResult(PipelineResult):
    """A pipeline that has ended well; one that has not raises from `run`."""

    def __init__(self, registry: MetricsRegistry) -> None:
        super().__init__(PipelineState.DONE)
        self._registry = registry

    def wait_until_finish(self, duration: float | None = None) -> str:
        """The state, at once."""
        return self.state

    def cancel(self) -> str:
        """Nothing is left to end."""
        return self.state

    def metrics(self) -> MetricResults:
        """What the steps counted."""
        return self._registry.results()

    def explain(self, step: str = "") -> Explanation:
        """Nothing is held back: all of it has ended."""
        return Explanation((), "", self.state)


#: Beam's names of its local runners: one runner serves them all here.
BundleBasedDirectRunner = DirectRunner
SwitchingDirectRunner = DirectRunner
TestDirectRunner = DirectRunner
FnApiRunner = DirectRunner
