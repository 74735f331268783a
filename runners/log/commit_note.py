"""Of which checkpoints the tokens were committed lately, in a small file of the job's folder.

A start commits the tokens of its checkpoint again, as it cannot know how far the one before it came. What a sink made
visible may have been taken away by then (files that somebody has moved on, say), so what is known to be committed is
not committed again. It is known by the checkpoint's number, which comes once in the life of a job: tokens may be equal
where sinks carry rows in them. The note is not synced: one that is lost or torn costs a second commit, which is harmless
by contract.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque

#: A start goes on from one of the checkpoints that are kept, which are the latest.
_NOTED_MAX = 100


class CommitNote:
    """The note of one job. `life` tells a job from one that was begun anew, whose checkpoints have the same numbers."""

    def __init__(self, path: str, life: int) -> None:
        self._path = path
        self._life = life
        self._known: deque[int] = deque(_read(path, life), _NOTED_MAX)

    def __contains__(self, checkpoint: int) -> bool:
        return checkpoint in self._known

    def add(self, checkpoint: int) -> None:
        """All tokens that the checkpoint's manifest has are committed."""
        self._known.append(checkpoint)
        with contextlib.suppress(OSError):  # without room the next start commits them again
            with open(f"{self._path}.tmp", "w", encoding="utf-8") as file:
                json.dump({"life": self._life, "checkpoints": list(self._known)}, file)
            os.replace(f"{self._path}.tmp", self._path)


def _read(path: str, life: int) -> list[int]:
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        return [int(each) for each in fields["checkpoints"]] if fields["life"] == life else []
    except (OSError, ValueError, TypeError, KeyError):
        return []
