"""What the kill campaign kills: a pipeline of `campaign_jobs`, or one of the examples over the log, in its own folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
from examples.log_jobs import AuctionsJob, ExampleJob, FlightsJob
from log_runner import campaign_answers, campaign_jobs

from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.states import DRAINED
from hornbeam.storage.log import Log

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES: dict[str, type[ExampleJob]] = {"auctions": AuctionsJob, "flights": FlightsJob}


@attrs.frozen
class Sizes:
    """How large jobs are, and how slow."""

    records: int = 200
    pause_seconds: float = 0.003
    interval_ms: int = 40
    deadline_seconds: float = 300.0


class Subject:
    """A job that can be started by a command, again and again, until its folder says that it has come to an end."""

    #: Where the job's folder is.
    folder: JobFolder

    def prepare(self, out: str) -> None:
        """Makes what must be there before the first start, for what is committed to go to `out`."""
        raise NotImplementedError

    def command(self, pipeline: str, workers: int, flags: Sequence[str]) -> list[str]:
        """Starts or resumes it."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Whether all that can come has been committed, so that a drain loses nothing."""
        return True

    def check(self, out: str, moved: bool) -> int:
        """AssertionError where what was committed is not exactly what should be; how many rows were compared."""
        raise NotImplementedError


class Campaign(Subject):
    """One of `campaign_jobs`."""

    def __init__(self, name: str, path: str, sizes: Sizes) -> None:
        self.name = name
        self.path = path
        self.sizes = sizes
        self.folder = JobFolder(path, name)

    def prepare(self, out: str) -> None:
        campaign_jobs.prepare(self.name, out, self.sizes.records)

    def command(self, pipeline: str, workers: int, flags: Sequence[str]) -> list[str]:
        return command_of(campaign_jobs.__file__, pipeline, self.path, self.sizes, workers, flags)

    def check(self, out: str, moved: bool) -> int:
        drained = self.folder.state() == DRAINED
        return campaign_answers.check(self.name, out, self.sizes.records, drained, moved)


class Example(Subject):
    """One of the examples; it reads on for ever, so it is drained when all its answers are there."""

    def __init__(self, name: str, path: str) -> None:
        self.job = EXAMPLES[name](Path(path))
        self.folder = JobFolder(os.path.join(path, "jobs"), "j")

    def prepare(self, out: str) -> None:
        self.job.prepare()

    def command(self, pipeline: str, workers: int, flags: Sequence[str]) -> list[str]:
        example, *arguments = self.job.command(workers)
        program = str(ROOT / "examples" / example)
        return [sys.executable, program, *arguments, "--crashes_max=1000", *flags]

    def is_complete(self) -> bool:
        with Log(self.job.log) as log:
            for topic, count in self.job.counts().items():
                partitions = (log.partition(topic, number) for number in range(2))
                # Markers of transactions are counted too: a look that costs nothing before the one that does.
                if sum(partition.end_offset for partition in partitions) < count:
                    return False
        return self.job.has_all()

    def check(self, out: str, moved: bool) -> int:
        self.job.check()
        with Log(self.job.log) as log:
            left = [name for name in log.topics(internal=True) if name.startswith("__staging")]
        assert not left, f"staging topics are left: {left}"
        return sum(self.job.counts().values())


def command_of(
    program: str, pipeline: str, path: str, sizes: Sizes, workers: int, flags: Sequence[str]
) -> list[str]:
    """How a program with pipelines of the campaign is started."""
    return [
        sys.executable, program, pipeline, path, str(sizes.records), str(sizes.pause_seconds),
        f"--num_workers={workers}", "--crashes_max=1000", f"--checkpoint_interval_ms={sizes.interval_ms}",
        "--worker_timeout_ms=20000", *flags,
    ]  # fmt: skip


def subject(name: str, path: str, sizes: Sizes) -> Subject:
    """The subject of a name, in a folder."""
    return Example(name, path) if name in EXAMPLES else Campaign(name, path, sizes)
