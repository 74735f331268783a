"""What storage raises: every error names the path, the operation and the reason."""

from __future__ import annotations

import errno
import os


class StorageError(Exception):
    """Root of all storage errors: an operation on a path failed."""

    def __init__(self, path: str, operation: str, reason: str) -> None:
        super().__init__(path, operation, reason)
        self.path = path
        self.operation = operation
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.operation} {self.path}: {self.reason}"


class DiskFullError(StorageError):
    """No space (or no quota) is left; the same operation may work once there is room."""


class TooManyFilesError(StorageError):
    """The process or the machine has no file descriptors left."""


class MissingFileError(StorageError):
    """The file or directory does not exist."""


class FileExistsAlreadyError(StorageError):
    """`create` met a file of that name."""


class LockTimeoutError(StorageError):
    """Somebody else held the lock for the whole time that was allowed."""


class SyncFailedError(StorageError):
    """An fsync failed, now or earlier on this handle.

    The kernel reports a lost write once and then marks the pages clean, so a second fsync that succeeds
    proves nothing. Discard the file and write its content again under a new name.
    """


class CorruptionError(StorageError):
    """Bytes on disk are not what was written: a checksum, a length or a structure is wrong at `offset`."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(path, "read", reason)
        self.args = (path, offset, reason)
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.path} is corrupt at byte {self.offset}: {self.reason}"


_KINDS: dict[int, type[StorageError]] = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.EMFILE: TooManyFilesError,
    errno.ENFILE: TooManyFilesError,
    errno.ENOENT: MissingFileError,
    errno.EEXIST: FileExistsAlreadyError,
}


def storage_error(error: OSError, path: str, operation: str) -> StorageError:
    """The storage error for what the operating system reported; the caller raises it `from error`."""
    number = error.errno or 0
    name = errno.errorcode.get(number, "unknown error")
    reason = f"{os.strerror(number) if number else error} ({name})"
    if operation == "sync":
        return SyncFailedError(path, operation, f"{reason}; what was written since the last sync may be lost")
    return _KINDS.get(number, StorageError)(path, operation, reason)
