"""Records on disk against a dict, under random use; room, damage, a full disk, files that are removed."""

from __future__ import annotations

import builtins
import errno
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from state.stage import Stage, pickled
from state.test_snapshots import Everything

from hornbeam.error import DataError
from hornbeam.runners.engine import cold_index, cold_store, cold_wakes
from hornbeam.runners.engine.cold_store import ColdRecord, ColdStore
from hornbeam.runners.engine.keys import EncodedKey
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.log.copies import ForkedWrite


class Colliding(EncodedKey):
    """A key with the hash of all others of its kind."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is Colliding and self.data == other.data

    def __hash__(self) -> int:
        return 1

    def __reduce__(self) -> tuple[Any, ...]:
        return Colliding, (self.key, self.data)


KEYS: list[Any] = [*range(-2, 30), *"abcdef", None, (1, "a"), EncodedKey(1.0, b"f1"), b"a"]
KEYS += [Colliding(i, bytes([i])) for i in range(5)]
keys = st.lists(st.sampled_from(KEYS), unique=True, max_size=20)
times = st.integers(-5, 5)
CONTENTS = st.one_of(st.integers(), st.binary(max_size=700))


class Store(RuleBasedStateMachine):
    """A store with tiny segments and runs; its model: key → (content, wake-up times by kind, timers)."""

    @initialize(segment=st.sampled_from([256, 4096]), run=st.sampled_from([2, 1 << 20]))
    def begin(self, segment: int, run: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(cold_store, "SEGMENT_BYTES", segment)
        self.patch.setattr(cold_store, "_SEGMENTS_MAX", 60)
        self.patch.setattr(cold_index, "RUN_MAX", run)
        self.patch.setattr(cold_index, "_GONE_MIN", 3)
        self.patch.setattr(cold_wakes, "RUN_MAX", run)
        self.patch.setattr(cold_wakes, "_STALE_MIN", 3)
        self.patch.setattr(cold_wakes, "_AT_A_TIME", 2)
        self.space = TemporarySpace()
        self.store = ColdStore(self.space, "state", 2)
        self.model: dict[Any, tuple[Any, dict[int, int], int]] = {}

    @rule(
        keys=keys,
        content=CONTENTS,
        kinds=st.dictionaries(st.integers(0, 1), times),
        timers=st.integers(0, 3),
        is_apart=st.booleans(),
    )
    def put(self, keys: list[Any], content: Any, kinds: dict[int, int], timers: int, is_apart: bool) -> None:
        new = [key for key in keys if key not in self.model]
        if new:
            data = pickle.dumps(content) if is_apart else None
            wakes = tuple(kinds.items())
            self.store.put([ColdRecord(key, content, wakes, timers, data) for key in new])
        self.model.update((key, (content, kinds, timers)) for key in new)

    @rule(keys=keys, content=CONTENTS)
    def put_pickled(self, keys: list[Any], content: Any) -> None:
        new = [key for key in keys if key not in self.model]
        self.store.put_pickled(new, [pickle.dumps(content) for _ in new])
        self.model.update((key, (content, {}, 0)) for key in new)

    def same(self, found: list[Any], keys: Any) -> None:
        assert len(found) == len(keys)
        assert dict(found) == {key: self.model[key][0] for key in keys}

    @rule(keys=keys)
    def peek(self, keys: list[Any]) -> None:
        self.same(self.store.peek(keys), [key for key in keys if key in self.model])

    @rule(keys=keys)
    def take(self, keys: list[Any]) -> None:
        self.same(self.store.take(keys), there := [key for key in keys if key in self.model])
        for key in there:
            del self.model[key]

    @rule(kind=st.integers(0, 1), until=times, count=st.integers(1, 10))
    def take_due(self, kind: int, until: int, count: int) -> None:
        due = {key: kinds[kind] for key, (_, kinds, _) in self.model.items() if kinds.get(kind, 99) <= until}
        found = self.store.take_due(kind, until, count)
        taken = [key for key, _ in found]
        self.same(found, taken)
        assert bool(found) == bool(due)
        if due:
            latest = max(due[key] for key in taken)
            assert {key for key, time in due.items() if time < latest} <= set(taken)
        for key in taken:
            del self.model[key]

    @rule(count=st.integers(1, 50))
    def drain(self, count: int) -> None:
        parts = list(self.store.drain(count))
        assert all(0 < len(part) <= count for part in parts)
        self.same([entry for part in parts for entry in part], list(self.model))
        self.model = {}

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        assert len(self.store) == len(self.model)
        assert self.store.timers == sum(timers for _, _, timers in self.model.values())
        for kind in (0, 1):
            known = [kinds[kind] for _, kinds, _ in self.model.values() if kind in kinds]
            assert self.store.next_time(kind) == min(known, default=None)
        live = sum(segment.live_bytes for segment in self.store._segments.values())
        assert self.store.disk_bytes <= 2 * live + 4 * cold_store.SEGMENT_BYTES + 40 * 800

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.delete()
            assert self.space._path is None or os.listdir(self.space._path) == []
            self.space.close()
            self.patch.undo()


Store.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestColdStoreAgainstADict = Store.TestCase


@pytest.fixture
def space(tmp_path: Path) -> Iterator[TemporarySpace]:
    space = TemporarySpace(str(tmp_path))
    yield space
    space.close()
    assert list(tmp_path.iterdir()) == []


def test_records_that_come_and_go_leave_no_more_than_about_twice_their_room(
    space: TemporarySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_store, "SEGMENT_BYTES", 4096)
    store = ColdStore(space, "state", 1)
    store.put([ColdRecord(key, "x" * 50, ((0, key),)) for key in range(1000)])
    first = store.disk_bytes
    for turn in range(60):
        taken = store.take(range(turn % 10, 1000, 10))
        store.put([ColdRecord(key, content, ((0, key),)) for key, content in taken])
    assert len(store) == 1000 and store.next_time(0) == 0
    assert store.disk_bytes < 2.2 * first + 8192
    assert store.memory_bytes < 1000 * (8 + 16) * 3


@pytest.mark.parametrize("at", [0, 5, 9, 30])
def test_damage_is_a_data_error_that_names_the_file(space: TemporarySpace, at: int) -> None:
    store = ColdStore(space, "state", 1)
    store.put([ColdRecord("a", "x" * 100)])
    (segment,) = store._segments.values()
    content = bytearray(Path(segment.path).read_bytes())
    content[at] ^= 0xFF
    Path(segment.path).write_bytes(content)
    with pytest.raises(DataError, match="state is damaged at offset 0; run the pipeline again"):
        store.take(["a"])


def test_a_torn_or_vanished_file(space: TemporarySpace) -> None:
    store = ColdStore(space, "state", 1)
    store.put([ColdRecord("a", "x" * 1000)])
    (segment,) = store._segments.values()
    os.truncate(segment.path, 500)
    with pytest.raises(DataError, match="damaged"):
        store.take(["a"])
    os.unlink(segment.path)
    with pytest.raises(FileNotFoundError) as caught:
        store.take(["a"])
    assert "state that was moved to disk cannot be read" in "".join(caught.value.__notes__)


def test_a_record_is_read_whole_though_a_read_gives_a_part_of_it(
    space: TemporarySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's calls never read more than 2 GB at once."""
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: pread(file, min(count, 700), at))
    store = ColdStore(space, "state", 1)
    store.put([ColdRecord("a", "x" * 5000), ColdRecord("b", "y" * 10)])
    assert sorted(store.take(["a", "b"])) == [("a", "x" * 5000), ("b", "y" * 10)]


