"""The one door from storage to the operating system: every open, write, sync and rename of log and checkpoint
store goes through a `Files` object, so that tests can put a simulated disk in its place and arm fault points.

What callers may rely on, on a real disk and on the simulated one:

* written bytes survive a crash of the machine only after `Handle.sync`; a new, renamed or removed name only
  after `sync_dir` of its directory (`write_atomic` does both);
* `rename` is atomic: a crash leaves the old or the new file under the name, never a mixture;
* after a failed `sync` the handle refuses all further work (SyncFailedError): discard the file, write anew.

Errors are those of `hornbeam.storage.errors`, with path and operation. All paths are `str`.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TypeAlias

from hornbeam.storage import faults
from hornbeam.storage.errors import (
    CorruptionError,
    DiskFullError,
    FileExistsAlreadyError,
    LockTimeoutError,
    MissingFileError,
    StorageError,
    SyncFailedError,
    TooManyFilesError,
    storage_error,
)
from hornbeam.storage.locks import Lock, LockFile, take_lock

__all__ = [
    "Buffer",
    "CorruptionError",
    "DiskFullError",
    "FileExistsAlreadyError",
    "Files",
    "Handle",
    "Lock",
    "LockFile",
    "LockTimeoutError",
    "MissingFileError",
    "OS_FILES",
    "StorageError",
    "SyncFailedError",
    "TooManyFilesError",
    "arm",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

_IOV_MAX = 1024
TEMPORARY_SUFFIX = ".tmp"

_armed: faults.FaultPlan | None = faults.plan_from_environment()


def arm(plan: str | None) -> None:
    """Arm this process's fault points (`name:n:action,...`, see `faults`), or disarm them with None."""
    global _armed
    _armed = None if plan is None else faults.FaultPlan.parse(plan)


def _fault(name: str) -> None:
    if _armed is not None and (action := _armed.passed(name)) is not None:
        faults.perform(action)


