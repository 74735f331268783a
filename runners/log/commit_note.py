"""Which tokens were committed lately, in a small file of the job's folder.

A start commits the tokens of its checkpoint again, as it cannot know how far the one before it came. What a sink made
visible may have been taken away by then (files that somebody has moved on, say), so what is known to be committed is
not committed again. The note is not synced: one that is lost or torn costs a second commit, which is harmless by contract.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable

#: More than the checkpoints that are kept have, with some workers and sinks.
_NOTED_MAX = 1000


class CommitNote:
    """The note of one job. `life` tells a job from one that was begun anew, whose tokens may be the same ones again."""

    def __init__(self, path: str, life: int) -> None:
        self._path = path
        self._life = life
        self._known: deque[str] = deque(_read(path, life), _NOTED_MAX)

    def __contains__(self, encoded: str) -> bool:
        return _digest(encoded) in self._known

    def add(self, encoded: Iterable[str]) -> None:
        """These tokens, as a manifest holds them, are committed."""
        self._known.extend(map(_digest, encoded))
        with contextlib.suppress(OSError):  # without room the next start commits them again
            with open(f"{self._path}.tmp", "w", encoding="utf-8") as file:
                json.dump({"life": self._life, "committed": list(self._known)}, file)
            os.replace(f"{self._path}.tmp", self._path)


def _read(path: str, life: int) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        return [str(each) for each in fields["committed"]] if fields["life"] == life else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _digest(encoded: str) -> str:
    return hashlib.sha256(encoded.encode()).hexdigest()[:24]
