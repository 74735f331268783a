"""Commits, merges, savepoints and readers at the same time, in threads."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from pathlib import Path

from storage_checkpoint.model import (
    KEY_GROUPS,
    SMALL,
    State,
    apply,
    check_no_orphans,
    checksum,
    contents,
    random_changes,
)

from hornbeam.storage.checkpoint import CheckpointStore, StateFile, StoreReader, verify
from hornbeam.storage.files import OS_FILES


def test_everything_at_once(tmp_path: Path) -> None:
    done = threading.Event()
    failures: list[BaseException] = []
    merged = read = 0

    def until_done(act: Callable[[], None]) -> threading.Thread:
        def loop() -> None:
            try:
                while not done.is_set():
                    act()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    with CheckpointStore(tmp_path / "store", SMALL, key_groups=KEY_GROUPS) as store:

        def merge() -> None:
            nonlocal merged
            merged += store.compact(full=random.random() < 0.2)

        def look() -> None:
            nonlocal read
            reader = StoreReader(tmp_path / "store")
            if reader.checkpoints():
                with reader.snapshot() as snapshot:
                    assert snapshot.metadata["sum"] == checksum(contents(snapshot))
                read += 1

        def keep_and_drop() -> None:
            if store.checkpoints():
                store.savepoint("s")
                store.delete_savepoint("s")

        threads = [until_done(act) for act in (merge, look, keep_and_drop)]
        rng = random.Random(0)
        state: State = {}
        for number in itertools.count():
            if number >= 40 and merged > 2 and read > 2:
                break
            assert number < 100_000
            changes = random_changes(rng, state, 20)
            state = apply(state, changes)
            pending = store.begin(incremental=number % 5 > 0)
            if not pending.incremental:
                changes = dict(state)
            shares: list[tuple[StateFile, ...]] = []

            def write_share(worker: int, pending=pending, changes=changes, shares=shares) -> None:  # type: ignore[no-untyped-def]
                writer = pending.writer(f"w{worker}")
                writer.update({key: value for key, value in changes.items() if key[1] % 2 == worker})
                shares.append(writer.finish())

            writers = [threading.Thread(target=write_share, args=(worker,)) for worker in range(2)]
            for thread in writers:
                thread.start()
            for thread in writers:
                thread.join()
            pending.commit([file for share in shares for file in share], {"sum": checksum(state)})
        done.set()
        for thread in threads:
            thread.join()
        assert not failures, failures
        with store.snapshot() as snapshot:
            assert contents(snapshot) == state
        store.gc()
        check_no_orphans(store, OS_FILES)
    assert verify(str(tmp_path / "store")).sound
