"""LogRunner: durable streams on one machine, with results that are as if nothing had ever failed."""

from __future__ import annotations

import logging
import os
import time

import attrs

from hornbeam.error import BeamError, DataError, OptionError
from hornbeam.graph.model import Graph
from hornbeam.graph.validate import validate
from hornbeam.options.log_options import LogOptions
from hornbeam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)
from hornbeam.runners.log import states
from hornbeam.runners.log.commit_note import CommitNote
from hornbeam.runners.log.committing import Committer
from hornbeam.runners.log.coordinator import Coordinator
from hornbeam.runners.log.damage import damaged_state
from hornbeam.runners.log.environment import is_disk_full
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_record import JobRecord
from hornbeam.runners.log.job_settings import JobSettings
from hornbeam.runners.log.log_result import LogResult
from hornbeam.runners.log.moving import Relabelling
from hornbeam.runners.log.origin import graph_name, origin_of
from hornbeam.runners.log.plans import has_test_stream, plan_signature
from hornbeam.runners.log.prometheus import MetricsServer
from hornbeam.runners.log.sinks import sinks_of
from hornbeam.runners.log.update_check import check_update, parse_mapping
from hornbeam.runners.log.worker_process import server
from hornbeam.runners.processes.allocator import give_back_freed_memory
from hornbeam.runners.runner import PipelineRunner
from hornbeam.storage.checkpoint import Manifest, StoreReader
from hornbeam.storage.checkpoint.inspection import list_store
from hornbeam.storage.errors import CorruptionError, StorageError
from hornbeam.storage.files import OS_FILES, Lock

_log = logging.getLogger(__name__)


class LogRunner(PipelineRunner):
    """Runs a pipeline in worker processes, with checkpoints, as a job with a name in a folder.

    The same command resumes a job that was stopped, killed or has failed; that of a job that has come to its end does
    nothing; a second start while it runs is refused. `run` returns when a pipeline that ends by itself has ended, and
    at once for one with unbounded sources. Options: `--job_name`, `--log_dir`, `--num_workers`,
    `--checkpoint_interval_ms` and those of `LogOptions`.
    """

    def run(self, graph: Graph, options: PipelineOptions | None = None) -> LogResult:
        """Starts or resumes the job. RunnerError if it is running already."""
        validate(graph)
        options = options if options is not None else PipelineOptions([])
        folder = _folder(options)
        server.start()
        give_back_freed_memory()
        try:
            lock = folder.lock()
        except (StorageError, OSError) as error:
            if is_disk_full(error):
                raise
            raise OptionError(f"--log_dir={folder.log_dir}: jobs cannot be kept there: {error}") from error
        metrics = None
        try:
            metrics = _metrics_server(folder, options)
            coordinator = self._coordinator(folder, lock, graph, options)
        except BaseException:
            _close(metrics)
            lock.release()
            raise
        if coordinator is None:
            _close(metrics)
            lock.release()
            return LogResult(None, folder.record().state)
        result = LogResult(coordinator, states.STARTING, metrics)
        if metrics is not None:
            metrics.metrics = result.metrics
        result.start()
        if _ends_by_itself(graph):
            result.wait_until_finish()
        return result

    def _coordinator(
        self, folder: JobFolder, lock: Lock, graph: Graph, options: PipelineOptions
    ) -> Coordinator | None:
        """What runs the job; None for one that has come to its end."""
        log_options = options.view_as(LogOptions)
        record = _record(folder, log_options)
        if record is not None and record.state in states.FINISHED and record.restore_from is None:
            _log.warning(
                "Job %r has ended (%s); nothing is to be done. Start it over with --fresh.",
                record.job_name,
                record.state,
            )
            return None
        settings = _settings(graph, options)
        if record is None:
            record = _start_over(folder)
        folder.clear_commands()
        record = attrs.evolve(
            record, options=settings.options, state=states.RUNNING, starts=record.starts + 1
        )
        relabelling, sinks = Relabelling(), sinks_of(graph)
        old_sinks = sinks
        origin = _origin(folder, record) if record.starts > 1 else None
        if origin is None and record.has_checkpoints:
            raise DataError(
                f"job {folder.job_name!r} has lost its checkpoints: there are none in {folder.checkpoints}. Put them back, "
                "or start over with --fresh: all that it ever gave out comes again then."
            )
        if origin is not None:
            old = _old_graph(folder, graph, origin)
            relabelling = _relabelling(old, graph, log_options, folder.job_name)
            old_sinks = sinks_of(old)
        else:
            folder.write_graph(graph)
        folder.write_record(record)
        OS_FILES.fault("job.started")
        committer = Committer(sinks, CommitNote(folder.commit_note, record.created_micros), old_sinks)
        coordinator = Coordinator(folder, lock, record, graph, settings, committer, relabelling)
        coordinator.announce()
        return coordinator


