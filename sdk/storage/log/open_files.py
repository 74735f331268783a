"""Open segment files, kept for reuse and bounded in number: the least recently used is let go first.

A handle that is let go closes when its last user is done with it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from hornbeam.storage.errors import TooManyFilesError
from hornbeam.storage.files import Files, Handle


class OpenFiles:
    """A cache of handles by path and generation (of the partition's segment list, as files are replaced)."""

    def __init__(self, files: Files, limit: int) -> None:
        self._files = files
        self._limit = limit
        self._handles: OrderedDict[tuple[str, int, bool], Handle] = OrderedDict()
        self._lock = threading.Lock()

    def reader(self, path: str, generation: int) -> Handle:
        """A handle to read with; any thread may pread."""
        return self._get((path, generation, False), self._files.open_read)

    def appender(self, path: str, generation: int) -> Handle:
        """A handle to append and sync with, for the holder of the partition's lock."""
        return self._get((path, generation, True), self._files.open_append)

    def discard(self, path: str) -> None:
        """Let go of a file that was replaced, removed or failed."""
        with self._lock:
            for key in [key for key in self._handles if key[0] == path]:
                del self._handles[key]

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._handles.clear()

    def __len__(self) -> int:
        return len(self._handles)

    def _get(self, key: tuple[str, int, bool], opener: Callable[[str], Handle]) -> Handle:
        with self._lock:
            handle = self._handles.get(key)
            if handle is not None:
                self._handles.move_to_end(key)
                return handle
        try:
            handle = opener(key[0])
        except TooManyFilesError:
            self.clear()
            handle = opener(key[0])
        with self._lock:
            handle = self._handles.setdefault(key, handle)
            while len(self._handles) > self._limit:
                self._handles.popitem(last=False)
        return handle
