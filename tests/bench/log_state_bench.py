"""LogRunner with state larger than memory. `python -m tests.bench.log_state_bench [--keys 10000000]`.

    log ─► parse ─► a sum for each key, in a value state ─► log        exactly-once, a checkpoint every 2 s

    fill       every key once, in no order
    hot, cold  then 9 of 10 elements from 1 % of the keys; then elements from all keys alike
    resumed    from one savepoint with 1, 2 and 4 workers, which each are given the same new elements
    killed     kill -9 of all processes amid work; the same command with 2 workers instead of 4 goes on

Fails when all processes together had more memory of their own than --limit.

What was committed is compared, row by row, with sums that numpy makes of the input. Printed for each phase: rows a second;
the peak of memory of all processes together (PSS, in which shared pages count once; and what is their own, no pages of
files), then of that the workers', their copies' at a checkpoint, and the coordinator's; the median and the maximum of what
a checkpoint wrote, what all of it comes to, how long it took, and how long workers stood still for it; what checkpoints,
state that went to disk, and exchanges took there. With --timers each key has a timer instead; these fire as time goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

import hornbeam as beam
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.options.pipeline_options import PipelineOptions, parse_bytes
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_status import CheckpointStatus, JobStatus, StepStatus
from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

PARTITIONS = 4
_SPREAD = 7_368_787
_BATCH = 1 << 14
#: In seconds: half of the timers have fired, all have.
_HALF_TIME, _ALL_TIME = 1_501, 9_999

Numbers = npt.NDArray[np.int64]

_NO_ROWS = np.zeros((0, 2), dtype=np.int64)


def _timer(key: Any) -> Any:
    """When the timer of a key, or of each in an array, fires."""
    return 1_000 + 2 * (key % 500)


# The job


class Summing(beam.DoFn):
    """The sum of a key's values, told at each element."""

    SUM = ReadModifyWriteStateSpec("sum", beam.coders.VarIntCoder())

    def process(self, pair: Any, total: Any = beam.DoFn.StateParam(SUM)) -> Iterator[Any]:
        found = (total.read() or 0) + pair[1]
        total.write(found)
        yield pair[0], found


class SummingForATime(beam.DoFn):
    """The sum of a key's values, told when its timer fires."""

    SUM = ReadModifyWriteStateSpec("sum", beam.coders.VarIntCoder())
    TELL = TimerSpec("tell", TimeDomain.WATERMARK)

    def process(
        self, pair: Any, total: Any = beam.DoFn.StateParam(SUM), tell: Any = beam.DoFn.TimerParam(TELL)
    ) -> None:
        key, value = pair
        if value:  # others only move time on
            total.write((total.read() or 0) + value)
            tell.set(int(_timer(key)))

    @on_timer(TELL)
    def told(self, key: Any = beam.DoFn.KeyParam, total: Any = beam.DoFn.StateParam(SUM)) -> Iterator[Any]:
        yield key, total.read()
        total.clear()


def parsed(data: bytes) -> tuple[int, int, int]:
    """Key, value, seconds."""
    key, value, seconds = data.split()
    return int(key), int(value), int(seconds)


def run_job(folder: str, timers: bool, flags: list[str]) -> None:
    """The job's program."""
    options = ["--runner=LogRunner", "--job_name=sums", f"--log_dir={folder}", f"--temp_dir={folder}/spilled"]
    with beam.Pipeline(options=PipelineOptions([*options, "--no_progress", *flags])) as p:
        (
            p
            | "read"
            >> ReadFromLog(
                folder,
                "events",
                value_coder=parsed,
                timestamp_fn=lambda event: event[2],
                max_out_of_orderness=0.0,
                idle_timeout=None,
            )
            | "pairs" >> beam.Map(lambda event: event[:2])
            | "sum" >> beam.ParDo(SummingForATime() if timers else Summing())
            | "write" >> WriteToLog(folder, "sums", value_coder=lambda row: b"%d %d" % row, partitions=2)
        )


# What is looked at


@attrs.define
class Memory:
    """MB of the processes of a job: all, and those that are their own (not pages of files), by role."""

    total: float = 0.0
    own: float = 0.0
    coordinator: float = 0.0
    workers: float = 0.0
    copies: float = 0.0


def memory_of(pid: int) -> Memory:
    """What a job takes now; `pid` is its coordinator."""
    found, level = Memory(), [pid]
    for role in ("coordinator", "server", "workers", "copies"):
        for each in level:
            pss, own = _pss_mb(each)
            found.total += pss
            found.own += own
            if role != "server":
                setattr(found, role, getattr(found, role) + own)
        level = _children(level)
    return found


