"""What goes to disk: blocks, damage, a full disk, files that are removed; groupings larger than memory."""

from __future__ import annotations

import builtins
import errno
import os
import pathlib
import pickle

import pytest

from hornbeam.coders import FastPrimitivesCoder
from hornbeam.error import DataError
from hornbeam.runners.engine import partitioned, spill
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.cold_store import ColdRecord, ColdStore
from hornbeam.runners.engine.combine_folding import folding_for
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS
from hornbeam.runners.engine.folding import GatherFolding
from hornbeam.runners.engine.grouping import GroupingOperator, JoinOperator
from hornbeam.runners.engine.join_folding import JoinFolding
from hornbeam.runners.engine.merging import MergingGroupingOperator
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.sessions import SessionGroupingOperator
from hornbeam.runners.engine.spill import DiskValues, SpillFile, Spool, TemporarySpace
from hornbeam.transforms.combinefn import CallableWrapperCombineFn
from hornbeam.transforms.window import GlobalWindows, Sessions, TimestampCombiner


@pytest.fixture
def space(tmp_path):
    space = TemporarySpace(str(tmp_path))
    yield space
    space.close()
    assert list(tmp_path.iterdir()) == []


def test_blocks_come_back_in_order_and_by_position(space):
    file = SpillFile(space, "blocks")
    file.append({"a": 1})
    file.append_all([[1, 2], "three"])
    assert list(file) == [{"a": 1}, [1, 2], "three"]
    assert [file.read(2), file.read(0)] == ["three", {"a": 1}]
    assert file.size == os.path.getsize(file.path) == space.spilled_bytes


def test_a_file_without_blocks_is_empty(space):
    file = SpillFile(space, "empty")
    assert list(file) == []
    file.delete()


@pytest.mark.parametrize("at", [0, 4, 8, 20])
def test_a_damaged_block_is_a_data_error_that_names_the_file(space, at):
    file = SpillFile(space, "blocks")
    file.append(list(range(100)))
    content = bytearray(pathlib.Path(file.path).read_bytes())
    content[at] ^= 0xFF
    pathlib.Path(file.path).write_bytes(content)
    with pytest.raises(DataError, match="blocks is damaged at offset 8"):
        list(file)


def test_a_torn_block_is_a_data_error(space):
    file = SpillFile(space, "blocks")
    file.append(list(range(100)))
    os.truncate(file.path, 50)
    with pytest.raises(DataError, match="damaged"):
        file.read(0)


