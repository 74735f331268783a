"""State that does not fit in memory: on disk while the job runs, in checkpoints, with other workers, on a full disk."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from log_runner.staged_files import WriteStaged, committed

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec

KEYS, HOT = 3000, 20
#: Every key once; then the hot ones again and again, slowly, so that much can happen meanwhile.
ELEMENTS = KEYS + 3000


class All(RestrictionProvider):
    """All elements."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, ELEMENTS)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, element: Any, restriction: OffsetRange) -> None:
        """A drain ends it."""


class Give(beam.DoFn):
    """Pairs of a key and a number."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self, pause: float, tracker: Any = beam.DoFn.RestrictionParam(All())
    ) -> Iterator[tuple[str, int]]:
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield (f"key-{at if at < KEYS else at % HOT}", at)
            at += 1
            if at > KEYS and at % HOT == 0:
                time.sleep(pause)


class Counting(beam.DoFn):
    """Numbers the elements of each key; the state is padded, so that it soon goes to disk."""

    SEEN = ReadModifyWriteStateSpec("seen", beam.coders.PickleCoder())

    def process(self, pair: Any, seen: Any = beam.DoFn.StateParam(SEEN)) -> Any:
        number = (seen.read() or (0, b""))[0] + 1
        seen.write((number, bytes(300)))
        yield pair[0], number


class Job:
    """The job, in far less memory than its state takes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = JobFolder(path, "many")

    def start(self, *flags: str, pause: float = 0.0) -> Any:
        options = [
            "--runner=LogRunner", "--job_name=many", f"--log_dir={self.path}", "--no_progress",
            "--checkpoint_interval_ms=100", "--memory_limit=800KB", *flags,
        ]  # fmt: skip
        pipeline = beam.Pipeline(options=PipelineOptions(options))
        (
            pipeline
            | beam.Create([pause], reshuffle=False)
            | "give" >> beam.ParDo(Give())
            | "count" >> beam.ParDo(Counting())
            | "write" >> beam.ParDo(WriteStaged(f"{self.path}/out"))
        )
        return pipeline.run()

    def await_rows(self, count: int) -> None:
        """Waits until so many are committed."""
        _await(lambda: sum(1 for _ in committed(f"{self.path}/out")) >= count)

    def finish(self, *flags: str) -> None:
        """Runs it to its end; each key was counted from 1 on, and nothing is left on disk but checkpoints."""
        assert self.start(*flags).wait_until_finish(60_000) == "DONE"
        elements = Counter(at if at < KEYS else at % HOT for at in range(ELEMENTS))
        expected = {(f"key-{key}", number + 1) for key, count in elements.items() for number in range(count)}
        assert Counter(committed(f"{self.path}/out")) == Counter(expected)
        assert not os.path.exists(self.folder.spilled(None))


def _await(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.01)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_state_on_disk_moves_to_other_workers_and_survives_kills(job: Job) -> None:
    result = job.start("--num_workers=2", pause=0.02)
    job.await_rows(KEYS)
    assert sum(len(files) for _, _, files in os.walk(job.folder.spilled(None))) > 1
    job.folder.ask("stop", name="full")
    assert result.wait_until_finish(30_000) == "STOPPED"
    result = job.start("--num_workers=4", pause=0.02)
    job.await_rows(KEYS + 200)
    _await(lambda: job.folder.status().workers)
    os.kill(job.folder.status().workers[3], signal.SIGKILL)
    job.await_rows(KEYS + 1000)
    status = job.folder.status()
    # A checkpoint has what changed: some of the hot keys.
    assert 0 < status.checkpoint.bytes < status.checkpoint.total_bytes / 5
    assert status.restarts == 1
    result.cancel()
    job.finish("--num_workers=1")


def test_what_killed_workers_left_on_disk_is_removed(job: Job, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    flags = ("--num_workers=2", f"--temp_dir={elsewhere}")
    result = job.start(*flags, pause=0.02)
    job.await_rows(KEYS)
    before = set(os.listdir(next(elsewhere.iterdir())))
    assert len(before) == 2
    for worker in job.folder.status().workers:
        os.kill(worker, signal.SIGKILL)
    job.await_rows(KEYS + 1000)
    after = set(os.listdir(next(elsewhere.iterdir())))
    assert len(after) == 2 and not before & after
    result.cancel()
    assert list(elsewhere.iterdir()) == []
    job.finish(*flags)


def test_a_full_disk_under_state_that_goes_there_pauses_the_job(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = ",".join(f"worker.spill:{at}:enospc" for at in range(3, 7))
    monkeypatch.setenv("HORNBEAM_WORKER_FAULTS", f"0@1={full}")
    seen: set[tuple[str, str]] = set()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.05):
            status = job.folder.status()
            if status is not None:
                seen.add((status.state, status.message))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        job.finish("--num_workers=2")
    finally:
        is_over.set()
        watching.join()
    paused = [message for state, message in seen if state == "PAUSED"]
    assert paused
    assert f"the disk is full, for state that is moved to {job.folder.spilled(None)}: " in paused[0]
    assert job.folder.record().attempts == 1