def _record(folder: JobFolder, options: LogOptions) -> JobRecord | None:
    """What the job is, and where it is to begin; None for one that begins at the very beginning."""
    if options.fresh and options.restore_from is not None:
        raise OptionError(
            "--fresh forgets all checkpoints, so --restore_from has nothing to begin from. Give one of them."
        )
    if not options.fresh and folder.lost_its_record():
        _log.warning(
            "Job %r has lost its job.json; it goes on from its newest checkpoint. What was remembered of elements to skip, "
            "of failures and of restores is gone.",
            folder.job_name,
        )
        record = JobRecord(
            job_name=folder.job_name, created_micros=time.time_ns() // 1000, attempts=_attempts(folder)
        )
        folder.write_record(record)
    if not folder.exists():
        if options.restore_from is not None:
            raise OptionError(
                f"there is no job {folder.job_name!r} in {folder.log_dir} yet, so no --restore_from={options.restore_from}"
            )
        return None
    if options.fresh:
        _tell_what_is_forgotten(folder)
        return None
    record, wanted = folder.record(), options.restore_from
    if record.starts_over:
        return None
    if wanted is None:
        return record
    if wanted == record.restored and not options.restore_again:
        if record.restore_from is None:
            _log.warning(
                "Job %r: --restore_from=%s was done at an earlier start, so the job goes on from its newest checkpoint. "
                "To go back once more, give --restore_again too.",
                folder.job_name,
                wanted,
            )
        return record
    which = int(wanted) if wanted.isdigit() else wanted
    _check_kept(folder, which)
    return attrs.evolve(
        record, restore_from=which, restored=wanted, restore_asked=record.attempts, is_draining=False
    )


def _origin(folder: JobFolder, record: JobRecord) -> Manifest | None:
    """The checkpoint from which the job goes on; None if there is none yet."""
    try:
        found = StoreReader(folder.checkpoints).checkpoints() if _has_store(folder) else []
        if not found:
            return None
        with StoreReader(folder.checkpoints).snapshot(origin_of(record, found[-1])) as snapshot:
            return snapshot.manifest
    except CorruptionError as error:
        raise damaged_state(error, folder, None) from error


def _old_graph(folder: JobFolder, new: Graph, origin: Manifest) -> Graph:
    """The pipeline that the checkpoint is of; DataError if it cannot be read and is another one than the new one."""
    try:
        return folder.graph(graph_name(origin))
    except (BeamError, StorageError, ValueError) as error:
        if origin.metadata.get("plan") != plan_signature(new):
            raise DataError(
                f"job {folder.job_name!r}: the pipeline that its {origin.label} is of cannot be read ({error}), and is "
                "another one than this. Start it with the pipeline that it ran, or begin anew with --fresh."
            ) from error
        _log.warning(
            "Job %r: the pipeline that its %s is of cannot be read (%s). This one is the same, and takes its place.",
            folder.job_name,
            origin.label,
            error,
        )
        return new


def _attempts(folder: JobFolder) -> int:
    """How many attempts there were, as the checkpoints tell."""
    return max(
        (int(kept.metadata.get("attempt", 0)) for kept in StoreReader(folder.checkpoints).checkpoints()),
        default=0,
    )


def _check_kept(folder: JobFolder, which: int | str) -> None:
    """OptionError, with what there is, unless the job has that checkpoint or savepoint."""
    found = list_store(folder.checkpoints) if _has_store(folder) else []
    numbers = [int(kept["name"]) for kept in found if kept["kind"] == "checkpoint"]
    names = [kept["name"] for kept in found if kept["kind"] == "savepoint"]
    if which not in numbers and which not in names:
        raise OptionError(
            f"job {folder.job_name!r} has no {'checkpoint' if isinstance(which, int) else 'savepoint'} {which!r} "
            f"(--restore_from). Its savepoints: {', '.join(names) or 'none'}; checkpoints: "
            f"{', '.join(map(str, numbers)) or 'none'}."
        )


