"""The kill campaign over Kafka: jobs of real processes that write to a real broker, killed again and again.

    HORNBEAM_KAFKA=127.0.0.1:9092 python tests/kafka_io/kafka_kill_campaign.py --kills 200 --seed 7

As `log_runner/kill_campaign.py`; half of the jobs are killed at fault points before, in and after the transactions.
Kill and restart the broker beside it, if you like; it must come back within the jobs' delivery timeout.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kafka_io import campaign_kafka_jobs
from log_runner.kill_campaign import Campaign
from log_runner.kill_campaign import run as run_campaign
from log_runner.kill_plans import Deck
from log_runner.kill_points import COORDINATOR, POINTS, Point
from log_runner.kill_subjects import Sizes, Subject, command_of

from hornbeam.runners.log.job_folder import JobFolder

LIVES = ("run", "savepoint", "rescale")


class KafkaJob(Subject):
    """One of `campaign_kafka_jobs`."""

    def __init__(self, name: str, path: str, sizes: Sizes) -> None:
        self.name = name
        self.path = path
        self.sizes = sizes
        self.folder = JobFolder(path, name)

    def prepare(self, out: str) -> None:
        """The first start makes the topics."""

    def command(self, pipeline: str, workers: int, flags: Sequence[str]) -> list[str]:
        return command_of(campaign_kafka_jobs.__file__, pipeline, self.path, self.sizes, workers, flags)

    def check(self, out: str, moved: bool) -> int:
        return campaign_kafka_jobs.check(self.name, self.path, self.sizes.records)


#: Half of the jobs are killed beside a transaction.
BESIDE = [
    Point(COORDINATOR, name, 20, LIVES, times=3) for name in ("kafka.begun", "kafka.sent", "kafka.committed")
]
OTHERS = [point for point in POINTS if set(LIVES) & set(point.lives)]
DECK = Deck(
    points=tuple(itertools.chain.from_iterable(zip(OTHERS, itertools.cycle(BESIDE)))),
    pipelines=campaign_kafka_jobs.PIPELINES,
    examples=(),
    lives=LIVES,
    subject=KafkaJob,
)


def run(kills: int, seed: int, size: int = 250, say: bool = False) -> Campaign:
    """Jobs until so many processes were killed."""
    sizes = Sizes(size, pause_seconds=0.004, interval_ms=200, deadline_seconds=900.0)
    return run_campaign(kills, seed, sizes, say=say, deck=DECK)


def main() -> None:
    """By hand, with a broker."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--size", type=int, default=250)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    campaign = run(options.kills, options.seed, options.size, say=True)
    print(campaign)


if __name__ == "__main__":
    main()
