"""Two-phase sinks for tests: rows go to a staged file, which the commit renames; they can be read back in order.

`WriteStaged` is a DoFn with the methods that runners look for, `StagedRows` a TwoPhaseSink; both write the same files.
"""

from __future__ import annotations

import os
import pickle
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

import hornbeam as beam
from hornbeam.io.two_phase import TwoPhaseSink, TwoPhaseWriter

STAGED, COMMITTED = "staged", "committed"


class WriteStaged(beam.DoFn):
    """Writes elements to `folder`, visible with the checkpoint."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        self.rows: list[Any] = []

    def process(self, element: Any) -> None:
        self.rows.append(element)

    def prepare(self, checkpoint: int) -> str | None:
        rows, self.rows = self.rows, []
        return stage(self.folder, checkpoint, rows)

    def settle(self, token: str) -> str:
        return settle(self.folder, token)

    def commit(self, token: str) -> None:
        commit(self.folder, token)

    def abort(self, token: str) -> None:
        abort(self.folder, token)

    def recover(self, tokens: list[str]) -> None:
        recover(self.folder, tokens)


class StagedRows(TwoPhaseSink):
    """The same, for `WriteTwoPhase`."""

    batch_size = 7  # so that some rows wait in the step when a checkpoint is cut

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def start(self) -> None:
        os.makedirs(self.folder, exist_ok=True)

    def open_writer(self) -> TwoPhaseWriter:
        return _Writer(self.folder)

    def commit(self, token: Any) -> None:
        commit(self.folder, token)

    def abort(self, token: Any) -> None:
        abort(self.folder, token)

    def recover(self, tokens: Sequence[Any]) -> None:
        recover(self.folder, tokens)


class _Writer(TwoPhaseWriter):
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.rows: list[Any] = []

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        self.rows += values

    def prepare(self, checkpoint: int) -> str | None:
        rows, self.rows = self.rows, []
        return stage(self.folder, checkpoint, rows)

    def settle(self, token: Any) -> Any:
        return settle(self.folder, token)

    def abort(self) -> None:
        self.rows = []


def stage(folder: str, checkpoint: int, rows: list[Any]) -> str | None:
    """Writes a staged file; its token."""
    if not rows:
        return None
    token = f"{checkpoint:08d}-{secrets.token_hex(6)}"
    with open(os.path.join(folder, f"{STAGED}-{token}"), "wb") as file:
        pickle.dump(rows, file)
    return token


def settle(folder: str, token: str) -> str:
    with open(os.path.join(folder, f"{STAGED}-{token}"), "rb") as file:
        os.fsync(file.fileno())
    return token


def commit(folder: str, token: str) -> None:
    """Makes a staged file visible; FileNotFoundError when it is neither staged nor committed."""
    staged, committed = (os.path.join(folder, f"{kind}-{token}") for kind in (STAGED, COMMITTED))
    time.sleep(float(os.environ.get("HORNBEAM_SLOW_COMMIT_SECONDS", "0")))
    if not os.path.exists(committed):
        os.rename(staged, committed)


def abort(folder: str, token: str) -> None:
    path = os.path.join(folder, f"{STAGED}-{token}")
    if os.path.exists(path):
        os.unlink(path)


def recover(folder: str, tokens: Sequence[str]) -> None:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.startswith(STAGED) and name.removeprefix(f"{STAGED}-") not in tokens:
            os.unlink(os.path.join(folder, name))


def committed(folder: str) -> Iterator[Any]:
    """The committed rows, checkpoint after checkpoint."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.startswith(COMMITTED):
            with open(os.path.join(folder, name), "rb") as file:
                yield from pickle.load(file)


class CommittedCount:
    """How many rows are committed; each file is read once, as it stays as it is."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._rows: dict[str, int] = {}

    def __call__(self) -> int:
        for name in os.listdir(self._folder) if os.path.isdir(self._folder) else ():
            if name.startswith(COMMITTED) and name not in self._rows:
                with open(os.path.join(self._folder, name), "rb") as file:
                    self._rows[name] = len(pickle.load(file))
        return sum(self._rows.values())


def left_over(folder: str) -> list[str]:
    """Files that were staged and neither committed nor cleared away."""
    return [name for name in os.listdir(folder) if name.startswith(STAGED)] if os.path.isdir(folder) else []
