"""A copy of a worker that writes its state and goes without having said all."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from hornbeam.runners.log import copies
from hornbeam.runners.log.copies import CopyDiedError, ForkedWrite


@pytest.mark.parametrize("said", [b"", b"half"])
def test_a_copy_that_dies_is_no_failure_of_the_job(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of its report it was taken for one."""
    whole: Any = copies.dumps
    monkeypatch.setattr(copies, "dumps", lambda message: whole(message)[: -3 if said else 0])
    ended: list[bool] = []
    copy = ForkedWrite(lambda _: (), lambda: ended.append(True))
    with pytest.raises(CopyDiedError):
        copy.files(print)
    assert ended == [True]


def test_a_copy_of_which_user_code_has_taken_the_end_has_told_all() -> None:
    """As it does that ignores SIGCHLD, or waits for any child of the process."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        ended: list[bool] = []
        assert ForkedWrite(lambda _: (), lambda: ended.append(True)).files(print) == ()
        assert ended == [True]
    finally:
        signal.signal(signal.SIGCHLD, before)
