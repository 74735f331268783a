"""What becomes of a run when its workers die, hang, or cannot say what went wrong."""

from __future__ import annotations

import ctypes
import logging
import os
import pathlib
import signal
import time

import pytest
from multiprocess_runner import chaos

import hornbeam as beam
from hornbeam.metrics.metric import Metrics
from hornbeam.runners.multiprocess.coordinator import TASK_ATTEMPTS_MAX, WorkerLostError

DEATHS = {
    "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "os._exit": lambda: os._exit(3),
    "segmentation fault": lambda: ctypes.string_at(0),
    "abort": os.abort,
}


def dies_once(marker: pathlib.Path, death: str):
    """A function that ends its process at element 50, the first time it is called."""

    def step(x):
        if x == 50 and not marker.exists():
            marker.touch()
            DEATHS[death]()
        Metrics.counter("test", "seen").inc()
        return x

    return step


@pytest.mark.parametrize("death", DEATHS)
def test_the_work_of_a_dead_worker_is_done_again_and_counts_once(flags, tmp_path, death):
    with beam.Pipeline(options=flags()) as p:
        total = p | beam.Create(range(100)) | beam.Map(dies_once(tmp_path / "died", death))
        total | beam.CombineGlobally(sum) | beam.Map(repr) | beam.io.WriteToText(str(tmp_path / "out"))
    (counter,) = p.result.metrics().query()["counters"]
    assert counter.committed == 100
    lines = [line for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    assert lines == ["4950"]


def test_a_poison_element_is_named_after_the_retries(flags, tmp_path):
    def step(x):
        if x == 50:
            with open(tmp_path / "deaths", "a") as file:
                file.write("x")
            os._exit(3)
        return x

    with pytest.raises(WorkerLostError) as caught, beam.Pipeline(options=flags()) as p:
        (
            p
            | beam.Create(range(100))
            | beam.Map(lambda x: x)
            | "poisoned" >> beam.Map(step)
            | "after" >> beam.Map(str)
        )
    assert "step 'poisoned' on element 50" in str(caught.value)
    assert "exited with status 3" in str(caught.value)
    assert len((tmp_path / "deaths").read_text()) == TASK_ATTEMPTS_MAX


def test_a_crash_shows_its_stacks(flags):
    def crashes(x):
        ctypes.string_at(0)

    with pytest.raises(WorkerLostError, match="SIGSEGV") as caught, beam.Pipeline(options=flags()) as p:
        p | beam.Create([1]) | beam.Map(crashes)
    assert "in crashes" in caught.value.__notes__[0]


def hangs_once(marker: pathlib.Path):
    def step(x):
        if x == 5 and not marker.exists():
            marker.touch()
            time.sleep(1000)
        return x

    return step


def test_a_hung_worker_is_reported_with_its_stacks_and_its_work_done_again(flags, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(options=flags("--worker_timeout=3")) as p:
        numbers = p | beam.Create(range(10)) | "hangs" >> beam.Map(hangs_once(tmp_path / "hung"))
        numbers | beam.CombineGlobally(sum) | beam.Map(str) | beam.io.WriteToText(str(tmp_path / "out"))
    reports = [r.getMessage() for r in caplog.records if "has not got on" in r.getMessage()]
    (report,) = [report for report in reports if "step 'hangs'" in report]
    assert "in step" in report and "hornbeam" in report
    assert [path.read_text() for path in tmp_path.glob("out*")] == ["45\n"]


def test_work_that_was_given_away_by_a_worker_that_dies_counts_once(flags, tmp_path):
    """The slow elements at hand are given to the idle worker; then the one that gave them dies."""

    def step(x):
        time.sleep(0.01)
        if x == 20 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return x

    with beam.Pipeline(options=flags()) as p:
        numbers = p | beam.Create([0]) | beam.FlatMap(lambda _: range(200)) | beam.Reshuffle()
        slow = numbers | beam.Map(step)
        slow | beam.combiners.Count.PerElement() | beam.Map(repr) | beam.io.WriteToText(str(tmp_path / "out"))
    lines = [line for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(repr((i, 1)) for i in range(200))


def test_what_user_code_forks_neither_speaks_nor_writes_for_the_worker(flags, tmp_path):
    """Forked processes that print much at once, and ones that return and so go on as if they were the worker."""

    def step(x):
        child = os.fork()
        if child == 0 and x % 2:
            for _ in range(20):
                print("forked" * 5000, flush=True)
                logging.warning("from a forked process")
            os._exit(0)
        if child:
            print("waiting" * 5000)
            os.waitpid(child, 0)
        return x % 2, x

    with beam.Pipeline(options=flags()) as p:
        sums = p | beam.Create([0, 1, 2, 3]) | beam.Map(step) | beam.CombinePerKey(sum)
        sums | beam.Map(repr) | beam.io.WriteToText(str(tmp_path / "out"))
    lines = [line for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    assert sorted(lines) == ["(0, 2)", "(1, 4)"]


def test_a_killed_fork_server_is_started_again(flags, tmp_path):
    from hornbeam.runners.multiprocess.workers import server

    server.start()
    before = server._process
    assert before is not None
    before.kill()
    before.wait()
    with beam.Pipeline(options=flags()) as p:
        p | beam.Create([1]) | beam.Map(str) | beam.io.WriteToText(str(tmp_path / "out"))
    assert server._process is not before


@pytest.mark.parametrize("seed", range(6))
def test_jobs_whose_workers_are_killed_at_random_end_well(seed):
    chaos.run_job(seed)