def test_a_full_disk_is_an_os_error_and_the_blocks_before_stay(space, monkeypatch):
    file = SpillFile(space, "blocks")
    file.append("first")

    def full(path, mode="r", *args, **kwargs):
        if "w" in mode or "+" in mode:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return open_before(path, mode, *args, **kwargs)

    open_before = builtins.open
    monkeypatch.setattr(builtins, "open", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        file.append("second")
    assert caught.value.errno == errno.ENOSPC
    assert list(file) == ["first"]


def test_a_write_that_stops_halfway_leaves_the_blocks_before_readable(space):
    file = SpillFile(space, "blocks")
    file.append("first")
    with open(file.path, "ab") as torn:
        torn.write(b"half a block")
    assert list(file) == ["first"]
    file.append("second")
    assert list(file) == ["first", "second"]


def test_a_spool_is_read_as_often_as_wanted_from_memory_and_disk(space):
    spool = Spool(space, memory_bytes_max=2000, name="spool")
    for start in range(0, 1000, 100):
        spool.append(Bundle(list(range(start, start + 100)), start))
    for _ in range(2):
        assert [v for bundle in spool for v in bundle.values] == list(range(1000))
        assert [bundle.timestamps for bundle in spool] == list(range(0, 1000, 100))
    assert spool.count == 1000
    assert space.spilled_bytes > 0
    spool.clear()


def test_a_spool_that_fits_writes_nothing(space, tmp_path):
    spool = Spool(space, 1 << 20, "spool")
    spool.append(Bundle([1, 2]))
    assert [b.values for b in spool] == [[1, 2]]
    assert list(tmp_path.iterdir()) == []


def test_values_on_disk_can_be_read_again_and_travel_as_a_list(space):
    file = SpillFile(space, "values")
    file.append_all([[1, 2], [3]])
    values = DiskValues(file, [0, 1], 3)
    assert list(values) == list(values) == [1, 2, 3]
    assert len(values) == 3
    assert pickle.loads(pickle.dumps(values)) == [1, 2, 3]


def test_files_stay_while_a_copy_of_the_process_may_read_them(space):
    store = ColdStore(space, "state", 0)
    store.put([ColdRecord("a", 1)])
    (path,) = [segment.path for segment in store._segments.values()]
    space.hold()
    space.hold()
    assert store.take(["a"]) == [("a", 1)]
    space.release()
    assert os.path.exists(path)
    space.release()
    assert not os.path.exists(path)


# Groupings larger than memory


def spec_of(folding, window_fn=None):
    encode = FastPrimitivesCoder().as_deterministic_coder("group").encode
    return GroupingSpec(
        "group", window_fn or GlobalWindows(), TimestampCombiner.OUTPUT_AT_EOW, encode, folding
    )


def grouping(space, folding, limit):
    return GroupingOperator(spec_of(folding), space, limit)


def fired(operator):
    return [pair for bundle in operator.fire(END_OF_TIME_MICROS) for pair in bundle.values]


def test_groups_on_disk_are_the_groups_in_memory(space):
    pairs = [(k, i) for i in range(300) for k in ("a", 1, 1.0, None, (1, "x"), i % 7)]
    expected = grouping(space, GatherFolding(), 1 << 30)
    spilling = grouping(space, GatherFolding(), 1)
    for start in range(0, len(pairs), 100):
        expected.process(Bundle(pairs[start : start + 100]))
        spilling.process(Bundle(pairs[start : start + 100]))
    in_memory = sorted(((repr(k), sorted(v)) for k, v in fired(expected)))
    assert space.spilled_bytes > 0
    assert sorted(((repr(k), sorted(v)) for k, v in fired(spilling))) == in_memory


def test_sums_on_disk_are_the_sums_of_all_parts(space):
    spilling = grouping(space, folding_for(CallableWrapperCombineFn(sum), (), {}), 1)
    for _ in range(3):
        spilling.process(Bundle([("a", 1), ("b", 2)]))
        spilling.spill()
    assert sorted(fired(spilling)) == [("a", 3), ("b", 6)]


def test_a_hot_key_larger_than_memory_can_be_iterated_again(space, monkeypatch):
    monkeypatch.setattr(partitioned, "_EXPANSION", 1 << 20)  # as if each block were huge
    operator = grouping(space, GatherFolding(), 1)
    for start in range(0, 20_000, 1000):
        operator.process(Bundle([("hot", i) for i in range(start, start + 1000)] + [("cold", start)]))
    seen = {}
    for bundle in operator.fire(END_OF_TIME_MICROS):
        for key, values in bundle.values:
            assert isinstance(values, DiskValues)
            assert sum(values) == sum(values)
            seen[key] = len(values), sum(values)
    assert seen == {"hot": (20_000, sum(range(20_000))), "cold": (20, sum(range(0, 20_000, 1000)))}


def spilling(kind, space):
    """A grouping of a kind."""
    if kind == "gathered":
        return grouping(space, GatherFolding(), 1 << 20)
    if kind == "joined":
        return JoinOperator(spec_of(JoinFolding(2, None)), space, 1 << 20)
    operator = SessionGroupingOperator if kind == "in sessions" else MergingGroupingOperator
    return operator(spec_of(GatherFolding(), Sessions(10)), space, 1 << 20)


@pytest.mark.parametrize("kind", ["gathered", "joined", "in sessions", "in windows that merge"])
def test_values_of_one_key_go_to_disk_in_blocks_that_fit(space, monkeypatch, kind):
    """However much memory there is: a block is pickled as a whole, and has a limit of its own."""
    monkeypatch.setattr(spill, "_BLOCK_BYTES_MAX", 1 << 18)
    monkeypatch.setattr(partitioned, "_BLOCK_BYTES", 1 << 16)
    operator = spilling(kind, space)
    assign = WindowAssigner(operator.spec.window_fn)
    for start in range(0, 4000, 1000):
        values = [*(("hot", f"{i:0700}") for i in range(start, start + 1000)), ("cold", str(start))]
        operator.input(0)(Bundle(values, 0, assign(Bundle(values, 0))))
    assert space.spilled_bytes > 1 << 20
    found = {key: list(given[0] if kind == "joined" else given) for key, given in fired(operator)}
    assert sorted(found["hot"]) == [f"{i:0700}" for i in range(4000)]
    assert sorted(found["cold"]) == ["0", "1000", "2000", "3000"]


def test_values_on_disk_come_to_memory_some_at_a_time(space, monkeypatch):
    monkeypatch.setattr(partitioned, "_EXPANSION", 1 << 20)  # as if each block were huge
    monkeypatch.setattr(partitioned, "_VALUES_BYTES", 1 << 16)
    operator = grouping(space, GatherFolding(), 1)
    operator.process(Bundle([("hot", f"{i:010000}") for i in range(100)]))
    ((_, values),) = fired(operator)
    assert len(list(values)) == len(values) == 100
    assert max(length for _, length in values._file.blocks) < 2 << 16
