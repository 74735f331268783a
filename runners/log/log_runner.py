"""LogRunner: durable streams on one machine, with results that are as if nothing had ever failed."""

from __future__ import annotations

import logging
import os
import threading
import time

import attrs

from hornbeam.error import OptionError
from hornbeam.graph.model import Graph
from hornbeam.graph.validate import validate
from hornbeam.metrics.results import MetricResults
from hornbeam.options.log_options import LogOptions
from hornbeam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)
from hornbeam.runners.engine.explain import Explanation
from hornbeam.runners.log import job_folder as states
from hornbeam.runners.log.coordinator import Coordinator, JobSettings
from hornbeam.runners.log.job_folder import JobFolder, JobRecord
from hornbeam.runners.log.moving import Relabelling
from hornbeam.runners.log.plans import has_test_stream
from hornbeam.runners.log.prometheus import MetricsServer
from hornbeam.runners.log.sinks import sinks_of
from hornbeam.runners.log.update_check import check_update, parse_mapping
from hornbeam.runners.log.worker_process import server
from hornbeam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from hornbeam.storage.checkpoint import StoreReader
from hornbeam.storage.files import Lock

_log = logging.getLogger(__name__)

_STATE_OF = {
    states.STARTING: PipelineState.STARTING,
    states.RUNNING: PipelineState.RUNNING,
    states.RECOVERING: PipelineState.RUNNING,
    states.PAUSED: PipelineState.PAUSED,
    states.DRAINING: PipelineState.DRAINING,
    states.STOPPING: PipelineState.RUNNING,
}


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
        lock = folder.lock()
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
        if _ends_by_itself(graph):
            result.run()
            result.wait_until_finish()
        else:
            threading.Thread(target=result.run, name="hornbeam coordinator", daemon=True).start()
        return result

    def _coordinator(
        self, folder: JobFolder, lock: Lock, graph: Graph, options: PipelineOptions
    ) -> Coordinator | None:
        """What runs the job; None for one that has come to its end."""
        log_options = options.view_as(LogOptions)
        record = folder.record() if folder.exists() and not log_options.fresh else None
        if record is not None and record.state in states.FINISHED and log_options.restore_from is None:
            _log.warning(
                "Job %r has ended (%s); nothing is to be done. Start it over with --fresh.",
                record.job_name,
                record.state,
            )
            return None
        settings = _settings(graph, options)
        if record is None:
            folder.remove_state()
            record = JobRecord(job_name=folder.job_name, created_micros=time.time_ns() // 1000, starts=0)
        folder.clear_commands()
        wanted = log_options.restore_from
        record = attrs.evolve(
            record,
            options=settings.options,
            state=states.RUNNING,
            starts=record.starts + 1,
            restore_from=record.restore_from
            if wanted is None
            else int(wanted)
            if wanted.isdigit()
            else wanted,
        )
        relabelling, sinks = Relabelling(), sinks_of(graph)
        if record.starts > 1 and _has_checkpoints(folder):
            old = folder.graph()
            relabelling = _relabelling(old, graph, log_options, folder.job_name)
            # What an older pipeline's sinks have prepared is committed by them, whatever they are called now.
            sinks = {**sinks_of(old), **sinks}
        else:
            folder.write_graph(graph)
        folder.write_record(record)
        coordinator = Coordinator(folder, lock, record, graph, settings, sinks, relabelling)
        coordinator.announce()
        return coordinator


def _has_checkpoints(folder: JobFolder) -> bool:
    """Whether there is anything to go on from. A job that was killed in its first moments has no store yet."""
    return os.path.isdir(os.path.join(folder.checkpoints, "manifests")) and bool(
        StoreReader(folder.checkpoints).checkpoints()
    )


def _relabelling(old: Graph, new: Graph, options: LogOptions, job_name: str) -> Relabelling:
    """What becomes of the state that an older pipeline of the job left. UpdateRefusedError if something would be lost."""
    mapping = parse_mapping(options.map_transforms) if options.map_transforms else {}
    check = check_update(old, new, mapping)
    check.check(options.allow_lost_state)
    relabelling = Relabelling.of(check)
    if not relabelling.is_nothing:
        _log.warning("Job %r goes on with a changed pipeline:\n%s", job_name, check)
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
        skip_poison_to=log_options.skip_poison_to,
        options=options.get_all_options(display_warnings=False),
    )


def _metrics_server(folder: JobFolder, options: PipelineOptions) -> MetricsServer | None:
    port = options.view_as(LogOptions).metrics_port
    if port is None:
        return None
    try:
        server = MetricsServer(folder.status, port)
    except OSError as error:
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
        if coordinator is None:
            self._ended.set()

    def run(self) -> None:
        """Runs the job to its end; what it raises is kept for `wait_until_finish`."""
        assert self._coordinator is not None
        try:
            self._state = self._coordinator.run()
        except BaseException as error:
            self._error = error
            self._state = PipelineState.FAILED
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
        finally:
            _close(self._metrics_server)
            self._ended.set()

    @property
    def state(self) -> str:
        """One of PipelineState's values."""
        if self._ended.is_set() or self._coordinator is None:
            return self._state
        return _STATE_OF.get(self._coordinator.state, self._coordinator.state)

    def wait_until_finish(self, duration: float | None = None) -> str:
        """Waits for the end, at most `duration` milliseconds, and gives the state. Raises what made the job fail."""
        deadline = None if duration is None else time.monotonic() + duration / 1000
        while not self._ended.is_set():
            left = threading.TIMEOUT_MAX if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return self.state
            self._ended.wait(min(left, 1.0))
        if self._error is not None:
            raise self._error
        return self.state

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
