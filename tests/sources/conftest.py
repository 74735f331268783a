"""Turns of sources in these tests are as long as their number of elements says, however slow the machine is."""

from __future__ import annotations

import pytest

from hornbeam.runners.engine import pacing, splittable_head, unbounded_head


@pytest.fixture(autouse=True)
def turns_by_count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time ends no turn, but in tests that are marked `turns_by_time`."""
    if request.node.get_closest_marker("turns_by_time") is None:
        for module in (pacing, splittable_head, unbounded_head):
            monkeypatch.setattr(module, "TURN_SECONDS", 3600.0)
