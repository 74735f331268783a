"""A two-phase sink for tests: rows go to a staged file, which the commit renames; it can be read back in order."""

from __future__ import annotations

import os
import pickle
import secrets
import time
from collections.abc import Iterator
from typing import Any

import hornbeam as beam

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
        if not self.rows:
            return None
        name = f"{checkpoint:08d}-{secrets.token_hex(6)}"
        with open(os.path.join(self.folder, f"{STAGED}-{name}"), "wb") as file:
            pickle.dump(self.rows, file)
        self.rows = []
        return name

    def settle(self, token: str) -> str:
        with open(os.path.join(self.folder, f"{STAGED}-{token}"), "rb") as file:
            os.fsync(file.fileno())
        return token

    def commit(self, token: str) -> None:
        staged, committed = (os.path.join(self.folder, f"{kind}-{token}") for kind in (STAGED, COMMITTED))
        time.sleep(float(os.environ.get("HORNBEAM_SLOW_COMMIT_SECONDS", "0")))
        if not os.path.exists(committed):
            os.rename(staged, committed)

    def abort(self, token: str) -> None:
        path = os.path.join(self.folder, f"{STAGED}-{token}")
        if os.path.exists(path):
            os.unlink(path)

    def recover(self, tokens: list[str]) -> None:
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            if name.startswith(STAGED) and name.removeprefix(f"{STAGED}-") not in tokens:
                os.unlink(os.path.join(self.folder, name))


def committed(folder: str) -> Iterator[Any]:
    """The committed rows, checkpoint after checkpoint."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.startswith(COMMITTED):
            with open(os.path.join(folder, name), "rb") as file:
                yield from pickle.load(file)


def left_over(folder: str) -> list[str]:
    """Files that were staged and neither committed nor cleared away."""
    return [name for name in os.listdir(folder) if name.startswith(STAGED)] if os.path.isdir(folder) else []