def test_a_record_that_is_too_large_for_a_file_is_refused_by_its_key(
    space: TemporarySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_store, "_BODY_BYTES_MAX", 1000)
    store = ColdStore(space, "state", 1)
    with pytest.raises(DataError, match=r"the state of one key takes 2,0\d\d bytes") as caught:
        store.put([ColdRecord("small", 1), ColdRecord("large", "x" * 2000)])
    assert caught.value.hornbeam_key == "'large'"  # type: ignore[attr-defined]
    assert len(store) == 0


def test_a_full_disk_is_an_os_error_with_advice_and_loses_nothing(
    space: TemporarySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ColdStore(space, "state", 1)
    store.put([ColdRecord("a", 1)])
    open_before = builtins.open

    def full(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "b" in mode and mode != "rb":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return open_before(path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            store.put([ColdRecord("b", 2)])
    assert "allow more memory with --memory_limit" in "".join(caught.value.__notes__)
    assert store.peek(["a", "b"]) == [("a", 1)]


def test_state_that_cannot_be_pickled_names_step_and_key(space: TemporarySpace) -> None:
    stage = Stage(Everything(), space=space)
    generator = (i for i in "x")
    with pytest.raises(TypeError, match="pickle") as caught:
        stage.feed(("k", [("bag", "add", (generator,))]))
    assert caught.value.hornbeam_failure.key == "'k'"  # type: ignore[attr-defined]
    assert "moving state to disk (--memory_limit)" in caught.value.hornbeam_failure.step  # type: ignore[attr-defined]


def test_keys_in_use_stay_in_memory(space: TemporarySpace) -> None:
    stage = Stage(Everything(), space=space, memory_bytes_max=2_000_000)
    hot = [(f"hot{i}", [("sum", "add", (1,))]) for i in range(20)]
    (table,) = (stage.feed(*hot), stage.head._records.tables.values())[1]
    records = {key: table.held(key) for key, _ in hot}
    for turn in range(40):
        stage.feed(*[(f"{turn} {i}", [("sum", "add", (1,))]) for i in range(100)], *hot)
    assert len(table.cold) > 2000
    assert all(table.held(key) is record for key, record in records.items())


def test_a_snapshot_tells_what_changed_and_went_to_disk_since_the_last_one(space: TemporarySpace) -> None:
    stage = Stage(Everything(), space=space)
    stage.head.track_changes()
    stage.feed(*[((key, [("bag", "add", (1,))]), 1) for key in range(100)])
    assert stage.head._records.in_memory == 0
    assert len(stage.head.changes()) == 100
    stage.feed(((7, [("bag", "add", (2,))]), 1))
    ((name, cells),) = stage.head.changes()
    assert (name[0], cells["bag"]) == (7, [1, 2])
    assert stage.head.changes() == []
    assert stage.head.entries() == 100


def test_pickles_are_loaded_up_to_half_of_the_limit_and_the_others_stay_as_they_are(
    space: TemporarySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(Everything(), space=space)
    stage.head.track_changes()
    stage.feed(*[((key, [("sum", "add", (key,))]), 1) for key in range(20_000)])
    parts = [part for entry in stage.head.changes() for part in pickled([entry])]

    def pickle_of_a_key(value: Any) -> bytes:
        assert type(value) is int, "contents are not pickled again"
        return pickle.dumps(value)

    monkeypatch.setattr(cold_store, "pickled", pickle_of_a_key)
    again = Stage(Everything(), space=space, memory_bytes_max=16_000_000)
    again.head.load_pickled(parts)
    assert 4096 <= again.head._records.in_memory < 16_000
    assert again.head.entries() == 20_000
    again.head.track_changes()
    found = again.feed(*[((key, [("sum", "add", (1,))]), 1) for key in (3, 19_999)])
    assert [contents["sum"] for _, contents in again.values(found)] == [4, 20_000]
    assert len(again.head.changes()) == 2


def test_what_is_loaded_goes_to_disk_as_well(space: TemporarySpace) -> None:
    stage = Stage(Everything(), space=space)
    stage.head.track_changes()
    actions = [("sum", "add", (1,)), ("event", "set", (50,))]
    stage.feed(*[((key, actions), 1) for key in range(10_000)])
    entries = stage.head.changes()
    stage.end()
    again = Stage(Everything(), space=space)
    peaks: list[int] = []

    def watched() -> Iterator[Any]:
        for entry in entries:
            peaks.append(again.head._records.in_memory + len(again.head._records.made))
            yield entry

    again.head.load(watched())
    assert max(peaks) < 5000
    assert again.head._records.in_memory == 0
    assert again.head.entries() == 20_000
    assert (again.head.hold(), again.head.next_watermark()) == (50_000_000, 50_000_000)
    assert len(again.advance(50)) == 10_000
    again.end()
    assert again.head.entries() == 0


def test_a_copy_of_the_process_reads_what_the_process_has_removed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: a checkpoint's copy of a worker found no file where its index said that state was, and the worker failed."""
    monkeypatch.setattr(cold_store, "SEGMENT_BYTES", 256)
    space = TemporarySpace(str(tmp_path))
    stage = Stage(Everything(), space=space)
    stage.head.track_changes()
    for number in range(60):
        stage.feed((f"key {number}", [("value", "write", (number,))]))
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert len(files) > 10
    go, let_go = os.pipe()

    def changes(_: Any) -> Any:
        os.read(go, 1)
        return tuple((name[0], content) for name, content in stage.head.changes())

    space.hold()
    copy = ForkedWrite(changes, space.release)
    for number in range(60):
        stage.feed((f"key {number}", [("value", "clear", ())]))
    os.write(let_go, b"x")
    found = dict(copy.files(print))
    assert {key: content["value"] for key, content in found.items()} == {
        f"key {number}": number for number in range(60)
    }
    assert not files & set(tmp_path.rglob("*")), "files that nobody wants any more were left"
    os.close(go)
    os.close(let_go)


def test_an_index_stays_small_while_records_come_and_go() -> None:
    index, rng, count = cold_index.ColdIndex(), np.random.default_rng(1), 60_000
    hashes = np.arange(count, dtype=np.uint64) * np.uint64(71_582)
    index.add(cold_index.refs_of(hashes, np.zeros(count, dtype=np.uint64)))
    for turn in range(1, 100):
        refs, spots = index.find(hashes[np.sort(rng.choice(count, 5_000, replace=False))])
        index.remove_at(spots)
        index.add(cold_index.refs_of(refs >> np.uint64(32), np.full(len(refs), turn, dtype=np.uint64)))
        assert len(index) == count
        assert index.memory_bytes < 13 * count
    refs, _ = index.find(hashes)
    assert np.array_equal(np.sort(refs >> np.uint64(32)), hashes)
    assert len(np.unique(cold_index.addresses_of(refs))) > 50
