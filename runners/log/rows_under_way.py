"""How many rows wait between workers, edge by edge: words of shared memory that senders count up, for `job status`.

word of (edge, sender, receiver) = rows sent      less what the receiver has taken, which it counts itself
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from hornbeam.runners.log.exchange import Rows, UnsyncedFiles


class RowsUnderWay:
    """One worker's end."""

    def __init__(self, folder: str, worker: int, workers: int, edges: int) -> None:
        self._worker = worker
        self._workers = workers
        size = 8 * max(1, edges * workers * workers)
        self._words = UnsyncedFiles().map_shared(os.path.join(folder, "rows"), size).cast("B").cast("Q")
        self._taken = [0] * edges

    def sent(self, receiver: int, messages: Iterable[Any]) -> None:
        """The rows of these messages are on their way to that worker."""
        for message in messages:
            if type(message) is Rows:
                self._words[self._at(message.edge, self._worker, receiver)] += len(message.bundle.values)

    def took(self, edge: int, rows: int) -> None:
        """So many rows of an edge have come here."""
        self._taken[edge] += rows

    def waiting(self, edge: int) -> int:
        """The rows of an edge that are on their way to here."""
        senders = range(self._workers)
        return sum(int(self._words[self._at(edge, s, self._worker)]) for s in senders) - self._taken[edge]

    def _at(self, edge: int, sender: int, receiver: int) -> int:
        return (edge * self._workers + sender) * self._workers + receiver
