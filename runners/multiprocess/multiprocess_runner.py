"""MultiProcessRunner: runs a bounded graph on many processes of this machine and answers when it has ended."""

from __future__ import annotations

from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.metrics.results import MetricResults
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.multiprocess.workers import server
from hornbeam.runners.runner import PipelineResult, PipelineRunner, PipelineState


class MultiProcessRunner(PipelineRunner):
    """Runs a pipeline on all cores of this machine, with bounded memory, and the results of DirectRunner.

    `run` returns when the pipeline has ended. What user code raises is raised by `run`, with the step, the element and the
    worker named in notes. Options: `--num_workers`, `--min_workers`, `--max_workers`, `--worker_timeout`,
    `--exchange_compression`, `--memory_limit`, `--bundle_size`, `--temp_dir`, `--no_progress`.
    """

    def __init__(self) -> None:
        server.start()  # it warms up while the pipeline is built and the engine is loaded here

    def run(self, graph: Graph, options: PipelineOptions | None = None) -> MultiProcessResult:
        """Runs the graph to its end. Workers end and files are removed, whatever happens."""
        # Slow to load, so not before the server has been started.
        from hornbeam.runners.multiprocess.graph_run import run_graph

        return MultiProcessResult(*run_graph(graph, options if options is not None else PipelineOptions([])))


class MultiProcessResult(PipelineResult):
    """A pipeline that has ended well; one that has not raises from `run`."""

    def __init__(self, registry: MetricsRegistry, exchange_bytes: int) -> None:
        super().__init__(PipelineState.DONE)
        self._registry = registry
        #: Bytes that went through files between stages.
        self.exchange_bytes = exchange_bytes

    def wait_until_finish(self, duration: float | None = None) -> str:
        """The state, at once."""
        return self.state

    def cancel(self) -> str:
        """Nothing is left to end."""
        return self.state

    def metrics(self) -> MetricResults:
        """What the steps counted."""
        return self._registry.results()
