"""State that does not fit in memory: on disk while the job runs, in checkpoints, with other workers, on a full disk."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from log_runner.campaign_jobs import HOLD, held_at
from log_runner.running import DEADLINE_MS, await_, hold, let_go, workers_of
from log_runner.staged_files import CommittedCount, WriteStaged, committed

import hornbeam as beam
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder, JobStatus
from hornbeam.transforms.core import RestrictionProvider
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec
from hornbeam.utils.timestamp import Duration

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
    """Pairs of a key and a number; the last ones when nobody holds the job."""

    def __init__(self, hold: str) -> None:
        self.hold = hold

    @beam.DoFn.unbounded_per_element()
    def process(
        self, pause: float, tracker: Any = beam.DoFn.RestrictionParam(All())
    ) -> Iterator[tuple[str, int]]:
        at = tracker.current_restriction().start
        while True:
            if at >= held_at(self.hold):
                tracker.defer_remainder(Duration(0.01))
                return
            if not tracker.try_claim(at):
                return
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
        """Starts the job; with a pause, it goes on until it is to finish."""
        if pause:
            hold(self.path, ELEMENTS - 1)
        else:
            let_go(self.path)
        options = [
            "--runner=LogRunner", "--job_name=many", f"--log_dir={self.path}", "--no_progress",
            "--checkpoint_interval_ms=100", "--memory_limit=800KB", *flags,
        ]  # fmt: skip
        pipeline = beam.Pipeline(options=PipelineOptions(options))
        (
            pipeline
            | beam.Create([pause], reshuffle=False)
            | "give" >> beam.ParDo(Give(f"{self.path}/{HOLD}"))
            | "count" >> beam.ParDo(Counting())
            | "write" >> beam.ParDo(WriteStaged(f"{self.path}/out"))
        )
        return pipeline.run()

    def await_rows(self, count: int) -> None:
        """Waits until so many are committed."""
        committed_now = CommittedCount(f"{self.path}/out")
        await_(lambda: committed_now() >= count)

    def finish(self, *flags: str) -> None:
        """Runs it to its end; each key was counted from 1 on, and nothing is left on disk but checkpoints."""
        assert self.start(*flags).wait_until_finish(DEADLINE_MS) == "DONE"
        elements = Counter(at if at < KEYS else at % HOT for at in range(ELEMENTS))
        expected = {(f"key-{key}", number + 1) for key, count in elements.items() for number in range(count)}
        assert Counter(committed(f"{self.path}/out")) == Counter(expected)
        assert not os.path.exists(self.folder.spilled(None))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def _told(monkeypatch: pytest.MonkeyPatch) -> list[JobStatus]:
    """What jobs say of themselves from now on."""
    told: list[JobStatus] = []
    write = JobFolder.write_status
    monkeypatch.setattr(
        JobFolder, "write_status", lambda folder, status: (told.append(status), write(folder, status))
    )
    return told


def test_state_on_disk_moves_to_other_workers_and_survives_kills(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = job.start("--num_workers=2", pause=0.02)
    job.await_rows(KEYS)
    assert sum(len(files) for _, _, files in os.walk(job.folder.spilled(None))) > 1
    job.folder.ask("stop", name="full")
    assert result.wait_until_finish(DEADLINE_MS) == "STOPPED"
    result = job.start("--num_workers=4", pause=0.02)
    job.await_rows(KEYS + 200)
    os.kill(workers_of(job.folder)[3], signal.SIGKILL)
    job.await_rows(KEYS + 1000)
    told = _told(monkeypatch)
    job.await_rows(ELEMENTS - 1)
    await_(lambda: told and told[-1].checkpoint)
    result.cancel()
    # A checkpoint has what changed: some of the hot keys.
    checkpoints = [status.checkpoint for status in told if status.checkpoint is not None]
    assert all(checkpoint.bytes < checkpoint.total_bytes / 5 for checkpoint in checkpoints)
    assert told[-1].restarts == 1
    job.finish("--num_workers=1")


def test_what_killed_workers_left_on_disk_is_removed(job: Job, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    flags = ("--num_workers=2", f"--temp_dir={elsewhere}")
    result = job.start(*flags, pause=0.02)
    job.await_rows(KEYS)
    before = set(os.listdir(next(elsewhere.iterdir())))
    assert len(before) == 2
    for worker in workers_of(job.folder):
        with contextlib.suppress(ProcessLookupError):  # the others end when one of them has gone
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
    told = _told(monkeypatch)
    job.finish("--num_workers=2")
    paused = [status.message for status in told if status.state == "PAUSED"]
    assert paused
    assert f"the disk is full, for state that is moved to {job.folder.spilled(None)}: " in paused[0]
    assert job.folder.record().attempts == 1
