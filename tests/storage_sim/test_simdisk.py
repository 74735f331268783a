"""The simulated disk is itself held to what it promises."""

from __future__ import annotations

import errno

import pytest
from storage_sim.simdisk import SimCrash, SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.files import (
    DiskFullError,
    FileExistsAlreadyError,
    LockTimeoutError,
    MissingFileError,
    StorageError,
    SyncFailedError,
    TooManyFilesError,
)

SEEDS = range(150)


def new(page_size: int = 16) -> tuple[SimDisk, SimFiles]:
    disk = SimDisk(seed=1, page_size=page_size)
    files = SimFiles(disk)
    files.mkdir("/d")
    return disk, files


def outcomes(disk: SimDisk, path: str, mode: str | None = None) -> set[bytes | None]:
    found: set[bytes | None] = set()
    for seed in SEEDS:
        after = SimFiles(disk.after_crash(seed, mode))
        found.add(after.read_bytes(path) if after.exists(path) else None)
    return found


def synced(files: SimFiles, path: str, data: bytes) -> None:
    with files.create(path) as handle:
        handle.write(data)
        handle.sync()
    files.sync_dir("/d")


def test_synced_content_and_name_survive_every_crash() -> None:
    disk, files = new()
    synced(files, "/d/a", b"x" * 40)
    assert outcomes(disk, "/d/a") == {b"x" * 40}


def test_a_synced_file_without_a_synced_name_may_be_gone() -> None:
    disk, files = new()
    with files.create("/d/a") as handle:
        handle.write(b"x" * 40)
        handle.sync()
    assert outcomes(disk, "/d/a") == {None, b"x" * 40}
    assert outcomes(disk, "/d/a", "lose_all") == {None}
    assert outcomes(disk, "/d/a", "keep_all") == {b"x" * 40}


def test_unsynced_appends_are_kept_lost_cut_zeroed_or_torn_but_the_synced_part_stays() -> None:
    disk, files = new()
    synced(files, "/d/a", b"o" * 16)
    files.open_append("/d/a").write(b"n" * 48)
    found = outcomes(disk, "/d/a")
    assert b"o" * 16 in found and b"o" * 16 + b"n" * 48 in found
    assert any(data is not None and 16 < len(data) < 64 for data in found)
    assert any(data is not None and b"\0" in data for data in found)
    assert all(data is not None and data.startswith(b"o" * 16) for data in found)


def test_an_unsynced_truncate_may_be_undone() -> None:
    disk, files = new()
    synced(files, "/d/a", b"o" * 32)
    handle = files.open_append("/d/a")
    handle.truncate(8)
    assert handle.size() == 8
    found = outcomes(disk, "/d/a")
    assert {b"o" * 8, b"o" * 32} <= found
    handle.sync()
    assert outcomes(disk, "/d/a") == {b"o" * 8}


def test_write_atomic_shows_old_or_new_at_every_crash_point_and_new_at_the_end() -> None:
    disk, files = new()
    synced(files, "/d/a", b"old")
    seen: set[bytes | None] = set()

    def look(operation: str, path: str) -> None:
        seen.update(outcomes(disk, "/d/a"))

    disk.on_call = look
    files.write_atomic("/d/a", b"new" * 10)
    disk.on_call = None
    assert seen == {b"old", b"new" * 10}
    assert outcomes(disk, "/d/a") == {b"new" * 10}
    assert files.listdir("/d") == ["a"]


def test_a_rename_without_file_sync_can_leave_an_empty_or_torn_file() -> None:
    disk, files = new()
    with files.create("/d/a.tmp") as handle:
        handle.write(b"data" * 10)
    files.rename("/d/a.tmp", "/d/a")
    files.sync_dir("/d")
    assert b"" in outcomes(disk, "/d/a")


def test_directory_operations_survive_as_prefix_or_subset() -> None:
    disk, files = new()
    for name in "abc":
        files.create(f"/d/{name}")
    seen = {tuple(SimFiles(disk.after_crash(seed)).listdir("/d")) for seed in SEEDS}
    assert {(), ("a",), ("a", "b"), ("a", "b", "c")} <= seen
    assert ("c",) in seen or ("b",) in seen
    files.sync_dir("/d")
    files.unlink("/d/b")
    assert {tuple(SimFiles(disk.after_crash(seed)).listdir("/d")) for seed in SEEDS} == {
        ("a", "b", "c"),
        ("a", "c"),
    }


def test_a_failed_sync_is_final_and_a_later_sync_does_not_save_the_dropped_pages() -> None:
    found: set[bytes] = set()
    for seed in SEEDS:
        disk = SimDisk(seed=seed, page_size=16)
        files = SimFiles(disk)
        files.mkdir("/d")
        synced(files, "/d/a", b"")
        handle = files.open_append("/d/a")
        handle.write(b"n" * 32)
        disk.fail(1, errno.EIO, operations=frozenset({"sync"}))
        with pytest.raises(SyncFailedError):
            handle.sync()
        with pytest.raises(SyncFailedError):
            handle.write(b"more")
        again = files.open_append("/d/a")
        again.sync()
        found.add(SimFiles(disk.after_crash(0)).read_bytes("/d/a"))
    assert b"n" * 32 in found
    assert len(found) > 2


