"""A bounded run of the kill campaign; `kill_campaign.py` runs as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from storage_checkpoint.kill_campaign import campaign


@pytest.mark.slow
def test_sigkill_at_random_moments_never_loses_or_invents_a_checkpoint(tmp_path: Path) -> None:
    kills, committed = campaign(str(tmp_path), kills=250, seconds=12, seed=1)
    assert kills > 20 and committed > 20
