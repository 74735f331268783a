"""LogRunner: throughput, state updates, latency, recovery, pauses. `python -m tests.bench.log_runner_bench [--scale 0.1]`.

    throughput   JSON events of about 100 bytes: log → parse → key → 10 s fixed-window count → log, 1 s checkpoints
    state        log → key → a stateful DoFn that counts, over many keys → log
    latency      20,000 events/s appended live, 100 ms checkpoints: from append to the committed count of its window
    recovery     a worker is killed with 1M keys of state: until elements are processed again

Ratios are to the same pipeline on DirectRunner (as a stream). The machine's other users are in all figures: run it on
a quiet one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.transforms.userstate import CombiningValueStateSpec
from hornbeam.transforms.window import FixedWindows, TimestampedValue

PARTITIONS = 4
KEYS = 1000


def event(number: int, chance: random.Random) -> bytes:
    """About 100 bytes; time goes on by 1 ms an event."""
    return json.dumps(
        {
            "id": number,
            "key": f"user-{chance.randrange(KEYS)}",
            "ts": number / 1000,
            "amount": 12.5,
            "note": "x" * 22,
        }
    ).encode()


def fill(folder: str, topic: str, events: int) -> None:
    """A topic of so many events."""
    log = Log(folder)
    log.ensure_topic(topic, PARTITIONS)
    chance = random.Random(7)
    with Producer(log, acks="write") as producer:
        for start in range(0, events, 8000):
            values = [event(n, chance) for n in range(start, min(start + 8000, events))]
            for partition in range(PARTITIONS):
                producer.append(topic, values[partition::PARTITIONS], partition=partition)
    log.close()


def parsed(value: Any) -> Any:
    return TimestampedValue((value["key"], 1), value["ts"])


def counting(p: beam.Pipeline, folder: str, bounded: bool) -> None:
    """The pipeline of the throughput and latency cases."""
    (
        p
        | "read"
        >> ReadFromLog(folder, "events", bounded=bounded, value_coder=json.loads, max_out_of_orderness=0.1)
        | "parse" >> beam.Map(parsed)
        | "windows" >> beam.WindowInto(FixedWindows(10))
        | "count" >> beam.CombinePerKey(sum)
        | "write"
        >> WriteToLog(folder, "counts", key=lambda kv: kv[0], value_coder=lambda kv: str(kv[1]), partitions=2)
    )


class Counting(beam.DoFn):
    """A count a key."""

    COUNT = CombiningValueStateSpec("count", VarIntCoder(), sum)

    def process(self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT)) -> Any:
        count.add(1)


def updating(keys: int) -> Callable[[beam.Pipeline, str, bool], None]:
    """The pipeline of the state case."""

    def build(p: beam.Pipeline, folder: str, bounded: bool) -> None:
        _ = (
            p
            | "read" >> ReadFromLog(folder, "events", bounded=bounded, value_coder=lambda data: data)
            | "key" >> beam.Map(lambda data: (hash(data) % keys, 1))
            | "count" >> beam.ParDo(Counting())
        )

    return build


def run(build: Any, folder: str, flags: list[str]) -> tuple[float, Any]:
    """Seconds that a bounded pipeline took once it ran, and its result."""
    p = beam.Pipeline(options=PipelineOptions([*flags, "--no_progress"]))
    build(p, folder, True)
    began = time.perf_counter()
    result = p.run()
    result.wait_until_finish()
    return time.perf_counter() - began, result


def fresh(folder: str, *topics: str) -> None:
    """Topics of results from nothing."""
    log = Log(folder)
    for topic in topics:
        if topic in log.topics():
            log.delete_topic(topic)
    log.close()


def log_flags(folder: str, name: str, workers: int, interval_ms: int) -> list[str]:
    return ["--runner=LogRunner", f"--log_dir={folder}/jobs", f"--job_name={name}", "--fresh",
            f"--num_workers={workers}", f"--checkpoint_interval_ms={interval_ms}"]  # fmt: skip


def throughput(
    scale: float, build: Any = counting, name: str = "throughput", events_max: int = 3_000_000
) -> None:
    """Events a second, start and end included, and without what an empty run takes."""
    folder = tempfile.mkdtemp(prefix="hornbeam-bench-")
    events = int(events_max * scale)
    try:
        empty = tempfile.mkdtemp(dir=folder)
        fill(empty, "events", 0)
        fill(folder, "events", events)
        cpu = time.process_time()
        direct, _ = run(build, folder, ["--runner=DirectRunner", "--streaming"])
        direct_cpu = time.process_time() - cpu
        print(f"{name}: DirectRunner as a stream: {events / direct:,.0f} events/s,", end=" ")
        print(f"by processor time {events / direct_cpu:,.0f}")
        for workers in (1, 2):
            fresh(folder, "counts")
            start, _ = run(build, empty, log_flags(empty, "empty", workers, 1000))
            cpu = time.process_time()
            seconds, result = run(build, folder, log_flags(folder, name, workers, 1000))
            of_workers = sum(result.cpu_seconds()) / workers
            coordinator = time.process_time() - cpu
            rate, cpu_rate = events / (seconds - start), events / (of_workers + coordinator / 2)
            print(
                f"{name}: {workers} workers: {rate:,.0f} events/s, {rate * direct / events:.2f} of DirectRunner;",
                end=" ",
            )
            print(
                f"by processor time {cpu_rate:,.0f}, {cpu_rate * direct_cpu / events:.2f} of DirectRunner",
                end=" ",
            )
            print(f"(coordinator {coordinator:.2f} s); pauses {_pauses(result)}")
    finally:
        shutil.rmtree(folder)


def _pauses(result: Any) -> str:
    pauses = sorted(result.pauses_ms())
    if not pauses:
        return "none"
    at = pauses[min(len(pauses) - 1, int(len(pauses) * 0.99))]
    return f"p50 {statistics.median(pauses):.1f} p99 {at:.1f} max {pauses[-1]:.1f} ms"


def latency(seconds: float, rate: int = 20_000, workers: int = 2) -> None:
    """From the append of the event that ends a window to its committed counts: 100 windows of 0.5 s of event time."""
    folder = tempfile.mkdtemp(prefix="hornbeam-bench-")
    log = Log(folder)
    log.ensure_topic("events", PARTITIONS)
    log.ensure_topic("counts", 1)
    appended: dict[int, float] = {}
    done = threading.Event()

    def produce() -> None:
        with Producer(log, acks="write", linger_ms=None) as producer:
            began = time.time()
            number = 0
            while not done.is_set():
                now = time.time()
                due = int((now - began) * rate)
                values = []
                for n in range(number, due):
                    stamp = began + n / rate
                    values.append(
                        json.dumps({"key": f"user-{n % 50}", "ts": stamp, "note": "x" * 60}).encode()
                    )
                    appended.setdefault(int(stamp * 2), now)
                for partition in range(PARTITIONS):
                    if values[partition::PARTITIONS]:
                        producer.append("events", values[partition::PARTITIONS], partition=partition)
                number = due
                time.sleep(0.005)

    def build(p: beam.Pipeline) -> None:
        (
            p
            | "read"
            >> ReadFromLog(
                folder,
                "events",
                value_coder=json.loads,
                timestamp_fn=lambda e: e["ts"],
                max_out_of_orderness=0.0,
            )
            | "parse" >> beam.Map(lambda e: (e["key"], 1))
            | "windows" >> beam.WindowInto(FixedWindows(0.5))
            | "count" >> beam.CombinePerKey(sum)
            | "write" >> WriteToLog(folder, "counts", key=lambda kv: kv[0], value_coder=lambda kv: str(kv[1]))
        )

    p = beam.Pipeline(options=PipelineOptions([*log_flags(folder, "latency", workers, 100), "--no_progress"]))
    build(p)
    result = p.run()
    thread = threading.Thread(target=produce)
    delays: list[float] = []
    try:
        thread.start()
        consumer = Consumer(log, "counts")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for record in consumer.read_available(timeout_s=0.2):
                window = record.timestamp_micros // 500_000  # its time is the window's last
                ended = appended.get(window + 1)  # the first event behind it
                if ended is not None:
                    delays.append(time.time() - ended)
    finally:
        done.set()
        thread.join()
        pauses = _pauses(result)
        result.cancel()
        log.close()
        shutil.rmtree(folder)
    delays = sorted(delays[len(delays) // 5 :])
    p50, p99 = (delays[int(len(delays) * part)] * 1000 for part in (0.5, 0.99))
    print(
        f"latency at {rate:,} events/s, 100 ms checkpoints, {workers} workers: {len(delays)} results,",
        end=" ",
    )
    print(f"p50 {p50:.0f} ms, p99 {p99:.0f} ms; pauses {pauses}")


def recovery(keys: int, workers: int = 2) -> None:
    """Until elements are processed again after a SIGKILL of a worker, with so many keys of state."""
    folder = tempfile.mkdtemp(prefix="hornbeam-bench-")
    try:
        log = Log(folder)
        log.ensure_topic("events", PARTITIONS)
        with Producer(log, acks="write") as producer:
            for start in range(0, keys, 8192):
                values = [str(n).encode() for n in range(start, min(start + 8192, keys))]
                for partition in range(PARTITIONS):
                    producer.append("events", values[partition::PARTITIONS], partition=partition)
        p = beam.Pipeline(
            options=PipelineOptions([*log_flags(folder, "recovery", workers, 1000), "--no_progress"])
        )
        (
            p
            | "read" >> ReadFromLog(folder, "events", value_coder=int)
            | "key" >> beam.Map(lambda n: (n, 1))
            | "count" >> beam.ParDo(Counting())
        )
        result = p.run()
        job = JobFolder(f"{folder}/jobs", "recovery")
        _await(lambda: _entries(job) >= keys)
        job.ask("checkpoint")
        status = job.status()
        assert status is not None
        os.kill(status.workers[0], signal.SIGKILL)
        began = time.perf_counter()
        _await(lambda: result.is_processing(after_attempt=status.attempt))
        seconds = time.perf_counter() - began
        print(f"recovery with {keys:,} keys, {workers} workers: {seconds:.2f} s,", end=" ")
        print(
            f"of it at most {result.restore_cpu_seconds():.2f} s of a worker's processor time; pauses {_pauses(result)}"
        )
        result.cancel()
        log.close()
    finally:
        shutil.rmtree(folder)


def _entries(job: JobFolder) -> int:
    status = job.status()
    return 0 if status is None else sum(step.entries for step in status.steps if step.label == "count")


def _await(condition: Any, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come to that")
        time.sleep(0.01)


def main() -> None:
    """All cases, or those that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    cases: dict[str, Callable[[], None]] = {
        "throughput": lambda: throughput(options.scale),
        # Long enough that most keys were there before; the last checkpoint has nothing of them.
        "state": lambda: throughput(
            options.scale, updating(int(1_000_000 * options.scale)), "state", 8_000_000
        ),
        "latency": lambda: latency(30 * max(options.scale, 0.3)),
        "recovery": lambda: recovery(int(1_000_000 * options.scale)),
    }
    for name, case in cases.items():
        if options.only in name:
            case()


if __name__ == "__main__":
    main()
