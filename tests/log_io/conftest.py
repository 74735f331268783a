"""What the tests of logs in pipelines share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hornbeam.io import open_logs


@pytest.fixture(autouse=True)
def no_log_is_left_open() -> Iterator[None]:
    """Attempts that die in a test let go of nothing; here it is done for them, as the end of their process would."""
    yield
    for log, _ in open_logs._open.values():
        log.close()
    open_logs._open.clear()