def _tell_what_is_forgotten(folder: JobFolder) -> None:
    """What `--fresh` takes away is said, as it cannot be had back."""
    found = list_store(folder.checkpoints) if _has_store(folder) else []
    names = [kept["name"] for kept in found if kept["kind"] == "savepoint"]
    if found:
        _log.warning(
            "Job %r begins anew (--fresh): its checkpoints (%s) are forgotten%s. What it gave out stays, and comes again. "
            "Do not leave --fresh in a command that is started again by itself.",
            folder.job_name,
            len(found) - len(names),
            f", and the savepoints {', '.join(names)}" if names else "",
        )


def _has_store(folder: JobFolder) -> bool:
    """Whether there is a checkpoint store. A job that was killed in its first moments has none."""
    return os.path.isdir(os.path.join(folder.checkpoints, "manifests"))


def _start_over(folder: JobFolder) -> JobRecord:
    """A job without a past: what it had goes. Killed half-way, the next start does that again, with or without --fresh."""
    record = JobRecord(job_name=folder.job_name, created_micros=time.time_ns() // 1000, starts=0)
    if folder.exists():
        folder.write_record(attrs.evolve(record, starts_over=True))
        OS_FILES.fault("job.fresh")
    folder.remove_state()
    OS_FILES.fault("job.fresh.removed")
    return record


def _relabelling(old: Graph, new: Graph, options: LogOptions, job_name: str) -> Relabelling:
    """What becomes of the state that an older pipeline of the job left. UpdateRefusedError if something would be lost."""
    mapping = parse_mapping(options.map_transforms) if options.map_transforms else {}
    check = check_update(old, new, mapping)
    check.check(options.allow_lost_state)
    relabelling = Relabelling.of(check)
    if not relabelling.is_nothing:
        _log.warning("Job %r goes on with a changed pipeline:\n%s", job_name, check.as_done())
    return relabelling


def _folder(options: PipelineOptions) -> JobFolder:
    log_dir = options.view_as(LogOptions).log_dir
    job_name = options.view_as(GoogleCloudOptions).job_name
    if not log_dir:
        raise OptionError("LogRunner needs --log_dir, the folder in which jobs are kept.")
    if not job_name:
        raise OptionError("LogRunner needs --job_name: the same name in the same --log_dir resumes the job.")
    return JobFolder(log_dir, job_name)


def _settings(graph: Graph, options: PipelineOptions) -> JobSettings:
    log_options, direct = options.view_as(LogOptions), options.view_as(DirectOptions)
    workers = options.view_as(WorkerOptions).num_workers or len(os.sched_getaffinity(0))
    parse_mapping(log_options.map_transforms or "")
    if workers < 0:
        raise OptionError(
            f"--num_workers={workers}: a number of processes; 0, as none, is one for each core."
        )
    idle = direct.idle_timeout_secs
    return JobSettings(
        num_workers=1 if has_test_stream(graph) else workers,
        checkpoint_interval_ms=log_options.checkpoint_interval_ms,
        checkpoints_kept=log_options.checkpoints_kept,
        worker_timeout_ms=log_options.worker_timeout_ms,
        bundle_timeout_ms=log_options.bundle_timeout_ms,
        failures_max=log_options.failures_max,
        crashes_max=log_options.crashes_max,
        memory_bytes_max=direct.memory_limit_bytes(),
        bundle_size=direct.bundle_size,
        exchange_bytes_max=log_options.exchange_bytes_max,
        idle_timeout_micros=None if idle is None else int(idle * 1e6),
        temp_dir=direct.temp_dir,
        at_least_once=log_options.at_least_once,
        inject_restarts=log_options.inject_restarts,
        inject_restarts_seed=log_options.inject_restarts_seed,
        skip_poison_to=log_options.skip_poison_to,
        run_for_seconds=None if _ends_by_itself(graph) else direct.run_for_secs,
        options=options.get_all_options(display_warnings=False),
    )


def _metrics_server(folder: JobFolder, options: PipelineOptions) -> MetricsServer | None:
    port = options.view_as(LogOptions).metrics_port
    if port is None:
        return None
    try:
        server = MetricsServer(folder.status, port)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"--metrics_port={port} cannot be had: {error}. Take another one, or 0 for a free one."
        ) from error
    _log.warning("Metrics of job %r: http://127.0.0.1:%s/metrics", folder.job_name, server.port)
    return server


def _close(server: MetricsServer | None) -> None:
    if server is not None:
        server.close()


def _ends_by_itself(graph: Graph) -> bool:
    """Whether all roots end: then `run` stays until the job has ended."""
    return has_test_stream(graph) or all(pc.is_bounded for pc in graph.pcollections.values())
