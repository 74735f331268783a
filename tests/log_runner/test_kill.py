"""A bounded part of the kill campaign; `make soak` runs the whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from log_runner import campaign_jobs, kill_campaign, processes
from log_runner.kill_subjects import Sizes


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_whatever_is_killed() -> None:
    campaign = kill_campaign.run(kills=5, seed=11837, sizes=Sizes(records=80))
    assert campaign.kills.total() >= 5


def test_workers_end_with_their_coordinator(tmp_path: Path) -> None:
    arguments = ["windowed", str(tmp_path), "5000", "0.01", "--num_workers=2"]
    job = subprocess.Popen([sys.executable, str(Path(campaign_jobs.__file__)), *arguments])
    deadline = time.monotonic() + 180
    while len(workers := processes.grandchildren(job.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    while any(processes.is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
