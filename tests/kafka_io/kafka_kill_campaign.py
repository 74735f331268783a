"""The kill campaign over Kafka: jobs of real processes that write to a real broker, killed again and again.

    HORNBEAM_KAFKA=127.0.0.1:9092 python tests/kafka_io/kafka_kill_campaign.py --kills 200 --seed 7

As `log_runner/kill_campaign.py`, with more of the coordinator, which commits, and fault points before, in and after the
transactions. Kill and restart the broker beside it, if you like; it must come back within the jobs' delivery timeout.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kafka_io import campaign_kafka_jobs
from log_runner import kill_campaign

#: Half of the armed processes die beside a transaction.
POINTS = (*kill_campaign.COORDINATOR_POINTS, *("kafka.begun", "kafka.sent", "kafka.committed") * 5)


def run(kills: int, seed: int, size: int = 250, say: bool = False) -> kill_campaign.Campaign:
    """Rounds until so many processes were killed."""
    return kill_campaign.run(
        kills,
        seed,
        size,
        interval_ms=200,
        say=say,
        jobs=campaign_kafka_jobs,
        coordinator_points=POINTS,
        weights=(4, 1, 1, 8, 2),
        timeout_s=900.0,
    )


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
    print(
        f"{sum(campaign.kills.values())} processes killed in {sum(campaign.rounds.values())} jobs: nothing lost or doubled"
    )


if __name__ == "__main__":
    main()
