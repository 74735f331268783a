"""When a store merges by itself: after a commit that leaves too many runs, in that thread or in one of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hornbeam.storage.errors import StorageError

MERGE_POLICIES = ("background", "commit", "caller")


class MergeStoppedError(Exception):
    """The store is being closed; the merge was given up, which costs nothing but its work."""


class Merger:
    """Runs `merge_once` until it says that nothing is left to do. One at a time.

    A failure (a full disk) leaves everything as it was and is kept in `error`; the next commit tries again.
    """

    def __init__(self, policy: str, merge_once: Callable[[], bool]) -> None:
        self.error: StorageError | None = None
        self._policy = policy
        self._merge_once = merge_once
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def after_commit(self) -> None:
        """There may be too many runs now. Called without the store's mutex."""
        if self._policy == "commit":
            self._merge()
        elif self._policy == "background":
            with self._lock:
                if self._thread is None and not self._stopped:
                    self._thread = threading.Thread(target=self._work, name="hornbeam-merge", daemon=True)
                    self._thread.start()

    def catch_up(self) -> None:
        """There are far too many runs: merge now, or wait until it is done in the background."""
        self.after_commit()
        self.wait()

    def wait(self) -> None:
        """Until no merge runs in the background."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def stop(self) -> None:
        """Give up a merge in the background and begin no other."""
        with self._lock:
            self._stopped = True
        self.wait()

    def check(self) -> None:
        """Called by a merge between its steps; MergeStoppedError when it should give up."""
        if self._stopped:
            raise MergeStoppedError

    def _work(self) -> None:
        try:
            self._merge()
        finally:
            with self._lock:
                self._thread = None

    def _merge(self) -> None:
        try:
            while not self._stopped and self._merge_once():
                pass
            self.error = None
        except StorageError as error:
            self.error = error
