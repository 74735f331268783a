"""What is published and not yet committed is not forgotten, however slow a sink is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hornbeam.runners.log.committing import Committer


class Slow:
    """A sink whose commits wait to be let through."""

    def __init__(self) -> None:
        self.committed: list[Any] = []
        self.let_through = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def commit(self, token: Any) -> None:
        self.begun.release()
        self.let_through.acquire()
        if token == "wrong":
            raise OSError("no room")
        self.committed.append(token)


def test_tokens_are_carried_on_until_they_are_committed() -> None:
    """Seen in a job that was killed: a checkpoint was published while an earlier one's rows were still being copied; the
    next start began from it, and those rows never came."""
    sink = Slow()
    committer = Committer({"s": sink})
    committer.commit(1, [("s", "a"), ("s", "b")])
    committer.commit(2, [("s", "c")])
    committer.commit(3, [])
    assert committer.uncommitted() == [("s", "a"), ("s", "b"), ("s", "c")]
    sink.let_through.release(2)
    for _ in range(3):
        sink.begun.acquire()
    assert committer.uncommitted() == [("s", "c")]
    sink.let_through.release()
    committer.wait()
    assert committer.uncommitted() == [] and sink.committed == ["a", "b", "c"]


def test_a_commit_that_fails_keeps_what_follows_and_is_raised() -> None:
    sink = Slow()
    committer = Committer({"s": sink})
    sink.let_through.release(9)
    committer.commit(1, [("s", "a")])
    committer.commit(2, [("s", "wrong")])
    committer.commit(3, [("s", "b")])
    with pytest.raises(OSError, match="no room"):
        committer.wait()
    assert sink.committed == ["a"] and committer.uncommitted() == [("s", "wrong"), ("s", "b")]
    committer.begin_again()
    assert committer.uncommitted() == []
    committer.commit(3, [("s", "b")])
    committer.wait()
    assert sink.committed == ["a", "b"]


def test_commits_may_be_behind_by_a_few_checkpoints_only() -> None:
    sink = Slow()
    committer = Committer({"s": sink})
    for checkpoint in range(8):
        committer.commit(checkpoint, [("s", checkpoint)])
    threading.Timer(0.01, sink.let_through.release, [9]).start()
    assert committer.uncommitted() == [] and sink.committed == list(range(8))


def test_what_waits_to_be_committed_when_a_job_ends_is_left_to_the_next_start() -> None:
    """Else it would be committed beside the next start, which has the job's lock by then."""
    sink = Slow()
    committer = Committer({"s": sink})
    committer.commit(1, [("s", "a")])
    committer.commit(2, [("s", "b")])
    sink.begun.acquire()
    committer.stop(0)
    sink.let_through.release(2)
    committer.stop(60)
    assert sink.committed == ["a"] and committer.uncommitted() == [("s", "b")]
