"""Open segment and lock files, kept for reuse and bounded in number: the least recently used is let go first.

A file that is let go closes when its last user is done with it. Each is kept by path and `version`, which
changes when another file may have come under the same path: the topic's uid, and the generation of the
partition's segment list.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar, cast

from hornbeam.storage.errors import TooManyFilesError
from hornbeam.storage.files import Files, Handle, LockFile

Version = tuple[str, int]
_File = TypeVar("_File", Handle, LockFile)
_READ, _APPEND, _LOCK = "read", "append", "lock"


class OpenFiles:
    """A cache of open files. Threads may share it."""

    def __init__(self, files: Files, limit: int) -> None:
        self._files = files
        self._limit = limit
        self._handles: OrderedDict[tuple[str, Version, str], Handle | LockFile] = OrderedDict()
        self._lock = threading.Lock()

    def reader(self, path: str, version: Version) -> Handle:
        """A handle to read with; any thread may pread."""
        return self._get((path, version, _READ), self._files.open_read)

    def appender(self, path: str, version: Version) -> Handle:
        """A handle to append and sync with, for the holder of the partition's lock. The file must exist: there may be
        another topic under its path by now."""
        return self._get((path, version, _APPEND), self._open_existing)

    def lock_file(self, path: str, uid: str) -> LockFile:
        """A lock file of a topic, for one thread of this process at a time."""
        return self._get((path, (uid, 0), _LOCK), self._files.open_lock_file)

    def discard(self, path: str) -> None:
        """Let go of a file that was replaced, removed or failed."""
        with self._lock:
            for key in [key for key in self._handles if key[0] == path]:
                del self._handles[key]

    def discard_under(self, directory: str) -> None:
        """Let go of all files of a directory."""
        prefix = directory + os.sep
        with self._lock:
            for key in [key for key in self._handles if key[0].startswith(prefix)]:
                del self._handles[key]

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._handles.clear()

    def __len__(self) -> int:
        return len(self._handles)

    def _open_existing(self, path: str) -> Handle:
        return self._files.open_append(path, create=False)

    def _get(self, key: tuple[str, Version, str], opener: Callable[[str], _File]) -> _File:
        with self._lock:
            found = self._handles.get(key)
            if found is not None:
                self._handles.move_to_end(key)
                return cast(_File, found)
        try:
            handle = opener(key[0])
        except TooManyFilesError:
            self.clear()
            handle = opener(key[0])
        with self._lock:
            handle = cast(_File, self._handles.setdefault(key, handle))
            while len(self._handles) > self._limit:
                self._handles.popitem(last=False)
        return handle
