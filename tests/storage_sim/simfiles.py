"""A process's view of a simulated disk: the `Files` interface over `SimDisk`."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Sequence

from storage_sim.simdisk import DirNode, FileNode, SimCrash, SimDisk

from hornbeam.storage.errors import storage_error
from hornbeam.storage.files import (
    Buffer,
    Files,
    Handle,
    Lock,
    LockFile,
    LockTimeoutError,
    StorageError,
    SyncFailedError,
)

_DEADLOCK_S = 20.0


class SimHandle(Handle):
    """An open simulated file."""

    def __init__(self, path: str, files: SimFiles, node: FileNode, writable: bool) -> None:
        super().__init__(path, -1)
        self._files = files
        self._node = node
        self._writable = writable
        self._open = True
        self._number = next(files.numbers)
        files.open_handles.add(self)

    def write(self, data: Buffer | Sequence[Buffer]) -> int:
        self._refuse_after_failed_sync("write")
        raw = bytes(data) if isinstance(data, (bytes, bytearray, memoryview)) else b"".join(data)
        disk = self._files.disk
        with disk.mutex:
            self._check("write", writing=True)
            for part in self._short_writes(raw):
                try:
                    self._files.enter("write", self.path)
                except OSError as error:
                    self._node.append(part[: disk.rng.randint(0, len(part))], disk.page_size)
                    raise storage_error(error, self.path, "write") from error
                self._node.append(part, disk.page_size)
        return len(raw)

    def pread(self, n: int, offset: int) -> bytes:
        with self._files.disk.mutex:
            self._check("read")
            self._files.call("pread", self.path, "read")
            return bytes(self._node.content[offset : offset + n])

    def size(self) -> int:
        with self._files.disk.mutex:
            self._check("stat")
            return len(self._node.content)

    def truncate(self, n: int) -> None:
        self._refuse_after_failed_sync("truncate")
        with self._files.disk.mutex:
            self._check("truncate", writing=True)
            self._files.call("truncate", self.path, "truncate")
            self._node.truncate(n, self._files.disk.page_size)

    def sync(self) -> None:
        self._refuse_after_failed_sync("sync")
        disk = self._files.disk
        with disk.mutex:
            self._check("sync")
            try:
                self._files.enter("sync", self.path)
            except OSError as error:
                self._node.fail_sync(disk.rng, disk.page_size)
                self._sync_failed = True
                raise storage_error(error, self.path, "sync") from error
            self._node.sync(disk.page_size)

    def close(self) -> None:
        self._open = False
        self._files.open_handles.discard(self)

    def fileno(self) -> int:
        return self._number if self._open else -1

    def __del__(self) -> None:
        pass

    def _check(self, operation: str, writing: bool = False) -> None:
        if not self._files.alive:
            raise SimCrash
        if not self._open or (writing and not self._writable):
            raise StorageError(self.path, operation, "Bad file descriptor (EBADF)")

    def _short_writes(self, raw: bytes) -> list[bytes]:
        """Cut a write as the kernel may: nearly always whole, now and then in two."""
        if len(raw) < 2 or self._files.disk.rng.random() < 0.7:
            return [raw]
        at = self._files.disk.rng.randint(1, len(raw) - 1)
        return [raw[:at], raw[at:]]


class SimLock(Lock):
    """A lock on a simulated file, dropped when its process dies."""

    def __init__(self, path: str, files: SimFiles) -> None:
        super().__init__(path, -1)
        self._files = files

    @property
    def held(self) -> bool:
        return any(holder is self for holder, _ in self._files.disk.locks.get(self.path, []))

    def release(self) -> None:
        disk = self._files.disk
        with disk.mutex:
            holders = disk.locks.get(self.path, [])
            disk.locks[self.path] = [entry for entry in holders if entry[0] is not self]
            self._files.held_locks.discard(self)
            disk.lock_released.notify_all()

    def __del__(self) -> None:
        pass


class SimLockFile(LockFile):
    """An open lock file of a simulated process; each time it is taken counts as a call."""

    def __init__(self, path: str, files: SimFiles) -> None:
        self.path = path
        self._fd = -1
        self._files = files
        self._lock: Lock | None = None

    def __enter__(self) -> SimLockFile:
        self._lock = self._files.lock(self.path)
        return self

    def try_hold(self) -> bool:
        try:
            self._lock = self._files.lock(self.path, timeout=0)
        except LockTimeoutError:
            return False
        return True

    def let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class SimFiles(Files):
    """One process on the simulated disk; several may share it. `kill` ends it as SIGKILL does."""

    def __init__(self, disk: SimDisk, fd_limit: int | None = None) -> None:
        self.disk = disk
        self.alive = True
        self.fd_limit = fd_limit
        self.open_handles: set[SimHandle] = set()
        self.held_locks: set[SimLock] = set()
        self.numbers = itertools.count(1000)

    def kill(self) -> None:
        """End this process: its locks and handles go, the page cache stays."""
        with self.disk.mutex:
            self.alive = False
            self.open_handles.clear()
            for lock in list(self.held_locks):
                lock.release()

    def enter(self, operation: str, path: str) -> None:
        """Count a call of this process; SimCrash or OSError if it is the one."""
        if not self.alive:
            raise SimCrash
        self.disk.enter(operation, path)
        if not self.alive:
            raise SimCrash

    def call(self, operation: str, path: str, word: str) -> None:
        """As `enter`, with the storage error for an OSError."""
        try:
            self.enter(operation, path)
        except OSError as error:
            raise storage_error(error, path, word) from error

    def open_append(self, path: str, create: bool = True) -> Handle:
        with self.disk.mutex:
            if create and self.disk.find(path) is None:
                return self.create(path)
            return self._open_node("open", path, writable=True)

    def open_read(self, path: str) -> Handle:
        with self.disk.mutex:
            return self._open_node("open", path, writable=False)

    def create(self, path: str) -> Handle:
        with self.disk.mutex:
            self.call("create", path, "create")
            self._check_fd_limit(path)
            directory, name = self._parent(path, "create")
            if name in directory.entries:
                raise self._error(errno.EEXIST, path, "create")
            node = FileNode()
            self.disk.change((directory, name, node))
            return SimHandle(path, self, node, writable=True)

    def rename(self, source: str, target: str) -> None:
        with self.disk.mutex:
            self.call("rename", source, f"rename to {target}:")
            from_directory, from_name = self._parent(source, "rename")
            to_directory, to_name = self._parent(target, "rename")
            node = from_directory.entries.get(from_name)
            if node is None:
                raise self._error(errno.ENOENT, source, "rename")
            if isinstance(to_directory.entries.get(to_name), DirNode):
                raise self._error(errno.EISDIR, target, "rename")
            self.disk.change((from_directory, from_name, None), (to_directory, to_name, node))

    def unlink(self, path: str) -> None:
        with self.disk.mutex:
            self.call("unlink", path, "unlink")
            directory, name = self._parent(path, "unlink")
            node = directory.entries.get(name)
            if not isinstance(node, FileNode):
                raise self._error(errno.ENOENT if node is None else errno.EISDIR, path, "unlink")
            self.disk.change((directory, name, None))

    def rmdir(self, path: str) -> None:
        with self.disk.mutex:
            self.call("rmdir", path, "rmdir")
            directory, name = self._parent(path, "rmdir")
            node = directory.entries.get(name)
            if not isinstance(node, DirNode):
                raise self._error(errno.ENOENT if node is None else errno.ENOTDIR, path, "rmdir")
            if node.entries:
                raise self._error(errno.ENOTEMPTY, path, "rmdir")
            self.disk.change((directory, name, None))

    def listdir(self, path: str) -> list[str]:
        with self.disk.mutex:
            self.call("listdir", path, "list")
            return sorted(self._directory(path, "list").entries)

    def exists(self, path: str) -> bool:
        with self.disk.mutex:
            self._check_alive()
            return self.disk.find(path) is not None

    def isdir(self, path: str) -> bool:
        with self.disk.mutex:
            self._check_alive()
            return isinstance(self.disk.find(path), DirNode)

    def size(self, path: str) -> int:
        with self.disk.mutex:
            self._check_alive()
            return len(self._file(path, "stat").content)

    def mkdir(self, path: str) -> None:
        with self.disk.mutex:
            missing: list[str] = []
            at = "/" + path.strip("/")
            while self.disk.find(at) is None:
                missing.append(at)
                at = os.path.dirname(at)
            self.sync_dir(os.path.dirname(at))
            for directory in reversed(missing):
                parent, name = os.path.split(directory)
                self.call("mkdir", directory, "mkdir")
                self.disk.change((self._directory(parent, "mkdir"), name, DirNode()))
                self.sync_dir(parent)

    def sync_dir(self, path: str) -> None:
        with self.disk.mutex:
            try:
                self.enter("sync_dir", path)
            except OSError as error:
                word = "open directory" if error.errno == errno.EMFILE else "sync"
                raise storage_error(error, path, word) from error
            self.disk.sync_dir(self._directory(path, "sync"))

    def map_read(self, path: str) -> memoryview:
        with self.disk.mutex:
            self.call("map_read", path, "map")
            self._check_fd_limit(path)
            return memoryview(bytes(self._file(path, "map").content))

    def map_shared(self, path: str, size: int) -> memoryview:
        with self.disk.mutex:
            if self.disk.find(path) is None:
                self.create(path).close()
            self.call("map_shared", path, "map")
            self._check_fd_limit(path)
            return memoryview(self._file(path, "map").share(size))

    def lock(self, path: str, exclusive: bool = True, timeout: float | None = None) -> Lock:
        deadline = time.monotonic() + (_DEADLOCK_S if timeout is None else timeout)
        with self.disk.mutex:
            self.call("lock", path, "lock")
            if self.disk.find(path) is None:
                directory, name = self._parent(path, "lock")
                self.disk.change((directory, name, FileNode()))
            while any(exclusive or held for _, held in self.disk.locks.get(path, [])):
                left = deadline - time.monotonic()
                if left <= 0:
                    assert timeout is not None, f"deadlock on simulated lock {path}"
                    raise LockTimeoutError(path, "lock", "held by somebody else")
                self.disk.lock_released.wait(left)
            lock = SimLock(path, self)
            self.disk.locks.setdefault(path, []).append((lock, exclusive))
            self.held_locks.add(lock)
            return lock

    def open_lock_file(self, path: str) -> LockFile:
        return SimLockFile(path, self)

    def _open_node(self, operation: str, path: str, writable: bool) -> Handle:
        self.call(operation, path, "open")
        self._check_fd_limit(path)
        return SimHandle(path, self, self._file(path, "open"), writable)

    def _check_alive(self) -> None:
        if not self.alive or self.disk.down:
            raise SimCrash

    def _check_fd_limit(self, path: str) -> None:
        if self.fd_limit is not None and len(self.open_handles) >= self.fd_limit:
            raise self._error(errno.EMFILE, path, "open")

    def _file(self, path: str, operation: str) -> FileNode:
        node = self.disk.find(path)
        if not isinstance(node, FileNode):
            raise self._error(errno.ENOENT if node is None else errno.EISDIR, path, operation)
        return node

    def _directory(self, path: str, operation: str) -> DirNode:
        node = self.disk.find(path)
        if not isinstance(node, DirNode):
            raise self._error(errno.ENOENT if node is None else errno.ENOTDIR, path, operation)
        return node

    def _parent(self, path: str, operation: str) -> tuple[DirNode, str]:
        directory, name = os.path.split(path)
        return self._directory(directory, operation), name

    def _error(self, number: int, path: str, operation: str) -> StorageError:
        return storage_error(OSError(number, os.strerror(number)), path, operation)


__all__ = ["SimFiles", "SimHandle", "SimLock", "SyncFailedError"]
