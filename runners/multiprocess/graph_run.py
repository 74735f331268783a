"""One run of a graph on worker processes: its plan, its job, its folder, its coordinator."""

from __future__ import annotations

from hornbeam.error import DataError, NotSupportedError, PipelineError
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
from hornbeam.runners.engine.failures import user_frames
from hornbeam.runners.multiprocess.coordinator import Coordinator
from hornbeam.runners.multiprocess.created import exchange_keys, read_created
from hornbeam.runners.multiprocess.job import Job
from hornbeam.runners.multiprocess.progress import StageProgress
from hornbeam.runners.multiprocess.run_folder import RunFolder
from hornbeam.runners.multiprocess.scaling import Scaling
from hornbeam.runners.planner import PASSES, Plan, make_plan
from hornbeam.utils.run_end import run_scope

#: Parts that the keys of a grouping are dealt out to, at the least; for each worker there are PARTITIONS_A_WORKER.
PARTITIONS_MIN = 64
PARTITIONS_A_WORKER = 16
#: What our own frames say nothing about: Ctrl-C, files and disks, and what is the author's to change.
_OF_NO_FRAME_OF_OURS = (KeyboardInterrupt, OSError, DataError, PipelineError)

#: The planner's passes, with those that spread the work on processes before steps are fused.
_PASSES = (*PASSES[:-1], read_created, exchange_keys, PASSES[-1])


def plan_for_workers(graph: Graph) -> Plan:
    """The plan of a graph for many processes: a reshuffle begins a stage, a Create is read in parts."""
    return make_plan(graph, passes=_PASSES, cut_before=frozenset({urns.RESHUFFLE}))


def refuse_streams(graph: Graph) -> None:
    """NotSupportedError for the first step that gives unbounded data."""
    for _, step in graph.leaves():
        if not all(graph.pcollections[pc].is_bounded for pc in step.outputs.values()):
            raise NotSupportedError(
                f"step {step.label!r} gives unbounded data, and the MultiProcessRunner runs bounded pipelines only. "
                "Use the LogRunner for streams, or the DirectRunner."
            )


def run_graph(graph: Graph, options: PipelineOptions) -> tuple[MetricsRegistry, int]:
    """Runs the graph to its end; gives its metrics, and the bytes that went through files between stages.

    Workers end and files are removed, whatever happens.
    """
    validate(graph)
    refuse_streams(graph)
    direct = options.view_as(DirectOptions)
    own = options.view_as(MultiProcessOptions)
    least, most = own.worker_bounds(options.view_as(WorkerOptions).num_workers)
    plan = plan_for_workers(graph)
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
        scaling = Scaling(least, most)
        coordinator = Coordinator(job, folder, registry, progress, scaling, own.worker_timeout or 0.0)
        with run_scope():
            coordinator.run()
    except BaseException as error:
        if isinstance(error, _OF_NO_FRAME_OF_OURS):
            error.with_traceback(user_frames(error.__traceback__))
        raise
    finally:
        progress.close()
        folder.close()
    return registry, coordinator.book.catalog.bytes_written
