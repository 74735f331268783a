"""The real file layer: short writes, final sync failures, fault points, locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornbeam.storage import files as files_module
from hornbeam.storage.faults import FaultPlan
from hornbeam.storage.files import (
    OS_FILES,
    CorruptionError,
    DiskFullError,
    FileExistsAlreadyError,
    Lock,
    LockTimeoutError,
    MissingFileError,
    SyncFailedError,
    TooManyFilesError,
)


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    files_module.arm(None)


def test_round_trip_of_every_operation(tmp_path: Path) -> None:
    base = str(tmp_path / "a" / "b")
    OS_FILES.mkdir(base)
    OS_FILES.mkdir(base)
    path = f"{base}/file"
    with OS_FILES.create(path) as handle:
        assert handle.write(b"head") == 4
        assert handle.write([b"x" * 3, bytearray(b"y"), memoryview(b"zz")] * 1500) == 9000
        assert (handle.size(), handle.pread(6, 4)) == (9004, b"xxxyzz")
        handle.truncate(6)
        handle.write(b"!")
        handle.sync()
        assert handle.fileno() >= 0
    assert OS_FILES.read_bytes(path) == bytes(OS_FILES.map_read(path)) == b"headxx!"
    OS_FILES.rename(path, f"{base}/other")
    OS_FILES.write_atomic(f"{base}/file", b"")
    assert bytes(OS_FILES.map_read(f"{base}/file")) == b""
    assert OS_FILES.listdir(base) == ["file", "other"]
    assert OS_FILES.size(f"{base}/other") == 7
    OS_FILES.unlink(f"{base}/other")
    assert not OS_FILES.exists(f"{base}/other")
    with pytest.raises(MissingFileError):
        OS_FILES.unlink(f"{base}/other")
    with pytest.raises(FileExistsAlreadyError):
        OS_FILES.create(f"{base}/file")


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, real_writev = os.write, os.writev
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, bytes(data)[:3]))
    monkeypatch.setattr(os, "writev", lambda fd, parts: real_writev(fd, [bytes(parts[0])[:2]]))
    with OS_FILES.create(str(tmp_path / "f")) as handle:
        assert handle.write(b"0123456789") == 10
        assert handle.write([b"abc", memoryview(b"defg"), b"h"]) == 8
        assert handle.pread(100, 0) == b"0123456789abcdefgh"


@pytest.mark.parametrize(
    ("plan", "error"),
    [("files.write:1:enospc", DiskFullError), ("files.create:1:emfile", TooManyFilesError)],
)
def test_write_atomic_that_fails_keeps_the_old_content(tmp_path: Path, plan: str, error: type) -> None:
    path = str(tmp_path / "f")
    OS_FILES.write_atomic(path, b"old")
    files_module.arm(plan)
    with pytest.raises(error) as caught:
        OS_FILES.write_atomic(path, b"new")
    assert path in str(caught.value)
    assert OS_FILES.read_bytes(path) == b"old"
    assert OS_FILES.listdir(str(tmp_path)) == ["f"]
    OS_FILES.write_atomic(path, b"new")
    assert OS_FILES.read_bytes(path) == b"new"


def test_a_failed_sync_ends_the_handle(tmp_path: Path) -> None:
    files_module.arm("files.sync:2:eio")
    with OS_FILES.create(str(tmp_path / "f")) as handle:
        handle.write(b"a")
        handle.sync()
        with pytest.raises(SyncFailedError, match="EIO"):
            handle.sync()
        for call in (handle.sync, lambda: handle.write(b"b"), lambda: handle.truncate(0)):
            with pytest.raises(SyncFailedError, match="earlier sync"):
                call()
        assert handle.pread(1, 0) == b"a"


def test_named_fault_points_count_and_are_silent_when_unarmed() -> None:
    OS_FILES.fault("mine")
    files_module.arm("mine:2:enospc,*:4:eio")
    OS_FILES.fault("mine")
    with pytest.raises(DiskFullError):
        OS_FILES.fault("mine")
    OS_FILES.fault("other")
    with pytest.raises(files_module.StorageError, match="EIO"):
        OS_FILES.fault("other")


@pytest.mark.parametrize("text", ["nonsense", "a:x:kill", "a:1:explode"])
def test_a_wrong_plan_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="fault rule"):
        FaultPlan.parse(text)


@pytest.mark.parametrize(("action", "left"), [("kill", b""), ("tear", b"01234")])
def test_the_environment_arms_a_process(tmp_path: Path, action: str, left: bytes) -> None:
    path = str(tmp_path / "f")
    code = (
        "import sys; from hornbeam.storage.files import OS_FILES\n"
        "OS_FILES.create(sys.argv[1]).write([b'01234', b'56789'])"
    )
    environment = {**os.environ, "HORNBEAM_FAULT": f"files.write:1:{action}"}
    done = subprocess.run([sys.executable, "-c", code, path], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert OS_FILES.read_bytes(path) == left


def test_a_lock_excludes_other_processes_and_is_freed_by_death(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    code = (
        "import sys, time; from hornbeam.storage.files import OS_FILES\n"
        "lock = OS_FILES.lock(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        with pytest.raises(LockTimeoutError, match="lock"):
            OS_FILES.lock(path, timeout=0.02)
        child.kill()
        child.wait()
        with OS_FILES.lock(path, timeout=5) as lock:
            assert lock.held
    assert not lock.held


def test_a_forked_child_does_not_keep_the_parents_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock = OS_FILES.lock(path)
    ready, wake = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"r")
        os.read(wake[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        with pytest.raises(LockTimeoutError):
            OS_FILES.lock(path, timeout=0)
        lock.release()
        OS_FILES.lock(path, timeout=1).release()
    finally:
        os.write(wake[1], b"w")
        os.waitpid(child, 0)
        for fd in (*ready, *wake):
            os.close(fd)


def test_a_lock_is_that_of_the_file_that_the_path_leads_to(tmp_path: Path) -> None:
    """Seen: who had waited while a job was deleted held a file that nobody else would find."""
    path = str(tmp_path / "lock")
    first = OS_FILES.lock(path)
    got: list[Lock] = []
    waiting = threading.Thread(target=lambda: got.append(OS_FILES.lock(path, timeout=180)))
    waiting.start()
    while not _is_open_twice(path):
        time.sleep(0.001)
    os.unlink(path)
    assert not first.is_in_place()
    first.release()
    waiting.join()
    assert got[0].is_in_place()
    with pytest.raises(LockTimeoutError):
        OS_FILES.lock(path, timeout=0)


def _is_open_twice(path: str) -> bool:
    """Whether this process has the file open twice."""
    there = os.stat(path)
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.path.samestat(os.fstat(int(descriptor)), there)
    return found == 2


def test_shared_locks_go_together(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = [OS_FILES.lock(path, exclusive=False, timeout=0) for _ in range(2)]
    with pytest.raises(LockTimeoutError):
        OS_FILES.lock(path, timeout=0)
    for lock in held:
        lock.release()
    OS_FILES.lock(path, timeout=0).release()


def test_errors_say_where() -> None:
    error = CorruptionError("/x/y", 17, "checksum is 1, expected 2")
    assert str(error) == "/x/y is corrupt at byte 17: checksum is 1, expected 2"
    assert (error.path, error.offset) == ("/x/y", 17)
    assert files_module.storage_error(OSError(errno.EDQUOT, ""), "/p", "write").__class__ is DiskFullError
