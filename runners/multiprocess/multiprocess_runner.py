"""MultiProcessRunner: runs a bounded graph on many processes of this machine and answers when it has ended."""

from __future__ import annotations

from hornbeam.error import DataError, PipelineError
from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.graph.validate import validate
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.options.pipeline_options import (
    DirectOptions,
    MultiProcessOptions,
    PipelineOptions,
    WorkerOptions,
)
from hornbeam.runners.direct.direct_runner import DirectResult
from hornbeam.runners.engine.failures import user_frames
from hornbeam.runners.engine.support import refuse_unsupported
from hornbeam.runners.multiprocess.coordinator import Coordinator
from hornbeam.runners.multiprocess.created import exchange_keys, read_created
from hornbeam.runners.multiprocess.job import Job
from hornbeam.runners.multiprocess.progress import StageProgress
from hornbeam.runners.multiprocess.run_folder import RunFolder
from hornbeam.runners.multiprocess.scaling import Scaling
from hornbeam.runners.multiprocess.workers import server
from hornbeam.runners.planner import PASSES, Plan, make_plan
from hornbeam.runners.runner import PipelineRunner
from hornbeam.utils.run_end import run_scope

#: Parts that the keys of a grouping are dealt out to, at the least; for each worker there are PARTITIONS_A_WORKER.
PARTITIONS_MIN = 64
PARTITIONS_A_WORKER = 16
#: What is not exchanged by key, and so kept small.
_OF_NO_FRAME_OF_OURS = (KeyboardInterrupt, OSError, DataError, PipelineError)

#: The planner's passes, with those that spread the work on processes before steps are fused.
_PASSES = (*PASSES[:-1], read_created, exchange_keys, PASSES[-1])


def plan_for_workers(graph: Graph) -> Plan:
    """The plan of a graph for many processes: a reshuffle begins a stage, a Create is read in parts."""
    return make_plan(graph, passes=_PASSES, cut_before=frozenset({urns.RESHUFFLE}))


class MultiProcessRunner(PipelineRunner):
    """Runs a pipeline on all cores of this machine, with bounded memory, and the results of DirectRunner.

    `run` returns when the pipeline has ended. What user code raises is raised by `run`, with the step, the element and the
    worker named in notes. Options: `--num_workers`, `--min_workers`, `--max_workers`, `--worker_timeout`,
    `--exchange_compression`, `--memory_limit`, `--bundle_size`, `--temp_dir`, `--no_progress`.
    """

    def __init__(self) -> None:
        # It warms up while the pipeline is built.
        server.start()

    def run(self, graph: Graph, options: PipelineOptions | None = None) -> MultiProcessResult:
        """Runs the graph to its end. Workers end and files are removed, whatever happens."""
        validate(graph)
        options = options if options is not None else PipelineOptions([])
        direct = options.view_as(DirectOptions)
        own = options.view_as(MultiProcessOptions)
        least, most = own.worker_bounds(options.view_as(WorkerOptions).num_workers)
        plan = plan_for_workers(graph)
        refuse_unsupported(plan)
        registry = MetricsRegistry()
        progress = StageProgress(not direct.no_progress)
        folder = RunFolder(direct.temp_dir)
        try:
            job = Job(
                plan,
                direct.get_all_options(display_warnings=False),
                folder.path,
                direct.bundle_size,
                max(1, direct.memory_limit_bytes() // most),
                most,
                max(PARTITIONS_MIN, PARTITIONS_A_WORKER * most),
                own.exchange_compression or "",
            )
            coordinator = Coordinator(
                job, folder, registry, progress, Scaling(least, most), own.worker_timeout or 0.0
            )
            with run_scope():
                coordinator.run()
        except BaseException as error:
            if isinstance(error, _OF_NO_FRAME_OF_OURS):
                error.with_traceback(user_frames(error.__traceback__))
            raise
        finally:
            progress.close()
            folder.close()
        return MultiProcessResult(registry, coordinator.book.catalog.bytes_written)


class MultiProcessResult(DirectResult):
    """A pipeline that has ended well; one that has not raises from `run`."""

    def __init__(self, registry: MetricsRegistry, exchange_bytes: int) -> None:
        super().__init__(registry)
        #: Bytes that went through exchange files.
        self.exchange_bytes = exchange_bytes