def _children(of: list[int]) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            if int(file.read().rpartition(")")[2].split()[1]) in of:
                found.append(int(name))
    return found


def _descendants(of: int) -> list[int]:
    found, level = [], [of]
    while level := _children(level):
        found += level
    return found


def _pss_mb(pid: int) -> tuple[float, float]:
    fields: dict[str, int] = {}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file.readlines()[1:]:
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0])
    return fields.get("Pss", 0) / 1024, fields.get("Pss_Anon", 0) / 1024


def disk_mb(path: str) -> float:
    """What a folder takes, files that are being removed counted or not."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
    return total / 1e6


class Watch:
    """Looks at a job all the time, until it is closed; figures since `begin`, and in `most` those of all jobs."""

    def __init__(self, folder: str, job: JobFolder, pid: int, most: Memory) -> None:
        self._folder, self._job, self._pid, self._most = folder, job, pid, most
        self._is_over = threading.Event()
        self.begin()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def begin(self) -> None:
        """A new phase."""
        self.peak = Memory()
        self.checkpoints: dict[int, CheckpointStatus] = {}
        self.stored_mb = self.spilled_mb = self.exchange_mb = 0.0
        self._began = time.time_ns() // 1000

    def _look(self) -> None:
        turn = 0
        while not self._is_over.wait(0.25):
            now = memory_of(self._pid)
            for field in attrs.fields_dict(Memory):
                for peak in (self.peak, self._most):
                    setattr(peak, field, max(getattr(peak, field), getattr(now, field)))
            status = self._job.status()
            taken = None if status is None or status.pid != self._pid else status.checkpoint
            if taken is not None and taken.completed_micros > self._began:
                self.checkpoints[taken.number] = taken
            if turn % 8 == 0:
                self.stored_mb = max(self.stored_mb, disk_mb(self._job.checkpoints))
                self.spilled_mb = max(self.spilled_mb, disk_mb(f"{self._folder}/spilled"))
                self.exchange_mb = max(self.exchange_mb, disk_mb(self._job.exchange))
            turn += 1

    def close(self) -> None:
        """Stops looking."""
        self._is_over.set()
        self._thread.join()


# The input, and what must come of it


class Events:
    """Appends (key, value) pairs to the job's input, and knows the sums that they come to."""

    def __init__(self, folder: str, keys: int) -> None:
        self._log = Log(folder)
        self._log.ensure_topic("events", PARTITIONS)
        self.sums = np.zeros(keys, dtype=np.int64)
        self.appended = 0

    def append(self, keys: Numbers, seed: int, seconds: int = 0) -> Numbers:
        """Pairs with values by chance, in order; gives the rows (key, sum so far) that they come to, sorted."""
        values = np.random.default_rng(seed).integers(1, 100, len(keys))
        self._write(keys, values, seconds)
        order = np.argsort(keys, kind="stable")
        sorted_keys, running = keys[order], np.cumsum(values[order])
        first = np.flatnonzero(np.diff(sorted_keys, prepend=-1))
        before = np.concatenate([[0], running])[first]
        lengths = np.diff(np.append(first, len(keys)))
        running += np.repeat(self.sums[sorted_keys[first]] - before, lengths)
        np.add.at(self.sums, keys, values)
        return np.stack([sorted_keys, running], axis=1)

    def move_time(self, seconds: int) -> None:
        """Elements without a value in every partition."""
        self._write(np.arange(PARTITIONS), np.zeros(PARTITIONS, dtype=np.int64), seconds)

    def _write(self, keys: Numbers, values: Numbers, seconds: int) -> None:
        with Producer(self._log, acks="write") as producer:
            for start in range(0, len(keys), _BATCH):
                part = slice(start, start + _BATCH)
                own = keys[part] % PARTITIONS
                for partition in range(PARTITIONS):
                    pairs = zip(
                        keys[part][own == partition].tolist(), values[part][own == partition].tolist()
                    )
                    rows = [b"%d %d %d" % (key, value, seconds) for key, value in pairs]
                    if rows:
                        producer.append("events", rows, partition=partition)
        self.appended += len(keys)


