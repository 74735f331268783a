"""Damage to a store: found with file and offset, repaired when asked and possible, never read as data."""

from __future__ import annotations

import errno
import random
import zlib

import pytest
from storage_checkpoint.model import DIRECTORY, KEY_GROUPS, SMALL, Model, State, contents, found
from storage_checkpoint.workload import Workload
from storage_sim.simdisk import SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.checkpoint import CheckpointStore, StoreReader, verify
from hornbeam.storage.checkpoint.manifest import Manifest
from hornbeam.storage.errors import CorruptionError, LockTimeoutError, StorageError

NEWEST = "/store/manifests/checkpoint-000000000004.manifest"


@pytest.fixture
def stored() -> tuple[SimDisk, SimFiles, Model]:
    disk = SimDisk(seed=3, page_size=64)
    files = SimFiles(disk)
    model = Model()
    workload = Workload(files, model, seed=3)
    workload.run(["open", "commit", "savepoint:s", "commit", "commit", "commit"])
    workload._opened().close()
    return disk, files, model


def read_all(files: SimFiles) -> dict[int, State]:
    reader = StoreReader(DIRECTORY, files=files)
    read = {}
    for manifest in reader.checkpoints():
        with reader.snapshot(manifest.checkpoint) as snapshot:
            read[manifest.checkpoint] = contents(snapshot)
    return read


def test_every_byte_of_every_file_counts(stored: tuple[SimDisk, SimFiles, Model]) -> None:
    disk, files, model = stored
    expected = {n: model.checkpoints[n] for n in (3, 4)}
    assert read_all(files) == expected
    rng = random.Random(0)
    tried = 0
    for path, node in list(disk.paths()):
        if path.endswith("LOCK"):
            continue
        for offset in rng.sample(range(len(node.content)), min(200, len(node.content))):
            mask = 1 << rng.randrange(8)
            disk.damage(path, offset, mask)
            problems = verify(DIRECTORY, files=files).problems
            assert any(p.path == path and p.offset <= offset for p in problems), (path, offset)
            try:
                assert read_all(files) == expected
            except StorageError as error:
                assert isinstance(error, CorruptionError) or "is newer" in str(error)
            disk.damage(path, offset, mask)
            tried += 1
    assert tried > 800
    assert verify(DIRECTORY, files=files).sound


def test_every_truncation_is_found(stored: tuple[SimDisk, SimFiles, Model]) -> None:
    disk, files, _ = stored
    for path, node in list(disk.paths()):
        if path.endswith("LOCK"):
            continue
        whole = bytes(node.content)
        for size in range(0, len(whole), 11):
            disk.cut(path, size)
            assert path in {p.path for p in verify(DIRECTORY, files=files).problems}
            with pytest.raises(CorruptionError):
                CheckpointStore(DIRECTORY, SMALL, files=files)
            node.content[:], node.durable[:] = whole, whole


def test_a_damaged_newest_manifest_is_dropped_only_when_asked(
    stored: tuple[SimDisk, SimFiles, Model],
) -> None:
    disk, files, model = stored
    disk.damage(NEWEST, 70)
    with pytest.raises(CorruptionError, match=r"checkpoint-000000000004.manifest .* verify --repair /store"):
        CheckpointStore(DIRECTORY, SMALL, files=files)
    with pytest.raises(CorruptionError):
        StoreReader(DIRECTORY, files=files)
    report = verify(DIRECTORY, files=files)
    assert [p.path for p in report.problems] == [NEWEST]
    assert report.problems[0].remedy == "set aside by --repair"
    assert files.exists(NEWEST)
    assert verify(DIRECTORY, repair=True, files=files).problems[0].remedy == "set aside"
    assert verify(DIRECTORY, files=files).sound
    with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=files) as store:
        assert found(store)[0] == {3: model.checkpoints[3]}
        assert store.begin().checkpoint == 5
    assert files.exists(NEWEST + ".corrupt")


def test_a_damaged_block_sets_aside_the_checkpoints_that_need_it(
    stored: tuple[SimDisk, SimFiles, Model],
) -> None:
    disk, files, model = stored
    manifest = Manifest.decode(files.read_bytes(NEWEST), NEWEST)
    path = f"/store/state/{manifest.files[-1].name}"
    disk.damage(path, 50)
    with pytest.raises(CorruptionError) as caught:
        read_all(files)
    assert caught.value.path == path and caught.value.offset == 24
    report = verify(DIRECTORY, repair=True, files=files)
    assert [(p.path, p.offset) for p in report.problems] == [(path, 24), (NEWEST, 0)]
    with CheckpointStore(DIRECTORY, SMALL, files=files) as store:
        assert found(store) == ({3: model.checkpoints[3]}, model.savepoints)
        assert not files.exists(path)
    assert verify(DIRECTORY, files=files).sound


