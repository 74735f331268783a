"""The kill campaign: jobs of real processes, killed again and again, must commit exactly what an undisturbed run would.

    python tests/log_runner/kill_campaign.py --kills 1000 --seed 7

Each round runs one pipeline of `campaign_jobs` to its end. Meanwhile, at random times, a worker, the coordinator, the
fork server or all of them are killed; and, for a part of the rounds, processes are armed to kill themselves at a
named fault point. The coordinator is started again with the same command.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import campaign_jobs  # noqa: E402

WORKER_POINTS = (
    "worker.bundle",
    "worker.cut",
    "worker.cut.done",
    "worker.snapshot.write",
    "worker.snapshot.written",
    "files.write",
    "files.sync",
    "files.create",
)
COORDINATOR_POINTS = (
    "coordinator.checkpoint.begin",
    "coordinator.checkpoint.begun",
    "coordinator.publish",
    "coordinator.published",
    "coordinator.committed",
    "sink.commit",
    "sink.committed",
    "checkpoint.commit.begin",
    "checkpoint.merge.begin",
    "files.rename",
    "files.sync",
    "files.sync_dir",
    "files.unlink",
    "files.write",
)

KINDS = ("worker", "workers", "server", "coordinator", "all")


@attrs.define
class Campaign:
    """What was done so far."""

    chance: random.Random
    size: int
    pause: float
    interval_ms: int
    #: The module with the pipelines, and with what each must have committed; it is also the program that runs them.
    jobs: Any = campaign_jobs
    coordinator_points: tuple[str, ...] = COORDINATOR_POINTS
    #: How often each of KINDS is killed, in proportion.
    weights: tuple[int, ...] = (12, 3, 2, 2, 1)
    #: A job that takes longer does not end at all.
    timeout_s: float = 300.0
    kills: Counter[str] = attrs.field(factory=Counter)
    rounds: Counter[str] = attrs.field(factory=Counter)
    was_armed: bool = False

    def round(self, kills: int) -> None:
        """One job, killed so many times, to its end; AssertionError when it did not commit what it should."""
        name = self.chance.choice(self.jobs.PIPELINES)
        workers = self.chance.choice((1, 2, 2, 3))
        folder = tempfile.mkdtemp(prefix="hornbeam-kills-")
        describe = f"{name} with {workers} workers in {folder}"
        try:
            self._run(name, workers, folder, kills, time.monotonic() + self.timeout_s)
            self.jobs.check(name, folder, self.size)
        except BaseException as error:
            error.add_note(f"in {describe}; kills: {dict(self.kills)}")
            raise
        shutil.rmtree(folder)
        self.rounds[name] += 1

    def _run(self, name: str, workers: int, folder: str, kills: int, deadline: float) -> None:
        left = kills
        job = self._start(name, workers, folder, left > 0)
        next_kill = time.monotonic() + self.chance.expovariate(1 / 0.4)
        with open(os.path.join(folder, "output"), "rb") as output:
            while True:
                code = job.poll()
                if code == 0:
                    return
                if code is not None:
                    if code != -signal.SIGKILL:
                        raise AssertionError(f"the job ended with {code}:\n{output.read().decode()[-4000:]}")
                    if self.was_armed:
                        self.kills["coordinator at a fault point"] += 1
                        left -= 1
                    job = self._start(name, workers, folder, left > 0)
                if time.monotonic() > deadline:
                    os.killpg(job.pid, signal.SIGKILL)
                    raise AssertionError(f"the job does not end:\n{output.read().decode()[-4000:]}")
                if (
                    left > 0
                    and time.monotonic() >= next_kill
                    and (workers_of(job.pid) or self.chance.random() < 0.002)
                ):
                    left -= self._kill(job)
                    next_kill = time.monotonic() + self.chance.expovariate(1 / 0.5)
                time.sleep(0.005)

    def _start(self, name: str, workers: int, folder: str, may_arm: bool) -> subprocess.Popen[bytes]:
        environment = dict(
            os.environ,
            HORNBEAM_FORK_ENTRIES_MIN=self.chance.choice(("1", "5", "2000")),
            HORNBEAM_SLOW_COMMIT_SECONDS=self.chance.choice(("0", "0", "0.05", "0.2")),
        )
        self.was_armed = may_arm and self.chance.random() < 0.35
        if self.was_armed:
            point = self.chance.choice(self.coordinator_points)
            environment["HORNBEAM_FAULT"] = f"{point}:{self.chance.randrange(1, 12)}:kill"
        elif may_arm:
            environment["HORNBEAM_WORKER_FAULTS"] = self._worker_faults(workers)
        arguments = [
            name, folder, str(self.size), str(self.pause), f"--num_workers={workers}",
            f"--checkpoint_interval_ms={self.interval_ms}", "--worker_timeout_ms=10000", "--crashes_max=1000",
        ]  # fmt: skip
        with open(os.path.join(folder, "output"), "ab") as output:
            job = subprocess.Popen(
                [sys.executable, self.jobs.__file__, *arguments],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        return job

    def _worker_faults(self, workers: int) -> str:
        """Some of the coming attempts have a worker that kills itself."""
        parts = []
        for attempt in range(1, 60):
            if self.chance.random() < 0.5:
                point, worker = self.chance.choice(WORKER_POINTS), self.chance.randrange(workers)
                parts.append(f"{worker}@{attempt}={point}:{self.chance.randrange(1, 30)}:kill")
        return ";".join(parts)

    def _kill(self, job: subprocess.Popen[bytes]) -> int:
        """Kills something of a job; how many processes were killed."""
        kind = self.chance.choices(KINDS, self.weights)[0]
        servers, workers = children(job.pid), workers_of(job.pid)
        doomed = {
            "worker": [self.chance.choice(workers)] if workers else [],
            "workers": workers,
            "coordinator": [job.pid],
            "server": servers,
            "all": [job.pid, *servers, *workers],
        }[kind]
        self.chance.shuffle(doomed)
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.kills[kind] += 1
        return len(doomed)


def children(pid: int) -> list[int]:
    """The process's children now."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def workers_of(pid: int) -> list[int]:
    """The workers of a coordinator."""
    return [worker for server in children(pid) for worker in children(server)]


def run(
    kills: int,
    seed: int,
    size: int = 250,
    pause: float = 0.004,
    interval_ms: int = 50,
    say: bool = False,
    **settings: Any,
) -> Campaign:
    """Rounds until so many processes were killed. `settings` are more of Campaign's."""
    campaign = Campaign(random.Random(seed), size, pause, interval_ms, **settings)
    began = time.monotonic()
    while sum(campaign.kills.values()) < kills:
        left = kills - sum(campaign.kills.values())
        campaign.round(min(campaign.chance.randrange(4, 16), left))
        if say:
            seconds = time.monotonic() - began
            print(f"{seconds:6.0f} s  {dict(campaign.kills)}  {dict(campaign.rounds)}", flush=True)
    return campaign


def main() -> None:
    """By hand, and in `make soak`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--size", type=int, default=250)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    campaign = run(options.kills, options.seed, options.size, say=True)
    print(
        f"{sum(campaign.kills.values())} processes killed in {sum(campaign.rounds.values())} jobs: nothing lost or doubled"
    )


if __name__ == "__main__":
    main()
