"""The kill campaign: jobs of real processes, killed again and again, must commit exactly what an undisturbed run would.

    python tests/log_runner/kill_campaign.py --kills 1000 --seconds 1500 --seed 7

Each job is one of `campaign_jobs`, with a life of its own (see `kill_job`): random processes are killed with SIGKILL at
random times, and the job's own fault point of `kill_points` is armed. Some jobs run beside each other. What they
committed is compared with `campaign_answers`. `--job SEED` runs one job again.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from log_runner.kill_job import KillJob  # noqa: E402
from log_runner.kill_plans import DECK, Deck  # noqa: E402
from log_runner.kill_subjects import Sizes  # noqa: E402

#: So many kills go through every point.
_MANY = 1000


@attrs.define
class Campaign:
    """What was done so far."""

    sizes: Sizes
    say: bool = False
    deck: Deck = DECK
    kills: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    jobs: Counter[str] = attrs.field(factory=Counter)
    lives: Counter[str] = attrs.field(factory=Counter)
    starts: int = 0
    rows: int = 0
    began: float = attrs.field(factory=time.monotonic)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def run_job(self, seed: int) -> None:
        """One job; AssertionError when it did not commit what it should."""
        job = KillJob(seed, self.sizes, self.deck)
        try:
            job.run()
        finally:
            with self._lock:
                self.kills += job.kills
                self.starts += job.starts
        with self._lock:
            self.rows += job.rows
            self.jobs[job.plan.pipeline] += 1
            self.lives[job.plan.life] += 1
            if self.say:
                seconds = time.monotonic() - self.began
                total = self.kills.total()
                print(f"{seconds:5.0f} s  {total:5} kills  job {seed}: {job.plan}", flush=True)

    def missed(self) -> list[str]:
        """The points at which nothing has been killed yet."""
        return sorted({f"{p.role} {p.name}" for p in self.deck.points if not self.kills[p.role, p.name]})

    def is_over(self, kills: int) -> bool:
        """Whether there were so many kills, and, where these are many, at every point."""
        return self.kills.total() >= kills and not (kills >= _MANY and self.missed())

    def __str__(self) -> str:
        by_role: Counter[str] = Counter()
        for (role, _), count in self.kills.items():
            by_role[role] += count
        lines = [
            f"{self.kills.total()} processes killed in {self.jobs.total()} jobs ({self.starts} starts), "
            f"{self.rows} rows compared: nothing lost, doubled or reordered",
            f"  by role: {_counts(by_role)}",
            f"  pipelines: {_counts(self.jobs)}",
            f"  lives: {_counts(self.lives)}",
        ]
        for role in by_role:
            of_role = Counter({point: n for (r, point), n in self.kills.items() if r == role})
            lines.append(f"  {role}: {_counts(of_role)}")
        lines.append(f"  never killed at: {', '.join(self.missed()) or 'none'}")
        return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def run(
    kills: int,
    seed: int,
    sizes: Sizes | None = None,
    seconds: float = float("inf"),
    beside: int = 1,
    say: bool = False,
    deck: Deck = DECK,
) -> Campaign:
    """Jobs of seeds in a row until so many processes were killed, or time is up. The first failure ends it."""
    campaign = Campaign(sizes or Sizes(), say, deck)
    seeds = iter(range(seed, seed + (1 << 20)))
    failures: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while not failures and not campaign.is_over(kills) and time.monotonic() < campaign.began + seconds:
            with lock:
                of_job = next(seeds)
            try:
                campaign.run_job(of_job)
            except BaseException as error:
                failures.append(error)

    with ThreadPoolExecutor(beside) as pool:
        for _ in range(beside):
            pool.submit(work)
    if failures:
        raise failures[0]
    return campaign


def main() -> None:
    """By hand, and in `make soak`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1380, help="no job is begun after so long")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--size", type=int, default=200, help="records of each of three partitions")
    parser.add_argument("--beside", type=int, default=3, help="jobs that run at a time")
    parser.add_argument("--job", type=int, help="run the job of this seed only")
    options = parser.parse_args()
    sizes = Sizes(records=options.size)
    if options.job is not None:
        campaign = Campaign(sizes, say=True)
        campaign.run_job(options.job)
        print(campaign)
        return
    print(f"seed {options.seed}")
    campaign = run(options.kills, options.seed, sizes, options.seconds, options.beside, say=True)
    print(campaign)
    if campaign.kills.total() < options.kills:
        sys.exit(f"time was up after {campaign.kills.total()} of {options.kills} kills")
    if not campaign.is_over(options.kills):
        sys.exit("some fault points were never killed at")


if __name__ == "__main__":
    main()
