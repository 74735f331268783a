"""DirectRunner: runs a bounded graph in this process and answers when it has ended."""

from __future__ import annotations

from hornbeam.error import DataError, PipelineError
from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.graph.validate import validate
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.metrics.results import MetricResults
from hornbeam.options.pipeline_options import DirectOptions, PipelineOptions
from hornbeam.options.value_provider import RuntimeValueProvider
from hornbeam.runners.direct.execution import Execution
from hornbeam.runners.direct.progress import Progress
from hornbeam.runners.engine import collector
from hornbeam.runners.engine.failures import user_frames
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.support import refuse_unsupported
from hornbeam.runners.planner import make_plan
from hornbeam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from hornbeam.utils.run_end import run_scope

#: What our own frames say nothing about: Ctrl-C, files and disks, and what is the author's to change.
_OF_NO_FRAME_OF_OURS = (KeyboardInterrupt, OSError, DataError, PipelineError)


class DirectRunner(PipelineRunner):
    """Runs a pipeline in this process, on one core, with bounded memory.

    `run` returns when the pipeline has ended. What user code raises is raised by `run`, with the step and the element
    named in a note. Options: `--memory_limit`, `--bundle_size`, `--temp_dir`, `--no_progress`.
    """

    def run(self, graph: Graph, options: PipelineOptions | None = None) -> DirectResult:
        """Runs the graph to its end. Temporary files are removed, whatever happens."""
        validate(graph)
        direct = (options if options is not None else PipelineOptions([])).view_as(DirectOptions)
        registry = MetricsRegistry()
        progress = Progress(not direct.no_progress)
        space = TemporarySpace(direct.temp_dir)
        try:
            RuntimeValueProvider.set_runtime_options(direct.get_all_options(display_warnings=False))
            with run_scope(), collector.relaxed():
                # Bundles of a stated size are of that size behind every reshuffle too, and so behind every Create.
                cut_before = frozenset({urns.RESHUFFLE}) if direct.bundle_size else frozenset()
                plan = make_plan(graph, cut_before=cut_before)
                refuse_unsupported(plan)
                Execution(
                    plan, space, direct.memory_limit_bytes(), direct.bundle_size, registry, progress
                ).run()
        except BaseException as error:
            if getattr(error, "hornbeam_failure", None) is not None or isinstance(
                error, _OF_NO_FRAME_OF_OURS
            ):
                error.with_traceback(user_frames(error.__traceback__))
            raise
        finally:
            RuntimeValueProvider.set_runtime_options(None)
            progress.close()
            space.close()
        return DirectResult(registry)


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


#: Beam's names of its local runners: one runner serves them all here.
BundleBasedDirectRunner = DirectRunner
SwitchingDirectRunner = DirectRunner
TestDirectRunner = DirectRunner
FnApiRunner = DirectRunner
