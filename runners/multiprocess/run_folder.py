"""The folder of a run's exchange files, with a lock that says whether its owner lives.

The lock is the kernel's (flock), so it is free the moment its owner has died. Whoever makes a new folder removes those
beside it whose owners have gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from typing import Any

from hornbeam.runners.multiprocess.workers import server

PREFIX = "hornbeam-run-"
_LOCK = "owner"
#: A folder is made, and removed, in far less; one that is still without its lock was left by a process that died at it.
_HALF_SECONDS = 600


class RunFolder:
    """A new folder under `parent` (the machine's temporary folder without one), removed by `close`."""

    def __init__(self, parent: str | None = None) -> None:
        place = parent or tempfile.gettempdir()
        remove_abandoned(place)
        try:
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=place)
            # The file appears under its name once it is locked, or another start might take the folder for abandoned.
            unnamed = os.path.join(self.path, f".{_LOCK}")
            self._lock: Any = open(unnamed, "wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(unnamed, os.path.join(self.path, _LOCK))
        except OSError as error:
            raise type(error)(
                error.errno,
                f"{error.strerror}: no folder for exchange files can be made there. Choose another place with the "
                "option --temp_dir",
                place,
            ) from None

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
        server.forget(self.path)


def remove_abandoned(place: str) -> list[str]:
    """Removes the folders of runs whose owners have died, and gives their paths."""
    removed = []
    try:
        names = os.listdir(place)
    except OSError:
        return []
    for name in names:
        path = os.path.join(place, name)
        if not name.startswith(PREFIX):
            continue
        if _is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _is_abandoned(path: str) -> bool:
    """Whether nobody holds the folder's lock. One without a lock file is half made or half removed."""
    try:
        with open(os.path.join(path, _LOCK), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                raise
            return True
    except FileNotFoundError:
        return _unchanged_seconds(path) > _HALF_SECONDS
    except OSError:
        return False


def _unchanged_seconds(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0.0  # it has gone meanwhile


def remove_file(path: str) -> None:
    """Removes a file of the folder, if it is there."""
    try:
        os.unlink(path)
    except OSError:
        pass  # the folder goes as a whole
