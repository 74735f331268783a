"""A short campaign of SIGKILLs against real processes; HORNBEAM_KILLS asks for a longer one."""

from __future__ import annotations

import os

import pytest
from storage_log.kill_campaign import campaign


@pytest.mark.slow
def test_killed_processes_leave_a_sound_log() -> None:
    kills = int(os.environ.get("HORNBEAM_KILLS", "150"))
    tally = campaign(kills, seed=kills, seconds=20.0 if "HORNBEAM_KILLS" not in os.environ else None)
    assert tally.kills > 0 and tally.acknowledged > 0
    print(tally)
