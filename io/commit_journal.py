"""What a sink knows of its commits to a system outside: a small file beside what is staged.

    intend(n) ─► the file is synced ─► transaction n outside, which also leaves the mark n there ─► done(n)

Whoever dies in between finds an intent in the file, and asks outside for the mark: n says that it was committed, less that
it was not. So the mark may be lost, as long as no intent is open: systems forget what nobody asks for.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import attrs

from hornbeam.error import DataError
from hornbeam.io.disk_space import when_there_is_room
from hornbeam.storage.errors import MissingFileError
from hornbeam.storage.files import OS_FILES

__all__ = ["CommitJournal", "Intent"]

_FORMAT = 1


@attrs.frozen
class Intent:
    """A transaction that is about to be made."""

    #: From 1, one more each time.
    number: int
    #: Where its mark is left.
    mark: str
    #: What is staged there is committed up to `stop` by it.
    topic: str
    stop: int
    #: What a person said of it, where the mark was lost.
    is_done: bool | None = None


@attrs.define
class CommitJournal:
    """The file, read. One process writes it, and one thread."""

    path: str
    #: The sink's name for ever, unlike any other in the world.
    id: str
    #: Of the last transaction that is known to be committed.
    number: int = 0
    #: By staging topic, up to where it is committed.
    positions: dict[str, int] = attrs.field(factory=dict)
    intent: Intent | None = None

    @classmethod
    def exists(cls, path: str) -> bool:
        """Whether there is a journal."""
        return OS_FILES.exists(path)

    @classmethod
    def create(cls, path: str) -> CommitJournal:
        """A new one, on the disk."""
        OS_FILES.mkdir(os.path.dirname(path))
        journal = cls(path, uuid.uuid4().hex)
        journal._write()
        return journal

    @classmethod
    def read(cls, path: str) -> CommitJournal:
        """The one that is there. DataError, with the path, if it is not, or is not what was written."""
        try:
            fields = json.loads(OS_FILES.read_bytes(path))
            if fields.pop("format") != _FORMAT:
                raise ValueError("it is of another version")
            intent = fields.pop("intent")
            return cls(path, intent=None if intent is None else Intent(**intent), **fields)
        except MissingFileError as error:
            raise DataError(
                f"{path} is gone, and with it what is known of this sink's commits. Bring the job's folder back as it was, "
                "or start the job over with --fresh."
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {error}. Bring it back as it was.") from error

    def read_again(self) -> None:
        """Takes in what another process, which is shut out by now, has written meanwhile."""
        other = CommitJournal.read(self.path)
        self.number, self.positions, self.intent = other.number, other.positions, other.intent

    def position(self, topic: str) -> int:
        """Up to where what is staged there is committed."""
        return self.positions.get(topic, 0)

    def intend(self, intent: Intent) -> None:
        """The transaction may be made once this returns."""
        self._change(intent=intent)

    def done(self, number: int) -> None:
        """The intended transaction is committed. `number` is the mark that says so, or its own."""
        assert self.intent is not None
        positions = {**self.positions, self.intent.topic: self.intent.stop}
        self._change(intent=None, number=number, positions=positions)

    def void(self) -> None:
        """The intended transaction was not committed, and never will be."""
        self._change(intent=None)

    def keep(self, topics: frozenset[str]) -> None:
        """Forgets all staging topics but these, and what was intended with the others: nobody asks for it any more."""
        kept = {topic: stop for topic, stop in self.positions.items() if topic in topics}
        intent = self.intent if self.intent is not None and self.intent.topic in topics else None
        if (kept, intent) != (self.positions, self.intent):
            self._change(positions=kept, intent=intent)

    def _change(self, **changes: Any) -> None:
        before = {name: getattr(self, name) for name in changes}
        for name, value in changes.items():
            setattr(self, name, value)
        try:
            self._write()
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def _write(self) -> None:
        fields = {
            "format": _FORMAT,
            "id": self.id,
            "number": self.number,
            "positions": self.positions,
            "intent": None if self.intent is None else attrs.asdict(self.intent),
        }
        data = json.dumps(fields, indent=1).encode()
        write: Callable[[], None] = lambda: OS_FILES.write_atomic(self.path, data)  # noqa: E731
        when_there_is_room(write, f"The record of commits {self.path}")