def test_a_damaged_footer_is_rebuilt(stored: tuple[SimDisk, SimFiles, Model]) -> None:
    disk, files, model = stored
    paths = [path for path, _ in disk.paths() if path.endswith(".state")]
    before = {path: files.read_bytes(path) for path in paths}
    for path in paths:
        disk.damage(path, len(before[path]) - 20)
    report = verify(DIRECTORY, files=files)
    assert len(report.problems) == len(paths)
    assert {p.remedy for p in report.problems} == {"--repair rebuilds it from its blocks"}
    verify(DIRECTORY, repair=True, files=files)
    assert {path: files.read_bytes(path) for path in paths} == before
    assert verify(DIRECTORY, files=files).sound
    assert read_all(files) == {n: model.checkpoints[n] for n in (3, 4)}


def test_a_missing_file_is_named(stored: tuple[SimDisk, SimFiles, Model]) -> None:
    _, files, _ = stored
    manifest = Manifest.decode(files.read_bytes(NEWEST), NEWEST)
    path = f"/store/state/{manifest.files[-1].name}"
    files.unlink(path)
    with pytest.raises(CorruptionError, match="missing, though checkpoint 4 needs it"):
        CheckpointStore(DIRECTORY, SMALL, files=files)
    with pytest.raises(CorruptionError, match="missing, though checkpoint 4 needs it"):
        read_all(files)
    assert [p.path for p in verify(DIRECTORY, files=files).problems] == [path, NEWEST]


def test_nothing_is_set_aside_when_nothing_is_whole(stored: tuple[SimDisk, SimFiles, Model]) -> None:
    disk, files, _ = stored
    manifests = [path for path, _ in disk.paths() if path.endswith(".manifest")]
    for path in manifests:
        disk.damage(path, 80)
    report = verify(DIRECTORY, repair=True, files=files)
    assert {p.remedy for p in report.problems} == {"left alone: no other checkpoint is whole"}
    assert all(map(files.exists, manifests))


def test_repair_needs_the_store_for_itself(stored: tuple[SimDisk, SimFiles, Model]) -> None:
    _, files, _ = stored
    with CheckpointStore(DIRECTORY, SMALL, files=files), pytest.raises(LockTimeoutError):
        verify(DIRECTORY, repair=True, files=files)


def test_a_manifest_under_another_name_or_of_a_newer_format_is_refused(
    stored: tuple[SimDisk, SimFiles, Model],
) -> None:
    _, files, _ = stored
    data = files.read_bytes(NEWEST)
    files.write_atomic("/store/manifests/checkpoint-000000000009.manifest", data)
    with pytest.raises(CorruptionError, match="checkpoint 4 under a wrong name"):
        CheckpointStore(DIRECTORY, SMALL, files=files)
    body = data[data.index(b"\n") + 1 : -1]
    newer = (
        b"hornbeam-checkpoint 2 %d %08x\n" % (len(body), zlib.crc32(body, zlib.crc32(b"2"))) + body + b"\n"
    )
    with pytest.raises(StorageError, match="version 2 is newer") as caught:
        Manifest.decode(newer, "/m")
    assert not isinstance(caught.value, CorruptionError)


def test_a_checkpoint_whose_commit_failed_is_gone_before_the_next_one_is_committed(
    stored: tuple[SimDisk, SimFiles, Model],
) -> None:
    disk, files, _ = stored
    with CheckpointStore(DIRECTORY, SMALL, key_groups=KEY_GROUPS, files=files) as store:
        failed, following = store.begin(), store.begin()
        disk.fail(1, errno.EIO, operations=frozenset({"sync_dir"}))
        with pytest.raises(StorageError):
            failed.commit()
        assert files.exists("/store/manifests/checkpoint-000000000005.manifest")
        assert [m.checkpoint for m in store.checkpoints()] == [3, 4]
        following.commit()
        for reader in (StoreReader(DIRECTORY, files=files), store):
            assert [m.checkpoint for m in reader.checkpoints()] == [4, 6]
        after = SimFiles(disk.after_crash(0, "lose_all"))
        assert [m.checkpoint for m in StoreReader(DIRECTORY, files=after).checkpoints()] == [4, 6]
        store.savepoint("after")
        disk.fail(1, errno.EIO, operations=frozenset({"sync_dir"}))
        with pytest.raises(StorageError):
            store.savepoint("doubtful")
    assert [m.savepoint for m in StoreReader(DIRECTORY, files=files).savepoints()] == ["after", "s"]
