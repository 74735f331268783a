"""The examples over the log as jobs of LogRunner, killed again and again: what they wrote must be exact in the end.

    cd tests && python -m examples.kill_campaign --seconds 600 --seed 7

Workers, coordinators, and whole jobs are killed with SIGKILL at random times, and started again with the same command, also
with another number of workers. Sinks are WriteToLog and WriteToText, with windows, sessions, state and timers before them.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from examples.log_jobs import AuctionsJob, ExampleJob, FlightsJob, started

from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage.log import Log

_START_SECONDS = 60.0


def disturb(job: ExampleJob, folder: JobFolder, dice: random.Random, kills: Counter[str]) -> None:
    """One start of the job, which ends with it dead."""
    with started(*job.command(workers=dice.choice([1, 2]))) as process:
        deadline = time.monotonic() + _START_SECONDS
        wait_s = dice.choice([dice.uniform(0, 3), dice.uniform(0, 0.3)])
        running_since: float | None = None
        while time.monotonic() < deadline:
            status = folder.status() if folder.exists() else None
            if status is not None and status.state == "RUNNING" and status.pid == process.pid:
                running_since = running_since or time.monotonic()
                if dice.random() < 0.05:
                    _kill(dice.choice(status.workers or (0,)), "worker", kills)
                if time.monotonic() > running_since + wait_s:
                    break
            elif dice.random() < 0.002:
                break  # while it starts
            time.sleep(0.02)
        if dice.random() < 0.5:
            _kill(process.pid, "coordinator", kills)
            time.sleep(dice.uniform(0, 0.5))
        else:
            kills["whole job"] += 1


def _kill(pid: int, what: str, kills: Counter[str]) -> None:
    try:
        if pid:
            os.kill(pid, signal.SIGKILL)
            kills[what] += 1
    except ProcessLookupError:
        pass


def run_round(dice: random.Random, kills: Counter[str]) -> str:
    """One job from its beginning to its end."""
    place = Path(tempfile.mkdtemp(prefix="hornbeam-example-kills-"))
    job = dice.choice([FlightsJob, AuctionsJob])(place)
    job.prepare()
    folder = JobFolder(place / "jobs", "j")
    for _ in range(dice.randint(1, 4)):
        disturb(job, folder, dice, kills)
    job.finish()
    job.check()
    with Log(place / "log") as log:
        left = [name for name in log.topics(internal=True) if name.startswith("__staging")]
    assert not left, f"staging topics are left over: {left}"
    shutil.rmtree(place)
    return type(job).__name__


def main() -> None:
    """Rounds until the time is up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice, kills, rounds = random.Random(options.seed), Counter[str](), Counter[str]()
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        rounds[run_round(dice, kills)] += 1
        print(f"{dict(rounds)}: killed {dict(kills)}", flush=True)
    print(f"{sum(rounds.values())} jobs, {sum(kills.values())} kills: nothing lost, nothing doubled")


if __name__ == "__main__":
    main()
