"""The log's speed beside the raw limit of the machine: the same bytes written, synced or scanned by a bare loop in
the same run. `python -m tests.bench.log_bench [--scale 0.1]`; `CASES` is the table that `make bench` uses.

What waits for the disk or another process is measured by the wall clock. What only computes is measured in
processor seconds ("cpu-s"), because the machine is shared; on an idle machine the two agree.
"""

from __future__ import annotations

import argparse
import mmap
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from tests.storage_log.sparse_log import TOPIC, make_sparse_log

from hornbeam.storage.log import Consumer, Delivery, Log, Producer
from hornbeam.storage.log.record_batch import encode

RECORD_BYTES = 100
BATCH_RECORDS = 10_000


@attrs.frozen
class LogFigure:
    """One line: what, how fast, the raw limit in the same unit, the target."""

    name: str
    unit: str
    value: float
    raw: float
    target: float
    lower_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Share of the raw limit that is reached (for times: how many times the limit)."""
        return self.value / self.raw if self.raw else 0.0

    @property
    def good(self) -> bool:
        """Whether the target is reached, if there is one."""
        if not self.target:
            return True
        return self.value <= self.target if self.lower_is_better else self.value >= self.target


@contextmanager
def fresh_log(partitions: int = 1, **settings: Any) -> Iterator[tuple[Log, str]]:
    """A log with a topic "t" in a temporary folder of the disk that holds the working directory."""
    directory = tempfile.mkdtemp(prefix="log-bench-", dir=os.environ.get("HORNBEAM_BENCH_DIR", os.getcwd()))
    try:
        with Log(os.path.join(directory, "log")) as log:
            log.create_topic("t", partitions, **settings)
            yield log, directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def batch_values(count: int = BATCH_RECORDS) -> list[bytes]:
    """Records that differ."""
    return [b"%08d" % i + b"x" * (RECORD_BYTES - 8) for i in range(count)]


def best_of(rounds: int, work: Callable[[], float]) -> float:
    """The best of some rates: what the machine can do when nobody disturbs."""
    return max(work() for _ in range(rounds))


def raw_write(directory: str, blocks: int, sync_each: bool = False) -> float:
    """Seconds to write and sync the same bytes with nothing around them."""
    block = b"".join(batch_values())
    path = os.path.join(directory, "raw")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    start = time.perf_counter()
    for _ in range(blocks):
        os.write(fd, block)
        if sync_each:
            os.fdatasync(fd)
    os.fdatasync(fd)
    seconds = time.perf_counter() - start
    os.close(fd)
    os.unlink(path)
    return seconds


def batch_append(scale: float) -> list[LogFigure]:
    """Whole batches through a producer, synced at the end."""
    blocks = max(int(100 * scale), 10)
    values = batch_values()
    with fresh_log() as (log, directory):
        records = blocks * BATCH_RECORDS

        def ours() -> float:
            with Producer(log, acks="write") as producer:
                start = time.perf_counter()
                for _ in range(blocks):
                    producer.append("t", values)
                log.partition("t", 0).sync()
                return records / (time.perf_counter() - start)

        raw = best_of(3, lambda: records / raw_write(directory, blocks))
        return [
            LogFigure(
                "batch append, synced at the end", "M records/s", best_of(3, ours) / 1e6, raw / 1e6, 1.5
            )
        ]


def raw_gather(count: int) -> float:
    """Records a second that a bare loop can append to a list and join."""
    values = batch_values()
    start = time.process_time()
    for begin in range(0, count, BATCH_RECORDS):
        gathered: list[bytes] = []
        for i in range(begin, begin + BATCH_RECORDS):
            gathered.append(values[i % BATCH_RECORDS])
        zlib.crc32(b"".join(gathered))
    return count / (time.process_time() - start)


def record_producer(scale: float) -> list[LogFigure]:
    """One `send` a record, with and without keys."""
    count = max(int(400_000 * scale), 20_000)
    values = batch_values()
    figures = []
    for name, keys in (("without key", [None] * 1000), ("with key", [b"key%03d" % i for i in range(1000)])):
        with fresh_log(4) as (log, _):

            def ours(log: Log = log, keys: list[bytes | None] = keys) -> float:  # type: ignore[assignment]
                with Producer(log, acks="write") as producer:
                    send = producer.send
                    start = time.process_time()
                    for i in range(count):
                        send("t", values[i % BATCH_RECORDS], keys[i % 1000])
                    producer.flush()
                    return count / (time.process_time() - start)

            raw = best_of(3, lambda: raw_gather(count))
            figures.append(
                LogFigure(
                    f"per-record producer {name}", "M records/cpu-s", best_of(3, ours) / 1e6, raw / 1e6, 0.4
                )
            )
    return figures


def scans(scale: float) -> list[LogFigure]:
    """Reading back: batches with checksums verified, batches to Arrow, records one by one."""
    blocks = max(int(100 * scale), 10)
    records = blocks * BATCH_RECORDS
    with fresh_log() as (log, directory):
        with Producer(log, acks="write") as producer:
            for _ in range(blocks):
                producer.append("t", batch_values())
        path = os.path.join(directory, "raw")
        with open(path, "wb") as out:
            for _ in range(blocks):
                out.write(b"".join(batch_values()))

        def raw() -> float:
            with open(path, "rb") as source:
                start = time.process_time()
                mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
                zlib.crc32(mapped)
                return records / (time.process_time() - start)

        def raw_records() -> float:
            with open(path, "rb") as source:
                start = time.process_time()
                mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
                for at in range(0, len(mapped), RECORD_BYTES):
                    mapped[at : at + RECORD_BYTES]
                return records / (time.process_time() - start)

        def batches(use: Callable[[Any], Any]) -> float:
            consumer = Consumer(log, "t")
            start = time.process_time()
            seen = 0
            while found := consumer.poll_batches():
                for batch in found:
                    use(batch)
                    seen += len(batch)
            assert seen == records
            return records / (time.process_time() - start)

        def one_by_one() -> float:
            consumer = Consumer(log, "t")
            start = time.process_time()
            seen = 0
            for _ in consumer.read_available():
                seen += 1
            assert seen == records
            return records / (time.process_time() - start)

        limit, record_limit = best_of(3, raw) / 1e6, best_of(3, raw_records) / 1e6
        return [
            LogFigure("batch scan, checksums verified", "M records/cpu-s",
                      best_of(3, lambda: batches(lambda b: b.value_column())) / 1e6, limit, 8.0),
            LogFigure("batch scan to Arrow", "M records/cpu-s",
                      best_of(3, lambda: batches(lambda b: b.to_arrow())) / 1e6, limit, 8.0),
            LogFigure("per-record iteration", "M records/cpu-s", best_of(3, one_by_one) / 1e6, record_limit, 1.0),
        ]  # fmt: skip


def group_commit(scale: float) -> list[LogFigure]:
    """Producers that share fsyncs, against one that waits for an fsync after every record.

    Eight processes that keep some records under way, as `Producer.send` allows; and, without a target, producers
    that never have more than one: those are bound by the processors once an fsync takes less than the appends
    of the others.
    """
    seconds = max(2.0 * scale, 0.5) / 3
    with fresh_log() as (log, directory):
        directory = log.directory
    cases = {
        "8 processes, 8 records under way each": lambda: _processes_with_fsync(directory, 8, seconds, 8),
        "8 processes, 64 records under way each": lambda: _processes_with_fsync(directory, 8, seconds, 64),
        "8 processes, one record under way each": lambda: _processes_with_fsync(directory, 8, seconds, 1),
        "8 threads, a producer each, one record": lambda: _threads_with_fsync(directory, 8, seconds, False),
        "32 threads of one producer, one record": lambda: _threads_with_fsync(directory, 32, seconds, True),
    }
    rounds = []
    for _ in range(3):
        one = _processes_with_fsync(directory, 1, seconds, 1)
        rounds.append((one, _raw_fsyncs(os.getcwd(), seconds / 2), *(case() for case in cases.values())))
    one, raw, *values = (statistics.median(column) for column in zip(*rounds))
    figures = [LogFigure("one producer, an fsync a record", "records/s", one, raw, 0.0)]
    for at, (name, value) in enumerate(zip(cases, values), start=2):
        times = statistics.median(r[at] / r[0] for r in rounds)
        figures.append(LogFigure(name, "records/s", value, raw, 0.0))
        figures.append(
            LogFigure(f"{name}: times one", "x", times, 0.0, 5.0 if "records under way" in name else 0.0)
        )
    return figures


def _raw_fsyncs(directory: str, seconds: float) -> float:
    path = os.path.join(directory, f".raw-fsync-{os.getpid()}")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.write(fd, b"x" * 200)
        os.fdatasync(fd)
        count += 1
    os.close(fd)
    os.unlink(path)
    return count / seconds


def _produce_until(log: Log, end: float, under_way: int) -> int:
    """Records that were acknowledged by then."""
    count = 0
    waiting: deque[Delivery] = deque()
    value = b"x" * RECORD_BYTES
    with Producer(log, linger_ms=None) as producer:
        while time.monotonic() < end:
            waiting.append(producer.send("t", value, partition=0))
            if len(waiting) >= under_way:
                waiting.popleft().wait()
                count += 1
                while waiting and waiting[0].done:
                    waiting.popleft().wait()
                    count += 1
    return count


def _processes_with_fsync(directory: str, processes: int, seconds: float, under_way: int) -> float:
    shutil.rmtree(os.path.dirname(directory), ignore_errors=True)
    os.makedirs(os.path.dirname(directory))
    with Log(directory) as log:
        log.create_topic("t")
    end = time.monotonic() + seconds + 0.3
    pipes = []
    for _ in range(processes):
        read, write = os.pipe()
        if os.fork() == 0:
            with Log(directory) as log:
                log.partition("t", 0).ensure_open()
                while time.monotonic() < end - seconds:
                    time.sleep(0.001)
                os.write(write, b"%d" % _produce_until(log, end, under_way))
            os._exit(0)
        os.close(write)
        pipes.append(read)
    total = 0
    for read in pipes:
        total += int(os.read(read, 100))
        os.close(read)
        os.wait()
    shutil.rmtree(os.path.dirname(directory), ignore_errors=True)
    return total / seconds


def _threads_with_fsync(directory: str, threads: int, seconds: float, shared: bool) -> float:
    os.makedirs(os.path.dirname(directory))
    with Log(directory) as log, Producer(log, linger_ms=None) as producer:
        log.create_topic("t")
        end, counts = time.monotonic() + seconds, []

        def send_and_wait() -> int:
            count = 0
            while time.monotonic() < end:
                producer.send("t", b"x" * RECORD_BYTES, partition=0).wait()
                count += 1
            return count

        def work() -> None:
            counts.append(send_and_wait() if shared else _produce_until(log, end, 1))

        running = [threading.Thread(target=work) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    shutil.rmtree(os.path.dirname(directory), ignore_errors=True)
    return sum(counts) / seconds


def latency(scale: float) -> list[LogFigure]:
    """From `append` with fsync in one process to the record in a waiting consumer of another."""
    count = max(int(500 * scale), 50)
    with fresh_log() as (log, directory):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            with Log(os.path.join(directory, "log")) as mine:
                consumer = Consumer(mine, "t")
                os.write(write, b"!")
                delays: list[int] = []
                while len(delays) < count:
                    for record in consumer.poll(timeout_s=10):
                        delays.append(time.monotonic_ns() - int(record.value or b"0"))
                delays.sort()
                text = f"{delays[count // 2] / 1e6} {delays[int(count * 0.99)] / 1e6}"
                os.write(write, text.encode())
            os._exit(0)
        os.read(read, 1)
        with Producer(log, linger_ms=None) as producer:
            for _ in range(count):
                producer.append("t", [b"%d" % time.monotonic_ns()])
                time.sleep(0.002)
        p50, p99 = map(float, os.read(read, 100).split())
        os.waitpid(pid, 0)
        raw = 1000 / _raw_fsyncs(directory, 0.3)
    return [
        LogFigure("produce to consume across processes, p50", "ms", p50, raw, 2.0, lower_is_better=True),
        LogFigure("produce to consume across processes, p99", "ms", p99, raw, 10.0, lower_is_better=True),
    ]


def opening(scale: float) -> list[LogFigure]:
    """Opening a big log that was not closed: only what came after the last snapshot is read."""
    size = int((2 << 30) * scale)
    with fresh_log(segment_bytes=64 << 20) as (log, directory):
        partition = log.partition("t", 0)
        batch = encode(batch_values())
        while partition.view.index.next_offset * RECORD_BYTES < size:
            partition.append(batch)
        partition.sync()
        other = os.path.join(directory, "log")
        start = time.perf_counter()
        with Log(other) as again:
            assert again.partition("t", 0).end_offset == partition.end_offset
            again.partition("t", 0).refreshed_view()
            seconds = time.perf_counter() - start
    return [
        LogFigure(f"opening a log of {size / 2**30:.1f} GiB", "s", seconds, 0.0, 1.0, lower_is_better=True)
    ]


def at_size(scale: float) -> list[LogFigure]:
    """100 GiB in sparse files (holes for record bodies), and 10,000 partitions: opened, and read at the end."""
    size = int((100 << 30) * scale)
    directory = tempfile.mkdtemp(prefix="log-bench-", dir=os.environ.get("HORNBEAM_BENCH_DIR", os.getcwd()))
    try:
        end = make_sparse_log(os.path.join(directory, "big"), size, batch_bytes=16 << 20)
        start = time.perf_counter()
        with Log(os.path.join(directory, "big")) as log:
            consumer = Consumer(log, TOPIC)
            assert log.partition(TOPIC, 0).end_offset == end
            opened = time.perf_counter() - start
            consumer.seek(TOPIC, 0, end - 1)
            assert consumer.poll(max_records=1)[0].offset == end - 1
            last = time.perf_counter() - start - opened
        partitions = max(int(10_000 * scale), 100)
        with Log(os.path.join(directory, "wide")) as log:
            log.create_topic("t", partitions)
            start = time.perf_counter()
            with Log(os.path.join(directory, "wide")) as again:
                assert sum(p.end_offset for p in again.topic("t").partitions()) == 0
                wide = time.perf_counter() - start
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figures = {
        f"opening a log of {size / 2**30:.0f} GiB, sparse": opened,
        "  and reading its last record (16 MiB)": last,
        f"end offsets of {partitions:,} partitions": wide,
    }
    return [
        LogFigure(name, "s", seconds, 0.0, 0.0 if "offsets of" in name else 1.0, lower_is_better=True)
        for name, seconds in figures.items()
    ]


def encoding(scale: float) -> list[LogFigure]:
    """Encoding alone, for comparison."""
    values = batch_values()

    def ours() -> float:
        start = time.perf_counter()
        for _ in range(20):
            encode(values, timestamps=1)
        return 20 * BATCH_RECORDS / (time.perf_counter() - start)

    def raw() -> float:
        start = time.perf_counter()
        for _ in range(20):
            zlib.crc32(b"".join(values))
        return 20 * BATCH_RECORDS / (time.perf_counter() - start)

    return [LogFigure("encoding a batch", "M records/s", best_of(3, ours) / 1e6, best_of(3, raw) / 1e6, 1.5)]


CASES: dict[str, Callable[[float], list[LogFigure]]] = {
    "encoding": encoding,
    "batch_append": batch_append,
    "record_producer": record_producer,
    "scans": scans,
    "group_commit": group_commit,
    "latency": latency,
    "opening": opening,
    "at_size": at_size,
}


def table(figures: list[LogFigure]) -> str:
    """The figures as text."""
    lines = [f"{'case':44} {'measured':>10} {'raw limit':>10} {'ratio':>6} {'target':>8}  unit"]
    for figure in figures:
        target = f"{'<=' if figure.lower_is_better else '>='}{figure.target:g}" if figure.target else ""
        mark = "" if figure.good else "  missed"
        lines.append(
            f"{figure.name:44} {figure.value:10.3f} {figure.raw:10.3f} {figure.ratio:6.2f} {target:>8}  {figure.unit}{mark}"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measures the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    args = parser.parse_args(arguments)
    figures = [f for name, case in CASES.items() if args.only in name for f in case(args.scale)]
    print(table(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