class Results:
    """What the job has committed and was not asked for yet."""

    def __init__(self, folder: str) -> None:
        log = Log(folder)
        log.ensure_topic("sums", 2)
        self._consumer = Consumer(log, "sums")
        self._rows: list[Numbers] = []
        self.count = 0

    def await_rows(self, count: int, job: Callable[[], None]) -> None:
        """Waits until so many have come; `job` is called now and then, to look whether it still runs."""
        while self.count < count:
            batches = self._consumer.poll_batches(timeout_s=1.0)
            for batch in batches:
                text = b" ".join(value for value in batch.values() if value is not None).decode()
                self._rows.append(np.fromstring(text, dtype=np.int64, sep=" ").reshape(-1, 2))
                self.count += len(self._rows[-1])
            if not batches:
                job()

    def check(self, expected: Numbers, what: str) -> None:
        """AssertionError unless the rows are these."""
        found = np.concatenate([_NO_ROWS, *self._rows])
        found = found[np.lexsort((found[:, 1], found[:, 0]))]
        if not np.array_equal(found, expected):
            raise AssertionError(
                f"{what}: {len(found):,} rows are not the {len(expected):,} that are expected"
            )
        self._rows, self.count = [], 0


class Case:
    """One job from its first start to its last."""

    def __init__(self, folder: str, args: argparse.Namespace) -> None:
        self.folder, self.args = folder, args
        self.job = JobFolder(folder, "sums")
        os.makedirs(f"{folder}/spilled")
        self.events, self.results = Events(folder, args.keys), Results(folder)
        self.process: subprocess.Popen[bytes] | None = None
        #: The peaks of the whole run.
        self.most = Memory()

    def tell_most(self) -> None:
        """Prints the peaks of the whole run. AssertionError if the processes had more of their own than the limit."""
        limit_mb, most = parse_bytes(self.args.limit) / (1 << 20), self.most
        print(
            f"most of the whole run under {self.args.limit}: {most.total:.0f} MB of PSS, {most.own:.0f} MB their own; "
            f"workers {most.workers:.0f}, copies {most.copies:.0f}, coordinator {most.coordinator:.0f}"
        )
        if most.own > limit_mb:
            raise AssertionError(f"{most.own:.0f} MB of memory are more than {limit_mb:.0f} MB")

    @contextlib.contextmanager
    def running(self, workers: int, *flags: str) -> Iterator[Watch]:
        """The job at work; killed at the end, if it has not ended by then."""
        command = [sys.executable, "-m", "tests.bench.log_state_bench", "--job", self.folder]
        command += ["--timers"] * self.args.timers
        command += [f"--num_workers={workers}", f"--memory_limit={self.args.limit}", *flags]
        command += [f"--checkpoint_interval_ms={self.args.interval_ms}"]
        self.process = subprocess.Popen(command, start_new_session=True)
        watch = Watch(self.folder, self.job, self.process.pid, self.most)
        try:
            yield watch
        finally:
            watch.close()
            self.kill()

    @contextlib.contextmanager
    def resumed(self, workers: int, *flags: str) -> Iterator[Watch]:
        """As `running`, once all workers have their state; says how long that took."""
        began = time.monotonic()
        with self.running(workers, *flags) as watch:
            assert self.process is not None
            while (status := self.job.status()) is None or not (
                status.pid == self.process.pid and status.state == "RUNNING" and status.steps
            ):
                self.is_running()
                time.sleep(0.05)
            seconds = time.monotonic() - began
            entries = self._step(status).entries
            print(f"  {workers} workers at work after {seconds:.1f} s, {entries:,} entries", flush=True)
            yield watch

    @staticmethod
    def _step(status: JobStatus) -> StepStatus:
        return next(step for step in status.steps if step.label == "sum")

    def is_running(self) -> None:
        """AssertionError if the job has ended by itself."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the job has ended: {self.job.status()}")

    def kill(self) -> None:
        """kill -9 of all processes of the job."""
        assert self.process is not None
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, name: str) -> None:
        """Ends the job with a savepoint."""
        began = time.monotonic()
        self.job.ask("stop", name=name, timeout_seconds=600)
        assert self.process is not None
        self.process.wait()
        print(f"  stopped with a savepoint in {time.monotonic() - began:.1f} s", flush=True)

    def await_elements(self, count: int) -> None:
        """Waits until the step has had so many since the workers began."""
        while (
            (status := self.job.status()) is None or not status.steps or self._step(status).elements < count
        ):
            self.is_running()
            time.sleep(0.1)

    def phase(self, name: str, watch: Watch, expected: Numbers, began: float) -> None:
        """Waits for the rows that are expected, checks them and prints figures."""
        self.results.await_rows(len(expected), self.is_running)
        seconds = time.monotonic() - began
        self.results.check(expected, name)
        taken = sorted(watch.checkpoints.values(), key=lambda each: each.number)
        sizes = [each.bytes / 1e6 for each in taken]
        durations, pauses = [each.duration_ms / 1e3 for each in taken], [each.pause_ms for each in taken]
        peak = watch.peak
        print(
            f"{name:10} {len(expected) / seconds:8,.0f} {seconds:7.1f} "
            f"{peak.total:7.0f} {peak.own:6.0f} {peak.workers:6.0f} {peak.copies:6.0f} {peak.coordinator:6.0f} "
            f"{_spread(sizes, 1)} {taken[-1].total_bytes / 1e6 if taken else 0:6.0f} "
            f"{_spread(durations, 1)} {_spread(pauses, 0)} "
            f"{watch.stored_mb:7.0f} {watch.spilled_mb:7.0f} {watch.exchange_mb:5.0f}",
            flush=True,
        )
        watch.begin()

    def drawn(self, phase: str, count: int, seed: int) -> Numbers:
        """Keys of elements."""
        chance, keys = np.random.default_rng(seed), self.args.keys
        drawn: Numbers = chance.integers(0, keys, count)
        if phase == "hot":
            hot = chance.random(count) < 0.9
            drawn[hot] = drawn[hot] // 100 * 100
        return drawn


def _spread(found: list[float], digits: int) -> str:
    if not found:
        return f"{'-':>13}"
    return f"{statistics.median(found):6.{digits}f} {max(found):6.{digits}f}"


_HEAD = (
    f"{'':10} {'rows/s':>8} {'seconds':>7} {'PSS MB':>7} {'own':>6} {'work.':>6} {'copies':>6} {'coord.':>6} "
    f"{'ckpt MB, max':>13} {'all':>6} {'ckpt s, max':>13} {'pause ms, max':>13} {'stored':>7} {'spilled':>7} {'exch.':>5}"
)


def sums(case: Case) -> None:
    """All phases of the job without timers."""
    args, events = case.args, case.events
    with case.running(args.workers) as watch:
        for name in ("fill", "hot", "cold"):
            began = time.monotonic()
            keys = every_key(args.keys) if name == "fill" else case.drawn(name, args.updates, len(name))
            expected = events.append(keys, len(name))
            case.phase(name, watch, expected, began)
        case.stop("filled")
    expected = events.append(case.drawn("cold", args.updates // 4, 7), 7)
    for workers in args.resume:
        with case.resumed(workers, "--restore_from=filled", "--restore_again") as watch:
            case.phase(f"resumed {workers}", watch, expected, time.monotonic())
    expected = events.append(case.drawn("cold", args.updates, 8), 8)
    with case.resumed(args.resume[-1]) as watch:
        case.results.await_rows(len(expected) // 2, case.is_running)
        case.kill()
    with case.resumed(args.workers) as watch:
        case.phase("killed", watch, expected, time.monotonic())


def timers(case: Case) -> None:
    """All phases of the job with a timer for each key."""
    args, events = case.args, case.events
    with case.running(args.workers) as watch:
        events.append(every_key(args.keys), 1)
        events.append(case.drawn("hot", args.updates, 2), 2)
        began = time.monotonic()
        case.await_elements(events.appended)
        case.phase("fill", watch, _NO_ROWS, began)
        rows = np.stack([np.arange(args.keys), events.sums], axis=1)
        due = _timer(rows[:, 0]) <= _HALF_TIME
        events.move_time(_HALF_TIME)
        case.results.await_rows(1, case.is_running)
        case.kill()
    with case.resumed(args.workers) as watch:
        case.phase("fired", watch, rows[due], time.monotonic())
        case.stop("half")
    events.move_time(_ALL_TIME)
    for workers in args.resume:
        with case.resumed(workers, "--restore_from=half", "--restore_again") as watch:
            case.phase(f"resumed {workers}", watch, rows[~due], time.monotonic())


def every_key(keys: int) -> Numbers:
    """All keys, in no order."""
    found: Numbers = np.arange(keys) * _SPREAD % keys
    return found


def main() -> None:
    """Prints the table, or is the program of the job."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--updates", type=int, default=2_000_000)
    parser.add_argument("--limit", default="512MB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--resume", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4]
    )
    parser.add_argument("--interval_ms", type=int, default=2000)
    parser.add_argument("--timers", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args, flags = parser.parse_known_args()
    if args.job:
        from tests.bench import log_state_bench  # not __main__, which workers do not have

        log_state_bench.run_job(args.job, args.timers, flags)
        return
    folder = tempfile.mkdtemp(prefix="hornbeam-bench-")
    try:
        case = Case(folder, args)
        print(_HEAD)
        timers(case) if args.timers else sums(case)
        case.tell_most()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