class Handle:
    """An open file. Not for use by several threads at once, except `pread`, which moves no position."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._sync_failed = False

    def write(self, data: Buffer | Sequence[Buffer]) -> int:
        """Append all of a buffer, or of a list of buffers with one system call; the number of bytes.

        After an error an unknown part may be in the file: truncate to the size before, or discard.
        """
        self._refuse_after_failed_sync("write")
        try:
            if _armed is not None and (action := _armed.passed("files.write")) is not None:
                self._fail_in_write(data, action)
            if isinstance(data, (bytes, bytearray, memoryview)):
                return self._write_one(data)
            return self._write_many(data)
        except OSError as error:
            raise storage_error(error, self.path, "write") from error

    def pread(self, n: int, offset: int) -> bytes:
        """Up to n bytes from offset; fewer only where the file ends."""
        try:
            _fault("files.pread")
            data = os.pread(self._fd, n, offset)
            if len(data) == n or not data:
                return data
            parts, have = [data], len(data)
            while have < n and (data := os.pread(self._fd, n - have, offset + have)):
                parts.append(data)
                have += len(data)
            return b"".join(parts)
        except OSError as error:
            raise storage_error(error, self.path, "read") from error

    def size(self) -> int:
        """The file's size now, in bytes."""
        try:
            return os.fstat(self._fd).st_size
        except OSError as error:
            raise storage_error(error, self.path, "stat") from error

    def truncate(self, n: int) -> None:
        """Cut the file to n bytes; durable after the next sync."""
        self._refuse_after_failed_sync("truncate")
        try:
            _fault("files.truncate")
            os.ftruncate(self._fd, n)
        except OSError as error:
            raise storage_error(error, self.path, "truncate") from error

    def sync(self) -> None:
        """Wait until the content (and size) is on the disk. A failure is final for this handle."""
        self._refuse_after_failed_sync("sync")
        try:
            _fault("files.sync")
            os.fdatasync(self._fd)
        except OSError as error:
            self._sync_failed = True
            raise storage_error(error, self.path, "sync") from error

    def close(self) -> None:
        """Close without syncing; doing it twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:
                raise storage_error(error, self.path, "close") from error

    def fileno(self) -> int:
        """The descriptor, for calls that this class lacks; -1 once closed."""
        return self._fd

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _refuse_after_failed_sync(self, operation: str) -> None:
        if self._sync_failed:
            raise SyncFailedError(
                self.path, operation, "an earlier sync of this handle failed; write the data anew elsewhere"
            )

    def _write_one(self, data: Buffer) -> int:
        total = data.nbytes if isinstance(data, memoryview) else len(data)
        done = os.write(self._fd, data)
        if done < total:
            rest = memoryview(data).cast("B")
            while done < total:
                done += os.write(self._fd, rest[done:])
        return total

    def _write_many(self, buffers: Sequence[Buffer]) -> int:
        total = 0
        for start in range(0, len(buffers), _IOV_MAX):
            group = buffers[start : start + _IOV_MAX]
            done = os.writev(self._fd, group)
            size = sum(b.nbytes if isinstance(b, memoryview) else len(b) for b in group)
            if done < size:
                self._write_one(memoryview(b"".join(group))[done:])
            total += size
        return total

    def _fail_in_write(self, data: Buffer | Sequence[Buffer], action: str) -> None:
        if action == "tear":
            whole = bytes(data) if isinstance(data, (bytes, bytearray, memoryview)) else b"".join(data)
            os.write(self._fd, whole[: len(whole) // 2])
        faults.perform(action)


class Files:
    """The file system. One instance serves all threads; `OS_FILES` is the machine's own."""

    def fault(self, name: str) -> None:
        """A fault point of the caller's own: nothing at all unless a test armed it."""
        if _armed is not None and (action := _armed.passed(name)) is not None:
            try:
                faults.perform(action)
            except OSError as error:
                raise storage_error(error, name, "fault point") from error

    def open_append(self, path: str, create: bool = True) -> Handle:
        """Open for reading and for writing at the end. A missing file is made (then sync_dir), unless one does not want
        to `create` it: MissingFileError."""
        return self._open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), "open")

    def open_read(self, path: str) -> Handle:
        """Open for reading only."""
        return self._open(path, os.O_RDONLY, "open")

    def create(self, path: str) -> Handle:
        """Make a new file and open it as `open_append` does; FileExistsAlreadyError if the name is taken."""
        return self._open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, "create")

    def rename(self, source: str, target: str) -> None:
        """Atomically give a file another name, replacing what had it; durable after sync_dir."""
        try:
            _fault("files.rename")
            os.rename(source, target)
        except OSError as error:
            raise storage_error(error, source, f"rename to {target}:") from error

    def unlink(self, path: str) -> None:
        """Remove a file's name; MissingFileError when there is none."""
        try:
            _fault("files.unlink")
            os.unlink(path)
        except OSError as error:
            raise storage_error(error, path, "unlink") from error

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        try:
            _fault("files.rmdir")
            os.rmdir(path)
        except OSError as error:
            raise storage_error(error, path, "rmdir") from error

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        try:
            _fault("files.listdir")
            return sorted(os.listdir(path))
        except OSError as error:
            raise storage_error(error, path, "list") from error

    def exists(self, path: str) -> bool:
        """Whether a file or directory has that name now."""
        return os.path.exists(path)

    def isdir(self, path: str) -> bool:
        """Whether it is a directory."""
        return os.path.isdir(path)

    def size(self, path: str) -> int:
        """A file's size in bytes."""
        try:
            return os.stat(path).st_size
        except OSError as error:
            raise storage_error(error, path, "stat") from error

    def mkdir(self, path: str) -> None:
        """Make a directory and its parents; durable itself (the parents are synced), fine if it exists."""
        missing: list[str] = []
        at = os.path.abspath(path)
        while not os.path.isdir(at):
            missing.append(at)
            at = os.path.dirname(at)
        # A process that died just after its mkdir left the lowest directory that exists unsynced.
        if os.access(os.path.dirname(at), os.R_OK):
            self.sync_dir(os.path.dirname(at))
        for directory in reversed(missing):
            try:
                _fault("files.mkdir")
                os.mkdir(directory)
            except FileExistsError:
                pass
            except OSError as error:
                raise storage_error(error, directory, "mkdir") from error
            self.sync_dir(os.path.dirname(directory))

    def sync_dir(self, path: str) -> None:
        """Wait until the names in a directory (new, renamed, removed) are on the disk."""
        fd = -1
        try:
            _fault("files.sync_dir")
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(fd)
        except OSError as error:
            raise storage_error(error, path, "sync" if fd >= 0 else "open directory") from error
        finally:
            if fd >= 0:
                os.close(fd)

    def write_atomic(self, path: str, data: Buffer) -> None:
        """Put `data` under `path` so that after any crash the name shows the old content or all of the new.

        On return it is durable. One writer per path at a time: the temporary name is `path` + ".tmp", and a
        leftover of it from a crash is written over. On an error the old content is still there, unless it
        was the last step that failed (sync of the directory): then the new content is there, but a crash
        of the machine may undo it.
        """
        temporary = path + TEMPORARY_SUFFIX
        if self.exists(temporary):
            self.unlink(temporary)
        handle = self.create(temporary)
        try:
            with handle:
                handle.write(data)
                handle.sync()
            self.rename(temporary, path)
        except StorageError:
            try:
                self.unlink(temporary)
            except StorageError:
                pass
            raise
        self.sync_dir(os.path.dirname(path) or ".")

    def read_bytes(self, path: str) -> bytes:
        """A whole file's content."""
        with self.open_read(path) as handle:
            return handle.pread(handle.size(), 0)

    def map_read(self, path: str) -> memoryview:
        """A read-only view of a whole file through a memory map.

        The map holds one file descriptor and stays valid after rename or unlink, until the last view of it
        is gone. Never map a file that somebody may truncate: touching pages beyond the new end kills the
        process (SIGBUS).
        """
        with self.open_read(path) as handle:
            try:
                _fault("files.map_read")
                if handle.size() == 0:
                    return memoryview(b"")
                return memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
            except OSError as error:
                raise storage_error(error, path, "map") from error

    def let_go_of_pages(self, view: memoryview, end: int) -> None:
        """The pages of a `map_read` view before byte `end` are not needed for now: they count no more as this process's.

        Only a hint: what is read there again comes from the file.
        """
        size = end // mmap.PAGESIZE * mmap.PAGESIZE
        if size and isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            view.obj.madvise(mmap.MADV_DONTNEED, 0, size)

    def map_shared(self, path: str, size: int) -> memoryview:
        """A writable view of a file's first `size` bytes, shared by every process that maps it.

        The file is made, or grown with zeros, as needed. What is stored there survives a process's death;
        after a crash of the machine it may be anything, so keep only what can be rebuilt. Never truncate it.
        """
        with self.open_append(path) as handle:
            try:
                _fault("files.map_shared")
                if handle.size() < size:
                    os.ftruncate(handle.fileno(), size)
                return memoryview(mmap.mmap(handle.fileno(), size))
            except OSError as error:
                raise storage_error(error, path, "map") from error

    def lock(self, path: str, exclusive: bool = True, timeout: float | None = None) -> Lock:
        """Take an flock on `path` (created if missing), waiting up to `timeout` seconds: None is for ever,
        0 not at all. LockTimeoutError if others hold it. Released by the Lock and by process death."""
        return take_lock(path, exclusive, timeout)

    def open_lock_file(self, path: str) -> LockFile:
        """Open (create) a lock file to be taken many times; see LockFile."""
        return LockFile(path)

    def _open(self, path: str, flags: int, operation: str) -> Handle:
        try:
            _fault(f"files.{operation}")
            return Handle(path, os.open(path, flags | os.O_CLOEXEC, 0o644))
        except OSError as error:
            raise storage_error(error, path, operation) from error


OS_FILES = Files()
