"""Keys, blocks, state files and merging: round trips, ranges, and damage that is always noticed."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_sim.simdisk import SimDisk
from storage_sim.simfiles import SimFiles

from hornbeam.storage.checkpoint import key_filter
from hornbeam.storage.checkpoint.block import Entries
from hornbeam.storage.checkpoint.key import (
    StateKey,
    decode_key,
    decode_keys,
    encode_key,
    group_bounds,
    groups_of_worker,
    key_group_of,
    key_prefix,
)
from hornbeam.storage.checkpoint.merge import merge
from hornbeam.storage.checkpoint.state_file import StateFile, StateFileWriter
from hornbeam.storage.checkpoint.state_reader import MISSING, StateFileReader
from hornbeam.storage.checkpoint.verify import check_state_file, mend_state_file
from hornbeam.storage.errors import CorruptionError, StorageError
from hornbeam.storage.files import OS_FILES

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
keys = st.builds(StateKey, names, st.integers(0, 5), st.binary(max_size=4), st.binary(max_size=2))
values = st.none() | st.binary(max_size=50)


def sim() -> tuple[SimDisk, SimFiles]:
    disk = SimDisk(page_size=64)
    files = SimFiles(disk)
    files.mkdir("/d")
    return disk, files


def build(
    files: SimFiles, entries: dict[bytes, bytes | None], codec: str = "none", block_bytes: int = 100
) -> StateFile:
    writer = StateFileWriter(files, "/d/f.state", run=1, codec=codec, block_bytes=block_bytes)
    ordered = sorted(entries)
    writer.add_sorted(ordered, [entries[key] for key in ordered])
    return writer.finish()


def some_entries(n: int, seed: int = 0) -> dict[bytes, bytes | None]:
    rng = random.Random(seed)
    return {
        encode_key(rng.choice("ab"), i % 4, b"key%d" % i): None if i % 7 == 0 else rng.randbytes(i % 20)
        for i in range(n)
    }


@given(keys)
def test_a_key_survives_its_byte_form(key: StateKey) -> None:
    encoded = encode_key(*key)
    assert decode_key(encoded) == key
    assert key_group_of(encoded) == key.key_group
    assert encoded.startswith(key_prefix(key.state, key.key_group))
    lower, upper = group_bounds(range(key.key_group, key.key_group + 1))
    assert upper is not None and lower <= encoded < upper


@given(keys, keys)
def test_byte_forms_are_equal_only_for_equal_keys_and_ordered_as_documented(a: StateKey, b: StateKey) -> None:
    def order(key: StateKey) -> tuple[int, bytes, int, bytes, bytes]:
        return key.key_group, key.state.encode(), len(key.key), key.key, key.window

    assert (encode_key(*a) < encode_key(*b)) == (order(a) < order(b))
    assert (encode_key(*a) == encode_key(*b)) == (a == b)


@given(st.lists(keys))
def test_many_keys_are_decoded_as_one_is(several: list[StateKey]) -> None:
    assert decode_keys([encode_key(*key) for key in several]) == several


@pytest.mark.parametrize(
    "bad", [b"", b"\0\1ab", b"\0\1ab\0\0\0", b"\0\1ab\0\0\0\0\5abc", b"\0\1a\0\0\0\0\5abc"]
)
def test_what_is_not_a_key_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError):
        decode_key(bad)
    with pytest.raises(ValueError):
        decode_keys([encode_key("a", 1, b"k"), bad])


def test_names_and_groups_outside_the_format_are_refused() -> None:
    for state, group in (("a\0b", 1), ("a", -1), ("a", 65536)):
        with pytest.raises(ValueError):
            encode_key(state, group, b"")
    with pytest.raises(ValueError):
        group_bounds(range(0, 10, 2))


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 128, 200])
def test_workers_share_all_key_groups(workers: int) -> None:
    shares = [groups_of_worker(i, workers, 128) for i in range(workers)]
    assert [group for share in shares for group in share] == list(range(128))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 5000, 40_000])
def test_the_key_filter_passes_every_key_and_few_others(n: int) -> None:
    present = [encode_key("s", i % 8, b"key%d" % i) for i in range(n)]
    hashes = key_filter.hashes_of(present)
    bits = key_filter.build(hashes)
    assert (
        bits
        == key_filter._build_one_by_one(hashes, len(bits))
        == key_filter._build_vectorised(hashes, len(bits))
    )
    assert all(key_filter.may_contain(memoryview(bits), key) for key in present)
    if n >= 1000:
        absent = [encode_key("s", i % 8, b"key%d" % i) for i in range(n, n + 4000)]
        assert sum(key_filter.may_contain(memoryview(bits), key) for key in absent) < 4000 * 0.02


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(keys, values, max_size=60),
    st.sampled_from(["none", "lz4", "zstd"]),
    st.sampled_from([1, 60, 100000]),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_a_state_file_gives_back_what_was_written(
    entries: dict[StateKey, bytes | None], codec: str, block_bytes: int, first: int, last: int
) -> None:
    _, files = sim()
    expected = {encode_key(*key): value for key, value in entries.items()}
    file = build(files, expected, codec, block_bytes)
    reader = StateFileReader(files, "/d/f.state", file)
    read = [pair for block in reader.blocks() for pair in zip(*block)]
    assert read == sorted(expected.items(), key=lambda item: item[0])
    assert (file.entries, file.tombstones) == (len(expected), list(expected.values()).count(None))
    for key, value in expected.items():
        assert reader.get(key) == value
        assert reader.get(key + b"x") is MISSING or key + b"x" in expected
    lower, upper = group_bounds(range(first, max(first, last)))
    ranged = [key for block in reader.blocks(lower, upper) for key in block.keys]
    assert ranged == [key for key in sorted(expected) if first <= key_group_of(key) < last]
    with files.open_read("/d/f.state") as handle:
        check_state_file(handle, file)
    states = reader.summary()["states"]
    assert {name: count for name, (count, _) in states.items()} == {
        name: sum(key.state == name for key in entries) for name in {key.state for key in entries}
    }


def test_one_entry_at_a_time_comes_to_the_same() -> None:
    entries = some_entries(50)
    _, files = sim()
    file = build(files, entries)
    writer = StateFileWriter(files, "/d/g.state", run=1, block_bytes=100)
    for key in sorted(entries):
        writer.add(key, entries[key])
    again = writer.finish()
    assert (again.entries, again.tombstones, again.first_group, again.last_group) == (
        50,
        file.tombstones,
        0,
        3,
    )
    reader = StateFileReader(files, "/d/g.state", again)
    assert reader.block_count > 5
    assert [pair for block in reader.blocks() for pair in zip(*block)] == sorted(entries.items())


def test_entries_out_of_order_are_refused(tmp_path: Path) -> None:
    writer = StateFileWriter(OS_FILES, str(tmp_path / "f.state"), run=1)
    a, b, c = (encode_key("s", 0, key) for key in (b"a", b"b", b"c"))
    writer.add(b, b"")
    for bad in ([a], [b], [c, c]):
        with pytest.raises(ValueError, match="ascending"):
            writer.add_sorted(bad, [b""] * len(bad))
    with pytest.raises(ValueError, match="ascending"):
        writer.add(a, None)
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_flipped_bit_anywhere_is_found_and_never_read_as_data(codec: str) -> None:
    disk, files = sim()
    entries = some_entries(40)
    file = build(files, entries, codec, block_bytes=200)
    rng = random.Random(1)
    for offset in range(file.size):
        mask = 1 << rng.randrange(8)
        disk.damage("/d/f.state", offset, mask)
        with files.open_read("/d/f.state") as handle, pytest.raises(CorruptionError) as caught:
            check_state_file(handle, file)
        assert caught.value.path == "/d/f.state" and caught.value.offset <= offset
        try:
            reader = StateFileReader(files, "/d/f.state", file)
            read = {key: value for block in reader.blocks() for key, value in zip(*block)}
            assert read == entries
            assert {key: reader.get(key) for key in entries} == entries
        except CorruptionError as error:
            assert error.path == "/d/f.state"
        disk.damage("/d/f.state", offset, mask)


def test_a_file_of_any_other_length_is_found() -> None:
    _, files = sim()
    file = build(files, some_entries(40))
    whole = files.read_bytes("/d/f.state")
    for size in range(file.size):
        files.write_atomic("/d/f.state", whole[:size])
        with pytest.raises(CorruptionError):
            StateFileReader(files, "/d/f.state", file)
        with files.open_read("/d/f.state") as handle, pytest.raises(CorruptionError):
            check_state_file(handle, file)
    files.write_atomic("/d/f.state", whole + b"\0")
    with pytest.raises(CorruptionError, match=f"expected {file.size}"):
        StateFileReader(files, "/d/f.state", file)


def test_blocks_do_not_pass_at_another_place_or_in_another_file() -> None:
    _, files = sim()
    entries: dict[bytes, bytes | None] = {encode_key("s", 0, b"%04d" % i): b"v" * 80 for i in range(4)}
    file = build(files, entries, block_bytes=1)
    reader = StateFileReader(files, "/d/f.state", file)
    length = reader.block(0) and (file.size and reader._lengths[0])
    data = bytearray(files.read_bytes("/d/f.state"))
    start = reader._offsets[0]
    first, second = data[start : start + length], data[start + length : start + 2 * length]
    data[start : start + 2 * length] = second + first
    files.write_atomic("/d/f.state", bytes(data))
    with pytest.raises(CorruptionError, match="checksum"):
        StateFileReader(files, "/d/f.state", file).block(0)


def test_another_intact_file_under_the_name_is_found() -> None:
    _, files = sim()
    file = build(files, some_entries(10))
    files.unlink("/d/f.state")
    other = build(files, some_entries(10))
    assert other.size == file.size
    with pytest.raises(CorruptionError, match="file id"):
        StateFileReader(files, "/d/f.state", file)


def test_whatever_follows_or_precedes_the_blocks_is_mended_from_them() -> None:
    disk, files = sim()
    file = build(files, some_entries(40))
    whole = files.read_bytes("/d/f.state")
    reader = StateFileReader(files, "/d/f.state", file)
    blocks_end = reader._offsets[-1] + reader._lengths[-1]
    for offset in [*range(24), *range(blocks_end, file.size, 3)]:
        disk.damage("/d/f.state", offset)
        with files.open_read("/d/f.state") as handle:
            assert mend_state_file(handle, file) == whole
        disk.damage("/d/f.state", offset)
    disk.cut("/d/f.state", blocks_end)
    with files.open_read("/d/f.state") as handle:
        assert mend_state_file(handle, file) == whole
    disk.damage("/d/f.state", blocks_end - 1)
    with files.open_read("/d/f.state") as handle:
        assert mend_state_file(handle, file) is None


def test_a_newer_format_is_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    from hornbeam.storage.checkpoint import state_file

    _, files = sim()
    file = build(files, some_entries(3))
    data = files.read_bytes("/d/f.state")
    files.write_atomic("/d/f.state", state_file.encode_header(bytes.fromhex(file.file_id), 9) + data[24:])
    with pytest.raises(StorageError, match="version 9 is newer") as caught:
        StateFileReader(files, "/d/f.state", file)
    assert not isinstance(caught.value, CorruptionError)


def test_a_read_error_is_reported_not_returned() -> None:
    disk, files = sim()
    file = build(files, some_entries(30))
    for at in range(1, 10):
        with files.open_read("/d/f.state") as handle:
            disk.fail(at, errno.EIO)
            with pytest.raises(StorageError, match="EIO"):
                check_state_file(handle, file)


runs = st.lists(st.dictionaries(st.binary(min_size=1, max_size=2), values, max_size=30), max_size=5)


@settings(max_examples=150, deadline=None)
@given(runs, st.integers(1, 9), st.booleans())
def test_merging_is_what_updating_a_dict_is(
    runs: list[dict[bytes, bytes | None]], block: int, drop_tombstones: bool
) -> None:
    def source(run: dict[bytes, bytes | None]) -> Iterator[Entries]:
        ordered = sorted(run)
        for start in range(0, len(ordered), block):
            part = ordered[start : start + block]
            yield Entries(part, [run[key] for key in part])

    expected: dict[bytes, bytes | None] = {}
    for run in runs:
        expected.update(run)
    chunks = list(merge([source(run) for run in runs], drop_tombstones))
    assert all(chunk.keys for chunk in chunks)
    merged = [pair for chunk in chunks for pair in zip(*chunk)]
    assert merged == [
        (key, expected[key]) for key in sorted(expected) if expected[key] is not None or not drop_tombstones
    ]
