"""Waiting for room: while the disk is full nothing is lost, the job is PAUSED, and the same write is tried again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.log.environment import is_disk_full
from hornbeam.storage.errors import StorageError
from hornbeam.storage.files import OS_FILES

_DISK_FULL_SECONDS = 0.5

T = TypeVar("T")


def until_there_is_room(writing: Callable[[], T], paused: Callable[[str], None], what: str = "") -> T:
    """What `writing` gives; called again as long as it fails for a full disk. `paused` is told why, and '' at the end."""
    is_paused = False
    while True:
        try:
            found = writing()
        except (OSError, StorageError) as error:
            if not is_disk_full(error):
                raise
            is_paused = True
            paused(f"the disk is full{what}: {error}")
            time.sleep(_DISK_FULL_SECONDS)
            continue
        if is_paused:
            paused("")
        return found


class WorkerSpace(TemporarySpace):
    """A worker's temporary files, in the folder of its job's; it waits when there is no room for them."""

    def __init__(self, parent: str, paused: Callable[[str], None]) -> None:
        super().__init__(parent)
        self._paused = paused
        self._what = f", for state that is moved to {parent}"

    def new_path(self, name: str) -> str:
        return until_there_is_room(lambda: self._new_path(name), self._paused, self._what)

    def _new_path(self, name: str) -> str:
        if self._path is None:
            assert self._parent is not None
            try:
                os.mkdir(self._parent)
            except OSError as error:
                if is_disk_full(error):
                    raise
                # It is there, or super() says what is wrong.
        return super().new_path(name)

    def write(self, writing: Callable[[], T]) -> T:
        def write() -> T:
            OS_FILES.fault("worker.spill")
            return writing()

        return until_there_is_room(write, self._paused, self._what)
