"""What is published and not yet committed is not forgotten, however slow a sink is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hornbeam.runners.log.commit_note import CommitNote
from hornbeam.runners.log.committing import Committer


def committing(sink: Any, path: Path | str = "/no/folder/committed.json", life: int = 1) -> Committer:
    return Committer({"s": sink}, CommitNote(str(path), life))


def encoded(*tokens: Any) -> list[str]:
    return Committer.encoded([("s", token) for token in tokens])


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
    committer = committing(sink)
    committer.commit(1, encoded("a", "b"))
    committer.commit(2, encoded("c"))
    committer.commit(3, [])
    assert committer.uncommitted() == encoded("a", "b", "c")
    sink.let_through.release(2)
    for _ in range(3):
        sink.begun.acquire()
    assert committer.uncommitted() == encoded("c")
    sink.let_through.release()
    committer.wait()
    assert committer.uncommitted() == [] and sink.committed == ["a", "b", "c"]


def test_a_commit_that_fails_keeps_what_follows_and_is_raised() -> None:
    sink = Slow()
    committer = committing(sink)
    sink.let_through.release(9)
    committer.commit(1, encoded("a"))
    committer.commit(2, encoded("wrong"))
    committer.commit(3, encoded("b"))
    with pytest.raises(OSError, match="no room"):
        committer.wait()
    assert sink.committed == ["a"] and committer.uncommitted() == encoded("wrong", "b")
    committer.begin_again()
    assert committer.uncommitted() == []
    committer.commit(3, encoded("b"))
    committer.wait()
    assert sink.committed == ["a", "b"]


def test_commits_may_be_behind_by_a_few_checkpoints_only() -> None:
    sink = Slow()
    committer = committing(sink)
    for checkpoint in range(8):
        assert not committer.is_behind
        committer.commit(checkpoint, encoded(checkpoint))
    assert committer.is_behind and not committer.is_idle()
    sink.let_through.release(9)
    committer.wait()
    assert not committer.is_behind and committer.is_idle() and sink.committed == list(range(8))


def test_what_is_known_to_be_committed_is_not_committed_again(tmp_path: Path) -> None:
    """A stopped job could not go on once somebody had taken away the files that it had written last."""
    path = tmp_path / "committed.json"

    def committed(life: int, checkpoint: int, *tokens: str) -> list[str]:
        """What a start commits that begins from such a checkpoint."""
        sink = Slow()
        sink.let_through.release(9)
        committer = committing(sink, path, life)
        committer.commit_again(checkpoint, encoded(*tokens))
        committer.wait()
        return sink.committed

    assert committed(1, 1, "a", "b") == ["a", "b"]
    assert committed(1, 1, "a", "b") == []
    assert committed(1, 2, "a") == ["a"]  # the same rows once more, of a sink that has them in its tokens
    assert committed(2, 2, "a") == ["a"]  # a job that was begun anew
    path.write_text("{")  # torn by a crash of the machine
    assert committed(2, 2, "a") == ["a"]


def test_equal_tokens_of_two_checkpoints_are_committed_twice(tmp_path: Path) -> None:
    sink = Slow()
    sink.let_through.release(9)
    committer = committing(sink, tmp_path / "committed.json")
    for checkpoint, token in enumerate(("on", "off", "on")):
        committer.commit(checkpoint, encoded(token))
    committer.wait()
    assert sink.committed == ["on", "off", "on"]


def test_what_waits_to_be_committed_when_a_job_ends_is_left_to_the_next_start() -> None:
    """Else it would be committed beside the next start, which has the job's lock by then."""
    sink = Slow()
    committer = committing(sink)
    committer.commit(1, encoded("a"))
    committer.commit(2, encoded("b"))
    sink.begun.acquire()
    committer.stop(0)
    sink.let_through.release(2)
    committer.stop(60)
    assert sink.committed == ["a"] and committer.uncommitted() == encoded("b")


class Records:
    """A sink that says what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def commit(self, token: Any) -> None:
        self.told.append(("commit", token))

    def recover(self, tokens: Any) -> None:
        self.told.append(("recover", list(tokens)))

    def release(self) -> None:
        self.told.append(("release",))


def test_tokens_are_committed_by_the_sinks_of_the_pipeline_that_prepared_them() -> None:
    old, new = Records(), Records()
    committer = Committer({"s": new}, CommitNote("/no/folder/committed.json", 1), {"s": old})
    committer.turn_to(True)
    committer.commit(1, encoded("a"))
    committer.wait()
    committer.recover([("s", "a")])
    committer.commit(2, encoded("b"))
    committer.turn_to(False)
    committer.commit(3, encoded("c"))
    committer.wait()
    assert old.told == [("commit", "a"), ("recover", ["a"]), ("commit", "b"), ("release",)]
    assert new.told == [("release",), ("commit", "c")]
    committer.clear()
    assert (old.told[-1], new.told[-1]) == (("recover", []), ("recover", []))
