"""An advisory lock on a file (flock), which the kernel drops when the process that holds it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import weakref
from types import TracebackType

from hornbeam.storage.errors import LockTimeoutError, storage_error

_WAIT_FIRST_S = 0.0005
_WAIT_MAX_S = 0.02

_held: weakref.WeakSet[Lock] = weakref.WeakSet()
_lock_files: weakref.WeakSet[LockFile] = weakref.WeakSet()


class Lock:
    """A held flock, shared or exclusive: released by `release`, the end of the `with` block or process death.

    Two locks taken by one process on one path exclude each other like those of two processes. The file is
    never removed: unlinking a lock file that others wait on would let two of them in. A forked child does not
    inherit the lock (its copy of the descriptor is closed at once), so the parent's death frees it; a child
    forked in the parent's last moment may hold it for some milliseconds more, so wait a little for a lock.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        _held.add(self)

    def is_in_place(self) -> bool:
        """Whether its file is still the one at the path: if not, whoever locks the path now is not held off."""
        return self._fd >= 0 and _is_at(self._fd, self.path)

    @property
    def held(self) -> bool:
        """Whether this process still holds the lock."""
        return self._fd >= 0

    def release(self) -> None:
        """Give the lock back; doing it twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


class LockFile:
    """A lock file kept open, for locks that are taken often: each time costs one system call and not three.

    Exclusive. Two LockFiles on one path exclude each other; one is for one thread at a time (the caller sees to
    it). As with `Lock`, death frees it and a forked child does not inherit it.
    """

    def __init__(self, path: str) -> None:
        self._fd = -1
        self.path = path
        self._fd = _open_lock_file(path)
        _lock_files.add(self)

    def __enter__(self) -> LockFile:
        """Wait for the lock and hold it until the end of the block."""
        _wait_for_flock(self._fd, self.path, fcntl.LOCK_EX, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    def try_hold(self) -> bool:
        """Take the lock unless somebody has it; whether it was taken. `let_go` gives it back."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise storage_error(error, self.path, "lock") from error
            return False
        return True

    def let_go(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def _open_lock_file(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, path, "lock") from error


def take_lock(path: str, exclusive: bool, timeout_s: float | None) -> Lock:
    """Open (create) `path` and wait for the flock: for ever with None, not at all with 0."""
    while True:
        fd = _open_lock_file(path)
        try:
            _wait_for_flock(fd, path, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, timeout_s)
            if _is_at(fd, path):
                return Lock(path, fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its folder was removed meanwhile: others would lock another file


def _is_at(fd: int, path: str) -> bool:
    """Whether the open file is the one that the path leads to."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)


def _wait_for_flock(fd: int, path: str, mode: int, timeout_s: float | None) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    wait_s = _WAIT_FIRST_S
    while True:
        try:
            fcntl.flock(fd, mode if deadline is None else mode | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise storage_error(error, path, "lock") from error
        assert deadline is not None
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise LockTimeoutError(path, "lock", f"held by somebody else; gave up after {timeout_s} s")
        time.sleep(min(wait_s, left_s))
        wait_s = min(wait_s * 2, _WAIT_MAX_S)


def _drop_in_child() -> None:
    for lock in list(_held):
        Lock.release(lock)  # only the descriptor: a subclass's release may wait for a thread that is not here
    for lock_file in list(_lock_files):
        LockFile.close(lock_file)


os.register_at_fork(after_in_child=_drop_in_child)
