"""A copy of a worker that writes its state and goes without having said all."""

from __future__ import annotations

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