def test_crash_at_a_call_stops_the_process_for_good() -> None:
    disk, files = new()
    disk.crash_at = disk.calls + 2
    handle = files.create("/d/a")
    with pytest.raises(SimCrash):
        handle.write(b"x")
    for call in (lambda: files.exists("/d"), lambda: files.listdir("/d"), lambda: files.create("/d/b")):
        with pytest.raises(SimCrash):
            call()


@pytest.mark.parametrize(
    ("number", "error", "act"),
    [
        (errno.ENOSPC, DiskFullError, lambda files: files.create("/d/new")),
        (errno.ENOSPC, SyncFailedError, lambda files: files.mkdir("/e")),
        (errno.EMFILE, TooManyFilesError, lambda files: files.open_read("/d/a")),
        (errno.EMFILE, TooManyFilesError, lambda files: files.map_read("/d/a")),
        (errno.EIO, StorageError, lambda files: files.read_bytes("/d/a")),
        (errno.EIO, StorageError, lambda files: files.rename("/d/a", "/d/b")),
    ],
)
def test_the_nth_eligible_call_fails_and_changes_nothing(number, error, act) -> None:  # type: ignore[no-untyped-def]
    disk, files = new()
    synced(files, "/d/a", b"data")
    failure = disk.fail(1, number)
    with pytest.raises(error):
        act(files)
    assert failure.fired == 1
    assert files.listdir("/d") == ["a"]
    act(files)


def test_a_full_disk_takes_part_of_a_write_and_stays_full_while_sticky() -> None:
    lengths = set()
    for seed in range(20):
        disk = SimDisk(seed=seed, page_size=16)
        files = SimFiles(disk)
        files.mkdir("/d")
        handle = files.create("/d/a")
        disk.fail(1, errno.ENOSPC, sticky=True)
        for _ in range(2):
            with pytest.raises(DiskFullError):
                handle.write(b"x" * 30)
        disk.failure = None
        lengths.add(handle.size())
        handle.truncate(0)
        assert handle.write([b"x" * 10, memoryview(b"y" * 20)]) == 30
        assert handle.pread(100, 0) == b"x" * 10 + b"y" * 20
    assert len(lengths) > 5


def test_locks_exclude_and_die_with_their_process() -> None:
    disk, files = new()
    other = SimFiles(disk)
    lock = files.lock("/d/lock")
    with pytest.raises(LockTimeoutError):
        other.lock("/d/lock", timeout=0.01)
    files.kill()
    with pytest.raises(SimCrash):
        files.listdir("/d")
    with other.lock("/d/lock", timeout=0) as taken:
        assert taken.held and not lock.held
    with other.lock("/d/lock", exclusive=False), SimFiles(disk).lock("/d/lock", exclusive=False, timeout=0):
        pass


def test_names_and_handles_behave_like_a_file_system() -> None:
    disk, files = new()
    synced(files, "/d/a", b"data")
    with pytest.raises(FileExistsAlreadyError):
        files.create("/d/a")
    with pytest.raises(MissingFileError):
        files.open_read("/d/none")
    reader = files.open_read("/d/a")
    with pytest.raises(StorageError):
        reader.write(b"x")
    view = files.map_read("/d/a")
    files.unlink("/d/a")
    assert bytes(view) == reader.pread(10, 0) == b"data"
    reader.close()
    with pytest.raises(StorageError):
        reader.pread(1, 0)
    assert not files.open_handles
    few = SimFiles(disk, fd_limit=1)
    held = few.create("/d/b")
    with pytest.raises(TooManyFilesError):
        few.open_read("/d/b")
    held.close()
    few.open_read("/d/b")


def test_a_directory_whose_sync_failed_is_made_durable_by_the_next_mkdir() -> None:
    disk, files = new()
    disk.fail(2, errno.EIO, operations=frozenset({"sync_dir"}))
    with pytest.raises(StorageError):
        files.mkdir("/d/e/f")
    assert files.listdir("/d") == ["e"]
    files.mkdir("/d/e/f")
    assert SimFiles(disk.after_crash(0, "lose_all")).listdir("/d/e") == ["f"]


def test_a_shared_map_is_shared_and_may_be_anything_after_a_crash() -> None:
    disk, files = new()
    words = files.map_shared("/d/w", 32).cast("Q")
    files.sync_dir("/d")
    words[1] = 7
    assert SimFiles(disk).map_shared("/d/w", 32).cast("Q")[1] == 7
    found = outcomes(disk, "/d/w")
    assert {bytes(32), words.tobytes()} <= found and len(found) > 2


def test_damage_and_cut_reach_what_is_read() -> None:
    disk, files = new()
    synced(files, "/d/a", b"data")
    disk.damage("/d/a", 1, 0xFF)
    disk.cut("/d/a", 3)
    assert files.read_bytes("/d/a") == bytes([ord("d"), ord("a") ^ 0xFF, ord("t")])
    assert [path for path, _ in disk.paths()] == ["/d/a"]
